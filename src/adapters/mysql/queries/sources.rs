//! The places in which blue remembers statements, one function for each. Everything is bounded: rows, bytes, time.

use std::time::Duration;

use mysql_async::Row;

use crate::adapters::mysql::columns::{text as named, text_at};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::quote;
use crate::adapters::mysql::session::Session;
use crate::domain::queries::candidates::{Sample, reads};

/// The longest that one question may take.
pub(super) const READ: Duration = Duration::from_secs(10);

/// The most bytes of an answer.
const MOST_BYTES: usize = 32 << 20;

/// The longest text of a statement that is taken.
const LONGEST: usize = 64 << 10;

/// Schemas whose statements are not the application's.
const NOT_OURS: &str = "'mysql', 'sys', 'performance_schema', 'information_schema', 'bleen'";

/// A statement of a digest, with the digest's name on that server.
pub(super) struct Digested {
    pub(super) sample: Sample,
    pub(super) digest: String,
    /// Its text was cut by the server.
    pub(super) cut: bool,
}

/// The most frequent and the most expensive reads of the statement digests. MySQL 8.0 and later: others keep no sample.
///
/// Newer versions count the runs of a prepared statement under a digest of its own, whose text begins with EXECUTE.
pub(super) async fn digests(session: &mut Session, top: u32) -> Result<Vec<Digested>, ServerError> {
    let mut found = Vec::new();
    for order in ["COUNT_STAR", "SUM_TIMER_WAIT"] {
        let sql = format!(
            "SELECT SCHEMA_NAME, QUERY_SAMPLE_TEXT, COUNT_STAR, SUM_TIMER_WAIT DIV 1000000, DIGEST, \
             LENGTH(QUERY_SAMPLE_TEXT) >= @@GLOBAL.performance_schema_max_sql_text_length OR QUERY_SAMPLE_TEXT LIKE '%...' \
             FROM performance_schema.events_statements_summary_by_digest \
             WHERE DIGEST IS NOT NULL AND QUERY_SAMPLE_TEXT IS NOT NULL \
             AND REGEXP_LIKE(DIGEST_TEXT, '^(EXECUTE )?(SELECT|WITH|[(]) ') \
             AND QUERY_SAMPLE_TEXT NOT LIKE '/* bleen %' AND COALESCE(SCHEMA_NAME, '') NOT IN ({NOT_OURS}) \
             ORDER BY {order} DESC LIMIT {top}"
        );
        let rows = ask(session, "read the statement digests", &sql).await?;
        for row in &rows {
            let digest = text_at(row, 4).unwrap_or_default();
            // The second list repeats much of the first.
            if found
                .iter()
                .any(|known: &Digested| known.digest == digest && known.sample.schema == text_at(row, 0))
            {
                continue;
            }
            let cut = text_at(row, 5).as_deref() == Some("1");
            found.push(Digested {
                sample: Sample {
                    text: text_at(row, 1).unwrap_or_default(),
                    schema: text_at(row, 0),
                    count: number(row, 2),
                    total: Duration::from_micros(number(row, 3)),
                    unusable: cut.then(|| CUT.to_owned()),
                },
                digest,
                cut,
            });
        }
    }
    Ok(found)
}

/// Why a cut text is not replayed.
const CUT: &str =
    "its text is cut: the server keeps performance_schema_max_sql_text_length bytes of a statement";

/// Texts of single runs, for digests whose sample lacks the values. They count nothing: the digests have counted them.
pub(super) async fn history(session: &mut Session) -> Result<Vec<Sample>, ServerError> {
    let mut found = Vec::new();
    for table in ["events_statements_history_long", "events_statements_history"] {
        let sql = format!(
            "SELECT CURRENT_SCHEMA, SQL_TEXT FROM performance_schema.{table} WHERE SQL_TEXT IS NOT NULL \
             AND LENGTH(SQL_TEXT) < @@GLOBAL.performance_schema_max_sql_text_length AND SQL_TEXT NOT LIKE '%...' \
             AND SQL_TEXT NOT LIKE '/* bleen %' AND COALESCE(CURRENT_SCHEMA, '') NOT IN ({NOT_OURS}) LIMIT 20000"
        );
        let rows = ask(session, "read the history of statements", &sql).await?;
        found.extend(rows.iter().filter_map(|row| {
            Some(Sample {
                schema: text_at(row, 0),
                text: text_at(row, 1).filter(|text| reads(text) && !text.contains('?'))?,
                count: 0,
                total: Duration::ZERO,
                unusable: None,
            })
        }));
    }
    Ok(found)
}

/// What runs right now, with whole texts: `counts` is the time that one look stands for.
pub(super) async fn running(session: &mut Session, counts: Duration) -> Result<Vec<Sample>, ServerError> {
    // Every version and family has this form, and no other shows whole texts everywhere.
    let rows = ask(session, "list what runs", "SHOW FULL PROCESSLIST").await?;
    let own = session.id().to_string();
    Ok(rows
        .iter()
        .filter(|row| named(row, "Id").as_deref() != Some(own.as_str()))
        .filter(|row| matches!(named(row, "Command").as_deref(), Some("Query" | "Execute")))
        .filter_map(|row| {
            Some(Sample {
                schema: named(row, "db"),
                text: named(row, "Info").filter(|text| usable(text))?,
                count: 1,
                total: counts,
                unusable: None,
            })
        })
        .collect())
}

/// The newest statements of the slow log, where it is kept in a table.
pub(super) async fn slow_log(session: &mut Session) -> Result<Vec<Sample>, ServerError> {
    let sql = format!(
        "SELECT db, sql_text, TIME_TO_SEC(query_time) * 1000000 + MICROSECOND(query_time) FROM mysql.slow_log \
         WHERE LENGTH(sql_text) <= {LONGEST} AND db NOT IN ({NOT_OURS}) ORDER BY start_time DESC LIMIT 5000"
    );
    let rows = ask(session, "read the slow log", &sql).await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            Some(Sample {
                schema: text_at(row, 0).filter(|schema| !schema.is_empty()),
                text: text_at(row, 1).filter(|text| usable(text))?,
                count: 1,
                total: Duration::from_micros(text_at(row, 2)?.parse::<f64>().ok()?.max(0.0) as u64),
                unusable: None,
            })
        })
        .collect())
}

fn usable(text: &str) -> bool {
    text.len() <= LONGEST && reads(text)
}

/// The server's own digest of a text, to find the digest whose sample was cut.
pub(super) async fn digest_of(
    session: &mut Session,
    schema: Option<&str>,
    text: &str,
) -> Result<Option<String>, ServerError> {
    // It reads the text as a statement, and refuses names without a schema when none is chosen.
    let choose = schema.map_or_else(String::new, |schema| {
        format!("USE {}; ", quote::identifier(schema))
    });
    let sql = format!("{choose}SELECT STATEMENT_DIGEST({})", quote::text(text));
    let rows = ask(session, "name a statement's digest", &sql).await?;
    Ok(rows.first().and_then(|row| text_at(row, 0)))
}

async fn ask(session: &mut Session, doing: &str, sql: &str) -> Result<Vec<Row>, ServerError> {
    let sets = session.batch_within(doing, sql, READ, MOST_BYTES).await?;
    Ok(sets.into_iter().next().unwrap_or_default())
}

fn number(row: &Row, at: usize) -> u64 {
    text_at(row, at).and_then(|text| text.parse().ok()).unwrap_or(0)
}
