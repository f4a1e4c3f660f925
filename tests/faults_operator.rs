//! What operators and their machines do to a switch: a second one, a full disk, a lost terminal, one that was frozen
//! and comes back after others went on; and what people do on blue meanwhile.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

mod support;

use std::time::Duration;

use bleen::domain::ids::Side;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use support::check::{Kind, SOON, Scene};
use support::cli::{Operator, Plan};
use support::points::resume;

fn with(scene: &Scene, switch: &str) -> Operator {
    let plan = Plan {
        attempts: 1,
        switch: switch.to_owned(),
        ..scene.plan()
    };
    Operator::new(&scene.pair, &plan)
}

fn once(scene: &Scene) -> Operator {
    with(scene, "")
}

/// No file may grow any more while the hold is held: what the next step would do is not written down, so it is not
/// done.
async fn full_disk(scene: &Scene) {
    let operator = once(scene);
    let watch = scene.watch().await;
    let run = operator
        .switch_in_to("hold.after=pause:300", "hold", Some("trap '' XFSZ"))
        .await;
    // The signal that comes with it is ignored from the start, as by a shell's `trap`: then it is an error like ENOSPC.
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    prlimit(Some(run.pid()), Resource::Fsize, none).unwrap();
    let ended = run.end(SOON).await;
    ended.expect("released", 3);
    assert!(ended.why().contains("write the journal"), "{}", ended.why());
    scene.check("full disk under the hold", watch, Side::Blue).await;
}

async fn lost_terminal(scene: &Scene) {
    let operator = once(scene);
    let watch = scene.watch().await;
    let mut run = operator.switch_to("hold.after=pause:300", "hold").await;
    run.hang_up().await;
    let ended = run.end(SOON).await;
    assert_eq!((ended.code, ended.signal), (Some(3), None));
    scene
        .check("lost terminal under the hold", watch, Side::Blue)
        .await;
    resume(&operator).await.expect("done", 0);
}

async fn second_operator(scene: &Scene) {
    let (first, second) = (scene.operator(), scene.operator());
    let watch = scene.watch().await;
    let mut run = first.switch("quiet.after=pause:2500");
    run.step_done("quiet", SOON).await;
    for other in [second.switch(""), second.resume()] {
        let ended = other.end(SOON).await;
        assert_eq!(ended.code, Some(75), "{}", ended.told());
        // In the message itself, not only in what was said before it.
        let told = ended.told();
        let (_, rest) = told.split_once("another run of bleen holds").unwrap();
        let (taken, _) = rest.split_once("Wait for it").unwrap();
        assert!(
            taken.contains("session") && taken.contains("bleen@") && taken.contains("silent for"),
            "{taken}"
        );
        // Which run, by whom and since when, on servers that keep connection attributes and on others.
        assert!(
            taken.contains("run 2") && taken.contains("of tester@") && taken.contains("begun 2"),
            "{taken}"
        );
    }
    run.end(SOON).await.expect("switched", 0);
    scene.check("second operator", watch, Side::Green).await;
}

/// One frozen bleen comes back when another has resumed its run and switched: blue must stay shut.
async fn thawed_after_a_later_switch(scene: &Scene, at: &str) {
    let case = format!("thawed at {at} after a later switch");
    let (operator, elsewhere) = (scene.operator(), scene.operator());
    let watch = scene.watch().await;
    let mut first = operator.switch(&format!("{at}=stop"));
    first.until_stopped(SOON).await;
    let ended = resume(&elsewhere).await;
    assert_eq!(ended.code, Some(3), "{case}: {}", ended.told());
    elsewhere.switch("").end(SOON).await.expect("switched", 0);
    first.signal(Signal::CONT);
    let thawed = first.end(SOON * 3).await;
    scene.check(&case, watch, Side::Green).await;
    assert!(
        thawed.code.is_some_and(|code| code != 0),
        "{case}: {}",
        thawed.told()
    );
}

