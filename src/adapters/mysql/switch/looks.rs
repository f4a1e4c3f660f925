//! What has to be so under the hold and is looked at right before it, because under it every round trip is downtime:
//! nobody holds a lock on green that promote would not lift, and no session on blue writes through read-only.
//!
//! Must not decide what follows from it.

use std::time::{Duration, Instant};

use mysql_async::Row;

use super::sessions::end_on_blue;
use super::{Inner, Settings, fence, guard, hold, quiet};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::{columns, sql};
use crate::domain::ids::Side;
use crate::domain::machine::{Answer, HoldKind};
use crate::domain::outcome::WhyKind;
use crate::domain::server::Family;
use crate::engine::ports::Terms;

/// How long a look at green's locks counts.
const FRESH: Duration = Duration::from_millis(100);

/// Closes what bleen's own looks and its guard have opened of MariaDB's system tables: the global read lock would close
/// them, at about 0.2 ms each while writers wait, since they are not InnoDB's. Nothing of the application's is named.
/// Somebody who uses one of them makes this fail after 20 ms, which matters to nobody: then the lock closes them. Whoever
/// wants to open one meanwhile waits no longer than that, nor afterwards (tried on 10.11 and 11.8).
pub(super) const CLOSE_OWN_TABLES: &str = "SET STATEMENT max_statement_time = 0.02 FOR FLUSH LOCAL TABLES mysql.proc, \
     mysql.event, mysql.global_priv, mysql.procs_priv, mysql.roles_mapping";

/// Whether [`CLOSE_OWN_TABLES`] is run.
pub(super) fn closes_own_tables(settings: &Settings) -> bool {
    settings.hold == HoldKind::Lock && settings.blue.caps.family() == Family::MariaDb
}

/// Whether the look right before the hold is enough to keep those out that write through read-only. Under the global
/// read lock nobody commits, whatever his rights: who comes after the look waits as all others do, and is ended before
/// the lock is given up behind a promoted green (`after::release`). Under the other holds, and where such sessions are
/// to be ended, they are looked for again before the position is read.
pub(super) fn before_the_hold_is_enough(settings: &Settings) -> bool {
    settings.hold == HoldKind::Lock && !settings.end_privileged
}

/// The last things before the hold's statement; `Some` is why it is not to be sent.
pub(super) async fn approach(inner: &Inner, terms: Terms) -> Result<Option<Answer>, ServerError> {
    let against = match right_before_the_hold(inner, terms).await? {
        None => try_conditions(inner, terms).await?,
        seen => seen,
    };
    if let Some(seen) = against {
        return Ok(Some(Answer::Refused(WhyKind::Refused, seen)));
    }
    if closes_own_tables(&inner.settings) {
        let mut blue = inner.control(Side::Blue, terms.budget).await?;
        let closed = blue
            .run("close the system tables", CLOSE_OWN_TABLES, terms.budget)
            .await;
        match closed {
            Err(e) if e.code().is_none() => return Err(e),
            Err(e) => tracing::debug!(error = %e, "the hold closes the system tables"),
            Ok(()) => {}
        }
    }
    // On MySQL the lock waits for every statement that reads a table.
    if let Some(reader) = inner.sessions.fence_proof.lock().await.as_ref()
        && !reader.rest(terms.budget).await
    {
        let seen = "a comparison of rows does not end, and the hold would wait for it".to_owned();
        return Ok(Some(Answer::Refused(WhyKind::Refused, seen)));
    }
    fence::caught_up_instant(inner, terms).await
}

/// Evaluates the conditions of seal and promote once on the sessions that will send them, before anybody waits: one that
/// is not 1 now would only be found under the hold. The holding session is told its lease and its bound by the way. In
/// words what is wrong.
async fn try_conditions(inner: &Inner, terms: Terms) -> Result<Option<String>, ServerError> {
    let deadline = Instant::now() + inner.settings.deadline;
    let alive = guard::alive_expression(inner).await?;
    let (blue, green) = (
        format!(
            "{}; SELECT {alive} AND {}",
            hold::before(&hold::lease(inner, terms)),
            inner.clocks.in_time(Side::Blue, deadline)
        ),
        format!("SELECT {}", inner.clocks.in_time(Side::Green, deadline)),
    );
    for (slot, question, what) in [
        (&inner.sessions.hold, blue, "seal"),
        (&inner.sessions.promote, green, "promote"),
    ] {
        let mut slot = slot.lock().await;
        let Some(session) = slot.as_mut() else { continue };
        let doing = format!("try the condition of {what}");
        let (met,): (Option<i64>,) = session.one(&doing, &question, terms.budget).await?;
        if met != Some(1) {
            return Ok(Some(format!(
                "the condition of {what} does not hold on {}: is its clock set back? ({question})",
                session.side()
            )));
        }
    }
    Ok(None)
}

