//! Switchovers with the data proof: under load they pass and say what was proved; a difference stops them, wherever it
//! is found; a table that cannot be proved is never passed over in silence.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that stops says where")]

mod support;

use std::time::Duration;

use bleen::domain::ids::Side;
use support::check::{Kind, Scene};
use support::cli::{Operator, Plan};
use support::{caught_up, corrupt};

/// Longest time for a run with its proof.
const RUN: Duration = Duration::from_secs(90);

async fn scene(kind: Kind) -> Scene {
    let mut scene = Scene::new(kind).await;
    scene
        .pair
        .blue
        .run(&[
            "CREATE TABLE shop.goods (id INT PRIMARY KEY, name VARCHAR(60))",
            "INSERT INTO shop.goods SELECT id, CONCAT('article ', id) FROM shop.accounts",
        ])
        .await
        .unwrap();
    caught_up(&scene.pair).await;
    scene.pair.green.set_read_only(true).await.unwrap();
    scene.settle().await;
    scene
}

/// An operator whose playbook wants the data proof, with further keys of it.
fn operator(scene: &Scene, data: &str, attempts: u32) -> Operator {
    let mut plan = Plan::of(&scene.pair);
    plan.more = format!("validate:\n  data: {{ {data} }}\n");
    plan.attempts = attempts;
    Operator::new(&scene.pair, &plan)
}