/// `FLUSH TABLES` by somebody on blue, where it does not wait for the hold itself.
async fn flush(scene: &Scene, way: &str, step: &str) {
    let case = format!("FLUSH TABLES on blue after {step} with hold {way}");
    let operator = with(scene, &format!("  hold: {way}\n"));
    let watch = scene.watch().await;
    let run = operator.switch_to(&format!("{step}.after=pause:500"), step).await;
    let mut conn = scene.pair.blue.root().await.unwrap();
    let number = conn.id();
    let mut flush = conn.query_drop("FLUSH TABLES");
    let flushed = tokio::time::timeout(Duration::from_millis(250), &mut flush).await;
    let ended = if way == "tables" && flushed.is_err() {
        // It waits for the locked tables: through seal and promote, until the release.
        let (flush, ended) = tokio::join!(flush, run.end(SOON));
        flush.unwrap();
        ended
    } else {
        if flushed.is_err() {
            drop(flush);
            drop(conn);
            let kill = format!("KILL CONNECTION {number}");
            scene.pair.blue.run(&[kill]).await.unwrap();
        }
        run.end(SOON).await
    };
    ended.expect("switched", 0);
    eprintln!("{:?} {case}: came through: {}", scene.kind, flushed.is_ok());
    scene.check(&case, watch, Side::Green).await;
}

async fn guard_query_killed(scene: &Scene, step: &str, outcome: &str) {
    let case = format!("KILL QUERY on the guard after {step}");
    let operator = once(scene);
    let watch = scene.watch().await;
    let run = operator.switch_to(&format!("{step}.after=pause:300"), step).await;
    let mut conn = scene.pair.blue.root().await.unwrap();
    let guard: Option<Option<u64>> = conn
        .query_first("SELECT IS_USED_LOCK('bleen.guard')")
        .await
        .unwrap();
    let kill = format!("KILL QUERY {}", guard.flatten().unwrap());
    conn.query_drop(kill).await.unwrap();
    run.end(SOON).await.expect(outcome, 3);
    scene.check(&case, watch, Side::Blue).await;
}

async fn prepared_xa(scene: &Scene) {
    let operator = once(scene);
    let watch = scene.watch().await;
    let (run, mut conn) = operator
        .switch_with(
            async || {
                let mut conn = scene.blue.connect(SOON).await.unwrap();
                for statement in [
                    "XA START 'x'",
                    "INSERT INTO shop.notes VALUES (10, 'xa')",
                    "XA END 'x'",
                    "XA PREPARE 'x'",
                ] {
                    conn.query_drop(statement).await.unwrap();
                }
                conn
            },
            async |mut conn| conn.query_drop("XA ROLLBACK 'x'").await.unwrap(),
        )
        .await;
    let ended = run.end(SOON).await;
    ended.expect("released", 3);
    assert!(ended.why().contains("xa-prepared"), "{}", ended.why());
    conn.query_drop("XA ROLLBACK 'x'").await.unwrap();
    scene.check("prepared XA transaction", watch, Side::Blue).await;
}

/// MariaDB: makes an account that writes through read-only.
async fn through(scene: &mut Scene) {
    let make = [
        "SET SESSION sql_log_bin = 0",
        "CREATE USER through@'%' IDENTIFIED BY 'pw'",
        "GRANT ALL ON shop.* TO through@'%'",
        "GRANT READ_ONLY ADMIN ON *.* TO through@'%'",
    ];
    // On both: an account that green lacks is something left to do after the switch.
    scene.pair.blue.run(&make).await.unwrap();
    scene.pair.green.run(&make).await.unwrap();
    scene.settle().await;
}

async fn open_through(scene: &Scene) -> Result<Conn, Error> {
    let opts = mysql_async::OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(scene.pair.blue.port())
        .prefer_socket(false)
        .user(Some("through"))
        .pass(Some("pw"));
    Conn::new(opts).await
}

