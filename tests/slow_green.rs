//! A green that cannot keep up, on real servers: its disk takes ten milliseconds for every sync, and blue's writers write
//! faster than it applies. It is recognised by the rates and never waited for without a bound; where the playbook allows
//! it, green is relaxed, keeps up, and is durable again on every way out.

#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bleen::adapters::mysql::capabilities::variables;
use bleen::domain::ids::Side;
use bleen::sandbox::{Endpoint, Load, LoadOptions, PairOptions, SandboxPair};
use rustix::process::{Pid, Signal, kill_process};
use support::check::{Kind, SOON, shop};
use support::{BUDGET, Operator, Said, ended, fingerprint, session, slow_disk};

/// How long one sync of green takes.
const SYNC: u32 = 10;

/// Within which everything that recognises a slow green has to end: what it bears, and a slow machine.
const BOUND: Duration = Duration::from_secs(60);

struct Slow {
    kind: Kind,
    pair: SandboxPair,
    /// Holds the library of the slow disk for as long as green runs.
    _library: tempfile::TempDir,
}

impl Slow {
    async fn new(kind: Kind) -> Self {
        let library = tempfile::tempdir().unwrap();
        let mut options = PairOptions::default();
        options.green.environment = slow_disk::environment(library.path(), SYNC);
        // One worker: it syncs for every single transaction.
        options.green.extra = vec![
            "loose-replica-parallel-workers=1".into(),
            "loose-slave-parallel-threads=0".into(),
        ];
        let (blue, green) = kind.servers();
        let pair = SandboxPair::start(blue, green, &options).await.unwrap();
        pair.blue.run(&shop(&pair.accounts.app.user)).await.unwrap();
        Self {
            kind,
            pair,
            _library: library,
        }
    }

    /// An operator whose playbook may relax green or not, with the `switch` section and the observation time given.
    fn operator(&self, may_relax: bool, switch: &str, observe: &str) -> Operator {
        Operator::of(&self.pair, |text| {
            text.replace(
                "replication:\n",
                &format!("replication:\n  relax_green: {may_relax}\n"),
            )
            .replace("observe: 1s", &format!("observe: {observe}"))
                + "switch:\n  attempts: 1\n"
                + switch
        })
    }

    async fn durability(&self) -> (String, String) {
        let mut green = session(&self.pair, Side::Green).await;
        let names = ["sync_binlog", "innodb_flush_log_at_trx_commit"];
        let mut seen = variables(&mut green, &names, BUDGET).await.unwrap();
        let mut take = |name: &str| seen.remove(name).unwrap();
        (take(names[0]), take(names[1]))
    }

    async fn is_durable(&self, after: &str) {
        let seen = self.durability().await;
        assert_eq!(
            (seen.0.as_str(), seen.1.as_str()),
            ("1", "1"),
            "{:?}: green after {after}",
            self.kind
        );
    }

    async fn is_relaxed(&self, after: &str) {
        let seen = self.durability().await;
        assert_eq!(
            (seen.0.as_str(), seen.1.as_str()),
            ("0", "2"),
            "{:?}: green after {after}",
            self.kind
        );
    }

    /// `bleen prepare` with a playbook that allows it: green falls behind, is relaxed, and keeps up.
    async fn prepared(&self) {
        let began = Instant::now();
        let said = self
            .operator(true, "", "1s")
            .run("prepare", &["--output", "json"])
            .await;
        eprintln!("{:?}: relaxed and caught up in {:?}", self.kind, began.elapsed());
        assert_eq!(said.code, 0, "{said}");
        assert_eq!(said.result()["green_relaxed"], true, "{said}");
        assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
        self.is_relaxed("preparing").await;
    }
}

/// Says how fast blue writes and green applies.
fn has_numbers(text: &str) -> bool {
    let numbers = |word: &str| {
        text.split_once(word).is_some_and(|(before, _)| {
            let digits: String = before.chars().rev().take_while(char::is_ascii_digit).collect();
            digits.chars().rev().collect::<String>().parse::<u32>().is_ok()
        })
    };
    (numbers("/s written on blue") && numbers("/s applied on green"))
        || (text.contains("blue writes ") && numbers("/s and green applies"))
}

