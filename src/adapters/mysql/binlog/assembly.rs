//! Puts transactions together from events, in the order of blue's binlog.
//!
//! Pure: it is given events and the shapes of tables, and says what they bring. What it cannot understand it never
//! skips: a table, everything, or the end of the stream.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, RwLockReadGuard};

use super::changes::{Caps, Changes};
use super::event::{Event, kind};
use super::inflate::inflate;
use super::names::{self, Numbered, Query, Xid};
use super::place::Place;
use super::rows::{self, Act, Changed, FOREIGN_KEYS_WRITTEN, Head, NO_FOREIGN_KEY_CHECKS, Pair};
use super::shape::{Shape, Shapes};
use super::stale::Stale;
use super::table_map::TableMap;
use crate::adapters::mysql::own_schema;
use crate::domain::position::FilePosition;
use crate::domain::proof::cascade::{Action, ForeignKey, obligations};
use crate::domain::proof::key::Key;
use crate::domain::proof::ledger::Change;
use crate::domain::proof::statement::{Reach, touched};
use crate::domain::proof::stream::Brought;
use crate::domain::proof::transaction::{Origin, TableName, Transaction};

/// How blue treats the case of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// Names are as they were written.
    Kept,
    /// Names are in lower case (`lower_case_table_names = 1`, and in comparisons 2).
    Lower,
}

/// How many prepared XA transactions are kept until they are committed, and how many bytes of keys.
const PREPARED: usize = 1_000;
const PREPARED_BYTES: usize = 64 << 20;

/// How many tables the row events of one statement may be about.
const MAPS: usize = 100_000;

/// A transaction of which not all is there yet.
#[derive(Debug, Default)]
struct Group {
    numbered: Option<Numbered>,
    /// It was begun, so that an event ends it; otherwise one statement is all of it.
    begun: bool,
    changes: Changes,
}

/// Puts transactions together.
pub(super) struct Assembly {
    place: Place,
    /// Transactions that end up to here are not brought.
    start: FilePosition,
    case: Case,
    shapes: Shapes,
    caps: Caps,
    stale: Stale,
    maps: BTreeMap<u64, TableMap>,
    group: Option<Group>,
    /// How many bytes of a compressed transaction are still to come.
    payload: Option<u64>,
    prepared: BTreeMap<Xid, Changes>,
    prepared_bytes: usize,
    brought: Vec<Brought>,
    told: FilePosition,
}

/// Why nothing can come after this.
pub(super) type Broke = String;

impl Assembly {
    /// Begins at `from`; what ends up to `start` is not brought.
    pub(super) fn new(
        from: FilePosition,
        start: FilePosition,
        case: Case,
        shapes: Shapes,
        caps: Caps,
    ) -> Self {
        Self {
            place: Place::new(from),
            stale: Stale::new(start.clone()),
            told: start.clone(),
            start,
            case,
            shapes,
            caps,
            maps: BTreeMap::new(),
            group: None,
            payload: None,
            prepared: BTreeMap::new(),
            prepared_bytes: 0,
            brought: Vec::new(),
        }
    }

    /// How far it is, and whether nothing is open there.
    pub(super) fn at(&self) -> (&FilePosition, bool) {
        (self.place.at(), self.group.is_none() && self.payload.is_none())
    }

    /// What the events so far have brought.
    pub(super) fn take(&mut self) -> Vec<Brought> {
        mem::take(&mut self.brought)
    }

    /// Takes in the next event.
    pub(super) fn event(&mut self, event: &Event<'_>) -> Result<(), Broke> {
        if let Some(left) = self.payload {
            return self.inside(event, left);
        }
        let moved = self.place.advance(event)?;
        match event.kind {
            kind::TRANSACTION_PAYLOAD => {
                let length = super::payload::length(event.body)
                    .ok_or("a compressed transaction whose head cannot be read")?;
                if self.group.is_none() {
                    return Err("a compressed transaction without a number in front of it".to_owned());
                }
                self.payload = Some(length);
                self.payload_is_over()
            }
            kind::ROTATE | kind::FORMAT_DESCRIPTION if self.group.is_some() && moved => {
                Err("a file ended in the middle of a transaction".to_owned())
            }
            _ => self.content(event),
        }
    }

