//! Sessions on real servers: logins, protected connections, and what is known after every kind of failure.

#![expect(clippy::unwrap_used, reason = "a test that stops says where")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bleen::adapters::mysql::capabilities::probe;
use bleen::adapters::mysql::error::{Cause, ServerError};
use bleen::adapters::mysql::session::{Address, Purpose, Session, Target, Tls};
use bleen::domain::capabilities::{GtidWait, PositionKind, ProcessList, StatementLimit, Words};
use bleen::domain::ids::{RunId, Side};
use bleen::sandbox::{Account, LocateOptions, Rights, RunningServer, ServerKind, ServerOptions, locate};

const BUDGET: Duration = Duration::from_secs(5);

fn certificate(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tls")
        .join(name)
}

async fn start(kind: ServerKind, extra: &[String]) -> (RunningServer, Account) {
    let options = LocateOptions::default();
    let installed = locate(kind, &options).await.unwrap();
    let settings = ServerOptions {
        extra: extra.to_vec(),
        ..ServerOptions::default()
    };
    let server = installed.start(&options.cache, None, &settings).await.unwrap();
    let account = Account {
        user: "bleen".into(),
        // Everything that a quoting mistake would trip over.
        password: "p'w\"\\ x#é".to_owned().into(),
    };
    server.create_account(&account, Rights::All).await.unwrap();
    (server, account)
}

fn target(server: &RunningServer, account: &Account, tls: Tls) -> Target {
    Target {
        side: Side::Blue,
        address: Address::Tcp("127.0.0.1".into(), server.port()),
        spare_address: None,
        user: account.user.clone(),
        password: account.password.clone(),
        tls,
    }
}

async fn open(target: &Target) -> Result<Session, ServerError> {
    let purpose = Purpose {
        run: Some(RunId::new("r-1").unwrap()),
        role: "test",
    };
    Session::open(target, &purpose, BUDGET).await
}

async fn cipher(session: &mut Session) -> String {
    let row: (String, String) = session
        .one("read", "SHOW SESSION STATUS LIKE 'Ssl_cipher'", BUDGET)
        .await
        .unwrap();
    row.1
}

