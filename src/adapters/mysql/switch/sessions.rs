//! The sessions of an attempt, opened before the hold, and the run lock.
//!
//! Sessions that hold, seal or promote are never reopened within an attempt. Only the control sessions are, for
//! undoing; and whoever reopens one must still be the owner of the run lock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use super::{Facts, Inner, OpenError, Server, Settings};
use crate::adapters::mysql::error::{Cause, ServerError};
use crate::adapters::mysql::gate::{self, Gate};
use crate::adapters::mysql::proof::fence::FenceReader;
use crate::adapters::mysql::session::{Purpose, Session};
use crate::adapters::mysql::{identity, own_schema, quote, sql};
use crate::domain::ids::{RunId, Side};

/// The named lock that a run holds on both servers.
pub(super) const RUN_LOCK: &str = "bleen.run";

/// A run whose lock session was silent for this long is taken for dead or frozen; a living one speaks every second.
pub const SILENT_SECONDS: u64 = 5;

/// How often the lock's session speaks.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// `wait_timeout` of the lock's session.
const LOCK_IDLE_SECONDS: u64 = 60;

/// Another run holds the pair.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "another run of bleen holds {side}: {}session {session}, account {account}, silent for {silent} s. \
     Wait for it, or `bleen resume` it if it is dead",
    .run.as_ref().map(|run| format!("{run}, ")).unwrap_or_default()
)]
pub struct RunLockTaken {
    /// The side on which the lock is held.
    pub side: Side,
    /// The run, its operator and since when, in words, as far as the server knows them.
    pub run: Option<String>,
    /// The session that holds it.
    pub session: u64,
    /// Its account and host.
    pub account: String,
    /// Seconds since it last spoke.
    pub silent: u64,
}

pub(super) struct Control {
    session: Mutex<Session>,
    lock: Mutex<LockOwner>,
    /// Whether the session that holds the run lock was lost: the lock is then no longer ours, or not for long.
    lock_lost: AtomicBool,
}

struct LockOwner {
    /// The number of the session that holds the run lock for us.
    id: u64,
    session: Option<Session>,
}

pub(super) struct SideSessions {
    pub control: Control,
}

pub(super) struct Sessions {
    pub blue: SideSessions,
    pub green: SideSessions,
    /// Holds the writers; seals.
    pub hold: Mutex<Option<Session>>,
    /// The guard's session while it is not yet called.
    pub guard: Mutex<Option<Session>>,
    /// The number of the guard's session once it was called.
    pub guard_id: Mutex<Option<u64>>,
    /// Waits on green.
    pub drain: Mutex<Option<Session>>,
    /// Ends the guard and waits for its end.
    pub disarm: Mutex<Option<Session>>,
    /// Opens green.
    pub promote: Mutex<Option<Session>>,
    /// The watchers' sessions, until the watchers take them.
    pub watch_blue: Mutex<Option<Session>>,
    pub watch_green: Mutex<Option<Session>>,
    /// Runs the gate queries at the fence.
    pub fence_gate: Mutex<Option<Gate>>,
    /// Compares rows at the fence.
    pub fence_proof: Mutex<Option<FenceReader>>,
    pub hold_id: u64,
    pub promote_id: u64,
}

fn purpose(run: &RunId, role: &'static str) -> Purpose {
    Purpose {
        run: Some(run.clone()),
        role,
    }
}

pub(super) async fn open(
    server: &Server,
    run: &RunId,
    role: &'static str,
    budget: Duration,
) -> Result<Session, ServerError> {
    let mut session = match Session::open(&server.target, &purpose(run, role), budget).await {
        // Connections used up: the spare address is there for just that.
        Err(e) if matches!(e.cause, Cause::Unreachable(_)) => match &server.target.spare_address {
            Some(spare) => Session::open_at(&server.target, spare, &purpose(run, role), budget).await,
            None => Err(e),
        },
        other => other,
    }?;
    if let Some(label) = &server.label {
        identity::expect(&mut session, server, label, budget).await?;
    }
    Ok(session)
}

