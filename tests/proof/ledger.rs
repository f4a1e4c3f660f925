//! The ledger's caps, and what makes a proof end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bleen::domain::ids::Side;
use bleen::domain::position::{FilePosition, GtidList, Position};
use bleen::domain::proof::bracket::{Check, Reading, Verdict, Void};
use bleen::domain::proof::drill::{Drilled, Rows};
use bleen::domain::proof::kept::KeptTable;
use bleen::domain::proof::key::{Key, KeyPart};
use bleen::domain::proof::ledger::{Change, CheckId, ENOUGH_CHECKS, ItemRead, Ledger, NotBegun, NotProvable};
use bleen::domain::proof::ranges::{Bounds, RangeId};
use bleen::domain::proof::summary::{Rates, Summary};
use bleen::domain::proof::touches::{Caps, Item, Open};
use bleen::domain::proof::transaction::{NotABound, Origin, Positions, Shown, Start, TableName, Transaction};
use proptest::prelude::*;

fn name(table: &str) -> TableName {
    TableName {
        schema: "shop".into(),
        table: table.into(),
    }
}

fn place(number: u64) -> FilePosition {
    FilePosition {
        file: "b.000001".into(),
        offset: number,
    }
}

fn list(number: u64) -> Position {
    Position::GtidList(GtidList::parse(&format!("0-1-{number}")).unwrap_or_default())
}

fn ledger(caps: Caps) -> Ledger {
    let start = Start {
        executed: list(0),
        place: place(0),
    };
    let mut ledger = Ledger::new(start, caps);
    ledger.watch(name("a"), true);
    ledger.watch(name("b"), true);
    ledger
}

fn bring(ledger: &mut Ledger, number: u64, changes: &[Change]) {
    let transaction = Transaction {
        origin: Origin::Domain(0),
        number,
        end: place(number),
    };
    assert_eq!(ledger.transaction(transaction, changes), Ok(()));
}

fn row(table: &str, key: i128) -> Change {
    Change::Row {
        table: name(table),
        before: Some(Key::from(key)),
        after: Some(Key::from(key)),
    }
}

fn check(at: u64) -> Check {
    let positions = Positions {
        blue: Shown::Exactly(Position::File(place(at))),
        green: Shown::Exactly(list(at)),
    };
    match Check::begin(positions) {
        Ok(check) => check,
        Err(why) => unreachable!("{why}"),
    }
}

/// Reads both sides as equal, with blue at `at`.
fn read(check: &mut Check, at: u64) {
    let reading = Reading {
        rows: 10,
        digested: 10,
        digest: [1; 32],
    };
    assert_eq!(check.read(Side::Blue, reading.clone()), Ok(()));
    assert!(check.after(place(at)).is_err(), "green is not read yet");
    assert_eq!(check.read(Side::Green, reading), Ok(()));
    assert_eq!(check.after(place(at)), Ok(()));
}

fn prove(ledger: &mut Ledger, table: &str, range: u32, at: u64) -> Option<Verdict> {
    let mut check = check(at);
    let id = ledger
        .begin(&name(table), Some(RangeId(range)), &mut check, Duration::ZERO)
        .ok()?;
    read(&mut check, at);
    ledger.finish(id, &check)
}

const fn is_proved(verdict: &Option<Verdict>) -> bool {
    matches!(verdict, Some(Verdict::Proved { .. }))
}

fn summary(ledger: &Ledger) -> Summary {
    Summary::of(ledger, Duration::from_secs(9))
}

