//! The loop of the data proof over its ports, and what it knows at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{Mutex as OneAtATime, Notify, watch};
use tokio::time::{sleep, timeout};

use super::check::Found;
use super::pauses::Pauses;
use super::ports::{Catalogue, Lane, Listed, Stream, Streams, Trouble, TroubleKind};
use super::progress::Checks;
use crate::domain::position::FilePosition;
use crate::domain::proof::bracket::{Doubt, Verdict, Void};
use crate::domain::proof::fence::Left;
use crate::domain::proof::key::Key;
use crate::domain::proof::ledger::{Change, Ledger, NotProvable};
use crate::domain::proof::pace::Target;
use crate::domain::proof::ranges::RangeId;
use crate::domain::proof::recent::Recent;
use crate::domain::proof::stream::Brought;
use crate::domain::proof::touches::Caps;
use crate::domain::proof::transaction::{Positions, TableName};
use crate::domain::proof::work::{How, Plan, Work};
use crate::engine::event::{Difference, EventKind, Events};

/// How often it is looked whether definitions of tables have to be read again.
const IDLE: Duration = Duration::from_millis(50);

/// How long a lane or the stream waits after a trouble, times the number of troubles in a row.
const AGAIN: Duration = Duration::from_millis(500);

/// How long a lane waits until green may have caught up.
const NOT_YET: Duration = Duration::from_millis(100);

/// Troubles in a row with one table before it counts as not provable.
const TABLE_TROUBLES: u32 = 5;

/// How often in a row reading a table without a key may take too long before it counts as not provable, and how often
/// anything else, which is cut smaller each time.
const WHOLE_TOO_SLOW: u32 = 2;
const TOO_SLOW: u32 = 5;

/// Troubles in a row of one lane, or of the stream, before the proof is given up.
const SERVER_TROUBLES: u32 = 20;

/// The most differences that are kept with their values; all are counted.
const DIFFERENCES: usize = 10_000;

/// Rows whose values are asked for at once.
const DESCRIBED_AT_ONCE: usize = 50;

/// How long tables that could not be compared are left before they are looked at again: green may follow.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What to do and for how long.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The size of ranges.
    pub target: Target,
    /// What the ledger may remember.
    pub caps: Caps,
    /// How old a proof may be before its range is read again; nothing if it never is.
    pub again_after: Option<Duration>,
    /// End when every range has been proved, or is known to differ.
    pub once: bool,
}

/// Why the proof ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Everything that can be proved was proved, or differs.
    Complete,
    /// A server could not be read for too long.
    GaveUp(String),
}

pub(super) struct State {
    pub(super) ledger: Ledger,
    pub(super) plan: Plan,
    pub(super) recent: Recent,
    pub(super) checks: Checks,
    pub(super) rows_read: u64,
    /// Rows, and the time that reading them took on all lanes: by range, and by key.
    pub(super) scanned: (u64, Duration),
    pub(super) by_key: (u64, Duration),
    differences: BTreeMap<(TableName, Key), Option<Difference>>,
    /// Tables without a key that differ.
    without_key: BTreeMap<TableName, Difference>,
    /// How often in a row a piece of work took too long.
    too_slow: BTreeMap<(TableName, Option<RangeId>), u32>,
    troubles: BTreeMap<TableName, u32>,
    stale: Stale,
    /// Why no check that is begun now would count.
    pub(super) waits: Option<String>,
    /// What is being read again at present.
    being_read: Stale,
    /// The file of blue's binlog that is being read, and when it was made.
    pub(super) file_made: Option<(String, u32)>,
    /// What both sides had executed when the newest check began.
    pub(super) newest_positions: Option<Arc<Positions>>,
}

/// Tables whose definitions are to be read again.
#[derive(Clone, Default)]
struct Stale {
    everything: bool,
    tables: BTreeSet<TableName>,
    /// Tables that differ: by what is known of their definitions, which may have changed on green meanwhile. One that has
    /// not changed does not begin anew.
    differing: BTreeSet<TableName>,
}

