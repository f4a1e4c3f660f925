//! Which key falls into which range of a table.
//!
//! A table begins as one range without ends. Ranges come to be by splitting at keys that the server named, so that
//! their bounds are always values that it can compare. A range holds the keys above its lower bound and up to its
//! upper one.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::key::Key;

/// A range of one table, for as long as the table is watched. A number is not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RangeId(pub u32);

/// Where a range begins and ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bounds {
    /// Keys are above this one; open if absent.
    pub above: Option<Key>,
    /// Keys go up to this one, which belongs to the range; open if absent.
    pub up_to: Option<Key>,
}

/// Why a range was not split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSplit {
    /// The table has no key that ranges could be made of.
    #[error("the table has no key: it is one range")]
    NoKey,
    /// There is no such range any more.
    #[error("there is no such range any more")]
    NoSuchRange,
    /// The key does not lie inside the range, or only the server could tell.
    #[error("the key is not known to lie inside the range")]
    NotInside,
    /// The table has as many ranges as are remembered.
    #[error("the table has {} ranges already, the most that are remembered", Ranges::MOST)]
    TooMany,
}

/// The ranges of one table, in the order of their keys, without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ranges {
    has_key: bool,
    /// The upper bounds of all ranges but the last, ascending.
    cuts: Vec<Key>,
    /// One more than the cuts.
    ids: Vec<RangeId>,
    next: u32,
}

impl Ranges {
    /// The most ranges of one table; a larger one has larger ranges.
    pub const MOST: usize = 100_000;

    /// One range without ends. Without a key it stays the only one.
    #[must_use]
    pub fn new(has_key: bool) -> Self {
        Self {
            has_key,
            cuts: Vec::new(),
            ids: vec![RangeId(0)],
            next: 1,
        }
    }

    /// The ranges between these keys; `None` if they are not in the order of their keys, as far as that can be told here.
    #[must_use]
    pub fn of(has_key: bool, cuts: Vec<Key>) -> Option<Self> {
        let is_in_order = cuts
            .array_windows()
            .all(|[one, next]| one != next && one.compare(next).is_none_or(|order| order == Ordering::Less));
        let count = u32::try_from(cuts.len() + 1).ok()?;
        if !is_in_order || cuts.len() >= Self::MOST || !has_key && !cuts.is_empty() {
            return None;
        }
        Some(Self {
            has_key,
            cuts,
            ids: (0..count).map(RangeId).collect(),
            next: count,
        })
    }

