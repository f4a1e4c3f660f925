//! Reads from a follower's binlog what the first transactions did that the server it follows has not executed.

use mysql_async::Row;

use super::Surveyor;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::{columns, quote};
use crate::domain::binlog_events::{BinlogEvent, Stretch, classify};
use crate::domain::guardrails::facts::Positions;
use crate::domain::guardrails::masked;

const DOING: &str = "read the binlog for what the other side has not executed";

/// Transactions that are shown.
const SHOWN: usize = 3;
/// Events that are read at once.
const PAGE: usize = 2_000;
/// Pages that are read at most: the file where the first of them stands is looked up first.
const MOST_PAGES: usize = 25;

impl Surveyor {
    /// What the first transactions of this side's binlog did that the other side lacks, one text each. Empty if the
    /// binlog no longer holds them, or not within a bounded number of events.
    pub(super) async fn foreign_statements(
        &mut self,
        other_side: &Positions,
    ) -> Result<Vec<String>, ServerError> {
        let rows = self.ask(DOING, "SHOW BINARY LOGS").await?;
        let files: Vec<String> = rows.iter().map(|row| super::text(row, 0)).collect();
        let mut first = files.len().saturating_sub(1);
        while first > 0 && self.begins_after_some(files.get(first), other_side).await? {
            first -= 1;
        }
        let mut files = files.into_iter().skip(first);
        let mut at = files.next().map(|file| (file, 4));
        let mut seen = Reading::default();
        for _ in 0..MOST_PAGES {
            let Some((file, offset)) = at else { break };
            let (events, end) = self.binlog_events(&file, offset, PAGE).await?;
            for event in &events {
                seen.take(event, other_side);
            }
            if seen.texts.len() > SHOWN {
                break;
            }
            at = match end.filter(|_| events.len() == PAGE) {
                Some(end) => Some((file, end)),
                None => files.next().map(|file| (file, 4)),
            };
        }
        seen.texts.truncate(SHOWN);
        Ok(seen.texts)
    }

    /// Whether a file begins after a transaction that the other side lacks: its head lists what came before.
    async fn begins_after_some(
        &mut self,
        file: Option<&String>,
        other_side: &Positions,
    ) -> Result<bool, ServerError> {
        let Some(file) = file else { return Ok(false) };
        let (events, _) = self.binlog_events(file, 4, 4).await?;
        let list = events
            .iter()
            .find(|e| e.kind == "Previous_gtids" || e.kind == "Gtid_list");
        Ok(list.is_some_and(|e| other_side.lacks(e.info.trim_matches(['[', ']', ' ']))))
    }

    /// Events of a file, and where the last of them ends.
    async fn binlog_events(
        &mut self,
        file: &str,
        offset: u64,
        most: usize,
    ) -> Result<(Vec<BinlogEvent>, Option<u64>), ServerError> {
        let sql = format!(
            "SHOW BINLOG EVENTS IN {} FROM {offset} LIMIT {most}",
            quote::text(file)
        );
        let rows: Vec<Row> = self.session.rows(DOING, &sql, self.budget).await?;
        let text = |row: &Row, at| columns::text_at(row, at).unwrap_or_default();
        let event = |row: &Row| BinlogEvent {
            file: text(row, 0),
            offset: text(row, 1).parse().unwrap_or(0),
            kind: text(row, 2),
            server_id: text(row, 3).parse().unwrap_or(0),
            info: text(row, 5),
        };
        let end = rows.last().and_then(|row| text(row, 4).parse().ok());
        Ok((rows.iter().map(event).collect(), end))
    }
}

/// What was found while events go by.
#[derive(Default)]
struct Reading {
    texts: Vec<String>,
    /// The transaction whose events go by, if it is a foreign one.
    foreign: Option<String>,
    table: String,
}

impl Reading {
    fn take(&mut self, event: &BinlogEvent, other_side: &Positions) {
        if let Some(gtid) = gtid_of(event) {
            self.foreign = other_side.lacks(gtid).then(|| gtid.to_owned());
            return;
        }
        let Some(gtid) = &self.foreign else { return };
        let what = match event.kind.as_str() {
            // The statement itself, where the server was told to write it down.
            "Annotate_rows" | "Rows_query" => masked(event.info.trim_start_matches(['#', ' '])),
            "Table_map" => {
                self.table = event
                    .info
                    .split_once('(')
                    .map_or("", |(_, name)| name.trim_end_matches(')'))
                    .to_owned();
                return;
            }
            _ if classify(std::slice::from_ref(event)) == Stretch::NoRows => return,
            "Query" => masked(&event.info),
            kind => format!("{kind} on {}", self.table),
        };
        self.texts.push(format!("{gtid}: {what}"));
        // One text says enough of a transaction.
        self.foreign = None;
    }
}

/// The GTID that an event announces: MySQL `SET @@SESSION.GTID_NEXT= 'uuid:5'`, MariaDB `BEGIN GTID 0-2-5`.
fn gtid_of(event: &BinlogEvent) -> Option<&str> {
    if !matches!(event.kind.as_str(), "Gtid" | "Gtid_tagged_log_event") {
        return None;
    }
    let mysql = event.info.split('\'').nth(1);
    let mariadb = || event.info.split_once("GTID ")?.1.split_whitespace().next();
    mysql.or_else(mariadb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::guardrails::Known;

    #[test]
    fn each_foreign_transaction_gives_one_text() {
        let other_side = Positions::MariaDb {
            binlog_state: vec![(0, 1, 7)],
            replica_pos: Vec::new(),
            purged: Known::default(),
        };
        let mut seen = Reading::default();
        for (kind, info) in [
            ("Gtid", "BEGIN GTID 0-1-7"),
            ("Annotate_rows", "INSERT INTO d.t VALUES (1)"),
            ("Gtid", "BEGIN GTID 0-2-8"),
            ("Table_map", "table_id: 25 (d.t)"),
            ("Write_rows_v1", "table_id: 25 flags: STMT_END_F"),
            ("Write_rows_v1", "table_id: 25 flags: STMT_END_F"),
            ("Xid", "COMMIT /* xid=42 */"),
            ("Gtid", "GTID 0-2-9"),
            ("Query", "use `d`; CREATE USER a IDENTIFIED BY 'secret'"),
        ] {
            let event = BinlogEvent {
                file: "binlog.000001".into(),
                offset: 4,
                kind: kind.into(),
                server_id: 2,
                info: info.into(),
            };
            seen.take(&event, &other_side);
        }
        assert_eq!(
            seen.texts,
            [
                "0-2-8: Write_rows_v1 on d.t",
                "0-2-9: use `d`; CREATE USER a IDENTIFIED BY '…'"
            ]
        );
    }
}
