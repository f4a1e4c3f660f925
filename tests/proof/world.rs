//! The world around the proof: blue that writes down before it shows, a stream that brings, green that applies in
//! another order, a hand that corrupts green, and checks whose steps fall anywhere between.
//!
//! Three rows may be there: keys 0 and 1 in one range, key 2 in another. A set of transactions is a bit mask over the
//! order of blue's binlog.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bleen::domain::ids::Side;
use bleen::domain::position::{FilePosition, GtidList, GtidSet, Position};
use bleen::domain::proof::bracket::{Check, Doubt, Reading, Verdict};
use bleen::domain::proof::drill::Rows;
use bleen::domain::proof::key::Key;
use bleen::domain::proof::ledger::{Change, CheckId, ItemRead, Ledger, State};
use bleen::domain::proof::ranges::RangeId;
use bleen::domain::proof::touches::{Caps, Item, Open};
use bleen::domain::proof::transaction::{Origin, Positions, Shown, Start, TableName, Transaction};

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

/// A mistake planted in the world, so that the check can show that it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    Nothing,
    /// A range is dirty when an event arrives, and clean if none arrived during the check.
    ClearOnArrival,
    /// Blue's place is asked for before the readings.
    AfterReadFirst,
    /// What green had executed is taken to be what blue had.
    OnlyBlue,
    /// The stream is not waited for.
    StreamNotWaitedFor,
    /// Equal digests are taken for a proof, whatever was touched.
    EqualIsProof,
    /// Only the image after a change counts.
    AfterImageOnly,
    /// Of green's set only the last number counts.
    LastNumberOnly,
    /// The positions before are read after the readings.
    PositionsReadLast,
    /// A gap in the stream is not told.
    GapNotTold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// GTID sets, read before; blue may show its transactions in another order than it wrote them down.
    Sets,
    /// Exact positions of snapshots; both sides commit in the binlog's order.
    Exact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    pub transactions: u8,
    /// How many checks may be begun.
    pub checks: u8,
    /// How many of them may be under way at once.
    pub at_once: u8,
    /// Corruptions of a row of green.
    pub corruptions: u8,
    /// Updates that green says to have executed and has not.
    pub lost: u8,
    pub gaps: u8,
    /// How many of the two ranges are checked.
    pub ranges: u32,
}

type Table = [Option<u8>; 3];
type Mask = u8;

/// A row image before and after: `None` where there was no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    before: Option<usize>,
    after: Option<(usize, u8)>,
}

impl Entry {
    fn touches(&self, key: usize) -> bool {
        self.before == Some(key) || self.after.is_some_and(|(k, _)| k == key)
    }

    fn conflicts(&self, other: &Self) -> bool {
        (0..3).any(|key| self.touches(key) && other.touches(key))
    }

    fn apply(&self, table: &mut Table) {
        if let Some(key) = self.before {
            table[key] = None;
        }
        if let Some((key, value)) = self.after {
            table[key] = Some(value);
        }
    }
}

/// One check under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flight {
    id: Option<CheckId>,
    check: Option<Check>,
    range: u32,
    /// The open items that are read again, if it is no check of the whole range.
    items: Option<BTreeSet<Arc<Item>>>,
    g: Option<Mask>,
    h: Option<Mask>,
    blue: Option<Table>,
    green: Option<Table>,
    /// What green would show had nobody tampered with it, when it was read.
    pure: Table,
    early_after: u8,
    after: Option<u8>,
    /// An event of the range arrived since the check began.
    arrived: bool,
    /// Rows that were tampered with since green was read.
    tampered: [bool; 3],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    family: Family,
    left: Budget,
    log: Vec<Entry>,
    visible: Mask,
    executed: Mask,
    applied: Mask,
    said: Mask,
    blue: Table,
    green: Table,
    pure: Table,
    delivered: u8,
    ledger: Ledger,
    flights: Vec<Flight>,
    /// Rows of green that were tampered with since green was last read by a proof of them.
    tampered: [bool; 3],
    wrong: Option<&'static str>,
}