#[test]
fn a_definition_a_schema_and_a_gap_end_proofs() {
    for (change, unproven) in [
        (Change::Table(name("a")), 1),
        (Change::Schema("shop".into()), 2),
        (Change::Schema("other".into()), 0),
        (Change::Everything, 2),
    ] {
        let mut ledger = ledger(Caps::default());
        for table in ["a", "b"] {
            assert!(matches!(
                prove(&mut ledger, table, 0, 0),
                Some(Verdict::Proved { .. })
            ));
        }
        bring(&mut ledger, 1, std::slice::from_ref(&change));
        assert_eq!(summary(&ledger).unproven, unproven, "{change:?}");
        if unproven > 0 {
            // A reading that may be older than the change proves nothing, one after it does.
            let mut old = check(0);
            let id = ledger.begin(&name("a"), Some(RangeId(0)), &mut old, Duration::ZERO);
            read(&mut old, 1);
            let verdict = id.ok().and_then(|id| ledger.finish(id, &old));
            assert!(matches!(verdict, Some(Verdict::Inconclusive(_))), "{verdict:?}");
            assert!(matches!(
                prove(&mut ledger, "a", 0, 1),
                Some(Verdict::Proved { .. })
            ));
        }
    }
    let mut ledger = ledger(Caps::default());
    assert!(prove(&mut ledger, "a", 0, 0).is_some());
    bring(&mut ledger, 5, &[]);
    let again = Transaction {
        origin: Origin::Domain(0),
        number: 6,
        end: place(5),
    };
    assert!(ledger.transaction(again, &[]).is_err(), "its place does not grow");
    assert_eq!(summary(&ledger).unproven, 2);
    let verdict = prove(&mut ledger, "a", 0, 5);
    assert!(
        matches!(verdict, Some(Verdict::Inconclusive(_))),
        "not before it begins anew: {verdict:?}"
    );
    let start = Start {
        executed: list(7),
        place: place(7),
    };
    ledger.restart(start);
    let verdict = prove(&mut ledger, "a", 0, 6);
    assert!(
        matches!(verdict, Some(Verdict::Inconclusive(_))),
        "the stream began later: {verdict:?}"
    );
    assert!(matches!(
        prove(&mut ledger, "a", 0, 7),
        Some(Verdict::Proved { .. })
    ));
}

#[test]
fn cascades_and_texts_are_open_until_they_are_read() {
    let mut ledger = ledger(Caps::default());
    assert!(prove(&mut ledger, "a", 0, 0).is_some());
    let columns = vec!["parent".into()];
    let cascade = Change::Cascade {
        child: name("a"),
        columns: columns.clone(),
        values: vec![7.into()],
    };
    bring(&mut ledger, 1, &[cascade]);
    let item = Item::Where {
        columns,
        values: vec![7.into()],
    };
    let open = Open::Items(BTreeSet::from([Arc::new(item.clone())]));
    assert_eq!(ledger.open_anywhere(&name("a")), Some(&open));
    for (at, is_equal, diverged, rows) in [(0, true, 0, 1), (1, false, 1, 1), (1, true, 0, 0)] {
        let mut check = check(at);
        let id = ledger.begin(&name("a"), None, &mut check, Duration::ZERO);
        read(&mut check, 1);
        let item = item.clone();
        let found = id
            .ok()
            .and_then(|id| ledger.finish_items(id, &check, &[ItemRead { item, is_equal }]));
        assert_eq!(found.map(|found| found.diverged.len()), Some(diverged));
        let sum = summary(&ledger);
        assert_eq!((sum.diverged_items, sum.open_rows), (diverged, rows), "{at}");
    }
}

#[test]
fn positions_that_bound_nothing_are_refused() {
    for blue in [list(1), Position::File(place(1))] {
        let positions = Positions {
            blue: Shown::AtLeast(blue),
            green: Shown::AtLeast(list(1)),
        };
        assert!(matches!(
            Check::begin(positions),
            Err(NotABound { side: Side::Blue, .. })
        ));
    }
    let mut ledger = ledger(Caps::default());
    ledger.not_provable(name("b"), NotProvable::Engine("MyISAM".into()));
    let begun = ledger.begin(&name("b"), None, &mut check(0), Duration::ZERO);
    assert_eq!(begun, Err(NotBegun::NotProvable(name("b"))));
    assert_eq!(summary(&ledger).not_provable.len(), 1);
    // A check whose positions were read before those of one that has begun may miss what was forgotten since.
    bring(&mut ledger, 3, &[row("a", 1)]);
    assert!(prove(&mut ledger, "a", 0, 3).is_some());
    let verdict = prove(&mut ledger, "a", 0, 2);
    assert!(matches!(verdict, Some(Verdict::Inconclusive(_))), "{verdict:?}");
}

