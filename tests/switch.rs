//! The switch on real servers, without the command line around it.

#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use bleen::domain::ids::Side;
use bleen::domain::machine::HoldKind;
use bleen::domain::outcome::{Outcome, WhyKind};
use bleen::sandbox::{PairOptions, SandboxPair, ServerKind};
use support::{attempt, following, is_writable, session, settings};

fn show(attempt: &bleen::engine::attempt::Attempt) {
    eprintln!("{:?} pause {:?}", attempt.outcome, attempt.pause);
    for timing in &attempt.timings {
        eprintln!("  {:>22} {:?}", timing.command, timing.took);
    }
}

async fn switches(blue: ServerKind, green: ServerKind, hold: HoldKind, options: &PairOptions) {
    let pair = following(blue, green, options).await;
    let ended = attempt(settings(&pair, hold).await).await;
    show(&ended);
    assert_eq!(ended.outcome, Outcome::Switched { debt: vec![] });
    assert!(!is_writable(&pair, Side::Blue).await);
    assert!(is_writable(&pair, Side::Green).await);
}

/// A row lock on green that the applier needs: the hold is granted and the drain cannot end.
async fn misses(blue: ServerKind, green: ServerKind, hold: HoldKind, options: &PairOptions) {
    let pair = following(blue, green, options).await;
    let mut locker = lock_a_row(&pair).await;
    let mut blue_session = session(&pair, Side::Blue).await;
    blue_session
        .run("beat", "UPDATE bleen.heartbeat SET n = n + 1", support::BUDGET)
        .await
        .unwrap();
    drop(blue_session);
    let ended = attempt(settings(&pair, hold).await).await;
    show(&ended);
    let Outcome::Released { why, left } = &ended.outcome else {
        panic!("{:?}", ended.outcome)
    };
    assert_eq!(why.kind, WhyKind::DeadlineMissed);
    assert!(left.is_empty(), "{left:?}");
    assert!(is_writable(&pair, Side::Blue).await);
    assert!(!is_writable(&pair, Side::Green).await);
    locker.run("unlock", "ROLLBACK", support::BUDGET).await.unwrap();
}

async fn lock_a_row(pair: &SandboxPair) -> bleen::adapters::mysql::session::Session {
    let mut locker = session(pair, Side::Green).await;
    locker.run("lock", "BEGIN", support::BUDGET).await.unwrap();
    locker
        .run(
            "lock",
            "SELECT n FROM bleen.heartbeat LOCK IN SHARE MODE",
            support::BUDGET,
        )
        .await
        .unwrap();
    locker
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_switches() {
    switches(
        ServerKind::MySql97,
        ServerKind::MySql97,
        HoldKind::Lock,
        &PairOptions::default(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_misses() {
    misses(
        ServerKind::MySql97,
        ServerKind::MySql97,
        HoldKind::Lock,
        &PairOptions::default(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_switches() {
    switches(
        ServerKind::MariaDb1011,
        ServerKind::MariaDb118,
        HoldKind::Lock,
        &PairOptions::default(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_misses() {
    misses(
        ServerKind::MariaDb1011,
        ServerKind::MariaDb118,
        HoldKind::Lock,
        &PairOptions::default(),
    )
    .await;
}
