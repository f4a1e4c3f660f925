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
