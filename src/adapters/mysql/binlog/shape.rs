//! How the rows of a table stand in row events: which places make up the proof's key, and how they are read.
//!
//! The binlog itself does not tell enough: neither family writes whether a number has a sign on every version, nor how
//! long a BINARY is, nor what the key is. So the definition is read from blue, together with blue's place before that
//! ([`Shape::read_after`]): a statement on the table that ends behind it makes the shape stale.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use mysql_async::Row;

use super::table_map::{Type, code};
use super::value::{Charset, How};
use crate::adapters::mysql::columns::text;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::position_read::written_file;
use crate::adapters::mysql::proof::columns::{Column, written};
use crate::adapters::mysql::proof::expression::Expression;
use crate::adapters::mysql::proof::key::KeyColumn;
use crate::adapters::mysql::proof::key_form::Form;
use crate::adapters::mysql::proof::kind::{Kind, plain_charset};
use crate::adapters::mysql::quote;
use crate::adapters::mysql::session::Session;
use crate::adapters::mysql::survey::NOT_COMPARED;
use crate::domain::capabilities::Capabilities;
use crate::domain::position::FilePosition;
use crate::domain::proof::cascade::{Action, ForeignKey};
use crate::domain::proof::transaction::TableName;

/// The shapes of all tables that are proved. The catalogue fills it, the reader looks things up.
pub type Shapes = Arc<RwLock<BTreeMap<TableName, Arc<Shape>>>>;

/// A foreign key that points at a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub key: ForeignKey,
    /// Its columns among [`Shape::wanted`].
    pub places: Vec<usize>,
}

/// How the rows of one table stand in row events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The table, as blue names it.
    pub name: TableName,
    /// Blue's place before the definition was read.
    pub read_after: FilePosition,
    /// Its columns in the order of row events.
    columns: Vec<Kind>,
    /// The columns that are read, by their places among all, in ascending order, and how.
    pub(super) wanted: Vec<(usize, How)>,
    /// The proof's key, by places among those that are read; empty for a table without one.
    pub(super) key: Vec<usize>,
    /// The foreign keys that point at it.
    pub(super) references: Vec<Reference>,
    /// All foreign keys of the server: what is changed may change others.
    pub(super) all: Arc<Vec<ForeignKey>>,
    /// Its own rows are wanted, and not only what its foreign keys change.
    pub(super) tracked: bool,
    /// It has triggers: a statement may change other tables.
    pub(super) has_triggers: bool,
}

impl Shape {
    /// Whether row events with these types can be of this table.
    pub(super) fn fits(&self, types: &[Type]) -> bool {
        let Some((shown, hidden)) = types.split_at_checked(self.columns.len()) else {
            return false;
        };
        // MariaDB keeps the digests of long unique values in columns of its own, behind all others.
        hidden.iter().all(|one| one.code == code::LONGLONG)
            && self
                .columns
                .iter()
                .zip(shown)
                .all(|(kind, written)| fits(kind, *written))
    }

    /// Where a column stands among those that are read.
    pub(super) fn wanted_at(&self, place: usize) -> Option<usize> {
        self.wanted.binary_search_by_key(&place, |(at, _)| *at).ok()
    }

    /// Whether a statement on it can change no other table.
    pub(super) fn stands_alone(&self) -> bool {
        !self.has_triggers && self.references.is_empty()
    }
}

#[cfg(test)]
impl Shape {
    /// `(v INT, id INT PRIMARY KEY, t VARCHAR(200), b LONGBLOB)` or, if nothing refers to it, `(id INT PRIMARY KEY, parent
    /// INT)`; never old.
    pub(super) fn of_test(table: &str, child: Option<&str>) -> Self {
        let named = |table: &str| TableName {
            schema: "shop".into(),
            table: table.into(),
        };
        let integer = Kind::Integer { zerofill: false };
        let bytes = 1 << 20;
        let columns = match child {
            Some(_) => vec![
                integer.clone(),
                integer,
                Kind::Text {
                    charset: "utf8mb4".into(),
                    bytes,
                },
                Kind::Binary { bytes, fixed: false },
            ],
            None => vec![integer.clone(), integer],
        };
        let key = child.map(|child| ForeignKey {
            parent: named(table),
            child: named(child),
            columns: vec!["parent".into()],
            on_delete: Action::Cascade,
            on_update: Action::Cascade,
        });
        Self {
            name: named(table),
            read_after: FilePosition {
                file: "binlog.000009".into(),
                offset: 4,
            },
            wanted: vec![(usize::from(child.is_some()), How::Integer { unsigned: false })],
            columns,
            key: vec![0],
            all: Arc::new(key.iter().cloned().collect()),
            references: key
                .into_iter()
                .map(|key| Reference { key, places: vec![0] })
                .collect(),
            tracked: true,
            has_triggers: false,
        }
    }
}

