//! Going back after a switch, under load: nothing is lost or doubled, and the pair can be switched again.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use bleen::domain::ids::Side;
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use serde_json::Value;
use support::check::{Kind, SOON, Scene};
use support::cli::{Ended, Operator, Plan};

/// Longest time for a whole command.
const LONG: std::time::Duration = std::time::Duration::from_secs(60);

fn pause(ended: &Ended) -> f64 {
    ended.result()["pause_ms"].as_f64().unwrap()
}

/// Green's first binlogs are gone: blue cannot be sent everything from its beginning, and need not be.
async fn purged(scene: &Scene) {
    let mut green = scene.pair.green.root().await.unwrap();
    green
        .query_drop("FLUSH NO_WRITE_TO_BINLOG BINARY LOGS")
        .await
        .unwrap();
    let files: Vec<Row> = green.query("SHOW BINARY LOGS").await.unwrap();
    let newest: String = files.last().unwrap().get(0).unwrap();
    green
        .query_drop(format!("PURGE BINARY LOGS TO '{newest}'"))
        .await
        .unwrap();
}

async fn there_and_back(kind: Kind) {
    let scene = Scene::new(kind).await;
    let watch = scene.watch().await;
    let operator = scene.operator();
    let refused = operator.failback("").end(LONG).await;
    refused.expect("not-ready", 2);
    assert!(
        refused.told().contains("green was not promoted"),
        "{}",
        refused.told()
    );

    purged(&scene).await;
    let there = operator.switch("").end(LONG).await;
    there.expect("switched", 0);
    watch.load.progress(100, SOON).await.unwrap();
    let back = operator.failback("").end(LONG).await;
    back.expect("switched", 0);
    watch.load.progress(100, SOON).await.unwrap();
    let again = operator.switch("").end(LONG).await;
    again.expect("switched", 0);
    watch.load.progress(100, SOON).await.unwrap();
    let last = operator.failback("").end(LONG).await;
    last.expect("switched", 0);
    eprintln!(
        "{kind:?}: pauses in ms: there {:.1}, back {:.1}, there again {:.1}, back again {:.1}",
        pause(&there),
        pause(&back),
        pause(&again),
        pause(&last)
    );
    let status = operator.status().end(LONG).await;
    let state = status.result()["state"].as_str().unwrap_or_default().to_owned();
    assert!(state.starts_with("went back by run"), "{}", status.told());
    overtaken(&scene, &operator, there.result()).await;
    scene
        .check_writes("there and back twice", watch, Side::Blue)
        .await;
    finished(&scene, &operator).await;
}

/// A run that has no end where later ones have switched: as a backup brings it back. Nothing of it is done or undone.
async fn overtaken(scene: &Scene, operator: &Operator, first: &Value) {
    let newest = "SELECT run_id FROM bleen.epochs ORDER BY epoch LIMIT 1";
    let run = scene.pair.blue.value(newest).await.unwrap().unwrap();
    assert_eq!(first["outcome"], "switched");
    let open = format!("UPDATE bleen.runs SET outcome = NULL WHERE run_id = '{run}'");
    scene.pair.blue.run(&[&open]).await.unwrap();
    for ended in [
        operator.resume().end(LONG).await,
        operator.switch("").end(LONG).await,
    ] {
        assert_eq!(ended.code, Some(2), "{}", ended.told());
        assert!(
            ended.stderr.contains("older than the last promotion"),
            "{}",
            ended.told()
        );
    }
    let over = format!("UPDATE bleen.runs SET outcome = 'superseded' WHERE run_id = '{run}'");
    scene.pair.blue.run(&[&over]).await.unwrap();
    operator.resume().end(LONG).await.expect("done", 0);
}

/// A fail back whose deadline is missed, one that is killed at its worst moments, and going back given up.
async fn stays(kind: Kind) {
    let scene = Scene::new(kind).await;
    let plan = Plan {
        attempts: 3,
        ..scene.plan()
    };
    let operator = Operator::new(&scene.pair, &plan);
    let refused = operator.finish().end(LONG).await;
    refused.expect("not-ready", 2);
    assert!(refused.told().contains("not switched"), "{}", refused.told());

    operator.switch("").end(LONG).await.expect("switched", 0);
    let watch = scene.watch().await;
    soaks(&scene, &operator).await;
    let late = operator.failback("drain.before=pause:2300").end(LONG).await;
    late.expect("released", 3);
    for point in ["wire-back.after", "hold.after", "disarm.after"] {
        let killed = operator.failback(&format!("{point}=kill")).end(LONG).await;
        assert_eq!(killed.code, None, "{point}: {}", killed.told());
        let ended = operator.resume().end(LONG).await;
        assert_eq!(ended.code, Some(3), "{point}: {}", ended.told());
        watch.load.progress(20, SOON).await.unwrap();
        eprintln!("{kind:?}: killed at {point}: green serves");
    }
    scene
        .check_writes("a fail back that fails", watch, Side::Green)
        .await;
    let status = operator.status().end(LONG).await;
    let seen = status.result();
    assert!(
        seen["state"].as_str().unwrap().contains("bleen failback")
            && seen["replication"].as_str().unwrap().starts_with("blue follows"),
        "{}",
        status.told()
    );
    finished(&scene, &operator).await;
}

/// Nothing to say of a pair that is as it should be; an alarm when blue does not follow, and when it accepts writes.
async fn soaks(scene: &Scene, operator: &Operator) {
    operator.soak("5s").end(LONG).await.expect("done", 0);
    let (stop, start) = match scene.kind {
        Kind::MySql => ("STOP REPLICA", "START REPLICA"),
        Kind::MariaDb => ("STOP SLAVE", "START SLAVE"),
    };
    scene.pair.blue.run(&[stop]).await.unwrap();
    let ended = operator.soak("6s").end(LONG).await;
    scene.pair.blue.run(&[start]).await.unwrap();
    assert_eq!(ended.code, Some(2), "{}", ended.told());
    assert!(ended.why().contains("way-back"), "{}", ended.told());
    let ended = operator.soak("5s").end(LONG).await;
    ended.expect("done", 0);
}

/// Neither server follows the other, and nothing of bleen's is left but what is said.
async fn finished(scene: &Scene, operator: &Operator) {
    let ended = operator.finish().end(LONG).await;
    ended.expect("done", 0);
    assert!(
        ended.result()["left"].to_string().contains("read-only"),
        "{}",
        ended.told()
    );
    let show = match scene.kind {
        Kind::MySql => "SHOW REPLICA STATUS",
        Kind::MariaDb => "SHOW ALL SLAVES STATUS",
    };
    for side in [Side::Blue, Side::Green] {
        let mut conn = scene.server(side).root().await.unwrap();
        let follows: Vec<Row> = conn.query(show).await.unwrap();
        let schemas: Vec<String> = conn.query("SHOW DATABASES LIKE 'bleen'").await.unwrap();
        assert!(follows.is_empty() && schemas.is_empty(), "{side}: {schemas:?}");
    }
    let again = operator.finish().end(LONG).await;
    again.expect("done", 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_stays() {
    stays(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_stays() {
    stays(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_there_and_back() {
    there_and_back(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_there_and_back() {
    there_and_back(Kind::MariaDb).await;
}
