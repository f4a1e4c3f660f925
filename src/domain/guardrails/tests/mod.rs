//! Every guardrail with a case that is ok and cases that stop or warn. That nothing is ok which is not known is tested
//! for all of them at once beside the table.

mod activity;
mod histories;
mod objects;
mod pair;
mod way_back;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::facts::{
    Account, AccountWords, ClockFact, ColumnFact, EventFact, Identity, IndexFact, IndexPart, Positions,
    PrivilegedWriters, ProgramFact, Rights, Schema, ServerFacts, SessionFact, SessionKind, StartUp,
    TableFact,
};
use super::{
    Finding, GUARDRAILS, Known, LagFact, Limits, PlanFacts, Scope, Severity, Survey, Waivers, examine,
};
use crate::domain::guardrail_ids::GuardrailId as Id;
use crate::domain::identity::Identity as ServerIdentity;
use crate::domain::ids::Side;
use crate::domain::position::GtidSet;
use crate::domain::replication::{Receiver, ReplicaStatus};
use crate::domain::server::{Family, Version};

pub(super) const BLUE_UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
pub(super) const GREEN_UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429563";

pub(super) fn set(text: &str) -> GtidSet {
    GtidSet::parse(text).unwrap()
}

pub(super) fn session(id: u64, command: &str, age_ms: u64, text: &str) -> SessionFact {
    SessionFact {
        id,
        user: "app".into(),
        host: "10.0.0.1:999".into(),
        schema: Some("shop".into()),
        command: command.into(),
        age_ms,
        state: String::new(),
        text: text.into(),
        program: None,
        kind: SessionKind::Client,
    }
}

pub(super) fn table(name: &str) -> TableFact {
    TableFact {
        schema: "shop".into(),
        name: name.into(),
        kind: "BASE TABLE".into(),
        engine: "InnoDB".into(),
        collation: "utf8mb4_bin".into(),
        rows: 1_000,
        auto_increment: Some(1_001),
        columns: vec![
            ColumnFact {
                name: "id".into(),
                column_type: "int".into(),
                extra: "auto_increment".into(),
                ..ColumnFact::default()
            },
            ColumnFact {
                name: "total".into(),
                column_type: "decimal(10,2)".into(),
                default: Some("0.00".into()),
                ..ColumnFact::default()
            },
        ],
        indexes: BTreeMap::from([(
            "PRIMARY".to_owned(),
            IndexFact {
                unique: true,
                kind: "BTREE".into(),
                parts: vec![IndexPart {
                    column: Some("id".into()),
                    ..IndexPart::default()
                }],
                invisible: false,
            },
        )]),
        ..TableFact::default()
    }
}

fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect()
}

const SETTINGS: &[(&str, &str)] = &[
    ("log_bin", "ON"),
    ("binlog_format", "ROW"),
    ("binlog_row_image", "FULL"),
    ("binlog_expire_logs_seconds", "2592000"),
    ("event_scheduler", "OFF"),
    ("sql_mode", "STRICT_TRANS_TABLES"),
    ("time_zone", "SYSTEM"),
    ("system_time_zone", "UTC"),
    ("max_allowed_packet", "67108864"),
    ("max_connections", "151"),
    ("innodb_buffer_pool_size", "134217728"),
    ("lock_wait_timeout", "31536000"),
    ("innodb_lock_wait_timeout", "50"),
];