#[test]
fn the_estimate_wants_every_rate_that_it_needs() {
    let mut ledger = ledger(Caps {
        in_a_range: 2,
        ..Caps::default()
    });
    let rates = Rates {
        by_key: Some(1000),
        scanned: None,
        drain: Duration::from_millis(3),
    };
    assert_eq!(summary(&ledger).fence_time(rates), None, "nothing is proved");
    assert!(prove(&mut ledger, "a", 0, 0).is_some());
    assert!(prove(&mut ledger, "b", 0, 0).is_some());
    assert_eq!(summary(&ledger).fence_time(rates), Some(rates.drain));
    bring(&mut ledger, 1, &[row("a", 1), row("b", 1), row("b", 2)]);
    assert_eq!(summary(&ledger).fence_time(rates), Some(Duration::from_millis(6)));
    bring(&mut ledger, 2, &[row("b", 3)]);
    let sum = summary(&ledger);
    assert_eq!((sum.open_rows, sum.whole_rows), (1, 10), "too many in one range");
    assert_eq!(sum.fence_time(rates), None, "no rate for whole ranges");
    let rates = Rates {
        scanned: Some(100),
        ..rates
    };
    assert_eq!(sum.fence_time(rates), Some(Duration::from_millis(104)));
    assert_eq!(sum.oldest, Some(Duration::from_secs(9)));
}

/// A check of table `k`, which has no key, whose blue shows one transaction more than its green.
fn touched_meanwhile(ledger: &mut Ledger, at: u64) -> Option<Verdict> {
    let mut check = check_in_doubt(at);
    let id = ledger.begin(&name("k"), Some(RangeId(0)), &mut check, Duration::ZERO);
    read(&mut check, at);
    ledger.finish(id.ok()?, &check)
}

#[test]
fn a_table_without_a_key_is_open_as_a_whole_and_read_whole_at_the_fence() {
    let mut ledger = ledger(Caps::default());
    for table in ["a", "b"] {
        assert!(is_proved(&prove(&mut ledger, table, 0, 0)));
    }
    ledger.watch(name("k"), false);
    let touch = Change::Row {
        table: name("k"),
        before: None,
        after: None,
    };
    let rates = Rates {
        by_key: None,
        scanned: Some(100),
        drain: Duration::ZERO,
    };
    let left = |ledger: &Ledger| ledger.left_at_the_fence(|_| false);
    assert!(left(&ledger).is_err(), "nobody knows how many rows it has");

    // Touched in every check: nothing is proved, but its rows are counted, and the fence can read it.
    bring(&mut ledger, 1, std::slice::from_ref(&touch));
    let verdict = touched_meanwhile(&mut ledger, 1);
    assert!(matches!(verdict, Some(Verdict::Inconclusive(_))), "{verdict:?}");
    let sum = summary(&ledger);
    assert_eq!(
        (sum.unproven, &sum.unsettled[..], sum.whole_rows),
        (0, &[name("k")][..], 10)
    );
    assert_eq!(sum.fence_time(rates), Some(Duration::from_millis(100)));
    assert_eq!(left(&ledger).unwrap()[0].ranges, [Bounds::default()]);
    assert!(!ledger.was_everywhere());
    for _ in 1..ENOUGH_CHECKS {
        assert!(touched_meanwhile(&mut ledger, 1).is_some());
    }
    assert!(ledger.was_everywhere(), "another check would say no more");

    // Proved, and with the next row that changes open again, all of it.
    assert!(is_proved(&prove(&mut ledger, "k", 0, 1)));
    let sum = summary(&ledger);
    assert_eq!((sum.proved, sum.unsettled.len(), sum.whole_rows), (3, 0, 0));
    assert_eq!(left(&ledger), Ok(Vec::new()));
    bring(&mut ledger, 2, std::slice::from_ref(&touch));
    assert_eq!(ledger.open(&name("k"), RangeId(0)), Some(&Open::Whole));
    assert_eq!(left(&ledger).unwrap()[0].ranges, [Bounds::default()]);
    assert_eq!(summary(&ledger).whole_rows, 10);
    assert!(ledger.was_everywhere());

    // A foreign key that may have changed it says as little of which rows.
    assert!(is_proved(&prove(&mut ledger, "k", 0, 2)));
    let cascade = Change::Cascade {
        child: name("k"),
        columns: vec!["parent".into()],
        values: vec![7.into()],
    };
    bring(&mut ledger, 3, &[cascade]);
    assert_eq!(ledger.open(&name("k"), RangeId(0)), Some(&Open::Whole));

    // What differs is the table, and with a new definition nothing is known of it.
    let mut check = check(3);
    let id = ledger.begin(&name("k"), Some(RangeId(0)), &mut check, Duration::ZERO);
    let reading = |rows: u64| Reading {
        rows,
        digested: rows,
        digest: [1; 32],
    };
    assert_eq!(check.read(Side::Blue, reading(3)), Ok(()));
    assert_eq!(check.read(Side::Green, reading(4)), Ok(()));
    assert_eq!(check.after(place(3)), Ok(()));
    let verdict = ledger.finish(id.unwrap(), &check);
    assert!(matches!(verdict, Some(Verdict::Diverged { .. })), "{verdict:?}");
    assert_eq!(summary(&ledger).differing[&name("k")].without_key, Some((3, 4)));
    assert!(ledger.differs_as_a_whole(&name("k")) && ledger.was_everywhere());
    assert!(left(&ledger).is_err());
    ledger.watch(name("k"), false);
    assert!(left(&ledger).is_err() && !ledger.was_everywhere());
}