fn fits(kind: &Kind, written: Type) -> bool {
    use code::{
        BIT, BLOB, BLOB_COMPRESSED, DATE, DATETIME, DATETIME2, DOUBLE, ENUM, FLOAT, GEOMETRY, INT24, JSON,
        LONG, LONG_BLOB, LONGLONG, MEDIUM_BLOB, NEWDATE, NEWDECIMAL, SET, SHORT, STRING, TIME, TIME2,
        TIMESTAMP, TIMESTAMP2, TINY, TINY_BLOB, VARCHAR, VARCHAR_COMPRESSED, VECTOR, YEAR,
    };
    let code = written.real();
    match kind {
        Kind::Integer { .. } => matches!(code, TINY | SHORT | INT24 | LONG | LONGLONG),
        Kind::Decimal { digits, scale, .. } => {
            code == NEWDECIMAL && written.meta.to_le_bytes().map(u32::from) == [*digits, *scale]
        }
        Kind::Float => code == FLOAT,
        Kind::Double { .. } => code == DOUBLE,
        Kind::Bit => code == BIT,
        Kind::Year => code == YEAR,
        Kind::Date => matches!(code, DATE | NEWDATE),
        // The older types do not say how many digits they have, so that those with some cannot even be skipped.
        Kind::Time(digits) => {
            code == TIME2 && u32::from(written.meta) == *digits || code == TIME && *digits == 0
        }
        Kind::DateTime(digits) => {
            code == DATETIME2 && u32::from(written.meta) == *digits || code == DATETIME && *digits == 0
        }
        Kind::Timestamp(digits) => {
            code == TIMESTAMP2 && u32::from(written.meta) == *digits || code == TIMESTAMP && *digits == 0
        }
        Kind::Choice { .. } => matches!(code, ENUM | SET),
        Kind::Json => code == JSON,
        Kind::Geometry => code == GEOMETRY,
        Kind::Text { .. } | Kind::Binary { .. } | Kind::Vector => matches!(
            code,
            VARCHAR
                | STRING
                | BLOB
                | TINY_BLOB
                | MEDIUM_BLOB
                | LONG_BLOB
                | BLOB_COMPRESSED
                | VARCHAR_COMPRESSED
                | VECTOR
        ),
        Kind::Uuid | Kind::Inet4 | Kind::Inet6 => code == STRING,
        Kind::Unknown => true,
    }
}

/// Puts shapes that were read among the others. One that was read only for the sake of foreign keys never takes the place
/// of one whose rows are wanted.
pub fn put(shapes: &Shapes, read: Vec<Shape>) {
    let mut all = match shapes.write() {
        Ok(all) => all,
        Err(poisoned) => poisoned.into_inner(),
    };
    for shape in read {
        let is_worse = !shape.tracked && all.get(&shape.name).is_some_and(|old| old.tracked);
        if !is_worse {
            all.insert(shape.name.clone(), Arc::new(shape));
        }
    }
}

/// A table whose shape is wanted, and what blue is asked for in its proof.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The table, as blue names it.
    pub name: &'a TableName,
    /// Blue's expressions; `None` for a table whose rows are not wanted themselves.
    pub blue: Option<&'a Expression>,
}

