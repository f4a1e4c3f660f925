//! How fast rows are proved, beside the same digests asked for by hand, `CHECKSUM TABLE`, and `pt-table-checksum`: on one
//! table like sysbench's, the same on two MySQL servers, turn by turn in one run.
//!
//! `cargo bench --bench proof`, or with `-- ROWS` for another number than five million. `pt-table-checksum` is looked for in
//! PATH, or where the environment variable PT_TABLE_CHECKSUM says; without it that line says so.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measurement prints its figures, and stops where it cannot measure"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bleen::adapters::mysql::capabilities;
use bleen::adapters::mysql::proof::columns;
use bleen::adapters::mysql::proof::digest::{self, Form};
use bleen::adapters::mysql::proof::expression::{Class, Expressions};
use bleen::adapters::mysql::proof::key::{KeyValue, Part, Range};
use bleen::adapters::mysql::proof::settings;
use bleen::adapters::mysql::session::Session;
use bleen::domain::ids::Side;
use bleen::sandbox::{PairOptions, RunningServer, SandboxPair, ServerKind};
use mysql_async::prelude::Queryable;
use support::{Operator, most_resident_kilobytes};

/// How often each is measured.
const ROUNDS: usize = 3;

/// Comparisons at once.
const CONNECTIONS: u64 = 2;

/// Rows of a range of those who do it by hand.
const RANGE: u64 = 50_000;

/// Longest time for anything here.
const LIMIT: Duration = Duration::from_secs(900);

#[tokio::main]
async fn main() {
    let rows: u64 = std::env::args()
        .filter_map(|a| a.parse().ok())
        .next()
        .unwrap_or(5_000_000);
    let mut options = PairOptions::default();
    for server in [&mut options.blue, &mut options.green] {
        // The table is to be in memory: what is measured is the work, not a disk.
        server.extra = vec!["innodb-buffer-pool-size=3G".into()];
    }
    let pair = support::following(ServerKind::MySql97, ServerKind::MySql97, &options).await;
    let began = Instant::now();
    tokio::join!(fill(&pair.blue, rows), fill(&pair.green, rows));
    println!(
        "{rows} rows on both sides, made in {:.0} s",
        began.elapsed().as_secs_f64()
    );
    pair.green.set_read_only(true).await.unwrap();
    let operator = Operator::of(&pair, |text| text);

    let mut took: [Vec<f64>; 4] = Default::default();
    let mut memory = 0;
    for _ in 0..ROUNDS {
        let (seconds, kilobytes) = by_bleen(&operator).await;
        took[0].push(seconds);
        memory = memory.max(kilobytes);
        took[1].push(by_hand(&pair, rows).await);
        took[2].push(by_checksum_table(&pair).await);
        took[3].extend(by_peer(&pair));
    }
    let median = |all: &mut Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    let ours = median(&mut took[0]).unwrap();
    println!(
        "bleen validate --once, {CONNECTIONS} connections to each side: {ours:.1} s, {:.0} rows/s, {:.0} MB resident at most",
        rows as f64 / ours,
        memory as f64 / 1024.0
    );
    let names = [
        "the same digests by hand, in ranges, both sides at once",
        "CHECKSUM TABLE, both sides at once",
        "pt-table-checksum --set-vars explain_format=TRADITIONAL",
    ];
    for (name, all) in names.iter().zip(&mut took[1..]) {
        match median(all) {
            Some(theirs) => println!(
                "{name}: {theirs:.1} s, {:.0} rows/s; bleen takes {:.2} times that",
                rows as f64 / theirs,
                ours / theirs
            ),
            None => println!("{name}: not measured, it is not there"),
        }
    }
}

/// The same rows on each side, past replication.
async fn fill(server: &RunningServer, rows: u64) {
    server.set_read_only(false).await.unwrap();
    let mut conn = server.root().await.unwrap();
    for statement in [
        "SET SESSION sql_log_bin = 0",
        "CREATE DATABASE bench",
        "CREATE TABLE bench.sbtest1 (id INT UNSIGNED NOT NULL PRIMARY KEY, k INT UNSIGNED NOT NULL, c CHAR(120) NOT NULL, \
         pad CHAR(60) NOT NULL, KEY k_1 (k))",
        "CREATE TABLE bench.ten (n INT PRIMARY KEY)",
        "INSERT INTO bench.ten VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)",
    ] {
        conn.query_drop(statement).await.unwrap();
    }
    let numbers = "(SELECT a.n + b.n * 10 + c.n * 100 + d.n * 1000 + e.n * 10000 + 1 AS n FROM bench.ten a, bench.ten b, \
                   bench.ten c, bench.ten d, bench.ten e) numbers";
    for from in (0..rows).step_by(100_000) {
        conn.query_drop(format!(
            "INSERT INTO bench.sbtest1 SELECT n + {from}, CRC32(n + {from}), CONCAT(SHA2(n + {from}, 256), LEFT(SHA2(n, 224), 55)), \
             LEFT(SHA2(n + {from}, 256), 59) FROM {numbers} WHERE n + {from} <= {rows} ORDER BY 1"
        ))
        .await
        .unwrap();
    }
    conn.query_drop("ANALYZE NO_WRITE_TO_BINLOG TABLE bench.sbtest1")
        .await
        .unwrap();
}

