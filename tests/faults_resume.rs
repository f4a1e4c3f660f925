//! Taking over what others left: bleen killed inside an undo and inside `resume` itself, a green that somebody opened
//! meanwhile, settings that cannot be put back, playbooks that do not fit, journals that cannot be written.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bleen::adapters::mysql::session::{Address, Purpose, Session, Target, Tls};
use bleen::adapters::mysql::survey::privileged;
use bleen::adapters::mysql::switch::SwitchServers;
use bleen::domain::ids::Side;
use bleen::domain::machine::HoldKind;
use bleen::domain::outcome::Outcome;
use bleen::sandbox::{PairOptions, ServerKind};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rustix::process::Signal;
use support::check::{Kind, SOON, Scene};
use support::cli::{Ended, Operator, Plan};
use support::points::resume;
use support::proxy::Proxy;
use support::{attempt_with, caught_up, following, is_writable, settings};

/// Late at this point, a run of two seconds gives up by itself.
const LATE: &str = "pause:2300";

#[track_caller]
fn blue_serves(case: &str, ended: &Ended) {
    assert!(
        ["released", "rolled-back"].contains(&ended.outcome()) && ended.code == Some(3),
        "{case}: {}",
        ended.told()
    );
}

#[track_caller]
fn was_killed(case: &str, ended: &Ended) {
    assert_eq!(ended.signal, Some(9), "{case}: {}", ended.told());
}

/// Killed inside an undo, killed again inside `resume`, resumed.
async fn killed_twice(scene: &Scene, late: &str, undo: &str, resumed: &str) {
    let case = format!("late at {late}, killed at {undo}, resumed and killed at {resumed}");
    let operator = scene.operator();
    let watch = scene.watch().await;
    let fault = format!("{late}={LATE},{undo}=kill");
    was_killed(&case, &operator.switch(&fault).end(SOON).await);
    let fault = format!("{resumed}=kill");
    was_killed(&case, &operator.resume_with(&fault).end(SOON).await);
    blue_serves(&case, &resume(&scene.operator()).await);
    scene.check(&case, watch, Side::Blue).await;
    scene.operator().resume().end(SOON).await.expect("done", 0);
}

async fn killed_on_the_way_back(kind: Kind) {
    let scene = Scene::new(kind).await;
    for (late, undo, resumed) in [
        (
            "drain.before",
            "give-up-hold.before",
            "end-earlier-sessions.before",
        ),
        ("drain.before", "end-guard.before", "end-earlier-sessions.after"),
        ("disarm.before", "unseal.before", "unseal.after"),
        ("disarm.before", "unseal.after", "read-green.after"),
        ("drain.before", "end-guard.after", "end-guard.after"),
        ("drain.before", "put-back.before", "put-back.before"),
        ("drain.before", "put-back.after", "put-back.after"),
    ] {
        killed_twice(&scene, late, undo, resumed).await;
    }
}

async fn killed_on_the_way_forward(kind: Kind) {
    let scene = Scene::new(kind).await;
    let watch = scene.watch().await;
    let operator = scene.operator();
    was_killed("promote", &operator.switch("promote.after=kill").end(SOON).await);
    for fault in [
        "reseal.before",
        "reseal.after",
        "write-epoch.before",
        "route.after",
        "confirm.before",
    ] {
        let ended = operator.resume_with(&format!("{fault}=kill")).end(SOON).await;
        was_killed(fault, &ended);
    }
    resume(&scene.operator()).await.expect("switched", 0);
    let case = "resume killed after promote";
    scene.check(case, watch, Side::Green).await;
    scene.scheduler_moved(case).await;
}

