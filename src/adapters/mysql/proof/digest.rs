//! The statements that digest a range, and the rows of one.

use std::time::Duration;

use mysql_async::Row;

use super::expression::{Class, Expression};
use super::key::{self, KeyColumn, KeyValue, Range};
use super::settings;
use crate::adapters::mysql::columns::text_at;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::session::Session;
use crate::domain::server::Version;

/// How many rows are asked for by their keys in one statement.
pub const ROWS_AT_ONCE: usize = 1000;

/// How much of each row's SHA-256 goes into the digest of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// All 256 bits: MySQL from 8.0 on.
    Whole,
    /// The first 64 bits: `BIT_XOR` of other servers takes numbers only. On MariaDB it takes a longer text without an
    /// error, too, and finds 0.
    Half,
    /// The first and the second 64 bits, at twice the cost.
    Halves,
}

impl Form {
    /// The form that both servers have. `second_half`: where that is the short one, with 64 bits more.
    #[must_use]
    pub fn of(blue: &Version, green: &Version, second_half: bool) -> Self {
        let long = |version: &Version| version.is_mysql_from((8, 0, 0));
        match (long(blue) && long(green), second_half) {
            (true, _) => Self::Whole,
            (false, true) => Self::Halves,
            (false, false) => Self::Half,
        }
    }

    /// Without a key two rows may be equal, and the XOR of two equal rows is that of any two others. So the numbers that
    /// the hashes are get added up: as a whole and not modulo anything, so that twice one row is never twice another. They
    /// are exact (DECIMAL) and have room for 2^60 rows. To count equal rows first and digest the counts would be right,
    /// too, but makes the server sort the whole table. 128 bits where the form with a key has more: every sum costs
    /// another hash of each row.
    fn sums(self, text: &str) -> String {
        let hash = hash(text);
        let sum = |from| format!("SUM(CAST(CONV(SUBSTR({hash},{from},16),16,10) AS UNSIGNED))");
        match self {
            Self::Half => sum(1),
            Self::Whole | Self::Halves => format!("CONCAT({},' ',{})", sum(1), sum(17)),
        }
    }

    fn aggregate(self, text: &str) -> String {
        let hash = hash(text);
        // Without COALESCE: under it MySQL 5.6 cuts numbers beyond 2^63 down to that. No row gives 0 all the same.
        let bits = |from| format!("BIT_XOR(CAST(CONV(SUBSTR({hash},{from},16),16,10) AS UNSIGNED))");
        match self {
            Self::Whole => format!("COALESCE(HEX(BIT_XOR(UNHEX({hash}))),'')"),
            Self::Half => bits(1),
            Self::Halves => format!("CONCAT({},' ',{})", bits(1), bits(17)),
        }
    }
}

/// The SHA-256 of a row's text, in hexadecimal digits.
fn hash(text: &str) -> String {
    // A row without a text would be left out of the digest without a word. `COUNT(text)` would find it at the price of
    // making every text twice; EXP(1000) is out of range (error 1690), and ends the statement at that row.
    // RAND() keeps it from being computed beforehand.
    format!("IFNULL(SHA2({text},256),EXP(1000+RAND()))")
}

/// What is known of a range: equal digests are equal ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// How many rows it has.
    pub rows: u64,
    /// The XOR of their SHA-256, as the form has it; of a table without a key, the sums of its parts.
    pub of_rows: String,
}

impl Digest {
    /// The XOR or the sums as bytes, filled up with zeros; `None` if it has none of the forms.
    #[must_use]
    pub fn bytes(&self) -> Option<[u8; 32]> {
        let mut bytes = [0; 32];
        if self.rows == 0 {
            return Some(bytes);
        }
        if self.of_rows.len() == 64 {
            bytes.copy_from_slice(&key::unhex(self.of_rows.as_bytes())?);
            return Some(bytes);
        }
        let halves: Option<Vec<u128>> = self.of_rows.split(' ').map(|half| half.parse().ok()).collect();
        for (place, half) in bytes.chunks_mut(16).zip(halves?) {
            place.copy_from_slice(&half.to_be_bytes());
        }
        Some(bytes)
    }
}

