//! `definers`: whose rights views and programs have.

use std::collections::{BTreeMap, BTreeSet};

use super::schema::is_filled_by_replication;
use super::{sample, tables::READ_SCHEMA};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::{Finding, Survey, finding::Findings};
use crate::domain::ids::Side;

/// Definers that do not exist on green: whatever they define would fail there when it is used.
pub fn definers(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::DEFINERS, survey.scope);
    let Some(schema) = found.need(Side::Blue, &survey.blue.schema, READ_SCHEMA) else {
        return found.done();
    };
    let how = "grant SELECT on mysql.* to bleen's account on green";
    let Some(accounts) = found.need(Side::Green, &survey.green.accounts, how) else {
        return found.done();
    };
    let there: BTreeSet<String> = accounts.iter().map(super::super::facts::Account::name).collect();
    let mut missing: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let views = schema
        .views
        .iter()
        .map(|v| (v.definer.as_str(), format!("view {}.{}", v.schema, v.name)));
    let programs = schema
        .routines
        .iter()
        .chain(&schema.triggers)
        .chain(&schema.events)
        .map(|p| {
            (
                p.definer.as_str(),
                format!("{} {}.{}", p.kind.to_ascii_lowercase(), p.schema, p.name),
            )
        });
    for (definer, what) in views.chain(programs) {
        if !definer.is_empty() && !there.contains(definer) {
            missing.entry(definer).or_default().push(what);
        }
    }
    let are_to_come = is_filled_by_replication(survey);
    for (definer, objects) in missing {
        if are_to_come {
            found.warn(
                Side::Green,
                format!(
                    "green is empty, and {definer}, who defines {}, is not there",
                    sample(&objects)
                ),
                "every definer exists before the switch",
                "an account made within blue's binlog comes with it; create it on green otherwise",
            );
            continue;
        }
        found.stop(
            Side::Green,
            format!(
                "{definer} does not exist on green and defines {}",
                sample(&objects)
            ),
            "every definer exists",
            format!("create {definer} on green, or give these objects another definer"),
        );
    }
    if found.is_clean() {
        found.ok(Side::Green, "every definer exists on green");
    }
    found.done()
}