    /// All ranges with their bounds, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (RangeId, Bounds)> + '_ {
        self.ids
            .iter()
            .enumerate()
            .map(|(at, id)| (*id, self.bounds_at(at)))
    }

    /// How many there are, at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ids.len()
    }

    /// The bounds of one range, if it is there.
    #[must_use]
    pub fn bounds(&self, range: RangeId) -> Option<Bounds> {
        self.ids
            .iter()
            .position(|id| *id == range)
            .map(|at| self.bounds_at(at))
    }

    fn bounds_at(&self, at: usize) -> Bounds {
        Bounds {
            above: at.checked_sub(1).and_then(|below| self.cuts.get(below)).cloned(),
            up_to: self.cuts.get(at).cloned(),
        }
    }

    /// The range of a key; `None` where only the server can tell.
    #[must_use]
    pub fn range_of(&self, key: &Key) -> Option<RangeId> {
        let (mut low, mut high) = (0, self.cuts.len());
        while low < high {
            let middle = low.midpoint(high);
            match key.compare(self.cuts.get(middle)?)? {
                Ordering::Greater => low = middle + 1,
                Ordering::Less | Ordering::Equal => high = middle,
            }
        }
        self.ids.get(low).copied()
    }

    /// Cuts a range behind `key`. The lower part keeps its number; returns that of the upper part.
    ///
    /// # Errors
    /// [`NotSplit`]; nothing has changed then.
    pub fn split(&mut self, range: RangeId, key: Key) -> Result<RangeId, NotSplit> {
        if !self.has_key {
            return Err(NotSplit::NoKey);
        }
        let at = self
            .ids
            .iter()
            .position(|id| *id == range)
            .ok_or(NotSplit::NoSuchRange)?;
        if self.ids.len() >= Self::MOST {
            return Err(NotSplit::TooMany);
        }
        let bounds = self.bounds_at(at);
        // A text key lies at an unknown place, but its neighbours came from the server in its order.
        let fits = |bound: Option<&Key>, order| {
            bound.is_none_or(|bound| key.compare(bound).is_none_or(|is| is == order) && key != *bound)
        };
        if !fits(bounds.above.as_ref(), Ordering::Greater) || !fits(bounds.up_to.as_ref(), Ordering::Less) {
            return Err(NotSplit::NotInside);
        }
        let upper = RangeId(self.next);
        self.next += 1;
        self.cuts.insert(at, key);
        self.ids.insert(at + 1, upper);
        Ok(upper)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key::KeyPart;
    use super::*;

    #[test]
    fn a_table_without_a_key_is_one_range() {
        let mut ranges = Ranges::new(false);
        assert_eq!(ranges.split(RangeId(0), 5.into()), Err(NotSplit::NoKey));
        assert_eq!(ranges.range_of(&9.into()), Some(RangeId(0)));
    }

    #[test]
    fn the_place_of_a_text_is_the_servers() {
        let mut ranges = Ranges::new(true);
        let text = |t: &str| Key(vec![KeyPart::Text(t.into())]);
        assert_eq!(ranges.range_of(&text("x")), Some(RangeId(0)), "there is only one");
        assert_eq!(ranges.split(RangeId(0), text("m")), Ok(RangeId(1)));
        assert_eq!(ranges.range_of(&text("a")), None);
        assert_eq!(ranges.range_of(&text("m")), Some(RangeId(0)));
        assert_eq!(ranges.split(RangeId(0), text("m")), Err(NotSplit::NotInside));
    }

    fn some_key() -> impl Strategy<Value = Key> {
        (0_i128..6, 0_u8..6).prop_map(|(a, b)| Key(vec![KeyPart::Integer(a), KeyPart::Bytes(vec![b])]))
    }

    proptest! {
        #[test]
        fn every_key_is_in_exactly_the_range_whose_bounds_hold_it(
            cuts in proptest::collection::vec((any::<usize>(), some_key()), 0..30), keys in proptest::collection::vec(some_key(), 1..30),
        ) {
            let mut ranges = Ranges::new(true);
            for (which, key) in cuts {
                let range = ranges.ids[which % ranges.ids.len()];
                let before = ranges.clone();
                let bounds = ranges.bounds(range).unwrap();
                let inside = bounds.above.as_ref().is_none_or(|b| key > *b) && bounds.up_to.as_ref().is_none_or(|b| key < *b);
                match ranges.split(range, key.clone()) {
                    Ok(upper) => {
                        prop_assert!(inside);
                        prop_assert!(before.bounds(upper).is_none(), "a number is not used again");
                        prop_assert_eq!(ranges.bounds(range).unwrap(), Bounds { above: bounds.above, up_to: Some(key.clone()) });
                        prop_assert_eq!(ranges.bounds(upper).unwrap(), Bounds { above: Some(key), up_to: bounds.up_to });
                    }
                    Err(why) => {
                        prop_assert!(!inside, "{}", why);
                        prop_assert_eq!(&ranges, &before);
                    }
                }
            }
            // The plain truth: look at every range's bounds.
            for key in keys {
                let holding: Vec<_> = ranges
                    .iter()
                    .filter(|(_, b)| b.above.as_ref().is_none_or(|a| key > *a) && b.up_to.as_ref().is_none_or(|u| key <= *u))
                    .map(|(id, _)| id)
                    .collect();
                prop_assert_eq!(holding, vec![ranges.range_of(&key).unwrap()]);
            }
        }
    }
}
