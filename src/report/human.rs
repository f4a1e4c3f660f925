//! Lines for people: a terminal without a console, a pipe, a CI log.
//!
//! Every state has a glyph and a word; colour adds nothing. What repeats while something is waited for is shown when it
//! begins, and then every few seconds.

use std::time::Duration;

use serde_json::Value;

use super::proof;
use super::words::{duration, elapsed, harmless, milliseconds};
use super::{Line, Stream, Tone};
use crate::domain::lag::transactions;
use crate::domain::outcome::{Debt, Outcome};
use crate::domain::step::Step;
use crate::engine::event::{EventKind, RunEvent};

/// Folds events into lines.
#[derive(Debug)]
pub struct Human {
    /// The shortest time between two lines about the same wait.
    every: Duration,
    waiting: Option<(Step, Duration)>,
    lag_shown: Option<Duration>,
    proof_shown: Option<Duration>,
    planned: Option<Step>,
    query_shown: Option<Duration>,
    last_seq: u64,
    /// Whether lag is what was asked for: data, each time, with its time.
    lag_is_data: bool,
}

/// How often a wait is shown again unless the caller says otherwise.
pub const EVERY: Duration = Duration::from_secs(10);

impl Human {
    /// Makes a reporter that shows a wait, and lag, again after `every`; zero shows each.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self {
            every,
            waiting: None,
            lag_shown: None,
            proof_shown: None,
            planned: None,
            query_shown: None,
            last_seq: 0,
            lag_is_data: false,
        }
    }

    /// Makes a reporter for a command that shows lag and nothing else: every value, on stdout.
    #[must_use]
    pub fn watching() -> Self {
        Self {
            lag_is_data: true,
            ..Self::new(EVERY)
        }
    }

    /// Returns the lines of an event, often one, sometimes none.
    pub fn lines(&mut self, event: &RunEvent) -> Vec<Line> {
        let mut lines = self.gap(event);
        let now = Stamp(event.elapsed);
        if !matches!(event.kind, EventKind::Waiting { .. } | EventKind::Lag { .. }) {
            self.waiting = None;
        }
        match &event.kind {
            EventKind::Started {
                run, command, pair, ..
            } => {
                let run = if run.is_empty() {
                    String::new()
                } else {
                    format!(", run {run}")
                };
                lines.push(now.talk("▸", Tone::Plain, format!("{command} {pair}{run}")));
            }
            EventKind::Server {
                side,
                address,
                version,
            } => {
                lines.push(now.talk("·", Tone::Plain, format!("{side} is {address}, {version}")));
            }
            EventKind::StepBegan { step, what } => {
                // Some steps have no more to say than their name.
                let text = if *what == step.to_string() {
                    what.clone()
                } else {
                    format!("{step}: {what}")
                };
                lines.push(now.talk("▸", Tone::Plain, text));
            }
            EventKind::StepDone { step, what, took } => {
                lines.push(now.talk(
                    "✓",
                    Tone::Good,
                    format!("{step} done: {what} ({})", duration(*took)),
                ));
            }
            EventKind::StepFailed { step, why, took } => {
                lines.push(now.talk(
                    "✗",
                    Tone::Error,
                    format!("{step} failed: {why} (after {})", duration(*took)),
                ));
            }
            EventKind::Waiting { step, what } => {
                let is_new = self.waiting.is_none_or(|(shown, _)| shown != *step);
                let is_due = self
                    .waiting
                    .is_none_or(|(_, at)| event.elapsed >= at + self.every);
                if is_new || is_due {
                    self.waiting = Some((*step, event.elapsed));
                    lines.push(now.talk("…", Tone::Plain, format!("{step} waits: {what}")));
                }
            }
            EventKind::Lag { .. } if self.lag_is_data => {
                let margin = format!("{:>9} ", elapsed(event.elapsed));
                lines.push(data(&margin, "", Tone::Plain, format!(" {}", lag(&event.kind))));
            }
            EventKind::Lag { .. } => {
                if self.lag_shown.is_none_or(|at| event.elapsed >= at + self.every) {
                    self.lag_shown = Some(event.elapsed);
                    lines.push(now.talk("·", Tone::Plain, lag(&event.kind)));
                }
            }
            EventKind::Finding { .. } => lines.extend(finding(&event.kind)),
            EventKind::Planned {
                step,
                side,
                statement,
                undo,
            } => {
                if self.planned != Some(*step) {
                    self.planned = Some(*step);
                    lines.push(data("", "▸", Tone::Plain, format!(" {step}")));
                }
                let side = side.map_or("", |side| side.as_str());
                lines.push(data(
                    "",
                    "",
                    Tone::Plain,
                    format!("    {side:<6} {}", harmless(statement)),
                ));
                if let Some(undo) = undo {
                    lines.push(data(
                        "           ",
                        "undo:",
                        Tone::Hint,
                        format!(" {}", harmless(undo)),
                    ));
                }
            }
            EventKind::HookBegan { at, name } => {
                lines.push(now.talk("▸", Tone::Plain, format!("hook {name} at {at}")));
            }
            EventKind::HookEnded { at, name, why, took } => lines.push(match why {
                None => now.talk(
                    "✓",
                    Tone::Good,
                    format!("hook {name} at {at} done ({})", duration(*took)),
                ),
                Some(why) => now.talk(
                    "! warning:",
                    Tone::Warning,
                    format!("hook {name} at {at} failed: {why} (after {})", duration(*took)),
                ),
            }),
            EventKind::Proof(at) => {
                if self
                    .proof_shown
                    .is_none_or(|shown| event.elapsed >= shown + self.every)
                {
                    self.proof_shown = Some(event.elapsed);
                    lines.push(now.talk("·", Tone::Plain, proof::progress(at)));
                }
            }
            EventKind::Difference(found) => {
                let told = proof::difference(found);
                lines.extend(told.into_iter().map(|line| data("", "", Tone::Error, line)));
            }
            EventKind::QueryJudged { .. } => lines.extend(self.query(event)),
            EventKind::Warmed {
                round,
                statements,
                disk_reads,
                is_flat,
            } => {
                let end = if *is_flat { ": warm" } else { "" };
                let text = format!(
                    "warming, round {round}: {statements} statements, {disk_reads} pages from disk{end}"
                );
                lines.push(now.talk("·", Tone::Plain, text));
            }
            EventKind::Note { text } => lines.extend(now.talk_lines("·", Tone::Plain, text)),
            EventKind::Warning { text } => lines.extend(now.talk_lines("! warning:", Tone::Warning, text)),
            EventKind::AttemptEnded {
                attempt,
                result,
                pause_ms,
                enough,
            } => {
                lines.extend(attempt_ended(now, *attempt, result, *pause_ms, enough.as_deref()));
            }
            EventKind::Result(fields) => lines.extend(result(fields)),
        }
        lines
    }

    /// What was found is shown each time; that all is well, now and then.
    fn query(&mut self, event: &RunEvent) -> Vec<Line> {
        let EventKind::QueryJudged {
            fingerprint,
            statement,
            verdict,
            why,
            waived,
            number,
            of,
            ..
        } = &event.kind
        else {
            return Vec::new();
        };
        let now = Stamp(event.elapsed);
        let mut lines = Vec::new();
        let (mark, tone) = match (verdict.as_str(), waived) {
            ("same" | "not comparable", _) => ("·", Tone::Plain),
            ("plan changed", _) | (_, Some(_)) => ("! warning:", Tone::Warning),
            _ => ("✗", Tone::Error),
        };
        if verdict != "same" {
            lines.push(now.talk(mark, tone, format!("query {fingerprint}: {verdict}: {why}")));
            lines.push(now.talk(" ", Tone::Plain, format!("  {statement}")));
            if let Some(reason) = waived {
                lines.push(now.talk(" ", Tone::Warning, format!("  waived: {reason}")));
            }
        }
        let is_due = self.query_shown.is_none_or(|at| event.elapsed >= at + self.every);
        if is_due || number == of {
            self.query_shown = Some(event.elapsed);
            lines.push(now.talk("·", Tone::Plain, format!("queries: {number} of {of}")));
        }
        lines
    }

    /// Says that events were dropped: an output that was too slow must not look complete.
    fn gap(&mut self, event: &RunEvent) -> Vec<Line> {
        let missing = event.seq.saturating_sub(self.last_seq + 1);
        let is_gap = self.last_seq > 0 && missing > 0;
        self.last_seq = event.seq;
        if is_gap {
            let text = format!("{missing} lines are missing here: the output was too slow");
            vec![Stamp(event.elapsed).talk("! warning:", Tone::Warning, text)]
        } else {
            Vec::new()
        }
    }
}

