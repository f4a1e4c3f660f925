//! The story's two switchovers, made of what `bleen switch` is made of.
//!
//! For the one that is to miss its deadline, a row of green is locked after every gate has been passed, right before the
//! hold. The load updates that row, so the hold is granted and the drain cannot end. Everything else is as ever.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::adapters::compose::{
    ANSWER, Opening, ask_after, hooks, new_run, operator, settings, times, window,
};
use crate::adapters::gates::LiveGates;
use crate::adapters::journal::{FORMAT, RunJournal};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::quote;
use crate::adapters::mysql::session::{Purpose, Session, Target};
use crate::adapters::mysql::switch::{ByHand, OpenError, Server, SwitchServers, by_hand};
use crate::domain::machine::{Answer, Command, HoldKind, Spec};
use crate::domain::outcome::Outcome;
use crate::engine::event::{EventKind, Events, SCHEMA_VERSION};
use crate::engine::ports::{Alarm, Journal, Pending, Record, Servers, Terms};
use crate::engine::switchover::{Ended, Opener, Switchover};
use crate::playbook::Playbook;

use super::client::HOT_ACCOUNT;
use super::pair::SCHEMA;
use super::story::StoryError;

/// How long the load may take to write to the locked row.
const HOT_WRITE: Duration = Duration::from_secs(10);

/// How a switchover ended, with what a person has to do if that is not certain.
pub(super) struct Played {
    pub ended: Ended<OpenError>,
    pub by_hand: Option<ByHand>,
}

/// What both switchovers have in common.
pub(super) struct Stage<'a> {
    pub servers: (&'a Server, &'a Server),
    pub runs: &'a Path,
    pub events: &'a Events,
    pub stop: &'a CancellationToken,
}

impl Stage<'_> {
    /// A switchover as `bleen switch` makes it.
    pub(super) async fn switch(&self, playbook: &Playbook) -> Result<Played, StoryError> {
        self.run(playbook, |opening| opening).await
    }

    /// The same with a row of green locked from right before the hold to its end.
    pub(super) async fn miss(&self, playbook: &Playbook) -> Result<Played, StoryError> {
        let lock = Arc::new(Mutex::new(None));
        let hindrance = Hindrance {
            blue: self.servers.0.target.clone(),
            green: self.servers.1.target.clone(),
            lock: Arc::clone(&lock),
            events: self.events.clone(),
        };
        let ended = self
            .run(playbook, |opening| Hindered { opening, hindrance })
            .await;
        let lock: Option<Session> = lock.lock().await.take();
        if let Some(session) = lock {
            session.close(ANSWER).await;
            self.events.note("the row on green is no longer locked");
        }
        ended
    }

    async fn run<O: Opener<Error = OpenError>>(
        &self,
        playbook: &Playbook,
        opener: impl FnOnce(Opening) -> O,
    ) -> Result<Played, StoryError> {
        let (blue, green) = self.servers;
        let run = new_run();
        self.events.say(EventKind::Started {
            schema_version: SCHEMA_VERSION,
            run: run.to_string(),
            command: "switch".to_owned(),
            pair: playbook.name.clone(),
        });
        let gates = LiveGates::open(playbook, blue, green, &run, None, (self.events, ANSWER)).await?;
        // bleen's account has every right here, so the first choice is the one.
        let mut settings = settings(playbook, self.servers, &run, HoldKind::Lock);
        settings.own_sessions = gates.blue_sessions.clone();
        settings.after = Some(ask_after(playbook, self.events));
        settings.proof = gates.proof.as_ref().map(|proof| proof.fence());
        let mut journal = RunJournal::create(self.runs, &run)?;
        let first = Record::Run {
            format: FORMAT,
            run: run.to_string(),
            pair: playbook.name.clone(),
            playbook: playbook.hash(),
            operator: operator(),
        };
        journal.append(&first, true)?;
        let spec = Spec {
            hold: settings.hold,
            reprove: settings.reproves(),
            way_back: settings.way_back.is_some(),
        };
        let times = times(playbook, &settings);
        let hooks = hooks(playbook, &settings, self.events);
        let opening = Opening::new(settings);
        let recorded = opening.recorded();
        let opener = opener(opening);
        let switchover = Switchover {
            gates: &gates,
            opener: &opener,
            spec,
            times,
            window: window(playbook),
            hooks: &hooks,
            cancel: self.stop,
            events: self.events,
        };
        let ended = switchover.run(&mut journal).await;
        let by_hand = match &ended {
            Ended::Attempt(attempt) if matches!(attempt.outcome, Outcome::Ambiguous { .. }) => {
                let hands = by_hand(blue, green, &run, recorded.facts().as_ref());
                self.events.warn(format!("it is not certain who serves. {hands}"));
                Some(hands)
            }
            _ => None,
        };
        Ok(Played { ended, by_hand })
    }
}

