//! `replication-health`, `lag`, `external-replicas`, `semi-sync`: who follows whom, and how well.

use super::{ASK_AGAIN, first, is_on, number, sample, variables, written, written_ms};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::facts::SessionKind;
use crate::domain::guardrails::{Finding, Scope, Survey, finding::Findings};
use crate::domain::ids::Side;
use crate::domain::replication::ReplicaStatus;

const READ_CHANNELS: &str = "grant REPLICATION CLIENT (MariaDB: SLAVE MONITOR) to bleen's account on green";

/// Green follows blue, all of it, and nobody else.
pub fn health(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::REPLICATION_HEALTH, survey.scope);
    let Some(channels) = found.need(Side::Green, &survey.green.channels, READ_CHANNELS) else {
        return found.done();
    };
    if channels.is_empty() {
        if survey.scope == Scope::Prepare {
            found.ok(Side::Green, "green follows nobody yet");
        } else {
            found.stop(Side::Green, "green follows nobody", "blue", "run `bleen prepare`");
        }
        return found.done();
    }
    if channels.len() > 1 {
        let names: Vec<String> = channels
            .iter()
            .map(|c| format!("{}:{}", c.source_host, c.source_port))
            .collect();
        found.stop(
            Side::Green,
            format!("green follows {} sources: {}", channels.len(), sample(&names)),
            "blue alone",
            "remove the other channels, or switch that pair by hand",
        );
    }
    for channel in channels {
        one_channel(&mut found, survey, channel);
    }
    if let Some(names) = variables(&mut found, Side::Green, &survey.green) {
        let skip = first(names, &["replica_skip_errors", "slave_skip_errors"]).unwrap_or("OFF");
        if !matches!(skip.to_ascii_uppercase().as_str(), "OFF" | "") {
            found.stop(
                Side::Green,
                format!("replica_skip_errors is {skip}"),
                "OFF",
                "start green without it, and compare the data: errors were passed over",
            );
        }
        let mode = first(names, &["replica_exec_mode", "slave_exec_mode"]).unwrap_or("STRICT");
        if !mode.eq_ignore_ascii_case("STRICT") {
            found.stop(
                Side::Green,
                format!("replica_exec_mode is {mode}"),
                "STRICT",
                "SET GLOBAL replica_exec_mode = 'STRICT', and compare the data: missing rows were passed over",
            );
        }
    }
    if found.is_clean() {
        found.ok(
            Side::Green,
            "receiver and applier run, nothing filtered, nothing delayed",
        );
    }
    found.done()
}

fn one_channel(found: &mut Findings, survey: &Survey, channel: &ReplicaStatus) {
    let name = if channel.channel.is_empty() {
        String::new()
    } else {
        format!(" of channel `{}`", channel.channel)
    };
    if let Some(blue) = survey.blue.identity.value().map(|i| &i.server) {
        let other = match (&channel.source_uuid, &blue.server_uuid) {
            (Some(seen), Some(expected)) => !seen.eq_ignore_ascii_case(expected),
            _ => channel.source_server_id.is_some_and(|id| id != blue.server_id),
        };
        if other {
            found.stop(
                Side::Green,
                format!(
                    "the source{name} is {}:{}, which is not blue",
                    channel.source_host, channel.source_port
                ),
                format!("blue: {}", blue.label()),
                "let green follow blue itself",
            );
        }
    }
    if let Some(trouble) = channel.trouble() {
        let error = channel.receiver_error.is_some()
            || channel.applier_error.is_some()
            || !channel.worker_errors.is_empty();
        found.stop(
            Side::Green,
            format!("replication{name}: {trouble}"),
            "receiver and applier running",
            if error {
                "remove the cause of the error, then START REPLICA"
            } else {
                "START REPLICA"
            },
        );
    } else if let Some(error) = channel.receiver_error.as_ref().or(channel.applier_error.as_ref()) {
        found.stop(
            Side::Green,
            format!(
                "replication{name} reports error {}: {}",
                error.code, error.message
            ),
            "no error",
            "remove its cause; the error goes away with the next success",
        );
    }
    if !channel.filters.is_empty() {
        found.stop(
            Side::Green,
            format!("filters{name} are set: {}", channel.filters.join(", ")),
            "none",
            "remove them and seed what they left out: a filtered green is not a copy of blue",
        );
    }
    if channel.delay_seconds > 0 {
        found.stop(
            Side::Green,
            format!(
                "the applier{name} is delayed by {} s on purpose",
                channel.delay_seconds
            ),
            "0 s",
            "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 0",
        );
    }
}

