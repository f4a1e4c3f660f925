//! The names of all guardrails, as data: what a playbook may waive and what a finding may be called.
//!
//! An id, once shipped, never changes its meaning. This file knows nothing of how a guardrail looks at a server.

use std::fmt;

use serde::Serialize;

/// Whether a playbook may go on over a *stop* of a guardrail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Waivable {
    /// A playbook may waive it; the finding stays on screen as a warning.
    Yes,
    /// Never: going on would lose a write, leave two writable sides, or could not work at all.
    No,
    /// On MySQL only. On MariaDB what the guardrail finds would write through the seal.
    NotOnMariaDb,
}

/// The name of a guardrail, one of [`ALL`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct GuardrailId(&'static str);

impl GuardrailId {
    /// Finds the guardrail of this name, or nothing if there is none.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        ALL.iter().map(|(id, _)| *id).find(|id| id.0 == name)
    }

    /// Returns the name as it is written in playbooks, findings and the journal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// Whether what it finds right before the hold usually goes away by itself, so that waiting for it makes sense.
    #[must_use]
    pub fn may_pass(self) -> bool {
        [
            Self::BACKUP_RUNNING,
            Self::CONNECTIONS,
            Self::DATA_PROOF,
            Self::DDL_IN_FLIGHT,
            Self::LAG,
            Self::LONG_STATEMENTS,
            Self::LONG_TRANSACTIONS,
            Self::REPLICATION_HEALTH,
            Self::SEMI_SYNC,
            Self::XA_PREPARED,
        ]
        .contains(&self)
    }

    /// Says whether a playbook may waive this guardrail.
    #[must_use]
    pub fn waivable(self) -> Waivable {
        ALL.iter()
            .find(|(id, _)| *id == self)
            .map_or(Waivable::No, |(_, waivable)| *waivable)
    }
}

impl fmt::Display for GuardrailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for GuardrailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

