//! How many rows a range should have: as many as are read in the target time.

use std::collections::VecDeque;
use std::time::Duration;

/// How many of the last readings decide.
const REMEMBERED: usize = 16;

/// A reading that takes this many times the target shrinks the ranges at once.
const SLOW: u32 = 5;

/// Ranges grow by at most this factor from one reading to the next.
const GROWTH: u64 = 2;

/// Bounds and target of a range's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    /// How long one reading of a range should take on the slower side.
    pub time: Duration,
    /// The least rows of a range.
    pub least: u64,
    /// The most rows of a range.
    pub most: u64,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            time: Duration::from_millis(500),
            least: 100,
            most: 1_000_000,
        }
    }
}

/// What the last readings took, and the size that follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pace {
    target: Target,
    rows: u64,
    /// Nanoseconds for one row, of the last readings.
    costs: VecDeque<u64>,
}

impl Pace {
    /// Begins with ranges of this many rows.
    #[must_use]
    pub fn new(target: Target, first: u64) -> Self {
        let target = Target {
            least: target.least.max(1),
            most: target.most.max(target.least.max(1)),
            ..target
        };
        Self {
            target,
            rows: first.clamp(target.least, target.most),
            costs: VecDeque::new(),
        }
    }

    /// How many rows the next range should have.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// A range of this many rows was read in that time, on the slower side. Ranges become as large as nine of ten of
    /// the last readings allow, at most doubling; after one that took five times the target they shrink at once, and
    /// what was faster before is forgotten.
    pub fn took(&mut self, rows: u64, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let is_slow = time >= self.target.time.saturating_mul(SLOW);
        // A short range says little of the cost of a row: the way there and back is most of it.
        if rows < self.target.least && !is_slow {
            return;
        }
        let cost = (nanos / rows.max(1)).max(1);
        if is_slow {
            self.costs.clear();
        }
        if self.costs.len() == REMEMBERED {
            self.costs.pop_front();
        }
        self.costs.push_back(cost);
        let mut sorted: Vec<u64> = self.costs.iter().copied().collect();
        sorted.sort_unstable();
        let usual = sorted
            .get((sorted.len() * 9).div_ceil(10).saturating_sub(1))
            .copied()
            .unwrap_or(cost);
        let fitting = u64::try_from(self.target.time.as_nanos()).unwrap_or(u64::MAX) / usual;
        let mut next = fitting.min(self.rows.saturating_mul(GROWTH));
        if is_slow {
            // A slow reading never leaves the size as it was, whatever the rows it happened to have.
            next = next.min(self.rows / u64::from(SLOW));
        }
        self.rows = next.clamp(self.target.least, self.target.most);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_the_size_and_shrinks_at_once() {
        let mut pace = Pace::new(Target::default(), 1000);
        for _ in 0..20 {
            let rows = pace.rows();
            pace.took(rows, Duration::from_micros(10 * rows));
        }
        assert_eq!(pace.rows(), 50_000);
        // One reading that is slow, but not five times, does not decide alone.
        pace.took(50_000, Duration::from_millis(1500));
        assert_eq!(pace.rows(), 50_000);
        pace.took(50_000, Duration::from_secs(5));
        assert_eq!(pace.rows(), 5_000);
        // And what was fast before that does not make it grow again by more than doubling.
        pace.took(5_000, Duration::from_millis(1));
        assert!(pace.rows() <= 10_000, "{}", pace.rows());
    }

    #[test]
    fn grows_at_most_twofold() {
        let mut pace = Pace::new(Target::default(), 1000);
        pace.took(1000, Duration::from_micros(1));
        assert_eq!(pace.rows(), 2000);
        pace.took(3, Duration::from_millis(20));
        assert_eq!(pace.rows(), 2000, "three rows say nothing of the cost of a row");
    }

    proptest! {
        #[test]
        fn stays_within_its_bounds_and_obeys_the_panic(
            target in 1_u64..5_000, least in 0_u64..1000, most in 0_u64..100_000, first in 0_u64..1_000_000,
            readings in proptest::collection::vec((0_u64..200_000, 0_u64..100_000_000), 0..40),
        ) {
            let target = Target { time: Duration::from_millis(target), least, most };
            let mut pace = Pace::new(target, first);
            let (least, most) = (least.max(1), most.max(least.max(1)));
            for (rows, micros) in readings {
                let time = Duration::from_micros(micros);
                let was = pace.rows();
                pace.took(rows, time);
                prop_assert!((least..=most).contains(&pace.rows()));
                prop_assert!(pace.rows() <= (was * GROWTH).max(least));
                if time >= target.time * SLOW {
                    prop_assert!(pace.rows() <= (was / u64::from(SLOW)).max(least));
                    let fits = target.time.as_nanos() * u128::from(rows.max(1)) / time.as_nanos().max(1);
                    prop_assert!(u128::from(pace.rows()) <= (fits + 1).max(u128::from(least)));
                }
            }
        }
    }
}
