//! Preparing real pairs: replication from a known place, everything put back on every way out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bleen::adapters::mysql::capabilities::variables;
use bleen::adapters::mysql::own_schema::{self, UndoRow};
use bleen::adapters::mysql::position_read::{Role, Waited, executed, wait_applied};
use bleen::adapters::mysql::prepare::{Preparation, Request};
use bleen::adapters::mysql::relax;
use bleen::adapters::mysql::replication::{follow, status};
use bleen::adapters::mysql::switch::RunLock;
use bleen::domain::capabilities::Capabilities;
use bleen::domain::ids::Side;
use bleen::engine::prepare::{Limits, Prepared, Preparing, Why, prepare};
use bleen::sandbox::{Account, PairOptions, Rights, SandboxPair, ServerKind};
use support::{BUDGET, limits, request, server, session};
use tokio_util::sync::CancellationToken;

/// A preparation and the journal of its records.
fn preparation(request: Request) -> (Preparation, Arc<Mutex<Vec<UndoRow>>>) {
    let journal = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&journal);
    let on_record = Box::new(move |row: &UndoRow| {
        written.lock().unwrap().push(row.clone());
        Ok(())
    });
    (Preparation::new(request, on_record, Box::new(|_, _| ())), journal)
}

/// A password that every quoting mistake trips over.
const NASTY: &str = "h0rse'\"\\ x#";

/// Green's error log and general log.
fn logs(pair: &SandboxPair) -> String {
    let mut files = vec![pair.green.error_log()];
    for entry in std::fs::read_dir(pair.green.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "log") {
            files.push(path);
        }
    }
    let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    files.iter().map(read).collect()
}

/// Everything of green that preparing may change, as one text.
async fn fingerprint(pair: &SandboxPair, side: Side) -> String {
    let known = server(pair, side).await;
    let mut session = session(pair, side).await;
    let names = [
        "read_only",
        "super_read_only",
        "event_scheduler",
        "sync_binlog",
        "innodb_flush_log_at_trx_commit",
    ];
    let memory = variables(&mut session, &names, BUDGET).await.unwrap();
    let persisted: Vec<(String, String)> = if known.caps.persist {
        let sql =
            "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.persisted_variables ORDER BY 1";
        session.rows("read", sql, BUDGET).await.unwrap()
    } else {
        vec![]
    };
    let mut schemas: Vec<String> = session.rows("read", "SHOW DATABASES", BUDGET).await.unwrap();
    // What green has copied of blue stays, bleen's own schema included.
    schemas.retain(|schema| side == Side::Blue || schema != "bleen");
    let channels = status::read(&mut session, &known.caps, BUDGET).await.unwrap();
    format!("{memory:?} {persisted:?} {schemas:?} {} channels", channels.len())
}

