//! `kill -9` of bleen at every fault point: the servers let the writers go on, and `resume` ends the run.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use bleen::domain::ids::Side;
use support::check::{Kind, SOON, Scene};
use support::points::{Point, at_each, lane, operator};

async fn killed(scene: &Scene, point: Point) {
    let name = format!("kill at {}", point.name());
    let (here, elsewhere) = (operator(scene), operator(scene));
    let watch = scene.watch().await;
    let ended = here.switch(&format!("{}=kill", point.name())).end(SOON).await;
    assert_eq!(ended.signal, Some(9), "{name}: {}", ended.told());
    if point.ends_by_itself() {
        watch.blue_goes_on(&name, scene.plan().bound()).await;
    }
    // Where it was begun, or on another machine with nothing but the playbook.
    let resumer = if point.name().ends_with("before") {
        &here
    } else {
        &elsewhere
    };
    let resumed = resumer.resume().end(SOON).await;
    point.expect(&resumed);
    scene.check(&name, watch, point.serves()).await;
    if point.serves() == Side::Blue {
        // Nothing is left to be done by a second one.
        elsewhere.resume().end(SOON).await.expect("done", 0);
    } else {
        scene.scheduler_moved(&name).await;
    }
}

async fn everywhere(kind: Kind) {
    tokio::join!(
        at_each(kind, lane(0, 2), killed),
        at_each(kind, lane(1, 2), killed)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_killed_everywhere() {
    everywhere(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_killed_everywhere() {
    everywhere(Kind::MariaDb).await;
}
