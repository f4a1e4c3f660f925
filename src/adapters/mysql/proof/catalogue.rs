//! The tables of the pair that are to be proved: their definitions on both sides, and how their rows are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::join;
use mysql_async::Row;

use super::columns::{self, Table};
use super::defined::Defined;
use super::kind::Kind;
use super::lane::{Common, trouble};
use super::not_provable::NotProvable as Why;
use crate::adapters::mysql::binlog::shape::{self, Shapes, Wanted};
use crate::adapters::mysql::columns::{text, text_at};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::quote;
use crate::adapters::mysql::session::Session;
use crate::adapters::mysql::sql;
use crate::adapters::mysql::survey::{NOT_COMPARED, is_compared};
use crate::domain::capabilities::Capabilities;
use crate::domain::ids::Side;
use crate::domain::proof::ledger::NotProvable;
use crate::domain::proof::pick::Pick;
use crate::domain::proof::transaction::TableName;
use crate::domain::server::{Family, Version};
use crate::engine::proof::ports::{Asking, Catalogue, Listed};

/// Refused for want of a right on a schema, or on a table.
const DENIED: [u16; 2] = [1044, 1142];

/// Reads the definitions of tables on both sides.
pub struct PairCatalogue {
    blue: Session,
    green: Session,
    common: Common,
    pick: Pick,
    shapes: Shapes,
    budget: Duration,
}

impl PairCatalogue {
    /// Over a session on each side.
    #[must_use]
    pub fn new((blue, green): (Session, Session), common: &Common, pick: Pick, shapes: Shapes) -> Self {
        Self {
            blue,
            green,
            common: common.clone(),
            pick,
            shapes,
            budget: common.reading,
        }
    }

