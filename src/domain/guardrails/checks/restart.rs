//! `restart-writable`: what a restart at the wrong moment would do.

use super::{identity, is_on, variables};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::facts::{ServerFacts, StartUp};
use crate::domain::guardrails::{Finding, Known, Scope, Survey, finding::Findings};
use crate::domain::ids::Side;

/// A sealed blue, and a green before promote, must come back read-only.
pub fn restart_writable(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::RESTART_WRITABLE, survey.scope);
    for (side, facts) in survey.sides() {
        let looked_up = match side {
            Side::Blue => &survey.plan.starts_read_only.0,
            Side::Green => &survey.plan.starts_read_only.1,
        };
        one_side(&mut found, survey.scope, side, facts, looked_up);
    }
    found.done()
}

fn one_side(found: &mut Findings, scope: Scope, side: Side, facts: &ServerFacts, looked_up: &Known<bool>) {
    let Some(who) = identity(found, side, facts) else {
        return;
    };
    let Some(names) = variables(found, side, facts) else {
        return;
    };
    let limit = "read-only after a restart";
    let in_file = format!(
        "put `read_only = ON` (MySQL 5.7: and `super_read_only = ON`) into {side}'s option file for the time of the \
         switch; else a {side} that crashes at the wrong moment comes back writable beside the other side"
    );
    if who.version.is_mysql_from((8, 0, 0)) {
        if names
            .get("persisted_globals_load")
            .is_some_and(|v| v.eq_ignore_ascii_case("OFF") || v == "0")
        {
            found.stop(
                side,
                "persisted_globals_load is OFF: what is set with SET PERSIST is thrown away at a restart",
                limit,
                format!("start {side} with persisted_globals_load = ON, or {in_file}"),
            );
        } else if side == Side::Green && scope == Scope::Hold {
            green_at_the_hold(found, facts, limit, is_on(names, "super_read_only"));
        } else {
            found.ok(side, "SET PERSIST keeps read-only over a restart");
        }
        return;
    }
    match looked_up {
        Known::Known(true) => found.ok(side, "its option file starts it read-only"),
        Known::Known(false) => found.stop(side, "its option file starts it writable", limit, in_file),
        Known::Unknown(_) => match from_file(facts) {
            Some(true) => found.ok(side, "it was started read-only by its option file"),
            _ => found.not_known(
                side,
                format!(
                    "{} cannot persist read-only, and does not say what its option file holds",
                    who.version
                ),
                in_file,
            ),
        },
    }
}

/// Whether the running value ON came from an option file or the command line.
fn from_file(facts: &ServerFacts) -> Option<bool> {
    let start_up = facts.start_up.value()?;
    let origin = start_up.origin.get("read_only")?.to_ascii_uppercase();
    let on = is_on(facts.variables.value()?, "read_only");
    Some(on && matches!(origin.as_str(), "CONFIG" | "COMMAND-LINE"))
}

/// Green has been set read-only by `prepare`: it must be there after a restart, too.
fn green_at_the_hold(found: &mut Findings, facts: &ServerFacts, limit: &str, on_now: bool) {
    let how = "grant SELECT on performance_schema.* to bleen's account on green";
    let Some(start_up) = found.need(Side::Green, &facts.start_up, how) else {
        return;
    };
    if !on_now {
        found.stop(
            Side::Green,
            "super_read_only is OFF on green",
            "ON",
            "run `bleen prepare` again",
        );
    } else if comes_back_read_only(start_up) {
        found.ok(Side::Green, "read-only is kept over a restart");
    } else {
        found.stop(
            Side::Green,
            "green is read-only now, but neither persisted nor started so",
            limit,
            "SET PERSIST super_read_only = ON on green, or run `bleen prepare` again",
        );
    }
}

fn comes_back_read_only(start_up: &StartUp) -> bool {
    let kept = |name: &str| {
        let persisted = start_up
            .persisted
            .get(name)
            .map(|v| matches!(v.to_ascii_uppercase().as_str(), "ON" | "1"));
        // What is persisted wins over the option file at the next start.
        persisted.unwrap_or_else(|| {
            start_up.origin.get(name).is_some_and(|o| {
                matches!(
                    o.to_ascii_uppercase().as_str(),
                    "GLOBAL" | "SERVER" | "EXPLICIT" | "EXTRA" | "USER" | "LOGIN" | "COMMAND_LINE"
                )
            })
        })
    };
    kept("super_read_only")
}
