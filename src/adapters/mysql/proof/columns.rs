//! Reads from `information_schema` which columns and keys a table has, alike on every version of both families.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mysql_async::Row;

use super::kind::{Kind, Written};
use crate::adapters::mysql::columns::{number, text};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::quote;
use crate::adapters::mysql::session::Session;

/// A column that is stored. VIRTUAL generated columns are left out: there is nothing of them to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What matters of its type.
    pub kind: Kind,
    /// Its type as the server writes it.
    pub written: String,
    /// The collation of a text.
    pub collation: Option<String>,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// STORED generated: computed by the server from other columns, perhaps differently by another version.
    pub generated: bool,
    /// Not shown by `SELECT *`, a generated invisible primary key for one.
    pub invisible: bool,
}

/// A key that tells rows apart: the primary key, or a unique key over whole columns without NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The name of its index.
    pub index: String,
    /// Its columns, in order.
    pub columns: Vec<String>,
}

/// What of a table matters for its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its engine.
    pub engine: String,
    /// System-versioned (MariaDB).
    pub versioned: bool,
    /// When it was made, as the server says it: one that was dropped and filled anew is another one.
    pub made: String,
    /// Its stored columns, in order.
    pub columns: Vec<Column>,
    /// The names of its VIRTUAL generated columns.
    pub virtual_columns: BTreeSet<String>,
    /// Its keys, the primary key first.
    pub keys: Vec<Key>,
}

impl Table {
    /// The stored column of that name; names of columns know no case.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| same_name(&column.name, name))
    }
}

/// Whether two names of columns mean the same column.
#[must_use]
pub fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// Reads the tables of a schema, or one of them.
///
/// # Errors
/// What the server answered; a table that is not there is no error, and is not returned.
pub async fn read(
    session: &mut Session,
    schema: &str,
    table: Option<&str>,
    budget: Duration,
) -> Result<Vec<Table>, ServerError> {
    show_invisible_keys(session, budget).await?;
    let mut which = format!("TABLE_SCHEMA = {}", quote::text(schema));
    if let Some(table) = table {
        which.push_str(&format!(" AND TABLE_NAME = {}", quote::text(table)));
    }
    let mut tables = tables(session, &which, budget).await?;
    columns(session, &which, &mut tables, budget).await?;
    keys(session, &which, &mut tables, budget).await?;
    Ok(tables.into_values().collect())
}

/// A server may hide its generated invisible keys from information_schema: asks for them in this session.
///
/// # Errors
/// Any [`crate::adapters::mysql::error::Cause`] but a refusal: other servers do not know the setting.
pub async fn show_invisible_keys(session: &mut Session, budget: Duration) -> Result<(), ServerError> {
    let shown = "SET SESSION show_gipk_in_create_table_and_information_schema = ON";
    match session
        .run("ask for generated invisible keys", shown, budget)
        .await
    {
        Err(e) if e.code().is_none() => Err(e),
        _ => Ok(()),
    }
}

type Tables = BTreeMap<String, Table>;

async fn tables(session: &mut Session, which: &str, budget: Duration) -> Result<Tables, ServerError> {
    let sql = format!(
        "SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, ENGINE AS e, TABLE_TYPE AS k, \
         CAST(CREATE_TIME AS CHAR) AS c FROM information_schema.TABLES \
         WHERE {which} AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')"
    );
    let rows: Vec<Row> = session.rows("list the tables to prove", &sql, budget).await?;
    let table = |row: &Row| Table {
        schema: text(row, "s").unwrap_or_default(),
        name: text(row, "t").unwrap_or_default(),
        engine: text(row, "e").unwrap_or_default(),
        versioned: text(row, "k").as_deref() == Some("SYSTEM VERSIONED"),
        made: text(row, "c").unwrap_or_default(),
        columns: Vec::new(),
        virtual_columns: BTreeSet::new(),
        keys: Vec::new(),
    };
    Ok(rows
        .iter()
        .map(table)
        .map(|table| (table.name.clone(), table))
        .collect())
}

