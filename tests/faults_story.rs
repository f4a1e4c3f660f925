//! A switch and a missed deadline from the command line, on real servers under load.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use bleen::domain::ids::Side;
use support::check::{Kind, SOON, Scene};

async fn switches(kind: Kind) {
    let scene = Scene::new(kind).await;
    let operator = scene.operator();
    let watch = scene.watch().await;
    let ended = operator.switch("").end(SOON).await;
    ended.expect("switched", 0);
    let report = scene.check("success", watch, Side::Green).await;
    scene.scheduler_moved("success").await;
    assert!(
        report.most_refusals_on_a_connection() <= 1,
        "{:?}",
        report.log.refusals
    );
    one_behind_the_fence_is_seen(&scene).await;
    assert!(report.log.in_doubt.is_empty() && report.log.lost_connections.is_empty());
}

/// The decisive check can fail: a single write that gets onto the old writer after the fence is found in its binlog.
async fn one_behind_the_fence_is_seen(scene: &Scene) {
    assert_eq!(scene.only_on(Side::Blue).await, "");
    assert_eq!(scene.behind_the_fence().await, None);
    let blue = &scene.pair.blue;
    blue.set_read_only(false).await.unwrap();
    blue.run(&["INSERT INTO shop.notes VALUES (99, 'late')"])
        .await
        .unwrap();
    blue.set_read_only(true).await.unwrap();
    assert_ne!(scene.only_on(Side::Blue).await, "");
    assert!(scene.behind_the_fence().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_switches() {
    switches(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_switches() {
    switches(Kind::MariaDb).await;
}
