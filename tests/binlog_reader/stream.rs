//! The stream itself: its files, its beginning and its end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bleen::adapters::mysql::binlog::changes::Caps;
use bleen::adapters::mysql::survey::Surveyor;
use bleen::domain::guardrails::facts::ServerFacts;
use bleen::domain::guardrails::{Facet, Scope};
use bleen::domain::position::Position;
use bleen::domain::proof::stream::Brought;
use bleen::domain::proof::transaction::{Origin, Start, Transaction};
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use tokio::time::timeout;

use crate::world::{World, root, start};

async fn table(world: &mut World) {
    world
        .all(&[
            "DROP TABLE IF EXISTS a",
            "CREATE TABLE a (id INT PRIMARY KEY, v LONGBLOB) ENGINE=InnoDB",
        ])
        .await;
    world.read_shapes(&["a"]).await;
    world.brought().await;
}

fn anew(world: &World) -> &'static str {
    if world.is_mysql_from((8, 2, 0)) {
        "RESET BINARY LOGS AND GTIDS"
    } else {
        "RESET MASTER"
    }
}

/// From file to file, with and without checksums.
pub async fn files(world: &mut World) {
    table(world).await;
    let mut id = 0;
    for checksum in ["", "NONE", "CRC32", "NONE", "NONE", "CRC32", "CRC32"] {
        if checksum.is_empty() {
            world.run("FLUSH BINARY LOGS").await;
        } else {
            // Begins another file.
            world
                .run(&format!("SET GLOBAL binlog_checksum = {checksum}"))
                .await;
        }
        id += 2;
        let both = [format!("a +{id}"), format!("a +{}", id + 1)];
        world
            .expect(
                &[
                    &format!("INSERT INTO a (id) VALUES ({id})"),
                    "FLUSH BINARY LOGS",
                    &format!("INSERT INTO a (id) VALUES ({})", id + 1),
                ],
                &[&both[0], &both[1]],
            )
            .await;
        // Begun in the middle of a file, and with every checksum.
        world.begin_again(|_| ()).await;
        world.read_shapes(&["a"]).await;
        id += 2;
        world
            .expect(
                &[&format!("INSERT INTO a (id) VALUES ({id})")],
                &[&format!("a +{id}")],
            )
            .await;
        let from = world.begun.clone();
        let steps = {
            world.begin_again(|settings| settings.from = Some(from)).await;
            world.brought().await
        };
        assert_eq!(steps.len(), 1, "{checksum}: {steps:?}");
    }
    // A quiet server says where it is, and nothing is brought twice.
    world.run("FLUSH BINARY LOGS").await;
    assert_eq!(world.brought().await, []);
    tokio::time::sleep(Duration::from_millis(500)).await;
    world
        .expect(&["INSERT INTO a (id) VALUES (1000)"], &["a +1000"])
        .await;
}

