//! `long-transactions`, `long-statements`, `ddl-in-flight`, `xa-prepared`, `backup-running`, `other-automation`: what
//! goes on right now.

use super::rights::first_hold;
use super::{ASK_AGAIN, family, leading_words, masked, millis, sample, written, written_ms};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::facts::{SessionFact, SessionKind, TableFact};
use crate::domain::guardrails::{Finding, Survey, finding::Findings};
use crate::domain::ids::Side;
use crate::domain::machine::HoldKind;
use crate::domain::server::Family;

const READ_SESSIONS: &str = "grant PROCESS to bleen's account";

fn shown(session: &SessionFact) -> String {
    format!(
        "session {} of {}, {}: {}",
        session.id,
        session.user,
        written_ms(session.age_ms),
        masked(&session.text)
    )
}

/// Whether a client's session runs a statement now.
fn is_running(session: &SessionFact) -> bool {
    session.kind == SessionKind::Client
        && !matches!(session.command.as_str(), "Sleep" | "Daemon")
        && !session.text.is_empty()
}

/// Open transactions on blue that would be shipped and applied under the hold, or block it.
pub fn long_transactions(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::LONG_TRANSACTIONS, survey.scope);
    let Some(open) = found.need(Side::Blue, &survey.blue.transactions, READ_SESSIONS) else {
        return found.done();
    };
    let Some(sessions) = found.need(Side::Blue, &survey.blue.sessions, READ_SESSIONS) else {
        return found.done();
    };
    let age_limit = millis(survey.limits.longest_transaction);
    let row_limit = survey.limits.largest_transaction;
    for transaction in open {
        let session = sessions.iter().find(|s| s.id == transaction.session);
        if session.is_some_and(|s| s.kind != SessionKind::Client) {
            continue;
        }
        let who = session.map_or_else(
            || format!("session {}", transaction.session),
            |s| format!("session {} of {} ({})", s.id, s.user, s.command),
        );
        let remedy =
            "wait for it, have its owner end it, or end its session (a large one takes as long to roll back)";
        if transaction.age_ms >= age_limit {
            found.stop(
                Side::Blue,
                format!(
                    "a transaction is open for {}: {who}",
                    written_ms(transaction.age_ms)
                ),
                written(survey.limits.longest_transaction),
                remedy,
            );
        } else if transaction.changed_rows >= row_limit {
            found.stop(
                Side::Blue,
                format!(
                    "a transaction changed {} rows so far: {who}",
                    transaction.changed_rows
                ),
                format!("{row_limit} rows: they would be applied under the hold"),
                remedy,
            );
        }
    }
    if found.is_clean() {
        found.ok(Side::Blue, format!("{} open transactions, none long", open.len()));
    }
    found.done()
}

/// Whether the hold does not wait for this statement on this family: MariaDB's read lock lets reads go on, MySQL's
/// does not.
fn lets_the_hold_through(family: Option<Family>, text: &str) -> bool {
    let words = leading_words(text, 200);
    let reads = words.first().is_some_and(|w| {
        matches!(
            w.as_str(),
            "SELECT" | "SHOW" | "EXPLAIN" | "DESC" | "DESCRIBE" | "VALUES" | "WITH"
        )
    });
    let locks = words.windows(2).any(|w| {
        matches!(
            (w[0].as_str(), w[1].as_str()),
            ("FOR", "UPDATE") | ("SHARE", "MODE")
        )
    }) || words
        .iter()
        .any(|w| matches!(w.as_str(), "INTO" | "UPDATE" | "DELETE"));
    family == Some(Family::MariaDb) && reads && !locks
}

/// A statement that is only waiting for its commit to reach the disk: it ends with the disk, not with its work, and on
/// a busy server there is always one (seen: 10 to 60 ms on 9.7 and 11.8). 5.6 calls it `query end`.
fn is_committing(session: &SessionFact) -> bool {
    let state = session.state.to_ascii_lowercase();
    state.contains("commit") || state == "query end"
}

/// For how long a commit may take without standing in the way of the hold, in milliseconds: as long as the hold's own
/// statement waits by default.
const COMMIT_MAY_TAKE: u64 = 100;

/// Statements that would make the hold wait, and every writer behind it.
pub fn long_statements(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::LONG_STATEMENTS, survey.scope);
    let Some(sessions) = found.need(Side::Blue, &survey.blue.sessions, READ_SESSIONS) else {
        return found.done();
    };
    let family = family(&survey.blue);
    let limit = millis(survey.limits.longest_statement);
    for session in sessions.iter().filter(|s| is_running(s) && s.age_ms >= limit) {
        let soon_over = is_committing(session) && session.age_ms < COMMIT_MAY_TAKE;
        if soon_over || lets_the_hold_through(family, &session.text) {
            continue;
        }
        let only_reads = leading_words(&session.text, 1) == ["SELECT"];
        if only_reads && survey.limits.end_selects {
            found.warn(
                Side::Blue,
                shown(session),
                written(survey.limits.longest_statement),
                "it will be ended for the hold (`switch.end_selects`)",
            );
        } else {
            found.stop(
                Side::Blue,
                shown(session),
                written(survey.limits.longest_statement),
                if only_reads {
                    "wait for it, or allow `switch.end_selects`"
                } else {
                    "wait for it, or have its owner end it"
                },
            );
        }
    }
    if found.is_clean() {
        found.ok(Side::Blue, "no statement runs that the hold would wait for");
    }
    found.done()
}

