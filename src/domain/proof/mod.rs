//! The data proof without its servers: what makes "equal" a fact about a position in blue's binlog.
//!
//! ```text
//! key          a row's key, and where one key stands to another
//! transaction  one transaction of blue's binlog, and what a server had executed when it was read
//! bracket      one check: positions before, both readings, position after, the stream past it, the verdict
//! touches      what the stream says was changed since it was last proved, with caps
//! ranges       which key falls into which range
//! pick         which tables are to be proved
//! pace         how many rows a range should have, from how long the last ones took
//! cascade      what a foreign key changes on a child without a row event
//! statement    which tables a statement in the binlog may change
//! stream       what a reader of blue's binlog brings
//! recent       which tables the last transactions touched, for readings that are no ranges
//! ledger       the tables, their ranges and touches, and the checks under way: the one door for an adapter
//! drill        which rows of a range differ, and which of the differences are real
//! kept         what of the ledger outlives its process
//! work         what to read next
//! fence        what is left to compare when writers are held and green has caught up
//! summary      what is proved and what is not, and how long the fence would take
//! ```
//!
//! The rule that everything here keeps (DESIGN section 5): an event that has arrived says nothing about what a reader
//! sees. A transaction is *on both sides* when what both servers had executed before the reading holds it, and *on
//! neither* when it stands in blue's binlog behind the place that was read after it. Everything else is in doubt, and a
//! range that a transaction in doubt has touched is neither proved nor diverged, whatever the digests say.

pub mod bracket;
pub mod cascade;
pub mod drill;
pub mod fence;
pub mod kept;
pub mod key;
pub mod ledger;
pub mod pace;
pub mod pick;
pub mod ranges;
pub mod recent;
pub mod statement;
pub mod stream;
pub mod summary;
mod table;
pub mod touches;
pub mod transaction;
pub mod work;
