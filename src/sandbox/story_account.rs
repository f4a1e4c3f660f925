//! The account at the end of the story: what the writers saw, against what the servers hold.

use std::time::Duration;

use serde_json::{Value, json};

use crate::adapters::mysql::switch::ByHand;
use crate::domain::ids::Side;
use crate::domain::outcome::{Outcome, WhyKind};
use crate::engine::attempt::Attempt;
use crate::engine::event::in_milliseconds;

use super::endpoint::{Endpoint, writable_sides};
use super::ledger::{LedgerCheck, LoadReport, WriteId};
use super::load_data::ShopReport;
use super::pair::SandboxPair;
use super::story::StoryError;

/// How long each look at who is writable may take.
const LOOK: Duration = Duration::from_secs(5);
/// How many writes are named when some are lost or doubled.
const NAMED: usize = 5;

/// The two switchovers, each with the time of the load at which it began and at which it was over.
#[derive(Debug, Default)]
pub(super) struct Acts {
    /// The one whose deadline was to be missed.
    pub missed: Option<(Duration, Duration, Attempt)>,
    /// The real one.
    pub switched: Option<(Duration, Duration, Attempt)>,
    /// What a person has to do, if it is not certain who serves.
    pub by_hand: Option<ByHand>,
}

/// What came out.
#[derive(Debug)]
pub(super) struct Account {
    /// The figures.
    pub result: Value,
    /// What must never be, in words.
    pub wrong: Vec<String>,
}

/// Reads the ledger of the side that serves and draws the account up.
pub(super) async fn draw_up(
    report: &LoadReport,
    acts: &Acts,
    shop: &ShopReport,
    (pair, blue, green): (&SandboxPair, &Endpoint, &Endpoint),
) -> Result<Account, StoryError> {
    let writable = writable_sides(blue, green, LOOK).await;
    // Before anything is prepared green is writable, too, and nobody writes there.
    let serving = if writable == [Side::Green] { green } else { blue };
    let ledger = report.verify(serving).await?;
    let whole = report.whole();
    let mut result = json!({
        "servers": {
            "blue": pair.blue.installed().version_text,
            "green": pair.green.installed().version_text,
        },
        "shop_rows": shop.rows,
        "shop_left_out": shop.left_out,
        "acknowledged": ledger.acknowledged,
        "lost": ledger.lost.len(),
        "doubled": ledger.doubled.len(),
        "unclaimed": ledger.unclaimed.len(),
        "unresolved": report.log.unresolved.len(),
        "refused": whole.refused,
        "most_refused_on_a_connection": report.most_refusals_on_a_connection(),
        "connections_lost": whole.lost_connections,
        "longest_write_ms": in_milliseconds(whole.longest_write),
        "writer_gap_ms": report.writer_gap_ms().map(rounded),
        "sum_is_constant": ledger.sum_ok,
        "events_counted": events_counted(&ledger),
        "writable": writable.iter().map(|side| side.as_str()).collect::<Vec<_>>(),
    });
    let mut wrong = ledger_wrong(&ledger);
    if acts.switched.is_some() && writable.len() != 1 {
        wrong.push(format!("{} sides accept writes", writable.len()));
    }
    if let Some(fields) = result.as_object_mut() {
        if let Some((from, to, attempt)) = &acts.missed {
            let span = report.span(*from, *to);
            fields.insert("missed_deadline_refused".to_owned(), json!(span.refused));
            fields.insert("missed_deadline_pause_ms".to_owned(), json!(pause(attempt)));
            fields.insert(
                "missed_deadline_longest_write_ms".to_owned(),
                json!(in_milliseconds(span.longest_write)),
            );
            fields.insert(
                "missed_deadline_connections_lost".to_owned(),
                json!(span.lost_connections),
            );
            fields.insert(
                "missed_deadline_outcome".to_owned(),
                json!(attempt.outcome.word()),
            );
            // The hold is granted before anything is waited for under it.
            fields.insert("missed_deadline_held".to_owned(), json!(was_held(attempt)));
            fields.insert(
                "missed_deadline_waited_for".to_owned(),
                json!(why(&attempt.outcome)),
            );
            wrong.extend(miss_wrong(attempt, span.refused));
        }
        if let Some((from, to, attempt)) = &acts.switched {
            let span = report.span(*from, *to);
            fields.insert("pause_ms".to_owned(), json!(pause(attempt)));
            fields.insert(
                "switch_longest_write_ms".to_owned(),
                json!(in_milliseconds(span.longest_write)),
            );
            let timings: serde_json::Map<String, Value> = attempt
                .timings
                .iter()
                .map(|t| (t.command.to_owned(), json!(in_milliseconds(t.took))))
                .collect();
            fields.insert("switch_step_ms".to_owned(), Value::Object(timings));
            if let Some(why) = why(&attempt.outcome) {
                fields.insert("why".to_owned(), json!(why));
            }
            if let Outcome::Switched { debt } = &attempt.outcome {
                fields.insert("debt".to_owned(), json!(debt));
            }
        }
        if let Some(hands) = &acts.by_hand {
            fields.insert("by_hand".to_owned(), json!(hands));
        }
        if !wrong.is_empty() {
            fields.insert("wrong".to_owned(), json!(wrong));
        }
    }
    Ok(Account { result, wrong })
}

