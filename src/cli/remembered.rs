//! What this machine's journals remember of a pair: for the hour in which a server cannot be asked.

use std::path::Path;

use serde_json::{Value, json};

use crate::adapters::journal;
use crate::domain::ids::RunId;
use crate::domain::machine::{Answer, Command, Promotion, Seen};
use crate::domain::outcome::Outcome;
use crate::domain::step::Step;
use crate::engine::ports::Record;

/// The newest run of a pair that has a journal on this machine: which, by whom, and how far it is known to have come.
/// Nothing if there is none, or if the journals cannot be read.
#[must_use]
pub fn newest(runs: &Path, pair: &str) -> Option<Value> {
    let ids = journal::runs(runs).ok()?;
    ids.iter().rev().find_map(|run| {
        let records = journal::read(runs, run).ok()?;
        let by = records.iter().find_map(|record| match record {
            Record::Run {
                pair: of, operator, ..
            } if of == pair => Some(operator.clone()),
            _ => None,
        })?;
        Some(json!({
            "run": run.as_str(),
            "by": by,
            "last": last_words(&records),
        }))
    })
}

/// The last step that a run's journal on this machine knows of.
#[must_use]
pub fn step_of(runs: &Path, run: &RunId) -> Option<Step> {
    last_step(&journal::read(runs, run).ok()?)
}

/// Whether this machine's journals of a run say that it promoted green. What cannot be read says nothing.
#[must_use]
pub fn was_promoted(runs: &Path, run: &RunId) -> bool {
    [journal::read(runs, run), journal::read_beside(runs, run)]
        .iter()
        .flatten()
        .any(|records| tells_of_promote(records))
}

fn tells_of_promote(records: &[Record]) -> bool {
    let mut promoting = None;
    records.iter().any(|record| match record {
        Record::Command { command, state, .. } => {
            promoting = (*command == Command::Promote).then_some(state.number);
            state.promotion == Promotion::Yes
        }
        Record::Answered { number, answer } => {
            let opened = matches!(answer, Answer::Seen(Seen::Green { read_only: false, .. }));
            opened && promoting == Some(*number)
        }
        Record::Outcome { outcome, .. } => matches!(outcome, Outcome::Switched { .. }),
        _ => false,
    })
}

fn last_step(records: &[Record]) -> Option<Step> {
    records.iter().rev().find_map(|record| match record {
        Record::Command { state, .. } => Some(state.phase.step()),
        _ => None,
    })
}

fn last_words(records: &[Record]) -> String {
    let ended = records.iter().rev().find_map(|record| match record {
        Record::Outcome { outcome, .. } => Some(Some(outcome)),
        // A command after the last outcome belongs to another attempt.
        Record::Command { .. } => Some(None),
        _ => None,
    });
    if let Some(Some(outcome)) = ended {
        return match outcome.why() {
            Some(why) => format!("ended: {} {why}", outcome.word()),
            None => format!("ended: {}", outcome.word()),
        };
    }
    if let Some(step) = last_step(records) {
        return format!("came to step {step}, and no end is written down");
    }
    let undone = records
        .iter()
        .filter(|r| matches!(r, Record::Undone { .. }))
        .count();
    let changed = records
        .iter()
        .filter(|r| matches!(r, Record::Undo { .. }))
        .count();
    format!("held nobody; {changed} changes announced, {undone} put back")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::machine::{Command, HoldKind, Spec, State};
    use crate::domain::outcome::{Outcome, Why, WhyKind};

    fn command(attempt: u32) -> Record {
        let spec = Spec {
            hold: HoldKind::Lock,
            reprove: false,
            way_back: false,
        };
        Record::Command {
            attempt,
            command: Command::Quiet,
            undo: None,
            state: Box::new(State::new(spec)),
        }
    }

    #[test]
    fn the_newest_record_decides() {
        let why = Why {
            step: Step::Drain,
            kind: WhyKind::DeadlineMissed,
            detail: "late".into(),
        };
        let released = Record::Outcome {
            attempt: 1,
            outcome: Outcome::Released {
                why,
                left: Vec::new(),
            },
        };
        let ended = last_words(&[command(1), released.clone()]);
        assert_eq!(ended, "ended: released at drain: late");
        let open = last_words(&[command(1), released, command(2)]);
        assert!(open.contains("no end is written down"), "{open}");
        assert!(last_words(&[]).starts_with("held nobody"));
    }
}