impl Sessions {
    pub async fn open(settings: &Settings, budget: Duration) -> Result<Self, OpenError> {
        let run = &settings.run;
        let (blue, green) = (&settings.blue, &settings.green);
        let blue_control = control(blue, run, None, budget).await?;
        let green_control = control(green, run, None, budget).await?;
        let hold = open(blue, run, "hold", budget).await?;
        let guard = open(blue, run, "guard", budget).await?;
        let drain = open(green, run, "drain", budget).await?;
        let promote = open(green, run, "promote", budget).await?;
        let disarm = open(blue, run, "disarm", budget).await?;
        let watch_blue = open(blue, run, "watch", budget).await?;
        let watch_green = open(green, run, "watch", budget).await?;
        let queries = settings
            .fence_queries
            .iter()
            .map(gate::Query::from)
            .collect::<Vec<_>>();
        let fence_gate = if queries.is_empty() {
            None
        } else {
            let (on_blue, on_green) = ((&blue.target, &blue.caps), (&green.target, &green.caps));
            Some(gate::open(on_blue, on_green, Some(run), queries).await?)
        };
        let fence_proof = match &settings.proof {
            Some(proof) => Some(FenceReader::open(proof).await?),
            None => None,
        };
        Ok(Self {
            fence_gate: Mutex::new(fence_gate),
            fence_proof: Mutex::new(fence_proof),
            hold_id: hold.id(),
            promote_id: promote.id(),
            blue: SideSessions {
                control: blue_control,
            },
            green: SideSessions {
                control: green_control,
            },
            hold: Mutex::new(Some(hold)),
            guard: Mutex::new(Some(guard)),
            guard_id: Mutex::new(None),
            drain: Mutex::new(Some(drain)),
            disarm: Mutex::new(Some(disarm)),
            promote: Mutex::new(Some(promote)),
            watch_blue: Mutex::new(Some(watch_blue)),
            watch_green: Mutex::new(Some(watch_green)),
        })
    }

    /// Only control sessions: what has to be undone needs no more. The lock of a silent run is taken from it.
    pub async fn open_for_takeover(
        settings: &Settings,
        facts: &Facts,
        budget: Duration,
    ) -> Result<Self, OpenError> {
        let blue_control = control(&settings.blue, &settings.run, Some(facts), budget).await?;
        let green_control = control(&settings.green, &settings.run, Some(facts), budget).await?;
        Ok(Self {
            fence_gate: Mutex::new(None),
            fence_proof: Mutex::new(None),
            hold_id: facts.hold_session,
            promote_id: facts.promote_session,
            blue: SideSessions {
                control: blue_control,
            },
            green: SideSessions {
                control: green_control,
            },
            hold: Mutex::new(None),
            guard: Mutex::new(None),
            guard_id: Mutex::new(None),
            drain: Mutex::new(None),
            disarm: Mutex::new(None),
            promote: Mutex::new(None),
            watch_blue: Mutex::new(None),
            watch_green: Mutex::new(None),
        })
    }

    fn side(&self, side: Side) -> &SideSessions {
        match side {
            Side::Blue => &self.blue,
            Side::Green => &self.green,
        }
    }

    /// The control session as it was opened, for reading before the attempt begins.
    pub async fn first_control(&self, side: Side) -> MutexGuard<'_, Session> {
        self.side(side).control.session.lock().await
    }

    /// The numbers of every session of this run on a side.
    pub async fn numbers(&self, side: Side) -> Vec<u64> {
        let control = &self.side(side).control;
        let mut numbers = vec![control.session.lock().await.id(), control.lock.lock().await.id];
        let others: &[&Mutex<Option<Session>>] = match side {
            Side::Blue => &[&self.hold, &self.guard, &self.disarm, &self.watch_blue],
            Side::Green => &[&self.drain, &self.promote, &self.watch_green],
        };
        for other in others {
            numbers.extend(other.lock().await.as_ref().map(Session::id));
        }
        if let Some(reader) = self.fence_proof.lock().await.as_ref() {
            numbers.extend(reader.sessions(side));
        }
        if let Some(gate) = self.fence_gate.lock().await.as_ref() {
            numbers.extend(
                gate.sessions()
                    .iter()
                    .filter(|(on, _)| *on == side)
                    .map(|(_, id)| id),
            );
        }
        numbers
    }
}

/// Opens the control session of a side and takes the run lock on a session of its own. What an earlier run wrote down
/// is given when that is taken over: it must be the same server, and a silent run's lock is taken from it.
async fn control(
    server: &Server,
    run: &RunId,
    earlier: Option<&Facts>,
    budget: Duration,
) -> Result<Control, OpenError> {
    let mut session = open(server, run, "control", budget).await?;
    if let Some(facts) = earlier {
        identity::expect(&mut session, server, facts.label(server.target.side), budget).await?;
    }
    let lock = take_lock(server, &mut session, run, earlier.is_some(), budget).await?;
    Ok(Control {
        session: Mutex::new(session),
        lock: Mutex::new(LockOwner {
            id: lock.id(),
            session: Some(lock),
        }),
        lock_lost: AtomicBool::new(false),
    })
}

