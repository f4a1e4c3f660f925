//! The settings under which the text of a row is the same in every session, and the check that a session has them.

use std::time::Duration;

use mysql_async::Row;

use crate::adapters::mysql::columns::text_at;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::session::Session;
use crate::adapters::mysql::sql::limit_statements;
use crate::domain::capabilities::Capabilities;

/// Asked in front of every statement of the proof, in the same round trip: a session that was opened anew, or that
/// something else used in between, must not compare with other settings.
pub(super) const ASK: &str = "SELECT @@SESSION.time_zone, @@SESSION.sql_mode, @@SESSION.collation_connection, \
                              @@SESSION.sql_select_limit";

const WANTED: [&str; 4] = ["+00:00", "", "utf8mb4_bin", "18446744073709551615"];

/// Gives a session the settings of the proof. `limit` is the server's own time limit of a statement, where it has one.
///
/// # Errors
/// What the server answered, or that the settings are not in force.
pub async fn apply(
    session: &mut Session,
    capabilities: &Capabilities,
    limit: Duration,
    budget: Duration,
) -> Result<(), ServerError> {
    let doing = "prepare the session for the proof";
    let mut statements = vec![
        format!(
            "SET SESSION time_zone = '{}', sql_mode = '', character_set_results = NULL, collation_connection = {}, \
             sql_select_limit = {}, sql_big_selects = 1, innodb_lock_wait_timeout = 1",
            WANTED[0], WANTED[2], WANTED[3]
        ),
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ".to_owned(),
    ];
    statements.extend(limit_statements(capabilities, limit));
    statements.push(ASK.to_owned());
    let sets = session.batch(doing, &statements.join("; "), budget).await?;
    check(session, doing, sets.first())
}

/// Whether the answer to [`ASK`] is the wanted one.
pub(super) fn check(session: &Session, doing: &str, answer: Option<&Vec<Row>>) -> Result<(), ServerError> {
    let row = answer.and_then(|rows| rows.first());
    let seen = row.map(|row| [0, 1, 2, 3].map(|at| text_at(row, at).unwrap_or_default()));
    if seen.as_ref().is_some_and(|seen| seen == &WANTED) {
        return Ok(());
    }
    let what = format!(
        "the session's time zone, SQL mode, collation and row limit are {seen:?}, and a proof needs {WANTED:?}; \
         nothing was compared"
    );
    Err(session.unexpected(doing, &what))
}
