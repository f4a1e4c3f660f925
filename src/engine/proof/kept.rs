//! What a proof leaves for the next one, and how that begins with it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::prover::Prover;
use crate::domain::position::FilePosition;
use crate::domain::proof::kept::KeptTable;
use crate::domain::proof::transaction::{Positions, TableName};

/// Everything that was proved at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Up to where blue's binlog is taken in.
    pub place: FilePosition,
    /// When the file of that place was made, by blue's clock.
    pub made: u32,
    /// What both sides had executed when the newest check began: neither may have less when it goes on.
    pub executed: Positions,
    /// The tables.
    pub tables: Vec<KeptTable>,
}

/// How much of what was kept counts again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Ranges that are proved by it.
    pub ranges: usize,
    /// Tables of which it does not fit any more.
    pub tables_left_out: usize,
}

impl Prover {
    /// What can be kept at this moment; `None` where nothing is certain: before the first check, and while the stream is
    /// broken or still brings what came before.
    #[must_use]
    pub fn keep(&self) -> Option<Kept> {
        let now = self.now();
        let state = self.state();
        let place = state.ledger.passed().clone();
        let (name, made) = state.file_made.clone()?;
        if name != place.file || state.is_everything_stale() {
            return None;
        }
        Some(Kept {
            executed: state.newest_positions.as_deref()?.clone(),
            tables: state.ledger.keep(now, |table| !state.is_stale(table))?,
            place,
            made,
        })
    }

    /// Begins with what was kept, of the tables that `still` names: those whose definition is the same. To be called
    /// before it runs, with a stream from the place that was kept on. Nothing of it counts before the stream has passed
    /// `present`, a place that blue had reached after the stream was opened. `since` is how long ago it was kept.
    pub fn restore(
        &mut self,
        kept: &Kept,
        since: Duration,
        present: FilePosition,
        still: impl Fn(&TableName) -> bool,
    ) -> Restored {
        let aged = |table: &KeptTable| {
            let mut table = table.clone();
            for range in table.ranges.iter_mut().flatten() {
                range.age = range.age.saturating_add(since);
            }
            table
        };
        let ages = kept.tables.iter().flat_map(|table| table.ranges.iter().flatten());
        let oldest = ages.map(|range| range.age).max().unwrap_or_default();
        // Its clock has to have begun before the oldest proof.
        self.set_clock(oldest.saturating_add(since));
        let now = self.now();
        let from = Arc::new(kept.executed.clone());
        let once = self.options().once;
        let mut restored = Restored::default();
        let mut state = self.state();
        for table in &kept.tables {
            let ranges = still(&table.name)
                .then(|| state.ledger.restore(&aged(table), now, &from))
                .flatten();
            match ranges {
                Some(ranges) => restored.ranges += ranges,
                None => restored.tables_left_out += 1,
            }
        }
        state.ledger.catch_up(present, once);
        state.file_made = Some((kept.place.file.clone(), kept.made));
        restored
    }
}
