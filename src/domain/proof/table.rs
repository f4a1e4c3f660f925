//! One table of the ledger: its ranges, and what was touched of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::position::FilePosition;
use super::bracket::Reading;
use super::drill::{Differs, Touched};
use super::key::Key;
use super::ledger::{ItemRead, ItemsFound, NotProvable};
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
    /// Without a key: how many rows it had in a check that was touched, and how many checks in a row were.
    pub unsettled: Option<Unsettled>,
}

/// A table without a key that was read, but changed while it was read. At the fence, where nothing changes, it can be
/// compared all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unsettled {
    pub rows: u64,
    pub checks: u32,
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
            unsettled: None,
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

    /// An item must be read again although the proof of a range has ended.
    pub fn open_again(&mut self, item: Arc<Item>, caps: Caps) {
        match self.place(Some(&item)).and_then(|id| self.by_id.get_mut(&id)) {
            Some(range) => range.touches.open_item(Some(item), caps.in_a_range),
            None => {
                self.anywhere.open_item(Some(item), caps.in_a_range);
                if *self.anywhere.open() == Open::Whole {
                    self.unprove();
                }
            }
        }
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

    /// Forgets the proofs of ranges of which anything is open; all, where a row is open that lies in no known range.
    pub fn unprove_what_is_open(&mut self) {
        let is_closed = |touches: &Touches| matches!(touches.open(), Open::Items(items) if items.is_empty());
        if !is_closed(&self.anywhere) {
            self.unprove();
        }
        for range in self.by_id.values_mut() {
            if !is_closed(&range.touches) {
                range.touches.close_all();
                range.state = State::Unproven;
            }
        }
    }

    /// Whether a row is known to differ.
    pub fn differs(&self, key: &Key) -> bool {
        let in_range =
            |range: &Range| matches!(&range.state, State::Diverged { rows, .. } if rows.contains_key(key));
        self.diverged.contains(&Item::Row(key.clone()))
            || match self.ranges.range_of(key) {
                Some(id) => self.by_id.get(&id).is_some_and(in_range),
                None => self.by_id.values().any(in_range),
            }
    }

    /// Items that are open, at most so many, and whether these are all. It begins behind the first `from` ones, and again
    /// at the first one when there are no more: those that stay in doubt must not keep the others from their turn.
    pub fn open_items(&self, from: usize, most: usize) -> (Vec<Arc<Item>>, bool) {
        let count = self.open().count();
        let from = if count > most && from < count { from } else { 0 };
        (
            self.open().skip(from).take(most).cloned().collect(),
            count <= most,
        )
    }

    fn open(&self) -> impl Iterator<Item = &Arc<Item>> {
        let proved = self
            .by_id
            .values()
            .filter(|range| matches!(range.state, State::Proved { .. }))
            .map(|range| range.touches.open());
        std::iter::once(self.anywhere.open())
            .chain(proved)
            .filter_map(|open| match open {
                Open::Items(items) => Some(items),
                Open::Whole => None,
            })
            .flatten()
            .chain(&self.diverged)
    }

    /// What is in doubt for one range: also what may be anywhere.
    pub fn in_doubt(&self, range: RangeId, before: &Positions, after: &FilePosition) -> InDoubt {
        let own = self
            .by_id
            .get(&range)
            .map_or(InDoubt::Anything, |range| range.touches.in_doubt(before, after));
        own.and(self.anywhere.in_doubt(before, after))
    }

    /// Items were read by a check that began with `before` and after which blue stood at `after`.
    pub fn items_read(
        &mut self,
        read: &[ItemRead],
        before: &Positions,
        after: &FilePosition,
        most: usize,
    ) -> ItemsFound {
        let mut found = ItemsFound::default();
        let mut by_place: BTreeMap<Option<RangeId>, Vec<&ItemRead>> = BTreeMap::new();
        for one in read {
            by_place.entry(self.place(Some(&one.item))).or_default().push(one);
        }
        for (place, read) in by_place {
            let doubt = self.in_doubt_at(place, before, after);
            let touched = Touched::of(&doubt);
            let outside = self.touches_at(place).outside(before);
            for ItemRead { item, is_equal } in read {
                let is_in_doubt = match item {
                    Item::Row(key) => touched.may_be(key),
                    Item::Where { .. } => doubt != InDoubt::Nothing,
                };
                if is_in_doubt {
                    found.in_doubt += 1;
                } else if *is_equal {
                    let is_outside = match &outside {
                        InDoubt::Nothing => false,
                        InDoubt::Anything => true,
                        InDoubt::Items(items) => items.contains(item),
                    };
                    if !is_outside {
                        self.touches_at(place).close(item);
                    }
                    self.diverged.remove(item);
                    found.proved += 1;
                } else {
                    if self.diverged.len() < most {
                        self.diverged.insert(Arc::new(item.clone()));
                    }
                    found.diverged.push(item.clone());
                }
            }
        }
        found
    }

    /// What is in doubt for items that are kept at a place; `None` is anywhere.
    pub fn in_doubt_at(&self, place: Option<RangeId>, before: &Positions, after: &FilePosition) -> InDoubt {
        if let Some(range) = place {
            return self.in_doubt(range, before, after);
        }
        self.by_id
            .values()
            .map(|range| range.touches.in_doubt(before, after))
            .fold(self.anywhere.in_doubt(before, after), InDoubt::and)
    }

    /// The touches that are kept at a place.
    pub fn touches_at(&mut self, place: Option<RangeId>) -> &mut Touches {
        match place.and_then(|id| self.by_id.get_mut(&id)) {
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

    /// Where an item is kept: in a range, or anywhere.
    pub fn place(&self, item: Option<&Item>) -> Option<RangeId> {
        match item {
            // Rows of a table without a key: its only range is touched, nobody knows where.
            None => Some(RangeId(0)),
            Some(Item::Row(key)) => self.ranges.range_of(key),
            Some(Item::Where { .. }) => None,
        }
    }
}