/// Lag by heartbeat.
pub fn lag(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::LAG, survey.scope);
    let Some(lag) = found.need(
        Side::Green,
        &survey.plan.lag,
        "let the heartbeat run for the observation time (`lag.observe`)",
    ) else {
        return found.done();
    };
    let limit = survey.limits.lag;
    let seen = format!(
        "lag is {}, at most {} in the last {}",
        written(lag.now),
        written(lag.most),
        written(lag.observed)
    );
    if lag.most > limit {
        found.stop(
            Side::Green,
            seen,
            written(limit),
            "wait; if it does not fall, see green's apply rate against blue's write rate",
        );
    } else if lag.rising {
        found.stop(
            Side::Green,
            format!("{seen}, and rising"),
            "not rising",
            "wait; raise green's apply workers, or allow `replication.relax_green`",
        );
    } else {
        found.ok(Side::Green, seen);
    }
    found.done()
}

/// Others that follow blue, and what blue follows.
pub fn external_replicas(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::EXTERNAL_REPLICAS, survey.scope);
    let green = survey.green.identity.value().map(|i| &i.server);
    if let Some(replicas) = found.need(
        Side::Blue,
        &survey.blue.replicas,
        "grant REPLICATION SLAVE (MariaDB: REPLICATION MASTER ADMIN) to bleen's account on blue",
    ) {
        // Where only sessions are seen, green's own is one of them if it follows.
        let mut nameless_green = survey
            .green
            .channels
            .value()
            .is_some_and(|c| c.iter().any(ReplicaStatus::is_running));
        let others: Vec<String> = replicas
            .iter()
            .filter(|r| !r.is_own_reader())
            .filter(|r| match (r.server_id, &r.uuid) {
                (Some(_), Some(uuid)) if green.is_some_and(|g| g.server_uuid.is_some()) => {
                    green.and_then(|g| g.server_uuid.as_ref()) != Some(uuid)
                }
                (Some(id), _) => Some(id) != green.map(|g| g.server_id),
                (None, _) => !std::mem::take(&mut nameless_green),
            })
            .map(|r| match r.server_id {
                Some(id) => format!("server_id {id} {}", r.reported).trim().to_owned(),
                None => r.reported.clone(),
            })
            .collect();
        if !others.is_empty() {
            found.stop(
                Side::Blue,
                format!("{} others read blue's binlog: {}", others.len(), sample(&others)),
                "green alone",
                "let them follow green before the switch, or waive this and repoint them afterwards; blue does not say how \
                 far they are, SHOW REPLICA STATUS on each of them does",
            );
        }
    }
    if let Some(sessions) = survey.blue.sessions.value() {
        let dumps: Vec<_> = sessions
            .iter()
            .filter(|s| s.command.starts_with("Binlog Dump"))
            .collect();
        let replicas = survey.blue.replicas.value().map_or(&[][..], Vec::as_slice);
        // Bleen's own is known by what it reported, or by its session.
        let own_replicas = replicas.iter().filter(|r| r.is_own_reader()).count();
        let own_dumps = dumps.iter().filter(|s| s.kind == SessionKind::Own).count();
        let dumps = dumps.len().saturating_sub(own_dumps.max(own_replicas));
        let registered = replicas.len() - own_replicas;
        if dumps > registered {
            found.warn(
                Side::Blue,
                format!("{dumps} sessions read blue's binlog, {registered} said who they are"),
                "every reader known",
                "look for CDC tools and backups in the process list (Binlog Dump)",
            );
        }
    }
    if let Some(channels) = found.need(
        Side::Blue,
        &survey.blue.channels,
        "grant REPLICATION CLIENT (MariaDB: SLAVE MONITOR) to bleen's account on blue",
    ) {
        for channel in channels {
            found.stop(
                Side::Blue,
                format!(
                    "blue itself follows {}:{}{}",
                    channel.source_host,
                    channel.source_port,
                    applied(channel)
                ),
                "nobody",
                "plan who feeds green after the switch; a sealed blue still applies what it receives",
            );
        }
    }
    if found.is_clean() {
        found.ok(
            Side::Blue,
            "nobody but green reads blue's binlog, and blue follows nobody",
        );
    }
    found.done()
}

