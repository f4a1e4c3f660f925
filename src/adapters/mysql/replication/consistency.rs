//! Reads what both sides have, for [`crate::domain::consistency`] to judge, and says how to seed green if need be.

use std::time::Duration;

use crate::adapters::mysql::binlog_read;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::position_read::{gtid_list, gtid_set};
use crate::adapters::mysql::session::Session;
use crate::domain::capabilities::{Capabilities, PositionKind};
use crate::domain::consistency::Histories;
use crate::domain::identity::Identity;
use crate::domain::position::{FilePosition, GtidList};
use crate::domain::server::Family;

/// Schemas that every server has, and bleen's own. `test` counts only when it has tables.
const NOT_USER_SCHEMAS: &str = "'mysql', 'information_schema', 'performance_schema', 'sys', 'bleen'";

/// Reads the histories of both sides: green first, then blue.
///
/// # Errors
/// Any [`crate::adapters::mysql::error::Cause`] but one: a blue without binlog (1381) has no files.
pub async fn read(
    blue: &mut Session,
    green: &mut Session,
    kind: PositionKind,
    green_identity: &Identity,
    told_start: Option<FilePosition>,
    budget: Duration,
) -> Result<Histories, ServerError> {
    let mut seen = Histories {
        green_schemas: user_schemas(green, budget).await?,
        told_start,
        ..Histories::default()
    };
    let doing = "read what green has";
    let mut green_state = GtidListByServer::default();
    match kind {
        PositionKind::GtidSet => {
            let sql = "SELECT @@GLOBAL.gtid_executed";
            let executed: String = green.one(doing, sql, budget).await?;
            seen.green_executed = gtid_set(green, doing, &executed)?;
        }
        PositionKind::GtidList => {
            let sql = "SELECT @@GLOBAL.gtid_slave_pos, @@GLOBAL.gtid_binlog_state";
            let (applied, state): (Option<String>, Option<String>) = green.one(doing, sql, budget).await?;
            seen.green_applied = gtid_list(green, doing, &applied.unwrap_or_default())?;
            green_state = GtidListByServer::parse(&state.unwrap_or_default());
        }
        PositionKind::File => {}
    }
    let doing = "read what blue has";
    seen.blue_files = binlog_files(blue, budget).await?;
    match kind {
        PositionKind::GtidSet => {
            let sql = "SELECT @@GLOBAL.gtid_purged, @@GLOBAL.gtid_executed";
            let (purged, executed): (String, String) = blue.one(doing, sql, budget).await?;
            seen.blue_purged = gtid_set(blue, doing, &purged)?;
            seen.blue_executed = gtid_set(blue, doing, &executed)?;
        }
        PositionKind::GtidList => {
            let sql = "SELECT @@GLOBAL.gtid_binlog_pos, @@GLOBAL.gtid_binlog_state";
            let (written, state): (Option<String>, Option<String>) = blue.one(doing, sql, budget).await?;
            seen.blue_written = gtid_list(blue, doing, &written.unwrap_or_default())?;
            let blue_state = GtidListByServer::parse(&state.unwrap_or_default());
            seen.green_own = green_state.of_server_beyond(green_identity.server_id, &blue_state);
            if let Some(oldest) = seen.blue_files.first().cloned() {
                seen.blue_oldest = first_list(blue, &oldest, budget).await?;
            }
        }
        PositionKind::File => {}
    }
    Ok(seen)
}

/// MariaDB's `gtid_binlog_state`: the last transaction of each domain *and* server.
#[derive(Debug, Default)]
struct GtidListByServer(Vec<(u32, u32, u64)>);

impl GtidListByServer {
    fn parse(text: &str) -> Self {
        let entry = |part: &str| {
            let mut fields = part.trim().split('-');
            Some((
                fields.next()?.parse().ok()?,
                fields.next()?.parse().ok()?,
                fields.next()?.parse().ok()?,
            ))
        };
        Self(text.split(',').filter_map(entry).collect())
    }

    /// Transactions written by that server, domain by domain, that `other` does not have.
    fn of_server_beyond(&self, server: u32, other: &Self) -> Vec<String> {
        let known = |domain: u32| {
            let same = other.0.iter().filter(|(d, s, _)| (*d, *s) == (domain, server));
            same.map(|(_, _, n)| *n).max().unwrap_or(0)
        };
        self.0
            .iter()
            .filter(|(d, s, n)| *s == server && *n > known(*d))
            .map(|(d, s, n)| format!("{d}-{s}-{n}"))
            .collect()
    }
}

/// User schemas that have tables, with their number; at most twenty.
async fn user_schemas(session: &mut Session, budget: Duration) -> Result<Vec<String>, ServerError> {
    let sql = format!(
        "SELECT table_schema AS a, COUNT(*) AS b FROM information_schema.tables WHERE table_schema NOT IN \
         ({NOT_USER_SCHEMAS}) GROUP BY table_schema ORDER BY table_schema LIMIT 20"
    );
    let rows: Vec<(String, u64)> = session.rows("list the user schemas", &sql, budget).await?;
    let said = |(schema, tables)| format!("{schema} ({tables} table{})", if tables == 1 { "" } else { "s" });
    Ok(rows.into_iter().map(said).collect())
}

