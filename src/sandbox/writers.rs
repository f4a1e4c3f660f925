//! The load: writers at a fixed rate that know both servers and remember every acknowledged write.
//!
//! What one writer does is in `client.rs`, what comes out in `ledger.rs`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::domain::ids::Side;

use super::client;
use super::endpoint::Endpoint;
use super::error::SandboxError;
use super::ledger::{LoadReport, Log, Span, span};

/// How the load writes. The defaults are those of the sandbox's story.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Writers, each with a connection of its own.
    pub writers: u32,
    /// Transactions a second of each writer, while nothing makes it wait.
    pub rate: u32,
    /// Longest time a writer waits for one answer before it gives the connection up. Holds must fit into it.
    pub patience: Duration,
    /// Longest time for opening a connection.
    pub connect: Duration,
    /// Longest time to find out about a write in doubt.
    pub in_doubt: Duration,
    /// Longest time [`Load::stop`] waits for writers that are in the middle of a write.
    pub stop: Duration,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            writers: 8,
            rate: 50,
            patience: Duration::from_secs(120),
            connect: Duration::from_secs(3),
            in_doubt: Duration::from_secs(30),
            stop: Duration::from_secs(60),
        }
    }
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

/// What every writer of a load sees.
#[derive(Debug)]
pub(crate) struct Shared {
    pub run: u64,
    pub options: LoadOptions,
    /// Blue, green.
    pub endpoints: [Endpoint; 2],
    pub started: Instant,
    pub stop: CancellationToken,
    pub slots: Vec<Mutex<Slot>>,
}

/// One writer's state as others see it.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub log: Log,
    /// Since when it is at its present write.
    pub pending_since: Option<Duration>,
}

impl Shared {
    /// Time since the load started.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn endpoint(&self, side: Side) -> &Endpoint {
        let [blue, green] = &self.endpoints;
        match side {
            Side::Blue => blue,
            Side::Green => green,
        }
    }

    /// Changes a writer's state.
    pub(crate) fn slot(&self, writer: u32, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = usize::try_from(writer).ok().and_then(|w| self.slots.get(w)) {
            change(&mut slot.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// The load at one moment.
#[derive(Debug, Clone, Copy)]
pub struct LoadSnapshot {
    /// Time since the load started; the clock of every time in its reports.
    pub at: Duration,
    /// Writes acknowledged so far: by blue, by green.
    pub acknowledged: (u64, u64),
    /// Statements refused so far.
    pub refused: u64,
    /// Connections lost so far.
    pub lost_connections: u64,
    /// Writes that were in doubt so far.
    pub in_doubt: u64,
    /// Longest write so far, the ones still waiting included.
    pub longest_write: Duration,
    /// Writers that have waited for more than 100 ms at this moment.
    pub waiting: u32,
}

impl Load {
    /// Starts the writers on the current runtime; they begin on blue.
    ///
    /// # Errors
    /// [`SandboxError::Io`] when the system gives no randomness for the run's number.
    pub fn start(blue: &Endpoint, green: &Endpoint, options: LoadOptions) -> Result<Self, SandboxError> {
        // 60 bits: fits MySQL's BIGINT signed or not, and is never the zero of rows that are nobody's.
        let run = u64::from_str_radix(&super::cache::random_hex()?, 16).unwrap_or(1) >> 4 | 1;
        let shared = Arc::new(Shared {
            run,
            slots: (0..options.writers).map(|_| Mutex::default()).collect(),
            options,
            endpoints: [blue.clone(), green.clone()],
            started: Instant::now(),
            stop: CancellationToken::new(),
        });
        let mut tasks = JoinSet::new();
        for writer in 0..shared.options.writers {
            tasks.spawn(client::write_on(Arc::clone(&shared), writer));
        }
        Ok(Self { shared, tasks })
    }

    /// The number that marks this load's rows in the ledger.
    pub fn run(&self) -> u64 {
        self.shared.run
    }

    /// Time since the load started, for [`span`](Self::span).
    pub fn now(&self) -> Duration {
        self.shared.now()
    }

    /// The load now.
    pub fn snapshot(&self) -> LoadSnapshot {
        let now = self.shared.now();
        let mut seen = LoadSnapshot {
            at: now,
            acknowledged: (0, 0),
            refused: 0,
            lost_connections: 0,
            in_doubt: 0,
            longest_write: Duration::ZERO,
            waiting: 0,
        };
        for slot in &self.shared.slots {
            let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            for ack in &slot.log.acks {
                match ack.side {
                    Side::Blue => seen.acknowledged.0 += 1,
                    Side::Green => seen.acknowledged.1 += 1,
                }
                seen.longest_write = seen.longest_write.max(ack.acked.saturating_sub(ack.sent));
            }
            seen.refused += slot.log.refusals.len() as u64;
            seen.lost_connections += slot.log.lost_connections.len() as u64;
            seen.in_doubt += slot.log.in_doubt.len() as u64;
            let waited = slot
                .pending_since
                .map_or(Duration::ZERO, |since| now.saturating_sub(since));
            seen.longest_write = seen.longest_write.max(waited);
            seen.waiting += u32::from(waited > Duration::from_millis(100));
        }
        seen
    }

    /// Counts between two times of the load, while it runs.
    pub fn span(&self, from: Duration, to: Duration) -> Span {
        let logs = self
            .shared
            .slots
            .iter()
            .map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).log.clone());
        span(&LoadReport::new(self.shared.run, to, logs).log, from, to)
    }

    /// Waits until `count` more writes than now are acknowledged, as a test's way to see that the load is moving.
    ///
    /// # Errors
    /// [`SandboxError::TooSlow`] at the limit.
    pub async fn progress(&self, count: u64, limit: Duration) -> Result<(), SandboxError> {
        let total = |s: LoadSnapshot| s.acknowledged.0 + s.acknowledged.1;
        let goal = total(self.snapshot()) + count;
        let started = Instant::now();
        while total(self.snapshot()) < goal {
            if started.elapsed() > limit {
                return Err(SandboxError::TooSlow {
                    what: format!("{count} more writes of the load"),
                    limit,
                });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Stops the writers, each after its present write, and hands over what they saw. A writer that does not end in
    /// its time is given up: its write counts as unresolved.
    pub async fn stop(mut self) -> LoadReport {
        self.shared.stop.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.shared.options.stop, all).await.is_err() {
            self.tasks.shutdown().await;
        }
        let lasted = self.shared.now();
        let logs = self.shared.slots.iter().enumerate().map(|(writer, slot)| {
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            let mut log = std::mem::take(&mut slot.log);
            if slot.pending_since.is_some() {
                // Cut off in the middle: it may or may not arrive.
                let used = log.acks.len() + log.unresolved.len();
                let seq = u64::try_from(used).unwrap_or(u64::MAX).saturating_add(1);
                let writer = u32::try_from(writer).unwrap_or(u32::MAX);
                log.unresolved.push(super::ledger::WriteId { writer, seq });
            }
            log
        });
        LoadReport::new(self.shared.run, lasted, logs)
    }
}
