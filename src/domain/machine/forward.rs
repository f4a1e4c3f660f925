//! The way from the first change to promote, and from promote to the end.

use super::{Answer, Command, Made, Phase, Promotion, Seen, State, WhyKind, back};
use crate::domain::outcome::Outcome;

/// How often blue may move under the seal by transactions without rows before the attempt is given up.
const MOVES: u8 = 3;

/// The first command: the way back is wired before anything waits, and only where one is wanted.
pub(super) fn begin(state: &mut State) -> Option<Command> {
    if !state.spec.way_back {
        return quiet(state);
    }
    state.back = Made::Maybe;
    state.send(Phase::WiringBack, Command::WireBack)
}

fn quiet(state: &mut State) -> Option<Command> {
    state.quiet = Made::Maybe;
    state.send(Phase::Quieting, Command::Quiet)
}

/// Takes the answer of a command of the way forward.
pub(super) fn answered(state: &mut State, answer: &Answer) -> Option<Command> {
    // What is left to do is another bleen's now: going on could only get in its way.
    if state.promotion == Promotion::Yes
        && let Answer::Refused(WhyKind::TakenOver, detail) = answer
    {
        state.owe(format!(
            "left to the bleen that has taken this run over: {detail}"
        ));
        let debt = std::mem::take(&mut state.debt);
        return state.end(Outcome::Switched { debt });
    }
    match state.phase {
        Phase::WiringBack => wired_back(state, answer),
        Phase::Quieting => quieted(state, answer),
        Phase::Arming => armed(state, answer),
        Phase::Holding => held(state, answer),
        Phase::Fencing => fenced(state, answer),
        Phase::Draining => drained(state, answer),
        Phase::Reproving => reproved(state, answer),
        Phase::Sealing => sealed(state, answer),
        Phase::Disarming | Phase::DrainingSealed => disarmed(state, answer),
        Phase::Inspecting => inspected(state, answer),
        Phase::Promoting => promoted(state, answer),
        Phase::Resealing => resealed(state, answer),
        Phase::Reopening => reopened(state, answer),
        Phase::WritingEpoch => epoch_written(state, answer),
        Phase::Routing => {
            left_to_do(state, answer, "point the traffic at green");
            state.send(Phase::Releasing, Command::Release)
        }
        Phase::Releasing => {
            left_to_do(state, answer, "give up the hold on blue");
            state.hold = Made::No;
            state.released = true;
            reopen_or_route(state)
        }
        Phase::Confirming => {
            left_to_do(state, answer, "confirm the switch");
            let debt = std::mem::take(&mut state.debt);
            state.end(Outcome::Switched { debt })
        }
        _ => None,
    }
}

/// The deadline passed or somebody asked to stop. What only waits or reads is given up at once; a statement that
/// changes blue or green is waited for, because its answer decides what there is to undo.
pub(super) fn interrupted(state: &mut State, kind: WhyKind, detail: &str) -> Option<Command> {
    match state.phase {
        Phase::Fencing | Phase::Draining | Phase::Reproving | Phase::Inspecting | Phase::DrainingSealed => {
            state.give_up(kind, detail);
            back::out(state)
        }
        // The hold's statement may still be granted: backing out ends its session.
        Phase::Holding => {
            state.give_up(kind, detail);
            back::out(state)
        }
        _ => None,
    }
}

/// The holding session is gone: writers go on. Nothing that was read under the hold counts any more.
pub(super) fn hold_lost(state: &mut State, detail: &str) -> Option<Command> {
    match state.phase {
        Phase::Fencing | Phase::Draining | Phase::Reproving | Phase::Inspecting | Phase::DrainingSealed => {
            state.give_up(WhyKind::HoldLost, detail);
            back::out(state)
        }
        // Under the seal and the disarm the answer itself tells.
        _ => None,
    }
}

/// Nobody would answer the wait.
pub(super) fn applier_stopped(state: &mut State, detail: &str) -> Option<Command> {
    match state.phase {
        Phase::Draining | Phase::DrainingSealed => {
            state.give_up(WhyKind::ApplierStopped, detail);
            back::out(state)
        }
        _ => None,
    }
}

/// Deadline and cancel are looked at again before each step that changes something.
fn may_go_on(state: &mut State) -> bool {
    if state.late {
        state.give_up(WhyKind::DeadlineMissed, "the deadline passed");
    } else if state.cancelled {
        state.give_up(WhyKind::Cancelled, "the operator asked to stop");
    }
    state.why.is_none()
}

fn failed(state: &mut State, answer: &Answer) -> Option<Command> {
    match answer {
        Answer::Refused(kind, detail) => state.give_up(*kind, detail.clone()),
        Answer::Unknown(detail) => state.give_up(WhyKind::AnswerLost, detail.clone()),
        Answer::Seen(seen) => {
            state.give_up(
                WhyKind::AnswerLost,
                format!("an answer of another kind: {seen:?}"),
            );
        }
    }
    back::out(state)
}