/// Takes the run lock of a side on a session of its own. `asking` looks for who holds it, and ends a silent holder's
/// session if that is wanted.
pub(super) async fn take_lock(
    server: &Server,
    asking: &mut Session,
    run: &RunId,
    take_from_silent: bool,
    budget: Duration,
) -> Result<Session, OpenError> {
    let mut lock = open(server, run, "lock", budget).await?;
    let idle = format!("SET SESSION wait_timeout = {LOCK_IDLE_SECONDS}");
    lock.run("keep the run lock's session alive", &idle, budget)
        .await?;
    for try_again in [take_from_silent, false] {
        let (got,): (Option<i64>,) = lock
            .one(
                "take the run lock",
                &format!("SELECT GET_LOCK('{RUN_LOCK}', 0)"),
                budget,
            )
            .await?;
        if got == Some(1) {
            return Ok(lock);
        }
        let Some(taken) = holder(server, asking, budget).await? else {
            continue;
        };
        if !try_again || taken.silent < SILENT_SECONDS {
            return Err(taken.into());
        }
        end_session(asking, server, taken.session, budget).await?;
    }
    let taken = holder(server, asking, budget).await?;
    Err(taken
        .unwrap_or(RunLockTaken {
            side: server.target.side,
            run: None,
            session: 0,
            account: "unknown".to_owned(),
            silent: 0,
        })
        .into())
}

/// Who holds the run lock on a server, if anybody does. Reads only.
///
/// # Errors
/// Any [`Cause`].
pub async fn holder(
    server: &Server,
    session: &mut Session,
    budget: Duration,
) -> Result<Option<RunLockTaken>, ServerError> {
    let list = sql::process_list(&server.caps);
    let question =
        format!("SELECT ID, CONCAT(USER, '@', HOST), TIME FROM {list} WHERE ID = IS_USED_LOCK('{RUN_LOCK}')");
    let rows: Vec<(u64, String, Option<i64>)> = session
        .rows("see who holds the run lock", &question, budget)
        .await?;
    let Some((number, account, time)) = rows.into_iter().next() else {
        return Ok(None);
    };
    Ok(Some(RunLockTaken {
        side: server.target.side,
        run: run_of(server, session, number, budget).await?,
        session: number,
        account,
        silent: u64::try_from(time.unwrap_or(0)).unwrap_or(0),
    }))
}

/// Whose a session is: by the run that it bears, where the server keeps that, else by the sessions that each unfinished
/// run wrote down. A run that only prepares is written down when it has.
async fn run_of(
    server: &Server,
    session: &mut Session,
    number: u64,
    budget: Duration,
) -> Result<Option<String>, ServerError> {
    let borne: Option<String> = if server.caps.connect_attributes {
        let question = format!(
            "SELECT ATTR_VALUE FROM performance_schema.session_connect_attrs WHERE ATTR_NAME = 'bleen_run' AND \
             PROCESSLIST_ID = {number}"
        );
        let rows: Vec<(String,)> = session
            .rows("see which run holds the run lock", &question, budget)
            .await?;
        rows.into_iter().next().map(|(run,)| run)
    } else {
        None
    };
    let rows = own_schema::runs(session, budget).await?.unwrap_or_default();
    let sessions_of = |facts: Facts| match server.target.side {
        Side::Blue => facts.blue_sessions,
        Side::Green => facts.green_sessions,
    };
    let row = rows.into_iter().rev().find(|row| match &borne {
        Some(run) => row.run_id == *run,
        None => {
            let facts = row
                .facts
                .as_deref()
                .and_then(|facts| serde_json::from_str(facts).ok());
            row.outcome.is_none() && facts.map(sessions_of).is_some_and(|all| all.contains(&number))
        }
    });
    Ok(match (row, borne) {
        (Some(row), _) => Some(format!(
            "run {} of {}, begun {}",
            row.run_id, row.operator, row.started
        )),
        // Its id begins with the time.
        (None, Some(run)) => Some(format!("run {run}")),
        (None, None) => None,
    })
}

