//! Every way back, and taking over a run that ended without an outcome.
//!
//! There is one order for all of them: first what could still open green, then what green shows, then the seal, the
//! hold, the guard and the settings. Whatever is certain not to be in force is passed over.

use super::{Answer, Command, HoldKind, Made, Phase, Promotion, Seen, State, WhyKind, forward};
use crate::domain::outcome::{Outcome, Why};
use crate::domain::step::Step;

/// Chooses what is to be undone next; ends the attempt when nothing is left.
pub(super) fn out(state: &mut State) -> Option<Command> {
    match state.promotion {
        // Before anything is decided: the statement may still run (DESIGN I6).
        Promotion::Sent => return state.send(Phase::EndingPromoter, Command::EndPromoter),
        Promotion::SessionGone => return state.send(Phase::ReadingGreen, Command::ReadGreen),
        Promotion::Yes | Promotion::No => {}
    }
    if state.seal != Made::No {
        // While the seal's own session may still run it, an unseal could be overtaken: that session goes first.
        // A seal that was seen is undone on the holding session, so that the waiting writers never meet it.
        if state.seal == Made::Maybe && state.hold != Made::No {
            return state.send(Phase::EndingHolder, Command::EndHolder);
        }
        return state.send(Phase::Unsealing, Command::Unseal);
    }
    if state.hold != Made::No {
        return state.send(Phase::GivingUp, Command::GiveUpHold);
    }
    if state.guard != Made::No {
        return state.send(Phase::EndingGuard, Command::EndGuard);
    }
    if state.quiet != Made::No {
        return state.send(Phase::PuttingBack, Command::PutBack);
    }
    if state.back != Made::No {
        return state.send(Phase::UnwiringBack, Command::UnwireBack);
    }
    finish(state)
}

/// Takes the answer of an undo. What failed is sent again, until the undo's own time is up: each of these commands is
/// harmless when repeated, and looks before it acts.
pub(super) fn answered(state: &mut State, answer: &Answer) -> Option<Command> {
    let seen = match answer {
        Answer::Seen(seen) => seen,
        // What is left to undo is another bleen's now: trying again could only get in its way.
        Answer::Refused(WhyKind::TakenOver, detail) => {
            state.trouble = Some(detail.clone());
            return stop_undoing(state, WhyKind::TakenOver);
        }
        Answer::Refused(_, detail) | Answer::Unknown(detail) => {
            state.trouble = Some(detail.clone());
            if state.phase == Phase::Unsealing {
                // The unseal itself may still run, and must not run into a later seal: end what sent it.
                state.seal = Made::Maybe;
                state.hold = Made::Maybe;
            }
            return again(state);
        }
    };
    match (state.phase, seen) {
        (Phase::TakingOver, Seen::Done) => {
            // The guard is left for the last: until blue is open again it is what opens blue if this run dies too.
            state.hold = Made::No;
            state.promotion = Promotion::SessionGone;
        }
        (Phase::EndingPromoter, Seen::Done) => state.promotion = Promotion::SessionGone,
        (
            Phase::ReadingGreen,
            Seen::Green {
                read_only,
                epoch,
                own,
                blue_sealed,
                has_all,
                forgot,
            },
        ) => {
            if let Some(sealed) = blue_sealed {
                state.was_sealed |= *sealed;
            }
            let green = Green {
                shut: *read_only,
                epoch: *epoch,
                own: own.as_deref(),
                blue_sealed: *blue_sealed,
                has_all: *has_all,
                forgot: *forgot,
            };
            return green_read(state, &green);
        }
        (Phase::EndingHolder | Phase::GivingUp, Seen::Done) => state.hold = Made::No,
        (Phase::Unsealing, Seen::Opened { was_sealed }) => {
            state.seal = Made::No;
            if state.spec.hold == HoldKind::Refuse {
                // There the hold was the read-only flag itself.
                state.hold = Made::No;
            } else {
                state.was_sealed |= *was_sealed;
            }
        }
        (Phase::EndingGuard, Seen::Done) => state.guard = Made::No,
        (Phase::PuttingBack, Seen::Left(left)) => {
            state.quiet = Made::No;
            state.debt.extend(left.iter().cloned());
        }
        (Phase::PuttingBack, Seen::Done) => state.quiet = Made::No,
        (Phase::UnwiringBack, Seen::Done) => state.back = Made::No,
        (Phase::UnwiringBack, Seen::Left(left)) => {
            state.back = Made::No;
            state.debt.extend(left.iter().cloned());
        }
        (_, other) => {
            state.trouble = Some(format!("an answer of another kind: {other:?}"));
            return again(state);
        }
    }
    out(state)
}

