//! How long writers are held: bleen beside a hand-written minimal sequence over pre-opened connections, alternating in
//! random order in one run, on the same servers under the same load, both begun when green was just seen caught up.
//!
//! `cargo bench --bench pause` prints one line per family and load; `-- --samples N` for another number than 40 each,
//! `-- mysql` or `-- mariadb` for one family. `-- --proof` gives bleen, and not the hand, the data proof: every row proved
//! before the hold, and what was touched since compared under it; `-- --rows N` adds a table of so many rows that the load
//! does not touch, `-- --rows 0,N` measures without it and with it and prints the ratio, and `-- --writers N` takes that
//! number of writers only. `-- --highest` first raises the writers' rate until green does not keep up, and measures at the
//! highest at which it did. `-- --each` prints the steps of every sample, and what
//! reading at the fence took. The pause is from the hold's statement sent to
//! promote confirmed.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark prints its figures and stops where it cannot go on"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use bleen::adapters::mysql::capabilities;
use bleen::adapters::mysql::session::Session;
use bleen::adapters::mysql::sql;
use bleen::adapters::mysql::switch::Settings;
use bleen::adapters::proof::{Beside, Proof, Sparing, Wish};
use bleen::domain::capabilities::Capabilities;
use bleen::domain::guardrails::Known;
use bleen::domain::ids::Side;
use bleen::domain::machine::HoldKind;
use bleen::domain::outcome::{Outcome, WhyKind};
use bleen::domain::proof::pace::Target;
use bleen::domain::server::Family;
use bleen::engine::event::Events;
use bleen::playbook::model::DataProof;
use bleen::sandbox::{Endpoint, Load, LoadOptions, PairOptions, SandboxPair, ServerKind, load_shop};
use mysql_async::prelude::Queryable;
use support::{BUDGET, attempt, settings};

/// A wait on green that ends within this was no wait.
const AT_ONCE: Duration = Duration::from_millis(2);

/// Pause after a hold that was blocked by the writers themselves, for both.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Writes that are seen acknowledged before each sample.
const SOME_WRITES: u64 = 200;

/// Writes of each writer in a second.
const RATE: u32 = 50;

/// How long a rate is tried.
const TRIED: Duration = Duration::from_secs(20);

/// A green that executes within this, beside the load, what blue has executed keeps up: as it must before a hold.
const KEEPS_UP: Duration = AT_ONCE;

struct Ends {
    from: Session,
    from_control: Session,
    to: Session,
    to_promote: Session,
    from_caps: Capabilities,
    to_caps: Capabilities,
    from_port: u16,
}

async fn ends(pair: &SandboxPair, from: Side) -> Ends {
    let mut one = support::session(pair, from).await;
    let mut other = support::session(pair, from.other()).await;
    Ends {
        from_caps: capabilities::probe(&mut one, BUDGET).await.unwrap(),
        to_caps: capabilities::probe(&mut other, BUDGET).await.unwrap(),
        from: one,
        from_control: support::session(pair, from).await,
        to: other,
        to_promote: support::session(pair, from.other()).await,
        from_port: support::running(pair, from).port(),
    }
}

async fn text(session: &mut Session, sql: &str) -> String {
    session.one::<(String,)>("bench", sql, BUDGET).await.unwrap().0
}

fn executed(caps: &Capabilities) -> &'static str {
    match caps.family() {
        Family::MySql => "SELECT @@GLOBAL.gtid_executed",
        Family::MariaDb => "SELECT @@GLOBAL.gtid_binlog_pos",
    }
}

fn wait(caps: &Capabilities, position: &str) -> String {
    let position = position.replace('\n', "");
    match caps.family() {
        Family::MySql => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', 5)"),
        Family::MariaDb => format!("SELECT MASTER_GTID_WAIT('{position}', 5)"),
    }
}

async fn caught_up_instant(ends: &mut Ends) {
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        let position = text(&mut ends.from_control, executed(&ends.from_caps)).await;
        let began = Instant::now();
        ends.to
            .run("bench", &wait(&ends.to_caps, &position), BUDGET * 2)
            .await
            .unwrap();
        if began.elapsed() <= AT_ONCE {
            return;
        }
    }
    panic!("green was never seen caught up");
}

