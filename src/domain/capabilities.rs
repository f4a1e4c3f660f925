//! What one server can do and which words it wants to hear: a plain value, filled by probing.
//!
//! Statements, variables and columns changed their names within both families. Whoever needs one asks this value and
//! never the version number. Nothing here knows a statement's text; `adapters/mysql/sql.rs` turns the words into SQL.
//! Sources: the manuals' "What is new" pages, and 5.6.24, 9.7.4, 10.11 and 11.8.9 asked themselves.

use serde::{Deserialize, Serialize};

use super::server::{Family, Version};

/// Which generation of replication words a statement wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Words {
    /// `REPLICA`, `SOURCE`.
    New,
    /// The words that servers used before.
    Old,
}

/// How green can be made to wait until it has executed a GTID position, in one blocking call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GtidWait {
    /// MySQL 5.7.5 and later: does not look at the applier, so a stopped one is not noticed.
    ExecutedGtidSet,
    /// MySQL 5.6: answers NULL when the applier does not run.
    SqlThreadAfterGtids,
    /// MariaDB: waits on `gtid_slave_pos`; a domain that never comes is waited for to the end.
    MariaDb,
}

/// Where the list of sessions is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessList {
    /// `performance_schema.processlist` (MySQL 8.0.22 and later): takes no lock that all sessions share.
    PerformanceSchema,
    /// `information_schema.processlist`.
    InformationSchema,
}

/// How a server limits the time of a statement by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatementLimit {
    /// `max_execution_time`, milliseconds, SELECT only (MySQL 5.7.8 and later).
    MaxExecutionTime,
    /// `max_statement_time`, seconds with a fraction, every statement (MariaDB).
    MaxStatementTime,
    /// None (MySQL 5.6).
    None,
}

/// How positions of a server can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionKind {
    /// MySQL with `gtid_mode = ON`.
    GtidSet,
    /// MariaDB.
    GtidList,
    /// Binlog file and offset.
    File,
}

/// What a server can do. Small, so that it can be copied about and kept in a saved plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Family and version, for people and for what cannot be probed.
    pub version: Version,
    /// `@@gtid_mode = ON`; on MariaDB always true.
    pub gtid: bool,
    /// `START`, `STOP`, `RESET`, `SHOW … REPLICA`.
    pub replica: Words,
    /// `CHANGE REPLICATION SOURCE TO` with `SOURCE_…` options.
    pub change_source: Words,
    /// `SHOW BINARY LOG STATUS`.
    pub binlog_status: Words,
    /// `log_replica_updates`, `skip_replica_start` and their kin.
    pub replica_variables: Words,
    /// `super_read_only` exists.
    pub super_read_only: bool,
    /// `SET PERSIST` and `RESET PERSIST` exist.
    pub persist: bool,
    /// What was persisted is read at the next start (`@@persisted_globals_load`). `false` where `persist` is.
    pub persisted_globals_load: bool,
    /// Where sessions are listed.
    pub process_list: ProcessList,
    /// The blocking wait for a GTID position; `None` where GTIDs are off.
    pub gtid_wait: Option<GtidWait>,
    /// The blocking wait for file and offset: `SOURCE_POS_WAIT`.
    pub file_wait: Words,
    /// The server's own time limit of a statement.
    pub statement_limit: StatementLimit,
    /// `SET STATEMENT variable = value FOR statement` (MariaDB).
    pub set_statement: bool,
    /// `GET_SOURCE_PUBLIC_KEY` may be said when replication is set up.
    pub get_source_public_key: bool,
    /// `performance_schema` is on.
    pub performance_schema: bool,
    /// `performance_schema.replication_applier_status_by_worker` is there and readable.
    pub worker_status: bool,
    /// `performance_schema.session_connect_attrs` is there and readable, and the schema on: a run's sessions can be
    /// found by their attributes.
    pub connect_attributes: bool,
    /// `performance_schema.metadata_locks` is there and readable.
    pub metadata_locks: bool,
}

