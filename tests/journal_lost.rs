//! The machine that runs bleen loses its power under the seal, or when green has been promoted: what the disk has is the
//! journal up to the hold, or nothing. `resume` needs neither.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that stops says where")]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use bleen::domain::ids::Side;
use bleen::sandbox::{PairOptions, ServerKind};
use serde_json::Value;
use support::cli::{Operator, Plan};
use support::{following, is_writable};

/// Longest time for a run and for a resume.
const SOON: Duration = Duration::from_secs(60);

/// What is left of the newest journal.
#[derive(Clone, Copy)]
enum Left {
    /// What was synced last: the record before the hold.
    UpToTheHold,
    Nothing,
}

fn newest_run(operator: &Operator) -> PathBuf {
    let mut runs: Vec<PathBuf> = std::fs::read_dir(operator.runs())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("journal.jsonl").exists())
        .collect();
    runs.sort();
    runs.pop().unwrap()
}

fn lose(operator: &Operator, left: Left) {
    let run = newest_run(operator);
    let path = run.join("journal.jsonl");
    match left {
        Left::Nothing => std::fs::remove_dir_all(run).unwrap(),
        Left::UpToTheHold => {
            let text = std::fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            let hold = lines
                .iter()
                .position(|line| {
                    let record: Value = serde_json::from_str(line).unwrap();
                    record["record"] == "command" && record["command"] == "take-hold"
                })
                .unwrap();
            assert!(lines.len() > hold + 2, "there is nothing to lose: {text}");
            std::fs::write(&path, format!("{}\n", lines[..=hold].join("\n"))).unwrap();
        }
    }
}

async fn resumes(blue: ServerKind, green: ServerKind, left: Left) {
    let pair = following(blue, green, &PairOptions::default()).await;
    let operator = Operator::new(&pair, &Plan::of(&pair));

    let killed = operator.switch("seal.after=kill").end(SOON).await;
    assert_eq!(killed.signal, Some(9), "{}", killed.told());
    lose(&operator, left);
    operator.resume().end(SOON).await.expect("rolled-back", 3);
    assert!(is_writable(&pair, Side::Blue).await && !is_writable(&pair, Side::Green).await);

    let killed = operator.switch("promote.after=kill").end(SOON).await;
    assert_eq!(killed.signal, Some(9), "{}", killed.told());
    lose(&operator, left);
    operator.resume().end(SOON).await.expect("switched", 0);
    assert!(!is_writable(&pair, Side::Blue).await && is_writable(&pair, Side::Green).await);
    let epochs = pair
        .green
        .value("SELECT COUNT(*) FROM bleen.epochs")
        .await
        .unwrap();
    assert_eq!(epochs.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_from_a_journal_cut_at_the_hold() {
    resumes(ServerKind::MySql97, ServerKind::MySql97, Left::UpToTheHold).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_from_no_journal() {
    resumes(ServerKind::MySql97, ServerKind::MySql97, Left::Nothing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_from_a_journal_cut_at_the_hold() {
    resumes(ServerKind::MariaDb1011, ServerKind::MariaDb118, Left::UpToTheHold).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_from_no_journal() {
    resumes(ServerKind::MariaDb1011, ServerKind::MariaDb118, Left::Nothing).await;
}
