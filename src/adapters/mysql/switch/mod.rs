//! Steps 6b to 16 on real servers: what each of the machine's commands sends, and what counts as its answer.
//!
//! Must not decide: whether to go on, back out or stop is the machine's. What is decided here is only what was *seen*,
//! and whether an answer is certain. Nothing here retries a statement that changes something.

mod after;
mod aftermath;
mod by_hand;
mod clock;
pub mod events;
mod facts;
mod fence;
mod green_wrote;
mod guard;
mod hold;
mod looks;
pub mod plan;
mod promote;
mod quiet;
mod run_lock;
mod seal;
mod seal_tables;
mod sessions;
mod stands;
mod takeover;
mod watch;
mod way_back;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mysql_async::Row;
use tokio::sync::watch as signal;

use super::error::{Cause, ServerError};
use super::proof::fence::FenceProof;
use super::session::Target;
use super::survey::privileged;
use crate::domain::capabilities::{Capabilities, PositionKind};
use crate::domain::guardrails::facts::PrivilegedAccount;
use crate::domain::ids::{RunId, Side};
use crate::domain::machine::{Answer, Command, HoldKind, Seen};
use crate::domain::outcome::{Outcome, WhyKind};
use crate::domain::position::FilePosition;
use crate::engine::hooks::About;
use crate::engine::ports::{Alarm, Pending, Servers, Terms};
use crate::playbook::model::{Exec, GateQuery};

pub use aftermath::AskAfter;
pub use by_hand::{ByHand, by_hand};
pub use facts::{Facts, Started, started};
pub use run_lock::RunLock;
use sessions::Sessions;
pub use sessions::{RunLockTaken, holder as run_lock_holder};
pub use way_back::{WayBack, WiredBack};

/// One side: where it is, and what it can do.
#[derive(Debug, Clone)]
pub struct Server {
    /// Address and account.
    pub target: Target,
    /// What it can do.
    pub caps: Capabilities,
    /// Which server it was when the command began ([`crate::domain::identity::Identity::label`]): a session that comes
    /// out at another one is not used.
    pub label: Option<String>,
}

/// Everything an attempt has to know before it begins.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The run.
    pub run: RunId,
    /// The pair's name.
    pub pair: String,
    /// Who started it, and on which machine.
    pub operator: String,
    /// The playbook's hash.
    pub playbook: String,
    /// The side that serves now.
    pub blue: Server,
    /// The side that will.
    pub green: Server,
    /// How writers are held.
    pub hold: HoldKind,
    /// From the hold's statement to promote confirmed.
    pub deadline: Duration,
    /// How long the hold's statement may wait before it is given up.
    pub hold_wait: Duration,
    /// What the guard waits beyond the lease.
    pub guard_margin: Duration,
    /// How long sessions left on blue may stay idle after the release.
    pub idle_grace: Duration,
    /// How long a statement may take to answer outside of waits.
    pub answer: Duration,
    /// Whether a SELECT in the way of the hold may be ended.
    pub end_selects: bool,
    /// Whether sessions of accounts that write through read-only may be ended under the hold.
    pub end_privileged: bool,
    /// The gate queries that are run at the fence.
    pub fence_queries: Vec<GateQuery>,
    /// What points the traffic at green.
    pub routes: Vec<Exec>,
    /// Further sessions of this run on blue: no session that writes through read-only, whatever its account.
    pub own_sessions: OwnSessions,
    /// What makes a relaxed green durable again once it has caught up under the hold; empty if it is not relaxed.
    pub durable_again: Vec<String>,
    /// Whether the playbook asks for the data proof.
    pub proves_rows: bool,
    /// The data proof that runs beside it; `None` before it was begun, or if the playbook asks for none.
    pub proof: Option<FenceProof>,
    /// How blue is to follow green from promote on; `None` if it is not.
    pub way_back: Option<WayBack>,
    /// How the guardrails are asked once green serves; `None` for not at all.
    pub after: Option<AskAfter>,
}

