//! Things broken on purpose on MariaDB 10.11 and 11.8, and on MySQL 5.6 where it is like them.

use bleen::adapters::mysql::survey::privileged;
use bleen::domain::guardrail_ids::GuardrailId as Id;
use bleen::domain::guardrails::{Limits, Scope, Severity, Waivers};
use bleen::domain::ids::Side;
use bleen::sandbox::{LocateOptions, PairOptions, ServerKind, ServerOptions, locate};
use mysql_async::prelude::Queryable;

use super::support::{self, BUDGET};
use super::world::{World, listed};

async fn world(options: &PairOptions) -> World {
    let world = World::new(ServerKind::MariaDb1011, ServerKind::MariaDb118, options).await;
    let tables = [
        "CREATE DATABASE d",
        "CREATE TABLE d.t (id INT PRIMARY KEY, a INT, j JSON, c VARCHAR(9) AS (CONCAT('x', a)) STORED)",
        "INSERT INTO d.t (id, a) VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)",
    ];
    world.run(Side::Blue, &tables).await;
    support::caught_up(&world.pair).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_through_read_only() {
    let mut world = world(&PairOptions::default()).await;
    world.stopped_by(Scope::Hold, &[]).await;
    let accounts = [
        "CREATE USER direct@'%' IDENTIFIED BY 'x'",
        "GRANT READ ONLY ADMIN ON *.* TO direct@'%'",
        "CREATE ROLE inner_role",
        "GRANT READ ONLY ADMIN ON *.* TO inner_role",
        "CREATE ROLE outer_role",
        "GRANT inner_role TO outer_role",
        "CREATE USER by_role@'%' IDENTIFIED BY 'x'",
        "GRANT outer_role TO by_role@'%'",
        "CREATE USER only_super@'%' IDENTIFIED BY 'x'",
        "GRANT SUPER ON *.* TO only_super@'%'",
    ];
    world.run(Side::Blue, &accounts).await;
    support::caught_up(&world.pair).await;
    world.stopped_by(Scope::Doctor, &[]).await;
    let (direct, by_role) = (
        world.client("direct", "x").await,
        world.client("by_role", "x").await,
    );
    let harmless = world.client("only_super", "x").await;
    for scope in [Scope::Doctor, Scope::Hold] {
        let seen = world.stopped_by(scope, &[Id::PRIVILEGED_WRITERS]).await;
        let text = &seen[0].seen;
        assert!(
            text.contains("direct@") && text.contains("by_role@"),
            "{}",
            listed(&seen)
        );
        assert!(
            !text.contains("only_super@"),
            "since 10.11 SUPER alone does not: {}",
            listed(&seen)
        );
        assert!(!seen[0].waivable);
    }
    // What the fence asks for, under the hold.
    let mut session = support::session(&world.pair, Side::Blue).await;
    let caps = support::server(&world.pair, Side::Blue).await.caps;
    let accounts = privileged::accounts(&mut session, &caps.version, BUDGET)
        .await
        .unwrap();
    assert!(
        accounts
            .iter()
            .any(|a| a.user == "by_role" && a.through == "role outer_role"),
        "{accounts:?}"
    );
    let own = std::collections::BTreeSet::new();
    let open = privileged::open_sessions(&mut session, &accounts, &own, BUDGET)
        .await
        .unwrap();
    let ids: Vec<u64> = open.iter().map(|s| s.id).collect();
    assert!(
        ids.contains(&u64::from(direct.id())) && ids.contains(&u64::from(by_role.id())),
        "{open:?}"
    );
    assert!(
        !ids.contains(&session.id()) && !ids.contains(&u64::from(harmless.id())),
        "{open:?}"
    );
    drop((direct, by_role, harmless));
}

/// An ordinary account that calls a routine with a privileged definer writes through hold, seal and release.
#[tokio::test(flavor = "multi_thread")]
async fn a_routine_with_a_privileged_definer() {
    let mut world = world(&PairOptions::default()).await;
    let routine = [
        "CREATE DEFINER = root@localhost PROCEDURE d.p() INSERT INTO d.t (id, a) VALUES (900, 1)",
        "CREATE USER ordinary@'%' IDENTIFIED BY 'x'",
        "GRANT INSERT, EXECUTE ON d.* TO ordinary@'%'",
    ];
    world.run(Side::Blue, &routine).await;
    support::caught_up(&world.pair).await;
    for scope in [Scope::Doctor, Scope::Hold] {
        let seen = world.stopped_by(scope, &[Id::PRIVILEGED_WRITERS]).await;
        assert!(seen[0].seen.contains("d.p (root@localhost)"), "{}", listed(&seen));
    }
    // That the finding is true:
    let mut ordinary = world.client("ordinary", "x").await;
    let mut holder = world.kept(Side::Blue, &["FLUSH TABLES WITH READ LOCK"]).await;
    let call = tokio::spawn(async move {
        let called = ordinary.query_drop("CALL d.p()").await;
        let plain = ordinary
            .query_drop("INSERT INTO d.t (id, a) VALUES (901, 1)")
            .await;
        (called, plain)
    });
    let waits = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'ordinary' AND STATE LIKE 'Waiting%'";
    for _ in 0..500 {
        if world.pair.blue.value(waits).await.unwrap().as_deref() == Some("1") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    holder.query_drop("SET GLOBAL read_only = 1").await.unwrap();
    holder.query_drop("UNLOCK TABLES").await.unwrap();
    let (called, plain) = call.await.unwrap();
    assert!(called.is_ok(), "the call went through the seal: {called:?}");
    assert!(plain.is_err(), "a plain write does not");
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_settings_and_replication() {
    let mut world = world(&PairOptions::default()).await;
    let prepare = [
        "XA START 'a'",
        "UPDATE d.t SET a = 9 WHERE id = 1",
        "XA END 'a'",
        "XA PREPARE 'a'",
    ];
    let ordinary = [
        "CREATE USER ordinary@'%' IDENTIFIED BY 'x'",
        "GRANT ALL ON d.* TO ordinary@'%'",
    ];
    world.run(Side::Blue, &ordinary).await;
    support::caught_up(&world.pair).await;
    drop(world.kept(Side::Blue, &prepare).await);
    for scope in [Scope::Doctor, Scope::Hold] {
        world.stopped_by(scope, &[Id::XA_PREPARED]).await;
    }
    world.run(Side::Blue, &["XA ROLLBACK 'a'"]).await;
    support::caught_up(&world.pair).await;

    let mut open = world.client("ordinary", "x").await;
    open.query_drop("BEGIN").await.unwrap();
    open.query_drop("UPDATE d.t SET a = a + 1").await.unwrap();
    world.stopped_by(Scope::Hold, &[Id::LONG_TRANSACTIONS]).await;
    // This family's hold lets reads go on, so a long SELECT is not in the way; an UPDATE that waits is.
    let select = world
        .running_on(world.client("ordinary", "x").await, "SELECT SLEEP(60) FROM d.t")
        .await;
    world.stopped_by(Scope::Hold, &[Id::LONG_TRANSACTIONS]).await;
    world.end(select).await;
    let update = world
        .running_on(world.client("ordinary", "x").await, "UPDATE d.t SET a = 0")
        .await;
    world
        .stopped_by(Scope::Hold, &[Id::LONG_TRANSACTIONS, Id::LONG_STATEMENTS])
        .await;
    world.end(update).await;
    open.query_drop("ROLLBACK").await.unwrap();

    for (side, broken, mended, scope, ids) in [
        (
            Side::Blue,
            "gtid_strict_mode = 0",
            "gtid_strict_mode = 1",
            Scope::Doctor,
            &[Id::GTID][..],
        ),
        (
            Side::Blue,
            "max_statement_time = 5",
            "max_statement_time = 0",
            Scope::Hold,
            &[Id::WAITER_TIMEOUTS],
        ),
        (
            Side::Green,
            "sql_mode = ''",
            "sql_mode = DEFAULT",
            Scope::Prepare,
            &[Id::VARIABLES_DIFF],
        ),
        (
            Side::Blue,
            "binlog_format = 'MIXED'",
            "binlog_format = 'ROW'",
            Scope::Prepare,
            &[Id::BINLOG],
        ),
        (
            Side::Blue,
            "expire_logs_days = 0.01",
            "expire_logs_days = 0",
            Scope::Hold,
            &[Id::RETENTION],
        ),
    ] {
        world.run(side, &[&format!("SET GLOBAL {broken}")]).await;
        world.stopped_by(scope, ids).await;
        world.run(side, &[&format!("SET GLOBAL {mended}")]).await;
        world.stopped_by(scope, &[]).await;
    }

    world.run(Side::Green, &["STOP SLAVE SQL_THREAD"]).await;
    world.stopped_by(Scope::Hold, &[Id::REPLICATION_HEALTH]).await;
    world.run(Side::Green, &["START SLAVE SQL_THREAD"]).await;

    for (broken, mended, words) in [
        (
            "ALTER TABLE d.t MODIFY j LONGTEXT",
            "ALTER TABLE d.t MODIFY j JSON",
            "column j",
        ),
        (
            "ALTER TABLE d.t MODIFY c VARCHAR(9) AS (CONCAT('y', a)) STORED",
            "ALTER TABLE d.t MODIFY c VARCHAR(9) AS (CONCAT('x', a)) STORED",
            "concat('y', a)",
        ),
    ] {
        world.on_green(&[broken]).await;
        let seen = world.stopped_by(Scope::Prepare, &[Id::SCHEMA_DIFF]).await;
        assert!(
            seen.iter().any(|f| f.seen.contains(words)),
            "{words}: {}",
            listed(&seen)
        );
        world.on_green(&[mended]).await;
    }
    world.stopped_by(Scope::Prepare, &[]).await;

    let limited = ["CREATE USER hasty@'%' IDENTIFIED BY 'x' WITH MAX_STATEMENT_TIME 3"];
    world.run(Side::Blue, &limited).await;
    support::caught_up(&world.pair).await;
    let seen = world.stopped_by(Scope::Doctor, &[Id::WAITER_TIMEOUTS]).await;
    assert!(seen[0].seen.contains("hasty@%"), "{}", listed(&seen));
    world.run(Side::Blue, &["DROP USER hasty@'%'"]).await;
    support::caught_up(&world.pair).await;

    world.run(Side::Green, &["STOP SLAVE"]).await;
    // A dump session that has not noticed yet keeps its file from being purged.
    let dump = "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'";
    while let Some(id) = world.pair.blue.value(dump).await.unwrap() {
        // It may be gone by itself.
        drop(world.pair.blue.run(&[format!("KILL {id}")]).await);
    }
    world
        .run(
            Side::Blue,
            &[
                "INSERT INTO d.t (id) VALUES (7)",
                "FLUSH BINARY LOGS",
                "FLUSH BINARY LOGS",
            ],
        )
        .await;
    let last = world
        .pair
        .blue
        .value("SHOW MASTER STATUS")
        .await
        .unwrap()
        .unwrap();
    // A file goes only once InnoDB needs it no more (its binlog checkpoint).
    let purge = format!("PURGE BINARY LOGS TO '{last}'");
    let started = std::time::Instant::now();
    while world.pair.blue.value("SHOW BINARY LOGS").await.unwrap().as_ref() != Some(&last) {
        assert!(started.elapsed().as_secs() < 20, "nothing is purged");
        world.run(Side::Blue, &[&purge]).await;
    }
    world.stopped_by(Scope::Doctor, &[Id::PURGED]).await;
    // Green wrote by itself, and in blue's domain.
    let write = [
        "SET GLOBAL read_only = 0",
        "INSERT INTO d.t (id) VALUES (50)",
        "SET GLOBAL read_only = 1",
    ];
    world.run(Side::Green, &write).await;
    let seen = world
        .stopped_by(Scope::Doctor, &[Id::PURGED, Id::ERRANT_TRANSACTIONS, Id::GTID])
        .await;
    let errant = seen.iter().find(|f| f.id == Id::ERRANT_TRANSACTIONS).unwrap();
    assert!(
        errant.seen.contains("0-2-") && errant.seen.contains("INSERT INTO d.t (id) VALUES (50)"),
        "{}",
        listed(&seen)
    );
    let domain = seen.iter().find(|f| f.id == Id::GTID).unwrap();
    assert!(domain.seen.contains("beside blue: 0-2-"), "{}", listed(&seen));
}

/// A green that is nearly full, by clients that really are there.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_without_spare_connections() {
    let mut options = PairOptions::default();
    options.green.extra = vec!["max-connections=40".into()];
    let mut world = world(&options).await;
    world.stopped_by(Scope::Hold, &[]).await;
    let mut clients = Vec::new();
    for _ in 0..30 {
        clients.push(world.kept(Side::Green, &["SELECT 1"]).await);
    }
    let seen = world.stopped_by(Scope::Hold, &[Id::CONNECTIONS]).await;
    assert_eq!(seen[0].side, Some(Side::Green), "{}", listed(&seen));
    assert!(
        seen[0].seen.contains("of 40 connections are used"),
        "{}",
        listed(&seen)
    );
    for client in clients {
        client.disconnect().await.unwrap();
    }
    // The server counts a client for a moment after it said goodbye.
    let used = "SELECT COUNT(*) < 20 FROM information_schema.PROCESSLIST";
    for _ in 0..500 {
        if world.pair.green.value(used).await.unwrap().as_deref() == Some("1") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    world.stopped_by(Scope::Hold, &[]).await;
}

/// What two plugins that come with MariaDB make known: room on the disk, and who idles on a lock of everything.
#[tokio::test(flavor = "multi_thread")]
async fn with_its_plugins_mariadb_says_what_else_is_not_known() {
    let mut options = PairOptions::default();
    for server in [&mut options.blue, &mut options.green] {
        server.extra = vec![
            "plugin-load-add=disks".into(),
            "plugin-load-add=metadata_lock_info".into(),
        ];
    }
    let mut world = world(&options).await;
    let seen = world.examine(Scope::Hold).await.findings;
    for id in [Id::DISK_SPACE, Id::BACKUP_RUNNING] {
        assert!(
            seen.iter().all(|f| f.id != id || f.severity == Severity::Ok),
            "{}",
            listed(&seen)
        );
    }
    for side in [Side::Blue, Side::Green] {
        let mut holder = world.kept(side, &["FLUSH TABLES WITH READ LOCK"]).await;
        let stops = world.stops(Scope::Hold).await;
        let lock = stops.iter().find(|f| f.id == Id::BACKUP_RUNNING).unwrap();
        assert_eq!(lock.side, Some(side), "{}", listed(&stops));
        holder.query_drop("UNLOCK TABLES").await.unwrap();
        drop(holder);
    }
    // More than any disk has.
    let limits = Limits {
        free_bytes: u64::MAX,
        ..Limits::default()
    };
    let mut world = World::limited(world.pair, Waivers::new(), limits).await;
    let seen = world.stopped_by(Scope::Doctor, &[Id::DISK_SPACE]).await;
    assert_eq!(seen.len(), 2, "{}", listed(&seen));
}

/// A third server that follows blue, too.
#[tokio::test(flavor = "multi_thread")]
async fn another_replica_of_blue() {
    let mut world = World::new(
        ServerKind::MariaDb118,
        ServerKind::MariaDb118,
        &PairOptions::default(),
    )
    .await;
    world.stopped_by(Scope::Doctor, &[]).await;
    let locate_options = LocateOptions::default();
    let installed = locate(ServerKind::MariaDb118, &locate_options).await.unwrap();
    let settings = ServerOptions {
        server_id: 77,
        ..ServerOptions::default()
    };
    let third = installed
        .start(&locate_options.cache, None, &settings)
        .await
        .unwrap();
    let repl = &world.pair.accounts.repl;
    let follow = format!(
        "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = '{}', MASTER_PASSWORD = '{}', \
         MASTER_SSL = 0, MASTER_USE_GTID = slave_pos",
        world.pair.blue.port(),
        repl.user,
        secrecy::ExposeSecret::expose_secret(&repl.password),
    );
    third.run(&[follow.as_str(), "START SLAVE"]).await.unwrap();
    let started = std::time::Instant::now();
    let has_all = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'bleen' AND TABLE_NAME = 'heartbeat'";
    while third.value(has_all).await.unwrap().as_deref() != Some("1") {
        assert!(started.elapsed() < BUDGET * 4, "the third server does not follow");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let seen = world.stopped_by(Scope::Doctor, &[Id::EXTERNAL_REPLICAS]).await;
    assert!(
        seen[0].seen.starts_with("1 others read") && seen[0].seen.contains("server_id 77"),
        "{}",
        listed(&seen)
    );
    third.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_too_small_could_never_release_the_hold() {
    let mut options = PairOptions::default();
    options.blue.extra = vec![
        "thread_handling=pool-of-threads".into(),
        "thread_pool_max_threads=100".into(),
    ];
    let mut world = world(&options).await;
    for scope in [Scope::Doctor, Scope::Hold] {
        let seen = world.stopped_by(scope, &[Id::THREAD_POOL]).await;
        assert!(!seen[0].waivable, "{}", listed(&seen));
    }
    world
        .run(Side::Blue, &["SET GLOBAL thread_pool_max_threads = 500"])
        .await;
    world.stopped_by(Scope::Hold, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_mysql_5_6_super_writes_through_and_may_be_waived() {
    let options = PairOptions::default();
    let pair = support::following(ServerKind::MySql56, ServerKind::MySql97, &options).await;
    let waivers = Waivers::from([(Id::PRIVILEGED_WRITERS, "only the DBA".to_owned())]);
    let mut world = World::around(pair, waivers).await;
    let root = world.kept(Side::Blue, &["SELECT 1"]).await;
    let seen = world.stopped_by(Scope::Hold, &[Id::PRIVILEGED_WRITERS]).await;
    assert!(seen[0].waived.is_some() && !seen[0].blocks(), "{}", listed(&seen));
    drop(root);
    let doctor = world.examine(Scope::Doctor).await.findings;
    let path = doctor.iter().find(|f| f.id == Id::VERSION_PATH).unwrap();
    assert_eq!(path.severity, Severity::Stop);
}

/// What `mysql_run.rs` breaks on MySQL, on MariaDB in its own words.
#[tokio::test(flavor = "multi_thread")]
async fn ddl_backup_semi_sync_and_events() {
    let mut world = world(&PairOptions::default()).await;
    world.stopped_by(Scope::Hold, &[]).await;

    let mut open = world
        .kept(Side::Blue, &["BEGIN", "UPDATE d.t SET a = a + 1 WHERE id = 1"])
        .await;
    let alter = world
        .running_statement(
            Side::Blue,
            "ALTER TABLE d.t ADD COLUMN n VARCHAR(9) DEFAULT 'hidden'",
        )
        .await;
    // Whose session may write through read-only besides.
    let seen = world
        .stopped_by(
            Scope::Hold,
            &[Id::DDL_IN_FLIGHT, Id::LONG_STATEMENTS, Id::PRIVILEGED_WRITERS],
        )
        .await;
    assert!(!listed(&seen).contains("hidden"), "{}", listed(&seen));
    world.end(alter).await;
    open.query_drop("ROLLBACK").await.unwrap();
    drop(open);

    // A dump says what it is by its hint.
    let dump = world
        .running_statement(Side::Blue, "SELECT /*!40001 SQL_NO_CACHE */ SLEEP(60) FROM d.t")
        .await;
    let seen = world
        .stopped_by(Scope::Hold, &[Id::BACKUP_RUNNING, Id::PRIVILEGED_WRITERS])
        .await;
    assert_eq!(seen[0].side, Some(Side::Blue), "{}", listed(&seen));
    world.end(dump).await;

    let semi_sync = [
        "SET GLOBAL rpl_semi_sync_master_timeout = 60000",
        "SET GLOBAL rpl_semi_sync_master_enabled = 1",
    ];
    world.run(Side::Blue, &semi_sync).await;
    world.stopped_by(Scope::Doctor, &[Id::SEMI_SYNC]).await;
    world
        .run(Side::Blue, &["SET GLOBAL rpl_semi_sync_master_enabled = 0"])
        .await;

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
    world.on_green(&["ALTER EVENT d.e DISABLE ON SLAVE"]).await;
    world.stopped_by(Scope::Hold, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_stands_still_within_a_statement() {
    for kinds in [
        (ServerKind::MariaDb1011, ServerKind::MariaDb118),
        (ServerKind::MySql97, ServerKind::MySql97),
    ] {
        let mut options = PairOptions::default();
        options.green.extra = vec!["sysdate-is-now".into()];
        let mut world = World::new(kinds.0, kinds.1, &options).await;
        for scope in [Scope::Doctor, Scope::Hold] {
            let seen = world.stopped_by(scope, &[Id::DEADLINE]).await;
            assert_eq!(seen[0].side, Some(Side::Green), "{}", listed(&seen));
        }
    }
}
