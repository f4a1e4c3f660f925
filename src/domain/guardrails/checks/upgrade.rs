//! `upgrade-issues`: what green's version would not take, or would take otherwise.
//!
//! A selection of what the vendors' checkers look for, from facts every server gives; MySQL Shell's
//! `util.checkForServerUpgrade` knows more and is worth running.

use super::{identity, sample, tables::READ_SCHEMA};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::facts::{ColumnFact, ProgramFact, Schema, TableFact};
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
        sorted_groups(&mut found, schema, blue, green);
        foreign_keys(&mut found, schema, blue, green);
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

/// GROUP BY with ASC or DESC, a syntax that is gone.
fn sorted_groups(found: &mut Findings, schema: &Schema, blue: &Version, green: &Version) {
    // Since 8.0.13.
    if blue.number >= (8, 0, 13) || green.number < (8, 0, 13) {
        return;
    }
    let mut names: Vec<String> = programs(schema)
        .filter(|p| p.text.as_deref().is_some_and(sorts_a_group))
        .map(|p| format!("{} {}.{}", p.kind.to_ascii_lowercase(), p.schema, p.name))
        .collect();
    let views = schema.views.iter().filter(|v| sorts_a_group(&v.text));
    names.extend(views.map(|v| format!("view {}.{}", v.schema, v.name)));
    if !names.is_empty() {
        found.stop(
            Side::Green,
            format!("GROUP BY with ASC or DESC: {}", sample(&names)),
            "ORDER BY",
            format!("write ORDER BY instead: {green} no longer has this syntax"),
        );
    }
}

/// Whether a GROUP BY is followed by ASC or DESC before the next clause.
fn sorts_a_group(text: &str) -> bool {
    let words = super::leading_words(text, usize::MAX);
    let starts = (1..words.len()).filter(|at| words.get(at - 1..=*at).is_some_and(|w| w == ["GROUP", "BY"]));
    for start in starts {
        let clause = words.iter().skip(start + 1).take_while(|word| {
            !matches!(
                word.as_str(),
                "HAVING"
                    | "ORDER"
                    | "LIMIT"
                    | "UNION"
                    | "INTO"
                    | "FOR"
                    | "LOCK"
                    | "SELECT"
                    | "WITH"
                    | "SEPARATOR"
                    | "PROCEDURE"
            )
        });
        if clause.into_iter().any(|word| word == "ASC" || word == "DESC") {
            return true;
        }
    }
    false
}

/// Names that are too long, and keys that refer to what is not unique.
fn foreign_keys(found: &mut Findings, schema: &Schema, blue: &Version, green: &Version) {
    let (mut long, mut loose) = (Vec::new(), Vec::new());
    for table in &schema.tables {
        for (name, key) in &table.foreign_keys {
            let whole = format!("{}.{name}", table.full_name());
            // `information_schema` of 5.6 shows the first 64 characters of a longer one.
            let made = format!("{}_ibfk_", table.name);
            let cut = made.chars().count() >= 64 && name.chars().count() == 64;
            if name.chars().count() > 64 || (cut && (made.starts_with(name) || name.starts_with(&made))) {
                long.push(whole.clone());
            }
            let target = schema.tables.iter().find(|t| t.full_name() == key.target);
            let is_unique = |target: &TableFact| {
                target.indexes.values().filter(|i| i.unique).any(|index| {
                    index.parts.len() == key.target_columns.len()
                        && index.parts.iter().all(|part| {
                            part.prefix.is_none()
                                && part
                                    .column
                                    .as_ref()
                                    .is_some_and(|c| key.target_columns.contains(c))
                        })
                })
            };
            if target.is_some_and(|target| !is_unique(target)) {
                loose.push(whole);
            }
        }
    }
    if !long.is_empty() && green.number >= (8, 0, 0) {
        found.stop(
            Side::Blue,
            format!("names of foreign keys over 64 characters: {}", sample(&long)),
            "64 characters",
            "give them names (the server made these from the table's name): MySQL 8.0 and later refuse such a table",
        );
    }
    if !loose.is_empty() && blue.number < (8, 4, 0) && green.number >= (8, 4, 0) {
        found.warn(
            Side::Blue,
            format!(
                "foreign keys that refer to what is not a whole unique key: {}",
                sample(&loose)
            ),
            "a whole unique key",
            "add a unique key on those columns: MySQL 8.4 and later refuse to make such a foreign key anew \
             (restrict_fk_on_non_standard_key)",
        );
    }
}

/// The members of an `enum(…)` or `set(…)`.
fn members(column_type: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = column_type;
    while let Some((_, quoted)) = rest.split_once('\'') {
        let mut member = String::new();
        let mut chars = quoted.char_indices().peekable();
        let mut end = quoted.len();
        while let Some((at, c)) = chars.next() {
            if c == '\'' && chars.next_if(|(_, next)| *next == '\'').is_none() {
                end = at + 1;
                break;
            }
            member.push(c);
        }
        out.push(member);
        rest = quoted.get(end..).unwrap_or_default();
    }
    out
}