/// Numbers of sessions, shared with whoever opens more of them.
#[derive(Debug, Clone, Default)]
pub struct OwnSessions(Arc<Mutex<BTreeSet<u64>>>);

impl OwnSessions {
    /// Adds further ones.
    pub fn add(&self, numbers: impl IntoIterator<Item = u64>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(numbers);
    }

    /// All of them, also those that ended.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        let numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.iter().copied().collect()
    }
}

impl Settings {
    /// What routes and hooks are told of the run.
    #[must_use]
    pub fn about(&self) -> About {
        About {
            run: self.run.to_string(),
            pair: self.pair.clone(),
            blue: self.blue.target.address.to_string(),
            green: self.green.target.address.to_string(),
        }
    }

    /// Whether anything is compared at the fence.
    #[must_use]
    pub fn reproves(&self) -> bool {
        !self.fence_queries.is_empty() || self.proof.is_some()
    }

    /// How positions of this pair are written.
    #[must_use]
    pub fn position_kind(&self) -> PositionKind {
        Capabilities::pair_position_kind(&self.blue.caps, &self.green.caps)
    }

    /// The lease of the holding session in whole seconds, as `wait_timeout` takes it: rounded up, at least one.
    #[must_use]
    pub fn lease_seconds(&self, left: Duration) -> u64 {
        left.as_secs() + u64::from(left.subsec_nanos() > 0 || left.as_secs() == 0)
    }

    /// How long the guard sleeps: the lease, and the margin for a statement that runs at its end (DESIGN, Guard).
    #[must_use]
    pub fn guard_seconds(&self) -> f64 {
        let lease = Duration::from_secs(self.lease_seconds(self.deadline));
        (lease + self.guard_margin.max(Self::LEAST_MARGIN)).as_secs_f64()
    }

    /// The longest time the hold's statement may wait inside the server (`lock_wait_timeout`, whole seconds) plus two
    /// seconds; more than the two such waits of a statement of the seal.
    pub const LEAST_MARGIN: Duration = Duration::from_secs(LOCK_WAIT_SECONDS + 2);
}

/// `lock_wait_timeout` of the holding session: the smallest that servers take.
const LOCK_WAIT_SECONDS: u64 = 1;

/// What a run wrote down, for whoever has to say it when the attempt is gone.
pub type SharedFacts = Arc<Mutex<Facts>>;

/// The sessions and watchers of one attempt, as the engine's port.
pub struct SwitchServers {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    facts: SharedFacts,
    /// Accounts of blue that write through read-only.
    privileged: Vec<PrivilegedAccount>,
    sessions: Sessions,
    clocks: clock::Clocks,
    alarm: signal::Sender<Option<Alarm>>,
    seen_in_the_way: Mutex<Option<String>>,
    released_at: Mutex<Option<Instant>>,
    /// What the batch that took the hold answered after it, until the fence is read from it.
    at_hold: Mutex<Option<Vec<Vec<Row>>>>,
    fence_file: Mutex<Option<FilePosition>>,
    /// The session that told blue to follow green.
    wiring: tokio::sync::Mutex<Option<u64>>,
    /// Transactions of green's own, as they were looked for when it was drained: the outer `None` before that.
    green_wrote: Mutex<Option<Option<String>>>,
    locked_tables: Mutex<Vec<String>>,
    /// When green was last seen without a lock that promote would not lift.
    green_seen_free: tokio::sync::Mutex<Option<Instant>>,
}