/// The data proof of one pair.
pub struct Prover {
    state: Mutex<State>,
    pub(super) beginning: OneAtATime<()>,
    pub(super) passed: watch::Sender<()>,
    wake: Notify,
    pub(super) pauses: watch::Sender<Pauses>,
    /// How many checks are under way, and other readings.
    pub(super) at_work: watch::Sender<usize>,
    /// How many of them read ranges.
    pub(super) ranges_at_work: watch::Sender<usize>,
    began: Instant,
    /// What its clock showed then: the age of the oldest proof that it began with.
    clock: Duration,
    options: Options,
    events: Events,
}

impl Prover {
    /// Begins with a stream and the tables that were read after it had begun.
    #[must_use]
    pub fn new(stream: &Stream, tables: Vec<(TableName, Listed)>, options: Options, events: &Events) -> Self {
        let mut state = State {
            ledger: Ledger::new(stream.start.clone(), options.caps),
            plan: Plan::new(options.target, options.again_after),
            recent: Recent::new(stream.start.clone()),
            checks: Checks::default(),
            rows_read: 0,
            scanned: (0, Duration::ZERO),
            by_key: (0, Duration::ZERO),
            differences: BTreeMap::new(),
            without_key: BTreeMap::new(),
            too_slow: BTreeMap::new(),
            troubles: BTreeMap::new(),
            stale: Stale::default(),
            waits: None,
            being_read: Stale::default(),
            file_made: None,
            newest_positions: None,
        };
        state.list(tables);
        Self {
            state: Mutex::new(state),
            beginning: OneAtATime::new(()),
            passed: watch::Sender::new(()),
            wake: Notify::new(),
            pauses: watch::Sender::new(Pauses::default()),
            at_work: watch::Sender::new(0),
            ranges_at_work: watch::Sender::new(0),
            began: Instant::now(),
            clock: Duration::ZERO,
            options,
            events: events.clone(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the ledger as it was between two calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bleen's own clock.
    pub(super) fn now(&self) -> Duration {
        self.clock.saturating_add(self.began.elapsed())
    }

    pub(super) const fn set_clock(&mut self, now: Duration) {
        self.clock = now;
    }

    /// For how long it has been going on.
    pub(super) fn running(&self) -> Duration {
        self.began.elapsed()
    }

    /// Goes on until everything is proved (with [`Options::once`]), or it has to give up. Dropping it ends all reading.
    pub async fn run(
        &self,
        mut stream: Stream,
        streams: &mut dyn Streams,
        catalogue: &mut dyn Catalogue,
        lanes: Vec<Box<dyn Lane>>,
    ) -> Ended {
        let lanes = async {
            let ended = join_all(lanes.into_iter().map(|lane| self.work(lane))).await;
            ended
                .into_iter()
                .find(|ended| *ended != Ended::Complete)
                .unwrap_or(Ended::Complete)
        };
        tokio::select! {
            ended = lanes => ended,
            ended = self.follow(&mut stream, streams) => ended,
            ended = self.keep_catalogue(catalogue) => ended,
        }
    }

    /// How it was told to go about it.
    pub(super) const fn options(&self) -> &Options {
        &self.options
    }

    /// Where it tells what it finds.
    #[must_use]
    pub const fn events(&self) -> &Events {
        &self.events
    }

    /// Asks again and again as the stream goes on, until there is an answer; `None` if there is none within `limit`.
    pub(super) async fn as_it_passes<T>(
        &self,
        limit: Duration,
        mut answer: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut passed = self.passed.subscribe();
        let waiting = async {
            loop {
                passed.mark_unchanged();
                if let Some(answer) = answer(&mut self.state()) {
                    return Some(answer);
                }
                if passed.changed().await.is_err() {
                    return None;
                }
            }
        };
        timeout(limit, waiting).await.ok().flatten()
    }

    /// What has to be compared at the fence, once the stream is there. The proof should rest.
    ///
    /// # Errors
    /// In words: the stream does not come in time, or what is left would not prove everything.
    pub async fn left_at_the_fence(
        &self,
        fence: &FilePosition,
        accepted: impl Fn(&TableName) -> bool,
        limit: Duration,
    ) -> Result<Vec<Left>, String> {
        let there = self.as_it_passes(limit, |state| {
            (state.ledger.is_broken() || state.ledger.passed().has_reached(fence)).then_some(())
        });
        if there.await.is_none() {
            let at = self.state().ledger.passed().clone();
            return Err(format!(
                "blue's binlog was read up to {at}, and the fence is at {fence}"
            ));
        }
        let state = self.state();
        if !state.definitions_are_known() {
            return Err("the definition of a table has changed, and is not read yet".to_owned());
        }
        state
            .ledger
            .left_at_the_fence(accepted)
            .map_err(|not| not.to_string())
    }

    /// The rows that differ, with their values as far as they were read, and how many more there are.
    #[must_use]
    pub fn differences(&self) -> (Vec<Difference>, u64) {
        let state = self.state();
        let mut found: Vec<Difference> = state.differing().flatten().cloned().collect();
        let more = state.ledger.differing_rows().saturating_sub(found.len());
        let whole = state.without_key.iter();
        let whole = whole.filter(|(table, _)| state.ledger.differs_as_a_whole(table));
        found.extend(whole.map(|(_, difference)| difference.clone()));
        (found, more as u64)
    }

    /// Takes in what the stream brings, and opens it anew when it breaks.
    async fn follow(&self, stream: &mut Stream, streams: &mut dyn Streams) -> Ended {
        loop {
            let why = self.follow_one(stream).await;
            {
                let mut state = self.state();
                state.ledger.broke(Void::StreamBroken);
                state.recent.broke();
            }
            self.passed.send_replace(());
            self.events.warn(format!(
                "reading blue's binlog broke: {why}; what was proved so far counts no more, and everything is proved anew"
            ));
            let mut troubles = 0;
            *stream = loop {
                sleep(AGAIN.saturating_mul(troubles + 1)).await;
                match streams.open().await {
                    Ok(opened) => break opened,
                    Err(trouble) if troubles + 1 >= SERVER_TROUBLES => return Ended::GaveUp(trouble.why),
                    Err(trouble) => {
                        tracing::debug!(why = trouble.why, "blue's binlog cannot be read");
                        troubles += 1;
                    }
                }
            };
            {
                let mut state = self.state();
                state.ledger.restart(stream.start.clone());
                state.recent.restart(stream.start.clone());
                // What was changed meanwhile was not seen.
                state.stale.everything = true;
            }
            self.passed.send_replace(());
            self.wake.notify_waiters();
        }
    }

    async fn follow_one(&self, stream: &mut Stream) -> String {
        while let Some(brought) = stream.brought.recv().await {
            match brought {
                Brought::Broke(why) => return why,
                Brought::File { name, made } => self.state().file_made = Some((name, made)),
                Brought::Passed(place) => {
                    let mut state = self.state();
                    state.recent.advance(place.clone());
                    if let Err(broke) = state.ledger.advance(place) {
                        return broke.to_string();
                    }
                }
                Brought::Transaction(transaction, changes) => {
                    let mut state = self.state();
                    state.recent.transaction(&transaction, &changes);
                    if let Err(broke) = state.ledger.transaction(transaction, &changes) {
                        return broke.to_string();
                    }
                    state.stale.note(&changes);
                }
            }
            self.passed.send_replace(());
        }
        "its reader ended".to_owned()
    }

    /// Reads the definitions of tables again whose rows or columns a statement has changed.
    async fn keep_catalogue(&self, catalogue: &mut dyn Catalogue) -> Ended {
        let mut troubles = 0;
        let mut looked = Instant::now();
        loop {
            let mut stale = self.state().take_stale();
            if looked.elapsed() >= LOOK_AGAIN {
                looked = Instant::now();
                stale.take_in(std::mem::take(&mut self.state().stale));
                stale.tables.extend(self.state().may_be_provable_by_now());
            }
            if stale.is_empty() {
                sleep(IDLE).await;
                continue;
            }
            // A hold must not wait for it, nor begin while it reads.
            let reading = self.at_work_unless_at_rest().await;
            let which = (!stale.everything).then(|| stale.tables.union(&stale.differing).cloned().collect());
            let read = catalogue.read(which).await;
            drop(reading);
            match read {
                Ok(mut tables) => {
                    troubles = 0;
                    let begins_anew = |name: &TableName| stale.everything || stale.tables.contains(name);
                    tables.retain(|(name, listed)| {
                        begins_anew(name) || !matches!(listed, Listed::Provable { is_new: false, .. })
                    });
                    {
                        let mut state = self.state();
                        state.list(tables);
                        state.being_read = Stale::default();
                    }
                    self.wake.notify_waiters();
                }
                Err(trouble) => {
                    troubles += 1;
                    if troubles >= SERVER_TROUBLES {
                        return Ended::GaveUp(trouble.why);
                    }
                    {
                        let mut state = self.state();
                        state.stale.take_in(stale);
                        state.being_read = Stale::default();
                    }
                    sleep(AGAIN.saturating_mul(troubles)).await;
                }
            }
        }
    }

    /// One lane: takes work until there is none any more.
    async fn work(&self, mut lane: Box<dyn Lane>) -> Ended {
        let mut troubles = 0;
        let mut pauses = self.pauses.subscribe();
        loop {
            // The sender lives as long as this prover.
            let _ = pauses.wait_for(|pauses| pauses.why().is_none()).await;
            let Some(task) = self.take() else {
                if self.options.once && self.is_complete() {
                    return Ended::Complete;
                }
                let woken = self.wake.notified();
                let idle = self.state().plan.idle();
                let _ = timeout(idle, woken).await;
                continue;
            };
            let began = Instant::now();
            let found = self.carry_out(&mut *lane, &task.work).await;
            let took = began.elapsed();
            match found {
                Ok(found) => {
                    troubles = 0;
                    // Counted from before the check ends: no hold may begin in between.
                    let _describing = AtWork::of(self);
                    let differ = self.note(task, found, took);
                    self.describe(&mut *lane, differ).await;
                }
                Err(trouble) => {
                    self.trouble(task, &trouble, took);
                    match trouble.kind {
                        TroubleKind::NotYet => sleep(NOT_YET).await,
                        // Counted for the table.
                        TroubleKind::Table => {}
                        TroubleKind::TooSlow | TroubleKind::Server => troubles += 1,
                    }
                    if troubles >= SERVER_TROUBLES {
                        return Ended::GaveUp(trouble.why);
                    }
                    if trouble.kind == TroubleKind::Server {
                        sleep(AGAIN.saturating_mul(troubles)).await;
                    }
                    if let Err(again) = lane.revive().await {
                        tracing::debug!(why = again.why, "a lane cannot be opened again");
                    }
                }
            }
        }
    }

    /// Waits until no hold is near, and counts as reading from then on.
    async fn at_work_unless_at_rest(&self) -> AtWork<'_> {
        let mut pauses = self.pauses.subscribe();
        loop {
            // The sender lives as long as this prover.
            let _ = pauses.wait_for(|pauses| pauses.rest.is_none()).await;
            let guard = self.state();
            if self.pauses.borrow().rest.is_none() {
                let at_work = AtWork::of(self);
                drop(guard);
                return at_work;
            }
        }
    }

    fn take(&self) -> Option<Task<'_>> {
        let now = self.now();
        let mut guard = self.state();
        let state = &mut *guard;
        if self.pauses.borrow().why().is_some() {
            return None;
        }
        let work = state.plan.next(&state.ledger, now)?;
        if work.range().is_some() {
            self.ranges_at_work.send_modify(|checks| *checks += 1);
        }
        Some(Task {
            prover: self,
            work,
            _at_work: AtWork::of(self),
        })
    }

    /// Whether all that can be proved was, and what differs is known row by row.
    fn is_complete(&self) -> bool {
        let state = self.state();
        *self.at_work.borrow() == 0 && state.definitions_are_known() && state.was_everywhere()
    }

    /// Writes down what a piece of work found; returns the rows whose values are to be read.
    fn note(&self, task: Task<'_>, found: Found, took: Duration) -> Vec<(TableName, Key)> {
        let now = self.now();
        let mut guard = self.state();
        let state = &mut *guard;
        state.rows_read += found.rows;
        let rate = match &task.work {
            Work::Range { .. } => &mut state.scanned,
            Work::Items { .. } => &mut state.by_key,
        };
        rate.0 += found.rows;
        rate.1 += took;
        match &found.verdict {
            Some(Verdict::Proved { .. }) => state.checks.proved += 1,
            Some(Verdict::Diverged { .. }) => state.checks.diverged += 1,
            Some(Verdict::Inconclusive(Doubt::Touched { .. })) => state.checks.touched += 1,
            Some(Verdict::Inconclusive(Doubt::Void(_))) => state.checks.void += 1,
            // Single rows have a verdict each, and are not counted as checks.
            None if matches!(task.work, Work::Items { .. }) => {}
            None => state.checks.void += 1,
        }
        let table = task.work.table().clone();
        tracing::debug!(%table, range = ?task.work.range(), rows = found.rows, ?took, "{}", found.in_words());
        state.troubles.remove(&table);
        state.too_slow.remove(&(table.clone(), task.work.range()));
        if let (Work::Range { how: How::Whole, .. }, Some(Verdict::Diverged { blue, green })) =
            (&task.work, &found.verdict)
        {
            let difference = Difference::of_whole(&table, blue.rows, green.rows);
            if state
                .without_key
                .insert(table.clone(), difference.clone())
                .as_ref()
                != Some(&difference)
            {
                self.events.say(EventKind::Difference(difference));
            }
        }
        state.plan.ended(&task.work, found.verdict.as_ref(), now);
        if matches!(found.verdict, Some(Verdict::Diverged { .. })) || !found.differ.is_empty() {
            state.stale.differing.insert(table.clone());
        }
        let mut new = Vec::new();
        for key in found.differ {
            let name = (table.clone(), key);
            if state.differences.len() < DIFFERENCES && !state.differences.contains_key(&name) {
                new.push(name.clone());
                state.differences.insert(name, None);
            }
        }
        drop(guard);
        drop(task);
        new
    }

    /// Reads the values of rows that differ, and tells them.
    async fn describe(&self, lane: &mut dyn Lane, rows: Vec<(TableName, Key)>) {
        let mut by_table: BTreeMap<TableName, Vec<Key>> = BTreeMap::new();
        for (table, key) in rows {
            by_table.entry(table).or_default().push(key);
        }
        for (table, keys) in by_table {
            for keys in keys.chunks(DESCRIBED_AT_ONCE) {
                match lane.describe(&table, keys).await {
                    Ok(found) => {
                        let mut state = self.state();
                        for (key, difference) in found {
                            self.events.say(EventKind::Difference(difference.clone()));
                            state.differences.insert((table.clone(), key), Some(difference));
                        }
                    }
                    Err(trouble) => {
                        self.events.warn(format!(
                            "rows of {table} differ, but their values could not be read: {trouble}"
                        ));
                        let _ = lane.revive().await;
                        return;
                    }
                }
            }
        }
    }

    fn trouble(&self, task: Task<'_>, trouble: &Trouble, took: Duration) {
        let now = self.now();
        let table = task.work.table().clone();
        let mut guard = self.state();
        let state = &mut *guard;
        if trouble.kind != TroubleKind::NotYet {
            state.checks.void += 1;
        }
        if let (Work::Range { range, .. }, TroubleKind::TooSlow) = (&task.work, trouble.kind) {
            state.plan.too_slow(&table, *range, took);
        }
        if trouble.kind == TroubleKind::TooSlow {
            state.took_too_long(&task.work, &trouble.why);
        }
        state.plan.ended(&task.work, None, now);
        if trouble.kind == TroubleKind::Table {
            // It begins anew only if its definition is another one: else the same trouble would never be counted.
            state.stale.differing.insert(table.clone());
            let troubles = state.troubles.entry(table.clone()).or_default();
            *troubles += 1;
            if *troubles >= TABLE_TROUBLES {
                state
                    .ledger
                    .not_provable(table, NotProvable::NotRead(trouble.why.clone()));
            }
        }
        drop(guard);
        drop(task);
        tracing::debug!(why = trouble.why, "a check came to nothing");
    }
}

/// A piece of work under way. Counts as ended when it is dropped, however that comes.
struct Task<'a> {
    prover: &'a Prover,
    work: Work,
    _at_work: AtWork<'a>,
}

