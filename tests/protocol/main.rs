//! Explores the production state machine in every interleaving of a small world, and shows that the check can see:
//! each planted mistake must be found.

#![expect(
    clippy::print_stdout,
    clippy::panic,
    reason = "the number of states is a figure, a trace is the finding"
)]

#[path = "../support/explore.rs"]
mod explore;
mod world;

use bleen::domain::machine::{HoldKind, Spec};
use explore::{Explored, explore};
use world::{Budget, Plant, World};

const LOCK: Spec = Spec {
    hold: HoldKind::Lock,
    reprove: false,
    way_back: false,
};

fn explored(start: World, plant: Plant) -> Explored {
    explore(start, |world| world.steps(plant), World::broken)
}

/// No fault at all; every run below adds what it is about.
const CALM: Budget = Budget {
    lost: 0,
    crashes: 0,
    blue_restarts: 0,
    green_restarts: 0,
    rowless: 0,
    early_guard: 0,
    cancels: 0,
    cuts: 0,
    strays: 0,
};

fn holds(name: &str, spec: Spec, left: Budget, xa: bool, floor: usize) {
    let about = format!("{spec:?}, xa {xa}, {left:?}");
    explored(World::start(spec, left, xa), Plant::Nothing).holds(name, &about, floor);
}

#[test]
fn lost_answers_and_two_crashes() {
    holds(
        "lost answers",
        LOCK,
        Budget {
            lost: 2,
            crashes: 2,
            ..CALM
        },
        false,
        20_000,
    );
}

#[test]
fn a_crash_and_a_restart_of_each_server() {
    let left = Budget {
        lost: 1,
        crashes: 1,
        blue_restarts: 1,
        green_restarts: 1,
        ..CALM
    };
    holds("restarts", LOCK, left, false, 100_000);
}

/// Green restarts without `read_only`, or an operator opens it: whatever the run did before, production must not move
/// to a green that lacks writes, and no guard may open blue once green is said to serve.
#[test]
fn green_opens_by_other_means() {
    let left = Budget {
        lost: 1,
        crashes: 2,
        strays: 1,
        ..CALM
    };
    for hold in [HoldKind::Lock, HoldKind::Tables, HoldKind::Refuse] {
        holds("stray green", Spec { hold, ..LOCK }, left, false, 20_000);
    }
    let left = Budget {
        crashes: 1,
        strays: 1,
        blue_restarts: 1,
        green_restarts: 1,
        ..CALM
    };
    holds("stray green and restarts", LOCK, left, false, 20_000);
}

#[test]
fn cut_networks() {
    holds(
        "cuts",
        LOCK,
        Budget {
            crashes: 1,
            cuts: 3,
            ..CALM
        },
        false,
        100_000,
    );
}

#[test]
fn small_trouble_under_hold_and_seal() {
    let left = Budget {
        lost: 1,
        rowless: 2,
        early_guard: 1,
        cancels: 1,
        ..CALM
    };
    holds("rowless, early guard, cancel", LOCK, left, false, 20_000);
    holds("prepared XA", LOCK, left, true, 20_000);
}

#[test]
fn the_proof_at_the_fence_may_fail() {
    let left = Budget {
        lost: 1,
        crashes: 1,
        cancels: 1,
        ..CALM
    };
    holds(
        "re-prove",
        Spec {
            reprove: true,
            ..LOCK
        },
        left,
        false,
        10_000,
    );
}

/// Blue follows green from before the hold: on every way out where blue serves that is undone, and nowhere else.
#[test]
fn the_way_back_is_wired_and_undone() {
    let spec = Spec {
        way_back: true,
        ..LOCK
    };
    let left = Budget {
        lost: 1,
        crashes: 1,
        blue_restarts: 1,
        cancels: 1,
        ..CALM
    };
    holds("way back", spec, left, false, 20_000);
}

#[test]
fn the_other_ways_to_hold() {
    let left = Budget {
        lost: 1,
        crashes: 1,
        blue_restarts: 1,
        early_guard: 1,
        ..CALM
    };
    for hold in [HoldKind::Tables, HoldKind::Refuse] {
        holds("other holds", Spec { hold, ..LOCK }, left, false, 50_000);
    }
}

/// `BLEEN_MODEL=full cargo test --release --test protocol -- --nocapture` has every fault at once (minutes).
#[test]
fn every_fault_at_once_when_asked() {
    let full = std::env::var("BLEEN_MODEL").is_ok_and(|v| v == "full");
    let (cuts, floor) = if full { (2, 4_000_000) } else { (0, 1) };
    let one = Budget {
        lost: 1,
        crashes: 1,
        blue_restarts: 1,
        green_restarts: 1,
        rowless: 1,
        early_guard: 1,
        cancels: 1,
        cuts,
        strays: 0,
    };
    // Without the variable the same world with the faults that are not in the tests above together.
    let left = if full {
        one
    } else {
        Budget {
            crashes: 1,
            early_guard: 1,
            green_restarts: 1,
            cancels: 1,
            ..CALM
        }
    };
    holds("together", LOCK, left, false, floor.max(20_000));
}

/// Every rule can be broken, and is seen to be.
#[test]
fn planted_mistakes_are_found() {
    let faults = Budget {
        lost: 1,
        crashes: 1,
        blue_restarts: 1,
        green_restarts: 0,
        ..CALM
    };
    let stray = Budget {
        crashes: 1,
        strays: 1,
        ..CALM
    };
    let cases = [
        (Plant::BlindUnseal, "I1", false),
        (Plant::NoConfirm, "I1", false),
        (Plant::LostIsRefused, "I1", false),
        (Plant::IgnoreXa, "I2", true),
        (Plant::NoGuard, "I3", false),
        (Plant::NoPersist, "I4", false),
        (Plant::NoExpiry, "I4", false),
        (Plant::NoDrain, "I4", false),
        (Plant::LateIsPromoted, "I5", false),
        (Plant::PromoterNotEnded, "I6", false),
        (Plant::ForgetHold, "I7", false),
        (Plant::BlindConfirm, "I5", false),
        (Plant::OpenIsPromoted, "I2", false),
        (Plant::ForgotIsShut, "I5", false),
        (Plant::ForgetBack, "I7", false),
        (Plant::BackIsLost, "I5", false),
    ];
    for (plant, rule, xa) in cases {
        let left = match plant {
            Plant::BlindConfirm | Plant::ForgotIsShut => Budget {
                green_restarts: 1,
                ..faults
            },
            Plant::OpenIsPromoted => stray,
            _ => faults,
        };
        let spec = Spec {
            way_back: matches!(plant, Plant::ForgetBack | Plant::BackIsLost),
            ..LOCK
        };
        explored(World::start(spec, left, xa), plant).breaks(&format!("{plant:?}"), &[rule]);
    }
}