impl Capabilities {
    /// The family, for short.
    #[must_use]
    pub fn family(&self) -> Family {
        self.version.family
    }

    /// A session may hold several named locks at a time: MariaDB (10.0.2), MySQL 5.7.5 (their manuals, `GET_LOCK`).
    /// Not probed: that would take locks.
    #[must_use]
    pub fn several_named_locks(&self) -> bool {
        self.family() == Family::MariaDb || self.version.number >= (5, 7, 5)
    }

    /// How this server's own executed position is written.
    #[must_use]
    pub fn position_kind(&self) -> PositionKind {
        match (self.family(), self.gtid) {
            (Family::MariaDb, _) => PositionKind::GtidList,
            (Family::MySql, true) => PositionKind::GtidSet,
            (Family::MySql, false) => PositionKind::File,
        }
    }

    /// How positions of a pair are written: GTIDs only when both sides write the same kind.
    #[must_use]
    pub fn pair_position_kind(blue: &Self, green: &Self) -> PositionKind {
        if blue.position_kind() == green.position_kind() {
            blue.position_kind()
        } else {
            PositionKind::File
        }
    }

    /// Whether a setting made now is still there after a restart.
    #[must_use]
    pub fn can_persist(&self) -> bool {
        self.persist && self.persisted_globals_load
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Capabilities as they were read from real servers on 2026-11-23, for tests of statements' texts.
    pub(crate) fn known(name: &str) -> Capabilities {
        let new = Capabilities {
            version: Version::parse("9.7.4", ""),
            gtid: true,
            replica: Words::New,
            change_source: Words::New,
            binlog_status: Words::New,
            replica_variables: Words::New,
            super_read_only: true,
            persist: true,
            persisted_globals_load: true,
            process_list: ProcessList::PerformanceSchema,
            gtid_wait: Some(GtidWait::ExecutedGtidSet),
            file_wait: Words::New,
            statement_limit: StatementLimit::MaxExecutionTime,
            set_statement: false,
            get_source_public_key: true,
            performance_schema: true,
            worker_status: true,
            connect_attributes: true,
            metadata_locks: true,
        };
        let old = Capabilities {
            version: Version::parse("5.6.24-log", ""),
            replica: Words::Old,
            change_source: Words::Old,
            binlog_status: Words::Old,
            replica_variables: Words::Old,
            super_read_only: false,
            persist: false,
            persisted_globals_load: false,
            process_list: ProcessList::InformationSchema,
            gtid_wait: Some(GtidWait::SqlThreadAfterGtids),
            file_wait: Words::Old,
            statement_limit: StatementLimit::None,
            get_source_public_key: false,
            worker_status: false,
            metadata_locks: false,
            ..new.clone()
        };
        match name {
            "mysql-9.7" => new,
            "mysql-5.6" => old,
            "mysql-5.6-file" => Capabilities {
                gtid: false,
                gtid_wait: None,
                ..old
            },
            "mariadb-11.8" => Capabilities {
                version: Version::parse("11.8.9-MariaDB", ""),
                replica: Words::New,
                binlog_status: Words::New,
                gtid_wait: Some(GtidWait::MariaDb),
                statement_limit: StatementLimit::MaxStatementTime,
                set_statement: true,
                performance_schema: false,
                connect_attributes: false,
                ..old
            },
            other => panic!("no server {other}"),
        }
    }

    #[test]
    fn a_pair_speaks_gtid_only_when_both_sides_do() {
        let kind = |blue, green| Capabilities::pair_position_kind(&known(blue), &known(green));
        assert_eq!(kind("mysql-5.6", "mysql-9.7"), PositionKind::GtidSet);
        assert_eq!(kind("mysql-5.6-file", "mysql-9.7"), PositionKind::File);
        assert_eq!(kind("mysql-5.6", "mariadb-11.8"), PositionKind::File);
        assert_eq!(kind("mariadb-11.8", "mariadb-11.8"), PositionKind::GtidList);
    }
}