async fn prepares_and_rolls_back(blue: ServerKind, green: ServerKind, options: PairOptions) {
    let pair = SandboxPair::start(blue, green, &options).await.unwrap();
    pair.blue
        .run(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)",
            "INSERT INTO shop.t VALUES (1, 1)",
        ])
        .await
        .unwrap();
    let before = (
        fingerprint(&pair, Side::Blue).await,
        fingerprint(&pair, Side::Green).await,
    );

    let repl = Account {
        user: "repl".into(),
        password: NASTY.to_owned().into(),
    };
    pair.blue
        .create_account(&repl, Rights::Replication)
        .await
        .unwrap();
    pair.green.run(&["SET GLOBAL general_log = 1"]).await.unwrap();
    let (mut preparation, journal) = preparation(Request {
        source_password: repl.password,
        ..request(&pair)
    });
    let ended = prepare(&mut preparation, &limits(), &CancellationToken::new()).await;
    let Prepared::Ready { changes, sample } = ended else {
        panic!("{ended:?}")
    };
    assert!(sample.lag.is_some());
    assert!(!format!("{changes:?}{journal:?}").contains("h0rse"));
    pair.green.run(&["SET GLOBAL general_log = 0"]).await.unwrap();
    let logs = logs(&pair);
    assert!(logs.contains("bleen.heartbeat"), "the general log was written");
    assert!(!logs.contains("h0rse"), "the password is in green's logs");

    // Green is shut, follows, and knows the guard.
    let (on_blue, on_green) = (server(&pair, Side::Blue).await, server(&pair, Side::Green).await);
    let mut green_session = session(&pair, Side::Green).await;
    let mut blue_session = session(&pair, Side::Blue).await;
    let read_only: u8 = green_session
        .one("read", "SELECT @@read_only", BUDGET)
        .await
        .unwrap();
    assert_eq!(read_only, 1);
    pair.blue.run(&["UPDATE shop.t SET v = 2"]).await.unwrap();
    let kind = Capabilities::pair_position_kind(&on_blue.caps, &on_green.caps);
    let position = executed(&mut blue_session, &on_blue.caps, kind, Role::Writer, BUDGET)
        .await
        .unwrap();
    let waited = wait_applied(
        &mut green_session,
        &on_green.caps,
        &position,
        Duration::from_secs(5),
    )
    .await;
    assert_eq!(waited.unwrap(), Waited::Reached);
    let call = own_schema::guard_call(&on_green.caps, 0.05, 0, ["DO 1", "DO 1"]);
    green_session.run("call the guard", &call, BUDGET).await.unwrap();

    // What must be put back is known on blue, on green, and in the journal.
    let recorded = own_schema::open_undos(&mut blue_session, None, BUDGET)
        .await
        .unwrap()
        .unwrap();
    let replicated = own_schema::open_undos(&mut green_session, None, BUDGET)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(recorded, replicated);
    let mut journalled = journal.lock().unwrap().clone();
    journalled.reverse();
    assert_eq!(recorded, journalled);
    assert_eq!(recorded.len(), changes.len());

    // Another bleen, which knows nothing but blue's rows, puts everything back.
    let (mut another, _) = self::preparation(request(&pair));
    let left = another.put_back(recorded, Duration::from_secs(20)).await;
    assert!(left.is_empty(), "{left:?}");
    let mut after_green = fingerprint(&pair, Side::Green).await;
    // What was copied stays.
    after_green = after_green.replace("\"performance_schema\", \"shop\"", "\"performance_schema\"");
    let expected = before
        .1
        .replace("\"performance_schema\", \"shop\"", "\"performance_schema\"");
    assert_eq!(fingerprint(&pair, Side::Blue).await, before.0);
    assert_eq!(after_green, expected);
    // Twice does no harm.
    let rows = journal.lock().unwrap().iter().rev().cloned().collect();
    assert!(another.put_back(rows, Duration::from_secs(20)).await.is_empty());
    assert_eq!(fingerprint(&pair, Side::Blue).await, before.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_by_gtid() {
    prepares_and_rolls_back(ServerKind::MySql97, ServerKind::MySql97, PairOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_gtid() {
    prepares_and_rolls_back(
        ServerKind::MariaDb1011,
        ServerKind::MariaDb118,
        PairOptions::default(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_widest_jump_by_gtid() {
    prepares_and_rolls_back(ServerKind::MySql56, ServerKind::MySql97, PairOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_widest_jump_by_file_and_offset() {
    let options = PairOptions::default().gtid(false);
    prepares_and_rolls_back(ServerKind::MySql56, ServerKind::MariaDb118, options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_replication_account_changes_nothing() {
    for kind in [ServerKind::MySql97, ServerKind::MariaDb118] {
        let pair = SandboxPair::start(kind, kind, &PairOptions::default())
            .await
            .unwrap();
        let before = (
            fingerprint(&pair, Side::Blue).await,
            fingerprint(&pair, Side::Green).await,
        );
        let mut request = request(&pair);
        request.source_password = "wrong-horse".to_owned().into();
        let (mut preparation, journal) = preparation(request);
        let started = std::time::Instant::now();
        let ended = prepare(&mut preparation, &limits(), &CancellationToken::new()).await;
        let Prepared::Undone { why, left, .. } = ended else {
            panic!("{ended:?}")
        };
        assert!(left.is_empty(), "{left:?}");
        assert!(why.to_string().contains("error 1045"), "{why}");
        assert!(!format!("{why}{journal:?}").contains("wrong-horse"));
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "not waited for to the end"
        );
        let after = (
            fingerprint(&pair, Side::Blue).await,
            fingerprint(&pair, Side::Green).await,
        );
        assert_eq!(before, after);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_unknown_origin_is_refused_with_the_way_to_seed() {
    let pair = SandboxPair::start(ServerKind::MySql97, ServerKind::MySql97, &PairOptions::default())
        .await
        .unwrap();
    let mut green = session(&pair, Side::Green).await;
    let hidden =
        "SET sql_log_bin = 0; CREATE DATABASE IF NOT EXISTS shop; CREATE TABLE shop.t (id INT PRIMARY KEY)";
    green.run("load", hidden, BUDGET).await.unwrap();
    let before = fingerprint(&pair, Side::Green).await;
    let (mut preparation, journal) = preparation(request(&pair));
    let ended = prepare(&mut preparation, &limits(), &CancellationToken::new()).await;
    let Prepared::Undone { why, changed, .. } = ended else {
        panic!("{ended:?}")
    };
    assert!(
        matches!(&why, Why::NotPlanned(f) if f.0.contains("shop (1 table)") && f.0.contains("mysqldump"))
    );
    assert!(!changed && journal.lock().unwrap().is_empty());
    assert_eq!(fingerprint(&pair, Side::Green).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn errant_transactions_and_the_same_server_twice_are_refused() {
    let pair = SandboxPair::start(
        ServerKind::MariaDb118,
        ServerKind::MariaDb118,
        &PairOptions::default(),
    )
    .await
    .unwrap();
    let mut twice = request(&pair);
    twice.green = bleen::adapters::mysql::session::Target {
        side: Side::Green,
        ..twice.blue.clone()
    };
    let (mut preparation, _) = preparation(twice);
    let failure = preparation.plan().await.expect_err("the same server");
    assert!(failure.0.contains("the same server"), "{failure}");

    let mut green = session(&pair, Side::Green).await;
    green.run("write", "CREATE DATABASE own", BUDGET).await.unwrap();
    let (mut preparation, _) = self::preparation(request(&pair));
    let failure = preparation.plan().await.expect_err("an errant transaction");
    assert!(
        failure
            .0
            .contains("green executed transactions that blue did not: 0-2-1"),
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_puts_everything_back() {
    let pair = SandboxPair::start(ServerKind::MySql97, ServerKind::MySql97, &PairOptions::default())
        .await
        .unwrap();
    let before = (
        fingerprint(&pair, Side::Blue).await,
        fingerprint(&pair, Side::Green).await,
    );
    let cancel = CancellationToken::new();
    let (told, token) = (Arc::new(Mutex::new(0)), cancel.clone());
    let on_wait = Box::new(move |_: &_, _| {
        // The second look: everything is running by then.
        *told.lock().unwrap() += 1;
        if *told.lock().unwrap() == 2 {
            token.cancel();
        }
    });
    let mut preparation = Preparation::new(request(&pair), Box::new(|_| Ok(())), on_wait);
    let patient = Limits {
        observe: Duration::from_secs(50),
        ..limits()
    };
    let ended = prepare(&mut preparation, &patient, &cancel).await;
    assert!(
        matches!(&ended, Prepared::Undone { why: Why::Cancelled, left, changed: true } if left.is_empty()),
        "{ended:?}"
    );
    let after = (
        fingerprint(&pair, Side::Blue).await,
        fingerprint(&pair, Side::Green).await,
    );
    assert_eq!(before, after);
}

/// One that was frozen while it waited and comes back when another bleen may have taken the pair: it puts nothing back.
/// What it changed is recorded, and whoever has the pair can put it back.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_put_back_without_the_run_lock() {
    for kind in [ServerKind::MySql97, ServerKind::MariaDb118] {
        let pair = SandboxPair::start(kind, kind, &PairOptions::default())
            .await
            .unwrap();
        let before = (
            fingerprint(&pair, Side::Blue).await,
            fingerprint(&pair, Side::Green).await,
        );
        let (blue, green) = (server(&pair, Side::Blue).await, server(&pair, Side::Green).await);
        let request = request(&pair);
        let lock = RunLock::take(&blue, &green, &request.run, BUDGET).await.unwrap();
        let held = lock.held();
        let cancel = CancellationToken::new();
        let (looked, mut second_look) = tokio::sync::mpsc::unbounded_channel();
        let on_wait = Box::new(move |_: &_, _| {
            // A closed end has had its second look already.
            let _ = looked.send(());
        });
        let token = cancel.clone();
        tokio::spawn(async move {
            second_look.recv().await;
            second_look.recv().await;
            lock.give_up().await;
            token.cancel();
        });
        let mut preparation = Preparation::new(request, Box::new(|_| Ok(())), on_wait).only_while(held);
        let patient = Limits {
            observe: Duration::from_secs(50),
            ..limits()
        };
        let ended = prepare(&mut preparation, &patient, &cancel).await;
        let Prepared::Undone {
            why: Why::Cancelled,
            left,
            ..
        } = &ended
        else {
            panic!("{ended:?}")
        };
        assert!(
            !left.is_empty() && left.iter().all(|(_, why)| why.to_string().contains("run lock")),
            "{left:?}"
        );
        let mut on_blue = session(&pair, Side::Blue).await;
        let open = own_schema::open_undos(&mut on_blue, None, BUDGET).await.unwrap();
        let open = open.unwrap();
        assert_eq!(open.len(), left.len(), "{open:?}");

        let (mut later, _) = self::preparation(self::request(&pair));
        assert!(later.put_back(open, BUDGET).await.is_empty());
        let after = (
            fingerprint(&pair, Side::Blue).await,
            fingerprint(&pair, Side::Green).await,
        );
        assert_eq!(before, after);
    }
}

/// Relaxed while it catches up, and as it was afterwards; it goes on applying.
#[tokio::test(flavor = "multi_thread")]
async fn green_is_relaxed_and_put_back() {
    for kind in [ServerKind::MySql97, ServerKind::MariaDb118] {
        let pair = support::following(kind, kind, &PairOptions::default()).await;
        let green = server(&pair, Side::Green).await;
        let mut session = session(&pair, Side::Green).await;
        let names = ["sync_binlog", "innodb_flush_log_at_trx_commit"];
        let before = variables(&mut session, &names, BUDGET).await.unwrap();
        let changes = relax::plan(&mut session, &green.caps, BUDGET).await.unwrap();
        for change in &changes {
            follow::run(&mut session, change, &String::new().into(), BUDGET)
                .await
                .unwrap();
        }
        let relaxed = variables(&mut session, &names, BUDGET).await.unwrap();
        assert_eq!(
            (relaxed["sync_binlog"].as_str(), relaxed[names[1]].as_str()),
            ("0", "2")
        );
        support::caught_up(&pair).await;
        assert_eq!(relax::plan(&mut session, &green.caps, BUDGET).await.unwrap(), []);
        for change in changes.iter().rev() {
            follow::undo(&mut session, change, BUDGET).await.unwrap();
        }
        assert_eq!(variables(&mut session, &names, BUDGET).await.unwrap(), before);
        support::caught_up(&pair).await;
    }
}
