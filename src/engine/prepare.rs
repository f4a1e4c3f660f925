//! Makes green follow blue and waits until it keeps up; puts everything back when told or when it fails.
//!
//! Every change is recorded before it is made (DESIGN I7) and undone in the reverse order, each undo with a time of its
//! own. A change is never given up half-way: cancelling is looked at between changes and during the wait. Knows
//! neither statements nor servers: it moves [`Change`]s between a port and a record.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::change::Change;
use crate::domain::lag::{LagSample, Observation, Unit, Verdict, transactions};

/// How long replication may be in trouble before waiting on is useless: long enough for a reconnect.
const TROUBLE_BORNE: Duration = Duration::from_secs(15);

/// How long green must have been falling behind before that is believed.
const FALLING_BORNE: Duration = Duration::from_secs(20);

/// What went wrong, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// What preparing needs from the outside.
pub trait Preparing: Send {
    /// Looks at both servers and plans every change, in order. Changes nothing.
    fn plan(&mut self) -> impl Future<Output = Result<Vec<Change>, Failure>> + Send;

    /// The changes that make green apply faster at the price of its durability. Changes nothing.
    fn plan_relaxed(&mut self) -> impl Future<Output = Result<Vec<Change>, Failure>> + Send;

    /// Records a change that is about to be made, so that it can be undone by whoever comes later.
    fn record(&mut self, seq: u32, change: &Change) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Makes a change, within `budget`. After a failure it may have been made all the same.
    fn apply(
        &mut self,
        change: &Change,
        budget: Duration,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Undoes a change, within `budget`; right also if the change was never made. What may still run of it is ended
    /// first.
    fn undo(&mut self, change: &Change, budget: Duration)
    -> impl Future<Output = Result<(), Failure>> + Send;

    /// Notes that a recorded change has been undone.
    fn forget(&mut self, seq: u32) -> impl Future<Output = ()> + Send;

    /// Begins to measure lag.
    fn measure(&mut self) -> watch::Receiver<LagSample>;

    /// Ends the measuring.
    fn stop_measuring(&mut self) -> impl Future<Output = ()> + Send;

    /// Told while waiting, about once a second: the newest look, and for how long the lag has been under the limit.
    fn show(&mut self, sample: &LagSample, held_for: Duration);
}

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Lag that counts as caught up.
    pub lag: Duration,
    /// For how long it must stay under that.
    pub observe: Duration,
    /// How long to wait for it in all.
    pub catch_up: Duration,
    /// For each change.
    pub change: Duration,
    /// For each undo.
    pub undo: Duration,
    /// Whether green may be relaxed when it falls behind.
    pub may_relax: bool,
}

/// How preparing ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Prepared {
    /// Green follows and keeps up.
    Ready {
        /// What was changed, in order.
        changes: Vec<Change>,
        /// The last look.
        sample: LagSample,
    },
    /// It did not come to that; what was changed has been put back, but for what is `left`.
    Undone {
        /// Why.
        why: Why,
        /// The undos that failed, with what was seen.
        left: Vec<(Change, Failure)>,
        /// Whether anything had been changed.
        changed: bool,
    },
}

/// Why preparing was undone.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Why {
    /// The operator said so.
    #[error("cancelled")]
    Cancelled,
    /// No plan could be made.
    #[error("{0}")]
    NotPlanned(Failure),
    /// A change failed, or could not be recorded.
    #[error("{what}: {failure}")]
    ChangeFailed {
        /// Which.
        what: String,
        /// How.
        failure: Failure,
    },
    /// Replication did not run.
    #[error("replication does not run: {0}")]
    Trouble(String),
    /// Green is slower than blue; the sentence has the numbers and what would help.
    #[error("{0}")]
    FallingBehind(String),
    /// The time for catching up was over; the sentence has the numbers.
    #[error("{0}")]
    TooLate(String),
}

