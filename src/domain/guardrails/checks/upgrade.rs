//! `upgrade-issues`: what green's version would not take, or would take otherwise.
//!
//! A selection of what the vendors' checkers look for, from facts every server gives; MySQL Shell's
//! `util.checkForServerUpgrade` knows more and is worth running.

use super::{identity, sample, tables::READ_SCHEMA};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::facts::{ProgramFact, Schema};
use crate::domain::guardrails::{Finding, Survey, finding::Findings};
use crate::domain::ids::Side;
use crate::domain::server::{Family, Version};

/// A version, and what it added or took away.
type Since = ((u16, u16, u16), &'static [&'static str]);

/// Words that became reserved: version and words, from the manuals' lists of keywords.
const RESERVED: &[Since] = &[
    ((5, 7, 0), &["generated", "optimizer_costs", "stored", "virtual"]),
    (
        (8, 0, 0),
        &[
            "cube",
            "cume_dist",
            "dense_rank",
            "empty",
            "except",
            "first_value",
            "function",
            "grouping",
            "groups",
            "intersect",
            "json_table",
            "lag",
            "last_value",
            "lateral",
            "lead",
            "nth_value",
            "ntile",
            "of",
            "over",
            "percent_rank",
            "rank",
            "recursive",
            "row",
            "rows",
            "row_number",
            "system",
            "window",
        ],
    ),
    ((8, 4, 0), &["manual", "parallel", "qualify", "tablesample"]),
    ((9, 0, 0), &["library"]),
];

/// Functions that are gone: since when, and their names.
const REMOVED: &[Since] = &[
    (
        (8, 0, 0),
        &[
            "encode",
            "decode",
            "encrypt",
            "des_encrypt",
            "des_decrypt",
            "password",
            "old_password",
            "geomfromtext",
            "geometryfromtext",
            "astext",
            "aswkt",
            "asbinary",
            "aswkb",
            "glength",
            "mbrequal",
            "distance",
            "x",
            "y",
        ],
    ),
    ((8, 4, 0), &["wait_until_sql_thread_after_gtids"]),
    ((9, 6, 0), &["md5", "sha1", "sha"]),
];

/// Modes that a stored program may still carry and that MySQL 8.0 no longer knows.
const REMOVED_MODES: &[&str] = &[
    "DB2",
    "MAXDB",
    "MSSQL",
    "MYSQL323",
    "MYSQL40",
    "NO_AUTO_CREATE_USER",
    "NO_FIELD_OPTIONS",
    "NO_KEY_OPTIONS",
    "NO_TABLE_OPTIONS",
    "ORACLE",
    "POSTGRESQL",
];

/// Looks for them.
pub fn upgrade_issues(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::UPGRADE_ISSUES, survey.scope);
    let (Some(blue), Some(green)) = (
        identity(&mut found, Side::Blue, &survey.blue),
        identity(&mut found, Side::Green, &survey.green),
    ) else {
        return found.done();
    };
    let (blue, green) = (&blue.version, &green.version);
    let Some(schema) = found.need(Side::Blue, &survey.blue.schema, READ_SCHEMA) else {
        return found.done();
    };
    if blue.family == Family::MySql && green.family == Family::MySql {
        reserved_words(&mut found, schema, blue, green);
        removed_functions(&mut found, schema, blue, green);
        removed_modes(&mut found, schema, green);
    }
    columns(&mut found, schema, green);
    partitions(&mut found, schema, green);
    orphans(&mut found, schema);
    if found.is_clean() {
        found.ok(
            Side::Blue,
            format!("nothing known that {green} would take otherwise than {blue}"),
        );
    }
    found.done()
}

fn newly<'a>(
    table: &'a [Since],
    blue: &'a Version,
    green: &'a Version,
) -> impl Iterator<Item = &'static str> + 'a {
    table
        .iter()
        .filter(|(since, _)| blue.number < *since && green.number >= *since)
        .flat_map(|(_, words)| words.iter().copied())
}

fn reserved_words(found: &mut Findings, schema: &Schema, blue: &Version, green: &Version) {
    let words: Vec<&str> = newly(RESERVED, blue, green).collect();
    let is = |name: &str| words.iter().any(|w| w.eq_ignore_ascii_case(name));
    let mut names = Vec::new();
    for table in &schema.tables {
        if is(&table.name) {
            names.push(format!("table {}", table.full_name()));
        }
        for column in table.columns.iter().filter(|c| is(&c.name)) {
            names.push(format!("column {}.{}", table.full_name(), column.name));
        }
    }
    for routine in schema.routines.iter().filter(|r| is(&r.name)) {
        names.push(format!("routine {}.{}", routine.schema, routine.name));
    }
    if !names.is_empty() {
        found.warn(
            Side::Green,
            format!("names that {green} reserves: {}", sample(&names)),
            "none used without backticks",
            "see that the application quotes them",
        );
    }
}

fn programs(schema: &Schema) -> impl Iterator<Item = &ProgramFact> {
    schema
        .routines
        .iter()
        .chain(&schema.triggers)
        .chain(&schema.events)
}

/// Function calls in a text: names directly in front of a bracket, lower case.
fn calls(text: &str) -> Vec<String> {
    let lower = text.to_ascii_lowercase();
    let mut out = Vec::new();
    for (at, _) in lower.match_indices('(') {
        let before = lower.get(..at).unwrap_or_default().trim_end();
        let start = before
            .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .map_or(0, |i| i + 1);
        let name = before.get(start..).unwrap_or_default();
        // `t.x(…)` and a quoted name are not the built-in.
        let own = before.get(..start).is_some_and(|b| b.ends_with(['.', '`', '@']));
        if !name.is_empty() && !own {
            out.push(name.to_owned());
        }
    }
    out
}

