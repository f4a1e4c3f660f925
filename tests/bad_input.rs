//! Bad input and servers that refuse, on real pairs: each its message, its exit code, and nothing changed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that stops says where")]

mod support;

use bleen::domain::ids::Side;
use bleen::sandbox::{PairOptions, SandboxPair, ServerKind};
use support::{Operator, Said, fingerprint};

const DATA: &str = "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, v INT) ENGINE=InnoDB; \
                    INSERT INTO shop.t VALUES (1, 1), (2, 2)";

/// A pair, and what it looks like before anything is asked of it.
struct Untouched {
    pair: SandboxPair,
    before: (String, String),
}

impl Untouched {
    async fn start(kind: ServerKind) -> Self {
        let pair = SandboxPair::start(kind, kind, &PairOptions::default())
            .await
            .unwrap();
        pair.blue.run(&[DATA]).await.unwrap();
        let before = both(&pair).await;
        Self { pair, before }
    }

    /// Runs `prepare`, and `switch`, with a playbook or a home that was spoilt, and checks how that ends.
    async fn refuses(
        &self,
        spoil: impl Fn(String) -> String,
        afterwards: impl Fn(&Operator),
        more: &[&str],
        (code, words): (i32, &[&str]),
    ) {
        let operator = Operator::of(&self.pair, spoil);
        afterwards(&operator);
        let said = operator.run("prepare", more).await;
        self.check(&said, code, words).await;
    }

    async fn check(&self, said: &Said, code: i32, words: &[&str]) {
        assert_eq!(said.code, code, "{said}");
        for word in words {
            assert!(
                said.stderr.contains(word) || said.stdout.contains(word),
                "{word}: {said}"
            );
        }
        let secret = secrecy::ExposeSecret::expose_secret(&self.pair.accounts.bleen.password);
        assert!(!said.to_string().contains(secret), "a password is shown");
        assert_eq!(both(&self.pair).await, self.before, "{said}");
    }
}

async fn both(pair: &SandboxPair) -> (String, String) {
    // What green copied meanwhile is data, not a setting.
    let green = fingerprint(pair, Side::Green).await;
    (
        fingerprint(pair, Side::Blue).await,
        green.replace(", \"shop\"", ""),
    )
}

fn as_it_is(text: String) -> String {
    text
}

fn nothing(_: &Operator) {}

fn write(operator: &Operator, name: &str, text: &str) {
    std::fs::write(operator.home.path().join(name), text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unreachable_host() {
    let it = Untouched::start(ServerKind::MySql97).await;
    let wrong = |operator: &Operator| write(operator, "bleen.password", "wrong");
    let words = ["refused the login", "1045", "nothing has changed", "bleen grants"];
    it.refuses(as_it_is, wrong, &[], (69, &words)).await;

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let green = format!("port: {}", it.pair.green.port());
    let elsewhere = |text: String| text.replace(&green, &format!("port: {port}"));
    let words = [
        "green (127.0.0.1",
        "cannot be reached",
        "nothing has changed",
        "firewall",
    ];
    it.refuses(elsewhere, nothing, &[], (69, &words)).await;

    let missing =
        |operator: &Operator| std::fs::remove_file(operator.home.path().join("bleen.password")).unwrap();
    let words = [
        "failed to fetch the password of bleen on blue",
        "nothing has changed",
    ];
    it.refuses(as_it_is, missing, &[], (2, &words)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_where_tls_is_required() {
    let it = Untouched::start(ServerKind::MariaDb1011).await;
    let required = |text: String| text.replacen("green:\n", "green:\n  tls: required\n", 1);
    let words = [
        "green (127.0.0.1",
        "TLS",
        "check the `tls`",
        "nothing has changed",
    ];
    it.refuses(required, nothing, &[], (69, &words)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_playbook_with_an_unknown_key_or_a_wrong_unit_or_one_server_twice() {
    let it = Untouched::start(ServerKind::MySql97).await;
    let unknown = |text: String| format!("{text}switch:\n  deadlin: 10s\n");
    it.refuses(unknown, nothing, &[], (65, &["deadlin", "deadline", "shop.yaml"]))
        .await;
    let unit = |text: String| format!("{text}switch:\n  deadline: 10 parsecs\n");
    it.refuses(unit, nothing, &[], (65, &["parsecs", "shop.yaml"]))
        .await;

    let (blue, green) = (it.pair.blue.port(), it.pair.green.port());
    // Under another name, so that only the servers themselves can tell.
    let twice = |text: String| {
        text.replace(
            &format!("host: 127.0.0.1\n  port: {green}"),
            &format!("host: localhost\n  port: {blue}"),
        )
    };
    let words = ["blue and green are the same server", "nothing has changed"];
    it.refuses(twice, nothing, &[], (2, &words)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_and_a_replication_account_that_is_refused() {
    let it = Untouched::start(ServerKind::MySql97).await;
    let wrong = |operator: &Operator| write(operator, "repl.password", "wrong");
    // Only green can try this account, so this shows after the first changes: all of them are put back.
    let words = [
        "start replication on green",
        "Access denied",
        "everything was put back",
    ];
    it.refuses(as_it_is, wrong, &[], (3, &words)).await;

    let user = &it.pair.accounts.bleen.user;
    let revoke = format!("REVOKE REPLICATION CLIENT ON *.* FROM {user}");
    it.pair
        .blue
        .run(&["SET SESSION sql_log_bin = 0", &revoke])
        .await
        .unwrap();
    let words = [
        "privileges on blue",
        "lacks REPLICATION CLIENT",
        "GRANT REPLICATION CLIENT",
    ];
    it.refuses(as_it_is, nothing, &[], (2, &words)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_directory_that_cannot_be_written() {
    let it = Untouched::start(ServerKind::MySql97).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("runs");
    let arguments = ["--run-dir", below.to_str().unwrap()];
    let words = [
        "failed to prepare the run directory",
        "nothing has changed",
        "--run-dir",
    ];
    it.refuses(as_it_is, nothing, &arguments, (2, &words)).await;
    let operator = Operator::of(&it.pair, as_it_is);
    for (command, more) in [
        ("rollback", &[][..]),
        ("switch", &["--confirm", "shop"]),
        ("run", &["--confirm", "shop"]),
    ] {
        let said = operator.run(command, &[more, &arguments[..]].concat()).await;
        it.check(&said, 2, &words).await;
    }
}