/// Prepares a pair. Comes back within the sum of all limits.
pub async fn prepare<P: Preparing>(port: &mut P, limits: &Limits, cancel: &CancellationToken) -> Prepared {
    let planned = tokio::select! {
        () = cancel.cancelled() => Err(Why::Cancelled),
        plan = port.plan() => plan.map_err(Why::NotPlanned),
    };
    let mut made = Vec::new();
    let ended = match planned {
        Ok(plan) => follow(port, plan, limits, cancel, &mut made).await,
        Err(why) => Err(why),
    };
    match ended {
        Ok(sample) => Prepared::Ready {
            changes: made,
            sample,
        },
        Err(why) => {
            let changed = !made.is_empty();
            let left = undo_all(port, made, limits.undo).await;
            Prepared::Undone { why, left, changed }
        }
    }
}

async fn follow<P: Preparing>(
    port: &mut P,
    plan: Vec<Change>,
    limits: &Limits,
    cancel: &CancellationToken,
    made: &mut Vec<Change>,
) -> Result<LagSample, Why> {
    make(port, plan, limits, cancel, made).await?;
    let mut samples = port.measure();
    let ended = catch_up(port, &mut samples, limits, cancel, made).await;
    port.stop_measuring().await;
    ended
}

/// Records and makes changes one by one. `made` gets each before it is made.
async fn make<P: Preparing>(
    port: &mut P,
    plan: Vec<Change>,
    limits: &Limits,
    cancel: &CancellationToken,
    made: &mut Vec<Change>,
) -> Result<(), Why> {
    for change in plan {
        if cancel.is_cancelled() {
            return Err(Why::Cancelled);
        }
        let failed = |failure| Why::ChangeFailed {
            what: change.what.clone(),
            failure,
        };
        port.record(number(made.len()), &change).await.map_err(failed)?;
        made.push(change.clone());
        port.apply(&change, limits.change).await.map_err(failed)?;
    }
    Ok(())
}

/// Undoes changes from the last to the first; goes on after a failure.
///
/// Also for changes that were read back from a record (`rollback`, `resume`): their place in the list is their number.
pub async fn undo_all<P: Preparing>(
    port: &mut P,
    made: Vec<Change>,
    budget: Duration,
) -> Vec<(Change, Failure)> {
    let mut left = Vec::new();
    for (at, change) in made.into_iter().enumerate().rev() {
        let undone = match timeout(budget, port.undo(&change, budget)).await {
            Ok(result) => result,
            Err(_) => Err(Failure(format!(
                "no end after {}",
                humantime::format_duration(budget)
            ))),
        };
        match undone {
            Ok(()) => port.forget(number(at)).await,
            Err(failure) => left.push((change, failure)),
        }
    }
    left
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Since when something has been so, without a break.
#[derive(Default)]
struct Since(Option<Duration>);

impl Since {
    /// For how long it has been so, at the time of a look.
    fn so(&mut self, is_so: bool, at: Duration) -> Duration {
        if is_so {
            at.saturating_sub(*self.0.get_or_insert(at))
        } else {
            self.0 = None;
            Duration::ZERO
        }
    }
}

async fn catch_up<P: Preparing>(
    port: &mut P,
    samples: &mut watch::Receiver<LagSample>,
    limits: &Limits,
    cancel: &CancellationToken,
    made: &mut Vec<Change>,
) -> Result<LagSample, Why> {
    let end = tokio::time::sleep(limits.catch_up);
    tokio::pin!(end);
    let mut observation = Observation::new(limits.lag, limits.observe);
    let (mut in_trouble, mut falling) = (Since::default(), Since::default());
    let mut relaxed = false;
    let mut shown: Option<Duration> = None;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Err(Why::Cancelled),
            () = &mut end => {
                let last = samples.borrow().clone();
                return Err(Why::TooLate(too_late(&last, limits, relaxed)));
            }
            changed = samples.changed() => {
                if changed.is_err() {
                    return Err(Why::Trouble("lag is no longer measured".to_owned()));
                }
            }
        }
        let sample = samples.borrow_and_update().clone();
        if observation.is_met_by(&sample) {
            return Ok(sample);
        }
        if shown.is_none_or(|at| sample.at.saturating_sub(at) >= Duration::from_secs(1)) {
            shown = Some(sample.at);
            port.show(&sample, observation.held_for(&sample));
        }
        let borne = in_trouble.so(sample.trouble.is_some(), sample.at);
        if let Some(trouble) = &sample.trouble
            && borne >= TROUBLE_BORNE
        {
            return Err(Why::Trouble(trouble.clone()));
        }
        let is_falling = matches!(sample.verdict, Some(Verdict::FallingBehind { .. }));
        if falling.so(is_falling, sample.at) >= FALLING_BORNE {
            if relaxed || !limits.may_relax {
                return Err(Why::FallingBehind(falling_behind(&sample, relaxed)));
            }
            relaxed = true;
            falling = Since::default();
            let plan = port.plan_relaxed().await.map_err(Why::NotPlanned)?;
            make(port, plan, limits, cancel, made).await?;
        }
    }
}