/// Something is being read on a server. Ends when it is dropped, however that comes.
struct AtWork<'a>(&'a Prover);

impl<'a> AtWork<'a> {
    fn of(prover: &'a Prover) -> Self {
        prover.at_work.send_modify(|reading| *reading += 1);
        Self(prover)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.at_work.send_modify(|reading| *reading -= 1);
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        if self.work.range().is_some() {
            self.prover.ranges_at_work.send_modify(|checks| *checks -= 1);
        }
    }
}

impl State {
    /// Takes in what was read of tables.
    fn list(&mut self, tables: Vec<(TableName, Listed)>) {
        for (name, listed) in tables {
            self.plan.forget(&name);
            self.troubles.remove(&name);
            self.too_slow.retain(|(table, _), _| *table != name);
            match listed {
                Listed::Provable { .. } => self.recent.watch(&name),
                Listed::NotProvable(_) | Listed::Gone => self.recent.unwatch(&name),
            }
            match listed {
                Listed::Provable { has_key, .. } => self.ledger.watch(name, has_key),
                Listed::NotProvable(why) => self.ledger.not_provable(name, why),
                Listed::Gone => self.ledger.forget(&name),
            }
        }
    }

    /// A piece of work took longer than it may. Ranges are cut smaller then; what cannot be, or is too slow all the same, is
    /// not tried for ever.
    fn took_too_long(&mut self, work: &Work, why: &str) {
        let table = work.table().clone();
        let times = self.too_slow.entry((table.clone(), work.range())).or_default();
        *times += 1;
        let not = match work {
            Work::Range { how: How::Whole, .. } if *times >= WHOLE_TOO_SLOW => NotProvable::NoKey(format!(
                "it has no key that both sides share, so that it is read as a whole, and that takes too long: {why}; give \
                 it a primary key on both sides"
            )),
            Work::Range { .. } | Work::Items { .. } if *times >= TOO_SLOW => NotProvable::NotRead(format!(
                "reading it takes too long, and less of it cannot be read at once: {why}; look whether its key can be used \
                 to read it, and whether something holds it up"
            )),
            _ => return,
        };
        self.ledger.not_provable(table, not);
    }