#[test]
fn rows_that_differ_have_a_cap_in_common() {
    let mut ledger = ledger(Caps {
        differing: 4,
        ..Caps::default()
    });
    assert_eq!(ledger.split(&name("a"), RangeId(0), 5.into()), Ok(RangeId(1)));
    for (table, range) in [("a", 0), ("a", 1), ("b", 0)] {
        let first = i128::from(range) * 5;
        let blue: Rows = (first..first + 3).map(|key| (Key::from(key), [1; 32])).collect();
        let green = Rows::new();
        let mut check = check(0);
        let id = ledger
            .begin(&name(table), Some(RangeId(range)), &mut check, Duration::ZERO)
            .unwrap();
        assert_eq!(check.read(Side::Blue, Reading::of(&blue)), Ok(()));
        assert_eq!(check.read(Side::Green, Reading::of(&green)), Ok(()));
        assert_eq!(check.after(place(0)), Ok(()));
        assert!(ledger.finish_rows(id, &check, &blue, &green).is_some());
    }
    // Three, one more, and one of each range that differs, however many there are.
    assert_eq!(ledger.differing_rows(), 5);
    assert_eq!(summary(&ledger).diverged, 3);
    assert!(ledger.was_everywhere());
    let tables: Vec<String> = summary(&ledger)
        .differing
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(tables, ["shop.a", "shop.b"]);
}

/// A ledger of a process that begins where another one stopped.
fn after_a_restart(kept: &[KeptTable], at: u64, present: u64) -> Ledger {
    let mut ledger = Ledger::new(
        Start {
            executed: list(present),
            place: place(at),
        },
        Caps::default(),
    );
    for table in ["a", "b"] {
        ledger.watch(name(table), true);
    }
    let from = check(at).before().clone();
    for table in kept {
        assert!(ledger.restore(table, Duration::from_secs(100), &from).is_some());
        let again = ledger.restore(table, Duration::from_secs(100), &from);
        assert_eq!(again, None, "something is known of it already");
    }
    ledger.catch_up(place(present), false);
    ledger
}

