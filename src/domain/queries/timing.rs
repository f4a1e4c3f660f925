//! Whether green is slower: the ratio of medians, with a floor below which no difference counts.

use std::time::Duration;

use serde::Serialize;

/// What counts as slower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slower {
    /// The largest ratio of green's median to blue's.
    pub ratio: f64,
    /// A difference up to this is noise, whatever the ratio.
    pub floor: Duration,
}

/// The medians of both sides, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Medians {
    /// Blue's.
    pub blue_ms: f64,
    /// Green's.
    pub green_ms: f64,
}

impl Medians {
    /// Takes the medians of the runs; `None` without a run on each side.
    #[must_use]
    pub fn of(blue: &[Duration], green: &[Duration]) -> Option<Self> {
        Some(Self {
            blue_ms: median(blue)?,
            green_ms: median(green)?,
        })
    }

    /// Green's median by blue's.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        // A thousandth of a millisecond is less than any statement takes.
        self.green_ms / self.blue_ms.max(0.001)
    }

    /// Whether green is slower.
    #[must_use]
    pub fn is_slower(&self, than: Slower) -> bool {
        let floor = than.floor.as_secs_f64() * 1000.0;
        self.ratio() > than.ratio && self.green_ms - self.blue_ms > floor
    }
}

fn median(times: &[Duration]) -> Option<f64> {
    let mut sorted: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted.get(middle - 1)? + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(times: &[u64]) -> Vec<Duration> {
        times.iter().map(|ms| Duration::from_millis(*ms)).collect()
    }

    const THAN: Slower = Slower {
        ratio: 1.5,
        floor: Duration::from_millis(5),
    };

    #[test]
    fn both_the_ratio_and_the_floor_must_be_passed() {
        let slower = |blue: &[u64], green: &[u64]| {
            Medians::of(&millis(blue), &millis(green))
                .unwrap()
                .is_slower(THAN)
        };
        assert!(slower(&[10, 10, 10], &[20, 20, 20]));
        // Four times as long, but three milliseconds.
        assert!(!slower(&[1, 1, 1], &[4, 4, 4]));
        // Forty milliseconds, but a fifth.
        assert!(!slower(&[200, 200, 200], &[240, 240, 240]));
        // One run that was disturbed says nothing.
        assert!(!slower(&[10, 10, 10], &[10, 500, 11]));
        assert!(!slower(&[20, 20, 20], &[10, 10, 10]));
        // Exactly at the limits is not beyond them.
        assert!(!slower(&[10, 10, 10], &[15, 15, 15]));
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&millis(&[3, 1, 2])), Some(2.0));
        assert_eq!(median(&millis(&[4, 1, 3, 2])), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
