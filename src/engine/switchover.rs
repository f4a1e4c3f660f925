//! The whole of a switchover: gates, attempts inside a window, and why it ended.
//!
//! Decides when to try and whether to try again; what happens within an attempt is the machine's. Must not know how a
//! gate is asked or how sessions are opened.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::attempt::{self, Attempt, Times};
use super::event::{EventKind, Events};
use super::hooks::{Hooks, Stopped};
use super::ports::{Journal, Pending, Servers};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::{Decision, Finding, Severity, decide};
use crate::domain::ids::Side;
use crate::domain::machine::{Spec, State};
use crate::domain::outcome::Outcome;
use crate::domain::step::Step;

/// What one look at the gates saw.
#[derive(Debug, Clone, Default)]
pub struct Looked {
    /// Every finding, also those that are ok.
    pub findings: Vec<Finding>,
    /// Something worth saying beside them: a green that cannot keep up.
    pub note: Option<String>,
}

/// What has to be green before a hold.
pub trait Gates: Send + Sync {
    /// Asks every gate now. What cannot be asked is a finding that is not known.
    fn look(&self) -> Pending<Looked>;

    /// Stops whatever the gates write on blue, and sees it stopped. The next look begins it again.
    fn stand_aside(&self) -> Pending<Result<(), String>>;
}

/// Opens the sessions of an attempt.
pub trait Opener: Send + Sync {
    /// The port of one attempt.
    type Port: Servers;
    /// Why it could not be opened; nothing has changed then.
    type Error: Send;

    /// Opens it.
    fn open(&self) -> Pending<Result<Self::Port, Self::Error>>;

    /// Writes an ended attempt's outcome where the servers keep it. An error is shown and changes nothing.
    fn close(&self, port: &Self::Port, outcome: &Outcome) -> Pending<Result<(), String>>;
}

/// How long and how often to try.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// How long to go on looking for a good moment.
    pub window: Duration,
    /// How many times the hold may be tried.
    pub attempts: u32,
    /// Pause between two attempts.
    pub retry_after: Duration,
}

/// How it ended.
#[derive(Debug)]
pub enum Ended<E> {
    /// The last attempt's end.
    Attempt(Box<Attempt>),
    /// The window closed before all gates were green, or one of them does not open by itself: what blocks, told already.
    NotReady(Vec<Finding>, Option<String>),
    /// Somebody asked to stop before the first attempt. Nothing has changed.
    Interrupted,
    /// The sessions of the first attempt could not be opened. Nothing has changed.
    NotOpened(E),
}

/// A finding that was told: which guardrail, about which side, and how much it weighed.
type Told = (GuardrailId, Option<Side>, Severity);

/// How often closed gates are asked again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Everything that stays the same over the attempts of a run.
pub struct Switchover<'a, O: Opener> {
    /// The gates.
    pub gates: &'a dyn Gates,
    /// Opens each attempt's sessions.
    pub opener: &'a O,
    /// What each attempt is to do.
    pub spec: Spec,
    /// The times of each attempt.
    pub times: Times,
    /// How long and how often.
    pub window: Window,
    /// Told before each hold, and at the end.
    pub hooks: &'a Hooks<'a>,
    /// Asks to stop.
    pub cancel: &'a CancellationToken,
    /// Where it is told.
    pub events: &'a Events,
}

impl<E> Ended<E> {
    /// Who serves then; `None` if that is not certain. What ended before a hold left blue serving.
    #[must_use]
    pub fn serves(&self) -> Option<Side> {
        match self {
            Self::Attempt(attempt) => attempt.outcome.serves(),
            Self::NotReady(..) | Self::Interrupted | Self::NotOpened(_) => Some(Side::Blue),
        }
    }
}

