//! Events of real servers, spoilt: whatever comes, it is read or refused, and takes no more room than was meant.
//!
//! `PROPTEST_CASES=1000000 cargo test --lib spoilt` goes on for longer. `cargo test --test binlog_reader record -- --ignored`
//! records the events anew.

use std::sync::Arc;

use mysql_async::binlog::BinlogVersion;
use mysql_async::binlog::events::{self, FormatDescriptionEvent, TransactionPayloadEvent};
use proptest::prelude::*;

use super::assembly::{Assembly, Case};
use super::changes::Caps;
use super::event::{Event, kind};
use super::shape::{self, Shape, Shapes};
use crate::domain::position::FilePosition;
use crate::domain::proof::ledger::Change;
use crate::domain::proof::stream::Brought;

const MYSQL: &[u8] = include_bytes!("recorded/mysql-9.7.binlog");
const MARIADB: &[u8] = include_bytes!("recorded/mariadb-11.8.binlog");
const OLD_MYSQL: &[u8] = include_bytes!("recorded/mysql-5.6.binlog");

#[derive(Debug, Clone)]
struct Recorded {
    kind: u8,
    flags: u16,
    log_pos: u32,
    size: u32,
    body: Vec<u8>,
}

/// The events of a file, those of compressed transactions behind them as the driver brings them.
fn recorded(file: &[u8]) -> Vec<Recorded> {
    let mut all = Vec::new();
    // Behind the four bytes that every file begins with.
    split(&file[4..], &mut all);
    all
}

fn split(mut rest: &[u8], all: &mut Vec<Recorded>) {
    let mut head = FormatDescriptionEvent::new(BinlogVersion::Version4);
    while !rest.is_empty() {
        let event = events::Event::read(&head, &mut rest).unwrap();
        let header = event.header();
        all.push(Recorded {
            kind: header.event_type_raw(),
            flags: header.flags_raw(),
            log_pos: header.log_pos(),
            size: header.event_size(),
            body: event.data().to_vec(),
        });
        match header.event_type_raw() {
            kind::FORMAT_DESCRIPTION => {
                let own = event.read_event::<FormatDescriptionEvent<'_>>().unwrap();
                head = own.into_owned().with_footer(event.footer());
            }
            kind::TRANSACTION_PAYLOAD => {
                let payload = event.read_event::<TransactionPayloadEvent<'_>>().unwrap();
                split(&payload.danger_decompress(), all);
            }
            _ => {}
        }
    }
}

fn shapes() -> Shapes {
    let shapes = Shapes::default();
    let of = |table, refers| Shape::of_test(table, refers);
    shape::put(&shapes, vec![of("a", Some("child")), of("child", None)]);
    shapes
}

const CAPS: Caps = Caps {
    changes_per_table: 50,
    bytes_per_table: 20_000,
    bytes_in_all: 30_000,
    tables: 20,
};

/// What comes out of events, and the error behind it, if it ends with one.
fn read(events: &[Recorded], shapes: &Shapes) -> (Vec<Brought>, Option<String>) {
    let start = FilePosition {
        file: "binlog.000001".into(),
        offset: 4,
    };
    let mut assembly = Assembly::new(start.clone(), start, Case::Kept, Arc::clone(shapes), CAPS);
    let mut all = Vec::new();
    for one in events {
        let event = Event {
            kind: one.kind,
            flags: one.flags,
            log_pos: one.log_pos,
            size: one.size,
            body: &one.body,
            tagged: None,
        };
        let result = assembly.event(&event);
        let brought = assembly.take();
        assert!(brought.len() <= 2, "{brought:?}");
        all.extend(brought);
        if let Err(why) = result {
            return (all, Some(why));
        }
    }
    (all, None)
}

fn changes(brought: &[Brought]) -> impl Iterator<Item = &Vec<Change>> {
    brought.iter().filter_map(|one| match one {
        Brought::Transaction(_, changes) => Some(changes),
        _ => None,
    })
}

