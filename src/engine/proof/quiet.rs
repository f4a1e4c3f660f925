//! What the proof knows of tables without comparing them: whether a transaction may be on one side only that touched
//! them, for whoever reads both sides in another way.

use super::check::STREAM_WAIT;
use super::prover::Prover;
use crate::domain::position::FilePosition;
use crate::domain::proof::transaction::{Positions, TableName};

impl Prover {
    /// Whether every range has been compared at least once by the definition that its table has now, and what differs is
    /// known row by row. Rows that were touched since may be open.
    #[must_use]
    pub fn was_everywhere(&self) -> bool {
        let state = self.state();
        state.definitions_are_known() && state.was_everywhere()
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
        self.as_it_passes(STREAM_WAIT, |state| state.recent.touched(tables, before, after))
            .await
    }
}