/// The time of a line of talk.
#[derive(Clone, Copy)]
struct Stamp(Duration);

impl Stamp {
    fn talk(self, mark: &str, tone: Tone, text: String) -> Line {
        Line {
            stream: Stream::Talk,
            margin: format!("{:>9}  ", elapsed(self.0)),
            mark: mark.to_owned(),
            tone,
            text: format!(" {}", harmless(&text)),
        }
    }
}

impl Stamp {
    /// As [`Stamp::talk`], for a text of several lines; the mark stands on the first one.
    fn talk_lines(self, mark: &str, tone: Tone, text: &str) -> Vec<Line> {
        text.lines()
            .enumerate()
            .map(|(at, line)| self.talk(if at == 0 { mark } else { " " }, tone, line.to_owned()))
            .collect()
    }
}

fn data(margin: &str, mark: &str, tone: Tone, text: String) -> Line {
    Line {
        stream: Stream::Data,
        margin: margin.to_owned(),
        mark: mark.to_owned(),
        tone,
        text,
    }
}

fn lag(kind: &EventKind) -> String {
    let EventKind::Lag {
        lag_ms,
        transactions_behind,
        write_rate,
        apply_rate,
        blue_writable,
        green_writable,
    } = kind
    else {
        return String::new();
    };
    let mut parts = vec![lag_ms.map_or_else(
        || "lag not known".to_owned(),
        |ms| format!("lag {}", milliseconds(ms)),
    )];
    parts.extend(transactions_behind.map(|n| format!("{n} {} behind", transactions(n))));
    parts.extend(write_rate.map(|rate| format!("blue writes {rate:.0}/s")));
    parts.extend(apply_rate.map(|rate| format!("green applies {rate:.0}/s")));
    // Only `watch` looks at this; elsewhere neither is known.
    if blue_writable.is_some() || green_writable.is_some() {
        for (side, is) in [("blue", blue_writable), ("green", green_writable)] {
            let word = match is {
                Some(true) => "writable",
                Some(false) => "read-only",
                None => "not known",
            };
            parts.push(format!("{side} {word}"));
        }
    }
    parts.join(", ")
}

