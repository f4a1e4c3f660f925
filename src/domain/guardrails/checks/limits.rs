//! `waiter-timeouts`, `thread-pool`, `connections`, `capacity`, `disk-space`: what there is enough of.

use std::time::Duration;

use super::{ASK_AGAIN, Names, first, is_on, number, sample, variables, written, written_ms};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::facts::{ServerFacts, SessionKind};
use crate::domain::guardrails::{Finding, Survey, finding::Findings};
use crate::domain::ids::Side;

/// Limits by which a waiting statement would fail before the deadline releases it.
pub fn waiter_timeouts(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::WAITER_TIMEOUTS, survey.scope);
    let deadline = survey.limits.deadline;
    let limit = format!("longer than the deadline of {}", written(deadline));
    let too_short = |duration: Duration| duration <= deadline;
    if let Some(names) = variables(&mut found, Side::Blue, &survey.blue) {
        for name in ["lock_wait_timeout", "innodb_lock_wait_timeout"] {
            if let Some(seconds) = seconds(names, name).filter(|s| too_short(*s)) {
                found.stop(
                    Side::Blue,
                    format!("{name} is {}", written(seconds)),
                    limit.clone(),
                    format!("SET GLOBAL {name} to more, and have the application reconnect; or shorten the deadline"),
                );
            }
        }
        if let Some(seconds) = seconds(names, "max_statement_time").filter(|s| !s.is_zero() && too_short(*s))
        {
            found.stop(
                Side::Blue,
                format!("max_statement_time is {}", written(seconds)),
                limit.clone(),
                "SET GLOBAL max_statement_time = 0 for the time of the switch; or shorten the deadline",
            );
        }
        if let Some(ms) =
            number(names, "max_execution_time").filter(|ms| *ms > 0 && too_short(Duration::from_millis(*ms)))
        {
            found.warn(
                Side::Blue,
                format!(
                    "max_execution_time is {}: a SELECT that waits behind the hold may be ended",
                    written_ms(ms)
                ),
                limit.clone(),
                "SET GLOBAL max_execution_time = 0 for the time of the switch",
            );
        }
    }
    sessions_own(&mut found, survey, &limit);
    room_to_queue(&mut found, survey);
    for account in survey.blue.accounts.value().into_iter().flatten() {
        if account.max_statement_ms > 0 && too_short(Duration::from_millis(account.max_statement_ms)) {
            found.stop(
                Side::Blue,
                format!(
                    "account {} has MAX_STATEMENT_TIME {}",
                    account.name(),
                    written_ms(account.max_statement_ms)
                ),
                limit.clone(),
                "ALTER USER … WITH MAX_STATEMENT_TIME 0 for the time of the switch",
            );
        }
    }
    if found.is_clean() {
        found.ok(
            Side::Blue,
            format!("the server's own limits are {limit}; what clients and pools allow is not seen"),
        );
    }
    found.done()
}

/// Whoever gives up waiting, or comes new, opens another connection while those that wait keep theirs.
fn room_to_queue(found: &mut Findings, survey: &Survey) {
    let Some(status) = found.need(Side::Blue, &survey.blue.status, ASK_AGAIN) else {
        return;
    };
    let most = survey
        .blue
        .variables
        .value()
        .and_then(|names| number(names, "max_connections"));
    let (Some(most), Some(used)) = (most, number(status, "threads_connected")) else {
        return;
    };
    let spare = most.saturating_sub(used);
    if spare < used.min(survey.limits.spare_connections.saturating_mul(10)) {
        found.warn(
            Side::Blue,
            format!("{spare} of {most} connections are free for clients that come while {used} may wait"),
            "one for each that waits",
            "raise max_connections for the time of the switch, or shorten the deadline",
        );
    }
}

