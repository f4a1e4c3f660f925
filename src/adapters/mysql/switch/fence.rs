//! Steps 8 to 10: where blue stands under the hold, and green brought there.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use mysql_async::Row;

use super::sessions::end_on_blue;
use super::stands::{self, Stands};
use super::{Inner, done, green_wrote, guard, hold, looks, lost, quiet, refused, seal};
use crate::adapters::mysql::binlog_read;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::gate::Verdict;
use crate::adapters::mysql::position_read::{self, Waited};
use crate::adapters::mysql::session::Session;
use crate::domain::binlog_events::{self, BinlogEvent, Stretch};
use crate::domain::ids::Side;
use crate::domain::machine::{Answer, HoldKind, Seen};
use crate::domain::outcome::WhyKind;
use crate::domain::position::{FilePosition, Position};
use crate::engine::ports::Terms;

/// Added to the wait on green, so that the deadline's own event, which knows more, comes first.
const BEYOND_DEADLINE: Duration = Duration::from_secs(1);

pub(super) async fn read(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let mut blue = match inner.take_at_hold() {
        Some(sets) => at_the_hold(inner, &sets).await?,
        None => blue_stands(inner, terms).await?,
    };
    if !blue.privileged.is_empty() {
        let others = looks::of_others(inner, &blue.privileged);
        if !inner.settings.end_privileged && !others.is_empty() {
            return refused(WhyKind::Refused, looks::privileged_text(&others));
        }
        for (number, _) in std::mem::take(&mut blue.privileged) {
            end_on_blue(inner, number, terms.budget).await?;
        }
        // What they had written before they were gone belongs to the fence.
        blue = blue_stands(inner, terms).await?;
        if !blue.privileged.is_empty() {
            return refused(
                WhyKind::Refused,
                "sessions that write through read-only came back while they were ended",
            );
        }
    }
    inner.set_fence_file(blue.stands.file);
    Ok(Answer::Seen(Seen::Fence {
        position: blue.stands.position,
        prepared_xa: blue.prepared_xa,
    }))
}

const DOING: &str = "read the fence position";

/// Blue under the hold, from one round trip.
struct Blue {
    /// Sessions that write through read-only, each with its user. Those of bleen's own account, of a `watch` beside the
    /// run or of whoever looks, are ended whatever the playbook says: no application uses it.
    privileged: Vec<(u64, String)>,
    prepared_xa: u32,
    stands: Stands,
}

impl Blue {
    /// From the result sets of a [`question`], without those of the sessions.
    fn read(
        inner: &Inner,
        session: &Session,
        privileged: Vec<(u64, String)>,
        sets: &[Vec<Row>],
    ) -> Result<Self, ServerError> {
        let [prepared, stands @ ..] = sets else {
            return Err(session.unexpected(DOING, "too few result sets"));
        };
        Ok(Self {
            privileged,
            prepared_xa: u32::try_from(prepared.len()).unwrap_or(u32::MAX),
            stands: stands::answer(inner, session, stands)?,
        })
    }
}

/// What is asked of blue under the hold, in one round trip; where nothing else is to be looked at first, in the one that
/// takes the hold. The sessions come first: whatever they commit before they are seen is in the position that is read
/// after them.
pub(super) fn question(privileged_sessions: Option<&str>, position: &str) -> String {
    let first = privileged_sessions.map_or_else(String::new, |sessions| format!("{sessions}; "));
    format!("{first}XA RECOVER; {position}")
}

/// What the batch that took the hold answered after it.
async fn at_the_hold(inner: &Inner, sets: &[Vec<Row>]) -> Result<Blue, ServerError> {
    let slot = inner.sessions.hold.lock().await;
    let Some(session) = slot.as_ref() else {
        return Err(lost(Side::Blue, DOING, "the holding session is gone"));
    };
    Blue::read(inner, session, Vec::new(), sets)
}

async fn blue_stands(inner: &Inner, terms: Terms) -> Result<Blue, ServerError> {
    let mut blue = inner.control(Side::Blue, terms.budget).await?;
    let sessions = quiet::privileged_sessions(inner, blue.id());
    let question = question(sessions.as_deref(), &stands::question(inner));
    let sets = blue.batch(DOING, &question, terms.budget).await?;
    let (privileged, sets) = sets.split_at(usize::from(sessions.is_some()).min(sets.len()));
    let privileged = privileged
        .first()
        .map_or_else(Vec::new, |rows| looks::sessions(rows));
    let seen = Blue::read(inner, &blue, privileged, sets)?;
    if inner.settings.hold == HoldKind::Tables {
        // A table that came after the list was read is not locked; its writers are not held.
        let tables = hold::application_tables(&mut blue, terms.budget).await?;
        if tables != inner.locked_tables() {
            return Err(blue.unexpected(
                "compare the locked tables",
                "a table was made or dropped meanwhile",
            ));
        }
    }
    Ok(seen)
}