const START: Table = [Some(0), Some(5), None];

fn name() -> TableName {
    TableName {
        schema: "shop".into(),
        table: "stock".into(),
    }
}

fn place(number: u8) -> FilePosition {
    FilePosition {
        file: "b.000001".into(),
        offset: 100 * u64::from(number) + 4,
    }
}

/// The keys of a range.
fn keys(range: u32) -> std::ops::Range<usize> {
    if range == 0 { 0..2 } else { 2..3 }
}

fn key_of(item: &Item) -> usize {
    (0..3)
        .find(|key| *item == Item::Row(Key::from(*key as i128)))
        .unwrap_or_default()
}

fn bit(number: usize) -> Mask {
    1 << number
}

fn set(mask: Mask) -> Position {
    let mut text = String::new();
    for number in (0..8).filter(|n| mask & bit(*n) != 0) {
        text.push_str(&format!("{UUID}:{},", number + 1));
    }
    Position::GtidSet(GtidSet::parse(&text).unwrap_or_default())
}

fn list(mask: Mask) -> Position {
    let last = mask.trailing_ones();
    Position::GtidList(GtidList::parse(&format!("0-1-{last}")).unwrap_or_default())
}

fn rows(table: &Table, range: u32) -> Rows {
    keys(range)
        .filter_map(|key| {
            let mut digest = [0; 32];
            digest[key] = table[key]? + 1;
            Some((Key::from(key as i128), digest))
        })
        .collect()
}

impl World {
    pub fn start(family: Family, left: Budget, caps: Caps) -> Self {
        let executed = match family {
            Family::Sets => set(0),
            Family::Exact => list(0),
        };
        let mut ledger = Ledger::new(
            Start {
                executed,
                place: place(0),
            },
            caps,
        );
        ledger.watch(name(), true);
        let upper = ledger.split(&name(), RangeId(0), 1.into());
        assert_eq!(upper, Ok(RangeId(1)));
        Self {
            family,
            left,
            log: Vec::new(),
            visible: 0,
            executed: 0,
            applied: 0,
            said: 0,
            blue: START,
            green: START,
            pure: START,
            delivered: 0,
            ledger,
            flights: Vec::new(),
            tampered: [false; 3],
            wrong: None,
        }
    }

    /// What blue holds where exactly these transactions are executed.
    fn truth(&self, mask: Mask) -> Table {
        let mut table = START;
        for (number, entry) in self.log.iter().enumerate() {
            if mask & bit(number) != 0 {
                entry.apply(&mut table);
            }
        }
        table
    }

    fn is_quiet(&self) -> bool {
        let all = bit(self.log.len()) - 1;
        self.visible == all && self.said == all && usize::from(self.delivered) == self.log.len()
    }

