//! How a replica stands, as a plain value.

use serde::{Deserialize, Serialize};

use super::position::{FilePosition, Position};
use super::server::Version;

/// Why a server of this version cannot follow one of that version, whatever their settings; `None` if it may.
#[must_use]
pub fn why_not_follow(replica: &Version, source: &Version) -> Option<String> {
    if replica.family != source.family {
        return Some(format!(
            "{replica} cannot follow {source}: the families' binlogs differ"
        ));
    }
    let is_too_old = source.is_mysql_from((8, 0, 0)) && !replica.is_mysql_from((8, 0, 0));
    is_too_old.then(|| {
        format!(
            "{replica} cannot follow {source}: it does not know its default collation (utf8mb4_0900_ai_ci), its login by \
             caching_sha2_password, and its events"
        )
    })
}

/// The thread that fetches the source's binlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receiver {
    /// Connected and reading.
    Running,
    /// Trying to connect; the last error says why it does not succeed.
    Connecting,
    /// Stopped.
    Stopped,
}

/// An error that replication stopped at or retries after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaError {
    /// The server's error number.
    pub code: u32,
    /// Its words.
    pub message: String,
}

/// An error of one applier worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerError {
    /// The worker's number.
    pub worker: u64,
    /// The transaction it was at, if the server says so.
    pub transaction: Option<String>,
    /// What went wrong.
    pub error: ReplicaError,
}

/// One channel of a replica (MariaDB: one connection). bleen's is the default one, named "".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// The channel's name; empty for the default one.
    pub channel: String,
    /// Host name or address of the source, as configured.
    pub source_host: String,
    /// Port of the source, as configured.
    pub source_port: u16,
    /// The replication account.
    pub source_user: String,
    /// The source's uuid, once it was connected (MySQL).
    pub source_uuid: Option<String>,
    /// The source's server id, once it was connected.
    pub source_server_id: Option<u32>,
    /// The receiving thread.
    pub receiver: Receiver,
    /// Its last error, if the last one has not been overcome.
    pub receiver_error: Option<ReplicaError>,
    /// The applying thread (the coordinator, where there are workers) runs.
    pub applier_running: bool,
    /// Its last error.
    pub applier_error: Option<ReplicaError>,
    /// Errors of single workers.
    pub worker_errors: Vec<WorkerError>,
    /// What the applier does now, in the server's words.
    pub applier_state: String,
    /// What is left out or rewritten: `Replicate_Do_DB: shop`.
    pub filters: Vec<String>,
    /// Seconds by which it stays behind on purpose.
    pub delay_seconds: u64,
    /// It finds its place by GTID.
    pub by_gtid: bool,
    /// What was received and not necessarily applied, where the server says so by GTID.
    pub received: Option<Position>,
    /// What was applied, by GTID.
    pub executed: Option<Position>,
    /// The place in the source's binlog up to which it was received.
    pub read_to: Option<FilePosition>,
    /// The place in the source's binlog up to which it was applied.
    pub executed_to: Option<FilePosition>,
}

/// Errors of a receiver that no waiting mends: login and host refused, plugin or TLS trouble, no right to the binlog,
/// equal server ids or uuids, and a place that the source no longer has.
const HOPELESS: [u32; 12] = [
    1045, 1044, 1130, 1227, 1236, 1593, 2026, 2058, 2059, 2061, 13114, 13117,
];

impl ReplicaStatus {
    /// Whether it stopped, or cannot connect, for a reason that no waiting mends.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        let refused = |e: &ReplicaError| HOPELESS.contains(&e.code);
        let stopped = self.applier_error.is_some() && !self.applier_running;
        stopped || self.receiver_error.as_ref().is_some_and(refused)
    }

    /// Whether it receives and applies.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.receiver == Receiver::Running && self.applier_running
    }

    /// Why it does not receive and apply, in one line; `None` if it does.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let said = |what: &str, error: &Option<ReplicaError>| match error {
            Some(e) => format!("{what}: error {}: {}", e.code, e.message),
            None => what.to_owned(),
        };
        if let Some(worker) = self.worker_errors.first() {
            let at = worker.transaction.as_deref().unwrap_or("a transaction");
            return Some(format!(
                "worker {} stopped at {at}: error {}: {}",
                worker.worker, worker.error.code, worker.error.message
            ));
        }
        if !self.applier_running {
            return Some(said("the applier is stopped", &self.applier_error));
        }
        match self.receiver {
            Receiver::Running => None,
            Receiver::Connecting => Some(said("the receiver cannot connect", &self.receiver_error)),
            Receiver::Stopped => Some(said("the receiver is stopped", &self.receiver_error)),
        }
    }

    /// Bytes of binlog received and not applied, or not even received, where both places are in one file; `None`
    /// across files, since their sizes are the source's to know.
    #[must_use]
    pub fn bytes_behind(&self, source_end: &FilePosition) -> Option<u64> {
        let executed = self.executed_to.as_ref()?;
        (executed.file == source_end.file).then(|| source_end.offset.saturating_sub(executed.offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> ReplicaStatus {
        ReplicaStatus {
            channel: String::new(),
            source_host: "blue".into(),
            source_port: 3306,
            source_user: "repl".into(),
            source_uuid: None,
            source_server_id: None,
            receiver: Receiver::Running,
            receiver_error: None,
            applier_running: true,
            applier_error: None,
            worker_errors: vec![],
            applier_state: String::new(),
            filters: vec![],
            delay_seconds: 0,
            by_gtid: true,
            received: None,
            executed: None,
            read_to: None,
            executed_to: Some(FilePosition {
                file: "b.1".into(),
                offset: 100,
            }),
        }
    }

    #[test]
    fn the_worst_trouble_is_named_first() {
        assert_eq!(running().trouble(), None);
        let error = |code| {
            Some(ReplicaError {
                code,
                message: "no".into(),
            })
        };
        let mut status = running();
        status.receiver = Receiver::Connecting;
        status.receiver_error = error(2003);
        assert_eq!(
            status.trouble().unwrap(),
            "the receiver cannot connect: error 2003: no"
        );
        status.applier_running = false;
        status.applier_error = error(1032);
        assert_eq!(
            status.trouble().unwrap(),
            "the applier is stopped: error 1032: no"
        );
        status.worker_errors.push(WorkerError {
            worker: 3,
            transaction: Some("u:7".into()),
            error: error(1062).unwrap(),
        });
        assert_eq!(
            status.trouble().unwrap(),
            "worker 3 stopped at u:7: error 1062: no"
        );
    }

    #[test]
    fn bytes_are_only_compared_within_one_file() {
        let end = |file: &str, offset| FilePosition {
            file: file.into(),
            offset,
        };
        assert_eq!(running().bytes_behind(&end("b.1", 350)), Some(250));
        assert_eq!(running().bytes_behind(&end("b.2", 350)), None);
    }
}