/// Seconds, and the kilobytes that it had resident at most.
async fn by_bleen(operator: &Operator) -> (f64, u64) {
    let connections = CONNECTIONS.to_string();
    let more = [
        "--once",
        "--tables",
        "bench.sbtest1",
        "--connections",
        &connections,
    ];
    let mut command = operator.command("validate", &more);
    let began = Instant::now();
    let mut child = command
        .args(["--output", "json"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut most = 0;
    loop {
        most = most.max(most_resident_kilobytes(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return (began.elapsed().as_secs_f64(), most);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Ranges of equal size, taken by as many workers as bleen has connections, each asking both sides at once.
async fn by_hand(pair: &SandboxPair, rows: u64) -> f64 {
    let next = AtomicU64::new(0);
    let began = Instant::now();
    let worker = || async {
        let (mut blue, mut green) = (proving(pair, Side::Blue).await, proving(pair, Side::Green).await);
        let read = |mut all: Vec<columns::Table>| all.remove(0);
        let table = Some("sbtest1");
        let on_blue = columns::read(&mut blue, "bench", table, LIMIT).await.unwrap();
        let on_green = columns::read(&mut green, "bench", table, LIMIT).await.unwrap();
        let of = Expressions::of(&read(on_blue), &read(on_green)).unwrap();
        loop {
            let from = next.fetch_add(RANGE, Ordering::Relaxed);
            if from >= rows {
                return;
            }
            let key = |n: u64| Some(KeyValue(vec![Part::Plain(n.to_string())]));
            let range = Range {
                after: key(from),
                until: key(from + RANGE),
            };
            let (a, b) = tokio::join!(
                digest::range(&mut blue, Form::Whole, &of.blue, Class::Written, &range, LIMIT),
                digest::range(&mut green, Form::Whole, &of.green, Class::Written, &range, LIMIT)
            );
            assert_eq!(a.unwrap(), b.unwrap());
        }
    };
    futures_util::future::join_all((0..CONNECTIONS).map(|_| worker())).await;
    began.elapsed().as_secs_f64()
}

async fn proving(pair: &SandboxPair, side: Side) -> Session {
    let mut session = support::session(pair, side).await;
    let caps = capabilities::probe(&mut session, LIMIT).await.unwrap();
    settings::apply(&mut session, &caps, LIMIT, LIMIT).await.unwrap();
    session
}

async fn by_checksum_table(pair: &SandboxPair) -> f64 {
    let began = Instant::now();
    let statement = "CHECKSUM TABLE bench.sbtest1";
    let (a, b) = tokio::join!(pair.blue.value(statement), pair.green.value(statement));
    assert_eq!(a.unwrap(), b.unwrap());
    began.elapsed().as_secs_f64()
}

/// Only what it does on blue; that green executes its statements, too, costs it nothing here.
fn by_peer(pair: &SandboxPair) -> Option<f64> {
    use secrecy::ExposeSecret;
    let program = std::env::var("PT_TABLE_CHECKSUM").unwrap_or_else(|_| "pt-table-checksum".to_owned());
    let account = &pair.accounts.bleen;
    let began = Instant::now();
    let status = Command::new(program)
        .args(["--set-vars", "explain_format=TRADITIONAL"])
        .args(["--tables", "bench.sbtest1", "--recursion-method", "none"])
        .args(["--no-check-binlog-format", "--no-check-replication-filters"])
        .arg(format!(
            "h=127.0.0.1,P={},u={},p={}",
            pair.blue.port(),
            account.user,
            account.password.expose_secret()
        ))
        .stdout(Stdio::null())
        .status()
        .ok()?;
    assert!(status.success(), "pt-table-checksum: {status}");
    Some(began.elapsed().as_secs_f64())
}
