//! Green restarts when it has been promoted: the outcome tells what became of it, and `resume` finishes what is left.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that stops says where")]

mod support;

use std::time::Duration;

use bleen::domain::ids::Side;
use bleen::sandbox::{PairOptions, SandboxPair, ServerKind};
use support::cli::{Operator, Plan};
use support::{following, is_writable};

/// Longest time for a run and for a resume.
const SOON: Duration = Duration::from_secs(60);

/// On MariaDB what cannot be persisted stands in the option file, as the guardrail `restart-writable` asks: green comes
/// back read-only although it was promoted.
async fn pair(blue: ServerKind, green: ServerKind) -> (SandboxPair, Operator) {
    let pair = following(blue, green, &PairOptions::default()).await;
    if green == ServerKind::MariaDb118 {
        let path = pair.green.option_file();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}\nread-only=ON\n")).unwrap();
    }
    let operator = Operator::new(&pair, &Plan::of(&pair));
    (pair, operator)
}

async fn serves(pair: &SandboxPair) {
    assert!(is_writable(pair, Side::Green).await && !is_writable(pair, Side::Blue).await);
    let epochs = pair
        .green
        .value("SELECT COUNT(*) FROM bleen.epochs")
        .await
        .unwrap();
    assert_eq!(epochs.as_deref(), Some("1"));
    let open = "SELECT COUNT(*) FROM bleen.runs WHERE outcome IS NULL";
    assert_eq!(pair.green.value(open).await.unwrap().as_deref(), Some("0"));
}

/// Between promote and its epoch row: the writers are let go, then the row is written.
async fn before_its_epoch_row(blue: ServerKind, green: ServerKind) {
    let (pair, operator) = pair(blue, green).await;
    let run = operator
        .switch_to("write-epoch.before=pause:1500", "promote")
        .await;
    pair.green.restart().await.unwrap();
    run.end(SOON).await.expect("switched", 0);
    serves(&pair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_restarts_before_its_epoch_row() {
    before_its_epoch_row(ServerKind::MySql97, ServerKind::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_restarts_before_its_epoch_row() {
    before_its_epoch_row(ServerKind::MariaDb1011, ServerKind::MariaDb118).await;
}

/// When the writers have been let go already.
#[tokio::test(flavor = "multi_thread")]
async fn mysql_restarts_before_it_is_confirmed() {
    let (pair, operator) = pair(ServerKind::MySql97, ServerKind::MySql97).await;
    let run = operator.switch_to("confirm.before=pause:3000", "release").await;
    pair.green.restart().await.unwrap();
    run.end(SOON).await.expect("switched", 0);
    serves(&pair).await;
}

/// The same where green comes back read-only: it is said, nothing is called switched without debt, and `resume` opens
/// green again.
#[tokio::test(flavor = "multi_thread")]
async fn mariadb_restarts_before_it_is_confirmed() {
    let (pair, operator) = pair(ServerKind::MariaDb1011, ServerKind::MariaDb118).await;
    let run = operator.switch_to("confirm.before=pause:3000", "release").await;
    pair.green.restart().await.unwrap();
    assert!(!is_writable(&pair, Side::Green).await);
    let ended = run.end(SOON).await;
    ended.expect("switched-with-debt", 5);
    let debt = ended.result()["debt"].to_string();
    assert!(
        debt.contains("green is read-only") && debt.contains("bleen resume"),
        "{debt}"
    );
    operator.resume().end(SOON).await.expect("switched", 0);
    serves(&pair).await;
}