fn wired_back(state: &mut State, answer: &Answer) -> Option<Command> {
    state.back = match answer {
        Answer::Seen(Seen::Done) => Made::Yes,
        Answer::Seen(Seen::NoWayBack(_)) => Made::No,
        // Refused half-way, it may follow already: it stays *maybe*.
        other => return failed(state, other),
    };
    if !may_go_on(state) {
        return back::out(state);
    }
    quiet(state)
}

fn quieted(state: &mut State, answer: &Answer) -> Option<Command> {
    match answer {
        Answer::Seen(Seen::Done) => {
            state.quiet = Made::Yes;
            if !may_go_on(state) {
                return back::out(state);
            }
            state.guard = Made::Maybe;
            state.send(Phase::Arming, Command::ArmGuard)
        }
        other => failed(state, other),
    }
}

fn armed(state: &mut State, answer: &Answer) -> Option<Command> {
    match answer {
        Answer::Seen(Seen::Done) => {
            state.guard = Made::Yes;
            if !may_go_on(state) {
                return back::out(state);
            }
            state.hold = Made::Maybe;
            if state.spec.hold == super::HoldKind::Refuse {
                // Here the hold is read-only itself, so there is a seal to undo from now on.
                state.seal = Made::Maybe;
            }
            state.send(Phase::Holding, Command::TakeHold)
        }
        // Refused may mean that it sleeps and green was not ready: looking for it once more is harmless.
        other => failed(state, other),
    }
}

fn held(state: &mut State, answer: &Answer) -> Option<Command> {
    match answer {
        Answer::Seen(Seen::Done) => {
            state.hold = Made::Yes;
            if !may_go_on(state) {
                return back::out(state);
            }
            state.send(Phase::Fencing, Command::ReadFence)
        }
        // Even a refused FLUSH TABLES WITH READ LOCK leaves the lock with its session (1205): it stays *maybe*.
        other => failed(state, other),
    }
}

fn fenced(state: &mut State, answer: &Answer) -> Option<Command> {
    match answer {
        Answer::Seen(Seen::Fence {
            position,
            prepared_xa,
        }) => {
            if *prepared_xa > 0 {
                let detail = format!(
                    "{prepared_xa} prepared XA transaction(s) on blue: their XA COMMIT would go through the seal and be lost"
                );
                state.give_up(WhyKind::XaPrepared, detail);
            }
            if state.why.is_some() || !may_go_on(state) {
                return back::out(state);
            }
            state.fence = Some(position.clone());
            state.send(Phase::Draining, Command::Drain { to: position.clone() })
        }
        other => failed(state, other),
    }
}

fn drained(state: &mut State, answer: &Answer) -> Option<Command> {
    match answer {
        Answer::Seen(Seen::Done) => {
            if !may_go_on(state) {
                return back::out(state);
            }
            if state.spec.reprove {
                return state.send(Phase::Reproving, Command::Reprove);
            }
            seal(state)
        }
        other => failed(state, other),
    }
}

fn reproved(state: &mut State, answer: &Answer) -> Option<Command> {
    match answer {
        Answer::Seen(Seen::Done) if may_go_on(state) => seal(state),
        Answer::Seen(Seen::Done) => back::out(state),
        other => failed(state, other),
    }
}

fn seal(state: &mut State) -> Option<Command> {
    state.seal = Made::Maybe;
    state.send(Phase::Sealing, Command::Seal)
}

fn sealed(state: &mut State, answer: &Answer) -> Option<Command> {
    match answer {
        Answer::Seen(Seen::Done) => {
            state.seal = Made::Yes;
            state.was_sealed = true;
            if !may_go_on(state) {
                return back::out(state);
            }
            state.send(Phase::Disarming, Command::Disarm)
        }
        // An error of the seal is unknown (DESIGN step 11): it may hide that it took effect. It stays *maybe*.
        other => failed(state, other),
    }
}

fn disarmed(state: &mut State, answer: &Answer) -> Option<Command> {
    let Answer::Seen(Seen::Sealed {
        guard_gone,
        sealed,
        position,
    }) = answer
    else {
        return failed(state, answer);
    };
    if *guard_gone {
        state.guard = Made::No;
    }
    if !guard_gone {
        state.give_up(
            WhyKind::CannotSee,
            "the guard's session was told to end and is still there",
        );
    } else if !sealed {
        // The guard fired before it could be ended: blue has been writable since.
        state.give_up(
            WhyKind::HoldLost,
            "blue is not sealed any more: the guard, or somebody, opened it",
        );
    }
    if state.why.is_some() || !may_go_on(state) {
        return back::out(state);
    }
    if state.fence.as_ref() == Some(position) {
        state.promotion = Promotion::Sent;
        return state.send(Phase::Promoting, Command::Promote);
    }
    if state.moves >= MOVES {
        state.give_up(
            WhyKind::BlueMoved,
            format!("blue's position moved {MOVES} times under the seal"),
        );
        return back::out(state);
    }
    state.moves += 1;
    state.moved_to = Some(position.clone());
    state.send(Phase::Inspecting, Command::ReadMoved { to: position.clone() })
}

