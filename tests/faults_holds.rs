//! The second and third way to hold, `tables` and `refuse`, under load: a switch, and a deadline that is missed.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use bleen::domain::ids::Side;
use support::check::{Kind, SOON, Scene};
use support::cli::{Operator, Plan};

fn holding(scene: &Scene, way: &str, attempts: u32) -> Operator {
    let plan = Plan {
        switch: format!("  hold: {way}\n"),
        attempts,
        ..scene.plan()
    };
    Operator::new(&scene.pair, &plan)
}

async fn missed(scene: &Scene, way: &str) {
    let case = format!("deadline missed with hold {way}");
    let watch = scene.watch().await;
    // bleen itself is what takes too long.
    let late = format!("drain.before=pause:{}", scene.plan().deadline.as_millis() + 300);
    let run = holding(scene, way, 1).switch_to(&late, "fence").await;
    let ended = run.end(SOON).await;
    assert_eq!(ended.code, Some(3), "{}", ended.told());
    assert!(ended.why().contains("deadline-missed"), "{}", ended.why());
    watch.blue_goes_on(&case, scene.plan().bound()).await;
    let report = scene.check(&case, watch, Side::Blue).await;
    let refused = report.log.refusals.len();
    if way == "refuse" {
        assert!(refused > 0, "nobody was refused");
    } else {
        assert_eq!(refused, 0, "{:?}", report.log.refusals);
        let longest = report.whole().longest_write;
        assert!(
            longest >= scene.plan().deadline / 2,
            "nobody was held: {longest:?}"
        );
    }
    assert!(
        report.log.lost_connections.is_empty(),
        "{:?}",
        report.log.lost_connections
    );
}

async fn switched(scene: &Scene, way: &str) {
    let case = format!("a switch with hold {way}");
    let watch = scene.watch().await;
    let ended = holding(scene, way, 10).switch("").end(SOON).await;
    ended.expect("switched", 0);
    let said = ended.told();
    assert!(said.contains(&format!("hold: {way}")), "{said}");
    let report = scene.check(&case, watch, Side::Green).await;
    assert!(
        report.log.lost_connections.is_empty(),
        "{:?}",
        report.log.lost_connections
    );
}

/// On MySQL a writer that waits for a table's lock has the global one in its mode already, and keeps blue from being made
/// read-only: under load such a switch is given up, and costs the writers a pause and nothing else.
async fn gives_up(scene: &Scene) {
    let watch = scene.watch().await;
    let run = holding(scene, "tables", 1)
        .switch_to("fence.after=pause:300", "fence")
        .await;
    let ended = run.end(SOON).await;
    ended.expect("released", 3);
    assert!(ended.why().contains("1205"), "{}", ended.why());
    let report = scene.check("tables under load on MySQL", watch, Side::Blue).await;
    assert!(report.log.refusals.is_empty(), "{:?}", report.log.refusals);
}

async fn all(kind: Kind) {
    for way in ["tables", "refuse"] {
        let scene = Scene::new(kind).await;
        missed(&scene, way).await;
        if kind == Kind::MySql && way == "tables" {
            gives_up(&scene).await;
        } else {
            switched(&scene, way).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_holds() {
    all(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_holds() {
    all(Kind::MariaDb).await;
}
