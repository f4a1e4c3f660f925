//! Events of a server's own binlog, as `SHOW BINLOG EVENTS` lists them: a page at a time, over the end of a file into the
//! next ones.
//!
//! Must not know what they mean: [`crate::domain::binlog_events`] and the callers do.

use std::time::Duration;
use std::vec::IntoIter;

use mysql_async::Row;

use super::columns::text_at;
use super::error::ServerError;
use super::quote;
use super::session::Session;
use crate::domain::binlog_events::BinlogEvent;
use crate::domain::position::FilePosition;

/// Where the first event of every binlog file begins, in bytes.
pub const FIRST_OFFSET: u64 = 4;

/// Events among which the list of what came before a file stands.
const HEAD: usize = 4;

/// The binlog files that a server still has, oldest first.
///
/// # Errors
/// Any [`super::error::Cause`]; 1381 if it writes no binlog.
pub async fn files(session: &mut Session, doing: &str, budget: Duration) -> Result<Vec<String>, ServerError> {
    let rows: Vec<Row> = session.rows(doing, "SHOW BINARY LOGS", budget).await?;
    Ok(rows.iter().filter_map(|row| text_at(row, 0)).collect())
}

/// The GTIDs that came before a file, as its head lists them: `Gtid_list` of MariaDB, `Previous_gtids` of MySQL. `None` if
/// it lists none.
///
/// # Errors
/// Any [`super::error::Cause`].
pub async fn gtids_before(
    session: &mut Session,
    doing: &str,
    file: &str,
    budget: Duration,
) -> Result<Option<String>, ServerError> {
    let at = FilePosition {
        file: file.to_owned(),
        offset: FIRST_OFFSET,
    };
    let (events, _) = page(session, doing, &at, HEAD, budget).await?;
    let is_list = |event: &&BinlogEvent| matches!(event.kind.as_str(), "Gtid_list" | "Previous_gtids");
    let list = events.iter().find(is_list);
    Ok(list.map(|event| event.info.trim_matches(['[', ']', ' ']).to_owned()))
}

/// Goes through the events from a place on.
pub struct Events {
    later_files: IntoIter<String>,
    at: Option<FilePosition>,
}

impl Events {
    /// From a place in one of the server's `files`, oldest first; `None` if that file is not among them.
    #[must_use]
    pub fn from(files: Vec<String>, from: &FilePosition) -> Option<Self> {
        let mut later_files = files.into_iter();
        later_files.find(|file| *file == from.file).map(|_| Self {
            later_files,
            at: Some(from.clone()),
        })
    }

    /// The next events, at most `most`, all of one file; none of them if that file has no more. `None` behind the last
    /// file.
    ///
    /// # Errors
    /// Any [`super::error::Cause`].
    pub async fn next(
        &mut self,
        session: &mut Session,
        doing: &str,
        most: usize,
        budget: Duration,
    ) -> Result<Option<Vec<BinlogEvent>>, ServerError> {
        let Some(at) = self.at.take() else { return Ok(None) };
        let (events, end) = page(session, doing, &at, most, budget).await?;
        self.at = match end {
            Some(offset) => Some(FilePosition { offset, ..at }),
            None => self.later_files.next().map(|file| FilePosition {
                file,
                offset: FIRST_OFFSET,
            }),
        };
        Ok(Some(events))
    }
}

/// Events from a place on, at most `most`, and where the next one begins if there may be more in that file.
async fn page(
    session: &mut Session,
    doing: &str,
    from: &FilePosition,
    most: usize,
    budget: Duration,
) -> Result<(Vec<BinlogEvent>, Option<u64>), ServerError> {
    let sql = format!(
        "SHOW BINLOG EVENTS IN {} FROM {} LIMIT {most}",
        quote::text(&from.file),
        from.offset
    );
    let rows: Vec<Row> = session.rows(doing, &sql, budget).await?;
    let text = |row: &Row, at| text_at(row, at).unwrap_or_default();
    let event = |row: &Row| BinlogEvent {
        file: text(row, 0),
        offset: text(row, 1).parse().unwrap_or(0),
        kind: text(row, 2),
        server_id: text(row, 3).parse().unwrap_or(0),
        info: text(row, 5),
    };
    let end = match rows.last().filter(|_| rows.len() == most) {
        None => None,
        Some(last) => match text(last, 4).parse() {
            Ok(end) => Some(end),
            Err(_) => return Err(session.unexpected(doing, "an event without an end")),
        },
    };
    Ok((rows.iter().map(event).collect(), end))
}
