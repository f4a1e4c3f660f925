//! Guardrails around `bleen switch` on real servers: what moved right before the hold, and what is left after it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that stops says where")]

mod support;

use std::time::Duration;

use bleen::domain::ids::Side;
use bleen::domain::machine::HoldKind;
use bleen::domain::outcome::{Outcome, WhyKind};
use bleen::sandbox::{PairOptions, Rights, SandboxPair, ServerKind};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
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
        told.contains("another server answers there now") && told.contains("moved the address"),
        "{told}"
    );
    for running in [&scene.pair.blue, other] {
        let question = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'bleen'";
        let began = std::time::Instant::now();
        while running.value(question).await.unwrap().as_deref() != Some("0") {
            assert!(began.elapsed() < SOON, "sessions are left");
            tokio::time::sleep(Duration::from_millis(50)).await;
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

/// A pair with one table, as `bleen run` finds it.
async fn fresh(blue: ServerKind, green: ServerKind, options: &PairOptions) -> SandboxPair {
    let pair = SandboxPair::start(blue, green, options).await.unwrap();
    let tables = [
        "CREATE DATABASE shop",
        "CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)",
        "INSERT INTO shop.t VALUES (1, 1)",
    ];
    pair.blue.run(&tables).await.unwrap();
    pair
}

/// Statements about accounts, on both sides and in no binlog.
async fn on_both(pair: &SandboxPair, statements: &[&str]) {
    for server in [&pair.blue, &pair.green] {
        let all = [&["SET SESSION sql_log_bin = 0"], statements].concat();
        server.run(&all).await.unwrap();
    }
}

/// Without RELOAD the hold is by tables, and everything else goes on as ever; a role that brings it counts.
async fn holds_as_the_rights_allow(kind: Kind) {
    let (blue, green) = kinds(kind);
    let pair = fresh(blue, green, &PairOptions::default()).await;
    let operator = support::Operator::of(&pair, |text| text);
    let revoke = match kind {
        Kind::MySql => "REVOKE RELOAD, FLUSH_TABLES ON *.* FROM bleen@'%'",
        Kind::MariaDb => "REVOKE RELOAD ON *.* FROM bleen@'%'",
    };
    let hidden = ["SET SESSION sql_log_bin = 0", revoke];
    pair.blue.run(&hidden).await.unwrap();
    let make: &[&str] = match kind {
        Kind::MySql => &[
            "CREATE ROLE holder",
            "GRANT RELOAD ON *.* TO holder",
            "GRANT holder TO bleen@'%'",
            "SET DEFAULT ROLE holder TO bleen@'%'",
        ],
        Kind::MariaDb => &[
            "CREATE ROLE holder",
            "GRANT RELOAD ON *.* TO holder",
            "GRANT holder TO bleen@'%'",
            "SET DEFAULT ROLE holder FOR bleen@'%'",
        ],
    };
    on_both(&pair, make).await;
    let plan = operator.run("plan", &[]).await;
    assert!(plan.stdout.contains("FLUSH TABLES WITH READ LOCK"), "{plan}");
    on_both(&pair, &["DROP ROLE holder"]).await;

    let doctor = operator.run("doctor", &[]).await;
    assert_eq!(doctor.code, 0, "{doctor}");
    assert!(
        doctor.stdout.contains("lacks RELOAD") && doctor.stdout.contains("`tables`"),
        "{doctor}"
    );
    let prepared = operator.run("prepare", &[]).await;
    assert_eq!(prepared.code, 0, "{prepared}");
    let plan = operator.run("plan", &[]).await;
    assert!(
        plan.stdout.contains("LOCK TABLES `bleen`.`epochs` READ"),
        "{plan}"
    );

    let switched = operator
        .run("switch", &["--confirm", "shop", "--output", "json"])
        .await;
    assert_eq!(switched.code, 0, "{switched}");
    assert!(switched.stdout.contains("hold: tables"), "{switched}");
    assert_eq!(switched.result()["outcome"], "switched", "{switched}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_without_reload() {
    holds_as_the_rights_allow(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_without_reload() {
    holds_as_the_rights_allow(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_5_6_cannot_lock_accounts() {
    let pair = fresh(ServerKind::MySql56, ServerKind::MySql97, &PairOptions::default()).await;
    let operator = support::Operator::of(&pair, |text| text + "switch:\n  privileged_sessions: end\n");
    let doctor = operator.run("doctor", &[]).await;
    assert_eq!(doctor.code, 2, "{doctor}");
    assert!(
        doctor.stdout.contains("cannot lock accounts")
            && doctor.stdout.contains("privileged_sessions: refuse"),
        "{doctor}"
    );
}

/// Sessions that idle for longer than the server lets them are opened anew: while green catches up, and while the gates
/// wait. Ended by hand here, as the server does after `wait_timeout`.
async fn idles(kind: Kind) {
    let (blue, green) = kinds(kind);
    let pair = fresh(blue, green, &PairOptions::default()).await;
    let operator = support::Operator::of(&pair, |text| {
        text.replace("observe: 1s", "observe: 4s")
            + "validate:\n  queries:\n    - name: all\n      sql: SELECT COUNT(*) FROM shop.t\n      compare: set\n"
    });
    let ended = async {
        let mut ended = [0, 0];
        let began = std::time::Instant::now();
        // The gates alone take four seconds after the four of catching up: nothing of an attempt is met here.
        while began.elapsed() < Duration::from_secs(7) {
            for (number, server) in [&pair.blue, &pair.green].into_iter().enumerate() {
                // bleen's own account: root's session would itself be one that writes through read-only.
                let mut conn = Conn::new(pair.accounts.bleen.opts(server.port())).await.unwrap();
                let idle: Vec<u64> = conn
                    .query(
                        "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'bleen' AND COMMAND = 'Sleep' AND TIME >= 2",
                    )
                    .await
                    .unwrap();
                for id in idle {
                    ended[number] +=
                        u32::from(conn.query_drop(format!("KILL CONNECTION {id}")).await.is_ok());
                }
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        ended
    };
    let more = ["--confirm", "shop", "--output", "json"];
    let (ended, switched) = tokio::join!(ended, operator.run("run", &more));
    assert!(ended.iter().all(|n| *n > 0), "{ended:?}");
    assert_eq!(switched.code, 0, "{switched}");
    assert_eq!(switched.result()["outcome"], "switched", "{switched}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_sessions_that_idle_are_opened_anew() {
    idles(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_sessions_that_idle_are_opened_anew() {
    idles(Kind::MariaDb).await;
}

/// What stood in the way of a hold is told without what its quotes hold.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_in_the_way_keeps_its_secrets() {
    let scene = Scene::new(Kind::MySql).await;
    let settings = support::settings(&scene.pair, HoldKind::Lock).await;
    let mut conn = scene.pair.blue.root().await.unwrap();
    let number = conn.id();
    let select = tokio::spawn(async move {
        let sql = "SELECT SLEEP(2), 'hunter2' FROM shop.notes";
        let _: Result<Vec<(u8, String)>, _> = conn.query(sql).await;
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let attempt = support::attempt(settings).await;
    let Outcome::Released { why, .. } = &attempt.outcome else {
        panic!("{:?}", attempt.outcome);
    };
    assert_eq!(why.kind, WhyKind::HoldBlocked);
    assert!(
        why.detail.contains("SELECT SLEEP(2)") && !why.detail.contains("hunter2"),
        "{}",
        why.detail
    );
    scene
        .pair
        .blue
        .run(&[format!("KILL CONNECTION {number}")])
        .await
        .unwrap();
    drop(select.await);
}
