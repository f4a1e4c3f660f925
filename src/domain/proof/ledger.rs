//! The tables, their ranges and touches, and the checks under way.
//!
//! The one door for an adapter: the stream's reader brings transactions, those who read servers bring checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::ids::Side;
use super::super::position::FilePosition;
use super::bracket::{Check, Doubt, Verdict, Void};
use super::drill::{Drilled, Rows, compare};
use super::key::Key;
use super::ranges::{Bounds, NotSplit, RangeId};
pub use super::table::State;
use super::table::{Range, Table, Unsettled};
use super::touches::{Caps, InDoubt, Item, Open, Touches};
use super::transaction::{Origin, Outline, Positions, Start, TableName, Transaction};

/// Why a table cannot be proved at all, with what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "because", content = "seen")]
pub enum NotProvable {
    /// Its engine does not read from snapshots, or its history cannot be read.
    Engine(String),
    /// Its changes are not in the binlog as rows: a filter, another format.
    NoRowEvents(String),
    /// No key tells its rows apart on both sides, and it is too large to be read as a whole.
    NoKey(String),
    /// A column cannot be brought into a form that is the same on both sides, or is on one side only.
    Column(String),
    /// It is on one side only.
    OneSideOnly(Side),
    /// It cannot be read.
    NotRead(String),
}

impl fmt::Display for NotProvable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(seen)
            | Self::NoRowEvents(seen)
            | Self::NoKey(seen)
            | Self::Column(seen)
            | Self::NotRead(seen) => f.write_str(seen),
            Self::OneSideOnly(side) => write!(f, "it is on {side} only"),
        }
    }
}

/// One thing that a transaction changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// A row of a table. Both keys for an update, even if they are the same; neither where the table has no key.
    Row {
        /// The table.
        table: TableName,
        /// The key in the image before.
        before: Option<Key>,
        /// The key in the image after.
        after: Option<Key>,
    },
    /// Rows of a child that a foreign key may have changed.
    Cascade {
        /// The table.
        child: TableName,
        /// The foreign key's columns.
        columns: Vec<String>,
        /// Their values before and after.
        values: Vec<Key>,
    },
    /// A table's definition, or its rows by a statement.
    Table(TableName),
    /// A statement that was not understood, in this schema.
    Schema(String),
    /// A statement that was not understood, in no schema that is known.
    Everything,
}

/// Why the stream's word does not count any more. All proofs are void.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamBroke {
    /// Its places went back.
    #[error("blue's binlog went from {passed} back to {to}")]
    WentBack {
        /// How far it was.
        passed: FilePosition,
        /// Where it went.
        to: FilePosition,
    },
    /// A domain's sequence numbers do not grow, so a list of last numbers does not say what was executed.
    #[error("the sequence numbers of domain {domain} went from {last} to {number}")]
    SequenceWentBack {
        /// The domain.
        domain: u32,
        /// Its last number.
        last: u64,
        /// The number that came.
        number: u64,
    },
}

/// So many checks in a row that were touched are enough for a table without a key: another one would be, too.
pub const ENOUGH_CHECKS: u32 = 10;

/// Names a check under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CheckId(u64);

/// Why a check was not begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBegun {
    /// There is no such table or range, or not any more.
    #[error("there is no such range of {0} any more")]
    NoSuchRange(TableName),
    /// The table is not provable.
    #[error("{0} is not provable")]
    NotProvable(TableName),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Flight {
    table: TableName,
    /// `None` when single items are read.
    range: Option<RangeId>,
    before: Arc<Positions>,
    began: Duration,
    void: Option<Void>,
}

/// One item as both sides answered it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ItemRead {
    /// What was read.
    pub item: Item,
    /// Whether both sides gave the same rows for it.
    pub is_equal: bool,
}

/// What came of reading items again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ItemsFound {
    /// Items that differ, and no lag explains it.
    pub diverged: Vec<Item>,
    /// How many are equal and proved.
    pub proved: usize,
    /// How many a transaction in doubt may have touched.
    pub in_doubt: usize,
}

