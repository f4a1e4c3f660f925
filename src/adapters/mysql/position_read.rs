//! Reads what a server has executed, and makes a replica wait until it has executed a position.
//!
//! Which value is the right one (facts measured on 5.6, 9.7, 10.11 and 11.8):
//! - MySQL with GTIDs: `@@gtid_executed`, on both sides. While nothing holds the writers it is a lower bound of what a
//!   later SELECT sees; under the hold it is exact.
//! - MariaDB, where application writes arrive (the writer): `@@gtid_binlog_pos`, the last transaction of each domain in
//!   its own binlog, and so exactly what a replica can be sent.
//! - MariaDB, a replica: `@@gtid_slave_pos`, what the applier has applied; `MASTER_GTID_WAIT` waits on it.
//!   `gtid_current_pos` mixes in the server's own writes and would hide a green that wrote by itself.
//! - Without GTIDs: the writer's own file and offset; on the replica the source's file and offset up to which the
//!   applier has executed. With several workers that is the point up to which there is no gap.

use std::time::{Duration, Instant};

use mysql_async::Row;

use super::error::ServerError;
use super::session::Session;
use super::{columns, sql};
use crate::domain::capabilities::{Capabilities, PositionKind, Words};
use crate::domain::position::{FilePosition, GtidList, GtidSet, Position};
use crate::domain::server::Family;

/// What a server is in the pair at the time of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Application writes arrive here.
    Writer,
    /// It applies the other side's binlog.
    Replica,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The position is executed.
    Reached,
    /// The time is over.
    TimedOut,
    /// The server says that nothing is being applied, so that waiting is useless. (Not every server notices: MySQL
    /// 5.7.5 and later and MariaDB's GTID wait go on to the end of their time.)
    ApplierStopped,
}

/// What is added to a wait's own time before the session is given up for lost.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// Reads what a server has executed, in the kind that the pair uses ([`Capabilities::pair_position_kind`]).
///
/// # Errors
/// Any [`super::error::Cause`]. A server without binlog, or a replica that follows nobody, has no file position:
/// [`super::error::Cause::Unexpected`].
pub async fn executed(
    session: &mut Session,
    caps: &Capabilities,
    kind: PositionKind,
    role: Role,
    budget: Duration,
) -> Result<Position, ServerError> {
    let doing = "read the executed position";
    match (kind, role) {
        (PositionKind::GtidSet, _) => {
            let text: String = session
                .one(doing, "SELECT @@GLOBAL.gtid_executed", budget)
                .await?;
            gtid_set(session, doing, &text).map(Position::GtidSet)
        }
        (PositionKind::GtidList, role) => {
            let sql = match role {
                Role::Writer => "SELECT @@GLOBAL.gtid_binlog_pos",
                Role::Replica => "SELECT @@GLOBAL.gtid_slave_pos",
            };
            let text: Option<String> = session.one(doing, sql, budget).await?;
            gtid_list(session, doing, &text.unwrap_or_default()).map(Position::GtidList)
        }
        (PositionKind::File, Role::Writer) => written_file(session, caps, budget).await.map(Position::File),
        (PositionKind::File, Role::Replica) => executed_file(session, caps, budget).await.map(Position::File),
    }
}

/// The end of a server's own binlog: an upper bound of what was visible before it was read.
///
/// # Errors
/// Any [`super::error::Cause`]; a server without binlog is [`super::error::Cause::Unexpected`].
pub async fn written_file(
    session: &mut Session,
    caps: &Capabilities,
    budget: Duration,
) -> Result<FilePosition, ServerError> {
    let doing = "read the binlog position";
    let rows: Vec<Row> = session.rows(doing, sql::binlog_status(caps), budget).await?;
    let Some(row) = rows.first() else {
        return Err(session.unexpected(doing, "the server writes no binlog"));
    };
    match (columns::text_at(row, 0), columns::text_at(row, 1)) {
        (Some(file), Some(offset)) => Ok(FilePosition {
            file,
            offset: offset
                .parse()
                .map_err(|_| session.unexpected(doing, &format!("an offset `{offset}`")))?,
        }),
        _ => Err(session.unexpected(doing, "a row without file and offset")),
    }
}

/// The source's file and offset up to which a replica has executed.
///
/// # Errors
/// Any [`super::error::Cause`]; a server that follows nobody is [`super::error::Cause::Unexpected`].
pub async fn executed_file(
    session: &mut Session,
    caps: &Capabilities,
    budget: Duration,
) -> Result<FilePosition, ServerError> {
    let doing = "read the executed position";
    let rows: Vec<Row> = session
        .rows(doing, sql::show_replica_status(caps), budget)
        .await?;
    let Some(row) = rows.first() else {
        return Err(session.unexpected(doing, "the server follows nobody"));
    };
    let file = columns::either(row, "Relay_Source_Log_File", "Relay_Master_Log_File");
    let offset = columns::number(row, "Exec_Source_Log_Pos", "Exec_Master_Log_Pos");
    match (file, offset) {
        (Some(file), Some(offset)) => Ok(FilePosition { file, offset }),
        _ => Err(session.unexpected(doing, "a replication status without file and offset")),
    }
}

