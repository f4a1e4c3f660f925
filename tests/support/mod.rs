//! What tests on real servers share: a pair with replication set up, and an attempt on it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod check;
pub mod cli;
pub mod points;
pub mod proxy;

use std::time::Duration;

use bleen::adapters::mysql::own_schema;
use bleen::adapters::mysql::replication::follow;
use bleen::adapters::mysql::session::{Address, Purpose, Session, Target, Tls};
use bleen::adapters::mysql::switch::{Server, Settings, SwitchServers};
use bleen::adapters::mysql::{capabilities, identity};
use bleen::domain::consistency::Start;
use bleen::domain::ids::{RunId, Side};
use bleen::domain::machine::{Answer, Command, HoldKind, Spec, State};
use bleen::domain::position::FilePosition;
use bleen::engine::attempt::{self, Attempt, Times};
use bleen::engine::event::Events;
use bleen::engine::ports::{Alarm, Journal, JournalError, Pending, Record, Servers, Terms};
use bleen::sandbox::{PairOptions, RunningServer, SandboxPair, ServerKind};
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

/// Waits until green has bleen's newest row of blue.
pub async fn caught_up(pair: &SandboxPair) {
    let mut blue = session(pair, Side::Blue).await;
    let mut green = session(pair, Side::Green).await;
    blue.run("beat", "UPDATE bleen.heartbeat SET n = n + 1", BUDGET)
        .await
        .unwrap();
    let question = "SELECT n FROM bleen.heartbeat";
    let (n,): (u64,) = blue.one("read", question, BUDGET).await.unwrap();
    for _ in 0..500 {
        if let Ok((seen,)) = green.one::<(u64,)>("read", question, BUDGET).await
            && seen >= n
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("green did not catch up");
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
        own_sessions: Vec::new(),
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
        reprove: !settings.fence_queries.is_empty(),
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
