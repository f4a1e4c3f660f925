//! Reads who a server is, what it is set to and what it has executed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Surveyor, Texts, number, optional, text};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::replication::status;
use crate::adapters::mysql::session::Session;
use crate::adapters::mysql::{binlog_read, capabilities, identity, sql};
use crate::domain::capabilities::{Capabilities, PositionKind, Words};
use crate::domain::guardrails::facts::READER_HOST;
use crate::domain::guardrails::facts::{
    ClockFact, Identity, Positions, ReplicaFact, Rights, StartUp, gtid_triples,
};
use crate::domain::guardrails::{Known, Scope};
use crate::domain::position::{FilePosition, GtidSet};
use crate::domain::replication::ReplicaStatus;
use crate::domain::server::Family;

/// The settings that are asked for right before the hold, where reading all six hundred takes too long. A test on real
/// servers compares what the guardrails of that scope find with these and with all settings.
const HOLD_VARIABLES: &[&str] = &[
    "binlog_do_db",
    "binlog_expire_logs_auto_purge",
    "binlog_expire_logs_seconds",
    "binlog_format",
    "binlog_ignore_db",
    "binlog_row_image",
    "binlog_row_value_options",
    "binlog_transaction_compression",
    "event_scheduler",
    "expire_logs_days",
    "gtid_mode",
    "innodb_lock_wait_timeout",
    "innodb_read_only",
    "lock_wait_timeout",
    "log_bin",
    "log_replica_updates",
    "log_slave_updates",
    "max_binlog_total_size",
    "max_connections",
    "max_execution_time",
    "max_statement_time",
    "persisted_globals_load",
    "read_only",
    "replica_exec_mode",
    "replica_skip_errors",
    "rpl_semi_sync_master_enabled",
    "rpl_semi_sync_master_timeout",
    "rpl_semi_sync_source_enabled",
    "rpl_semi_sync_source_timeout",
    "slave_exec_mode",
    "slave_skip_errors",
    "super_read_only",
    "thread_handling",
    "thread_pool_max_threads",
];

impl Surveyor {
    pub(super) async fn identity(&mut self) -> Result<Identity, ServerError> {
        Ok(Identity {
            version: self.caps.version.clone(),
            server: identity::read(&mut self.session, self.caps.family(), self.budget).await?,
        })
    }

    pub(super) async fn variables(&mut self, scope: Scope) -> Result<BTreeMap<String, String>, ServerError> {
        let mut all = if scope == Scope::Hold {
            capabilities::variables(&mut self.session, HOLD_VARIABLES, self.budget).await?
        } else {
            names_and_values(&self.ask("read the settings", "SHOW GLOBAL VARIABLES").await?)
        };
        // The binlog's filters are options, not settings; the binlog status shows them.
        let status = self
            .ask("read the binlog's filters", sql::binlog_status(&self.caps))
            .await;
        if let Some(row) = status.ok().as_ref().and_then(|rows| rows.first()) {
            all.entry("binlog_do_db".into()).or_insert_with(|| text(row, 2));
            all.entry("binlog_ignore_db".into())
                .or_insert_with(|| text(row, 3));
        }
        Ok(all)
    }

    pub(super) async fn status(&mut self) -> Result<BTreeMap<String, String>, ServerError> {
        let rows = self
            .ask(
                "read the counters",
                "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', 'Threads_running', \
                 'Max_used_connections', 'Innodb_buffer_pool_bytes_data', 'Uptime', 'Com_xa_start', 'Com_xa_prepare') \
                 OR Variable_name LIKE 'Rpl_semi_sync%'",
            )
            .await?;
        Ok(names_and_values(&rows))
    }

