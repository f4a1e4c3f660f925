//! The commands that only look, when it matters: `status` while a server is down, `watch` beside a switch.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that stops says where")]

mod support;

use std::process::Stdio;
use std::time::Duration;

use bleen::adapters::mysql::lag::{LagMeter, Setup};
use bleen::domain::ids::Side;
use bleen::sandbox::{PairOptions, SandboxPair, ServerKind};
use serde_json::Value;
use support::{BUDGET, Operator, Said, following, is_writable, server, session, target};

async fn prepared(blue: ServerKind, green: ServerKind) -> (SandboxPair, Operator) {
    let pair = SandboxPair::start(blue, green, &PairOptions::default())
        .await
        .unwrap();
    pair.blue
        .run(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)"])
        .await
        .unwrap();
    let operator = Operator::prepared(&pair).await;
    (pair, operator)
}

async fn status(operator: &Operator, code: i32) -> (Value, Said) {
    let said = operator.run("status", &["--output", "json"]).await;
    assert_eq!(said.code, code, "{said}");
    (said.result(), said)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn status_reports_the_side_that_is_left() {
    let (pair, operator) = prepared(ServerKind::MySql97, ServerKind::MySql97).await;

    // A bleen that dies under the seal, and then a server that is down: the worst hour.
    let mut killed = operator.command("switch", &["--confirm", "shop"]);
    killed.env("BLEEN_FAULT", "seal.after=kill");
    let ended = tokio::task::spawn_blocking(move || killed.output().unwrap())
        .await
        .unwrap();
    assert_eq!(ended.status.code(), None, "{ended:?}");
    pair.green.kill().unwrap();
    let (seen, said) = status(&operator, 69).await;
    assert_eq!(seen["outcome"], "unreachable", "{said}");
    assert!(seen["blue"]["version"].is_string(), "{said}");
    assert!(seen["blue"]["accepts_writes"].is_boolean(), "{said}");
    assert!(
        text(&seen["green"]["unreachable"]).contains("green (127.0.0.1:"),
        "{said}"
    );
    assert!(
        text(&seen["state"]).contains("green may have been promoted"),
        "{said}"
    );
    assert_eq!(seen["unfinished_run"]["step"], "seal", "{said}");
    assert!(
        text(&seen["this_machine"]["last"]).contains("came to step seal"),
        "{said}"
    );
    // Another machine knows the run from blue alone.
    let elsewhere = Operator::of(&pair, |text| text);
    let (seen, said) = status(&elsewhere, 69).await;
    assert_eq!(seen["this_machine"], Value::Null, "{said}");
    assert!(
        text(&seen["unfinished_run"]["by"]).starts_with("operator@"),
        "{said}"
    );
    // A person reads the same on stdout, and is told what is wrong on stderr.
    let human = elsewhere.run("status", &[]).await;
    assert_eq!(human.code, 69, "{human}");
    assert!(human.stdout.contains("accepts writes"), "{human}");
    assert!(
        human.stderr.contains("failed to") && human.stderr.contains("green"),
        "{human}"
    );

    pair.blue.kill().unwrap();
    let (seen, said) = status(&operator, 69).await;
    assert_eq!(seen["writable"], "neither server could be asked", "{said}");
    // Nothing is claimed that only a server could have said.
    assert_eq!(seen["run_lock"], "neither server could be asked", "{said}");
    assert_eq!(
        seen["to_put_back"][0], "not known: neither server could be asked",
        "{said}"
    );
    assert!(
        text(&seen["this_machine"]["last"]).contains("came to step seal"),
        "{said}"
    );

    pair.green.start_again().await.unwrap();
    let (seen, said) = status(&operator, 69).await;
    assert_eq!(seen["green"]["accepts_writes"], false, "{said}");
    assert!(seen["blue"]["unreachable"].is_string(), "{said}");
    assert!(
        text(&seen["replication"]).starts_with("green is told to follow"),
        "{said}"
    );
    assert!(text(&seen["state"]).contains("blue could not be asked"), "{said}");

    pair.blue.start_again().await.unwrap();
    let (seen, said) = status(&operator, 0).await;
    assert_eq!(seen["state"], "a run is unfinished", "{said}");
    let resumed = operator.run("resume", &["--output", "json"]).await;
    assert_eq!(resumed.code, 3, "{resumed}");
    let (seen, said) = status(&operator, 0).await;
    assert_eq!(seen["writable"], "blue", "{said}");
    assert!(
        text(&seen["this_machine"]["last"]).starts_with("ended: "),
        "{said}"
    );
}

/// A `watch` runs while the pair is switched: it neither stands in the way nor ends, and says who accepts writes.
async fn watches_a_switch(blue: ServerKind, green: ServerKind) {
    let (pair, operator) = prepared(blue, green).await;
    let watch = operator
        .command("watch", &["--every", "100ms", "--output", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(watch.id()).unwrap()).unwrap();
    let watch = tokio::task::spawn_blocking(move || watch.wait_with_output().unwrap());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let switched = operator
        .run("switch", &["--confirm", "shop", "--output", "json"])
        .await;
    assert_eq!(
        (switched.code, text(&switched.result()["outcome"])),
        (0, "switched"),
        "{switched}"
    );
    // One that beat on would write on blue now.
    let beats = "SELECT n FROM bleen.heartbeat";
    let before = pair.blue.value(beats).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        pair.blue.value(beats).await.unwrap(),
        before,
        "a write on the sealed blue"
    );
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = watch.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let looks: Vec<(Value, Value)> = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["type"] == "lag")
        .map(|event| (event["blue_writable"].clone(), event["green_writable"].clone()))
        .collect();
    let of = |blue: bool, green: bool| (Value::Bool(blue), Value::Bool(green));
    assert!(looks.contains(&of(true, false)), "{said}");
    assert_eq!(looks.last(), Some(&of(false, true)), "{said}");
    assert!(!looks.contains(&of(true, true)), "{said}");
    // Green follows nobody any more: what was measured before is no lag of now.
    let last = said
        .lines()
        .rfind(|line| line.contains("\"type\":\"lag\""))
        .unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(
        (&last["lag_ms"], &last["write_rate"]),
        (&Value::Null, &Value::Null),
        "{said}"
    );
    assert!(said.contains("green accepts the writes now"), "{said}");
    assert!(
        said.contains("stops watching") && !said.contains("put back"),
        "{said}"
    );
    assert!(is_writable(&pair, Side::Green).await && !is_writable(&pair, Side::Blue).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_is_switched_while_it_is_watched() {
    watches_a_switch(ServerKind::MySql97, ServerKind::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_is_switched_while_it_is_watched() {
    watches_a_switch(ServerKind::MariaDb1011, ServerKind::MariaDb118).await;
}

/// A heartbeat that waits at a hold goes on after the seal, on MariaDB with an account that may write through it. It
/// writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_waits_at_the_hold_does_not_write_through_the_seal() {
    let pair = following(
        ServerKind::MariaDb1011,
        ServerKind::MariaDb118,
        &PairOptions::default(),
    )
    .await;
    let caps = (
        server(&pair, Side::Blue).await.caps,
        server(&pair, Side::Green).await.caps,
    );
    let meter = LagMeter::start(Setup {
        blue: target(&pair, Side::Blue),
        green: target(&pair, Side::Green),
        blue_caps: caps.0,
        green_caps: caps.1,
        run: None,
        every: Duration::from_millis(20),
    });
    let beats = "SELECT n FROM bleen.heartbeat";
    let mut holder = session(&pair, Side::Blue).await;
    let began: u64 = holder.one("read", beats, BUDGET).await.unwrap();
    for at in 0.. {
        let now: u64 = holder.one("read", beats, BUDGET).await.unwrap();
        if now > began {
            break;
        }
        assert!(at < 200, "no heartbeat is written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    holder
        .run("hold", "FLUSH TABLES WITH READ LOCK", BUDGET)
        .await
        .unwrap();
    let waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%UPDATE bleen.heartbeat%' \
                   AND STATE LIKE 'Waiting for%' AND ID <> CONNECTION_ID()";
    for at in 0.. {
        let there: u64 = holder.one("look", waiting, BUDGET).await.unwrap();
        if there == 1 {
            break;
        }
        assert!(at < 200, "no heartbeat waits at the hold");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let held: u64 = holder.one("read", beats, BUDGET).await.unwrap();
    holder
        .run("seal", "SET GLOBAL read_only = 1", BUDGET)
        .await
        .unwrap();
    holder.run("release", "UNLOCK TABLES", BUDGET).await.unwrap();
    let mut samples = meter.samples();
    let told = samples.wait_for(|sample| {
        sample
            .trouble
            .as_ref()
            .is_some_and(|trouble| trouble.contains("blue is read-only"))
    });
    tokio::time::timeout(BUDGET, told).await.unwrap().unwrap();
    let after: u64 = holder.one("read", beats, BUDGET).await.unwrap();
    assert_eq!(after, held);
    meter.stop(BUDGET).await;
}
