//! Whether blue could follow green.

use super::*;
use Family::{MariaDb, MySql};
use Scope::{Doctor, Hold, Prepare};

pub(super) fn cases() -> Vec<Case> {
    vec![
        stop(
            MySql,
            Doctor,
            Id::REVERSE_PATH,
            "log_replica_updates is OFF on blue",
            |s| {
                wanted(s);
                setting(&mut s.blue, "log_replica_updates", "OFF");
            },
        ),
        stop(
            MariaDb,
            Prepare,
            Id::REVERSE_PATH,
            "blue follows upstream:3306",
            |s| {
                wanted(s);
                let mut other = channel(false);
                other.source_host = "upstream".into();
                other.source_server_id = Some(77);
                s.blue.channels = Known::Known(vec![other]);
            },
        ),
        fine(MariaDb, Prepare, Id::REVERSE_PATH, |s| {
            wanted(s);
            let mut green = channel(false);
            green.source_server_id = Some(2);
            s.blue.channels = Known::Known(vec![green]);
        }),
        stop(
            MySql,
            Hold,
            Id::REVERSE_PATH,
            "does not know its default collation",
            |s| {
                wanted(s);
                version(&mut s.blue, "5.7.44");
            },
        ),
        warn(
            MySql,
            Doctor,
            Id::REVERSE_PATH,
            "does not know its default collation",
            |s| {
                version(&mut s.blue, "5.7.44");
            },
        ),
        stop(
            MySql,
            Hold,
            Id::REVERSE_PATH,
            "gtid_mode is ON on green and not on blue",
            |s| {
                wanted(s);
                setting(&mut s.green, "gtid_mode", "ON");
                setting(&mut s.blue, "gtid_mode", "OFF");
            },
        ),
        stop(MySql, Doctor, Id::REVERSE_PATH, "compresses its binlog", |s| {
            wanted(s);
            version(&mut s.blue, "8.0.19");
            setting(&mut s.green, "binlog_transaction_compression", "ON");
        }),
        warn(MariaDb, Doctor, Id::REVERSE_PATH, "is newer than blue", |s| {
            wanted(s);
            version(&mut s.blue, "10.11.18-MariaDB");
            version(&mut s.green, "11.8.9-MariaDB");
        }),
        stop(
            MySql,
            Doctor,
            Id::REVERSE_PATH,
            "the families' binlogs differ",
            |s| {
                wanted(s);
                version(&mut s.green, "11.8.9-MariaDB");
            },
        ),
    ]
}

fn wanted(survey: &mut Survey) {
    survey.limits.way_back = true;
}

#[test]
fn blue_follows_green_or_it_is_said_why_not() {
    hold(&cases());
}
