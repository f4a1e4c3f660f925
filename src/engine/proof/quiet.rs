//! What the proof knows of tables without comparing them: whether a transaction may be on one side only that touched
//! them, for whoever reads both sides in another way.

use std::time::Duration;

use tokio::time::timeout;

use super::prover::Prover;
use crate::domain::position::FilePosition;
use crate::domain::proof::summary::Summary;
use crate::domain::proof::transaction::{Positions, TableName};

/// How long the stream may take to pass the place after a reading.
const STREAM_WAIT: Duration = Duration::from_secs(30);

impl Prover {
    /// Whether every range has been compared at least once, and what differs is known row by row. Rows that were touched
    /// since may be open.
    #[must_use]
    pub fn was_everywhere(&self) -> bool {
        let now = self.now();
        let state = self.state();
        let sum = Summary::of(&state.ledger, now);
        sum.unproven == 0 && sum.whole_rows == 0 && state.ledger.differences_are_looked_at()
    }

    /// Forgets the transactions that both sides are known to show. Positions of later readings must not be older.
    pub fn settle(&self, before: &Positions) {
        self.state().recent.settle(before);
    }

    /// Whether a transaction that may have been on one side only has touched one of these tables, for a reading that began
    /// after `before` was read and ended before blue stood at `after`. Of tables that are not watched nothing is known,
    /// and every such transaction counts. `None` when the stream does not come that far in time.
    pub async fn touched(
        &self,
        tables: &[TableName],
        before: &Positions,
        after: &FilePosition,
    ) -> Option<bool> {
        let mut passed = self.passed.subscribe();
        let waiting = async {
            loop {
                passed.mark_unchanged();
                let known = {
                    let state = self.state();
                    state.recent.touched(tables, before, after)
                };
                if known.is_some() || passed.changed().await.is_err() {
                    return known;
                }
            }
        };
        timeout(STREAM_WAIT, waiting).await.ok().flatten()
    }
}
