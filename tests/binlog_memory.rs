//! The reader of blue's binlog takes no more memory for more rows. In a process of its own, because that is what is
//! measured.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that stops says where")]

#[path = "binlog_reader/world.rs"]
#[expect(dead_code, reason = "the other tests of the reader use the rest")]
mod world;

use bleen::sandbox::ServerKind;
use mysql_async::prelude::Queryable;
use world::{World, root};

/// Memory does not grow with what is read.
async fn memory(kind: ServerKind) {
    let world = &mut World::on(kind, &[]).await;
    world
        .all(&[
            "CREATE TABLE plain (v INT, id INT PRIMARY KEY, w VARCHAR(100)) ENGINE=InnoDB",
            "CREATE PROCEDURE single(n INT) BEGIN WHILE n > 0 DO UPDATE plain SET v = n WHERE id = n % 1000; SET n = n - 1; END WHILE; END",
        ])
        .await;
    world.begin_again(|_| ()).await;
    let begun = world.begun.clone();
    world.read_shapes(&["plain"]).await;
    for from in 0..50 {
        let rows: Vec<String> = (from * 1000..from * 1000 + 1000)
            .map(|id| format!("(1, {id}, 'a text of some length for each of the rows')"))
            .collect();
        world
            .run(&format!("INSERT INTO plain VALUES {}", rows.join(", ")))
            .await;
        // What is waiting is bounded, and so the writer may have to be read.
        world.brought().await;
    }
    world
        .run("SET GLOBAL sync_binlog = 0, GLOBAL innodb_flush_log_at_trx_commit = 0")
        .await;
    for _ in 0..3 {
        world.run("UPDATE plain SET v = v + 1").await;
    }
    let mut own = root(&world.server).await;
    let single = tokio::spawn(async move { own.query_drop("CALL single(5000)").await });
    single.await.unwrap().unwrap();
    let (mut rows, mut most, mut least) = (0, 0, u64::MAX);
    for round in 0..4 {
        let again = begun.clone();
        world.begin_again(|settings| settings.from = Some(again)).await;
        let steps = world.brought().await;
        rows += steps.iter().map(|(_, changes)| changes.len()).sum::<usize>();
        drop(steps);
        // What the first round needs, the next ones use again.
        if round > 0 {
            let kilobytes = resident_kilobytes();
            (most, least) = (most.max(kilobytes), least.min(kilobytes));
        }
    }
    assert!(rows > 200_000, "{rows} rows");
    assert!(
        most - least < 20_000,
        "from {least} to {most} kB resident, {rows} rows"
    );
}

fn resident_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// One after the other: they look at the same process.
#[tokio::test(flavor = "multi_thread")]
async fn stays_flat() {
    memory(ServerKind::MySql97).await;
    memory(ServerKind::MariaDb118).await;
}