fn inspected(state: &mut State, answer: &Answer) -> Option<Command> {
    match answer {
        Answer::Seen(Seen::Moved { rows: Some(rows) }) => {
            state.give_up(
                WhyKind::BlueMoved,
                format!("blue was written under the seal: {rows}"),
            );
            back::out(state)
        }
        Answer::Seen(Seen::Moved { rows: None }) if may_go_on(state) => {
            // Without rows it is no application's change; green has to execute it all the same, and blue has to be
            // seen standing still there.
            let Some(to) = state.moved_to.take() else {
                return back::out(state);
            };
            state.fence = Some(to.clone());
            state.send(Phase::DrainingSealed, Command::DrainSealed { to })
        }
        Answer::Seen(Seen::Moved { rows: None }) => back::out(state),
        other => failed(state, other),
    }
}

fn promoted(state: &mut State, answer: &Answer) -> Option<Command> {
    match answer {
        Answer::Seen(Seen::Green {
            read_only: false,
            epoch,
            ..
        }) => onward(state, *epoch),
        Answer::Seen(Seen::Green { epoch: true, .. }) => onward(state, true),
        Answer::Refused(kind, detail) => {
            // Green answered that it stayed shut: nothing of it can still run.
            state.promotion = Promotion::No;
            state.give_up(*kind, detail.clone());
            back::out(state)
        }
        other => failed(state, other),
    }
}

/// Past the point of no return: from here on there is only forward.
pub(super) fn onward(state: &mut State, epoch: bool) -> Option<Command> {
    state.promotion = Promotion::Yes;
    if epoch {
        state.send(Phase::Routing, Command::Route)
    } else {
        write_epoch(state)
    }
}

fn write_epoch(state: &mut State) -> Option<Command> {
    state.send(Phase::WritingEpoch, Command::WriteEpoch)
}

/// A green that restarts at this moment must not keep the writers waiting: they are let go first. Then green is looked
/// after once more.
fn epoch_written(state: &mut State, answer: &Answer) -> Option<Command> {
    if !state.released && !matches!(answer, Answer::Seen(_)) {
        state.reopen = true;
        state.epoch_missing = true;
        return state.send(Phase::Routing, Command::Route);
    }
    left_to_do(
        state,
        answer,
        "write the epoch row on green; `bleen resume` does it",
    );
    onward_from_green(state)
}

/// Green is as it shall be, or owed: what comes next.
fn onward_from_green(state: &mut State) -> Option<Command> {
    if state.released {
        state.send(Phase::Confirming, Command::Confirm)
    } else {
        state.send(Phase::Routing, Command::Route)
    }
}

fn resealed(state: &mut State, answer: &Answer) -> Option<Command> {
    // Green is not yet said to serve while the guard is still to be ended: then both are read again.
    let read_again = state.promotion != Promotion::Yes;
    match answer {
        Answer::Seen(Seen::Done) => {
            state.guard = Made::No;
            state.seal = Made::Yes;
        }
        Answer::Refused(_, detail) | Answer::Unknown(detail) if read_again => {
            state.trouble = Some(detail.clone());
        }
        other => {
            left_to_do(state, other, "blue came back writable: set it read-only");
            if std::mem::take(&mut state.reopen) {
                state.owe("green is read-only: set it writable once blue is read-only");
            }
        }
    }
    if read_again {
        return back::out(state);
    }
    reopen_or_route(state)
}

/// Green was promoted but is read-only, or may be: it restarted. It serves, so it is opened again.
pub(super) fn reopen_or_route(state: &mut State) -> Option<Command> {
    if state.reopen {
        state.reopen = false;
        return state.send(Phase::Reopening, Command::Reopen);
    }
    if state.epoch_missing {
        state.epoch_missing = false;
        return write_epoch(state);
    }
    onward_from_green(state)
}

fn reopened(state: &mut State, answer: &Answer) -> Option<Command> {
    if !state.released && !matches!(answer, Answer::Seen(_)) {
        state.reopen = true;
        return state.send(Phase::Routing, Command::Route);
    }
    // A green that was slow to come back is asked once more by the epoch row, which only one that is open takes.
    if state.epoch_missing {
        return reopen_or_route(state);
    }
    left_to_do(
        state,
        answer,
        "see that green accepts writes, it may have come back read-only from a restart; `bleen resume` looks after it",
    );
    reopen_or_route(state)
}

/// After promote nothing is a failure; what could not be done is a debt.
fn left_to_do(state: &mut State, answer: &Answer, what: &str) {
    match answer {
        Answer::Seen(Seen::Left(debt)) => state.debt.extend(debt.iter().cloned()),
        Answer::Seen(_) => {}
        Answer::Refused(_, detail) | Answer::Unknown(detail) => state.owe(format!("{what}: {detail}")),
    }
}