/// What each kind of failure leaves behind, and that a session knows it.
async fn failures(kind: ServerKind) {
    let (server, account) = start(kind, &[]).await;
    let target = target(&server, &account, Tls::Preferred);
    let mut killer = open(&target).await.unwrap();

    // A batch gives its own error, not the next one, and what came before it has taken effect.
    let mut session = open(&target).await.unwrap();
    let sets = session
        .batch("ask", "SELECT 1; DO 0; SELECT 2, 3", BUDGET)
        .await
        .unwrap();
    assert_eq!(sets.len(), 2);
    let error = session
        .batch("ask", "SET @a = 7; SELECT 1; SELECT nope; SET @a = 8", BUDGET)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(1054));
    let a: i64 = session.one("ask", "SELECT @a", BUDGET).await.unwrap();
    assert_eq!(a, 7);

    // A timeout leaves the statement running and the session spent.
    let started = Instant::now();
    let error = session
        .run("wait", "DO SLEEP(4)", Duration::from_millis(200))
        .await
        .unwrap_err();
    assert!(matches!(error.cause, Cause::TimedOut(_)) && error.is_unknown());
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(session.run("ask", "DO 1", BUDGET).await.unwrap_err().is_unknown());
    let running = format!(
        "SELECT INFO FROM information_schema.processlist WHERE ID = {}",
        session.id()
    );
    let info: String = killer.one("look", &running, BUDGET).await.unwrap();
    assert!(info.starts_with("/* bleen r-1 test */"), "{info}");

    // An abandoned statement does too.
    let mut session = open(&target).await.unwrap();
    {
        let abandoned = session.run("wait", "DO SLEEP(1)", BUDGET);
        let left = tokio::time::timeout(Duration::from_millis(100), abandoned).await;
        assert!(left.is_err());
    }
    assert!(session.is_spent());

    // Ended from outside, idle or at work: unknown, never "refused".
    let mut session = open(&target).await.unwrap();
    killer
        .run("end", &format!("KILL {}", session.id()), BUDGET)
        .await
        .unwrap();
    assert!(session.run("ask", "DO 1", BUDGET).await.unwrap_err().is_unknown());
    let mut session = open(&target).await.unwrap();
    let id = session.id();
    let waiting = tokio::spawn(async move { session.run("wait", "DO SLEEP(5)", BUDGET).await });
    let looks = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE ID = {id} AND INFO LIKE '%SLEEP(5)'"
    );
    let seen_at_work = async {
        while killer.one::<u64>("look", &looks, BUDGET).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BUDGET, seen_at_work).await.unwrap();
    killer.run("end", &format!("KILL {id}"), BUDGET).await.unwrap();
    assert!(waiting.await.unwrap().unwrap_err().is_unknown());

    // Idle for longer than its lease.
    let mut session = open(&target).await.unwrap();
    session
        .run("lease", "SET SESSION wait_timeout = 1", BUDGET)
        .await
        .unwrap();
    let idle = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE ID = {}",
        session.id()
    );
    let seen_gone = async {
        while killer.one::<u64>("look", &idle, BUDGET).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(BUDGET, seen_gone).await.unwrap();
    assert!(session.run("ask", "DO 1", BUDGET).await.unwrap_err().is_unknown());

    // Refused logins and servers that are not there.
    let wrong = Target {
        password: "wrong-horse".to_owned().into(),
        ..target.clone()
    };
    let error = open(&wrong).await.err().unwrap();
    assert!(
        matches!(&error.cause, Cause::LoginRefused(why) if why.contains("1045")),
        "{error}"
    );
    assert!(!format!("{error} {error:?} {wrong:?}").contains("wrong-horse"));
    let nowhere = Target {
        address: Address::Socket("/nonexistent/socket".into()),
        ..target.clone()
    };
    let error = open(&nowhere).await.err().unwrap();
    assert!(matches!(error.cause, Cause::Unreachable(_)), "{error}");
    let frozen_budget = Duration::from_millis(300);
    server.freeze().unwrap();
    let purpose = Purpose {
        run: None,
        role: "test",
    };
    let error = Session::open(&target, &purpose, frozen_budget)
        .await
        .err()
        .unwrap();
    assert!(matches!(error.cause, Cause::TimedOut(_)), "{error}");
    server.thaw().unwrap();

    // By socket, whatever is said about TLS.
    let local = Target {
        address: Address::Socket(server.socket()),
        tls: Tls::Required,
        ..target
    };
    open(&local).await.unwrap().close(BUDGET).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_on_mysql() {
    failures(ServerKind::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_on_mariadb() {
    failures(ServerKind::MariaDb1011).await;
    failures(ServerKind::MariaDb118).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_on_the_oldest() {
    failures(ServerKind::MySql56).await;
}

/// The authority is checked in one mode, the name too in the other; `src/adapters/mysql/session.rs` leans on how the
/// driver and the TLS library word their errors.
#[tokio::test(flavor = "multi_thread")]
async fn certificates() {
    let extra = [
        ("ssl-ca", "ca.pem"),
        ("ssl-cert", "server-cert.pem"),
        ("ssl-key", "server-key.pem"),
    ]
    .map(|(option, file)| format!("{option}={}", certificate(file).display()));
    let (right, wrong) = (certificate("ca.pem"), certificate("other-ca.pem"));
    for kind in [ServerKind::MySql97, ServerKind::MariaDb118] {
        let (server, account) = start(kind, &extra).await;
        let at = |host: &str, tls: Tls| Target {
            address: Address::Tcp(host.into(), server.port()),
            ..target(&server, &account, tls)
        };
        for good in [
            at("127.0.0.1", Tls::Preferred),
            at("127.0.0.1", Tls::Required),
            at("127.0.0.1", Tls::VerifyCa(right.clone())),
            at("localhost", Tls::VerifyIdentity(right.clone())),
        ] {
            let mut session = open(&good).await.unwrap();
            assert_ne!(cipher(&mut session).await, "", "{kind:?} {:?}", good.tls);
        }
        let mut plain = open(&at("127.0.0.1", Tls::Disabled)).await.unwrap();
        assert_eq!(cipher(&mut plain).await, "");
        for (bad, said) in [
            (at("127.0.0.1", Tls::VerifyCa(wrong.clone())), "UnknownIssuer"),
            (
                at("localhost", Tls::VerifyIdentity(wrong.clone())),
                "UnknownIssuer",
            ),
            (
                at("127.0.0.1", Tls::VerifyIdentity(right.clone())),
                "not valid for name",
            ),
            (
                at("127.0.0.1", Tls::VerifyCa("/nonexistent.pem".into())),
                "/nonexistent.pem",
            ),
        ] {
            let error = open(&bad).await.err().unwrap();
            assert!(
                matches!(&error.cause, Cause::LoginRefused(why) if why.contains("TLS") && why.contains(said)),
                "{error}"
            );
        }
    }
    // A server without TLS: preferred goes on without, required does not.
    let (server, account) = start(ServerKind::MySql56, &[]).await;
    assert_eq!(
        cipher(&mut open(&target(&server, &account, Tls::Preferred)).await.unwrap()).await,
        ""
    );
    let error = open(&target(&server, &account, Tls::Required))
        .await
        .err()
        .unwrap();
    assert!(matches!(error.cause, Cause::LoginRefused(_)), "{error}");
}

/// Without TLS the password of `caching_sha2_password` goes encrypted with the server's public key, and from the
/// server's cache the next time.
#[tokio::test(flavor = "multi_thread")]
async fn passwords_without_tls() {
    let (server, account) = start(ServerKind::MySql97, &[]).await;
    let plain = target(&server, &account, Tls::Disabled);
    let mut session = open(&plain).await.unwrap();
    let plugin: String = session
        .one(
            "read",
            "SELECT plugin FROM mysql.user WHERE user = 'bleen'",
            BUDGET,
        )
        .await
        .unwrap();
    assert_eq!(plugin, "caching_sha2_password");
    assert!(open(&plain).await.is_ok());
    server.run(&["FLUSH PRIVILEGES"]).await.unwrap();
    assert!(open(&plain).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_is_asked_what_it_can_do() {
    for kind in [
        ServerKind::MySql56,
        ServerKind::MySql97,
        ServerKind::MariaDb1011,
        ServerKind::MariaDb118,
    ] {
        let (server, account) = start(kind, &[]).await;
        let mut session = open(&target(&server, &account, Tls::Preferred)).await.unwrap();
        let caps = probe(&mut session, BUDGET).await.unwrap();
        let seen = (
            caps.change_source,
            caps.super_read_only,
            caps.can_persist(),
            caps.process_list,
            caps.gtid_wait,
            caps.statement_limit,
            caps.position_kind(),
        );
        let expected = match kind {
            ServerKind::MySql56 => (
                Words::Old,
                false,
                false,
                ProcessList::InformationSchema,
                Some(GtidWait::SqlThreadAfterGtids),
                StatementLimit::None,
                PositionKind::GtidSet,
            ),
            ServerKind::MySql97 => (
                Words::New,
                true,
                true,
                ProcessList::PerformanceSchema,
                Some(GtidWait::ExecutedGtidSet),
                StatementLimit::MaxExecutionTime,
                PositionKind::GtidSet,
            ),
            _ => (
                Words::Old,
                false,
                false,
                ProcessList::InformationSchema,
                Some(GtidWait::MariaDb),
                StatementLimit::MaxStatementTime,
                PositionKind::GtidList,
            ),
        };
        assert_eq!(seen, expected, "{kind:?}");
        // Asking has changed nothing, not even a prepared statement.
        let left = session
            .run("look", "DEALLOCATE PREPARE bleen_probe", BUDGET)
            .await;
        assert_eq!(left.unwrap_err().code(), Some(1243));
    }
}

/// A session that idled for longer than the server lets it is opened anew when that is asked for, and only then.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_is_revived() {
    for kind in [ServerKind::MySql97, ServerKind::MariaDb118] {
        let (server, account) = start(kind, &[]).await;
        let target = target(&server, &account, Tls::Disabled);
        let mut session = open(&target).await.unwrap();
        let before = session.id();
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(!session.revive(BUDGET).await.unwrap(), "it answers");
        session
            .run("idle", "SET SESSION wait_timeout = 1", BUDGET)
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert!(session.revive(BUDGET).await.unwrap());
        let (now,): (u64,) = session
            .one("read", "SELECT CONNECTION_ID()", BUDGET)
            .await
            .unwrap();
        assert!(now == session.id() && now != before);
    }
}
