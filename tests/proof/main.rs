//! Explores the data proof in every interleaving of a small world, and shows that the check can see: each planted
//! mistake must be found.

#![expect(
    clippy::print_stdout,
    clippy::panic,
    reason = "the number of states is a figure, a trace is the finding"
)]

#[path = "../support/explore.rs"]
mod explore;
mod ledger;
mod world;

use bleen::domain::proof::touches::Caps;
use explore::{Explored, explore};
use world::{Budget, Family, Plant, World};

/// One check, two transactions, nothing goes wrong.
const CALM: Budget = Budget {
    transactions: 2,
    checks: 1,
    at_once: 1,
    corruptions: 0,
    lost: 0,
    gaps: 0,
    ranges: 2,
};

/// The same with a single transaction.
const ONE: Budget = Budget {
    transactions: 1,
    ..CALM
};

/// So little that every second touch overflows.
const TIGHT: [Caps; 2] = [
    Caps {
        in_a_range: 1,
        bytes_in_all: usize::MAX,
        differing: 100,
    },
    Caps {
        in_a_range: 9,
        bytes_in_all: 0,
        differing: 100,
    },
];

fn explored(family: Family, left: Budget, caps: Caps, plant: Plant) -> Explored {
    explore(
        World::start(family, left, caps),
        |world| world.steps(plant),
        World::broken,
    )
}

fn holds(name: &str, family: Family, left: Budget, caps: Caps, floor: usize) {
    let about = format!("{family:?}, {left:?}, {caps:?}");
    explored(family, left, caps, Plant::Nothing).holds(name, &about, floor);
}

/// `BLEEN_MODEL=full cargo test --release --test proof -- --nocapture` checks both ranges, with a corruption (minutes).
#[test]
fn one_check_among_writes() {
    let full = std::env::var("BLEEN_MODEL").is_ok_and(|v| v == "full");
    for (family, floor) in [(Family::Sets, 200_000), (Family::Exact, 15_000)] {
        let left = if full {
            Budget {
                corruptions: 1,
                ..CALM
            }
        } else {
            Budget { ranges: 1, ..CALM }
        };
        holds("writes", family, left, Caps::default(), floor);
    }
}

#[test]
fn corruption_and_lost_updates() {
    for (family, floor) in [(Family::Sets, 7_000), (Family::Exact, 2_000)] {
        let left = Budget {
            corruptions: 1,
            ..ONE
        };
        holds("corruption", family, left, Caps::default(), floor);
        let left = Budget { lost: 1, ..ONE };
        holds("lost update", family, left, Caps::default(), floor);
    }
}

#[test]
fn two_checks_one_after_the_other_and_at_once() {
    for (family, floor) in [(Family::Sets, 4_000), (Family::Exact, 1_000)] {
        for at_once in [1, 2] {
            let left = Budget {
                checks: 2,
                at_once,
                ranges: 1,
                ..ONE
            };
            holds("two checks", family, left, Caps::default(), floor);
        }
    }
}

#[test]
fn gaps_and_overflows() {
    for (family, floor) in [(Family::Sets, 6_000), (Family::Exact, 2_000)] {
        let left = Budget { gaps: 1, ..ONE };
        holds("gap", family, left, Caps::default(), floor);
        for caps in TIGHT {
            let left = Budget { checks: 2, ..ONE };
            holds("overflow", family, left, caps, floor);
        }
    }
}

/// Every rule can be broken, and is seen to be.
#[test]
fn planted_mistakes_are_found() {
    use Family::{Exact, Sets};
    let corrupt = Budget {
        corruptions: 1,
        ..ONE
    };
    let gap = Budget { gaps: 1, ..ONE };
    for (plant, family, left, rules) in [
        (Plant::ClearOnArrival, Sets, ONE, &["P1", "P2"][..]),
        (Plant::ClearOnArrival, Exact, ONE, &["P1", "P2"]),
        (Plant::AfterReadFirst, Sets, ONE, &["P1", "P2"]),
        (Plant::AfterReadFirst, Exact, ONE, &["P1", "P2"]),
        (Plant::OnlyBlue, Sets, ONE, &["P1", "P2"]),
        (Plant::OnlyBlue, Exact, ONE, &["P1", "P2"]),
        (Plant::StreamNotWaitedFor, Sets, ONE, &["P1", "P2"]),
        (Plant::StreamNotWaitedFor, Exact, ONE, &["P1", "P2"]),
        (Plant::EqualIsProof, Sets, ONE, &["P1"]),
        (Plant::EqualIsProof, Exact, corrupt, &["P1"]),
        (Plant::AfterImageOnly, Sets, ONE, &["P1", "P2", "P4"]),
        (Plant::AfterImageOnly, Exact, ONE, &["P1", "P2", "P4"]),
        (Plant::LastNumberOnly, Sets, CALM, &["P1", "P2"]),
        (Plant::PositionsReadLast, Sets, ONE, &["P1", "P2"]),
        (Plant::GapNotTold, Sets, gap, &["P1", "P2", "P4"]),
        (Plant::GapNotTold, Exact, gap, &["P1", "P2", "P4"]),
    ] {
        explored(family, left, Caps::default(), plant).breaks(&format!("{plant:?} in {family:?}"), rules);
    }
}
