//! Binlogs, GTIDs, replication, and who else follows.

use super::*;
use crate::domain::guardrails::facts::{READER_HOST, ReplicaFact};
use crate::domain::replication::ReplicaError;
use Family::{MariaDb, MySql};
use Scope::{After, Doctor, Hold, Prepare};

fn green_channel(survey: &mut Survey) -> &mut ReplicaStatus {
    match &mut survey.green.channels {
        Known::Known(channels) => &mut channels[0],
        Known::Unknown(_) => panic!("the fixture has a channel"),
    }
}

fn without_gtids(survey: &mut Survey) {
    for facts in [&mut survey.blue, &mut survey.green] {
        setting(facts, "gtid_mode", "OFF");
        facts.positions = Known::Known(Positions::File(None));
    }
}

fn semi_sync(survey: &mut Survey, clients: &str, waiting: &str, timeout: &str) {
    setting(&mut survey.blue, "rpl_semi_sync_source_enabled", "ON");
    setting(&mut survey.blue, "rpl_semi_sync_source_timeout", timeout);
    counter(&mut survey.blue, "rpl_semi_sync_source_status", "ON");
    counter(&mut survey.blue, "rpl_semi_sync_source_clients", clients);
    counter(&mut survey.blue, "rpl_semi_sync_source_wait_sessions", waiting);
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        stop(MySql, Doctor, Id::BINLOG, "log_bin is OFF", |s| {
            setting(&mut s.green, "log_bin", "OFF")
        }),
        stop(MySql, Hold, Id::BINLOG, "binlog_format is MIXED", |s| {
            setting(&mut s.blue, "binlog_format", "MIXED")
        }),
        stop(MariaDb, Prepare, Id::BINLOG, "log_replica_updates is OFF", |s| {
            setting(&mut s.green, "log_slave_updates", "OFF");
        }),
        stop(MySql, Doctor, Id::BINLOG, "binlog_do_db is shop", |s| {
            setting(&mut s.blue, "binlog_do_db", "shop")
        }),
        warn(MySql, Doctor, Id::BINLOG, "MINIMAL", |s| {
            setting(&mut s.blue, "binlog_row_image", "MINIMAL")
        }),
        fine(MariaDb, Doctor, Id::BINLOG, |s| {
            setting(&mut s.blue, "binlog_row_image", "FULL_NODUP")
        }),
        stop(MySql, Doctor, Id::GTID, "OFF on blue and ON on green", |s| {
            setting(&mut s.blue, "gtid_mode", "OFF")
        }),
        stop(MySql, Doctor, Id::GTID, "enforce_gtid_consistency", |s| {
            setting(&mut s.green, "enforce_gtid_consistency", "WARN");
        }),
        stop(MariaDb, Prepare, Id::GTID, "gtid_strict_mode is OFF", |s| {
            setting(&mut s.green, "gtid_strict_mode", "OFF");
        }),
        warn(MySql, Doctor, Id::GTID, "file and offset", without_gtids),
        stop(MariaDb, Doctor, Id::GTID, "beside blue: 0-2-101", |s| {
            s.green.positions = Known::Known(Positions::MariaDb {
                binlog_state: vec![(0, 1, 100), (0, 2, 101)],
                replica_pos: vec![],
                purged: Known::default(),
            });
        }),
        fine(MariaDb, Doctor, Id::GTID, |s| {
            // Green was the writer once, and blue has all of it.
            for facts in [&mut s.blue, &mut s.green] {
                facts.positions = Known::Known(Positions::MariaDb {
                    binlog_state: vec![(0, 1, 100), (0, 2, 60)],
                    replica_pos: vec![],
                    purged: Known::default(),
                });
            }
        }),
        stop(MySql, Doctor, Id::PURGED, "purged 20 transactions", |s| {
            s.blue.positions = Known::Known(Positions::MySql {
                executed: set(&format!("{BLUE_UUID}:1-200")),
                purged: set(&format!("{BLUE_UUID}:1-120")),
            });
        }),
        stop(MySql, Doctor, Id::PURGED, "10 transactions", |s| {
            s.green.positions = Known::Known(Positions::MySql {
                executed: set(""),
                purged: set(""),
            });
        }),
        stop(MariaDb, Prepare, Id::PURGED, "0-1-150", |s| {
            s.blue.positions = Known::Known(Positions::MariaDb {
                binlog_state: vec![(0, 1, 200)],
                replica_pos: vec![],
                purged: Known::Known(vec![(0, 1, 150)]),
            });
        }),
        stop(MySql, Prepare, Id::PURGED, "no longer has binlog.000007", |s| {
            without_gtids(s);
            green_channel(s).executed_to = Some(crate::domain::position::FilePosition {
                file: "binlog.000007".into(),
                offset: 4,
            });
        }),
        stop(MySql, Hold, Id::RETENTION, "purged after 1h", |s| {
            setting(&mut s.blue, "binlog_expire_logs_seconds", "3600");
        }),
        stop(MariaDb, Hold, Id::RETENTION, "purged after 14m 24s", |s| {
            setting(&mut s.blue, "binlog_expire_logs_seconds", "0");
            setting(&mut s.blue, "expire_logs_days", "0.01");
        }),
        fine(MySql, Doctor, Id::RETENTION, |s| {
            setting(&mut s.blue, "binlog_expire_logs_seconds", "60");
            setting(&mut s.blue, "binlog_expire_logs_auto_purge", "OFF");
        }),
        stop(MySql, Hold, Id::ERRANT_TRANSACTIONS, "2 transactions", |s| {
            s.green.positions = Known::Known(Positions::MySql {
                executed: set(&format!("{BLUE_UUID}:1-90,{GREEN_UUID}:1-2")),
                purged: set(""),
            });
        }),
        stop(MySql, Hold, Id::ERRANT_TRANSACTIONS, "1 of blue's", |s| {
            s.green.positions = Known::Known(Positions::MySql {
                executed: set(&format!("{BLUE_UUID}:1-101")),
                purged: set(""),
            });
        }),
        // The right way round: after promote green is ahead and that is right, a blue that is ahead is not.
        fine(MySql, After, Id::ERRANT_TRANSACTIONS, |s| {
            s.green.positions = Known::Known(Positions::MySql {
                executed: set(&format!("{BLUE_UUID}:1-100,{GREEN_UUID}:1-50")),
                purged: set(""),
            });
        }),
        stop(
            MySql,
            After,
            Id::ERRANT_TRANSACTIONS,
            "blue executed 5 transactions",
            |s| {
                s.blue.positions = Known::Known(Positions::MySql {
                    executed: set(&format!("{BLUE_UUID}:1-105")),
                    purged: set(""),
                });
            },
        ),
        stop(MariaDb, Doctor, Id::ERRANT_TRANSACTIONS, "0-2-101", |s| {
            s.green.positions = Known::Known(Positions::MariaDb {
                binlog_state: vec![(0, 1, 100), (0, 2, 101)],
                replica_pos: vec![(0, 1, 100)],
                purged: Known::default(),
            });
        }),
        warn(
            MySql,
            Hold,
            Id::ERRANT_TRANSACTIONS,
            "read-only now",
            without_gtids,
        ),
        stop(MySql, Prepare, Id::ERRANT_TRANSACTIONS, "not read-only", |s| {
            without_gtids(s);
            setting(&mut s.green, "read_only", "OFF");
            setting(&mut s.green, "super_read_only", "OFF");
        }),
        stop(MySql, Hold, Id::REPLICATION_HEALTH, "follows nobody", |s| {
            s.green.channels = Known::Known(vec![])
        }),
        fine(MySql, Prepare, Id::REPLICATION_HEALTH, |s| {
            s.green.channels = Known::Known(vec![])
        }),
        stop(
            MySql,
            Hold,
            Id::REPLICATION_HEALTH,
            "the applier is stopped: error 1062: twice",
            |s| {
                let channel = green_channel(s);
                channel.applier_running = false;
                channel.applier_error = Some(ReplicaError {
                    code: 1062,
                    message: "twice".into(),
                });
            },
        ),
        stop(MySql, Prepare, Id::REPLICATION_HEALTH, "cannot connect", |s| {
            green_channel(s).receiver = Receiver::Connecting;
        }),
        stop(
            MySql,
            Hold,
            Id::REPLICATION_HEALTH,
            "Replicate_Do_DB: shop",
            |s| {
                green_channel(s).filters = vec!["Replicate_Do_DB: shop".into()];
            },
        ),
        stop(MySql, Hold, Id::REPLICATION_HEALTH, "delayed by 60 s", |s| {
            green_channel(s).delay_seconds = 60
        }),
        stop(MySql, Hold, Id::REPLICATION_HEALTH, "which is not blue", |s| {
            green_channel(s).source_uuid = Some("else".into());
        }),
        stop(MariaDb, Hold, Id::REPLICATION_HEALTH, "which is not blue", |s| {
            green_channel(s).source_server_id = Some(7);
        }),
        stop(MySql, Hold, Id::REPLICATION_HEALTH, "2 sources", |s| {
            let second = green_channel(s).clone();
            if let Known::Known(channels) = &mut s.green.channels {
                channels.push(second);
            }
        }),
        stop(MySql, Hold, Id::REPLICATION_HEALTH, "IDEMPOTENT", |s| {
            setting(&mut s.green, "replica_exec_mode", "IDEMPOTENT");
        }),
        stop(
            MySql,
            Prepare,
            Id::REPLICATION_HEALTH,
            "skip_errors is 1062",
            |s| {
                setting(&mut s.green, "slave_skip_errors", "1062");
            },
        ),
        stop(MySql, Hold, Id::LAG, "at most 3s", |s| {
            if let Known::Known(lag) = &mut s.plan.lag {
                lag.most = Duration::from_secs(3);
            }
        }),
        stop(MySql, Hold, Id::LAG, "rising", |s| {
            if let Known::Known(lag) = &mut s.plan.lag {
                lag.rising = true;
            }
        }),
        stop(
            MySql,
            Doctor,
            Id::EXTERNAL_REPLICAS,
            "server_id 9 cdc:3306",
            |s| {
                let replica = |id, uuid: &str, reported: &str| ReplicaFact {
                    server_id: Some(id),
                    uuid: Some(uuid.into()),
                    reported: reported.into(),
                };
                s.blue.replicas =
                    Known::Known(vec![replica(2, GREEN_UUID, ""), replica(9, "else", "cdc:3306")]);
            },
        ),
        stop(
            MySql,
            Doctor,
            Id::EXTERNAL_REPLICAS,
            "1 others read blue's binlog: repl@10.0.0.9",
            |s| {
                // Only sessions are seen: one of them is green's.
                let nameless = |reported: &str| ReplicaFact {
                    server_id: None,
                    uuid: None,
                    reported: reported.into(),
                };
                s.blue.replicas = Known::Known(vec![nameless("repl@10.0.0.8"), nameless("repl@10.0.0.9")]);
            },
        ),
        stop(
            MySql,
            Prepare,
            Id::EXTERNAL_REPLICAS,
            "blue itself follows",
            |s| {
                s.blue.channels = s.green.channels.clone();
            },
        ),
        warn(
            MySql,
            Doctor,
            Id::EXTERNAL_REPLICAS,
            "1 sessions read blue's binlog, 0",
            |s| {
                let mut dump = session(5, "Binlog Dump GTID", 1, "");
                dump.kind = SessionKind::Replication;
                s.blue.sessions = Known::Known(vec![dump]);
            },
        ),
        fine(MySql, Doctor, Id::EXTERNAL_REPLICAS, |s| {
            let own = ReplicaFact {
                server_id: Some(2),
                uuid: Some(GREEN_UUID.into()),
                reported: String::new(),
            };
            s.blue.replicas = Known::Known(vec![own]);
        }),
        // Bleen's own reader is nobody who follows; whoever else reads is still counted.
        fine(MySql, Doctor, Id::EXTERNAL_REPLICAS, |s| own_reader(s, 2)),
        warn(
            MySql,
            Doctor,
            Id::EXTERNAL_REPLICAS,
            "2 sessions read blue's binlog, 1",
            |s| own_reader(s, 3),
        ),
        stop(MySql, Hold, Id::SEMI_SYNC, "no replica is there", |s| {
            semi_sync(s, "0", "3", "10000")
        }),
        stop(MySql, Doctor, Id::SEMI_SYNC, "commits would wait 1m", |s| {
            semi_sync(s, "0", "0", "60000")
        }),
        stop(MySql, Hold, Id::SEMI_SYNC, "session 10 for 5s", |s| {
            semi_sync(s, "1", "1", "10000");
            let mut waiting = session(10, "Query", 5_000, "COMMIT");
            waiting.state = "Waiting for semi-sync ACK from replica".into();
            s.blue.sessions = Known::Known(vec![waiting]);
        }),
        fine(MySql, Hold, Id::SEMI_SYNC, |s| semi_sync(s, "1", "2", "10000")),
    ]
}

#[test]
fn histories_and_replication() {
    hold(&cases());
}

/// Green and bleen's own reader read blue's binlog, with so many sessions in all.
fn own_reader(s: &mut Survey, dumps: u64) {
    let replica = |id, uuid: &str, reported: String| ReplicaFact {
        server_id: Some(id),
        uuid: Some(uuid.into()),
        reported,
    };
    let green = replica(2, GREEN_UUID, String::new());
    let own = replica(0x9000_0000, "bleen's", format!("{READER_HOST}:0"));
    s.blue.replicas = Known::Known(vec![green, own]);
    let dumps = (0..dumps).map(|at| {
        let mut dump = session(5 + at, "Binlog Dump", 1, "");
        dump.kind = SessionKind::Replication;
        dump
    });
    s.blue.sessions = Known::Known(dumps.collect());
}