/// The backlog in words: `12000 transactions behind, 2500/s written on blue, 900/s applied on green`.
#[must_use]
pub fn backlog(sample: &LagSample) -> String {
    let mut parts = Vec::new();
    let lag = sample
        .lag
        .map(|lag| Duration::from_millis(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX)));
    // "At least nothing" says nothing.
    if let Some(millis) = lag.filter(|lag| !(sample.is_at_least && lag.is_zero())) {
        let least = if sample.is_at_least { "at least " } else { "" };
        parts.push(format!("lag {least}{}", humantime::format_duration(millis)));
    }
    if let Some(behind) = sample.behind {
        let unit = match behind.unit {
            Unit::Bytes => "bytes",
            Unit::Transactions => transactions(behind.amount),
        };
        parts.push(format!("{} {unit} behind", behind.amount));
    }
    if let (Some(write), Some(apply)) = (sample.write_rate, sample.apply_rate) {
        parts.push(format!(
            "{write:.0}/s written on blue, {apply:.0}/s applied on green"
        ));
    }
    if parts.is_empty() {
        "lag not measured yet".to_owned()
    } else {
        parts.join(", ")
    }
}

/// What a green that cannot keep up needs.
#[must_use]
pub fn what_helps(relaxed: bool) -> &'static str {
    if relaxed {
        "green is relaxed already: more applier workers (`replica_parallel_workers`), a faster disk, or a time with \
         fewer writes would help"
    } else {
        "allow `replication: relax_green: true` (sync_binlog = 0, innodb_flush_log_at_trx_commit = 2 until it has \
         caught up under the hold), or give green more applier workers or a faster disk"
    }
}

fn falling_behind(sample: &LagSample, relaxed: bool) -> String {
    format!(
        "green will never catch up at this rate: {}; {}",
        backlog(sample),
        what_helps(relaxed)
    )
}

fn too_late(sample: &LagSample, limits: &Limits, relaxed: bool) -> String {
    let waited = humantime::format_duration(limits.catch_up);
    let limit = humantime::format_duration(limits.lag);
    let observe = humantime::format_duration(limits.observe);
    let rest = match (&sample.trouble, sample.verdict) {
        (Some(trouble), _) => format!("; {trouble}"),
        (None, Some(Verdict::CatchingUp { eta })) => {
            let eta = Duration::from_secs(eta.as_secs() + 1);
            format!("; at this rate it takes {} more", humantime::format_duration(eta))
        }
        (None, Some(Verdict::FallingBehind { .. })) => format!("; {}", what_helps(relaxed)),
        _ => String::new(),
    };
    format!(
        "lag did not stay under {limit} for {observe} within {waited}: {}{rest}",
        backlog(sample)
    )
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