/// A run that ended before its promote, and a green that lacks a write of blue and was opened by other means.
async fn green_opened_meanwhile(kind: Kind) {
    let scene = Scene::new(kind).await;
    let operator = scene.operator();
    was_killed("arm", &operator.switch("arm.after=kill").end(SOON).await);
    let (blue, green) = (&scene.pair.blue, &scene.pair.green);
    green.run(&[kind.stop_applier()]).await.unwrap();
    blue.run(&["INSERT INTO shop.notes VALUES (99, 'acknowledged')"])
        .await
        .unwrap();
    let (open, shut) = match kind {
        Kind::MySql => ("SET GLOBAL read_only = 0", "SET GLOBAL super_read_only = 1"),
        Kind::MariaDb => ("SET GLOBAL read_only = 0", "SET GLOBAL read_only = 1"),
    };
    green.run(&[open]).await.unwrap();
    for _ in 0..2 {
        let ended = resume(&operator).await;
        ended.expect("ambiguous", 4);
        assert!(ended.why().contains("by other means"), "{}", ended.told());
        assert!(is_writable(&scene.pair, Side::Blue).await, "{kind:?}");
    }
    green.run(&[shut, kind.start_applier()]).await.unwrap();
    blue_serves("green shut again", &resume(&operator).await);
    let watch = scene.watch().await;
    watch.load.progress(100, SOON).await.unwrap();
    scene.check("green was opened meanwhile", watch, Side::Blue).await;
    let note = green
        .value("SELECT note FROM shop.notes WHERE id = 99")
        .await
        .unwrap();
    assert_eq!(note.as_deref(), Some("acknowledged"), "green still follows");
}

async fn other_playbooks(kind: Kind) {
    let scene = Scene::new(kind).await;
    let operator = scene.operator();
    was_killed("disarm", &operator.switch("disarm.after=kill").end(SOON).await);
    let renamed = scene.operator();
    renamed.edit_playbook(|text| text.replace("name: shop", "name: store"));
    let (blue, green) = scene.plan().ports;
    let reversed = Operator::new(
        &scene.pair,
        &Plan {
            ports: (green, blue),
            ..scene.plan()
        },
    );
    let ended = renamed.resume().end(SOON).await;
    let told = ended.told();
    assert!(
        ended.code == Some(2) && told.contains("as the pair `shop`"),
        "{told}"
    );
    assert!(!is_writable(&scene.pair, Side::Blue).await, "{kind:?}");
    // With the roles exchanged it is the same pair: the run is ended in its own direction.
    let ended = resume(&reversed).await;
    assert!(
        ended.told().contains("in the other direction"),
        "{}",
        ended.told()
    );
    blue_serves("the roles exchanged", &ended);
    let nothing = operator.resume().end(SOON).await;
    nothing.expect("done", 0);
    let watch = scene.watch().await;
    watch.load.progress(100, SOON).await.unwrap();
    scene.check("other playbooks", watch, Side::Blue).await;
}

/// MariaDB: an account that was locked for the switch cannot be unlocked. The run stays open, and no other one takes
/// what it changed for the operator's own.
async fn cannot_be_put_back() {
    let scene = Scene::new(Kind::MariaDb).await;
    let make = [
        "SET SESSION sql_log_bin = 0",
        "CREATE USER through@'%' IDENTIFIED BY 'pw'",
        "GRANT READ_ONLY ADMIN ON *.* TO through@'%'",
    ];
    let drop = ["SET SESSION sql_log_bin = 0", "DROP USER through@'%'"];
    // Root is locked, too, but not its open sessions.
    let mut root = scene.pair.blue.root().await.unwrap();
    run(&mut root, &make).await;
    let plan = Plan {
        switch: "  privileged_sessions: end\n".to_owned(),
        ..scene.plan()
    };
    let operator = Operator::new(&scene.pair, &plan);
    was_killed("quiet", &operator.switch("quiet.after=kill").end(SOON).await);
    run(&mut root, &drop).await;
    for command in ["resume", "switch"] {
        let ended = match command {
            "resume" => resume(&operator).await,
            _ => operator.switch("").end(SOON).await,
        };
        ended.expect("released", 3);
        let left = ended.result()["left"].as_array().map_or(0, Vec::len);
        assert!(
            left == 1 && ended.told().contains("UNLOCK"),
            "{command}: {}",
            ended.told()
        );
        let began = |step: &str| {
            ended
                .events
                .iter()
                .any(|e| e["type"] == "step-began" && e["step"] == step)
        };
        assert!(!began("hold"), "{command} went on: {}", ended.told());
    }
    run(&mut root, &make).await;
    blue_serves("the account is there again", &resume(&operator).await);
    run(&mut root, &drop).await;
    let watch = scene.watch().await;
    watch.load.progress(100, SOON).await.unwrap();
    scene.check("put back at last", watch, Side::Blue).await;
    operator.resume().end(SOON).await.expect("done", 0);
}

