//! What of a ledger outlives its process: the ranges that were proved, with what was touched of them since, at the place
//! in blue's binlog up to which that is complete.
//!
//! A range is proved from some position on until it is touched. Its touches up to that place are written down with it, so
//! whoever reads the binlog from there on knows as much as whoever never stopped. What is not proved, open as a whole, or
//! different, is left out: it is compared again.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::position::FilePosition;
use super::key::Key;
use super::ledger::{Ledger, State};
use super::ranges::Ranges;
use super::table::Range;
use super::touches::{Item, Open, Touches};
use super::transaction::{Positions, TableName};

/// The most keys that are kept, of bounds and of open rows.
pub const MOST_KEYS: usize = 500_000;

/// A proved range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRange {
    /// How old its proof is.
    pub age: Duration,
    /// How many rows it had.
    pub rows: u64,
    /// What was touched since.
    pub open: Vec<Item>,
}

/// The proved ranges of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTable {
    /// The table.
    pub name: TableName,
    /// Whether a key tells its rows apart.
    pub has_key: bool,
    /// The upper bounds of all ranges but the last.
    pub cuts: Vec<Key>,
    /// One more than the cuts, in the order of their keys; nothing where a range is not proved.
    pub ranges: Vec<Option<KeptRange>>,
    /// What was touched and falls into no known range.
    pub anywhere: Vec<Item>,
}

impl Ledger {
    /// What can be kept of the tables that `wanted` names; the place that it is true for is [`Ledger::passed`]. `now` is
    /// bleen's own clock. Nothing while the ledger itself does not know what was touched.
    #[must_use]
    pub fn keep(&self, now: Duration, wanted: impl Fn(&TableName) -> bool) -> Option<Vec<KeptTable>> {
        if self.is_broken() || self.is_catching_up() {
            return None;
        }
        let mut room = MOST_KEYS;
        let mut kept = Vec::new();
        for (name, table) in self.tables() {
            let Some(anywhere) = items(table.anywhere.open()) else {
                continue;
            };
            // A row that differs and lies in no known range would have to be looked for in all of them.
            let is_fit = table.not_provable.is_none() && table.diverged.is_empty() && wanted(name);
            let needed = table.ranges.count() + anywhere.len();
            if !is_fit || needed > room {
                continue;
            }
            room -= needed;
            let mut one = KeptTable {
                name: name.clone(),
                has_key: table.has_key,
                cuts: Vec::with_capacity(table.ranges.count()),
                ranges: Vec::with_capacity(table.ranges.count()),
                anywhere,
            };
            for (id, bounds) in table.ranges.iter() {
                let range = table.by_id.get(&id).and_then(|range| range.keep(now));
                let range = range.filter(|range| range.open.len() <= room);
                room -= range.as_ref().map_or(0, |range| range.open.len());
                one.ranges.push(range);
                one.cuts.extend(bounds.up_to);
            }
            if one.ranges.iter().any(Option::is_some) {
                kept.push(one);
            }
        }
        Some(kept)
    }

    /// Takes in what was kept of a table that is watched and of which nothing is known yet. The stream must carry every
    /// transaction that ends behind the place for which it was true, and none of them may have come; `at` is the present on
    /// bleen's own clock, and `from` what both sides had executed when it was kept. How many ranges are proved by it;
    /// `None`, and nothing has changed, where it does not fit.
    pub fn restore(&mut self, kept: &KeptTable, at: Duration, from: &Arc<Positions>) -> Option<usize> {
        let most = self.caps().in_a_range;
        let table = self
            .table_mut(&kept.name)
            .filter(|table| table.not_provable.is_none() && table.has_key == kept.has_key)
            .filter(|table| table.by_id.values().all(|range| *range == Range::default()))?;
        let ranges = Ranges::of(kept.has_key, kept.cuts.clone())?;
        if ranges.count() != kept.ranges.len() {
            return None;
        }
        let mut proved = 0;
        table.by_id = ranges
            .iter()
            .zip(&kept.ranges)
            .map(|((id, _), kept)| {
                let Some(kept) = kept else {
                    return (id, Range::default());
                };
                proved += 1;
                let state = State::Proved {
                    from: Arc::clone(from),
                    at: at.saturating_sub(kept.age),
                    rows: kept.rows,
                };
                let touches = opened(&kept.open, most);
                (id, Range { state, touches })
            })
            .collect();
        table.ranges = ranges;
        for item in &kept.anywhere {
            table.anywhere.open_item(Some(Arc::new(item.clone())), most);
        }
        if *table.anywhere.open() == Open::Whole {
            table.unprove();
            proved = 0;
        }
        self.weigh();
        Some(proved)
    }

    /// Nothing that was restored counts before the stream has passed this place: what changed since it was kept has to come
    /// first. With `rereads_open`, ranges of which anything is open by then are read whole: for whoever ends once every
    /// range was compared, and must not take an old proof with rows to be compared again for a comparison of today.
    pub fn catch_up(&mut self, place: FilePosition, rereads_open: bool) {
        self.set_catching_up(place, rereads_open);
    }
}

impl Range {
    fn keep(&self, now: Duration) -> Option<KeptRange> {
        match (&self.state, self.touches.open()) {
            (State::Proved { at, rows, .. }, open) => Some(KeptRange {
                age: now.saturating_sub(*at),
                rows: *rows,
                open: items(open)?,
            }),
            (State::Unproven | State::Diverged { .. }, _) => None,
        }
    }
}

fn items(open: &Open) -> Option<Vec<Item>> {
    match open {
        Open::Items(items) => Some(items.iter().map(|item| (**item).clone()).collect()),
        Open::Whole => None,
    }
}

fn opened(items: &[Item], most: usize) -> Touches {
    let mut touches = Touches::default();
    for item in items {
        touches.open_item(Some(Arc::new(item.clone())), most);
    }
    touches
}
