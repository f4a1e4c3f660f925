//! Every fault point from the first change to the last, and what `resume` must make of a bleen that ended there.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

use std::time::Duration;

use bleen::domain::ids::Side;

use super::check::{SOON, Scene};
use super::cli::{Ended, Operator, Plan};

/// The machine's words for its commands, in the order of a switch without trouble.
const COMMANDS: [&str; 14] = [
    "wire-back",
    "quiet",
    "arm",
    "hold",
    "fence",
    "drain",
    "reprove",
    "seal",
    "disarm",
    "promote",
    "write-epoch",
    "route",
    "release",
    "confirm",
];

/// A fault point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    command: usize,
    after: bool,
}

impl Point {
    /// All, in the order in which a switch passes them.
    pub fn all() -> Vec<Self> {
        let of = |command| [false, true].map(|after| Self { command, after });
        (0..COMMANDS.len()).flat_map(of).collect()
    }

    fn named(name: &str, after: bool) -> Self {
        let command = COMMANDS.iter().position(|c| *c == name).unwrap();
        Self { command, after }
    }

    /// As in `BLEEN_FAULT`.
    pub fn name(self) -> String {
        let moment = if self.after { "after" } else { "before" };
        format!("{}.{moment}", COMMANDS[self.command])
    }

    /// Whether writers may have to wait when bleen ends here, and the servers let them go on by themselves (I3).
    pub fn ends_by_itself(self) -> bool {
        self > Self::named("hold", false) && self < Self::named("disarm", true)
    }

    /// Whether nothing was left to be done.
    pub fn is_last(self) -> bool {
        self == Self::named("confirm", true)
    }

    /// Who serves once it is resumed.
    pub fn serves(self) -> Side {
        if self < Self::named("promote", true) {
            Side::Blue
        } else {
            Side::Green
        }
    }

    /// The outcome words and the exit code that `resume` must come to.
    pub fn outcome(self) -> (&'static [&'static str], i32) {
        if self < Self::named("seal", true) {
            (&["released"], 3)
        } else if self < Self::named("disarm", true) {
            // The guard may have opened blue before `resume` looked.
            (&["released", "rolled-back"], 3)
        } else if self < Self::named("promote", true) {
            (&["rolled-back"], 3)
        } else {
            (&["switched"], 0)
        }
    }

    #[track_caller]
    pub fn expect(self, ended: &Ended) {
        let (words, code) = self.outcome();
        assert!(
            words.contains(&ended.outcome()) && ended.code == Some(code),
            "{}: expected {words:?} ({code}), got {} ({:?}, signal {:?}):\n{}",
            self.name(),
            ended.outcome(),
            ended.code,
            ended.signal,
            ended.told()
        );
    }
}

/// An operator whose playbook has a query for the fence, so that a switch passes every one of the points.
pub fn operator(scene: &Scene) -> Operator {
    let plan = Plan {
        more: "validate:\n  queries:\n    - { name: money, sql: SELECT SUM(balance) FROM shop.accounts, at: fence }\n"
            .to_owned(),
        ..scene.plan()
    };
    Operator::new(&scene.pair, &plan)
}

/// Resumes as soon as the run to be resumed counts as dead.
pub async fn resume(operator: &Operator) -> Ended {
    for _ in 0..40 {
        let ended = operator.resume().end(SOON).await;
        if ended.code != Some(75) {
            return ended;
        }
        assert!(ended.stderr.contains("silent for"), "{}", ended.told());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    panic!("the run is still held by a process that ended or is frozen");
}

/// Runs `case` at each of `points`, on one pair for as long as blue serves at the end.
pub async fn at_each(kind: super::check::Kind, points: Vec<Point>, case: impl AsyncFn(&Scene, Point)) {
    let mut scene = None;
    for point in points {
        let on = match scene.take() {
            Some(scene) => scene,
            None => Scene::new(kind).await,
        };
        let began = std::time::Instant::now();
        case(&on, point).await;
        eprintln!("{kind:?} {} in {:?}", point.name(), began.elapsed());
        if point.serves() == Side::Blue {
            scene = Some(on);
        }
    }
}

/// Every `n`th point, so that several pairs share the work.
pub fn lane(number: usize, of: usize) -> Vec<Point> {
    Point::all().into_iter().skip(number).step_by(of).collect()
}
