//! What one server is, has executed, and is set to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Account, EventFact, PrivilegedWriters, ReplicaFact, Rights, Schema, SessionFact, TransactionFact,
};
use crate::domain::guardrails::known::Known;
use crate::domain::identity::Identity as ServerIdentity;
use crate::domain::position::{FilePosition, GtidSet};
use crate::domain::replication::ReplicaStatus;
use crate::domain::server::Version;

/// Everything a survey may know of one server. A fact that a scope does not read stays unknown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// Who it is.
    pub identity: Known<Identity>,
    /// Global settings, names in lower case, values as printed.
    pub variables: Known<BTreeMap<String, String>>,
    /// Global status counters, names in lower case.
    pub status: Known<BTreeMap<String, String>>,
    /// What it has executed and purged.
    pub positions: Known<Positions>,
    /// What the first transactions did that this side has executed and the side it follows has not, from its binlog.
    /// Read along with `positions`, and only if there are such transactions.
    pub foreign_statements: Known<Vec<String>>,
    /// Its binlog files with their sizes in bytes, oldest first.
    pub binlogs: Known<Vec<(String, u64)>>,
    /// Where it follows others.
    pub channels: Known<Vec<ReplicaStatus>>,
    /// Who follows it.
    pub replicas: Known<Vec<ReplicaFact>>,
    /// Its sessions, those of the asking bleen marked.
    pub sessions: Known<Vec<SessionFact>>,
    /// Open transactions of InnoDB.
    pub transactions: Known<Vec<TransactionFact>>,
    /// Time limits that sessions set for themselves: session, variable, value.
    pub session_limits: Known<Vec<(u64, String, String)>>,
    /// Prepared XA transactions, as `XA RECOVER` names them.
    pub xa_prepared: Known<Vec<String>>,
    /// Who writes through read-only.
    pub privileged: Known<PrivilegedWriters>,
    /// Sessions that hold the backup lock or a global read lock, without those of bleen: session and what it holds.
    pub global_locks: Known<Vec<(u64, String)>>,
    /// Names of tables and triggers as online schema change tools make them.
    pub schema_change_tools: Known<Vec<String>>,
    /// Scheduled events.
    pub events: Known<Vec<EventFact>>,
    /// Where read-only comes from at the next start.
    pub start_up: Known<StartUp>,
    /// What bleen's own account may do.
    pub rights: Known<Rights>,
    /// Accounts and roles.
    pub accounts: Known<Vec<Account>>,
    /// Privileges and plugins this server knows of.
    pub account_words: Known<AccountWords>,
    /// Tables, columns, programs.
    pub schema: Known<Schema>,
    /// The server's clock minus the clock of bleen's machine, in milliseconds, and how far off that may be.
    pub clock: Known<ClockFact>,
    /// File systems: path, bytes used, bytes free.
    pub disks: Known<Vec<(String, u64, u64)>>,
}

/// Who a server is, and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Family and version.
    pub version: Version,
    /// What tells it from any other.
    pub server: ServerIdentity,
}

/// What a server has executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// MySQL with GTIDs.
    MySql {
        /// `gtid_executed`.
        executed: GtidSet,
        /// `gtid_purged`.
        purged: GtidSet,
    },
    /// MariaDB.
    MariaDb {
        /// `gtid_binlog_state`: domain, server, sequence number.
        binlog_state: Vec<(u32, u32, u64)>,
        /// `gtid_slave_pos`, the same.
        replica_pos: Vec<(u32, u32, u64)>,
        /// What came before the oldest binlog file that is left; unknown if it cannot be read.
        purged: Known<Vec<(u32, u32, u64)>>,
    },
    /// MySQL without GTIDs: its own binlog's end.
    File(Option<FilePosition>),
}

