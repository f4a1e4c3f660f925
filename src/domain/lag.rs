//! How far green is behind, how fast it comes closer, and whether it ever will.
//!
//! One clock: every time here is a duration on bleen's own monotonic clock since some start. Pure; the adapter writes
//! the heartbeats and reads the positions.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most unseen heartbeats that are remembered: three hours of them at ten a second. Beyond that every second one
/// is forgotten, never the oldest.
const MOST_UNSEEN: usize = 100_000;

/// How long the window is over which rates are measured.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// How much of the window must be filled before a rate is told.
const RATE_LEAST: Duration = Duration::from_secs(2);

/// Writes in flight that do not count as being behind: what is written in this time.
const IN_FLIGHT: Duration = Duration::from_millis(250);

/// The longest time to catching up that is not called "never".
const LONGEST_ETA: Duration = Duration::from_secs(7 * 24 * 3600);

/// Heartbeats that were written on blue and that green does not show yet.
#[derive(Debug, Clone, Default)]
pub struct Heartbeats {
    unseen: VecDeque<(u64, Duration)>,
    newest_seen: Option<u64>,
    first_written: Option<u64>,
}

impl Heartbeats {
    /// A heartbeat with this number was acknowledged by blue at that time.
    pub fn wrote(&mut self, number: u64, at: Duration) {
        self.first_written.get_or_insert(number);
        if self.newest_seen.is_some_and(|seen| seen >= number) {
            return;
        }
        if self.unseen.len() >= MOST_UNSEEN {
            let mut keep = false;
            // The oldest stays: it is what the lag is measured by.
            self.unseen.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.unseen.push_back((number, at));
    }

    /// Green shows this number.
    pub fn saw(&mut self, number: u64) {
        self.newest_seen = self.newest_seen.max(Some(number));
        while self.unseen.front().is_some_and(|(n, _)| *n <= number) {
            self.unseen.pop_front();
        }
    }

    /// How far green is behind: the age of the oldest heartbeat that it does not show. Zero if it shows all of them;
    /// `None` as long as green has shown none.
    #[must_use]
    pub fn lag(&self, now: Duration) -> Option<Duration> {
        match (self.unseen.front(), self.newest_seen) {
            (Some((_, at)), _) => Some(now.saturating_sub(*at)),
            (None, Some(_)) => Some(Duration::ZERO),
            (None, None) => None,
        }
    }

    /// Whether green has shown a heartbeat that was written since the measuring began. Until then nothing is known of
    /// what it had behind it before, and [`Heartbeats::lag`] is only the least that it can be.
    #[must_use]
    pub fn has_arrived(&self) -> bool {
        self.first_written
            .is_some_and(|first| self.newest_seen >= Some(first))
    }
}

/// What [`Rates`] count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Transactions, where GTIDs are on.
    Transactions,
    /// Bytes of binlog.
    Bytes,
}

/// Write rate of blue and apply rate of green over the last seconds.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    /// Time, written in all, applied in all; both from an arbitrary start.
    samples: VecDeque<(Duration, u64, u64)>,
    written: u64,
}

impl Rates {
    /// Blue wrote `written_since` more since the last call, and green is `behind` of it now.
    pub fn sample(&mut self, at: Duration, written_since: u64, behind: u64) {
        // The start lies high enough that what was behind at the first call fits below it.
        if self.samples.is_empty() {
            self.written = behind;
        }
        self.written = self.written.saturating_add(written_since);
        let applied = self.written.saturating_sub(behind);
        self.samples.push_back((at, self.written, applied));
        while let (Some(first), Some(second)) = (self.samples.front(), self.samples.get(1)) {
            // One sample at or before the window's start is kept, so that the window stays full.
            if at.saturating_sub(first.0) > RATE_WINDOW && at.saturating_sub(second.0) >= RATE_WINDOW {
                self.samples.pop_front();
            } else {
                break;
            }
        }
    }

