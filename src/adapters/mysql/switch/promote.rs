//! Step 13: the one statement that opens green, and what green shows of it.

use std::time::{Duration, Instant};

use super::sessions::end_session;
use super::{Inner, answer, done, facts, green_wrote, hold, lost, refused, seal};
use crate::adapters::mysql::error::{Cause, ServerError};
use crate::adapters::mysql::own_schema;
use crate::adapters::mysql::position_read::{self, Role};
use crate::adapters::mysql::quote;
use crate::adapters::mysql::session::Session;
use crate::domain::capabilities::{Capabilities, PositionKind};
use crate::domain::ids::{RunId, Side};
use crate::domain::machine::{Answer, Seen};
use crate::domain::outcome::WhyKind;
use crate::domain::position::Position;
use crate::engine::ports::Terms;

/// The statement that opens green if `in_time` is 1 when green evaluates it, for both flags; else it fails and changes
/// nothing ([`seal::IMPOSSIBLE`]). `IF` and not a bare comparison: NULL would open. Both flags are named: what is
/// persisted is kept apart for each. A domain of its own (MariaDB) comes with it: the server looks at every value of a SET
/// before it changes any.
pub(super) fn statement(caps: &Capabilities, in_time: &str, domain: Option<u32>) -> String {
    let shut = format!("IF({in_time}, 0, {})", seal::IMPOSSIBLE);
    let scope = if caps.can_persist() { "PERSIST" } else { "GLOBAL" };
    if caps.super_read_only {
        format!("SET {scope} super_read_only = {shut}, {scope} read_only = {shut}")
    } else {
        let domain = domain.map_or_else(String::new, |domain| {
            format!("GLOBAL gtid_domain_id = {domain}, ")
        });
        format!("SET {domain}{scope} read_only = {shut}")
    }
}

/// The epoch row, written only while green is open.
pub(super) fn epoch_statement(caps: &Capabilities, run: &RunId, label: &str, fence: &str) -> String {
    format!(
        "{} HAVING {}",
        own_schema::epoch_statement(run, label, fence),
        accepts_expression(caps)
    )
}

pub(super) async fn promote(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let caps = &inner.settings.green.caps;
    let Some(deadline) = terms.deadline else {
        return refused(WhyKind::Refused, "promote without a deadline");
    };
    let domain = inner
        .facts()
        .way_back
        .as_ref()
        .and_then(|wired| wired.green_domain);
    let open = statement(caps, &inner.clocks.in_time(Side::Green, deadline), domain);
    let mut slot = inner.sessions.promote.lock().await;
    let Some(session) = slot.as_mut() else {
        return Err(lost(
            Side::Green,
            "promote green",
            "the promoting session is gone",
        ));
    };
    match session.run("promote green", &open, terms.budget).await {
        Ok(()) => Ok(green(false, false)),
        Err(e) if seal::condition_failed(&e) => refused(
            WhyKind::DeadlineMissed,
            "the deadline had passed on green's clock when promote arrived: green refused it",
        ),
        Err(e) if e.is_unknown() => Err(e),
        // An error may come after the flags were set (a value that could not be persisted); only they tell.
        Err(e) => {
            let (open,): (i64,) = session
                .one("read green's flags", &accepts_question(caps), terms.budget)
                .await
                .map_err(|again| lost(Side::Green, "promote green", &format!("{e}; {again}")))?;
            if open == 0 {
                return Ok(answer(&e));
            }
            Ok(green(false, false))
        }
    }
}

/// Answers 1 while the server accepts an ordinary account's writes.
pub(super) fn accepts_question(caps: &Capabilities) -> String {
    format!("SELECT {}", accepts_expression(caps))
}

/// An expression that is 1 while the server accepts an ordinary account's writes.
fn accepts_expression(_: &Capabilities) -> &'static str {
    "(@@GLOBAL.read_only IN ('OFF', '0'))"
}

fn green(read_only: bool, epoch: bool) -> Answer {
    Answer::Seen(Seen::Green {
        read_only,
        epoch,
        own: None,
        blue_sealed: None,
        has_all: None,
        forgot: false,
    })
}

pub(super) async fn end(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let number = inner.sessions.promote_id;
    let mut green = inner.control(Side::Green, terms.budget).await?;
    if number != 0 && hold::is_ours(inner, &mut green, number, terms.budget).await? {
        end_session(&mut green, &inner.settings.green, number, terms.budget).await?;
    }
    drop(green);
    *inner.sessions.promote.lock().await = None;
    done()
}