impl SwitchServers {
    /// Opens every session that the attempt needs, takes the run lock on both servers, measures both clocks, and writes
    /// down on blue what would have to be put back.
    ///
    /// # Errors
    /// A session that cannot be opened, a lock that another run holds ([`OpenError::Locked`]), a value that cannot be
    /// read. Nothing has changed then but the lock, which ends with its session.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        let budget = settings.answer;
        let sessions = Sessions::open(&settings, budget).await?;
        let facts = facts::read(&settings, &sessions, budget).await?;
        facts::write(&settings, &sessions, &facts, budget).await?;
        Self::assemble(settings, sessions, facts).await
    }

    /// Opens the sessions for taking over an earlier run, with what that run wrote down.
    ///
    /// # Errors
    /// As [`SwitchServers::open`].
    pub async fn take_over(settings: Settings, facts: Facts) -> Result<Self, OpenError> {
        let budget = settings.answer;
        let sessions = Sessions::open_for_takeover(&settings, &facts, budget).await?;
        Self::assemble(settings, sessions, facts).await
    }

    async fn assemble(settings: Settings, sessions: Sessions, facts: Facts) -> Result<Self, OpenError> {
        let clocks = clock::Clocks::measure(&sessions, settings.answer).await?;
        let privileged = {
            let mut blue = sessions.first_control(Side::Blue).await;
            privileged::accounts(&mut blue, &settings.blue.caps.version, settings.answer).await?
        };
        let inner = Arc::new(Inner {
            settings,
            facts: Arc::new(Mutex::new(facts)),
            privileged,
            sessions,
            clocks,
            alarm: signal::channel(None).0,
            seen_in_the_way: Mutex::new(None),
            released_at: Mutex::new(None),
            at_hold: Mutex::new(None),
            fence_file: Mutex::new(None),
            wiring: tokio::sync::Mutex::new(None),
            green_wrote: Mutex::new(None),
            locked_tables: Mutex::new(Vec::new()),
            green_seen_free: tokio::sync::Mutex::new(None),
        });
        watch::start(&inner).await;
        Ok(Self { inner })
    }

    /// Writes the run's outcome where the servers keep it: on green if it was promoted, else on blue. The outcome
    /// stands all the same if the row cannot be written; one that `resume` has to look at again is left open.
    pub fn close_run(&self, outcome: &Outcome) -> Pending<Result<(), String>> {
        let inner = Arc::clone(&self.inner);
        let side = outcome.serves().filter(|_| !outcome.stays_open());
        let word = outcome.word();
        Box::pin(async move {
            let Some(side) = side else { return Ok(()) };
            facts::close_run(&inner, side, word)
                .await
                .map_err(|e| e.to_string())
        })
    }

    /// What the run wrote down, shared: it outlives the attempt's sessions.
    #[must_use]
    pub fn facts(&self) -> SharedFacts {
        Arc::clone(&self.inner.facts)
    }
}

/// Why the sessions of an attempt could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A server refused or did not answer.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Another run holds the pair.
    #[error(transparent)]
    Locked(#[from] RunLockTaken),
}

impl Inner {
    fn facts(&self) -> std::sync::MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server(&self, side: Side) -> &Server {
        match side {
            Side::Blue => &self.settings.blue,
            Side::Green => &self.settings.green,
        }
    }

    fn set_at_hold(&self, sets: Vec<Vec<Row>>) {
        let sets = Some(sets).filter(|sets| !sets.is_empty());
        *self.at_hold.lock().unwrap_or_else(PoisonError::into_inner) = sets;
    }

