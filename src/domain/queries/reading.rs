//! What a statement reads, and whether it may be replayed: from its text alone, before any server is asked.
//!
//! This is no guard against writing: what keeps a replayed statement from changing anything is the read-only
//! transaction it runs in. It keeps out what would answer differently by itself, and what would stand in others' way.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FunctionArgumentClause, FunctionArguments, GroupByExpr, LimitClause, ObjectName, OrderByKind,
    Query, Select, SelectItem, SetExpr, Statement, TableFactor, Visit, Visitor,
};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

use super::MOST_ROWS;
use super::functions;
use super::order::{Fixed, NeedsKey, Order, conditions};
use super::words::{Token, tokens};
use crate::domain::proof::transaction::TableName;

/// What a statement reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The tables and views that it names.
    pub named: Vec<Named>,
    /// In which order its rows come.
    pub order: Order,
    /// What is only repeatable if a key says so: LIMITs, and columns that GROUP BY does not name.
    pub needs: Vec<NeedsKey>,
    /// It adds numbers up, so the last digits of a floating-point answer may depend on the plan.
    pub sums: bool,
}

/// A table or view that a statement names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// Its name, with the default schema where the statement gives none.
    pub name: TableName,
    /// It has the name of a common table expression of the statement, and may be that.
    pub may_be_cte: bool,
}

/// Schemas that belong to the server or to bleen.
const NOT_THE_APPLICATIONS: &[&str] = &[
    "bleen",
    "information_schema",
    "mysql",
    "performance_schema",
    "sys",
];

/// How deep brackets and subqueries may be nested.
const DEPTH: usize = 40;

/// How many operators a statement may chain: the parser makes a tree as deep as the chain is long.
const OPERATORS: usize = 500;

/// Stack for the parser, for looking at its tree and for taking that apart, each of which goes as deep as the tree: what
/// the limits above allow takes a quarter of it in an unoptimised build. A thread's usual stack would not do.
const STACK: usize = 64 << 20;

/// Looks at a statement.
///
/// # Errors
/// Why it is not replayed, in words.
pub fn look(text: &str, default_schema: Option<&str>) -> Result<Reading, String> {
    at_first_sight(text)?;
    let parsed = std::thread::scope(|scope| {
        let work = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, || parsed(text, default_schema));
        // A parser that fails at a text has not understood it.
        work.ok().and_then(|work| work.join().ok())
    });
    parsed.unwrap_or_else(|| Err(NOT_UNDERSTOOD.to_owned()))
}

const NOT_UNDERSTOOD: &str = "its grammar is not understood";

/// What the parser's tree says.
fn parsed(text: &str, default_schema: Option<&str>) -> Result<Reading, String> {
    let statements = Parser::new(&MySqlDialect {})
        .with_recursion_limit(DEPTH)
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|_| NOT_UNDERSTOOD.to_owned())?;
    let [Statement::Query(query)] = statements.as_slice() else {
        return Err("it is not a single SELECT".to_owned());
    };
    let mut finder = Finder {
        default_schema,
        ctes: BTreeSet::new(),
        named: BTreeSet::new(),
        needs: Vec::new(),
        sums: false,
        depth: 0,
    };
    if let ControlFlow::Break(why) = query.visit(&mut finder) {
        return Err(why);
    }
    let order = Order::of(query, |name| finder.qualified(name));
    if finder.named.is_empty() {
        return Err("it reads no table".to_owned());
    }
    Ok(Reading {
        named: finder.named.into_iter().collect(),
        order,
        needs: finder.needs,
        sums: finder.sums,
    })
}

/// What the words alone say.
fn at_first_sight(text: &str) -> Result<(), String> {
    let tokens = tokens(text).map_err(|why| why.to_string())?;
    let words: Vec<String> = tokens
        .iter()
        .map(|token| match token {
            Token::Word(word) => word.to_ascii_uppercase(),
            Token::Sign(sign) => sign.to_string(),
            _ => String::new(),
        })
        .collect();
    let first = words.iter().find(|word| *word != "(").map_or("", String::as_str);
    if !matches!(first, "SELECT" | "WITH") {
        return Err("it is not a SELECT".to_owned());
    }
    let last = words.iter().rposition(|word| word != ";").unwrap_or_default();
    if words.iter().take(last).any(|word| word == ";") {
        return Err("it is more than one statement".to_owned());
    }
    if tokens.contains(&Token::Placeholder) {
        return Err("its text comes from a prepared statement: the values are not in it".to_owned());
    }
    if let Some(name) = tokens.iter().find_map(|token| match token {
        Token::Variable(name) => Some(name),
        _ => None,
    }) {
        return Err(format!(
            "it uses the variable {name}, whose value belongs to a session or a server"
        ));
    }
    let pair = |a: &str, b: &[&str]| {
        words
            .windows(2)
            .any(|two| two[0] == a && b.contains(&two[1].as_str()))
    };
    if pair("FOR", &["UPDATE", "SHARE"]) || pair("LOCK", &["IN"]) {
        return Err("it takes locks".to_owned());
    }
    if words.iter().any(|word| word == "INTO") {
        return Err("it writes its answer into a file or a variable".to_owned());
    }
    if pair("NEXT", &["VALUE"]) || pair("PREVIOUS", &["VALUE"]) {
        return Err("it uses a sequence".to_owned());
    }
    let chain = [
        "AND",
        "OR",
        "XOR",
        "+",
        "-",
        "*",
        "/",
        "%",
        "|",
        "&",
        "^",
        "=",
        "<",
        ">",
        "UNION",
        "EXCEPT",
        "INTERSECT",
    ];
    let is_chained =
        |word: &String| chain.contains(&word.as_str()) || word == "DIV" || word == "MOD" || word == "JOIN";
    if words.iter().filter(|word| is_chained(word)).count() > OPERATORS {
        return Err(format!(
            "it has more than {OPERATORS} operators, too many to be looked into"
        ));
    }
    Ok(())
}

