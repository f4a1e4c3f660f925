//! `bleen validate` on real servers under load: nothing is called different that is not, everything that is different is
//! found and named to the row and column, and what it writes to repair it does repair it.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that stops says where")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use bleen::sandbox::{Load, LoadOptions};
use mysql_async::prelude::Queryable;
use serde_json::Value;
use support::check::{Kind, SOON, Scene};
use support::cli::{Ended, Running};
use support::{caught_up, corrupt};

/// Longest time for a whole pass here.
const PASS: Duration = Duration::from_secs(60);

/// Rows of the table in which nothing happens but what the test does.
const GOODS: u32 = 20_000;

/// A pair with the shop and a table of many ranges, and green as `prepare` leaves it.
async fn scene(kind: Kind) -> Scene {
    let scene = Scene::new(kind).await;
    let numbers: Vec<String> = (0..5)
        .map(|power| format!("d{power}.n * {}", 10_u32.pow(power)))
        .collect();
    let digits: Vec<String> = (0..5).map(|power| format!("shop.digits d{power}")).collect();
    let fill = format!(
        "INSERT INTO shop.goods SELECT n, CONCAT('article ', n), n / 7, IF(n % 3, NULL, n) FROM (SELECT {} AS n FROM {}) numbers \
         WHERE n < {GOODS}",
        numbers.join(" + "),
        digits.join(", ")
    );
    let create = "CREATE TABLE shop.goods (id INT UNSIGNED NOT NULL PRIMARY KEY, name VARCHAR(60) NOT NULL, price \
                  DECIMAL(12,4) NOT NULL, stock INT NULL)";
    scene.pair.blue.run(&[create, &fill]).await.unwrap();
    caught_up(&scene.pair).await;
    scene.pair.green.set_read_only(true).await.unwrap();
    scene
}

fn load(scene: &Scene, rate: u32) -> Load {
    let options = LoadOptions {
        writers: 4,
        rate,
        ..LoadOptions::default()
    };
    Load::start(&scene.blue, &scene.green, options).unwrap()
}

fn differences(events: &[Value]) -> Vec<Value> {
    events
        .iter()
        .filter(|event| event["type"] == "difference")
        .cloned()
        .collect()
}

/// `table key: how, column blue green` of each.
fn named(events: &[Value]) -> BTreeSet<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    differences(events)
        .iter()
        .map(|one| {
            let key: Vec<String> = one["key"]
                .as_array()
                .unwrap()
                .iter()
                .map(|k| text(&k[1]))
                .collect();
            let columns: Vec<String> = one["columns"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| {
                    format!(
                        "{} {} {}",
                        text(&c["column"]),
                        text(&c["blue"]),
                        text(&c["green"])
                    )
                })
                .collect();
            format!(
                "{} {}: {}, {}",
                text(&one["table"]),
                key.join(" "),
                text(&one["how"]),
                columns.join(", ")
            )
        })
        .collect()
}

async fn all_proved(running: &mut Running) {
    running
        .until("every range is proved", PASS, |event| {
            event["type"] == "proof" && event["unproven"] == 0 && event["ranges"].as_u64() > Some(0)
        })
        .await;
}

fn expect(ended: &Ended, code: i32, equal: bool) {
    assert_eq!(ended.code, Some(code), "{}", ended.told());
    assert_eq!(ended.result()["equal"], equal, "{}", ended.told());
}