    /// An event that stands in a compressed transaction.
    fn inside(&mut self, event: &Event<'_>, left: u64) -> Result<(), Broke> {
        let left = left
            .checked_sub(u64::from(event.size))
            .filter(|_| kind::may_be_compressed(event.kind))
            .ok_or("a compressed transaction could not be read")?;
        self.payload = Some(left);
        self.content(event)?;
        self.payload_is_over()
    }

    fn payload_is_over(&mut self) -> Result<(), Broke> {
        if self.payload != Some(0) {
            return Ok(());
        }
        self.payload = None;
        if self.group.is_some() {
            return Err("a compressed transaction without an end".to_owned());
        }
        Ok(())
    }

    fn content(&mut self, event: &Event<'_>) -> Result<(), Broke> {
        match event.kind {
            kind::GTID | kind::ANONYMOUS_GTID | kind::GTID_TAGGED | kind::MARIADB_GTID => {
                return self.numbered(event);
            }
            kind::QUERY => return self.query(event.body),
            kind::QUERY_COMPRESSED => return self.compressed_query(event.body),
            kind::XID => self.end(None),
            kind::XA_PREPARE => return self.prepare(event.body),
            kind::TABLE_MAP => self.table_map(event.body),
            kind::INCIDENT => {
                return Err(format!("an incident ({})", super::event::incident(event.body)));
            }
            kind::EXECUTE_LOAD_QUERY => self.add(Change::Everything),
            other => match kind::rows(other) {
                Some(rows) => self.rows(event.body, rows),
                None if kind::is_harmless(other) || event.is_ignorable() => {}
                None => {
                    return Err(format!(
                        "an event of a kind that is not known ({other}), which may hold changes"
                    ));
                }
            },
        }
        if self.group.is_none() && self.payload.is_none() {
            self.pass();
        }
        Ok(())
    }

    /// Nothing is open here: whoever waits for this place may know.
    fn pass(&mut self) {
        let at = self.place.at();
        if at.has_reached(&self.told) && *at != self.told {
            self.told = at.clone();
            self.brought.push(Brought::Passed(at.clone()));
        }
    }

    fn numbered(&mut self, event: &Event<'_>) -> Result<(), Broke> {
        if self.group.is_some() {
            return Err("a transaction began before the one in front of it had ended".to_owned());
        }
        let unreadable = || "the number of a transaction could not be read".to_owned();
        let (numbered, begun) = match event.kind {
            kind::ANONYMOUS_GTID => ((Origin::Unnamed, 0), false),
            kind::GTID => (names::mysql_gtid(event.body).ok_or_else(unreadable)?, false),
            kind::GTID_TAGGED => (event.tagged.clone().ok_or_else(unreadable)?, false),
            _ => {
                let gtid = names::mariadb_gtid(event.body).ok_or_else(unreadable)?;
                (gtid.numbered, !gtid.stands_alone)
            }
        };
        self.group = Some(Group {
            numbered: Some(numbered),
            begun,
            changes: Changes::default(),
        });
        Ok(())
    }

    fn group(&mut self) -> &mut Group {
        self.group.get_or_insert_with(Group::default)
    }

    fn add(&mut self, change: Change) {
        // Bleen's own schema is compared by nobody, and a heartbeat comes ten times a second.
        if matches!(&change, Change::Table(name) if name.schema == own_schema::SCHEMA) {
            return;
        }
        let caps = self.caps;
        self.group().changes.add(change, caps);
    }

    /// The transaction ends here. What it changed counts, unless it is `prepared` only.
    fn end(&mut self, prepared: Option<Xid>) {
        self.maps.clear();
        let group = self.group.take().unwrap_or_default();
        let end = self.place.at().clone();
        let changes = match prepared {
            None => group.changes,
            Some(xid) => {
                self.keep(xid, group.changes);
                Changes::default()
            }
        };
        if self.start.has_reached(&end) {
            return;
        }
        let (origin, number) = group.numbered.unwrap_or((Origin::Unnamed, 0));
        self.told = end.clone();
        let transaction = Transaction { origin, number, end };
        self.brought
            .push(Brought::Transaction(transaction, changes.into_vec()));
    }

