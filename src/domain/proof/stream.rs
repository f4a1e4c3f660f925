//! What a reader of blue's binlog brings, in the binlog's order.

use super::super::position::FilePosition;
use super::ledger::Change;
use super::transaction::Transaction;

/// One thing that the reader of blue's binlog brings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Brought {
    /// A whole transaction, with everything that it changed.
    Transaction(Transaction, Vec<Change>),
    /// A file of blue's binlog begins, or the reading of it: it was made at that time, in seconds of blue's own clock. A
    /// file of the same name that was made at another time is another one.
    File {
        /// Its name.
        name: String,
        /// When it was made.
        made: u32,
    },
    /// Blue's binlog has nothing for us up to this place.
    Passed(FilePosition),
    /// What follows is not known: a gap, an incident, a purged file, a lost connection, an event that could not be read.
    /// Nothing comes after it.
    Broke(String),
}
