//! A restart of `bleen validate` on real servers: what was proved counts on while blue's binlog since then is there, what
//! changed meanwhile is compared again, and what does not fit any more begins anew and says why.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that stops says where")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bleen::sandbox::{Load, LoadOptions};
use mysql_async::prelude::Queryable;
use serde_json::Value;
use support::check::{Kind, SOON, Scene};
use support::cli::{Ended, Operator};
use support::{caught_up, corrupt};

/// Longest time for a whole pass here.
const PASS: Duration = Duration::from_secs(60);

/// Rows of the table in which nothing happens but what the test does.
const GOODS: u64 = 20_000;

async fn scene(kind: Kind) -> Scene {
    let scene = Scene::new(kind).await;
    let numbers: Vec<String> = (0..5)
        .map(|power| format!("d{power}.n * {}", 10_u32.pow(power)))
        .collect();
    let digits: Vec<String> = (0..5).map(|power| format!("shop.digits d{power}")).collect();
    let fill = format!(
        "INSERT INTO shop.goods SELECT n, CONCAT('article ', n) FROM (SELECT {} AS n FROM {}) numbers WHERE n < {GOODS}",
        numbers.join(" + "),
        digits.join(", ")
    );
    let create = "CREATE TABLE shop.goods (id INT NOT NULL PRIMARY KEY, name VARCHAR(60) NOT NULL)";
    scene.pair.blue.run(&[create, &fill]).await.unwrap();
    caught_up(&scene.pair).await;
    scene.pair.green.set_read_only(true).await.unwrap();
    scene
}

/// Compares until every range is proved, and a moment longer, so that it does not end as complete.
async fn proved(operator: &Operator) -> Ended {
    let mut running = operator.validate(&["--again-after", "1h", "--every", "100ms"]);
    all_proved(&mut running).await;
    running.signal(rustix::process::Signal::INT);
    running.end(SOON).await
}

async fn all_proved(running: &mut support::cli::Running) {
    running
        .until("every range is proved", PASS, |event| {
            event["type"] == "proof" && event["unproven"] == 0 && event["ranges"].as_u64() > Some(0)
        })
        .await;
}

fn notes(ended: &Ended) -> Vec<&str> {
    let notes = ended.events.iter().filter(|event| event["type"] == "note");
    notes.filter_map(|event| event["text"].as_str()).collect()
}

fn says(ended: &Ended, what: &str) {
    assert!(
        notes(ended).iter().any(|note| note.contains(what)),
        "{what}: {}",
        ended.told()
    );
}

fn rows_read(ended: &Ended) -> u64 {
    ended.result()["rows_read"].as_u64().unwrap()
}

fn is_equal(ended: &Ended) {
    assert_eq!(
        (ended.code, &ended.result()["equal"]),
        (Some(0), &Value::Bool(true)),
        "{}",
        ended.told()
    );
}

