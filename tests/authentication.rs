//! Logins by each authentication plugin, with TLS and without, of bleen's account and of the replication account.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test")]

mod support;

use std::path::{Path, PathBuf};

use bleen::adapters::mysql::error::Cause;
use bleen::adapters::mysql::prepare::{Preparation, Request};
use bleen::adapters::mysql::session::{Purpose, Session, Target, Tls};
use bleen::domain::ids::Side;
use bleen::engine::prepare::{Prepared, prepare};
use bleen::sandbox::{Family, LocateOptions, PairOptions, SandboxPair, ServerKind, locate};
use secrecy::ExposeSecret;
use support::{BUDGET, limits, request, running, target};
use tokio_util::sync::CancellationToken;

fn certificates() -> Vec<String> {
    let file = |name: &str| {
        let tls = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
        tls.join(name).display().to_string()
    };
    [
        ("ssl-ca", "ca.pem"),
        ("ssl-cert", "server-cert.pem"),
        ("ssl-key", "server-key.pem"),
    ]
    .map(|(option, name)| format!("{option}={}", file(name)))
    .to_vec()
}

/// A pair with these lines in both option files.
async fn pair(blue: ServerKind, green: ServerKind, extra: &[String]) -> SandboxPair {
    let mut options = PairOptions::default();
    options.blue.extra = extra.to_vec();
    options.green.extra = extra.to_vec();
    SandboxPair::start(blue, green, &options).await.unwrap()
}

/// Gives bleen's account on both sides, and the replication account on blue, another plugin with the same password;
/// `with` is what stands behind IDENTIFIED, with `?` for the password.
async fn identify(pair: &SandboxPair, with: &str) {
    for (side, account) in [
        (Side::Blue, &pair.accounts.bleen),
        (Side::Green, &pair.accounts.bleen),
        (Side::Blue, &pair.accounts.repl),
    ] {
        let with = with.replace('?', &format!("'{}'", account.password.expose_secret()));
        let alter = format!("ALTER USER {}@'%' IDENTIFIED {with}", account.user);
        running(pair, side)
            .run(&["SET SESSION sql_log_bin = 0", &alter])
            .await
            .unwrap();
    }
}

async fn open(target: &Target) -> Result<Session, bleen::adapters::mysql::error::ServerError> {
    let purpose = Purpose {
        run: None,
        role: "test",
    };
    Session::open(target, &purpose, BUDGET).await
}

/// bleen's account logs in to a side, with the cipher that `tls` wants, and not with a wrong password.
async fn bleen_logs_in(pair: &SandboxPair, side: Side, plugin: &str, tls: &Tls) {
    let target = Target {
        tls: tls.clone(),
        ..target(pair, side)
    };
    let mut session = open(&target).await.unwrap();
    let (seen,): (String,) = session
        .one(
            "read",
            "SELECT plugin FROM mysql.user WHERE user = 'bleen'",
            BUDGET,
        )
        .await
        .unwrap();
    assert_eq!(seen, plugin);
    let (_, cipher): (String, String) = session
        .one("read", "SHOW SESSION STATUS LIKE 'Ssl_cipher'", BUDGET)
        .await
        .unwrap();
    assert_eq!(cipher.is_empty(), *tls == Tls::Disabled, "{tls:?}: `{cipher}`");
    let wrong = Target {
        password: "wrong-horse".to_owned().into(),
        ..target
    };
    let error = open(&wrong).await.err().unwrap();
    assert!(
        matches!(&error.cause, Cause::LoginRefused(why) if why.contains("1045")),
        "{error}"
    );
}

/// Prepares with the replication account and this TLS mode.
async fn prepared(pair: &SandboxPair, tls: &Tls) -> Prepared {
    let request = Request {
        source_tls: tls.clone(),
        ..request(pair)
    };
    let mut preparation = Preparation::new(request, Box::new(|_| Ok(())), Box::new(|_, _| ()));
    prepare(&mut preparation, &limits(), &CancellationToken::new()).await
}