/// FTWRL, position, blocking wait, seal, promote, unlock; the pause is up to promote confirmed.
async fn by_hand(ends: &mut Ends) -> (Duration, Vec<(&'static str, Duration)>) {
    caught_up_instant(ends).await;
    let (seal, open) = match ends.from_caps.family() {
        Family::MySql => (
            "SET PERSIST super_read_only = 1",
            "SET PERSIST super_read_only = 0, PERSIST read_only = 0",
        ),
        Family::MariaDb => ("SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0"),
    };
    // As whoever writes it by hand would bound it: a waiting UPDATE and its transaction can block the lock for good.
    let bound = "SET SESSION lock_wait_timeout = 1";
    ends.from.run("bench", bound, BUDGET).await.unwrap();
    let sent = loop {
        let sent = Instant::now();
        let held = ends
            .from
            .run("bench", "FLUSH TABLES WITH READ LOCK", BUDGET)
            .await;
        match held {
            Ok(()) => break sent,
            Err(e) if e.code() == Some(1205) => {
                ends.from.run("bench", "UNLOCK TABLES", BUDGET).await.unwrap();
                tokio::time::sleep(AGAIN_AFTER).await;
                caught_up_instant(ends).await;
            }
            Err(e) => panic!("{e}"),
        }
    };
    let held = sent.elapsed();
    let position = text(&mut ends.from_control, executed(&ends.from_caps)).await;
    let read = sent.elapsed();
    ends.to
        .run("bench", &wait(&ends.to_caps, &position), BUDGET)
        .await
        .unwrap();
    let drained = sent.elapsed();
    ends.from.run("bench", seal, BUDGET).await.unwrap();
    let sealed = sent.elapsed();
    ends.to_promote.run("bench", open, BUDGET).await.unwrap();
    let pause = sent.elapsed();
    let steps = vec![
        ("hold", held),
        ("fence", read - held),
        ("drain", drained - read),
        ("seal", sealed - drained),
        ("promote", pause - sealed),
    ];
    ends.from.run("bench", "UNLOCK TABLES", BUDGET).await.unwrap();
    ends.to
        .run("bench", sql::stop_replica(&ends.to_caps), BUDGET)
        .await
        .unwrap();
    ends.to
        .run("bench", sql::reset_replica_all(&ends.to_caps), BUDGET)
        .await
        .unwrap();
    (pause, steps)
}

/// Makes the side that was left follow the one that serves, so that the next switch can go the other way.
async fn follow_back(pair: &SandboxPair, serves: Side) {
    let mut ends = ends(pair, serves).await;
    let account = &pair.accounts.repl;
    let password = secrecy::ExposeSecret::expose_secret(&account.password);
    let (port, user) = (ends.from_port, &account.user);
    let change = match ends.to_caps.family() {
        Family::MySql => format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = '{user}', \
             SOURCE_PASSWORD = '{password}', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1"
        ),
        Family::MariaDb => {
            let position = text(&mut ends.to, executed(&ends.to_caps)).await;
            let set = format!("SET GLOBAL gtid_slave_pos = '{position}'");
            ends.to.run("bench", &set, BUDGET).await.unwrap();
            format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = '{user}', \
                 MASTER_PASSWORD = '{password}', MASTER_USE_GTID = slave_pos"
            )
        }
    };
    ends.to.run("bench", &change, BUDGET).await.unwrap();
    ends.to
        .run("bench", sql::start_replica(&ends.to_caps), BUDGET)
        .await
        .unwrap();
    caught_up_instant(&mut ends).await;
}