macro_rules! guardrails {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $waivable:ident;)*) => {
        impl GuardrailId {
            $($(#[$doc])* pub const $name: Self = Self($id);)*
        }

        /// Every guardrail with whether it may be waived, sorted by id.
        pub const ALL: &[(GuardrailId, Waivable)] =
            &[$((GuardrailId::$name, Waivable::$waivable)),*];
    };
}

guardrails! {
    /// Accounts, roles, grants or authentication plugins are missing on green.
    ACCOUNTS_DIFF = "accounts-diff", Yes;
    /// The next generated key on green would be below blue's.
    AUTO_INCREMENT = "auto-increment", Yes;
    /// A clone, backup or dump is at work on either side.
    BACKUP_RUNNING = "backup-running", Yes;
    /// A side writes no binlog, or not in the form that replication and the proof need.
    BINLOG = "binlog", No;
    /// Green has less disk, memory or connections than blue uses.
    CAPACITY = "capacity", Yes;
    /// The servers' clocks are apart.
    CLOCK = "clock", Yes;
    /// Green's buffer pool has not seen blue's reads.
    COLD_CACHE = "cold-cache", Yes;
    /// No spare connection for bleen.
    CONNECTIONS = "connections", No;
    /// A range of rows is unproved, different or too dirty. What the proof claims cannot be waived.
    DATA_PROOF = "data-proof", No;
    /// DDL or an online schema change is at work.
    DDL_IN_FLIGHT = "ddl-in-flight", Yes;
    /// The deadline is under what the last drill needed.
    DEADLINE = "deadline", Yes;
    /// A definer does not exist on green.
    DEFINERS = "definers", Yes;
    /// A managed member is not available.
    DEPLOYMENT_STATE = "deployment-state", No;
    /// Relay logs, binlogs or a copy would fill a disk.
    DISK_SPACE = "disk-space", Yes;
    /// A route by DNS lives too long in caches.
    DNS_TTL = "dns-ttl", Yes;
    /// Tables whose engine has no transactions.
    ENGINE = "engine", Yes;
    /// Green executed what blue did not: unsealing could never again be shown to be safe.
    ERRANT_TRANSACTIONS = "errant-transactions", No;
    /// Events would run on both sides, or on neither.
    EVENT_SCHEDULER = "event-scheduler", Yes;
    /// Blue has replicas or readers of its binlog that nobody plans to move.
    EXTERNAL_REPLICAS = "external-replicas", Yes;
    /// The GTID settings of the two sides do not fit together.
    GTID = "gtid", No;
    /// Blue and green are the same server, or not the ones of the plan.
    IDENTITY = "identity", No;
    /// Lag is over the limit. The limit is a setting: change it there.
    LAG = "lag", No;
    /// A statement runs that would make the hold wait.
    LONG_STATEMENTS = "long-statements", Yes;
    /// A transaction is older or larger than the limit.
    LONG_TRANSACTIONS = "long-transactions", Yes;
    /// The managed service keeps the password itself and refuses the deployment.
    MANAGED_PASSWORD = "managed-password", No;
    /// Another tool reacts to a read-only blue.
    OTHER_AUTOMATION = "other-automation", Yes;
    /// Accounts that write through read-only have sessions.
    PRIVILEGED_WRITERS = "privileged-writers", NotOnMariaDb;
    /// bleen's account lacks a right that a later step needs.
    PRIVILEGES = "privileges", No;
    /// Green needs transactions that blue has purged.
    PURGED = "purged", No;
    /// A gate query differs, fails or is too slow on green.
    QUERY_PROOF = "query-proof", Yes;
    /// Replication to green is stopped, filtered, delayed or failing.
    REPLICATION_HEALTH = "replication-health", No;
    /// A restart would come back writable.
    RESTART_WRITABLE = "restart-writable", Yes;
    /// Binlogs may be purged before the soak ends.
    RETENTION = "retention", Yes;
    /// Blue could not follow green afterwards.
    REVERSE_PATH = "reverse-path", Yes;
    /// A route cannot be reached or would send writes to both.
    ROUTE = "route", No;
    /// Tables without a primary or unique key.
    ROW_FORMAT_NO_KEY = "row-format-no-key", Yes;
    /// Another run holds the pair.
    RUN_LOCK = "run-lock", No;
    /// Schemas differ in a way that replication does not need.
    SCHEMA_DIFF = "schema-diff", Yes;
    /// Sessions wait for a semi-synchronous acknowledgement: the fence could wait for ever.
    SEMI_SYNC = "semi-sync", No;
    /// Both sides call themselves by the same server id.
    SERVER_ID_CLASH = "server-id-clash", No;
    /// Too few threads in the pool: the server could not free the hold.
    THREAD_POOL = "thread-pool", No;
    /// What the vendor's upgrade checks would find.
    UPGRADE_ISSUES = "upgrade-issues", Yes;
    /// Settings that change results or writes differ.
    VARIABLES_DIFF = "variables-diff", Yes;
    /// Green is older than blue, or the jump is not one that the vendor supports.
    VERSION_PATH = "version-path", Yes;
    /// Statements held for the deadline would fail by their own limits.
    WAITER_TIMEOUTS = "waiter-timeouts", Yes;
    /// Prepared XA transactions: their commit goes through the seal and would be lost.
    XA_PREPARED = "xa-prepared", No;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_sorted() {
        let names: Vec<_> = ALL.iter().map(|(id, _)| id.as_str()).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
    }

    #[test]
    fn what_loses_writes_is_never_waivable() {
        for id in [
            GuardrailId::XA_PREPARED,
            GuardrailId::THREAD_POOL,
            GuardrailId::IDENTITY,
        ] {
            assert_eq!(id.waivable(), Waivable::No, "{id}");
        }
        assert_eq!(GuardrailId::PRIVILEGED_WRITERS.waivable(), Waivable::NotOnMariaDb);
        assert_eq!(GuardrailId::find("xa-prepared"), Some(GuardrailId::XA_PREPARED));
        assert_eq!(GuardrailId::find("xa-prepare"), None);
    }
}
