//! Two greens that follow one blue: each pair puts back what was changed for it, and nothing of the other's.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that stops says where")]

mod support;

use std::time::Duration;

use bleen::adapters::mysql::own_schema::{self, UndoRow};
use bleen::domain::ids::Side;
use bleen::sandbox::{
    Cache, PairOptions, Rights, RunningServer, SCHEMA, SandboxPair, ServerKind, ServerOptions,
};
use support::Operator;

/// A pair with data, and one more server that is to follow its blue.
async fn three(blue: ServerKind, green: ServerKind) -> (SandboxPair, RunningServer) {
    let pair = SandboxPair::start(blue, green, &PairOptions::default())
        .await
        .unwrap();
    let data = ["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)"];
    pair.blue.run(&data).await.unwrap();
    let options = ServerOptions {
        server_id: 3,
        ..ServerOptions::default()
    };
    let second = pair
        .green
        .installed()
        .start_in(pair.dir.clone(), "second", &Cache::from_env(), &options)
        .await
        .unwrap();
    let (bleen, repl) = (&pair.accounts.bleen, &pair.accounts.repl);
    second.create_account(bleen, Rights::All).await.unwrap();
    second.create_account(repl, Rights::Replication).await.unwrap();
    let app = Rights::Schema(SCHEMA);
    second.create_account(&pair.accounts.app, app).await.unwrap();
    (pair, second)
}

/// An operator whose green is the other server.
fn of_second(pair: &SandboxPair, second: &RunningServer) -> Operator {
    let (one, other) = (pair.green.port(), second.port());
    Operator::of(pair, |text| {
        let text = text.replace(&format!("port: {one}\n"), &format!("port: {other}\n"));
        knows_of_the_other(&text.replace("name: shop", "name: report"))
    })
}

/// Each green is the other pair's further replica, which an operator of two has to know of.
fn knows_of_the_other(text: &str) -> String {
    let waiver =
        "waivers:\n  - guardrail: external-replicas\n    reason: the other green follows this blue too\n";
    match text.split_once("waivers:\n") {
        Some((before, after)) => format!("{before}{waiver}{after}"),
        None => format!("{text}{waiver}"),
    }
}

async fn flag(server: &RunningServer, variable: &str) -> String {
    let question = format!("SELECT @@GLOBAL.{variable}");
    server.value(&question).await.unwrap().unwrap_or_default()
}

async fn has_schema(server: &RunningServer) -> bool {
    let question = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'bleen'";
    server.value(question).await.unwrap().as_deref() == Some("1")
}