fn sessions_own(found: &mut Findings, survey: &Survey, limit: &str) {
    let deadline = survey.limits.deadline;
    let how = "read performance_schema.variables_by_thread (MySQL 5.7 and later): grant SELECT on performance_schema.*";
    let Some(settings) = found.need(Side::Blue, &survey.blue.session_limits, how) else {
        return;
    };
    let sessions = survey.blue.sessions.value();
    let is_client =
        |id: u64| sessions.is_none_or(|all| all.iter().any(|s| s.id == id && s.kind == SessionKind::Client));
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    for (id, name, value) in settings.iter().filter(|(id, ..)| is_client(*id)) {
        let Ok(amount) = value.trim().parse::<f64>() else {
            continue;
        };
        let only_reads = name == "max_execution_time";
        let own = Duration::try_from_secs_f64(amount.max(0.0) / if only_reads { 1_000.0 } else { 1.0 })
            .unwrap_or(Duration::MAX);
        let unlimited = own.is_zero() && !name.contains("lock_wait");
        if unlimited || own > deadline {
            continue;
        }
        let list = if only_reads { &mut reads } else { &mut writes };
        list.push(format!("session {id} has {name} = {value}"));
    }
    if !writes.is_empty() {
        found.stop(
            Side::Blue,
            sample(&writes),
            limit,
            "raise the application's own setting, or shorten the deadline",
        );
    }
    if !reads.is_empty() {
        found.warn(
            Side::Blue,
            format!(
                "a SELECT that waits behind the hold may be ended: {}",
                sample(&reads)
            ),
            limit,
            "raise the application's own setting, or shorten the deadline",
        );
    }
}

/// A setting in seconds, with a fraction where the server prints one.
fn seconds(names: &Names, name: &str) -> Option<Duration> {
    let value: f64 = names.get(name)?.trim().parse().ok()?;
    Duration::try_from_secs_f64(value).ok()
}

/// A pool whose threads could all be taken by waiting writers.
pub fn thread_pool(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::THREAD_POOL, survey.scope);
    let Some(names) = variables(&mut found, Side::Blue, &survey.blue) else {
        return found.done();
    };
    let handling = first(names, &["thread_handling"]).unwrap_or("one-thread-per-connection");
    if handling == "loaded-dynamically" {
        found.not_known(
            Side::Blue,
            "connections are handled by a plugin",
            "set thread_handling = one-thread-per-connection for the time of the switch",
        );
        return found.done();
    }
    if handling != "pool-of-threads" {
        found.ok(Side::Blue, format!("thread_handling is {handling}"));
        return found.done();
    }
    let threads = number(names, "thread_pool_max_threads");
    let connections = number(names, "max_connections");
    match (threads, connections) {
        (Some(threads), Some(connections)) => {
            let needed = connections.saturating_add(survey.limits.spare_threads);
            let seen = format!("{threads} threads at most for {connections} connections");
            if threads < needed {
                found.stop(
                    Side::Blue,
                    seen,
                    format!("at least {needed}: else waiting writers fill the pool and nothing can release the hold"),
                    format!("SET GLOBAL thread_pool_max_threads = {needed}, or lower max_connections"),
                );
            } else {
                found.ok(Side::Blue, seen);
            }
        }
        _ => found.not_known(Side::Blue, "the size of the thread pool was not read", ASK_AGAIN),
    }
    found.done()
}

/// Spare connections on both sides.
pub fn connections(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::CONNECTIONS, survey.scope);
    for (side, facts) in survey.sides() {
        let Some(names) = variables(&mut found, side, facts) else {
            continue;
        };
        let Some(status) = found.need(side, &facts.status, ASK_AGAIN) else {
            continue;
        };
        let (Some(most), Some(used)) = (
            number(names, "max_connections"),
            number(status, "threads_connected"),
        ) else {
            found.not_known(side, "the number of connections was not read", ASK_AGAIN);
            continue;
        };
        let spare = most.saturating_sub(used);
        let seen = format!("{used} of {most} connections are used");
        let needed = survey.limits.spare_connections;
        if spare < needed {
            found.stop(
                side,
                seen,
                format!("{needed} to spare"),
                "raise max_connections, or name an extra_port or admin_port in the playbook",
            );
        } else if used.saturating_mul(10) > most.saturating_mul(9) {
            found.warn(
                side,
                seen,
                "90 %",
                "raise max_connections: waiting clients open more",
            );
        } else {
            found.ok(side, seen);
        }
    }
    found.done()
}

