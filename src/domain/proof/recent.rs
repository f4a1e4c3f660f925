//! The transactions that blue's binlog brought lately, and which tables each of them changed: for a reading that is no
//! range of a table, such as the answer to a query.
//!
//! As for a range, both sides can be held against each other only if no transaction in doubt has touched what was read:
//! one that is not known to be on both sides before the reading, and that blue had written down when it was over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::position::FilePosition;
use super::ledger::Change;
use super::transaction::{Outline, Positions, Start, TableName, Transaction};

/// How many transactions are kept apart. Of older ones only an outline is.
const KEPT: usize = 10_000;

/// What a transaction changed.
#[derive(Debug, Clone, Default)]
struct Touches {
    tables: BTreeSet<TableName>,
    schemas: BTreeSet<String>,
    everything: bool,
}

impl Touches {
    fn of(changes: &[Change]) -> Self {
        let mut touches = Self::default();
        for change in changes {
            match change {
                Change::Row { table, .. } | Change::Table(table) => {
                    if !touches.tables.contains(table) {
                        touches.tables.insert(table.clone());
                    }
                }
                Change::Cascade { child, .. } => {
                    touches.tables.insert(child.clone());
                }
                Change::Schema(schema) => {
                    touches.schemas.insert(schema.clone());
                }
                Change::Everything => touches.everything = true,
            }
        }
        touches
    }

    fn any(&self, tables: &[TableName]) -> bool {
        self.everything
            || tables
                .iter()
                .any(|table| self.tables.contains(table) || self.schemas.contains(&table.schema))
    }
}

/// The transactions of one stream that may still be in doubt.
#[derive(Debug, Clone)]
pub struct Recent {
    start: Start,
    passed: FilePosition,
    is_broken: bool,
    /// All of them, in outline.
    came: Option<Outline>,
    /// Those whose tables are known.
    kept: VecDeque<(Transaction, Touches)>,
    /// Those whose tables are not known any more.
    older: Option<Outline>,
    /// The tables that are watched. Where transactions came before one was, what they did to it is not known.
    watched: BTreeMap<TableName, Option<Outline>>,
}

impl Recent {
    /// Begins with a stream.
    #[must_use]
    pub fn new(start: Start) -> Self {
        Self {
            passed: start.place.clone(),
            start,
            is_broken: false,
            came: None,
            kept: VecDeque::new(),
            older: None,
            watched: BTreeMap::new(),
        }
    }

    /// The stream brought a transaction.
    pub fn transaction(&mut self, transaction: &Transaction, changes: &[Change]) {
        self.passed = transaction.end.clone();
        take_in(&mut self.came, transaction);
        if changes.is_empty() {
            return;
        }
        self.kept.push_back((transaction.clone(), Touches::of(changes)));
        if self.kept.len() > KEPT
            && let Some((old, _)) = self.kept.pop_front()
        {
            take_in(&mut self.older, &old);
        }
    }

    /// A table is watched from now on, if it was not before.
    pub fn watch(&mut self, table: &TableName) {
        if !self.watched.contains_key(table) {
            self.watched.insert(table.clone(), self.came.clone());
        }
    }

    /// A table is not watched any more.
    pub fn unwatch(&mut self, table: &TableName) {
        self.watched.remove(table);
    }

    /// Begins anew with another stream. What it did not carry to the tables that are watched is in doubt by its start.
    pub fn restart(&mut self, start: Start) {
        let watched = std::mem::take(&mut self.watched);
        *self = Self::new(start);
        self.watched = watched.into_keys().map(|table| (table, None)).collect();
    }

    /// The stream has nothing up to this place.
    pub fn advance(&mut self, place: FilePosition) {
        self.passed = place;
    }

    /// What is missing is not known.
    pub fn broke(&mut self) {
        self.is_broken = true;
    }

    /// Forgets what both sides are known to show: no later reading finds it in doubt.
    pub fn settle(&mut self, before: &Positions) {
        self.kept.retain(|(transaction, _)| !before.on_both(transaction));
        let unknown = self.watched.values_mut();
        for outline in [&mut self.came, &mut self.older].into_iter().chain(unknown) {
            if outline.as_ref().is_some_and(|outline| outline.on_both(before)) {
                *outline = None;
            }
        }
    }

    /// Whether a transaction in doubt has touched one of these tables, for a reading that began with `before` and ended
    /// when blue stood at `after`; `None` while the stream is not that far. What is not known counts as touched: where
    /// one of the tables is not watched, every transaction does.
    #[must_use]
    pub fn touched(&self, tables: &[TableName], before: &Positions, after: &FilePosition) -> Option<bool> {
        if self.is_broken || !before.contain(&self.start) {
            return Some(true);
        }
        if !self.passed.has_reached(after) {
            return None;
        }
        let in_doubt = |outline: &Option<Outline>| {
            outline
                .as_ref()
                .is_some_and(|outline| !outline.on_both(before) && !outline.on_neither(before, after))
        };
        let unknown = |table: &TableName| in_doubt(self.watched.get(table).unwrap_or(&self.came));
        Some(
            in_doubt(&self.older)
                || tables.iter().any(unknown)
                || self.kept.iter().any(|(transaction, touches)| {
                    touches.any(tables)
                        && !before.on_both(transaction)
                        && !before.on_neither(transaction, after)
                }),
        )
    }
}

