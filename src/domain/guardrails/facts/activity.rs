//! What goes on at a server: sessions, transactions, replication, events.

use serde::{Deserialize, Serialize};

/// What kind of session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// An application, a person, a tool.
    Client,
    /// One of bleen's.
    Own,
    /// Receiver, applier, or a binlog dump to a replica.
    Replication,
    /// The server's own threads: event scheduler, daemons.
    System,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFact {
    /// The number that `KILL` takes.
    pub id: u64,
    /// User name.
    pub user: String,
    /// Where it comes from.
    pub host: String,
    /// Its default schema.
    pub schema: Option<String>,
    /// The server's word for what it does: `Query`, `Sleep`, `Binlog Dump GTID`.
    pub command: String,
    /// How long the running statement has run, or the session has been idle, in milliseconds; whole seconds where
    /// the server does not say more.
    pub age_ms: u64,
    /// The server's word for the stage it is in.
    pub state: String,
    /// The running statement, cut to 1,000 characters. Never shown as it is: it may hold secrets.
    pub text: String,
    /// The client program, where the server knows it.
    pub program: Option<String>,
    /// What kind of session it is.
    pub kind: SessionKind,
}

/// One open transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionFact {
    /// Its session; 0 if it has none (a recovered XA transaction).
    pub session: u64,
    /// Since it began, in milliseconds (the server counts whole seconds).
    pub age_ms: u64,
    /// Rows changed so far.
    pub changed_rows: u64,
    /// `RUNNING`, `LOCK WAIT`, `ROLLING BACK`.
    pub state: String,
}

/// A channel by which a server follows another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its name; empty for the default one.
    pub name: String,
    /// Host of the source, as configured.
    pub source_host: String,
    /// Port of the source.
    pub source_port: u16,
    /// `server_uuid` of the source, as the receiver saw it.
    pub source_uuid: Option<String>,
    /// `server_id` of the source, as the receiver saw it; 0 before it connected.
    pub source_id: u32,
    /// The receiver: `Yes`, `No`, `Connecting`, `Preparing`.
    pub receiver: String,
    /// The applier: `Yes`, `No`.
    pub applier: String,
    /// The receiver's last error, empty for none.
    pub receiver_error: String,
    /// The applier's last error, empty for none.
    pub applier_error: String,
    /// Errors of single workers, where the server keeps them.
    pub worker_errors: Vec<String>,
    /// Filters in force, each as `option=value`.
    pub filters: Vec<String>,
    /// Seconds that the applier waits on purpose.
    pub delay_s: u64,
    /// Until where the applier runs, empty or `None` for without end.
    pub until: String,
    /// The source's binlog file that the applier is in.
    pub source_file: String,
}

/// Somebody who reads a server's binlog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaFact {
    /// Its `server_id`.
    pub server_id: u32,
    /// Its `server_uuid`, if it said one.
    pub uuid: Option<String>,
    /// Host and port as it reported them, often empty.
    pub reported: String,
}

/// A scheduled event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFact {
    /// Schema and name, joined by a dot.
    pub name: String,
    /// Whether it is `ENABLED` on this server (neither disabled nor disabled on a replica).
    pub enabled: bool,
    /// The server's own word.
    pub status: String,
    /// Whose rights it has.
    pub definer: String,
}
