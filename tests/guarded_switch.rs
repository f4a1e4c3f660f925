//! Guardrails around `bleen switch` on real servers: what moved right before the hold, and what is left after it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that stops says where")]

mod support;

use bleen::domain::ids::Side;
use bleen::sandbox::{PairOptions, Rights, SandboxPair, ServerKind};
use rustix::process::Signal;
use serde_json::Value;
use support::check::{Kind, SOON, Scene};
use support::cli::{Operator, Plan};
use support::proxy::Proxy;

fn kinds(kind: Kind) -> (ServerKind, ServerKind) {
    match kind {
        Kind::MySql => (ServerKind::MySql97, ServerKind::MySql97),
        Kind::MariaDb => (ServerKind::MariaDb1011, ServerKind::MariaDb118),
    }
}

/// A name that is moved to another server once the gates were opened: nothing of the attempt may reach that one.
async fn moved(kind: Kind, side: Side) {
    let scene = Scene::new(kind).await;
    let (blue, green) = kinds(kind);
    let elsewhere = SandboxPair::start(blue, green, &PairOptions::default())
        .await
        .unwrap();
    let other = support::running(&elsewhere, side);
    other
        .create_account(&scene.pair.accounts.bleen, Rights::All)
        .await
        .unwrap();
    let proxy = Proxy::start(support::running(&scene.pair, side).port()).await;
    let ports = match side {
        Side::Blue => (proxy.port(), scene.pair.green.port()),
        Side::Green => (scene.pair.blue.port(), proxy.port()),
    };
    let operator = Operator::new(
        &scene.pair,
        &Plan {
            ports,
            attempts: 1,
            ..scene.plan()
        },
    );
    let mut run = operator.switch("");
    // Lag is measured as soon as the gates are open, and is observed for a second before they are passed.
    run.until("lag", SOON, |e| e["type"] == "lag").await;
    proxy.point_at(other.port());
    let ended = run.end(SOON).await;
    assert_eq!(ended.code, Some(2), "{}", ended.told());
    let told = ended.told();
    assert!(
        told.contains("when the command began") && told.contains("moved the address"),
        "{told}"
    );
    for running in [&scene.pair.blue, other] {
        let question = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'bleen'";
        let began = std::time::Instant::now();
        while running.value(question).await.unwrap().as_deref() != Some("0") {
            assert!(began.elapsed() < SOON, "sessions are left");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    let writable = "SELECT @@GLOBAL.read_only";
    assert_eq!(
        scene.pair.blue.value(writable).await.unwrap().as_deref(),
        Some("0")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_blue_moved_before_the_hold() {
    moved(Kind::MySql, Side::Blue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_green_moved_before_the_hold() {
    moved(Kind::MariaDb, Side::Green).await;
}

fn debt(result: &Value) -> String {
    result["debt"].to_string()
}

/// What is wrong on green once it serves is a debt with what to do about it, in every output; what only the option files
/// hold is said.
async fn left_to_do(kind: Kind) {
    let scene = Scene::new(kind).await;
    let operator = scene.operator();
    let mut run = operator
        .switch_to("promote.after=stop,drain.after=pause:50", "drain")
        .await;
    run.until_stopped(SOON).await;
    // Somebody takes the application's account away from green while the switch is under way.
    let app = &scene.pair.accounts.app.user;
    let mut drop = vec!["SET SESSION sql_log_bin = 0".to_owned()];
    let host = scene
        .pair
        .green
        .value(&format!("SELECT Host FROM mysql.user WHERE User = '{app}'"))
        .await
        .unwrap()
        .unwrap();
    drop.push(format!("DROP USER '{app}'@'{host}'"));
    scene.pair.green.run(&drop).await.unwrap();
    run.signal(Signal::CONT);
    let ended = run.end(SOON * 2).await;
    ended.expect("switched-with-debt", 5);
    let owed = debt(ended.result());
    assert!(
        owed.contains(&format!(
            "accounts-diff on green: account {app}@{host} does not exist"
        )),
        "{}",
        ended.told()
    );
    let said = |text: &str| ended.told().contains(text);
    let files = said("put `read_only = ON` into blue's option file") && said("out of green's option file");
    let events = said("put `event_scheduler = ON` into green's option file");
    assert_eq!(
        (files, events),
        (kind == Kind::MariaDb, kind == Kind::MariaDb),
        "{}",
        ended.told()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_debt_after_the_switch() {
    left_to_do(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_debt_after_the_switch() {
    left_to_do(Kind::MariaDb).await;
}
