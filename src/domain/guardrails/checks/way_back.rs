//! `reverse-path`: whether blue could follow green after the switch, by rules. That it does is tried for real when the way
//! back is wired, before the hold.

use super::{identity, is_on, variables};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::{Finding, Survey, finding::Findings};
use crate::domain::ids::Side;
use crate::domain::replication::{ReplicaStatus, why_not_follow};
use crate::domain::server::{Family, Version};

/// What stands in the way of blue's following green.
pub fn reverse_path(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::REVERSE_PATH, survey.scope);
    for obstacle in obstacles(&mut found, survey) {
        let limit = "blue can follow green";
        let consequence = "else what is written after the switch is lost on the way back: \
                           `switch: { accept_no_way_back: true }` says that you know";
        if survey.limits.way_back && !obstacle.is_risk {
            let remedy = format!("{}; {consequence}", obstacle.remedy);
            found.stop(Side::Blue, obstacle.seen, limit, remedy);
        } else {
            found.warn(Side::Blue, obstacle.seen, limit, obstacle.remedy);
        }
    }
    if found.is_clean() {
        found.ok(None, "nothing is known that would keep blue from following green");
    }
    found.done()
}

struct Obstacle {
    seen: String,
    remedy: &'static str,
    /// It may work all the same.
    is_risk: bool,
}

fn obstacles(found: &mut Findings, survey: &Survey) -> Vec<Obstacle> {
    let (Some(blue), Some(green)) = (
        identity(found, Side::Blue, &survey.blue),
        identity(found, Side::Green, &survey.green),
    ) else {
        return Vec::new();
    };
    let (Some(blue_names), Some(green_names)) = (
        variables(found, Side::Blue, &survey.blue),
        variables(found, Side::Green, &survey.green),
    ) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let mut stops = |seen: String, remedy| {
        all.push(Obstacle {
            seen,
            remedy,
            is_risk: false,
        });
    };
    if let Some(why) = why_not_follow(&blue.version, &green.version) {
        stops(
            why,
            "there is none (MySQL before 8.0: a stop at 8.0 on the way has one)",
        );
        return all;
    }
    if !["log_replica_updates", "log_slave_updates"]
        .iter()
        .any(|name| is_on(blue_names, name))
    {
        stops(
            "log_replica_updates is OFF on blue: what it applies from green is not in its binlog, so green could not follow \
             it again"
                .to_owned(),
            "start blue with log_replica_updates (MariaDB, and MySQL before 8.0.26: log_slave_updates)",
        );
    }
    if let Some(channels) = found.need(
        Side::Blue,
        &survey.blue.channels,
        "see why SHOW REPLICA STATUS was refused",
    ) {
        let follows_green = |channel: &ReplicaStatus| {
            channel.channel.is_empty() && channel.source_server_id == Some(green.server.server_id)
        };
        if !channels.iter().all(follows_green) {
            let names: Vec<String> = channels
                .iter()
                .map(|channel| format!("{}:{}", channel.source_host, channel.source_port))
                .collect();
            stops(
                format!("blue follows {} already", names.join(" and ")),
                "stop and remove that replication (RESET REPLICA ALL)",
            );
        }
    }
    if green.version.family == Family::MySql {
        mysql(&mut stops, (&blue.version, blue_names), green_names);
    }
    if is_newer_series(&green.version, &blue.version) {
        all.push(Obstacle {
            seen: format!(
                "green ({}) is newer than blue ({}): no vendor promises that an older server follows a newer one",
                green.version, blue.version
            ),
            remedy: "use nothing that blue does not know (new collations, types, SQL) until going back is given up",
            is_risk: true,
        });
    }
    all
}

fn mysql(
    stops: &mut impl FnMut(String, &'static str),
    (blue, blue_names): (&Version, &super::Names),
    green_names: &super::Names,
) {
    let gtid = |names: &super::Names| {
        names
            .get("gtid_mode")
            .is_some_and(|mode| mode.eq_ignore_ascii_case("ON"))
    };
    if gtid(green_names) && !gtid(blue_names) {
        stops(
            "gtid_mode is ON on green and not on blue, which then cannot follow it".to_owned(),
            "turn GTIDs on on blue (`gtid_mode = ON`, step by step), or off on green",
        );
    }
    let partial = green_names
        .get("binlog_row_value_options")
        .is_some_and(|options| !options.is_empty());
    if partial && !blue.is_mysql_from((8, 0, 3)) {
        stops(
            format!("green writes partial JSON (binlog_row_value_options), which {blue} does not read"),
            "SET GLOBAL binlog_row_value_options = '' on green",
        );
    }
    if is_on(green_names, "binlog_transaction_compression") && !blue.is_mysql_from((8, 0, 20)) {
        stops(
            format!(
                "green compresses its binlog (binlog_transaction_compression), which {blue} does not read"
            ),
            "SET GLOBAL binlog_transaction_compression = OFF on green",
        );
    }
}

/// Whether one server is of a newer series than another: MySQL 8.4 than 8.0, MariaDB 11.8 than 10.11.
fn is_newer_series(one: &Version, other: &Version) -> bool {
    let series = |version: &Version| (version.number.0, version.number.1);
    series(one) > series(other)
}
