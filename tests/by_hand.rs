//! An end that nobody knows: what bleen prints then is run here, word by word, by somebody who has nothing else.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that stops says where")]

mod support;

use std::time::Duration;

use bleen::domain::ids::Side;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rustix::process::Signal;
use serde_json::Value;
use support::check::{Kind, SOON, Scene};
use support::cli::{Ended, Operator, Plan};
use support::points::resume;
use support::proxy::{Network, Proxy};

/// The account that bleen uses is not the one that the person uses.
async fn person(scene: &Scene) -> (Conn, Conn) {
    let blue = scene.pair.blue.root().await.unwrap();
    (blue, scene.pair.green.root().await.unwrap())
}

fn statements<'a>(by_hand: &'a Value, step: &str) -> Vec<(&'a str, &'a str)> {
    let steps = by_hand["steps"].as_array().unwrap();
    let step = steps.iter().find(|s| s["step"] == step).unwrap();
    let list = step["statements"].as_array().unwrap();
    list.iter()
        .map(|s| (s["side"].as_str().unwrap(), s["statement"].as_str().unwrap()))
        .collect()
}

/// Runs one statement; one that answers statements is followed until it answers none.
async fn run(conns: &mut (Conn, Conn), side: &str, statement: &str) -> Option<String> {
    let conn = if side == "blue" {
        &mut conns.0
    } else {
        &mut conns.1
    };
    loop {
        let mut result = conn.query_iter(statement).await.unwrap();
        let rows: Vec<mysql_async::Row> = if result.columns().is_some_and(|c| !c.is_empty()) {
            result.collect().await.unwrap()
        } else {
            Vec::new()
        };
        drop(result.drop_result().await);
        if !statement.contains("AS run_this") {
            let first = rows.first().and_then(|row| row.get_opt::<Option<String>, _>(0));
            return first.and_then(Result::ok).flatten();
        }
        if rows.is_empty() {
            return None;
        }
        for row in rows {
            // One that went by itself meanwhile is what was wanted.
            drop(conn.query_drop(row.get::<String, _>(0).unwrap()).await);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Follows what was printed to its end, for a green that was never promoted.
async fn follow(scene: &Scene, ended: &Ended) {
    let by_hand = &ended.result()["by_hand"];
    let told = ended.told();
    assert!(told.contains("it is not certain who serves"), "{told}");
    let mut conns = person(scene).await;
    for (side, statement) in statements(by_hand, "1") {
        run(&mut conns, side, statement).await;
    }
    let mut executed = String::new();
    for (side, statement) in statements(by_hand, "2") {
        let statement = statement.replace("<gtid_executed of blue>", &executed);
        let seen = run(&mut conns, side, &statement).await;
        match statement.as_str() {
            s if s.contains("read_only") => assert_eq!(seen.as_deref(), Some("1"), "green is shut"),
            s if s.contains("epochs") => assert_eq!(seen.as_deref(), Some("0")),
            s if s.contains("GTID_SUBTRACT") => assert_eq!(seen.as_deref(), Some("")),
            _ => executed = seen.unwrap_or_default(),
        }
    }
    for (side, statement) in statements(by_hand, "3a") {
        assert_eq!(side, "blue");
        let seen = run(&mut conns, side, statement).await;
        if statement.contains("IS_USED_LOCK") {
            assert_eq!(seen, None, "the guard is gone");
        }
    }
}

fn operator(scene: &Scene, ports: (u16, u16)) -> Operator {
    let plan = Plan {
        ports,
        attempts: 1,
        ..scene.plan()
    };
    Operator::new(&scene.pair, &plan)
}

async fn ambiguous_end(kind: Kind) {
    let scene = Scene::new(kind).await;
    let green = Proxy::start(scene.pair.green.port()).await;
    let ports = (scene.pair.blue.port(), green.port());
    let watch = scene.watch().await;
    let case = "the way to green gone for good, ended by hand";
    let first = operator(&scene, ports);
    let run = first.switch_to("disarm.after=pause:1000", "disarm").await;
    green.set(Network::Cut);
    let ended = run.end(SOON * 3).await;
    ended.expect("ambiguous", 4);
    green.set(Network::Up);
    follow(&scene, &ended).await;
    resume(&first).await.expect("done", 0);
    scene.check(case, watch, Side::Blue).await;
}

async fn second_interrupt(kind: Kind) {
    let scene = Scene::new(kind).await;
    let watch = scene.watch().await;
    let case = "interrupted twice with blue sealed, ended by hand";
    let ports = (scene.pair.blue.port(), scene.pair.green.port());
    let first = operator(&scene, ports);
    let mut run = first.switch_to("seal.after=pause:3000", "seal").await;
    run.signal(Signal::INT);
    run.until("what the first one does", SOON, |e| {
        e["type"] == "warning" && e["text"].as_str().is_some_and(|t| t.contains("Ctrl-C"))
    })
    .await;
    run.signal(Signal::INT);
    let ended = run.end(SOON).await;
    ended.expect("ambiguous", 4);
    follow(&scene, &ended).await;
    resume(&first).await.expect("done", 0);
    scene.check(case, watch, Side::Blue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_ambiguous_end() {
    ambiguous_end(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_ambiguous_end() {
    ambiguous_end(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_second_interrupt() {
    second_interrupt(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_second_interrupt() {
    second_interrupt(Kind::MariaDb).await;
}