#[test]
fn what_is_not_spoilt_is_read() {
    for (file, cascades) in [(MYSQL, false), (MARIADB, true), (OLD_MYSQL, true)] {
        let (brought, broke) = read(&recorded(file), &shapes());
        assert_eq!(broke, None);
        let rows = |table: &str| {
            let all = changes(&brought).flatten();
            all.filter(|one| matches!(one, Change::Row { table: own, .. } if own.table == table))
                .count()
        };
        assert!(rows("a") > 10, "{brought:?}");
        let cascade = |one: &Change| matches!(one, Change::Cascade { child, .. } if child.table == "child");
        assert_eq!(changes(&brought).flatten().any(cascade), cascades, "{brought:?}");
        assert!(
            changes(&brought)
                .flatten()
                .any(|one| matches!(one, Change::Table(_)))
        );
    }
}

#[derive(Debug, Clone)]
enum Harm {
    Byte(u16, u8),
    Cut(u16),
    Longer(Vec<u8>),
    Kind(u8),
    Size(u32),
    LogPos(u32),
    Flags(u16),
    Gone,
    Twice,
    Early,
}

fn harm() -> impl Strategy<Value = Harm> {
    let known = prop::sample::select(vec![
        2_u8, 4, 15, 16, 18, 19, 23, 24, 25, 26, 27, 30, 31, 32, 33, 34, 38, 39, 40, 42, 160, 162, 165, 166,
        167, 168,
    ]);
    prop_oneof![
        6 => (any::<u16>(), any::<u8>()).prop_map(|(at, byte)| Harm::Byte(at, byte)),
        2 => any::<u16>().prop_map(Harm::Cut),
        1 => prop::collection::vec(any::<u8>(), 1..20).prop_map(Harm::Longer),
        1 => known.prop_map(Harm::Kind),
        1 => any::<u8>().prop_map(Harm::Kind),
        1 => any::<u32>().prop_map(Harm::Size),
        1 => any::<u32>().prop_map(Harm::LogPos),
        1 => any::<u16>().prop_map(Harm::Flags),
        1 => Just(Harm::Gone),
        1 => Just(Harm::Twice),
        1 => Just(Harm::Early),
    ]
}

fn spoil(events: &mut Vec<Recorded>, at: usize, harm: &Harm) {
    let at = at % events.len();
    let event = &mut events[at];
    let place = |to: u16, length: usize| usize::from(to) % length.max(1);
    match harm {
        Harm::Byte(to, byte) => {
            let to = place(*to, event.body.len());
            if let Some(own) = event.body.get_mut(to) {
                *own = *byte;
            }
        }
        Harm::Cut(to) => event.body.truncate(place(*to, event.body.len())),
        Harm::Longer(more) => event.body.extend(more),
        Harm::Kind(kind) => event.kind = *kind,
        Harm::Size(size) => event.size = *size,
        Harm::LogPos(log_pos) => event.log_pos = *log_pos,
        Harm::Flags(flags) => event.flags = *flags,
        Harm::Gone => drop(events.remove(at)),
        Harm::Twice => {
            let again = event.clone();
            events.insert(at, again);
        }
        Harm::Early => events.swap(at, at.saturating_sub(1)),
    }
}

proptest! {
    #[test]
    fn spoilt_events_are_read_or_refused(
        which in 0_usize..3, harms in prop::collection::vec((any::<usize>(), harm()), 1..6)
    ) {
        let mut events = recorded([MYSQL, MARIADB, OLD_MYSQL][which]);
        for (at, harm) in &harms {
            if !events.is_empty() {
                spoil(&mut events, *at, harm);
            }
        }
        let (brought, _) = read(&events, &shapes());
        for of_one in changes(&brought) {
            prop_assert!(of_one.len() <= CAPS.changes_per_table * CAPS.tables);
        }
    }
}
