//! Whether what stands in a binlog between two positions changed anything, or only moved the position.
//!
//! `FLUSH TABLES`, `ANALYZE TABLE` and empty transactions move a server's position under the hold and under the seal
//! (DESIGN section 3). They are harmless after one more drain; anything else under the seal is a lost write. The
//! answer errs on one side only: what is not known to be without rows counts as a change. Input is what
//! `SHOW BINLOG EVENTS` prints on either family; this file sends no statement.

use serde::{Deserialize, Serialize};

/// One row of `SHOW BINLOG EVENTS`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinlogEvent {
    /// The binlog file.
    pub file: String,
    /// Where the event begins in it, in bytes.
    pub offset: u64,
    /// The server's name of the event's type: `Query`, `Write_rows_v1`.
    pub kind: String,
    /// The server it came from.
    pub server_id: u32,
    /// The server's rendering of its content; for a `Query` the statement, after ``use `db`; ``.
    pub info: String,
}

/// What a stretch of a binlog amounts to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stretch {
    /// Only transactions without rows and without DDL: draining again is enough.
    NoRows,
    /// Something changed data, schema or accounts, or cannot be told from such a thing.
    Rows {
        /// The first event that did.
        first: BinlogEvent,
    },
}

/// Events that carry no change of their own: frames, positions, and parts whose meaning another event decides.
const NEUTRAL: &[&str] = &[
    "Format_desc",
    "Previous_gtids",
    "Gtid",
    "Gtid_tagged_log_event",
    "Anonymous_Gtid",
    "Rotate",
    "Stop",
    "Heartbeat",
    "Xid",
    "Intvar",
    "Rand",
    "User var",
    "Rows_query",
    "Annotate_rows",
    "Gtid_list",
    "Binlog_checkpoint",
    "Start_encryption",
    "View_change",
    "Transaction_context",
];

/// Says whether any of these events changed something. `Xid` alone is an empty commit; `Table_map` counts as a change,
/// because MariaDB writes one for a child table whose rows a foreign key changed without row events.
#[must_use]
pub fn classify(events: &[BinlogEvent]) -> Stretch {
    events
        .iter()
        .find(|event| !is_without_rows(event))
        .map_or(Stretch::NoRows, |first| Stretch::Rows { first: first.clone() })
}

fn is_without_rows(event: &BinlogEvent) -> bool {
    // MariaDB's GTID event of a prepared XA transaction prints as `XA START … GTID 0-1-5`; the rows that follow count
    // by themselves, so nothing is lost by calling it neutral.
    match event.kind.as_str() {
        "Query" | "Query_compressed" => statement_changes_nothing(&event.info),
        kind => NEUTRAL.contains(&kind),
    }
}

fn statement_changes_nothing(info: &str) -> bool {
    let words: Vec<String> = bare_statement(info)
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|w| !w.is_empty())
        .take(3)
        .map(str::to_ascii_uppercase)
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["BEGIN" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "FLUSH", ..]
        | ["START", "TRANSACTION", ..]
        | ["RELEASE", "SAVEPOINT", ..] => true,
        // MariaDB's `ANALYZE UPDATE …` executes the update, so the word TABLE is required.
        ["ANALYZE", "TABLE" | "TABLES", ..] => true,
        ["ANALYZE", "LOCAL" | "NO_WRITE_TO_BINLOG", "TABLE" | "TABLES"] => true,
        _ => false,
    }
}

/// Cuts ``use `db`; `` and leading comments off. A comment that the server executes (`/*!`, `/*M!`) stays, so that the
/// statement is not taken for a harmless one.
fn bare_statement(info: &str) -> &str {
    let mut rest = info.trim_start();
    if let Some(name) = rest.strip_prefix("use `") {
        let mut end = None;
        let mut bytes = name.bytes().enumerate().peekable();
        while let Some((at, byte)) = bytes.next() {
            if byte != b'`' {
                continue;
            }
            if bytes.next_if(|(_, next)| *next == b'`').is_none() {
                end = Some(at);
                break;
            }
        }
        if let Some(after) = end.and_then(|at| name.get(at + 1..)) {
            rest = after.trim_start().strip_prefix(';').unwrap_or(after).trim_start();
        }
    }
    after_comments(rest).unwrap_or_default()
}

