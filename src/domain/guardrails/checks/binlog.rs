//! `binlog`, `gtid`, `purged`, `retention`, `errant-transactions`: what the two histories have to be like.

use std::time::Duration;

use super::{ASK_AGAIN, Names, family, first, identity, is_on, number, sample, variables, written};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::facts::{Positions, gtids_beyond};
use crate::domain::guardrails::{Finding, Known, Scope, Survey, finding::Findings};
use crate::domain::ids::Side;
use crate::domain::position::GtidSet;
use crate::domain::server::Family;

const READ_POSITIONS: &str = "grant REPLICATION CLIENT (MariaDB: BINLOG MONITOR) to bleen's account";

/// Both sides write a binlog of rows, and green writes down what it applies.
pub fn binlog(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::BINLOG, survey.scope);
    for (side, facts) in survey.sides() {
        let Some(names) = variables(&mut found, side, facts) else {
            continue;
        };
        if !is_on(names, "log_bin") {
            found.stop(side, "log_bin is OFF", "ON", format!("start {side} with log_bin"));
            continue;
        }
        let format = first(names, &["binlog_format"]).unwrap_or("ROW");
        if !format.eq_ignore_ascii_case("ROW") {
            found.stop(
                side,
                format!("binlog_format is {format}"),
                "ROW",
                "SET GLOBAL binlog_format = 'ROW' and have the application reconnect: sessions keep the old one",
            );
        }
        let image = first(names, &["binlog_row_image"]).unwrap_or("FULL");
        if !image.to_ascii_uppercase().starts_with("FULL") {
            found.warn(
                side,
                format!("binlog_row_image is {image}"),
                "FULL",
                "SET GLOBAL binlog_row_image = 'FULL': without it a table without a key cannot be followed row by row",
            );
        }
        let partial = first(names, &["binlog_row_value_options"]).unwrap_or_default();
        if !partial.is_empty() && family(survey.side(side.other())) == Some(Family::MariaDb) {
            found.stop(
                side,
                format!("binlog_row_value_options is {partial}"),
                "empty",
                "SET GLOBAL binlog_row_value_options = '': MariaDB cannot read partial JSON",
            );
        }
        for filter in ["binlog_do_db", "binlog_ignore_db"] {
            if let Some(value) = names.get(filter).filter(|v| !v.is_empty()) {
                found.stop(
                    side,
                    format!("{filter} is {value}"),
                    "no filter",
                    format!("start {side} without {filter}: what it leaves out never reaches the other side"),
                );
            }
        }
        let logs_applied = ["log_replica_updates", "log_slave_updates"]
            .iter()
            .any(|n| is_on(names, n));
        if side == Side::Green && !logs_applied {
            found.stop(
                side,
                "log_replica_updates is OFF",
                "ON",
                "start green with log_replica_updates: nothing could follow it, and its positions are no lower bound",
            );
        }
    }
    if found.is_clean() {
        found.ok(
            None,
            "both sides write rows, and green writes down what it applies",
        );
    }
    found.done()
}

/// GTID modes that fit together.
pub fn gtid(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::GTID, survey.scope);
    let (Some(blue), Some(green)) = (
        identity(&mut found, Side::Blue, &survey.blue),
        identity(&mut found, Side::Green, &survey.green),
    ) else {
        return found.done();
    };
    let (Some(blue_names), Some(green_names)) = (
        variables(&mut found, Side::Blue, &survey.blue),
        variables(&mut found, Side::Green, &survey.green),
    ) else {
        return found.done();
    };
    match (blue.version.family, green.version.family) {
        (Family::MariaDb, Family::MariaDb) => {
            for (side, names) in [(Side::Blue, blue_names), (Side::Green, green_names)] {
                if !is_on(names, "gtid_strict_mode") {
                    found.stop(
                        side,
                        "gtid_strict_mode is OFF",
                        "ON",
                        "SET GLOBAL gtid_strict_mode = ON, here and in the option file: without it a side may execute \
                         out of order, and positions prove nothing",
                    );
                }
            }
            one_writer_a_domain(&mut found, survey);
            if found.is_clean() {
                found.ok(None, "GTIDs on both sides, strict");
            }
        }
        (Family::MySql, Family::MySql) => mysql_modes(&mut found, blue_names, green_names),
        _ => file_and_offset(&mut found, "the two families have different GTIDs"),
    }
    found.done()
}