/// Both accounts log in by a plugin, bleen's to both sides and the replication account to blue.
async fn both_accounts_log_in(pair: &SandboxPair, plugin: &str, with: &str, tls: &Tls) {
    identify(pair, with).await;
    bleen_logs_in(pair, Side::Blue, plugin, tls).await;
    bleen_logs_in(pair, Side::Green, plugin, tls).await;
    let ended = prepared(pair, tls).await;
    assert!(
        matches!(ended, Prepared::Ready { .. }),
        "{plugin} {tls:?}: {ended:?}"
    );
    let repl = format!(
        "SELECT COUNT(*) FROM mysql.user u JOIN information_schema.PROCESSLIST p ON p.USER = u.user WHERE u.user = \
         'repl' AND u.plugin = '{plugin}' AND p.COMMAND LIKE 'Binlog Dump%'"
    );
    assert_eq!(pair.blue.value(&repl).await.unwrap().as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn caching_sha2_password_with_tls_and_with_the_public_key() {
    for tls in [Tls::Required, Tls::Disabled] {
        let pair = pair(ServerKind::MySql97, ServerKind::MySql97, &certificates()).await;
        // A password that was changed just now is in no cache of the server: the long exchange is needed.
        both_accounts_log_in(&pair, "caching_sha2_password", "BY ?", &tls).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_native_password() {
    for tls in [Tls::Required, Tls::Disabled] {
        let pair = pair(ServerKind::MariaDb1011, ServerKind::MariaDb118, &certificates()).await;
        both_accounts_log_in(&pair, "mysql_native_password", "BY ?", &tls).await;
    }
}

/// The old plugin on blue, the new one on green, which no longer has the old.
#[tokio::test(flavor = "multi_thread")]
async fn mysql_native_password_of_5_6() {
    let pair = pair(ServerKind::MySql56, ServerKind::MySql97, &[]).await;
    pair.blue
        .run(&[
            "UPDATE mysql.user SET plugin = 'mysql_native_password'",
            "FLUSH PRIVILEGES",
        ])
        .await
        .unwrap();
    bleen_logs_in(&pair, Side::Blue, "mysql_native_password", &Tls::Disabled).await;
    bleen_logs_in(&pair, Side::Green, "caching_sha2_password", &Tls::Disabled).await;
    let ended = prepared(&pair, &Tls::Preferred).await;
    assert!(matches!(ended, Prepared::Ready { .. }), "{ended:?}");
}

/// Debian keeps the server's side of these plugins and the client's side in two directories; a replica looks for the
/// client's side among the server's.
async fn plugins_in_one_directory(kind: ServerKind, dir: &Path) {
    let installed = locate(kind, &LocateOptions::default()).await.unwrap();
    assert_eq!(installed.family, Family::MariaDb);
    let usr = installed.root.join("usr/lib");
    let client = usr.join(format!("{}-linux-gnu/libmariadb3/plugin", std::env::consts::ARCH));
    for from in [usr.join("mysql/plugin"), client] {
        for entry in std::fs::read_dir(&from).unwrap() {
            let entry = entry.unwrap();
            // The second directory may hold a name again: the server's own stays.
            drop(std::os::unix::fs::symlink(
                entry.path(),
                dir.join(entry.file_name()),
            ));
        }
    }
}

async fn mariadb_plugin(blue: ServerKind, green: ServerKind, plugin: &str, library: &str, with: &str) {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for tls in [Tls::Required, Tls::Disabled] {
        let mut options = PairOptions::default();
        for (kind, dir, server) in [
            (blue, &dirs[0], &mut options.blue),
            (green, &dirs[1], &mut options.green),
        ] {
            plugins_in_one_directory(kind, dir.path()).await;
            server.extra = certificates();
            server.extra.push(format!("plugin-dir={}", dir.path().display()));
            server.extra.push(format!("plugin-load-add={library}"));
        }
        let pair = SandboxPair::start(blue, green, &options).await.unwrap();
        both_accounts_log_in(&pair, plugin, with, &tls).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ed25519_of_mariadb() {
    let with = "VIA ed25519 USING PASSWORD(?)";
    mariadb_plugin(
        ServerKind::MariaDb1011,
        ServerKind::MariaDb118,
        "ed25519",
        "auth_ed25519",
        with,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parsec_of_mariadb() {
    let with = "VIA parsec USING PASSWORD(?)";
    mariadb_plugin(
        ServerKind::MariaDb118,
        ServerKind::MariaDb118,
        "parsec",
        "auth_parsec",
        with,
    )
    .await;
}

/// A green that lacks the client's side of blue's plugin: the reason is said, and nothing stays changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_the_plugin_says_so() {
    let extra = ["plugin-load-add=auth_ed25519".to_owned()];
    let pair = pair(ServerKind::MariaDb1011, ServerKind::MariaDb118, &extra).await;
    let before = support::fingerprint(&pair, Side::Green).await;
    identify(&pair, "VIA ed25519 USING PASSWORD(?)").await;
    let Prepared::Undone { why, left, .. } = prepared(&pair, &Tls::Disabled).await else {
        panic!("green has no client_ed25519")
    };
    assert!(why.to_string().contains("client_ed25519"), "{why}");
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(support::fingerprint(&pair, Side::Green).await, before);
}