#[test]
fn what_was_proved_outlives_its_process_with_what_was_touched_since() {
    let mut old = ledger(Caps {
        in_a_range: 2,
        ..Caps::default()
    });
    assert_eq!(old.split(&name("a"), RangeId(0), 5.into()), Ok(RangeId(1)));
    assert_eq!(old.split(&name("a"), RangeId(1), 9.into()), Ok(RangeId(2)));
    for range in 0..3 {
        assert!(is_proved(&prove(&mut old, "a", range, 0)));
    }
    assert!(is_proved(&prove(&mut old, "b", 0, 0)));
    // One row of the first range, too many of the second one, and a row of `b` by a foreign key.
    bring(&mut old, 1, &[row("a", 1), row("a", 6), row("a", 7), row("a", 8)]);
    let cascade = |value: i128| Change::Cascade {
        child: name("b"),
        columns: vec!["parent".into()],
        values: vec![value.into()],
    };
    bring(&mut old, 2, &[cascade(7)]);
    let kept = old.keep(Duration::from_secs(9), |_| true).unwrap();
    let text = serde_json::to_string(&kept).unwrap();
    let read: Vec<KeptTable> = serde_json::from_str(&text).unwrap();
    assert_eq!(read, kept);
    assert_eq!(
        old.keep(Duration::ZERO, |table| table.table == "b")
            .unwrap()
            .len(),
        1
    );

    let mut new = after_a_restart(&kept, 2, 3);
    assert!(new.is_catching_up() && !new.was_everywhere());
    assert_eq!(summary(&new).unproven, 4, "what came since is not known");
    assert_eq!(new.keep(Duration::ZERO, |_| true), None);
    assert!(new.left_at_the_fence(|_| false).is_err());
    bring(&mut new, 3, &[row("a", 2), cascade(8)]);
    let sum = Summary::of(&new, Duration::from_secs(100));
    assert_eq!(
        (sum.unproven, sum.proved, sum.open),
        (1, 2, 1),
        "the second range is not proved"
    );
    assert_eq!((sum.open_rows, sum.oldest), (4, Some(Duration::from_secs(9))));
    for key in [1, 2] {
        let open = new.open(&name("a"), RangeId(0));
        assert!(matches!(open, Some(Open::Items(items)) if items.contains(&Item::Row(Key::from(key)))));
    }
    assert_eq!(new.ranges(&name("a")).nth(2).unwrap().1.above, Some(9.into()));
    assert!(new.left_at_the_fence(|_| false).is_err());
    assert!(is_proved(&prove(&mut new, "a", 1, 3)));
    assert_eq!(new.left_at_the_fence(|_| false).unwrap().len(), 2);
    // A check that began with less than all that the old process had taken in is void.
    assert!(!is_proved(&prove(&mut new, "a", 1, 2)));

    // Nobody knows what was touched: nothing is kept. What differs is not either, and of a table with a row that differs
    // somewhere nothing.
    new.broke(Void::StreamBroken);
    assert_eq!(new.keep(Duration::ZERO, |_| true), None);
    let of_a = |kept: &[KeptTable]| kept.iter().any(|table| table.name == name("a"));
    let mut differs = after_a_restart(&kept, 2, 2);
    let mut check = check(2);
    let id = differs
        .begin(&name("a"), None, &mut check, Duration::ZERO)
        .unwrap();
    read_items(&mut differs, id, &mut check, 2);
    assert!(!of_a(&differs.keep(Duration::ZERO, |_| true).unwrap()));

    // What does not fit is not taken in.
    let fresh = || ledger(Caps::default());
    let from = check_in_doubt(1).before().clone();
    let spoil = |change: fn(&mut KeptTable)| {
        let mut table = kept[0].clone();
        change(&mut table);
        fresh().restore(&table, Duration::ZERO, &from)
    };
    assert_eq!(spoil(|_| {}), Some(2));
    assert_eq!(spoil(|table| table.cuts.swap(0, 1)), None);
    assert_eq!(spoil(|table| table.cuts[1] = table.cuts[0].clone()), None);
    assert_eq!(spoil(|table| table.ranges.truncate(2)), None);
    assert_eq!(spoil(|table| table.has_key = false), None);
    assert_eq!(spoil(|table| table.name = name("z")), None);
}

/// Row 1 of `a` was read, and differs.
fn read_items(ledger: &mut Ledger, id: CheckId, check: &mut Check, at: u64) {
    read(check, at);
    let read = ItemRead {
        item: Item::Row(Key::from(1)),
        is_equal: false,
    };
    let found = ledger.finish_items(id, check, &[read]);
    assert_eq!(found.map(|found| found.diverged.len()), Some(1));
}

proptest! {
    /// Whatever comes, the memory stays within its cap and no touched row is forgotten.
    #[test]
    fn caps_hold_and_nothing_is_forgotten(
        in_a_range in 1_usize..6, bytes in 0_usize..4000,
        touched in proptest::collection::vec((0_i128..12, 0_usize..40), 1..60),
    ) {
        let mut ledger = ledger(Caps { in_a_range, bytes_in_all: bytes, ..Caps::default() });
        prop_assert!(ledger.split(&name("a"), RangeId(0), 5.into()).is_ok());
        for range in [0, 1] {
            let verdict = prove(&mut ledger, "a", range, 0);
            prop_assert!(is_proved(&verdict), "{verdict:?}");
        }
        for (number, (key, length)) in touched.iter().enumerate() {
            let text = Change::Row {
                table: name("b"),
                before: None,
                after: Some(Key(vec![KeyPart::Bytes(vec![7; *length])])),
            };
            bring(&mut ledger, number as u64 + 1, &[row("a", *key), text]);
            prop_assert!(ledger.bytes() <= bytes, "{} of {bytes}", ledger.bytes());
        }
        for (key, _) in &touched {
            let range = RangeId(u32::from(*key > 5));
            match ledger.open(&name("a"), range) {
                Some(Open::Items(items)) => {
                    prop_assert!(items.len() <= in_a_range);
                    prop_assert!(items.contains(&Item::Row(Key::from(*key))));
                }
                Some(Open::Whole) => {}
                None => prop_assert!(false, "no range"),
            }
        }
        // Once both sides show all of it, everything can be proved again and nothing is open.
        let last = touched.len() as u64;
        for range in [0, 1] {
            let verdict = prove(&mut ledger, "a", range, last);
            prop_assert!(is_proved(&verdict), "{verdict:?}");
        }
        prop_assert_eq!(summary(&ledger).proved, 2);
    }
}

