//! The load and its ledger on real servers: what they must bear, and that they can fail.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test says what failed by failing"
)]

use std::time::{Duration, Instant};

use bleen::domain::ids::Side;
use bleen::sandbox::{
    Endpoint, Load, LoadOptions, LoadReport, PairOptions, ReadOnly, Sampler, SandboxPair, ServerKind,
    WriteId, load_shop, writable_sides,
};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use secrecy::ExposeSecret;

const SOON: Duration = Duration::from_secs(30);

/// A pair with the shop on blue. Green is read-only and has nothing.
async fn pair(kind: ServerKind) -> SandboxPair {
    let mut options = PairOptions::default();
    options.green.read_only = ReadOnly::Set;
    let pair = SandboxPair::start(kind, kind, &options).await.unwrap();
    load_shop(&pair.blue, &pair.accounts).await.unwrap();
    pair
}

/// Makes green follow blue, by hand, and waits until it has the shop.
async fn follow(pair: &SandboxPair, kind: ServerKind) {
    let (user, password) = (
        &pair.accounts.repl.user,
        pair.accounts.repl.password.expose_secret(),
    );
    let port = pair.blue.port();
    let statements = match kind {
        ServerKind::MySql97 => [
            format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port}, SOURCE_USER='{user}', \
                 SOURCE_PASSWORD='{password}', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1"
            ),
            "START REPLICA".to_owned(),
        ],
        _ => [
            format!(
                "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='{user}', \
                 MASTER_PASSWORD='{password}', MASTER_USE_GTID=slave_pos, MASTER_SSL=0"
            ),
            "START SLAVE".to_owned(),
        ],
    };
    pair.green.run(&statements).await.unwrap();
    let mut conn = pair.blue.root().await.unwrap();
    let position = position(&mut conn, kind).await;
    wait_for(pair, kind, &position).await;
}

async fn position(blue: &mut Conn, kind: ServerKind) -> String {
    let query = match kind {
        ServerKind::MySql97 => "SELECT @@GLOBAL.gtid_executed",
        _ => "SELECT @@GLOBAL.gtid_binlog_pos",
    };
    blue.query_first::<String, _>(query).await.unwrap().unwrap()
}

async fn wait_for(pair: &SandboxPair, kind: ServerKind, position: &str) {
    let wait = match kind {
        ServerKind::MySql97 => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', 60)"),
        _ => format!("SELECT MASTER_GTID_WAIT('{position}', 60)"),
    };
    assert_eq!(pair.green.value(&wait).await.unwrap().as_deref(), Some("0"));
}

fn clean(report: &LoadReport) {
    let seen = &report.log;
    assert!(seen.unresolved.is_empty(), "{:?}", seen.unresolved);
    assert!(
        seen.errors.keys().all(|code| [1205, 1213].contains(code)),
        "{:?}",
        seen.errors
    );
}

/// The ledger sees exactly what was done to it by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lost_and_one_doubled_on_purpose() {
    let pair = pair(ServerKind::MariaDb1011).await;
    let (blue, green) = Endpoint::both(&pair);
    let load = Load::start(&blue, &green, LoadOptions::default()).unwrap();
    load.progress(200, SOON).await.unwrap();
    let report = load.stop().await;
    clean(&report);
    assert!(report.verify(&blue).await.unwrap().is_clean());

    // Odd writes carry no money, so nothing else can give these two away.
    let (lost, doubled) = (WriteId { writer: 2, seq: 3 }, WriteId { writer: 5, seq: 7 });
    for write in [lost, doubled] {
        assert!(
            report.log.acks.iter().any(|a| a.write == write),
            "{write:?} was acknowledged"
        );
    }
    let of = |w: WriteId| {
        format!(
            "run = {} AND writer = {} AND seq = {}",
            report.run, w.writer, w.seq
        )
    };
    let columns = "run, writer, seq, from_account, to_account, amount";
    let by_hand = [
        format!("DELETE FROM shop.ledger WHERE {}", of(lost)),
        format!(
            "INSERT INTO shop.ledger ({columns}) SELECT {columns} FROM shop.ledger WHERE {}",
            of(doubled)
        ),
    ];
    pair.blue.run(&by_hand).await.unwrap();
    let check = report.verify(&blue).await.unwrap();
    assert_eq!(
        (check.lost.as_slice(), check.doubled.as_slice()),
        ([lost].as_slice(), [doubled].as_slice())
    );
    assert!(check.unclaimed.is_empty() && check.sum_ok && check.wrong_balances == 0 && !check.is_clean());

    // Money made of nothing, and money moved without a ledger row.
    pair.blue
        .run(&["UPDATE shop.accounts SET balance = balance + 1 WHERE id = 10"])
        .await
        .unwrap();
    let check = report.verify(&blue).await.unwrap();
    assert!(!check.sum_ok && check.wrong_balances == 1);
    pair.blue
        .run(&["UPDATE shop.accounts SET balance = balance - 1 WHERE id = 11"])
        .await
        .unwrap();
    let check = report.verify(&blue).await.unwrap();
    assert!(check.sum_ok && check.wrong_balances == 2);
}