    /// Rows that differ, without those that were found equal later.
    pub(super) fn differing(&self) -> impl Iterator<Item = &Option<Difference>> {
        let all = self.differences.iter();
        all.filter(|((table, key), _)| self.ledger.differs(table, key))
            .map(|(_, difference)| difference)
    }

    /// Whether every range has been compared at least once, and what differs is known row by row.
    pub(super) fn was_everywhere(&self) -> bool {
        self.ledger.was_everywhere()
    }

    /// Whether the definitions of all tables are to be read again.
    pub(super) fn is_everything_stale(&self) -> bool {
        self.stale.everything || self.being_read.everything
    }

    /// Whether the definition of a table may be another one than its rows were compared by.
    pub(super) fn is_stale(&self, table: &TableName) -> bool {
        [&self.stale, &self.being_read]
            .into_iter()
            .any(|stale| stale.tables.contains(table) || stale.differing.contains(table))
    }

    /// Whether the definitions of all tables that can be proved are those that were read.
    pub(super) fn definitions_are_known(&self) -> bool {
        let is_not_provable = |name| self.ledger.not_provable_tables().any(|(not, _)| not == name);
        [&self.stale, &self.being_read].into_iter().all(|stale| {
            !stale.everything && stale.differing.is_empty() && stale.tables.iter().all(is_not_provable)
        })
    }

