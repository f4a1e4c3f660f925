//! bleen's own schema on the servers: heartbeat, runs, epochs, what must be put back, and the guard.
//!
//! Made by `prepare` on blue; replication carries it to green, so that green has the guard and every value as soon as
//! it has caught up. Must not know how the values are used: rows in, rows out.
//!
//! **The guard** (`bleen.guard`), tried on 5.6.24, 9.7.4, 10.11.18 and 11.8.9, all alike:
//! - One body for every server, because the procedure replicates and `SET PERSIST` does not parse on MariaDB: the
//!   statements that end the seal are arguments, run as dynamic SQL.
//! - `SQL SECURITY INVOKER`: it runs with the rights of bleen's account on the server where it is called. A definer
//!   of blue need not exist on green (1449), and nobody gains a right by calling it.
//! - It holds the server-wide named lock [`GUARD_LOCK`] while it runs: there is never a second guard, and
//!   [`FIND_GUARD`] finds its session from anywhere. (While a procedure runs, the process list shows the statement
//!   inside, not the CALL with bleen's comment.)
//! - Measured: fires 4 to 15 ms after its time; within 5 s when its client died (4.4 s after `kill -9`); at once
//!   (under 60 ms) after `KILL QUERY`, unless the session that it was told of holds its [`disarm_lock`]; never after
//!   `KILL CONNECTION`. A global `max_statement_time` does not end it
//!   when it is called as [`guard_call`] says.

use std::fmt::Display;
use std::time::Duration;

use super::error::{Cause, ServerError};
use super::quote;
use super::session::Session;
use crate::domain::capabilities::Capabilities;
use crate::domain::ids::{RunId, Side};

/// The schema's name.
pub const SCHEMA: &str = "bleen";

/// The named lock that a running guard holds. At most one per server.
pub const GUARD_LOCK: &str = "bleen.guard";

/// The named lock by whose holder, the session `disarmer`, the guard sees when it wakes that it is not to open anything.
/// Each session has a name of its own: one of an earlier attempt that the server still believes alive is in nobody's way.
pub fn disarm_lock(disarmer: impl Display) -> String {
    format!("bleen.disarm.{disarmer}")
}

/// The number of the guard's session on this server, NULL if none runs. Needs no right.
pub const FIND_GUARD: &str = "SELECT IS_USED_LOCK('bleen.guard')";

/// The largest number of bytes of a text column here; longer texts are cut by [`cut`].
const TEXT_BYTES: usize = 60_000;

/// The largest number of bytes of a run's facts: half of the smallest `max_allowed_packet` that servers come with, since
/// quoting may double it. They are never cut: half of them cannot be read.
pub const MOST_FACTS: usize = 2_000_000;

/// The statements that make the schema, in order. Each may be run again.
///
/// `utf8mb4` and InnoDB are said, not left to defaults that differ across versions; keys stay under the 767 bytes that
/// 5.6 allows. The procedure is dropped and made again: `CREATE PROCEDURE IF NOT EXISTS` is newer than our oldest blue.
#[must_use]
pub fn create_statements() -> Vec<String> {
    let table = |name: &str, columns: &str| {
        format!(
            "CREATE TABLE IF NOT EXISTS bleen.{name} ({columns}) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 \
             COLLATE utf8mb4_bin"
        )
    };
    vec![
        "CREATE DATABASE IF NOT EXISTS bleen DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin".to_owned(),
        table(
            "heartbeat",
            "id TINYINT UNSIGNED NOT NULL PRIMARY KEY, n BIGINT UNSIGNED NOT NULL, run_id VARCHAR(40) NOT NULL",
        ),
        table(
            "runs",
            "run_id VARCHAR(40) NOT NULL PRIMARY KEY, pair_name VARCHAR(120) NOT NULL, operator VARCHAR(250) NOT \
             NULL, started VARCHAR(40) NOT NULL, step VARCHAR(40) NOT NULL, outcome VARCHAR(60) NULL, facts \
             MEDIUMTEXT NULL",
        ),
        table(
            "epochs",
            "run_id VARCHAR(40) NOT NULL PRIMARY KEY, epoch BIGINT UNSIGNED NOT NULL, promoted VARCHAR(250) NOT \
             NULL, fence MEDIUMTEXT NOT NULL, at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)",
        ),
        table(
            "undo",
            "run_id VARCHAR(40) NOT NULL, seq INT UNSIGNED NOT NULL, green VARCHAR(250) NOT NULL, side VARCHAR(8) NOT \
             NULL, what TEXT NOT NULL, statement_text MEDIUMTEXT NOT NULL, state VARCHAR(20) NOT NULL, PRIMARY KEY \
             (run_id, seq)",
        ),
        // A schema that was made earlier may still be on a green that follows again: its number must be a lower one.
        "INSERT IGNORE INTO bleen.heartbeat (id, n, run_id) VALUES (1, UNIX_TIMESTAMP() * 1000, '-')".to_owned(),
        "DROP PROCEDURE IF EXISTS bleen.guard".to_owned(),
        "CREATE PROCEDURE bleen.guard(IN seconds DECIMAL(20,3), IN disarmer BIGINT UNSIGNED, IN first_statement TEXT, \
         IN second_statement TEXT) SQL SECURITY INVOKER COMMENT 'bleen: makes this server writable again when its time is up' \
         BEGIN \
         IF COALESCE(GET_LOCK('bleen.guard', 0), 0) <> 1 THEN \
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'another guard of bleen is armed on this server'; \
         END IF; \
         DO /* bleen guard */ SLEEP(seconds); \
         IF NOT (IS_USED_LOCK(CONCAT('bleen.disarm.', disarmer)) <=> disarmer) THEN \
         SET @bleen_guard = first_statement; \
         PREPARE bleen_guard FROM @bleen_guard; \
         EXECUTE bleen_guard; \
         SET @bleen_guard = second_statement; \
         PREPARE bleen_guard FROM @bleen_guard; \
         EXECUTE bleen_guard; \
         END IF; \
         DO RELEASE_LOCK('bleen.guard'); \
         END"
            .to_owned(),
    ]
}

