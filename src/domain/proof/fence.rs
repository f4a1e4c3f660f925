//! What is left to compare at the fence, when writers are held and green has executed all that blue has.

use std::sync::Arc;

use super::ledger::{Ledger, State};
use super::ranges::Bounds;
use super::touches::{Item, Open};
use super::transaction::TableName;

/// What of one table has to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The table.
    pub table: TableName,
    /// Rows that were touched since they were proved.
    pub items: Vec<Arc<Item>>,
    /// Ranges of which so many rows were touched that all of it is read.
    pub ranges: Vec<Bounds>,
}

/// Why comparing what is left would not prove everything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotEnough {
    /// The stream broke, so what was touched is not known.
    #[error("blue's binlog was not read up to the fence without a gap")]
    Broken,
    /// A range is not proved, or not any more.
    #[error("a range of rows of {0} is not proved")]
    Unproven(TableName),
    /// A range or a row differs.
    #[error("rows of {0} differ")]
    Differs(TableName),
    /// A table cannot be proved, and nobody has accepted that.
    #[error("{0} cannot be proved: {1}")]
    NotProvable(TableName, String),
}

impl Ledger {
    /// What has to be compared at the fence. The stream must have passed it. `accepted` are tables that may stay unproved where
    /// they cannot be proved.
    ///
    /// # Errors
    /// [`NotEnough`].
    pub fn left_at_the_fence(&self, accepted: impl Fn(&TableName) -> bool) -> Result<Vec<Left>, NotEnough> {
        if self.is_broken() || self.is_catching_up() {
            return Err(NotEnough::Broken);
        }
        let mut all = Vec::new();
        for (name, table) in self.tables() {
            if let Some(why) = &table.not_provable {
                if accepted(name) {
                    continue;
                }
                return Err(NotEnough::NotProvable(name.clone(), why.to_string()));
            }
            if !table.diverged.is_empty() {
                return Err(NotEnough::Differs(name.clone()));
            }
            let Open::Items(items) = table.anywhere.open() else {
                return Err(NotEnough::Unproven(name.clone()));
            };
            let mut left = Left {
                table: name.clone(),
                items: items.iter().cloned().collect(),
                ranges: Vec::new(),
            };
            for (id, range) in &table.by_id {
                match (&range.state, range.touches.open()) {
                    // Where everything stands still, reading it once is a whole proof.
                    (State::Unproven, _) if table.unsettled.is_some() => {
                        left.ranges.extend(table.ranges.bounds(*id));
                    }
                    (State::Unproven, _) => return Err(NotEnough::Unproven(name.clone())),
                    (State::Diverged { .. }, _) => return Err(NotEnough::Differs(name.clone())),
                    (State::Proved { .. }, Open::Items(items)) => left.items.extend(items.iter().cloned()),
                    (State::Proved { .. }, Open::Whole) => left.ranges.extend(table.ranges.bounds(*id)),
                }
            }
            if !left.items.is_empty() || !left.ranges.is_empty() {
                all.push(left);
            }
        }
        Ok(all)
    }
}
