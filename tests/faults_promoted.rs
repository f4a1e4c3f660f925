//! A run that has promoted green is never said to be rolled back, whatever green shows later, and whoever leaves it is
//! told that green serves.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use bleen::domain::ids::Side;
use bleen::sandbox::writable_sides;
use rustix::process::Signal;
use support::check::{Kind, SOON, Scene};
use support::points::resume;

/// Green is shut again before it has the run's epoch row, and no application has written to it: nothing on the servers
/// tells that it was ever open.
async fn shut_again_without_a_trace(kind: Kind) {
    let scene = Scene::new(kind).await;
    let operator = scene.operator();
    let killed = operator.switch("promote.after=kill").end(SOON).await;
    assert!(killed.signal.is_some(), "{}", killed.told());
    let shut = match kind {
        Kind::MySql => "SET PERSIST super_read_only = 1",
        Kind::MariaDb => "SET GLOBAL read_only = 1",
    };
    scene.pair.green.run(&[shut]).await.unwrap();
    let epochs = "SELECT COUNT(*) FROM bleen.epochs";
    assert_eq!(
        scene.pair.green.value(epochs).await.unwrap().as_deref(),
        Some("0")
    );
    let ended = resume(&operator).await;
    ended.expect("switched", 0);
    assert_eq!(
        writable_sides(&scene.blue, &scene.green, SOON).await,
        [Side::Green]
    );
    assert_eq!(
        scene.pair.green.value(epochs).await.unwrap().as_deref(),
        Some("1")
    );
}

/// MariaDB keeps read-only nowhere but in its option file: a green that restarts right after it was promoted shows nothing
/// of that. From another machine it is not known then who serves, and nothing is opened; the machine that has the journal
/// knows.
async fn restarted_without_a_trace() {
    let scene = comes_back_read_only().await;
    let operator = scene.operator();
    let killed = operator.switch("promote.after=kill").end(SOON).await;
    assert!(killed.signal.is_some(), "{}", killed.told());
    scene.pair.green.restart().await.unwrap();
    assert_eq!(
        writable_sides(&scene.blue, &scene.green, SOON).await,
        [] as [Side; 0]
    );
    for _ in 0..2 {
        let ended = resume(&scene.operator()).await;
        ended.expect("ambiguous", 4);
        assert!(
            ended.why().contains("whether green was promoted is not known"),
            "{}",
            ended.told()
        );
        let steps = ended.result()["by_hand"]["steps"].to_string();
        assert!(
            steps.contains("Uptime") && steps.contains("look where the applications are pointed"),
            "{steps}"
        );
        assert_eq!(
            writable_sides(&scene.blue, &scene.green, SOON).await,
            [] as [Side; 0]
        );
    }
    resume(&operator).await.expect("switched", 0);
    assert_eq!(
        writable_sides(&scene.blue, &scene.green, SOON).await,
        [Side::Green]
    );
}

/// The same restart, where blue shows that promote was never sent: its guard lives, or has opened it.
async fn restarted_before_promote() {
    let scene = comes_back_read_only().await;
    for point in ["hold.after", "seal.after"] {
        let watch = scene.watch().await;
        let killed = scene.operator().switch(&format!("{point}=kill")).end(SOON).await;
        assert!(killed.signal.is_some(), "{}", killed.told());
        scene.pair.green.restart().await.unwrap();
        let ended = resume(&scene.operator()).await;
        assert!(
            ["released", "rolled-back"].contains(&ended.outcome()) && ended.code == Some(3),
            "{point}: {}",
            ended.told()
        );
        scene
            .check(
                &format!("green restarted, bleen killed at {point}"),
                watch,
                Side::Blue,
            )
            .await;
    }
}

/// A MariaDB pair whose green has in its option file what a follower has there.
async fn comes_back_read_only() -> Scene {
    let scene = Scene::new(Kind::MariaDb).await;
    let path = scene.pair.green.option_file();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\nread-only=ON\nevent-scheduler=OFF\n")).unwrap();
    scene
}

/// Ctrl-C twice when green serves: the first does nothing, the second leaves, and what is left is a debt.
async fn left_without_waiting(kind: Kind) {
    let scene = Scene::new(kind).await;
    let operator = scene.operator();
    let watch = scene.watch().await;
    let mut run = operator.switch_to("release.before=pause:4000", "route").await;
    run.signal(Signal::INT);
    run.until("what the first one does", SOON, |e| {
        e["type"] == "warning" && e["text"].as_str().is_some_and(|t| t.contains("nothing any more"))
    })
    .await;
    run.signal(Signal::INT);
    let ended = run.end(SOON).await;
    ended.expect("switched-with-debt", 5);
    let told = ended.told();
    assert!(
        told.contains("green was promoted and serves") && told.contains("bleen resume"),
        "{told}"
    );
    assert!(!told.contains("not certain who serves"), "{told}");
    resume(&operator).await.expect("switched", 0);
    scene.check("left without waiting", watch, Side::Green).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_promoted() {
    shut_again_without_a_trace(Kind::MySql).await;
    left_without_waiting(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_promoted() {
    shut_again_without_a_trace(Kind::MariaDb).await;
    left_without_waiting(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_restarted_after_promote() {
    restarted_without_a_trace().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_restarted_before_promote() {
    restarted_before_promote().await;
}