/// All that is known of what is proved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ledger {
    caps: Caps,
    start: Start,
    /// The stream broke and has not begun anew: what is missing is not known.
    is_broken: bool,
    passed: FilePosition,
    /// What was restored counts when the stream has passed this place.
    catching_up: Option<FilePosition>,
    /// Once it has come there, restored ranges of which anything is open are to be read whole.
    rereads_open: bool,
    /// What every check under way, and every later one, must find on both sides: what is on both sides there may have
    /// been forgotten.
    floor: Option<Arc<Positions>>,
    sequences: BTreeMap<u32, u64>,
    /// Every transaction that came, in outline: what one of them changed in a table that was not watched then is not
    /// known.
    came: Option<Outline>,
    tables: BTreeMap<TableName, Table>,
    flights: BTreeMap<CheckId, Flight>,
    next_check: u64,
    bytes: usize,
}

impl Ledger {
    /// Begins with a stream that carries every transaction that `start` does not name.
    #[must_use]
    pub fn new(start: Start, caps: Caps) -> Self {
        Self {
            caps,
            passed: start.place.clone(),
            start,
            is_broken: false,
            catching_up: None,
            rereads_open: false,
            floor: None,
            sequences: BTreeMap::new(),
            came: None,
            tables: BTreeMap::new(),
            flights: BTreeMap::new(),
            next_check: 0,
            bytes: 0,
        }
    }

    /// Watches a table; at best before the stream begins, because what came before is in doubt until both sides have
    /// executed it. A table that is watched already begins anew, as after a change of its definition.
    pub fn watch(&mut self, name: TableName, has_key: bool) {
        let mut table = Table::new(has_key);
        if let Some(old) = self.tables.remove(&name) {
            // What was in doubt still is, wherever it now falls.
            table.anywhere = old.anywhere;
            table.anywhere.close_all();
            for range in old.by_id.into_values() {
                table.anywhere.take_in(range.touches);
            }
        } else if let Some(came) = &self.came {
            table.anywhere.take_in_outline(came);
        }
        self.void(Void::TableChanged, |flight| flight.table == name);
        self.tables.insert(name, table);
        self.weigh();
    }

    /// A table is gone, or not to be proved any more.
    pub fn forget(&mut self, name: &TableName) {
        self.void(Void::TableChanged, |flight| flight.table == *name);
        self.tables.remove(name);
        self.weigh();
    }

    /// The tables that cannot be proved, with the reason.
    pub fn not_provable_tables(&self) -> impl Iterator<Item = (&TableName, &NotProvable)> {
        self.tables
            .iter()
            .filter_map(|(name, table)| Some((name, table.not_provable.as_ref()?)))
    }

    /// Whether a row is known to differ.
    #[must_use]
    pub fn differs(&self, name: &TableName, key: &Key) -> bool {
        self.tables.get(name).is_some_and(|table| table.differs(key))
    }

    /// Whether every range has been compared once, and what differs was looked at row by row. A table without a key has
    /// no rows to look at, and need not stay as it was when it was compared: with the next change all of it is open.
    #[must_use]
    pub fn was_everywhere(&self) -> bool {
        let mut provable = self.tables.values().filter(|table| table.not_provable.is_none());
        !self.is_catching_up()
            && provable.all(|table| {
                table
                    .by_id
                    .values()
                    .all(|range| match (&range.state, range.touches.open()) {
                        (State::Unproven, _) => table
                            .unsettled
                            .is_some_and(|unsettled| unsettled.checks >= ENOUGH_CHECKS),
                        (State::Proved { .. }, Open::Whole) => !table.has_key,
                        (State::Proved { .. }, Open::Items(_)) => true,
                        (State::Diverged { rows, .. }, _) => !table.has_key || !rows.is_empty(),
                    })
            })
    }

    /// Whether a table without a key is known to differ.
    #[must_use]
    pub fn differs_as_a_whole(&self, name: &TableName) -> bool {
        let is_diverged = |range: &Range| matches!(range.state, State::Diverged { .. });
        let table = self.tables.get(name).filter(|table| !table.has_key);
        table.is_some_and(|table| table.by_id.values().any(is_diverged))
    }

    /// Says that a table cannot be proved.
    pub fn not_provable(&mut self, name: TableName, why: NotProvable) {
        self.void(Void::TableChanged, |flight| flight.table == name);
        let came = &self.came;
        let table = self.tables.entry(name).or_insert_with(|| {
            let mut table = Table::new(false);
            if let Some(came) = came {
                table.anywhere.take_in_outline(came);
            }
            table
        });
        table.unprove();
        table.not_provable = Some(why);
    }

