//! Puts a playbook, two servers and a run together into what an attempt needs: for the commands, and for the sandbox.

use std::time::Duration;

use super::exec::OnThisMachine;
use super::mysql::relax;
use super::mysql::switch::{OpenError, Server, Settings, SwitchServers};
use crate::domain::ids::RunId;
use crate::domain::machine::HoldKind;
use crate::domain::outcome::Outcome;
use crate::engine::attempt::Times;
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
        own_sessions: Vec::new(),
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
    /// What every attempt of the run has to know.
    pub settings: Settings,
}

impl Opener for Opening {
    type Port = SwitchServers;
    type Error = OpenError;

    fn open(&self) -> Pending<Result<SwitchServers, OpenError>> {
        let settings = self.settings.clone();
        Box::pin(async move {
            // A green that was relaxed to catch up is durable again before anything is held for it.
            relax::put_back(&settings.blue, &settings.green, &settings.run, ANSWER).await?;
            SwitchServers::open(settings).await
        })
    }

    fn close(&self, port: &SwitchServers, outcome: &Outcome) -> Pending<Result<(), String>> {
        port.close_run(outcome)
    }
}
