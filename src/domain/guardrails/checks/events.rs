//! `event-scheduler`: no event runs on both sides, and none on neither after the switch.

use std::collections::BTreeSet;

use super::schema::is_filled_by_replication;
use super::{first, sample, variables};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::facts::EventFact;
use crate::domain::guardrails::{Finding, Scope, Survey, finding::Findings};
use crate::domain::ids::Side;

const READ_EVENTS: &str = "grant EVENT on *.* to bleen's account";

/// Scheduled events before and after the switch.
pub fn event_scheduler(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::EVENT_SCHEDULER, survey.scope);
    let (Some(blue), Some(green)) = (
        found.need(Side::Blue, &survey.blue.events, READ_EVENTS),
        found.need(Side::Green, &survey.green.events, READ_EVENTS),
    ) else {
        return found.done();
    };
    let (Some(blue_names), Some(green_names)) = (
        variables(&mut found, Side::Blue, &survey.blue),
        variables(&mut found, Side::Green, &survey.green),
    ) else {
        return found.done();
    };
    let scheduler = |names| {
        first(names, &["event_scheduler"])
            .unwrap_or("OFF")
            .to_ascii_uppercase()
    };
    let (on_blue, on_green) = (scheduler(blue_names), scheduler(green_names));
    let enabled = |events: &[EventFact]| -> BTreeSet<String> {
        events
            .iter()
            .filter(|e| e.enabled)
            .map(|e| e.name.clone())
            .collect()
    };
    let (blue_enabled, green_enabled) = (enabled(blue), enabled(green));
    if survey.scope == Scope::After {
        after(
            &mut found,
            survey,
            &blue_enabled,
            &green_enabled,
            &on_blue,
            &on_green,
        );
        return found.done();
    }
    let twice: Vec<&String> = green_enabled.iter().collect();
    if on_green == "ON" && !twice.is_empty() {
        found.stop(
            Side::Green,
            format!("green runs events of its own: {}", sample(&twice)),
            "none before the switch",
            "SET GLOBAL event_scheduler = OFF on green: with a privileged definer they write although green is read-only",
        );
    } else if !twice.is_empty() {
        found.warn(
            Side::Green,
            format!("events are enabled on green: {}", sample(&twice)),
            "disabled on a replica",
            "ALTER EVENT … DISABLE ON SLAVE on green; its scheduler is off, so they do not run",
        );
    }
    let planned = survey.plan.events_on_blue.as_ref().unwrap_or(&blue_enabled);
    if planned.is_empty() {
        if found.is_clean() {
            found.ok(None, "no event is enabled on blue");
        }
        return found.done();
    }
    let there: BTreeSet<&String> = green.iter().map(|e| &e.name).collect();
    let missing: Vec<&String> = planned.iter().filter(|name| !there.contains(name)).collect();
    let are_to_come = is_filled_by_replication(survey);
    if !missing.is_empty() && !are_to_come {
        found.stop(
            Side::Green,
            format!("events of blue are missing on green: {}", sample(&missing)),
            "every event that blue runs",
            "create them on green; after the switch they would run nowhere",
        );
    }
    if on_green == "DISABLED" {
        found.stop(
            Side::Green,
            "event_scheduler is DISABLED on green and cannot be switched on while it runs",
            "OFF",
            "start green with event_scheduler = OFF; after the switch blue's events would run nowhere",
        );
    }
    if found.is_clean() {
        let stopped = if on_blue == "ON" {
            "quieted before the hold"
        } else {
            "not running now"
        };
        let on_green = if are_to_come {
            "green is empty: they would come with blue's binlog"
        } else {
            "green has them, not running"
        };
        found.ok(
            None,
            format!("{} events on blue, {stopped}; {on_green}", planned.len()),
        );
    }
    found.done()
}

/// Whether green keeps a setting over a restart by itself.
fn can_persist(survey: &Survey) -> bool {
    let identity = survey.green.identity.value();
    identity.is_some_and(|i| i.version.is_mysql_from((8, 0, 0)))
}

fn after(
    found: &mut Findings,
    survey: &Survey,
    blue_enabled: &BTreeSet<String>,
    green_enabled: &BTreeSet<String>,
    on_blue: &str,
    on_green: &str,
) {
    if on_blue == "ON" && !blue_enabled.is_empty() {
        found.stop(
            Side::Blue,
            format!(
                "blue's event scheduler runs again: {}",
                sample(&blue_enabled.iter().collect::<Vec<_>>())
            ),
            "OFF",
            "SET GLOBAL event_scheduler = OFF on blue",
        );
    }
    // Quieting blue stops its scheduler and leaves its events as they are.
    let planned = survey.plan.events_on_blue.as_ref().unwrap_or(blue_enabled);
    let missing: Vec<&String> = planned.difference(green_enabled).collect();
    if !missing.is_empty() {
        found.stop(
            Side::Green,
            format!(
                "events that blue ran are not enabled on green: {}",
                sample(&missing)
            ),
            "all of them",
            "ALTER EVENT … ENABLE on green",
        );
    }
    let more: Vec<&String> = green_enabled.difference(planned).collect();
    if !more.is_empty() {
        found.stop(
            Side::Green,
            format!(
                "events are enabled on green that blue did not run: {}",
                sample(&more)
            ),
            "exactly blue's",
            "ALTER EVENT … DISABLE on green",
        );
    }
    let to_run = !planned.is_empty() && survey.plan.scheduler_ran != Some(false);
    if to_run && on_green == "ON" && !can_persist(survey) {
        found.warn(
            Side::Green,
            "event_scheduler is ON on green now, and this version cannot persist it",
            "ON after a restart, too",
            "put `event_scheduler = ON` into green's option file before green restarts, and take it out of blue's",
        );
    }
    if to_run && on_green != "ON" {
        found.stop(
            Side::Green,
            format!("event_scheduler is {on_green} on green"),
            "ON",
            "SET GLOBAL event_scheduler = ON on green",
        );
    }
    if found.is_clean() {
        found.ok(
            Side::Green,
            format!("green runs the {} events that blue ran", planned.len()),
        );
    }
}