fn removed_functions(found: &mut Findings, schema: &Schema, blue: &Version, green: &Version) {
    let words: Vec<&str> = newly(REMOVED, blue, green).collect();
    let uses = |text: &str| calls(text).into_iter().find(|c| words.contains(&c.as_str()));
    let mut names = Vec::new();
    for program in programs(schema) {
        if let Some(function) = program.text.as_deref().and_then(uses) {
            names.push(format!(
                "{}() in {} {}.{}",
                function,
                program.kind.to_ascii_lowercase(),
                program.schema,
                program.name
            ));
        }
    }
    for view in &schema.views {
        if let Some(function) = uses(&view.text) {
            names.push(format!("{function}() in view {}.{}", view.schema, view.name));
        }
    }
    for table in &schema.tables {
        for column in &table.columns {
            if let Some(function) = uses(&column.generated) {
                names.push(format!(
                    "{function}() in column {}.{}",
                    table.full_name(),
                    column.name
                ));
            }
        }
    }
    if !names.is_empty() {
        found.stop(
            Side::Green,
            format!("functions that {green} no longer has: {}", sample(&names)),
            "none",
            "replace them (MD5 and SHA1: SHA2, or the component component_classic_hashing)",
        );
    }
}

fn removed_modes(found: &mut Findings, schema: &Schema, green: &Version) {
    if green.number < (8, 0, 0) {
        return;
    }
    let names: Vec<String> = programs(schema)
        .filter(|p| p.sql_mode.split(',').any(|m| REMOVED_MODES.contains(&m.trim())))
        .map(|p| format!("{} {}.{}", p.kind.to_ascii_lowercase(), p.schema, p.name))
        .collect();
    if !names.is_empty() {
        found.warn(
            Side::Blue,
            format!(
                "programs that carry a sql_mode {green} no longer knows: {}",
                sample(&names)
            ),
            "none",
            "green drops the mode when it creates them; an upgrade in place may refuse them",
        );
    }
}

fn columns(found: &mut Findings, schema: &Schema, green: &Version) {
    let (mut utf8mb3, mut zero, mut members, mut float_keys) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for table in &schema.tables {
        for column in &table.columns {
            let name = format!("{}.{}", table.full_name(), column.name);
            let collation = column.collation.as_deref().unwrap_or_default();
            if collation.starts_with("utf8_") || collation.starts_with("utf8mb3_") {
                utf8mb3.push(name.clone());
            }
            if column
                .default
                .as_deref()
                .is_some_and(|d| d.trim_matches('\'').starts_with("0000-00-00"))
            {
                zero.push(name.clone());
            }
            let lower = column.column_type.to_ascii_lowercase();
            if (lower.starts_with("enum(") || lower.starts_with("set("))
                && column.column_type.split("','").any(|m| m.chars().count() > 261)
            {
                members.push(name.clone());
            }
            if (lower.starts_with("float") || lower.starts_with("double"))
                && column.extra.to_ascii_lowercase().contains("auto_increment")
            {
                float_keys.push(name);
            }
        }
    }
    if !utf8mb3.is_empty() {
        found.warn(
            Side::Blue,
            format!("{} columns are utf8mb3: {}", utf8mb3.len(), sample(&utf8mb3)),
            "utf8mb4",
            "it still works; plan the change to utf8mb4",
        );
    }
    if !zero.is_empty() {
        found.warn(
            Side::Blue,
            format!("zero dates as default: {}", sample(&zero)),
            "a date, or NULL",
            "with NO_ZERO_DATE on green such a default cannot be altered or inserted",
        );
    }
    if !members.is_empty() {
        found.stop(
            Side::Blue,
            format!("members of enum or set over 255 characters: {}", sample(&members)),
            "255 characters",
            "shorten them: MySQL 8.0 and later refuse such a table",
        );
    }
    if !float_keys.is_empty() && green.is_mysql_from((8, 4, 0)) {
        found.stop(
            Side::Blue,
            format!(
                "AUTO_INCREMENT on a floating-point column: {}",
                sample(&float_keys)
            ),
            "an integer",
            "change the column's type: MySQL 8.4 and later refuse it",
        );
    }
}

fn partitions(found: &mut Findings, schema: &Schema, green: &Version) {
    if !green.is_mysql_from((8, 0, 0)) {
        return;
    }
    let names: Vec<String> = schema
        .tables
        .iter()
        .filter(|t| !t.partitions.is_empty() && !t.engine.eq_ignore_ascii_case("InnoDB"))
        .map(|t| format!("{} ({})", t.full_name(), t.engine))
        .collect();
    if !names.is_empty() {
        found.stop(
            Side::Blue,
            format!(
                "partitioned tables of an engine without partitions of its own: {}",
                sample(&names)
            ),
            "InnoDB",
            "ALTER TABLE … ENGINE = InnoDB",
        );
    }
}

fn orphans(found: &mut Findings, schema: &Schema) {
    let names: Vec<String> = programs(schema)
        .filter(|p| !schema.schemas.contains_key(&p.schema))
        .map(|p| format!("{} {}.{}", p.kind.to_ascii_lowercase(), p.schema, p.name))
        .collect();
    if !names.is_empty() {
        found.stop(
            Side::Blue,
            format!("programs of schemas that do not exist: {}", sample(&names)),
            "none",
            "drop them: an upgrade refuses them",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_calls_of_built_ins_only() {
        assert_eq!(
            calls("select md5 (a), t.sha1(b), `x`(c), f(y(z))"),
            ["md5", "f", "y"]
        );
    }
}