    async fn read_tables(
        &mut self,
        which: Option<BTreeSet<TableName>>,
    ) -> Result<Vec<(TableName, Listed)>, ServerError> {
        let which = which.map(|mut which| {
            which.retain(|name| is_compared(&name.schema) && self.pick.takes(name));
            which
        });
        if which.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(Vec::new());
        }
        self.blue.revive(self.budget).await?;
        self.common.own.add([self.blue.id()]);
        self.green.revive(self.budget).await?;
        let schemas: BTreeSet<String> = match &which {
            Some(which) => which.iter().map(|name| name.schema.clone()).collect(),
            None => {
                let mut all = schemas(&mut self.blue, self.budget).await?;
                all.extend(schemas(&mut self.green, self.budget).await?);
                all
            }
        };
        self.settle(which.as_ref(), &schemas).await?;
        let unseen = unseen_schemas(&mut self.blue, &self.common.blue.caps, self.budget).await?;
        let mut listed = Vec::new();
        for schema in schemas {
            // One table is asked for by its name; several at once by their schema.
            let named: Option<Vec<&TableName>> = which
                .as_ref()
                .map(|which| which.iter().filter(|name| name.schema == schema).collect());
            let only = match named.as_deref() {
                Some([name]) => Some(name.table.as_str()),
                _ => None,
            };
            let (blue, green) = join(
                columns::read(&mut self.blue, &schema, only, self.budget),
                columns::read(&mut self.green, &schema, only, self.budget),
            )
            .await;
            let (blue, green) = (by_name(blue?), by_name(green?));
            let names: BTreeSet<String> = match &named {
                Some(named) => named.iter().map(|name| name.table.clone()).collect(),
                None => blue.keys().chain(green.keys()).cloned().collect(),
            };
            for table in names {
                let sides = (blue.get(&table).cloned(), green.get(&table).cloned());
                let name = TableName {
                    schema: schema.clone(),
                    table,
                };
                if !self.pick.takes(&name) {
                    continue;
                }
                let mut one = self.list(&name, sides, &unseen);
                // Somebody has changed it: it may be there for others.
                if one == Listed::Gone
                    && let Some(why) = self.not_shown(&name).await?
                {
                    one = Listed::NotProvable(NotProvable::NotRead(why));
                }
                listed.push((name, one));
            }
        }
        self.read_shapes(&listed).await?;
        Ok(listed)
    }

    /// Why a table that blue does not list may be there all the same.
    async fn not_shown(&mut self, name: &TableName) -> Result<Option<String>, ServerError> {
        let sql = format!(
            "SELECT 1 FROM {} LIMIT 0",
            quote::qualified(&name.schema, &name.table)
        );
        let doing = "see whether a table may be read";
        match self.blue.rows::<Row>(doing, &sql, self.budget).await {
            Err(e) if e.code().is_some_and(|code| DENIED.contains(&code)) => Ok(Some(format!(
                "blue's binlog has changes of it, and bleen's account may not read it: {e}; grant it SELECT on both sides, \
                 or leave the table out"
            ))),
            Err(e) if e.code().is_none() => Err(e),
            _ => Ok(None),
        }
    }

    /// Waits until what is in blue's binlog of these tables' definitions is visible.
    async fn settle(
        &mut self,
        which: Option<&BTreeSet<TableName>>,
        schemas: &BTreeSet<String>,
    ) -> Result<(), ServerError> {
        if !shape::settles_late(&self.common.blue.caps) {
            return Ok(());
        }
        let mut names: BTreeSet<TableName> = which.cloned().unwrap_or_default();
        if which.is_none() {
            for schema in schemas {
                let tables = columns::read(&mut self.blue, schema, None, self.budget).await?;
                names.extend(tables.into_iter().map(|table| TableName {
                    schema: schema.clone(),
                    table: table.name,
                }));
            }
        }
        let picked = names.iter().filter(|name| self.pick.takes(name));
        shape::settle(&mut self.blue, &self.common.blue.caps, picked, self.budget).await
    }

    /// Writes down how a table is compared.
    fn list(&self, name: &TableName, sides: (Option<Table>, Option<Table>), unseen: &Unseen) -> Listed {
        let (defined, listed) = match sides {
            (None, None) => (None, Listed::Gone),
            (Some(_), None) => (None, Listed::NotProvable(NotProvable::OneSideOnly(Side::Blue))),
            (None, Some(_)) => (None, Listed::NotProvable(NotProvable::OneSideOnly(Side::Green))),
            (Some(blue), Some(green)) => match self.defined(name, blue, green, unseen) {
                Err(why) => (None, Listed::NotProvable(why)),
                Ok(defined) => {
                    let known = self.common.definitions.get(name);
                    let is_new = known.is_none_or(|known| !known.is_of(&defined));
                    let listed = Listed::Provable {
                        has_key: defined.expressions.blue.has_key(),
                        is_new,
                    };
                    (Some(Arc::new(defined)), listed)
                }
            },
        };
        self.common.definitions.set(name, defined);
        listed
    }

    fn defined(
        &self,
        name: &TableName,
        blue: Table,
        green: Table,
        unseen: &Unseen,
    ) -> Result<Defined, NotProvable> {
        if let Some(why) = unseen.why(&name.schema) {
            return Err(NotProvable::NoRowEvents(why));
        }
        if let Some(column) = double(&blue).filter(|_| self.writes_doubles_otherwise()) {
            return Err(NotProvable::Column(format!(
                "column `{column}` is a DOUBLE, and MySQL before 8.0 writes some of them with other digits than later \
                 versions do"
            )));
        }
        Defined::of(blue, green).map_err(|why| reason(&why))
    }

    /// Whether the two sides have different texts for one DOUBLE: 5.6 writes `-0.0000000026333333333333333` where 9.7
    /// writes fewer digits (tried).
    fn writes_doubles_otherwise(&self) -> bool {
        let is_new = |version: &Version| version.is_mysql_from((8, 0, 0));
        let (blue, green) = (&self.common.blue.caps.version, &self.common.green.caps.version);
        blue.family == Family::MySql && green.family == Family::MySql && is_new(blue) != is_new(green)
    }

    /// Reads how the rows of tables stand in the binlog. A table that is gone keeps none.
    async fn read_shapes(&mut self, listed: &[(TableName, Listed)]) -> Result<(), ServerError> {
        let defined: Vec<(&TableName, Option<Arc<Defined>>)> = listed
            .iter()
            .map(|(name, _)| (name, self.common.definitions.get(name)))
            .collect();
        let wanted: Vec<Wanted<'_>> = defined
            .iter()
            .filter(|(_, defined)| defined.is_some())
            .map(|(name, defined)| Wanted {
                name,
                blue: defined.as_ref().map(|defined| &defined.expressions.blue),
            })
            .collect();
        let shapes = shape::read(&mut self.blue, &self.common.blue.caps, &wanted, self.budget).await?;
        {
            let mut all = self.shapes.write().unwrap_or_else(PoisonError::into_inner);
            for (name, _) in listed {
                if !shapes.iter().any(|shape| shape.name == *name) {
                    all.remove(name);
                }
            }
        }
        shape::put(&self.shapes, shapes);
        Ok(())
    }
}

