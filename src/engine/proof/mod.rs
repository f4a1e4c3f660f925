//! The data proof at work: follows blue's binlog, reads both sides range by range, and keeps the ledger of what is proved.
//!
//! ```text
//! ports    what it needs from the outside: lanes that read both sides, the list of tables, the stream of blue's binlog
//! prover   the loop over them, and what it knows at any moment
//! progress how far it is
//! pauses   when it stands aside, for a hold or to spare the servers
//! kept     what it leaves for the next one, and how that begins with it
//! check    one check on one lane, from the positions before to the verdict
//! quiet    whether tables were touched while somebody read both sides
//! ```
//!
//! Must not know a statement or a driver. What is proved is decided in [`crate::domain::proof`], never here.

mod check;
pub mod kept;
mod pauses;
pub mod ports;
pub mod progress;
pub mod prover;
mod quiet;
