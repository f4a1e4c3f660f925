//! What goes on: statements, transactions, locks, events, privileged writers.

use super::*;
use crate::domain::guardrails::facts::{
    PrivilegedAccount, PrivilegedRoutine, PrivilegedSession, Schema as SchemaFacts, TransactionFact,
};
use crate::domain::machine::HoldKind;
use Family::{MariaDb, MySql};
use Scope::{After, Doctor, Hold, Prepare};

fn runs(survey: &mut Survey, age_ms: u64, text: &str) {
    survey.blue.sessions = Known::Known(vec![session(10, "Query", age_ms, text)]);
}

fn privileged(survey: &mut Survey, change: impl FnOnce(&mut PrivilegedWriters)) {
    let account = |user: &str, own| PrivilegedAccount {
        user: user.into(),
        host: "%".into(),
        through: "READ_ONLY ADMIN".into(),
        locked: false,
        own,
    };
    let mut writers = PrivilegedWriters {
        accounts: vec![account("bleen", true), account("dba", false)],
        ..PrivilegedWriters::default()
    };
    change(&mut writers);
    survey.blue.privileged = Known::Known(writers);
}

fn in_session(user: &str) -> PrivilegedSession {
    PrivilegedSession {
        id: 30,
        user: user.into(),
        host: "10.0.0.7".into(),
        busy: false,
    }
}

fn transaction(survey: &mut Survey, session: u64, age_ms: u64, changed_rows: u64) {
    let open = TransactionFact {
        session,
        age_ms,
        changed_rows,
        state: "RUNNING".into(),
    };
    survey.blue.transactions = Known::Known(vec![open]);
}

