//! What to read next: ranges that nothing is known of, rows that were touched since they were proved, ranges that differ,
//! and the oldest proofs, in this order but with nobody starved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::bracket::{Doubt, Verdict, Void};
use super::ledger::{Ledger, State};
use super::pace::{Pace, Target};
use super::ranges::{Bounds, RangeId};
use super::table::Table;
use super::touches::{Item, Open};
use super::transaction::TableName;

/// The most rows that are read one by one in one check.
pub const ROWS_ONE_BY_ONE: u64 = 10_000;

/// The most items that are read again in one check.
pub const ITEMS_AT_ONCE: usize = 1_000;

/// Rows of the first range of a table, before anything is known of its speed.
const FIRST_ROWS: u64 = 5_000;

/// How long open rows may wait, so that they are read many at a time.
const ITEMS_WAIT: Duration = Duration::from_secs(1);

/// How long to wait when there is nothing to read.
const IDLE: Duration = Duration::from_millis(50);

/// Both when a hold is near: what is open at the fence is read while writers wait.
const ITEMS_WAIT_NEAR: Duration = Duration::from_millis(5);

/// How long a range that differs is left alone before it is looked at again: it may have been repaired.
const DIVERGED_WAIT: Duration = Duration::from_secs(10);

/// How long a table without a key is left alone after it was read, at least, and times the time that took.
const WHOLE_WAIT: Duration = Duration::from_secs(1);
const WHOLE_REST: u32 = 4;

/// How long a range is left alone after a check that said nothing, times the number of such checks.
const DOUBT_WAIT: Duration = Duration::from_millis(100);

/// The most such checks that are counted.
const DOUBTS_COUNTED: u32 = 10;

/// A table where this many of the last range checks were touched is read row by row from the start.
const HOT: u32 = 2;

/// How a range is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By its digest.
    Digest,
    /// Row by row.
    RowByRow,
    /// By its digest, and there is no other way: it is a whole table without a key.
    Whole,
}

/// One thing to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// A range by its digest. If it has more than `rows` rows it is to be cut there first, and its lower part read.
    Range {
        /// The table.
        table: TableName,
        /// The range.
        range: RangeId,
        /// Where it begins and ends.
        bounds: Bounds,
        /// The most rows to read; nothing if it was cut to size before.
        rows: Option<u64>,
        /// How it is compared.
        how: How,
    },
    /// Rows that were touched since they were proved.
    Items {
        /// The table.
        table: TableName,
        /// The items.
        items: Vec<Arc<Item>>,
    },
}

impl Work {
    /// The table.
    #[must_use]
    pub const fn table(&self) -> &TableName {
        match self {
            Self::Range { table, .. } | Self::Items { table, .. } => table,
        }
    }

    /// The range; `None` for single items.
    #[must_use]
    pub const fn range(&self) -> Option<RangeId> {
        match self {
            Self::Range { range, .. } => Some(*range),
            Self::Items { .. } => None,
        }
    }
}

/// What is remembered of a range besides what the ledger knows.
#[derive(Debug, Clone, Default)]
struct Note {
    /// How many rows it had when it was cut or read last; nothing before that.
    rows: Option<u64>,
    /// Checks in a row that said nothing.
    doubts: u32,
    /// It is left alone until then.
    not_before: Duration,
    /// How long reading it took last.
    took: Duration,
}

/// What is remembered of a table.
#[derive(Debug, Clone)]
struct Told {
    notes: BTreeMap<RangeId, Note>,
    /// What is being read: ranges, or items where there is none.
    busy: BTreeSet<Option<RangeId>>,
    pace: Pace,
    /// Of the last range checks, how many were touched: one more for each, one less for each that was not.
    heat: u32,
    items_read: Duration,
    /// How many open items come before the next ones to read.
    items_from: usize,
}

/// Chooses what to read next. Knows no clock: time comes in.
#[derive(Debug, Clone)]
pub struct Plan {
    target: Target,
    /// How old a proof may be before its range is read again; nothing if it never is.
    again_after: Option<Duration>,
    tables: BTreeMap<TableName, Told>,
    items_last: bool,
    /// Only open rows are read, and at once: a hold is near.
    only_items: bool,
}

impl Plan {
    /// `again_after`: how old a proof may be before its range is read again.
    #[must_use]
    pub fn new(target: Target, again_after: Option<Duration>) -> Self {
        Self {
            target,
            again_after,
            tables: BTreeMap::new(),
            items_last: false,
            only_items: false,
        }
    }

