//! What is known of the tables that can be compared.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join;

use super::columns::{self, Table};
use super::expression::{Expressions, columns_of, shown_columns};
use super::key::KeyColumn;
use super::lane::{of_table, trouble};
use super::not_provable::NotProvable;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::session::Session;
use crate::domain::ids::Side;
use crate::domain::proof::transaction::TableName;
use crate::engine::proof::ports::Trouble;

/// A table as it is compared.
#[derive(Debug)]
pub struct Defined {
    /// What both sides are asked.
    pub expressions: Expressions,
    blue: Table,
    green: Table,
    shown: (Vec<KeyColumn>, Vec<KeyColumn>),
}

impl Defined {
    /// From the definitions of both sides.
    ///
    /// # Errors
    /// Why its rows cannot be compared.
    pub fn of(blue: Table, green: Table) -> Result<Self, NotProvable> {
        Ok(Self {
            expressions: Expressions::of(&blue, &green)?,
            shown: shown_columns(&blue, &green),
            blue,
            green,
        })
    }

    /// How the columns of a foreign key are asked for and written, on blue and on green.
    ///
    /// # Errors
    /// One of them is not on both sides, or has no form that both share.
    pub fn columns_of_foreign_key(
        &self,
        names: &[String],
    ) -> Result<(Vec<KeyColumn>, Vec<KeyColumn>), Trouble> {
        columns_of(&self.blue, &self.green, names).ok_or_else(|| {
            of_table(format!(
                "the columns {} of a foreign key cannot be asked for",
                names.join(", ")
            ))
        })
    }

    /// Whether it is made of the same definitions.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        self.blue == other.blue && self.green == other.green
    }

    /// Sees that both sides still define it as they did.
    ///
    /// # Errors
    /// One does not, or cannot be asked.
    pub(super) async fn see_unchanged(
        &self,
        (blue, green): (&mut Session, &mut Session),
        table: &TableName,
        budget: Duration,
    ) -> Result<(), Trouble> {
        let only = Some(table.table.as_str());
        let (blue, green) = join(
            columns::read(blue, &table.schema, only, budget),
            columns::read(green, &table.schema, only, budget),
        )
        .await;
        let same = |read: Result<Vec<Table>, ServerError>, known: &Table| {
            let read = read.map_err(trouble)?;
            Ok::<bool, Trouble>(read.iter().any(|table| table == known))
        };
        if same(blue, &self.blue)? && same(green, &self.green)? {
            return Ok(());
        }
        Err(of_table(format!("{table} has another definition by now")))
    }

    /// How all its columns that are compared are asked for and written.
    #[must_use]
    pub fn shown(&self, side: Side) -> &[KeyColumn] {
        match side {
            Side::Blue => &self.shown.0,
            Side::Green => &self.shown.1,
        }
    }
}

/// What is known of the tables that can be compared; shared by the catalogue, which fills it, and the lanes.
#[derive(Debug, Clone, Default)]
pub struct Definitions(Arc<RwLock<BTreeMap<TableName, Arc<Defined>>>>);

impl Definitions {
    /// A table, if it can be compared.
    #[must_use]
    pub fn get(&self, name: &TableName) -> Option<Arc<Defined>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// All tables that can be compared.
    #[must_use]
    pub fn all(&self) -> BTreeMap<TableName, Arc<Defined>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes a table down, or that it cannot be compared.
    pub fn set(&self, name: &TableName, defined: Option<Arc<Defined>>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match defined {
            Some(defined) => all.insert(name.clone(), defined),
            None => all.remove(name),
        };
    }
}
