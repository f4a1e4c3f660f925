//! How fast the reader of blue's binlog reads, and how much memory it takes: printed, and not judged.
//!
//! `cargo bench --bench binlog`, or with `-- EVENTS` for another number of events than ten million. The same binlog is
//! read again and again until so many have come.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measurement prints its figures, and stops where it cannot measure"
)]

#[path = "../tests/binlog_reader/world.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod world;

use std::time::{Duration, Instant};

use bleen::adapters::mysql::position_read::written_file;
use bleen::domain::proof::ledger::Change;
use bleen::domain::proof::stream::Brought;
use bleen::sandbox::{Durability, ServerKind, ServerOptions};
use world::{BUDGET, World};

/// Rows of each large transaction.
const ROWS: u64 = 2_000;
/// Large transactions.
const LARGE: u64 = 250;
/// Transactions of one row.
const SINGLE: u64 = 50_000;
/// Events of a transaction of one row: its number, its beginning, the table, the row, its end.
const EVENTS_OF_SINGLE: u64 = 5;

#[tokio::main]
async fn main() {
    let events: u64 = std::env::args()
        .filter_map(|a| a.parse().ok())
        .next()
        .unwrap_or(10_000_000);
    for kind in [ServerKind::MySql97, ServerKind::MariaDb118] {
        measure(kind, events).await;
    }
}

async fn measure(kind: ServerKind, events: u64) {
    let options = ServerOptions {
        durability: Durability::Relaxed,
        ..ServerOptions::default()
    };
    let mut world = World::with(kind, &options).await;
    world
        .all(&[
            "CREATE TABLE many (id BIGINT PRIMARY KEY, k INT, c CHAR(120), pad CHAR(60))",
            "CREATE TABLE one (id BIGINT PRIMARY KEY, k INT, c CHAR(120), pad CHAR(60))",
            "INSERT INTO one VALUES (1, 1, REPEAT('c', 119), REPEAT('p', 59))",
            "CREATE PROCEDURE single(n INT) BEGIN \
             WHILE n > 0 DO UPDATE one SET k = k + 1 WHERE id = 1; SET n = n - 1; END WHILE; END",
        ])
        .await;
    for (name, large) in [("large transactions", true), ("single rows", false)] {
        world.begin_again(|_| ()).await;
        world.read_shapes(&["many", "one"]).await;
        let begun = world.begun.clone();
        // Nobody reads while it is written.
        world.reader = None;
        if large {
            for from in 0..LARGE {
                let rows: Vec<String> = (from * ROWS..(from + 1) * ROWS)
                    .map(|id| format!("({id}, {id}, REPEAT('c', 119), REPEAT('p', 59))"))
                    .collect();
                world
                    .run(&format!("INSERT INTO many VALUES {}", rows.join(", ")))
                    .await;
            }
        } else {
            world.run(&format!("CALL single({SINGLE})")).await;
        }
        let until = written_file(&mut world.proof, &world.caps, BUDGET).await.unwrap();
        assert_eq!(until.file, begun.place.file, "the binlog was rotated");
        let bytes = until.offset - begun.place.offset;
        let (mut rows, mut transactions, mut read) = (0_u64, 0_u64, 0_u64);
        let (mut first, mut last) = (0, 0);
        let mut took = Duration::ZERO;
        let rounds = if large {
            4
        } else {
            events.div_ceil(SINGLE * EVENTS_OF_SINGLE).max(2)
        };
        for round in 0..rounds {
            let again = begun.clone();
            let started = Instant::now();
            world.begin_again(|settings| settings.from = Some(again)).await;
            while !world.at.has_reached(&until) {
                match world.stream.recv().await.unwrap() {
                    Brought::Transaction(transaction, changes) => {
                        rows += changes
                            .iter()
                            .filter(|one| matches!(one, Change::Row { .. }))
                            .count() as u64;
                        transactions += 1;
                        world.at = transaction.end;
                    }
                    Brought::File { .. } => {}
                    Brought::Passed(place) => world.at = place,
                    Brought::Broke(why) => panic!("{why}"),
                }
            }
            took += started.elapsed();
            read += bytes;
            last = resident_kilobytes();
            if round == 0 {
                first = last;
            }
        }
        let seconds = took.as_secs_f64();
        println!(
            "{} {name}: {:.0} rows/s, {:.1} MB/s, {transactions} transactions, {rows} rows; {:.1} MB resident after the first \
             round of {rounds}, {:.1} MB after the last",
            world.caps.version,
            rows as f64 / seconds,
            read as f64 / 1e6 / seconds,
            first as f64 / 1024.0,
            last as f64 / 1024.0,
        );
    }
}

fn resident_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
