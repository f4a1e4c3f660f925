//! Step 11 and its undo: blue durably read-only, and writable again.

use std::time::Instant;

use mysql_async::Row;

use super::facts::Persisted;
use super::seal_tables::{self, Sent};
use super::{Inner, done, guard, hold, lost, refused};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::own_schema;
use crate::adapters::mysql::quote;
use crate::domain::capabilities::Capabilities;
use crate::domain::ids::Side;
use crate::domain::machine::{Answer, HoldKind, Seen};
use crate::domain::outcome::WhyKind;
use crate::engine::ports::Terms;

/// An expression that is 1 while the server refuses the application's writes: both flags where it has two. Written so
/// that it holds for numbers and for the words of MariaDB 12.
pub(super) fn sealed_expression(caps: &Capabilities) -> &'static str {
    if caps.super_read_only {
        "(@@GLOBAL.read_only NOT IN ('OFF', '0') AND @@GLOBAL.super_read_only NOT IN ('OFF', '0'))"
    } else {
        "(@@GLOBAL.read_only NOT IN ('OFF', '0'))"
    }
}

/// The flag that seals, with the scope that also holds over a restart where there is one.
fn flag(caps: &Capabilities) -> (&'static str, &'static str) {
    let scope = if caps.can_persist() { "PERSIST" } else { "GLOBAL" };
    (
        scope,
        if caps.super_read_only {
            "super_read_only"
        } else {
            "read_only"
        },
    )
}

/// The statement that seals while both conditions hold as the server sees them, and fails otherwise ([`IMPOSSIBLE`]).
/// `session` is a setting of the session that sends it, set by the same statement: under the hold each one more is
/// downtime.
pub(super) fn statement(caps: &Capabilities, session: &str, alive: &str, in_time: &str) -> String {
    let (scope, flag) = flag(caps);
    format!("SET {session}, {scope} {flag} = {}", only_if(alive, in_time))
}

/// On while both conditions hold, else what no flag takes.
pub(super) fn only_if(alive: &str, in_time: &str) -> String {
    format!("IF({alive} AND {in_time}, 1, {IMPOSSIBLE})")
}

/// A value that no server takes for a read-only flag: 1231, and the whole SET changes nothing (tried on MySQL 5.6 and
/// 9.7, MariaDB 10.5, 10.11 and 11.8). What a statement does only under a condition it does by this value's help, so that
/// its own answer tells what became of it. Not 2 or 3: they are values of MariaDB 12's `read_only`.
pub(super) const IMPOSSIBLE: u8 = 9;

/// Whether a conditional SET of a flag failed because its condition did not hold.
pub(super) fn condition_failed(error: &ServerError) -> bool {
    error.code() == Some(1231)
}

/// What an error of the seal says was being done.
pub(super) const DOING: &str = "seal blue";

/// Seals only if the guard is alive and the deadline has not passed, both as the server itself sees them in the same
/// statement; else it leaves the flag as it is.
pub(super) async fn seal(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let caps = &inner.settings.blue.caps;
    let alive = guard::alive_expression(inner).await?;
    let in_time = terms.deadline.map_or_else(
        || "1".to_owned(),
        |d: Instant| inner.clocks.in_time(Side::Blue, d),
    );
    let sent = match inner.settings.hold {
        // Whether the hold lasted is seen by the position, which the disarm reads again.
        HoldKind::Tables => match seal_tables::send(inner, terms, &alive, &in_time).await {
            Ok(Sent::InTheWay(text)) => return refused(WhyKind::Refused, text),
            other => other.map(drop),
        },
        HoldKind::Lock | HoldKind::Refuse => {
            let mut slot = inner.sessions.hold.lock().await;
            let Some(session) = slot.as_mut() else {
                return Err(lost(Side::Blue, DOING, "the holding session is gone"));
            };
            let statement = statement(caps, &hold::lease_setting(inner, terms), &alive, &in_time);
            session.run(DOING, &statement, terms.budget).await
        }
    };
    match sent {
        Err(e) if condition_failed(&e) => {
            return refused(
                WhyKind::HoldLost,
                "blue did not seal: the guard was gone or the deadline had passed",
            );
        }
        sent => sent?,
    }
    if inner.settings.hold == HoldKind::Tables {
        let mut blue = inner.control(Side::Blue, terms.budget).await?;
        if !hold::is_ours(inner, &mut blue, inner.sessions.hold_id, terms.budget).await? {
            return refused(
                WhyKind::HoldLost,
                "the holding session ended before blue was sealed",
            );
        }
    }
    done()
}