/// What follows leading white space and comments; `None` if a comment has no end. A comment that the server executes
/// (`/*!`, `/*M!`) is no comment.
pub(super) fn after_comments(text: &str) -> Option<&str> {
    let mut rest = text.trim_start();
    loop {
        let executed = rest.starts_with("/*!") || rest.starts_with("/*M!");
        let end = if rest.starts_with("/*") && !executed {
            rest.find("*/").map(|end| end + 2)
        } else if rest.starts_with('#') || rest.starts_with("-- ") {
            Some(rest.find('\n').map_or(rest.len(), |end| end + 1))
        } else {
            return Some(rest);
        };
        rest = rest.get(end?..)?.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, info: &str) -> BinlogEvent {
        BinlogEvent {
            file: "binlog.000001".into(),
            offset: 4,
            kind: kind.into(),
            server_id: 1,
            info: info.into(),
        }
    }

    fn changes(kind: &str, info: &str) -> bool {
        classify(&[event(kind, info)]) != Stretch::NoRows
    }

    #[test]
    fn an_empty_stretch_has_no_rows() {
        assert_eq!(classify(&[]), Stretch::NoRows);
    }

    #[test]
    fn what_mysql_9_7_prints() {
        let quiet = [
            event("Previous_gtids", ""),
            event(
                "Gtid",
                "SET @@SESSION.GTID_NEXT= 'ccfb2668-e789-11f1-86bb-02fc00000001:1'",
            ),
            event("Query", "use `t`; flush tables"),
            event("Query", "use `a`b`; analyze table t.x update histogram on b"),
            event(
                "Gtid_tagged_log_event",
                "SET @@SESSION.GTID_NEXT= 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa:tg:1'",
            ),
            event("Query", "BEGIN"),
            event("Query", "COMMIT"),
            event("Rotate", "binlog.000002;pos=4"),
        ];
        // The badly quoted database name cannot be read, so that one event counts as a change.
        assert_eq!(
            classify(&quiet),
            Stretch::Rows {
                first: quiet[3].clone()
            }
        );
        let good: Vec<_> = quiet.iter().filter(|e| **e != quiet[3]).cloned().collect();
        assert_eq!(classify(&good), Stretch::NoRows);
        for (kind, info) in [
            ("Table_map", "table_id: 107 (t.x)"),
            (
                "Write_rows",
                "table_id: 107 flags: STMT_END_F USE_SQL_FOREIGN_KEY_F",
            ),
            (
                "Transaction_payload",
                "compression='ZSTD', decompressed_size=176 bytes",
            ),
            ("XA_prepare", "XA PREPARE X'61',X'',1"),
            ("Query", "XA COMMIT X'61',X'',1"),
            (
                "Query",
                "use `t`; GRANT SELECT ON `t`.* TO 'root'@'localhost' /* xid=30 */",
            ),
            ("Query", "use `t`; optimize table t.x"),
            (
                "Query",
                "use `t`; CREATE TABLE `ctas` (\n  `a` int NOT NULL\n) START TRANSACTION",
            ),
            ("Incident", "#1 (LOST_EVENTS)"),
            ("Some_new_event", ""),
        ] {
            assert!(changes(kind, info), "{kind} {info}");
        }
    }

    #[test]
    fn what_mariadb_prints() {
        for (kind, info) in [
            ("Gtid_list", "[0-22011-11]"),
            ("Binlog_checkpoint", "binlog.000002"),
            ("Gtid", "BEGIN GTID 0-22011-3"),
            ("Gtid", "GTID 0-22011-1"),
            ("Query", "flush privileges"),
            ("Query", "COMMIT"),
            ("Xid", "COMMIT /* xid=42 */"),
        ] {
            assert!(!changes(kind, info), "{kind} {info}");
        }
        for (kind, info) in [
            ("Write_rows_compressed_v1", "table_id: 25 flags: STMT_END_F"),
            ("Update_rows_v1", "table_id: 25 flags: STMT_END_F"),
            ("Query", "repair table t.x"),
            (
                "Query",
                "set statement max_statement_time=2 for analyze table t.x",
            ),
        ] {
            assert!(changes(kind, info), "{kind} {info}");
        }
    }

    #[test]
    fn the_first_change_is_named() {
        let events = [
            event("Query", "BEGIN"),
            event("Delete_rows", "1"),
            event("Write_rows", "2"),
        ];
        assert_eq!(
            classify(&events),
            Stretch::Rows {
                first: events[1].clone()
            }
        );
    }

    #[test]
    fn statements_that_only_look_harmless() {
        for harmless in [
            "/* bleen 20261123T214100Z-9f3a6c hold */ FLUSH TABLES",
            "use `a``; b`; /* x */ -- y\n# z\n Flush logs",
            "ANALYZE LOCAL TABLE t",
            "analyze no_write_to_binlog tables t",
            "SAVEPOINT `a`",
            "release savepoint a",
            "START TRANSACTION",
        ] {
            assert!(!changes("Query", harmless), "{harmless}");
        }
        for harmful in [
            "ANALYZE UPDATE t SET a = 1",
            "ANALYZE FORMAT=JSON DELETE FROM t",
            "ANALYZE LOCAL",
            "/*!40000 DROP TABLE t */",
            "/*M!100000 FLUSH TABLES */",
            "/* FLUSH TABLES",
            "-- FLUSH TABLES",
            "use `t; FLUSH TABLES",
            "START SLAVE",
            "RELEASE ALL",
            "FLUSHED",
            "",
        ] {
            assert!(changes("Query", harmful), "{harmful}");
        }
    }
}
