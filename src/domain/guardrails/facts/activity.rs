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

/// Somebody who reads a server's binlog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaFact {
    /// Its `server_id`; `None` where only its session is seen.
    pub server_id: Option<u32>,
    /// Its `server_uuid`, if it said one.
    pub uuid: Option<String>,
    /// Host and port as it reported them, often empty.
    pub reported: String,
}

/// The host that bleen's own reader of blue's binlog reports.
pub const READER_HOST: &str = "bleen-proof";

impl ReplicaFact {
    /// Whether it is bleen itself, which reads for its proof and follows nobody.
    #[must_use]
    pub fn is_own_reader(&self) -> bool {
        self.reported.split(':').next() == Some(READER_HOST)
    }
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
