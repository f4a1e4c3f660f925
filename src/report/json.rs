//! JSON Lines: every event as one object on one line, in the form of `engine::event::SCHEMA_VERSION`.

use crate::engine::event::RunEvent;

/// Returns an event as one line without its line end.
///
/// An event that cannot be written, which no known one is, becomes an object of the type `unwritable`, so that a reader
/// of the stream sees the gap.
#[must_use]
pub fn line(event: &RunEvent) -> String {
    serde_json::to_string(event).unwrap_or_else(|error| {
        serde_json::json!({ "seq": event.seq, "type": "unwritable", "why": error.to_string() }).to_string()
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::domain::step::Step;
    use crate::engine::event::EventKind;

    fn event(kind: EventKind) -> RunEvent {
        RunEvent {
            seq: 7,
            at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            elapsed: Duration::from_millis(1500),
            kind,
        }
    }

    #[test]
    fn one_line_with_seq_time_and_type() {
        let text = line(&event(EventKind::StepDone {
            step: Step::CatchUp,
            what: "two\nlines".to_owned(),
            took: Duration::from_micros(2500),
        }));
        assert!(!text.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (value["seq"].as_u64(), value["type"].as_str()),
            (Some(7), Some("step-done"))
        );
        assert_eq!(value["step"], "catch-up");
        assert!(value["at"].as_str().unwrap().starts_with("2023-11-14T22:13:20"));
    }

    #[test]
    fn a_result_is_an_object_of_its_own_fields() {
        let text = line(&event(EventKind::Result(
            serde_json::json!({ "outcome": "switched", "pause_ms": 5.5 }),
        )));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (value["type"].as_str(), value["outcome"].as_str()),
            (Some("result"), Some("switched"))
        );
    }
}
