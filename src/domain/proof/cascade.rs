//! What a foreign key changes on a child without a row event: InnoDB's own cascades are not in the binlog
//! (facts/validation.md 1.5).

use std::collections::BTreeSet;

use super::key::Key;
use super::ledger::Change;
use super::transaction::TableName;

/// What a foreign key does to the child when the parent's row changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It refuses: `RESTRICT`, `NO ACTION`.
    Refuse,
    /// `CASCADE`.
    Cascade,
    /// `SET NULL`, `SET DEFAULT`: afterwards nothing tells which rows it were.
    Clear,
}

/// One foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ForeignKey {
    /// The table it points to.
    pub parent: TableName,
    /// The table it stands on.
    pub child: TableName,
    /// The child's columns.
    pub columns: Vec<String>,
    /// When the parent's row is deleted.
    pub on_delete: Action,
    /// When the parent's referenced values change.
    pub on_update: Action,
}

impl ForeignKey {
    const fn changes_child(&self) -> bool {
        !matches!((self.on_delete, self.on_update), (Action::Refuse, Action::Refuse))
    }
}

/// What one change of a parent's row obliges to, for one foreign key that points to it. `before` and `after` are the
/// values that the key refers to; `None` where there is no such row, or a value is null. `all` are all foreign keys.
#[must_use]
pub fn obligations(
    key: &ForeignKey,
    before: Option<&Key>,
    after: Option<&Key>,
    all: &[ForeignKey],
) -> Vec<Change> {
    let Some(old) = before else { return Vec::new() };
    let action = match after {
        Some(new) if new == old => return Vec::new(),
        Some(_) => key.on_update,
        None => key.on_delete,
    };
    let mut changes = match action {
        Action::Refuse => return Vec::new(),
        Action::Cascade => vec![Change::Cascade {
            child: key.child.clone(),
            columns: key.columns.clone(),
            values: before.into_iter().chain(after).cloned().collect(),
        }],
        Action::Clear => vec![Change::Table(key.child.clone())],
    };
    // Behind the child nobody knows which rows: its own images are not in the binlog.
    let mut seen = BTreeSet::from([&key.child]);
    let mut next = vec![&key.child];
    while let Some(parent) = next.pop() {
        for below in all.iter().filter(|k| k.parent == *parent && k.changes_child()) {
            if seen.insert(&below.child) {
                next.push(&below.child);
            }
            let change = Change::Table(below.child.clone());
            if !changes.contains(&change) {
                changes.push(change);
            }
        }
    }
    changes
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

    fn key(parent: &str, child: &str, on_delete: Action, on_update: Action) -> ForeignKey {
        ForeignKey {
            parent: name(parent),
            child: name(child),
            columns: vec!["parent".into()],
            on_delete,
            on_update,
        }
    }

    #[test]
    fn a_cascade_names_the_rows_and_what_is_behind_them_is_unproven() {
        use Action::{Cascade, Clear, Refuse};
        let all = [
            key("a", "b", Cascade, Refuse),
            key("b", "c", Cascade, Cascade),
            key("c", "b", Cascade, Refuse), // a circle
            key("b", "d", Refuse, Refuse),
        ];
        let (old, new) = (Key::from(1), Key::from(2));
        let found = obligations(&all[0], Some(&old), None, &all);
        let cascade = Change::Cascade {
            child: name("b"),
            columns: vec!["parent".into()],
            values: vec![old.clone()],
        };
        assert_eq!(
            found,
            vec![cascade, Change::Table(name("c")), Change::Table(name("b"))]
        );
        assert_eq!(
            obligations(&all[0], Some(&old), Some(&new), &all),
            vec![],
            "refused"
        );
        assert_eq!(
            obligations(&all[1], Some(&old), Some(&old), &all),
            vec![],
            "not changed"
        );
        assert_eq!(obligations(&all[1], None, Some(&new), &all), vec![], "new");
        let moved = key("x", "y", Refuse, Cascade);
        assert_eq!(
            obligations(&moved, Some(&old), Some(&new), &[]),
            vec![Change::Cascade {
                child: name("y"),
                columns: vec!["parent".into()],
                values: vec![old.clone(), new]
            }]
        );
        let cleared = key("x", "y", Clear, Refuse);
        assert_eq!(
            obligations(&cleared, Some(&old), None, &[]),
            vec![Change::Table(name("y"))]
        );
    }
}
