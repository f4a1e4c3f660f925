//! The reader of blue's binlog: brings every transaction to the data proof, with the keys of the rows that it changed.
//!
//! ```text
//! reader     the connection and its task: where to begin, what comes, why it ended
//! assembly   whole transactions from single events
//! place      where the stream is
//! event      an event, and the numbers of their kinds
//! names      small events: who numbered a transaction, statements, prepared transactions
//! payload    MySQL's compressed transactions
//! inflate    MariaDB's compressed events
//! shape      how a table's rows stand in row events
//! stale      which shapes are older than their table
//! table_map  the types of a table's columns in row events
//! rows       row events
//! value      single values, as they stand in a key
//! changes    what a transaction changed, bounded
//! written    what blue says of its own binlog, against what has come
//! bytes      reading bytes
//! ```
//!
//! The driver splits the stream into events and keeps the connection; what is in an event is read here: only the columns
//! of keys, never beyond an event's end, and an error is never a skip.

mod assembly;
mod bytes;
pub mod changes;
mod event;
mod inflate;
mod names;
mod payload;
mod place;
pub mod reader;
mod rows;
pub mod shape;
#[cfg(test)]
mod spoilt;
mod stale;
mod table_map;
mod value;
mod written;
