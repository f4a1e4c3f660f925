//! Every server the sandbox can supply, started for real. A server that cannot be found or fetched fails here; it is
//! never skipped.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what failed by failing"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bleen::sandbox::sweep::sweep;
use bleen::sandbox::{
    Account, Cache, Family, LocateOptions, PairOptions, ReadOnly, Release, Rights, SandboxPair, ServerKind,
    ServerOptions, locate,
};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

/// Set in the copy of this test program that is killed.
const CHILD: &str = "BLEEN_TEST_SANDBOX_CHILD";

fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

async fn ask<T: mysql_async::prelude::FromValue + Send + 'static>(conn: &mut Conn, query: &str) -> T {
    let row: Option<(T,)> = conn.query_first(query).await.unwrap();
    row.unwrap().0
}

/// Starts the kind, uses it as a client would, stops, kills and restarts it, and sees that nothing is left.
async fn whole_life(kind: ServerKind) {
    let parent = tempfile::tempdir().unwrap();
    let places = LocateOptions::default();
    let found = locate(kind, &places).await.unwrap();
    assert!(
        kind.accepts(found.family, found.version),
        "{}",
        found.version_text
    );
    let modern = found.family == Family::MySql && found.version >= Release(8, 0, 0);

    let options = ServerOptions {
        server_id: 77,
        extra: vec!["max_connections=123".into()],
        ..Default::default()
    };
    let server = found
        .start(&places.cache, Some(parent.path()), &options)
        .await
        .unwrap();
    let account = Account::random("tester").unwrap();
    server.create_account(&account, Rights::All).await.unwrap();

    let mut conn = Conn::new(account.opts(server.port())).await.unwrap();
    assert_eq!(ask::<u32>(&mut conn, "SELECT @@server_id").await, 77);
    assert_eq!(
        ask::<u32>(&mut conn, "SELECT @@max_connections").await,
        123,
        "extra lines win"
    );
    assert_eq!(ask::<u8>(&mut conn, "SELECT @@log_bin").await, 1);
    let version: String = ask(&mut conn, "SELECT VERSION()").await;
    assert_eq!(Release::find_in(&version), Some(server.version()));
    // Nobody without a password, and nobody from outside.
    let nobody = Account {
        user: "nobody".into(),
        password: String::new().into(),
    };
    assert!(Conn::new(nobody.opts(server.port())).await.is_err());
    assert_eq!(
        ask::<String>(&mut conn, "SELECT @@bind_address").await,
        "127.0.0.1"
    );
    conn.query_drop("CREATE DATABASE d").await.unwrap();
    conn.query_drop("CREATE TABLE d.t (id INT PRIMARY KEY) ENGINE=InnoDB")
        .await
        .unwrap();
    conn.query_drop("INSERT INTO d.t VALUES (1)").await.unwrap();
    if modern {
        conn.query_drop("SET PERSIST max_connections = 99").await.unwrap();
    } else {
        conn.query_drop("SET GLOBAL max_connections = 99").await.unwrap();
    }
    let uuid = "SELECT @@server_uuid";
    let identity = if found.family == Family::MySql {
        server.value(uuid).await.unwrap()
    } else {
        None
    };
    drop(conn);

    let (first, port) = (server.pid().unwrap(), server.port());
    server.restart().await.unwrap();
    assert_ne!(server.pid().unwrap(), first);
    assert_eq!(server.port(), port);
    let mut conn = Conn::new(account.opts(port)).await.unwrap();
    let kept = if modern { 99 } else { 123 };
    assert_eq!(
        ask::<u32>(&mut conn, "SELECT @@max_connections").await,
        kept,
        "what was persisted, and only that"
    );
    assert_eq!(ask::<u32>(&mut conn, "SELECT COUNT(*) FROM d.t").await, 1);
    if found.family == Family::MySql {
        assert_eq!(server.value(uuid).await.unwrap(), identity);
    }

    // Frozen: the connection stays and nothing answers. Thawed: the very statement comes back.
    server.freeze().unwrap();
    let mut waiting = Box::pin(conn.query_first::<u8, _>("SELECT 1"));
    assert!(
        tokio::time::timeout(Duration::from_millis(300), waiting.as_mut())
            .await
            .is_err()
    );
    server.thaw().unwrap();
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .unwrap()
            .unwrap(),
        Some(1)
    );

    // Killed: committed rows survive.
    let pid = server.pid().unwrap();
    server.kill().unwrap();
    assert!(!runs(pid) && server.pid().is_none());
    server.start_again().await.unwrap();
    assert_eq!(
        server.value("SELECT COUNT(*) FROM d.t").await.unwrap().as_deref(),
        Some("1")
    );

    let pid = server.pid().unwrap();
    drop(server);
    assert!(!runs(pid));
    assert_eq!(
        std::fs::read_dir(parent.path()).unwrap().count(),
        0,
        "no directory is left"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_9_7() {
    whole_life(ServerKind::MySql97).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_5_6() {
    whole_life(ServerKind::MySql56).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_10_11() {
    whole_life(ServerKind::MariaDb1011).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_11_8() {
    whole_life(ServerKind::MariaDb118).await;
}

/// A pair: accounts that can log in on both, green read-only for the application, empty GTID history on both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_has_accounts_and_no_history() {
    let mut options = PairOptions::default();
    options.green.read_only = ReadOnly::Set;
    let pair = SandboxPair::start(ServerKind::MySql97, ServerKind::MySql97, &options)
        .await
        .unwrap();
    for server in [&pair.blue, &pair.green] {
        for account in [&pair.accounts.bleen, &pair.accounts.repl, &pair.accounts.app] {
            Conn::new(account.opts(server.port())).await.unwrap();
        }
        assert_eq!(
            server
                .value("SELECT @@GLOBAL.gtid_executed")
                .await
                .unwrap()
                .as_deref(),
            Some("")
        );
    }
    let flags = "SELECT CONCAT(@@GLOBAL.read_only, @@GLOBAL.super_read_only)";
    assert_eq!(pair.blue.value(flags).await.unwrap().as_deref(), Some("00"));
    assert_eq!(pair.green.value(flags).await.unwrap().as_deref(), Some("11"));
    let uuid = "SELECT @@server_uuid";
    assert_ne!(
        pair.blue.value(uuid).await.unwrap(),
        pair.green.value(uuid).await.unwrap()
    );
    let dir = pair.dir.path().to_owned();
    drop(pair);
    assert!(!dir.exists());
}

/// A server that cannot start says why, with its own words, and leaves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_start_says_why() {
    let parent = tempfile::tempdir().unwrap();
    let places = LocateOptions::default();
    let found = locate(ServerKind::MariaDb118, &places).await.unwrap();
    let options = ServerOptions {
        extra: vec!["no_such_option_here=1".into()],
        ..Default::default()
    };
    let said = found
        .start(&places.cache, Some(parent.path()), &options)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("MariaDB 11.8") && said.contains("no_such_option_here"),
        "{said}"
    );
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
}

/// The part that is killed: starts a server, says where it is, and waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the half of the next test that is killed, started by it"]
async fn child_that_is_killed() {
    let parent = PathBuf::from(std::env::var(CHILD).unwrap());
    let places = LocateOptions::default();
    let found = locate(ServerKind::MariaDb1011, &places).await.unwrap();
    // Its own record of sandboxes, so that no other test's sweep comes first.
    let cache = child_cache(&parent);
    let server = found
        .start(&cache, Some(&parent), &ServerOptions::default())
        .await
        .unwrap();
    println!("\nSERVER {}", server.pid().unwrap());
    tokio::time::sleep(Duration::from_secs(120)).await;
}

fn child_cache(parent: &Path) -> Cache {
    Cache::at(parent.join("cache"))
}

/// `kill -9` of the process that owns a sandbox: its server ends by itself, and the next sweep removes the directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_leaves_no_server_and_the_next_run_no_directory() {
    let parent = tempfile::tempdir().unwrap();
    // The server is fetched here if need be, where no time limit of the child's counts.
    locate(ServerKind::MariaDb1011, &LocateOptions::default())
        .await
        .unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_is_killed", "--ignored", "--nocapture"])
        .env(CHILD, parent.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines
        .map_while(Result::ok)
        .find_map(|l| l.strip_prefix("SERVER ").map(str::to_owned));
    let server: u32 = said
        .expect("the child started its server")
        .trim()
        .parse()
        .unwrap();
    assert!(runs(server));
    let sandboxes = || {
        let entries = std::fs::read_dir(parent.path())
            .unwrap()
            .map(|e| e.unwrap().file_name());
        entries
            .filter(|n| n.to_string_lossy().starts_with("bleen-sandbox-"))
            .count()
    };
    assert_eq!(sandboxes(), 1);

    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the server ends with its owner", || !runs(server));
    assert_eq!(sandboxes(), 1, "nobody could tidy up");
    let swept = sweep(&child_cache(parent.path())).unwrap();
    assert_eq!((swept.removed.len(), swept.left.len()), (1, 0));
    assert_eq!(sandboxes(), 0);
}