fn kept_in(operator: &Operator) -> PathBuf {
    let files = std::fs::read_dir(operator.runs())
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|file| file.is_file()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

async fn proofs_outlive_a_restart(kind: Kind) {
    let scene = scene(kind).await;
    let operator = scene.operator();
    let options = LoadOptions {
        writers: 2,
        rate: 15,
        ..LoadOptions::default()
    };
    let load = Load::start(&scene.blue, &scene.green, options).unwrap();
    load.progress(20, SOON).await.unwrap();
    let first = proved(&operator).await;
    is_equal(&first);
    assert!(rows_read(&first) >= GOODS, "{}", first.told());
    let file = kept_in(&operator);
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );

    // The load went on meanwhile.
    load.progress(50, SOON).await.unwrap();
    let second = proved(&operator).await;
    is_equal(&second);
    says(&second, "proved by an earlier run");
    assert!(rows_read(&second) < GOODS / 2, "{}", second.told());
    load.stop().await;
    caught_up(&scene.pair).await;

    // One that is killed has kept it as well.
    let mut running = operator.validate(&["--again-after", "1h", "--every", "100ms"]);
    all_proved(&mut running).await;
    let (began, before) = (
        Instant::now(),
        std::fs::metadata(&file).unwrap().modified().unwrap(),
    );
    while std::fs::metadata(&file).unwrap().modified().unwrap() == before {
        assert!(began.elapsed() < SOON, "nothing is kept while it runs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.signal(rustix::process::Signal::KILL);
    let _ = running.end(SOON).await;

    // What changes between two runs is compared again: a row that both sides changed, and green then lost.
    let blue = &scene.pair.blue;
    blue.run(&[
        "FLUSH LOGS",
        "UPDATE shop.goods SET name = 'new' WHERE id IN (7, 8)",
    ])
    .await
    .unwrap();
    caught_up(&scene.pair).await;
    let changed = corrupt(
        &scene.pair.green,
        &["UPDATE shop.goods SET name = 'old' WHERE id = 7"],
    )
    .await;
    assert_eq!(changed, [1]);
    let third = operator
        .validate(&["--again-after", "1h", "--for", "4s"])
        .end(PASS)
        .await;
    says(&third, "proved by an earlier run");
    assert_eq!(third.result()["equal"], false, "{}", third.told());
    assert_eq!(third.result()["differing_rows"], 1, "{}", third.told());
    assert!(rows_read(&third) < GOODS, "{}", third.told());

    // What is known to differ is not kept as proved.
    let fourth = operator
        .validate(&["--again-after", "1h", "--for", "4s"])
        .end(PASS)
        .await;
    assert_eq!(fourth.result()["differing_rows"], 1, "{}", fourth.told());
    assert_eq!(
        corrupt(
            &scene.pair.green,
            &["UPDATE shop.goods SET name = 'new' WHERE id = 7"]
        )
        .await,
        [1]
    );

    // A pass that is to end once everything was compared compares what was kept as open, too.
    let blue = &scene.pair.blue;
    blue.run(&["UPDATE shop.goods SET name = 'newer' WHERE id < 50"])
        .await
        .unwrap();
    caught_up(&scene.pair).await;
    let lost = ["UPDATE shop.goods SET name = 'older' WHERE id = 11"];
    corrupt(&scene.pair.green, &lost).await;
    let once = operator.validate(&["--once"]).end(PASS).await;
    says(&once, "proved by an earlier run");
    assert_eq!(once.result()["differing_rows"], 1, "{}", once.told());
    corrupt(
        &scene.pair.green,
        &["UPDATE shop.goods SET name = 'newer' WHERE id = 11"],
    )
    .await;

    // A pass that comes to its end leaves nothing: the next one compares everything.
    let fifth = operator.validate(&["--once"]).end(PASS).await;
    is_equal(&fifth);
    assert!(!file.exists());
    let sixth = operator.validate(&["--once"]).end(PASS).await;
    is_equal(&sixth);
    assert!(rows_read(&sixth) >= GOODS, "{}", sixth.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_proofs_outlive_a_restart() {
    proofs_outlive_a_restart(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_proofs_outlive_a_restart() {
    proofs_outlive_a_restart(Kind::MariaDb).await;
}

async fn what_does_not_fit_begins_anew(kind: Kind) {
    let scene = scene(kind).await;
    let operator = scene.operator();
    // A server that was restarted, which may be after a crash.
    is_equal(&proved(&operator).await);
    // Servers tell their starts in whole seconds, and this one was begun moments ago.
    tokio::time::sleep(Duration::from_secs(4)).await;
    scene.pair.green.restart().await.unwrap();
    scene.pair.green.set_read_only(true).await.unwrap();
    caught_up(&scene.pair).await;
    let ended = proved(&operator).await;
    is_equal(&ended);
    says(&ended, "a server was restarted since");
    assert!(rows_read(&ended) >= GOODS, "{}", ended.told());

    // The same definition, filled anew.
    let again = [
        "CREATE TABLE shop.other LIKE shop.goods",
        "INSERT INTO shop.other SELECT * FROM shop.goods",
        "DROP TABLE shop.goods",
        "RENAME TABLE shop.other TO shop.goods",
    ];
    tokio::time::sleep(Duration::from_secs(1)).await;
    corrupt(&scene.pair.green, &again).await;
    let ended = proved(&operator).await;
    is_equal(&ended);
    says(&ended, "1 tables begin anew, because they are defined otherwise");

    let (blue, green) = (&scene.pair.blue, &scene.pair.green);
    is_equal(&proved(&operator).await);
    let file = kept_in(&operator);
    let good = std::fs::read(&file).unwrap();

    let asked = operator
        .validate(&["--again-after", "1h", "--for", "4s", "--anew"])
        .end(PASS)
        .await;
    is_equal(&asked);
    assert!(rows_read(&asked) >= GOODS, "{}", asked.told());

    // A spoilt file, in one bit, in its length, and altogether.
    let mut bit = good.clone();
    let middle = bit.len() / 2;
    bit[middle] ^= 1;
    for spoilt in [&bit[..], &good[..good.len() - 9], b"", b"{}\n{}", b"\n\xff\x00"] {
        std::fs::write(&file, spoilt).unwrap();
        let ended = proved(&operator).await;
        is_equal(&ended);
        says(&ended, "is spoilt");
        assert!(rows_read(&ended) >= GOODS, "{}", ended.told());
    }

    // Another definition, on green only, and then on both.
    let changed = corrupt(
        green,
        &["ALTER TABLE shop.goods MODIFY name VARCHAR(61) NOT NULL"],
    )
    .await;
    assert_eq!(changed.len(), 1);
    let ended = proved(&operator).await;
    says(&ended, "1 tables begin anew, because they are defined otherwise");
    assert!(rows_read(&ended) >= GOODS, "{}", ended.told());
    blue.run(&["ALTER TABLE shop.goods MODIFY name VARCHAR(62) NOT NULL"])
        .await
        .unwrap();
    caught_up(&scene.pair).await;
    let ended = proved(&operator).await;
    is_equal(&ended);
    assert!(rows_read(&ended) >= GOODS, "{}", ended.told());

    // Green wrote something itself.
    green.set_read_only(false).await.unwrap();
    let mut root = green.root().await.unwrap();
    if kind == Kind::MariaDb {
        // In blue's domain replication would break.
        root.query_drop("SET SESSION gtid_domain_id = 77").await.unwrap();
    }
    root.query_drop("CREATE DATABASE of_its_own").await.unwrap();
    green.set_read_only(true).await.unwrap();
    let ended = proved(&operator).await;
    says(&ended, "green has written transactions of its own since");
    assert!(rows_read(&ended) >= GOODS, "{}", ended.told());

    // Blue's binlog since then is gone.
    blue.run(&["FLUSH LOGS"]).await.unwrap();
    let mut root = blue.root().await.unwrap();
    let files: Vec<mysql_async::Row> = root.query("SHOW BINARY LOGS").await.unwrap();
    let last: String = files.last().unwrap().get(0).unwrap();
    blue.run(&[&format!("PURGE BINARY LOGS TO '{last}'")])
        .await
        .unwrap();
    let ended = proved(&operator).await;
    says(&ended, "is not among its files any more");
    assert!(rows_read(&ended) >= GOODS, "{}", ended.told());

    // And begun anew.
    let reset = match kind {
        Kind::MySql => "RESET BINARY LOGS AND GTIDS",
        Kind::MariaDb => "RESET MASTER",
    };
    blue.run(&[reset]).await.unwrap();
    let ended = operator.validate(&["--for", "2s"]).end(PASS).await;
    says(&ended, "what an earlier run has proved does not count");
    assert_eq!(ended.result()["equal"], false, "{}", ended.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_what_does_not_fit_begins_anew() {
    what_does_not_fit_begins_anew(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_what_does_not_fit_begins_anew() {
    what_does_not_fit_begins_anew(Kind::MariaDb).await;
}
