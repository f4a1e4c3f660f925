//! What is proved and what is not, and how long the fence would take.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::ledger::{Ledger, NotProvable, State};
use super::touches::Open;
use super::transaction::TableName;

/// How far the proof is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// All ranges of all tables that can be proved.
    pub ranges: usize,
    /// Ranges that are proved and that nothing has touched since.
    pub proved: usize,
    /// Ranges that are proved but for open rows.
    pub open: usize,
    /// Ranges of which nothing is known yet, or not any more.
    pub unproven: usize,
    /// Tables without a key that changed each time they were read, so that only the fence can compare them.
    pub unsettled: Vec<TableName>,
    /// Ranges that differ.
    pub diverged: usize,
    /// What of which tables differs.
    pub differing: BTreeMap<TableName, Differing>,
    /// Rows, by key or by foreign key, that were read again and differ, outside the ranges that do.
    pub diverged_items: usize,
    /// Tables that cannot be proved, with the reason.
    pub not_provable: Vec<(TableName, NotProvable)>,
    /// How old the oldest proof is.
    pub oldest: Option<Duration>,
    /// Rows, by key or by foreign key, that the fence must read again.
    pub open_rows: u64,
    /// Rows of ranges that the fence must read again as a whole, because too many were touched.
    pub whole_rows: u64,
}

/// What of a table differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Differing {
    /// Rows that are known to, by key or by foreign key.
    pub rows: usize,
    /// Ranges of which no such row is known (yet).
    pub ranges: usize,
    /// How many rows blue and green have, for a table without a key.
    pub without_key: Option<(u64, u64)>,
}

impl Summary {
    /// Sums the ledger up. `now` is bleen's own clock.
    #[must_use]
    pub fn of(ledger: &Ledger, now: Duration) -> Self {
        let mut sum = Self::default();
        for (name, table) in ledger.tables() {
            if let Some(why) = &table.not_provable {
                sum.not_provable.push((name.clone(), why.clone()));
                continue;
            }
            sum.diverged_items += table.diverged.len();
            if let Open::Items(items) = table.anywhere.open() {
                sum.open_rows += items.len() as u64;
            }
            let mut differing = Differing {
                rows: table.diverged.len(),
                ..Differing::default()
            };
            for range in table.by_id.values() {
                sum.ranges += 1;
                match (&range.state, range.touches.open()) {
                    (State::Unproven, _) => match table.unsettled {
                        Some(unsettled) => {
                            sum.unsettled.push(name.clone());
                            sum.whole_rows = sum.whole_rows.saturating_add(unsettled.rows.max(1));
                        }
                        None => sum.unproven += 1,
                    },
                    (State::Diverged { blue, green, rows }, _) => {
                        sum.diverged += 1;
                        differing.rows += rows.len();
                        differing.ranges += usize::from(rows.is_empty());
                        if !table.has_key {
                            differing.without_key = Some((blue.rows, green.rows));
                        }
                    }
                    (State::Proved { .. }, Open::Items(items)) if items.is_empty() => sum.proved += 1,
                    (State::Proved { .. }, Open::Items(items)) => {
                        sum.open += 1;
                        sum.open_rows += items.len() as u64;
                    }
                    (State::Proved { rows, .. }, Open::Whole) => {
                        sum.open += 1;
                        // It may have grown from nothing since it was counted.
                        sum.whole_rows = sum.whole_rows.saturating_add((*rows).max(1));
                    }
                }
                if let State::Proved { at, .. } = range.state {
                    sum.oldest = sum.oldest.max(Some(now.saturating_sub(at)));
                }
            }
            if differing != Differing::default() {
                sum.differing.insert(name.clone(), differing);
            }
        }
        if ledger.is_catching_up() {
            sum.unproven += sum.proved + sum.open;
            (sum.proved, sum.open) = (0, 0);
        }
        sum
    }

    /// Whether reading the open rows again is all that is missing. Tables that cannot be proved are the caller's to
    /// judge: a playbook may accept them.
    #[must_use]
    pub const fn can_be_proved_at_the_fence(&self) -> bool {
        self.unproven == 0 && self.diverged == 0 && self.diverged_items == 0
    }

    /// How long the fence would take. `None` while that cannot be known: a range is unproven or differs, or a rate
    /// that is needed has not been measured.
    #[must_use]
    pub fn fence_time(&self, rates: Rates) -> Option<Duration> {
        if !self.can_be_proved_at_the_fence() {
            return None;
        }
        let by_key = time_for(self.open_rows, rates.by_key)?;
        let whole = time_for(self.whole_rows, rates.scanned)?;
        Some(rates.drain.saturating_add(by_key).saturating_add(whole))
    }
}

/// What was measured: rows in a second on the slower side, and the time green needs to reach blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Rows that are looked up by key; nothing if not measured.
    pub by_key: Option<u64>,
    /// Rows that are read as a range; nothing if not measured.
    pub scanned: Option<u64>,
    /// The drain.
    pub drain: Duration,
}

fn time_for(rows: u64, per_second: Option<u64>) -> Option<Duration> {
    if rows == 0 {
        return Some(Duration::ZERO);
    }
    let nanos = u128::from(rows) * 1_000_000_000 / u128::from(per_second.filter(|rate| *rate > 0)?);
    Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}