/// Locks the row, and where the lock is kept.
#[derive(Clone)]
struct Hindrance {
    blue: Target,
    green: Target,
    lock: Arc<Mutex<Option<Session>>>,
    events: Events,
}

impl Hindrance {
    async fn begin(self) -> Result<(), ServerError> {
        let purpose = Purpose {
            run: None,
            role: "hinder",
        };
        let accounts = quote::qualified(SCHEMA, "accounts");
        let row = format!("SELECT balance FROM {accounts} WHERE id = {HOT_ACCOUNT}");
        let doing = "lock a row of green on purpose";
        let mut green = Session::open(&self.green, &purpose, ANSWER).await?;
        green.run(doing, "START TRANSACTION", ANSWER).await?;
        // FOR UPDATE is refused under super_read_only. A shared lock is enough to keep an UPDATE waiting.
        let locked = format!("{row} LOCK IN SHARE MODE");
        let _: (i64,) = green.one(doing, &locked, ANSWER).await?;
        *self.lock.lock().await = Some(green);
        // The lock hinders nothing until the load has written to that row on blue. Every transfer changes its balance.
        let mut blue = Session::open(&self.blue, &purpose, ANSWER).await?;
        let (before,): (i64,) = blue.one(doing, &row, ANSWER).await?;
        let changed = async {
            loop {
                let (now,): (i64,) = blue.one(doing, &row, ANSWER).await?;
                if now != before {
                    return Ok::<_, ServerError>(());
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        // Without such a write the deadline is not missed, and the story says so.
        let written = tokio::time::timeout(HOT_WRITE, changed).await;
        self.events.note(format!(
            "on purpose: account {HOT_ACCOUNT} of green is locked by another session{}",
            match written {
                Ok(Ok(())) => "; the load has just written to it on blue, so green cannot follow",
                _ => "; the load does not write to it",
            }
        ));
        blue.close(ANSWER).await;
        Ok(())
    }
}

/// Opens attempts that are hindered.
struct Hindered {
    opening: Opening,
    hindrance: Hindrance,
}

impl Opener for Hindered {
    type Port = HinderedServers;
    type Error = OpenError;

    fn open(&self) -> Pending<Result<HinderedServers, OpenError>> {
        let (opening, hindrance) = (self.opening.open(), self.hindrance.clone());
        Box::pin(async move {
            Ok(HinderedServers {
                inner: opening.await?,
                hindrance,
            })
        })
    }

    fn close(&self, port: &HinderedServers, outcome: &Outcome) -> Pending<Result<(), String>> {
        self.opening.close(&port.inner, outcome)
    }
}

/// The real servers, but for the row that is locked right before the hold.
struct HinderedServers {
    inner: SwitchServers,
    hindrance: Hindrance,
}

impl Servers for HinderedServers {
    fn perform(&self, command: Command, terms: Terms) -> Pending<Answer> {
        self.inner.perform(command, terms)
    }

    fn approach(&self, terms: Terms) -> Pending<Option<Answer>> {
        // The deadline's clock starts with the hold. So the row is locked right before it, when green was just seen
        // caught up.
        let (approach, hindrance) = (self.inner.approach(terms), self.hindrance.clone());
        Box::pin(async move {
            let not_now = approach.await;
            if not_now.is_none()
                && let Err(e) = hindrance.clone().begin().await
            {
                hindrance.events.warn(format!("no row was locked: {e}"));
            }
            not_now
        })
    }

    fn alarm(&self) -> Pending<Alarm> {
        self.inner.alarm()
    }

    fn in_the_way(&self) -> Option<String> {
        self.inner.in_the_way()
    }
}