    fn keep(&mut self, xid: Xid, changes: Changes) {
        let bytes = changes.bytes();
        if let Some(old) = self.prepared.remove(&xid) {
            self.prepared_bytes -= old.bytes();
        }
        // What is forgotten is everything when it is committed.
        if self.prepared.len() < PREPARED && self.prepared_bytes + bytes <= PREPARED_BYTES {
            self.prepared_bytes += bytes;
            self.prepared.insert(xid, changes);
        }
    }

    fn prepare(&mut self, body: &[u8]) -> Result<(), Broke> {
        let (xid, one_phase) =
            names::prepared(body).ok_or("a prepared transaction whose name could not be read")?;
        self.end((!one_phase).then_some(xid));
        Ok(())
    }

    /// A prepared transaction ends, committed or rolled back.
    fn completed(&mut self, name: &str, committed: bool) {
        let known = names::xid(name).and_then(|xid| self.prepared.remove(&xid));
        if let Some(changes) = &known {
            self.prepared_bytes -= changes.bytes();
        }
        if committed {
            match known {
                Some(changes) => self.group().changes = changes,
                None => self.add(Change::Everything),
            }
        }
        self.end(None);
    }

    fn compressed_query(&mut self, body: &[u8]) -> Result<(), Broke> {
        let query = names::query(body).ok_or("a statement that could not be read")?;
        let head = &body[..body.len() - query.text.len()];
        let text = inflate(query.text).ok_or("a compressed statement that could not be read")?;
        self.query(&[head, &text].concat())
    }

    fn query(&mut self, body: &[u8]) -> Result<(), Broke> {
        let query = names::query(body).ok_or("a statement that could not be read")?;
        let text = String::from_utf8_lossy(query.text);
        let text = text.trim();
        let mut words = text.split_whitespace().map(str::to_ascii_uppercase);
        let (first, second) = (words.next(), words.next());
        let is_alone = second.is_none();
        match (first.as_deref(), second.as_deref()) {
            (Some("BEGIN"), None) => {
                if self
                    .group
                    .as_ref()
                    .is_some_and(|group| group.begun && !group.changes.is_empty())
                {
                    return Err("a transaction began before the one in front of it had ended".to_owned());
                }
                self.group().begun = true;
            }
            (Some("XA"), Some("START" | "BEGIN")) => self.group().begun = true,
            (Some("XA"), Some("END")) => {}
            (Some("XA"), Some("COMMIT")) => self.completed(behind(text, 2), true),
            (Some("XA"), Some("ROLLBACK")) => self.completed(behind(text, 2), false),
            (Some("COMMIT" | "ROLLBACK"), _) if is_alone => self.end(None),
            (Some("SAVEPOINT"), _)
            | (Some("RELEASE"), Some("SAVEPOINT"))
            | (Some("ROLLBACK"), Some("TO")) => {}
            _ => self.statement(&query, text),
        }
        Ok(())
    }