pub(super) async fn drain(inner: &Inner, to: &Position, terms: Terms) -> Result<Answer, ServerError> {
    // What has to be compared is read by the way: on blue while green is still coming, on green the moment it is there.
    let (drained, read) = (
        pin!(drained_and_looked_at(inner, to, terms)),
        pin!(read_rows(inner, to, terms)),
    );
    match select(drained, read).await {
        Either::Left((Ok(Answer::Seen(Seen::Done)), read)) => {
            read.await;
            done()
        }
        Either::Left((other, _)) => other,
        Either::Right(((), drained)) => drained.await,
    }
}

/// Green at the fence; where rows are compared there, also whether it has executed anything of its own.
async fn drained_and_looked_at(inner: &Inner, to: &Position, terms: Terms) -> Result<Answer, ServerError> {
    match drained(inner, to, terms).await? {
        Answer::Seen(Seen::Done) if inner.settings.proof.is_some() => {
            let own = green_wrote::since_the_run(inner, terms).await?;
            inner.set_green_wrote(own);
            done()
        }
        other => Ok(other),
    }
}

async fn drained(inner: &Inner, to: &Position, terms: Terms) -> Result<Answer, ServerError> {
    let (waited, shut) = wait_for(inner, to, terms).await?;
    if shut == Some(0) {
        return refused(
            WhyKind::GreenWritable,
            "green accepts writes although it must be read-only",
        );
    }
    match waited {
        Waited::Reached => {}
        Waited::TimedOut => {
            return refused(
                WhyKind::DeadlineMissed,
                "green did not execute the fence position in time",
            );
        }
        Waited::ApplierStopped => return refused(WhyKind::ApplierStopped, "green's applier is stopped"),
    }
    match looks::fresh_locks_on_green(inner, terms).await? {
        Some(lock) => refused(
            WhyKind::Refused,
            format!("green is locked, which promote would not lift: {lock}"),
        ),
        None => {
            make_durable(inner, terms).await?;
            done()
        }
    }
}

/// A green that was relaxed to keep up is durable again before anything is sealed for it.
async fn make_durable(inner: &Inner, terms: Terms) -> Result<(), ServerError> {
    if inner.settings.durable_again.is_empty() {
        return Ok(());
    }
    let mut green = inner.control(Side::Green, terms.budget).await?;
    for statement in &inner.settings.durable_again {
        green
            .run("make green durable again", statement, terms.budget)
            .await?;
    }
    Ok(())
}

/// Waits on green; also whether green is read-only, both flags where it has two.
async fn wait_for(inner: &Inner, to: &Position, terms: Terms) -> Result<(Waited, Option<i64>), ServerError> {
    let mut slot = inner.sessions.drain.lock().await;
    let Some(session) = slot.as_mut() else {
        return Err(lost(Side::Green, "wait on green", "its session is gone"));
    };
    let left = terms
        .deadline
        .map_or(terms.budget, |d| d.saturating_duration_since(Instant::now()));
    let caps = &inner.settings.green.caps;
    let shut = seal::sealed_expression(caps);
    position_read::wait_applied_and(session, caps, to, left + BEYOND_DEADLINE, shut).await
}

pub(super) async fn drain_sealed(inner: &Inner, to: &Position, terms: Terms) -> Result<Answer, ServerError> {
    match drained(inner, to, terms).await? {
        Answer::Seen(Seen::Done) => {}
        other => return Ok(other),
    }
    Ok(Answer::Seen(guard::see_sealed(inner, terms.budget).await?))
}

/// How long the instant before the hold is waited for. The guard sleeps already; its margin is larger.
const CAUGHT_UP_WITHIN: Duration = Duration::from_millis(500);

/// A wait on green that ends this quickly means that green was there already.
const AT_ONCE: Duration = Duration::from_millis(2);

/// Ends at an instant when green has just been seen where blue stood: a hold that starts there only has to wait for
/// what came in between.
pub(super) async fn caught_up_instant(inner: &Inner, terms: Terms) -> Result<Option<Answer>, ServerError> {
    let until = Instant::now() + CAUGHT_UP_WITHIN;
    let caps = &inner.settings.green.caps;
    let mut slot = inner.sessions.drain.lock().await;
    let Some(green) = slot.as_mut() else {
        return Err(lost(Side::Green, "wait on green", "its session is gone"));
    };
    loop {
        let mut blue = inner.control(Side::Blue, terms.budget).await?;
        let sets = blue
            .batch("read blue's position", &stands::question(inner), terms.budget)
            .await?;
        let stands = stands::answer(inner, &blue, &sets)?;
        drop(blue);
        let left = until.saturating_duration_since(Instant::now());
        let began = Instant::now();
        let waited = position_read::wait_applied(green, caps, &stands.position, left).await?;
        if waited == Waited::Reached && began.elapsed() <= AT_ONCE {
            return Ok(None);
        }
        if waited == Waited::ApplierStopped {
            return refused(WhyKind::ApplierStopped, "green's applier is stopped").map(Some);
        }
        if Instant::now() >= until {
            // Far behind it would be no good moment; a green that follows closely is good enough.
            return if waited == Waited::Reached {
                Ok(None)
            } else {
                let limit = humantime::format_duration(CAUGHT_UP_WITHIN);
                refused(
                    WhyKind::GreenBehind,
                    format!("green was not seen caught up for {limit}"),
                )
                .map(Some)
            };
        }
    }
}