fn rounded(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

fn pause(attempt: &Attempt) -> Option<f64> {
    attempt.pause.map(in_milliseconds)
}

/// Whether writers were held: the drain begins only once the hold is granted.
fn was_held(attempt: &Attempt) -> bool {
    attempt.timings.iter().any(|t| t.command == "drain")
}

fn why(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Released { why, .. } | Outcome::RolledBack { why, .. } | Outcome::Ambiguous { why } => {
            Some(why.detail.clone())
        }
        Outcome::Switched { .. } => None,
    }
}

/// What must not be in a switchover whose deadline was forced to be missed.
fn miss_wrong(attempt: &Attempt, refused: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    let missed =
        matches!(&attempt.outcome, Outcome::Released { why, .. } if why.kind == WhyKind::DeadlineMissed);
    if !missed || !was_held(attempt) {
        wrong.push(format!(
            "the deadline that was to be missed under the hold was not: {}",
            attempt.outcome.word()
        ));
    }
    if refused > 0 {
        wrong.push(format!(
            "{refused} statements were refused by a switchover that missed its deadline"
        ));
    }
    wrong
}

fn ledger_wrong(ledger: &LedgerCheck) -> Vec<String> {
    let named = |what: &str, writes: &[WriteId]| {
        let names: Vec<String> = writes
            .iter()
            .take(NAMED)
            .map(|w| format!("{} of writer {}", w.seq, w.writer))
            .collect();
        (!writes.is_empty()).then(|| {
            format!(
                "{} acknowledged writes {what}, the first: {}",
                writes.len(),
                names.join(", ")
            )
        })
    };
    let mut wrong: Vec<String> = [
        named("are lost", &ledger.lost),
        named("are there twice", &ledger.doubled),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !ledger.unclaimed.is_empty() {
        wrong.push(format!(
            "{} writes are there that nobody was told of",
            ledger.unclaimed.len()
        ));
    }
    if !ledger.sum_ok {
        wrong.push(format!("the sum over all accounts is {}", ledger.sum));
    }
    if ledger.wrong_balances > 0 {
        wrong.push(format!(
            "{} accounts do not hold what their transfers leave them",
            ledger.wrong_balances
        ));
    }
    wrong
}

/// Rows that the shop's event inserted, by the side it ran on. Blue has server id 1, green 2.
fn events_counted(ledger: &LedgerCheck) -> Value {
    let of = |server: u32| ledger.ticks.get(&server).copied().unwrap_or(0);
    json!({ "blue": of(1), "green": of(2) })
}