fn again(state: &mut State) -> Option<Command> {
    match state.phase {
        Phase::TakingOver => state.send(Phase::TakingOver, Command::EndEarlierSessions),
        _ => out(state),
    }
}

/// What green shows after the session that could have opened it is gone, and blue beside it.
struct Green<'a> {
    shut: bool,
    epoch: bool,
    own: Option<&'a str>,
    blue_sealed: Option<bool>,
    has_all: Option<bool>,
    forgot: bool,
}

/// What a person is told who has to find out whether green was promoted.
const MAY_HAVE_BEEN_OPEN: &str = "whether green was promoted is not known: it is read-only, without this run's epoch row \
     and without a write of its own, but it has restarted since the run began, and does not remember over a restart that \
     it was opened. The journal of the machine where the run was begun may know: `bleen resume` there. Else look where \
     the applications are pointed: at blue, then go on by hand with step 3a; at green, then with 3b. No write is lost by \
     either";

/// Decides who serves.
fn green_read(state: &mut State, green: &Green<'_>) -> Option<Command> {
    let blue_open = green.blue_sealed == Some(false);
    // A record of the promote is as good as the epoch row: nothing says "rolled back" any more (DESIGN I5).
    let seen = Green {
        epoch: green.epoch || state.known_promoted,
        ..*green
    };
    let detail = match &seen {
        // A run of its own may still give up: it knows that it pointed no traffic at green. A resumed one does not, and
        // to open blue, or to call it rolled back, could leave the applications at a green that refuses them. No write
        // is at stake, only whom to serve from; so both stay shut until somebody has looked.
        Green {
            shut: true,
            epoch: false,
            own: None,
            forgot: true,
            ..
        } if state.resumed => {
            return ambiguous(state, WhyKind::CannotSee, MAY_HAVE_BEEN_OPEN.to_owned());
        }
        Green {
            shut: true,
            epoch: false,
            own: None,
            ..
        } => {
            state.promotion = Promotion::No;
            return out(state);
        }
        // It may have opened, taken these, and come back shut after a crash. Opening blue could lose them.
        Green {
            shut: true,
            epoch: false,
            own: Some(own),
            ..
        } => format!("green is read-only but executed transactions that blue has not: {own}"),
        Green { shut: true, epoch: true, .. } if blue_open => {
            "green was promoted and is read-only again, and blue accepts writes: both may hold writes that the other \
             lacks"
                .to_owned()
        }
        Green { shut: true, epoch: true, blue_sealed: None, .. } => {
            "green was promoted and is read-only again, and blue could not be read: green may only be opened beside a \
             read-only blue"
                .to_owned()
        }
        // The run may have ended before its promote, and somebody else, or a restart, have opened green. A run of its
        // own saw blue sealed and green drained before it sent the statement; a resumed one has seen nothing.
        Green { shut: false, epoch: false, .. } if state.resumed && green.blue_sealed != Some(true) => {
            "green accepts writes without this run's epoch row, and blue accepts writes or could not be read: it may \
             be open by other means than the promote of this run, and lack writes of blue; if so, set it read-only, then \
             `bleen resume`"
                .to_owned()
        }
        Green { shut: false, epoch: false, .. } if state.resumed && green.has_all != Some(true) => {
            "green accepts writes without this run's epoch row, and could not be seen to have executed everything that \
             blue has: it may be open by other means than the promote of this run; if so, set it read-only, then `bleen \
             resume`"
                .to_owned()
        }
        _ => return green_serves(state, green, blue_open),
    };
    ambiguous(state, WhyKind::GreenWritten, detail)
}

fn green_serves(state: &mut State, green: &Green<'_>, blue_open: bool) -> Option<Command> {
    // One without the epoch row may have been opened by other means, which its next restart would not remember.
    state.reopen = green.shut || !green.epoch;
    state.epoch_missing = !green.epoch;
    // A guard that may still be there would open blue beside green. It goes first, blue is sealed behind it, and both
    // are read once more: what blue took before that counts.
    let guarded = state.resumed && state.guard != Made::No;
    if blue_open {
        let back =
            "blue had come back writable and was sealed again: look for transactions that it took meanwhile";
        if !state.debt.iter().any(|debt| debt.what == back) {
            state.owe(back);
        }
    }
    if !guarded {
        state.promotion = Promotion::Yes;
        if state.resumed && green.blue_sealed.is_none() {
            state.owe("blue could not be read: see that it is read-only");
        }
        if green.has_all == Some(false) {
            state.owe("blue has executed transactions that green has not: look for them in blue's binlog");
        }
    }
    if guarded || blue_open {
        return state.send(Phase::Resealing, Command::Reseal);
    }
    forward::reopen_or_route(state)
}