    /// Writes and applies per second, once there is enough to tell.
    #[must_use]
    pub fn per_second(&self) -> Option<(f64, f64)> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let time = last.0.saturating_sub(first.0);
        if time < RATE_LEAST {
            return None;
        }
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / time.as_secs_f64();
        Some((rate(first.1, last.1), rate(first.2, last.2)))
    }
}

/// Whether green will catch up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is behind but what is in flight.
    CaughtUp,
    /// It comes closer.
    CatchingUp {
        /// When it will be there, at the present rates.
        eta: Duration,
    },
    /// At the present rates it never will.
    FallingBehind {
        /// Blue's writes per second.
        write_rate: f64,
        /// Green's applies per second.
        apply_rate: f64,
    },
}

/// Judges a backlog by the present rates (per second, in the unit of `behind`).
#[must_use]
pub fn verdict(behind: u64, write_rate: f64, apply_rate: f64) -> Verdict {
    let in_flight = (write_rate * IN_FLIGHT.as_secs_f64()).max(2.0);
    if behind as f64 <= in_flight {
        return Verdict::CaughtUp;
    }
    let closing = apply_rate - write_rate;
    let seconds = behind as f64 / closing;
    if closing > 0.0 && seconds <= LONGEST_ETA.as_secs_f64() {
        Verdict::CatchingUp {
            eta: Duration::from_secs_f64(seconds),
        }
    } else {
        Verdict::FallingBehind {
            write_rate,
            apply_rate,
        }
    }
}

/// What is behind, and in which unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// How many.
    pub amount: u64,
    /// Of what.
    pub unit: Unit,
}

/// The word for so many transactions.
#[must_use]
pub const fn transactions(amount: u64) -> &'static str {
    if amount == 1 {
        "transaction"
    } else {
        "transactions"
    }
}

/// One look at the lag.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LagSample {
    /// When, on bleen's clock since the measuring began.
    pub at: Duration,
    /// Time lag by heartbeat; `None` as long as none has arrived.
    pub lag: Option<Duration>,
    /// Whether that is only the least that it can be: no heartbeat of this measuring has arrived yet.
    pub is_at_least: bool,
    /// Backlog by position.
    pub behind: Option<Behind>,
    /// Blue's writes per second, in the backlog's unit.
    pub write_rate: Option<f64>,
    /// Green's applies per second, in the backlog's unit.
    pub apply_rate: Option<f64>,
    /// What follows from the rates.
    pub verdict: Option<Verdict>,
    /// Why nothing moves, if replication does not run or a server does not answer.
    pub trouble: Option<String>,
}

/// Waits for lag that stays under a limit for a whole observation time.
#[derive(Debug, Clone)]
pub struct Observation {
    limit: Duration,
    observe: Duration,
    since: Option<Duration>,
}

impl Observation {
    /// Lag must be at most `limit` for `observe`.
    #[must_use]
    pub fn new(limit: Duration, observe: Duration) -> Self {
        Self {
            limit,
            observe,
            since: None,
        }
    }

