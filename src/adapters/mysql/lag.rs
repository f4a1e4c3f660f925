//! Measures lag: writes numbered heartbeats on blue, reads them on green, and compares positions.
//!
//! Three loops that do not wait for each other: the heartbeat writer (which stands still, like every writer, while
//! blue's writers are held), the reader on green, and a slower one for positions and the replication status. Each has a
//! session of its own and opens another when it loses it: nothing here changes anything but one row, so a retry is
//! harmless. A few statements a second, a fixed amount of memory.
//!
//! On MariaDB, and on MySQL 5.6, bleen's own account may write through read-only. So each heartbeat asks, in the statement
//! that writes it, whether blue is writable: a sealed blue must not get a transaction of its own from us, whether the
//! statement comes then or waited at another run's hold. It waits for locks for a second at most.
//!
//! Before a hold of our own the writer is stopped all the same ([`LagMeter::stop_writing`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::error::ServerError;
use super::position_read::{Role, executed, written_file};
use super::replication::status;
use super::session::{Purpose, Session, Target};
use super::{own_schema, quote, sql};
use crate::domain::capabilities::{Capabilities, PositionKind};
use crate::domain::ids::RunId;
use crate::domain::lag::{Behind, Heartbeats, LagSample, Rates, Unit, verdict};
use crate::domain::position::{FilePosition, Position};

/// How long a statement of the measurement may take before its session is given up.
const BUDGET: Duration = Duration::from_secs(5);

/// How long to wait before a lost session is opened again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often positions and the replication status are read.
const POSITIONS_EVERY: Duration = Duration::from_secs(1);

/// What is measured, and with what.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Blue: the account must be allowed to write `bleen.heartbeat` and to read the binlog position.
    pub blue: Target,
    /// Green: the account must be allowed to read `bleen.heartbeat` and the replication status.
    pub green: Target,
    /// What blue can do.
    pub blue_caps: Capabilities,
    /// What green can do.
    pub green_caps: Capabilities,
    /// The run, or `None` for a reading command.
    pub run: Option<RunId>,
    /// Time from one heartbeat to the next, and so the resolution; 100 ms unless there is a reason.
    pub every: Duration,
}

/// What the three loops know together.
#[derive(Default)]
struct Seen {
    beats: Heartbeats,
    rates: Rates,
    behind: Option<Behind>,
    follows_nobody: bool,
    writer_trouble: Option<String>,
    reader_trouble: Option<String>,
    status_trouble: Option<String>,
}

/// The trouble of a green that is no replica.
pub const FOLLOWS_NOBODY: &str = "green follows nobody";

/// Whether heartbeats shall be written, and whether it is certain that none is under way.
struct Writing {
    wanted: watch::Sender<bool>,
    quiet: watch::Sender<bool>,
}

/// A measurement under way. Dropping it ends it.
pub struct LagMeter {
    samples: watch::Receiver<LagSample>,
    writing: Arc<Writing>,
    end: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl LagMeter {
    /// Begins to measure.
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        let (out, samples) = watch::channel(LagSample::default());
        let end = CancellationToken::new();
        let ended = end.clone();
        let writing = Arc::new(Writing {
            wanted: watch::Sender::new(true),
            quiet: watch::Sender::new(true),
        });
        let shared = Arc::clone(&writing);
        let task = tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = measure(setup, out, &shared) => {}
            }
        });
        Self {
            samples,
            writing,
            end,
            task,
        }
    }

    /// Stops the heartbeats and waits, at most `budget`, until it is certain that blue has none under way: the last one
    /// was answered, or its session ended and seen gone. Green is read on.
    ///
    /// `false` if that is not certain: then nothing may be held.
    pub async fn stop_writing(&self, budget: Duration) -> bool {
        self.writing.wanted.send_replace(false);
        let mut quiet = self.writing.quiet.subscribe();
        let is_quiet = quiet.wait_for(|quiet| *quiet);
        matches!(tokio::time::timeout(budget, is_quiet).await, Ok(Ok(_)))
    }

    /// Goes on with the heartbeats.
    pub fn go_on_writing(&self) {
        self.writing.wanted.send_replace(true);
    }

    /// The samples as they come: one for each look at green. A reader that is slow misses some.
    #[must_use]
    pub fn samples(&self) -> watch::Receiver<LagSample> {
        self.samples.clone()
    }

    /// Ends the measurement and waits until its sessions are closed, at most twice `budget`.
    pub async fn stop(mut self, budget: Duration) {
        // Politely first: a session that is dropped in the middle of a statement leaves it running.
        self.stop_writing(budget).await;
        self.end.cancel();
        // The task only drops its sessions; if even that takes too long, the drop below aborts it.
        let _ = tokio::time::timeout(budget, &mut self.task).await;
    }
}

