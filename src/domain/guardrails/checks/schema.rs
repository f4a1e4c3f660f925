//! `schema-diff`: the same objects, in the same form, on both sides.

use std::collections::BTreeMap;

use super::{identity, tables::READ_SCHEMA};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::normal::objects::{ObjectName, Properties, flatten};
use crate::domain::guardrails::{Finding, Scope, Survey, finding::Findings};
use crate::domain::ids::Side;
use crate::domain::server::Version;

/// More differences of one kind than this are counted, not listed one by one.
const LISTED: usize = 50;

/// Whether everything on green is still to come: an empty green is filled by replication, if blue has its whole history;
/// `purged`, and the plan of the channel, ask for that.
pub fn is_filled_by_replication(survey: &Survey) -> bool {
    let before_following = matches!(survey.scope, Scope::Doctor | Scope::Prepare);
    let (Some(schema), Some(green)) = (survey.green.schema.value(), survey.green.identity.value()) else {
        return false;
    };
    before_following && flatten(schema, &green.version).is_empty()
}

/// Compares every object. Not looked at, because replication does not need it and rows do not depend on it: comments,
/// row formats, statistics, the next generated key (`auto-increment`), names of checks and foreign keys, and bleen's
/// own schema.
pub fn schema_diff(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::SCHEMA_DIFF, survey.scope);
    let (Some(blue), Some(green)) = (
        found.need(Side::Blue, &survey.blue.schema, READ_SCHEMA),
        found.need(Side::Green, &survey.green.schema, READ_SCHEMA),
    ) else {
        return found.done();
    };
    let (Some(blue_id), Some(green_id)) = (
        identity(&mut found, Side::Blue, &survey.blue),
        identity(&mut found, Side::Green, &survey.green),
    ) else {
        return found.done();
    };
    let on_blue = flatten(blue, &blue_id.version);
    let on_green = flatten(green, &green_id.version);
    if is_filled_by_replication(survey) && !on_blue.is_empty() {
        found.ok(
            Side::Green,
            format!(
                "green is empty: {} objects would come with blue's binlog",
                on_blue.len()
            ),
        );
        return found.done();
    }
    let mut count = 0_usize;
    for (name, mine) in &on_blue {
        let Some(theirs) = on_green.get(name) else {
            count += 1;
            if count <= LISTED {
                found.stop(
                    Side::Green,
                    format!("{} {} is missing on green", name.0, name.1),
                    "on both sides",
                    "create it on green with sql_log_bin = 0, or seed green again",
                );
            }
            continue;
        };
        for difference in differences(mine, theirs) {
            count += 1;
            if count <= LISTED {
                report(&mut found, name, difference, &blue_id.version, &green_id.version);
            }
        }
    }
    more_on_green(&mut found, &on_blue, &on_green);
    if count > LISTED {
        found.stop(
            None,
            format!("{} more differences", count - LISTED),
            "none",
            "look at the first ones: they often have one cause",
        );
    }
    if found.is_clean() {
        found.ok(
            None,
            format!("{} objects are the same on both sides", on_blue.len()),
        );
    }
    found.done()
}

/// A property that differs: its name, blue's value, green's value.
type Difference<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

fn differences<'a>(mine: &'a Properties, theirs: &'a Properties) -> Vec<Difference<'a>> {
    let mut names: Vec<&String> = mine.keys().chain(theirs.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|n| {
            (
                n.as_str(),
                mine.get(n).map(String::as_str),
                theirs.get(n).map(String::as_str),
            )
        })
        .filter(|(_, a, b)| a != b)
        .collect()
}

fn report(
    found: &mut Findings,
    name: &ObjectName,
    (property, mine, theirs): Difference<'_>,
    blue: &Version,
    green: &Version,
) {
    let object = format!("{} {}", name.0, name.1);
    let remedy = "make green as blue with sql_log_bin = 0, or waive this if the difference is meant";
    match (mine, theirs) {
        // An index that only green has changes no row; many a move brings one along.
        (None, Some(theirs)) if property.starts_with("index ") && !theirs.starts_with("unique") => found
            .warn(
                Side::Green,
                format!("{object}: {property} is only on green: {theirs}"),
                "the same on both",
                remedy,
            ),
        (None, Some(theirs)) => {
            found.stop(
                Side::Green,
                format!("{object}: {property} is only on green: {}", cut(theirs)),
                "the same on both",
                remedy,
            );
        }
        (Some(mine), None) => {
            found.stop(
                Side::Green,
                format!("{object}: {property} is missing on green: {}", cut(mine)),
                "the same on both",
                remedy,
            );
        }
        (Some(mine), Some(theirs)) => {
            let seen = format!(
                "{object}: {property} is `{}` on green and `{}` on blue",
                cut(theirs),
                cut(mine)
            );
            // Two families, or two versions far apart, print a view or an expression in ways that cannot all be
            // brought to one spelling.
            let spelling = property == "definition" && blue.number != green.number
                || blue.family != green.family && (mine.contains('(') && theirs.contains('('));
            if spelling {
                found.warn(
                    None,
                    format!("{seen}: perhaps only spelled differently"),
                    "the same meaning",
                    "compare by hand",
                );
            } else {
                found.stop(Side::Green, seen, "the same on both", remedy);
            }
        }
        (None, None) => {}
    }
}

fn more_on_green(
    found: &mut Findings,
    on_blue: &BTreeMap<ObjectName, Properties>,
    on_green: &BTreeMap<ObjectName, Properties>,
) {
    for name in on_green.keys().filter(|n| !on_blue.contains_key(*n)).take(LISTED) {
        let (seen, limit) = (format!("{} {} is only on green", name.0, name.1), "on both sides");
        // A trigger or an event that only green has would write.
        if matches!(name.0, "trigger" | "event") {
            found.stop(
                Side::Green,
                seen,
                limit,
                "drop it on green with sql_log_bin = 0, or create it on blue",
            );
        } else {
            found.warn(Side::Green, seen, limit, "see whose it is");
        }
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() > 160 {
        text.chars().take(159).chain(['…']).collect()
    } else {
        text.to_owned()
    }
}