/// The statement that takes the schema away. On a server that only applies another's binlog, run it with
/// `sql_log_bin = 0`, so that it leaves no transaction of its own.
#[must_use]
pub fn drop_statement() -> &'static str {
    "DROP DATABASE IF EXISTS bleen"
}

/// The statement that makes a server writable, in memory and at the next start.
///
/// Both flags are named: `super_read_only` off leaves `read_only` on, and what is persisted is kept apart for each.
#[must_use]
pub fn writable_statement(caps: &Capabilities) -> &'static str {
    match (caps.persist, caps.super_read_only) {
        (true, true) => "SET PERSIST super_read_only = 0, PERSIST read_only = 0",
        (_, true) => "SET GLOBAL super_read_only = 0, GLOBAL read_only = 0",
        (_, false) => "SET GLOBAL read_only = 0",
    }
}

/// The statement that arms the guard: blocks for `seconds`, then runs `statements` one after the other (at most two),
/// unless the session of the number `disarmer` holds its [`disarm_lock`] at that moment (0: nobody's).
///
/// On MariaDB a global `max_statement_time` would make it fire early, hence the SET STATEMENT.
#[must_use]
pub fn guard_call(
    caps: &Capabilities,
    seconds: f64,
    disarmer: impl Display,
    statements: [&str; 2],
) -> String {
    let [first, second] = statements.map(|s| if s.is_empty() { "DO 0" } else { s });
    let before = if caps.set_statement {
        "SET STATEMENT max_statement_time = 0 FOR "
    } else {
        ""
    };
    format!(
        "{before}CALL bleen.guard({seconds:.3}, {disarmer}, {}, {})",
        quote::text(first),
        quote::text(second)
    )
}

/// The row that marks green as promoted by this run. May be run again; `promoted` says which server, `fence` where.
#[must_use]
pub fn epoch_statement(run: &RunId, promoted: &str, fence: &str) -> String {
    format!(
        "INSERT IGNORE INTO bleen.epochs (run_id, epoch, promoted, fence) SELECT {run}, COALESCE(MAX(epoch), 0) + 1, \
         {promoted}, {fence} FROM bleen.epochs",
        run = quote::text(run.as_str()),
        promoted = quote::text(promoted),
        fence = quote::text(cut(fence, TEXT_BYTES)),
    )
}

/// The statement that answers 1 if this run's epoch row is there, else 0.
#[must_use]
pub fn epoch_question(run: &RunId) -> String {
    format!(
        "SELECT COUNT(*) FROM bleen.epochs WHERE run_id = {}",
        quote::text(run.as_str())
    )
}

/// Whether the schema is there, perhaps not all of it.
///
/// # Errors
/// Any [`super::error::Cause`].
pub async fn is_there(session: &mut Session, budget: Duration) -> Result<bool, ServerError> {
    let sql = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'bleen'";
    let count: u64 = session.one("look for bleen's schema", sql, budget).await?;
    Ok(count > 0)
}

/// A promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// Its number: each promotion's is one more than the last one's.
    pub number: u64,
    /// The run.
    pub run: String,
    /// The label of the server that it promoted.
    pub promoted: String,
}