    pub(super) async fn positions(&mut self, with_purged: bool) -> Result<Positions, ServerError> {
        let doing = "read what was executed";
        match self.caps.position_kind() {
            PositionKind::GtidSet => {
                let rows = self
                    .ask(doing, "SELECT @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged")
                    .await?;
                let row = rows.first().cloned().unwrap_or_default();
                let set = |at| {
                    GtidSet::parse(&text(&row, at))
                        .map_err(|e| self.session.unexpected(doing, &e.to_string()))
                };
                Ok(Positions::MySql {
                    executed: set(0)?,
                    purged: set(1)?,
                })
            }
            PositionKind::GtidList => {
                let rows = self
                    .ask(
                        doing,
                        "SELECT @@GLOBAL.gtid_binlog_state, @@GLOBAL.gtid_slave_pos",
                    )
                    .await?;
                let row = rows.first().cloned().unwrap_or_default();
                let purged = if with_purged {
                    self.purged_list().await.into()
                } else {
                    Known::default()
                };
                Ok(Positions::MariaDb {
                    binlog_state: gtid_triples(&text(&row, 0)),
                    replica_pos: gtid_triples(&text(&row, 1)),
                    purged,
                })
            }
            PositionKind::File => {
                let rows = self.ask(doing, sql::binlog_status(&self.caps)).await?;
                Ok(Positions::File(rows.first().and_then(|row| {
                    Some(FilePosition {
                        file: optional(row, 0)?,
                        offset: number(row, 1)?,
                    })
                })))
            }
        }
    }

    /// What came before MariaDB's oldest binlog file: its first events say it.
    async fn purged_list(&mut self) -> Result<Vec<(u32, u32, u64)>, ServerError> {
        let doing = "read what was purged";
        let files = binlog_read::files(&mut self.session, doing, self.budget).await?;
        let Some(first) = files.first() else {
            return Ok(Vec::new());
        };
        match binlog_read::gtids_before(&mut self.session, doing, first, self.budget).await? {
            Some(list) => Ok(gtid_triples(&list)),
            None => Err(self
                .session
                .unexpected(doing, &format!("{first} without a list of GTIDs"))),
        }
    }

    pub(super) async fn binlogs(&mut self) -> Result<Vec<(String, u64)>, ServerError> {
        let rows = self.ask("list the binlogs", "SHOW BINARY LOGS").await?;
        Ok(rows
            .iter()
            .map(|row| (text(row, 0), number(row, 1).unwrap_or(0)))
            .collect())
    }

    pub(super) async fn channels(&mut self) -> Result<Vec<ReplicaStatus>, ServerError> {
        status::read(&mut self.session, &self.caps, self.budget).await
    }

    pub(super) async fn replicas(&mut self) -> Result<Vec<ReplicaFact>, ServerError> {
        let doing = "list the replicas";
        // Old MySQL sends a row with a field too few for a replica without a uuid (MariaDB, CDC readers; seen on
        // 5.6.24), at which the driver gives the session up. Its readers are counted by their sessions.
        if self.caps.family() == Family::MySql && self.caps.replica == Words::Old {
            let list = |program: &str, from: &str| {
                format!(
                    "SELECT p.USER, p.HOST, {program} FROM information_schema.PROCESSLIST p {from} \
                     WHERE p.COMMAND LIKE 'Binlog Dump%'"
                )
            };
            let with_programs = list(
                "a.ATTR_VALUE",
                "LEFT JOIN performance_schema.session_connect_attrs a \
                 ON a.PROCESSLIST_ID = p.ID AND a.ATTR_NAME = 'program_name'",
            );
            let rows = match self.ask(doing, &with_programs).await {
                // Without SELECT on performance_schema.
                Err(e) if e.code().is_some() => self.ask(doing, &list("NULL", "")).await?,
                rows => rows?,
            };
            return Ok(rows
                .iter()
                .map(|row| ReplicaFact {
                    server_id: None,
                    uuid: None,
                    reported: match text(row, 2).as_str() {
                        "bleen" => READER_HOST.to_owned(),
                        _ => format!("{}@{}", text(row, 0), text(row, 1)),
                    },
                })
                .collect());
        }
        // MariaDB says REPLICA since 10.5, but SHOW REPLICAS is MySQL's alone.
        let sql = match self.caps.family() {
            Family::MySql => "SHOW REPLICAS",
            Family::MariaDb => "SHOW SLAVE HOSTS",
        };
        let rows = self.ask(doing, sql).await?;
        Ok(rows
            .iter()
            .map(|row| ReplicaFact {
                server_id: number(row, 0),
                reported: format!("{}:{}", text(row, 1), text(row, 2))
                    .trim_matches(':')
                    .to_owned(),
                uuid: optional(row, 4).filter(|u| !u.is_empty()),
            })
            .collect())
    }

