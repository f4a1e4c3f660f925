//! The seal while table locks hold the writers, and the deadlock that lets it through on MySQL.
//!
//! A session that has locked tables may not set read-only (1192), so the control session does. On MySQL read-only needs
//! the global metadata lock, and a writer that waits for a locked table has that one in its mode already: under load
//! the two would wait for each other, through the holding session, which waits for nobody.
//!
//! So the holding session is made to wait: for a named lock that the control session owns. The server sees the circle and
//! breaks it where a wait is cheapest, at the writers' statements. Each gives its locks back and begins anew by itself,
//! behind the waiting SET; its client notices nothing, and the read-only refusal at the release is the only one. Only
//! a transaction that has read before, or a called procedure, cannot begin anew: it is rolled back with 1213. The tables
//! stay locked throughout, so nothing is written (seen on MySQL 9.7).
//!
//! What waits for more than a write, an `ALTER TABLE` or a `LOCK TABLES … WRITE`, the server would not break off: it is
//! looked for first, and nothing is tried where there is one.

use mysql_async::Row;
use tokio::join;

use super::{Inner, LOCK_WAIT_SECONDS, hold, lost, seal};
use crate::adapters::mysql::columns;
use crate::adapters::mysql::error::ServerError;
use crate::domain::capabilities::Capabilities;
use crate::domain::guardrails::masked;
use crate::domain::ids::Side;
use crate::domain::server::Family;
use crate::engine::ports::Terms;

/// What came of the seal's statement, where the server answered.
pub(super) enum Sent {
    Sealed,
    /// Blue is not sealed, because of this.
    InTheWay(String),
}

/// Whether the server keeps named locks and table locks in one graph, as MySQL does since a session may have several named
/// ones, and lets its locks be seen. MariaDB does not need it.
pub(super) fn by_deadlock(caps: &Capabilities) -> bool {
    caps.family() == Family::MySql && caps.several_named_locks() && caps.metadata_locks
}

/// Statements that wait for more than a write's lock on a table; then the named lock, on the session that will seal.
pub(super) const TAKE: &str = "SELECT t.PROCESSLIST_ID, LEFT(t.PROCESSLIST_INFO, 200) \
     FROM performance_schema.metadata_locks l JOIN performance_schema.threads t ON t.THREAD_ID = l.OWNER_THREAD_ID \
     WHERE l.OBJECT_TYPE = 'TABLE' AND l.LOCK_STATUS = 'PENDING' AND l.LOCK_TYPE NOT IN ('SHARED', 'SHARED_READ', \
     'SHARED_READ_ONLY', 'SHARED_WRITE', 'SHARED_WRITE_LOW_PRIO') ORDER BY t.PROCESSLIST_ID LIMIT 5; \
     SELECT GET_LOCK('bleen.seal', 0)";

/// Gives it up.
pub(super) const GIVE_BACK: &str = "DO RELEASE_LOCK('bleen.seal')";

/// What the holding session waits with meanwhile. What it gets it gives back.
pub(super) fn wait(lease: &str) -> String {
    format!("SET {lease}; DO GET_LOCK('bleen.seal', {LOCK_WAIT_SECONDS}), RELEASE_LOCK('bleen.seal')")
}

/// What seals. Bounded, so that it cannot come late: each SET may wait twice (for statements, then for commits), so the
/// flags go on one by one, each with the conditions as they are then.
pub(super) fn statement(caps: &Capabilities, alive: &str, in_time: &str) -> String {
    let bound = hold::lock_wait_setting();
    if by_deadlock(caps) {
        let value = seal::only_if(alive, in_time);
        let second = seal::statement(caps, &bound, alive, in_time);
        format!("SET {bound}, GLOBAL read_only = {value}; {second}; {GIVE_BACK}")
    } else {
        seal::statement(caps, &bound, alive, in_time)
    }
}

/// Sends it, on the control session.
pub(super) async fn send(
    inner: &Inner,
    terms: Terms,
    alive: &str,
    in_time: &str,
) -> Result<Sent, ServerError> {
    let caps = &inner.settings.blue.caps;
    let statement = statement(caps, alive, in_time);
    let mut slot = inner.sessions.hold.lock().await;
    let Some(holder) = slot.as_mut() else {
        return Err(lost(Side::Blue, seal::DOING, "the holding session is gone"));
    };
    let mut blue = inner.control(Side::Blue, terms.budget).await?;
    if !by_deadlock(caps) {
        let sent = blue.run(seal::DOING, &statement, terms.budget).await;
        return told(sent, "a writer that waits for a locked table may be in its way");
    }
    let doing = "have waiting writers queue behind the seal";
    let sets = blue.batch(doing, TAKE, terms.budget).await?;
    let [stronger, taken] = sets.as_slice() else {
        return Err(blue.unexpected(doing, "not two result sets"));
    };
    if !stronger.is_empty() {
        return Ok(Sent::InTheWay(stronger_text(stronger)));
    }
    let taken = taken.first().and_then(|row| columns::text_at(row, 0));
    if taken.as_deref() != Some("1") {
        return Err(blue.unexpected(doing, "another session has the named lock bleen.seal"));
    }
    let wait = wait(&hold::lease_setting(inner, terms));
    let (waited, sent) = join!(holder.batch(doing, &wait, terms.budget), async {
        let sent = blue.run(seal::DOING, &statement, terms.budget).await;
        if sent.is_err() {
            // Else the holding session waits its time out for it. What sealing answered tells more.
            let given = blue.run(doing, GIVE_BACK, terms.budget).await;
            tracing::debug!(?given, "the seal's named lock given back");
        }
        sent
    });
    // Whether the holding session is still there is looked at next, whatever this answered.
    tracing::debug!(?waited, "the holding session waited");
    told(
        sent,
        "transactions that had read before may have been rolled back (1213)",
    )
}

/// 1205: the time for locks is over.
fn told(sent: Result<(), ServerError>, more: &str) -> Result<Sent, ServerError> {
    match sent {
        Ok(()) => Ok(Sent::Sealed),
        Err(e) if e.code() == Some(1205) => Ok(Sent::InTheWay(format!("{e}; {more}"))),
        Err(e) => Err(e),
    }
}

fn stronger_text(rows: &[Row]) -> String {
    let list: Vec<String> = rows
        .iter()
        .map(|row| {
            let text = |at| columns::text_at(row, at).unwrap_or_default();
            format!("session {}: {}", text(0), masked(&text(1)))
        })
        .collect();
    format!(
        "blue cannot be made read-only while these wait for a locked table: {}",
        list.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::capabilities::tests::known;

    #[test]
    fn each_flag_goes_on_under_its_own_conditions() {
        let text = |server| statement(&known(server), "ALIVE", "IN_TIME");
        let new = text("mysql-9.7");
        assert_eq!(new.matches("IF(ALIVE AND IN_TIME, 1, 9)").count(), 2, "{new}");
        assert_eq!(new.matches("SESSION lock_wait_timeout = 1").count(), 2, "{new}");
        for server in ["mysql-5.6", "mariadb-11.8"] {
            let text = text(server);
            assert!(!text.contains("bleen.seal") && !text.contains(';'), "{text}");
        }
    }
}
