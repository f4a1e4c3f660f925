//! A schema as a flat map from objects to properties, each in one spelling.

use std::collections::{BTreeMap, BTreeSet};

use super::expression::{canonical, collation, column_type, plain_modes};
use crate::domain::guardrails::facts::{
    ColumnFact, ForeignKeyFact, IndexFact, ProgramFact, Schema, TableFact, ViewFact,
};
use crate::domain::server::{Family, Version};

/// What kind of object, and its full name: `("table", "shop.orders")`.
pub type ObjectName = (&'static str, String);

/// Properties of an object by name.
pub type Properties = BTreeMap<String, String>;

/// Flattens a schema. `version` is that of the server that printed it.
#[must_use]
pub fn flatten(schema: &Schema, version: &Version) -> BTreeMap<ObjectName, Properties> {
    let mut all = BTreeMap::new();
    for (name, (charset, order)) in &schema.schemas {
        let properties = BTreeMap::from([
            ("character set".to_owned(), collation(charset)),
            ("collation".to_owned(), collation(order)),
        ]);
        all.insert(("schema", name.clone()), properties);
    }
    for table in &schema.tables {
        all.insert(("table", table.full_name()), table_properties(table, version));
    }
    for view in &schema.views {
        all.insert(
            ("view", format!("{}.{}", view.schema, view.name)),
            view_properties(view),
        );
    }
    for (kind, programs) in [
        ("routine", &schema.routines),
        ("trigger", &schema.triggers),
        ("event", &schema.events),
    ] {
        for program in programs {
            let name = format!("{}.{}", program.schema, program.name);
            let name = if kind == "routine" {
                format!("{} {name}", program.kind.to_ascii_lowercase())
            } else {
                name
            };
            all.insert((kind, name), program_properties(program));
        }
    }
    all
}

fn table_properties(table: &TableFact, version: &Version) -> Properties {
    let mut out = Properties::new();
    out.insert("kind".into(), table.kind.clone());
    out.insert("collation".into(), collation(&table.collation));
    let names: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
    // Row events name columns by their place.
    out.insert("columns".into(), names.join(", "));
    let json = json_columns(table, version);
    for column in &table.columns {
        out.insert(
            format!("column {}", column.name),
            column_text(column, version, json.contains(&column.name.to_lowercase())),
        );
    }
    for (name, index) in &table.indexes {
        out.insert(format!("index {name}"), index_text(index));
    }
    for key in table.foreign_keys.values() {
        // Named by what it says: a name that the server chose may differ.
        out.insert(
            format!("foreign key ({})", key.columns.join(", ")),
            foreign_key_text(key),
        );
    }
    for (_, expression) in &table.checks {
        if json_check(expression).is_some_and(|c| json.contains(&c)) {
            continue;
        }
        out.insert(format!("check {}", canonical(expression)), "enforced".into());
    }
    if !table.partitions.is_empty() {
        let all: Vec<String> = table.partitions.iter().map(|p| canonical(p)).collect();
        out.insert("partitions".into(), all.join("; "));
    }
    out
}

/// The columns, lower case, that MariaDB keeps as LONGTEXT with a check: its JSON.
fn json_columns(table: &TableFact, version: &Version) -> BTreeSet<String> {
    if version.family != Family::MariaDb {
        return BTreeSet::new();
    }
    table
        .checks
        .iter()
        .filter_map(|(_, expression)| json_check(expression))
        .filter(|name| {
            table
                .columns
                .iter()
                .any(|c| c.name.to_lowercase() == *name && c.column_type == "longtext")
        })
        .collect()
}

/// The column of a check that is only ``json_valid(`column`)``.
fn json_check(expression: &str) -> Option<String> {
    canonical(expression)
        .strip_prefix("json_valid(")?
        .strip_suffix(')')
        .filter(|name| !name.contains(['(', ' ', ',']))
        .map(str::to_owned)
}

fn column_text(column: &ColumnFact, version: &Version, json: bool) -> String {
    let mut words = vec![if json {
        "json".to_owned()
    } else {
        column_type(&column.column_type)
    }];
    if let (false, Some(order)) = (json, &column.collation) {
        words.push(format!("collate {}", collation(order)));
    }
    words.push(if column.nullable {
        "null".into()
    } else {
        "not null".into()
    });
    if let Some(default) = default_text(column, version) {
        words.push(format!("default {default}"));
    }
    let extra = column.extra.to_ascii_lowercase();
    if extra.contains("auto_increment") {
        words.push("auto_increment".into());
    }
    if let Some((_, rest)) = extra.split_once("on update ") {
        let function = rest.split_whitespace().next().unwrap_or_default();
        words.push(format!("on update {}", canonical(function)));
    }
    if !column.generated.is_empty() {
        let stored = extra.contains("stored") || extra.contains("persistent");
        words.push(format!(
            "{} as {}",
            if stored { "stored" } else { "virtual" },
            canonical(&column.generated)
        ));
    }
    if extra.contains("invisible") {
        words.push("invisible".into());
    }
    words.join(" ")
}

/// The default: texts in quotes, expressions in one spelling, `None` for none and for NULL.
fn default_text(column: &ColumnFact, version: &Version) -> Option<String> {
    let raw = column.default.as_deref()?;
    if !column.generated.is_empty() {
        return None;
    }
    let quotes_itself = version.is_mariadb_from((10, 2, 7));
    if quotes_itself {
        if raw.eq_ignore_ascii_case("null") {
            return None;
        }
        return Some(match raw.strip_prefix('\'').and_then(|r| r.strip_suffix('\'')) {
            Some(inner) if !inner.replace("''", "").contains('\'') => literal(&inner.replace("''", "'")),
            _ if raw.parse::<f64>().is_ok() => literal(raw),
            _ => canonical(raw),
        });
    }
    let upper = raw.to_ascii_uppercase();
    let temporal = column.column_type.starts_with("timestamp") || column.column_type.starts_with("datetime");
    if column.extra.to_ascii_uppercase().contains("DEFAULT_GENERATED")
        || (temporal && upper.starts_with("CURRENT_TIMESTAMP"))
        || upper.starts_with("B'")
    {
        return Some(canonical(raw));
    }
    Some(literal(raw))
}

/// A literal default, quoted. `0.00` and `0` stay apart: the server pads to the type on both sides.
fn literal(text: &str) -> String {
    format!("'{text}'")
}

fn index_text(index: &IndexFact) -> String {
    let parts: Vec<String> = index
        .parts
        .iter()
        .map(|part| {
            let mut text = match (&part.column, &part.expression) {
                (Some(column), _) => column.clone(),
                (None, Some(expression)) => canonical(expression),
                (None, None) => "?".to_owned(),
            };
            if let Some(prefix) = part.prefix {
                text.push_str(&format!("({prefix})"));
            }
            if part.descending {
                text.push_str(" desc");
            }
            text
        })
        .collect();
    format!(
        "{}{} ({}){}",
        if index.unique { "unique " } else { "" },
        index.kind.to_ascii_lowercase(),
        parts.join(", "),
        if index.invisible { " invisible" } else { "" }
    )
}

fn foreign_key_text(key: &ForeignKeyFact) -> String {
    // NO ACTION and RESTRICT are one in InnoDB, and each family prints the other one.
    let rule = |r: &str| match r.to_ascii_uppercase().as_str() {
        "NO ACTION" | "" => "RESTRICT".to_owned(),
        other => other.to_owned(),
    };
    format!(
        "references {} ({}) on update {} on delete {}",
        key.target,
        key.target_columns.join(", "),
        rule(&key.on_update),
        rule(&key.on_delete)
    )
}

fn view_properties(view: &ViewFact) -> Properties {
    BTreeMap::from([
        ("definition".to_owned(), canonical(&view.text)),
        ("security".to_owned(), view.security.to_ascii_uppercase()),
        ("definer".to_owned(), view.definer.clone()),
        ("check option".to_owned(), view.check_option.to_ascii_uppercase()),
    ])
}

fn program_properties(program: &ProgramFact) -> Properties {
    let mut out = Properties::new();
    if let Some(text) = &program.text {
        out.insert(
            "body".into(),
            text.split_whitespace().collect::<Vec<_>>().join(" "),
        );
    }
    out.insert("definer".into(), program.definer.clone());
    let mut modes = plain_modes(&program.sql_mode);
    // MariaDB's word for what MySQL always does: a program that came from MySQL carries it there.
    modes.remove("TIME_ROUND_FRACTIONAL");
    out.insert("sql_mode".into(), modes.into_iter().collect::<Vec<_>>().join(","));
    for (name, value) in &program.properties {
        let value = match name.as_str() {
            "parameters" | "returns" => value
                .split(", ")
                .map(|p| match p.rsplit_once(": ") {
                    Some((head, kind)) => format!("{head}: {}", column_type(kind)),
                    None => column_type(p),
                })
                .collect::<Vec<_>>()
                .join(", "),
            _ => value.to_ascii_uppercase(),
        };
        out.insert(name.clone(), value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mysql() -> Version {
        Version::parse("9.7.4", "")
    }

    fn old() -> Version {
        Version::parse("5.6.24", "")
    }

    fn mariadb() -> Version {
        Version::parse("11.8.9-MariaDB", "")
    }

    fn column(column_type: &str, default: Option<&str>, extra: &str) -> ColumnFact {
        ColumnFact {
            name: "c".into(),
            column_type: column_type.into(),
            default: default.map(Into::into),
            extra: extra.into(),
            ..ColumnFact::default()
        }
    }

    #[test]
    fn defaults_of_both_families() {
        for (mine, theirs) in [
            (column("int", Some("0"), ""), column("int(11)", Some("0"), "")),
            (
                column("varchar(9)", Some("it's"), ""),
                column("varchar(9)", Some("'it''s'"), ""),
            ),
            (
                column(
                    "timestamp",
                    Some("CURRENT_TIMESTAMP"),
                    "DEFAULT_GENERATED on update CURRENT_TIMESTAMP",
                ),
                column(
                    "timestamp",
                    Some("current_timestamp()"),
                    "on update current_timestamp()",
                ),
            ),
            (
                column("char(36)", Some("uuid()"), "DEFAULT_GENERATED"),
                column("char(36)", Some("uuid()"), ""),
            ),
            (
                column("bit(1)", Some("b'0'"), ""),
                column("bit(1)", Some("b'0'"), ""),
            ),
            (column("int", None, ""), column("int(11)", Some("NULL"), "")),
        ] {
            assert_eq!(
                column_text(&mine, &mysql(), false),
                column_text(&theirs, &mariadb(), false)
            );
        }
        assert_eq!(
            column_text(&column("timestamp", Some("CURRENT_TIMESTAMP"), ""), &old(), false),
            column_text(
                &column("timestamp", Some("CURRENT_TIMESTAMP"), "DEFAULT_GENERATED"),
                &mysql(),
                false
            )
        );
        // The text 'uuid()' is not the function.
        assert_ne!(
            column_text(&column("char(36)", Some("uuid()"), ""), &mysql(), false),
            column_text(&column("char(36)", Some("uuid()"), ""), &mariadb(), false)
        );
    }

    #[test]
    fn json_is_one_type() {
        let on_mariadb = TableFact {
            columns: vec![ColumnFact {
                name: "Doc".into(),
                column_type: "longtext".into(),
                collation: Some("utf8mb4_bin".into()),
                ..ColumnFact::default()
            }],
            checks: vec![("Doc".into(), "json_valid(`Doc`)".into())],
            ..TableFact::default()
        };
        let on_mysql = TableFact {
            columns: vec![ColumnFact {
                name: "Doc".into(),
                column_type: "json".into(),
                ..ColumnFact::default()
            }],
            ..TableFact::default()
        };
        let (a, b) = (
            table_properties(&on_mariadb, &mariadb()),
            table_properties(&on_mysql, &mysql()),
        );
        assert_eq!(a.get("column Doc"), b.get("column Doc"));
        assert!(!a.keys().any(|k| k.starts_with("check")), "{a:?}");
    }
}
