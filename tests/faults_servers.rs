//! Servers that stand in the way, stop, die or restart during a switch.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use std::time::{Duration, Instant};

use bleen::domain::ids::Side;
use bleen::sandbox::writable_sides;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use support::check::{Kind, SOON, Scene};
use support::cli::{Operator, Plan};
use support::points::resume;

/// Locks a row on green and changes it on blue: green's applier waits for as long as the connection lives.
async fn stuck(scene: &Scene) -> Conn {
    let mut locker = scene.pair.green.root().await.unwrap();
    locker.query_drop("BEGIN").await.unwrap();
    locker
        .query_drop("SELECT note FROM shop.notes WHERE id = 1 LOCK IN SHARE MODE")
        .await
        .unwrap();
    let change = "UPDATE shop.notes SET note = CONCAT(LEFT(note, 50), 'x') WHERE id = 1";
    // As the application: a session that may write through read-only would be a reason of its own to release.
    let mut writer = scene.blue.connect(SOON).await.unwrap();
    writer.query_drop(change).await.unwrap();
    locker
}

fn once(scene: &Scene) -> Operator {
    with(scene, "")
}

fn with(scene: &Scene, switch: &str) -> Operator {
    let plan = Plan {
        attempts: 1,
        switch: switch.to_owned(),
        ..scene.plan()
    };
    Operator::new(&scene.pair, &plan)
}

async fn deadline_missed(scene: &Scene) {
    let operator = once(scene);
    let watch = scene.watch().await;
    let (run, locker) = operator
        .switch_with(async || stuck(scene).await, async |locker| drop(locker))
        .await;
    let ended = run.end(SOON).await;
    ended.expect("released", 3);
    let why = ended.why();
    assert!(
        why.contains("deadline-missed") && why.contains("row lock") && why.contains("notes"),
        "{why}"
    );
    watch.blue_goes_on("deadline missed", scene.plan().bound()).await;
    drop(locker);
    let report = scene.check("deadline missed", watch, Side::Blue).await;
    // The writers waited, and nobody was refused or lost.
    assert!(
        report.log.refusals.is_empty() && report.log.lost_connections.is_empty(),
        "{:?}",
        report.log.refusals
    );
    // The first writer to meet the hold does so up to one write's time after it was sent.
    let longest = report.whole().longest_write;
    assert!(
        longest + Duration::from_secs(1) / 25 >= scene.plan().deadline,
        "nobody was held: {longest:?}"
    );
}

async fn applier_stopped(scene: &Scene) {
    let operator = once(scene);
    let watch = scene.watch().await;
    let green = &scene.pair.green;
    let (run, ()) = operator
        .switch_with(
            async || green.run(&[scene.kind.stop_applier()]).await.unwrap(),
            async |()| green.run(&[scene.kind.start_applier()]).await.unwrap(),
        )
        .await;
    let ended = run.end(SOON).await;
    ended.expect("released", 3);
    assert!(ended.why().contains("applier-stopped"), "{}", ended.why());
    scene.pair.green.run(&[scene.kind.start_applier()]).await.unwrap();
    let report = scene.check("applier stopped", watch, Side::Blue).await;
    // It was not waited for until the deadline.
    assert!(
        report.whole().longest_write < scene.plan().deadline,
        "{:?}",
        report.whole()
    );
}

/// Green dies while it is waited for.
async fn green_killed_under_drain(scene: &Scene) {
    let case = "green killed under the drain";
    let operator = once(scene);
    let watch = scene.watch().await;
    let (mut run, locker) = operator
        .switch_with(async || stuck(scene).await, async |locker| drop(locker))
        .await;
    run.step_done("fence", SOON).await;
    scene.pair.green.kill().unwrap();
    drop(locker);
    watch.blue_goes_on(case, scene.plan().bound()).await;
    scene.pair.green.start_again().await.unwrap();
    run.end(SOON * 2).await.expect("released", 3);
    scene.check(case, watch, Side::Blue).await;
}

/// Green is restarted in order before it is waited for: it comes back read-only.
async fn green_restarted_before_drain(scene: &Scene) {
    let case = "green restarted before the drain";
    let plan = Plan {
        attempts: 1,
        deadline: Duration::from_secs(6),
        ..scene.plan()
    };
    let operator = Operator::new(&scene.pair, &plan);
    let watch = scene.watch().await;
    let run = operator.switch_to("fence.after=pause:5000", "fence").await;
    scene.pair.green.restart().await.unwrap();
    run.end(SOON * 2).await.expect("released", 3);
    watch.blue_goes_on(case, plan.bound()).await;
    scene.check(case, watch, Side::Blue).await;
}

