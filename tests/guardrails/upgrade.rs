//! `upgrade-issues`: what MySQL 5.6 takes and a newer green does not, each made on a real 5.6.

use bleen::domain::guardrail_ids::GuardrailId as Id;
use bleen::domain::guardrails::{Finding, Scope, Severity};
use bleen::domain::ids::Side;
use bleen::sandbox::{PairOptions, ServerKind};

use super::support;
use super::world::{World, listed};

/// The findings of `upgrade-issues` as `doctor` has them.
async fn issues(world: &mut World) -> Vec<Finding> {
    let seen = world.examine(Scope::Doctor).await.findings;
    seen.into_iter().filter(|f| f.id == Id::UPGRADE_ISSUES).collect()
}

fn says(findings: &[Finding], severity: Severity, words: &str) {
    assert!(
        findings
            .iter()
            .any(|f| f.severity == severity && f.seen.contains(words)),
        "{severity:?} {words}: {}",
        listed(findings)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_5_6_takes_and_9_7_does_not() {
    let options = PairOptions::default();
    let mut world = World::new(ServerKind::MySql56, ServerKind::MySql97, &options).await;
    let clean = issues(&mut world).await;
    assert!(
        clean.iter().all(|f| f.severity == Severity::Ok),
        "{}",
        listed(&clean)
    );

    let long = "t".repeat(60);
    let statements = [
        // Green could not apply most of these.
        "SET SESSION sql_log_bin = 0".to_owned(),
        "SET SESSION sql_mode = ''".to_owned(),
        "CREATE DATABASE d".to_owned(),
        "CREATE TABLE d.three (id INT PRIMARY KEY, `rank` VARCHAR(9) CHARACTER SET utf8)".to_owned(),
        "CREATE PROCEDURE d.gone() SELECT PASSWORD('x')".to_owned(),
        "CREATE PROCEDURE d.sorted() SELECT id FROM d.three GROUP BY id DESC".to_owned(),
        "CREATE TABLE d.zero (id INT PRIMARY KEY, at DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00')"
            .to_owned(),
        format!(
            "CREATE TABLE d.members (id INT PRIMARY KEY, e ENUM('a','{}'))",
            "m".repeat(256)
        ),
        "CREATE TABLE d.floats (id DOUBLE AUTO_INCREMENT PRIMARY KEY)".to_owned(),
        "CREATE TABLE d.parts (id INT PRIMARY KEY) ENGINE = MyISAM PARTITION BY HASH (id) PARTITIONS 2"
            .to_owned(),
        "CREATE TABLE d.parent (id INT PRIMARY KEY, n INT, KEY (n))".to_owned(),
        "CREATE TABLE d.short (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES d.parent (id))"
            .to_owned(),
        // Only a new name of the table makes one that long.
        format!("RENAME TABLE d.short TO d.{long}"),
        "CREATE TABLE d.child (id INT PRIMARY KEY, n INT, FOREIGN KEY (n) REFERENCES d.parent (n))"
            .to_owned(),
        "CREATE PROCEDURE d.lost() SELECT 1".to_owned(),
        "UPDATE mysql.proc SET db = 'nowhere' WHERE name = 'lost'".to_owned(),
        "SET SESSION sql_mode = 'NO_AUTO_CREATE_USER'".to_owned(),
        "CREATE PROCEDURE d.mode() SELECT 1".to_owned(),
    ];
    world.pair.blue.run(&statements).await.unwrap();
    let seen = issues(&mut world).await;
    for (severity, words) in [
        (Severity::Warning, "columns are utf8mb3: d.three.rank"),
        (Severity::Warning, "reserves: column d.three.rank"),
        (Severity::Warning, "zero dates as default: d.zero.at"),
        (Severity::Warning, "no longer knows: procedure d.mode"),
        (Severity::Warning, "not a whole unique key: d.child.child_ibfk_1"),
        (Severity::Stop, "password() in procedure d.gone"),
        (Severity::Stop, "GROUP BY with ASC or DESC: procedure d.sorted"),
        (Severity::Stop, "over 255 characters: d.members.e"),
        (Severity::Stop, "floating-point column: d.floats.id"),
        (Severity::Stop, "d.parts (MyISAM)"),
        (Severity::Stop, &format!("over 64 characters: d.{long}.{long}")),
        (
            Severity::Stop,
            "schemas that do not exist: procedure nowhere.lost",
        ),
    ] {
        says(&seen, severity, words);
    }
}

/// A column as 5.5 stored it. 5.6 makes none, but in its description of a table only one byte tells the two from each
/// other, and a TIMESTAMP without fractions is as long in both.
async fn make_old_timestamp(world: &World) {
    let create = [
        "CREATE DATABASE d",
        "CREATE TABLE d.stamps (id INT PRIMARY KEY, old_stamp TIMESTAMP NULL) ENGINE = MyISAM",
        "FLUSH TABLES d.stamps",
    ];
    world.run(Side::Blue, &create).await;
    let path = world.pair.blue.data_dir().join("d/stamps.frm");
    let mut bytes = std::fs::read(&path).unwrap();
    // The columns' descriptions, 17 bytes each, end where their names begin; the type is the 14th byte.
    let names = b"\xffid\xffold_stamp\xff";
    let at = bytes.windows(names.len()).position(|w| w == names).unwrap() - 17 + 13;
    assert_eq!(bytes[at], 17, "TIMESTAMP with fractions");
    bytes[at] = 7;
    std::fs::write(&path, bytes).unwrap();
    world.run(Side::Blue, &["FLUSH TABLES d.stamps"]).await;
}

/// Seen with this test: 9.7.4 takes the value for one in its own format, and says nothing. Should the last comparison
/// fail one day, the finding can become a warning for greens from that version on.
#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_as_5_5_stored_it_arrives_wrong() {
    let options = PairOptions::default();
    let mut world = World::new(ServerKind::MySql56, ServerKind::MySql97, &options).await;
    make_old_timestamp(&world).await;
    support::caught_up(&world.pair).await;
    let seen = issues(&mut world).await;
    says(
        &seen,
        Severity::Stop,
        "as MySQL 5.5 stored them: d.stamps.old_stamp",
    );
    // It is no difference of the schemas.
    let all = world.examine(Scope::Doctor).await.findings;
    assert!(
        all.iter()
            .all(|f| f.id != Id::SCHEMA_DIFF || f.severity == Severity::Ok),
        "{}",
        listed(&all)
    );
    let (blue, green) = replicated_stamp(&world).await;
    assert!(green.is_some() && blue != green, "{blue:?} {green:?}");
}

/// The value of an old column on both sides after it was replicated.
async fn replicated_stamp(world: &World) -> (Option<String>, Option<String>) {
    world
        .run(
            Side::Blue,
            &["INSERT INTO d.stamps VALUES (1, '2026-11-25 03:04:05')"],
        )
        .await;
    support::caught_up(&world.pair).await;
    let value = "SELECT old_stamp FROM d.stamps";
    (
        world.pair.blue.value(value).await.unwrap(),
        world.pair.green.value(value).await.unwrap(),
    )
}

/// MariaDB reads the old format.
#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_as_5_5_stored_it_arrives_on_mariadb() {
    let options = PairOptions::default().gtid(false);
    let mut world = World::new(ServerKind::MySql56, ServerKind::MariaDb118, &options).await;
    make_old_timestamp(&world).await;
    support::caught_up(&world.pair).await;
    let seen = issues(&mut world).await;
    assert!(
        seen.iter().all(|f| f.severity == Severity::Ok),
        "{}",
        listed(&seen)
    );
    let (blue, green) = replicated_stamp(&world).await;
    assert!(blue.is_some() && blue == green, "{blue:?} {green:?}");
}

/// MariaDB says the old format in the column's type; it takes it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn the_old_timestamps_of_mariadb_are_no_difference() {
    let options = PairOptions::default();
    let mut world = World::new(ServerKind::MariaDb1011, ServerKind::MariaDb118, &options).await;
    let create = [
        "SET GLOBAL mysql56_temporal_format = 0",
        "CREATE DATABASE d",
        "CREATE TABLE d.stamps (id INT PRIMARY KEY, old_stamp TIMESTAMP NULL)",
        "SET GLOBAL mysql56_temporal_format = 1",
    ];
    world.run(Side::Blue, &create).await;
    support::caught_up(&world.pair).await;
    let kind = "SELECT COLUMN_TYPE FROM information_schema.COLUMNS WHERE COLUMN_NAME = 'old_stamp'";
    let kind = world.pair.blue.value(kind).await.unwrap().unwrap();
    assert!(kind.contains("mariadb-5.3"), "{kind}");
    world.stopped_by(Scope::Doctor, &[]).await;
    let (blue, green) = replicated_stamp(&world).await;
    assert!(blue.is_some() && blue == green, "{blue:?} {green:?}");
}