/// How far a channel has applied, as far as the server says it.
fn applied(channel: &ReplicaStatus) -> String {
    let gtids = channel.executed.as_ref().filter(|_| channel.by_gtid);
    match (gtids, &channel.executed_to) {
        (Some(gtids), _) => format!(" (applied up to {gtids})"),
        (None, Some(place)) if !place.file.is_empty() => format!(" (applied up to {place})"),
        _ => String::new(),
    }
}

/// Semi-synchronous replication that could hold the fence up.
pub fn semi_sync(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::SEMI_SYNC, survey.scope);
    let Some(names) = variables(&mut found, Side::Blue, &survey.blue) else {
        return found.done();
    };
    let Some(status) = found.need(Side::Blue, &survey.blue.status, ASK_AGAIN) else {
        return found.done();
    };
    if !["rpl_semi_sync_master_enabled", "rpl_semi_sync_source_enabled"]
        .iter()
        .any(|n| is_on(names, n))
    {
        found.ok(Side::Blue, "no semi-synchronous replication");
        return found.done();
    }
    let count = |what: &str| {
        ["master", "source"]
            .iter()
            .find_map(|w| number(status, &format!("rpl_semi_sync_{w}_{what}")))
            .unwrap_or(0)
    };
    let wait_ms = ["rpl_semi_sync_master_timeout", "rpl_semi_sync_source_timeout"]
        .iter()
        .find_map(|n| number(names, n))
        .unwrap_or(0);
    let limit_ms = super::millis(survey.limits.longest_statement).max(1_000);
    let stuck: Vec<String> = survey
        .blue
        .sessions
        .value()
        .into_iter()
        .flatten()
        .filter(|s| s.kind == SessionKind::Client && s.age_ms >= limit_ms)
        .filter(|s| s.state.to_ascii_lowercase().contains("semi-sync ack"))
        .map(|s| format!("session {} for {}", s.id, written_ms(s.age_ms)))
        .collect();
    let waits = count("wait_sessions");
    let on = ["rpl_semi_sync_master_status", "rpl_semi_sync_source_status"]
        .iter()
        .any(|n| is_on(status, n));
    let remedy = "see why the acknowledging replica does not answer, or switch semi-synchronous replication off on blue \
                  for the switch (SET GLOBAL rpl_semi_sync_source_enabled = OFF; older: …_master_enabled)";
    if !stuck.is_empty() {
        found.stop(
            Side::Blue,
            format!("waiting for an acknowledgement: {}", sample(&stuck)),
            written_ms(limit_ms),
            remedy,
        );
    } else if waits > 0 && count("clients") == 0 {
        found.stop(
            Side::Blue,
            format!("{waits} sessions wait for an acknowledgement and no replica is there to give it"),
            "none",
            remedy,
        );
    } else if on && count("clients") == 0 && wait_ms > super::millis(survey.limits.deadline) {
        found.stop(
            Side::Blue,
            format!(
                "no replica acknowledges, and commits would wait {} for one",
                written_ms(wait_ms)
            ),
            format!("less than the deadline of {}", written(survey.limits.deadline)),
            remedy,
        );
    } else {
        found.ok(
            Side::Blue,
            format!(
                "semi-synchronous, {} replicas acknowledge, {waits} sessions wait just now",
                count("clients")
            ),
        );
    }
    found.done()
}