/// The newest epoch that a server knows. `None` if there is none, or bleen's schema is not there.
///
/// # Errors
/// Any [`super::error::Cause`] except that the schema or table is missing.
pub async fn newest_epoch(session: &mut Session, budget: Duration) -> Result<Option<Epoch>, ServerError> {
    let sql = "SELECT epoch, run_id, promoted FROM bleen.epochs ORDER BY epoch DESC LIMIT 1";
    let rows: Vec<(u64, String, String)> = match session.rows("read the newest epoch", sql, budget).await {
        Err(e) if is_missing(&e) => return Ok(None),
        other => other?,
    };
    Ok(rows.into_iter().next().map(|(number, run, promoted)| Epoch {
        number,
        run,
        promoted,
    }))
}

/// One run as the servers know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// The run.
    pub run_id: String,
    /// The pair's name in the playbook.
    pub pair: String,
    /// Who started it, and where.
    pub operator: String,
    /// When, RFC 3339.
    pub started: String,
    /// The last step it entered.
    pub step: String,
    /// Its outcome word; `None` while it is under way.
    pub outcome: Option<String>,
    /// What else must be known to end it, JSON.
    pub facts: Option<String>,
}

/// The statement that writes or renews a run's row.
#[must_use]
pub fn run_statement(row: &RunRow) -> String {
    let nullable = |t: &Option<String>| t.as_ref().map_or_else(|| "NULL".to_owned(), |t| quote::text(t));
    format!(
        "REPLACE INTO bleen.runs (run_id, pair_name, operator, started, step, outcome, facts) \
         VALUES ({}, {}, {}, {}, {}, {}, {})",
        quote::text(cut(&row.run_id, 40)),
        quote::text(cut(&row.pair, 120)),
        quote::text(cut(&row.operator, 240)),
        quote::text(cut(&row.started, 40)),
        quote::text(cut(&row.step, 40)),
        nullable(&row.outcome),
        nullable(&row.facts),
    )
}

/// The statement that moves a run to another step.
#[must_use]
pub fn step_statement(run: &RunId, step: &str) -> String {
    format!(
        "UPDATE bleen.runs SET step = {} WHERE run_id = {}",
        quote::text(cut(step, 40)),
        quote::text(run.as_str())
    )
}

/// The runs a server knows, newest last; at most 200. `None` if bleen's schema is not there.
///
/// # Errors
/// Any [`super::error::Cause`] except that the schema or table is missing.
pub async fn runs(session: &mut Session, budget: Duration) -> Result<Option<Vec<RunRow>>, ServerError> {
    type Columns = (
        String,
        String,
        String,
        String,
        String,
        Option<String>,
        Option<String>,
    );
    let sql = "SELECT run_id, pair_name, operator, started, step, outcome, facts FROM (SELECT * FROM bleen.runs \
               ORDER BY started DESC, run_id DESC LIMIT 200) newest ORDER BY started, run_id";
    let rows: Vec<Columns> = match session.rows("read bleen's runs", sql, budget).await {
        Err(e) if is_missing(&e) => return Ok(None),
        other => other?,
    };
    let row = |(run_id, pair, operator, started, step, outcome, facts)| RunRow {
        run_id,
        pair,
        operator,
        started,
        step,
        outcome,
        facts,
    };
    Ok(Some(rows.into_iter().map(row).collect()))
}

/// One thing that must be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoRow {
    /// The run that made the change.
    pub run_id: String,
    /// Its place in the run's order; undone from the highest to the lowest.
    pub seq: u32,
    /// Which green the pair has that the change was made for ([`crate::domain::identity::Identity::label`]): several
    /// may follow one blue.
    pub green: String,
    /// The side it was made on.
    pub side: Side,
    /// What the change is, for people.
    pub what: String,
    /// The statements that undo it, separated by `;` and a line end.
    pub statement: String,
    /// `open`, `undone`, or `concluded` by a switch.
    pub state: String,
}

/// The statement that records an undo, to be run before the change it undoes.
#[must_use]
pub fn undo_statement(row: &UndoRow) -> String {
    format!(
        "REPLACE INTO bleen.undo (run_id, seq, green, side, what, statement_text, state) VALUES ({}, {}, {}, {}, {}, {}, \
         {})",
        quote::text(cut(&row.run_id, 40)),
        row.seq,
        quote::text(&row.green),
        quote::text(row.side.as_str()),
        quote::text(cut(&row.what, TEXT_BYTES)),
        quote::text(cut(&row.statement, 1_000_000)),
        quote::text(cut(&row.state, 20)),
    )
}

/// The statement that marks an undo as run.
#[must_use]
pub fn undone_statement(run_id: &str, seq: u32) -> String {
    format!(
        "UPDATE bleen.undo SET state = 'undone' WHERE run_id = {} AND seq = {seq}",
        quote::text(run_id)
    )
}