async fn columns(
    session: &mut Session,
    which: &str,
    tables: &mut Tables,
    budget: Duration,
) -> Result<(), ServerError> {
    let sql = format!(
        "SELECT TABLE_NAME AS t, COLUMN_NAME AS c, DATA_TYPE AS data_type, COLUMN_TYPE AS column_type, \
         IS_NULLABLE AS nullable, CHARACTER_SET_NAME AS charset, COLLATION_NAME AS collation_name, \
         CHARACTER_OCTET_LENGTH AS bytes, NUMERIC_PRECISION AS digits, NUMERIC_SCALE AS scale, \
         DATETIME_PRECISION AS fraction, EXTRA AS extra FROM information_schema.COLUMNS WHERE {which} \
         ORDER BY TABLE_NAME, ORDINAL_POSITION"
    );
    let rows: Vec<Row> = session
        .rows("read the columns of the tables to prove", &sql, budget)
        .await?;
    for row in &rows {
        let get = |name: &str| text(row, name).unwrap_or_default();
        let Some(table) = tables.get_mut(&get("t")) else {
            continue;
        };
        let extra = get("extra").to_ascii_uppercase();
        let stored = extra.contains("STORED GENERATED") || extra.contains("PERSISTENT");
        if !stored && extra.contains("VIRTUAL") {
            table.virtual_columns.insert(get("c"));
            continue;
        }
        let written = written(row);
        table.columns.push(Column {
            name: get("c"),
            kind: Kind::of(&written),
            written: written.column_type,
            collation: text(row, "collation_name"),
            nullable: get("nullable") == "YES",
            generated: stored,
            invisible: extra.contains("INVISIBLE"),
        });
    }
    Ok(())
}

/// A column's type as a row of `information_schema.COLUMNS` has it, under the names that are asked for here.
pub(in crate::adapters::mysql) fn written(row: &Row) -> Written {
    let get = |name: &str| text(row, name).unwrap_or_default();
    Written {
        data_type: get("data_type"),
        column_type: get("column_type"),
        charset: get("charset"),
        // A length that was not told is taken for the longest.
        bytes: number(row, "bytes", "bytes").unwrap_or(u64::MAX),
        digits: number(row, "digits", "digits").unwrap_or(0),
        scale: number(row, "scale", "scale"),
        fraction: number(row, "fraction", "fraction").unwrap_or(0),
    }
}

async fn keys(
    session: &mut Session,
    which: &str,
    tables: &mut Tables,
    budget: Duration,
) -> Result<(), ServerError> {
    let doing = "read the keys of the tables to prove";
    let flags = "SELECT UPPER(COLUMN_NAME) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'information_schema' \
                 AND TABLE_NAME = 'STATISTICS' AND COLUMN_NAME IN ('IS_VISIBLE', 'IGNORED')";
    let flags: Vec<String> = session.rows(doing, flags, budget).await?;
    // The two families' words for an index that the optimiser does not use, and that cannot be asked for.
    let hidden = match flags.first().map(String::as_str) {
        Some("IS_VISIBLE") => "IS_VISIBLE = 'NO'",
        Some("IGNORED") => "IGNORED = 'YES'",
        _ => "0",
    };
    let sql = format!(
        "SELECT TABLE_NAME AS t, INDEX_NAME AS i, COLUMN_NAME AS c, SUB_PART AS part, INDEX_TYPE AS type, \
         {hidden} AS hidden FROM information_schema.STATISTICS WHERE {which} AND NON_UNIQUE = 0 \
         ORDER BY TABLE_NAME, INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX"
    );
    let rows: Vec<Row> = session.rows(doing, &sql, budget).await?;
    let mut unfit = BTreeSet::new();
    for row in &rows {
        let get = |name: &str| text(row, name).unwrap_or_default();
        let Some(table) = tables.get_mut(&get("t")) else {
            continue;
        };
        let (index, name) = (get("i"), get("c"));
        // The part of a key over an expression has no column.
        let whole = table.column(&name).is_some_and(|column| !column.nullable)
            && text(row, "part").is_none()
            && get("type") == "BTREE"
            && get("hidden") == "0";
        if !whole {
            unfit.insert((table.name.clone(), index.clone()));
        }
        match table.keys.last_mut() {
            Some(key) if key.index == index => key.columns.push(name),
            _ => table.keys.push(Key {
                index,
                columns: vec![name],
            }),
        }
    }
    for table in tables.values_mut() {
        let name = table.name.clone();
        table
            .keys
            .retain(|key| !unfit.contains(&(name.clone(), key.index.clone())));
    }
    Ok(())
}
