//! The guard: a procedure that sleeps on a session of its own and then makes blue writable, whatever became of bleen.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::Row;

use super::sessions::{end_session, end_statement};
use super::stands;
use super::{Inner, Settings, done, lost, refused};
use crate::adapters::mysql::error::{Cause, ServerError};
use crate::adapters::mysql::own_schema::{self, FIND_GUARD, GUARD_LOCK};
use crate::adapters::mysql::session::{Purpose, Session};
use crate::domain::capabilities::Capabilities;
use crate::domain::ids::Side;
use crate::domain::machine::{Answer, Seen};
use crate::domain::outcome::WhyKind;
use crate::engine::ports::Terms;

/// The statement that arms the guard.
pub(super) fn call(settings: &Settings, disarmer: impl Display) -> String {
    let caps = &settings.blue.caps;
    let statements = [own_schema::writable_statement(caps), ""];
    own_schema::guard_call(caps, settings.guard_seconds(), disarmer, statements)
}

/// The statement that ends the guard without its opening anything, sent by the session that it was told of at its call.
///
/// `KILL QUERY` wakes it, and it sees who holds the lock: the same order by anybody else, or a bleen that dies in between,
/// makes it open blue. Without the lock nothing is killed (1094, there is no session 0). To end its session would do as
/// well and takes the server a third longer (MySQL 9.7), under the hold; where a session has one named lock only, it is
/// what is done.
pub(super) fn order(caps: &Capabilities, guard: impl Display, disarmer: impl Display) -> String {
    if caps.several_named_locks() {
        let lock = own_schema::disarm_lock(disarmer);
        format!("KILL QUERY IF(GET_LOCK('{lock}', 0) = 1, {guard}, 0)")
    } else {
        end_statement(guard)
    }
}

/// An expression that is 1 while that session is the guard.
pub(super) fn alive(guard: impl Display) -> String {
    format!("(IS_USED_LOCK('{GUARD_LOCK}') <=> {guard})")
}