    fn statement(&mut self, query: &Query<'_>, text: &str) {
        let mut found = touched(text, &query.schema);
        let is_ascii = |name: &TableName| name.schema.is_ascii() && name.table.is_ascii();
        let told = match &found.reach {
            Reach::Tables(tables) => tables.iter().chain(&found.refers_to).all(is_ascii),
            Reach::RowsOf(table) => is_ascii(table),
            Reach::Schema(schema) => schema.is_ascii(),
            Reach::Nothing | Reach::Everything => true,
        };
        // Which letters are one in lower case is the server's own business.
        if !query.is_plain() || self.case == Case::Lower && !told {
            found.reach = Reach::Everything;
        }
        let name = |name: &mut TableName, case: Case| {
            if case == Case::Lower {
                name.schema = name.schema.to_lowercase();
                name.table = name.table.to_lowercase();
            }
        };
        match &mut found.reach {
            Reach::Tables(tables) => tables.iter_mut().for_each(|one| name(one, self.case)),
            Reach::RowsOf(table) => name(table, self.case),
            Reach::Schema(schema) if self.case == Case::Lower => *schema = schema.to_lowercase(),
            _ => {}
        }
        let others = found.refers_to.iter_mut().chain(&mut found.renamed);
        others.for_each(|one| name(one, self.case));
        if found.renamed.iter().any(|one| self.may_be_referred_to(one)) {
            found.refers_to.append(&mut found.renamed);
        }
        self.stale.statement(&found, self.place.at());
        for table in found.refers_to {
            self.add(Change::Table(table));
        }
        match found.reach {
            Reach::Nothing => {}
            Reach::Tables(tables) => tables.into_iter().for_each(|one| self.add(Change::Table(one))),
            Reach::RowsOf(table) => {
                let shape = self.shape(&table);
                let alone = shape.is_some_and(|shape| {
                    shape.stands_alone()
                        && !self.stale.is(&shape)
                        && !self.stale.may_have_more_triggers(&shape)
                });
                self.add(if alone {
                    Change::Table(table)
                } else {
                    Change::Everything
                });
            }
            Reach::Schema(schema) => self.add(Change::Schema(schema)),
            Reach::Everything => self.add(Change::Everything),
        }
        if !self.group().begun {
            self.end(None);
        }
    }