fn server(side: Side, family: Family) -> ServerFacts {
    let blue = side == Side::Blue;
    let mysql = family == Family::MySql;
    let mut settings = names(SETTINGS);
    let more: &[(&str, &str)] = if mysql {
        &[
            ("gtid_mode", "ON"),
            ("enforce_gtid_consistency", "ON"),
            ("log_replica_updates", "ON"),
            ("persisted_globals_load", "ON"),
            ("max_execution_time", "0"),
        ]
    } else {
        &[
            ("gtid_strict_mode", "ON"),
            ("log_slave_updates", "ON"),
            ("thread_handling", "one-thread-per-connection"),
        ]
    };
    settings.extend(names(more));
    settings.insert("read_only".into(), if blue { "OFF" } else { "ON" }.into());
    if mysql {
        settings.insert("super_read_only".into(), if blue { "OFF" } else { "ON" }.into());
    }
    let uuid = if blue { BLUE_UUID } else { GREEN_UUID };
    let account = Account {
        user: "app".into(),
        host: "%".into(),
        plugin: "caching_sha2_password".into(),
        secret_mark: Some("x".into()),
        privileges: BTreeSet::from(["shop.*: SELECT".to_owned(), "shop.*: INSERT".to_owned()]),
        ..Account::default()
    };
    ServerFacts {
        identity: Known::Known(Identity {
            version: Version::parse(if mysql { "9.7.4" } else { "11.8.9-MariaDB" }, ""),
            server: ServerIdentity {
                family,
                server_uuid: mysql.then(|| uuid.to_owned()),
                server_id: if blue { 1 } else { 2 },
                hostname: side.as_str().into(),
                port: 3306,
                datadir: "/var/lib/mysql/".into(),
                gtid_domain_id: (!mysql).then_some(0),
            },
        }),
        variables: Known::Known(settings),
        status: Known::Known(names(&[
            ("threads_connected", "20"),
            ("max_used_connections", "60"),
            ("innodb_buffer_pool_bytes_data", "100000000"),
        ])),
        positions: Known::Known(if mysql {
            Positions::MySql {
                executed: set(&format!("{BLUE_UUID}:1-100")),
                purged: set(&format!("{BLUE_UUID}:1-10")),
            }
        } else {
            Positions::MariaDb {
                binlog_state: vec![(0, 1, 100)],
                replica_pos: if blue { vec![] } else { vec![(0, 1, 100)] },
                purged: Known::Known(vec![(0, 1, 10)]),
            }
        }),
        foreign_statements: Known::Known(Vec::new()),
        binlogs: Known::Known(vec![("binlog.000001".into(), 1_000)]),
        channels: Known::Known(if blue { vec![] } else { vec![channel(mysql)] }),
        replicas: Known::Known(vec![]),
        sessions: Known::Known(vec![session(10, "Sleep", 5_000, "")]),
        transactions: Known::Known(vec![]),
        session_limits: Known::Known(vec![]),
        xa_prepared: Known::Known(vec![]),
        privileged: Known::Known(PrivilegedWriters {
            sealed_for_all: mysql,
            ..PrivilegedWriters::default()
        }),
        global_locks: Known::Known(vec![]),
        schema_change_tools: Known::Known(vec![]),
        events: Known::Known(vec![EventFact {
            name: "shop.tick".into(),
            enabled: blue,
            status: if blue { "ENABLED" } else { "REPLICA_SIDE_DISABLED" }.into(),
            definer: "app@%".into(),
        }]),
        start_up: Known::Known(StartUp {
            persisted: names(&[("super_read_only", "ON")]),
            origin: names(&[("read_only", "CONFIG")]),
        }),
        rights: Known::Known(Rights::parse(
            "bleen@%",
            &["GRANT ALL PRIVILEGES ON *.* TO `bleen`@`%`".to_owned()],
        )),
        accounts: Known::Known(vec![account]),
        account_words: Known::Known(AccountWords {
            privileges: ["SELECT", "INSERT", "SUPER"].map(str::to_owned).to_vec(),
            plugins: vec!["caching_sha2_password".into()],
        }),
        schema: Known::Known(Schema {
            schemas: BTreeMap::from([(
                "shop".to_owned(),
                ("utf8mb4".to_owned(), "utf8mb4_bin".to_owned()),
            )]),
            tables: vec![table("orders")],
            routines: vec![ProgramFact {
                schema: "shop".into(),
                name: "p".into(),
                kind: "PROCEDURE".into(),
                text: Some("SELECT 1".into()),
                definer: "app@%".into(),
                ..ProgramFact::default()
            }],
            ..Schema::default()
        }),
        clock: Known::Known(ClockFact {
            sysdate_moves: true,
            offset_ms: 5,
            off_by_ms: 1,
        }),
        disks: Known::Known(vec![("/".into(), 1 << 30, 100 << 30)]),
    }
}

fn channel(mysql: bool) -> ReplicaStatus {
    ReplicaStatus {
        channel: String::new(),
        source_host: "blue".into(),
        source_port: 3306,
        source_user: "repl".into(),
        source_uuid: mysql.then(|| BLUE_UUID.to_owned()),
        source_server_id: Some(1),
        receiver: Receiver::Running,
        receiver_error: None,
        applier_running: true,
        applier_error: None,
        worker_errors: vec![],
        applier_state: String::new(),
        filters: vec![],
        delay_seconds: 0,
        by_gtid: true,
        received: None,
        executed: None,
        read_to: None,
        executed_to: None,
    }
}

/// A pair with nothing wrong.
pub(super) fn healthy(family: Family, scope: Scope) -> Survey {
    let (mut blue, mut green) = (server(Side::Blue, family), server(Side::Green, family));
    if scope == Scope::After {
        // Roles are exchanged: green runs the events.
        for (facts, enabled) in [(&mut blue, false), (&mut green, true)] {
            if let Known::Known(events) = &mut facts.events {
                events[0].enabled = enabled;
            }
        }
        setting(&mut green, "event_scheduler", "ON");
        green.start_up = Known::Known(StartUp {
            persisted: names(&[("super_read_only", "OFF"), ("read_only", "OFF")]),
            origin: names(&[("read_only", "PERSISTED")]),
        });
    }
    if family == Family::MariaDb {
        // It was started read-only and opened by hand; its option file was looked up.
        setting(&mut green, "read_only", "ON");
    }
    Survey {
        scope,
        blue,
        green,
        limits: Limits::default(),
        plan: PlanFacts {
            expected: Some(match family {
                Family::MySql => (BLUE_UUID.into(), GREEN_UUID.into()),
                Family::MariaDb => (
                    "server_id 1 on blue:3306 (/var/lib/mysql/)".into(),
                    "server_id 2 on green:3306 (/var/lib/mysql/)".into(),
                ),
            }),
            lag: Known::Known(LagFact {
                now: Duration::from_millis(2),
                most: Duration::from_millis(40),
                rising: false,
                observed: Duration::from_secs(10),
            }),
            gate_queries: Known::Known(vec![("orders".into(), None)]),
            replayed: Known::Known(None),
            warmed: Known::Known(None),
            run_lock: Known::Known(None),
            data_proof: Known::Known(None),
            events_on_blue: Some(BTreeSet::from(["shop.tick".to_owned()])),
            starts_read_only: (Known::Known(true), Known::Known(scope != Scope::After)),
            // One that cannot persist would have to be told of its option file.
            scheduler_ran: Some(family == Family::MySql),
            ..PlanFacts::default()
        },
    }
}