/// What stands against a hold now, in words.
async fn right_before_the_hold(inner: &Inner, terms: Terms) -> Result<Option<String>, ServerError> {
    let sessions = privileged(inner, terms).await?;
    let others = of_others(inner, &sessions);
    if before_the_hold_is_enough(&inner.settings) && !others.is_empty() {
        return Ok(Some(privileged_text(&others)));
    }
    // A `watch` beside the run uses bleen's own account, as no application does: it opens other sessions.
    for (number, _) in sessions.iter().filter(|(number, _)| !others.contains(number)) {
        end_on_blue(inner, *number, terms.budget).await?;
    }
    let seen = locks_on_green(inner, terms).await?;
    *inner.green_seen_free.lock().await = seen.is_none().then(Instant::now);
    Ok(seen)
}

/// As [`locks_on_green`], unless that was looked at a moment ago.
pub(super) async fn fresh_locks_on_green(inner: &Inner, terms: Terms) -> Result<Option<String>, ServerError> {
    match *inner.green_seen_free.lock().await {
        Some(at) if at.elapsed() < FRESH => Ok(None),
        _ => locks_on_green(inner, terms).await,
    }
}

/// Why a hold is not taken, or given up, that cannot keep everybody from writing.
pub(super) fn privileged_text(sessions: &[u64]) -> String {
    format!(
        "sessions {sessions:?} on blue write through read-only; `switch.privileged_sessions: end` would end them"
    )
}

/// Those that are not of bleen's own account.
pub(super) fn of_others(inner: &Inner, sessions: &[(u64, String)]) -> Vec<u64> {
    let own = &inner.settings.blue.target.user;
    sessions
        .iter()
        .filter(|(_, user)| user != own)
        .map(|(number, _)| *number)
        .collect()
}

/// Sessions on blue that write through read-only, without those of this run: number and user.
pub(super) async fn privileged(inner: &Inner, terms: Terms) -> Result<Vec<(u64, String)>, ServerError> {
    let mut blue = inner.control(Side::Blue, terms.budget).await?;
    let Some(question) = quiet::privileged_sessions(inner, blue.id()) else {
        return Ok(Vec::new());
    };
    let doing = "look for sessions that write through read-only";
    let sets = blue.batch(doing, &question, terms.budget).await?;
    let rows = sets.into_iter().next().unwrap_or_default();
    Ok(sessions(&rows))
}

/// The first two columns: sessions' numbers and users.
pub(super) fn sessions(rows: &[Row]) -> Vec<(u64, String)> {
    rows.iter()
        .filter_map(|row| Some((row.get_opt(0)?.ok()?, columns::text_at(row, 1)?)))
        .collect()
}

/// A global read lock or a backup lock that somebody holds on green, which promote would not lift; in words.
async fn locks_on_green(inner: &Inner, terms: Terms) -> Result<Option<String>, ServerError> {
    let caps = &inner.settings.green.caps;
    let mut green = inner.control(Side::Green, terms.budget).await?;
    let question = if caps.metadata_locks && caps.super_read_only {
        "SELECT CONCAT(l.OBJECT_TYPE, ' ', l.LOCK_TYPE, ' held by session ', t.PROCESSLIST_ID) \
         FROM performance_schema.metadata_locks l JOIN performance_schema.threads t \
         ON t.THREAD_ID = l.OWNER_THREAD_ID \
         WHERE l.OBJECT_TYPE IN ('GLOBAL', 'BACKUP LOCK') AND l.LOCK_TYPE = 'SHARED' \
         AND l.LOCK_STATUS = 'GRANTED' AND t.PROCESSLIST_ID <> CONNECTION_ID() LIMIT 1"
            .to_owned()
    } else {
        // Elsewhere a lock shows as green's applier waiting for it.
        let list = sql::process_list(caps);
        format!(
            "SELECT CONCAT('session ', ID, ': ', STATE) FROM {list} WHERE STATE LIKE 'Waiting for backup lock%' \
             OR STATE LIKE 'Waiting for global read lock%' LIMIT 1"
        )
    };
    let rows: Vec<(String,)> = green
        .rows("look for locks on green", &question, terms.budget)
        .await?;
    Ok(rows.into_iter().next().map(|(text,)| text))
}