    pub fn broken(&self) -> Option<&'static str> {
        if self.wrong.is_some() {
            return self.wrong;
        }
        if self.is_quiet() {
            for (id, _, state) in self.ledger.ranges(&name()) {
                let State::Proved { .. } = state else { continue };
                let Some(Open::Items(open)) = self.ledger.open(&name(), id) else {
                    continue;
                };
                for key in keys(id.0) {
                    let is_open = open.contains(&Item::Row(Key::from(key as i128)));
                    if !is_open && !self.tampered[key] && self.blue[key] != self.green[key] {
                        return Some("P4: a row differs at the fence that is proved and not open");
                    }
                }
            }
        }
        None
    }

    pub fn steps(&self, plant: Plant) -> Vec<(&'static str, Self)> {
        let mut out = Vec::new();
        self.blue_steps(&mut out);
        self.green_steps(&mut out);
        self.stream_steps(plant, &mut out);
        self.check_steps(plant, &mut out);
        out
    }

    fn step(&self, out: &mut Vec<(&'static str, Self)>, label: &'static str, change: impl FnOnce(&mut Self)) {
        let mut after = self.clone();
        change(&mut after);
        out.push((label, after));
    }

    fn blue_steps(&self, out: &mut Vec<(&'static str, Self)>) {
        if self.left.transactions > 0 {
            let now = self.truth(Mask::MAX);
            let update = |key: usize, value: u8| Entry {
                before: Some(key),
                after: Some((key, value)),
            };
            let mut may = Vec::new();
            match now[0] {
                Some(0) => may.push(("blue writes down: key 0 becomes 1", update(0, 1))),
                // And back: two states that look the same.
                Some(_) => may.push(("blue writes down: key 0 becomes 0", update(0, 0))),
                None => {}
            }
            if now[1] == Some(5) {
                may.push(("blue writes down: key 1 becomes 6", update(1, 6)));
            }
            if let (Some(value), None) = (now[0], now[2]) {
                may.push((
                    "blue writes down: key 0 moves to key 2",
                    Entry {
                        before: Some(0),
                        after: Some((2, value)),
                    },
                ));
            }
            for (label, entry) in may {
                // Row locks: what a transaction that is not visible yet has changed cannot be changed again.
                let is_free = self
                    .log
                    .iter()
                    .enumerate()
                    .all(|(n, e)| self.visible & bit(n) != 0 || !e.conflicts(&entry));
                if is_free {
                    self.step(out, label, |w| {
                        w.left.transactions -= 1;
                        w.log.push(entry);
                    });
                }
            }
        }
        for (number, entry) in self.log.iter().enumerate() {
            let in_order = self.visible.trailing_ones() as usize == number;
            if self.visible & bit(number) == 0 && (self.family == Family::Sets || in_order) {
                self.step(out, "blue shows a transaction", |w| {
                    w.visible |= bit(number);
                    entry.apply(&mut w.blue);
                });
            }
            if self.family == Family::Sets && self.visible & !self.executed & bit(number) != 0 {
                self.step(out, "blue counts it as executed", |w| w.executed |= bit(number));
            }
        }
    }

    fn green_steps(&self, out: &mut Vec<(&'static str, Self)>) {
        for (number, entry) in self.log.iter().enumerate() {
            let is_free = (0..number).all(|n| {
                self.applied & bit(n) != 0 || (self.family == Family::Sets && !self.log[n].conflicts(entry))
            });
            if self.applied & bit(number) == 0 && is_free {
                self.step(out, "green applies a transaction", |w| {
                    w.apply(number, *entry);
                    entry.apply(&mut w.green);
                });
                if self.left.lost > 0 {
                    self.step(out, "green loses an update", |w| {
                        w.left.lost -= 1;
                        w.apply(number, *entry);
                        for key in (0..3).filter(|key| entry.touches(*key)) {
                            w.tamper(key);
                        }
                    });
                }
            }
            if self.family == Family::Sets && self.applied & !self.said & bit(number) != 0 {
                self.step(out, "green counts it as executed", |w| w.said |= bit(number));
            }
        }
        if self.left.corruptions > 0 {
            for key in [0, 2] {
                self.step(out, "a row of green is corrupted", |w| {
                    w.left.corruptions -= 1;
                    // What a later write of blue makes of it: the sides may come to look the same.
                    w.green[key] = Some(1);
                    w.tamper(key);
                });
            }
        }
    }

    fn apply(&mut self, number: usize, entry: Entry) {
        self.applied |= bit(number);
        if self.family == Family::Exact {
            self.said |= bit(number);
        }
        entry.apply(&mut self.pure);
    }

    fn tamper(&mut self, key: usize) {
        self.tampered[key] = true;
        for flight in &mut self.flights {
            flight.tampered[key] |= flight.green.is_some();
        }
    }

    fn stream_steps(&self, plant: Plant, out: &mut Vec<(&'static str, Self)>) {
        let number = usize::from(self.delivered);
        let Some(entry) = self.log.get(number).copied() else {
            return;
        };
        self.step(out, "the stream brings a transaction", |w| {
            let key = |key: usize| Key::from(key as i128);
            let before = entry.before.filter(|_| plant != Plant::AfterImageOnly);
            let change = Change::Row {
                table: name(),
                before: before.map(key),
                after: entry.after.map(|(k, _)| key(k)),
            };
            w.bring(&[change]);
            for flight in &mut w.flights {
                flight.arrived |= flight.g.is_some() && keys(flight.range).any(|k| entry.touches(k));
            }
        });
        if self.left.gaps > 0 {
            self.step(out, "the stream has a gap", |w| {
                w.left.gaps -= 1;
                if plant == Plant::GapNotTold {
                    w.bring(&[]);
                    return;
                }
                w.delivered += 1;
                let executed = bit(w.delivered.into()) - 1;
                w.ledger.restart(Start {
                    executed: match w.family {
                        Family::Sets => set(executed),
                        Family::Exact => list(executed),
                    },
                    place: place(w.delivered),
                });
            });
        }
    }

    fn bring(&mut self, changes: &[Change]) {
        self.delivered += 1;
        let transaction = Transaction {
            origin: match self.family {
                Family::Sets => Origin::Server {
                    uuid: UUID.into(),
                    tag: None,
                },
                Family::Exact => Origin::Domain(0),
            },
            number: self.delivered.into(),
            end: place(self.delivered),
        };
        if self.ledger.transaction(transaction, changes).is_err() {
            self.wrong = Some("the stream was taken for broken");
        }
    }

    fn check_steps(&self, plant: Plant, out: &mut Vec<(&'static str, Self)>) {
        if self.left.checks > 0 && self.flights.len() < usize::from(self.left.at_once) {
            for range in 0..self.left.ranges {
                self.step(out, "a check begins", |w| w.open_check(range, None));
                if let Some(Open::Items(items)) = self.ledger.open(&name(), RangeId(range))
                    && !items.is_empty()
                {
                    let items = items.clone();
                    self.step(out, "a check of open rows begins", |w| {
                        w.open_check(range, Some(items))
                    });
                }
            }
        }
        for (at, flight) in self.flights.iter().enumerate() {
            match self.family {
                Family::Sets => self.set_steps(plant, at, flight, out),
                Family::Exact => self.snapshot_steps(plant, at, flight, out),
            }
            let are_read = flight.blue.is_some() && flight.green.is_some() && flight.check.is_some();
            match flight.after {
                None if are_read => {
                    self.step(out, "blue's place after the readings is read", |w| {
                        let after = if plant == Plant::AfterReadFirst {
                            w.flights[at].early_after
                        } else {
                            w.log.len() as u8
                        };
                        w.place_after(at, after);
                    });
                }
                Some(after) if self.delivered >= after || plant == Plant::StreamNotWaitedFor => {
                    self.step(out, "the verdict", |w| w.judge(at, plant, false));
                    if flight.items.is_none() {
                        self.step(out, "the verdict, row by row", |w| w.judge(at, plant, true));
                    }
                }
                _ => {}
            }
        }
    }

    fn open_check(&mut self, range: u32, items: Option<BTreeSet<Arc<Item>>>) {
        self.left.checks -= 1;
        self.flights.push(Flight {
            id: None,
            check: None,
            range,
            items,
            g: None,
            h: None,
            blue: None,
            green: None,
            pure: START,
            early_after: self.log.len() as u8,
            after: None,
            arrived: false,
            tampered: [false; 3],
        });
    }

    fn set_steps(&self, plant: Plant, at: usize, flight: &Flight, out: &mut Vec<(&'static str, Self)>) {
        let late = plant == Plant::PositionsReadLast;
        let are_read = flight.blue.is_some() && flight.green.is_some();
        if !late || are_read {
            if flight.h.is_none() {
                self.step(out, "green's set is read", |w| w.flights[at].h = Some(w.said));
            } else if flight.g.is_none() {
                self.step(out, "blue's set is read", |w| {
                    w.flights[at].g = Some(w.executed);
                    w.flights[at].early_after = w.log.len() as u8;
                    // Where there is another check it may begin in between; alone, nothing depends on it.
                    if w.left.at_once == 1 {
                        w.begin(at, plant);
                    }
                });
            } else if flight.check.is_none() {
                // Between reading the positions and beginning the check anything may happen, another check above all.
                self.step(out, "the check is registered", |w| w.begin(at, plant));
            }
        }
        if flight.check.is_some() || late {
            if flight.blue.is_none() {
                self.step(out, "blue is read", |w| w.read_blue(at));
            }
            if flight.green.is_none() {
                self.step(out, "green is read", |w| w.read_green(at));
            }
        }
    }

    fn snapshot_steps(&self, plant: Plant, at: usize, flight: &Flight, out: &mut Vec<(&'static str, Self)>) {
        if flight.blue.is_none() {
            self.step(out, "blue's snapshot begins", |w| {
                w.flights[at].g = Some(w.visible);
                w.read_blue(at);
            });
        }
        if flight.green.is_none() {
            self.step(out, "green's snapshot begins", |w| {
                w.flights[at].h = Some(w.said);
                w.read_green(at);
            });
        }
        if flight.blue.is_some() && flight.green.is_some() && flight.check.is_none() {
            self.step(out, "the check is registered", |w| w.begin(at, plant));
        }
    }

    fn begin(&mut self, at: usize, plant: Plant) {
        let flight = &mut self.flights[at];
        let (g, h) = (flight.g.unwrap_or_default(), flight.h.unwrap_or_default());
        let h_told = match plant {
            Plant::OnlyBlue => g,
            Plant::LastNumberOnly => bit(8 - h.leading_zeros() as usize).wrapping_sub(1),
            _ => h,
        };
        let positions = match self.family {
            Family::Sets => Positions {
                blue: Shown::AtLeast(set(g)),
                green: Shown::AtLeast(set(h_told)),
            },
            Family::Exact => Positions {
                blue: Shown::Exactly(Position::File(place(g.trailing_ones() as u8))),
                green: Shown::Exactly(list(h_told)),
            },
        };
        let Ok(mut check) = Check::begin(positions) else {
            self.wrong = Some("the positions were refused");
            return;
        };
        let range = flight.items.is_none().then_some(RangeId(flight.range));
        if let Ok(id) = self.ledger.begin(&name(), range, &mut check, Duration::ZERO) {
            flight.id = Some(id);
        }
        for (side, table) in [(Side::Blue, flight.blue), (Side::Green, flight.green)] {
            if let Some(table) = table {
                let _ = check.read(side, Reading::of(&rows(&table, flight.range)));
            }
        }
        flight.check = Some(check);
    }

    fn read_blue(&mut self, at: usize) {
        let table = self.blue;
        let flight = &mut self.flights[at];
        flight.blue = Some(table);
        if let Some(check) = &mut flight.check {
            let _ = check.read(Side::Blue, Reading::of(&rows(&table, flight.range)));
        }
    }

    fn read_green(&mut self, at: usize) {
        let (table, pure) = (self.green, self.pure);
        let flight = &mut self.flights[at];
        flight.green = Some(table);
        flight.pure = pure;
        if let Some(check) = &mut flight.check {
            let _ = check.read(Side::Green, Reading::of(&rows(&table, flight.range)));
        }
    }

    fn place_after(&mut self, at: usize, after: u8) {
        let flight = &mut self.flights[at];
        flight.after = Some(after);
        if let Some(check) = &mut flight.check
            && check.after(place(after)).is_err()
        {
            self.wrong = Some("the place after the readings was refused");
        }
    }

    fn judge(&mut self, at: usize, plant: Plant, by_rows: bool) {
        let flight = self.flights.remove(at);
        let (Some(check), Some(blue), Some(green)) = (&flight.check, flight.blue, flight.green) else {
            return;
        };
        let Some(id) = flight.id else { return };
        let kept = self.ledger.clone();
        let is_early = self.delivered < flight.after.unwrap_or_default();
        if is_early {
            let _ = self.ledger.advance(place(flight.after.unwrap_or_default()));
        }
        if let Some(items) = &flight.items {
            self.judge_items(&flight, items, id, blue, green);
        } else {
            let verdict = if by_rows {
                let (blue, green) = (rows(&blue, flight.range), rows(&green, flight.range));
                let found = self.ledger.finish_rows(id, check, &blue, &green);
                found.map(|(verdict, _)| verdict)
            } else {
                self.ledger.finish(id, check)
            };
            self.hold_against_truth(&flight, planted(plant, verdict, &flight, check), by_rows);
        }
        if is_early {
            self.ledger = kept;
            self.ledger.give_up(id);
        }
    }

    fn judge_items(
        &mut self,
        flight: &Flight,
        items: &BTreeSet<Arc<Item>>,
        id: CheckId,
        blue: Table,
        green: Table,
    ) {
        let Some(check) = &flight.check else { return };
        let read: Vec<_> = items
            .iter()
            .map(|item| ItemRead {
                item: (**item).clone(),
                is_equal: blue[key_of(item)] == green[key_of(item)],
            })
            .collect();
        let Some(found) = self.ledger.finish_items(id, check, &read) else {
            self.wrong = Some("no verdict though the stream is far enough");
            return;
        };
        for item in &found.diverged {
            if green[key_of(item)] == flight.pure[key_of(item)] {
                self.wrong = Some("P2: diverged, but green is as it should be");
            }
        }
        if let Some(Open::Items(open)) = self.ledger.open(&name(), RangeId(flight.range)) {
            for item in items.iter().filter(|item| !open.contains(*item)) {
                self.tampered[key_of(item)] = flight.tampered[key_of(item)];
            }
        }
    }

    fn hold_against_truth(&mut self, flight: &Flight, verdict: Option<Verdict>, by_rows: bool) {
        let (Some(blue), Some(green)) = (flight.blue, flight.green) else {
            return;
        };
        let known = flight.g.unwrap_or_default() & flight.h.unwrap_or_default();
        let truth = self.truth(known);
        let is_corrupt = |key: usize| green[key] != flight.pure[key];
        let after = usize::from(flight.after.unwrap_or_default());
        let untouched = (0..after).all(|number| {
            known & bit(number) != 0 || !keys(flight.range).any(|key| self.log[number].touches(key))
        });
        match verdict {
            None => self.wrong = Some("no verdict though the stream is far enough"),
            Some(Verdict::Proved { .. }) => {
                let open = self.ledger.open(&name(), RangeId(flight.range)).cloned();
                for key in keys(flight.range) {
                    let is_open = by_rows
                        && match &open {
                            Some(Open::Items(open)) => open.contains(&Item::Row(Key::from(key as i128))),
                            Some(Open::Whole) | None => true,
                        };
                    if is_open {
                        continue;
                    }
                    if truth[key] != blue[key] || truth[key] != green[key] {
                        self.wrong = Some("P1: proved, but not true at the position it names");
                    }
                    self.tampered[key] = flight.tampered[key];
                }
            }
            Some(Verdict::Diverged { .. }) => {
                if !keys(flight.range).any(is_corrupt) {
                    self.wrong = Some("P2: diverged, but green is as it should be");
                }
            }
            Some(Verdict::Inconclusive(Doubt::Touched { .. })) => {
                if untouched {
                    self.wrong = Some("P3: no verdict on a range that nothing touched");
                }
            }
            Some(Verdict::Inconclusive(Doubt::Void(_))) => {}
        }
    }
}

/// What a careless check would say instead.
fn planted(plant: Plant, verdict: Option<Verdict>, flight: &Flight, check: &Check) -> Option<Verdict> {
    let proved = || Verdict::Proved {
        from: check.before().clone(),
    };
    match (plant, &verdict) {
        (
            Plant::EqualIsProof,
            Some(Verdict::Inconclusive(Doubt::Touched {
                looked_equal: true, ..
            })),
        ) => Some(proved()),
        (Plant::ClearOnArrival, _) if !flight.arrived => {
            let (blue, green) = check.readings()?;
            Some(if blue == green {
                proved()
            } else {
                Verdict::Diverged {
                    blue: blue.clone(),
                    green: green.clone(),
                }
            })
        }
        _ => verdict,
    }
}