async fn proved_under_load(kind: Kind) {
    let scene = scene(kind).await;
    let watch = scene.watch().await;
    let operator = operator(&scene, "", 10);
    let ended = operator.switch("").end(RUN).await;
    ended.expect("switched", 0);
    let proof = &ended.result()["data_proof"];
    assert!(proof["ranges"].as_u64() >= Some(6), "{proof}");
    assert_eq!(proof["unproven"], 0, "{proof}");
    assert_eq!(proof["differ_at_the_fence"], serde_json::json!([]), "{proof}");
    assert!(proof["rows_at_the_fence"].is_u64(), "{proof}");
    scene.check("with the data proof", watch, Side::Green).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_switches_with_every_row_proved() {
    proved_under_load(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_switches_with_every_row_proved() {
    proved_under_load(Kind::MariaDb).await;
}

async fn a_difference_from_before_stops_it(kind: Kind) {
    let scene = scene(kind).await;
    let changed = corrupt(
        &scene.pair.green,
        &["UPDATE shop.goods SET name = 'x' WHERE id = 77"],
    )
    .await;
    assert_eq!(changed, [1]);
    let watch = scene.watch().await;
    let operator = operator(&scene, "", 10);
    let ended = operator.switch("").end(RUN).await;
    ended.expect("not-ready", 2);
    let why = ended.result()["why"].to_string();
    assert!(why.contains("data-proof: 1 rows differ"), "{why}");
    let named = ended.events.iter().any(|event| {
        event["type"] == "difference" && event["table"] == "shop.goods" && event["key"][0][1] == "77"
    });
    assert!(named, "{}", ended.told());
    scene.check("a difference from before", watch, Side::Blue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_a_difference_from_before_stops_it() {
    a_difference_from_before_stops_it(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_a_difference_from_before_stops_it() {
    a_difference_from_before_stops_it(Kind::MariaDb).await;
}

async fn a_difference_at_the_fence_releases_the_hold(kind: Kind) {
    let scene = scene(kind).await;
    let watch = scene.watch().await;
    let operator = operator(&scene, "", 1);
    let mut run = operator.switch("hold.before=pause:1200");
    run.until("the hold is next", RUN, |event| {
        event["type"] == "step-began" && event["step"] == "hold"
    })
    .await;
    // Nothing is compared any more until the fence: a row that is touched now is left for it.
    let touch = "UPDATE shop.goods SET name = 'touched' WHERE id = 5";
    scene.pair.blue.run(&[touch]).await.unwrap();
    caught_up(&scene.pair).await;
    let changed = corrupt(
        &scene.pair.green,
        &["UPDATE shop.goods SET name = 'Touched' WHERE id = 5"],
    )
    .await;
    assert_eq!(changed, [1]);
    let ended = run.end(RUN).await;
    ended.expect("released", 3);
    assert!(
        ended
            .why()
            .contains("at the fence both sides differ: row 5 of shop.goods"),
        "{}",
        ended.told()
    );
    watch.load.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_a_difference_at_the_fence_releases_the_hold() {
    a_difference_at_the_fence_releases_the_hold(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_a_difference_at_the_fence_releases_the_hold() {
    a_difference_at_the_fence_releases_the_hold(Kind::MariaDb).await;
}

/// A table without a key that changes up to the hold is read as a whole at the fence.
async fn a_table_without_a_key_is_read_whole_at_the_fence(kind: Kind) {
    let scene = scene(kind).await;
    let create = "CREATE TABLE shop.keyless (a INT, b VARCHAR(20))";
    let fill = "INSERT INTO shop.keyless SELECT id % 7, 'x' FROM shop.accounts";
    scene.pair.blue.run(&[create, fill]).await.unwrap();
    caught_up(&scene.pair).await;
    let watch = scene.watch().await;
    let first = operator(&scene, "", 1);
    let mut run = first.switch("hold.before=pause:1200");
    let is_next = |event: &serde_json::Value| event["type"] == "step-began" && event["step"] == "hold";
    run.until("the hold is next", RUN, is_next).await;
    let touch = "UPDATE shop.keyless SET b = 'y' WHERE a = 3";
    scene.pair.blue.run(&[touch]).await.unwrap();
    caught_up(&scene.pair).await;
    let changed = corrupt(
        &scene.pair.green,
        &["UPDATE shop.keyless SET a = 4 WHERE a = 3 LIMIT 2"],
    )
    .await;
    assert_eq!(changed, [2]);
    let ended = run.end(RUN).await;
    ended.expect("released", 3);
    assert!(
        ended.why().contains("a range of rows of shop.keyless"),
        "{}",
        ended.why()
    );
    let changed = corrupt(
        &scene.pair.green,
        &["UPDATE shop.keyless SET a = 3 WHERE a = 4 AND b = 'y'"],
    )
    .await;
    assert_eq!(changed, [2]);

    watch.load.stop().await;

    let watch = scene.watch().await;
    let second = operator(&scene, "", 10);
    let mut run = second.switch("hold.before=pause:1200");
    run.until("the hold is next", RUN, is_next).await;
    scene
        .pair
        .blue
        .run(&["UPDATE shop.keyless SET b = 'z' WHERE a = 3"])
        .await
        .unwrap();
    let ended = run.end(RUN).await;
    ended.expect("switched", 0);
    assert_eq!(
        ended.result()["data_proof"]["ranges_at_the_fence"],
        1,
        "{}",
        ended.told()
    );
    scene.check("a table without a key", watch, Side::Green).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_a_table_without_a_key_is_read_whole_at_the_fence() {
    a_table_without_a_key_is_read_whole_at_the_fence(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_a_table_without_a_key_is_read_whole_at_the_fence() {
    a_table_without_a_key_is_read_whole_at_the_fence(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_proved_stops_it_unless_accepted() {
    let scene = scene(Kind::MySql).await;
    let create = "CREATE TABLE shop.memory (a INT PRIMARY KEY) ENGINE = MEMORY";
    scene
        .pair
        .blue
        .run(&[create, "INSERT INTO shop.memory VALUES (1)"])
        .await
        .unwrap();
    caught_up(&scene.pair).await;
    let first = operator(&scene, "", 10);
    let ended = first.switch("").end(RUN).await;
    ended.expect("not-ready", 2);
    let why = ended.result()["why"].to_string();
    assert!(
        why.contains("data-proof: shop.memory cannot be proved: its engine on blue is MEMORY"),
        "{why}"
    );

    let second = operator(&scene, "accept_unproven: [shop.mem*]", 10);
    let ended = second.switch("").end(RUN).await;
    ended.expect("switched", 0);
    let proof = &ended.result()["data_proof"];
    assert_eq!(
        proof["accepted_unproven"],
        serde_json::json!(["shop.memory"]),
        "{proof}"
    );
}