/// Arms the guard. One left by an earlier run would open a later seal: it is ended and seen gone first.
pub(super) async fn arm(inner: &Arc<Inner>, terms: Terms) -> Result<Answer, ServerError> {
    let budget = terms.budget;
    let server = &inner.settings.blue;
    let mut blue = inner.control(Side::Blue, budget).await?;
    let (stray,): (Option<u64>,) = blue
        .one("look for a guard of an earlier run", FIND_GUARD, budget)
        .await?;
    if let Some(number) = stray {
        end_session(&mut blue, server, number, budget).await?;
    }
    let mut session = match inner.sessions.guard.lock().await.take() {
        Some(session) => session,
        None => {
            let purpose = Purpose {
                run: Some(inner.settings.run.clone()),
                role: "guard",
            };
            Session::open(&server.target, &purpose, budget).await?
        }
    };
    let number = session.id();
    let seconds = inner.settings.guard_seconds();
    // While the guard sleeps its session is not idle; `wait_timeout` does not count.
    let call = call(&inner.settings, inner.disarmer().await);
    let patience = Duration::from_secs_f64(seconds) + budget;
    *inner.sessions.guard_id.lock().await = Some(number);
    let keeper = Arc::downgrade(inner);
    tokio::spawn(async move {
        // Its end is seen from the outside: by the named lock, and by what it does.
        match session.run("guard", &call, patience).await {
            // Kept open: to close it takes the servers' and our own time, and writers are waiting.
            Ok(()) => {
                if let Some(inner) = keeper.upgrade() {
                    *inner.sessions.guard.lock().await = Some(session);
                }
            }
            Err(e) => tracing::debug!(error = %e, "the guard's call ended"),
        }
    });
    // Armed only when the server says that it holds the lock, and sleeps.
    let until = tokio::time::Instant::now() + budget;
    loop {
        let (holder,): (Option<u64>,) = blue.one("see the guard sleep", FIND_GUARD, budget).await?;
        match holder {
            Some(id) if id == number => return done(),
            Some(other) => {
                return refused(
                    WhyKind::Refused,
                    format!("session {other} holds the lock of the guard"),
                );
            }
            None if tokio::time::Instant::now() > until => {
                return Ok(Answer::Unknown(
                    "the guard was called and does not hold its lock: is the procedure bleen.guard there (`bleen prepare`), and may the account run it?".to_owned(),
                ));
            }
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// As [`end`], on the way back: a guard that fired after blue was opened left its own values persisted, so what was
/// persisted before is put back once more.
pub(super) async fn end_and_put_back(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    end(inner, terms).await?;
    let before = inner.facts().blue_persisted.clone();
    let put_back = super::seal::put_back_persisted(&inner.settings.blue.caps, &before);
    if !put_back.is_empty() {
        let mut blue = inner.control(Side::Blue, terms.budget).await?;
        blue.run("put back what was persisted on blue", &put_back, terms.budget)
            .await?;
    }
    done()
}

/// Ends the guard if it is there, and sees it gone.
pub(super) async fn end(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let mut blue = inner.control(Side::Blue, terms.budget).await?;
    let number = *inner.sessions.guard_id.lock().await;
    if let Some(number) = number {
        end_session(&mut blue, &inner.settings.blue, number, terms.budget).await?;
    }
    let (left,): (Option<u64>,) = blue.one("look for the guard", FIND_GUARD, terms.budget).await?;
    if let Some(left) = left {
        end_session(&mut blue, &inner.settings.blue, left, terms.budget).await?;
    }
    done()
}

/// How long one wait for the guard's end may take, in seconds as `GET_LOCK` takes them.
const GONE_WITHIN_SECONDS: u64 = 1;

/// Step 12: the guard told to end and seen gone, and whether blue is still sealed, in memory and persisted, and where it
/// stands; in one round trip.
pub(super) async fn disarm(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let Some(number) = *inner.sessions.guard_id.lock().await else {
        return refused(WhyKind::Refused, "no guard was armed by this run");
    };
    let order = order(&inner.settings.blue.caps, number, inner.disarmer().await);
    let until = tokio::time::Instant::now() + terms.budget;
    let mut seen = sealed_at(inner, &disarming(&inner.settings, &order), terms.budget).await;
    loop {
        match seen {
            Ok(seen) => {
                let gone = matches!(seen, Seen::Sealed { guard_gone: true, .. });
                if gone || tokio::time::Instant::now() > until {
                    return Ok(Answer::Seen(seen));
                }
            }
            // 1094, no such thread: it has ended by itself, and the look tells what that did.
            Err(e) if e.code() == Some(1094) => {}
            Err(e) => return Err(e),
        }
        seen = see_sealed(inner, terms.budget).await;
    }
}

impl Inner {
    /// The number of the session that disarms; 0, which is nobody's, when it is gone.
    async fn disarmer(&self) -> u64 {
        self.sessions.disarm.lock().await.as_ref().map_or(0, Session::id)
    }
}

/// The batch of step 12: the order, then the look.
pub(super) fn disarming(settings: &Settings, order: &str) -> String {
    format!("{order}; {}", sealed_question(settings))
}

/// Whether blue is sealed, without ending anything.
pub(super) async fn see_sealed(inner: &Inner, budget: Duration) -> Result<Seen, ServerError> {
    sealed_at(inner, &sealed_question(&inner.settings), budget).await
}

/// Asks a [`sealed_question`], on a session of its own: it waits for the guard's named lock, and on MySQL 5.6 that would
/// cost the control session one that it holds.
async fn sealed_at(inner: &Inner, question: &str, budget: Duration) -> Result<Seen, ServerError> {
    let doing = "see the guard gone and blue sealed";
    let mut slot = inner.sessions.disarm.lock().await;
    let Some(blue) = slot.as_mut() else {
        return Err(lost(Side::Blue, doing, "its session is gone"));
    };
    let sets = blue.batch(doing, question, budget).await?;
    let row = |set: usize| sets.get(set).and_then(|rows| rows.first());
    let number = |row: &Row, at| row.get_opt::<i64, _>(at).and_then(Result::ok);
    let (Some(gone), Some(now)) = (row(0), row(1)) else {
        return Err(blue.unexpected(doing, "no row"));
    };
    let position = stands::now(inner, blue, now, row(2))?;
    Ok(Seen::Sealed {
        guard_gone: number(gone, 0) == Some(1),
        sealed: number(now, 0) == Some(1),
        position,
    })
}

/// Whether the guard is gone; then whether the server is sealed, now and after a restart, and where it stands.
///
/// The guard holds its named lock for as long as it can do anything, and the server gives the lock up when the guard's
/// procedure or its session has ended: whoever gets it knows, without a poll, that nothing of the guard comes any more.
/// The flags are read by a statement of their own, since a server may read a variable before it evaluates a function
/// of the same statement.
pub(super) fn sealed_question(settings: &Settings) -> String {
    let caps = &settings.blue.caps;
    let persisted = if caps.can_persist() && caps.performance_schema {
        " AND EXISTS (SELECT 1 FROM performance_schema.persisted_variables \
         WHERE VARIABLE_NAME = 'super_read_only' AND VARIABLE_VALUE IN ('ON', '1'))"
    } else {
        ""
    };
    format!(
        "SELECT COALESCE(GET_LOCK('{GUARD_LOCK}', {GONE_WITHIN_SECONDS}), 0), RELEASE_LOCK('{GUARD_LOCK}'); \
         SELECT {flags}{persisted}, {now}",
        flags = super::seal::sealed_expression(caps),
        now = stands::now_question(settings),
    )
}

/// Whether the guard is armed by this run, as an expression for the statement that seals.
pub(super) async fn alive_expression(inner: &Inner) -> Result<String, ServerError> {
    match *inner.sessions.guard_id.lock().await {
        Some(number) => Ok(alive(number)),
        None => Err(ServerError {
            side: Side::Blue,
            server: inner.settings.blue.target.address.to_string(),
            doing: "seal blue".to_owned(),
            cause: Cause::Refused {
                code: 0,
                message: "no guard was armed by this run".to_owned(),
            },
        }),
    }
}
