//! What Ctrl-C, SIGTERM and SIGHUP do: the first asks to stop and says what that means now, the second stops waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::domain::step::Step;
use crate::engine::event::{EventKind, Events, RunEvent};

/// The step that a run is at, for words about it.
#[derive(Debug, Clone, Default)]
pub struct At {
    step: Arc<Mutex<Option<Step>>>,
    promoted: Arc<AtomicBool>,
    without_steps: Option<&'static str>,
}

/// Commands that are given only when green is known to have been promoted.
const AFTER_PROMOTE: [&str; 4] = ["write-epoch", "route", "release", "confirm"];

impl At {
    /// For a command without steps: what asking it to stop does, in its own words.
    #[must_use]
    pub fn without_steps(mut self, words: &'static str) -> Self {
        self.without_steps = Some(words);
        self
    }

    /// Takes an event into account.
    pub fn see(&self, event: &RunEvent) {
        // A wait for the gates begins no step of its own.
        let (EventKind::StepBegan { step, what } | EventKind::Waiting { step, what }) = &event.kind else {
            return;
        };
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = Some(*step);
        if matches!(event.kind, EventKind::StepBegan { .. }) && AFTER_PROMOTE.contains(&what.as_str()) {
            self.promoted.store(true, Ordering::Release);
        }
    }

    /// Whether green was promoted for certain. A terminal that is stuck may keep this from being known.
    #[must_use]
    pub fn is_promoted(&self) -> bool {
        self.promoted.load(Ordering::Acquire)
    }

    /// What asking to stop does now, and what asking once more does.
    fn what_cancel_does(&self) -> String {
        let step = *self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let now = match (step, self.without_steps) {
            (None, Some(words)) => return words.to_owned(),
            (None, None) => "stops; nothing has been changed yet",
            (step, _) => what_cancel_does(step),
        };
        format!("{now}; once more prints the statements to run by hand and leaves")
    }
}

/// What asking to stop does at a step.
#[must_use]
pub fn what_cancel_does(step: Option<Step>) -> &'static str {
    match step {
        None
        | Some(Step::Preflight | Step::Follow | Step::CatchUp | Step::Prove | Step::Warm | Step::WireBack) => {
            "stops; what was changed is put back, blue serves throughout"
        }
        Some(Step::Ready) => "stops; nobody is held, blue serves, and green goes on following it",
        Some(Step::Quiet | Step::Arm | Step::Hold | Step::Fence | Step::Drain | Step::Reprove) => {
            "gives up the hold; waiting writers go on, blue serves"
        }
        Some(Step::Seal | Step::Disarm) => {
            "opens blue again and gives up the hold, unless green has been promoted"
        }
        Some(Step::Promote | Step::Route | Step::Release | Step::Confirm | Step::Soak | Step::Finish) => {
            "does nothing any more: green is being promoted or serves, and the rest is finished"
        }
        Some(Step::Undo) => "does nothing more: what was changed is being put back",
    }
}

/// Listens to the signals for as long as it lives.
pub struct Signals {
    /// Cancelled by the first signal.
    pub stop: CancellationToken,
    /// Cancelled by the second one.
    pub stop_waiting: CancellationToken,
    /// Where the run is.
    pub at: At,
    _task: AbortOnDropHandle<()>,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// The system does not let a program listen to signals.
    pub fn listen(at: At, events: Events) -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let (stop, stop_waiting) = (CancellationToken::new(), CancellationToken::new());
        let (first, second) = (stop.clone(), stop_waiting.clone());
        let here = at.clone();
        let task = tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = interrupt.recv() => "Ctrl-C",
                    _ = terminate.recv() => "SIGTERM",
                    _ = hang_up.recv() => "SIGHUP",
                };
                if first.is_cancelled() {
                    second.cancel();
                    return;
                }
                events.warn(format!("{name}: it {}", at.what_cancel_does()));
                first.cancel();
            }
        });
        Ok(Self {
            stop,
            stop_waiting,
            at: here,
            _task: AbortOnDropHandle::new(task),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: EventKind) -> RunEvent {
        RunEvent {
            seq: 1,
            at: std::time::UNIX_EPOCH,
            elapsed: std::time::Duration::ZERO,
            kind,
        }
    }

    #[test]
    fn promoted_is_what_was_begun_after_promote() {
        let at = At::default();
        for (what, promoted) in [("promote", false), ("read-green", false), ("write-epoch", true)] {
            at.see(&told(EventKind::StepBegan {
                step: Step::Promote,
                what: what.to_owned(),
            }));
            assert_eq!(at.is_promoted(), promoted, "{what}");
        }
    }

    #[test]
    fn nothing_is_said_to_be_put_back_where_nothing_was_changed() {
        let at = At::default();
        assert!(at.what_cancel_does().contains("nothing has been changed yet"));
        // `run` waits for the gates when it has prepared: that is not put back.
        at.see(&told(EventKind::StepBegan {
            step: Step::CatchUp,
            what: String::new(),
        }));
        assert!(at.what_cancel_does().contains("is put back"));
        at.see(&told(EventKind::Waiting {
            step: Step::Ready,
            what: String::new(),
        }));
        assert!(at.what_cancel_does().contains("green goes on following"));

        let watching = At::default().without_steps("ends");
        assert_eq!(watching.what_cancel_does(), "ends");
    }

    #[test]
    fn after_promote_a_cancel_is_said_to_do_nothing() {
        for step in Step::ALL {
            let words = what_cancel_does(Some(step));
            let past = matches!(
                step,
                Step::Promote | Step::Route | Step::Release | Step::Confirm | Step::Soak | Step::Finish
            );
            assert_eq!(words.contains("nothing any more"), past, "{step}");
        }
    }
}
