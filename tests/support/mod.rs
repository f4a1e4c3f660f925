//! What tests on real servers share: a pair with replication set up, and an attempt on it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod check;
pub mod cli;
pub mod points;
pub mod proxy;
pub mod slow_disk;

use std::time::{Duration, Instant};

use bleen::adapters::mysql::own_schema;
use bleen::adapters::mysql::prepare::Request;
use bleen::adapters::mysql::replication::{follow, status};
use bleen::adapters::mysql::session::{Address, Purpose, Session, Target, Tls};
use bleen::adapters::mysql::switch::{OwnSessions, Server, Settings, SwitchServers};
use bleen::adapters::mysql::{capabilities, identity};
use bleen::domain::consistency::Start;
use bleen::domain::ids::{RunId, Side};
use bleen::domain::machine::{Answer, Command, HoldKind, Spec, State};
use bleen::domain::position::FilePosition;
use bleen::engine::attempt::{self, Attempt, Times};
use bleen::engine::event::Events;
use bleen::engine::ports::{Alarm, Journal, JournalError, Pending, Record, Servers, Terms};
use bleen::engine::prepare::Limits;
use bleen::sandbox::{PairOptions, RunningServer, SandboxPair, ServerKind};
use mysql_async::prelude::Queryable;
use tokio_util::sync::CancellationToken;

pub const BUDGET: Duration = Duration::from_secs(5);

pub fn target(pair: &SandboxPair, side: Side) -> Target {
    let server = running(pair, side);
    Target {
        side,
        address: Address::Tcp("127.0.0.1".into(), server.port()),
        spare_address: None,
        user: pair.accounts.bleen.user.clone(),
        password: pair.accounts.bleen.password.clone(),
        tls: Tls::Preferred,
    }
}

pub fn running(pair: &SandboxPair, side: Side) -> &RunningServer {
    match side {
        Side::Blue => &pair.blue,
        Side::Green => &pair.green,
    }
}

pub async fn session(pair: &SandboxPair, side: Side) -> Session {
    Session::open(
        &target(pair, side),
        &Purpose {
            run: None,
            role: "test",
        },
        BUDGET,
    )
    .await
    .unwrap()
}

pub async fn server(pair: &SandboxPair, side: Side) -> Server {
    let mut session = session(pair, side).await;
    let caps = capabilities::probe(&mut session, BUDGET).await.unwrap();
    Server {
        target: target(pair, side),
        caps,
        label: None,
    }
}

/// A pair whose green follows blue, with bleen's schema on both.
pub async fn following(blue: ServerKind, green: ServerKind, options: &PairOptions) -> SandboxPair {
    let pair = SandboxPair::start(blue, green, options).await.unwrap();
    let (blue, green) = (server(&pair, Side::Blue).await, server(&pair, Side::Green).await);
    let mut on_blue = session(&pair, Side::Blue).await;
    let mut on_green = session(&pair, Side::Green).await;
    let gtid = blue.caps.gtid && blue.caps.family() == green.caps.family();
    let start = if gtid {
        Start::Gtid
    } else {
        let mut files = bleen::adapters::mysql::replication::consistency::binlog_files(&mut on_blue, BUDGET)
            .await
            .unwrap();
        Start::At(FilePosition {
            file: files.remove(0),
            offset: 4,
        })
    };
    for statement in own_schema::create_statements() {
        on_blue
            .run("make bleen's schema", &statement, BUDGET)
            .await
            .unwrap();
    }
    let who = identity::read(&mut on_blue, blue.caps.family(), BUDGET)
        .await
        .unwrap();
    let before = follow::before(&mut on_green, &green.caps, BUDGET).await.unwrap();
    let source = follow::Source {
        host: "127.0.0.1".into(),
        port: pair.blue.port(),
        user: pair.accounts.repl.user.clone(),
        password: pair.accounts.repl.password.clone(),
        tls: follow::ChannelTls::Off,
    };
    let plan = follow::plan((&blue.caps, &who), &green.caps, &before, &source, &start).unwrap();
    for change in &plan.changes {
        let on = if change.side == Side::Blue {
            &mut on_blue
        } else {
            &mut on_green
        };
        follow::run(on, change, &source.password, BUDGET).await.unwrap();
    }
    caught_up(&pair).await;
    pair
}

/// Waits until green has bleen's newest row of blue. How long that takes is the machine's affair, not what a test is
/// about; a replication that does not run says why.
pub async fn caught_up(pair: &SandboxPair) {
    caught_up_within(pair, Duration::from_secs(60)).await;
}