/// Within one domain sequence numbers tell the order only if one server writes at a time. What green wrote in blue's
/// domain and blue has too is the history of an earlier change of roles; what blue has not got was written beside it,
/// with numbers that blue gives as well.
fn one_writer_a_domain(found: &mut Findings, survey: &Survey) {
    let (Some(blue), Some(green)) = (survey.blue.identity.value(), survey.green.identity.value()) else {
        return;
    };
    let (
        Some(Positions::MariaDb {
            binlog_state: theirs, ..
        }),
        Some(Positions::MariaDb {
            binlog_state: own, ..
        }),
    ) = (
        found.need(Side::Blue, &survey.blue.positions, READ_POSITIONS),
        found.need(Side::Green, &survey.green.positions, READ_POSITIONS),
    )
    else {
        return;
    };
    let beside: Vec<_> = own
        .iter()
        .filter(|(domain, server, _)| {
            *server == green.server.server_id && Some(*domain) == blue.server.gtid_domain_id
        })
        .copied()
        .collect();
    let beside = mariadb_errant(&beside, theirs);
    if !beside.is_empty() {
        found.stop(
            Side::Green,
            format!(
                "green wrote in blue's gtid_domain_id beside blue: {}",
                sample(&beside)
            ),
            "one writer in a domain",
            "seed green again, or bring these over first and then RESET MASTER on green; where several servers write, \
             each wants a gtid_domain_id of its own",
        );
    }
}

fn mysql_modes(found: &mut Findings, blue: &Names, green: &Names) {
    let mode = |names: &Names| first(names, &["gtid_mode"]).unwrap_or("OFF").to_ascii_uppercase();
    let (blue_mode, green_mode) = (mode(blue), mode(green));
    match (blue_mode.as_str(), green_mode.as_str()) {
        ("ON", "ON") => {
            for (side, names) in [(Side::Blue, blue), (Side::Green, green)] {
                if !is_on(names, "enforce_gtid_consistency") {
                    found.stop(
                        side,
                        "enforce_gtid_consistency is not ON",
                        "ON",
                        "SET GLOBAL enforce_gtid_consistency = ON after a time with WARN and a clean error log",
                    );
                }
            }
            if found.is_clean() {
                found.ok(None, "GTIDs on both sides");
            }
        }
        ("OFF", "OFF") => file_and_offset(found, "gtid_mode is OFF on both sides"),
        _ => found.stop(
            None,
            format!("gtid_mode is {blue_mode} on blue and {green_mode} on green"),
            "ON on both, or OFF on both",
            "bring both to ON through OFF_PERMISSIVE and ON_PERMISSIVE, or both to OFF",
        ),
    }
}

fn file_and_offset(found: &mut Findings, why: &str) {
    found.warn(
        None,
        format!("{why}: replication by file and offset"),
        "GTIDs on both sides",
        "lost by it: foreign transactions on green are not seen, a crashed green may apply twice or not at all unless \
         its replication state is in InnoDB, and a position says nothing on the other side",
    );
}

/// Everything that green still needs is in blue's binlogs.
pub fn purged(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::PURGED, survey.scope);
    let (Some(blue), Some(green)) = (
        found.need(Side::Blue, &survey.blue.positions, READ_POSITIONS),
        found.need(Side::Green, &survey.green.positions, READ_POSITIONS),
    ) else {
        return found.done();
    };
    let seed = "seed green from a newer copy of blue, with its position";
    match (blue, green) {
        (Positions::MySql { purged, .. }, Positions::MySql { executed, .. }) => {
            let missing = purged.minus(executed);
            if missing.is_empty() {
                found.ok(None, "blue still has every transaction that green needs");
            } else {
                found.stop(
                    Side::Blue,
                    format!(
                        "blue purged {} transactions that green needs: {missing}",
                        missing.count()
                    ),
                    "none",
                    seed,
                );
            }
        }
        (Positions::MariaDb { purged, .. }, Positions::MariaDb { replica_pos, .. }) => {
            let Some(purged) = found.need(
                Side::Blue,
                purged,
                "grant REPLICATION SLAVE (MariaDB: also BINLOG MONITOR) to bleen's account on blue",
            ) else {
                return found.done();
            };
            // Only what was applied counts: what green wrote by itself in the same domain has higher numbers, too.
            let has = |domain: u32, number: u64| {
                number == 0 || replica_pos.iter().any(|(d, _, n)| *d == domain && *n >= number)
            };
            let missing: Vec<String> = purged
                .iter()
                .filter(|(domain, _, n)| !has(*domain, *n))
                .map(|(d, s, n)| format!("{d}-{s}-{n}"))
                .collect();
            if missing.is_empty() {
                found.ok(None, "blue still has every transaction that green needs");
            } else {
                found.stop(
                    Side::Blue,
                    format!(
                        "blue purged transactions up to {}, which green needs",
                        missing.join(",")
                    ),
                    "none",
                    seed,
                );
            }
        }
        _ => by_file(&mut found, survey, seed),
    }
    found.done()
}

