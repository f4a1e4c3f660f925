//! The playbook's hooks on a real pair: when they run, what they are told, what their failure does, and that none runs
//! while writers are held.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that stops says where")]

mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bleen::domain::ids::Side;
use bleen::sandbox::{PairOptions, SandboxPair, ServerKind};
use serde_json::Value;
use support::{Operator, Said, fingerprint, is_writable};

/// Writes one line for each call: moment, pair, whether the addresses and the run are there, attempt, outcome.
const TELL: &str = "echo \"$BLEEN_HOOK $BLEEN_PAIR ${BLEEN_RUN:+run} ${BLEEN_BLUE:+blue} ${BLEEN_GREEN:+green} \
                    attempt=$BLEEN_ATTEMPT outcome=$BLEEN_OUTCOME why=${BLEEN_WHY:+yes}\" >> ";

fn hook(at: &str, log: &Path, more: &str, failure: &str) -> String {
    format!(
        "  - exec:\n      at: {at}\n      name: tell-{at}\n      command:\n        - /bin/sh\n        - -c\n        - |\n          \
         {TELL}{}\n          {more}\n      timeout: 5s\n      failure: {failure}\n",
        log.display()
    )
}

fn lines(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let _ = std::fs::remove_file(log);
    text.lines().map(str::to_owned).collect()
}