/// What happened on blue between the fence and where it stands now.
pub(super) async fn read_moved(inner: &Inner, to: &Position, terms: Terms) -> Result<Answer, ServerError> {
    let Some(from) = inner.fence_file() else {
        return refused(
            WhyKind::BlueMoved,
            format!("blue moved to {to} and the fence's place in its binlog is not known"),
        );
    };
    let mut blue = inner.control(Side::Blue, terms.budget).await?;
    let events = events_since(&mut blue, &from, terms.budget).await?;
    let rows = match binlog_events::classify(&events) {
        Stretch::NoRows => None,
        Stretch::Rows { first } => Some(format!(
            "{} at {}:{}: {}",
            first.kind, first.file, first.offset, first.info
        )),
    };
    Ok(Answer::Seen(Seen::Moved { rows }))
}

/// The most events that are read under the seal; more than that were not written by a FLUSH.
const MOST_EVENTS: usize = 200;

/// The events of a server's binlog from a place on; over the end of a file into the next ones.
pub(super) async fn events_since(
    session: &mut Session,
    from: &FilePosition,
    budget: Duration,
) -> Result<Vec<BinlogEvent>, ServerError> {
    let doing = "read the binlog's events";
    let files = binlog_read::files(session, doing, budget).await?;
    let mut events = Vec::new();
    if let Some(mut stretch) = binlog_read::Events::from(files, from) {
        while let Some(more) = stretch.next(session, doing, MOST_EVENTS + 1, budget).await? {
            events.extend(more);
            if events.len() > MOST_EVENTS {
                return Err(session.unexpected(doing, &format!("more than {MOST_EVENTS} events")));
            }
        }
    }
    if events.is_empty() {
        return Err(session.unexpected(doing, "no event where the position moved"));
    }
    Ok(events)
}

/// What is compared at the fence: the playbook's queries, with what is left of the deadline; and the rows that were touched
/// since they were proved and whether green has executed anything of its own, which were read when green was drained.
pub(super) async fn reprove(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let why = match queries_agree(inner, terms).await? {
        None => rows_agree(inner).await,
        why => why,
    };
    match why {
        Some(why) => refused(WhyKind::ProofFailed, why),
        None => done(),
    }
}

/// The gate queries that are run at the fence. In words what is wrong.
async fn queries_agree(inner: &Inner, terms: Terms) -> Result<Option<String>, ServerError> {
    if inner.settings.fence_queries.is_empty() {
        return Ok(None);
    }
    let mut slot = inner.sessions.fence_gate.lock().await;
    let Some(gate) = slot.as_mut() else {
        return Ok(Some("the sessions of the gate queries are gone".to_owned()));
    };
    for at in 0..gate.queries().len() {
        let left = terms
            .deadline
            .map_or(terms.budget, |d| d.saturating_duration_since(Instant::now()));
        let what = match gate.run(at, left).await {
            Verdict::Agree { .. } => continue,
            Verdict::Differ(what) => what,
            Verdict::Failed(side, what) => format!("on {side}: {what}"),
        };
        let name = gate.queries().get(at).map_or("", |query| query.name.as_str());
        return Ok(Some(format!("gate query `{name}` at the fence: {what}")));
    }
    Ok(None)
}

fn until(terms: Terms) -> Instant {
    terms.deadline.unwrap_or_else(|| Instant::now() + terms.budget)
}

/// The rows that were touched since they were proved, on both sides.
async fn read_rows(inner: &Inner, to: &Position, terms: Terms) {
    let mut slot = inner.sessions.fence_proof.lock().await;
    if let (Some(reader), Some(fence)) = (slot.as_mut(), inner.fence_file()) {
        reader.read(&fence, to, until(terms)).await;
    }
}

/// The rows that were touched since they were proved. In words what is wrong.
async fn rows_agree(inner: &Inner) -> Option<String> {
    inner.settings.proof.as_ref()?;
    let mut slot = inner.sessions.fence_proof.lock().await;
    let Some(reader) = slot.as_mut() else {
        return Some("the sessions that compare rows are gone".to_owned());
    };
    match inner.take_green_wrote() {
        None => return Some("whether green has executed anything of its own was not looked at".to_owned()),
        Some(Some(own)) => {
            return Some(format!(
                "green has executed transactions that blue has not: {own}"
            ));
        }
        Some(None) => {}
    }
    match reader.compare() {
        Err(why) => Some(format!("the data proof at the fence: {why}")),
        Ok(compared) => compared
            .in_words()
            .map(|what| format!("at the fence both sides differ: {what}")),
    }
}
