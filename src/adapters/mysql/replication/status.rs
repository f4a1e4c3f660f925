//! Reads how a replica stands, whatever its server calls the columns.

use std::time::Duration;

use mysql_async::Row;

use crate::adapters::mysql::columns::{either, number, text};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::position_read::{gtid_list, gtid_set};
use crate::adapters::mysql::session::Session;
use crate::adapters::mysql::sql;
use crate::domain::capabilities::Capabilities;
use crate::domain::position::{FilePosition, Position};
use crate::domain::replication::{Receiver, ReplicaError, ReplicaStatus, WorkerError};
use crate::domain::server::Family;

/// The columns that leave something out or rewrite it. Those that a server does not have are empty.
const FILTERS: [&str; 10] = [
    "Replicate_Do_DB",
    "Replicate_Ignore_DB",
    "Replicate_Do_Table",
    "Replicate_Ignore_Table",
    "Replicate_Wild_Do_Table",
    "Replicate_Wild_Ignore_Table",
    "Replicate_Rewrite_DB",
    "Replicate_Ignore_Server_Ids",
    "Replicate_Do_Domain_Ids",
    "Replicate_Ignore_Domain_Ids",
];

/// Reads every channel of a replica; empty for a server that follows nobody.
///
/// # Errors
/// Any [`crate::adapters::mysql::error::Cause`].
pub async fn read(
    session: &mut Session,
    caps: &Capabilities,
    budget: Duration,
) -> Result<Vec<ReplicaStatus>, ServerError> {
    let doing = "read the replication status";
    // MariaDB shows one connection only unless asked for all of them.
    let question = match caps.family() {
        Family::MariaDb => "SHOW ALL SLAVES STATUS",
        Family::MySql => sql::show_replica_status(caps),
    };
    let rows: Vec<Row> = session.rows(doing, question, budget).await?;
    let mut channels = Vec::with_capacity(rows.len());
    for row in &rows {
        channels.push(channel(session, doing, row)?);
    }
    if caps.worker_status && caps.family() == Family::MySql && !channels.is_empty() {
        for (name, error) in worker_errors(session, budget).await? {
            if let Some(channel) = channels.iter_mut().find(|c| c.channel == name) {
                channel.worker_errors.push(error);
            }
        }
    }
    Ok(channels)
}

fn channel(session: &Session, doing: &str, row: &Row) -> Result<ReplicaStatus, ServerError> {
    let receiver = match either(row, "Replica_IO_Running", "Slave_IO_Running").as_deref() {
        Some("Yes") => Receiver::Running,
        // MariaDB says "Preparing" for a moment.
        Some("Connecting" | "Preparing") => Receiver::Connecting,
        _ => Receiver::Stopped,
    };
    let applier = either(row, "Replica_SQL_Running", "Slave_SQL_Running");
    let error = |code: &str, message: &str| {
        let code: u32 = number(row, code, code)?;
        (code != 0).then(|| ReplicaError {
            code,
            message: text(row, message).unwrap_or_default(),
        })
    };
    let using = text(row, "Using_Gtid");
    let (received, executed) = match using {
        // MariaDB.
        Some(_) => {
            let list = |name: &str| {
                let seen = text(row, name).filter(|t| !t.is_empty());
                seen.map(|t| gtid_list(session, doing, &t).map(Position::GtidList))
                    .transpose()
            };
            (list("Gtid_IO_Pos")?, list("Gtid_Slave_Pos")?)
        }
        None => {
            let set = |name: &str| {
                let seen = text(row, name);
                seen.map(|t| gtid_set(session, doing, &t).map(Position::GtidSet))
                    .transpose()
            };
            (set("Retrieved_Gtid_Set")?, set("Executed_Gtid_Set")?)
        }
    };
    let filters = FILTERS
        .iter()
        .filter_map(|name| {
            let value = text(row, name).filter(|v| !v.trim().is_empty())?;
            Some(format!("{name}: {}", value.trim()))
        })
        .collect();
    Ok(ReplicaStatus {
        channel: either(row, "Channel_Name", "Connection_name").unwrap_or_default(),
        source_host: either(row, "Source_Host", "Master_Host").unwrap_or_default(),
        source_port: number(row, "Source_Port", "Master_Port").unwrap_or_default(),
        source_user: either(row, "Source_User", "Master_User").unwrap_or_default(),
        source_uuid: either(row, "Source_UUID", "Master_UUID").filter(|u| !u.is_empty()),
        source_server_id: number(row, "Source_Server_Id", "Master_Server_Id").filter(|id| *id != 0),
        receiver,
        receiver_error: error("Last_IO_Errno", "Last_IO_Error"),
        applier_running: applier.as_deref() == Some("Yes"),
        applier_error: error("Last_SQL_Errno", "Last_SQL_Error"),
        worker_errors: Vec::new(),
        applier_state: either(row, "Replica_SQL_Running_State", "Slave_SQL_Running_State")
            .unwrap_or_default(),
        filters,
        delay_seconds: number(row, "SQL_Delay", "SQL_Delay").unwrap_or_default(),
        by_gtid: match using.as_deref() {
            Some(mariadb) => !mariadb.eq_ignore_ascii_case("No"),
            None => text(row, "Auto_Position").as_deref() == Some("1"),
        },
        received,
        executed,
        read_to: place(
            either(row, "Source_Log_File", "Master_Log_File"),
            number(row, "Read_Source_Log_Pos", "Read_Master_Log_Pos"),
        ),
        executed_to: place(
            either(row, "Relay_Source_Log_File", "Relay_Master_Log_File"),
            number(row, "Exec_Source_Log_Pos", "Exec_Master_Log_Pos"),
        ),
    })
}

fn place(file: Option<String>, offset: Option<u64>) -> Option<FilePosition> {
    match (file.filter(|f| !f.is_empty()), offset) {
        (Some(file), Some(offset)) => Some(FilePosition { file, offset }),
        _ => None,
    }
}

/// Errors of MySQL's workers, by channel. (The coordinator's own error only names the first of them.)
async fn worker_errors(
    session: &mut Session,
    budget: Duration,
) -> Result<Vec<(String, WorkerError)>, ServerError> {
    // The column for the transaction has had two names; the row is read whole.
    let sql =
        "SELECT * FROM performance_schema.replication_applier_status_by_worker WHERE LAST_ERROR_NUMBER <> 0";
    let rows: Vec<Row> = session
        .rows("read the errors of applier workers", sql, budget)
        .await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            let error = WorkerError {
                worker: number(row, "WORKER_ID", "WORKER_ID")?,
                transaction: either(row, "APPLYING_TRANSACTION", "LAST_SEEN_TRANSACTION")
                    .filter(|t| !t.is_empty()),
                error: ReplicaError {
                    code: number(row, "LAST_ERROR_NUMBER", "LAST_ERROR_NUMBER")?,
                    message: text(row, "LAST_ERROR_MESSAGE").unwrap_or_default(),
                },
            };
            Some((text(row, "CHANNEL_NAME").unwrap_or_default(), error))
        })
        .collect())
}