async fn nothing_differs_under_load(kind: Kind) {
    let scene = scene(kind).await;
    let load = load(&scene, 50);
    load.progress(100, SOON).await.unwrap();
    let ended = scene
        .operator()
        .validate(&["--for", "10s", "--again-after", "500ms", "--every", "500ms"])
        .end(PASS)
        .await;
    expect(&ended, 0, true);
    assert_eq!(differences(&ended.events), Vec::<Value>::new());
    let result = ended.result();
    assert_eq!(result["checks"]["diverged"], 0, "{}", ended.told());
    let proved = result["checks"]["proved"].as_u64().unwrap();
    assert!(proved >= 60, "{proved} checks: {}", ended.told());
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_nothing_differs_under_load() {
    nothing_differs_under_load(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_nothing_differs_under_load() {
    nothing_differs_under_load(Kind::MariaDb).await;
}

/// What is done to green, and how it must be named.
const FAULTS: [(&str, &[&str]); 4] = [
    (
        "UPDATE shop.goods SET name = CONCAT(name, ' ') WHERE id IN (7, 15000)",
        &[
            "shop.goods 7: values, name article 7 article 7 ",
            "shop.goods 15000: values, name article 15000 article 15000 ",
        ],
    ),
    (
        "UPDATE shop.goods SET stock = NULL WHERE id = 9",
        &["shop.goods 9: values, stock 9 null"],
    ),
    (
        "DELETE FROM shop.goods WHERE id = 12345",
        &["shop.goods 12345: only-on-blue, "],
    ),
    (
        "INSERT INTO shop.goods VALUES (70000, 'nobody''s', 1, NULL)",
        &["shop.goods 70000: only-on-green, "],
    ),
];

async fn corruption_is_found_named_and_repaired(kind: Kind) {
    let scene = scene(kind).await;
    let operator = scene.operator();
    let load = load(&scene, 25);
    load.progress(100, SOON).await.unwrap();

    // It is found by the running scan, in ranges that were proved before.
    let mut running = operator.validate(&["--again-after", "1s", "--every", "200ms"]);
    all_proved(&mut running).await;
    assert_eq!(differences(&running.events()), Vec::<Value>::new());
    let statements: Vec<&str> = FAULTS.iter().map(|(statement, _)| *statement).collect();
    let changed = corrupt(&scene.pair.green, &statements).await;
    assert!(changed.iter().all(|rows| *rows > 0), "{changed:?}");
    let wanted: BTreeSet<String> = FAULTS
        .iter()
        .flat_map(|(_, names)| names.iter().map(|n| (*n).to_owned()))
        .collect();
    let began = std::time::Instant::now();
    while named(&running.events()) != wanted {
        assert!(
            began.elapsed() < PASS,
            "{:#?} of {wanted:#?}",
            named(&running.events())
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.signal(rustix::process::Signal::INT);
    let ended = running.end(SOON).await;
    expect(&ended, 2, false);
    assert_eq!(named(&ended.events), wanted);

    // A pass of its own finds the same, and writes what repairs it.
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("repair.sql");
    let ended = operator
        .validate(&["--once", "--repair-sql", file.to_str().unwrap()])
        .end(PASS)
        .await;
    expect(&ended, 2, false);
    assert_eq!(named(&ended.events), wanted);
    assert_eq!(ended.result()["differing_rows"], 5, "{}", ended.told());
    let masked = operator.validate(&["--once", "--mask"]).end(PASS).await;
    expect(&masked, 2, false);
    assert_eq!(differences(&masked.events).len(), 5);
    for value in differences(&masked.events) {
        assert!(!value.to_string().contains("article"), "{value}");
    }

    let repair = std::fs::read_to_string(&file).unwrap();
    scene.pair.green.set_read_only(false).await.unwrap();
    let mut root = scene.pair.green.root().await.unwrap();
    for statement in repair.split(";\n").filter(|s| !s.trim().is_empty()) {
        root.query_drop(statement).await.unwrap();
    }
    scene.pair.green.set_read_only(true).await.unwrap();
    let ended = operator.validate(&["--once"]).end(PASS).await;
    expect(&ended, 0, true);
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_corruption_is_found_named_and_repaired() {
    corruption_is_found_named_and_repaired(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_corruption_is_found_named_and_repaired() {
    corruption_is_found_named_and_repaired(Kind::MariaDb).await;
}

/// A table without a key is compared as a whole: what equal rows there are counts, and while it changes it is open.
async fn a_table_without_a_key_is_compared_as_a_whole(kind: Kind) {
    let scene = scene(kind).await;
    let operator = scene.operator();
    let blue = &scene.pair.blue;
    blue.run(&[
        "CREATE TABLE shop.keyless (a INT, b VARCHAR(20))",
        "INSERT INTO shop.keyless VALUES (1, 'A'), (1, 'A'), (2, 'C'), (3, NULL)",
        "CREATE TABLE shop.busy (a INT)",
        "INSERT INTO shop.busy VALUES (0)",
    ])
    .await
    .unwrap();
    caught_up(&scene.pair).await;
    let once = async || operator.validate(&["--once"]).end(PASS).await;
    expect(&once().await, 0, true);

    let only = "UPDATE shop.keyless SET b = 'D' WHERE a = 2";
    let back = "UPDATE shop.keyless SET b = 'C' WHERE a = 2";
    let (pair, one) = (
        "UPDATE shop.keyless SET b = 'B' WHERE a = 1",
        "DELETE FROM shop.keyless WHERE a = 1 LIMIT 1",
    );
    let restored = "UPDATE shop.keyless SET b = 'A' WHERE a = 1";
    // One row other; two equal ones against two others, which cancel each other under XOR; one of two equal ones gone.
    for (statements, rows) in [(&[only][..], 4), (&[back, pair], 4), (&[restored, one], 3)] {
        let changed = corrupt(&scene.pair.green, statements).await;
        assert!(changed.iter().all(|rows| *rows > 0), "{changed:?}");
        let file = tempfile::tempdir().unwrap();
        let file = file.path().join("repair.sql");
        let ended = operator
            .validate(&["--once", "--repair-sql", file.to_str().unwrap()])
            .end(PASS)
            .await;
        expect(&ended, 2, false);
        let found = differences(&ended.events);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(
            (&found[0]["table"], &found[0]["key"]),
            (&"shop.keyless".into(), &serde_json::json!([]))
        );
        assert_eq!(found[0]["rows"], serde_json::json!([4, rows]));
        assert_eq!(
            ended.result()["differing_tables"],
            serde_json::json!(["shop.keyless"]),
            "{}",
            ended.told()
        );
        let repair = std::fs::read_to_string(&file).unwrap();
        assert!(repair.contains("-- shop.keyless has no key"), "{repair}");
    }
    let changed = corrupt(&scene.pair.green, &["INSERT INTO shop.keyless VALUES (1, 'A')"]).await;
    assert_eq!(changed, [1]);

    // Changed all the time: nothing is called different, and it is proved or said not to be.
    let mut root = blue.root().await.unwrap();
    let busy = tokio::spawn(async move {
        let mut number = 0;
        loop {
            number += 1;
            let sql = format!("INSERT INTO shop.busy VALUES ({})", number % 5);
            if root.query_drop(sql).await.is_err() {
                return;
            }
        }
    });
    let ended = once().await;
    busy.abort();
    assert_eq!(
        differences(&ended.events),
        Vec::<Value>::new(),
        "{}",
        ended.told()
    );
    if ended.result()["unsettled"] == serde_json::json!(["shop.busy"]) {
        expect(&ended, 2, false);
        assert!(ended.told().contains("it changed each time"), "{}", ended.told());
    } else {
        expect(&ended, 0, true);
    }
    // A row too many after all that is found.
    caught_up(&scene.pair).await;
    corrupt(&scene.pair.green, &["INSERT INTO shop.busy VALUES (3)"]).await;
    let ended = once().await;
    expect(&ended, 2, false);
    assert_eq!(
        ended.result()["differing_tables"],
        serde_json::json!(["shop.busy"]),
        "{}",
        ended.told()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_a_table_without_a_key_is_compared_as_a_whole() {
    a_table_without_a_key_is_compared_as_a_whole(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_a_table_without_a_key_is_compared_as_a_whole() {
    a_table_without_a_key_is_compared_as_a_whole(Kind::MariaDb).await;
}

/// What bleen's account may not see is named once somebody changes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_may_not_be_read_is_named() {
    let scene = scene(Kind::MySql).await;
    let (blue, green) = (&scene.pair.blue, &scene.pair.green);
    green.run(&["SET GLOBAL partial_revokes = ON"]).await.unwrap();
    let account = format!("'{}'@'%'", scene.pair.accounts.bleen.user);
    blue.run(&[
        "SET GLOBAL partial_revokes = ON",
        "CREATE DATABASE hidden",
        "CREATE TABLE hidden.t (id INT PRIMARY KEY)",
        &format!("REVOKE ALL ON hidden.* FROM {account}"),
    ])
    .await
    .unwrap();
    caught_up(&scene.pair).await;
    let operator = scene.operator();
    let mut running = operator.validate(&["--every", "200ms"]);
    all_proved(&mut running).await;
    blue.run(&["INSERT INTO hidden.t VALUES (1)"]).await.unwrap();
    running
        .until("it is not provable", PASS, |event| {
            event["type"] == "proof" && event["not_provable"] == 1
        })
        .await;
    // One that is gone is not.
    blue.run(&[
        "CREATE TABLE shop.short (id INT PRIMARY KEY)",
        "DROP TABLE shop.short",
    ])
    .await
    .unwrap();
    caught_up(&scene.pair).await;
    // Its definition may have been read while green still had it, and is read again then.
    let told = running.events().len();
    running
        .until("only the hidden one is not provable", PASS, |event| {
            event["seq"].as_u64() > Some(told as u64 + 5)
                && event["type"] == "proof"
                && event["not_provable"] == 1
        })
        .await;
    running.signal(rustix::process::Signal::INT);
    let ended = running.end(SOON).await;
    expect(&ended, 2, false);
    let not = ended.result()["not_provable"].as_array().unwrap();
    assert_eq!(not.len(), 1, "{not:?}");
    assert_eq!(not[0]["table"], "hidden.t");
    assert!(
        not[0]["why"].as_str().unwrap().contains("may not read it"),
        "{not:?}"
    );
}

/// Definitions that change while rows are compared, tables that come and go: nothing is
/// called different, and all is proved again.
async fn changes_under_way_are_no_differences(kind: Kind) {
    let scene = scene(kind).await;
    let load = load(&scene, 25);
    load.progress(100, SOON).await.unwrap();
    let operator = scene.operator();
    let mut running = operator.validate(&["--again-after", "1s", "--every", "200ms"]);
    all_proved(&mut running).await;
    let blue = &scene.pair.blue;
    for statements in [
        &["ALTER TABLE shop.goods ADD COLUMN more VARCHAR(20) NOT NULL DEFAULT 'none'"][..],
        &["UPDATE shop.goods SET more = CONCAT('number ', id) WHERE id < 5000"],
        &["ALTER TABLE shop.goods MODIFY name VARCHAR(80) CHARACTER SET latin1 NOT NULL"],
        &["ALTER TABLE shop.goods MODIFY price DECIMAL(14,6) NOT NULL, DROP COLUMN stock"],
        &[
            "CREATE TABLE shop.later LIKE shop.goods",
            "INSERT INTO shop.later SELECT * FROM shop.goods",
        ],
        &[
            "RENAME TABLE shop.goods TO shop.wares",
            "TRUNCATE TABLE shop.later",
        ],
        &["DROP TABLE shop.later"],
    ] {
        blue.run(statements).await.unwrap();
        caught_up(&scene.pair).await;
    }
    // Everything there is now, once more from the start, while the other one goes on.
    let ended = operator.validate(&["--once"]).end(PASS).await;
    expect(&ended, 0, true);
    assert_eq!(differences(&ended.events), Vec::<Value>::new());
    // Where the last of them is proved again, every one before it was taken in.
    let began = std::time::Instant::now();
    let is_proved = |events: &[Value]| {
        let last = events.iter().rev().find(|event| event["type"] == "proof");
        last.is_some_and(|event| event["unproven"] == 0 && event["not_provable"] == 0)
    };
    while !is_proved(&running.events()) {
        assert!(began.elapsed() < PASS, "{:#?}", running.events().last());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    running.signal(rustix::process::Signal::INT);
    let ended = running.end(SOON).await;
    assert_eq!(differences(&ended.events), Vec::<Value>::new());
    expect(&ended, 0, true);
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_changes_under_way_are_no_differences() {
    changes_under_way_are_no_differences(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_changes_under_way_are_no_differences() {
    changes_under_way_are_no_differences(Kind::MariaDb).await;
}
