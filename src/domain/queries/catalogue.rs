//! What blue says of the tables and views that a statement names, and what follows for its replay.

use std::collections::{BTreeMap, BTreeSet};

use super::order::{KeyColumn, NeedsKey, Order};
use super::reading::{Named, Reading, look};
use crate::domain::gate::Comparison;
use crate::domain::proof::transaction::TableName;

/// What stands behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// A table.
    Table {
        /// Its name as the server writes it: the same one as in the binlog.
        name: TableName,
        /// Its unique keys without NULL and without prefixes.
        keys: Vec<Vec<KeyColumn>>,
    },
    /// A view, with the statement behind it.
    View {
        /// The statement.
        text: String,
    },
    /// Nothing that the account may see.
    Absent,
}

/// What is known of names so far.
pub type Catalogue = BTreeMap<TableName, Relation>;

/// How to replay a statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// Every table that it reads, also through views.
    pub tables: Vec<TableName>,
    /// How the answers are compared.
    pub comparison: Comparison,
    /// It adds numbers up: the last digits of floating-point answers are left out of the comparison.
    pub sums: bool,
}

/// What has to be asked before it can be decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It may be replayed.
    Replay(Replay),
    /// It may not, for this reason.
    No(String),
    /// These names have to be looked up first.
    Ask(Vec<TableName>),
}

/// How many views may stand on each other.
const VIEWS_DEEP: usize = 8;

/// Decides about a statement.
#[must_use]
pub fn decide(reading: &Reading, catalogue: &Catalogue) -> Decision {
    let mut all = All::default();
    if let Err(stop) = all.take_in(reading, catalogue, 0) {
        return match stop {
            Stop::Ask(names) => Decision::Ask(names),
            Stop::No(why) => Decision::No(why),
        };
    }
    let keys = |needs: &NeedsKey| -> bool {
        needs.table.as_ref().is_some_and(|table| {
            // A common table expression of the same name would stand in front of the table.
            let hidden = |named: &Named| named.name == *table && named.may_be_cte;
            match catalogue.get(table) {
                Some(Relation::Table { keys, .. }) => !all.named.iter().any(hidden) && needs.is_met(keys),
                _ => false,
            }
        })
    };
    if let Some(unmet) = all.needs.iter().find(|needs| !keys(needs)) {
        return Decision::No(unmet.why.clone());
    }
    let comparison = match &reading.order {
        Order::Total => Comparison::Ordered,
        Order::TotalIf { table, columns } => {
            let needs = NeedsKey {
                why: String::new(),
                table: Some(table.clone()),
                columns: columns.clone(),
            };
            if keys(&needs) {
                Comparison::Ordered
            } else {
                Comparison::Set
            }
        }
        Order::OneRow | Order::None => Comparison::Set,
    };
    if all.tables.is_empty() {
        return Decision::No("it reads no table".to_owned());
    }
    Decision::Replay(Replay {
        tables: all.tables.into_iter().collect(),
        comparison,
        sums: all.sums,
    })
}

enum Stop {
    Ask(Vec<TableName>),
    No(String),
}

/// Everything that a statement reads, through its views as well.
#[derive(Default)]
struct All {
    tables: BTreeSet<TableName>,
    named: Vec<Named>,
    needs: Vec<NeedsKey>,
    sums: bool,
}

impl All {
    fn take_in(&mut self, reading: &Reading, catalogue: &Catalogue, depth: usize) -> Result<(), Stop> {
        if depth > VIEWS_DEEP {
            return Err(Stop::No(format!(
                "more than {VIEWS_DEEP} views stand on each other"
            )));
        }
        let unknown: Vec<TableName> = reading
            .named
            .iter()
            .filter(|named| !catalogue.contains_key(&named.name))
            .map(|named| named.name.clone())
            .collect();
        if !unknown.is_empty() {
            return Err(Stop::Ask(unknown));
        }
        self.needs.extend(reading.needs.iter().cloned());
        self.named.extend(reading.named.iter().cloned());
        self.sums |= reading.sums;
        for named in &reading.named {
            match catalogue.get(&named.name) {
                Some(Relation::Table { name, .. }) => {
                    self.tables.insert(name.clone());
                }
                Some(Relation::View { text }) => {
                    let of_view = |why: String| Stop::No(format!("the view {}: {why}", named.name));
                    if text.is_empty() {
                        return Err(of_view("the account may not see its statement".to_owned()));
                    }
                    let inner = look(text, Some(&named.name.schema)).map_err(of_view)?;
                    self.take_in(&inner, catalogue, depth + 1)?;
                }
                _ if named.may_be_cte => {}
                _ => {
                    return Err(Stop::No(format!(
                        "blue has no table {} that the account may see",
                        named.name
                    )));
                }
            }
        }
        Ok(())
    }
}
