//! Watches whether blue and green ever accept writes at the same time.
//!
//! Reads green first and blue second: green is the side being opened, so if it was open at the first read and blue is
//! open at the second, both were open together. The other order would raise false alarms. Sampling can only find a
//! fault that lasts longer than a sample; the proof is in the old writer's binary log.

use std::time::{Duration, Instant};

use mysql_async::Conn;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::endpoint::Endpoint;

/// The pause between samples: as often as this, or as often as the servers answer.
const EVERY: Duration = Duration::from_millis(1);
/// Longest single read. A frozen server answers none.
const READ: Duration = Duration::from_secs(1);
/// Pause after a server could not be reached.
const RETRY: Duration = Duration::from_millis(20);

/// A running sampler.
#[derive(Debug)]
pub struct Sampler {
    stop: CancellationToken,
    task: JoinHandle<SamplerReport>,
}

/// What the sampler saw. Times are instants of this process's monotonic clock.
#[derive(Debug, Clone, Default)]
pub struct SamplerReport {
    /// Samples in which both sides answered.
    pub samples: u64,
    /// Rounds in which a side did not answer.
    pub unanswered: u64,
    /// When both sides accepted writes. Must be empty.
    pub both_writable: Vec<Instant>,
    /// Every change: when it was seen, whether blue and whether green accepted writes. The first entry is the first
    /// sample.
    pub changes: Vec<(Instant, bool, bool)>,
    /// Longest time between two samples: a fault shorter than this could have been missed.
    pub longest_gap: Duration,
}

impl Sampler {
    /// Starts sampling on a task of its own.
    pub fn start(blue: &Endpoint, green: &Endpoint) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(sample(blue.clone(), green.clone(), stop.clone()));
        Self { stop, task }
    }

    /// Stops and hands over what was seen. Bounded by one read.
    pub async fn stop(self) -> SamplerReport {
        self.stop.cancel();
        // The task neither panics nor is aborted; an empty report fails every caller that looks at `samples`.
        self.task.await.unwrap_or_default()
    }
}

async fn sample(blue: Endpoint, green: Endpoint, stop: CancellationToken) -> SamplerReport {
    let mut report = SamplerReport::default();
    let (mut blue_conn, mut green_conn) = (None, None);
    let mut last: Option<Instant> = None;
    while !stop.is_cancelled() {
        let green_open = is_open(&green, &mut green_conn).await;
        let blue_open = is_open(&blue, &mut blue_conn).await;
        let now = Instant::now();
        let pause = match (blue_open, green_open) {
            (Some(blue_open), Some(green_open)) => {
                report.samples += 1;
                report.longest_gap = report.longest_gap.max(last.map_or(Duration::ZERO, |l| now - l));
                last = Some(now);
                if blue_open && green_open {
                    report.both_writable.push(now);
                }
                if report
                    .changes
                    .last()
                    .is_none_or(|(_, b, g)| (*b, *g) != (blue_open, green_open))
                {
                    report.changes.push((now, blue_open, green_open));
                }
                EVERY
            }
            _ => {
                report.unanswered += 1;
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    report
}

/// Whether the side accepts writes of ordinary accounts; `None` when it does not answer.
async fn is_open(endpoint: &Endpoint, conn: &mut Option<Conn>) -> Option<bool> {
    if conn.is_none() {
        *conn = endpoint.connect(READ).await.ok();
    }
    let asked = conn.as_mut()?;
    match endpoint
        .first::<u8>(asked, "SELECT @@GLOBAL.read_only", READ)
        .await
    {
        Ok(flag) => Some(flag == Some(0)),
        Err(_) => {
            *conn = None;
            None
        }
    }
}