async fn run(conn: &mut Conn, statements: &[&str]) {
    for statement in statements {
        conn.query_drop(*statement).await.unwrap();
    }
}

/// A frozen bleen has the journal open on the same machine; and a machine where none can be written.
async fn without_its_journal(kind: Kind) {
    let scene = Scene::new(kind).await;
    let operator = scene.operator();
    let watch = scene.watch().await;
    let mut first = operator.switch("disarm.after=stop");
    first.until_stopped(SOON).await;
    blue_serves("beside a frozen one", &resume(&operator).await);
    let run = std::fs::read_dir(operator.runs())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert!(run.path().join("resume-1.jsonl").exists());
    first.signal(Signal::CONT);
    let thawed = first.end(SOON * 2).await;
    assert_ne!(thawed.code, Some(0), "{}", thawed.told());
    scene
        .check("a frozen one has the journal", watch, Side::Blue)
        .await;

    let watch = scene.watch().await;
    was_killed("disarm", &operator.switch("disarm.after=kill").end(SOON).await);
    let nowhere = scene.operator();
    std::fs::create_dir_all(nowhere.runs().parent().unwrap()).unwrap();
    std::fs::write(nowhere.runs(), "no directory").unwrap();
    let ended = resume(&nowhere).await;
    blue_serves("no journal", &ended);
    assert!(ended.told().contains("without a journal"), "{}", ended.told());
    scene.check("no journal can be written", watch, Side::Blue).await;
}