    /// Tables whose definitions are to be read at once. Those that cannot be proved stay for the next look: without a key
    /// every row that changes says no more than that the table did.
    fn take_stale(&mut self) -> Stale {
        let mut now = std::mem::take(&mut self.stale);
        let not: BTreeSet<&TableName> = self.ledger.not_provable_tables().map(|(name, _)| name).collect();
        let (later, at_once) = now.tables.into_iter().partition(|name| not.contains(name));
        self.stale.tables = later;
        now.tables = at_once;
        self.being_read = now.clone();
        now
    }

    /// Tables that are on one side only: green may still follow, and so may a table that could not be read.
    fn may_be_provable_by_now(&self) -> Vec<TableName> {
        let not = self.ledger.not_provable_tables();
        not.filter(|(_, why)| matches!(why, NotProvable::OneSideOnly(_) | NotProvable::Column(_)))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

impl Stale {
    fn is_empty(&self) -> bool {
        !self.everything && self.tables.is_empty() && self.differing.is_empty()
    }

    fn take_in(&mut self, other: Self) {
        self.everything |= other.everything;
        self.tables.extend(other.tables);
        self.differing.extend(other.differing);
    }

    fn note(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Table(table) => {
                    self.tables.insert(table.clone());
                }
                Change::Schema(_) | Change::Everything => self.everything = true,
                Change::Row { .. } | Change::Cascade { .. } => {}
            }
        }
    }
}
