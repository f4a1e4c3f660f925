//! The statements that a person runs when bleen may not decide, or is told not to wait.

use serde_json::json;

use super::exit::Ending;
use super::switch::Done;
use crate::adapters::mysql::own_schema::UndoRow;
use crate::adapters::mysql::switch::{self, Facts, Server};
use crate::domain::ids::RunId;
use crate::domain::step::Step;
use crate::engine::event::Events;

/// Says facts and statements of a run that nobody knows the end of, and returns them for the last line in JSON.
pub fn tell(
    events: &Events,
    (blue, green): (&Server, &Server),
    run: &RunId,
    facts: Option<&Facts>,
) -> serde_json::Value {
    let hands = switch::by_hand(blue, green, run, facts);
    events.warn(format!("it is not certain who serves. {hands}"));
    serde_json::to_value(&hands).unwrap_or_default()
}

/// The end of a run that is left without waiting, by the second signal.
pub fn leave(
    events: &Events,
    servers: (&Server, &Server),
    run: &RunId,
    facts: Option<&Facts>,
    promoted: bool,
) -> Done {
    if !promoted {
        let by_hand = tell(events, servers, run, facts);
        return Done {
            ending: Ending::Ambiguous,
            result: json!({ "by_hand": by_hand }),
        };
    }
    let hands = switch::by_hand(servers.0, servers.1, run, facts);
    let left = "the run was left before its end was seen: routes, the release of blue's writers and what is confirmed \
                afterwards may not be done; `bleen resume` finishes it, from any machine";
    events.warn(format!("green was promoted and serves; {left}. {hands}"));
    Done {
        ending: Ending::SwitchedWithDebt,
        result: json!({ "debt": [{ "step": Step::Confirm, "what": left }], "by_hand": hands }),
    }
}

/// The statements that put back what was recorded, in the order to run them.
#[must_use]
pub fn put_back(rows: &[UndoRow]) -> String {
    let statements: Vec<String> = rows
        .iter()
        .filter(|row| !row.statement.is_empty())
        .map(|row| format!("on {}: {}", row.side, row.statement.replace('\n', " ")))
        .collect();
    format!(
        "leaving without waiting; `bleen rollback PLAYBOOK` puts back what was changed, from any machine. By hand, in \
         this order; each is right also if its change was never made:\n  {}",
        statements.join("\n  ")
    )
}
