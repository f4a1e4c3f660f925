//! The switch on real servers, without the command line around it.

#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use bleen::adapters::mysql::session::{Purpose, Session, Target};
use bleen::domain::ids::Side;
use bleen::domain::machine::HoldKind;
use bleen::domain::outcome::{Outcome, WhyKind};
use bleen::playbook::model::{Compare, GateMoment, GateQuery};
use bleen::sandbox::{PairOptions, ServerKind};
use support::{BUDGET, attempt, attempt_with, following, is_writable, settings};

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

/// A row lock on green that the applier needs, taken when everything has been found in order: the hold is granted and
/// the drain cannot end.
async fn misses(blue: ServerKind, green: ServerKind, hold: HoldKind, options: &PairOptions) {
    let pair = following(blue, green, options).await;
    let (on_green, on_blue) = (
        support::target(&pair, Side::Green),
        support::target(&pair, Side::Blue),
    );
    let keep = std::sync::Arc::new(tokio::sync::Mutex::new(None));
    let kept = keep.clone();
    let settings = settings(&pair, hold).await;
    let ended = attempt_with(settings, "hold", move || {
        let (on_green, on_blue, kept) = (on_green.clone(), on_blue.clone(), kept.clone());
        async move { *kept.lock().await = Some(lock_a_row(&on_green, &on_blue).await) }
    })
    .await;
    show(&ended);
    let Outcome::Released { why, left } = &ended.outcome else {
        panic!("{:?}", ended.outcome)
    };
    assert_eq!(why.kind, WhyKind::DeadlineMissed);
    assert!(
        why.detail.contains("row lock") && why.detail.contains("heartbeat"),
        "{}",
        why.detail
    );
    assert!(left.is_empty(), "{left:?}");
    assert!(is_writable(&pair, Side::Blue).await);
    assert!(!is_writable(&pair, Side::Green).await);
}

async fn lock_a_row(on_green: &Target, on_blue: &Target) -> Session {
    let purpose = Purpose {
        run: None,
        role: "test",
    };
    let mut locker = Session::open(on_green, &purpose, BUDGET).await.unwrap();
    locker.run("lock", "BEGIN", BUDGET).await.unwrap();
    locker
        .run("lock", "SELECT n FROM bleen.heartbeat LOCK IN SHARE MODE", BUDGET)
        .await
        .unwrap();
    let mut blue = Session::open(on_blue, &purpose, BUDGET).await.unwrap();
    blue.run("beat", "UPDATE bleen.heartbeat SET n = n + 1", BUDGET)
        .await
        .unwrap();
    blue.close(BUDGET).await;
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

/// Under the hold both sides stand still, so answers that differ are a difference; the hold is given up.
#[tokio::test(flavor = "multi_thread")]
async fn gate_queries_at_the_fence() {
    let pair = following(ServerKind::MySql97, ServerKind::MySql97, &PairOptions::default()).await;
    let query = |name: &str, sql: &str| GateQuery {
        name: name.into(),
        sql: sql.into(),
        compare: Compare::Set,
        at: GateMoment::Fence,
        time_limit: BUDGET,
    };
    let mut differs = settings(&pair, HoldKind::Lock).await;
    differs.fence_queries = vec![query("who", "SELECT @@server_id")];
    let ended = attempt(differs).await;
    show(&ended);
    let Outcome::Released { why, .. } = &ended.outcome else {
        panic!("{:?}", ended.outcome)
    };
    assert_eq!(why.kind, WhyKind::ProofFailed);
    assert!(why.detail.contains("`who`"), "{}", why.detail);
    assert!(is_writable(&pair, Side::Blue).await);

    let mut agrees = settings(&pair, HoldKind::Lock).await;
    agrees.fence_queries = vec![query("beat", "SELECT n FROM bleen.heartbeat")];
    let ended = attempt(agrees).await;
    assert_eq!(ended.outcome, Outcome::Switched { debt: vec![] });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_ways_to_hold() {
    for hold in [HoldKind::Tables, HoldKind::Refuse] {
        let pair = PairOptions::default();
        misses(ServerKind::MySql97, ServerKind::MySql97, hold, &pair).await;
        switches(ServerKind::MySql97, ServerKind::MySql97, hold, &pair).await;
        switches(ServerKind::MariaDb1011, ServerKind::MariaDb118, hold, &pair).await;
    }
}
