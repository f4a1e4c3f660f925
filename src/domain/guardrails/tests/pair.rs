//! Which servers, which settings, enough of everything, and what the run knows by itself.

use std::time::Duration;

use super::*;
use crate::domain::guardrails::ProofFact;
use crate::domain::guardrails::facts::ReplicaFact;
use crate::domain::guardrails::{Replayed, StatementFact};
use crate::domain::machine::HoldKind;
use crate::domain::queries::warm::{Round, Warmed};
use Family::{MariaDb, MySql};
use Scope::{After, Doctor, Hold, Prepare};

pub(super) fn cases() -> Vec<Case> {
    vec![
        stop(MySql, Doctor, Id::IDENTITY, "the same server", |s| {
            s.green.identity = s.blue.identity.clone()
        }),
        stop(MySql, Hold, Id::IDENTITY, "green is now", |s| {
            s.plan.expected = Some((BLUE_UUID.into(), "another".into()));
        }),
        stop(MariaDb, After, Id::IDENTITY, "the same server", |s| {
            s.green.identity = s.blue.identity.clone()
        }),
        stop(
            MySql,
            Doctor,
            Id::SERVER_ID_CLASH,
            "both sides have server_id 1",
            |s| {
                if let Known::Known(i) = &mut s.green.identity {
                    i.server.server_id = 1;
                }
            },
        ),
        stop(
            MySql,
            Doctor,
            Id::SERVER_ID_CLASH,
            "both sides have server_uuid",
            |s| {
                // A copied data directory: another machine, the same uuid.
                if let Known::Known(i) = &mut s.green.identity {
                    i.server.server_uuid = Some(BLUE_UUID.into());
                }
            },
        ),
        fine(MySql, Doctor, Id::IDENTITY, |s| {
            if let Known::Known(i) = &mut s.green.identity {
                i.server.server_uuid = Some(BLUE_UUID.into());
            }
            s.plan.expected = None;
        }),
        stop(MySql, Prepare, Id::SERVER_ID_CLASH, "another replica", |s| {
            let other = ReplicaFact {
                server_id: Some(2),
                uuid: Some("else".into()),
                reported: String::new(),
            };
            s.blue.replicas = Known::Known(vec![other]);
        }),
        stop(MySql, Doctor, Id::VERSION_PATH, "green is older", |s| {
            version(&mut s.green, "9.7.3")
        }),
        stop(MySql, Doctor, Id::VERSION_PATH, "2 series", |s| {
            version(&mut s.blue, "8.0.40")
        }),
        stop(MariaDb, Doctor, Id::VERSION_PATH, "MySQL 9.7.4", |s| {
            version(&mut s.green, "9.7.4")
        }),
        stop(MySql, Doctor, Id::VERSION_PATH, "MariaDB", |s| {
            version(&mut s.green, "11.8.9-MariaDB")
        }),
        warn(MySql, Doctor, Id::VERSION_PATH, "by file and offset", |s| {
            version(&mut s.blue, "5.6.24");
            version(&mut s.green, "11.8.9-MariaDB");
        }),
        fine(MariaDb, Doctor, Id::VERSION_PATH, |s| {
            version(&mut s.blue, "10.5.23-MariaDB")
        }),
        fine(MySql, Doctor, Id::VERSION_PATH, |s| version(&mut s.blue, "8.4.3")),
        stop(MySql, Doctor, Id::CLOCK, "2s apart", |s| {
            s.green.clock = Known::Known(ClockFact {
                sysdate_moves: true,
                offset_ms: 2_005,
                off_by_ms: 1,
            });
        }),
        fine(MySql, Doctor, Id::CLOCK, |s| {
            // Apart by no more than it may be off.
            s.green.clock = Known::Known(ClockFact {
                sysdate_moves: true,
                offset_ms: 1_500,
                off_by_ms: 700,
            });
        }),
        stop(
            MySql,
            Doctor,
            Id::PRIVILEGES,
            "lacks RELOAD, needed for: the hold",
            |s| {
                let all = "GRANT PROCESS, SELECT ON *.* TO `bleen`@`%`";
                s.limits.hold = Some(HoldKind::Lock);
                s.blue.rights = Known::Known(Rights::parse("bleen@%", &[all.to_owned()]));
            },
        ),
        stop(MariaDb, Doctor, Id::PRIVILEGES, "lacks READ ONLY ADMIN", |s| {
            // SUPER is no longer enough.
            let all = "GRANT SUPER ON *.* TO `bleen`@`%`";
            s.green.rights = Known::Known(Rights::parse("bleen@%", &[all.to_owned()]));
        }),
        stop(MySql, Doctor, Id::VARIABLES_DIFF, "sql_mode", |s| {
            setting(&mut s.green, "sql_mode", "")
        }),
        stop(MySql, Prepare, Id::VARIABLES_DIFF, "time zone", |s| {
            setting(&mut s.green, "system_time_zone", "CET")
        }),
        fine(MySql, Doctor, Id::VARIABLES_DIFF, |s| {
            setting(&mut s.blue, "sql_mode", "NO_AUTO_CREATE_USER,STRICT_TRANS_TABLES");
            setting(&mut s.green, "max_allowed_packet", "999999999");
        }),
        warn(
            MySql,
            Doctor,
            Id::WAITER_TIMEOUTS,
            "11 of 31 connections are free",
            |s| {
                setting(&mut s.blue, "max_connections", "31");
            },
        ),
        stop(MySql, Hold, Id::WAITER_TIMEOUTS, "lock_wait_timeout is 5s", |s| {
            setting(&mut s.blue, "lock_wait_timeout", "5");
        }),
        stop(
            MariaDb,
            Hold,
            Id::WAITER_TIMEOUTS,
            "max_statement_time is 2s 500ms",
            |s| {
                setting(&mut s.blue, "max_statement_time", "2.500000");
            },
        ),
        stop(MySql, Doctor, Id::WAITER_TIMEOUTS, "session 10 has", |s| {
            s.blue.session_limits = Known::Known(vec![
                (10, "innodb_lock_wait_timeout".into(), "3".into()),
                (99, "x".into(), "1".into()),
            ]);
        }),
        stop(
            MariaDb,
            Doctor,
            Id::WAITER_TIMEOUTS,
            "account app@% has MAX_STATEMENT_TIME 3s",
            |s| {
                if let Known::Known(accounts) = &mut s.blue.accounts {
                    accounts[0].max_statement_ms = 3_000;
                }
            },
        ),
        warn(
            MySql,
            Hold,
            Id::WAITER_TIMEOUTS,
            "max_execution_time is 4s",
            |s| {
                setting(&mut s.blue, "max_execution_time", "4000");
            },
        ),
        stop(MariaDb, Hold, Id::THREAD_POOL, "100 threads at most", |s| {
            setting(&mut s.blue, "thread_handling", "pool-of-threads");
            setting(&mut s.blue, "thread_pool_max_threads", "100");
        }),
        stop(MariaDb, Doctor, Id::THREAD_POOL, "160 threads", |s| {
            setting(&mut s.blue, "thread_handling", "pool-of-threads");
            setting(&mut s.blue, "thread_pool_max_threads", "160");
        }),
        fine(MariaDb, Hold, Id::THREAD_POOL, |s| {
            setting(&mut s.blue, "thread_handling", "pool-of-threads");
            setting(&mut s.blue, "thread_pool_max_threads", "161");
        }),
        stop(MySql, Hold, Id::CONNECTIONS, "145 of 151", |s| {
            counter(&mut s.blue, "threads_connected", "145")
        }),
        warn(MySql, Hold, Id::CONNECTIONS, "140 of 151", |s| {
            counter(&mut s.green, "threads_connected", "140")
        }),
        stop(MySql, Doctor, Id::CAPACITY, "max_connections is 60", |s| {
            setting(&mut s.green, "max_connections", "60")
        }),
        stop(MySql, Doctor, Id::CAPACITY, "innodb_buffer_pool_size", |s| {
            setting(&mut s.green, "innodb_buffer_pool_size", "67108864");
        }),
        warn(MySql, Prepare, Id::CAPACITY, "innodb_buffer_pool_size", |s| {
            setting(&mut s.green, "innodb_buffer_pool_size", "120000000");
        }),
        stop(MySql, Doctor, Id::CAPACITY, "blue holds 204800 MiB", |s| {
            if let Known::Known(schema) = &mut s.blue.schema {
                schema.tables[0].bytes = 200 << 30;
            }
        }),
        fine(MySql, Prepare, Id::CAPACITY, |s| {
            // Half of it is on green already.
            for (facts, bytes) in [(&mut s.blue, 200_u64 << 30), (&mut s.green, 100 << 30)] {
                if let Known::Known(schema) = &mut facts.schema {
                    schema.tables[0].bytes = bytes;
                }
            }
        }),
        stop(MySql, Hold, Id::DISK_SPACE, "100 MiB are free", |s| {
            s.green.disks = Known::Known(vec![
                ("/".into(), 1, 100 << 30),
                ("/var/lib/mysql".into(), 1, 100 << 20),
            ]);
        }),
        fine(MySql, Doctor, Id::DISK_SPACE, |s| {
            s.blue.disks = Known::default();
            s.plan.free_bytes = (Known::Known(5 << 30), Known::default());
        }),
        stop(MySql, Hold, Id::QUERY_PROOF, "`orders`: 3 rows differ", |s| {
            s.plan.gate_queries = Known::Known(vec![("orders".into(), Some("3 rows differ".into()))]);
        }),
        stop(
            MySql,
            Hold,
            Id::QUERY_PROOF,
            "statement 9e79d2805f004ce9: slower: 4 times",
            |s| {
                s.plan.replayed = Known::Known(Some(Replayed {
                    summary: "1 slower, 1 same".into(),
                    wrong: vec![slower()],
                    accepted: Vec::new(),
                }));
            },
        ),
        warn(MySql, Hold, Id::QUERY_PROOF, "statement 9e79d2805f004ce9", |s| {
            s.plan.replayed = Known::Known(Some(Replayed {
                summary: "1 slower, 1 same".into(),
                wrong: Vec::new(),
                accepted: vec![(slower(), "a report".into())],
            }));
        }),
        fine(MySql, Hold, Id::QUERY_PROOF, |s| {
            s.plan.replayed = Known::Known(Some(Replayed {
                summary: "98 same, 2 not comparable".into(),
                ..Replayed::default()
            }));
        }),
        stop(
            MySql,
            Hold,
            Id::COLD_CACHE,
            "in the last of them: 30.0, 20.0, 10.0",
            |s| {
                s.plan.warmed = warmed(&[900, 300, 200, 100], false);
            },
        ),
        warn(MariaDb, Hold, Id::COLD_CACHE, "not warmed", |s| {
            s.plan.warmed = Known::Known(Some(Warmed {
                rounds: Vec::new(),
                is_flat: false,
                statements: 0,
            }));
        }),
        fine(MySql, Hold, Id::COLD_CACHE, |s| {
            s.plan.warmed = warmed(&[900, 3, 0], true)
        }),
        stop(MySql, Prepare, Id::RUN_LOCK, "20261123T214100Z-9f3a6c", |s| {
            s.plan.run_lock = Known::Known(Some("20261123T214100Z-9f3a6c since 21:41".into()));
        }),
        stop(MySql, Doctor, Id::DEADLINE, "paused for 12s", |s| {
            s.plan.last_drill = Some(Duration::from_secs(12));
        }),
        stop(MariaDb, Doctor, Id::DEADLINE, "sysdate_is_now", |s| {
            if let Known::Known(clock) = &mut s.green.clock {
                clock.sysdate_moves = false;
            }
        }),
        Case {
            severity: Severity::NotKnown,
            ..stop(MySql, Hold, Id::DATA_PROOF, "would take 10s", |s| {
                s.plan.data_proof = Known::Known(Some(ProofFact {
                    fence: Duration::from_secs(10),
                    ..ProofFact::default()
                }));
            })
        },
        stop(
            MySql,
            Hold,
            Id::DATA_PROOF,
            "shop.audit cannot be proved: no key",
            |s| {
                s.plan.data_proof = Known::Known(Some(ProofFact {
                    not_provable: vec![("shop.audit".into(), "no key".into())],
                    ..ProofFact::default()
                }));
            },
        ),
        stop(MySql, Hold, Id::DATA_PROOF, "2 rows differ", |s| {
            s.plan.data_proof = Known::Known(Some(ProofFact {
                differs: Some("2 rows differ".into()),
                ..ProofFact::default()
            }));
        }),
        fine(MySql, Hold, Id::DATA_PROOF, |s| {
            s.plan.data_proof = Known::Known(Some(ProofFact {
                ranges: 3,
                fence: Duration::from_millis(2),
                ..ProofFact::default()
            }));
        }),
        fine(MySql, Hold, Id::DEADLINE, |s| {
            s.plan.last_drill = Some(Duration::from_millis(9))
        }),
        stop(
            MySql,
            Doctor,
            Id::RESTART_WRITABLE,
            "persisted_globals_load is OFF",
            |s| {
                setting(&mut s.blue, "persisted_globals_load", "OFF");
            },
        ),
        stop(
            MySql,
            Hold,
            Id::RESTART_WRITABLE,
            "neither persisted nor started so",
            |s| {
                s.green.start_up = Known::Known(StartUp::default());
            },
        ),
        stop(MySql, Hold, Id::RESTART_WRITABLE, "neither persisted", |s| {
            // What is persisted wins over the option file.
            s.green.start_up = Known::Known(StartUp {
                persisted: names(&[("super_read_only", "OFF")]),
                origin: names(&[("super_read_only", "GLOBAL")]),
            });
        }),
        fine(MySql, Hold, Id::RESTART_WRITABLE, |s| {
            s.green.start_up = Known::Known(StartUp {
                persisted: names(&[]),
                origin: names(&[("super_read_only", "GLOBAL")]),
            });
        }),
        stop(MariaDb, Doctor, Id::RESTART_WRITABLE, "starts it writable", |s| {
            s.plan.starts_read_only.0 = Known::Known(false);
        }),
        stop(MariaDb, After, Id::RESTART_WRITABLE, "starts it read-only", |s| {
            s.plan.starts_read_only.1 = Known::Known(true);
        }),
        warn(
            MariaDb,
            After,
            Id::RESTART_WRITABLE,
            "not kept over a restart",
            |s| {
                s.plan.starts_read_only = (Known::default(), Known::default());
            },
        ),
        stop(
            MySql,
            After,
            Id::RESTART_WRITABLE,
            "would come back writable",
            |s| {
                s.blue.start_up = Known::Known(StartUp::default());
            },
        ),
        stop(MySql, After, Id::RESTART_WRITABLE, "come back read-only", |s| {
            s.green.start_up = s.blue.start_up.clone();
        }),
        stop(
            MySql,
            Doctor,
            Id::OTHER_AUTOMATION,
            "orchestrator has a session",
            |s| {
                let mut tool = session(77, "Sleep", 1, "");
                tool.user = "orchestrator".into();
                s.blue.sessions = Known::Known(vec![tool]);
            },
        ),
        warn(MySql, Doctor, Id::OTHER_AUTOMATION, "Debezium", |s| {
            let mut tool = session(77, "Sleep", 1, "");
            tool.program = Some("debezium-connector".into());
            s.blue.sessions = Known::Known(vec![tool]);
        }),
        warn(MySql, Doctor, Id::OTHER_AUTOMATION, "shop.heartbeat", |s| {
            schema(&mut s.blue).tables.push(table("heartbeat"))
        }),
        stop(MySql, Doctor, Id::OTHER_AUTOMATION, "group replication", |s| {
            setting(&mut s.blue, "group_replication_group_name", "aaaa");
        }),
    ]
}

#[test]
fn servers_settings_and_limits() {
    hold(&cases());
}

#[test]
fn what_a_mariadb_option_file_holds_is_not_known() {
    let mut survey = healthy(MariaDb, Doctor);
    survey.plan.starts_read_only = (Known::default(), Known::default());
    let (worst, findings) = verdict(&survey, Id::RESTART_WRITABLE);
    // Green was started read-only by its file; blue is open now, whatever its file says: only a person can see that, so
    // it stops until somebody says so.
    assert_eq!(worst, Severity::Stop);
    assert_eq!(
        findings.iter().filter(|f| f.severity == Severity::Ok).count(),
        1,
        "{findings:?}"
    );
}

fn slower() -> StatementFact {
    StatementFact {
        statement: "9e79d2805f004ce9".into(),
        verdict: "slower: 4 times".into(),
    }
}

/// Rounds of ten statements with these reads from disk.
fn warmed(reads: &[u64], is_flat: bool) -> Known<Option<Warmed>> {
    let round = |disk_reads: &u64| Round {
        statements: 10,
        disk_reads: *disk_reads,
    };
    Known::Known(Some(Warmed {
        rounds: reads.iter().map(round).collect(),
        is_flat,
        statements: 10,
    }))
}