/// A write on blue arrives on that server.
async fn follows(blue: &RunningServer, server: &RunningServer) {
    blue.run(&["UPDATE bleen.heartbeat SET n = n + 1"]).await.unwrap();
    let question = "SELECT n FROM bleen.heartbeat";
    let n = blue.value(question).await.unwrap();
    for _ in 0..500 {
        if server.value(question).await.unwrap() == n {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it does not follow blue any more");
}

async fn state(operator: &Operator) -> String {
    let status = operator.run("status", &["--output", "json"]).await;
    assert_eq!(status.code, 0, "{status}");
    let result = status.result();
    format!("{}; {}", result["state"].as_str().unwrap(), result["to_put_back"])
}

async fn each_pair_puts_back_its_own(blue: ServerKind, green: ServerKind) {
    let (pair, second) = three(blue, green).await;
    let (first_pair, other_pair) = (
        Operator::of(&pair, |text| knows_of_the_other(&text)),
        of_second(&pair, &second),
    );
    for operator in [&first_pair, &other_pair] {
        let prepared = operator.run("prepare", &[]).await;
        assert_eq!(prepared.code, 0, "{prepared}");
    }
    // The first pair made bleen's schema, and the other's record is in it.
    let back = first_pair.run("rollback", &["--output", "json"]).await;
    assert_eq!(
        (back.code, &back.result()["left"]),
        (0, &serde_json::json!([])),
        "{back}"
    );
    assert_eq!(flag(&pair.green, "read_only").await, "0");
    // What green has copied of blue stays with it: it can follow again from there.
    assert!(has_schema(&pair.green).await);
    assert!(state(&first_pair).await.starts_with("not prepared"));
    assert_eq!(flag(&second, "read_only").await, "1");
    follows(&pair.blue, &second).await;
    let still = state(&other_pair).await;
    assert!(still.starts_with("prepared by run"), "{still}");
    let nothing = first_pair.run("rollback", &["--output", "json"]).await;
    assert_eq!(
        (nothing.code, &nothing.result()["undone"]),
        (0, &0.into()),
        "{nothing}"
    );

    let back = other_pair.run("rollback", &[]).await;
    assert_eq!(back.code, 0, "{back}");
    assert_eq!(flag(&second, "read_only").await, "0");
    assert!(!has_schema(&pair.blue).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_mysql_each_pair_puts_back_its_own() {
    each_pair_puts_back_its_own(ServerKind::MySql97, ServerKind::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_mariadb_each_pair_puts_back_its_own() {
    each_pair_puts_back_its_own(ServerKind::MariaDb1011, ServerKind::MariaDb118).await;
}

/// A prepared pair, and its operator.
async fn prepared() -> (SandboxPair, Operator) {
    let pair = SandboxPair::start(ServerKind::MySql97, ServerKind::MySql97, &PairOptions::default())
        .await
        .unwrap();
    let operator = Operator::prepared(&pair).await;
    (pair, operator)
}

/// The record of a green that was relaxed: what puts it back is told by the number that the setting has then.
fn relaxed(green: &str, number: u32) -> String {
    own_schema::undo_statement(&UndoRow {
        run_id: format!("20200101T000000-{number:08x}"),
        seq: 0,
        green: green.to_owned(),
        side: Side::Green,
        what: "relax green's durability while it catches up".to_owned(),
        statement: format!("SET GLOBAL sync_binlog = {number}"),
        state: "open".to_owned(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_makes_its_own_green_durable_and_only_while_it_holds_the_run_lock() {
    let (pair, operator) = prepared().await;
    let label = flag(&pair.green, "server_uuid").await;
    let records = [relaxed(&label, 7), relaxed("another green", 9)];
    pair.blue.run(&[&records[0], &records[1]]).await.unwrap();
    pair.green.run(&["SET GLOBAL sync_binlog = 0"]).await.unwrap();

    // Another bleen holds the pair, and lives.
    let mut other = pair.blue.root().await.unwrap();
    let got: Option<u64> =
        mysql_async::prelude::Queryable::query_first(&mut other, "SELECT GET_LOCK('bleen.run', 0)")
            .await
            .unwrap();
    assert_eq!(got, Some(1));
    let refused = operator.run("switch", &["--confirm", "shop"]).await;
    assert_eq!(refused.code, 75, "{refused}");
    assert_eq!(flag(&pair.green, "sync_binlog").await, "0");
    other.disconnect().await.unwrap();

    let switched = operator.run("switch", &["--confirm", "shop"]).await;
    assert_eq!(switched.code, 0, "{switched}");
    assert_eq!(flag(&pair.green, "sync_binlog").await, "7");
    // Green serves, so its own record counts now; blue's, of another green that still follows it, stays as it was.
    let open = format!("SELECT COUNT(*) FROM bleen.undo WHERE state = 'open' AND green = '{label}'");
    assert_eq!(pair.green.value(&open).await.unwrap().as_deref(), Some("0"));
    let other = "SELECT state FROM bleen.undo WHERE green = 'another green'";
    assert_eq!(pair.blue.value(other).await.unwrap().as_deref(), Some("open"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_greens_is_refused_with_the_statement_that_mends_it() {
    let (pair, operator) = prepared().await;
    pair.blue
        .run(&["ALTER TABLE bleen.undo DROP COLUMN green"])
        .await
        .unwrap();
    for command in ["rollback", "prepare"] {
        let refused = operator.run(command, &[]).await;
        assert_eq!(refused.code, 2, "{refused}");
        assert!(
            refused.stderr.contains("nothing has changed") || refused.stdout.contains("nothing has changed"),
            "{refused}"
        );
        assert_eq!(flag(&pair.green, "read_only").await, "1");
    }
    let seen = state(&operator).await;
    assert!(
        seen.starts_with("not known") && seen.contains("ALTER TABLE"),
        "{seen}"
    );
    let refused = operator.run("rollback", &[]).await;
    let mends = refused.stderr.split_once("run on blue: ").unwrap().1;
    let mends = mends.split_once(" AFTER seq").unwrap().0;
    pair.blue.run(&[mends]).await.unwrap();
    let back = operator.run("rollback", &[]).await;
    assert_eq!(back.code, 0, "{back}");
    assert!(!has_schema(&pair.blue).await);
}