/// Blue's flags and position; then green's flags, epoch row, whether it wrote anything itself and has what blue has.
pub(super) async fn read(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let caps = &inner.settings.green.caps;
    let (blue_sealed, blue_executed) = read_blue(inner, terms).await;
    let mut green = inner.control(Side::Green, terms.budget).await?;
    let (open,): (i64,) = green
        .one(
            "read green's flags",
            &format!("SELECT {}", accepts_expression(caps)),
            terms.budget,
        )
        .await?;
    let epoch = green
        .one::<(i64,)>(
            "look for the epoch row",
            &own_schema::epoch_question(&inner.settings.run),
            terms.budget,
        )
        .await;
    let epoch = match epoch {
        Ok((count,)) => count > 0,
        Err(e) if own_schema::is_missing(&e) => false,
        Err(e) => return Err(e),
    };
    let has_all = match blue_executed {
        Some(blue) => has_executed(inner, &mut green, &blue, terms).await,
        None => None,
    };
    drop(green);
    // Only a green that shows neither may have been open and taken writes all the same.
    let own = if open == 0 && !epoch {
        green_wrote::since_the_run(inner, terms).await?
    } else {
        None
    };
    let forgot = open == 0 && !epoch && own.is_none() && may_have_forgotten(inner, terms.budget).await?;
    Ok(Answer::Seen(Seen::Green {
        read_only: open == 0,
        epoch,
        own,
        blue_sealed,
        has_all,
        forgot,
    }))
}

/// Whether green may have been promoted and not know it any more: where read-only cannot be persisted, a restart brings
/// it back as its option file says. Only a restart that cannot be ruled out counts, and only if promote may have been
/// sent.
async fn may_have_forgotten(inner: &Inner, budget: Duration) -> Result<bool, ServerError> {
    if inner.settings.green.caps.can_persist() {
        return Ok(false);
    }
    let begun = inner.facts().started;
    let mut green = inner.control(Side::Green, budget).await?;
    if !facts::started(&mut green, budget).await?.is_after(begun.1) {
        return Ok(false);
    }
    drop(green);
    // A blue that cannot be asked rules nothing out.
    Ok(!promote_is_ruled_out(inner, begun.0, budget)
        .await
        .unwrap_or(false))
}

/// Whether blue shows that promote was never sent. It comes after the end of the guard, and only under the seal: so not
/// while the guard is there, nor if blue accepts writes and has not restarted.
async fn promote_is_ruled_out(inner: &Inner, begun: i64, budget: Duration) -> Result<bool, ServerError> {
    let sealed = seal::sealed_expression(&inner.settings.blue.caps);
    let question = format!("SELECT {sealed}, IS_USED_LOCK('{}')", own_schema::GUARD_LOCK);
    let mut blue = inner.control(Side::Blue, budget).await?;
    let (sealed, guard): (i64, Option<u64>) = blue
        .one("see whether promote can have been sent", &question, budget)
        .await?;
    if guard.is_some() {
        return Ok(true);
    }
    Ok(sealed == 0 && !facts::started(&mut blue, budget).await?.is_after(begun))
}

/// Whether blue is sealed, then what it has executed: in this order, so that a sealed blue's position is its last.
async fn read_blue(inner: &Inner, terms: Terms) -> (Option<bool>, Option<Position>) {
    let caps = &inner.settings.blue.caps;
    let question = format!("SELECT {}", seal::sealed_expression(caps));
    let Ok(mut blue) = inner.control(Side::Blue, terms.budget).await else {
        return (None, None);
    };
    let Ok((sealed,)) = blue
        .one::<(i64,)>("read blue's flags", &question, terms.budget)
        .await
    else {
        return (None, None);
    };
    let kind = inner.settings.position_kind();
    let executed = position_read::executed(&mut blue, caps, kind, Role::Writer, terms.budget).await;
    (Some(sealed == 1), executed.ok())
}

