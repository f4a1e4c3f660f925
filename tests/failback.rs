//! Going back after a switch, under load: nothing is lost or doubled, and the pair can be switched again.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use bleen::domain::ids::Side;
use support::check::{Kind, SOON, Scene};
use support::cli::Ended;

/// Longest time for a whole command.
const LONG: std::time::Duration = std::time::Duration::from_secs(60);

fn pause(ended: &Ended) -> f64 {
    ended.result()["pause_ms"].as_f64().unwrap()
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
    scene
        .check_writes("there and back twice", watch, Side::Blue)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_there_and_back() {
    there_and_back(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_there_and_back() {
    there_and_back(Kind::MariaDb).await;
}
