//! Where blue stands, as part of a batch: every round trip under the hold is downtime, so the position comes with what
//! else is asked there.

use mysql_async::Row;

use super::{Inner, Settings};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::session::Session;
use crate::adapters::mysql::{columns, sql};
use crate::domain::capabilities::PositionKind;
use crate::domain::position::{FilePosition, GtidList, GtidSet, Position};

/// Where a writer stands, in the pair's words and in its own binlog's.
#[derive(Debug, Clone)]
pub(super) struct Stands {
    pub position: Position,
    pub file: FilePosition,
}

/// Two statements; the answer is two result sets.
pub(super) fn question(inner: &Inner) -> String {
    question_of(&inner.settings)
}

/// As [`question`], for a plan.
pub(super) fn question_of(settings: &Settings) -> String {
    let caps = &settings.blue.caps;
    let executed = match settings.position_kind() {
        PositionKind::GtidSet => "SELECT @@GLOBAL.gtid_executed",
        PositionKind::GtidList => "SELECT @@GLOBAL.gtid_binlog_pos",
        PositionKind::File => "SELECT ''",
    };
    format!("{}; {executed}", sql::binlog_status(caps))
}

/// Reads the two result sets.
pub(super) fn answer(inner: &Inner, session: &Session, sets: &[Vec<Row>]) -> Result<Stands, ServerError> {
    let doing = "read blue's position";
    let row = |i: usize| sets.get(i).and_then(|rows| rows.first());
    let status = row(0).ok_or_else(|| session.unexpected(doing, "the server writes no binlog"))?;
    let (Some(file), Some(offset)) = (columns::text_at(status, 0), columns::text_at(status, 1)) else {
        return Err(session.unexpected(doing, "a binlog status without file and offset"));
    };
    let offset = offset.parse().map_err(|_| session.unexpected(doing, &offset))?;
    let file = FilePosition { file, offset };
    let text = row(1).and_then(|r| columns::text_at(r, 0)).unwrap_or_default();
    let wrong = |e: crate::domain::position::NotAPosition| session.unexpected(doing, &e.to_string());
    let position = match inner.settings.position_kind() {
        PositionKind::GtidSet => Position::GtidSet(GtidSet::parse(&text).map_err(wrong)?),
        PositionKind::GtidList => Position::GtidList(GtidList::parse(&text).map_err(wrong)?),
        PositionKind::File => Position::File(file.clone()),
    };
    Ok(Stands { position, file })
}