/// A hold that is released, writers killed inside a hold, and a crash of the server: nothing lost, nothing doubled.
async fn hard_times(kind: ServerKind) {
    let pair = pair(kind).await;
    let (blue, green) = Endpoint::both(&pair);
    let load = Load::start(&blue, &green, LoadOptions::default()).unwrap();
    load.progress(100, SOON).await.unwrap();

    // A hold of two seconds without a switch: everybody waits and nobody is refused.
    let from = load.now();
    let mut holder = pair.blue.root().await.unwrap();
    holder.query_drop("FLUSH TABLES WITH READ LOCK").await.unwrap();
    let started = Instant::now();
    while load.snapshot().waiting < 8 {
        assert!(started.elapsed() < SOON, "{:?}", load.snapshot());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    holder.query_drop("UNLOCK TABLES").await.unwrap();
    load.progress(100, SOON).await.unwrap();
    let held = load.span(from, load.now());
    assert_eq!((held.refused, held.lost_connections), (0, 0));
    assert!(
        held.longest_write >= Duration::from_secs(2) && held.longest_gap >= Duration::from_secs(2),
        "{held:?}"
    );

    // The writers' sessions killed while they wait: what was being committed is in doubt, and found out.
    holder.query_drop("FLUSH TABLES WITH READ LOCK").await.unwrap();
    let started = Instant::now();
    while load.snapshot().waiting < 8 {
        assert!(started.elapsed() < SOON, "{:?}", load.snapshot());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let sessions = "SELECT id FROM information_schema.processlist WHERE user = 'app'";
    for id in holder.query::<u64, _>(sessions).await.unwrap() {
        drop(holder.query_drop(format!("KILL CONNECTION {id}")).await);
    }
    let started = Instant::now();
    while load.snapshot().lost_connections < 8 {
        assert!(started.elapsed() < SOON, "{:?}", load.snapshot());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    holder.query_drop("UNLOCK TABLES").await.unwrap();
    load.progress(100, SOON).await.unwrap();
    assert!(load.snapshot().in_doubt > 0, "{:?}", load.snapshot());

    // A crash.
    pair.blue.kill().unwrap();
    pair.blue.start_again().await.unwrap();
    load.progress(100, SOON).await.unwrap();

    let report = load.stop().await;
    clean(&report);
    let check = report.verify(&blue).await.unwrap();
    assert!(check.is_clean(), "{check:?}");
    assert!(report.log.acks.iter().all(|a| a.side == Side::Blue));
    eprintln!(
        "{kind}: {} acknowledged, {} in doubt, {:?}",
        check.acknowledged,
        report.log.in_doubt.len(),
        held
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_9_7_hard_times() {
    hard_times(ServerKind::MySql97).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_11_8_hard_times() {
    hard_times(ServerKind::MariaDb118).await;
}

/// A switch by hand under load: clients change over on one clean refusal each, and nothing is lost or doubled.
async fn by_hand(kind: ServerKind) {
    let pair = pair(kind).await;
    follow(&pair, kind).await;
    let (blue, green) = Endpoint::both(&pair);
    assert_eq!(writable_sides(&blue, &green, SOON).await, [Side::Blue]);
    let sampler = Sampler::start(&blue, &green);
    let load = Load::start(&blue, &green, LoadOptions::default()).unwrap();
    load.progress(200, SOON).await.unwrap();

    let (seal, promote): (&[&str], &[&str]) = match kind {
        ServerKind::MySql97 => (&["SET GLOBAL super_read_only = 1"], &["SET GLOBAL read_only = 0"]),
        _ => (&["SET GLOBAL read_only = 1"], &["SET GLOBAL read_only = 0"]),
    };
    let mut holder = pair.blue.root().await.unwrap();
    holder.query_drop("FLUSH TABLES WITH READ LOCK").await.unwrap();
    let fence = position(&mut holder, kind).await;
    wait_for(&pair, kind, &fence).await;
    for statement in seal {
        holder.query_drop(*statement).await.unwrap();
    }
    pair.green.run(promote).await.unwrap();
    holder.query_drop("UNLOCK TABLES").await.unwrap();
    load.progress(200, SOON).await.unwrap();

    let report = load.stop().await;
    let sampled = sampler.stop().await;
    clean(&report);
    assert_eq!(writable_sides(&blue, &green, SOON).await, [Side::Green]);
    let check = report.verify(&green).await.unwrap();
    assert!(check.is_clean(), "{check:?}");
    let refused = report.whole().refused;
    assert!(
        refused >= 1 && report.most_refusals_on_a_connection() == 1,
        "{:?}",
        report.log.refusals
    );
    assert!(report.writer_gap_ms().unwrap() > 0.0);
    assert!(
        sampled.samples > 50 && sampled.both_writable.is_empty(),
        "{sampled:?}"
    );
    let flags: Vec<(bool, bool)> = sampled.changes.iter().map(|(_, b, g)| (*b, *g)).collect();
    assert_eq!(
        (flags.first(), flags.last()),
        (Some(&(true, false)), Some(&(false, true)))
    );
    // The event ran on blue until then.
    assert!(check.ticks.contains_key(&1), "{:?}", check.ticks);
    eprintln!(
        "{kind}: {} acknowledged, gap {:?} ms, {refused} refused",
        check.acknowledged,
        report.writer_gap_ms()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_9_7_switched_by_hand() {
    by_hand(ServerKind::MySql97).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_11_8_switched_by_hand() {
    by_hand(ServerKind::MariaDb118).await;
}

/// The sampler sees two writable servers when there are two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sampler_can_fail() {
    let kind = ServerKind::MariaDb1011;
    let pair = SandboxPair::start(kind, kind, &PairOptions::default())
        .await
        .unwrap();
    let shop = "CREATE DATABASE shop";
    pair.blue.run(&[shop]).await.unwrap();
    pair.green.run(&[shop]).await.unwrap();
    let (blue, green) = Endpoint::both(&pair);
    let sampler = Sampler::start(&blue, &green);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let seen = sampler.stop().await;
    assert!(!seen.both_writable.is_empty(), "{seen:?}");
}
