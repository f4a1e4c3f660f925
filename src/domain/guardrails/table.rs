//! All guardrails there are, in one table, and how they are asked.

use std::collections::BTreeSet;

use super::checks;
use super::finding::{Finding, Scope, Waivers, stamp};
use super::survey::Survey;
use crate::domain::guardrail_ids::GuardrailId;

/// A group of facts that is read together. A survey reads what the scope's guardrails name, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Facet {
    /// [`super::facts::ServerFacts::identity`].
    Identity,
    /// `variables`.
    Variables,
    /// `status`.
    Status,
    /// `positions`.
    Positions,
    /// `binlogs`.
    Binlogs,
    /// `channels`.
    Channels,
    /// `replicas`.
    Replicas,
    /// `sessions`.
    Sessions,
    /// `transactions`: a view that is refreshed only if nobody read it for 0.1 s.
    Transactions,
    /// `session_limits`.
    SessionLimits,
    /// `xa_prepared`.
    XaPrepared,
    /// `privileged`.
    Privileged,
    /// `global_locks`.
    GlobalLocks,
    /// `schema_change_tools`.
    SchemaChangeTools,
    /// `events`.
    Events,
    /// `start_up`.
    StartUp,
    /// `rights`.
    Rights,
    /// `accounts`.
    Accounts,
    /// `account_words`.
    AccountWords,
    /// `schema`.
    Schema,
    /// `clock`.
    Clock,
    /// `disks`.
    Disks,
}

impl Facet {
    /// Whether it may take longer than a few milliseconds on a server with many objects, and changes so seldom that
    /// what was read some seconds ago will do right before the hold.
    #[must_use]
    pub const fn is_slow(self) -> bool {
        matches!(
            self,
            Self::Schema
                | Self::Accounts
                | Self::AccountWords
                | Self::SchemaChangeTools
                | Self::Disks
                | Self::Rights
        )
    }
}

/// A guardrail: its name, when it is asked, what it looks at, and the pure function that judges.
#[derive(Debug, Clone, Copy)]
pub struct Guardrail {
    /// Its name; says also whether it may be waived.
    pub id: GuardrailId,
    /// When it is asked.
    pub scopes: &'static [Scope],
    /// What it reads of each server. Some also look at a fact that others read, where it is there.
    pub reads: &'static [Facet],
    /// Judges. Always says something: what it found, or what it looked at.
    pub check: fn(&Survey) -> Vec<Finding>,
}

const D: &[Scope] = &[Scope::Doctor];
const H: &[Scope] = &[Scope::Hold];
const DP: &[Scope] = &[Scope::Doctor, Scope::Prepare];
const DH: &[Scope] = &[Scope::Doctor, Scope::Hold];
const DA: &[Scope] = &[Scope::Doctor, Scope::After];
const PH: &[Scope] = &[Scope::Prepare, Scope::Hold];
const DPH: &[Scope] = &[Scope::Doctor, Scope::Prepare, Scope::Hold];
const DPA: &[Scope] = &[Scope::Doctor, Scope::Prepare, Scope::After];
const PHA: &[Scope] = &[Scope::Prepare, Scope::Hold, Scope::After];
const DPHA: &[Scope] = &[Scope::Doctor, Scope::Prepare, Scope::Hold, Scope::After];

macro_rules! table {
    ($($id:ident, $scopes:expr, [$($facet:ident),*], $check:path;)*) => {
        /// Every guardrail that is asked of self-managed servers, sorted by id.
        pub const GUARDRAILS: &[Guardrail] = &[$(Guardrail {
            id: GuardrailId::$id,
            scopes: $scopes,
            reads: &[$(Facet::$facet),*],
            check: $check,
        }),*];
    };
}