impl Drop for LagMeter {
    fn drop(&mut self) {
        self.end.cancel();
        self.task.abort();
    }
}

async fn measure(setup: Setup, out: watch::Sender<LagSample>, writing: &Writing) {
    let started = Instant::now();
    let seen = Arc::new(Mutex::new(Seen::default()));
    tokio::join!(
        write_heartbeats(&setup, started, &seen, writing),
        read_heartbeats(&setup, started, &seen, &out),
        read_positions(&setup, started, &seen),
    );
}

/// Locks what the loops share. A loop that panicked while it held the lock left nothing half-done that matters here.
fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Never comes back: opens sessions again and again.
async fn write_heartbeats(setup: &Setup, started: Instant, seen: &Mutex<Seen>, writing: &Writing) {
    let mut wanted = writing.wanted.subscribe();
    loop {
        // In this order: whoever takes back the wish and then sees quiet can be sure that this loop sees the wish.
        writing.quiet.send_replace(false);
        if *wanted.borrow_and_update() {
            let mut open_session = None;
            let ended = write_while_wanted(setup, started, seen, &wanted, &mut open_session).await;
            let left = open_session.as_ref().filter(|s| s.is_spent()).map(Session::id);
            if let Some(session) = open_session {
                session.close(BUDGET).await;
            }
            if let Err(error) = ended {
                // Without bleen's schema there are no heartbeats; positions are still compared.
                let missing = own_schema::is_missing(&error);
                lock(seen).writer_trouble = (!missing).then(|| error.to_string());
            }
            if let Some(id) = left {
                end_for_certain(setup, id).await;
            }
        }
        if *wanted.borrow_and_update() {
            sleep(AGAIN_AFTER).await;
        } else {
            writing.quiet.send_replace(true);
            // The sender lives as long as this loop does.
            let _ = wanted.wait_for(|wanted| *wanted).await;
        }
    }
}

/// Comes back when heartbeats are no longer wanted, or with an error.
async fn write_while_wanted(
    setup: &Setup,
    started: Instant,
    seen: &Mutex<Seen>,
    wanted: &watch::Receiver<bool>,
    open_session: &mut Option<Session>,
) -> Result<(), ServerError> {
    let beat = format!(
        "{}; SELECT IF(ROW_COUNT() > 0, LAST_INSERT_ID(), NULL)",
        beat_statement(setup.run.as_ref())
    );
    let session = open_session.insert(open(&setup.blue, setup, "heartbeat").await?);
    let waits = "SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1";
    session.run("bound the heartbeat's waits", waits, BUDGET).await?;
    let mut tick = interval(setup.every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if !*wanted.borrow() {
            return Ok(());
        }
        let number = next_number(session, &beat).await?;
        let mut seen = lock(seen);
        match number {
            Ok(number) => {
                seen.beats.wrote(number, started.elapsed());
                seen.writer_trouble = None;
            }
            Err(why) => seen.writer_trouble = Some(why.to_owned()),
        }
    }
}