/// An expression that is 1 while that session holds the run lock.
pub(super) fn holds(session: u64) -> String {
    format!("(IS_USED_LOCK('{RUN_LOCK}') <=> {session})")
}

/// The statement that ends a session.
pub(super) fn end_statement(number: impl std::fmt::Display) -> String {
    format!("KILL CONNECTION {number}")
}

/// Ends a session and waits until it is gone. One that is gone already is fine.
///
/// # Errors
/// It is still there when `budget` is over ([`Cause::TimedOut`] of nothing sent: reported as refused), or the server
/// could not be asked.
pub(super) async fn end_session(
    session: &mut Session,
    server: &Server,
    number: u64,
    budget: Duration,
) -> Result<(), ServerError> {
    let doing = format!("end session {number} and see it gone");
    match session.run(&doing, &end_statement(number), budget).await {
        // 1094: no such thread.
        Err(e) if e.code() != Some(1094) => return Err(e),
        _ => {}
    }
    let list = sql::process_list(&server.caps);
    let question = format!("SELECT COUNT(*) FROM {list} WHERE ID = {number}");
    let until = tokio::time::Instant::now() + budget;
    let mut pause = Duration::from_micros(200);
    loop {
        let (left,): (u64,) = session.one(&doing, &question, budget).await?;
        if left == 0 {
            return Ok(());
        }
        if tokio::time::Instant::now() + pause > until {
            return Err(ServerError {
                side: server.target.side,
                server: server.target.address.to_string(),
                doing,
                cause: Cause::Refused {
                    code: 0,
                    message: "it is still there".to_owned(),
                },
            });
        }
        // The server ends it when its thread looks; there is nothing to wait on but the list itself.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// As [`end_session`], of a session on blue.
pub(super) async fn end_on_blue(inner: &Inner, number: u64, budget: Duration) -> Result<(), ServerError> {
    let mut blue = inner.control(Side::Blue, budget).await?;
    end_session(&mut blue, &inner.settings.blue, number, budget).await
}

impl Inner {
    /// Sees, by asking the server now, that the run lock is still this run's: a bleen that was frozen may have been
    /// overtaken since its last statement.
    pub(super) async fn see_still_ours(&self, side: Side, budget: Duration) -> Result<(), ServerError> {
        let control = &self.sessions.side(side).control;
        let mut looked_again = false;
        loop {
            let mut session = self.control(side, budget).await?;
            let question = format!("SELECT {}", holds(control.lock.lock().await.id));
            let held = session
                .one::<(i64,)>("see that the run is still ours", &question, budget)
                .await;
            match held {
                Ok((1,)) => return Ok(()),
                // The next look finds out whose it is, over a new session if this one was ended.
                _ if !looked_again => {
                    control.lock_lost.store(true, Ordering::Release);
                    looked_again = true;
                }
                Ok(_) => return Err(self.not_ours(side, "it does not hold the run lock".to_owned())),
                Err(e) => return Err(e),
            }
        }
    }

    /// The control session of a side; reopened if it was lost, but only while the run lock is still ours.
    pub(super) async fn control(
        &self,
        side: Side,
        budget: Duration,
    ) -> Result<MutexGuard<'_, Session>, ServerError> {
        let control = &self.sessions.side(side).control;
        let mut session = control.session.lock().await;
        if !session.is_spent() && !control.lock_lost.load(Ordering::Acquire) {
            return Ok(session);
        }
        let server = self.server(side);
        // It takes the lost one's place only when everything below is found to be as it must: whoever asks again would
        // else be given a session on another server, or of a run that is no longer ours.
        let mut fresh = None;
        if session.is_spent() {
            let mut opened = open(server, &self.settings.run, "control", budget).await?;
            let before = self.facts().label(side).to_owned();
            identity::expect(&mut opened, server, &before, budget).await?;
            self.end_what_was_lost(side, &mut opened, session.id(), budget)
                .await?;
            fresh = Some(opened);
        }
        let asking = match fresh.as_mut() {
            Some(fresh) => fresh,
            None => &mut *session,
        };
        let mut owner = control.lock.lock().await;
        let question = format!("SELECT IS_USED_LOCK('{RUN_LOCK}')");
        let (holder,): (Option<u64>,) = asking
            .one("see who holds the run lock", &question, budget)
            .await?;
        let kept = owner.session.as_ref().is_some_and(|s| !s.is_spent()) || owner.id == asking.id();
        match holder {
            Some(id) if id == owner.id && kept => {}
            Some(id) if id != owner.id => {
                let how = format!("session {id} holds the run lock: another bleen has taken over");
                return Err(self.not_ours(side, how));
            }
            lingering => {
                // The lock's session died with the server or the network; perhaps the server has not noticed yet.
                if let Some(id) = lingering {
                    end_session(asking, server, id, budget).await?;
                }
                // Nobody has it now. Somebody may have had it, and ended this run.
                self.see_unfinished(side, asking, budget).await?;
                let sql = format!("SELECT GET_LOCK('{RUN_LOCK}', 0)");
                let (got,): (Option<i64>,) = asking.one("take the run lock again", &sql, budget).await?;
                if got != Some(1) {
                    return Err(super::lost(
                        side,
                        "take the run lock again",
                        "another session was quicker",
                    ));
                }
                owner.id = asking.id();
                owner.session = None;
            }
        }
        if let Some(fresh) = fresh {
            *session = fresh;
        }
        control.lock_lost.store(false, Ordering::Release);
        Ok(session)
    }

    /// What a lost session sent may still run, and must not take effect behind an undo: if it runs, it is ended first.
    /// After a restart of the server the number may be another's; only a statement of bleen's own account is ended.
    async fn end_what_was_lost(
        &self,
        side: Side,
        session: &mut Session,
        lost: u64,
        budget: Duration,
    ) -> Result<(), ServerError> {
        let server = self.server(side);
        let list = sql::process_list(&server.caps);
        let question = format!(
            "SELECT COUNT(*) FROM {list} WHERE ID = {lost} AND ID <> CONNECTION_ID() AND USER = {} AND COMMAND <> 'Sleep'",
            quote::text(&server.target.user)
        );
        let doing = "see whether a statement of a lost session still runs";
        let (running,): (u64,) = session.one(doing, &question, budget).await?;
        if running > 0 {
            end_session(session, server, lost, budget).await?;
        }
        Ok(())
    }

    fn not_ours(&self, side: Side, how: String) -> ServerError {
        ServerError {
            side,
            server: self.server(side).target.address.to_string(),
            doing: "go on with this run".to_owned(),
            cause: Cause::TakenOver(how),
        }
    }

    /// Errs when this run was ended by somebody else: its outcome stands on blue, or on green if that was promoted, so
    /// both are asked. What cannot be asked may hold one: then nothing is changed either.
    async fn see_unfinished(
        &self,
        side: Side,
        session: &mut Session,
        budget: Duration,
    ) -> Result<(), ServerError> {
        // Green's copy of a row may be behind and show an earlier attempt's end; only a switch is closed there.
        let ended = |side: Side| {
            let how = match side {
                Side::Blue => "outcome IS NOT NULL",
                Side::Green => "outcome LIKE 'switched%'",
            };
            let run = quote::text(self.settings.run.as_str());
            format!("SELECT COUNT(*) FROM bleen.runs WHERE run_id = {run} AND {how}")
        };
        let doing = "see whether another bleen has ended this run";
        let other = self.server(side.other());
        let mut elsewhere = open(other, &self.settings.run, "look", budget).await?;
        let (here,): (i64,) = session.one(doing, &ended(side), budget).await?;
        let (there,): (i64,) = elsewhere.one(doing, &ended(side.other()), budget).await?;
        elsewhere.close(budget).await;
        if here + there > 0 {
            return Err(self.not_ours(side, "another bleen has ended this run".to_owned()));
        }
        Ok(())
    }

    /// An expression that is 1 on a side only while this run still owns the run lock there.
    pub(super) async fn still_ours(&self, side: Side) -> String {
        let id = self.sessions.side(side).control.lock.lock().await.id;
        holds(id)
    }

    /// Lets the lock's sessions speak, so that others can tell a living run from a frozen one.
    pub(super) async fn speak(&self) {
        for side in [Side::Blue, Side::Green] {
            let mut owner = self.sessions.side(side).control.lock.lock().await;
            if let Some(session) = owner.session.as_mut()
                && session
                    .run("keep the run lock", "DO 0", KEEP_ALIVE)
                    .await
                    .is_err()
            {
                owner.session = None;
                self.sessions
                    .side(side)
                    .control
                    .lock_lost
                    .store(true, Ordering::Release);
            }
        }
    }
}
