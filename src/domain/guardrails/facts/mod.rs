//! What a survey found on a server, as plain data. Nothing here judges.

mod accounts;
mod activity;
mod privileged;
mod schema;
mod server;

pub use accounts::{Account, Rights};
pub use activity::{EventFact, READER_HOST, ReplicaFact, SessionFact, SessionKind, TransactionFact};
pub use privileged::{PrivilegedAccount, PrivilegedRoutine, PrivilegedSession, PrivilegedWriters};
pub use schema::{
    ColumnFact, ForeignKeyFact, IndexFact, IndexPart, ProgramFact, Schema, TableFact, ViewFact,
};
pub use server::{
    AccountWords, ClockFact, Identity, Positions, ServerFacts, StartUp, gtid_triples, gtids_beyond,
};
