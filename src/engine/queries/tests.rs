//! The loop on sides that are made up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::gate::Answer;
use crate::domain::ids::Side;
use crate::domain::proof::transaction::TableName;
use crate::domain::queries::candidates::{Candidate, Sample, select};
use crate::domain::queries::catalogue::Relation;
use crate::domain::queries::order::KeyColumn;
use crate::domain::queries::plan::{Plan, TableAccess};
use crate::domain::queries::verdict::Verdict;
use crate::engine::event::{EventKind, Events};
use crate::engine::ports::Pending;
use crate::playbook::model::StatementWaiver;

type Answering = Arc<dyn Fn(Side, usize) -> Result<Ran, Failure> + Send + Sync>;

/// Both sides, and whether the table was touched in each bracket.
#[derive(Clone)]
struct Sides {
    answering: Answering,
    touched: Arc<Mutex<Vec<bool>>>,
    /// Every call, in order.
    calls: Arc<Mutex<Vec<String>>>,
    full_scan_on_green: bool,
    disk_reads: Arc<Mutex<Vec<u64>>>,
}

impl Sides {
    fn of(answering: impl Fn(Side, usize) -> Result<Ran, Failure> + Send + Sync + 'static) -> Self {
        Self {
            answering: Arc::new(answering),
            touched: Arc::default(),
            calls: Arc::default(),
            full_scan_on_green: false,
            disk_reads: Arc::default(),
        }
    }

    fn note(&self, call: String) -> usize {
        let mut calls = self.calls.lock().unwrap();
        let before = calls.iter().filter(|known| **known == call).count();
        calls.push(call);
        before
    }
}

impl Replays for Sides {
    fn relations(&self, names: Vec<TableName>) -> Pending<Result<Vec<(TableName, Relation)>, String>> {
        let key = vec![KeyColumn {
            name: "id".into(),
            is_text: false,
        }];
        let table = |name: TableName| {
            (
                name.clone(),
                Relation::Table {
                    name,
                    keys: vec![key.clone()],
                },
            )
        };
        let found = names.into_iter().map(table).collect();
        Box::pin(async move { Ok(found) })
    }

    fn run(&self, side: Side, _: Statement) -> Pending<Result<Ran, Failure>> {
        let nth = self.note(format!("run {side}"));
        let ran = (self.answering)(side, nth);
        Box::pin(async move { ran })
    }

    fn plan(&self, side: Side, _: Statement) -> Pending<Result<Plan, String>> {
        let scan = self.full_scan_on_green && side == Side::Green;
        let access = TableAccess {
            table: "t".into(),
            access: if scan { "ALL" } else { "ref" }.into(),
            key: (!scan).then(|| "k".into()),
            magnitude: 1,
        };
        Box::pin(async move {
            Ok(Plan {
                tables: vec![access],
                ..Plan::default()
            })
        })
    }

    fn disk_reads(&self) -> Pending<Result<u64, String>> {
        let mut left = self.disk_reads.lock().unwrap();
        let reads = if left.is_empty() { 0 } else { left.remove(0) };
        Box::pin(async move { Ok(reads) })
    }
}

impl Quiet for Sides {
    fn begin(&self) -> Pending<Result<(), String>> {
        self.note("begin".into());
        Box::pin(async { Ok(()) })
    }

    fn touched(&self, tables: &[TableName]) -> Pending<Result<bool, String>> {
        self.note(format!("touched {}", tables[0]));
        let mut left = self.touched.lock().unwrap();
        let touched = !left.is_empty() && left.remove(0);
        Box::pin(async move { Ok(touched) })
    }
}

fn ran(value: &str, millis: u64) -> Result<Ran, Failure> {
    Ok(Ran {
        answer: Answer {
            columns: 1,
            rows: vec![vec![Some(value.into())]],
            cut: false,
        },
        took: Duration::from_millis(millis),
    })
}

fn candidates(texts: &[&str]) -> Vec<Candidate> {
    let sample = |text: &&str| Sample {
        text: (*text).into(),
        schema: Some("s".into()),
        count: 1,
        total: Duration::from_millis(1),
        unusable: None,
    };
    select(texts.iter().map(sample).collect(), 10)
}

fn terms() -> Terms {
    Terms::new(1.5, Duration::from_millis(5), Duration::from_secs(60))
}

