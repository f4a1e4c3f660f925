//! One table of the ledger: its ranges, and what was touched of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::position::FilePosition;
use super::bracket::Reading;
use super::drill::Differs;
use super::key::Key;
use super::ledger::NotProvable;
use super::ranges::{RangeId, Ranges};
use super::touches::{Caps, InDoubt, Item, Open, Touches};
use super::transaction::{Positions, Transaction};

/// What is known of one range.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing.
    #[default]
    Unproven,
    /// It was equal, and what has been touched since is open.
    Proved {
        /// What both sides had executed.
        from: Arc<Positions>,
        /// When the check began, on bleen's own clock.
        at: Duration,
        /// How many rows it had.
        rows: u64,
    },
    /// It differed, and no lag explains it.
    Diverged {
        /// What blue said.
        blue: Reading,
        /// What green said.
        green: Reading,
        /// The rows, where they were looked at.
        rows: BTreeMap<Key, Differs>,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Range {
    pub state: State,
    pub touches: Touches,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Table {
    pub has_key: bool,
    pub ranges: Ranges,
    pub by_id: BTreeMap<RangeId, Range>,
    /// Touches that fall into no known range: keys under a collation, cascades, statements.
    pub anywhere: Touches,
    /// Items that were read again and differed.
    pub diverged: BTreeSet<Arc<Item>>,
    pub not_provable: Option<NotProvable>,
}

impl Table {
    pub fn new(has_key: bool) -> Self {
        let ranges = Ranges::new(has_key);
        let by_id = ranges.iter().map(|(id, _)| (id, Range::default())).collect();
        Self {
            has_key,
            ranges,
            by_id,
            anywhere: Touches::default(),
            diverged: BTreeSet::new(),
            not_provable: None,
        }
    }

    pub fn bytes(&self) -> usize {
        self.by_id
            .values()
            .map(|range| range.touches.bytes())
            .sum::<usize>()
            + self.anywhere.bytes()
    }

    /// Puts a touch where it belongs. `room` is how many bytes there are for it, `true` comes back when the table
    /// could not hold it and is unproven now.
    pub fn touch(
        &mut self,
        transaction: &Arc<Transaction>,
        item: Option<Arc<Item>>,
        caps: Caps,
        room: usize,
    ) -> bool {
        let place = self.place(item.as_deref());
        if let Some(range) = place.and_then(|id| self.by_id.get_mut(&id)) {
            let is_proved = matches!(range.state, State::Proved { .. });
            let had = range.touches.bytes();
            range.touches.add(transaction, item, is_proved, caps.in_a_range);
            if range.touches.bytes().saturating_sub(had) > room {
                range.touches.give_up_details(is_proved);
            }
            return false;
        }
        let had = self.anywhere.bytes();
        self.anywhere.add(transaction, item, true, caps.in_a_range);
        if self.anywhere.bytes().saturating_sub(had) > room {
            self.anywhere.give_up_details(true);
        }
        if *self.anywhere.open() == Open::Whole {
            self.unprove();
            return true;
        }
        false
    }

    /// A change of which only the table is known.
    pub fn touch_whole(&mut self, transaction: &Arc<Transaction>, caps: Caps) {
        self.unprove();
        self.anywhere.add(transaction, None, false, caps.in_a_range);
    }

    /// Forgets every proof. Which transactions may be in doubt stays known.
    pub fn unprove(&mut self) {
        self.anywhere.close_all();
        self.diverged.clear();
        for range in self.by_id.values_mut() {
            range.touches.close_all();
            range.state = State::Unproven;
        }
    }

    /// What is in doubt for one range: also what may be anywhere.
    pub fn in_doubt(&self, range: RangeId, before: &Positions, after: &FilePosition) -> InDoubt {
        let own = self
            .by_id
            .get(&range)
            .map_or(InDoubt::Anything, |range| range.touches.in_doubt(before, after));
        own.and(self.anywhere.in_doubt(before, after))
    }

    /// What is in doubt for one item.
    pub fn item_in_doubt(&self, item: &Item, before: &Positions, after: &FilePosition) -> InDoubt {
        if let Item::Row(key) = item
            && let Some(range) = self.ranges.range_of(key)
        {
            return self.in_doubt(range, before, after);
        }
        self.by_id
            .values()
            .map(|range| range.touches.in_doubt(before, after))
            .fold(self.anywhere.in_doubt(before, after), InDoubt::and)
    }

    /// The touches that an item is kept in.
    pub fn touches_of(&mut self, item: &Item) -> &mut Touches {
        match self.place(Some(item)).and_then(|id| self.by_id.get_mut(&id)) {
            Some(range) => &mut range.touches,
            None => &mut self.anywhere,
        }
    }

    /// What the touches take that an item is kept in.
    pub fn bytes_of(&self, item: Option<&Item>) -> usize {
        match self.place(item).and_then(|id| self.by_id.get(&id)) {
            Some(range) => range.touches.bytes(),
            None => self.anywhere.bytes(),
        }
    }

    fn place(&self, item: Option<&Item>) -> Option<RangeId> {
        match item {
            // Rows of a table without a key: its only range is touched, nobody knows where.
            None => Some(RangeId(0)),
            Some(Item::Row(key)) => self.ranges.range_of(key),
            Some(Item::Where { .. }) => None,
        }
    }
}
