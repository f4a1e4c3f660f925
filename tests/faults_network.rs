//! The network between bleen and each server cut or silent at a step, and the answer to exactly one statement lost.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use std::time::{Duration, Instant};

use bleen::domain::ids::Side;
use support::check::{Kind, SOON, Scene};
use support::cli::{Ended, Operator, Plan};
use support::points::resume;
use support::proxy::{Network, Proxy, Then};

/// A scene whose servers bleen reaches through proxies only.
struct Wired {
    scene: Scene,
    blue: Proxy,
    green: Proxy,
}

impl Wired {
    async fn new(kind: Kind) -> Self {
        let scene = Scene::new(kind).await;
        let blue = Proxy::start(scene.pair.blue.port()).await;
        let green = Proxy::start(scene.pair.green.port()).await;
        Self { scene, blue, green }
    }

    fn plan(&self) -> Plan {
        Plan {
            ports: (self.blue.port(), self.green.port()),
            attempts: 1,
            ..self.scene.plan()
        }
    }

    fn operator(&self) -> Operator {
        Operator::new(&self.scene.pair, &self.plan())
    }

    fn proxy(&self, side: Side) -> &Proxy {
        match side {
            Side::Blue => &self.blue,
            Side::Green => &self.green,
        }
    }
}

/// What a case must come to.
#[derive(Debug, Clone, Copy)]
struct Expected {
    /// The words that bleen itself may end with.
    words: &'static [&'static str],
    /// Who serves in the end.
    serves: Side,
}

const RELEASED: Expected = Expected {
    words: &["released"],
    serves: Side::Blue,
};
const ROLLED_BACK: Expected = Expected {
    words: &["rolled-back"],
    serves: Side::Blue,
};
/// Once bleen cannot reach blue for longer than the guard sleeps, blue is open already when it looks.
const OPENED: Expected = Expected {
    words: &["rolled-back", "released"],
    serves: Side::Blue,
};
const SWITCHED: Expected = Expected {
    words: &["switched", "switched-with-debt"],
    serves: Side::Green,
};

fn code(word: &str) -> i32 {
    match word {
        "switched" => 0,
        "released" | "rolled-back" => 3,
        "ambiguous" => 4,
        "switched-with-debt" => 5,
        other => panic!("no outcome of a switch: {other}"),
    }
}

fn expect(case: &str, ended: &Ended, words: &[&str]) {
    assert!(
        words.contains(&ended.outcome()) && ended.code == Some(code(ended.outcome())),
        "{case}: expected {words:?}, got {} ({:?}):\n{}",
        ended.outcome(),
        ended.code,
        ended.told()
    );
}

