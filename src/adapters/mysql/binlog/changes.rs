//! What one transaction changed, as far as it was read: bounded, however large the transaction is.

use std::collections::BTreeMap;

use crate::domain::proof::key::Key;
use crate::domain::proof::ledger::Change;
use crate::domain::proof::transaction::TableName;

/// How much of one transaction is kept row by row. A table with more is taken to be changed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Changes of one table.
    pub changes_per_table: usize,
    /// About how many bytes the keys of one table take.
    pub bytes_per_table: usize,
    /// About how many bytes all keys take.
    pub bytes_in_all: usize,
    /// How many tables are named; of a transaction with more, everything is taken to be changed.
    pub tables: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            changes_per_table: 5_000,
            bytes_per_table: 1 << 20,
            bytes_in_all: 4 << 20,
            tables: 10_000,
        }
    }
}

/// The changes of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OfTable {
    changes: Vec<Change>,
    bytes: usize,
    whole: bool,
}

/// The changes of one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    tables: BTreeMap<TableName, OfTable>,
    schemas: Vec<Change>,
    everything: bool,
    bytes: usize,
}

impl Changes {
    /// About how many bytes the keys take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.everything && self.schemas.is_empty() && self.tables.is_empty()
    }

    pub(super) fn add(&mut self, change: Change, caps: Caps) {
        if self.everything {
            return;
        }
        let name = match &change {
            Change::Row { table, .. } => table,
            Change::Cascade { child, .. } => child,
            Change::Table(table) => table,
            Change::Schema(_) => {
                if !self.schemas.contains(&change) {
                    self.schemas.push(change);
                }
                return;
            }
            Change::Everything => {
                *self = Self {
                    everything: true,
                    ..Self::default()
                };
                return;
            }
        };
        let of = if let Some(of) = self.tables.get_mut(name) {
            of
        } else if self.tables.len() < caps.tables {
            self.tables.entry(name.clone()).or_default()
        } else {
            self.add(Change::Everything, caps);
            return;
        };
        if of.whole {
            return;
        }
        let weight = weight(&change);
        let is_whole = matches!(change, Change::Table(_))
            || of.changes.len() >= caps.changes_per_table
            || of.bytes + weight > caps.bytes_per_table
            || self.bytes + weight > caps.bytes_in_all;
        if is_whole {
            self.bytes -= of.bytes;
            *of = OfTable {
                whole: true,
                ..OfTable::default()
            };
            return;
        }
        // Rows without a key are all alike, and so are repeated changes of one row.
        if of.changes.last() == Some(&change) {
            return;
        }
        of.changes.push(change);
        of.bytes += weight;
        self.bytes += weight;
    }

    /// Whether a table is already taken to be changed as a whole, so that its rows need not be read.
    pub(super) fn has_whole(&self, table: &TableName) -> bool {
        self.everything || self.tables.get(table).is_some_and(|of| of.whole)
    }

    pub(super) fn into_vec(self) -> Vec<Change> {
        let mut all = self.schemas;
        if self.everything {
            all.push(Change::Everything);
        }
        for (name, of) in self.tables {
            if of.whole {
                all.push(Change::Table(name));
            } else {
                all.extend(of.changes);
            }
        }
        all
    }
}

fn weight(change: &Change) -> usize {
    let keys: usize = match change {
        Change::Row { before, after, .. } => before.iter().chain(after).map(Key::weight).sum(),
        Change::Cascade { values, columns, .. } => {
            values.iter().map(Key::weight).sum::<usize>() + columns.iter().map(String::len).sum::<usize>()
        }
        Change::Table(_) | Change::Schema(_) | Change::Everything => 0,
    };
    // Every change names its table.
    keys + size_of::<Change>() + 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(table: &str) -> TableName {
        TableName {
            schema: "shop".into(),
            table: table.into(),
        }
    }

    fn row(table: &str, key: i128) -> Change {
        Change::Row {
            table: name(table),
            before: None,
            after: Some(Key::from(key)),
        }
    }

    #[test]
    fn a_table_with_too_many_changes_is_changed_as_a_whole() {
        let caps = Caps {
            changes_per_table: 3,
            ..Caps::default()
        };
        let mut changes = Changes::default();
        for key in 0..3 {
            changes.add(row("a", key), caps);
        }
        changes.add(row("b", 1), caps);
        assert_eq!(changes.clone().into_vec().len(), 4);
        changes.add(row("a", 3), caps);
        assert_eq!(changes.into_vec(), [Change::Table(name("a")), row("b", 1)]);
        let caps = Caps {
            bytes_in_all: 1000,
            ..Caps::default()
        };
        let mut changes = Changes::default();
        for key in 0..1000 {
            changes.add(row("a", key), caps);
            assert!(changes.bytes() <= 1000);
        }
        assert_eq!(changes.into_vec(), [Change::Table(name("a"))]);
    }

    #[test]
    fn everything_holds_all_else() {
        let mut changes = Changes::default();
        changes.add(row("a", 1), Caps::default());
        changes.add(Change::Schema("x".into()), Caps::default());
        changes.add(Change::Everything, Caps::default());
        changes.add(row("a", 2), Caps::default());
        assert!(changes.has_whole(&name("z")));
        assert_eq!(changes.into_vec(), [Change::Everything]);
    }
}
