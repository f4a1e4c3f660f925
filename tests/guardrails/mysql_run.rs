//! Things broken on purpose on MySQL 9.7: what goes on.

use bleen::domain::guardrail_ids::GuardrailId as Id;
use bleen::domain::guardrails::{Scope, Severity};
use bleen::domain::ids::Side;
use bleen::sandbox::{PairOptions, ServerKind};
use mysql_async::prelude::Queryable;

use super::support;
use super::world::{World, listed};

async fn world() -> World {
    let world = World::new(ServerKind::MySql97, ServerKind::MySql97, &PairOptions::default()).await;
    let tables = [
        "CREATE DATABASE d",
        "CREATE TABLE d.t (id INT PRIMARY KEY, a INT)",
        "INSERT INTO d.t VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)",
    ];
    world.run(Side::Blue, &tables).await;
    support::caught_up(&world.pair).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_and_statements() {
    let mut world = world().await;
    world.stopped_by(Scope::Hold, &[]).await;

    let prepare = [
        "XA START 'a','b'",
        "UPDATE d.t SET a = 9 WHERE id = 1",
        "XA END 'a','b'",
        "XA PREPARE 'a','b'",
    ];
    drop(world.kept(Side::Blue, &prepare).await);
    for scope in [Scope::Doctor, Scope::Hold] {
        let seen = world.stopped_by(scope, &[Id::XA_PREPARED]).await;
        assert!(
            seen[0].seen.contains("`a`, branch `b`") && !seen[0].waivable,
            "{}",
            listed(&seen)
        );
    }
    world.run(Side::Blue, &["XA ROLLBACK 'a','b'"]).await;

    let mut open = world
        .kept(Side::Blue, &["BEGIN", "UPDATE d.t SET a = a + 1"])
        .await;
    let seen = world.stopped_by(Scope::Hold, &[Id::LONG_TRANSACTIONS]).await;
    assert!(
        seen[0].seen.contains("changed 5 rows") && seen[0].seen.contains("root"),
        "{}",
        listed(&seen)
    );

    // An ALTER that waits for the open transaction is DDL and a statement that the hold would wait for.
    let alter = world
        .running_statement(
            Side::Blue,
            "ALTER TABLE d.t ADD COLUMN c VARCHAR(9) DEFAULT 'hidden'",
        )
        .await;
    let seen = world
        .stopped_by(
            Scope::Hold,
            &[Id::LONG_TRANSACTIONS, Id::LONG_STATEMENTS, Id::DDL_IN_FLIGHT],
        )
        .await;
    assert!(
        !listed(&seen).contains("hidden"),
        "a statement's texts are not shown"
    );
    world.end(alter).await;
    open.query_drop("ROLLBACK").await.unwrap();
    drop(open);

    let select = world
        .running_statement(Side::Blue, "SELECT SLEEP(60) FROM d.t")
        .await;
    let seen = world.stopped_by(Scope::Hold, &[Id::LONG_STATEMENTS]).await;
    assert!(seen[0].remedy.contains("end_selects"), "{}", listed(&seen));
    world.end(select).await;

    let session = world
        .kept(Side::Blue, &["SET SESSION innodb_lock_wait_timeout = 2"])
        .await;
    // Own limits of sessions belong to what is read ahead or anew in another scope.
    let seen = world.stopped_by(Scope::Doctor, &[Id::WAITER_TIMEOUTS]).await;
    assert!(
        seen[0].seen.contains("innodb_lock_wait_timeout = 2"),
        "{}",
        listed(&seen)
    );
    drop(session);
    let session = world
        .kept(Side::Blue, &["SET SESSION max_execution_time = 2000"])
        .await;
    let seen = world.examine(Scope::Doctor).await.findings;
    assert!(
        seen.iter().any(|f| f.id == Id::WAITER_TIMEOUTS
            && f.severity == Severity::Warning
            && f.seen.contains("max_execution_time = 2000")),
        "{}",
        listed(&seen)
    );
    drop(session);
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_tools_and_semi_sync() {
    let mut world = world().await;
    for (side, statement) in [
        (Side::Green, "FLUSH TABLES WITH READ LOCK"),
        (Side::Blue, "LOCK INSTANCE FOR BACKUP"),
        (Side::Green, "LOCK INSTANCE FOR BACKUP"),
    ] {
        let conn = world.kept(side, &[statement]).await;
        let seen = world.stopped_by(Scope::Hold, &[Id::BACKUP_RUNNING]).await;
        assert_eq!(seen[0].side, Some(side), "{}", listed(&seen));
        conn.disconnect().await.unwrap();
    }

    world
        .run(Side::Blue, &["CREATE TABLE d._t_gho (id INT PRIMARY KEY)"])
        .await;
    support::caught_up(&world.pair).await;
    world.examine(Scope::Prepare).await;
    world.stopped_by(Scope::Hold, &[Id::DDL_IN_FLIGHT]).await;
    world.run(Side::Blue, &["DROP TABLE d._t_gho"]).await;

    let semi_sync = [
        "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
        "SET GLOBAL rpl_semi_sync_source_timeout = 60000",
        "SET GLOBAL rpl_semi_sync_source_enabled = 1",
    ];
    world.run(Side::Blue, &semi_sync).await;
    world.stopped_by(Scope::Doctor, &[Id::SEMI_SYNC]).await;
    let waiting = world
        .running_statement(Side::Blue, "INSERT INTO d.t VALUES (100, 1)")
        .await;
    let seen = world.stops(Scope::Hold).await;
    let finding = seen.iter().find(|f| f.id == Id::SEMI_SYNC).unwrap();
    assert!(
        finding.seen.contains("for an acknowledgement"),
        "{}",
        listed(&seen)
    );
    // Green has it already: it came from blue, and the finding says so.
    if let Some(shipped) = seen.iter().find(|f| f.id == Id::ERRANT_TRANSACTIONS) {
        assert!(shipped.seen.contains("1 of blue's"), "{}", listed(&seen));
    }
    world
        .run(Side::Blue, &["SET GLOBAL rpl_semi_sync_source_enabled = 0"])
        .await;
    drop(waiting);

    let accounts = [
        "SET SESSION sql_log_bin = 0",
        "CREATE USER orchestrator@'%' IDENTIFIED BY 'x' REQUIRE NONE",
    ];
    world.run(Side::Blue, &accounts).await;
    world
        .on_green(&["CREATE USER orchestrator@'%' IDENTIFIED BY 'x' REQUIRE NONE"])
        .await;
    let conn = world.client("orchestrator", "x").await;
    let seen = world.stopped_by(Scope::Doctor, &[Id::OTHER_AUTOMATION]).await;
    assert!(seen[0].seen.contains("orchestrator"), "{}", listed(&seen));
    drop(conn);
}

#[tokio::test(flavor = "multi_thread")]
async fn replication() {
    let mut world = world().await;
    world.run(Side::Green, &["STOP REPLICA SQL_THREAD"]).await;
    for scope in [Scope::Prepare, Scope::Hold] {
        let seen = world.stopped_by(scope, &[Id::REPLICATION_HEALTH]).await;
        assert!(seen[0].seen.contains("applier"), "{}", listed(&seen));
    }
    world.run(Side::Green, &["START REPLICA SQL_THREAD"]).await;
    support::caught_up(&world.pair).await;

    let event = ["CREATE EVENT d.e ON SCHEDULE EVERY 1 HOUR DO DELETE FROM d.t WHERE id > 1000"];
    world.run(Side::Blue, &event).await;
    support::caught_up(&world.pair).await;
    world.stopped_by(Scope::Doctor, &[]).await;
    world.run(Side::Green, &["SET GLOBAL event_scheduler = ON"]).await;
    world.on_green(&["ALTER EVENT d.e ENABLE"]).await;
    for scope in [Scope::Doctor, Scope::Hold] {
        world.stopped_by(scope, &[Id::EVENT_SCHEDULER]).await;
    }
    world
        .run(Side::Green, &["SET GLOBAL event_scheduler = OFF"])
        .await;
    world.on_green(&["ALTER EVENT d.e DISABLE ON REPLICA"]).await;
    world.stopped_by(Scope::Hold, &[]).await;

    world
        .run(
            Side::Blue,
            &["CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'elsewhere', SOURCE_LOG_FILE = 'binlog.000007', SOURCE_LOG_POS \
               = 1234 FOR CHANNEL 'x'"],
        )
        .await;
    let seen = world.stopped_by(Scope::Doctor, &[Id::EXTERNAL_REPLICAS]).await;
    assert!(
        seen[0]
            .seen
            .ends_with("elsewhere:3306 (applied up to binlog.000007:1234)"),
        "{}",
        listed(&seen)
    );
    world
        .run(Side::Blue, &["RESET REPLICA ALL FOR CHANNEL 'x'"])
        .await;

    world.run(Side::Green, &["RESET PERSIST super_read_only"]).await;
    world.stopped_by(Scope::Hold, &[Id::RESTART_WRITABLE]).await;
    world.run(Side::Green, &["SET PERSIST super_read_only = 1"]).await;
    world.stopped_by(Scope::Hold, &[]).await;

    // Green stops following; blue goes on and throws away what green would need.
    world.run(Side::Green, &["STOP REPLICA"]).await;
    world
        .run(
            Side::Blue,
            &[
                "INSERT INTO d.t VALUES (7, 7)",
                "FLUSH BINARY LOGS",
                "FLUSH BINARY LOGS",
            ],
        )
        .await;
    let last = world
        .pair
        .blue
        .value("SHOW BINARY LOG STATUS")
        .await
        .unwrap()
        .unwrap();
    world
        .run(Side::Blue, &[&format!("PURGE BINARY LOGS TO '{last}'")])
        .await;
    let seen = world.stopped_by(Scope::Doctor, &[Id::PURGED]).await;
    assert!(
        seen[0].seen.contains("1 transactions") || seen[0].seen.contains("3 transactions"),
        "{}",
        listed(&seen)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_on_green_is_errant() {
    let mut world = world().await;
    let write = [
        "SET GLOBAL read_only = 0",
        "INSERT INTO d.t VALUES (50, 50)",
        "SET GLOBAL super_read_only = 1",
    ];
    world.run(Side::Green, &write).await;
    for scope in [Scope::Doctor, Scope::Prepare, Scope::Hold] {
        let seen = world.stopped_by(scope, &[Id::ERRANT_TRANSACTIONS]).await;
        assert!(
            seen[0].seen.contains("1 transactions") && !seen[0].waivable,
            "{}",
            listed(&seen)
        );
        assert!(
            seen[0].seen.contains("; the first: ") && seen[0].seen.ends_with(":1: Write_rows on d.t"),
            "{}",
            listed(&seen)
        );
    }
    // Behind files that hold none of them, and with a password in one.
    let more = [
        "FLUSH BINARY LOGS",
        "SET GLOBAL read_only = 0",
        "CREATE USER own@'%' IDENTIFIED BY 'hidden'",
        "SET GLOBAL super_read_only = 1",
        "FLUSH BINARY LOGS",
        "FLUSH BINARY LOGS",
    ];
    world.run(Side::Green, &more).await;
    let seen = world.stops(Scope::Hold).await;
    let errant = seen.iter().find(|f| f.id == Id::ERRANT_TRANSACTIONS).unwrap();
    assert!(
        errant.seen.contains("Write_rows on d.t; ") && errant.seen.contains(":2: CREATE USER '…'"),
        "{}",
        listed(&seen)
    );
    assert!(!listed(&seen).contains("hidden"), "{}", listed(&seen));
    // The first is gone with its file.
    let last = "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY";
    world.run(Side::Green, &[last]).await;
    let seen = world.stops(Scope::Hold).await;
    let errant = seen.iter().find(|f| f.id == Id::ERRANT_TRANSACTIONS).unwrap();
    assert!(errant.seen.contains("no longer holds them"), "{}", listed(&seen));
}
