//! One attempt to switch, or the taking over of one: runs the machine on the ports.
//!
//! Journal first, then the effect; a deadline, a cancel and the watchers beside every command; an undo with a time of
//! its own. It must not know a statement or a driver, and decides nothing that the machine can decide.
//!
//! **What the disk has when this machine loses its power, or the disk is stuck.** The records before the hold, and the
//! first of a takeover, are on disk before their effect. All later ones are given to the system and not synced, and the
//! outcome's brings them to the disk: a sync takes milliseconds in which writers wait, and on a stuck disk it never
//! ends, while blue may be sealed and the guard gone. They outlive bleen, not the machine. Nothing depends on them. Every
//! value that must be put back stands in the run's row on blue before the first change; what came of each later step the
//! servers show themselves (flags, sessions, the guard, green's epoch row and its own transactions); and whoever takes
//! the run over reads those, ends its sessions first, and takes everything that it cannot see undone for perhaps done.
//! Of the window's records it needs none: they tell people what happened. `tests/journal_lost.rs` resumes from a journal
//! that ends with the hold's record, and from none.

use std::time::{Duration, Instant};

use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::event::{EventKind, Events, in_milliseconds};
use super::fault;
use super::ports::{Alarm, Journal, Record, Servers, Terms};
use crate::domain::machine::{Answer, Command, Event, Phase, Promotion, State, next};
use crate::domain::outcome::{Outcome, WhyKind};
use crate::domain::step::Step;

/// The times of an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From the hold's statement to promote confirmed.
    pub deadline: Duration,
    /// How long a single statement may take to answer outside of waits.
    pub answer: Duration,
    /// How long routing may take.
    pub route: Duration,
    /// How long undoing may go on. Reaches beyond the guard's time, so that what the server does by itself is seen.
    pub undo: Duration,
    /// How long after-promote work (release with its grace, confirm) may take.
    pub after: Duration,
}

/// How long one command took.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Which command.
    pub command: &'static str,
    /// How long.
    pub took: Duration,
}

/// An ended attempt.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// How it ended.
    pub outcome: Outcome,
    /// From the hold's statement sent to promote confirmed, or, if it was not, to the hold given up.
    pub pause: Option<Duration>,
    /// What each command took, in order.
    pub timings: Vec<Timing>,
    /// The deadline that would have been enough, in words, where that can be said.
    pub enough: Option<String>,
}

/// Pause between two tries of an undo that failed.
const UNDO_PAUSE: Duration = Duration::from_millis(200);

/// Runs the machine from `state` until it is over.
///
/// `cancel` is a request: what it does depends on the step, and after promote it does nothing. Dropping the future is
/// as if bleen had died: the servers release the hold by themselves, and `resume` finishes.
pub async fn run(
    servers: &dyn Servers,
    journal: &mut dyn Journal,
    state: State,
    times: &Times,
    number: u32,
    cancel: &CancellationToken,
    events: &Events,
) -> Attempt {
    let mut run = Running {
        servers,
        journal,
        times,
        attempt: number,
        events,
        deadline: None,
        held_from: None,
        pause: None,
        undo_until: None,
        timings: Vec::new(),
    };
    let (mut state, mut command) = next(&state, &Event::Begin);
    while let Some(current) = command.take() {
        let (after, following) = run.carry_out(&state, current, cancel).await;
        state = after;
        command = following;
    }
    let outcome = state.outcome.clone().unwrap_or(Outcome::Ambiguous {
        why: crate::domain::outcome::Why {
            step: state.phase.step(),
            kind: WhyKind::CannotSee,
            detail: "the machine stopped without an outcome".to_owned(),
        },
    });
    run.record(
        &Record::Outcome {
            attempt: number,
            outcome: outcome.clone(),
        },
        true,
    );
    let enough = run.enough(&outcome);
    events.say(EventKind::AttemptEnded {
        attempt: number,
        result: outcome.clone(),
        pause_ms: run.pause.map(in_milliseconds),
        enough: enough.clone(),
    });
    Attempt {
        outcome,
        pause: run.pause,
        timings: run.timings,
        enough,
    }
}

