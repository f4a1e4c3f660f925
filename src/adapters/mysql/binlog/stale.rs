//! Which shapes are older than a statement that changed their table.

use std::collections::BTreeMap;

use super::shape::Shape;
use crate::domain::position::FilePosition;
use crate::domain::proof::statement::{Reach, Touched};
use crate::domain::proof::transaction::TableName;

/// How many tables are remembered by name.
const MOST: usize = 10_000;

/// Where statements that change definitions have ended.
#[derive(Debug)]
pub(super) struct Stale {
    tables: BTreeMap<TableName, FilePosition>,
    schemas: BTreeMap<String, FilePosition>,
    /// A table that a new foreign key points at.
    referred_to: BTreeMap<TableName, FilePosition>,
    foreign_keys: Option<FilePosition>,
    /// Where the last trigger was made.
    triggers: Option<FilePosition>,
    /// What was read before this is old, whatever it is.
    all: FilePosition,
}

impl Stale {
    /// What was read before the stream began may have been changed before it began.
    pub(super) fn new(start: FilePosition) -> Self {
        Self {
            tables: BTreeMap::new(),
            schemas: BTreeMap::new(),
            referred_to: BTreeMap::new(),
            foreign_keys: None,
            triggers: None,
            all: start,
        }
    }

    pub(super) fn statement(&mut self, found: &Touched, end: &FilePosition) {
        match &found.reach {
            Reach::Nothing | Reach::RowsOf(_) => {}
            Reach::Tables(tables) => {
                for table in tables.iter().chain(&found.refers_to) {
                    self.tables.insert(table.clone(), end.clone());
                }
            }
            Reach::Schema(schema) => {
                self.schemas.insert(schema.clone(), end.clone());
            }
            Reach::Everything => self.all = end.clone(),
        }
        if found.makes_trigger {
            self.triggers = Some(end.clone());
        }
        for table in &found.refers_to {
            self.foreign_keys = Some(end.clone());
            self.referred_to.insert(table.clone(), end.clone());
        }
        if self.tables.len() + self.schemas.len() + self.referred_to.len() > MOST {
            *self = Self {
                foreign_keys: self.foreign_keys.take(),
                triggers: self.triggers.take(),
                ..Self::new(end.clone())
            };
        }
    }

    /// Whether a shape was read before something changed its table, or the foreign keys behind it.
    pub(super) fn is(&self, shape: &Shape) -> bool {
        let old = |place: &FilePosition| !shape.read_after.has_reached(place);
        old(&self.all)
            || self.tables.get(&shape.name).is_some_and(old)
            || self.schemas.get(&shape.name.schema).is_some_and(old)
            || self.may_owe_more(shape)
    }

    /// Whether there may be foreign keys behind it that the shape does not know.
    pub(super) fn may_owe_more(&self, shape: &Shape) -> bool {
        let old = |place: &FilePosition| !shape.read_after.has_reached(place);
        self.referred_to.get(&shape.name).is_some_and(old)
            || !shape.references.is_empty() && self.foreign_keys.as_ref().is_some_and(old)
            || self.all_foreign_keys_are(old)
    }

    fn all_foreign_keys_are(&self, old: impl Fn(&FilePosition) -> bool) -> bool {
        // Foreign keys that were forgotten by name.
        self.referred_to.is_empty() && self.foreign_keys.as_ref().is_some_and(old)
    }

    /// Whether its table may have triggers that the shape does not know.
    pub(super) fn may_have_more_triggers(&self, shape: &Shape) -> bool {
        self.triggers
            .as_ref()
            .is_some_and(|place| !shape.read_after.has_reached(place))
    }

    /// Where the last statement ended by which there may be new foreign keys that point at a table of which no shape is
    /// known.
    pub(super) fn referred_to_since(&self, name: &TableName) -> &FilePosition {
        let of_table = match self.referred_to.get(name) {
            None if self.referred_to.is_empty() => self.foreign_keys.as_ref(),
            known => known,
        };
        of_table
            .filter(|place| place.has_reached(&self.all))
            .unwrap_or(&self.all)
    }
}