/// The binlog files that a server still has, oldest first; none if it writes no binlog.
///
/// # Errors
/// Any [`crate::adapters::mysql::error::Cause`] but 1381 (no binlog).
pub async fn binlog_files(session: &mut Session, budget: Duration) -> Result<Vec<String>, ServerError> {
    match binlog_read::files(session, "list the binlog files", budget).await {
        Err(e) if e.code() == Some(1381) => Ok(Vec::new()),
        other => other,
    }
}

/// Where a MariaDB binlog file begins: its GTID list event, among the first few.
async fn first_list(session: &mut Session, file: &str, budget: Duration) -> Result<GtidList, ServerError> {
    let doing = "read where the oldest binlog file begins";
    match binlog_read::gtids_before(session, doing, file, budget).await? {
        Some(list) => gtid_list(session, doing, &list),
        None => Err(session.unexpected(
            doing,
            &format!("`{file}` has no GTID list among its first events"),
        )),
    }
}

/// How to give green a copy of blue whose place in blue's history is known: commands for a person, with addresses and
/// without passwords.
#[must_use]
pub fn how_to_seed(
    blue: &Capabilities,
    green: &Capabilities,
    blue_address: &str,
    green_address: &str,
) -> String {
    let kind = Capabilities::pair_position_kind(blue, green);
    let same_series = blue.family() == green.family()
        && blue.version.number.0 == green.version.number.0
        && blue.version.number.1 == green.version.number.1;
    let (dump, place) = match (blue.family(), kind) {
        (Family::MySql, PositionKind::GtidSet) => ("mysqldump", "--set-gtid-purged=ON"),
        (Family::MySql, _) => ("mysqldump", "--set-gtid-purged=OFF --master-data=2"),
        (Family::MariaDb, PositionKind::GtidList) => ("mariadb-dump", "--gtid --master-data=1"),
        (Family::MariaDb, _) => ("mariadb-dump", "--master-data=2"),
    };
    let client = match green.family() {
        Family::MySql => "mysql",
        Family::MariaDb => "mariadb",
    };
    let mut text = format!(
        "Give green a copy of blue ({blue_address}) in one of these ways, then run `prepare` again:\n\
         - logical, any versions: `{dump} --host BLUE --port PORT --user USER --password --single-transaction \
         --routines --events --triggers --hex-blob {place} --databases SCHEMA... | {client} --host GREEN --port PORT \
         --user USER --password` (green is {green_address})\n"
    );
    match (kind, blue.family()) {
        (PositionKind::GtidSet, _) => text.push_str(
            "  green's gtid_executed must be empty before (`RESET BINARY LOGS AND GTIDS`, before 8.2 `RESET MASTER`)\n",
        ),
        (PositionKind::GtidList, _) => {
            text.push_str("  the dump sets gtid_slave_pos on green; look that it did\n");
        }
        (PositionKind::File, _) => text.push_str(
            "  the head of the dump says the binlog file and offset; the playbook's replication start takes them\n",
        ),
    }
    match (same_series, blue.family()) {
        (true, Family::MySql) if blue.version.is_mysql_from((8, 0, 17)) => text.push_str(
            "- physical, same series: on green `INSTALL PLUGIN clone SONAME 'mysql_clone.so'; SET GLOBAL \
             clone_valid_donor_list = 'BLUE:PORT'; CLONE INSTANCE FROM 'USER'@'BLUE':PORT IDENTIFIED BY 'PASSWORD';` \
             (green is replaced and restarts; it then knows its GTIDs)\n",
        ),
        (true, Family::MariaDb) => text.push_str(
            "- physical, same series: `mariadb-backup --backup --target-dir DIR` on blue, `mariadb-backup --prepare`, \
             copied back on green; then `SET GLOBAL gtid_slave_pos = '...'` from DIR/xtrabackup_binlog_info\n",
        ),
        _ => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::capabilities::tests::known;

    #[test]
    fn own_writes_are_those_that_the_other_side_never_saw() {
        let green = GtidListByServer::parse("0-2-61,0-1-60,7-2-3");
        let blue = GtidListByServer::parse("0-1-100,7-2-3,7-1-9");
        assert_eq!(green.of_server_beyond(2, &blue), ["0-2-61"]);
        assert!(green.of_server_beyond(3, &blue).is_empty());
    }

    #[test]
    fn the_way_to_seed_fits_the_pair() {
        let said = |blue, green| how_to_seed(&known(blue), &known(green), "b:1", "g:2");
        assert!(said("mysql-9.7", "mysql-9.7").contains("CLONE INSTANCE"));
        assert!(said("mysql-5.6", "mysql-9.7").contains("--set-gtid-purged=ON"));
        assert!(!said("mysql-5.6", "mysql-9.7").contains("CLONE"));
        assert!(said("mariadb-11.8", "mariadb-11.8").contains("gtid_slave_pos"));
        assert!(said("mysql-5.6", "mariadb-11.8").contains("| mariadb "));
    }
}
