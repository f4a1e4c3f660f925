//! The statements whose words differ between servers, chosen by [`Capabilities`] and nothing else.
//!
//! Must not know a session: every function here turns a plain value into text.

use crate::domain::capabilities::{Capabilities, GtidWait, ProcessList, StatementLimit, Words};
use crate::domain::position::{FilePosition, Position};

use super::quote;

/// `SHOW REPLICA STATUS` and its older form.
#[must_use]
pub fn show_replica_status(caps: &Capabilities) -> &'static str {
    match caps.replica {
        Words::New => "SHOW REPLICA STATUS",
        Words::Old => "SHOW SLAVE STATUS",
    }
}

/// `START REPLICA` and its older form.
#[must_use]
pub fn start_replica(caps: &Capabilities) -> &'static str {
    match caps.replica {
        Words::New => "START REPLICA",
        Words::Old => "START SLAVE",
    }
}

/// `STOP REPLICA` and its older form.
#[must_use]
pub fn stop_replica(caps: &Capabilities) -> &'static str {
    match caps.replica {
        Words::New => "STOP REPLICA",
        Words::Old => "STOP SLAVE",
    }
}

/// `STOP REPLICA SQL_THREAD` and its older form: the applier only.
#[must_use]
pub fn stop_applier(caps: &Capabilities) -> &'static str {
    match caps.replica {
        Words::New => "STOP REPLICA SQL_THREAD",
        Words::Old => "STOP SLAVE SQL_THREAD",
    }
}

/// `START REPLICA SQL_THREAD` and its older form: the applier only.
#[must_use]
pub fn start_applier(caps: &Capabilities) -> &'static str {
    match caps.replica {
        Words::New => "START REPLICA SQL_THREAD",
        Words::Old => "START SLAVE SQL_THREAD",
    }
}

/// `RESET REPLICA ALL` and its older form: forgets the source and throws the relay log away.
#[must_use]
pub fn reset_replica_all(caps: &Capabilities) -> &'static str {
    match caps.replica {
        Words::New => "RESET REPLICA ALL",
        Words::Old => "RESET SLAVE ALL",
    }
}

/// The statement that shows the binlog's file and offset, in its first two columns.
#[must_use]
pub fn binlog_status(caps: &Capabilities) -> &'static str {
    match caps.binlog_status {
        Words::New => "SHOW BINARY LOG STATUS",
        Words::Old => "SHOW MASTER STATUS",
    }
}

/// The variable that makes a replica write what it applies to its own binlog.
#[must_use]
pub fn log_replica_updates(caps: &Capabilities) -> &'static str {
    match caps.replica_variables {
        Words::New => "log_replica_updates",
        Words::Old => "log_slave_updates",
    }
}

/// The variable that keeps replication from starting with the server.
#[must_use]
pub fn skip_replica_start(caps: &Capabilities) -> &'static str {
    match caps.replica_variables {
        Words::New => "skip_replica_start",
        Words::Old => "skip_slave_start",
    }
}

/// The table that lists sessions; both have `ID`, `USER`, `HOST`, `DB`, `COMMAND`, `TIME` (seconds), `STATE`, `INFO`.
#[must_use]
pub fn process_list(caps: &Capabilities) -> &'static str {
    match caps.process_list {
        ProcessList::PerformanceSchema => "performance_schema.processlist",
        ProcessList::InformationSchema => "information_schema.processlist",
    }
}

/// The statement that gives the session a time limit of the server's own, if the server has one.
///
/// A limit under a millisecond is rounded up: 0 would mean none.
#[must_use]
pub fn limit_statements(caps: &Capabilities, limit: std::time::Duration) -> Option<String> {
    let millis = limit.as_millis().max(1);
    match caps.statement_limit {
        StatementLimit::MaxExecutionTime => Some(format!("SET SESSION max_execution_time = {millis}")),
        StatementLimit::MaxStatementTime => Some(format!(
            "SET SESSION max_statement_time = {}.{:03}",
            millis / 1000,
            millis % 1000
        )),
        StatementLimit::None => None,
    }
}

/// The expression that blocks until a replica has executed `position`, or `seconds` have passed.
///
/// Its value: see `position_read::wait_applied`, which knows what each function answers.
#[must_use]
pub fn wait_expression(caps: &Capabilities, position: &Position, seconds: f64) -> Option<String> {
    match position {
        Position::GtidSet(set) => {
            let set = quote::text(&set.to_string());
            match caps.gtid_wait? {
                GtidWait::ExecutedGtidSet => Some(format!("WAIT_FOR_EXECUTED_GTID_SET({set}, {seconds:.3})")),
                // 5.6 takes whole seconds only, and 0 means without end.
                GtidWait::SqlThreadAfterGtids => Some(format!(
                    "WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS({set}, {:.0})",
                    seconds.ceil().max(1.0)
                )),
                GtidWait::MariaDb => None,
            }
        }
        Position::GtidList(list) => match caps.gtid_wait? {
            GtidWait::MariaDb => Some(format!(
                "MASTER_GTID_WAIT({}, {seconds:.3})",
                quote::text(&list.to_string())
            )),
            _ => None,
        },
        Position::File(FilePosition { file, offset }) => {
            let (name, seconds) = match caps.file_wait {
                Words::New => ("SOURCE_POS_WAIT", seconds),
                // Older servers take whole seconds only, and 0 means without end.
                Words::Old => ("MASTER_POS_WAIT", seconds.ceil().max(1.0)),
            };
            Some(format!("{name}({}, {offset}, {seconds})", quote::text(file)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::capabilities::tests::known;
    use crate::domain::position::{GtidList, GtidSet};

    #[test]
    fn the_wait_is_the_one_that_the_server_has() {
        let set = Position::GtidSet(GtidSet::parse("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5").unwrap());
        let list = Position::GtidList(GtidList::parse("0-1-7").unwrap());
        let file = Position::File(FilePosition {
            file: "binlog.000001".into(),
            offset: 4,
        });
        let text = |server, position: &Position| wait_expression(&known(server), position, 1.25);
        assert_eq!(
            text("mysql-9.7", &set).unwrap(),
            "WAIT_FOR_EXECUTED_GTID_SET('3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5', 1.250)"
        );
        assert_eq!(
            text("mysql-5.6", &set).unwrap(),
            "WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS('3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5', 2)"
        );
        assert_eq!(
            text("mariadb-11.8", &list).unwrap(),
            "MASTER_GTID_WAIT('0-1-7', 1.250)"
        );
        assert_eq!(text("mariadb-11.8", &set), None);
        assert_eq!(text("mysql-5.6-file", &set), None);
        assert_eq!(
            text("mysql-9.7", &file).unwrap(),
            "SOURCE_POS_WAIT('binlog.000001', 4, 1.25)"
        );
        assert_eq!(
            text("mariadb-11.8", &file).unwrap(),
            "MASTER_POS_WAIT('binlog.000001', 4, 2)"
        );
    }

    #[test]
    fn a_limit_is_never_none_by_rounding() {
        let limit =
            |server, micros| limit_statements(&known(server), std::time::Duration::from_micros(micros));
        assert_eq!(
            limit("mysql-9.7", 10).unwrap(),
            "SET SESSION max_execution_time = 1"
        );
        assert_eq!(
            limit("mariadb-11.8", 2_050_000).unwrap(),
            "SET SESSION max_statement_time = 2.050"
        );
        assert_eq!(limit("mysql-5.6", 10), None);
    }
}