/// The statement that gives a recorded change to the pair of another green, which then has to put it back.
#[must_use]
pub fn hand_over_statement(row: &UndoRow, green: &str) -> String {
    format!(
        "UPDATE bleen.undo SET green = {} WHERE run_id = {} AND seq = {}",
        quote::text(green),
        quote::text(&row.run_id),
        row.seq
    )
}

/// The statement that concludes what is recorded for this green: it serves, so nothing of it is to be put back any more.
/// Run on green, from where blue has it, too, if it follows; what is recorded for other greens of that blue stays.
#[must_use]
pub fn conclude_statement(green: &str) -> String {
    format!(
        "UPDATE bleen.undo SET state = 'concluded' WHERE state = 'open' AND green = {}",
        quote::text(green)
    )
}

/// What still must be put back, last change first: of the pair with one green, or of all pairs of this blue. `None` if
/// bleen's schema is not there.
///
/// # Errors
/// Any [`super::error::Cause`] except that the schema or table is missing; a side that is neither `blue` nor `green`
/// is [`super::error::Cause::Unexpected`]. A schema of the form without greens is refused, with what mends it: see
/// [`is_of_earlier_form`].
pub async fn open_undos(
    session: &mut Session,
    green: Option<&str>,
    budget: Duration,
) -> Result<Option<Vec<UndoRow>>, ServerError> {
    let of_green = green.map_or_else(String::new, |green| {
        format!(" AND green = {}", quote::text(green))
    });
    // Run ids begin with the time of the run.
    let sql = format!(
        "SELECT run_id, seq, green, side, what, statement_text, state FROM bleen.undo WHERE state = 'open'{of_green} \
         ORDER BY run_id DESC, seq DESC"
    );
    let doing = "read what must be put back";
    let rows: Vec<(String, u32, String, String, String, String, String)> =
        match session.rows(doing, &sql, budget).await {
            Err(e) if is_missing(&e) => return Ok(None),
            Err(e) if is_of_earlier_form(&e) => return Err(earlier_form(e, green)),
            other => other?,
        };
    let mut undos = Vec::with_capacity(rows.len());
    for (run_id, seq, green, side, what, statement, state) in rows {
        let side = match side.as_str() {
            "blue" => Side::Blue,
            "green" => Side::Green,
            other => return Err(session.unexpected(doing, &format!("a side named `{other}`"))),
        };
        undos.push(UndoRow {
            run_id,
            seq,
            green,
            side,
            what,
            statement,
            state,
        });
    }
    Ok(Some(undos))
}

/// Whether the answer was that bleen's schema, or a table of it, is not there.
#[must_use]
pub fn is_missing(error: &ServerError) -> bool {
    matches!(error.code(), Some(1049 | 1146 | 1305))
}

/// Whether the answer was that the schema is of a form in which it was not recorded for which green a change was made.
#[must_use]
pub fn is_of_earlier_form(error: &ServerError) -> bool {
    error.code() == Some(UNKNOWN_COLUMN)
}

/// The server's number for a column that is not there.
const UNKNOWN_COLUMN: u16 = 1054;

/// Says what mends a schema of the earlier form: only a person knows which green the changes in it were made for.
fn earlier_form(error: ServerError, green: Option<&str>) -> ServerError {
    let label = quote::text(green.unwrap_or("<which server green is>"));
    ServerError {
        cause: Cause::Refused {
            code: UNKNOWN_COLUMN,
            message: format!(
                "bleen's schema was made by an earlier bleen, which did not record for which green a change was made. If \
                 everything in bleen.undo was made for this green, run on blue: ALTER TABLE bleen.undo ADD COLUMN green \
                 VARCHAR(250) NOT NULL DEFAULT {label} AFTER seq"
            ),
        },
        ..error
    }
}

/// Cuts a text to at most `bytes` bytes, between characters.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::capabilities::tests::known;

    #[test]
    fn the_guard_is_told_what_ends_the_seal_on_this_server() {
        let call = |server| {
            let caps = known(server);
            guard_call(&caps, 12.5, 7, [writable_statement(&caps), ""])
        };
        assert_eq!(
            call("mysql-9.7"),
            "CALL bleen.guard(12.500, 7, 'SET PERSIST super_read_only = 0, PERSIST read_only = 0', 'DO 0')"
        );
        assert_eq!(
            call("mysql-5.6"),
            "CALL bleen.guard(12.500, 7, 'SET GLOBAL read_only = 0', 'DO 0')"
        );
        assert_eq!(
            call("mariadb-11.8"),
            "SET STATEMENT max_statement_time = 0 FOR CALL bleen.guard(12.500, 7, 'SET GLOBAL read_only = 0', 'DO 0')"
        );
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("", 5), "");
    }
}
