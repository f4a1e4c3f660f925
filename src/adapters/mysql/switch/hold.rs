//! Step 7: the hold, given up early when something stands in its way, and every way to end it.

use std::time::Duration;

use mysql_async::Row;
use tokio::time::timeout;

use super::sessions::end_session;
use super::{Inner, LOCK_WAIT_SECONDS, answer, done, fence, looks, refused, seal, stands};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::session::Session;
use crate::adapters::mysql::{quote, sql};
use crate::domain::capabilities::Capabilities;
use crate::domain::guardrails::masked;
use crate::domain::ids::Side;
use crate::domain::machine::{Answer, HoldKind};
use crate::domain::outcome::WhyKind;
use crate::engine::ports::Terms;

/// `wait_timeout` for what is left of the deadline. Every statement on the holding session restarts the server's idle
/// clock, so each one says it anew.
pub(super) fn lease(inner: &Inner, terms: Terms) -> String {
    format!("SET {}", lease_setting(inner, terms))
}

/// As [`lease`], for a statement that sets something else as well.
pub(super) fn lease_setting(inner: &Inner, terms: Terms) -> String {
    let left = terms.deadline.map_or(inner.settings.deadline, |deadline| {
        deadline.saturating_duration_since(std::time::Instant::now())
    });
    lease_of(inner.settings.lease_seconds(left))
}

/// The lease of the holding session.
pub(super) fn lease_of(seconds: u64) -> String {
    format!("SESSION wait_timeout = {seconds}")
}

/// The bound of a wait for locks.
pub(super) fn lock_wait_setting() -> String {
    format!("SESSION lock_wait_timeout = {LOCK_WAIT_SECONDS}")
}

/// What the holding session is told right before the hold: the lease, and a bound for the wait.
pub(super) fn before(lease: &str) -> String {
    format!("{lease}, {}", lock_wait_setting())
}

/// Lets the writers go on.
pub(super) const GIVE_UP: &str = "UNLOCK TABLES";

pub(super) async fn take(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let mut slot = inner.sessions.hold.lock().await;
    let Some(session) = slot.as_mut() else {
        return refused(WhyKind::HoldLost, "the holding session is gone");
    };
    let mut question = statement(inner, session, terms).await?;
    if looks::before_the_hold_is_enough(&inner.settings) {
        question = format!("{question}; {}", fence::question(None, &stands::question(inner)));
    }
    match bounded(inner, session, &question, terms).await? {
        Granted::No(answer) => Ok(answer),
        Granted::Yes(sets) => {
            inner.set_at_hold(sets);
            done()
        }
    }
}

/// What came of a statement that waits for others.
enum Granted {
    Yes(Vec<Vec<Row>>),
    No(Answer),
}

/// Sends what waits for others on the holding session, and gives it up early when something is in the way.
async fn bounded(
    inner: &Inner,
    session: &mut Session,
    question: &str,
    terms: Terms,
) -> Result<Granted, ServerError> {
    let number = session.id();
    let mut granted = Box::pin(session.batch("take the hold", question, terms.budget));
    let mut ended_selects = false;
    let blocked = |detail: String| Granted::No(Answer::Refused(WhyKind::HoldBlocked, detail));
    loop {
        match timeout(inner.settings.hold_wait, &mut granted).await {
            Ok(Ok(sets)) => return Ok(Granted::Yes(sets)),
            // 1205: the time for locks is over. The session still has the global lock; backing out ends it.
            Ok(Err(e)) if e.code() == Some(1205) => {
                let text = blocked_text(&blockers(inner).await, inner.settings.hold_wait);
                return Ok(blocked(text));
            }
            Ok(Err(e)) if seal::condition_failed(&e) => {
                let detail = "the guard is not alive, or the deadline has passed".to_owned();
                return Ok(Granted::No(Answer::Refused(WhyKind::HoldLost, detail)));
            }
            Ok(Err(e)) => return Ok(Granted::No(answer(&e))),
            Err(_) => {
                let seen = blockers(inner).await;
                if inner.settings.end_selects && !ended_selects && end_selects(inner, &seen).await {
                    ended_selects = true;
                    continue;
                }
                let text = blocked_text(&seen, inner.settings.hold_wait);
                drop(granted);
                // KILL CONNECTION, not KILL QUERY: after that one the global lock stays with the session.
                let mut blue = inner.control(Side::Blue, inner.settings.answer).await?;
                let budget = inner.settings.answer;
                return match end_session(&mut blue, &inner.settings.blue, number, budget).await {
                    Ok(()) => Ok(blocked(text)),
                    Err(e) => Ok(Granted::No(Answer::Unknown(format!("{text}; {e}")))),
                };
            }
        }
    }
}