const DDL: &[&str] = &[
    "ALTER", "CREATE", "DROP", "TRUNCATE", "RENAME", "OPTIMIZE", "REPAIR",
];

/// DDL, and tools that change schemas online.
pub fn ddl_in_flight(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::DDL_IN_FLIGHT, survey.scope);
    for (side, facts) in survey.sides() {
        if let Some(sessions) = found.need(side, &facts.sessions, READ_SESSIONS) {
            for session in sessions.iter().filter(|s| is_running(s)) {
                let words = leading_words(&session.text, 2);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                if words.first().is_some_and(|w| DDL.contains(w)) {
                    found.stop(side, shown(session), "no DDL", "wait for it");
                }
            }
        }
        if side == Side::Green {
            continue;
        }
        if let Some(names) = found.need(
            side,
            &facts.schema_change_tools,
            "grant SELECT and TRIGGER on *.*",
        ) && !names.is_empty()
        {
            found.stop(
                side,
                format!(
                    "an online schema change is at work or was left behind: {}",
                    sample(names)
                ),
                "none",
                "let the tool finish, or drop what it left",
            );
        }
    }
    if found.is_clean() {
        found.ok(None, "no DDL and no online schema change at work");
    }
    found.done()
}

/// Prepared XA transactions.
pub fn xa_prepared(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::XA_PREPARED, survey.scope);
    let how = "grant XA_RECOVER_ADMIN to bleen's account on blue (MySQL 8.0 and later)";
    if let Some(prepared) = found.need(Side::Blue, &survey.blue.xa_prepared, how) {
        if prepared.is_empty() {
            found.ok(Side::Blue, "no prepared XA transaction");
        } else {
            found.stop(
                Side::Blue,
                format!(
                    "{} prepared XA transactions: {}",
                    prepared.len(),
                    sample(prepared)
                ),
                "none: their commit goes through the seal and would be lost",
                "have the transaction manager commit or roll them back (XA RECOVER lists them)",
            );
        }
    }
    xa_in_use(&mut found, survey);
    if let Some(prepared) = survey.green.xa_prepared.value()
        && !prepared.is_empty()
    {
        found.warn(
            Side::Green,
            format!(
                "{} prepared XA transactions: {}",
                prepared.len(),
                sample(prepared)
            ),
            "none",
            "they came by replication; see that they go once they are resolved on blue",
        );
    }
    found.done()
}

/// Only the global read lock keeps a later XA PREPARE out; its commit would go through the seal.
fn xa_in_use(found: &mut Findings, survey: &Survey) {
    let by_rights = || {
        let version = &survey.blue.identity.value()?.version;
        Some(first_hold(survey.blue.rights.value()?, version).0)
    };
    let Some(hold @ (HoldKind::Tables | HoldKind::Refuse)) = survey.limits.hold.or_else(by_rights) else {
        return;
    };
    let Some(counters) = found.need(Side::Blue, &survey.blue.status, ASK_AGAIN) else {
        return;
    };
    let used: u64 = ["com_xa_start", "com_xa_prepare"]
        .iter()
        .filter_map(|name| counters.get(*name)?.parse::<u64>().ok())
        .sum();
    if used > 0 {
        found.stop(
            Side::Blue,
            format!("XA is in use on blue ({used} XA START and XA PREPARE since its start), and the hold is `{}`", hold.as_str()),
            "no XA, or the hold `lock`",
            "hold by `lock` (RELOAD on blue): the others cannot keep an XA PREPARE out between the fence and the seal",
        );
    }
}

/// Programs that copy a server.
const BACKUP_PROGRAMS: &[&str] = &[
    "mysqldump",
    "mariadb-dump",
    "mydumper",
    "xtrabackup",
    "mariabackup",
    "mariadb-backup",
    "mysqlpump",
    "mysqlbackup",
];