/// A frozen run whose servers' clocks were read around a stall: what looks like a start at another time must not leave
/// its sessions alive, which could promote once it is thawed.
async fn clocks_around_a_stall(kind: Kind, seconds: i64) {
    let scene = Scene::new(kind).await;
    let operator = scene.operator();
    let watch = scene.watch().await;
    let mut first = operator.switch("quiet.after=stop");
    first.until_stopped(SOON).await;
    let question = "SELECT facts FROM bleen.runs WHERE outcome IS NULL";
    let text = scene.pair.blue.value(question).await.unwrap().unwrap();
    let mut facts: serde_json::Value = serde_json::from_str(&text).unwrap();
    for started in facts["started"].as_array_mut().unwrap() {
        *started = (started.as_i64().unwrap() + seconds).into();
    }
    let ids = facts.clone();
    let facts = bleen::adapters::mysql::quote::text(&facts.to_string());
    let change = format!("UPDATE bleen.runs SET facts = {facts} WHERE outcome IS NULL");
    scene.pair.blue.run(&[change]).await.unwrap();
    blue_serves("a stall", &resume(&scene.operator()).await);
    for (server, role) in [
        (&scene.pair.green, "promote_session"),
        (&scene.pair.blue, "hold_session"),
    ] {
        let question = format!(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE id = {}",
            ids[role]
        );
        let left = server.value(&question).await.unwrap();
        assert_eq!(left.as_deref(), Some("0"), "{kind:?}: {role}");
    }
    first.signal(Signal::CONT);
    let thawed = first.end(SOON * 2).await;
    assert_ne!(thawed.code, Some(0), "{}", thawed.told());
    scene.check("clocks read around a stall", watch, Side::Blue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_not_taken_for_a_restart() {
    tokio::join!(
        clocks_around_a_stall(Kind::MariaDb, 100),
        // Where the server keeps connection attributes, the run's mark finds them whatever the clocks say.
        clocks_around_a_stall(Kind::MySql, -100)
    );
}

/// An account that counts as open is locked for the switch and unlocked after it, also one that the operator locked.
#[tokio::test(flavor = "multi_thread")]
async fn locked_accounts_that_cannot_be_read_are_an_error() {
    let scene = Scene::new(Kind::MariaDb).await;
    let make = [
        "SET SESSION sql_log_bin = 0",
        "CREATE USER poor@'%' IDENTIFIED BY 'pw'",
        "GRANT READ_ONLY ADMIN ON *.* TO poor@'%'",
        "GRANT SELECT ON mysql.roles_mapping TO poor@'%'",
    ];
    scene.pair.blue.run(&make).await.unwrap();
    let server = support::server(&scene.pair, Side::Blue).await;
    let poor = Target {
        user: "poor".into(),
        password: "pw".to_owned().into(),
        ..server.target
    };
    let purpose = Purpose {
        run: None,
        role: "test",
    };
    let mut session = Session::open(&poor, &purpose, support::BUDGET).await.unwrap();
    let read = privileged::accounts(&mut session, &server.caps.version, support::BUDGET).await;
    assert_eq!(read.unwrap_err().code(), Some(1142));
}

/// Without GTIDs green's own binlog grows with everything that it applies; only what it made itself counts.
async fn by_file_and_offset(blue: ServerKind, green: ServerKind) {
    let pair = following(blue, green, &PairOptions::default().gtid(false)).await;
    // Its blue could not follow its green.
    let plan = Plan {
        switch: "  accept_no_way_back: true\n".to_owned(),
        ..Plan::of(&pair)
    };
    let operator = Operator::new(&pair, &plan);
    for point in ["quiet.after", "hold.after", "seal.after", "disarm.after"] {
        let case = format!("{blue:?} to {green:?}, killed at {point}");
        let fault = format!("{point}=kill");
        was_killed(&case, &operator.switch(&fault).end(SOON).await);
        // What green applies meanwhile is not its own.
        if point == "quiet.after" {
            caught_up(&pair).await;
        }
        blue_serves(&case, &resume(&operator).await);
        caught_up(&pair).await;
        eprintln!("{case}: blue serves");
    }
    was_killed("promote", &operator.switch("promote.after=kill").end(SOON).await);
    resume(&operator).await.expect("switched", 0);
}

/// A green that took a write of its own and is shut again must be seen, whatever its positions are.
async fn green_wrote(blue: ServerKind, green: ServerKind, gtid: bool) {
    let pair = following(blue, green, &PairOptions::default().gtid(gtid)).await;
    let plan = Plan {
        switch: "  accept_no_way_back: true\n".to_owned(),
        ..Plan::of(&pair)
    };
    let operator = Operator::new(&pair, &plan);
    was_killed("disarm", &operator.switch("disarm.after=kill").end(SOON).await);
    // What green writes now does not reach blue.
    let stop = match blue {
        ServerKind::MySql97 => "STOP REPLICA",
        _ => "STOP SLAVE",
    };
    pair.blue.run(&[stop]).await.unwrap();
    let (open, shut) = match green {
        ServerKind::MySql97 => ("SET GLOBAL read_only = 0", "SET GLOBAL super_read_only = 1"),
        _ => ("SET GLOBAL read_only = 0", "SET GLOBAL read_only = 1"),
    };
    pair.green
        .run(&[open, "CREATE DATABASE only_here", shut])
        .await
        .unwrap();
    let ended = resume(&operator).await;
    ended.expect("ambiguous", 4);
    assert!(ended.why().contains("green-written"), "{}", ended.told());
    assert!(!is_writable(&pair, Side::Blue).await);
}

/// Blue's address leads to another server after the seal: nothing is undone there.
async fn address_moved(blue: ServerKind, green: ServerKind) {
    let pair = following(blue, green, &PairOptions::default()).await;
    let proxy = Arc::new(Proxy::start(pair.blue.port()).await);
    let by_proxy = async || {
        let mut by_proxy = settings(&pair, HoldKind::Lock).await;
        by_proxy.blue.target.address = Address::Tcp("127.0.0.1".into(), proxy.port());
        by_proxy.blue.target.tls = Tls::Disabled;
        by_proxy
    };
    let elsewhere = pair.green.port();
    let mut ended = None;
    // On a busy machine the hold may not be granted in time; only one that came to the disarm has tried anything.
    for _ in 0..8 {
        let moving = Arc::clone(&proxy);
        let attempt = attempt_with(by_proxy().await, "disarm", move || {
            let moving = Arc::clone(&moving);
            async move { moving.has_led_to(elsewhere).await }
        })
        .await;
        let blocked = matches!(&attempt.outcome, Outcome::Released { why, .. } if why.kind.may_try_again());
        ended = Some(attempt);
        if !blocked {
            break;
        }
    }
    let ended = ended.unwrap();
    let Outcome::Ambiguous { why } = &ended.outcome else {
        panic!("{blue:?}: {:?}", ended.outcome)
    };
    assert!(
        why.detail.contains("another server answers there now"),
        "{}",
        why.detail
    );
    assert!(!is_writable(&pair, Side::Green).await, "{blue:?}");
    // The guard's client is gone: blue opens by itself within 5 s, and a busy machine is given its due.
    let since = Instant::now();
    while !is_writable(&pair, Side::Blue).await {
        assert!(since.elapsed() < SOON, "{blue:?}: still sealed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // Nor does a takeover touch it: not even the lock there is asked for.
    proxy.lead_to(pair.blue.port());
    let by_proxy = by_proxy().await;
    let servers = SwitchServers::open(by_proxy.clone()).await.unwrap();
    let facts = servers.facts().lock().unwrap().clone();
    proxy.lead_to(elsewhere);
    let refused = SwitchServers::take_over(by_proxy, facts)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("another server answers there now"), "{refused}");
    drop(servers);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_undone_on_another_server() {
    tokio::join!(
        address_moved(ServerKind::MySql97, ServerKind::MySql97),
        address_moved(ServerKind::MariaDb1011, ServerKind::MariaDb118)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_killed_on_the_way_back() {
    killed_on_the_way_back(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_killed_on_the_way_back() {
    killed_on_the_way_back(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_after_promote() {
    tokio::join!(
        killed_on_the_way_forward(Kind::MySql),
        killed_on_the_way_forward(Kind::MariaDb)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_others_opened_is_not_taken_for_promoted() {
    tokio::join!(
        green_opened_meanwhile(Kind::MySql),
        green_opened_meanwhile(Kind::MariaDb)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn playbooks_that_do_not_fit_are_refused() {
    tokio::join!(other_playbooks(Kind::MySql), other_playbooks(Kind::MariaDb));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_keeps_the_run_open() {
    cannot_be_put_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_ended_without_its_journal() {
    tokio::join!(
        without_its_journal(Kind::MySql),
        without_its_journal(Kind::MariaDb)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn resumed_by_file_and_offset() {
    by_file_and_offset(ServerKind::MySql56, ServerKind::MariaDb118).await;
    by_file_and_offset(ServerKind::MySql97, ServerKind::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_on_green_is_seen_by_every_kind_of_position() {
    green_wrote(ServerKind::MySql97, ServerKind::MySql97, true).await;
    green_wrote(ServerKind::MySql97, ServerKind::MySql97, false).await;
    green_wrote(ServerKind::MariaDb1011, ServerKind::MariaDb118, true).await;
}
