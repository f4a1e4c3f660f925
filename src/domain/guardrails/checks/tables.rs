//! `row-format-no-key`, `engine`, `auto-increment`: single tables.

use std::collections::BTreeMap;

use super::sample;
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::facts::{Schema, TableFact};
use crate::domain::guardrails::{Finding, Scope, Survey, finding::Findings};
use crate::domain::ids::Side;

/// How to see the schema.
pub(super) const READ_SCHEMA: &str = "grant SELECT, SHOW VIEW, TRIGGER and EVENT on *.* to bleen's account";

fn named(tables: &[&TableFact]) -> String {
    sample(
        &tables
            .iter()
            .map(|t| format!("{} (about {} rows)", t.full_name(), t.rows))
            .collect::<Vec<_>>(),
    )
}

/// Tables whose rows cannot be found by a key: applying one change reads the whole table.
pub fn no_key(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::ROW_FORMAT_NO_KEY, survey.scope);
    let Some(schema) = found.need(Side::Blue, &survey.blue.schema, READ_SCHEMA) else {
        return found.done();
    };
    let mut without: Vec<&TableFact> = schema
        .tables
        .iter()
        .filter(|t| t.kind != "SEQUENCE" && !t.has_key())
        .collect();
    // Few are named: those that cost most.
    without.sort_by_key(|t| std::cmp::Reverse(t.rows));
    if !without.is_empty() {
        found.stop(
            Side::Blue,
            format!("{} tables without a key: {}", without.len(), named(&without)),
            "a primary key, or a unique one without NULLs",
            "add a primary key (an invisible one is enough); until then a change to the table is applied by reading it \
             whole, and the proof treats it as one range. If they are small or never written, waive this",
        );
    }
    if found.is_clean() {
        found.ok(
            Side::Blue,
            format!("all {} tables have a key", schema.tables.len()),
        );
    }
    found.done()
}

/// Engines with transactions.
const TRANSACTIONAL: &[&str] = &["INNODB", "ROCKSDB", "TOKUDB", "NDBCLUSTER", "NDB", "SEQUENCE"];

/// Tables without transactions.
pub fn engine(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::ENGINE, survey.scope);
    let Some(schema) = found.need(Side::Blue, &survey.blue.schema, READ_SCHEMA) else {
        return found.done();
    };
    let others: Vec<String> = schema
        .tables
        .iter()
        .filter(|t| !TRANSACTIONAL.contains(&t.engine.to_ascii_uppercase().as_str()))
        .map(|t| {
            let engine = if t.engine.is_empty() {
                "cannot be opened"
            } else {
                t.engine.as_str()
            };
            format!("{} ({engine})", t.full_name())
        })
        .collect();
    if others.is_empty() {
        found.ok(Side::Blue, "every table has transactions");
    } else {
        found.stop(
            Side::Blue,
            format!("{} tables without transactions: {}", others.len(), sample(&others)),
            "InnoDB",
            "ALTER TABLE … ENGINE = InnoDB; the hold covers such tables, but they cannot be proved equal while in use",
        );
    }
    found.done()
}

/// The largest value of an integer column's type.
fn largest(column_type: &str) -> Option<u64> {
    let lower = column_type.to_ascii_lowercase();
    let unsigned = lower.contains("unsigned") || lower.contains("zerofill");
    let bits = match lower.split(|c: char| !c.is_ascii_alphabetic()).next()? {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" | "integer" => 32,
        "bigint" => 64,
        _ => return None,
    };
    Some(if unsigned {
        u64::MAX >> (64 - bits)
    } else {
        u64::MAX >> (65 - bits)
    })
}

fn next_keys(schema: &Schema) -> BTreeMap<String, &TableFact> {
    schema
        .tables
        .iter()
        .filter(|t| t.auto_increment.is_some())
        .map(|t| (t.full_name(), t))
        .collect()
}

/// Generated keys: none is given twice, and none runs out.
pub fn auto_increment(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::AUTO_INCREMENT, survey.scope);
    let (Some(blue), Some(green)) = (
        found.need(Side::Blue, &survey.blue.schema, READ_SCHEMA),
        found.need(Side::Green, &survey.green.schema, READ_SCHEMA),
    ) else {
        return found.done();
    };
    let (blue, green) = (next_keys(blue), next_keys(green));
    let mut behind = Vec::new();
    for (name, table) in &blue {
        let Some(other) = green.get(name) else { continue };
        let (on_blue, on_green) = (
            table.auto_increment.unwrap_or(0),
            other.auto_increment.unwrap_or(0),
        );
        if on_green < on_blue {
            behind.push(format!("{name} ({on_green} on green, {on_blue} on blue)"));
        }
    }
    if !behind.is_empty() {
        let seen = format!("the next generated key is smaller on green: {}", sample(&behind));
        let remedy = "ALTER TABLE … AUTO_INCREMENT = … on green before the next insert reuses a key";
        if survey.scope == Scope::After && super::binlog::has_nothing_of_its_own(survey, Side::Blue) {
            // With the same transactions on both sides, blue only gave these keys to writers that it then refused.
            found.warn(
                Side::Green,
                format!("{seen}; blue gave these keys to transactions that did not commit"),
                "at least blue's",
                format!("if such a key was shown to anybody: {remedy}"),
            );
        } else if survey.scope == Scope::After {
            found.stop(Side::Green, seen, "at least blue's", remedy);
        } else {
            found.warn(
                Side::Green,
                seen,
                "at least blue's once green has caught up",
                "it is compared again after the switch",
            );
        }
    }
    for (name, table) in &blue {
        let Some(column) = table
            .columns
            .iter()
            .find(|c| c.extra.to_ascii_lowercase().contains("auto_increment"))
        else {
            continue;
        };
        let (Some(next), Some(most)) = (table.auto_increment, largest(&column.column_type)) else {
            continue;
        };
        let used = (u128::from(next) * 100 / u128::from(most.max(1))) as u64;
        let seen = format!(
            "{name}.{} has used {used} % of {}",
            column.name, column.column_type
        );
        let remedy = "widen the column: on green before the switch is the cheapest moment";
        if used >= 95 {
            found.stop(Side::Blue, seen, "under 95 %", remedy);
        } else if used >= 80 {
            found.warn(Side::Blue, seen, "under 80 %", remedy);
        }
    }
    if found.is_clean() {
        found.ok(
            None,
            format!(
                "{} tables generate keys, none behind and none near its end",
                blue.len()
            ),
        );
    }
    found.done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_types() {
        for (column_type, most) in [
            ("tinyint", Some(127)),
            ("tinyint(3) unsigned", Some(255)),
            ("mediumint(8) unsigned zerofill", Some(16_777_215)),
            ("int(11)", Some(2_147_483_647)),
            ("bigint", Some(9_223_372_036_854_775_807)),
            ("bigint unsigned", Some(u64::MAX)),
            ("double", None),
        ] {
            assert_eq!(largest(column_type), most, "{column_type}");
        }
    }
}