/// Ends of the stream are told, and a place that is gone is refused.
pub async fn ends(world: &mut World) {
    table(world).await;
    for id in 100..120 {
        world.run(&format!("INSERT INTO a (id) VALUES ({id})")).await;
    }
    world.begin_again(|_| ()).await;
    let first = world.begun.clone();

    world.run(anew(world)).await;
    world.run("INSERT INTO a (id) VALUES (1)").await;
    let why = world.broke().await;
    assert!(why.contains("what was proved is void"), "{why}");
    let refused = start(&world.server, &world.caps, &world.shapes, |settings| {
        settings.from = Some(first)
    })
    .await;
    let said = refused.map(|_| ()).unwrap_err().to_string();
    assert!(
        said.contains("begun anew") || said.contains("is not among its files any more"),
        "{said}"
    );

    // A file that is needed, and gone before the reader begins.
    world.begin_again(|_| ()).await;
    let old = world.begun.clone();
    world
        .all(&[
            "INSERT INTO a (id) VALUES (2)",
            "FLUSH BINARY LOGS",
            "FLUSH BINARY LOGS",
        ])
        .await;
    world.brought().await;
    let last = world.at.file.clone();
    // While somebody reads a file it is kept.
    world.reader = None;
    let purged = Instant::now();
    while world.server.value("SHOW BINARY LOGS").await.unwrap() != Some(last.clone()) {
        assert!(purged.elapsed() < Duration::from_secs(20));
        world.run(&format!("PURGE BINARY LOGS TO '{last}'")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let refused = start(&world.server, &world.caps, &world.shapes, |settings| {
        settings.from = Some(old)
    })
    .await;
    let said = refused.map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("is not among its files any more"), "{said}");

    // Silence.
    world
        .begin_again(|settings| settings.silence = Duration::from_millis(700))
        .await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    world.read_shapes(&["a"]).await;
    world.expect(&["INSERT INTO a (id) VALUES (3)"], &["a +3"]).await;
    world.server.freeze().unwrap();
    let why = world.broke().await;
    world.server.thaw().unwrap();
    assert!(why.contains("said nothing for 700ms"), "{why}");

    // A restart, and a crash.
    world.begin_again(|_| ()).await;
    world.server.restart().await.unwrap();
    let why = world.broke().await;
    assert!(why.contains("what was proved is void"), "{why}");
    let begun = world.begun.clone();
    let (proof, caps) = crate::world::session(&world.server).await;
    (world.proof, world.caps) = (proof, caps);
    world.own = root(&world.server).await;
    world.begin_again(|settings| settings.from = Some(begun)).await;
    world.read_shapes(&["a"]).await;
    world.expect(&["INSERT INTO a (id) VALUES (4)"], &["a +4"]).await;
    world.server.kill().unwrap();
    let why = world.broke().await;
    assert!(why.contains("what was proved is void"), "{why}");
}

/// Transactions beyond the caps, and events of many megabytes.
pub async fn large(world: &mut World) {
    table(world).await;
    let caps = Caps {
        changes_per_table: 100,
        ..Caps::default()
    };
    world.begin_again(|settings| settings.caps = caps).await;
    world.read_shapes(&["a"]).await;
    let rows = |from: usize, count: usize| {
        let rows: Vec<String> = (from..from + count).map(|id| format!("({id})")).collect();
        format!("INSERT INTO a (id) VALUES {}", rows.join(", "))
    };
    assert_eq!(world.changes(&[&rows(0, 100)]).await.len(), 100);
    world.expect(&[&rows(1000, 101)], &["a"]).await;
    world
        .expect(&["BEGIN", &rows(2000, 60), &rows(3000, 60), "COMMIT"], &["a"])
        .await;
    world.begin_again(|_| ()).await;
    world.read_shapes(&["a"]).await;
    // MySQL 5.6 takes no more than a tenth of its redo log at once.
    if world.is_mysql() && !world.is_mysql_from((5, 7, 0)) {
        return;
    }
    world.run("SET GLOBAL max_allowed_packet = 1073741824").await;
    let mut other = root(&world.server).await;
    other
        .query_drop("INSERT INTO a VALUES (-1, REPEAT('x', 20000000)), (-2, REPEAT('y', 17000000))")
        .await
        .unwrap();
    other
        .query_drop("UPDATE a SET v = REPEAT('z', 18000000) WHERE id = -1")
        .await
        .unwrap();
    world.expect(&[], &["a +-1", "a +-2", "a -1"]).await;
}

/// Compressed transactions and events are read as others are.
pub async fn compressed(world: &mut World) {
    table(world).await;
    let on = if world.is_mysql_from((8, 0, 20)) {
        "SET binlog_transaction_compression = ON"
    } else if !world.is_mysql() {
        "SET GLOBAL log_bin_compress = ON, GLOBAL log_bin_compress_min_len = 10"
    } else {
        return;
    };
    world.run(on).await;
    for size in ["1", "1000", "300000"] {
        world
            .expect(
                &[
                    "BEGIN",
                    &format!("INSERT INTO a VALUES (1, REPEAT('x', {size})), (2, REPEAT('y', {size}))"),
                    &format!("UPDATE a SET id = 3, v = REPEAT('z', {size}) WHERE id = 2"),
                    "COMMIT",
                ],
                &["a +1", "a +2", "a 2 to 3"],
            )
            .await;
        world.expect(&["DELETE FROM a"], &["a -1", "a -3"]).await;
    }
    world
        .expect(
            &[
                "XA START 'x'",
                "INSERT INTO a VALUES (5, REPEAT('x', 1000))",
                "XA END 'x'",
                "XA PREPARE 'x'",
            ],
            &[],
        )
        .await;
    world.expect(&["XA COMMIT 'x'"], &["a +5"]).await;
    world
        .expect(
            &["ALTER TABLE a ADD a_column_with_a_name_that_is_long_enough_to_be_compressed INT"],
            &["a"],
        )
        .await;
    world.read_shapes(&["a"]).await;
    world.expect(&["DELETE FROM a"], &["a -5"]).await;
    if world.is_mysql() {
        // The same with one column less than the shape has: nothing of it can be read.
        world
            .expect(
                &["CREATE TABLE b (PRIMARY KEY (id)) SELECT 1 AS id, REPEAT('x', 1000) AS v"],
                &["b"],
            )
            .await;
    }
}

fn is_named(start: &Start, transaction: &Transaction) -> bool {
    match (&start.executed, &transaction.origin) {
        (Position::GtidSet(set), Origin::Server { uuid, tag }) => {
            set.holds(uuid, tag.as_deref(), transaction.number, transaction.number)
        }
        (Position::GtidList(list), Origin::Domain(domain)) => list.sequence(*domain) >= transaction.number,
        (Position::File(place), _) => place.has_reached(&transaction.end),
        other => panic!("{other:?}"),
    }
}

/// Wherever it begins, no transaction is neither named by the start nor brought.
pub async fn starts_under_load(world: &mut World) {
    table(world).await;
    world.run("CREATE TABLE counts (id INT PRIMARY KEY, n INT)").await;
    world
        .run("INSERT INTO counts VALUES (0,0),(1,0),(2,0),(3,0),(4,0),(5,0)")
        .await;
    world.begin_again(|settings| settings.queue = 100_000).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for id in 0..6 {
        let (mut own, stop) = (root(&world.server).await, Arc::clone(&stop));
        writers.push(tokio::spawn(async move {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                own.query_drop(format!("UPDATE counts SET n = n + 1 WHERE id = {id}"))
                    .await
                    .unwrap();
                count += 1;
            }
            count
        }));
    }
    let mut others = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) || others.len() < 20 {
        others.push(
            start(&world.server, &world.caps, &world.shapes, |settings| {
                settings.queue = 100_000
            })
            .await
            .unwrap(),
        );
        if others.len() > 40 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    let all: Vec<Transaction> = world.brought().await.into_iter().map(|(one, _)| one).collect();
    assert_eq!(all.len(), written, "{}", world.caps.version);
    let end = all.last().unwrap().end.clone();
    let mut in_doubt = 0;
    for (_reader, begun, mut stream) in others {
        let mut brought = BTreeSet::new();
        let mut at = begun.place.clone();
        while !at.has_reached(&end) {
            match timeout(Duration::from_secs(20), stream.recv())
                .await
                .unwrap()
                .unwrap()
            {
                Brought::Transaction(transaction, _) => {
                    at = transaction.end.clone();
                    brought.insert((at.file.clone(), at.offset));
                }
                Brought::Passed(place) => at = place,
                Brought::File { .. } => {}
                Brought::Broke(why) => panic!("{why}"),
            }
        }
        for one in &all {
            let is_brought = brought.contains(&(one.end.file.clone(), one.end.offset));
            let named = is_named(&begun, one);
            assert!(
                is_brought || named,
                "{}: {one} is lost at {begun:?}",
                world.caps.version
            );
            assert_eq!(
                is_brought,
                !begun.place.has_reached(&one.end),
                "{one} at {begun:?}"
            );
            in_doubt += usize::from(is_brought && named);
        }
    }
    // Where a transaction has a name, some must have been under way, or this has shown nothing.
    if world.is_mysql_from((8, 0, 0)) {
        assert!(in_doubt > 0, "no transaction was under way at any start");
    }
}