table! {
    ACCOUNTS_DIFF, DPA, [Identity, Rights, Accounts, AccountWords], checks::accounts::accounts_diff;
    AUTO_INCREMENT, DA, [Schema, Positions], checks::tables::auto_increment;
    BACKUP_RUNNING, H, [Sessions, GlobalLocks], checks::activity::backup_running;
    BINLOG, DPH, [Identity, Variables], checks::binlog::binlog;
    CAPACITY, DP, [Identity, Variables, Status, Schema, Disks], checks::limits::capacity;
    CLOCK, D, [Clock], checks::identity::clock;
    COLD_CACHE, H, [], checks::plan::cold_cache;
    CONNECTIONS, H, [Variables, Status], checks::limits::connections;
    DATA_PROOF, H, [], checks::plan::data_proof;
    DDL_IN_FLIGHT, H, [Sessions, SchemaChangeTools], checks::activity::ddl_in_flight;
    DEADLINE, DH, [Clock], checks::plan::deadline;
    DEFINERS, DP, [Schema, Accounts], checks::objects::definers;
    DISK_SPACE, DPH, [Identity, Variables, Disks], checks::limits::disk_space;
    ENGINE, DP, [Schema], checks::tables::engine;
    ERRANT_TRANSACTIONS, DPHA, [Identity, Variables, Positions], checks::binlog::errant;
    EVENT_SCHEDULER, DPHA, [Identity, Variables, Events, Schema], checks::events::event_scheduler;
    EXTERNAL_REPLICAS, DP, [Identity, Replicas, Channels, Sessions], checks::replication::external_replicas;
    GTID, DP, [Identity, Variables, Positions], checks::binlog::gtid;
    IDENTITY, DPHA, [Identity], checks::identity::identity_check;
    LAG, H, [], checks::replication::lag;
    LONG_STATEMENTS, H, [Identity, Sessions], checks::activity::long_statements;
    LONG_TRANSACTIONS, H, [Sessions, Transactions], checks::activity::long_transactions;
    OTHER_AUTOMATION, D, [Variables, Sessions], checks::activity::other_automation;
    PRIVILEGED_WRITERS, DH, [Identity, Privileged], checks::privileged::privileged_writers;
    PRIVILEGES, DP, [Identity, Rights], checks::rights::privileges;
    PURGED, DP, [Positions, Binlogs, Channels], checks::binlog::purged;
    QUERY_PROOF, H, [], checks::plan::query_proof;
    REPLICATION_HEALTH, PH, [Identity, Variables, Channels], checks::replication::health;
    RESTART_WRITABLE, DPHA, [Identity, Variables, StartUp], checks::restart::restart_writable;
    RETENTION, DPH, [Variables], checks::binlog::retention;
    REVERSE_PATH, DPH, [Identity, Variables, Channels], checks::way_back::reverse_path;
    ROW_FORMAT_NO_KEY, DP, [Schema], checks::tables::no_key;
    RUN_LOCK, PHA, [], checks::plan::run_lock;
    SCHEMA_DIFF, DPH, [Identity, Schema], checks::schema::schema_diff;
    SEMI_SYNC, DH, [Variables, Status, Sessions], checks::replication::semi_sync;
    SERVER_ID_CLASH, DP, [Identity, Replicas], checks::identity::server_id_clash;
    THREAD_POOL, DH, [Variables], checks::limits::thread_pool;
    UPGRADE_ISSUES, DP, [Identity, Schema], checks::upgrade::upgrade_issues;
    VARIABLES_DIFF, DP, [Variables], checks::variables::variables_diff;
    VERSION_PATH, DP, [Identity], checks::identity::version_path;
    WAITER_TIMEOUTS, DH, [Variables, Status, Sessions, SessionLimits, Accounts], checks::limits::waiter_timeouts;
    XA_PREPARED, DH, [Identity, Status, Rights, XaPrepared], checks::activity::xa_prepared;
}

/// What a survey of this scope has to read.
#[must_use]
pub fn facets(scope: Scope) -> BTreeSet<Facet> {
    GUARDRAILS
        .iter()
        .filter(|g| g.scopes.contains(&scope))
        .flat_map(|g| g.reads.iter().copied())
        .collect()
}

/// Asks every guardrail of the survey's scope and returns all findings, sorted by id. Waivers are put on what may be
/// waived; nothing is left out because of them.
#[must_use]
pub fn examine(survey: &Survey, waivers: &Waivers) -> Vec<Finding> {
    let family = survey.blue.identity.value().map(|i| i.version.family);
    let mut all: Vec<Finding> = GUARDRAILS
        .iter()
        .filter(|g| g.scopes.contains(&survey.scope))
        .flat_map(|g| (g.check)(survey))
        .collect();
    for finding in &mut all {
        stamp(finding, family, waivers);
    }
    all.sort_by_key(|f| (f.id, std::cmp::Reverse(f.severity), f.side));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::guardrails::facts::ServerFacts;
    use crate::domain::guardrails::{Decision, Limits, PlanFacts, Severity, decide};

    #[test]
    fn the_table_is_sorted_and_names_each_once() {
        let ids: Vec<&str> = GUARDRAILS.iter().map(|g| g.id.as_str()).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(ids, sorted);
    }

    #[test]
    fn a_server_that_says_nothing_is_never_ok() {
        for scope in [Scope::Doctor, Scope::Prepare, Scope::Hold, Scope::After] {
            let survey = Survey {
                scope,
                blue: ServerFacts::default(),
                green: ServerFacts::default(),
                limits: Limits::default(),
                plan: PlanFacts::default(),
            };
            let findings = examine(&survey, &Waivers::new());
            for guardrail in GUARDRAILS.iter().filter(|g| g.scopes.contains(&scope)) {
                let own: Vec<_> = findings.iter().filter(|f| f.id == guardrail.id).collect();
                assert!(!own.is_empty(), "{} says nothing in {scope:?}", guardrail.id);
                assert!(
                    own.iter().all(|f| f.severity != Severity::Ok),
                    "{} is ok about nothing",
                    guardrail.id
                );
                assert!(
                    own.iter().all(|f| !f.remedy.is_empty()),
                    "{} gives no way out",
                    guardrail.id
                );
            }
            assert!(matches!(decide(&findings), Decision::NoGo(_)));
        }
    }
}
