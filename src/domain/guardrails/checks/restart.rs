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
        let thrown_away = names
            .get("persisted_globals_load")
            .is_some_and(|v| v.eq_ignore_ascii_case("OFF") || v == "0");
        if thrown_away {
            found.stop(
                side,
                "persisted_globals_load is OFF: what is set with SET PERSIST is thrown away at a restart",
                limit,
                format!("start {side} with persisted_globals_load = ON, or {in_file}"),
            );
        } else if scope == Scope::After {
            persisted_after(found, side, facts, limit);
        } else if side == Side::Green && scope == Scope::Hold {
            green_at_the_hold(found, facts, limit, is_on(names, "super_read_only"));
        } else {
            found.ok(side, "SET PERSIST keeps read-only over a restart");
        }
        return;
    }
    if scope == Scope::After {
        from_files_after(found, side, looked_up, &in_file);
        return;
    }
    match looked_up {
        Known::Known(true) => found.ok(side, "its option file starts it read-only"),
        Known::Known(false) => found.stop(side, "its option file starts it writable", limit, in_file),
        Known::Unknown(_) => match from_file(facts) {
            Some(true) => found.ok(side, "it was started read-only by its option file"),
            _ => found.stop(
                side,
                format!(
                    "{} cannot persist read-only, and does not say what its option file holds",
                    who.version
                ),
                limit,
                format!(
                    "{in_file}; then waive this guardrail with that as the reason: only you can see the file"
                ),
            ),
        },
    }
}

/// After the switch it is blue that must come back read-only, and green that must not.
fn persisted_after(found: &mut Findings, side: Side, facts: &ServerFacts, limit: &str) {
    let how = format!("grant SELECT on performance_schema.* to bleen's account on {side}");
    let Some(start_up) = found.need(side, &facts.start_up, &how) else {
        return;
    };
    let comes_back = comes_back_with(start_up, "super_read_only") || comes_back_with(start_up, "read_only");
    match (side, comes_back) {
        (Side::Blue, true) => found.ok(side, "read-only is kept over a restart"),
        (Side::Green, false) => found.ok(side, "it comes back writable after a restart"),
        (Side::Blue, false) => found.stop(
            side,
            "blue is sealed now, and would come back writable",
            limit,
            "SET PERSIST super_read_only = ON on blue",
        ),
        (Side::Green, true) => found.stop(
            side,
            "green is open now, and would come back read-only after a restart",
            "writable after a restart",
            "SET PERSIST super_read_only = OFF, PERSIST read_only = OFF on green",
        ),
    }
}

/// The same where only the option files say it.
fn from_files_after(found: &mut Findings, side: Side, looked_up: &Known<bool>, in_file: &str) {
    let writable = "writable after a restart";
    let take_out = "take `read_only` and `super_read_only` out of green's option file before green restarts";
    match (side, looked_up) {
        (Side::Blue, Known::Known(true)) => found.ok(side, "its option file starts it read-only"),
        (Side::Green, Known::Known(false)) => found.ok(side, "its option file starts it writable"),
        (Side::Blue, Known::Known(false)) => found.stop(
            side,
            "its option file starts it writable",
            "read-only after a restart",
            in_file,
        ),
        (Side::Green, Known::Known(true)) => found.stop(
            side,
            "its option file starts it read-only: the side that serves would refuse writes",
            writable,
            take_out,
        ),
        (Side::Blue, Known::Unknown(_)) => found.warn(
            side,
            "the seal is not kept over a restart by this version; only its option file can",
            "read-only after a restart",
            "put `read_only = ON` into blue's option file before blue restarts: it stands beside a green that serves",
        ),
        (Side::Green, Known::Unknown(_)) => found.warn(
            side,
            "green serves, and its option file may still start it read-only",
            writable,
            take_out,
        ),
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
    } else if comes_back_with(start_up, "super_read_only") {
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

/// Whether a flag is ON after a restart.
fn comes_back_with(start_up: &StartUp, flag: &str) -> bool {
    let persisted = start_up
        .persisted
        .get(flag)
        .map(|v| matches!(v.to_ascii_uppercase().as_str(), "ON" | "1"));
    // What is persisted wins over the option file at the next start.
    persisted.unwrap_or_else(|| {
        start_up.origin.get(flag).is_some_and(|o| {
            matches!(
                o.to_ascii_uppercase().as_str(),
                "GLOBAL" | "SERVER" | "EXPLICIT" | "EXTRA" | "USER" | "LOGIN" | "COMMAND_LINE"
            )
        })
    })
}
