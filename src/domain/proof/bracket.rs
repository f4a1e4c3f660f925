//! One check of one range, as a small state machine: positions before, both readings, position after, then wait until
//! the stream has passed it, then the verdict from what was touched (facts/validation.md 1.3).
//!
//! It asks for one thing after the other with [`Check::wants`]; an adapter brings it. Nothing is taken out of turn: a
//! place asked for before a reading has ended would not bound what the reading shows.

use std::sync::Arc;

use super::super::ids::Side;
use super::super::position::FilePosition;
use super::drill::Rows;
use super::touches::InDoubt;
use super::transaction::{NotABound, Positions};

/// What a server said of the rows of one range.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reading {
    /// `COUNT(*)`.
    pub rows: u64,
    /// How many rows have a digest of their own. One that has none (a value above `max_allowed_packet`) would vanish
    /// from the digest of the range.
    pub digested: u64,
    /// The digest of the range, of the same form on both sides; a shorter one is filled up with zeros.
    pub digest: [u8; 32],
}

impl Reading {
    /// What rows that were read one by one amount to. The key is inside each digest, so no two rows cancel out.
    #[must_use]
    pub fn of(rows: &Rows) -> Self {
        let mut digest = [0; 32];
        for row in rows.values() {
            for (all, one) in digest.iter_mut().zip(row) {
                *all ^= one;
            }
        }
        let count = rows.len() as u64;
        Self {
            rows: count,
            digested: count,
            digest,
        }
    }
}

/// What a check is waiting for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wants {
    /// The reading of this side. Both may be under way at once.
    Reading(Side),
    /// Blue's place in its binlog, asked for now, after both readings have ended.
    After,
    /// The stream must pass this place.
    Stream(FilePosition),
    /// Nothing: the check is void.
    Nothing,
}

/// Why a check says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Void {
    /// The stream had a gap, an incident, or blue purged what was not read yet.
    StreamBroken,
    /// The stream began after what one side had executed: it does not carry all that may be in doubt.
    StreamBeganTooLate,
    /// Its positions were read before those of a check that had begun already, or a server's position went back.
    PositionsTooOld,
    /// The table's definition changed, or a statement without rows came.
    TableChanged,
    /// The range was cut into two in the meantime.
    RangeSplit,
    /// Some rows have no digest, so the digest of the range says nothing.
    RowsWithoutDigest,
    /// A server could not be read, or a snapshot was lost.
    NotRead,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Every row was equal on both sides when both had executed `from`, and stays so until it is touched.
    Proved {
        /// What both sides had executed.
        from: Arc<Positions>,
    },
    /// The sides differ, and no lag explains it: no transaction in doubt has touched the range.
    Diverged {
        /// What blue said.
        blue: Reading,
        /// What green said.
        green: Reading,
    },
    /// The check says nothing.
    Inconclusive(Doubt),
}

/// Why a check is inconclusive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// Transactions that may have been on one side only have touched the range. Reading it row by row proves the rest.
    Touched {
        /// What they touched.
        what: InDoubt,
        /// Whether the digests were equal all the same, which proves nothing.
        looked_equal: bool,
    },
    /// The check was void.
    Void(Void),
}

/// What was brought out of turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a check was given {0} out of turn; this is a bug in bleen")]
pub struct OutOfTurn(pub &'static str);

/// One check of one range.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Check {
    before: Arc<Positions>,
    blue: Option<Reading>,
    green: Option<Reading>,
    after: Option<FilePosition>,
    void: Option<Void>,
}

impl Check {
    /// Begins with what both sides had executed before anything is read; or, where both are read inside consistent
    /// snapshots, with the exact positions of those.
    ///
    /// # Errors
    /// [`NotABound`] for positions that do not bound a reading.
    pub fn begin(before: Positions) -> Result<Self, NotABound> {
        before.check()?;
        Ok(Self {
            before: Arc::new(before),
            blue: None,
            green: None,
            after: None,
            void: None,
        })
    }

    /// What it began with.
    #[must_use]
    pub const fn before(&self) -> &Arc<Positions> {
        &self.before
    }

    /// Blue's place after both readings, once it is known.
    #[must_use]
    pub const fn place_after(&self) -> Option<&FilePosition> {
        self.after.as_ref()
    }

    /// Both readings, once they are there: blue's, green's.
    #[must_use]
    pub const fn readings(&self) -> Option<(&Reading, &Reading)> {
        match (&self.blue, &self.green) {
            (Some(blue), Some(green)) => Some((blue, green)),
            _ => None,
        }
    }

    /// What it waits for.
    #[must_use]
    pub fn wants(&self) -> Wants {
        match self {
            Self { void: Some(_), .. } => Wants::Nothing,
            Self { blue: None, .. } => Wants::Reading(Side::Blue),
            Self { green: None, .. } => Wants::Reading(Side::Green),
            Self { after: None, .. } => Wants::After,
            Self {
                after: Some(after), ..
            } => Wants::Stream(after.clone()),
        }
    }

    /// One side was read.
    ///
    /// # Errors
    /// [`OutOfTurn`] if that side was read already.
    pub fn read(&mut self, side: Side, reading: Reading) -> Result<(), OutOfTurn> {
        if reading.digested != reading.rows {
            self.make_void(Void::RowsWithoutDigest);
        }
        let place = match side {
            Side::Blue => &mut self.blue,
            Side::Green => &mut self.green,
        };
        if place.is_some() {
            return Err(OutOfTurn("a second reading of one side"));
        }
        *place = Some(reading);
        Ok(())
    }

    /// Blue stood there after both readings had ended.
    ///
    /// # Errors
    /// [`OutOfTurn`] if a reading is missing, or the place was given already.
    pub fn after(&mut self, place: FilePosition) -> Result<(), OutOfTurn> {
        if self.blue.is_none() || self.green.is_none() {
            return Err(OutOfTurn("blue's place before both sides were read"));
        }
        if self.after.is_some() {
            return Err(OutOfTurn("a second place"));
        }
        self.after = Some(place);
        Ok(())
    }

    /// The check says nothing, whatever comes. The first reason stays.
    pub fn make_void(&mut self, why: Void) {
        self.void.get_or_insert(why);
    }

    /// Why it says nothing, if so.
    #[must_use]
    pub const fn void(&self) -> Option<Void> {
        self.void
    }

    /// The verdict, once the stream has passed the place after the readings. `in_doubt` is asked for what the
    /// transactions in doubt have touched of the range.
    #[must_use]
    pub fn verdict(
        &self,
        stream_passed: &FilePosition,
        in_doubt: impl FnOnce(&Positions, &FilePosition) -> InDoubt,
    ) -> Option<Verdict> {
        if let Some(void) = self.void {
            return Some(Verdict::Inconclusive(Doubt::Void(void)));
        }
        let (blue, green, after) = (self.blue.as_ref()?, self.green.as_ref()?, self.after.as_ref()?);
        if !stream_passed.has_reached(after) {
            return None;
        }
        let is_equal = blue == green;
        Some(match in_doubt(&self.before, after) {
            InDoubt::Nothing if is_equal => Verdict::Proved {
                from: self.before.clone(),
            },
            InDoubt::Nothing => Verdict::Diverged {
                blue: blue.clone(),
                green: green.clone(),
            },
            what => Verdict::Inconclusive(Doubt::Touched {
                what,
                looked_equal: is_equal,
            }),
        })
    }
}
