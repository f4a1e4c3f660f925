//! The switch on real servers, without the command line around it.

#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use bleen::adapters::mysql::session::{Purpose, Session, Target};
use bleen::adapters::mysql::switch::SwitchServers;
use bleen::domain::ids::Side;
use bleen::domain::machine::{Answer, Command, HoldKind, Seen};
use bleen::domain::outcome::{Outcome, Why, WhyKind};
use bleen::domain::step::Step;
use bleen::engine::ports::{Servers, Terms};
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

/// An account that is gone makes the ALTER USER fail. What is written after it has to reach green all the same: the
/// setting that keeps it out of the binlog must not outlive the statement.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_cannot_be_locked_does_not_silence_the_run() {
    let pair = following(
        ServerKind::MariaDb1011,
        ServerKind::MariaDb118,
        &PairOptions::default(),
    )
    .await;
    let make = [
        "SET SESSION sql_log_bin = 0",
        "CREATE USER boss@'%' IDENTIFIED BY 'pw'",
        "GRANT READ_ONLY ADMIN ON *.* TO boss@'%'",
    ];
    pair.blue.run(&make).await.unwrap();
    let mut settings = settings(&pair, HoldKind::Lock).await;
    settings.end_privileged = true;
    let run = settings.run.to_string();
    let servers = SwitchServers::open(settings).await.unwrap();
    pair.blue
        .run(&["SET SESSION sql_log_bin = 0", "DROP USER boss@'%'"])
        .await
        .unwrap();
    let terms = Terms {
        deadline: None,
        budget: BUDGET,
    };
    let quiet = servers.perform(Command::Quiet, terms).await;
    assert!(
        matches!(&quiet, Answer::Refused(_, why) if why.contains("boss")),
        "{quiet:?}"
    );
    let put_back = servers.perform(Command::PutBack, terms).await;
    assert!(
        matches!(&put_back, Answer::Seen(Seen::Left(left)) if left.len() == 1),
        "{put_back:?}"
    );
    let why = Why {
        step: Step::Quiet,
        kind: WhyKind::Refused,
        detail: "an account is gone".into(),
    };
    let released = Outcome::Released { why, left: vec![] };
    servers.close_run(&released).await.unwrap();
    support::caught_up(&pair).await;
    let question = format!("SELECT outcome FROM bleen.runs WHERE run_id = '{run}'");
    assert_eq!(
        pair.green.value(&question).await.unwrap().as_deref(),
        Some("released")
    );
}
