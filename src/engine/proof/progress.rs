//! How far the proof is: for whoever watches it, and for the gate of a switchover.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::prover::Prover;
use crate::domain::proof::summary::{Differing, Rates, Summary};
use crate::domain::proof::transaction::TableName;
use crate::engine::event::{EventKind, ProofEvent, in_milliseconds};

/// The most tables that are named in one sentence.
const NAMED: usize = 5;

/// How checks ended so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Checks {
    /// Proved.
    pub proved: u64,
    /// Different, and no lag explains it.
    pub diverged: u64,
    /// Touched while they ran.
    pub touched: u64,
    /// Void: the table, the stream or the range changed.
    pub void: u64,
}

/// How far the proof is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// What is proved and what is not.
    pub summary: Summary,
    /// How checks ended.
    pub checks: Checks,
    /// Rows read so far on the side that has more.
    pub rows_read: u64,
    /// Rows that differ, as far as they have been looked at.
    pub differing_rows: u64,
    /// How long the proof has been going on.
    pub running: Duration,
    /// Rows in a second over the last while, range by range, and row by row.
    pub scan_rate: Option<u64>,
    /// Rows in a second when rows are looked up by their keys.
    pub key_rate: Option<u64>,
    /// Why nothing is read at present.
    pub paused: Option<String>,
}

impl Progress {
    /// How long comparing what is open would take under the hold, with a drain of that time. `None` while that cannot
    /// be known.
    #[must_use]
    pub fn fence_time(&self, drain: Duration) -> Option<Duration> {
        self.summary.fence_time(Rates {
            by_key: self.key_rate,
            scanned: self.scan_rate,
            drain,
        })
    }

    /// What differs, in words; `None` if nothing does.
    #[must_use]
    pub fn differs(&self) -> Option<String> {
        let sum = &self.summary;
        if sum.differing.is_empty() {
            return None;
        }
        let of_table = |(table, differing): (&TableName, &Differing)| match differing.without_key {
            Some((blue, green)) => format!("{table} (it has no key; {blue} rows on blue, {green} on green)"),
            None => table.to_string(),
        };
        let mut tables: Vec<String> = sum.differing.iter().take(NAMED).map(of_table).collect();
        match sum.differing.len().saturating_sub(NAMED) {
            0 => {}
            more => tables.push(format!("{more} more tables")),
        }
        let tables = tables.join(", ");
        Some(match self.differing_rows {
            0 => format!("{} ranges of rows differ: {tables}", sum.diverged),
            rows => format!("{rows} rows differ: {tables}"),
        })
    }

    /// As an event, with the rows that were read in a second since an earlier look.
    #[must_use]
    pub fn event(&self, earlier: Option<&Self>) -> ProofEvent {
        let sum = &self.summary;
        let (rows, time) = earlier.map_or((0, Duration::ZERO), |then| (then.rows_read, then.running));
        let seconds = self.running.saturating_sub(time).as_secs_f64();
        ProofEvent {
            ranges: sum.ranges,
            proved: sum.proved,
            open: sum.open,
            unproven: sum.unproven + sum.unsettled.len(),
            diverged: sum.diverged,
            not_provable: sum.not_provable.len(),
            differing_rows: self.differing_rows,
            open_rows: sum.open_rows + sum.whole_rows,
            oldest_proof_ms: sum.oldest.map(in_milliseconds),
            rows_read: self.rows_read,
            rows_per_second: if seconds > 0.0 {
                (self.rows_read.saturating_sub(rows) as f64 / seconds).round() as u64
            } else {
                0
            },
            fence_ms: self.fence_time(Duration::ZERO).map(in_milliseconds),
            paused: self.paused.clone(),
        }
    }
}

impl Prover {
    /// How far the proof is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let now = self.now();
        let state = self.state();
        let rate = |(rows, took): (u64, Duration)| {
            (rows > 0 && took > Duration::ZERO).then(|| (rows as f64 / took.as_secs_f64()).round() as u64)
        };
        Progress {
            summary: Summary::of(&state.ledger, now),
            checks: state.checks,
            rows_read: state.rows_read,
            differing_rows: state.ledger.differing_rows() as u64,
            running: self.running(),
            scan_rate: rate(state.scanned),
            key_rate: rate(state.by_key),
            paused: self
                .pauses
                .borrow()
                .why()
                .cloned()
                .or_else(|| state.waits.clone()),
        }
    }

    /// Tells how far the proof is, again and again. Ends only by being dropped.
    pub async fn tell(&self, every: Duration) {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut earlier: Option<Progress> = None;
        tick.tick().await;
        loop {
            tick.tick().await;
            let now = self.progress();
            self.events().say(EventKind::Proof(now.event(earlier.as_ref())));
            earlier = Some(now);
        }
    }
}