/// Names of columns, by what is the matter with them.
#[derive(Default)]
struct Columns {
    utf8mb3: Vec<String>,
    zero_dates: Vec<String>,
    old_temporals: Vec<String>,
    long_members: Vec<String>,
    wrong_defaults: Vec<String>,
    float_keys: Vec<String>,
}

impl Columns {
    fn look_at(&mut self, table: &TableFact, column: &ColumnFact) {
        let name = format!("{}.{}", table.full_name(), column.name);
        let collation = column.collation.as_deref().unwrap_or_default();
        if collation.starts_with("utf8_") || collation.starts_with("utf8mb3_") {
            self.utf8mb3.push(name.clone());
        }
        // MariaDB prints a text in quotes, and NULL as a word.
        let default = column.default.as_deref().map(|d| d.trim_matches('\''));
        if default.is_some_and(|d| d.starts_with("0000-00-00")) {
            self.zero_dates.push(name.clone());
        }
        if column.old_temporal {
            self.old_temporals.push(name.clone());
        }
        let lower = column.column_type.to_ascii_lowercase();
        let is_enum = lower.starts_with("enum(");
        if is_enum || lower.starts_with("set(") {
            let members = members(&column.column_type);
            if members.iter().any(|m| m.chars().count() > 255) {
                self.long_members.push(name.clone());
            }
            let is_member = |d: &str| {
                let same = |m: &String| m.to_lowercase() == d.to_lowercase();
                d.eq_ignore_ascii_case("NULL") || d.contains('\'') || members.iter().any(same)
            };
            if is_enum && default.is_some_and(|d| !is_member(d)) {
                self.wrong_defaults.push(name.clone());
            }
        }
        if (lower.starts_with("float") || lower.starts_with("double"))
            && column.extra.to_ascii_lowercase().contains("auto_increment")
        {
            self.float_keys.push(name);
        }
    }
}

fn columns(found: &mut Findings, schema: &Schema, green: &Version) {
    let mut seen = Columns::default();
    for table in &schema.tables {
        for column in &table.columns {
            seen.look_at(table, column);
        }
    }
    if !seen.utf8mb3.is_empty() {
        found.warn(
            Side::Blue,
            format!(
                "{} columns are utf8mb3: {}",
                seen.utf8mb3.len(),
                sample(&seen.utf8mb3)
            ),
            "utf8mb4",
            "it still works; plan the change to utf8mb4",
        );
    }
    if !seen.zero_dates.is_empty() {
        found.warn(
            Side::Blue,
            format!("zero dates as default: {}", sample(&seen.zero_dates)),
            "a date, or NULL",
            "with NO_ZERO_DATE on green such a default cannot be altered or inserted",
        );
    }
    if !seen.wrong_defaults.is_empty() {
        found.stop(
            Side::Blue,
            format!(
                "defaults of an enum that are none of its members: {}",
                sample(&seen.wrong_defaults)
            ),
            "a member, or none",
            "ALTER TABLE … ALTER COLUMN … DROP DEFAULT: such a table cannot be made again on green",
        );
    }
    if !green.is_mysql_from((8, 0, 0)) {
        return;
    }
    if !seen.old_temporals.is_empty() {
        // Tried from 5.6.24 to 9.7.4: a row event with such a TIMESTAMP is taken for one in the format since 5.6.
        found.stop(
            Side::Blue,
            format!("columns as MySQL 5.5 stored them: {}", sample(&seen.old_temporals)),
            "the format since 5.6",
            "ALTER TABLE … FORCE on blue, and compare the table: by replication their values may arrive wrong without \
             an error, and an upgrade of the files refuses them",
        );
    }
    if !seen.long_members.is_empty() {
        found.stop(
            Side::Blue,
            format!(
                "members of enum or set over 255 characters: {}",
                sample(&seen.long_members)
            ),
            "255 characters",
            "shorten them: MySQL 8.0 and later refuse such a table",
        );
    }
    if !seen.float_keys.is_empty() && green.number >= (8, 4, 0) {
        found.stop(
            Side::Blue,
            format!(
                "AUTO_INCREMENT on a floating-point column: {}",
                sample(&seen.float_keys)
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

    #[test]
    fn members_are_told_apart() {
        assert_eq!(members("enum('a','it''s','b,c')"), ["a", "it's", "b,c"]);
        assert_eq!(members("enum('never closed"), ["never closed"]);
        assert!(members("int").is_empty());
    }

    #[test]
    fn only_the_group_is_looked_at() {
        assert!(sorts_a_group("select a from t group by a, b desc"));
        assert!(sorts_a_group("SELECT a FROM t GROUP BY `a` ASC HAVING a > 1"));
        assert!(!sorts_a_group("SELECT a FROM t GROUP BY a ORDER BY a DESC"));
        assert!(!sorts_a_group("SELECT a FROM t ORDER BY a DESC"));
    }
}
