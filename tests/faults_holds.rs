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
        // The server itself ends the hold no sooner than the deadline. A writer begins something every 40 ms, so the first
        // to be held is held for nearly all of it.
        let (seen, nearly) = (report.whole(), scene.plan().deadline * 9 / 10);
        assert!(
            seen.longest_write >= nearly && seen.longest_gap >= nearly,
            "nobody was held: {seen:?}"
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
    // Long enough for every writer to wait when the seal comes.
    let run = holding(scene, way, 10)
        .switch_to("fence.after=pause:300", "fence")
        .await;
    let ended = run.end(SOON).await;
    ended.expect("switched", 0);
    let said = ended.told();
    assert!(said.contains(&format!("hold: {way}")), "{said}");
    let report = scene.check(&case, watch, Side::Green).await;
    assert!(
        report.log.lost_connections.is_empty(),
        "{:?}",
        report.log.lost_connections
    );
    assert!(report.log.in_doubt.is_empty(), "{:?}", report.log.in_doubt);
    assert!(
        !report.log.refusals.is_empty() && report.most_refusals_on_a_connection() == 1,
        "{:?}",
        report.log.refusals
    );
    if way == "tables" {
        // The load has no transaction that reads first, so none had to be rolled back for the seal.
        assert!(report.log.errors.is_empty(), "{:?}", report.log.errors);
    }
}

/// On MySQL a table change that waits for a table's lock keeps blue from being made read-only: such a switch is given up,
/// says who it was, and costs the writers a pause and nothing else.
async fn gives_up(scene: &Scene) {
    let watch = scene.watch().await;
    let run = holding(scene, "tables", 1)
        .switch_to("fence.after=pause:500", "fence")
        .await;
    let altering = scene
        .pair
        .blue
        .run(&["ALTER TABLE shop.notes ADD COLUMN more INT"]);
    let (altered, ended) = tokio::join!(altering, run.end(SOON));
    altered.unwrap();
    ended.expect("released", 3);
    let why = ended.why();
    assert!(why.contains("ALTER TABLE shop.notes"), "{why}");
    let case = "tables with a table change in the way of the seal";
    let report = scene.check(case, watch, Side::Blue).await;
    assert!(report.log.refusals.is_empty(), "{:?}", report.log.refusals);
    assert!(
        report.log.lost_connections.is_empty(),
        "{:?}",
        report.log.lost_connections
    );
}

async fn all(kind: Kind) {
    for way in ["tables", "refuse"] {
        let scene = Scene::new(kind).await;
        missed(&scene, way).await;
        if kind == Kind::MySql && way == "tables" {
            gives_up(&scene).await;
        }
        switched(&scene, way).await;
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
