//! Puts a playbook, two servers and a run together into what an attempt needs: for the commands, and for the sandbox.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::exec::OnThisMachine;
use super::mysql::relax;
use super::mysql::switch::{
    AskAfter, Facts, OpenError, OwnSessions, RunLock, Server, Settings, SharedFacts, SwitchServers,
};
use crate::domain::ids::RunId;
use crate::domain::machine::HoldKind;
use crate::domain::outcome::Outcome;
use crate::engine::attempt::Times;
use crate::engine::doctor;
use crate::engine::event::Events;
use crate::engine::hooks::Hooks;
use crate::engine::ports::Pending;
use crate::engine::switchover::{Opener, Window};
use crate::playbook::Playbook;
use crate::playbook::model::{GateMoment, PrivilegedSessions, Route};

/// How long a connection, and each statement that does not wait for something, may take to answer.
pub const ANSWER: Duration = Duration::from_secs(5);

/// How long undoing may go on beyond the time at which the guard has opened blue by itself.
const UNDO_BEYOND_GUARD: Duration = Duration::from_secs(5);

/// A new run's id.
#[must_use]
pub fn new_run() -> RunId {
    use std::hash::{BuildHasher, RandomState};
    let now = std::time::SystemTime::now();
    let seconds = now
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    RunId::at(seconds, RandomState::new().hash_one(std::process::id()))
}

/// Who runs bleen, and where: for the journal, the servers' records and whoever finds the lock taken.
#[must_use]
pub fn operator() -> String {
    let user = std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_else(|_| "unknown".to_owned());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{host}")
}

/// The playbook's settings for the attempts of a run. Further sessions of the run on blue are for the caller to add.
#[must_use]
pub fn settings(
    playbook: &Playbook,
    (blue, green): (&Server, &Server),
    run: &RunId,
    hold: HoldKind,
) -> Settings {
    let switch = &playbook.switch;
    Settings {
        run: run.clone(),
        pair: playbook.name.clone(),
        operator: operator(),
        playbook: playbook.hash(),
        blue: blue.clone(),
        green: green.clone(),
        hold,
        deadline: switch.deadline,
        hold_wait: switch.hold_wait,
        guard_margin: switch.guard_margin,
        idle_grace: switch.idle_grace,
        answer: ANSWER,
        end_selects: switch.end_selects,
        end_privileged: switch.privileged_sessions == PrivilegedSessions::End,
        fence_queries: playbook
            .validate
            .queries
            .iter()
            .filter(|q| q.at == GateMoment::Fence)
            .cloned()
            .collect(),
        routes: playbook
            .routing
            .routes
            .iter()
            .map(|Route::Exec(exec)| exec.clone())
            .collect(),
        own_sessions: OwnSessions::default(),
        durable_again: Vec::new(),
        proves_rows: playbook.validate.data.is_some(),
        proof: None,
        way_back: None,
        after: None,
    }
}

/// How the guardrails are asked once green serves.
#[must_use]
pub fn ask_after(playbook: &Playbook, events: &Events) -> AskAfter {
    AskAfter {
        limits: doctor::limits(playbook),
        waivers: doctor::waivers(playbook),
        events: events.clone(),
    }
}

/// The playbook's hooks for a run.
#[must_use]
pub fn hooks<'a>(playbook: &'a Playbook, settings: &Settings, events: &'a Events) -> Hooks<'a> {
    Hooks::new(&OnThisMachine, &playbook.hooks, settings.about(), events)
}

/// The times of an attempt.
#[must_use]
pub fn times(playbook: &Playbook, settings: &Settings) -> Times {
    Times {
        deadline: settings.deadline,
        answer: ANSWER,
        route: playbook.routing.limit,
        undo: Duration::from_secs_f64(settings.guard_seconds()) + ANSWER + UNDO_BEYOND_GUARD,
        after: settings.idle_grace + ANSWER * 4,
    }
}

/// How long and how often a playbook lets a switch be tried.
#[must_use]
pub fn window(playbook: &Playbook) -> Window {
    Window {
        window: playbook.switch.window,
        attempts: playbook.switch.attempts,
        retry_after: playbook.switch.retry_after,
    }
}

/// Opens each attempt's sessions on the real servers.
pub struct Opening {
    settings: Settings,
    recorded: Recorded,
}

/// What the newest attempt of a run wrote down, for whoever has to say it when the attempt is gone.
#[derive(Clone, Default)]
pub struct Recorded(Arc<Mutex<Option<SharedFacts>>>);

impl Recorded {
    /// The facts of an attempt that was opened elsewhere.
    #[must_use]
    pub fn of(facts: SharedFacts) -> Self {
        Self(Arc::new(Mutex::new(Some(facts))))
    }

    /// The facts, if an attempt was opened.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        let shared = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let facts = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(facts)
    }
}

impl Opening {
    /// `settings` is what every attempt of the run has to know.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            recorded: Recorded::default(),
        }
    }

    /// What its newest attempt wrote down.
    #[must_use]
    pub fn recorded(&self) -> Recorded {
        self.recorded.clone()
    }
}

/// Makes green durable again when a run ended and blue serves: what was allowed for catching up ends with the run,
/// however that ends. Only while the pair is ours.
pub async fn end_relaxing((blue, green): (&Server, &Server), run: &RunId, events: &Events) {
    let ended: Result<bool, OpenError> = async {
        if relax::statements((blue, green), run, ANSWER).await?.is_empty() {
            return Ok(false);
        }
        let lock = RunLock::take(blue, green, run, ANSWER).await?;
        let put_back = relax::put_back((blue, green), run, lock.held(), ANSWER).await;
        lock.give_up().await;
        Ok(put_back?)
    }
    .await;
    match ended {
        Ok(false) => {}
        Ok(true) => events.note(
            "green is durable again; if it cannot keep up like this, `bleen prepare` relaxes it once more before the next \
             switch",
        ),
        Err(e) => events.warn(format!(
            "green is still relaxed: {e}; the next switch or `bleen rollback` makes it durable again"
        )),
    }
}

impl Opener for Opening {
    type Port = SwitchServers;
    type Error = OpenError;

    fn open(&self) -> Pending<Result<SwitchServers, OpenError>> {
        let (mut settings, recorded) = (self.settings.clone(), self.recorded.clone());
        Box::pin(async move {
            let pair = (&settings.blue, &settings.green);
            settings.durable_again = relax::statements(pair, &settings.run, ANSWER).await?;
            let port = SwitchServers::open(settings).await?;
            *recorded.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(port.facts());
            Ok(port)
        })
    }

    fn close(&self, port: &SwitchServers, outcome: &Outcome) -> Pending<Result<(), String>> {
        port.close_run(outcome)
    }
}