/// `None` if it cannot be told: where GTIDs are off, a green whose channel is gone does not know any more, and a blue that
/// has moved on may have done so by what it has of green.
async fn has_executed(inner: &Inner, green: &mut Session, blue: &Position, terms: Terms) -> Option<bool> {
    let (caps, kind) = (&inner.settings.green.caps, inner.settings.position_kind());
    // Blue, which follows green, has green's own transactions, too: so green is asked for all that it executed.
    let role = match kind {
        PositionKind::File => Role::Replica,
        PositionKind::GtidSet | PositionKind::GtidList => Role::Writer,
    };
    let executed = position_read::executed(green, caps, kind, role, terms.budget).await;
    let has_all = executed.ok()?.contains(blue);
    let is_wired = inner.facts().way_back.is_some();
    has_all.filter(|all| *all || kind != PositionKind::File || !is_wired)
}

/// The epoch row, only while green is open: bleen's account may write through read-only on some servers, and a row
/// there would say that green was promoted when it was not.
pub(super) async fn write_epoch(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let fence = inner.fence_file().map_or_else(String::new, |f| f.to_string());
    let label = inner.facts().green_label.clone();
    let guarded = epoch_statement(&inner.settings.green.caps, &inner.settings.run, &label, &fence);
    let mut green = inner.control(Side::Green, terms.budget).await?;
    green.run("write the epoch row", &guarded, terms.budget).await?;
    let (count,): (i64,) = green
        .one(
            "look for the epoch row",
            &own_schema::epoch_question(&inner.settings.run),
            terms.budget,
        )
        .await?;
    if count == 0 {
        return refused(
            WhyKind::Refused,
            format!(
                "green is read-only, the epoch row of {} is not written",
                quote::text(inner.settings.run.as_str())
            ),
        );
    }
    done()
}

/// How often a green that does not answer is tried again.
const ANSWERS_AGAIN: Duration = Duration::from_millis(200);

/// Waits, at most `budget`, until green answers: it may be restarting. Green serves by then, so its session may be opened
/// again, as long as the run lock is still this run's.
pub(super) async fn answers(inner: &Inner, budget: Duration) -> Result<(), ServerError> {
    let until = Instant::now() + budget;
    let answer = inner.settings.answer;
    loop {
        let seen = match inner.control(Side::Green, answer).await {
            Ok(mut green) => green.run("see that green answers", "DO 0", answer).await,
            Err(e) => Err(e),
        };
        match seen {
            Ok(()) => return Ok(()),
            Err(e) => {
                // Only a server that is away comes back; one that refuses, or a run that is another's now, stays so.
                let away = matches!(
                    e.cause,
                    Cause::Unreachable(_) | Cause::Lost(_) | Cause::TimedOut(_)
                );
                if !away || Instant::now() + ANSWERS_AGAIN > until {
                    return Err(e);
                }
                tokio::time::sleep(ANSWERS_AGAIN).await;
            }
        }
    }
}

/// Green restarted after promote and may have come back read-only. It was promoted for certain, so it is opened again, as
/// soon as it answers; but not beside a blue that accepts writes.
pub(super) async fn reopen(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let budget = inner.settings.answer;
    answers(inner, terms.budget.saturating_sub(budget * 2)).await?;
    let question = format!("SELECT {}", seal::sealed_expression(&inner.settings.blue.caps));
    let (sealed,): (i64,) = {
        let mut blue = inner.control(Side::Blue, budget).await?;
        blue.one("read blue's flags", &question, budget).await?
    };
    if sealed != 1 {
        return refused(
            WhyKind::GreenWritable,
            "green is not opened again: blue accepts writes",
        );
    }
    let statement = own_schema::writable_statement(&inner.settings.green.caps);
    let mut green = inner.control(Side::Green, budget).await?;
    green.run("open green again", statement, budget).await?;
    done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::capabilities::tests::known;

    #[test]
    fn every_flag_opens_only_in_time() {
        let mut caps = known("mysql-9.7");
        let in_time = "IF(late, 0, 9)";
        assert_eq!(
            statement(&caps, "late", None),
            format!("SET PERSIST super_read_only = {in_time}, PERSIST read_only = {in_time}")
        );
        // As 5.7: two flags and no SET PERSIST.
        caps.persist = false;
        assert_eq!(
            statement(&caps, "late", None),
            format!("SET GLOBAL super_read_only = {in_time}, GLOBAL read_only = {in_time}")
        );
        assert_eq!(
            statement(&known("mariadb-11.8"), "late", Some(7)),
            format!("SET GLOBAL gtid_domain_id = 7, GLOBAL read_only = {in_time}")
        );
    }
}
