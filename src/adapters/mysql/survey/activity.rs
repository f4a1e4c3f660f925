//! Reads what goes on at a server.

use super::{NOT_COMPARED, Surveyor, TRANSACTIONS_APART, Texts, number, optional, privileged, text};
use crate::adapters::mysql::error::ServerError;
use crate::domain::guardrails::Known;
use crate::domain::guardrails::facts::{
    EventFact, PrivilegedWriters, SessionFact, SessionKind, TransactionFact,
};
use crate::domain::server::Family;

impl Surveyor {
    pub(super) async fn sessions(&mut self) -> Known<Vec<SessionFact>> {
        let doing = "list the sessions";
        if self.caps.family() == Family::MySql && self.caps.connect_attributes {
            // Milliseconds and program names, without the lock that all sessions share. NESTING_EVENT_LEVEL is there
            // since 5.7; before that, and without SELECT on performance_schema, the old list has to do.
            let sql = "SELECT t.PROCESSLIST_ID, t.PROCESSLIST_USER, t.PROCESSLIST_HOST, t.PROCESSLIST_DB, \
                       t.PROCESSLIST_COMMAND, \
                       COALESCE(MAX(e.TIMER_WAIT) DIV 1000000000, t.PROCESSLIST_TIME * 1000), \
                       t.PROCESSLIST_STATE, LEFT(t.PROCESSLIST_INFO, 1000), MAX(a.ATTR_VALUE), t.NAME \
                       FROM performance_schema.threads t \
                       LEFT JOIN performance_schema.events_statements_current e \
                       ON e.THREAD_ID = t.THREAD_ID AND e.END_EVENT_ID IS NULL AND e.NESTING_EVENT_LEVEL = 0 \
                       LEFT JOIN performance_schema.session_connect_attrs a \
                       ON a.PROCESSLIST_ID = t.PROCESSLIST_ID AND a.ATTR_NAME = 'program_name' \
                       WHERE t.PROCESSLIST_ID IS NOT NULL \
                       GROUP BY t.THREAD_ID, t.PROCESSLIST_ID, t.PROCESSLIST_USER, t.PROCESSLIST_HOST, \
                       t.PROCESSLIST_DB, t.PROCESSLIST_COMMAND, t.PROCESSLIST_TIME, t.PROCESSLIST_STATE, \
                       t.PROCESSLIST_INFO, t.NAME";
            if let Ok(rows) = self.ask(doing, sql).await {
                return Known::Known(rows.iter().filter_map(|row| self.session_fact(row)).collect());
            }
        }
        if let Some(why) = self.lacks(&["PROCESS"]) {
            return Known::Unknown(why);
        }
        let age = match self.caps.family() {
            // TIME_MS of an idle session counts from its last statement, as TIME does.
            Family::MariaDb => "FLOOR(TIME_MS)",
            Family::MySql => "TIME * 1000",
        };
        let sql = format!(
            "SELECT ID, USER, HOST, DB, COMMAND, {age}, STATE, LEFT(INFO, 1000), NULL, NULL \
             FROM information_schema.PROCESSLIST"
        );
        let rows = self.ask(doing, &sql).await;
        Known::from(rows).map(|rows| rows.iter().filter_map(|row| self.session_fact(row)).collect())
    }

    fn session_fact(&self, row: &Texts) -> Option<SessionFact> {
        let id = number(row, 0)?;
        let (user, command, statement) = (text(row, 1), text(row, 4), text(row, 7));
        let program = optional(row, 8);
        let thread = text(row, 9);
        let of_replication = user == "system user"
            || command.starts_with("Binlog Dump")
            || command.starts_with("Slave_")
            || thread.starts_with("thread/sql/replica")
            || thread.starts_with("thread/sql/slave");
        // Where no attributes are shown, an idle session of bleen's account is taken for one of its own: they have no
        // text that would tell.
        let idle_and_own = !self.caps.connect_attributes
            && command == "Sleep"
            && self
                .rights
                .value()
                .is_some_and(|r| r.account.split('@').next() == Some(user.as_str()));
        let kind = if self.own.contains(&id)
            || idle_and_own
            || program.as_deref() == Some("bleen")
            || statement.starts_with("/* bleen ")
        {
            SessionKind::Own
        } else if of_replication {
            SessionKind::Replication
        } else if user == "event_scheduler"
            || command == "Daemon"
            || (user.is_empty() && thread != "thread/sql/one_connection")
        {
            SessionKind::System
        } else {
            SessionKind::Client
        };
        Some(SessionFact {
            id,
            user,
            host: text(row, 2),
            schema: optional(row, 3),
            command,
            // MariaDB shows a session that has just connected with a huge age.
            age_ms: number::<f64>(row, 5)
                .filter(|ms| *ms >= 0.0 && *ms < 4e12)
                .map_or(0, |ms| ms as u64),
            state: text(row, 6),
            text: statement,
            program,
            kind,
        })
    }