impl Positions {
    /// Whether any of these transactions (a GTID or a list of them, as the server prints it) was not executed. `false`
    /// where positions are no GTIDs, and for what is none.
    #[must_use]
    pub fn lacks(&self, gtids: &str) -> bool {
        match self {
            Self::MySql { executed, .. } => {
                GtidSet::parse(gtids).is_ok_and(|transactions| !executed.contains(&transactions))
            }
            Self::MariaDb { binlog_state, .. } => {
                !gtids_beyond(&gtid_triples(gtids), binlog_state).is_empty()
            }
            Self::File(_) => false,
        }
    }

    /// Whether everything was executed that another server has executed; `None` where their positions cannot be compared.
    #[must_use]
    pub fn has_all_of(&self, other: &Self) -> Option<bool> {
        match (self, other) {
            (Self::MySql { executed, .. }, Self::MySql { executed: theirs, .. }) => {
                Some(executed.contains(theirs))
            }
            (
                Self::MariaDb { binlog_state, .. },
                Self::MariaDb {
                    binlog_state: theirs, ..
                },
            ) => Some(gtids_beyond(theirs, binlog_state).is_empty()),
            _ => None,
        }
    }
}

/// What one MariaDB state went beyond another one in.
#[must_use]
pub fn gtids_beyond(own: &[(u32, u32, u64)], theirs: &[(u32, u32, u64)]) -> Vec<(u32, u32, u64)> {
    own.iter()
        .filter(|(domain, server, number)| {
            !theirs
                .iter()
                .any(|(d, s, n)| (d, s) == (domain, server) && n >= number)
        })
        .copied()
        .collect()
}

/// MariaDB's `0-1-100,0-2-90`: domain, server, sequence number. What is none is left out.
#[must_use]
pub fn gtid_triples(list: &str) -> Vec<(u32, u32, u64)> {
    list.split(',')
        .filter_map(|part| {
            let mut fields = part.trim().split('-');
            Some((
                fields.next()?.parse().ok()?,
                fields.next()?.parse().ok()?,
                fields.next()?.parse().ok()?,
            ))
        })
        .collect()
}

/// Where read-only comes from at the next start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartUp {
    /// What is kept by `SET PERSIST`: name (lower case) and value. Empty where there is no such thing.
    pub persisted: BTreeMap<String, String>,
    /// For `read_only` and `super_read_only`: where the running value came from, in the server's words
    /// (`COMPILED`, `GLOBAL`, `DYNAMIC`; MariaDB `COMPILE-TIME`, `CONFIG`, `SQL`). Empty where the server does not say.
    pub origin: BTreeMap<String, String>,
}

/// Words that the server's account statements know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountWords {
    /// Privileges, upper case, spaces for underscores.
    pub privileges: Vec<String>,
    /// Active authentication plugins, lower case.
    pub plugins: Vec<String>,
}

/// A server's clock against the clock of bleen's machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockFact {
    /// Server minus bleen, in milliseconds.
    pub offset_ms: i64,
    /// Half the round trip in milliseconds: the offset may be off by as much.
    pub off_by_ms: i64,
    /// Whether `SYSDATE()` goes on within a statement; not where the server was started with `sysdate_is_now`.
    pub sysdate_moves: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_states() {
        assert_eq!(gtid_triples("0-1-100, 7-2-5"), [(0, 1, 100), (7, 2, 5)]);
        assert!(gtid_triples("").is_empty());
    }

    #[test]
    fn what_was_not_executed_is_lacking() {
        let maria = Positions::MariaDb {
            binlog_state: vec![(0, 1, 100)],
            replica_pos: Vec::new(),
            purged: Known::default(),
        };
        assert!(!maria.lacks("0-1-100") && maria.lacks("0-1-101") && maria.lacks("0-1-5,0-2-5"));
        let uuid = "ccfb2668-e789-11f1-86bb-02fc00000001";
        let mysql = Positions::MySql {
            executed: GtidSet::parse(&format!("{uuid}:1-5")).unwrap(),
            purged: GtidSet::default(),
        };
        assert!(!mysql.lacks(&format!("{uuid}:5")) && mysql.lacks(&format!("{uuid}:6")));
        assert!(!mysql.lacks("AUTOMATIC") && !Positions::File(None).lacks("0-1-1"));
    }
}