fn write_through(mut conn: Conn, id: u32) -> tokio::task::JoinHandle<(Conn, Result<(), Error>)> {
    tokio::spawn(async move {
        let written = conn
            .query_drop(format!("INSERT INTO shop.notes VALUES ({id}, 'through')"))
            .await;
        (conn, written)
    })
}

/// A write that waited at the hold is not acknowledged, and on neither side.
async fn was_kept_out(scene: &Scene, writer: tokio::task::JoinHandle<(Conn, Result<(), Error>)>, id: u32) {
    let (_, written) = writer.await.unwrap();
    assert!(written.is_err(), "a write through the seal was acknowledged");
    let count = format!("SELECT COUNT(*) FROM shop.notes WHERE id = {id}");
    for server in [&scene.pair.blue, &scene.pair.green] {
        assert_eq!(server.value(&count).await.unwrap().as_deref(), Some("0"));
    }
}

/// Seen right before the hold it is a reason not to take it; come later it waits at the hold as all do, and its session
/// is ended before that is given up.
async fn writes_through(scene: &mut Scene) {
    through(scene).await;
    let watch = scene.watch().await;
    let operator = once(scene);
    let run = operator.switch_to("arm.before=pause:400", "quiet").await;
    let conn = open_through(scene).await.unwrap();
    let ended = run.end(SOON).await;
    ended.expect("released", 3);
    assert!(ended.why().contains("write through read-only"), "{}", ended.why());
    let (conn, written) = write_through(conn, 20).await.unwrap();
    written.unwrap();
    drop(conn);
    scene
        .check("an account that writes through read-only", watch, Side::Blue)
        .await;

    let watch = scene.watch().await;
    let (run, conn) = operator
        .switch_with(
            async || open_through(scene).await.unwrap(),
            async |conn| drop(conn),
        )
        .await;
    let writer = write_through(conn, 21);
    run.end(SOON).await.expect("switched", 0);
    was_kept_out(scene, writer, 21).await;
    scene
        .check("its sessions ended at the release", watch, Side::Green)
        .await;
}

/// The same where the playbook says that its sessions are ended: it cannot log in meanwhile, and can afterwards.
async fn shut_out(scene: &mut Scene) {
    through(scene).await;
    let watch = scene.watch().await;
    let conn = open_through(scene).await.unwrap();
    let operator = with(scene, "  privileged_sessions: end\n");
    let run = operator.switch_to("hold.after=pause:300", "hold").await;
    let writer = write_through(conn, 21);
    let refused = open_through(scene).await;
    assert!(matches!(&refused, Err(Error::Server(_))), "it could log in");
    run.end(SOON).await.expect("switched", 0);
    was_kept_out(scene, writer, 21).await;
    scene.check("its sessions ended", watch, Side::Green).await;
    open_through(scene).await.unwrap();
}

async fn all(kind: Kind) {
    let first = async {
        let mut scene = Scene::new(kind).await;
        full_disk(&scene).await;
        lost_terminal(&scene).await;
        guard_query_killed(&scene, "hold", "released").await;
        guard_query_killed(&scene, "seal", "rolled-back").await;
        prepared_xa(&scene).await;
        if kind == Kind::MariaDb {
            writes_through(&mut scene).await;
        } else {
            second_operator(&scene).await;
        }
    };
    let second = async {
        for step in ["hold", "fence", "seal"] {
            flush(&Scene::new(kind).await, "lock", step).await;
        }
        for step in ["fence", "seal"] {
            flush(&Scene::new(kind).await, "tables", step).await;
        }
        for at in ["seal.after", "hold.after", "disarm.after"] {
            thawed_after_a_later_switch(&Scene::new(kind).await, at).await;
        }
        if kind == Kind::MariaDb {
            shut_out(&mut Scene::new(kind).await).await;
            second_operator(&Scene::new(kind).await).await;
        }
    };
    tokio::join!(first, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_operators() {
    all(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_operators() {
    all(Kind::MariaDb).await;
}