/// Reads the shapes of tables from blue, and of those that foreign keys of theirs point at, directly or through others:
/// what happens to these may change the wanted ones. A table that is not there (any more) is not returned. A column of a key that is
/// not there any more makes a shape of which no row can be read, so that its table is taken to be changed as a whole.
///
/// # Errors
/// What the server answered.
pub async fn read(
    session: &mut Session,
    caps: &Capabilities,
    wanted: &[Wanted<'_>],
    budget: Duration,
) -> Result<Vec<Shape>, ServerError> {
    let read_after = written_file(session, caps, budget).await?;
    settle(session, caps, wanted.iter().map(|one| one.name), budget).await?;
    let foreign = Arc::new(foreign_keys(session, budget).await?);
    let all: Arc<Vec<ForeignKey>> = Arc::new(foreign.iter().map(|(key, _)| key.clone()).collect());
    let parents = parents(wanted, &all);
    settle(session, caps, parents.iter(), budget).await?;
    let mut schemas: BTreeMap<&str, Vec<(Wanted<'_>, bool)>> = BTreeMap::new();
    for one in wanted {
        schemas.entry(&one.name.schema).or_default().push((*one, true));
    }
    for name in &parents {
        let parent = Wanted { name, blue: None };
        schemas.entry(&name.schema).or_default().push((parent, false));
    }
    let mut shapes = Vec::new();
    for (schema, tables) in schemas {
        let mut columns = columns(session, schema, budget).await?;
        let triggers = with_triggers(session, schema, budget).await?;
        for (one, tracked) in tables {
            let Some(columns) = columns.remove(&one.name.table) else {
                continue;
            };
            let plain = shape(one, &columns, &foreign);
            shapes.push(Shape {
                read_after: read_after.clone(),
                all: Arc::clone(&all),
                tracked,
                has_triggers: triggers.contains(&one.name.table),
                ..plain
            });
        }
    }
    Ok(shapes)
}

/// Whether a new definition may be in the binlog before it can be read: see [`settle`].
#[must_use]
pub fn settles_late(caps: &Capabilities) -> bool {
    caps.version.is_mysql_from((8, 0, 0))
}

/// How many tables are asked for at once.
const AT_ONCE: usize = 100;

/// Waits until what changed the tables' definitions is visible as far as it stands in the binlog.
///
/// MySQL 8 and later write a statement down before its new definition can be read (and send it to readers of the binlog
/// as early). It still holds the table's lock then, which the smallest of statements has to wait for.
///
/// # Errors
/// What the server answered, but for a table that is gone or may not be read.
pub async fn settle(
    session: &mut Session,
    caps: &Capabilities,
    tables: impl Iterator<Item = &TableName> + Send,
    budget: Duration,
) -> Result<(), ServerError> {
    if !settles_late(caps) {
        return Ok(());
    }
    let names: Vec<String> = tables
        .map(|name| quote::qualified(&name.schema, &name.table))
        .collect();
    for some in names.chunks(AT_ONCE) {
        let questions: Vec<String> = some
            .iter()
            .map(|name| format!("(SELECT 1 FROM {name} LIMIT 0)"))
            .collect();
        let together = questions.join(" UNION ALL ");
        if touch(session, &together, budget).await? {
            continue;
        }
        // One of them is gone, or may not be read.
        for question in &questions {
            touch(session, question, budget).await?;
        }
    }
    Ok(())
}

/// Whether the server answered a question about tables, and did not refuse it.
async fn touch(session: &mut Session, question: &str, budget: Duration) -> Result<bool, ServerError> {
    let doing = "wait until the definitions of tables are visible";
    match session.rows::<Row>(doing, question, budget).await {
        Ok(_) => Ok(true),
        // 1205: the lock was not to be had in time. Anything else is about the table itself.
        Err(e) if e.code().is_some_and(|code| code != 1205) => Ok(false),
        Err(e) => Err(e),
    }
}

/// The tables that others' foreign keys point at, and those behind them, but for the wanted ones.
fn parents(wanted: &[Wanted<'_>], all: &[ForeignKey]) -> Vec<TableName> {
    let mut known: BTreeSet<&TableName> = wanted.iter().map(|one| one.name).collect();
    let mut found = Vec::new();
    let mut next: Vec<&TableName> = known.iter().copied().collect();
    while let Some(child) = next.pop() {
        for key in all.iter().filter(|key| key.child == *child) {
            if known.insert(&key.parent) {
                next.push(&key.parent);
                found.push(key.parent.clone());
            }
        }
    }
    found
}

/// A column as `information_schema` has it, VIRTUAL ones among them.
struct Stands {
    column: Column,
    unsigned: bool,
}

type ForeignKeys = Vec<(ForeignKey, Vec<String>)>;

/// What follows from a table's columns and foreign keys; the rest is for the caller to fill in.
fn shape(of: Wanted<'_>, columns: &[Stands], foreign: &ForeignKeys) -> Shape {
    let mut wanted: BTreeMap<usize, How> = BTreeMap::new();
    let key_columns: &[KeyColumn] = of.blue.map_or(&[], |blue| blue.key.as_slice());
    let place_of_key = |key: &KeyColumn| {
        let is_it = |one: &Stands| quote::identifier(&one.column.name) == key.quoted_name();
        columns.iter().position(is_it)
    };
    // A column that is gone: the place behind the last one is in no event, and so its rows cannot be read.
    let key_places: Vec<usize> = key_columns
        .iter()
        .map(|key| place_of_key(key).unwrap_or(columns.len()))
        .collect();
    for (key, place) in key_columns.iter().zip(&key_places) {
        let how = columns.get(*place).map_or(How::Not, |one| how_in_key(one, key));
        wanted.insert(*place, how);
    }
    let mut pointing = Vec::new();
    for (key, referenced) in foreign.iter().filter(|(key, _)| key.parent == *of.name) {
        let place = |name: &String| {
            let is_it =
                |one: &Stands| crate::adapters::mysql::proof::columns::same_name(&one.column.name, name);
            columns.iter().position(is_it)
        };
        let places: Option<Vec<usize>> = referenced.iter().map(place).collect();
        let places = places.unwrap_or_else(|| vec![columns.len()]);
        for place in &places {
            let how = columns.get(*place).map_or(How::Not, how_referred_to);
            wanted.entry(*place).or_insert(how);
        }
        pointing.push((key.clone(), places));
    }
    let order: Vec<usize> = wanted.keys().copied().collect();
    let among = |places: &[usize]| -> Vec<usize> {
        places
            .iter()
            .filter_map(|place| order.binary_search(place).ok())
            .collect()
    };
    Shape {
        name: of.name.clone(),
        read_after: FilePosition {
            file: String::new(),
            offset: 0,
        },
        columns: columns.iter().map(|one| one.column.kind.clone()).collect(),
        key: among(&key_places),
        references: pointing
            .into_iter()
            .map(|(key, places)| Reference {
                key,
                places: among(&places),
            })
            .collect(),
        wanted: wanted.into_iter().collect(),
        all: Arc::default(),
        tracked: false,
        has_triggers: true,
    }
}

/// How a column is read as the proof's statements read it.
fn how_in_key(one: &Stands, key: &KeyColumn) -> How {
    match (&one.column.kind, key.form) {
        (Kind::Text { charset, .. }, Form::Text | Form::TextByBytes) => {
            let asked = key.charset().unwrap_or_default();
            let charset = match (plain_charset(charset).as_str(), plain_charset(asked).as_str()) {
                (own, asked) if own == asked => Charset::Same,
                ("ascii" | "utf8mb3", "utf8mb4") => Charset::Same,
                ("latin1", "utf8mb4") => Charset::Latin1,
                _ => return How::Not,
            };
            How::Text {
                charset,
                by_bytes: key.form == Form::TextByBytes,
            }
        }
        (Kind::Time(_), _) => How::Time(key.fraction),
        (Kind::DateTime(_), _) => How::DateTime(key.fraction),
        (Kind::Timestamp(_), _) => How::Timestamp(key.fraction),
        _ => how_alone(one),
    }
}

/// How a column is read that is not in the key, and that a foreign key refers to. The child's column has the same
/// character set, but it may be asked for in another one.
fn how_referred_to(one: &Stands) -> How {
    match (&one.column.kind, how_alone(one)) {
        (Kind::Text { charset, .. }, How::Text { by_bytes, .. }) => match plain_charset(charset).as_str() {
            "utf8mb4" | "utf8mb3" | "ascii" => how_alone(one),
            "utf16" | "utf16le" | "utf32" | "ucs2" => How::Not,
            _ => How::Text {
                charset: Charset::Ascii,
                by_bytes,
            },
        },
        (_, how) => how,
    }
}

/// How a column is read in blue's own form.
fn how_alone(one: &Stands) -> How {
    match &one.column.kind {
        Kind::Integer { .. } => How::Integer {
            unsigned: one.unsigned,
        },
        Kind::Bit => How::Bits,
        Kind::Year => How::Year,
        Kind::Choice { .. } => How::Choice,
        Kind::Binary { bytes, fixed } => match usize::try_from(*bytes) {
            Ok(length) if *fixed => How::Binary(length),
            _ if *fixed => How::Not,
            _ => How::Binary(0),
        },
        Kind::Text { .. } => How::Text {
            charset: Charset::Same,
            by_bytes: Form::of(&one.column, &one.column) == Form::TextByBytes,
        },
        Kind::Date => How::Date,
        Kind::Time(digits) => How::Time(*digits),
        Kind::DateTime(digits) => How::DateTime(*digits),
        Kind::Timestamp(digits) => How::Timestamp(*digits),
        Kind::Decimal { .. } => How::Decimal,
        Kind::Uuid => How::Uuid,
        Kind::Inet4 => How::Inet4,
        Kind::Inet6 => How::Inet6,
        Kind::Float | Kind::Double { .. } | Kind::Json | Kind::Geometry | Kind::Vector | Kind::Unknown => {
            How::Not
        }
    }
}

async fn columns(
    session: &mut Session,
    schema: &str,
    budget: Duration,
) -> Result<BTreeMap<String, Vec<Stands>>, ServerError> {
    crate::adapters::mysql::proof::columns::show_invisible_keys(session, budget).await?;
    let sql = format!(
        "SELECT TABLE_NAME AS t, COLUMN_NAME AS c, DATA_TYPE AS data_type, COLUMN_TYPE AS column_type, \
         CHARACTER_SET_NAME AS charset, COLLATION_NAME AS collation_name, CHARACTER_OCTET_LENGTH AS bytes, \
         NUMERIC_PRECISION AS digits, NUMERIC_SCALE AS scale, DATETIME_PRECISION AS fraction \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} ORDER BY TABLE_NAME, ORDINAL_POSITION",
        quote::text(schema)
    );
    let rows: Vec<Row> = session
        .rows("read how columns stand in row events", &sql, budget)
        .await?;
    let mut tables: BTreeMap<String, Vec<Stands>> = BTreeMap::new();
    for row in &rows {
        let get = |name: &str| text(row, name).unwrap_or_default();
        let written = written(row);
        let lower = written.column_type.to_ascii_lowercase();
        tables.entry(get("t")).or_default().push(Stands {
            unsigned: lower.contains("unsigned") || lower.contains("zerofill"),
            column: Column {
                name: get("c"),
                kind: Kind::of(&written),
                written: written.column_type,
                collation: text(row, "collation_name"),
                nullable: true,
                generated: false,
                invisible: false,
            },
        });
    }
    Ok(tables)
}

async fn with_triggers(
    session: &mut Session,
    schema: &str,
    budget: Duration,
) -> Result<Vec<String>, ServerError> {
    let sql = format!(
        "SELECT DISTINCT EVENT_OBJECT_TABLE AS t FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = {}",
        quote::text(schema)
    );
    let rows: Vec<Row> = session
        .rows("find the tables that have triggers", &sql, budget)
        .await?;
    Ok(rows.iter().filter_map(|row| text(row, "t")).collect())
}

/// All foreign keys of the server but those of its own schemas, with the columns that they refer to.
async fn foreign_keys(session: &mut Session, budget: Duration) -> Result<ForeignKeys, ServerError> {
    let doing = "read the foreign keys";
    // MariaDB opens every table that is not excluded by these very columns, its own and those of the performance schema
    // too, and a later global read lock has to close them while writers wait (seen: 2 to 18 ms).
    let rules = format!(
        "SELECT CONSTRAINT_SCHEMA AS s, TABLE_NAME AS t, CONSTRAINT_NAME AS n, UPDATE_RULE AS u, DELETE_RULE AS d \
         FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA NOT IN {NOT_COMPARED}"
    );
    let rules: Vec<Row> = session.rows(doing, &rules, budget).await?;
    let columns = format!(
        "SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, CONSTRAINT_NAME AS n, COLUMN_NAME AS c, \
         REFERENCED_TABLE_SCHEMA AS rs, REFERENCED_TABLE_NAME AS rt, REFERENCED_COLUMN_NAME AS rc \
         FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA NOT IN {NOT_COMPARED} AND REFERENCED_TABLE_NAME \
         IS NOT NULL ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION"
    );
    let columns: Vec<Row> = session.rows(doing, &columns, budget).await?;
    let get = |row: &Row, name: &str| text(row, name).unwrap_or_default();
    let name = |row: &Row| (get(row, "s"), get(row, "t"), get(row, "n"));
    let mut keys: BTreeMap<(String, String, String), (ForeignKey, Vec<String>)> = BTreeMap::new();
    for row in &rules {
        let child = TableName {
            schema: get(row, "s"),
            table: get(row, "t"),
        };
        let key = ForeignKey {
            // Filled in by the columns.
            parent: child.clone(),
            child,
            columns: Vec::new(),
            on_delete: action(&get(row, "d")),
            on_update: action(&get(row, "u")),
        };
        keys.insert(name(row), (key, Vec::new()));
    }
    for row in &columns {
        let Some((key, referenced)) = keys.get_mut(&name(row)) else {
            continue;
        };
        key.parent = TableName {
            schema: get(row, "rs"),
            table: get(row, "rt"),
        };
        key.columns.push(get(row, "c"));
        referenced.push(get(row, "rc"));
    }
    Ok(keys
        .into_values()
        .filter(|(_, referenced)| !referenced.is_empty())
        .collect())
}

fn action(rule: &str) -> Action {
    match rule {
        "CASCADE" => Action::Cascade,
        "RESTRICT" | "NO ACTION" => Action::Refuse,
        // SET NULL, SET DEFAULT, and whatever else there may be.
        _ => Action::Clear,
    }
}