async fn blue_killed_under_hold(scene: &Scene) {
    let operator = once(scene);
    let watch = scene.watch().await;
    let run = operator.switch_to("hold.after=pause:300", "hold").await;
    scene.pair.blue.kill().unwrap();
    scene.pair.blue.start_again().await.unwrap();
    run.end(SOON * 2).await.expect("released", 3);
    scene.check("blue killed under the hold", watch, Side::Blue).await;
}

/// Blue restarts sealed (it must come back sealed) and is opened again, by bleen itself or by `resume`.
async fn blue_restarted_under_seal(scene: &Scene, bleen_dies: bool) {
    let case = format!("blue restarted after the seal, bleen dead: {bleen_dies}");
    let operator = once(scene);
    let watch = scene.watch().await;
    if bleen_dies {
        // As often as the load stands in the way, until it comes that far.
        let ended = scene.operator().switch("seal.after=kill").end(SOON * 2).await;
        assert_eq!(ended.signal, Some(9), "{case}: {}", ended.told());
        scene.pair.blue.restart().await.unwrap();
        let writable = writable_sides(&scene.blue, &scene.green, SOON).await;
        assert_eq!(writable, [], "{case}: it came back open");
        let resumed = resume(&operator).await;
        resumed.expect("rolled-back", 3);
    } else {
        let run = operator.switch_to("seal.after=pause:300", "seal").await;
        scene.pair.blue.restart().await.unwrap();
        run.end(SOON * 2).await.expect("rolled-back", 3);
    }
    scene.check(&case, watch, Side::Blue).await;
}

/// Both restart when green serves: each comes back as it was.
async fn restarted_after_promote(scene: &Scene) {
    if scene.kind == Kind::MariaDb {
        // It cannot persist a seal: guardrail `restart-writable` wants it in the option file.
        in_option_file(&scene.pair.blue.option_file(), "read-only=ON");
    }
    let operator = once(scene);
    let watch = scene.watch().await;
    let run = operator.switch_to("promote.after=pause:300", "promote").await;
    scene.pair.green.restart().await.unwrap();
    let ended = run.end(SOON * 2).await;
    assert!(
        ["switched", "switched-with-debt"].contains(&ended.outcome()),
        "{}",
        ended.told()
    );
    scene.pair.blue.restart().await.unwrap();
    let writable = writable_sides(&scene.blue, &scene.green, SOON).await;
    assert_eq!(writable, [Side::Green]);
    scene
        .check("green restarted after promote", watch, Side::Green)
        .await;
}

async fn long_select(scene: &Scene) {
    let watch = scene.watch().await;
    let slow = || {
        let blue = scene.blue.opts(true);
        tokio::spawn(async move {
            let mut conn = Conn::new(blue).await.unwrap();
            conn.query_drop("SELECT SLEEP(2) FROM shop.notes").await
        })
    };
    let select = slow();
    let operator = with(scene, "  end_selects: false\n");
    let ended = operator.switch("").end(SOON).await;
    select.abort();
    if scene.kind == Kind::MariaDb {
        // It does not wait for reads.
        ended.expect("switched", 0);
        scene.check("long SELECT", watch, Side::Green).await;
        return;
    }
    ended.expect("released", 3);
    let why = ended.why();
    assert!(
        why.contains("hold-blocked") && why.contains("SELECT SLEEP"),
        "{why}"
    );
    watch.blue_goes_on("long SELECT", scene.plan().bound()).await;
    scene.check("long SELECT", watch, Side::Blue).await;
    let watch = scene.watch().await;
    let select = slow();
    let ended = with(scene, "  end_selects: true\n").switch("").end(SOON).await;
    ended.expect("switched", 0);
    let ended = select.await.unwrap();
    assert!(ended.is_err() || scene.kind == Kind::MySql, "{ended:?}");
    scene.check("long SELECT ended", watch, Side::Green).await;
}