/// The SHA-256 of one row's text.
pub type RowHash = [u8; 32];

/// Error 1690: a value is out of range.
const OUT_OF_RANGE: u16 = 1690;

const NO_TEXT: &str = "a row has a value that cannot be compared: longer than `max_allowed_packet`, or not valid in its \
                       character set; nothing is known of this range, and it must not count as equal";

/// The statement that digests a range.
#[must_use]
pub fn range_statement(form: Form, of: &Expression, class: Class, range: &Range) -> String {
    let text = of.text(class);
    let digest = if of.has_key() {
        form.aggregate(text)
    } else {
        form.sums(text)
    };
    format!(
        "SELECT COUNT(*), {digest} FROM {} WHERE {}",
        of.from,
        key::in_range(&of.key, range)
    )
}

/// Digests a range on one side.
///
/// # Errors
/// What the server answered; that the session lacks the settings of the proof; a row that cannot be compared.
pub async fn range(
    session: &mut Session,
    form: Form,
    of: &Expression,
    class: Class,
    range: &Range,
    budget: Duration,
) -> Result<Digest, ServerError> {
    let doing = "digest a range of rows";
    let rows = ask(session, doing, &range_statement(form, of, class, range), budget).await?;
    read_digest(session, &rows)
}

/// What a [`range_statement`] answered.
pub(super) fn read_digest(session: &Session, rows: &[Row]) -> Result<Digest, ServerError> {
    let digest = rows.first().and_then(|row| {
        let rows = text_at(row, 0)?.parse().ok()?;
        // Of no rows the long form is as many zeros as the version likes, and a sum is NULL.
        let of_rows = if rows == 0 {
            String::new()
        } else {
            text_at(row, 1)?
        };
        Some(Digest { rows, of_rows })
    });
    digest.ok_or_else(|| session.unexpected("digest a range of rows", "no digest of the range"))
}

/// Digests every row of a range by itself, in the order of the key: to find the rows in which two ranges differ.
///
/// # Errors
/// As [`range`].
pub async fn rows_of_range(
    session: &mut Session,
    of: &Expression,
    class: Class,
    range: &Range,
    budget: Duration,
) -> Result<Vec<(KeyValue, RowHash)>, ServerError> {
    let condition = format!("{} ORDER BY {}", key::in_range(&of.key, range), names(of));
    rows(session, of, &rows_statement(of, class, &condition), budget).await
}

/// Digests the rows that have these keys; those that are not there are not returned. At most [`ROWS_AT_ONCE`] keys are
/// asked for in one statement.
///
/// # Errors
/// As [`range`].
pub async fn rows_of_keys(
    session: &mut Session,
    of: &Expression,
    class: Class,
    keys: &[KeyValue],
    budget: Duration,
) -> Result<Vec<(KeyValue, RowHash)>, ServerError> {
    let mut found = Vec::new();
    for keys in keys.chunks(ROWS_AT_ONCE) {
        found.extend(rows(session, of, &keys_statement(of, class, keys), budget).await?);
    }
    Ok(found)
}

/// The statement that digests the rows that have these keys.
pub(super) fn keys_statement(of: &Expression, class: Class, keys: &[KeyValue]) -> String {
    rows_statement(of, class, &key::among(&of.key, keys))
}

/// The key of the row that ends the first so many rows of a range; `None` if it has fewer.
///
/// # Errors
/// As [`range`].
pub async fn end_of_range(
    session: &mut Session,
    of: &Expression,
    range: &Range,
    rows: u64,
    budget: Duration,
) -> Result<Option<KeyValue>, ServerError> {
    let doing = "find the end of a range of rows";
    let sql = format!(
        "SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT 1 OFFSET {}",
        reads(of),
        of.from,
        key::in_range(&of.key, range),
        names(of),
        rows.saturating_sub(1)
    );
    let found = ask(session, doing, &sql, budget).await?;
    let Some(row) = found.first() else {
        return Ok(None);
    };
    let key = key::read(&of.key, row);
    key.map(Some)
        .ok_or_else(|| session.unexpected(doing, "no key of a row"))
}

