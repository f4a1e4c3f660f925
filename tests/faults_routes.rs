//! Routes under load: one that does its work, one that fails, one that takes too long. Green serves in each case, and
//! writers wait no longer than the routes' limit.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use std::path::Path;
use std::time::Duration;

use bleen::domain::ids::Side;
use rustix::process::Signal;
use support::check::{Kind, SOON, Scene};
use support::cli::{Ended, Operator, Plan};
use support::points::resume;

/// The time for all routes together, and for each.
const LIMIT: Duration = Duration::from_millis(1500);

/// An operator whose only route is this shell command.
fn routed(scene: &Scene, command: &str) -> Operator {
    let plan = Plan {
        more: format!(
            "routing:\n  limit: {limit}ms\n  routes:\n    - exec:\n        name: point\n        command:\n          - \
             /bin/sh\n          - -c\n          - |\n            {command}\n        timeout: {limit}ms\n",
            limit = LIMIT.as_millis()
        ),
        ..scene.plan()
    };
    Operator::new(&scene.pair, &plan)
}

fn debt(ended: &Ended) -> String {
    ended.result()["debt"].to_string()
}

/// The lines that the route wrote.
fn told(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

async fn succeeds(kind: Kind) {
    let scene = Scene::new(kind).await;
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("route");
    let command = format!(
        "echo \"$BLEEN_PAIR ${{BLEEN_RUN:+run}} $BLEEN_BLUE $BLEEN_GREEN\" >> {}",
        log.display()
    );
    let watch = scene.watch().await;
    let ended = routed(&scene, &command).switch("").end(SOON).await;
    ended.expect("switched", 0);
    let (blue, green) = scene.plan().ports;
    assert_eq!(
        told(&log),
        [format!("shop run 127.0.0.1:{blue} 127.0.0.1:{green}")],
        "{}",
        ended.told()
    );
    scene.check("a route that succeeds", watch, Side::Green).await;
}

async fn fails(kind: Kind) {
    let scene = Scene::new(kind).await;
    let watch = scene.watch().await;
    let operator = routed(&scene, "echo the proxy is gone >&2; exit 7");
    let ended = operator.switch("").end(SOON).await;
    ended.expect("switched-with-debt", 5);
    let left = debt(&ended);
    assert!(
        left.contains("route `point`") && left.contains("the proxy is gone"),
        "{left}"
    );
    scene.check("a route that fails", watch, Side::Green).await;
    // The debt is the operator's: the run is over.
    operator.resume().end(SOON).await.expect("done", 0);
}

async fn takes_too_long(kind: Kind) {
    let scene = Scene::new(kind).await;
    let place = tempfile::tempdir().unwrap();
    let pid = place.path().join("pid");
    let watch = scene.watch().await;
    let command = format!("echo $$ > {}; exec sleep 600", pid.display());
    let ended = routed(&scene, &command).switch("").end(SOON).await;
    ended.expect("switched-with-debt", 5);
    let left = debt(&ended);
    assert!(left.contains("did not end within"), "{left}");
    let number = std::fs::read_to_string(&pid).unwrap();
    assert!(!Path::new("/proc").join(number.trim()).exists(), "it still runs");
    let report = scene
        .check("a route that takes too long", watch, Side::Green)
        .await;
    // Nobody waited for longer than the route's limit after a hold that may take its own time.
    let longest = report.whole().longest_write;
    let bound = LIMIT + scene.plan().deadline + Duration::from_millis(900);
    assert!(longest < bound, "{longest:?}");
}

/// A bleen that was frozen right before its routes, and thawed when another had finished its run, points no traffic
/// anywhere: that may have gone elsewhere since.
async fn thawed_too_late(kind: Kind, at: &str) {
    let case = format!("thawed at {at}");
    let scene = Scene::new(kind).await;
    let place = tempfile::tempdir().unwrap();
    let logs = ["first", "second"].map(|name| place.path().join(name));
    let [first, second] = logs
        .each_ref()
        .map(|log| routed(&scene, &format!("echo x >> {}", log.display())));
    let watch = scene.watch().await;
    let mut frozen = first.switch(&format!("{at}=stop"));
    frozen.until_stopped(SOON).await;
    resume(&second).await.expect("switched", 0);
    assert_eq!(told(&logs[1]), ["x"], "{case}");
    frozen.signal(Signal::CONT);
    let thawed = frozen.end(SOON * 3).await;
    assert!(
        told(&logs[0]).is_empty(),
        "{case}: its route was run\n{}",
        thawed.told()
    );
    assert!(
        thawed.code.is_some_and(|code| code != 0),
        "{case}: {}",
        thawed.told()
    );
    scene.check(&case, watch, Side::Green).await;
}

async fn all(kind: Kind) {
    thawed_too_late(kind, "route.before").await;
    thawed_too_late(kind, "write-epoch.after").await;
    succeeds(kind).await;
    fails(kind).await;
    takes_too_long(kind).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_routes() {
    all(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_routes() {
    all(Kind::MariaDb).await;
}