/// The same with another bound.
pub async fn caught_up_within(pair: &SandboxPair, limit: Duration) {
    let mut blue = session(pair, Side::Blue).await;
    let mut green = session(pair, Side::Green).await;
    blue.run("beat", "UPDATE bleen.heartbeat SET n = n + 1", BUDGET)
        .await
        .unwrap();
    let question = "SELECT n FROM bleen.heartbeat";
    let (n,): (u64,) = blue.one("read", question, BUDGET).await.unwrap();
    let started = Instant::now();
    let mut seen = Err("never asked".to_owned());
    while started.elapsed() < limit {
        seen = green
            .one::<(u64,)>("read", question, BUDGET)
            .await
            .map_err(|error| error.to_string());
        if matches!(seen, Ok((seen,)) if seen >= n) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let caps = server(pair, Side::Green).await.caps;
    let stands = status::read(&mut green, &caps, BUDGET).await;
    panic!("green did not catch up: it has {seen:?} of {n}; its replication: {stands:#?}");
}

/// Changes green past its replication, as a fault or a hand would, and leaves it read-only. How many rows each statement
/// has changed.
pub async fn corrupt(green: &RunningServer, statements: &[&str]) -> Vec<u64> {
    let mut root = green.root().await.unwrap();
    root.query_drop("SET SESSION sql_log_bin = 0").await.unwrap();
    green.set_read_only(false).await.unwrap();
    let mut changed = Vec::new();
    for statement in statements {
        root.query_drop(*statement).await.unwrap();
        changed.push(root.affected_rows());
    }
    root.disconnect().await.unwrap();
    green.set_read_only(true).await.unwrap();
    changed
}

/// What a process had resident at most so far, in kilobytes; `None` when it is gone.
pub fn most_resident_kilobytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

pub async fn settings(pair: &SandboxPair, hold: HoldKind) -> Settings {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Settings {
        run: RunId::new(format!("test-{}-{number}", std::process::id())).unwrap(),
        pair: "shop".into(),
        operator: "test".into(),
        playbook: String::new(),
        blue: server(pair, Side::Blue).await,
        green: server(pair, Side::Green).await,
        hold,
        deadline: Duration::from_secs(3),
        hold_wait: Duration::from_millis(300),
        guard_margin: Duration::from_secs(3),
        idle_grace: Duration::from_millis(200),
        answer: Duration::from_secs(3),
        end_selects: false,
        end_privileged: false,
        fence_queries: Vec::new(),
        routes: Vec::new(),
        own_sessions: OwnSessions::default(),
        proves_rows: false,
        proof: None,
        durable_again: Vec::new(),
        way_back: None,
        after: None,
    }
}

pub const TIMES: Times = Times {
    deadline: Duration::from_secs(3),
    answer: Duration::from_secs(3),
    route: Duration::from_secs(2),
    undo: Duration::from_secs(15),
    after: Duration::from_secs(10),
};

/// Keeps the records in memory.
#[derive(Default)]
pub struct Memory(pub Vec<Record>);

impl Journal for Memory {
    fn append(&mut self, record: &Record, _: bool) -> Result<(), JournalError> {
        self.0.push(record.clone());
        Ok(())
    }
}

/// Does something of the test's own right before a command is carried out.
pub struct Before<F> {
    inner: SwitchServers,
    name: &'static str,
    action: F,
}

impl<F, R> Servers for Before<F>
where
    F: Fn() -> R + Send + Sync,
    R: Future<Output = ()> + Send + 'static,
{
    fn perform(&self, command: Command, terms: Terms) -> Pending<Answer> {
        if command.name() != self.name {
            return self.inner.perform(command, terms);
        }
        let (action, perform) = ((self.action)(), self.inner.perform(command, terms));
        Box::pin(async move {
            action.await;
            perform.await
        })
    }

    fn approach(&self, terms: Terms) -> Pending<Option<Answer>> {
        self.inner.approach(terms)
    }

    fn alarm(&self) -> Pending<Alarm> {
        self.inner.alarm()
    }

    fn in_the_way(&self) -> Option<String> {
        self.inner.in_the_way()
    }
}

/// An attempt with an action of the test's own before one of its commands.
pub async fn attempt_with<F, R>(settings: Settings, name: &'static str, action: F) -> Attempt
where
    F: Fn() -> R + Send + Sync,
    R: Future<Output = ()> + Send + 'static,
{
    let spec = Spec {
        hold: settings.hold,
        reprove: settings.reproves(),
        way_back: settings.way_back.is_some(),
    };
    let inner = SwitchServers::open(settings).await.unwrap();
    let servers = Before { inner, name, action };
    let cancel = CancellationToken::new();
    let mut journal = Memory::default();
    attempt::run(
        &servers,
        &mut journal,
        State::new(spec),
        &TIMES,
        1,
        &cancel,
        &Events::none(),
    )
    .await
}

/// One whole attempt.
pub async fn attempt(settings: Settings) -> Attempt {
    attempt_with(settings, "", || async {}).await
}

/// Whether a side accepts an ordinary account's writes.
pub async fn is_writable(pair: &SandboxPair, side: Side) -> bool {
    let mut session = session(pair, side).await;
    let (open,): (i64,) = session
        .one("read", "SELECT @@GLOBAL.read_only IN ('OFF', '0')", BUDGET)
        .await
        .unwrap();
    open == 1
}

/// What a command line said, and how it ended.
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// The last line of JSON on stdout.
    pub fn result(&self) -> serde_json::Value {
        serde_json::from_str(self.stdout.lines().last().unwrap_or_default())
            .unwrap_or_else(|e| panic!("{e}: {self}"))
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exit code {}\n--- stdout\n{}\n--- stderr\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}

/// What an operator of servers that cannot persist read-only says about their option files.
pub fn waivers(pair: &SandboxPair) -> &'static str {
    let persists = |server: &RunningServer| {
        server.installed().family == bleen::sandbox::Family::MySql
            && server.version() >= bleen::sandbox::Release(8, 0, 0)
    };
    if persists(&pair.blue) && persists(&pair.green) {
        return "";
    }
    "waivers:\n  - guardrail: restart-writable\n    reason: throw-away servers that nobody restarts\n"
}

/// The command line on a pair: a home of its own, the passwords in files, a playbook.
pub struct Operator {
    pub home: tempfile::TempDir,
    playbook: std::path::PathBuf,
}

impl Operator {
    /// A playbook for the pair; `change` gets its text, to spoil or to extend it.
    pub fn of(pair: &SandboxPair, change: impl Fn(String) -> String) -> Self {
        use secrecy::ExposeSecret;
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let secret = |name: &str, account: &bleen::sandbox::Account| {
            let path = home.path().join(name);
            std::fs::write(&path, account.password.expose_secret()).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            format!("{{ file: {} }}", path.display())
        };
        let bleen = secret("bleen.password", &pair.accounts.bleen);
        let repl = secret("repl.password", &pair.accounts.repl);
        let text = format!(
            "version: 1\nname: shop\nblue:\n  host: 127.0.0.1\n  port: {}\n  user: {user}\n  password: {bleen}\ngreen:\n  \
             host: 127.0.0.1\n  port: {}\n  user: {user}\n  password: {bleen}\nreplication:\n  user: {}\n  password: {repl}\n\
             lag:\n  observe: 1s\n{}",
            pair.blue.port(),
            pair.green.port(),
            pair.accounts.repl.user,
            waivers(pair),
            user = pair.accounts.bleen.user,
        );
        let playbook = home.path().join("shop.yaml");
        std::fs::write(&playbook, change(text)).unwrap();
        Self { home, playbook }
    }

    /// An operator of the pair who has prepared it.
    pub async fn prepared(pair: &SandboxPair) -> Self {
        let operator = Self::of(pair, |text| text);
        let prepared = operator.run("prepare", &[]).await;
        assert_eq!(prepared.code, 0, "{prepared}");
        operator
    }

    /// A command with the playbook and further arguments, ready to be started.
    pub fn command(&self, command: &str, more: &[&str]) -> std::process::Command {
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_bleen"));
        process
            .arg(command)
            .arg(&self.playbook)
            .args(more)
            .env_clear()
            .env("HOME", self.home.path())
            .env("USER", "operator")
            .env("TERM", "dumb")
            .stdin(std::process::Stdio::null());
        process
    }

    /// Runs a command to its end.
    pub async fn run(&self, command: &str, more: &[&str]) -> Said {
        ended(self.command(command, more)).await
    }
}

/// Runs a prepared command to its end.
pub async fn ended(mut process: std::process::Command) -> Said {
    let output = tokio::task::spawn_blocking(move || process.output().unwrap())
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// What preparing a pair needs to know: the servers' own addresses, and the replication account of the pair.
pub fn request(pair: &SandboxPair) -> Request {
    Request {
        run: RunId::new("20261123T220000Z-aaaaaa").unwrap(),
        blue: target(pair, Side::Blue),
        green: target(pair, Side::Green),
        source_host: "127.0.0.1".into(),
        source_port: pair.blue.port(),
        source_user: pair.accounts.repl.user.clone(),
        source_password: pair.accounts.repl.password.clone(),
        source_tls: Tls::Preferred,
        told_start: None,
        heartbeat: Duration::from_millis(50),
    }
}

/// How long preparing may take, and how close green has to come.
pub fn limits() -> Limits {
    Limits {
        lag: Duration::from_secs(1),
        observe: Duration::from_secs(1),
        catch_up: Duration::from_secs(60),
        change: Duration::from_secs(20),
        undo: Duration::from_secs(20),
        may_relax: false,
    }
}

/// What preparing, or a command that fails, might change on a side: settings, also persisted ones, schemas, channels.
pub async fn fingerprint(pair: &SandboxPair, side: Side) -> String {
    let known = server(pair, side).await;
    let mut session = session(pair, side).await;
    let names = [
        "read_only",
        "super_read_only",
        "event_scheduler",
        "sync_binlog",
        "innodb_flush_log_at_trx_commit",
        "wait_timeout",
    ];
    let memory = capabilities::variables(&mut session, &names, BUDGET)
        .await
        .unwrap();
    let persisted: Vec<(String, String)> = if known.caps.persist {
        let sql =
            "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.persisted_variables ORDER BY 1";
        session.rows("read", sql, BUDGET).await.unwrap()
    } else {
        vec![]
    };
    let schemas: Vec<String> = session.rows("read", "SHOW DATABASES", BUDGET).await.unwrap();
    let channels = status::read(&mut session, &known.caps, BUDGET).await.unwrap();
    format!("{memory:?} {persisted:?} {schemas:?} {} channels", channels.len())
}