fn take_in(outline: &mut Option<Outline>, transaction: &Transaction) {
    match outline {
        Some(outline) => outline.add(transaction),
        None => *outline = Some(Outline::of(transaction)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::position::{GtidList, Position};
    use crate::domain::proof::transaction::{Origin, Shown};

    fn place(offset: u64) -> FilePosition {
        FilePosition {
            file: "binlog.000001".into(),
            offset,
        }
    }

    fn list(number: u64) -> Position {
        Position::GtidList(GtidList::parse(&format!("0-1-{number}")).unwrap())
    }

    /// What both sides had executed.
    fn both(blue: u64, green: u64) -> Positions {
        Positions {
            blue: Shown::AtLeast(list(blue)),
            green: Shown::AtLeast(list(green)),
        }
    }

    fn transaction(number: u64) -> Transaction {
        Transaction {
            origin: Origin::Domain(0),
            number,
            end: place(number * 100),
        }
    }

    fn name(table: &str) -> TableName {
        TableName {
            schema: "shop".into(),
            table: table.into(),
        }
    }

    /// A stream in which transaction `n` touches the `n`th of these tables.
    fn stream(tables: &[&str]) -> Recent {
        let mut recent = Recent::new(Start {
            executed: list(0),
            place: place(4),
        });
        for table in ["a", "b", "c", "d", "z"] {
            recent.watch(&name(table));
        }
        for (number, table) in (1..).zip(tables) {
            recent.transaction(&transaction(number), &[Change::Table(name(table))]);
        }
        recent
    }

    #[test]
    fn only_what_may_be_on_one_side_counts() {
        let recent = stream(&["a", "b", "c"]);
        let touched =
            |table, before: &Positions, after| recent.touched(&[name(table)], before, &place(after));
        // Green lacked the second one when it was begun, blue maybe shows the third.
        let before = both(2, 1);
        assert_eq!(touched("a", &before, 300), Some(false), "on both sides");
        assert_eq!(touched("b", &before, 300), Some(true), "not on green");
        assert_eq!(touched("c", &before, 300), Some(true), "maybe on blue");
        assert_eq!(
            touched("c", &before, 200),
            Some(false),
            "written down after it was over"
        );
        assert_eq!(touched("d", &before, 300), Some(false));
        assert_eq!(touched("a", &before, 301), None, "the stream is not that far");
        assert_eq!(
            recent.touched(&[name("a"), name("b")], &before, &place(300)),
            Some(true)
        );
    }

    #[test]
    fn what_is_not_known_counts_as_touched() {
        let mut recent = stream(&["a"]);
        let all = |recent: &Recent, before: &Positions| recent.touched(&[name("z")], before, &place(100));
        assert_eq!(all(&recent, &both(1, 1)), Some(false));
        recent.transaction(&transaction(2), &[Change::Schema("shop".into())]);
        assert_eq!(recent.touched(&[name("z")], &both(1, 1), &place(200)), Some(true));
        recent.broke();
        assert_eq!(all(&recent, &both(1, 1)), Some(true));
        let late = Recent::new(Start {
            executed: list(5),
            place: place(500),
        });
        assert_eq!(
            late.touched(&[], &both(5, 4), &place(500)),
            Some(true),
            "green lacks what it left out"
        );
        assert_eq!(late.touched(&[], &both(5, 5), &place(500)), Some(false));
    }

    #[test]
    fn a_table_that_was_not_watched_may_have_been_touched() {
        let mut recent = stream(&["a"]);
        recent.transaction(&transaction(2), &[]);
        let touched =
            |recent: &Recent, table, before: &Positions| recent.touched(&[name(table)], before, &place(200));
        assert_eq!(touched(&recent, "b", &both(1, 1)), Some(false));
        assert_eq!(
            touched(&recent, "new", &both(1, 1)),
            Some(true),
            "nobody knows what the second one changed"
        );
        assert_eq!(touched(&recent, "new", &both(2, 2)), Some(false));
        recent.watch(&name("new"));
        recent.watch(&name("b"));
        assert_eq!(touched(&recent, "new", &both(1, 1)), Some(true), "it came before");
        assert_eq!(
            touched(&recent, "b", &both(1, 1)),
            Some(false),
            "it was watched then"
        );
        recent.settle(&both(2, 2));
        recent.transaction(&transaction(3), &[Change::Table(name("a"))]);
        let later = |recent: &Recent, table| recent.touched(&[name(table)], &both(2, 2), &place(300));
        assert_eq!(later(&recent, "new"), Some(false));
        recent.unwatch(&name("new"));
        assert_eq!(later(&recent, "new"), Some(true));
        recent.restart(Start {
            executed: list(3),
            place: place(300),
        });
        assert_eq!(
            recent.touched(&[name("b")], &both(3, 3), &place(300)),
            Some(false)
        );
        assert_eq!(recent.touched(&[name("b")], &both(3, 2), &place(300)), Some(true));
    }

    #[test]
    fn it_stays_small_and_forgets_nothing_in_doubt() {
        let mut recent = stream(&[]);
        let many = KEPT as u64 + 10;
        for number in 1..=many {
            recent.transaction(&transaction(number), &[Change::Table(name("a"))]);
        }
        assert_eq!(recent.kept.len(), KEPT);
        let other =
            |recent: &Recent, before: &Positions| recent.touched(&[name("b")], before, &place(many * 100));
        assert_eq!(
            other(&recent, &both(5, 5)),
            Some(true),
            "of the oldest only the outline is known"
        );
        assert_eq!(other(&recent, &both(10, 10)), Some(false));
        recent.settle(&both(many - 1, many));
        assert_eq!(recent.kept.len(), 1);
        assert_eq!(other(&recent, &both(many - 1, many)), Some(false));
        assert_eq!(
            recent.touched(&[name("a")], &both(many - 1, many), &place(many * 100)),
            Some(true)
        );
    }
}
