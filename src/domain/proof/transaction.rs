//! One transaction of blue's binlog, and what a server had executed when it was read.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::ids::Side;
use super::super::position::{FilePosition, Position};

/// Who numbered a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// MySQL: the server's uuid in lower case, and the tag if there is one.
    Server {
        /// The server's uuid, in lower case.
        uuid: String,
        /// The tag, in lower case.
        tag: Option<String>,
    },
    /// MariaDB: the replication domain.
    Domain(u32),
    /// GTIDs are off: only the end in blue's binlog is known.
    Unnamed,
}

/// One transaction as it stands in blue's binlog. A prepared XA transaction counts where it was committed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// Who numbered it.
    pub origin: Origin,
    /// Its number there; nothing where it has none.
    pub number: u64,
    /// Where its last event ends in blue's binlog.
    pub end: FilePosition,
}

/// What a server showed when it was read, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// Everything that the position names, and maybe more: the position was asked for before the reading.
    AtLeast(Position),
    /// Exactly that: the position belongs to the snapshot that was read.
    Exactly(Position),
}

/// What both servers showed in one check.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Positions {
    /// Blue; a place in blue's own binlog where it is a [`Position::File`].
    pub blue: Shown,
    /// Green; a place in *blue's* binlog where it is a [`Position::File`].
    pub green: Shown,
}

/// A position that does not bound what a reading shows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{position} on {side} does not bound what a reading shows: {why}")]
pub struct NotABound {
    /// The side it was read on.
    pub side: Side,
    /// The position.
    pub position: Position,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Shown {
    fn position(&self) -> &Position {
        match self {
            Self::AtLeast(position) | Self::Exactly(position) => position,
        }
    }

    /// Whether the transactions `first` to `last` of one origin are known to be shown. `end` is the end of the last.
    fn holds(&self, origin: &Origin, first: u64, last: u64, end: &FilePosition) -> bool {
        match (self.position(), origin) {
            (Position::GtidSet(set), Origin::Server { uuid, tag }) => {
                set.holds(uuid, tag.as_deref(), first, last)
            }
            (Position::GtidList(list), Origin::Domain(domain)) => list.sequence(*domain) >= last,
            (Position::File(place), _) => place.has_reached(end),
            _ => false,
        }
    }

    /// Whether they are known not to be shown. `end` is the end of the first of them; `after` is blue's place after
    /// the reading.
    fn lacks(&self, origin: &Origin, first: u64, end: &FilePosition, after: &FilePosition) -> bool {
        // Green cannot show what blue had not written down by then, either.
        if !after.has_reached(end) {
            return true;
        }
        match (self, origin) {
            (Self::AtLeast(_), _) => false,
            (Self::Exactly(Position::GtidList(list)), Origin::Domain(domain)) => {
                list.sequence(*domain) < first
            }
            (Self::Exactly(Position::File(place)), _) => !place.has_reached(end),
            // A range of numbers outside a set may still have one inside; nothing offers an exact set.
            (Self::Exactly(_), _) => false,
        }
    }
}

impl Positions {
    /// Refuses positions that were measured not to bound a reading (facts/validation.md 2.1).
    ///
    /// # Errors
    /// [`NotABound`], with the reason.
    pub fn check(&self) -> Result<(), NotABound> {
        let wrong = |side, shown: &Shown, why| {
            Err(NotABound {
                side,
                position: shown.position().clone(),
                why,
            })
        };
        match &self.blue {
            Shown::AtLeast(Position::GtidList(_)) => wrong(
                Side::Blue,
                &self.blue,
                "MariaDB's binlog position runs ahead of what is visible; the position of a consistent snapshot is \
                 needed",
            ),
            Shown::AtLeast(Position::File(_)) => wrong(
                Side::Blue,
                &self.blue,
                "a place in the binlog runs ahead of what is visible; a GTID set, or the place of a consistent \
                 snapshot, is needed",
            ),
            _ => Ok(()),
        }
    }

    /// Whether both sides are known to show this transaction.
    #[must_use]
    pub fn on_both(&self, transaction: &Transaction) -> bool {
        let t = transaction;
        [&self.blue, &self.green]
            .iter()
            .all(|shown| shown.holds(&t.origin, t.number, t.number, &t.end))
    }

    /// Whether neither side can show this transaction, where blue stood at `after` when both had been read.
    #[must_use]
    pub fn on_neither(&self, transaction: &Transaction, after: &FilePosition) -> bool {
        let t = transaction;
        [&self.blue, &self.green]
            .iter()
            .all(|shown| shown.lacks(&t.origin, t.number, &t.end, after))
    }

