//! `identity`, `server-id-clash`, `version-path`, `clock`: which two servers these are.

use std::time::Duration;

use super::{ASK_AGAIN, identity, written};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::{Finding, Survey, finding::Findings};
use crate::domain::ids::Side;
use crate::domain::server::{Family, Version};

/// Two servers, and the ones of the plan.
pub fn identity_check(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::IDENTITY, survey.scope);
    let (Some(blue), Some(green)) = (
        identity(&mut found, Side::Blue, &survey.blue),
        identity(&mut found, Side::Green, &survey.green),
    ) else {
        return found.done();
    };
    // A copied data directory brings the uuid along: those are two servers, and `server-id-clash` has its say.
    if blue.server.is_same_server(&green.server) {
        found.stop(
            None,
            format!("blue and green are the same server: {}", blue.server.label()),
            "two servers",
            "correct the address of blue or green in the playbook",
        );
    }
    if let Some((expected_blue, expected_green)) = &survey.plan.expected {
        for (side, expected, now) in [
            (Side::Blue, expected_blue, blue),
            (Side::Green, expected_green, green),
        ] {
            if *expected != now.server.label() {
                found.stop(
                    side,
                    format!("{side} is now {}", now.server.label()),
                    format!("{expected}, as when the run began"),
                    "see who moved the address; make a new plan",
                );
            }
        }
    }
    if found.is_clean() {
        found.ok(
            None,
            format!(
                "blue is {}, green is {}",
                blue.server.label(),
                green.server.label()
            ),
        );
    }
    found.done()
}

/// Numbers by which servers tell each other's transactions apart.
pub fn server_id_clash(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::SERVER_ID_CLASH, survey.scope);
    let (Some(blue), Some(green)) = (
        identity(&mut found, Side::Blue, &survey.blue),
        identity(&mut found, Side::Green, &survey.green),
    ) else {
        return found.done();
    };
    for (side, facts) in [(Side::Blue, blue), (Side::Green, green)] {
        if facts.server.server_id == 0 {
            found.stop(
                side,
                "server_id is 0",
                "a number of its own",
                format!("set a unique server_id on {side}"),
            );
        }
    }
    if blue.server.server_id == green.server.server_id {
        found.stop(
            None,
            format!("both sides have server_id {}", blue.server.server_id),
            "different numbers",
            "set another server_id on green, here and in its option file",
        );
    }
    if blue.server.server_uuid.is_some() && blue.server.server_uuid == green.server.server_uuid {
        found.stop(
            None,
            format!("both sides have server_uuid {}", blue.server.label()),
            "different uuids",
            "green's data directory was copied with its auto.cnf: delete that file on green and restart green",
        );
    }
    for replica in survey.blue.replicas.value().into_iter().flatten() {
        if replica.server_id == Some(green.server.server_id)
            && replica.uuid.is_some()
            && replica.uuid != green.server.server_uuid
        {
            found.stop(
                Side::Blue,
                format!(
                    "another replica of blue has green's server_id {}",
                    green.server.server_id
                ),
                "one replica per number",
                "set another server_id on green: two replicas of one number end each other's connection",
            );
        }
    }
    if found.is_clean() {
        found.ok(
            None,
            format!(
                "server_id {} and {}",
                blue.server.server_id, green.server.server_id
            ),
        );
    }
    found.done()
}

/// Series of MySQL in the order in which replication may cross them, one step at a time.
fn mysql_series(version: &Version) -> u32 {
    match version.number {
        (5, minor, _) if minor <= 6 => 0,
        (5, ..) => 1,
        (8, 0, _) => 2,
        (8, ..) => 3,
        (9, ..) => 4,
        (major, ..) => u32::from(major),
    }
}

/// From which version to which.
pub fn version_path(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::VERSION_PATH, survey.scope);
    let (Some(blue), Some(green)) = (
        identity(&mut found, Side::Blue, &survey.blue),
        identity(&mut found, Side::Green, &survey.green),
    ) else {
        return found.done();
    };
    let (blue, green) = (&blue.version, &green.version);
    let path = format!("{blue} to {green}");
    match (blue.family, green.family) {
        (Family::MariaDb, Family::MySql) => found.stop(
            None,
            path,
            "a green that can follow blue",
            "MySQL does not replicate from MariaDB: choose another green",
        ),
        (Family::MySql, Family::MariaDb) if mysql_series(blue) >= 2 => found.stop(
            None,
            path,
            "MySQL 5.5 to 5.7 as blue of a MariaDB",
            "MariaDB does not replicate from MySQL 8.0 and later: move the data by dump, or choose another green",
        ),
        (Family::MySql, Family::MariaDb) => found.warn(
            None,
            format!("{path}, by file and offset"),
            "the same family",
            "rehearse the application's queries on green: the two families differ in types, modes and plans",
        ),
        _ if green.number < blue.number => found.stop(
            None,
            format!("{path}: green is older"),
            "a green at least as new as blue",
            "upgrade green; replication to an older version is not supported",
        ),
        (Family::MySql, Family::MySql) if mysql_series(green) > mysql_series(blue) + 1 => found.stop(
            None,
            format!("{path}: {} series in one step", mysql_series(green) - mysql_series(blue)),
            "one series",
            "go through the series in between, or waive this after a rehearsal: the vendor does not support the jump",
        ),
        _ => found.ok(None, path),
    }
    found.done()
}

/// Clocks. Lag does not depend on them; time limits, certificates and logs do.
pub fn clock(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::CLOCK, survey.scope);
    let (Some(blue), Some(green)) = (
        found.need(Side::Blue, &survey.blue.clock, ASK_AGAIN).copied(),
        found.need(Side::Green, &survey.green.clock, ASK_AGAIN).copied(),
    ) else {
        return found.done();
    };
    let apart = (blue.offset_ms - green.offset_ms).unsigned_abs();
    let off_by = (blue.off_by_ms + green.off_by_ms).unsigned_abs();
    let seen = format!(
        "the clocks are {} apart, give or take {off_by} ms",
        written(Duration::from_millis(apart))
    );
    let limit = survey.limits.clock_apart;
    if Duration::from_millis(apart.saturating_sub(off_by)) > limit {
        found.stop(None, seen, written(limit), "set both servers' clocks by NTP");
    } else {
        found.ok(None, seen);
    }
    found.done()
}