/// Whether green is large enough for what blue uses.
pub fn capacity(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::CAPACITY, survey.scope);
    let (Some(blue), Some(green)) = (
        variables(&mut found, Side::Blue, &survey.blue),
        variables(&mut found, Side::Green, &survey.green),
    ) else {
        return found.done();
    };
    let Some(status) = found.need(Side::Blue, &survey.blue.status, ASK_AGAIN) else {
        return found.done();
    };
    if let (Some(used), Some(most)) = (
        number(status, "max_used_connections"),
        number(green, "max_connections"),
    ) && most < used.saturating_add(survey.limits.spare_connections)
    {
        found.stop(
            Side::Green,
            format!("max_connections is {most}, and blue has had {used} connections at once"),
            format!("{used} and {} to spare", survey.limits.spare_connections),
            "raise max_connections on green",
        );
    }
    let pool = "innodb_buffer_pool_size";
    if let (Some(blue_pool), Some(green_pool)) = (number(blue, pool), number(green, pool)) {
        let used = number(status, "innodb_buffer_pool_bytes_data").unwrap_or(0);
        if green_pool < blue_pool {
            let seen = format!(
                "{pool} is {} on green and {} on blue, where {} hold pages",
                mib(green_pool),
                mib(blue_pool),
                mib(used)
            );
            if green_pool < used {
                found.stop(
                    Side::Green,
                    seen,
                    "what blue uses",
                    format!("raise {pool} on green"),
                );
            } else {
                found.warn(Side::Green, seen, "as on blue", format!("raise {pool} on green"));
            }
        }
    }
    room_for_data(&mut found, survey);
    if found.is_clean() {
        found.ok(
            Side::Green,
            "green allows the connections and the memory that blue uses",
        );
    }
    found.done()
}

/// Whether blue's data would fit on green's disk, beside what green has of it already; where the disk is known.
fn room_for_data(found: &mut Findings, survey: &Survey) {
    let bytes = |facts: &ServerFacts| {
        let schema = facts.schema.value()?;
        Some(schema.tables.iter().map(|t| t.bytes).fold(0, u64::saturating_add))
    };
    let (Some(blue), Some(free)) = (bytes(&survey.blue), free(survey, Side::Green)) else {
        return;
    };
    let there = bytes(&survey.green).unwrap_or(0);
    if free.saturating_add(there) < blue {
        found.stop(
            Side::Green,
            format!(
                "{} are free on green's disk, which holds {} of data; blue holds {}",
                mib(free),
                mib(there),
                mib(blue)
            ),
            "what blue uses",
            "give green a larger disk",
        );
    }
}

fn datadir(facts: &ServerFacts) -> &str {
    facts
        .identity
        .value()
        .map(|i| i.server.datadir.as_str())
        .unwrap_or_default()
}

/// What is free where a side's data lie: as somebody looked it up, or as the server says.
fn free(survey: &Survey, side: Side) -> Option<u64> {
    let looked_up = match side {
        Side::Blue => &survey.plan.free_bytes.0,
        Side::Green => &survey.plan.free_bytes.1,
    };
    let facts = survey.side(side);
    let datadir = datadir(facts);
    let from_server = || {
        let disks = facts.disks.value()?.iter();
        disks
            .filter(|(path, ..)| datadir.starts_with(path.as_str()))
            .max_by_key(|(path, ..)| path.len())
            .map(|(_, _, free)| *free)
    };
    looked_up.value().copied().or_else(from_server)
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes / 1_048_576)
}

/// Room for binlogs and relay logs.
pub fn disk_space(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::DISK_SPACE, survey.scope);
    let needed = survey.limits.free_bytes;
    for (side, facts) in survey.sides() {
        let datadir = datadir(facts);
        match free(survey, side) {
            Some(free) if free < needed => found.stop(
                side,
                format!("{} are free", mib(free)),
                mib(needed),
                "make room: binlogs and relay logs grow during the run",
            ),
            Some(free) => found.ok(side, format!("{} are free", mib(free))),
            None => found.not_known(
                side,
                "the server does not say how much of its disk is free",
                format!(
                    "look with df at {}; MariaDB says it with the plugin DISKS (INSTALL SONAME 'disks')",
                    if datadir.is_empty() {
                        "its data directory"
                    } else {
                        datadir
                    }
                ),
            ),
        }
        if let Some(names) = facts.variables.value()
            && names.get("innodb_read_only").is_some()
            && is_on(names, "innodb_read_only")
        {
            found.stop(
                side,
                "innodb_read_only is ON",
                "OFF",
                "start the server without it",
            );
        }
    }
    found.done()
}