    /// How far the stream is.
    #[must_use]
    pub const fn passed(&self) -> &FilePosition {
        &self.passed
    }

    /// About how many bytes all touches take.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The ranges of a table with their bounds and what is known of them.
    pub fn ranges(&self, name: &TableName) -> impl Iterator<Item = (RangeId, Bounds, &State)> + '_ {
        self.tables.get(name).into_iter().flat_map(|table| {
            table
                .ranges
                .iter()
                .filter_map(|(id, bounds)| Some((id, bounds, &table.by_id.get(&id)?.state)))
        })
    }

    /// The bounds of a range, if it is there.
    #[must_use]
    pub fn bounds(&self, name: &TableName, range: RangeId) -> Option<Bounds> {
        self.tables.get(name)?.ranges.bounds(range)
    }

    /// How many rows are known to differ.
    #[must_use]
    pub fn differing_rows(&self) -> usize {
        let of_table = |table: &Table| {
            let in_ranges = table.by_id.values().map(|range| match &range.state {
                State::Diverged { rows, .. } => rows.len(),
                State::Proved { .. } | State::Unproven => 0,
            });
            in_ranges.sum::<usize>() + table.diverged.len()
        };
        self.tables.values().map(of_table).sum()
    }

    /// What of a range must be read again before its proof is one of now.
    #[must_use]
    pub fn open(&self, name: &TableName, range: RangeId) -> Option<&Open> {
        Some(self.tables.get(name)?.by_id.get(&range)?.touches.open())
    }

    /// What of a table must be read again and falls into no known range.
    #[must_use]
    pub fn open_anywhere(&self, name: &TableName) -> Option<&Open> {
        Some(self.tables.get(name)?.anywhere.open())
    }

    /// Whether the stream broke and has not begun anew.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether proofs were restored, and what changed since they were kept has not all come yet.
    #[must_use]
    pub const fn is_catching_up(&self) -> bool {
        self.catching_up.is_some()
    }

    pub(super) fn set_catching_up(&mut self, place: FilePosition, rereads_open: bool) {
        self.catching_up = Some(place);
        self.rereads_open = rereads_open;
        self.see_caught_up();
    }

    fn see_caught_up(&mut self) {
        if self
            .catching_up
            .as_ref()
            .is_some_and(|place| self.passed.has_reached(place))
        {
            self.catching_up = None;
            if std::mem::take(&mut self.rereads_open) {
                self.tables.values_mut().for_each(Table::unprove_what_is_open);
                self.weigh();
            }
        }
    }

    pub(super) const fn caps(&self) -> Caps {
        self.caps
    }

    pub(super) fn table_mut(&mut self, name: &TableName) -> Option<&mut Table> {
        self.tables.get_mut(name)
    }

    pub(super) const fn tables(&self) -> &BTreeMap<TableName, Table> {
        &self.tables
    }

    /// The stream brought a whole transaction.
    ///
    /// # Errors
    /// [`StreamBroke`] when its place or number cannot follow what came before; everything is unproven then.
    pub fn transaction(&mut self, transaction: Transaction, changes: &[Change]) -> Result<(), StreamBroke> {
        if self.passed.has_reached(&transaction.end) {
            return Err(self.went_back(transaction.end));
        }
        if let Origin::Domain(domain) = transaction.origin {
            let last = self.sequences.insert(domain, transaction.number);
            if let Some(last) = last.filter(|last| *last >= transaction.number) {
                self.broke(Void::StreamBroken);
                return Err(StreamBroke::SequenceWentBack {
                    domain,
                    last,
                    number: transaction.number,
                });
            }
        }
        self.passed = transaction.end.clone();
        match &mut self.came {
            Some(came) => came.add(&transaction),
            none => *none = Some(Outline::of(&transaction)),
        }
        let transaction = Arc::new(transaction);
        for change in changes {
            self.change(&transaction, change);
        }
        self.see_caught_up();
        Ok(())
    }

    /// The stream has passed this place without a transaction.
    ///
    /// # Errors
    /// [`StreamBroke`] when it goes back; everything is unproven then.
    pub fn advance(&mut self, place: FilePosition) -> Result<(), StreamBroke> {
        if !place.has_reached(&self.passed) {
            return Err(self.went_back(place));
        }
        self.passed = place;
        self.see_caught_up();
        Ok(())
    }

    fn went_back(&mut self, to: FilePosition) -> StreamBroke {
        self.broke(Void::StreamBroken);
        StreamBroke::WentBack {
            passed: self.passed.clone(),
            to,
        }
    }

    fn change(&mut self, transaction: &Arc<Transaction>, change: &Change) {
        match change {
            Change::Row { table, before, after } => {
                let (first, second) = match (before, after) {
                    (Some(a), Some(b)) if a != b => (Some(a), Some(b)),
                    (a, b) => (a.as_ref().or(b.as_ref()), None),
                };
                self.touch(table, transaction, first.cloned().map(Item::Row));
                if let Some(second) = second {
                    self.touch(table, transaction, Some(Item::Row(second.clone())));
                }
            }
            Change::Cascade {
                child,
                columns,
                values,
            } => {
                let item = Item::Where {
                    columns: columns.clone(),
                    values: values.clone(),
                };
                self.touch(child, transaction, Some(item));
            }
            Change::Table(table) => self.touch_tables(transaction, |name| name == table),
            Change::Schema(schema) => self.touch_tables(transaction, |name| name.schema == *schema),
            Change::Everything => self.touch_tables(transaction, |_| true),
        }
    }

    fn touch(&mut self, name: &TableName, transaction: &Arc<Transaction>, item: Option<Item>) {
        let Some(table) = self.tables.get_mut(name) else {
            return;
        };
        if item.is_none() && table.has_key {
            // Rows without a key of a table that should have one: its definition is another by now.
            self.touch_tables(transaction, |other| other == name);
            return;
        }
        let item = item.filter(|_| table.has_key).map(Arc::new);
        let had = table.bytes_of(item.as_deref());
        let room = self.caps.bytes_in_all.saturating_sub(self.bytes);
        let gave_up = table.touch(transaction, item.clone(), self.caps, room);
        if gave_up {
            self.void(Void::TableChanged, |flight| flight.table == *name);
            self.weigh();
        } else if let Some(table) = self.tables.get(name) {
            self.bytes = (self.bytes + table.bytes_of(item.as_deref())).saturating_sub(had);
        }
    }

    fn touch_tables(&mut self, transaction: &Arc<Transaction>, which: impl Fn(&TableName) -> bool) {
        let mut any = false;
        for (name, table) in &mut self.tables {
            if which(name) {
                table.touch_whole(transaction, self.caps);
                any = true;
            }
        }
        if !any {
            return;
        }
        self.void(Void::TableChanged, |flight| which(&flight.table));
        self.weigh();
    }

    pub(super) fn weigh(&mut self) {
        self.bytes = self.tables.values().map(Table::bytes).sum();
    }

    fn void(&mut self, why: Void, which: impl Fn(&Flight) -> bool) {
        for flight in self.flights.values_mut().filter(|flight| which(flight)) {
            flight.void.get_or_insert(why);
        }
    }

    /// The stream had a gap or an incident, or blue has purged what was not read yet: nothing is proved any more, and
    /// no check under way counts.
    pub fn broke(&mut self, why: Void) {
        self.is_broken = true;
        self.void(why, |_| true);
        for table in self.tables.values_mut() {
            table.unprove();
        }
    }

    /// The stream begins anew after it broke. What it brought before is forgotten: it brings again whatever may be in
    /// doubt in a check that is begun from now on.
    pub fn restart(&mut self, start: Start) {
        self.broke(Void::StreamBroken);
        for table in self.tables.values_mut() {
            table.anywhere = Touches::default();
            for range in table.by_id.values_mut() {
                *range = Range::default();
            }
        }
        self.sequences.clear();
        self.came = None;
        self.catching_up = None;
        self.rereads_open = false;
        self.is_broken = false;
        self.floor = None;
        self.passed = start.place.clone();
        self.start = start;
        self.bytes = 0;
    }

    /// Cuts a range behind `key`. Both parts keep what was known of it; a check of it that is under way is void.
    ///
    /// # Errors
    /// [`NotSplit`]; nothing has changed then.
    pub fn split(&mut self, name: &TableName, range: RangeId, key: Key) -> Result<RangeId, NotSplit> {
        let table = self.tables.get_mut(name).ok_or(NotSplit::NoSuchRange)?;
        let upper = table.ranges.split(range, key)?;
        if let Some(mut lower) = table.by_id.remove(&range) {
            if lower.touches.has_text() {
                // It may belong to either part: both have to be read again, and the transactions are in doubt in both.
                let is_proved = matches!(lower.state, State::Proved { .. });
                lower.touches.give_up_details(is_proved);
            }
            let touches = lower
                .touches
                .split_off(|key| table.ranges.range_of(key) == Some(upper));
            let state = lower.state.clone();
            table.by_id.insert(range, lower);
            table.by_id.insert(upper, Range { state, touches });
        }
        self.void(Void::RangeSplit, |flight| {
            flight.table == *name && flight.range == Some(range)
        });
        self.weigh();
        Ok(upper)
    }

    /// A check of a range, or of single items of a table, begins. `now` is bleen's own clock.
    ///
    /// # Errors
    /// [`NotBegun`].
    pub fn begin(
        &mut self,
        name: &TableName,
        range: Option<RangeId>,
        check: &mut Check,
        now: Duration,
    ) -> Result<CheckId, NotBegun> {
        let table = self
            .tables
            .get_mut(name)
            .filter(|table| range.is_none_or(|id| table.by_id.contains_key(&id)))
            .ok_or_else(|| NotBegun::NoSuchRange(name.clone()))?;
        if table.not_provable.is_some() {
            return Err(NotBegun::NotProvable(name.clone()));
        }
        let floor = self.flights.values().next().map(|flight| flight.before.clone());
        let floor = floor.or_else(|| self.floor.clone());
        if self.is_broken {
            check.make_void(Void::StreamBroken);
        } else if !check.before().contain(&self.start) {
            check.make_void(Void::StreamBeganTooLate);
        } else if floor.as_ref().is_some_and(|floor| !check.before().reach(floor)) {
            check.make_void(Void::PositionsTooOld);
        }
        // A check that is void from the start must not become the floor of others.
        let before = match floor {
            Some(floor) if check.void().is_some() => floor,
            _ => check.before().clone(),
        };
        let id = CheckId(self.next_check);
        self.next_check += 1;
        self.flights.insert(
            id,
            Flight {
                table: name.clone(),
                range,
                before,
                began: now,
                void: check.void(),
            },
        );
        self.floor = self.flights.values().next().map(|flight| flight.before.clone());
        // What all checks under way find on both sides is in doubt in no later one either.
        let under_way = self.flights.values().map(|flight| &*flight.before);
        if let Some(touches) = range.and_then(|id| table.by_id.get_mut(&id)) {
            touches.touches.settle(under_way.clone());
        }
        table.anywhere.settle(under_way);
        self.weigh();
        Ok(id)
    }

    /// A check is given up.
    pub fn give_up(&mut self, id: CheckId) {
        self.flights.remove(&id);
    }

    /// The verdict of a check of a range, once the stream is far enough; it is written down here.
    pub fn finish(&mut self, id: CheckId, check: &Check) -> Option<Verdict> {
        let (verdict, flight) = self.verdict(id, check)?;
        self.write_down(&flight, check, &verdict, &Drilled::default());
        self.flights.remove(&id);
        Some(verdict)
    }

    /// The same for a check that has read the range row by row; its readings are [`Reading::of`] these rows. What the
    /// transactions in doubt have touched stays open, and the rest has a verdict.
    ///
    /// [`Reading::of`]: super::bracket::Reading::of
    pub fn finish_rows(
        &mut self,
        id: CheckId,
        check: &Check,
        blue: &Rows,
        green: &Rows,
    ) -> Option<(Verdict, Drilled)> {
        let (mut verdict, flight) = self.verdict(id, check)?;
        let drilled = match &verdict {
            Verdict::Inconclusive(Doubt::Void(_)) => Drilled::default(),
            Verdict::Inconclusive(Doubt::Touched { what, .. }) => compare(blue, green, what),
            Verdict::Proved { .. } | Verdict::Diverged { .. } => compare(blue, green, &InDoubt::Nothing),
        };
        if let Verdict::Inconclusive(Doubt::Touched {
            what: InDoubt::Items(_),
            ..
        }) = &verdict
            && let Some((blue, green)) = check.readings()
        {
            verdict = if drilled.real.is_empty() {
                Verdict::Proved {
                    from: check.before().clone(),
                }
            } else {
                Verdict::Diverged {
                    blue: blue.clone(),
                    green: green.clone(),
                }
            };
        }
        self.write_down(&flight, check, &verdict, &drilled);
        self.flights.remove(&id);
        Some((verdict, drilled))
    }

    fn verdict(&self, id: CheckId, check: &Check) -> Option<(Verdict, Flight)> {
        let void = |why| Verdict::Inconclusive(Doubt::Void(why));
        let flight = self.flights.get(&id)?.clone();
        if let Some(why) = flight.void {
            return Some((void(why), flight));
        }
        let (Some(table), Some(range)) = (self.tables.get(&flight.table), flight.range) else {
            return Some((void(Void::TableChanged), flight));
        };
        let verdict = check.verdict(&self.passed, |before, after| table.in_doubt(range, before, after))?;
        // Snapshots may be older than a statement that has arrived: their proof would have ended with it.
        if table.anywhere.outside(check.before()) == InDoubt::Anything {
            return Some((void(Void::TableChanged), flight));
        }
        Some((verdict, flight))
    }

    fn write_down(&mut self, flight: &Flight, check: &Check, verdict: &Verdict, drilled: &Drilled) {
        // The range's own ones are about to be replaced: one too few is kept rather than one too many.
        let room = match verdict {
            Verdict::Diverged { .. } => self.caps.differing.saturating_sub(self.differing_rows()).max(1),
            Verdict::Proved { .. } | Verdict::Inconclusive(_) => 0,
        };
        let Some(table) = self.tables.get_mut(&flight.table) else {
            return;
        };
        let Some(id) = flight.range else { return };
        let Some(range) = table.by_id.get_mut(&id) else {
            return;
        };
        let rows = check
            .readings()
            .map_or(0, |(blue, green)| blue.rows.max(green.rows));
        if !table.has_key {
            table.unsettled = match (verdict, table.unsettled) {
                (Verdict::Inconclusive(Doubt::Touched { .. }), before) => Some(Unsettled {
                    rows,
                    checks: before.map_or(0, |before| before.checks).saturating_add(1),
                }),
                (Verdict::Inconclusive(Doubt::Void(_)), before) => before,
                (Verdict::Proved { .. } | Verdict::Diverged { .. }, _) => None,
            };
        }
        match verdict {
            Verdict::Proved { from } => {
                range.state = State::Proved {
                    from: from.clone(),
                    at: flight.began,
                    rows: check.readings().map_or(0, |(blue, _)| blue.rows),
                };
                range.touches.proved(from, self.caps.in_a_range);
                // What may be a row in doubt was not compared, and what is kept apart from the ranges is not closed by
                // the proof of one.
                let apart = match table.anywhere.outside(from) {
                    InDoubt::Items(items) => items,
                    // The verdict would not be this one.
                    InDoubt::Nothing | InDoubt::Anything => BTreeSet::new(),
                };
                let not_compared = drilled.open.keys().map(|key| Arc::new(Item::Row(key.clone())));
                let again: Vec<Arc<Item>> = apart.into_iter().chain(not_compared).collect();
                for item in again {
                    table.open_again(item, self.caps);
                }
                let ranges = &table.ranges;
                table
                    .diverged
                    .retain(|item| !matches!(&**item, Item::Row(key) if ranges.range_of(key) == Some(id)));
            }
            Verdict::Diverged { blue, green } => {
                range.touches.close_all();
                range.state = State::Diverged {
                    blue: blue.clone(),
                    green: green.clone(),
                    rows: drilled
                        .real
                        .iter()
                        .take(self.caps.in_a_range.min(room))
                        .map(|(key, differs)| (key.clone(), *differs))
                        .collect(),
                };
            }
            Verdict::Inconclusive(_) => {}
        }
        self.weigh();
    }

    /// The verdicts on single items, once the stream is far enough. The check's readings may be anything that counts
    /// the rows read: each item has its own answer.
    pub fn finish_items(&mut self, id: CheckId, check: &Check, read: &[ItemRead]) -> Option<ItemsFound> {
        let flight = self.flights.get(&id)?;
        let mut found = ItemsFound::default();
        if flight.void.or(check.void()).is_some() {
            found.in_doubt = read.len();
        } else {
            let after = check.place_after()?;
            if !self.passed.has_reached(after) {
                return None;
            }
            if let Some(table) = self.tables.get_mut(&flight.table) {
                found = table.items_read(read, check.before(), after, self.caps.in_a_range);
            }
        }
        self.flights.remove(&id);
        self.weigh();
        Some(found)
    }
}