/// The data proof beside an attempt, once every row is proved and the hold may come.
async fn proved(settings: &mut Settings) -> Beside {
    let wish = Wish {
        anew: true,
        keep: None,
        data: DataProof {
            accept_unproven: vec!["shop.audit".into()],
            ..DataProof::default()
        },
        once: false,
        mask: false,
        run: Some(settings.run.clone()),
        own: settings.own_sessions.clone(),
        answer: BUDGET,
        target: Target::default(),
    };
    let pair = (&settings.blue, &settings.green);
    let proof = Proof::open(pair, &wish, &Events::none()).await.unwrap();
    let beside = proof.begin(Sparing {
        load: None,
        lag: None,
        answer: BUDGET,
    });
    let until = Instant::now() + Duration::from_secs(600);
    loop {
        match beside.look() {
            Known::Known(fact) if fact.differs.is_none() && fact.not_provable.is_empty() => break,
            seen => assert!(Instant::now() < until, "{seen:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    beside.stand_aside().await.unwrap();
    settings.proof = Some(beside.fence());
    beside
}

/// Adds a table that the load does not touch, the same on both sides.
async fn add_rows(pair: &SandboxPair, rows: u64) {
    let mut digits = pair.blue.root().await.unwrap();
    for statement in [
        "CREATE TABLE shop.big (id INT UNSIGNED NOT NULL PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) \
         NOT NULL)"
            .to_owned(),
        "CREATE TABLE shop.ten (n INT PRIMARY KEY)".to_owned(),
        "INSERT INTO shop.ten VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)".to_owned(),
    ] {
        digits.query_drop(statement).await.unwrap();
    }
    let numbers = "(SELECT a.n + b.n * 10 + c.n * 100 + d.n * 1000 + e.n * 10000 AS n FROM shop.ten a, shop.ten b, \
                   shop.ten c, shop.ten d, shop.ten e) numbers";
    for from in (0..rows).step_by(100_000) {
        digits
            .query_drop(format!(
                "INSERT INTO shop.big SELECT n + {from}, n * 7, SHA2(n, 256), LEFT(SHA2(n + 1, 256), 60) FROM {numbers} WHERE \
                 n + {from} < {rows}"
            ))
            .await
            .unwrap();
    }
    support::caught_up_within(pair, Duration::from_secs(900)).await;
}

#[derive(Default)]
struct Samples {
    hand: Vec<f64>,
    bleen: Vec<f64>,
    /// Rows that were compared at each fence.
    compared: Vec<f64>,
    /// What each step inside the pause took, by name in the order of the protocol, of both.
    steps: [Vec<(&'static str, Vec<f64>)>; 2],
}

impl Samples {
    /// Keeps what the steps up to promote took.
    fn steps(&mut self, of: usize, took: impl IntoIterator<Item = (&'static str, Duration)>) {
        for (name, took) in took {
            let took = took.as_secs_f64() * 1e3;
            match self.steps[of].iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => all.push(took),
                None => self.steps[of].push((name, vec![took])),
            }
        }
    }
}

fn start(pair: &SandboxPair, writers: u32, rate: u32) -> Load {
    let (on_blue, on_green) = Endpoint::both(pair);
    let options = LoadOptions {
        writers,
        rate,
        ..LoadOptions::default()
    };
    Load::start(&on_blue, &on_green, options).unwrap()
}

/// The highest rate of each writer, doubled from step to step, at which green keeps up and blue still takes more writes.
async fn highest(pair: &SandboxPair, writers: u32) -> u32 {
    let (mut best, mut most) = (RATE, 0.0);
    for rate in (0..6).map(|doubled| RATE << doubled) {
        let load = start(pair, writers, rate);
        load.progress(SOME_WRITES, Duration::from_secs(20)).await.unwrap();
        let mut ends = ends(pair, Side::Blue).await;
        let count = |of: &Load| of.snapshot().acknowledged.0;
        let (began, before) = (Instant::now(), count(&load));
        tokio::time::sleep(TRIED).await;
        let position = text(&mut ends.from_control, executed(&ends.from_caps)).await;
        let asked = Instant::now();
        let question = wait(&ends.to_caps, &position);
        ends.to.run("bench", &question, BUDGET * 2).await.unwrap();
        let (behind, writes) = (asked.elapsed(), count(&load) - before);
        let rate_seen = writes as f64 / began.elapsed().as_secs_f64();
        println!(
            "  {writers} x {rate}/s: {rate_seen:.0} writes acknowledged a second, green {:.1} ms behind",
            behind.as_secs_f64() * 1e3
        );
        load.stop().await;
        support::caught_up(pair).await;
        // What the machine does not take is no higher rate.
        if behind > KEEPS_UP || rate_seen < most * 1.1 {
            break;
        }
        (best, most) = (rate, rate_seen);
    }
    best
}

async fn measure(
    (blue, green): (ServerKind, ServerKind),
    writers: u32,
    rows: u64,
    wanted: &Wanted,
) -> Samples {
    let samples = wanted.samples;
    let mut options = PairOptions::default();
    if wanted.in_memory {
        // The same for every number of rows: what is compared is the work, not a disk.
        for server in [&mut options.blue, &mut options.green] {
            server.extra = vec!["innodb-buffer-pool-size=2G".into()];
        }
    }
    let pair = support::following(blue, green, &options).await;
    load_shop(&pair.blue, &pair.accounts).await.unwrap();
    if rows > 0 {
        add_rows(&pair, rows).await;
    }
    support::caught_up(&pair).await;
    let rate = if wanted.highest {
        highest(&pair, writers).await
    } else {
        RATE
    };
    println!("  measured at {writers} x {rate}/s, with {rows} rows that stand still beside the shop's");
    let (on_blue, _) = Endpoint::both(&pair);
    let load = start(&pair, writers, rate);
    load.progress(200, Duration::from_secs(20)).await.unwrap();
    let mut seen = Samples::default();
    let random = RandomState::new();
    let mut number: u64 = 0;
    while seen.hand.len() < samples || seen.bleen.len() < samples {
        number += 1;
        let hand = match (seen.hand.len() < samples, seen.bleen.len() < samples) {
            (true, true) => random.hash_one(number).is_multiple_of(2),
            (more, _) => more,
        };
        // The writers have found blue again and are at their full rate, whoever switches next.
        load.progress(SOME_WRITES, Duration::from_secs(20)).await.unwrap();
        if hand {
            let mut ends = ends(&pair, Side::Blue).await;
            // On a worker of the runtime, as the attempt of a command: who hears the server's answer goes on with it.
            let (pause, steps) = tokio::spawn(async move { by_hand(&mut ends).await })
                .await
                .unwrap();
            wanted.each("by hand", &steps);
            seen.hand.push(pause.as_secs_f64() * 1e3);
            seen.steps(0, steps);
        } else {
            let mut settings = settings(&pair, HoldKind::Lock).await;
            let proof = if wanted.proof {
                pair.green.set_read_only(true).await.unwrap();
                Some(proved(&mut settings).await)
            } else {
                None
            };
            let ended = tokio::spawn(attempt(settings)).await.unwrap();
            let last = proof.as_ref().and_then(|proof| proof.fence().last());
            drop(proof);
            let debt = match &ended.outcome {
                Outcome::Switched { debt } => debt,
                Outcome::Released { why, .. }
                    if matches!(why.kind, WhyKind::HoldBlocked | WhyKind::GreenBehind) =>
                {
                    tokio::time::sleep(AGAIN_AFTER).await;
                    continue;
                }
                other => panic!("{other:?}"),
            };
            assert!(debt.is_empty(), "{debt:?}");
            if let Some(compared) = last {
                seen.compared.push(compared.items as f64);
            }
            seen.bleen.push(ended.pause.unwrap().as_secs_f64() * 1e3);
            let inside = ended.timings.iter().map(|t| (t.command, t.took));
            let first = inside.skip_while(|(name, _)| *name != "hold");
            let steps: Vec<_> = first.take_while(|(name, _)| *name != "write-epoch").collect();
            wanted.each("bleen", &steps);
            seen.steps(1, steps);
        }
        // And back, by hand, so that every sample goes from blue to green.
        follow_back(&pair, Side::Green).await;
        by_hand(&mut ends(&pair, Side::Green).await).await;
        follow_back(&pair, Side::Blue).await;
    }
    let report = load.stop().await;
    let check = report.verify(&on_blue).await.unwrap();
    println!(
        "  {} switches and as many back: {} writes acknowledged, {} lost, {} doubled, {} in doubt",
        seen.hand.len() + seen.bleen.len(),
        check.acknowledged,
        check.lost.len(),
        check.doubled.len(),
        report.log.in_doubt.len(),
    );
    seen
}

fn at(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted[((last as f64 * share).round() as usize).min(last)]
}

/// What the command line asks for.
struct Wanted {
    samples: usize,
    proof: bool,
    highest: bool,
    each: bool,
    in_memory: bool,
}

impl Wanted {
    fn each(&self, who: &str, steps: &[(&'static str, Duration)]) {
        if self.each {
            let took = steps
                .iter()
                .map(|(name, took)| format!("{name} {:.2}", took.as_secs_f64() * 1e3));
            println!("    {who}: {}", took.collect::<Vec<_>>().join(", "));
        }
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1)
    };
    let number = |name: &str| -> Option<u64> { value(name).map(|n| n.parse().unwrap()) };
    let is_asked = |name: &str| arguments.iter().any(|a| a == name);
    let sizes: Vec<u64> = value("--rows").map_or(vec![0], |list| {
        list.split(',').map(|rows| rows.parse().unwrap()).collect()
    });
    let asked = Wanted {
        in_memory: sizes.iter().any(|rows| *rows > 0),
        samples: number("--samples").map_or(40, |n| usize::try_from(n).unwrap()),
        proof: is_asked("--proof"),
        highest: is_asked("--highest"),
        each: is_asked("--each"),
    };
    if asked.each {
        tracing_subscriber::fmt()
            .with_env_filter("bleen::adapters::mysql::proof::fence=debug")
            .without_time()
            .init();
    }
    let samples = asked.samples;
    let only = number("--writers").map(|n| u32::try_from(n).unwrap());
    let wanted = |family: &str| {
        !arguments.iter().any(|a| a == "mysql" || a == "mariadb") || arguments.iter().any(|a| a == family)
    };
    let families = [
        (
            "mysql",
            "MySQL 9.7 to 9.7",
            ServerKind::MySql97,
            ServerKind::MySql97,
        ),
        (
            "mariadb",
            "MariaDB 10.11 to 11.8",
            ServerKind::MariaDb1011,
            ServerKind::MariaDb118,
        ),
    ];
    for (family, name, blue, green) in families {
        for writers in only.map_or(vec![8, 16], |writers| vec![writers]) {
            if !wanted(family) {
                continue;
            }
            println!("{name}, {writers} writers, {samples} samples each:");
            let mut pauses = Vec::new();
            for rows in &sizes {
                let seen = measure((blue, green), writers, *rows, &asked).await;
                pauses.push(at(&seen.bleen, 0.5));
                show(&seen);
            }
            if let [first, .., last] = pauses.as_slice() {
                println!(
                    "  ratio of bleen's medians, the last number of rows to the first: {:.2}",
                    last / first
                );
            }
        }
    }
}

/// Prints what was measured.
fn show(seen: &Samples) {
    let (hand, ours) = (at(&seen.hand, 0.5), at(&seen.bleen, 0.5));
    let (hand95, ours95) = (at(&seen.hand, 0.95), at(&seen.bleen, 0.95));
    println!(
        "  by hand median {hand:.1} ms, p95 {hand95:.1} ms; bleen median {ours:.1} ms, p95 {ours95:.1} ms; \
         ratio of medians {:.2}, of p95 {:.2}",
        ours / hand,
        ours95 / hand95
    );
    if !seen.compared.is_empty() {
        println!(
            "  rows compared at the fence: median {:.0}, most {:.0}",
            at(&seen.compared, 0.5),
            at(&seen.compared, 1.0)
        );
    }
    for (who, steps) in ["by hand", "bleen"].iter().zip(&seen.steps) {
        let medians = steps
            .iter()
            .map(|(name, took)| format!("{name} {:.2}", at(took, 0.5)));
        println!(
            "  {who}, medians in ms: {}",
            medians.collect::<Vec<_>>().join(", ")
        );
    }
}
