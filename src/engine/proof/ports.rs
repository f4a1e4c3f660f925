//! What the data proof needs from the outside.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::domain::position::FilePosition;
use crate::domain::proof::bracket::Reading;
use crate::domain::proof::drill::Rows;
use crate::domain::proof::key::Key;
use crate::domain::proof::ledger::{ItemRead, NotProvable};
use crate::domain::proof::ranges::Bounds;
use crate::domain::proof::stream::Brought;
use crate::domain::proof::touches::Item;
use crate::domain::proof::transaction::{Positions, Start, TableName};
use crate::engine::event::Difference;

/// An answer that is on its way. Dropping it leaves the lane in need of [`Lane::revive`].
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, Trouble>> + Send + 'a>>;

/// What kept a question from being answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Trouble {
    /// What it is about.
    pub kind: TroubleKind,
    /// What was being done, on which server, and what was seen.
    pub why: String,
}

/// What a trouble is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// This table: it is gone, has another definition, or holds a row that cannot be compared.
    Table,
    /// The reading took longer than it may: less is to be read at once.
    TooSlow,
    /// The connection, or the server as a whole.
    Server,
    /// Nothing that is read now would count; later it will.
    NotYet,
}

/// Both sides' digests of one range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BothRead {
    /// Blue's.
    pub blue: Reading,
    /// Green's.
    pub green: Reading,
    /// How long the slower side took.
    pub took: Duration,
}

/// Both sides' rows of one range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BothRows {
    /// Blue's.
    pub blue: Rows,
    /// Green's.
    pub green: Rows,
    /// How long the slower side took.
    pub took: Duration,
}

/// A pair of sessions, one on each side, that carries out one check at a time. Both sides are asked at once.
pub trait Lane: Send {
    /// What both sides have executed, or the exact positions of the snapshots that are read from now on.
    fn begin(&mut self) -> Asking<'_, Positions>;

    /// The digests of a range.
    fn range<'a>(&'a mut self, table: &'a TableName, bounds: &'a Bounds) -> Asking<'a, BothRead>;

    /// The digests of each row of a range.
    fn rows<'a>(&'a mut self, table: &'a TableName, bounds: &'a Bounds) -> Asking<'a, BothRows>;

    /// Whether both sides have the same rows for each of these items.
    fn items<'a>(&'a mut self, table: &'a TableName, items: &'a [Arc<Item>]) -> Asking<'a, Vec<ItemRead>>;

    /// Where blue stands in its binlog now, after the readings. Ends the snapshots.
    fn after(&mut self) -> Asking<'_, FilePosition>;

    /// The key that ends the first so many rows of a range; `None` if it has no more than that. Outside of a check.
    fn cut<'a>(&'a mut self, table: &'a TableName, bounds: &'a Bounds, rows: u64) -> Asking<'a, Option<Key>>;

    /// Both sides' values of rows that differ. Outside of a check: rows that are equal by now are left out.
    fn describe<'a>(
        &'a mut self,
        table: &'a TableName,
        keys: &'a [Key],
    ) -> Asking<'a, Vec<(Key, Difference)>>;

    /// Makes the lane usable again after a trouble: ends what may still run, and opens lost sessions anew.
    fn revive(&mut self) -> Asking<'_, ()>;
}

/// What is known of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// It can be proved.
    Provable {
        /// Whether a key tells its rows apart.
        has_key: bool,
        /// Whether one side defines it otherwise than when it was read last.
        is_new: bool,
    },
    /// It cannot.
    NotProvable(NotProvable),
    /// It is on neither side any more.
    Gone,
}

/// The tables of the pair.
pub trait Catalogue: Send {
    /// Reads the definitions of all tables, or of these, on both sides. From then on the lanes and the stream use what
    /// was read.
    fn read(&mut self, which: Option<BTreeSet<TableName>>) -> Asking<'_, Vec<(TableName, Listed)>>;
}

/// A stream of blue's binlog.
pub struct Stream {
    /// Where it begins.
    pub start: Start,
    /// What it brings.
    pub brought: mpsc::Receiver<Brought>,
    /// Ends the reading when it is dropped.
    pub reader: Box<dyn Send>,
}

/// Opens streams of blue's binlog.
pub trait Streams: Send {
    /// Opens one that begins now.
    fn open(&mut self) -> Asking<'_, Stream>;
}