pub(super) fn setting(facts: &mut ServerFacts, name: &str, value: &str) {
    if let Known::Known(all) = &mut facts.variables {
        all.insert(name.into(), value.into());
    }
}

pub(super) fn counter(facts: &mut ServerFacts, name: &str, value: &str) {
    if let Known::Known(all) = &mut facts.status {
        all.insert(name.into(), value.into());
    }
}

pub(super) fn schema(facts: &mut ServerFacts) -> &mut Schema {
    match &mut facts.schema {
        Known::Known(schema) => schema,
        Known::Unknown(_) => panic!("the fixture has a schema"),
    }
}

pub(super) fn version(facts: &mut ServerFacts, text: &str) {
    if let Known::Known(identity) = &mut facts.identity {
        identity.version = Version::parse(text, "");
        identity.server.family = identity.version.family;
    }
}

/// One thing that is wrong, in a scope: what the guardrail of that id must say of it.
pub(super) struct Case {
    pub family: Family,
    pub scope: Scope,
    pub id: Id,
    pub severity: Severity,
    /// Words that the finding has to have.
    pub says: &'static str,
    pub wrong: fn(&mut Survey),
}

pub(super) const fn stop(
    family: Family,
    scope: Scope,
    id: Id,
    says: &'static str,
    wrong: fn(&mut Survey),
) -> Case {
    Case {
        family,
        scope,
        id,
        severity: Severity::Stop,
        says,
        wrong,
    }
}

pub(super) const fn warn(
    family: Family,
    scope: Scope,
    id: Id,
    says: &'static str,
    wrong: fn(&mut Survey),
) -> Case {
    Case {
        family,
        scope,
        id,
        severity: Severity::Warning,
        says,
        wrong,
    }
}

pub(super) const fn fine(family: Family, scope: Scope, id: Id, wrong: fn(&mut Survey)) -> Case {
    Case {
        family,
        scope,
        id,
        severity: Severity::Ok,
        says: "",
        wrong,
    }
}

/// The worst that a guardrail says, and all of it.
pub(super) fn verdict(survey: &Survey, id: Id) -> (Severity, Vec<Finding>) {
    let own: Vec<Finding> = examine(survey, &Waivers::new())
        .into_iter()
        .filter(|f| f.id == id)
        .collect();
    (own.iter().map(|f| f.severity).max().unwrap_or(Severity::Ok), own)
}

pub(super) fn hold(cases: &[Case]) {
    for (number, case) in cases.iter().enumerate() {
        let mut survey = healthy(case.family, case.scope);
        (case.wrong)(&mut survey);
        let (worst, findings) = verdict(&survey, case.id);
        assert!(
            !findings.is_empty(),
            "case {number}: {} is not asked in {:?}",
            case.id,
            case.scope
        );
        assert_eq!(worst, case.severity, "case {number} of {}: {findings:?}", case.id);
        assert!(
            findings
                .iter()
                .any(|f| f.severity == worst && f.seen.contains(case.says)),
            "case {number} of {}: nothing says `{}` in {findings:?}",
            case.id,
            case.says
        );
    }
}

#[test]
fn a_healthy_pair_is_ok_in_every_guardrail_of_every_scope() {
    for family in [Family::MySql, Family::MariaDb] {
        for scope in [Scope::Doctor, Scope::Prepare, Scope::Hold, Scope::After] {
            let survey = healthy(family, scope);
            for finding in examine(&survey, &Waivers::new()) {
                assert_eq!(finding.severity, Severity::Ok, "{family} {scope:?}: {finding:?}");
            }
        }
    }
}

#[test]
fn every_guardrail_has_a_case_that_stops() {
    let all: BTreeSet<Id> = [
        activity::cases(),
        histories::cases(),
        objects::cases(),
        pair::cases(),
        way_back::cases(),
    ]
    .concat_ids()
    .into_iter()
    .collect();
    for guardrail in GUARDRAILS {
        assert!(
            all.contains(&guardrail.id),
            "{} has no case that stops",
            guardrail.id
        );
    }
}

trait ConcatIds {
    fn concat_ids(self) -> Vec<Id>;
}

impl<const N: usize> ConcatIds for [Vec<Case>; N] {
    fn concat_ids(self) -> Vec<Id> {
        self.into_iter()
            .flatten()
            .filter(|c| c.severity == Severity::Stop)
            .map(|c| c.id)
            .collect()
    }
}