async fn long_update(scene: &Scene) {
    let watch = scene.watch().await;
    let blue = scene.blue.opts(true);
    let update = tokio::spawn(async move {
        let mut conn = Conn::new(blue).await.unwrap();
        conn.query_drop("UPDATE shop.notes SET note = SLEEP(2)").await
    });
    let ended = once(scene).switch("").end(SOON).await;
    ended.expect("released", 3);
    let why = ended.why();
    assert!(
        why.contains("hold-blocked") && why.contains("UPDATE shop.notes"),
        "{why}"
    );
    watch.blue_goes_on("long UPDATE", scene.plan().bound()).await;
    update.await.unwrap().unwrap();
    let report = scene.check("long UPDATE", watch, Side::Blue).await;
    assert!(report.log.refusals.is_empty(), "{:?}", report.log.refusals);
}

/// A transaction holds a row that a statement waits for, and goes on with the same table while the hold is asked for. When
/// the hold is given up, both go on at once.
async fn circle_of_locks(scene: &Scene) {
    let watch = scene.watch().await;
    let mut first = scene.blue.connect(SOON).await.unwrap();
    let mine = "UPDATE shop.notes SET note = 'first' WHERE id = 1";
    first.query_drop("BEGIN").await.unwrap();
    first.query_drop(mine).await.unwrap();
    let mut second = scene.blue.connect(SOON).await.unwrap();
    let waits = tokio::spawn(async move {
        second
            .query_drop("UPDATE shop.notes SET note = 'second' WHERE id = 1")
            .await
    });
    let operator = once(scene);
    let mut run = operator.switch("");
    let mut longest = Duration::ZERO;
    while run.over().is_none() {
        let began = Instant::now();
        first.query_drop(mine).await.unwrap();
        longest = longest.max(began.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let ended = run.end(SOON).await;
    ended.expect("released", 3);
    assert!(ended.why().contains("hold-blocked"), "{}", ended.why());
    assert!(
        longest < scene.plan().bound(),
        "the application stood for {longest:?}"
    );
    first.query_drop("COMMIT").await.unwrap();
    waits.await.unwrap().unwrap();
    scene.check("a circle of locks", watch, Side::Blue).await;
}

/// An application's open transaction neither delays the hold nor can be committed behind the fence.
async fn open_transaction(scene: &Scene) {
    let watch = scene.watch().await;
    let mut conn = scene.blue.connect(SOON).await.unwrap();
    conn.query_drop("BEGIN").await.unwrap();
    conn.query_drop("UPDATE shop.notes SET note = 'open' WHERE id = 2")
        .await
        .unwrap();
    let ended = once(scene).switch("").end(SOON).await;
    ended.expect("switched", 0);
    let committed = tokio::time::timeout(SOON, conn.query_drop("COMMIT"))
        .await
        .unwrap();
    assert!(committed.is_err(), "a commit was acknowledged behind the fence");
    scene.check("open transaction", watch, Side::Green).await;
    for server in [&scene.pair.blue, &scene.pair.green] {
        let note = server
            .value("SELECT note FROM shop.notes WHERE id = 2")
            .await
            .unwrap();
        assert_ne!(note.as_deref(), Some("open"));
    }
}

async fn all(kind: Kind) {
    let first = async {
        let scene = Scene::new(kind).await;
        if kind == Kind::MariaDb {
            // What cannot be persisted stands in the option file, as the guardrail `restart-writable` asks.
            in_option_file(
                &scene.pair.green.option_file(),
                "read-only=ON\nevent-scheduler=OFF",
            );
        }
        deadline_missed(&scene).await;
        applier_stopped(&scene).await;
        green_killed_under_drain(&scene).await;
        green_restarted_before_drain(&scene).await;
        long_update(&scene).await;
        blue_killed_under_hold(&scene).await;
        if kind == Kind::MariaDb {
            in_option_file(&scene.pair.blue.option_file(), "read-only=ON");
        }
        blue_restarted_under_seal(&scene, false).await;
        blue_restarted_under_seal(&scene, true).await;
        long_select(&scene).await;
    };
    let second = async {
        restarted_after_promote(&Scene::new(kind).await).await;
        open_transaction(&Scene::new(kind).await).await;
    };
    tokio::join!(first, second);
}

fn in_option_file(path: &std::path::Path, lines: &str) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    writeln!(file, "{lines}").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_servers() {
    all(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_servers() {
    all(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_given_up_leaves_nobody_standing() {
    let one = async |kind| circle_of_locks(&Scene::new(kind).await).await;
    tokio::join!(one(Kind::MySql), one(Kind::MariaDb));
}