/// The time that undoing has is used up.
pub(super) fn time_up(state: &mut State) -> Option<Command> {
    stop_undoing(state, WhyKind::CannotSee)
}

/// Ends with what is known: nothing more can be undone.
fn stop_undoing(state: &mut State, kind: WhyKind) -> Option<Command> {
    let undecided = state.promotion != Promotion::No;
    let trouble = state.trouble.clone().unwrap_or_else(|| "no answer".to_owned());
    if undecided || state.seal != Made::No || state.hold != Made::No {
        let what = if undecided {
            "whether green was opened could not be found out"
        } else if state.seal != Made::No {
            "blue could not be seen writable again"
        } else {
            "the hold on blue could not be seen released; the server gives it up by itself at the deadline"
        };
        return ambiguous(state, kind, format!("{what}: {trouble}"));
    }
    if state.guard != Made::No {
        state.owe(format!(
            "the guard on blue ends by itself and only opens what is open: {trouble}"
        ));
    }
    if state.quiet != Made::No {
        state.owe(format!(
            "settings changed before the hold are not put back, run `bleen resume`: {trouble}"
        ));
    }
    if state.back != Made::No {
        state.owe(format!(
            "blue may still follow green, run `bleen resume`: {trouble}"
        ));
    }
    finish(state)
}

fn ambiguous(state: &mut State, kind: WhyKind, detail: String) -> Option<Command> {
    let detail = match &state.why {
        Some(first) => format!("{detail} (it was being given up {first})"),
        None => detail,
    };
    let why = Why {
        step: Step::Undo,
        kind,
        detail,
    };
    state.end(Outcome::Ambiguous { why })
}

fn finish(state: &mut State) -> Option<Command> {
    let why = state.why.clone().unwrap_or(Why {
        step: Step::Undo,
        kind: WhyKind::Cancelled,
        detail: "given up without a reason".to_owned(),
    });
    let left = std::mem::take(&mut state.debt);
    let outcome = if state.was_sealed {
        Outcome::RolledBack { why, left }
    } else {
        Outcome::Released { why, left }
    };
    state.end(outcome)
}

#[cfg(test)]
mod tests {
    use super::super::{Event, Spec, next};
    use super::*;
    use crate::domain::outcome::Why;

    /// The command that follows when a run is taken over whose green is read-only, without its epoch row or a write.
    fn after_reading_green(known_promoted: bool, blue_sealed: bool, forgot: bool) -> Option<Command> {
        let spec = Spec {
            hold: HoldKind::Lock,
            reprove: false,
            way_back: false,
        };
        let why = Why {
            step: Step::Ready,
            kind: WhyKind::AnswerLost,
            detail: String::new(),
        };
        let mut state = State::resuming(spec, None, why);
        state.known_promoted = known_promoted;
        let (state, command) = next(&state, &Event::Begin);
        assert_eq!(command, Some(Command::EndEarlierSessions));
        let (state, command) = next(&state, &Event::Answered(state.number, Answer::Seen(Seen::Done)));
        assert_eq!(command, Some(Command::ReadGreen));
        let shut = Seen::Green {
            read_only: true,
            epoch: false,
            own: None,
            blue_sealed: Some(blue_sealed),
            has_all: Some(true),
            forgot,
        };
        let (state, command) = next(&state, &Event::Answered(state.number, Answer::Seen(shut)));
        assert_eq!(
            command.is_none(),
            matches!(state.outcome, Some(Outcome::Ambiguous { .. }))
        );
        command
    }

    #[test]
    fn a_green_that_is_known_to_have_been_promoted_is_never_passed_over() {
        assert_eq!(after_reading_green(false, true, false), Some(Command::Unseal));
        assert_eq!(after_reading_green(true, true, false), Some(Command::Reseal));
        // Both may hold writes that the other lacks.
        assert_eq!(after_reading_green(true, false, false), None);
    }

    #[test]
    fn a_green_that_may_have_forgotten_its_promote_is_never_said_to_be_rolled_back() {
        assert_eq!(after_reading_green(false, true, true), None);
        assert_eq!(after_reading_green(false, false, true), None);
        // The journal knows what green forgot.
        assert_eq!(after_reading_green(true, true, true), Some(Command::Reseal));
    }
}
