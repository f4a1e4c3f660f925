//! Whether the order of a statement's rows is total, so that two servers must give the same rows in the same places.

use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, GroupByExpr, ObjectName, Query, Select, SelectItem, SetExpr, TableFactor,
    Value,
};

use super::reading::{is_one_row, order_by};
use crate::domain::proof::transaction::TableName;

/// A column that is known within the answer: ordered by, or equal to one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// The column, in lower case.
    pub column: String,
    /// It is compared with a number: a text column may have many values that are equal to one number.
    pub by_number: bool,
}

impl Fixed {
    pub(super) fn by_order(column: &str) -> Self {
        Self {
            column: column.to_owned(),
            by_number: false,
        }
    }
}

/// Something that is only repeatable if these columns cover a unique key of the table without NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedsKey {
    /// What it is, for the reason.
    pub why: String,
    /// The table; `None` where there is not a single one.
    pub table: Option<TableName>,
    /// The columns.
    pub columns: Vec<Fixed>,
}

/// A column of a unique key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name in lower case.
    pub name: String,
    /// Whether it holds a text.
    pub is_text: bool,
}

impl NeedsKey {
    /// Whether one of these unique keys is covered.
    #[must_use]
    pub fn is_met(&self, keys: &[Vec<KeyColumn>]) -> bool {
        let known = |column: &KeyColumn| {
            self.columns
                .iter()
                .any(|fixed| fixed.column == column.name && !(fixed.by_number && column.is_text))
        };
        keys.iter().any(|key| !key.is_empty() && key.iter().all(known))
    }
}

/// In which order a query's rows come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// At most one row.
    OneRow,
    /// As the ORDER BY says: all its rows differ in what they are ordered by.
    Total,
    /// Total if these columns cover a unique key of the table.
    TotalIf {
        /// The single table.
        table: TableName,
        /// What is ordered by, or has one value.
        columns: Vec<Fixed>,
    },
    /// None that could be relied on.
    None,
}

impl Order {
    /// Finds the order of a query.
    pub(super) fn of(query: &Query, qualify: impl Fn(&ObjectName) -> Option<TableName>) -> Self {
        let SetExpr::Select(select) = &*query.body else {
            return Self::None;
        };
        if is_one_row(select) {
            return Self::OneRow;
        }
        let by: Vec<(Option<String>, String)> = order_by(query)
            .into_iter()
            .filter_map(|expr| ordered_column(expr, select))
            .collect();
        let tables = tables(select, qualify);
        let fixed = conditions(select, tables.len() == 1);
        let is_fixed =
            |name: &String| by.iter().any(|(_, by)| by == name) || fixed.iter().any(|f| f.column == *name);
        if let GroupByExpr::Expressions(group, with) = &select.group_by
            && !group.is_empty()
        {
            // One row for each group.
            let names: Option<Vec<String>> =
                group.iter().map(|by| column(by).map(|(_, name)| name)).collect();
            let total = with.is_empty() && names.is_some_and(|names| names.iter().all(is_fixed));
            return if total { Self::Total } else { Self::None };
        }
        if let Some(Distinct::Distinct) = select.distinct {
            let names: Option<Vec<String>> = select
                .projection
                .iter()
                .map(|item| match item {
                    SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                        column(expr).map(|(_, name)| name)
                    }
                    _ => None,
                })
                .collect();
            if names.is_some_and(|names| names.iter().all(is_fixed)) {
                return Self::Total;
            }
        }
        let [(_, Some(table))] = tables.as_slice() else {
            return Self::None;
        };
        Self::TotalIf {
            table: table.clone(),
            columns: by
                .iter()
                .map(|(_, name)| Fixed::by_order(name))
                .chain(fixed)
                .collect(),
        }
    }

    /// What has to be a key for the order to be total; nothing where it is total anyway.
    pub(super) fn needs_key(self, why: &str) -> Option<NeedsKey> {
        let (table, columns) = match self {
            Self::OneRow | Self::Total => return None,
            Self::TotalIf { table, columns } => (Some(table), columns),
            Self::None => (None, Vec::new()),
        };
        Some(NeedsKey {
            why: why.to_owned(),
            table,
            columns,
        })
    }
}

/// The tables of a SELECT: alias (lower case) and name; no name for what is no table.
pub(super) fn tables(
    select: &Select,
    qualify: impl Fn(&ObjectName) -> Option<TableName>,
) -> Vec<(String, Option<TableName>)> {
    let factors = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    factors
        .map(|factor| match factor {
            TableFactor::Table { name, alias, .. } => {
                let own = name
                    .0
                    .last()
                    .and_then(|part| part.as_ident())
                    .map(|ident| &ident.value);
                let alias = alias.as_ref().map(|alias| &alias.name.value).or(own);
                (
                    alias.map(|alias| alias.to_lowercase()).unwrap_or_default(),
                    qualify(name),
                )
            }
            _ => (String::new(), None),
        })
        .collect()
}

/// A plain column: its qualifier and its name, in lower case.
pub(super) fn column(expr: &Expr) -> Option<(Option<String>, String)> {
    match expr {
        Expr::Identifier(name) => Some((None, name.value.to_lowercase())),
        Expr::CompoundIdentifier(parts) => {
            let (name, before) = parts.split_last()?;
            let qualifier = before.last().map(|ident| ident.value.to_lowercase());
            Some((qualifier, name.value.to_lowercase()))
        }
        Expr::Nested(inner) => column(inner),
        _ => None,
    }
}

/// The column that an ORDER BY means. A name may be that of another expression: `SELECT f(a) AS id … ORDER BY id`.
fn ordered_column(expr: &Expr, select: &Select) -> Option<(Option<String>, String)> {
    if let Expr::Value(value) = expr {
        let Value::Number(place, _) = &value.value else {
            return None;
        };
        let place: usize = place.parse().ok()?;
        let items = select.projection.get(..place)?;
        return match items.last()? {
            _ if items.iter().any(is_wildcard) => None,
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => column(expr),
            _ => None,
        };
    }
    let (qualifier, name) = column(expr)?;
    if qualifier.is_none() {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { expr, alias } = item
                && alias.value.to_lowercase() == name
            {
                return column(expr);
            }
        }
    }
    Some((qualifier, name))
}

fn is_wildcard(item: &SelectItem) -> bool {
    !matches!(
        item,
        SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
    )
}

/// The columns that a WHERE compares with one value each; only where there is a single table.
pub(super) fn conditions(select: &Select, single: bool) -> Vec<Fixed> {
    let mut found = Vec::new();
    if single && let Some(condition) = &select.selection {
        collect(condition, &mut found);
    }
    found
}

fn collect(condition: &Expr, found: &mut Vec<Fixed>) {
    match condition {
        Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        } => {
            collect(left, found);
            collect(right, found);
        }
        Expr::Nested(inner) => collect(inner, found),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq,
            right,
        } => {
            let (name, value) = match (column(left), column(right)) {
                (Some((_, name)), None) => (name, right),
                (None, Some((_, name))) => (name, left),
                _ => return,
            };
            if let Expr::Value(value) = &**value {
                found.push(Fixed {
                    column: name,
                    by_number: !matches!(
                        value.value,
                        Value::SingleQuotedString(_) | Value::DoubleQuotedString(_)
                    ),
                });
            }
        }
        _ => {}
    }
}