/// Digests the rows that have these values in these columns, which need not be a key.
///
/// # Errors
/// As [`range`].
pub async fn rows_where(
    session: &mut Session,
    of: &Expression,
    columns: &[KeyColumn],
    values: &[KeyValue],
    budget: Duration,
) -> Result<Vec<(KeyValue, RowHash)>, ServerError> {
    rows(session, of, &where_statement(of, columns, values), budget).await
}

/// The statement that digests the rows that have these values in these columns.
pub(super) fn where_statement(of: &Expression, columns: &[KeyColumn], values: &[KeyValue]) -> String {
    // Another index serves such a question better than the key's.
    let of = Expression {
        from: of.name.clone(),
        ..of.clone()
    };
    rows_statement(&of, Class::Written, &key::among(columns, values))
}

fn rows_statement(of: &Expression, class: Class, condition: &str) -> String {
    format!(
        "SELECT {}, SHA2({},256) FROM {} WHERE {condition}",
        reads(of),
        of.text(class),
        of.from
    )
}

const SINGLE_ROWS: &str = "digest single rows";

async fn rows(
    session: &mut Session,
    of: &Expression,
    sql: &str,
    budget: Duration,
) -> Result<Vec<(KeyValue, RowHash)>, ServerError> {
    let rows = ask(session, SINGLE_ROWS, sql, budget).await?;
    read_rows(session, of, &rows)
}

/// What a statement for single rows answered.
pub(super) fn read_rows(
    session: &Session,
    of: &Expression,
    rows: &[Row],
) -> Result<Vec<(KeyValue, RowHash)>, ServerError> {
    let read = |row: &Row| {
        let hash = text_at(row, of.key.len())?;
        Some((
            key::read(&of.key, row)?,
            RowHash::try_from(key::unhex(hash.as_bytes())?).ok()?,
        ))
    };
    let read: Option<Vec<_>> = rows.iter().map(read).collect();
    read.ok_or_else(|| session.unexpected(SINGLE_ROWS, NO_TEXT))
}

/// Runs a statement of the proof, once the session is seen to have the settings of the proof.
pub(super) async fn ask(
    session: &mut Session,
    doing: &str,
    sql: &str,
    budget: Duration,
) -> Result<Vec<Row>, ServerError> {
    let mut sets = ask_all(session, doing, sql, 1, budget).await?;
    Ok(sets.pop().unwrap_or_default())
}

/// The same for several statements at once: so many sets of rows.
pub(super) async fn ask_all(
    session: &mut Session,
    doing: &str,
    sql: &str,
    count: usize,
    budget: Duration,
) -> Result<Vec<Vec<Row>>, ServerError> {
    let batch = format!("{}; {}{sql}", settings::ASK, session.mark());
    let mut sets = match session.batch(doing, &batch, budget).await {
        Err(e) if e.code() == Some(OUT_OF_RANGE) => return Err(session.unexpected(doing, NO_TEXT)),
        other => other?,
    };
    let own = if sets.is_empty() {
        None
    } else {
        Some(sets.remove(0))
    };
    settings::check(session, doing, own.as_ref())?;
    if sets.len() != count {
        let what = format!("{} answers to {count} statements", sets.len());
        return Err(session.unexpected(doing, &what));
    }
    Ok(sets)
}

pub(super) fn reads(of: &Expression) -> String {
    let reads: Vec<&str> = of.key.iter().map(|column| column.read.as_str()).collect();
    reads.join(", ")
}

pub(super) fn names(of: &Expression) -> String {
    let names: Vec<&str> = of.key.iter().map(|column| column.name.as_str()).collect();
    names.join(", ")
}