/// The guardrails know bleen's own reader, and everybody else's, too.
pub async fn known_as_its_own(world: &mut World) {
    let (session, caps) = crate::world::session(&world.server).await;
    let mut surveyor = Surveyor::new(session, caps.clone(), crate::world::BUDGET);
    let mut facts = ServerFacts::default();
    let facets = [Facet::Replicas, Facet::Sessions].into_iter().collect();
    surveyor.read(Scope::Doctor, &facets, &mut facts).await;
    let replicas = facts.replicas.value().unwrap();
    let dumps: Vec<_> = facts
        .sessions
        .value()
        .unwrap()
        .iter()
        .filter(|session| session.command.starts_with("Binlog Dump"))
        .collect();
    assert_eq!(dumps.len(), 1, "{dumps:?}");
    assert!(replicas.len() == 1 && replicas[0].is_own_reader(), "{replicas:?}");
    // On older servers a reader without a uuid would spoil the list for everybody.
    let mut other = root(&world.server).await;
    let list = if world.is_mysql_from((8, 0, 22)) {
        "SHOW REPLICAS"
    } else {
        "SHOW SLAVE HOSTS"
    };
    let rows: Vec<Row> = other.query(list).await.unwrap();
    assert_eq!(rows.len(), 1);
}

/// A short binlog with events of many kinds.
pub async fn record(world: &mut World) {
    world.run(anew(world)).await;
    world
        .all(&[
            "CREATE TABLE a (v INT, id INT PRIMARY KEY, t VARCHAR(200), b LONGBLOB) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
            "CREATE TABLE child (id INT PRIMARY KEY, parent INT, \
             FOREIGN KEY (parent) REFERENCES a (id) ON DELETE CASCADE ON UPDATE CASCADE) ENGINE=InnoDB",
            "INSERT INTO a VALUES (1, 1, 'one', NULL), (2, 2, NULL, REPEAT('b', 300)), (3, 3, REPEAT('t', 200), X'00')",
            "INSERT INTO child VALUES (1, 1), (2, 2), (3, NULL)",
            "UPDATE a SET v = v + 1",
            "UPDATE a SET id = 10 WHERE id = 1",
            "BEGIN",
            "INSERT INTO a VALUES (4, 4, 'four', NULL)",
            "SAVEPOINT s",
            "DELETE FROM a WHERE id = 2",
            "UPDATE child SET parent = 4 WHERE id = 3",
            "COMMIT",
            "SET binlog_row_image = MINIMAL",
            "UPDATE a SET v = 7",
            "UPDATE a SET id = 30 WHERE id = 3",
            "SET binlog_row_image = FULL",
            "XA START 'x'",
            "INSERT INTO a VALUES (5, 5, 'five', NULL)",
            "XA END 'x'",
            "XA PREPARE 'x'",
            "XA COMMIT 'x'",
            "CREATE USER somebody@localhost",
            "ALTER TABLE child ADD INDEX other (parent, id)",
        ])
        .await;
    if world
        .own
        .query_drop("SET binlog_format = STATEMENT")
        .await
        .is_ok()
    {
        world
            .all(&[
                "UPDATE child SET parent = NULL WHERE id = 1",
                "SET binlog_format = ROW",
            ])
            .await;
    }
    if world.is_mysql_from((8, 0, 20)) {
        world.run("SET binlog_transaction_compression = ON").await;
    } else if !world.is_mysql() {
        world
            .run("SET GLOBAL log_bin_compress = ON, GLOBAL log_bin_compress_min_len = 10")
            .await;
    }
    world
        .all(&[
            "INSERT INTO a VALUES (6, 6, REPEAT('six', 60), REPEAT('x', 500)), (7, 7, 'seven', NULL)",
            "UPDATE a SET v = v + 1, t = 'another text' WHERE id > 4",
            "DELETE FROM a WHERE id > 4",
            "TRUNCATE TABLE child",
        ])
        .await;
}