/// Blocks, in one call, until a replica has executed `position` or `within` is over.
///
/// Precise to milliseconds but for the older functions of MySQL (5.6; file and offset before 8.0.26), which take whole
/// seconds: `within` is rounded down there, to at least one second.
///
/// # Errors
/// Any [`super::error::Cause`]. After [`super::error::Cause::TimedOut`] (a server that did not answer its own time limit, one second later) the
/// session is spent. A position of a kind that the server cannot wait for is [`super::error::Cause::Unexpected`].
pub async fn wait_applied(
    session: &mut Session,
    caps: &Capabilities,
    position: &Position,
    within: Duration,
) -> Result<Waited, ServerError> {
    let (waited, _) = wait_applied_and(session, caps, position, within, "1").await?;
    Ok(waited)
}

/// As [`wait_applied`], and in the same statement an expression of the server, evaluated before or after the wait; `None`
/// where it is NULL or the statement ended without a row.
///
/// # Errors
/// As [`wait_applied`].
pub async fn wait_applied_and(
    session: &mut Session,
    caps: &Capabilities,
    position: &Position,
    within: Duration,
    also: &str,
) -> Result<(Waited, Option<i64>), ServerError> {
    let doing = "wait until the position is executed";
    let whole_seconds = waits_in_whole_seconds(caps, position);
    let limited = is_limited(caps, position);
    let Some(question) = wait_question(caps, position, within, also) else {
        return Err(session.unexpected(doing, &format!("`{position}` is no position of {}", caps.version)));
    };
    let started = Instant::now();
    let allowed = within.max(Duration::from_secs(u64::from(whole_seconds))) + ANSWER_MARGIN;
    let answer: Result<(Option<i64>, Option<i64>), ServerError> =
        session.one(doing, &question, allowed).await;
    let (answer, also) = match answer {
        // max_statement_time, where it is told as an error.
        Err(e) if e.code() == Some(1969) && limited => return Ok((Waited::TimedOut, None)),
        other => other?,
    };
    let waited = match waited(caps, position, answer) {
        Waited::ApplierStopped if limited && started.elapsed() >= within => Waited::TimedOut,
        waited => waited,
    };
    Ok((waited, also))
}

/// What the first column of a [`wait_question`] says.
pub(super) fn waited(caps: &Capabilities, position: &Position, answer: Option<i64>) -> Waited {
    match (position, answer) {
        // MySQL's newer functions answer 0 and 1; all others a count or 0, -1 for the time, NULL for the applier.
        (Position::GtidSet(_), Some(1)) if !waits_in_whole_seconds(caps, position) => Waited::TimedOut,
        (_, Some(-1)) => Waited::TimedOut,
        (_, Some(_)) => Waited::Reached,
        (_, None) => Waited::ApplierStopped,
    }
}

/// The statement behind [`wait_applied_and`]; `None` for a position of a kind that the server cannot wait for.
#[must_use]
pub fn wait_question(
    caps: &Capabilities,
    position: &Position,
    within: Duration,
    also: &str,
) -> Option<String> {
    let seconds = if waits_in_whole_seconds(caps, position) {
        within.as_secs().max(1) as f64
    } else {
        // None at all would mean without end.
        within.as_secs_f64().max(0.001)
    };
    let wait = sql::wait_expression(caps, position, seconds)?;
    Some(if is_limited(caps, position) {
        format!(
            "SET STATEMENT max_statement_time = {:.3} FOR SELECT {wait}, {also}",
            within.as_secs_f64().max(0.001)
        )
    } else {
        format!("SELECT {wait}, {also}")
    })
}

/// MariaDB's file wait takes whole seconds, but a limit of the whole statement is exact. It then answers NULL, as for a
/// stopped applier: the time that has passed tells which.
fn is_limited(caps: &Capabilities, position: &Position) -> bool {
    caps.set_statement && matches!(position, Position::File(_))
}

/// Whether the function for this position takes whole seconds only, as MySQL's older ones do.
fn waits_in_whole_seconds(caps: &Capabilities, position: &Position) -> bool {
    use crate::domain::capabilities::GtidWait::SqlThreadAfterGtids;
    match (caps.family(), position) {
        (Family::MySql, Position::GtidSet(_)) => caps.gtid_wait == Some(SqlThreadAfterGtids),
        (Family::MySql, Position::File(_)) => caps.file_wait == Words::Old,
        _ => false,
    }
}

/// Reads a set that a server sent.
///
/// # Errors
/// [`super::error::Cause::Unexpected`] if it is none.
pub(super) fn gtid_set(session: &Session, doing: &str, text: &str) -> Result<GtidSet, ServerError> {
    GtidSet::parse(text).map_err(|e| session.unexpected(doing, &e.to_string()))
}

/// Reads a list that a server sent.
///
/// # Errors
/// [`super::error::Cause::Unexpected`] if it is none.
pub(super) fn gtid_list(session: &Session, doing: &str, text: &str) -> Result<GtidList, ServerError> {
    GtidList::parse(text).map_err(|e| session.unexpected(doing, &e.to_string()))
}