fn text(key: &str) -> Key {
    Key(vec![KeyPart::Text(key.into())])
}

fn text_row(table: &str, key: &str) -> Change {
    Change::Row {
        table: name(table),
        before: None,
        after: Some(text(key)),
    }
}

/// A check whose blue shows one transaction more than its green.
fn check_in_doubt(blue: u64) -> Check {
    let positions = Positions {
        blue: Shown::Exactly(Position::File(place(blue))),
        green: Shown::Exactly(list(blue - 1)),
    };
    match Check::begin(positions) {
        Ok(check) => check,
        Err(why) => unreachable!("{why}"),
    }
}

fn rows(rows: &[(&str, u8)]) -> Rows {
    rows.iter()
        .map(|(key, digest)| (text(key), [*digest; 32]))
        .collect()
}

/// Begins a check in doubt of a range, reads these rows, and asks for the verdict.
fn row_by_row(
    ledger: &mut Ledger,
    range: u32,
    at: u64,
    blue: &Rows,
    green: &Rows,
) -> Option<(Verdict, Drilled)> {
    let mut check = check_in_doubt(at);
    let id = ledger
        .begin(&name("a"), Some(RangeId(range)), &mut check, Duration::ZERO)
        .ok()?;
    assert_eq!(check.read(Side::Blue, Reading::of(blue)), Ok(()));
    assert_eq!(check.read(Side::Green, Reading::of(green)), Ok(()));
    assert_eq!(check.after(place(at)), Ok(()));
    ledger.finish_rows(id, &check, blue, green)
}

#[test]
fn a_row_that_was_not_compared_stays_open() {
    let mut ledger = ledger(Caps::default());
    bring(&mut ledger, 1, &[text_row("a", "touched")]);
    // Only the server could say whether `other` is the row that was touched: nobody has compared it.
    let (blue, green) = (rows(&[("touched", 1), ("other", 1)]), rows(&[("other", 2)]));
    let found = row_by_row(&mut ledger, 0, 1, &blue, &green);
    assert!(matches!(found, Some((Verdict::Proved { .. }, _))), "{found:?}");
    let open = |key: &str| matches!(ledger.open(&name("a"), RangeId(0)), Some(Open::Items(items)) if items.contains(&Item::Row(text(key))));
    assert!(
        open("touched") && open("other"),
        "{:?}",
        ledger.open(&name("a"), RangeId(0))
    );
}

#[test]
fn a_text_that_may_be_in_either_part_is_in_doubt_in_both() {
    for proved in [false, true] {
        let mut ledger = ledger(Caps::default());
        if proved {
            assert!(is_proved(&prove(&mut ledger, "a", 0, 0)));
        }
        bring(&mut ledger, 1, &[text_row("a", "z")]);
        let upper = ledger
            .split(&name("a"), RangeId(0), text("m"))
            .unwrap_or(RangeId(0));
        assert_ne!(upper, RangeId(0));
        // Green lacks the touched row: no lag must be taken for a difference.
        let found = row_by_row(&mut ledger, upper.0, 1, &rows(&[("z", 1)]), &Rows::new());
        assert!(matches!(found, Some((Verdict::Inconclusive(_), _))), "{found:?}");
        if proved {
            for range in [RangeId(0), upper] {
                assert_eq!(ledger.open(&name("a"), range), Some(&Open::Whole), "{range:?}");
            }
        }
    }
}

#[test]
fn what_came_before_a_table_could_be_proved_is_in_doubt() {
    let mut ledger = ledger(Caps::default());
    ledger.forget(&name("a"));
    bring(&mut ledger, 1, &[text_row("a", "x")]);
    ledger.not_provable(name("a"), NotProvable::OneSideOnly(Side::Blue));
    ledger.watch(name("a"), true);
    let found = row_by_row(&mut ledger, 0, 1, &rows(&[("x", 1)]), &Rows::new());
    assert!(matches!(found, Some((Verdict::Inconclusive(_), _))), "{found:?}");
}
