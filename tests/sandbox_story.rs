//! `bleen sandbox` as a person runs it: the whole story on real servers, and what its last line says.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what failed by failing"
)]

use std::process::{Command, Stdio};

use serde_json::Value;

/// Plays a story and returns its last line. The load is light, so that a slow machine's green keeps up.
fn result(blue: &str, green: &str) -> Value {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bleen"))
        .args(["sandbox", "--blue", blue, "--green", green])
        .args(["--writers", "4", "--rate", "15", "--output", "json"])
        .env("TMPDIR", home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let last: Value = serde_json::from_str(told.lines().last().unwrap_or_default())
        .unwrap_or_else(|e| panic!("{e}\n{told}\n{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(output.status.code(), Some(0), "{told}");
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    last
}

fn plays(blue: &str, green: &str, versions: (&str, &str)) {
    let seen = result(blue, green);
    let number = |field: &str| {
        seen[field]
            .as_f64()
            .unwrap_or_else(|| panic!("{field} in {seen:#}"))
    };
    assert_eq!(
        (&seen["type"], &seen["outcome"]),
        (&"result".into(), &"switched".into()),
        "{seen:#}"
    );
    for (side, version) in [("blue", versions.0), ("green", versions.1)] {
        let said = seen["servers"][side].as_str().unwrap();
        assert!(said.starts_with(version), "{said}");
    }
    for field in [
        "lost",
        "doubled",
        "unclaimed",
        "unresolved",
        "missed_deadline_refused",
    ] {
        assert_eq!(number(field), 0.0, "{field} in {seen:#}");
    }
    assert!(number("acknowledged") > 100.0, "{seen:#}");
    assert!(number("most_refused_on_a_connection") <= 1.0, "{seen:#}");
    assert_eq!(seen["sum_is_constant"], true, "{seen:#}");
    assert_eq!(seen["writable"], serde_json::json!(["green"]), "{seen:#}");
    // The hold was granted, lasted for its whole deadline, and what it waited for is said.
    assert_eq!(seen["missed_deadline_outcome"], "released", "{seen:#}");
    assert_eq!(seen["missed_deadline_held"], true, "{seen:#}");
    assert!(number("missed_deadline_pause_ms") >= 10_000.0, "{seen:#}");
    assert!(number("missed_deadline_longest_write_ms") >= 9_000.0, "{seen:#}");
    let waited = seen["missed_deadline_waited_for"].as_str().unwrap();
    assert!(waited.contains("the deadline of 10s passed"), "{waited}");
    for field in ["pause_ms", "writer_gap_ms", "longest_write_ms"] {
        assert!(number(field) > 0.0, "{field} in {seen:#}");
    }
}

#[test]
fn mysql_to_itself_by_default() {
    plays("mysql-9.7", "mysql-9.7", ("MySQL", "MySQL"));
}

#[test]
fn mariadb_to_a_newer_series() {
    plays("mariadb-10.11", "mariadb-11.8", ("MariaDB 10.11", "MariaDB 11.8"));
}

#[test]
fn the_oldest_mariadb_to_a_newer_series() {
    plays("mariadb-10.5", "mariadb-10.11", ("MariaDB 10.5", "MariaDB 10.11"));
}

#[test]
fn mysql_5_6_to_9_7_by_gtid() {
    plays("mysql-5.6", "mysql-9.7", ("MySQL 5.6", "MySQL"));
}

#[test]
fn mysql_5_6_to_mariadb_by_file_and_offset() {
    plays("mysql-5.6", "mariadb-11.8", ("MySQL 5.6", "MariaDB 11.8"));
}
