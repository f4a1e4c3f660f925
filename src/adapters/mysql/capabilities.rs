//! Finds out what a server can do by asking it, changing nothing.
//!
//! A statement's words are probed with `PREPARE`, which parses and does not execute: a server that does not know the
//! words answers 1064, one that knows them but cannot prepare them 1295. A function that does not exist is a syntax
//! matter too (1305, or 1046 and 1630 on the way there). Variables are looked up by name.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::ServerError;
use super::quote;
use super::session::Session;
use crate::domain::capabilities::{Capabilities, GtidWait, ProcessList, StatementLimit, Words};
use crate::domain::server::{Family, Version};

/// The variables whose presence or value decides something.
const VARIABLES: [&str; 9] = [
    "gtid_mode",
    "gtid_slave_pos",
    "super_read_only",
    "persisted_globals_load",
    "log_replica_updates",
    "log_slave_updates",
    "max_execution_time",
    "max_statement_time",
    "performance_schema",
];

/// Probes one server.
///
/// # Errors
/// Whatever a statement answered that is not "I do not know these words": no answer within `budget` (for each of
/// about fifteen statements), a lost connection, a refused right.
pub async fn probe(session: &mut Session, budget: Duration) -> Result<Capabilities, ServerError> {
    let doing = "find out what the server can do";
    let (version, comment): (String, String) = session
        .one(doing, "SELECT @@version, @@version_comment", budget)
        .await?;
    let version = Version::parse(&version, &comment);
    let variables = variables(session, &VARIABLES, budget).await?;
    let has = |name: &str| variables.contains_key(name);
    let is_on = |name: &str| {
        variables
            .get(name)
            .is_some_and(|v| matches!(v.to_ascii_uppercase().as_str(), "ON" | "1"))
    };
    let mut knows = Probe { session, budget };

    let gtid_wait = if version.family == Family::MariaDb && has("gtid_slave_pos") {
        Some(GtidWait::MariaDb)
    } else if !is_on("gtid_mode") {
        None
    } else if knows.words("SELECT WAIT_FOR_EXECUTED_GTID_SET('', 0)").await? {
        Some(GtidWait::ExecutedGtidSet)
    } else {
        Some(GtidWait::SqlThreadAfterGtids)
    };
    let persist = knows.words("SET PERSIST max_connections = 1000").await?;
    let performance_schema = is_on("performance_schema");
    Ok(Capabilities {
        gtid: gtid_wait.is_some(),
        replica: knows.newer("START REPLICA").await?,
        change_source: knows
            .newer("CHANGE REPLICATION SOURCE TO SOURCE_CONNECT_RETRY = 1")
            .await?,
        binlog_status: knows.newer("SHOW BINARY LOG STATUS").await?,
        replica_variables: newer(has("log_replica_updates")),
        super_read_only: has("super_read_only"),
        persist,
        persisted_globals_load: persist && is_on("persisted_globals_load"),
        process_list: if performance_schema && knows.table("performance_schema.processlist").await? {
            ProcessList::PerformanceSchema
        } else {
            ProcessList::InformationSchema
        },
        gtid_wait,
        file_wait: knows.newer("SELECT SOURCE_POS_WAIT('', 4, 1)").await?,
        statement_limit: match version.family {
            Family::MariaDb if has("max_statement_time") => StatementLimit::MaxStatementTime,
            _ if has("max_execution_time") => StatementLimit::MaxExecutionTime,
            _ => StatementLimit::None,
        },
        set_statement: knows
            .words("SET STATEMENT lock_wait_timeout = 1 FOR SELECT 1")
            .await?,
        get_source_public_key: knows
            .words("CHANGE REPLICATION SOURCE TO GET_SOURCE_PUBLIC_KEY = 1")
            .await?
            || knows.words("CHANGE MASTER TO GET_MASTER_PUBLIC_KEY = 1").await?,
        performance_schema,
        worker_status: performance_schema
            && knows
                .table("performance_schema.replication_applier_status_by_worker")
                .await?,
        connect_attributes: performance_schema
            && knows.table("performance_schema.session_connect_attrs").await?,
        metadata_locks: performance_schema && knows.table("performance_schema.metadata_locks").await?,
        version,
    })
}

/// Global variables by name; those that the server does not have are missing from the answer.
///
/// # Errors
/// Any [`super::error::Cause`].
pub async fn variables(
    session: &mut Session,
    names: &[&str],
    budget: Duration,
) -> Result<BTreeMap<String, String>, ServerError> {
    let names: Vec<String> = names.iter().map(|n| quote::text(n)).collect();
    let sql = format!(
        "SHOW GLOBAL VARIABLES WHERE Variable_name IN ({})",
        names.join(", ")
    );
    let rows: Vec<(String, Option<String>)> =
        session.rows("read the server's variables", &sql, budget).await?;
    Ok(rows
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.unwrap_or_default()))
        .collect())
}

fn newer(known: bool) -> Words {
    if known { Words::New } else { Words::Old }
}

struct Probe<'a> {
    session: &'a mut Session,
    budget: Duration,
}

impl Probe<'_> {
    /// Whether the server can parse this statement and resolve its functions. Nothing is executed.
    async fn words(&mut self, sql: &str) -> Result<bool, ServerError> {
        let doing = "find out which statements the server knows";
        let prepare = format!("PREPARE bleen_probe FROM {}", quote::text(sql));
        match self.session.run(doing, &prepare, self.budget).await {
            Ok(()) => {
                let drop = "DEALLOCATE PREPARE bleen_probe";
                self.session.run(doing, drop, self.budget).await?;
                Ok(true)
            }
            Err(e) => match e.code() {
                // Known, but not to be prepared.
                Some(1295) => Ok(true),
                // Syntax; unknown function, variable or option.
                Some(1064 | 1046 | 1128 | 1193 | 1305 | 1630) => Ok(false),
                _ => Err(e),
            },
        }
    }

    async fn newer(&mut self, sql: &str) -> Result<Words, ServerError> {
        Ok(newer(self.words(sql).await?))
    }

    /// Whether a table is there and may be read.
    async fn table(&mut self, name: &'static str) -> Result<bool, ServerError> {
        let doing = "find out which tables the server has";
        let sql = format!("SELECT 1 FROM {name} LIMIT 0");
        match self.session.run(doing, &sql, self.budget).await {
            Ok(()) => Ok(true),
            Err(e) => match e.code() {
                // No such table, no such schema, or no right to read it.
                Some(1146 | 1049 | 1109 | 1142 | 1044 | 1227) => Ok(false),
                _ => Err(e),
            },
        }
    }
}