    fn take_at_hold(&self) -> Option<Vec<Vec<Row>>> {
        self.at_hold.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn fence_file(&self) -> Option<FilePosition> {
        self.fence_file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_fence_file(&self, file: FilePosition) {
        *self.fence_file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }

    fn set_green_wrote(&self, seen: Option<String>) {
        *self.green_wrote.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    fn take_green_wrote(&self) -> Option<Option<String>> {
        self.green_wrote
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn locked_tables(&self) -> Vec<String> {
        self.locked_tables
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_locked_tables(&self, tables: Vec<String>) {
        *self.locked_tables.lock().unwrap_or_else(PoisonError::into_inner) = tables;
    }

    fn raise(&self, alarm: Alarm) {
        self.alarm.send_replace(Some(alarm));
    }

    fn set_in_the_way(&self, seen: Option<String>) {
        *self
            .seen_in_the_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = seen;
    }

    async fn perform(self: Arc<Self>, command: Command, terms: Terms) -> Answer {
        let result = match &command {
            Command::WireBack => way_back::wire(&self, terms).await,
            Command::UnwireBack => way_back::unwire(&self, terms).await,
            Command::Quiet => quiet::quiet(&self, terms).await,
            Command::PutBack => quiet::put_back(&self, terms).await,
            Command::ArmGuard => guard::arm(&self, terms).await,
            Command::Disarm => guard::disarm(&self, terms).await,
            Command::EndGuard => guard::end_and_put_back(&self, terms).await,
            Command::TakeHold => hold::take(&self, terms).await,
            Command::GiveUpHold => hold::give_up(&self, terms).await,
            Command::EndHolder => hold::end(&self, terms).await,
            Command::ReadFence => fence::read(&self, terms).await,
            Command::Drain { to } => fence::drain(&self, to, terms).await,
            Command::DrainSealed { to } => fence::drain_sealed(&self, to, terms).await,
            Command::ReadMoved { to } => fence::read_moved(&self, to, terms).await,
            Command::Reprove => fence::reprove(&self, terms).await,
            Command::Seal => seal::seal(&self, terms).await,
            Command::Unseal => seal::unseal(&self, terms).await,
            Command::Reseal => seal::reseal(&self, terms).await,
            Command::Promote => promote::promote(&self, terms).await,
            Command::EndPromoter => promote::end(&self, terms).await,
            Command::ReadGreen => promote::read(&self, terms).await,
            Command::Reopen => promote::reopen(&self, terms).await,
            Command::WriteEpoch => promote::write_epoch(&self, terms).await,
            Command::EndEarlierSessions => takeover::end_earlier_sessions(&self, terms).await,
            Command::Route => after::route(&self, terms).await,
            Command::Release => after::release(&self, terms).await,
            Command::Confirm => after::confirm(&self, terms).await,
        };
        result.unwrap_or_else(|e| answer(&e))
    }
}

/// What an error leaves known. An answer of the server is certain; a lost one is not.
fn answer(error: &ServerError) -> Answer {
    match &error.cause {
        Cause::TakenOver(_) => Answer::Refused(WhyKind::TakenOver, error.to_string()),
        _ if error.is_unknown() => Answer::Unknown(error.to_string()),
        _ => Answer::Refused(WhyKind::Refused, error.to_string()),
    }
}

fn done() -> Result<Answer, ServerError> {
    Ok(Answer::Seen(Seen::Done))
}

fn refused(kind: WhyKind, detail: impl Into<String>) -> Result<Answer, ServerError> {
    Ok(Answer::Refused(kind, detail.into()))
}

fn lost(side: Side, doing: &str, why: &str) -> ServerError {
    ServerError {
        side,
        server: "-".to_owned(),
        doing: doing.to_owned(),
        cause: Cause::Lost(why.to_owned()),
    }
}

impl Servers for SwitchServers {
    fn perform(&self, command: Command, terms: Terms) -> Pending<Answer> {
        Box::pin(Arc::clone(&self.inner).perform(command, terms))
    }

    fn approach(&self, terms: Terms) -> Pending<Option<Answer>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            match looks::approach(&inner, terms).await {
                Ok(not_now) => not_now,
                Err(e) => Some(answer(&e)),
            }
        })
    }

    fn alarm(&self) -> Pending<Alarm> {
        let mut receiver = self.inner.alarm.subscribe();
        Box::pin(async move {
            loop {
                let seen = receiver.borrow_and_update().clone();
                if let Some(alarm) = seen {
                    return alarm;
                }
                if receiver.changed().await.is_err() {
                    // No watcher is left; the commands' own answers tell.
                    return std::future::pending().await;
                }
            }
        })
    }

    fn in_the_way(&self) -> Option<String> {
        self.inner
            .seen_in_the_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
