//! `SIGSTOP` of bleen at every fault point: the servers let the writers go on, `resume` ends the run, and the frozen
//! one does no harm when it is thawed.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use rustix::process::Signal;
use support::check::{Kind, SOON, Scene};
use support::points::{Point, at_each, lane, operator, resume};

async fn frozen(scene: &Scene, point: Point) {
    let name = format!("stop at {}", point.name());
    let (here, elsewhere) = (operator(scene), operator(scene));
    let watch = scene.watch().await;
    let mut first = here.switch(&format!("{}=stop", point.name()));
    first.until_stopped(SOON).await;
    if point.ends_by_itself() {
        watch.blue_goes_on(&name, scene.plan().bound()).await;
    }
    let resumed = resume(&elsewhere).await;
    point.expect(&resumed);
    first.signal(Signal::CONT);
    let thawed = first.end(SOON * 2).await;
    // Only where its work was all done may it say so.
    assert!(
        point.is_last() || thawed.code.is_some_and(|code| code != 0),
        "{name}: the thawed one ended with {:?}: {}",
        thawed.code,
        thawed.told()
    );
    scene.check(&name, watch, point.serves()).await;
}

async fn everywhere(kind: Kind) {
    tokio::join!(
        at_each(kind, lane(0, 3), frozen),
        at_each(kind, lane(1, 3), frozen),
        at_each(kind, lane(2, 3), frozen)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_frozen_everywhere() {
    everywhere(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_frozen_everywhere() {
    everywhere(Kind::MariaDb).await;
}