    pub(super) async fn start_up(&mut self) -> Result<StartUp, ServerError> {
        let doing = "read where read-only comes from";
        let mut out = StartUp::default();
        match self.caps.family() {
            Family::MySql if self.caps.persist => {
                let persisted = "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.persisted_variables \
                                 WHERE VARIABLE_NAME IN ('read_only', 'super_read_only')";
                out.persisted = names_and_values(&self.ask(doing, persisted).await?);
                let origin = "SELECT VARIABLE_NAME, VARIABLE_SOURCE FROM performance_schema.variables_info \
                              WHERE VARIABLE_NAME IN ('read_only', 'super_read_only')";
                out.origin = names_and_values(&self.ask(doing, origin).await?);
            }
            Family::MySql => {}
            Family::MariaDb => {
                let origin = "SELECT VARIABLE_NAME, GLOBAL_VALUE_ORIGIN FROM information_schema.SYSTEM_VARIABLES \
                              WHERE VARIABLE_NAME = 'READ_ONLY'";
                out.origin = names_and_values(&self.ask(doing, origin).await?);
            }
        }
        Ok(out)
    }

    pub(super) async fn read_rights(&mut self) -> Result<Rights, ServerError> {
        own_rights(&mut self.session, &self.caps, self.budget).await
    }

    pub(super) async fn clock(&mut self) -> Result<ClockFact, ServerError> {
        let doing = "read the clock";
        let (started, before) = (Instant::now(), SystemTime::now());
        let rows = self
            .ask(doing, "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000 AS SIGNED)")
            .await?;
        let off_by_ms = i64::try_from(started.elapsed().as_millis() / 2 + 1).unwrap_or(i64::MAX);
        let server: i64 = rows
            .first()
            .and_then(|row| number(row, 0))
            .ok_or_else(|| self.session.unexpected(doing, "no number"))?;
        let here = before.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let here = i64::try_from(here).unwrap_or(i64::MAX).saturating_add(off_by_ms);
        let moves = self
            .ask(doing, "SELECT SLEEP(0.002), SYSDATE(6) > NOW(6)")
            .await?;
        Ok(ClockFact {
            sysdate_moves: moves.first().is_some_and(|row| text(row, 1) == "1"),
            offset_ms: server.saturating_sub(here),
            off_by_ms,
        })
    }

    pub(super) async fn disks(&mut self) -> Known<Vec<(String, u64, u64)>> {
        if self.caps.family() == Family::MySql {
            return Known::Unknown("MySQL does not say how much of its disk is free".to_owned());
        }
        let rows = self
            .ask(
                "read the disks",
                "SELECT Path, Used, Available FROM information_schema.DISKS",
            )
            .await;
        Known::from(rows).map(|rows| {
            let kib = |row: &Texts, at| number::<u64>(row, at).unwrap_or(0).saturating_mul(1024);
            rows.iter()
                .map(|row| (text(row, 0), kib(row, 1), kib(row, 2)))
                .collect()
        })
    }
}

/// What the session's own account may do, also through the roles that are active in it.
///
/// # Errors
/// Any [`super::super::error::Cause`].
pub async fn own_rights(
    session: &mut Session,
    caps: &Capabilities,
    budget: Duration,
) -> Result<Rights, ServerError> {
    let doing = "read bleen's own rights";
    let (me,): (String,) = session.one(doing, "SELECT CURRENT_USER()", budget).await?;
    let mut lines: Vec<String> = session.rows(doing, "SHOW GRANTS", budget).await?;
    // MariaDB shows the active role's grants along with the account's; MySQL wants the roles named.
    if caps.version.is_mysql_from((8, 0, 0)) {
        let (roles,): (String,) = session.one(doing, "SELECT CURRENT_ROLE()", budget).await?;
        if roles != "NONE" {
            let with_roles = format!("SHOW GRANTS FOR CURRENT_USER() USING {roles}");
            lines = session.rows(doing, &with_roles, budget).await?;
        }
    }
    Ok(Rights::parse(&me, &lines))
}

fn names_and_values(rows: &[Texts]) -> BTreeMap<String, String> {
    rows.iter()
        .map(|row| (text(row, 0).to_ascii_lowercase(), text(row, 1)))
        .collect()
}