async fn proved(sides: &Sides, waivers: &[StatementWaiver]) -> QueryProof {
    let candidates = candidates(&["SELECT a FROM t WHERE id = 1"]);
    let (cancel, events) = (CancellationToken::new(), Events::none());
    prove(sides, sides, &candidates, waivers, &terms(), &cancel, &events).await
}

async fn verdict(sides: &Sides) -> Verdict {
    proved(sides, &[]).await.entries.remove(0).verdict
}

#[tokio::test]
async fn same_answers_in_the_same_time_are_the_same() {
    let sides = Sides::of(|_, _| ran("1", 10));
    assert_eq!(verdict(&sides).await, Verdict::Same);
    let calls = sides.calls.lock().unwrap().join(", ");
    assert_eq!(
        calls,
        "begin, run blue, run green, touched s.t, run blue, run green, run green, run blue, run blue, run green"
    );
}

#[tokio::test]
async fn a_difference_counts_only_while_the_tables_were_quiet() {
    let differs = |side, _| ran(if side == Side::Blue { "1" } else { "2" }, 10);
    let said = verdict(&Sides::of(differs)).await;
    assert_eq!(
        said,
        Verdict::DifferentResult("row 1 differs: blue (1), green (2)".into())
    );

    // Twice nothing but a change in between, then the same.
    let sides = Sides::of(|side, nth| ran(if side == Side::Green && nth < 2 { "2" } else { "1" }, 10));
    *sides.touched.lock().unwrap() = vec![true, true];
    assert_eq!(verdict(&sides).await, Verdict::Same);

    // Never quiet: nothing is said, neither that it differs nor that it agrees.
    for answering in [Sides::of(differs), Sides::of(|_, _| ran("1", 10))] {
        *answering.touched.lock().unwrap() = vec![true; 5];
        assert!(
            matches!(verdict(&answering).await, Verdict::NotComparable(why) if why.contains("never quiet"))
        );
    }
}

#[tokio::test]
async fn values_can_be_masked() {
    let masked = Terms {
        mask: true,
        ..terms()
    };
    let said = async |sides: &Sides| {
        let (cancel, events) = (CancellationToken::new(), Events::none());
        let candidates = candidates(&["SELECT a FROM t WHERE id = 1"]);
        let proof = prove(sides, sides, &candidates, &[], &masked, &cancel, &events).await;
        proof.entries[0].verdict.to_string()
    };
    let differs = Sides::of(|side, _| ran(side.as_str(), 10));
    assert_eq!(said(&differs).await, "different result: the values are masked");
    let fails = Sides::of(|side, _| match side {
        Side::Blue => ran("1", 1),
        Side::Green => Err(Failure::Refused(
            "error 1292: Truncated incorrect DOUBLE value: 'secret'".into(),
        )),
    });
    assert_eq!(said(&fails).await, "error on green: error 1292");
}

#[tokio::test]
async fn errors_are_told_by_their_side() {
    let refused = || Err(Failure::Refused("error 1146: no such table".into()));
    let green = Sides::of(move |side, _| {
        if side == Side::Green {
            refused()
        } else {
            ran("1", 1)
        }
    });
    assert_eq!(
        verdict(&green).await,
        Verdict::ErrorOnGreen("error 1146: no such table".into())
    );
    // A table that is being made at that moment is not missing.
    let made = Sides::of(move |side, nth| {
        if side == Side::Green && nth == 0 {
            refused()
        } else {
            ran("1", 1)
        }
    });
    *made.touched.lock().unwrap() = vec![true];
    assert_eq!(verdict(&made).await, Verdict::Same);
    let both = Sides::of(move |_, _| refused());
    assert!(matches!(verdict(&both).await, Verdict::NotComparable(why) if why.contains("on blue")));
    let gone = Sides::of(|side, _| match side {
        Side::Green => Err(Failure::NotAsked("gone".into())),
        Side::Blue => ran("1", 1),
    });
    assert!(matches!(verdict(&gone).await, Verdict::NotComparable(why) if why.contains("gone")));
    let late = Sides::of(move |side, nth| {
        if side == Side::Green && nth > 1 {
            refused()
        } else {
            ran("1", 1)
        }
    });
    assert!(matches!(verdict(&late).await, Verdict::ErrorOnGreen(_)));
}