struct Finder<'a> {
    default_schema: Option<&'a str>,
    ctes: BTreeSet<String>,
    named: BTreeSet<Named>,
    needs: Vec<NeedsKey>,
    sums: bool,
    depth: usize,
}

impl Finder<'_> {
    /// The schema and the name of a table; `None` for what has no such name.
    fn qualified(&self, name: &ObjectName) -> Option<TableName> {
        let parts: Vec<&str> = name
            .0
            .iter()
            .filter_map(|part| part.as_ident().map(|ident| ident.value.as_str()))
            .collect();
        let (schema, table) = match parts.as_slice() {
            [table] => (self.default_schema?, *table),
            [schema, table] => (*schema, *table),
            _ => return None,
        };
        Some(TableName {
            schema: schema.to_owned(),
            table: table.to_owned(),
        })
    }
}

fn no(why: impl Into<String>) -> ControlFlow<String> {
    ControlFlow::Break(why.into())
}

impl Visitor for Finder<'_> {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        self.depth += 1;
        if !query.locks.is_empty() {
            return no("it takes locks");
        }
        if query.fetch.is_some() || !query.pipe_operators.is_empty() {
            return no(NOT_UNDERSTOOD);
        }
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.ctes.insert(cte.alias.name.value.to_lowercase());
        }
        if !is_reading(&query.body) {
            return no("it is not a SELECT");
        }
        if let Some(limit) = &query.limit_clause {
            match most_rows(limit) {
                Some(rows) if self.depth == 1 && rows > MOST_ROWS as u64 => {
                    return no(format!(
                        "it may return more than {MOST_ROWS} rows, the most that are compared"
                    ));
                }
                Some(0) => {}
                Some(_) => {
                    let order = Order::of(query, |name| self.qualified(name));
                    self.needs
                        .extend(order.needs_key("LIMIT without an order that a unique key makes total"));
                }
                None => return no("its LIMIT is no plain number"),
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<String> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        if select.into.is_some() {
            return no("it writes its answer into a file or a variable");
        }
        let needs = loose_columns(select, |name| self.qualified(name));
        self.needs.extend(needs);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<String> {
        match factor {
            TableFactor::Table { version: Some(_), .. } => no("it reads the history of a table"),
            TableFactor::Table {
                args: None,
                sample: None,
                ..
            }
            | TableFactor::Derived { sample: None, .. }
            | TableFactor::NestedJoin { .. }
            | TableFactor::JsonTable { .. } => ControlFlow::Continue(()),
            _ => no(NOT_UNDERSTOOD),
        }
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<String> {
        if relation.to_string().eq_ignore_ascii_case("dual") {
            return ControlFlow::Continue(());
        }
        let unqualified = match relation.0.as_slice() {
            [part] => part.as_ident().map(|ident| ident.value.to_lowercase()),
            _ => None,
        };
        let may_be_cte = unqualified.is_some_and(|name| self.ctes.contains(&name));
        let Some(name) = self.qualified(relation) else {
            if may_be_cte {
                return ControlFlow::Continue(());
            }
            return no("its default schema is not known");
        };
        if NOT_THE_APPLICATIONS
            .iter()
            .any(|schema| schema.eq_ignore_ascii_case(&name.schema))
        {
            return no(format!(
                "it reads {}, which is not the application's",
                name.schema
            ));
        }
        self.named.insert(Named { name, may_be_cte });
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        match expr {
            Expr::Function(function) => {
                let [part] = function.name.0.as_slice() else {
                    return no(format!("it calls the stored function {}", function.name));
                };
                let name = part
                    .as_ident()
                    .map_or_else(|| function.name.to_string(), |ident| ident.value.clone());
                let (arguments, ordered) = match &function.args {
                    FunctionArguments::List(list) => (
                        list.args.len(),
                        list.clauses
                            .iter()
                            .any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_))),
                    ),
                    FunctionArguments::None => (0, false),
                    FunctionArguments::Subquery(_) => (1, false),
                };
                if let Some(why) = functions::objection(&name, arguments) {
                    return no(why);
                }
                if function.over.is_some() {
                    return no("it looks through a window, whose order is not known to be total");
                }
                if name.eq_ignore_ascii_case("GROUP_CONCAT") && !ordered {
                    return no("GROUP_CONCAT without ORDER BY depends on the order in which rows are read");
                }
                self.sums |= functions::is_sum(&name);
                ControlFlow::Continue(())
            }
            Expr::MatchAgainst { .. } => no("full-text relevance depends on each server's own index"),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_statement(&mut self, _: &Statement) -> ControlFlow<String> {
        no("it is not a SELECT")
    }
}

/// Whether every part of it reads.
fn is_reading(body: &SetExpr) -> bool {
    match body {
        // A query inside is visited by itself.
        SetExpr::Select(_) | SetExpr::Query(_) => true,
        SetExpr::SetOperation { left, right, .. } => is_reading(left) && is_reading(right),
        _ => false,
    }
}

/// The number in a LIMIT.
fn most_rows(limit: &LimitClause) -> Option<u64> {
    let (LimitClause::LimitOffset {
        limit: Some(limit), ..
    }
    | LimitClause::OffsetCommaLimit { limit, .. }) = limit
    else {
        return None;
    };
    limit.to_string().parse().ok()
}

/// Columns that stand beside aggregates although GROUP BY does not name them: which row's value they show is only known
/// where the group's columns are a key of their table.
fn loose_columns(select: &Select, qualify: impl Fn(&ObjectName) -> Option<TableName>) -> Vec<NeedsKey> {
    let GroupByExpr::Expressions(by, _) = &select.group_by else {
        return Vec::new();
    };
    if by.is_empty() {
        return Vec::new();
    }
    let tables = super::order::tables(select, qualify);
    let group: Vec<(Option<String>, String)> = by.iter().filter_map(super::order::column).collect();
    let why = "a column that GROUP BY does not fix";
    let mut loose: BTreeSet<Option<String>> = BTreeSet::new();
    for item in &select.projection {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.value.to_lowercase())),
            _ => {
                loose.insert(None);
                continue;
            }
        };
        let grouped = by
            .iter()
            .any(|by| by == expr || super::order::column(by).map(|(_, name)| name) == alias)
            || by.iter().any(|by| matches!(by, Expr::Value(_)));
        if grouped {
            continue;
        }
        let mut outside = Outside::default();
        // The visitor never breaks off.
        let _ = expr.visit(&mut outside);
        for (qualifier, name) in outside.columns {
            let named = group.iter().any(|(by, column)| {
                *column == name && (by.is_none() || qualifier.is_none() || *by == qualifier)
            });
            if !named {
                loose.insert(qualifier);
            }
        }
    }
    loose
        .into_iter()
        .map(|qualifier| {
            let only = tables.len() == 1;
            let table = tables
                .iter()
                .find(|(alias, _)| only && qualifier.is_none() || Some(alias) == qualifier.as_ref());
            let columns = group
                .iter()
                .filter(|(by, _)| only && by.is_none() || *by == qualifier)
                .map(|(_, name)| Fixed::by_order(name));
            NeedsKey {
                why: why.to_owned(),
                table: table.and_then(|(_, table)| table.clone()),
                columns: columns
                    .chain(conditions(select, only).into_iter().filter(|_| only))
                    .collect(),
            }
        })
        .collect()
}