fn by_file(found: &mut Findings, survey: &Survey, seed: &str) {
    let Some(files) = found.need(Side::Blue, &survey.blue.binlogs, READ_POSITIONS) else {
        return;
    };
    let Some(channels) = found.need(Side::Green, &survey.green.channels, READ_POSITIONS) else {
        return;
    };
    match channels
        .first()
        .and_then(|c| c.executed_to.as_ref())
        .map(|p| p.file.as_str())
        .filter(|f| !f.is_empty())
    {
        None => found.not_known(
            Side::Green,
            "green follows nobody yet, and without GTIDs it does not say where it has to begin",
            "give `replication.start` in the playbook; prepare looks again",
        ),
        Some(file) if files.iter().any(|(name, _)| name == file) => {
            found.ok(None, format!("blue still has {file}, where green is"));
        }
        Some(file) => found.stop(
            Side::Blue,
            format!("blue no longer has {file}, where green is"),
            "kept",
            seed,
        ),
    }
}

/// Binlogs stay as long as they are needed.
pub fn retention(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::RETENTION, survey.scope);
    let needed = survey.limits.keep_binlogs;
    for (side, facts) in survey.sides() {
        let Some(names) = variables(&mut found, side, facts) else {
            continue;
        };
        if let Some(size) = number(names, "max_binlog_total_size").filter(|n| *n > 0) {
            found.warn(
                side,
                format!("max_binlog_total_size is {size}: binlogs go by size, not by age"),
                "0",
                "SET GLOBAL max_binlog_total_size = 0 for the time of the switch",
            );
        }
        let purging = names
            .get("binlog_expire_logs_auto_purge")
            .is_none_or(|v| is_on_text(v));
        let seconds = number(names, "binlog_expire_logs_seconds")
            .filter(|n| *n > 0)
            .or_else(|| {
                let days: f64 = names.get("expire_logs_days")?.trim().parse().ok()?;
                // A day's fraction (MariaDB allows one) is cut to whole seconds.
                (days > 0.0).then_some((days * 86_400.0) as u64)
            });
        match seconds {
            Some(seconds) if purging && Duration::from_secs(seconds) < needed => found.stop(
                side,
                format!(
                    "binlogs are purged after {}",
                    written(Duration::from_secs(seconds))
                ),
                format!("at least {}", written(needed)),
                "raise binlog_expire_logs_seconds (or expire_logs_days) for the time of the switch",
            ),
            Some(seconds) if purging => {
                found.ok(
                    side,
                    format!("binlogs stay for {}", written(Duration::from_secs(seconds))),
                );
            }
            _ => found.ok(side, "binlogs are not purged by age"),
        }
    }
    found.done()
}

fn is_on_text(value: &str) -> bool {
    matches!(value.to_ascii_uppercase().as_str(), "ON" | "1")
}

/// The side that only follows has executed nothing of its own.
pub fn errant(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::ERRANT_TRANSACTIONS, survey.scope);
    // After promote the roles are exchanged: blue must have nothing that green has not.
    let follower = if survey.scope == Scope::After {
        Side::Blue
    } else {
        Side::Green
    };
    let (Some(theirs), Some(own)) = (
        found.need(
            follower.other(),
            &survey.side(follower.other()).positions,
            READ_POSITIONS,
        ),
        found.need(follower, &survey.side(follower).positions, READ_POSITIONS),
    ) else {
        return found.done();
    };
    match (own, theirs) {
        (Positions::MySql { executed: own, .. }, Positions::MySql { executed: theirs, .. }) => {
            mysql_errant(&mut found, survey, follower, own, theirs);
        }
        (
            Positions::MariaDb {
                binlog_state: own, ..
            },
            Positions::MariaDb {
                binlog_state: theirs, ..
            },
        ) => {
            let foreign = mariadb_errant(own, theirs);
            if foreign.is_empty() {
                found.ok(follower, format!("{follower} executed nothing of its own"));
            } else {
                found.stop(
                    follower,
                    format!(
                        "{follower} executed up to {}, which {} did not{}",
                        sample(&foreign),
                        follower.other(),
                        first_statements(survey, follower)
                    ),
                    "none",
                    errant_remedy(follower),
                );
            }
        }
        _ => without_gtids(&mut found, survey, follower),
    }
    found.done()
}