impl Catalogue for PairCatalogue {
    fn read(&mut self, which: Option<BTreeSet<TableName>>) -> Asking<'_, Vec<(TableName, Listed)>> {
        Box::pin(async move { self.read_tables(which).await.map_err(trouble) })
    }
}

fn double(table: &Table) -> Option<&str> {
    let is_double = |column: &&columns::Column| matches!(column.kind, Kind::Double { .. });
    let column = table.columns.iter().find(is_double)?;
    Some(&column.name)
}

fn by_name(tables: Vec<Table>) -> BTreeMap<String, Table> {
    tables
        .into_iter()
        .map(|table| (table.name.clone(), table))
        .collect()
}

fn reason(why: &Why) -> NotProvable {
    let seen = why.to_string();
    match why {
        Why::Engine(..) | Why::Versioned(_) => NotProvable::Engine(seen),
        Why::OnlyOn(..) | Why::GeneratedOnly(..) | Why::Types(..) | Why::UnknownType(..) => {
            NotProvable::Column(seen)
        }
    }
}

async fn schemas(session: &mut Session, budget: Duration) -> Result<BTreeSet<String>, ServerError> {
    let sql = format!(
        "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN {NOT_COMPARED}"
    );
    let rows: Vec<String> = session.rows("list the schemas to prove", &sql, budget).await?;
    Ok(rows.into_iter().collect())
}

/// Why changes of a schema are not in blue's binlog as rows.
struct Unseen {
    format: Option<String>,
    only: Vec<String>,
    not: Vec<String>,
}

impl Unseen {
    fn why(&self, schema: &str) -> Option<String> {
        if let Some(format) = &self.format {
            return Some(format!(
                "blue writes its changes to the binlog as {format} (binlog_format), and not as rows"
            ));
        }
        let is_in = |list: &[String]| list.iter().any(|name| name == schema);
        if is_in(&self.not) {
            return Some("blue leaves its schema out of the binlog (binlog-ignore-db)".to_owned());
        }
        if !self.only.is_empty() && !is_in(&self.only) {
            return Some("blue writes only other schemas to the binlog (binlog-do-db)".to_owned());
        }
        None
    }
}

async fn unseen_schemas(
    session: &mut Session,
    caps: &Capabilities,
    budget: Duration,
) -> Result<Unseen, ServerError> {
    let doing = "read what blue writes to its binlog";
    let status: Vec<Row> = session.rows(doing, sql::binlog_status(caps), budget).await?;
    let list = |name: &str| -> Vec<String> {
        let names = status.first().and_then(|row| text(row, name)).unwrap_or_default();
        names
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let format: Vec<Row> = session
        .rows(doing, "SHOW GLOBAL VARIABLES LIKE 'binlog_format'", budget)
        .await?;
    // A server that no longer has the variable writes rows.
    let format = format.first().and_then(|row| text_at(row, 1));
    Ok(Unseen {
        format: format.filter(|format| !format.eq_ignore_ascii_case("ROW")),
        only: list("Binlog_Do_DB"),
        not: list("Binlog_Ignore_DB"),
    })
}