struct Running<'a> {
    servers: &'a dyn Servers,
    journal: &'a mut dyn Journal,
    times: &'a Times,
    attempt: u32,
    events: &'a Events,
    deadline: Option<Instant>,
    held_from: Option<Instant>,
    pause: Option<Duration>,
    undo_until: Option<Instant>,
    timings: Vec<Timing>,
}

impl Running<'_> {
    /// Performs one command and feeds the machine until it asks for another one or is over.
    async fn carry_out(
        &mut self,
        state: &State,
        command: Command,
        cancel: &CancellationToken,
    ) -> (State, Option<Command>) {
        let mut state = state.clone();
        let name = command.name();
        let step = state.phase.step();
        if let Err(refused) = self.write_ahead(&state, &command) {
            return next(&state, &Event::Answered(state.number, refused));
        }
        if state.is_backing_out() {
            let until = *self
                .undo_until
                .get_or_insert_with(|| Instant::now() + self.times.undo);
            if state.trouble.is_some() && Instant::now() < until {
                sleep(UNDO_PAUSE).await;
            }
        }
        if command == Command::TakeHold {
            // After the journal, whose disk may take its time: what was seen right before the hold is to be fresh.
            let terms = Terms {
                deadline: None,
                budget: self.times.answer,
            };
            let event = tokio::select! {
                biased;
                () = cancel.cancelled(), if !state.cancelled => Some(Event::CancelAsked),
                answer = self.servers.approach(terms) => answer.map(|a| Event::Answered(state.number, a)),
            };
            if let Some(event) = event {
                let (after, following) = next(&state, &event);
                self.ended(&command, step, &event, &after, Duration::ZERO);
                return (after, following);
            }
        }
        self.events.say(EventKind::StepBegan {
            step,
            what: name.to_owned(),
        });
        fault::point(name, "before").await;
        let began = Instant::now();
        if command == Command::TakeHold {
            self.held_from = Some(began);
            self.deadline = Some(began + self.times.deadline);
        }
        let terms = Terms {
            deadline: self.deadline,
            budget: self.budget(&command),
        };
        let mut answer = self.servers.perform(command.clone(), terms);
        let number = state.number;
        // An alarm that the machine does not act on would be said again at once; its command's own answer decides.
        let mut alarmed = false;
        loop {
            // Looked at by the clock first: after a stall of this process the timer and an answer come together, and
            // an answer that was taken after the deadline is no reason to go on.
            let may_be_late = !state.late && state.is_in_window();
            let is_late = may_be_late && self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let event = tokio::select! {
                biased;
                () = std::future::ready(()), if is_late => Event::DeadlinePassed(self.missed(&state)),
                answer = &mut answer => Event::Answered(number, answer),
                () = until(self.deadline), if may_be_late => Event::DeadlinePassed(self.missed(&state)),
                () = cancel.cancelled(), if !state.cancelled => Event::CancelAsked,
                alarm = self.servers.alarm(), if state.is_in_window() && !alarmed => match alarm {
                    Alarm::HoldLost(detail) => Event::HoldLost(detail),
                    Alarm::ApplierStopped(detail) => Event::ApplierStopped(detail),
                },
                () = until(self.undo_until), if state.is_backing_out() => Event::UndoTimeUp,
            };
            let took = began.elapsed();
            let (after, following) = next(&state, &event);
            let ended = after.number != state.number || after.outcome.is_some();
            if ended {
                drop(answer);
                self.ended(&command, step, &event, &after, took);
                fault::point(name, "after").await;
                return (after, following);
            }
            alarmed |= matches!(event, Event::HoldLost(_) | Event::ApplierStopped(_));
            state = after;
        }
    }

    /// The journal before the effect. Which records are on disk first, and why no others, stands at the top of this
    /// module.
    fn write_ahead(&mut self, state: &State, command: &Command) -> Result<(), Answer> {
        let before_the_hold = matches!(
            command,
            Command::WireBack | Command::Quiet | Command::ArmGuard | Command::TakeHold
        );
        let durable = before_the_hold || (state.phase == Phase::TakingOver && state.number == 1);
        let record = Record::Command {
            attempt: self.attempt,
            command: command.clone(),
            undo: command.undo(),
            state: Box::new(state.clone()),
        };
        match self.journal.append(&record, durable) {
            Ok(()) => Ok(()),
            // Undoing, and finishing after promote, go on without a journal: the servers know what there is to do.
            Err(e) if state.resumed || state.is_backing_out() || state.promotion == Promotion::Yes => {
                self.events.warn(e.to_string());
                Ok(())
            }
            Err(e) => Err(Answer::Refused(WhyKind::Refused, e.to_string())),
        }
    }

    fn record(&mut self, record: &Record, durable: bool) {
        if let Err(e) = self.journal.append(record, durable) {
            self.events.warn(e.to_string());
        }
    }

    fn budget(&self, command: &Command) -> Duration {
        match command {
            Command::Drain { .. } | Command::DrainSealed { .. } | Command::Reprove | Command::TakeHold => {
                // They end with the deadline; the margin is for the answer to arrive.
                self.times.deadline + self.times.answer
            }
            Command::Route => self.times.route,
            Command::Reopen | Command::Release | Command::Confirm => self.times.after,
            _ => self.times.answer,
        }
    }

    /// Why the deadline is missed, with what the watchers saw.
    fn missed(&self, state: &State) -> String {
        let waited = match state.phase {
            Phase::Holding => "waiting for the hold to be granted",
            Phase::Draining | Phase::DrainingSealed => "waiting for green to execute the fence position",
            Phase::Reproving => "comparing at the fence",
            _ => "under the hold",
        };
        let limit = humantime::format_duration(self.times.deadline);
        match self.servers.in_the_way() {
            Some(seen) => format!("the deadline of {limit} passed {waited}; in the way: {seen}"),
            None => format!("the deadline of {limit} passed {waited}; nothing was seen in the way"),
        }
    }

    fn ended(&mut self, command: &Command, step: Step, event: &Event, after: &State, took: Duration) {
        self.timings.push(Timing {
            command: command.name(),
            took,
        });
        let released = matches!(
            command,
            Command::GiveUpHold | Command::EndHolder | Command::Unseal
        );
        let promoted = after.promotion == Promotion::Yes;
        if self.pause.is_none() && (promoted || (released && !after.is_in_window())) {
            self.pause = self.held_from.map(|from| from.elapsed());
        }
        if let Event::Answered(number, answer) = event {
            self.record(
                &Record::Answered {
                    number: *number,
                    answer: answer.clone(),
                },
                false,
            );
        }
        let what = match event {
            Event::Answered(_, Answer::Seen(seen)) => {
                let what = super::words::seen(command, seen);
                self.events.say(EventKind::StepDone { step, what, took });
                return;
            }
            Event::Answered(_, Answer::Refused(_, detail) | Answer::Unknown(detail)) => detail.clone(),
            Event::DeadlinePassed(detail) | Event::HoldLost(detail) | Event::ApplierStopped(detail) => {
                detail.clone()
            }
            Event::CancelAsked => "the operator asked to stop".to_owned(),
            Event::UndoTimeUp => "the time that undoing has is used up".to_owned(),
            Event::Begin => return,
        };
        // Some commands have no other name than their step.
        let why = if command.name() == step.id() {
            what
        } else {
            format!("{}: {what}", command.name())
        };
        self.events.say(EventKind::StepFailed { step, why, took });
    }

    /// The deadline that would have been enough. Only said where it is known: when everything was waited for and only
    /// the sum was too long. A wait that had no end in sight has no such deadline.
    fn enough(&self, outcome: &Outcome) -> Option<String> {
        let (Outcome::Released { why, .. } | Outcome::RolledBack { why, .. }) = outcome else {
            return None;
        };
        if why.kind != WhyKind::DeadlineMissed {
            return None;
        }
        Some(match self.servers.in_the_way() {
            Some(seen) => format!("not known: it depends on what was in the way ({seen})"),
            None => format!(
                "more than {}: the wait was cut off at the deadline and its end was not seen",
                humantime::format_duration(self.times.deadline)
            ),
        })
    }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
