//! Where blue stands, as part of a batch: every round trip under the hold is downtime, so the position comes with what
//! else is asked there.

use mysql_async::Row;

use super::{Inner, Settings};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::session::Session;
use crate::adapters::mysql::{columns, sql};
use crate::domain::capabilities::PositionKind;
use crate::domain::position::{FilePosition, GtidList, GtidSet, Position};

const DOING: &str = "read blue's position";

/// Where a writer stands, in the pair's words and in its own binlog's.
#[derive(Debug, Clone)]
pub(super) struct Stands {
    pub position: Position,
    pub file: FilePosition,
}

/// One statement where its answer tells all, else two; as many result sets.
pub(super) fn question(inner: &Inner) -> String {
    question_of(&inner.settings)
}

/// As [`question`], for a plan.
pub(super) fn question_of(settings: &Settings) -> String {
    let status = sql::binlog_status(&settings.blue.caps);
    match settings.position_kind() {
        // MySQL's status has the executed set as a column.
        PositionKind::GtidSet | PositionKind::File => status.to_owned(),
        PositionKind::GtidList => format!("{status}; SELECT @@GLOBAL.gtid_binlog_pos"),
    }
}

/// Reads the result sets.
pub(super) fn answer(inner: &Inner, session: &Session, sets: &[Vec<Row>]) -> Result<Stands, ServerError> {
    let row = |i: usize| sets.get(i).and_then(|rows| rows.first());
    let file = file(session, row(0))?;
    let set = || row(0).and_then(|status| columns::text(status, "Executed_Gtid_Set"));
    let list = || row(1).and_then(|r| columns::text_at(r, 0));
    let wrong = |e: crate::domain::position::NotAPosition| session.unexpected(DOING, &e.to_string());
    let position = match inner.settings.position_kind() {
        PositionKind::GtidSet => {
            Position::GtidSet(GtidSet::parse(&set().unwrap_or_default()).map_err(wrong)?)
        }
        PositionKind::GtidList => {
            Position::GtidList(GtidList::parse(&list().unwrap_or_default()).map_err(wrong)?)
        }
        PositionKind::File => Position::File(file.clone()),
    };
    Ok(Stands { position, file })
}

/// The end of a SELECT that tells where blue stands now, without its place in the binlog where that is not needed.
pub(super) fn now_question(settings: &Settings) -> String {
    match settings.position_kind() {
        PositionKind::GtidSet => "@@GLOBAL.gtid_executed".to_owned(),
        PositionKind::GtidList => "@@GLOBAL.gtid_binlog_pos".to_owned(),
        PositionKind::File => format!("1; {}", sql::binlog_status(&settings.blue.caps)),
    }
}

/// Reads that from the second column of `row`, or from the row of the binlog status.
pub(super) fn now(
    inner: &Inner,
    session: &Session,
    row: &Row,
    status: Option<&Row>,
) -> Result<Position, ServerError> {
    let text = || columns::text_at(row, 1).unwrap_or_default();
    let wrong = |e: crate::domain::position::NotAPosition| session.unexpected(DOING, &e.to_string());
    Ok(match inner.settings.position_kind() {
        PositionKind::GtidSet => Position::GtidSet(GtidSet::parse(&text()).map_err(wrong)?),
        PositionKind::GtidList => Position::GtidList(GtidList::parse(&text()).map_err(wrong)?),
        PositionKind::File => Position::File(file(session, status)?),
    })
}

fn file(session: &Session, status: Option<&Row>) -> Result<FilePosition, ServerError> {
    let status = status.ok_or_else(|| session.unexpected(DOING, "the server writes no binlog"))?;
    let (Some(file), Some(offset)) = (columns::text_at(status, 0), columns::text_at(status, 1)) else {
        return Err(session.unexpected(DOING, "a binlog status without file and offset"));
    };
    let offset = offset.parse().map_err(|_| session.unexpected(DOING, &offset))?;
    Ok(FilePosition { file, offset })
}
