//! Things broken on purpose on MySQL 9.7: what stands, before anything is started.

use bleen::adapters::mysql::survey::PairSurveyor;
use bleen::domain::guardrail_ids::GuardrailId as Id;
use bleen::domain::guardrails::{Limits, Scope, Severity, Waivers};
use bleen::domain::ids::Side;
use bleen::engine::doctor::Doctor;
use bleen::sandbox::{PairOptions, ServerKind};

use super::support::{self, BUDGET};
use super::world::{World, calm, listed, open};

async fn world() -> World {
    World::new(ServerKind::MySql97, ServerKind::MySql97, &PairOptions::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_schemas() {
    let mut world = world().await;
    let blue = [
        "CREATE DATABASE d",
        "CREATE TABLE d.plain (id INT PRIMARY KEY, a INT, b VARCHAR(20), KEY a (a))",
        "CREATE TABLE d.keyless (a INT)",
        "INSERT INTO d.keyless VALUES (1), (2), (3), (4), (5), (6), (7), (8)",
        "ANALYZE TABLE d.keyless",
        "CREATE TABLE d.small (a INT)",
        "CREATE TABLE d.unique_null (a INT UNIQUE)",
    ];
    world.run(Side::Blue, &blue).await;
    support::caught_up(&world.pair).await;
    let seen = world.stopped_by(Scope::Doctor, &[Id::ROW_FORMAT_NO_KEY]).await;
    // The largest first.
    let text = &seen[0].seen;
    let first = text.find("d.keyless (about 8 rows)");
    assert!(
        first.is_some() && first < text.find("d.small") && text.contains("d.unique_null"),
        "{}",
        listed(&seen)
    );
    assert!(seen[0].waivable && !text.contains("d.plain"), "{}", listed(&seen));
    let keyed = [
        "DROP TABLE d.keyless, d.unique_null",
        "ALTER TABLE d.small ADD PRIMARY KEY (a)",
    ];
    world.run(Side::Blue, &keyed).await;
    support::caught_up(&world.pair).await;
    world.stopped_by(Scope::Doctor, &[]).await;

    world
        .run(
            Side::Blue,
            &["CREATE TABLE d.old (id INT PRIMARY KEY) ENGINE = MyISAM"],
        )
        .await;
    support::caught_up(&world.pair).await;
    let seen = world.stopped_by(Scope::Doctor, &[Id::ENGINE]).await;
    assert!(seen[0].seen.contains("d.old (MyISAM)"), "{}", listed(&seen));
    world.run(Side::Blue, &["DROP TABLE d.old"]).await;

    let nearly = [
        "CREATE TABLE d.full (id TINYINT AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 126",
        "INSERT INTO d.full VALUES (NULL)",
    ];
    world.run(Side::Blue, &nearly).await;
    support::caught_up(&world.pair).await;
    world.stopped_by(Scope::Doctor, &[Id::AUTO_INCREMENT]).await;
    world.run(Side::Blue, &["DROP TABLE d.full"]).await;

    let definer = [
        "CREATE USER gone@'%' IDENTIFIED BY 'x'",
        "CREATE DEFINER = gone@'%' PROCEDURE d.p() SELECT 1",
    ];
    world.run(Side::Blue, &definer).await;
    support::caught_up(&world.pair).await;
    world.on_green(&["DROP USER gone@'%'"]).await;
    let seen = world
        .stopped_by(Scope::Prepare, &[Id::DEFINERS, Id::ACCOUNTS_DIFF])
        .await;
    assert!(
        seen.iter()
            .any(|f| f.seen == "account gone@% does not exist on green"),
        "{}",
        listed(&seen)
    );
    world
        .run(Side::Blue, &["SET SESSION sql_log_bin = 0", "DROP USER gone@'%'"])
        .await;
    world.run(Side::Blue, &["DROP PROCEDURE d.p"]).await;
    support::caught_up(&world.pair).await;
    world.stopped_by(Scope::Prepare, &[]).await;

    for (broken, mended, words) in [
        (
            "ALTER TABLE d.plain DROP KEY a",
            "ALTER TABLE d.plain ADD KEY a (a)",
            "index a is missing on green",
        ),
        (
            "ALTER TABLE d.plain MODIFY b VARCHAR(30)",
            "ALTER TABLE d.plain MODIFY b VARCHAR(20)",
            "varchar(30)",
        ),
        (
            "ALTER TABLE d.plain MODIFY a INT AFTER b",
            "ALTER TABLE d.plain MODIFY a INT AFTER id",
            "columns is",
        ),
        (
            "ALTER TABLE d.plain ADD CHECK (a > 1)",
            "ALTER TABLE d.plain DROP CHECK plain_chk_1",
            "check (a > 1)",
        ),
        (
            "DROP TABLE d.small",
            "CREATE TABLE d.small (a INT PRIMARY KEY)",
            "table d.small is missing on green",
        ),
        (
            "CREATE TRIGGER d.t BEFORE INSERT ON d.plain FOR EACH ROW SET NEW.a = 1",
            "DROP TRIGGER d.t",
            "trigger d.t is only on green",
        ),
    ] {
        world.on_green(&[broken]).await;
        let seen = world.stopped_by(Scope::Hold, &[Id::SCHEMA_DIFF]).await;
        assert!(
            seen.iter().any(|f| f.seen.contains(words)),
            "{words}: {}",
            listed(&seen)
        );
        // What was read ahead for the hold must be read again.
        world.examine(Scope::Prepare).await;
        world.on_green(&[mended]).await;
    }
    // An index only on green, and other statistics, are no reason to stop.
    world
        .on_green(&["ALTER TABLE d.plain ADD KEY extra (b)", "ANALYZE TABLE d.plain"])
        .await;
    world.stopped_by(Scope::Prepare, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings() {
    let mut world = world().await;
    for (side, broken, mended, scope, ids) in [
        (
            Side::Green,
            "sql_mode = ''",
            "sql_mode = DEFAULT",
            Scope::Doctor,
            &[Id::VARIABLES_DIFF][..],
        ),
        (
            Side::Green,
            "time_zone = '+02:00'",
            "time_zone = DEFAULT",
            Scope::Prepare,
            &[Id::VARIABLES_DIFF],
        ),
        (
            Side::Green,
            "max_allowed_packet = 1048576",
            "max_allowed_packet = DEFAULT",
            Scope::Doctor,
            &[Id::VARIABLES_DIFF],
        ),
        (
            Side::Blue,
            "binlog_expire_logs_seconds = 60",
            "binlog_expire_logs_seconds = DEFAULT",
            Scope::Hold,
            &[Id::RETENTION],
        ),
        (
            Side::Blue,
            "binlog_format = 'STATEMENT'",
            "binlog_format = 'ROW'",
            Scope::Hold,
            &[Id::BINLOG],
        ),
        (
            Side::Blue,
            "lock_wait_timeout = 5",
            "lock_wait_timeout = DEFAULT",
            Scope::Hold,
            &[Id::WAITER_TIMEOUTS],
        ),
        (
            Side::Blue,
            "innodb_lock_wait_timeout = 5",
            "innodb_lock_wait_timeout = DEFAULT",
            Scope::Doctor,
            &[Id::WAITER_TIMEOUTS],
        ),
        (
            Side::Green,
            "max_connections = 12",
            "max_connections = DEFAULT",
            Scope::Doctor,
            &[Id::CAPACITY],
        ),
        (
            Side::Green,
            "max_connections = 10",
            "max_connections = DEFAULT",
            Scope::Hold,
            &[Id::CONNECTIONS],
        ),
        (
            Side::Green,
            "server_id = 1",
            "server_id = 2",
            Scope::Doctor,
            &[Id::SERVER_ID_CLASH],
        ),
        (
            Side::Green,
            "replica_exec_mode = 'IDEMPOTENT'",
            "replica_exec_mode = 'STRICT'",
            Scope::Prepare,
            &[Id::REPLICATION_HEALTH],
        ),
    ] {
        world.run(side, &[&format!("SET GLOBAL {broken}")]).await;
        let seen = world.stopped_by(scope, ids).await;
        assert!(seen.iter().all(|f| !f.remedy.is_empty()), "{}", listed(&seen));
        world.run(side, &[&format!("SET GLOBAL {mended}")]).await;
        world.stopped_by(scope, &[]).await;
    }
    // The same finding waived is a warning that stays in the list.
    world.run(Side::Green, &["SET GLOBAL sql_mode = ''"]).await;
    let waivers = Waivers::from([(Id::VARIABLES_DIFF, "meant".to_owned())]);
    let mut waived = World::around(world.pair, waivers).await;
    let seen = waived.examine(Scope::Doctor).await;
    let finding = seen
        .findings
        .iter()
        .find(|f| f.id == Id::VARIABLES_DIFF && f.severity == Severity::Stop);
    assert_eq!(finding.unwrap().waived.as_deref(), Some("meant"));
    assert!(!finding.unwrap().blocks());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_server_twice() {
    let world = world().await;
    let caps = support::server(&world.pair, Side::Blue).await.caps;
    let one = async || (support::session(&world.pair, Side::Blue).await, caps.clone());
    let look = PairSurveyor::new(one().await, one().await, BUDGET);
    let mut doctor = Doctor::new(look, Limits::default(), Waivers::new());
    let seen = doctor.examine(Scope::Doctor, calm()).await.findings;
    let stops: Vec<_> = seen
        .iter()
        .filter(|f| f.severity == Severity::Stop)
        .map(|f| f.id)
        .collect();
    assert!(
        stops.contains(&Id::IDENTITY) && stops.contains(&Id::SERVER_ID_CLASH),
        "{stops:?}"
    );
}

/// An account that may do nothing sees nothing, is told what it lacks, and no question fails.
#[tokio::test(flavor = "multi_thread")]
async fn without_rights_nothing_is_ok_that_was_not_seen() {
    for (kind_blue, kind_green) in [
        (ServerKind::MySql97, ServerKind::MySql97),
        (ServerKind::MariaDb1011, ServerKind::MariaDb118),
    ] {
        let world = World::new(kind_blue, kind_green, &PairOptions::default()).await;
        let one = async |side| {
            let mut target = support::target(&world.pair, side);
            target.user.clone_from(&world.pair.accounts.app.user);
            target.password = world.pair.accounts.app.password.clone();
            (open(&target).await, support::server(&world.pair, side).await.caps)
        };
        let look = PairSurveyor::new(one(Side::Blue).await, one(Side::Green).await, BUDGET);
        let mut doctor = Doctor::new(look, Limits::default(), Waivers::new());
        for scope in [Scope::Doctor, Scope::Prepare, Scope::Hold] {
            let seen = doctor.examine(scope, calm()).await.findings;
            let of = |id: Id| -> Vec<_> { seen.iter().filter(|f| f.id == id).map(|f| f.severity).collect() };
            match scope {
                Scope::Doctor => {
                    assert!(
                        of(Id::PRIVILEGES)
                            .iter()
                            .filter(|s| **s == Severity::Stop)
                            .count()
                            > 10
                    );
                    for id in [
                        Id::SCHEMA_DIFF,
                        Id::ACCOUNTS_DIFF,
                        Id::DEFINERS,
                        Id::ENGINE,
                        Id::EVENT_SCHEDULER,
                    ] {
                        assert!(!of(id).contains(&Severity::Ok), "{id} {}", listed(&seen));
                    }
                }
                Scope::Hold => {
                    for id in [Id::LONG_TRANSACTIONS, Id::LONG_STATEMENTS, Id::REPLICATION_HEALTH] {
                        assert!(!of(id).contains(&Severity::Ok), "{id} {}", listed(&seen));
                    }
                }
                _ => {}
            }
            // Settings need no right.
            assert!(!of(Id::BINLOG).contains(&Severity::NotKnown));
        }
    }
}