async fn statement(inner: &Inner, session: &mut Session, terms: Terms) -> Result<String, ServerError> {
    match inner.settings.hold {
        HoldKind::Lock => Ok(LOCK.to_owned()),
        HoldKind::Tables => {
            let tables = application_tables(session, inner.settings.answer).await?;
            inner.set_locked_tables(tables.clone());
            Ok(lock_tables(&tables))
        }
        HoldKind::Refuse => {
            let in_time = terms
                .deadline
                .map_or_else(|| "1".to_owned(), |d| inner.clocks.in_time(Side::Blue, d));
            let alive = super::guard::alive_expression(inner).await?;
            Ok(refuse(&inner.settings.blue.caps, &alive, &in_time))
        }
    }
}

/// The hold by the global read lock. It goes out by itself: a `FLUSH TABLES` before it would leave it less to close, but
/// a transaction that waits to open a flushed table, and holds a row that a statement on that table waits for, is then
/// stuck with it until `innodb_lock_wait_timeout`, also when the flush is given up (seen on MySQL 9.7). The global lock
/// waits for running statements first, and nobody is stuck once it is given up.
pub(super) const LOCK: &str = "FLUSH TABLES WITH READ LOCK";

/// The hold by the locks of these tables, given as quoted names.
pub(super) fn lock_tables(tables: &[String]) -> String {
    let list: Vec<String> = tables.iter().map(|t| format!("{t} READ")).collect();
    format!("LOCK TABLES {}", list.join(", "))
}

/// The hold by read-only itself; both conditions as the server sees them, and an error where one does not hold.
pub(super) fn refuse(caps: &Capabilities, alive: &str, in_time: &str) -> String {
    let flag = if caps.super_read_only {
        "super_read_only"
    } else {
        "read_only"
    };
    format!("SET GLOBAL {flag} = {}", seal::only_if(alive, in_time))
}

/// Every table of the application and of bleen, quoted.
pub(super) async fn application_tables(
    session: &mut Session,
    budget: Duration,
) -> Result<Vec<String>, ServerError> {
    let sql = "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND \
               TABLE_SCHEMA NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema') \
               ORDER BY TABLE_SCHEMA, TABLE_NAME";
    let rows: Vec<(String, String)> = session.rows("list the tables", sql, budget).await?;
    Ok(rows
        .iter()
        .map(|(schema, name)| quote::qualified(schema, name))
        .collect())
}

struct Blocker {
    id: u64,
    account: String,
    seconds: i64,
    text: String,
}

impl Blocker {
    fn is_select(&self) -> bool {
        let text = self.text.trim_start();
        text.get(..6)
            .is_some_and(|word| word.eq_ignore_ascii_case("select"))
    }
}