    /// Whether only open rows are read, as soon as they are open. A hold is near: as few as possible are to be open then,
    /// and no statement is to run for long.
    pub const fn reads_only_items(&self) -> bool {
        self.only_items
    }

    /// See [`Plan::reads_only_items`].
    pub const fn only_items(&mut self, only: bool) {
        self.only_items = only;
    }

    /// How long whoever found nothing to read may wait before asking again.
    #[must_use]
    pub const fn idle(&self) -> Duration {
        if self.only_items { ITEMS_WAIT_NEAR } else { IDLE }
    }

    fn told(&mut self, table: &TableName) -> &mut Told {
        let target = self.target;
        self.tables.entry(table.clone()).or_insert_with(|| Told {
            notes: BTreeMap::new(),
            busy: BTreeSet::new(),
            pace: Pace::new(target, FIRST_ROWS),
            heat: 0,
            items_read: Duration::ZERO,
            items_from: 0,
        })
    }

    /// A table began anew: nothing of its ranges is remembered. What is being read of it still counts as under way.
    pub fn forget(&mut self, table: &TableName) {
        if let Some(old) = self.tables.remove(table) {
            self.told(table).busy = old.busy;
        }
    }

    /// The next thing to read, if there is one now. It counts as under way until [`Plan::ended`].
    pub fn next(&mut self, ledger: &Ledger, now: Duration) -> Option<Work> {
        if self.only_items {
            let work = self.items(ledger, now)?;
            self.told(work.table()).busy.insert(None);
            return Some(work);
        }
        // Turn by turn, or a long first pass would let open rows pile up.
        let work = if self.items_last {
            self.range(ledger, now).or_else(|| self.items(ledger, now))
        } else {
            self.items(ledger, now).or_else(|| self.range(ledger, now))
        }?;
        self.items_last = matches!(work, Work::Items { .. });
        self.told(work.table()).busy.insert(work.range());
        Some(work)
    }

    fn items(&mut self, ledger: &Ledger, now: Duration) -> Option<Work> {
        let wait = if self.only_items {
            ITEMS_WAIT_NEAR
        } else {
            ITEMS_WAIT
        };
        for (name, table) in ledger.tables() {
            let waits = self
                .tables
                .get(name)
                .is_some_and(|told| told.busy.contains(&None) || now < told.items_read.saturating_add(wait));
            if table.not_provable.is_some() || waits {
                continue;
            }
            let from = self.tables.get(name).map_or(0, |told| told.items_from);
            let (items, is_all) = table.open_items(from, ITEMS_AT_ONCE);
            if items.is_empty() {
                continue;
            }
            let told = self.told(name);
            if is_all {
                told.items_read = now;
                told.items_from = 0;
            } else if items.len() < ITEMS_AT_ONCE {
                told.items_from = 0;
            } else {
                told.items_from = from + ITEMS_AT_ONCE;
            }
            return Some(Work::Items {
                table: name.clone(),
                items,
            });
        }
        None
    }

