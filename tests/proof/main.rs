//! Explores the data proof in every interleaving of a small world, and shows that the check can see: each planted
//! mistake must be found.

#![expect(
    clippy::print_stdout,
    clippy::panic,
    reason = "the number of states is a figure, a trace is the finding"
)]

#[path = "../support/explore.rs"]
mod explore;
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
};

/// So little that every second touch overflows.
const TIGHT: [Caps; 2] = [
    Caps {
        in_a_range: 1,
        bytes_in_all: usize::MAX,
    },
    Caps {
        in_a_range: 9,
        bytes_in_all: 0,
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
    let explored = explored(family, left, caps, Plant::Nothing);
    println!(
        "{name}: {} states, {family:?}, {left:?}, {caps:?}",
        explored.states
    );
    if let Some((rule, trace)) = explored.broken {
        panic!("{name}: {rule}\n{}", trace.join("\n"));
    }
    assert!(
        explored.states >= floor,
        "{name}: only {} states, expected {floor}",
        explored.states
    );
}

#[test]
fn one_check_among_writes() {
    for (family, floor) in [(Family::Sets, 1), (Family::Exact, 1)] {
        let left = Budget {
            transactions: 3,
            ..CALM
        };
        holds("writes", family, left, Caps::default(), floor);
    }
}

#[test]
fn corruption_and_lost_updates() {
    for (family, floor) in [(Family::Sets, 1), (Family::Exact, 1)] {
        let left = Budget {
            corruptions: 1,
            ..CALM
        };
        holds("corruption", family, left, Caps::default(), floor);
        let left = Budget { lost: 1, ..CALM };
        holds("lost update", family, left, Caps::default(), floor);
    }
}

#[test]
fn two_checks_one_after_the_other_and_at_once() {
    for (family, floor) in [(Family::Sets, 1), (Family::Exact, 1)] {
        for at_once in [1, 2] {
            let left = Budget {
                checks: 2,
                at_once,
                ..CALM
            };
            holds("two checks", family, left, Caps::default(), floor);
        }
    }
}

#[test]
fn gaps_and_overflows() {
    for (family, floor) in [(Family::Sets, 1), (Family::Exact, 1)] {
        let left = Budget { gaps: 1, ..CALM };
        holds("gap", family, left, Caps::default(), floor);
        for caps in TIGHT {
            let left = Budget { checks: 2, ..CALM };
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
        ..CALM
    };
    let gap = Budget { gaps: 1, ..CALM };
    for (plant, family, left, rules) in [
        (Plant::ClearOnArrival, Sets, CALM, &["P1", "P2"][..]),
        (Plant::ClearOnArrival, Exact, CALM, &["P1", "P2"]),
        (Plant::AfterReadFirst, Sets, CALM, &["P1", "P2"]),
        (Plant::AfterReadFirst, Exact, CALM, &["P1", "P2"]),
        (Plant::OnlyBlue, Sets, CALM, &["P1", "P2"]),
        (Plant::OnlyBlue, Exact, CALM, &["P1", "P2"]),
        (Plant::StreamNotWaitedFor, Sets, CALM, &["P1", "P2"]),
        (Plant::StreamNotWaitedFor, Exact, CALM, &["P1", "P2"]),
        (Plant::EqualIsProof, Sets, CALM, &["P1"]),
        (Plant::EqualIsProof, Exact, corrupt, &["P1"]),
        (Plant::AfterImageOnly, Sets, CALM, &["P1", "P2", "P4"]),
        (Plant::AfterImageOnly, Exact, CALM, &["P1", "P2", "P4"]),
        (Plant::LastNumberOnly, Sets, CALM, &["P1", "P2"]),
        (Plant::PositionsReadLast, Sets, CALM, &["P1", "P2"]),
        (Plant::GapNotTold, Sets, gap, &["P1", "P2", "P4"]),
        (Plant::GapNotTold, Exact, gap, &["P1", "P2", "P4"]),
    ] {
        let explored = explored(family, left, Caps::default(), plant);
        let Some((broken, trace)) = explored.broken else {
            panic!(
                "{plant:?} was not found in {} states of {family:?}",
                explored.states
            )
        };
        println!(
            "{plant:?} in {family:?}: {broken}, {} steps, {} states",
            trace.len() - 1,
            explored.states
        );
        assert!(
            rules.iter().any(|rule| broken.starts_with(rule)),
            "{plant:?} broke {broken}, expected {rules:?}"
        );
    }
}