/// Backups, dumps and clones, and locks that they hold.
pub fn backup_running(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::BACKUP_RUNNING, survey.scope);
    for (side, facts) in survey.sides() {
        if let Some(sessions) = found.need(side, &facts.sessions, READ_SESSIONS) {
            for session in sessions.iter().filter(|s| s.kind == SessionKind::Client) {
                let program = session.program.as_deref().unwrap_or_default();
                let words = leading_words(&session.text, 2);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let says_so = matches!(words.as_slice(), ["BACKUP", "STAGE" | "LOCK"] | ["CLONE", _])
                    // As mysqldump and its kin write it; applications write the hint without the comment.
                    || session.text.contains("/*!40001 SQL_NO_CACHE */");
                if BACKUP_PROGRAMS.iter().any(|p| program.contains(p))
                    || session.command == "Clone"
                    || says_so
                {
                    found.stop(
                        side,
                        format!(
                            "session {} of {} copies the server ({})",
                            session.id,
                            session.user,
                            if program.is_empty() {
                                masked(&session.text)
                            } else {
                                program.to_owned()
                            }
                        ),
                        "no backup, dump or clone",
                        "wait for it, or end it",
                    );
                }
            }
        }
        if let Some(locks) = found.need(
            side,
            &facts.global_locks,
            "a read or backup lock of an idle session can be seen with performance_schema.metadata_locks (MySQL 5.7 \
             and later) or the plugin metadata_lock_info (MariaDB: INSTALL SONAME 'metadata_lock_info')",
        ) {
            for (session, what) in locks {
                found.stop(
                    side,
                    format!("session {session} holds {what}"),
                    "none",
                    "see what it is for, and end it: the hold, the drain or the promote would wait for it",
                );
            }
        }
    }
    if found.is_clean() {
        found.ok(None, "no sign of a backup, a dump or a clone");
    }
    found.done()
}

/// User and program names of tools that act on a server becoming read-only, with what they are.
const TOOLS: &[(&str, &str)] = &[
    ("orchestrator", "orchestrator"),
    ("maxscale", "MaxScale"),
    ("mariadbmon", "MaxScale"),
    ("repman", "replication-manager"),
    ("replication-manager", "replication-manager"),
    ("mha", "MHA"),
    ("vttablet", "Vitess"),
    ("vt_dba", "Vitess"),
    ("mysql_innodb_cluster", "InnoDB Cluster"),
    ("mysql-operator", "an operator"),
    ("clusterset", "InnoDB ClusterSet"),
];

/// Tools that only write or read on their own, and would go on doing so.
const WRITERS: &[(&str, &str)] = &[
    ("pt-heartbeat", "pt-heartbeat"),
    ("heartbeat", "a heartbeat writer"),
    ("gh-ost", "gh-ost"),
    ("debezium", "Debezium"),
    ("maxwell", "Maxwell"),
    ("canal", "Canal"),
];

/// Tools that would react to a read-only blue, or go on writing to it.
pub fn other_automation(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::OTHER_AUTOMATION, survey.scope);
    for (side, facts) in survey.sides() {
        let Some(sessions) = found.need(side, &facts.sessions, READ_SESSIONS) else {
            continue;
        };
        let clients = || sessions.iter().filter(|s| s.kind == SessionKind::Client);
        let is = |s: &SessionFact, name: &str| {
            s.user.to_ascii_lowercase() == name
                || s.user.to_ascii_lowercase().starts_with(&format!("{name}_"))
                || s.program
                    .as_deref()
                    .unwrap_or_default()
                    .to_ascii_lowercase()
                    .contains(name)
        };
        for (name, tool) in TOOLS {
            if let Some(session) = clients().find(|s| is(s, name)) {
                found.stop(
                    side,
                    format!("{tool} has a session (session {} of {})", session.id, session.user),
                    "no tool that reacts to a read-only blue",
                    format!("tell {tool} to leave this pair alone (maintenance, downtime) until the switch is confirmed"),
                );
            }
        }
        for (name, tool) in WRITERS {
            if let Some(session) = clients().find(|s| is(s, name)) {
                found.warn(
                    side,
                    format!(
                        "{tool} has a session (session {} of {})",
                        session.id, session.user
                    ),
                    "known and planned for",
                    format!("plan where {tool} connects after the switch"),
                );
            }
        }
    }
    let heartbeats: Vec<String> = survey
        .blue
        .schema
        .value()
        .into_iter()
        .flat_map(|schema| &schema.tables)
        .filter(|t| t.name.eq_ignore_ascii_case("heartbeat") || t.schema == "replication_manager_schema")
        .map(TableFact::full_name)
        .collect();
    if !heartbeats.is_empty() {
        found.warn(
            Side::Blue,
            format!("tables of other tools: {}", sample(&heartbeats)),
            "known and planned for",
            "plan where their writers connect after the switch",
        );
    }
    if let Some(names) = survey.blue.variables.value() {
        if names
            .get("group_replication_group_name")
            .is_some_and(|v| !v.is_empty())
        {
            found.stop(
                Side::Blue,
                "blue is set up for group replication",
                "a single writer",
                "group replication keeps its own read-only flags: switch inside it, or take blue out of the group",
            );
        }
        if names
            .get("wsrep_on")
            .is_some_and(|v| v.eq_ignore_ascii_case("ON"))
        {
            found.stop(
                Side::Blue,
                "blue is a Galera node",
                "a single writer",
                "take it out of the cluster first",
            );
        }
    } else {
        found.not_known(Side::Blue, "blue's settings were not read", ASK_AGAIN);
    }
    if found.is_clean() {
        found.ok(
            None,
            "no session of a known tool; cron jobs cannot be seen from here",
        );
    }
    found.done()
}