/// Opens blue: both flags off, what was persisted put back as it was. On the holding session while that still has the
/// lock, so that the waiting writers never meet a read-only server; else from the control session, and there only
/// while the run lock is still ours.
pub(super) async fn unseal(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let caps = &inner.settings.blue.caps;
    let before = inner.facts().blue_persisted.clone();
    let mut slot = inner.sessions.hold.lock().await;
    let sets = match slot.as_mut() {
        Some(session) if !session.is_spent() && inner.settings.hold != HoldKind::Tables => {
            let open = own_schema::writable_statement(caps);
            let all = format!("{}; {}", hold::lease(inner, terms), opening(caps, open, &before));
            session.batch("open blue again", &all, terms.budget).await?
        }
        _ => {
            drop(slot);
            // The control session first: it may have to take the lock again.
            let mut blue = inner.control(Side::Blue, terms.budget).await?;
            let ours = inner.still_ours(Side::Blue).await;
            // A batch stops at the first statement that fails (1690, out of range), so that a bleen whose run another
            // one took over changes nothing: neither the flags nor what is persisted.
            let open = opening(caps, own_schema::writable_statement(caps), &before);
            let all = format!("SELECT EXP(IF({ours}, 0, 1000)); {open}");
            blue.batch("open blue again", &all, terms.budget).await?
        }
    };
    let sealed = |rows: Option<&Vec<Row>>| {
        rows.and_then(|rows| rows.first())
            .and_then(|row| row.get_opt::<i64, _>(0))
            .and_then(Result::ok)
    };
    match sealed(sets.last()) {
        Some(0) => Ok(Answer::Seen(Seen::Opened {
            was_sealed: sealed(sets.get(sets.len().saturating_sub(2))) == Some(1),
        })),
        _ => refused(
            WhyKind::Refused,
            "blue is still read-only after it was opened: another bleen may own the run",
        ),
    }
}

/// The statements that open a sealed server with `open` and make what is persisted as it was. The flags are read
/// before and after, as the last two answers.
pub(super) fn opening(caps: &Capabilities, open: &str, before: &Persisted) -> String {
    let flags = sealed_expression(caps);
    format!(
        "SELECT {flags}; {open}; {}SELECT {flags}",
        put_back_persisted(caps, before),
    )
}

/// The statements that make what is persisted as it was before, each ended by `; `.
pub(super) fn put_back_persisted(caps: &Capabilities, before: &Persisted) -> String {
    if !caps.persist {
        return String::new();
    }
    let one = |name: &str, value: &Option<String>| match value {
        Some(value) => format!("SET PERSIST_ONLY {name} = {}; ", quote::text(value)),
        None => format!("RESET PERSIST IF EXISTS {name}; "),
    };
    one("read_only", &before.read_only) + &one("super_read_only", &before.super_read_only)
}

/// Seals without a condition: only for a blue whose green serves.
pub(super) fn seal_again(caps: &Capabilities) -> String {
    let (scope, flag) = flag(caps);
    format!("SET {scope} {flag} = 1")
}

/// Green serves and blue came back writable: shut it, wherever the guard is.
pub(super) async fn reseal(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    guard::end(inner, terms).await?;
    let caps = &inner.settings.blue.caps;
    let mut blue = inner.control(Side::Blue, terms.budget).await?;
    let statement = format!("{}; SELECT {}", seal_again(caps), sealed_expression(caps));
    let sets = blue.batch("seal blue again", &statement, terms.budget).await?;
    drop(sets);
    done()
}