/// Cuts or silences the way to `side` right after `step`, and heals it when blue had to be free again.
async fn broken(wired: &Wired, side: Side, network: Network, step: &str, expected: Expected) {
    let case = format!("{network:?} to {side} after {step}");
    let began = Instant::now();
    let watch = wired.scene.watch().await;
    let operator = wired.operator();
    let run = operator
        .switch_to(&format!("{step}.after=pause:1000"), step)
        .await;
    wired.proxy(side).set(network);
    // With green drained, seal and disarm need no answer of it and promote does: both sides are read-only until the way
    // is back, which is I3's exception.
    let sealed_without_green = side == Side::Green && (step == "drain" || step == "seal");
    let held = !(step == "disarm" || step == "promote" || sealed_without_green);
    if held {
        watch.blue_goes_on(&case, wired.plan().bound()).await;
    } else {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    wired.proxy(side).set(Network::Up);
    let ended = run.end(SOON * 3).await;
    expect(&case, &ended, expected.words);
    wired.scene.check(&case, watch, expected.serves).await;
    eprintln!(
        "{:?} {case}: {} in {:?}",
        wired.scene.kind,
        ended.outcome(),
        began.elapsed()
    );
}

/// The way to `side` is gone for good: bleen says what it knows, and `resume` ends the run when it is back.
async fn gone(wired: &Wired, side: Side, step: &str, words: &[&str], resumed: Expected) {
    let case = format!("way to {side} gone for good after {step}");
    let watch = wired.scene.watch().await;
    let operator = wired.operator();
    let run = operator
        .switch_to(&format!("{step}.after=pause:1000"), step)
        .await;
    wired.proxy(side).set(Network::Cut);
    if step != "disarm" {
        watch.blue_goes_on(&case, wired.plan().bound()).await;
    }
    let ended = run.end(SOON * 3).await;
    expect(&case, &ended, words);
    wired.proxy(side).set(Network::Up);
    let again = resume(&wired.operator()).await;
    expect(&case, &again, resumed.words);
    wired.scene.check(&case, watch, resumed.serves).await;
    eprintln!("{:?} {case}: {}", wired.scene.kind, ended.outcome());
}

async fn swallowed(wired: &Wired, side: Side, part: &str, then: Then, expected: Expected) {
    let case = format!("answer to `{part}` lost, then {then:?}");
    let began = Instant::now();
    let watch = wired.scene.watch().await;
    let operator = wired.operator();
    wired.proxy(side).swallow(part, then);
    let mut ended = operator.switch("").end(SOON * 3).await;
    while ended.is_blocked_by_the_load() && !wired.proxy(side).has_swallowed() {
        ended = operator.switch("").end(SOON * 3).await;
    }
    assert!(wired.proxy(side).has_swallowed(), "{case}: {}", ended.told());
    expect(&case, &ended, expected.words);
    wired.scene.check(&case, watch, expected.serves).await;
    eprintln!(
        "{:?} {case}: {} in {:?}",
        wired.scene.kind,
        ended.outcome(),
        began.elapsed()
    );
}

/// Every step under the hold, in order.
const STEPS: [&str; 6] = ["hold", "fence", "drain", "seal", "disarm", "promote"];

/// What must come of it when the way to `side` breaks right after `step`.
fn broken_at(side: Side, step: &str) -> Expected {
    match (side, step) {
        (_, "hold" | "fence") | (Side::Blue, "drain") => RELEASED,
        (Side::Blue, "seal") => ROLLED_BACK,
        // The guard is gone and blue sealed: green can be promoted without blue.
        (Side::Blue, _) | (Side::Green, "promote") => SWITCHED,
        // Green does not answer promote, or refuses it late.
        (Side::Green, _) => ROLLED_BACK,
    }
}

async fn breaks(kind: Kind, side: Side) {
    let every = STEPS.map(|step| [(step, Network::Cut), (step, Network::Silent)]);
    let (back, onward): (Vec<_>, Vec<_>) = every
        .into_iter()
        .flatten()
        .partition(|(step, _)| broken_at(side, step).serves == Side::Blue);
    let back = async {
        let wired = Wired::new(kind).await;
        for (step, network) in back {
            broken(&wired, side, network, step, broken_at(side, step)).await;
        }
        if side == Side::Green {
            gone(&wired, side, "disarm", &["ambiguous"], ROLLED_BACK).await;
        }
    };
    let onward = async {
        for (step, network) in onward {
            broken(&Wired::new(kind).await, side, network, step, SWITCHED).await;
        }
    };
    tokio::join!(back, onward);
}

async fn answers(kind: Kind) {
    let back = async {
        let wired = Wired::new(kind).await;
        let hold = "FLUSH TABLES WITH READ LOCK";
        swallowed(&wired, Side::Blue, hold, Then::Cut, RELEASED).await;
        swallowed(&wired, Side::Blue, hold, Then::Hang, RELEASED).await;
        swallowed(&wired, Side::Blue, kind.seal(), Then::Cut, ROLLED_BACK).await;
        swallowed(&wired, Side::Blue, kind.seal(), Then::Hang, OPENED).await;
        let look = "GET_LOCK('bleen.guard'";
        swallowed(&wired, Side::Blue, look, Then::Cut, ROLLED_BACK).await;
        // Promoted all the same: read again, and finished.
        swallowed(&wired, Side::Green, "read_only = IF(", Then::Cut, SWITCHED).await;
    };
    let release = async {
        let wired = Wired::new(kind).await;
        swallowed(&wired, Side::Blue, "UNLOCK TABLES", Then::Cut, SWITCHED).await;
        let wired = Wired::new(kind).await;
        swallowed(&wired, Side::Green, "read_only = IF(", Then::Hang, SWITCHED).await;
    };
    tokio::join!(back, release);
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_way_to_blue() {
    breaks(Kind::MySql, Side::Blue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_way_to_green() {
    breaks(Kind::MySql, Side::Green).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_way_to_blue() {
    breaks(Kind::MariaDb, Side::Blue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_way_to_green() {
    breaks(Kind::MariaDb, Side::Green).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_lost_answers() {
    answers(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_lost_answers() {
    answers(Kind::MariaDb).await;
}