    /// The position that both sides had executed, where one value can name it.
    #[must_use]
    pub fn in_common(&self) -> Option<Position> {
        let (blue, green) = (self.blue.position(), self.green.position());
        if let (Position::GtidSet(blue), Position::GtidSet(green)) = (blue, green) {
            return Some(Position::GtidSet(blue.intersection(green)));
        }
        if blue.contains(green)? {
            return Some(green.clone());
        }
        green.contains(blue)?.then(|| blue.clone())
    }

    /// Whether both sides had executed, as far as it is known, all that they had in `other`.
    #[must_use]
    pub fn reach(&self, other: &Self) -> bool {
        let reach = |now: &Shown, then: &Shown| now.position().contains(then.position()) == Some(true);
        reach(&self.blue, &other.blue) && reach(&self.green, &other.green)
    }

    /// Whether both sides had executed everything that a stream leaves out which began there. A stream that began
    /// later does not carry every transaction that may be in doubt.
    #[must_use]
    pub fn contain(&self, start: &Start) -> bool {
        [&self.blue, &self.green]
            .iter()
            .all(|shown| match shown.position() {
                Position::File(place) => place.has_reached(&start.place),
                named => named.contains(&start.executed) == Some(true),
            })
    }
}

/// Where the stream of blue's binlog begins: it carries every transaction that is not named by `executed`, and those
/// are the ones that end behind `place`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Start {
    /// What the stream leaves out.
    pub executed: Position,
    /// The place in blue's binlog from which on it is complete.
    pub place: FilePosition,
}

/// Many transactions of which only the outline is kept: it takes the same memory however many there are, but for their
/// origins, and every origin stands in the servers' positions, too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outline {
    numbers: BTreeMap<Origin, (u64, u64)>,
    first_end: FilePosition,
    last_end: FilePosition,
}

impl Outline {
    /// The outline of one transaction.
    #[must_use]
    pub fn of(transaction: &Transaction) -> Self {
        Self {
            numbers: BTreeMap::from([(
                transaction.origin.clone(),
                (transaction.number, transaction.number),
            )]),
            first_end: transaction.end.clone(),
            last_end: transaction.end.clone(),
        }
    }

    /// Takes in one more.
    pub fn add(&mut self, transaction: &Transaction) {
        let number = transaction.number;
        let range = self
            .numbers
            .entry(transaction.origin.clone())
            .or_insert((number, number));
        *range = (range.0.min(number), range.1.max(number));
        if transaction.end.has_reached(&self.last_end) {
            self.last_end = transaction.end.clone();
        }
        if self.first_end.has_reached(&transaction.end) {
            self.first_end = transaction.end.clone();
        }
    }

    /// Takes in all of another outline.
    pub fn merge(&mut self, other: &Self) {
        for (origin, (first, last)) in &other.numbers {
            let range = self.numbers.entry(origin.clone()).or_insert((*first, *last));
            *range = (range.0.min(*first), range.1.max(*last));
        }
        if other.last_end.has_reached(&self.last_end) {
            self.last_end = other.last_end.clone();
        }
        if self.first_end.has_reached(&other.first_end) {
            self.first_end = other.first_end.clone();
        }
    }

    /// Whether both sides are known to show all of them.
    #[must_use]
    pub fn on_both(&self, positions: &Positions) -> bool {
        self.numbers.iter().all(|(origin, (first, last))| {
            [&positions.blue, &positions.green]
                .iter()
                .all(|shown| shown.holds(origin, *first, *last, &self.last_end))
        })
    }

    /// Whether neither side can show any of them.
    #[must_use]
    pub fn on_neither(&self, positions: &Positions, after: &FilePosition) -> bool {
        self.numbers.iter().all(|(origin, (first, _))| {
            [&positions.blue, &positions.green]
                .iter()
                .all(|shown| shown.lacks(origin, *first, &self.first_end, after))
        })
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Server { uuid, tag: None } => write!(f, "{uuid}:{}", self.number),
            Origin::Server { uuid, tag: Some(tag) } => write!(f, "{uuid}:{tag}:{}", self.number),
            Origin::Domain(domain) => write!(f, "domain {domain}, sequence {}", self.number),
            Origin::Unnamed => write!(f, "the transaction that ends at {}", self.end),
        }
    }
}

/// A table, by the names that blue has for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The table.
    pub table: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}