impl<O: Opener> Switchover<'_, O> {
    /// Waits for green gates and tries, until it is switched, given up for good, or the window closes. The hooks at the
    /// end are the caller's: they are run when nothing is held, locked or waited for any more.
    pub async fn run(&self, journal: &mut dyn Journal) -> Ended<O::Error> {
        let until = Instant::now() + self.window.window;
        let mut last: Option<Attempt> = None;
        let mut shown = Vec::new();
        for number in 1..=self.window.attempts {
            if let Err(ended) = self.ready(number, until, journal, &mut shown).await {
                // An attempt that was given up is what ended the run, whatever the gates say after it.
                return last.map_or(ended, |attempt| Ended::Attempt(Box::new(attempt)));
            }
            if let Err(why) = self.gates.stand_aside().await {
                let ended = Ended::NotReady(Vec::new(), Some(why));
                return last.map_or(ended, |attempt| Ended::Attempt(Box::new(attempt)));
            }
            let port = match self.opener.open().await {
                Ok(port) => port,
                Err(e) => return last.map_or(Ended::NotOpened(e), |a| Ended::Attempt(Box::new(a))),
            };
            let state = State::new(self.spec);
            let attempt = attempt::run(
                &port,
                journal,
                state,
                &self.times,
                number,
                self.cancel,
                self.events,
            )
            .await;
            if let Err(e) = self.opener.close(&port, &attempt.outcome).await {
                self.events
                    .warn(format!("the outcome is not written down on the servers: {e}"));
            }
            drop(port);
            let again = matches!(&attempt.outcome, Outcome::Released { why, left } | Outcome::RolledBack { why, left }
                if why.kind.may_try_again() && left.is_empty());
            let time_left = until.saturating_duration_since(Instant::now()) > self.window.retry_after;
            if !again || number == self.window.attempts || !time_left || self.cancel.is_cancelled() {
                return Ended::Attempt(Box::new(attempt));
            }
            self.events.say(EventKind::Waiting {
                step: Step::Ready,
                what: format!(
                    "attempt {number} of {} was given up; the next one in {}",
                    self.window.attempts,
                    humantime::format_duration(self.window.retry_after)
                ),
            });
            last = Some(attempt);
            tokio::select! {
                () = sleep(self.window.retry_after) => {}
                () = self.cancel.cancelled() => {}
            }
        }
        last.map_or(Ended::NotReady(Vec::new(), None), |attempt| {
            Ended::Attempt(Box::new(attempt))
        })
    }

    /// Green gates, the hooks before a hold, and gates that are green still. `shown` is what was told of the findings
    /// already, at earlier attempts too.
    async fn ready(
        &self,
        attempt: u32,
        until: Instant,
        journal: &mut dyn Journal,
        shown: &mut Vec<Told>,
    ) -> Result<(), Ended<O::Error>> {
        self.wait_for_gates(until, shown).await?;
        let stopped = self.hooks.before_hold(attempt, journal, self.cancel).await;
        match stopped {
            Ok(()) => {}
            Err(Stopped::Cancelled) => return Err(Ended::Interrupted),
            Err(Stopped::Aborted(why)) => {
                self.events.warn(format!("{why}; nothing is held"));
                return Err(Ended::NotReady(Vec::new(), Some(why)));
            }
        }
        if self.hooks.any_before_hold() {
            // What was green before them may have changed while they ran.
            self.wait_for_gates(until, shown).await?;
        }
        Ok(())
    }

    async fn wait_for_gates(&self, until: Instant, shown: &mut Vec<Told>) -> Result<(), Ended<O::Error>> {
        let mut waited = false;
        loop {
            if self.cancel.is_cancelled() {
                return Err(Ended::Interrupted);
            }
            let looked = self.gates.look().await;
            self.show_new(&looked.findings, shown);
            let blocking = match decide(&looked.findings) {
                Decision::Go => return Ok(()),
                Decision::NoGo(blocking) => blocking,
            };
            // What does not go away by itself is not waited for.
            let passing = blocking.iter().all(Finding::may_pass);
            if !passing || Instant::now() + LOOK_AGAIN > until {
                // What was told before a long wait has scrolled away, and its figures are old.
                if waited {
                    blocking.iter().for_each(|f| self.events.finding(f));
                }
                return Err(Ended::NotReady(blocking, looked.note));
            }
            let reasons: Vec<String> = blocking
                .iter()
                .map(|f| match f.severity {
                    Severity::NotKnown => format!("{}: {}", f.id, f.seen),
                    _ => format!("{}: {} (limit {})", f.id, f.seen, f.limit),
                })
                .chain(looked.note)
                .collect();
            let left = Duration::from_secs(until.saturating_duration_since(Instant::now()).as_secs());
            self.events.say(EventKind::Waiting {
                step: Step::Ready,
                what: format!(
                    "{}; gives up in {}; nobody is held",
                    reasons.join("; "),
                    humantime::format_duration(left)
                ),
            });
            tokio::select! {
                () = sleep(LOOK_AGAIN) => {}
                () = self.cancel.cancelled() => {}
            }
            waited = true;
        }
    }

    /// Tells each finding that is not ok once, and not again for a figure in it that has changed: of those with the same
    /// mark, as many more as there are now.
    fn show_new(&self, findings: &[Finding], shown: &mut Vec<Told>) {
        let mut here = Vec::new();
        let count = |marks: &[Told], mark: Told| marks.iter().filter(|known| **known == mark).count();
        for finding in findings.iter().filter(|f| f.severity != Severity::Ok) {
            let mark = (finding.id, finding.side, finding.severity);
            here.push(mark);
            if count(shown, mark) < count(&here, mark) {
                shown.push(mark);
                self.events.finding(finding);
            }
        }
    }
}

#[cfg(test)]
#[path = "switchover_tests.rs"]
mod tests;