/// What `own` went beyond `theirs` in, as GTIDs.
fn mariadb_errant(own: &[(u32, u32, u64)], theirs: &[(u32, u32, u64)]) -> Vec<String> {
    let beyond = gtids_beyond(own, theirs);
    beyond.iter().map(|(d, s, n)| format!("{d}-{s}-{n}")).collect()
}

/// Whether it is certain that a side executed nothing that the other did not.
pub(super) fn has_nothing_of_its_own(survey: &Survey, side: Side) -> bool {
    let positions = |side: Side| survey.side(side).positions.value();
    match (positions(side), positions(side.other())) {
        (Some(own), Some(theirs)) => theirs.has_all_of(own) == Some(true),
        _ => false,
    }
}

fn mysql_errant(found: &mut Findings, survey: &Survey, follower: Side, own: &GtidSet, theirs: &GtidSet) {
    let errant = own.minus(theirs);
    if errant.is_empty() {
        found.ok(
            follower,
            format!("{follower} executed nothing that {} did not", follower.other()),
        );
        return;
    }
    let made_by = |side: Side| {
        let identity = survey.side(side).identity.value();
        let uuid = identity.and_then(|i| i.server.server_uuid.as_ref());
        uuid.map_or(0, |uuid| errant.from_server(uuid).count())
    };
    let (own, shipped) = (made_by(follower), made_by(follower.other()));
    found.stop(
        follower,
        format!(
            "{follower} executed {} transactions that {other} did not ({own} of {follower}'s making, {shipped} of \
             {other}'s): {errant}{statements}",
            errant.count(),
            other = follower.other(),
            statements = first_statements(survey, follower),
        ),
        "none",
        if shipped == errant.count() {
            format!(
                "they came from {0}: a commit there waits for a semi-synchronous acknowledgement, or {0} lost them in a \
                 crash and must not go on",
                follower.other()
            )
        } else {
            errant_remedy(follower)
        },
    );
}

/// What the first of them did, as far as the follower's binlog still says it.
fn first_statements(survey: &Survey, follower: Side) -> String {
    match &survey.side(follower).foreign_statements {
        Known::Known(first) if first.is_empty() => "; its binlog no longer holds them".to_owned(),
        Known::Known(first) => format!("; the first: {}", first.join("; ")),
        Known::Unknown(why) => format!("; what they did was not read: {why}"),
    }
}

fn errant_remedy(follower: Side) -> String {
    format!(
        "look at them with SHOW BINLOG EVENTS on {follower}; if they are harmless, seed {follower} again or commit empty \
         transactions with these ids on {}; if not, bring their rows over first",
        follower.other()
    )
}

/// Without GTIDs only the flags speak: a follower that is read-only now has at least no writers now.
fn without_gtids(found: &mut Findings, survey: &Survey, follower: Side) {
    let facts = survey.side(follower);
    match &facts.variables {
        Known::Known(names) if is_on(names, "super_read_only") || is_on(names, "read_only") => found.warn(
            follower,
            format!(
                "GTIDs cannot be compared; {follower} is read-only now, what it executed before is not known"
            ),
            "GTIDs on both sides",
            "compare the data before the switch",
        ),
        Known::Known(_) if survey.scope == Scope::Doctor => found.warn(
            follower,
            format!("GTIDs cannot be compared, and {follower} is not read-only yet"),
            "read-only from the copy on",
            format!("set {follower} read-only now; prepare does it too"),
        ),
        Known::Known(_) => found.stop(
            follower,
            format!("GTIDs cannot be compared, and {follower} is not read-only"),
            "read-only",
            format!("SET GLOBAL read_only = ON on {follower}, and compare the data"),
        ),
        Known::Unknown(why) => found.not_known(follower, why.clone(), ASK_AGAIN),
    }
}