fn finding(kind: &EventKind) -> Vec<Line> {
    let EventKind::Finding {
        id,
        severity,
        side,
        seen,
        limit,
        remedy,
        waived,
    } = kind
    else {
        return Vec::new();
    };
    let (glyph, tone) = match (severity.as_str(), waived) {
        ("ok", _) => ("✓", Tone::Good),
        ("stop", None) => ("✗", Tone::Error),
        ("not-known", None) => ("?", Tone::Warning),
        _ => ("!", Tone::Warning),
    };
    let word = if waived.is_some() {
        "waived"
    } else {
        severity.as_str()
    };
    let side = side.map(|side| format!(" on {side}")).unwrap_or_default();
    let mark = format!("{glyph} {word:<9}");
    let mut lines = vec![data(
        "  ",
        &mark,
        tone,
        format!(" {id}{side}: {}", harmless(seen)),
    )];
    if severity == "ok" {
        return lines;
    }
    let margin = "               ";
    // What is not known has no other limit than being known.
    if !limit.is_empty() && severity != "not-known" {
        lines.push(data(
            margin,
            "limit:",
            Tone::Plain,
            format!(" {}", harmless(limit)),
        ));
    }
    if let Some(reason) = waived {
        lines.push(data(
            margin,
            "waived:",
            Tone::Warning,
            format!(" {}", harmless(reason)),
        ));
    }
    if !remedy.is_empty() {
        lines.push(data(
            margin,
            "hint:",
            Tone::Hint,
            format!(" {}", harmless(remedy)),
        ));
    }
    lines
}

fn tone(outcome: &Outcome) -> (&'static str, Tone) {
    match outcome {
        Outcome::Switched { debt } if debt.is_empty() => ("✓", Tone::Good),
        Outcome::Switched { .. } => ("!", Tone::Warning),
        Outcome::Released { .. } | Outcome::RolledBack { .. } => ("↩", Tone::Warning),
        Outcome::Ambiguous { .. } => ("✗", Tone::Error),
    }
}

fn attempt_ended(
    now: Stamp,
    attempt: u32,
    outcome: &Outcome,
    pause_ms: Option<f64>,
    enough: Option<&str>,
) -> Vec<Line> {
    let (glyph, tone) = tone(outcome);
    let word = outcome.word();
    let mut text = format!("attempt {attempt}: {word}");
    let left: &[Debt] = match outcome {
        Outcome::Switched { debt } => debt,
        Outcome::Released { why, left } | Outcome::RolledBack { why, left } => {
            text.push_str(&format!(" {why}; blue serves as before"));
            left
        }
        Outcome::Ambiguous { why } => {
            text.push_str(&format!(" {why}; a person must look"));
            &[]
        }
    };
    if let Some(ms) = pause_ms {
        text.push_str(&format!("; writers waited {}", milliseconds(ms)));
    }
    let mut lines = vec![now.talk(glyph, tone, text)];
    if let Some(enough) = enough {
        lines.push(now.talk("·", Tone::Hint, format!("enough would have been: {enough}")));
    }
    lines.extend(left.iter().map(|debt| {
        now.talk(
            "! left to do:",
            Tone::Warning,
            format!("{} ({})", debt.what, debt.step),
        )
    }));
    lines
}