/// Without permission: told with the numbers and what would help, and everything as it was.
async fn is_recognised(slow: &Slow) {
    let pair = &slow.pair;
    let before = fingerprint(pair, Side::Blue).await;
    let began = Instant::now();
    let said = slow
        .operator(false, "", "1s")
        .run("prepare", &["--output", "json"])
        .await;
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert_eq!(
        (said.code, &said.result()["outcome"]),
        (3, &"released".into()),
        "{said}"
    );
    let why = said.result()["why"].to_string();
    eprintln!("{:?}: {:?}: {why}", slow.kind, began.elapsed());
    assert!(why.contains("will never catch up") && has_numbers(&why), "{why}");
    assert!(why.contains("relax_green: true"), "{why}");
    slow.is_durable("a preparation that was not allowed to relax it")
        .await;
    assert_eq!(fingerprint(pair, Side::Blue).await, before);
}

async fn misses(slow: &Slow) {
    let operator = slow.operator(true, "  deadline: 2s\n", "1s");
    let mut process = operator.command("switch", &["--confirm", "shop", "--output", "json"]);
    process.env("BLEEN_FAULT", "hold.after=pause:2300");
    let said = ended(process).await;
    assert_eq!(
        (said.code, &said.result()["outcome"]),
        (3, &"released".into()),
        "{said}"
    );
    assert_eq!(said.result()["why"]["kind"], "deadline-missed", "{said}");
    slow.is_durable("a missed deadline").await;
}

/// A durable green falls behind again: the switch says why it does not begin, and its window is the bound.
async fn does_not_begin(slow: &Slow) {
    let operator = slow.operator(true, "  window: 12s\n", "1s");
    let began = Instant::now();
    let said = operator
        .run("switch", &["--confirm", "shop", "--output", "json"])
        .await;
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert_eq!(
        (said.code, &said.result()["outcome"]),
        (2, &"not-ready".into()),
        "{said}"
    );
    let why = said.result()["why"].to_string();
    eprintln!("{:?}: {why}", slow.kind);
    assert!(
        why.contains("lag") && has_numbers(&why) && why.contains("bleen prepare"),
        "{why}"
    );
}

async fn is_interrupted(slow: &Slow) {
    let operator = slow.operator(true, "", "5m");
    let mut process = operator.command("switch", &["--confirm", "shop", "--output", "json"]);
    let said = tokio::task::spawn_blocking(move || {
        let mut child = process
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let measured = |line: &String| line.contains("\"type\":\"lag\"");
        assert!(lines.by_ref().map(Result::unwrap).any(|line| measured(&line)));
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let stdout: Vec<String> = lines.map(Result::unwrap).collect();
        let status = child.wait().unwrap();
        Said {
            code: status.code().unwrap_or(-1),
            stdout: stdout.join("\n"),
            stderr: String::new(),
        }
    })
    .await
    .unwrap();
    assert_eq!(
        (said.code, &said.result()["outcome"]),
        (130, &"interrupted".into()),
        "{said}"
    );
    slow.is_durable("a Ctrl-C").await;
}

async fn switches(slow: &Slow) {
    let said = slow
        .operator(true, "", "1s")
        .run("switch", &["--confirm", "shop", "--output", "json"])
        .await;
    assert_eq!(
        (said.code, &said.result()["outcome"]),
        (0, &"switched".into()),
        "{said}"
    );
    slow.is_durable("a switch").await;
}

async fn story(kind: Kind) {
    let slow = Slow::new(kind).await;
    let (blue, green) = Endpoint::both(&slow.pair);
    let options = LoadOptions {
        writers: 4,
        rate: 50,
        ..LoadOptions::default()
    };
    let load = Load::start(&blue, &green, options).unwrap();
    load.progress(50, SOON).await.unwrap();
    is_recognised(&slow).await;
    slow.prepared().await;
    misses(&slow).await;
    does_not_begin(&slow).await;
    slow.prepared().await;
    is_interrupted(&slow).await;
    slow.prepared().await;
    switches(&slow).await;
    load.progress(10, SOON).await.unwrap();
    let check = load.stop().await.verify(&green).await.unwrap();
    assert!(check.is_clean(), "{kind:?}: {check:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql() {
    story(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb() {
    story(Kind::MariaDb).await;
}