fn green_enables(survey: &mut Survey, enabled: bool) {
    if let Known::Known(events) = &mut survey.green.events {
        events[0].enabled = enabled;
    }
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        stop(
            MySql,
            Hold,
            Id::LONG_STATEMENTS,
            "session 10 of app, 500ms: SELECT '…'",
            |s| {
                runs(s, 500, "SELECT 'secret' FROM t");
            },
        ),
        fine(MySql, Hold, Id::LONG_STATEMENTS, |s| {
            runs(s, 9, "UPDATE t SET a = 1")
        }),
        fine(MariaDb, Hold, Id::LONG_STATEMENTS, |s| {
            runs(s, 60_000, "/* app */ SELECT * FROM t")
        }),
        stop(MariaDb, Hold, Id::LONG_STATEMENTS, "FOR UPDATE", |s| {
            runs(s, 60_000, "SELECT * FROM t FOR UPDATE")
        }),
        stop(MariaDb, Hold, Id::LONG_STATEMENTS, "WITH", |s| {
            runs(s, 60_000, "WITH x AS (SELECT 1) DELETE FROM t")
        }),
        stop(MariaDb, Hold, Id::LONG_STATEMENTS, "CALL", |s| {
            runs(s, 60_000, "CALL p()")
        }),
        warn(MySql, Hold, Id::LONG_STATEMENTS, "SELECT", |s| {
            runs(s, 500, "SELECT 1 FROM t");
            s.limits.end_selects = true;
        }),
        stop(MySql, Hold, Id::LONG_STATEMENTS, "UPDATE", |s| {
            runs(s, 500, "UPDATE t SET a = 1");
            s.limits.end_selects = true;
        }),
        fine(MySql, Hold, Id::LONG_STATEMENTS, |s| {
            let mut others: Vec<_> = [SessionKind::Own, SessionKind::Replication, SessionKind::System]
                .map(|kind| SessionFact {
                    kind,
                    ..session(11, "Query", 90_000, "DO SLEEP(100)")
                })
                .to_vec();
            others.push(session(12, "Sleep", 90_000, ""));
            s.blue.sessions = Known::Known(others);
        }),
        stop(
            MySql,
            Hold,
            Id::LONG_TRANSACTIONS,
            "open for 11s: session 10 of app (Sleep)",
            |s| {
                transaction(s, 10, 11_000, 0);
            },
        ),
        fine(MySql, Hold, Id::LONG_STATEMENTS, |s| {
            let mut commit = session(10, "Query", 60, "INSERT INTO t VALUES (1)");
            commit.state = "waiting for handler commit".into();
            s.blue.sessions = Known::Known(vec![commit]);
        }),
        stop(MariaDb, Hold, Id::LONG_STATEMENTS, "100ms: COMMIT", |s| {
            let mut commit = session(10, "Query", 100, "COMMIT");
            commit.state = "Commit".into();
            s.blue.sessions = Known::Known(vec![commit]);
        }),
        stop(MySql, Hold, Id::LONG_TRANSACTIONS, "changed 200000 rows", |s| {
            transaction(s, 10, 1_000, 200_000)
        }),
        stop(MySql, Hold, Id::LONG_TRANSACTIONS, "session 0", |s| {
            transaction(s, 0, 999_000, 1)
        }),
        fine(MySql, Hold, Id::LONG_TRANSACTIONS, |s| {
            transaction(s, 10, 9_000, 99_999)
        }),
        fine(MySql, Hold, Id::LONG_TRANSACTIONS, |s| {
            transaction(s, 10, 99_000, 0);
            if let Known::Known(sessions) = &mut s.blue.sessions {
                sessions[0].kind = SessionKind::Own;
            }
        }),
        stop(MySql, Hold, Id::DDL_IN_FLIGHT, "alter table", |s| {
            runs(s, 1, "/* x */ alter table t add b int")
        }),
        stop(MySql, Hold, Id::DDL_IN_FLIGHT, "DROP", |s| {
            s.green.sessions = Known::Known(vec![session(9, "Query", 1, "DROP TABLE t")]);
        }),
        stop(MySql, Hold, Id::DDL_IN_FLIGHT, "_orders_gho", |s| {
            s.blue.schema_change_tools = Known::Known(vec!["table shop._orders_gho".into()]);
        }),
        stop(MySql, Doctor, Id::XA_PREPARED, "1 prepared", |s| {
            s.blue.xa_prepared = Known::Known(vec!["`a`".into()])
        }),
        stop(MySql, Doctor, Id::XA_PREPARED, "the hold is `refuse`", |s| {
            s.limits.hold = Some(HoldKind::Refuse);
            if let Known::Known(counters) = &mut s.blue.status {
                counters.insert("com_xa_prepare".into(), "3".into());
            }
        }),
        fine(MySql, Hold, Id::XA_PREPARED, |s| {
            // The global read lock keeps them out.
            if let Known::Known(counters) = &mut s.blue.status {
                counters.insert("com_xa_prepare".into(), "3".into());
            }
        }),
        warn(MySql, Hold, Id::XA_PREPARED, "1 prepared", |s| {
            s.green.xa_prepared = Known::Known(vec!["`a`".into()])
        }),
        stop(
            MySql,
            Hold,
            Id::BACKUP_RUNNING,
            "session 4 holds the backup lock",
            |s| {
                s.green.global_locks = Known::Known(vec![(4, "the backup lock".into())]);
            },
        ),
        stop(MySql, Hold, Id::BACKUP_RUNNING, "mysqldump", |s| {
            let dump = SessionFact {
                program: Some("mysqldump".into()),
                ..session(6, "Sleep", 1, "")
            };
            s.blue.sessions = Known::Known(vec![dump]);
        }),
        stop(MariaDb, Hold, Id::BACKUP_RUNNING, "SQL_NO_CACHE", |s| {
            runs(s, 1, "SELECT /*!40001 SQL_NO_CACHE */ * FROM `t`");
        }),
        stop(MariaDb, Hold, Id::BACKUP_RUNNING, "BACKUP STAGE", |s| {
            runs(s, 1, "BACKUP STAGE BLOCK_COMMIT")
        }),
        stop(
            MariaDb,
            Hold,
            Id::PRIVILEGED_WRITERS,
            "session 30 of dba@10.0.0.7",
            |s| {
                privileged(s, |w| w.sessions = vec![in_session("dba")]);
            },
        ),
        warn(MariaDb, Hold, Id::PRIVILEGED_WRITERS, "session 30", |s| {
            privileged(s, |w| w.sessions = vec![in_session("dba")]);
            s.limits.end_privileged_sessions = true;
        }),
        warn(
            MariaDb,
            Doctor,
            Id::PRIVILEGED_WRITERS,
            "1 accounts could log in",
            |s| privileged(s, |_| {}),
        ),
        fine(MariaDb, Hold, Id::PRIVILEGED_WRITERS, |s| {
            privileged(s, |w| {
                w.accounts[1].locked = true;
                w.sessions = vec![in_session("bleen")];
            });
        }),
        stop(
            MariaDb,
            Doctor,
            Id::PRIVILEGED_WRITERS,
            "shop.p (root@localhost)",
            |s| {
                privileged(s, |w| {
                    w.routines = vec![PrivilegedRoutine {
                        schema: "shop".into(),
                        name: "p".into(),
                        definer: "root@localhost".into(),
                    }];
                });
                s.limits.end_privileged_sessions = true;
            },
        ),
        stop(
            MySql,
            Hold,
            Id::EVENT_SCHEDULER,
            "green runs events of its own",
            |s| {
                green_enables(s, true);
                setting(&mut s.green, "event_scheduler", "ON");
            },
        ),
        warn(MySql, Doctor, Id::EVENT_SCHEDULER, "enabled on green", |s| {
            green_enables(s, true)
        }),
        stop(
            MySql,
            Prepare,
            Id::EVENT_SCHEDULER,
            "missing on green: shop.tick",
            |s| {
                s.green.events = Known::Known(vec![]);
            },
        ),
        fine(MySql, Prepare, Id::EVENT_SCHEDULER, |s| {
            // Nothing is on green yet: blue's binlog brings the events, too.
            s.green.events = Known::Known(vec![]);
            s.green.schema = Known::Known(SchemaFacts::default());
        }),
        stop(
            MySql,
            Hold,
            Id::EVENT_SCHEDULER,
            "missing on green: shop.tick",
            |s| {
                s.green.events = Known::Known(vec![]);
                s.green.schema = Known::Known(SchemaFacts::default());
            },
        ),
        stop(MySql, Doctor, Id::EVENT_SCHEDULER, "DISABLED", |s| {
            setting(&mut s.green, "event_scheduler", "DISABLED");
        }),
        stop(
            MySql,
            After,
            Id::EVENT_SCHEDULER,
            "not enabled on green: shop.tick",
            |s| green_enables(s, false),
        ),
        stop(
            MySql,
            After,
            Id::EVENT_SCHEDULER,
            "blue did not run: shop.tick",
            |s| {
                s.plan.events_on_blue = Some(BTreeSet::new());
            },
        ),
        stop(
            MySql,
            After,
            Id::EVENT_SCHEDULER,
            "event_scheduler is OFF on green",
            |s| {
                setting(&mut s.green, "event_scheduler", "OFF");
            },
        ),
        stop(MySql, After, Id::EVENT_SCHEDULER, "runs again", |s| {
            setting(&mut s.blue, "event_scheduler", "ON");
            if let Known::Known(events) = &mut s.blue.events {
                events[0].enabled = true;
            }
        }),
        warn(MariaDb, After, Id::EVENT_SCHEDULER, "cannot persist it", |s| {
            s.plan.scheduler_ran = Some(true);
        }),
        fine(MySql, After, Id::EVENT_SCHEDULER, |s| {
            // It did not run on blue either.
            s.plan.scheduler_ran = Some(false);
            setting(&mut s.green, "event_scheduler", "OFF");
        }),
        fine(MariaDb, Hold, Id::BACKUP_RUNNING, |s| {
            runs(s, 1, "SELECT SQL_NO_CACHE a FROM t")
        }),
        stop(MySql, Hold, Id::LONG_STATEMENTS, "DELETE", |s| {
            // An event at work shows as connecting.
            s.blue.sessions = Known::Known(vec![session(10, "Connect", 500, "DELETE FROM t")]);
        }),
    ]
}

#[test]
fn what_goes_on() {
    hold(&cases());
}