    fn known(&self) -> RwLockReadGuard<'_, BTreeMap<TableName, Arc<Shape>>> {
        match self.shapes.read() {
            Ok(shapes) => shapes,
            // Whoever panicked while it filled in shapes left whole ones: they are put in one at a time.
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    fn shape(&self, name: &TableName) -> Option<Arc<Shape>> {
        self.known().get(name).map(Arc::clone)
    }

    /// All foreign keys of the server, as far as they may point at a table: every shape comes with those of its time.
    /// `None` if no shape is young enough.
    fn foreign_keys_to(&self, name: &TableName) -> Option<Arc<Vec<ForeignKey>>> {
        let since = self.stale.referred_to_since(name);
        let known = self.known();
        let mut young = known.values().filter(|shape| shape.read_after.has_reached(since));
        young.next().map(|shape| Arc::clone(&shape.all))
    }

    fn may_be_referred_to(&self, name: &TableName) -> bool {
        self.foreign_keys_to(name)
            .is_none_or(|all| all.iter().any(|key| key.parent == *name))
    }

    /// What foreign keys may have changed that point at a table without a shape.
    fn owed_by_stranger(&mut self, name: &TableName, act: Act) {
        let Some(all) = self.foreign_keys_to(name) else {
            self.add(Change::Everything);
            return;
        };
        for key in all.iter().filter(|key| key.parent == *name) {
            for change in owed(key, act, Pair::Unknown, &all) {
                self.add(change);
            }
        }
    }

    fn table_map(&mut self, body: &[u8]) {
        self.group().begun = true;
        let Some(mut map) = TableMap::parse(body) else {
            // Rows of it will be missed: their map is.
            return;
        };
        if self.case == Case::Lower {
            map.schema = map.schema.to_lowercase();
            map.table = map.table.to_lowercase();
        }
        if self.maps.len() >= MAPS {
            self.maps.clear();
        }
        self.maps.insert(map.id, map);
    }

    fn rows(&mut self, body: &[u8], of: kind::Rows) {
        self.group().begun = true;
        let Some(head) = Head::parse(body, of.act, of.with_extra) else {
            self.add(Change::Everything);
            return;
        };
        if head.is_end_only() {
            return;
        }
        let is_last = head.flags & rows::LAST_OF_STATEMENT != 0;
        match self.maps.get(&head.table).cloned() {
            None => self.add(Change::Everything),
            Some(map) => self.rows_of(&head, &map, of),
        }
        if is_last {
            self.maps.clear();
        }
    }

    fn rows_of(&mut self, head: &Head<'_>, map: &TableMap, of: kind::Rows) {
        let name = TableName {
            schema: map.schema.clone(),
            table: map.table.clone(),
        };
        if name.schema == own_schema::SCHEMA {
            return;
        }
        // What foreign keys change is in the binlog, or they were off.
        let owes = of.act != Act::Insert && head.flags & (NO_FOREIGN_KEY_CHECKS | FOREIGN_KEYS_WRITTEN) == 0;
        let Some(shape) = self.shape(&name) else {
            if owes {
                self.owed_by_stranger(&name, of.act);
            }
            self.add(Change::Table(name));
            return;
        };
        if self.stale.is(&shape) {
            if owes && self.stale.may_owe_more(&shape) {
                self.add(Change::Everything);
            }
            self.whole(&shape, of.act, owes);
            return;
        }
        let references = if owes { shape.references.as_slice() } else { &[] };
        let is_whole = !shape.tracked || self.group().changes.has_whole(&name);
        if is_whole && references.is_empty() {
            self.add(Change::Table(name));
            return;
        }
        let inflated;
        let head = if of.compressed {
            match inflate(head.rows) {
                Some(bytes) => {
                    inflated = bytes;
                    Head {
                        rows: &inflated,
                        ..*head
                    }
                }
                None => {
                    self.whole(&shape, of.act, owes);
                    return;
                }
            }
        } else {
            *head
        };
        let caps = self.caps;
        let changes = &mut self.group.get_or_insert_with(Group::default).changes;
        let read = rows::read(&head, map, &shape, |row: Changed| {
            changes.add(row_change(&shape, row.key), caps);
            for (reference, pair) in shape.references.iter().zip(row.referenced) {
                if owes {
                    owed(&reference.key, of.act, pair, &shape.all)
                        .into_iter()
                        .for_each(|change| changes.add(change, caps));
                }
            }
        });
        if read.is_none() {
            self.whole(&shape, of.act, owes);
        }
    }

    /// Rows of a table were changed, and it is not known which.
    fn whole(&mut self, shape: &Shape, act: Act, owes: bool) {
        self.add(Change::Table(shape.name.clone()));
        if owes {
            for reference in &shape.references {
                for change in owed(&reference.key, act, Pair::Unknown, &shape.all) {
                    self.add(change);
                }
            }
        }
    }
}

/// What stands behind so many words.
fn behind(text: &str, words: usize) -> &str {
    let mut rest = text;
    for _ in 0..words {
        rest = rest.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        rest = &rest[end..];
    }
    rest.trim()
}

fn row_change(shape: &Shape, key: Option<Pair>) -> Change {
    let table = shape.name.clone();
    match key {
        _ if !shape.tracked => Change::Table(table),
        None => Change::Row {
            table,
            before: None,
            after: None,
        },
        Some(Pair::Known { before, after }) if before.is_some() || after.is_some() => {
            Change::Row { table, before, after }
        }
        // Not all of the key is in the images, or it is NULL, which a key cannot be.
        Some(_) => Change::Table(table),
    }
}

/// What a foreign key that points at the changed row may have changed.
fn owed(key: &ForeignKey, act: Act, pair: Pair, all: &[ForeignKey]) -> Vec<Change> {
    let action = match act {
        Act::Insert => return Vec::new(),
        Act::Delete => key.on_delete,
        Act::Update | Act::PartialUpdate => key.on_update,
    };
    // The same key, as far as it matters here: a value that became NULL is no row that was deleted.
    let with = |action| ForeignKey {
        on_delete: action,
        on_update: action,
        ..key.clone()
    };
    match (action, pair) {
        (Action::Refuse, _) | (_, Pair::Untouched) => Vec::new(),
        (_, Pair::Known { before, after }) => {
            obligations(&with(action), before.as_ref(), after.as_ref(), all)
        }
        // Which rows it were is not known.
        (_, Pair::Unknown) => obligations(&with(Action::Clear), Some(&Key(Vec::new())), None, all),
    }
}