/// Ends a session whose last statement got no answer, and comes back only when it is seen gone.
async fn end_for_certain(setup: &Setup, id: u64) {
    let list = sql::process_list(&setup.blue_caps);
    loop {
        let gone: Result<bool, ServerError> = async {
            let mut session = open(&setup.blue, setup, "heartbeat").await?;
            let doing = "end the session of a heartbeat without an answer";
            match session.run(doing, &format!("KILL CONNECTION {id}"), BUDGET).await {
                // No such session: gone already.
                Err(e) if e.code() != Some(1094) => return Err(e),
                _ => {}
            }
            let question = format!("SELECT COUNT(*) FROM {list} WHERE ID = {id}");
            let left: u64 = session.one(doing, &question, BUDGET).await?;
            Ok(left == 0)
        }
        .await;
        if matches!(gone, Ok(true)) {
            return;
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// The statement that writes a heartbeat. Several bleens may write the one row: each takes the next number and remembers
/// its own.
pub(super) fn beat_statement(run: Option<&RunId>) -> String {
    format!(
        "UPDATE bleen.heartbeat SET n = LAST_INSERT_ID(n + 1), run_id = {} WHERE id = 1 AND {OPEN}",
        quote::text(run.map_or("-", RunId::as_str))
    )
}

/// Whether the server accepts an ordinary account's writes, looked at by the writing statement itself. As a text: a
/// number that is compared with a word is an error in a statement that writes.
const OPEN: &str = "CONCAT(@@GLOBAL.read_only) IN ('OFF', '0')";

/// The number that was written, or why none was.
async fn next_number(session: &mut Session, beat: &str) -> Result<Result<u64, &'static str>, ServerError> {
    let doing = "write a heartbeat";
    let read_only = Err("blue is read-only: no heartbeat is written");
    let sets = match session.batch(doing, beat, BUDGET).await {
        Ok(sets) => sets,
        Err(e) if e.code() == Some(1290) => return Ok(read_only),
        Err(e) if e.code() == Some(1205) => {
            return Ok(Err(
                "blue's writers are held, or the heartbeat is locked: none is written",
            ));
        }
        Err(e) => return Err(e),
    };
    let number = sets
        .first()
        .and_then(|rows| rows.first())
        .and_then(|row| row.get_opt::<Option<u64>, _>(0));
    match number {
        Some(Ok(Some(number))) => Ok(Ok(number)),
        Some(Ok(None)) => Ok(read_only),
        _ => Err(session.unexpected(doing, "no number")),
    }
}

async fn read_heartbeats(
    setup: &Setup,
    started: Instant,
    seen: &Mutex<Seen>,
    out: &watch::Sender<LagSample>,
) {
    loop {
        let ended: Result<(), ServerError> = async {
            let mut session = open(&setup.green, setup, "lag").await?;
            let mut tick = interval(setup.every);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let number = shown_number(&mut session).await?;
                let mut seen = lock(seen);
                if let Some(number) = number {
                    seen.beats.saw(number);
                }
                seen.reader_trouble = None;
                let sample = seen.sample(started.elapsed());
                drop(seen);
                out.send_replace(sample);
            }
        }
        .await;
        if let Err(error) = ended {
            let mut seen = lock(seen);
            seen.reader_trouble = Some(error.to_string());
            let sample = seen.sample(started.elapsed());
            drop(seen);
            out.send_replace(sample);
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// The newest number that green shows; `None` while bleen's schema has not arrived.
async fn shown_number(session: &mut Session) -> Result<Option<u64>, ServerError> {
    let sql = "SELECT n FROM bleen.heartbeat WHERE id = 1";
    match session.rows("read the heartbeat", sql, BUDGET).await {
        Ok(rows) => Ok(rows.into_iter().next()),
        Err(e) if own_schema::is_missing(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

impl Seen {
    fn sample(&self, now: Duration) -> LagSample {
        let rates = self.rates.per_second();
        let troubles = [&self.reader_trouble, &self.status_trouble, &self.writer_trouble];
        LagSample {
            at: now,
            lag: self.beats.lag(now).filter(|_| !self.follows_nobody),
            is_at_least: !self.beats.has_arrived(),
            behind: self.behind,
            write_rate: rates.map(|r| r.0),
            apply_rate: rates.map(|r| r.1),
            verdict: self
                .behind
                .zip(rates)
                .map(|(behind, (write, apply))| verdict(behind.amount, write, apply)),
            trouble: troubles.into_iter().flatten().next().cloned(),
        }
    }
}

async fn read_positions(setup: &Setup, started: Instant, seen: &Mutex<Seen>) {
    let kind = Capabilities::pair_position_kind(&setup.blue_caps, &setup.green_caps);
    loop {
        let ended: Result<(), ServerError> = async {
            let mut blue = open(&setup.blue, setup, "positions").await?;
            let mut green = open(&setup.green, setup, "positions").await?;
            let mut tick = interval(POSITIONS_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut before: Option<Position> = None;
            // Rates begin anew with a new session: what happened between is not known.
            lock(seen).rates = Rates::default();
            loop {
                tick.tick().await;
                let channels = status::read(&mut green, &setup.green_caps, BUDGET).await?;
                let trouble = match channels.first() {
                    Some(channel) => channel.trouble(),
                    None => Some(FOLLOWS_NOBODY.to_owned()),
                };
                let applied = if channels.is_empty() {
                    None
                } else {
                    Some(executed(&mut green, &setup.green_caps, kind, Role::Replica, BUDGET).await?)
                };
                let written = executed(&mut blue, &setup.blue_caps, kind, Role::Writer, BUDGET).await?;
                let sizes = match kind {
                    PositionKind::File => file_sizes(&mut blue, &setup.blue_caps).await?,
                    _ => Vec::new(),
                };
                let mut seen = lock(seen);
                seen.status_trouble = trouble;
                let behind = applied.as_ref().and_then(|a| distance(a, &written, &sizes));
                seen.behind = behind;
                seen.follows_nobody = channels.is_empty();
                if seen.follows_nobody {
                    // What was measured while it followed says nothing of now.
                    seen.rates = Rates::default();
                }
                if let Some(behind) = behind {
                    let since = before.as_ref().and_then(|b| distance(b, &written, &sizes));
                    let since = since.map_or(0, |d| d.amount);
                    seen.rates.sample(started.elapsed(), since, behind.amount);
                }
                before = Some(written);
            }
        }
        .await;
        if let Err(error) = ended {
            let mut seen = lock(seen);
            seen.status_trouble = Some(error.to_string());
            seen.behind = None;
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// How far green is behind blue by their positions, asked once and without a heartbeat. `None` if green follows nobody,
/// or the positions cannot be compared.
///
/// # Errors
/// Any [`super::error::Cause`].
pub async fn behind(
    blue: (&mut Session, &Capabilities),
    green: (&mut Session, &Capabilities),
) -> Result<Option<Behind>, ServerError> {
    let kind = Capabilities::pair_position_kind(blue.1, green.1);
    if status::read(green.0, green.1, BUDGET).await?.is_empty() {
        return Ok(None);
    }
    let applied = executed(green.0, green.1, kind, Role::Replica, BUDGET).await?;
    let written = executed(blue.0, blue.1, kind, Role::Writer, BUDGET).await?;
    let sizes = match kind {
        PositionKind::File => file_sizes(blue.0, blue.1).await?,
        _ => Vec::new(),
    };
    Ok(distance(&applied, &written, &sizes))
}

/// What lies between two positions; `None` where that cannot be told.
fn distance(from: &Position, to: &Position, sizes: &[(String, u64)]) -> Option<Behind> {
    let (amount, unit) = match (from, to) {
        (Position::GtidSet(from), Position::GtidSet(to)) => (to.minus(from).count(), Unit::Transactions),
        (Position::GtidList(from), Position::GtidList(to)) => (to.ahead_of(from), Unit::Transactions),
        (Position::File(from), Position::File(to)) => (bytes_between(from, to, sizes)?, Unit::Bytes),
        _ => return None,
    };
    Some(Behind { amount, unit })
}

fn bytes_between(from: &FilePosition, to: &FilePosition, sizes: &[(String, u64)]) -> Option<u64> {
    if from.file == to.file {
        return Some(to.offset.saturating_sub(from.offset));
    }
    let at = |file: &str| sizes.iter().position(|(name, _)| name == file);
    let (first, last) = (at(&from.file)?, at(&to.file)?);
    if first > last {
        // Green was read first, so it can be ahead by a file only while blue rotates.
        return Some(0);
    }
    let rest = sizes[first].1.saturating_sub(from.offset);
    let between: u64 = sizes[first + 1..last].iter().map(|(_, size)| size).sum();
    Some(rest + between + to.offset)
}

/// Blue's binlog files with their sizes, oldest first.
async fn file_sizes(blue: &mut Session, caps: &Capabilities) -> Result<Vec<(String, u64)>, ServerError> {
    let rows: Vec<mysql_async::Row> = blue
        .rows("read the sizes of binlog files", "SHOW BINARY LOGS", BUDGET)
        .await?;
    let mut sizes: Vec<(String, u64)> = rows
        .iter()
        .filter_map(|row| {
            let size = super::columns::text_at(row, 1)?.parse().ok()?;
            Some((super::columns::text_at(row, 0)?, size))
        })
        .collect();
    // The last file's size lags behind its end.
    let end = written_file(blue, caps, BUDGET).await?;
    match sizes.iter_mut().find(|(name, _)| *name == end.file) {
        Some((_, size)) => *size = end.offset.max(*size),
        None => sizes.push((end.file, end.offset)),
    }
    Ok(sizes)
}

async fn open(target: &Target, setup: &Setup, role: &'static str) -> Result<Session, ServerError> {
    let purpose = Purpose {
        run: setup.run.clone(),
        role,
    };
    Session::open(target, &purpose, BUDGET).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_across_files() {
        let at = |file: &str, offset| FilePosition {
            file: file.into(),
            offset,
        };
        let sizes = vec![("b.1".into(), 1000), ("b.2".into(), 500), ("b.3".into(), 70)];
        assert_eq!(
            bytes_between(&at("b.1", 900), &at("b.3", 50), &sizes),
            Some(100 + 500 + 50)
        );
        assert_eq!(bytes_between(&at("b.2", 10), &at("b.2", 50), &sizes), Some(40));
        assert_eq!(bytes_between(&at("b.3", 10), &at("b.2", 50), &sizes), Some(0));
        assert_eq!(
            bytes_between(&at("b.0", 10), &at("b.2", 50), &sizes),
            None,
            "purged"
        );
    }
}
