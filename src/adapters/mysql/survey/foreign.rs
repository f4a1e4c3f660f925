//! Reads from a follower's binlog what the first transactions did that the server it follows has not executed.

use super::Surveyor;
use crate::adapters::mysql::binlog_read;
use crate::adapters::mysql::error::ServerError;
use crate::domain::binlog_events::{BinlogEvent, Stretch, classify};
use crate::domain::guardrails::facts::Positions;
use crate::domain::guardrails::masked;
use crate::domain::position::FilePosition;

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
        let files = binlog_read::files(&mut self.session, DOING, self.budget).await?;
        let mut first = files.len().saturating_sub(1);
        while first > 0 && self.begins_after_some(files.get(first), other_side).await? {
            first -= 1;
        }
        let from = files.get(first).map(|file| FilePosition {
            file: file.clone(),
            offset: binlog_read::FIRST_OFFSET,
        });
        let mut seen = Reading::default();
        let stretch = from.and_then(|from| binlog_read::Events::from(files, &from));
        let Some(mut stretch) = stretch else {
            return Ok(seen.texts);
        };
        for _ in 0..MOST_PAGES {
            let page = stretch.next(&mut self.session, DOING, PAGE, self.budget).await?;
            let Some(events) = page else { break };
            for event in &events {
                seen.take(event, other_side);
            }
            if seen.texts.len() > SHOWN {
                break;
            }
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
        let before = binlog_read::gtids_before(&mut self.session, DOING, file, self.budget).await?;
        Ok(before.is_some_and(|list| other_side.lacks(&list)))
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