/// Statements that run now and do not themselves wait for the hold; open transactions hold metadata locks, which only
/// `LOCK TABLES` waits for. At most ten, the oldest first.
async fn blockers(inner: &Inner) -> Vec<Blocker> {
    let budget = inner.settings.answer;
    let list = sql::process_list(&inner.settings.blue.caps);
    // Inside a batch the list shows its statement without the mark in front.
    let holder = inner.sessions.hold_id;
    let question = format!(
        "SELECT ID, CONCAT(USER, '@', HOST), COALESCE(TIME, 0), COALESCE(LEFT(INFO, 200), STATE, '') FROM {list} \
         WHERE COMMAND NOT IN ('Sleep', 'Daemon', 'Binlog Dump', 'Binlog Dump GTID', 'Slave_IO', 'Slave_SQL', 'Connect') \
         AND ID NOT IN (CONNECTION_ID(), {holder}) AND COALESCE(INFO, '') NOT LIKE '/* bleen %' AND COALESCE(INFO, '') NOT LIKE 'DO /* bleen %' \
         AND COALESCE(STATE, '') NOT IN ('Waiting for global read lock', 'Waiting for commit lock', \
         'Waiting for backup lock') ORDER BY TIME DESC, ID LIMIT 10"
    );
    let Ok(mut blue) = inner.control(Side::Blue, budget).await else {
        return Vec::new();
    };
    let rows: Vec<(u64, String, i64, String)> = blue
        .rows("see what stands in the way of the hold", &question, budget)
        .await
        .unwrap_or_default();
    rows.into_iter()
        .map(|(id, account, seconds, text)| Blocker {
            id,
            account,
            seconds,
            text,
        })
        .collect()
}

fn blocked_text(blockers: &[Blocker], waited: Duration) -> String {
    let waited = humantime::format_duration(waited);
    if blockers.is_empty() {
        return format!(
            "the hold was not granted within {waited}; no running statement was seen in its way (an open transaction or a lock may be)"
        );
    }
    let list: Vec<String> = blockers
        .iter()
        .map(|b| {
            format!(
                "session {} ({}), {} s: {}",
                b.id,
                b.account,
                b.seconds,
                masked(&b.text)
            )
        })
        .collect();
    format!(
        "the hold was not granted within {waited}; in the way: {}",
        list.join("; ")
    )
}

/// Ends the statements of SELECTs in the way. Whether there were any.
async fn end_selects(inner: &Inner, blockers: &[Blocker]) -> bool {
    let mut any = false;
    for blocker in blockers.iter().filter(|b| b.is_select()) {
        let Ok(mut blue) = inner.control(Side::Blue, inner.settings.answer).await else {
            return any;
        };
        let sql = format!("KILL QUERY {}", blocker.id);
        any |= blue
            .run("end a SELECT in the way", &sql, inner.settings.answer)
            .await
            .is_ok();
    }
    any
}

/// Gives the hold up. The lock first, so that writers go on at once; then its session, so that nothing of it is left.
pub(super) async fn give_up(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    if let Some(session) = inner.sessions.hold.lock().await.as_mut()
        && !session.is_spent()
        && inner.settings.hold != HoldKind::Refuse
    {
        // Whatever it answers, the session is ended next.
        let unlocked = session.run("give up the hold", GIVE_UP, terms.budget).await;
        tracing::debug!(?unlocked, "hold given up");
    }
    end(inner, terms).await
}

/// Ends the holding session from another one and sees it gone.
pub(super) async fn end(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let number = inner.sessions.hold_id;
    let mut blue = inner.control(Side::Blue, terms.budget).await?;
    if number != 0 && is_ours(inner, &mut blue, number, terms.budget).await? {
        end_session(&mut blue, &inner.settings.blue, number, terms.budget).await?;
    }
    drop(blue);
    *inner.sessions.hold.lock().await = None;
    done()
}

/// Whether a session with that number is one of bleen's account: after a restart of the server numbers begin anew.
pub(super) async fn is_ours(
    inner: &Inner,
    session: &mut Session,
    number: u64,
    budget: Duration,
) -> Result<bool, ServerError> {
    let side = session.side();
    let server = inner.server(side);
    let list = sql::process_list(&server.caps);
    let question = format!(
        "SELECT COUNT(*) FROM {list} WHERE ID = {number} AND USER = {}",
        quote::text(&server.target.user)
    );
    let (count,): (u64,) = session
        .one("look for a session of this run", &question, budget)
        .await?;
    Ok(count > 0)
}