    pub(super) async fn transactions(&mut self) -> Known<Vec<TransactionFact>> {
        if let Some(why) = self.lacks(&["PROCESS"]) {
            return Known::Unknown(why);
        }
        if let Some(read) = self.transactions_read {
            tokio::time::sleep(TRANSACTIONS_APART.saturating_sub(read.elapsed())).await;
        }
        // trx_started is in the time zone of the server's machine, whatever the session's is (tried on 5.6, 9.7, 11.8).
        let sql = "SELECT trx_mysql_thread_id, \
                   TIMESTAMPDIFF(MICROSECOND, CONVERT_TZ(trx_started, 'SYSTEM', '+00:00'), SYSDATE(6)) DIV 1000, \
                   trx_rows_modified, trx_state FROM information_schema.INNODB_TRX";
        let rows = self.ask("list the open transactions", sql).await;
        self.transactions_read = Some(std::time::Instant::now());
        Known::from(rows).map(|rows| {
            rows.iter()
                .map(|row| TransactionFact {
                    session: number(row, 0).unwrap_or(0),
                    age_ms: number::<i64>(row, 1)
                        .and_then(|ms| ms.try_into().ok())
                        .unwrap_or(0),
                    changed_rows: number(row, 2).unwrap_or(0),
                    state: text(row, 3),
                })
                .collect()
        })
    }

    pub(super) async fn session_limits(&mut self) -> Known<Vec<(u64, String, String)>> {
        if self.caps.family() == Family::MariaDb || !self.caps.metadata_locks {
            return Known::Unknown(
                "this server does not show what other sessions set for themselves".to_owned(),
            );
        }
        let sql = "SELECT t.PROCESSLIST_ID, v.VARIABLE_NAME, v.VARIABLE_VALUE \
                   FROM performance_schema.variables_by_thread v \
                   JOIN performance_schema.threads t ON t.THREAD_ID = v.THREAD_ID \
                   WHERE v.VARIABLE_NAME IN ('lock_wait_timeout', 'innodb_lock_wait_timeout', 'max_execution_time') \
                   AND t.PROCESSLIST_ID IS NOT NULL AND t.PROCESSLIST_USER <> SUBSTRING_INDEX(USER(), '@', 1)";
        let rows = self.ask("read the sessions' own limits", sql).await;
        Known::from(rows).map(|rows| {
            rows.iter()
                .filter_map(|row| Some((number(row, 0)?, text(row, 1), text(row, 2))))
                .filter(|(id, ..)| !self.own.contains(id))
                .collect()
        })
    }

    pub(super) async fn xa_prepared(&mut self) -> Result<Vec<String>, ServerError> {
        let rows = self
            .ask("list the prepared XA transactions", "XA RECOVER")
            .await?;
        Ok(rows
            .iter()
            .map(|row| {
                // Global id and branch stand in one column, one behind the other.
                let (whole, global) = (text(row, 3), number::<usize>(row, 1).unwrap_or(0));
                match (whole.get(..global), whole.get(global..)) {
                    (Some(global), Some(branch)) if !branch.is_empty() => {
                        format!("`{global}`, branch `{branch}`")
                    }
                    _ => format!("`{whole}`"),
                }
            })
            .collect())
    }