    /// Takes a look into account; `true` once the lag has been under the limit for the whole time without a break.
    ///
    /// A look with trouble, or without a measured lag, is a break; so is one that only knows the least it can be.
    pub fn is_met_by(&mut self, sample: &LagSample) -> bool {
        let is_known = sample.trouble.is_none() && !sample.is_at_least;
        let good = is_known && sample.lag.is_some_and(|lag| lag <= self.limit);
        if !good {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(sample.at);
        sample.at.saturating_sub(since) >= self.observe
    }

    /// For how long the lag has been under the limit, at the time of this look.
    #[must_use]
    pub fn held_for(&self, sample: &LagSample) -> Duration {
        self.since
            .map_or(Duration::ZERO, |since| sample.at.saturating_sub(since))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn lag_is_the_age_of_the_oldest_unseen_heartbeat() {
        let mut beats = Heartbeats::default();
        assert_eq!(beats.lag(ms(0)), None);
        beats.wrote(5, ms(100));
        beats.wrote(6, ms(200));
        assert_eq!(
            beats.lag(ms(250)),
            Some(ms(150)),
            "even if green has shown none yet"
        );
        // What green showed before is of an earlier measuring.
        beats.saw(4);
        assert!(!beats.has_arrived());
        beats.saw(5);
        assert!(beats.has_arrived());
        assert_eq!(beats.lag(ms(250)), Some(ms(50)));
        beats.saw(6);
        assert_eq!(beats.lag(ms(9000)), Some(Duration::ZERO));
        // Green may show a heartbeat before blue's acknowledgement has arrived here.
        beats.saw(8);
        beats.wrote(7, ms(300));
        beats.wrote(8, ms(400));
        assert_eq!(beats.lag(ms(9000)), Some(Duration::ZERO));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_stays() {
        let mut beats = Heartbeats::default();
        beats.saw(0);
        let many = MOST_UNSEEN as u64 * 5;
        for n in 1..=many {
            beats.wrote(n, ms(n * 100));
        }
        assert!(beats.unseen.len() <= MOST_UNSEEN);
        assert_eq!(beats.lag(ms(many * 100)), Some(ms((many - 1) * 100)));
    }

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let mut rates = Rates::default();
        assert_eq!(rates.per_second(), None);
        // First slow, then 1000 written and 600 applied each second.
        let mut behind = 500;
        for second in 0..60 {
            let (written, applied) = if second < 20 { (10, 10) } else { (1000, 600) };
            behind += written - applied;
            rates.sample(Duration::from_secs(second), written, behind);
        }
        let (written, applied) = rates.per_second().unwrap();
        assert!(
            (written - 1000.0).abs() < 1.0 && (applied - 600.0).abs() < 1.0,
            "{written} {applied}"
        );
        assert!(rates.samples.len() < 20);
        assert!(matches!(
            verdict(behind, written, applied),
            Verdict::FallingBehind { .. }
        ));
    }

    #[test]
    fn the_verdict_follows_from_backlog_and_rates() {
        assert_eq!(verdict(0, 0.0, 0.0), Verdict::CaughtUp);
        // At 1000 a second some are always in flight.
        assert_eq!(verdict(200, 1000.0, 1000.0), Verdict::CaughtUp);
        assert_eq!(
            verdict(10_000, 1000.0, 3000.0),
            Verdict::CatchingUp {
                eta: Duration::from_secs(5)
            }
        );
        for (write, apply) in [(2500.0, 900.0), (1000.0, 1000.0), (0.0, 0.0)] {
            assert!(
                matches!(verdict(10_000, write, apply), Verdict::FallingBehind { .. }),
                "{write} {apply}"
            );
        }
    }

    #[test]
    fn a_break_starts_the_observation_again() {
        let mut observation = Observation::new(ms(500), ms(1000));
        let look = |at, lag: Option<u64>, trouble: Option<&str>| LagSample {
            at: ms(at),
            lag: lag.map(ms),
            trouble: trouble.map(str::to_owned),
            ..LagSample::default()
        };
        assert!(!observation.is_met_by(&look(0, Some(100), None)));
        assert!(!observation.is_met_by(&look(900, Some(501), None)));
        assert!(!observation.is_met_by(&look(1000, Some(500), None)));
        assert!(!observation.is_met_by(&look(1900, Some(0), Some("stopped"))));
        assert!(!observation.is_met_by(&look(2000, Some(0), None)));
        assert!(!observation.is_met_by(&look(2900, None, None)));
        assert!(!observation.is_met_by(&look(3000, Some(0), None)));
        let only_the_least = LagSample {
            is_at_least: true,
            ..look(3900, Some(0), None)
        };
        assert!(!observation.is_met_by(&only_the_least));
        assert!(!observation.is_met_by(&look(4000, Some(0), None)));
        assert!(observation.is_met_by(&look(5000, Some(0), None)));
    }

    proptest! {
        #[test]
        fn no_backlog_and_no_rate_breaks_the_arithmetic(
            behind in any::<u64>(), write in 0.0_f64..1e12, apply in 0.0_f64..1e12
        ) {
            let _ = verdict(behind, write, apply);
        }
    }
}