#[tokio::test]
async fn slower_and_another_plan_are_told() {
    // The first run of each side is cold and does not count.
    let slow = |side, nth| {
        ran(
            "1",
            if nth == 0 {
                900
            } else if side == Side::Green {
                40
            } else {
                10
            },
        )
    };
    let mut sides = Sides::of(slow);
    sides.full_scan_on_green = true;
    match verdict(&sides).await {
        Verdict::Slower(why) => assert!(why.contains("4.0 times") && why.contains("full scan"), "{why}"),
        other => panic!("{other:?}"),
    }
    let mut sides = Sides::of(|_, _| ran("1", 10));
    sides.full_scan_on_green = true;
    assert_eq!(
        verdict(&sides).await,
        Verdict::PlanChanged("t: ref on k became a full scan".into())
    );
}

#[tokio::test]
async fn a_waiver_names_its_statement() {
    let sides = Sides::of(|side, _| ran(side.as_str(), 1));
    let fingerprint = candidates(&["SELECT a FROM t WHERE id = 77"])[0]
        .fingerprint
        .clone();
    let waiver = |statement| StatementWaiver {
        statement,
        reason: "known".into(),
    };
    let proof = proved(&sides, &[waiver(fingerprint)]).await;
    assert_eq!(proof.entries[0].waived.as_deref(), Some("known"));
    assert_eq!((proof.findings().count(), proof.notes.len()), (0, 0));
    let other = candidates(&["SELECT b FROM t"])[0].fingerprint.clone();
    let proof = proved(&sides, &[waiver(other)]).await;
    assert_eq!((proof.findings().count(), proof.notes.len()), (1, 1));
    assert_eq!(proof.summary(), "1 different result");
    let json = serde_json::to_value(&proof).unwrap();
    assert_eq!(json["entries"][0]["verdict"], "different-result");
    // No value of the application is shown where none is needed.
    assert_eq!(json["entries"][0]["statement"], "SELECT a FROM t WHERE id = ?");
}

#[tokio::test(start_paused = true)]
async fn time_and_cancel_end_it_with_every_statement_named() {
    let texts = [
        "SELECT a FROM t WHERE id = 1",
        "SELECT b FROM t WHERE id = 1",
        "SELECT NOW() FROM t",
    ];
    let candidates = candidates(&texts);
    let sides = Sides::of(|_, _| ran("1", 1));
    let (cancel, events) = (CancellationToken::new(), Events::none());
    cancel.cancel();
    let proof = prove(&sides, &sides, &candidates, &[], &terms(), &cancel, &events).await;
    assert_eq!(proof.summary(), "3 not comparable");
    assert!(sides.calls.lock().unwrap().is_empty());

    let over = Terms {
        within: Duration::ZERO,
        ..terms()
    };
    let proof = prove(
        &sides,
        &sides,
        &candidates,
        &[],
        &over,
        &CancellationToken::new(),
        &events,
    )
    .await;
    assert!(
        proof.entries.iter().all(|e| e.verdict.why().contains("time")),
        "{proof:?}"
    );
}

#[tokio::test]
async fn green_is_warmed_until_it_reads_no_more() {
    let candidates = candidates(&["SELECT a FROM t WHERE id = 1", "SELECT NOW() FROM t"]);
    let sides = Sides::of(|_, _| ran("1", 1));
    // Before and after each round.
    *sides.disk_reads.lock().unwrap() = vec![0, 900, 900, 1000, 1000, 1000];
    let (events, mut stream) = Events::stream();
    let cancel = CancellationToken::new();
    let limits = (Duration::from_secs(1), Duration::from_secs(60));
    let warmed = warm(&sides, &candidates, limits.0, limits.1, &cancel, &events)
        .await
        .unwrap();
    assert!(warmed.is_flat);
    assert_eq!(
        warmed.rounds.iter().map(|r| r.disk_reads).collect::<Vec<_>>(),
        [900, 100, 0]
    );
    assert_eq!(
        sides.calls.lock().unwrap().join(" "),
        "run green run green run green"
    );
    assert!(matches!(
        stream.recv().await.unwrap().kind,
        EventKind::Warmed {
            round: 1,
            is_flat: false,
            ..
        }
    ));
    // Nothing to replay is not warm.
    let none = warm(&sides, &[], limits.0, limits.1, &cancel, &events)
        .await
        .unwrap();
    assert!(!none.is_flat && none.rounds.is_empty());
}