    pub(super) async fn privileged(&mut self) -> Known<PrivilegedWriters> {
        if !privileged::sealed_for_all(&self.caps.version)
            && let Some(why) = self.lacks(&["PROCESS", "SELECT"])
        {
            return Known::Unknown(why);
        }
        privileged::read(&mut self.session, &self.caps.version, &self.own, self.budget)
            .await
            .into()
    }

    pub(super) async fn global_locks(&mut self) -> Known<Vec<(u64, String)>> {
        let doing = "list backup locks and global read locks";
        let rows = match self.caps.family() {
            Family::MySql if !self.caps.metadata_locks => {
                return Known::Unknown("this server does not show read locks".to_owned());
            }
            Family::MySql => {
                let sql = "SELECT t.PROCESSLIST_ID, l.OBJECT_TYPE FROM performance_schema.metadata_locks l \
                           JOIN performance_schema.threads t ON t.THREAD_ID = l.OWNER_THREAD_ID \
                           WHERE l.OBJECT_TYPE IN ('BACKUP LOCK', 'GLOBAL') AND l.LOCK_TYPE = 'SHARED' \
                           AND l.LOCK_STATUS = 'GRANTED' AND t.PROCESSLIST_ID IS NOT NULL";
                self.ask(doing, sql).await
            }
            Family::MariaDb => {
                let sql = "SELECT THREAD_ID, LOCK_MODE FROM information_schema.METADATA_LOCK_INFO \
                           WHERE LOCK_MODE LIKE 'MDL\\_BACKUP\\_%' AND LOCK_MODE NOT IN ('MDL_BACKUP_DML', \
                           'MDL_BACKUP_TRANS_DML', 'MDL_BACKUP_SYS_DML', 'MDL_BACKUP_DDL', 'MDL_BACKUP_COMMIT', \
                           'MDL_BACKUP_ALTER_COPY')";
                self.ask(doing, sql).await
            }
        };
        Known::from(rows).map(|rows| {
            rows.iter()
                .filter_map(|row| Some((number(row, 0)?, text(row, 1))))
                .filter(|(id, _)| !self.own.contains(id))
                .map(|(id, what)| match what.as_str() {
                    "BACKUP LOCK" => (id, "the backup lock".to_owned()),
                    "GLOBAL" => (id, "a global read lock".to_owned()),
                    other => (id, other.to_owned()),
                })
                .collect()
        })
    }

    pub(super) async fn schema_change_tools(&mut self) -> Known<Vec<String>> {
        if let Some(why) = self.lacks(&["SELECT", "TRIGGER"]) {
            return Known::Unknown(why);
        }
        // gh-ost's and spirit's tables, Vitess's, and the triggers of pt-online-schema-change.
        let sql = format!(
            "SELECT CONCAT('table ', TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA NOT IN {NOT_COMPARED} \
             AND TABLE_NAME REGEXP '^_.*_(gho|ghc|ghk|chkpnt|vrepl)$' \
             UNION ALL SELECT CONCAT('trigger ', TRIGGER_SCHEMA, '.', TRIGGER_NAME) \
             FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA NOT IN {NOT_COMPARED} \
             AND TRIGGER_NAME REGEXP '^pt_osc_'"
        );
        let rows = self.ask("look for online schema changes", &sql).await;
        Known::from(rows).map(|rows| rows.iter().map(|row| text(row, 0)).collect())
    }

    pub(super) async fn events(&mut self) -> Known<Vec<EventFact>> {
        if let Some(why) = self.lacks(&["EVENT"]) {
            return Known::Unknown(why);
        }
        let sql = "SELECT CONCAT(EVENT_SCHEMA, '.', EVENT_NAME), STATUS, DEFINER FROM information_schema.EVENTS \
                   WHERE EVENT_SCHEMA NOT IN ('mysql', 'sys')";
        let rows = self.ask("list the events", sql).await;
        Known::from(rows).map(|rows| {
            rows.iter()
                .map(|row| EventFact {
                    name: text(row, 0),
                    enabled: text(row, 1) == "ENABLED",
                    status: text(row, 1),
                    definer: text(row, 2),
                })
                .collect()
        })
    }
}