fn events(said: &str) -> Vec<Value> {
    said.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The place of the first event that is so.
fn place(events: &[Value], what: &str, is: impl Fn(&Value) -> bool) -> usize {
    events
        .iter()
        .position(is)
        .unwrap_or_else(|| panic!("no {what} in {events:#?}"))
}

async fn switch(operator: &Operator) -> Said {
    operator
        .run("switch", &["--confirm", "shop", "--output", "json"])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_are_run_around_a_switch_and_never_inside_the_hold() {
    let kind = ServerKind::MySql97;
    let pair = SandboxPair::start(kind, kind, &PairOptions::default())
        .await
        .unwrap();
    pair.blue
        .run(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)"])
        .await
        .unwrap();
    let place_of_log = tempfile::tempdir().unwrap();
    let log = place_of_log.path().join("hooks");
    let with = |before: &str, failure: &str, after: &str| {
        let text = format!(
            "hooks:\n{}{}{}",
            hook("before_hold", &log, before, failure),
            hook("after_release", &log, after, "notify"),
            hook("after_switch", &log, after, "notify")
        );
        Operator::of(&pair, move |playbook| format!("{playbook}{text}"))
    };

    let operator = with("exit 0", "abort", "exit 0");
    let prepared = operator.run("prepare", &[]).await;
    assert_eq!(prepared.code, 0, "{prepared}");
    assert!(lines(&log).is_empty(), "prepare holds nobody");
    plan_shows_them_in_their_place(&operator).await;
    assert!(lines(&log).is_empty(), "a plan runs nothing");

    // One that may stop the run and fails: nothing has changed, and whoever was told of a beginning is told of the end.
    let before = fingerprint(&pair, Side::Blue).await;
    let stopped = switch(&with("echo no change window >&2; exit 3", "abort", "exit 0")).await;
    assert_eq!(
        (stopped.code, stopped.result()["outcome"].as_str()),
        (2, Some("not-ready"))
    );
    assert!(stopped.stdout.contains("no change window"), "{stopped}");
    assert!(
        stopped.result()["why"][0]
            .as_str()
            .unwrap()
            .contains("tell-before_hold"),
        "{stopped}"
    );
    assert_eq!(fingerprint(&pair, Side::Blue).await, before);
    assert!(is_writable(&pair, Side::Blue).await && !is_writable(&pair, Side::Green).await);
    let told = "shop run blue green";
    assert_eq!(
        lines(&log),
        [
            format!("before_hold {told} attempt=1 outcome= why="),
            format!("after_release {told} attempt= outcome=not-ready why=yes")
        ]
    );

    interrupted_under_the_hold(&with("exit 0", "abort", "exit 0")).await;
    assert!(is_writable(&pair, Side::Blue).await);
    assert_eq!(
        lines(&log),
        [
            format!("before_hold {told} attempt=1 outcome= why="),
            format!("after_release {told} attempt= outcome=released why=yes")
        ]
    );

    // The failure of one that only tells is a warning, before and after.
    let switched = switch(&with("exit 4", "notify", "exit 5")).await;
    assert_eq!(
        (switched.code, switched.result()["outcome"].as_str()),
        (0, Some("switched")),
        "{switched}"
    );
    assert_eq!(
        lines(&log),
        [
            format!("before_hold {told} attempt=1 outcome= why="),
            format!("after_switch {told} attempt= outcome=switched why=")
        ]
    );
    let said = events(&switched.stdout);
    let step =
        |step: &'static str, kind: &'static str| move |e: &Value| e["type"] == kind && e["step"] == step;
    let hook = |at: &'static str, kind: &'static str| move |e: &Value| e["type"] == kind && e["at"] == at;
    let order = [
        place(&said, "before_hold", hook("before_hold", "hook-began")),
        place(&said, "its end", hook("before_hold", "hook-ended")),
        place(&said, "quiet", step("quiet", "step-began")),
        place(&said, "hold", step("hold", "step-began")),
        place(&said, "release", step("release", "step-done")),
        place(&said, "confirm", step("confirm", "step-done")),
        place(&said, "after_switch", hook("after_switch", "hook-began")),
    ];
    assert!(order.is_sorted(), "{order:?}: {switched}");
    let failed: Vec<&Value> = said
        .iter()
        .filter(|e| e["type"] == "hook-ended" && e["why"].is_string())
        .collect();
    assert_eq!(failed.len(), 2, "{switched}");
}

async fn plan_shows_them_in_their_place(operator: &Operator) {
    let plan = operator.run("plan", &["--output", "json"]).await;
    assert_eq!(plan.code, 0, "{plan}");
    let planned: Vec<Value> = events(&plan.stdout)
        .into_iter()
        .filter(|e| e["type"] == "planned")
        .collect();
    let of = |words: &'static str| {
        place(&planned, words, move |e| {
            e["statement"].as_str().unwrap().contains(words)
        })
    };
    let order = [
        of("run tell-before_hold:"),
        of("REPLACE INTO bleen.runs"),
        of("FLUSH TABLES WITH READ LOCK"),
        of("KILL CONNECTION <each session idle"),
        of("run tell-after_switch:"),
        of("run tell-after_release:"),
    ];
    assert!(order.is_sorted(), "{order:?}: {plan}");
}

async fn interrupted_under_the_hold(operator: &Operator) {
    let mut child = operator
        .command("switch", &["--confirm", "shop", "--output", "json"])
        .env("BLEEN_FAULT", "hold.after=pause:1500")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let (held, mut reader) = (
        std::sync::Arc::new(tokio::sync::Notify::new()),
        child.stdout.take(),
    );
    let seen = held.clone();
    let output = tokio::task::spawn_blocking(move || {
        use std::io::BufRead;
        let mut all = String::new();
        for line in std::io::BufReader::new(reader.take().unwrap()).lines() {
            let line = line.unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["type"] == "step-done" && event["step"] == "hold" {
                seen.notify_one();
            }
            all.push_str(&line);
            all.push('\n');
        }
        all
    });
    tokio::time::timeout(Duration::from_secs(60), held.notified())
        .await
        .unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let said = events(&output.await.unwrap());
    assert_eq!(child.wait().unwrap().code(), Some(3), "{said:#?}");
    assert_eq!(said.last().unwrap()["outcome"], "released", "{said:#?}");
    let order = [
        place(&said, "undo", |e| e["type"] == "attempt-ended"),
        place(&said, "after_release", |e| {
            e["type"] == "hook-began" && e["at"] == "after_release"
        }),
    ];
    assert!(order.is_sorted(), "{said:#?}");
}
