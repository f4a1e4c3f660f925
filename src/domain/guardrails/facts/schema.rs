//! Tables, columns and stored programs, as `information_schema` prints them on the server they come from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything in the schemas that are not the server's or bleen's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Schemas: name to (character set, collation).
    pub schemas: BTreeMap<String, (String, String)>,
    /// Base tables, sequences, system-versioned tables. Views are apart.
    pub tables: Vec<TableFact>,
    /// Views.
    pub views: Vec<ViewFact>,
    /// Procedures and functions.
    pub routines: Vec<ProgramFact>,
    /// Triggers.
    pub triggers: Vec<ProgramFact>,
    /// Events.
    pub events: Vec<ProgramFact>,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TableFact {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// `BASE TABLE`, `SEQUENCE`, `SYSTEM VERSIONED`.
    pub kind: String,
    /// Engine; empty if the table cannot be opened.
    pub engine: String,
    /// Collation.
    pub collation: String,
    /// `ROW_FORMAT`.
    pub row_format: String,
    /// Rows, estimated by the server.
    pub rows: u64,
    /// Data and indexes, bytes.
    pub bytes: u64,
    /// The next generated key.
    pub auto_increment: Option<u64>,
    /// Columns in order.
    pub columns: Vec<ColumnFact>,
    /// Indexes by name.
    pub indexes: BTreeMap<String, IndexFact>,
    /// Foreign keys by name.
    pub foreign_keys: BTreeMap<String, ForeignKeyFact>,
    /// Check constraints: name and expression.
    pub checks: Vec<(String, String)>,
    /// Partitions in order: name, method, expression, description, all as printed and joined by ` | `.
    pub partitions: Vec<String>,
}

impl TableFact {
    /// `schema.name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Whether it has a primary key, or a unique one whose columns cannot be NULL.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.indexes.values().any(|index| {
            index.unique
                && !index.parts.is_empty()
                && index.parts.iter().all(|part| {
                    part.prefix.is_none()
                        && self
                            .columns
                            .iter()
                            .any(|c| part.column.as_ref() == Some(&c.name) && !c.nullable)
                })
        })
    }
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnFact {
    /// Name.
    pub name: String,
    /// Whole type: `int(10) unsigned`.
    pub column_type: String,
    /// A temporal type in the format of MySQL 5.5 or MariaDB 5.3, where the server says so.
    pub old_temporal: bool,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Default, as printed.
    pub default: Option<String>,
    /// `EXTRA`, as printed.
    pub extra: String,
    /// Collation, `None` for what is no text.
    pub collation: Option<String>,
    /// What it is generated from, empty if it is not.
    pub generated: String,
}

/// An index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexFact {
    /// Whether no two rows may be equal in it.
    pub unique: bool,
    /// `BTREE`, `FULLTEXT`, `SPATIAL`, `HASH`.
    pub kind: String,
    /// Columns or expressions in order.
    pub parts: Vec<IndexPart>,
    /// Whether the optimiser leaves it aside.
    pub invisible: bool,
}

/// A column or an expression of an index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPart {
    /// The column; `None` for an expression.
    pub column: Option<String>,
    /// The expression.
    pub expression: Option<String>,
    /// Only that many characters or bytes of it.
    pub prefix: Option<u64>,
    /// Descending.
    pub descending: bool,
}

/// A foreign key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKeyFact {
    /// Columns in order.
    pub columns: Vec<String>,
    /// Schema and table it refers to, joined by a dot.
    pub target: String,
    /// Columns there.
    pub target_columns: Vec<String>,
    /// What an update does.
    pub on_update: String,
    /// What a delete does.
    pub on_delete: String,
}

/// A view.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewFact {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// The SELECT as the server prints it.
    pub text: String,
    /// `DEFINER` or `INVOKER`.
    pub security: String,
    /// `user@host`.
    pub definer: String,
    /// `NONE`, `LOCAL`, `CASCADED`.
    pub check_option: String,
}

/// A routine, a trigger or an event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramFact {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// `PROCEDURE`, `FUNCTION`, `TRIGGER`, `EVENT`.
    pub kind: String,
    /// Its body as it was written. `None` if bleen's account may not see it.
    pub text: Option<String>,
    /// `user@host`.
    pub definer: String,
    /// The `sql_mode` it runs with.
    pub sql_mode: String,
    /// Everything else that makes it what it is: `timing`, `parameters`, `interval`, `security`.
    pub properties: BTreeMap<String, String>,
}