/// The last event: the outcome word, then every field on a line of its own.
fn result(fields: &Value) -> Vec<Line> {
    let Some(fields) = fields.as_object() else {
        return vec![data("", "", Tone::Plain, harmless(&text_of(fields)))];
    };
    let mut lines = Vec::new();
    if let Some(outcome) = fields.get("outcome").and_then(Value::as_str) {
        let (glyph, tone) = match outcome {
            "switched" | "done" => ("✓", Tone::Good),
            "ambiguous" => ("✗", Tone::Error),
            _ => ("!", Tone::Warning),
        };
        lines.push(data("", &format!("{glyph} {outcome}"), tone, String::new()));
    }
    let rest: Vec<_> = fields
        .iter()
        .filter(|(key, _)| !["outcome", "exit_code"].contains(&key.as_str()))
        .collect();
    let width = rest.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
    for (key, value) in rest {
        let name = key.replace('_', " ");
        match value {
            Value::Array(items) => {
                lines.push(data(
                    "",
                    "",
                    Tone::Plain,
                    format!("  {name:<width$}  {}", items.len()),
                ));
                lines.extend(
                    items
                        .iter()
                        .map(|item| data("", "", Tone::Plain, format!("    - {}", harmless(&text_of(item))))),
                );
            }
            Value::Null => {}
            value => lines.push(data(
                "",
                "",
                Tone::Plain,
                format!("  {name:<width$}  {}", harmless(&text_of(value))),
            )),
        }
    }
    lines
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let parts: Vec<_> = fields
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| format!("{}: {}", key.replace('_', " "), text_of(value)))
                .collect();
            parts.join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::domain::ids::Side;
    use crate::domain::outcome::{Why, WhyKind};

    fn told(kinds: Vec<(u64, EventKind)>) -> String {
        let mut human = Human::new(EVERY);
        let mut out = String::new();
        for (seq, (millis, kind)) in kinds.into_iter().enumerate() {
            let seq = u64::try_from(seq).unwrap() + 1;
            let event = RunEvent {
                seq,
                at: UNIX_EPOCH,
                elapsed: Duration::from_millis(millis),
                kind,
            };
            for line in human.lines(&event) {
                let stream = if line.stream == Stream::Data { "out" } else { "err" };
                out.push_str(&format!("{stream}|{}\n", line.plain()));
            }
        }
        out
    }

    #[test]
    fn each_statement_that_is_not_the_same_is_told_with_its_reason() {
        let judged = |number, verdict: &str, why: &str, waived: Option<&str>| EventKind::QueryJudged {
            fingerprint: format!("000000000000000{number}"),
            statement: format!("SELECT {number} FROM t WHERE id = ?"),
            verdict: verdict.to_owned(),
            why: why.to_owned(),
            blue_ms: None,
            green_ms: None,
            waived: waived.map(str::to_owned),
            number,
            of: 6,
        };
        let text = told(vec![
            (0, judged(1, "same", "", None)),
            (1, judged(2, "same", "", None)),
            (2, judged(3, "not comparable", "it takes locks", None)),
            (3, judged(4, "different result", "row 1 differs", None)),
            (4, judged(5, "slower", "4 times", Some("a report"))),
            (5, judged(6, "plan changed", "t: ref became a full scan", None)),
        ]);
        let lines: Vec<&str> = text
            .lines()
            .map(|line| line.split_once("s  ").unwrap().1)
            .collect();
        let expected = [
            "· queries: 1 of 6",
            "· query 0000000000000003: not comparable: it takes locks",
            "    SELECT 3 FROM t WHERE id = ?",
            "✗ query 0000000000000004: different result: row 1 differs",
            "    SELECT 4 FROM t WHERE id = ?",
            "! warning: query 0000000000000005: slower: 4 times",
            "    SELECT 5 FROM t WHERE id = ?",
            "    waived: a report",
            "! warning: query 0000000000000006: plan changed: t: ref became a full scan",
            "    SELECT 6 FROM t WHERE id = ?",
            "· queries: 6 of 6",
        ];
        assert_eq!(lines, expected, "{text}");
    }

    fn waiting(what: &str) -> EventKind {
        EventKind::Waiting {
            step: Step::CatchUp,
            what: what.to_owned(),
        }
    }

    #[test]
    fn a_run_is_told_in_lines() {
        let why = Why {
            step: Step::Drain,
            kind: WhyKind::DeadlineMissed,
            detail: "green was 312 transactions behind; worker 2 waits for a row lock held by session 44"
                .to_owned(),
        };
        let debt = vec![Debt {
            step: Step::Route,
            what: "run `point-proxy --to green`".to_owned(),
        }];
        let finding = |severity: &str, waived: Option<&str>| EventKind::Finding {
            id: "capacity".to_owned(),
            severity: severity.to_owned(),
            side: Some(Side::Green),
            seen: "max_connections 100, blue uses 140".to_owned(),
            limit: "140".to_owned(),
            remedy: "raise `max_connections` on green".to_owned(),
            waived: waived.map(str::to_owned),
        };
        let planned = |step, statement: &str, undo: Option<&str>| EventKind::Planned {
            step,
            side: Some(Side::Blue),
            statement: statement.to_owned(),
            undo: undo.map(str::to_owned),
        };
        let text = told(vec![
            (
                0,
                EventKind::Started {
                    schema_version: 1,
                    run: "20261123T214100Z-9f3a6c".to_owned(),
                    command: "switch".to_owned(),
                    pair: "shop".to_owned(),
                },
            ),
            (
                2,
                EventKind::Server {
                    side: Side::Blue,
                    address: "db:3306".to_owned(),
                    version: "MySQL 9.7.4".to_owned(),
                },
            ),
            (3, finding("ok", None)),
            (3, finding("stop", None)),
            (3, finding("not-known", None)),
            (3, finding("stop", Some("smaller on purpose"))),
            (
                4,
                planned(Step::Hold, "FLUSH TABLES WITH READ LOCK", Some("UNLOCK TABLES")),
            ),
            (4, planned(Step::Hold, "SELECT 1", None)),
            (
                4,
                planned(Step::Seal, "SET PERSIST super_read_only = ON", Some("…")),
            ),
            (
                412,
                EventKind::StepBegan {
                    step: Step::CatchUp,
                    what: "lag under 1s for 10s".to_owned(),
                },
            ),
            (
                500,
                EventKind::Lag {
                    lag_ms: Some(12.25),
                    transactions_behind: Some(3),
                    write_rate: Some(402.4),
                    apply_rate: None,
                    blue_writable: Some(true),
                    green_writable: None,
                },
            ),
            (
                12_500,
                EventKind::StepDone {
                    step: Step::CatchUp,
                    what: "lag was at most 41 ms".to_owned(),
                    took: Duration::from_millis(12_088),
                },
            ),
            (
                62_500,
                EventKind::Warning {
                    text: "bad \u{1b}[31m name".to_owned(),
                },
            ),
            (
                63_000,
                EventKind::AttemptEnded {
                    attempt: 1,
                    result: Outcome::Released {
                        why,
                        left: Vec::new(),
                    },
                    pause_ms: Some(10_002.0),
                    enough: Some("14s".to_owned()),
                },
            ),
            (
                64_000,
                EventKind::AttemptEnded {
                    attempt: 2,
                    result: Outcome::Switched { debt },
                    pause_ms: Some(5.25),
                    enough: None,
                },
            ),
            (
                64_001,
                EventKind::Result(serde_json::json!({
                    "outcome": "switched-with-debt", "exit_code": 5, "pause_ms": 5.25, "left": ["a", {"step": "route", "x": null}],
                })),
            ),
        ]);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_wait_is_shown_when_it_begins_and_then_now_and_then() {
        let told = told(vec![
            (0, waiting("a")),
            (100, waiting("b")),
            (9_999, waiting("c")),
            (10_000, waiting("d")),
            (
                10_100,
                EventKind::Note {
                    text: "between".to_owned(),
                },
            ),
            (10_200, waiting("e")),
        ]);
        let shown: Vec<_> = told
            .lines()
            .map(|line| line.split(' ').next_back().unwrap())
            .collect();
        assert_eq!(shown, ["a", "d", "between", "e"]);
    }

    #[test]
    fn a_gap_in_the_stream_is_said() {
        let mut human = Human::new(EVERY);
        let note = |seq| RunEvent {
            seq,
            at: UNIX_EPOCH,
            elapsed: Duration::ZERO,
            kind: EventKind::Note { text: "x".to_owned() },
        };
        assert_eq!(human.lines(&note(1)).len(), 1);
        let lines = human.lines(&note(5));
        assert!(lines[0].plain().contains("3 lines are missing"), "{lines:?}");
    }
}