    fn range(&mut self, ledger: &Ledger, now: Duration) -> Option<Work> {
        let mut oldest: Option<(Duration, (&TableName, &Table, RangeId))> = None;
        let mut differs: Option<(&TableName, &Table, RangeId)> = None;
        let mut missing: Option<(&TableName, &Table, RangeId)> = None;
        'tables: for (name, table) in ledger.tables() {
            if table.not_provable.is_some() {
                continue;
            }
            let told = self.tables.get(name);
            let waits = |id: RangeId| {
                told.is_some_and(|told| {
                    told.busy.contains(&Some(id))
                        || told.notes.get(&id).is_some_and(|note| now < note.not_before)
                })
            };
            for (id, range) in &table.by_id {
                if waits(*id) {
                    continue;
                }
                match (&range.state, range.touches.open()) {
                    (State::Unproven, _) | (State::Proved { .. }, Open::Whole) => {
                        missing = Some((name, table, *id));
                        break 'tables;
                    }
                    (State::Diverged { .. }, _) => differs = differs.or(Some((name, table, *id))),
                    (State::Proved { at, .. }, Open::Items(_)) => {
                        if oldest.is_none_or(|(least, _)| *at < least) {
                            oldest = Some((*at, (name, table, *id)));
                        }
                    }
                }
            }
        }
        let is_old = |at: Duration| {
            self.again_after
                .is_some_and(|after| now >= at.saturating_add(after))
        };
        let again = oldest.filter(|(at, _)| is_old(*at)).map(|(_, range)| range);
        let is_difference = missing.is_none() && differs.is_some();
        let (name, table, id) = missing.or(differs).or(again)?;
        self.of_range(name, table, id, is_difference)
    }

    fn of_range(&mut self, name: &TableName, table: &Table, id: RangeId, differs: bool) -> Option<Work> {
        let told = self.told(name);
        let (pace, is_hot) = (told.pace.rows(), told.heat >= HOT);
        let note = told.notes.get(&id).cloned().unwrap_or_default();
        let how = match (table.has_key, differs || is_hot || note.doubts > 0) {
            (false, _) => How::Whole,
            (true, true) => How::RowByRow,
            (true, false) => How::Digest,
        };
        let most = if how == How::RowByRow {
            pace.min(ROWS_ONE_BY_ONE)
        } else {
            pace
        };
        // A range that grew, or that is to be read in another way than before, is cut anew.
        let fits = note.rows.is_some_and(|rows| rows <= most.saturating_mul(2));
        Some(Work::Range {
            table: name.clone(),
            range: id,
            bounds: table.ranges.bounds(id)?,
            rows: (!fits && table.has_key).then_some(most),
            how,
        })
    }

    /// A range was cut: its lower part kept its number and has so many rows.
    pub fn cut(&mut self, table: &TableName, lower: RangeId, upper: RangeId, rows: u64) {
        let told = self.told(table);
        let mut note = told.notes.get(&lower).cloned().unwrap_or_default();
        note.rows = note.rows.map(|all| all.saturating_sub(rows));
        told.notes.insert(upper, note);
        told.notes.entry(lower).or_default().rows = Some(rows);
    }

    /// A range was read in that time on the slower side, and had so many rows on the side that has more.
    pub fn read(&mut self, table: &TableName, range: RangeId, rows: u64, took: Duration) {
        let told = self.told(table);
        told.pace.took(rows, took);
        let note = told.notes.entry(range).or_default();
        note.rows = Some(rows);
        note.took = took;
    }

    /// A range could not be read in the time it had: it is cut smaller at once.
    pub fn too_slow(&mut self, table: &TableName, range: RangeId, took: Duration) {
        let told = self.told(table);
        let rows = told.pace.rows();
        told.pace.took(rows, took);
        told.notes.remove(&range);
    }

    /// A piece of work ended, with a verdict if it was one range that was checked to its end.
    pub fn ended(&mut self, work: &Work, verdict: Option<&Verdict>, now: Duration) {
        let told = self.told(work.table());
        let of = work.range();
        told.busy.remove(&of);
        let Some(range) = of else { return };
        let note = told.notes.entry(range).or_default();
        let heat = match verdict {
            Some(Verdict::Proved { .. }) => {
                note.doubts = 0;
                note.not_before = Duration::ZERO;
                Some(false)
            }
            Some(Verdict::Diverged { .. }) => {
                // Looked at row by row first, and then left alone for a while.
                let looked = !matches!(work, Work::Range { how: How::Digest, .. });
                note.not_before = if looked {
                    now.saturating_add(DIVERGED_WAIT)
                } else {
                    now
                };
                note.doubts = 0;
                None
            }
            Some(Verdict::Inconclusive(doubt)) => {
                note.doubts = note.doubts.saturating_add(1);
                // Row by row everything but the touched rows is settled: no need to wait before that.
                let wait = DOUBT_WAIT.saturating_mul(note.doubts.saturating_sub(1).min(DOUBTS_COUNTED));
                note.not_before = now.saturating_add(wait);
                match doubt {
                    Doubt::Touched { .. } => Some(true),
                    Doubt::Void(Void::RangeSplit) => {
                        note.doubts = 0;
                        None
                    }
                    Doubt::Void(_) => None,
                }
            }
            None => {
                note.not_before = now.saturating_add(DOUBT_WAIT.saturating_mul(DOUBTS_COUNTED));
                None
            }
        };
        // It is open as a whole with the next row that changes, and reading it must not be all that is done.
        if matches!(work, Work::Range { how: How::Whole, .. }) {
            let rest = note.took.saturating_mul(WHOLE_REST).max(WHOLE_WAIT);
            note.not_before = note.not_before.max(now.saturating_add(rest));
        }
        match heat {
            Some(true) => told.heat = (told.heat + 1).min(2 * HOT),
            // Row by row a hot table is proved, too: that says nothing of its heat.
            Some(false) if matches!(work, Work::Range { how: How::Digest, .. }) => {
                told.heat = told.heat.saturating_sub(1);
            }
            _ => {}
        }
    }
}