/// Finds the columns outside of aggregates.
#[derive(Default)]
struct Outside {
    inside: usize,
    columns: Vec<(Option<String>, String)>,
}

impl Visitor for Outside {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if is_aggregate(expr) {
            self.inside += 1;
        } else if self.inside == 0 {
            self.columns.extend(super::order::column(expr));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if is_aggregate(expr) {
            self.inside = self.inside.saturating_sub(1);
        }
        ControlFlow::Continue(())
    }

    // A subquery's columns are its own affair.
    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.inside += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.inside = self.inside.saturating_sub(1);
        ControlFlow::Continue(())
    }
}

fn is_aggregate(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function) if functions::is_aggregate(&function.name.to_string()))
}

/// Whether a SELECT gives one row whatever it reads: aggregates only, and no GROUP BY.
pub(super) fn is_one_row(select: &Select) -> bool {
    let no_groups = matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    no_groups
        && !select.projection.is_empty()
        && select.projection.iter().all(|item| {
            let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
                return false;
            };
            let mut outside = Outside::default();
            let _ = expr.visit(&mut outside);
            outside.columns.is_empty() && has_aggregate(expr)
        })
}

fn has_aggregate(expr: &Expr) -> bool {
    struct Any;
    impl Visitor for Any {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if is_aggregate(expr) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }
    }
    expr.visit(&mut Any).is_break()
}

/// The expressions of an ORDER BY.
pub(super) fn order_by(query: &Query) -> Vec<&Expr> {
    match query.order_by.as_ref().map(|order| &order.kind) {
        Some(OrderByKind::Expressions(list)) => list.iter().map(|item| &item.expr).collect(),
        _ => Vec::new(),
    }
}
