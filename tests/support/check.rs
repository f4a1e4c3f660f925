//! A pair under load, and what must hold after every fault: nothing lost or doubled, one writer, everything as before.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that stops says where"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bleen::domain::binlog_events::{BinlogEvent, Stretch, classify};
use bleen::domain::ids::Side;
use bleen::sandbox::{
    Endpoint, Load, LoadOptions, LoadReport, PairOptions, RunningServer, Sampler, SandboxPair, ServerKind,
    writable_sides,
};
use mysql_async::Row;
use mysql_async::prelude::Queryable;

use super::cli::{Operator, Plan};
use super::{caught_up, following, running};

/// Longest time for anything that should come at once.
pub const SOON: Duration = Duration::from_secs(20);

/// What a client's clock and a busy machine add to a bound that the servers keep.
const SLACK: Duration = Duration::from_millis(900);

/// The two families that every case is tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    MySql,
    MariaDb,
}

impl Kind {
    pub fn servers(self) -> (ServerKind, ServerKind) {
        match self {
            Self::MySql => (ServerKind::MySql97, ServerKind::MySql97),
            Self::MariaDb => (ServerKind::MariaDb1011, ServerKind::MariaDb118),
        }
    }

    /// The statement that waits on green.
    pub fn wait(self) -> &'static str {
        match self {
            Self::MySql => "WAIT_FOR_EXECUTED_GTID_SET",
            Self::MariaDb => "MASTER_GTID_WAIT",
        }
    }

    /// Words of the statement that seals.
    pub fn seal(self) -> &'static str {
        match self {
            Self::MySql => "PERSIST super_read_only = IF(",
            Self::MariaDb => "GLOBAL read_only = IF(",
        }
    }

    pub fn stop_applier(self) -> &'static str {
        match self {
            Self::MySql => "STOP REPLICA SQL_THREAD",
            Self::MariaDb => "STOP SLAVE SQL_THREAD",
        }
    }

    pub fn start_applier(self) -> &'static str {
        match self {
            Self::MySql => "START REPLICA SQL_THREAD",
            Self::MariaDb => "START SLAVE SQL_THREAD",
        }
    }
}

/// The settings of one server that a run changes and has to put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    flags: BTreeMap<String, String>,
    persisted: BTreeMap<String, String>,
    accounts_locked: u64,
}

/// A pair with a small shop.
pub struct Scene {
    pub kind: Kind,
    pub pair: SandboxPair,
    pub blue: Endpoint,
    pub green: Endpoint,
    before: (Settings, Settings),
}

/// The tables that the load writes to, as the big shop has them, and an event that writes by itself.
pub fn shop(app: &str) -> Vec<String> {
    let numbers = "SELECT a.n + b.n * 10 + c.n * 100 + 1 FROM shop.digits a, shop.digits b, shop.digits c";
    vec![
        "CREATE DATABASE shop DEFAULT CHARACTER SET utf8mb4".into(),
        "CREATE TABLE shop.digits (n INT PRIMARY KEY)".into(),
        "INSERT INTO shop.digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)".into(),
        "CREATE TABLE shop.accounts (id INT UNSIGNED NOT NULL PRIMARY KEY, balance BIGINT NOT NULL)".into(),
        format!("INSERT INTO shop.accounts SELECT n, 100000 FROM ({}) numbers", numbers.replace(" + 1 FROM", " + 1 AS n FROM")),
        "CREATE TABLE shop.ledger (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, run BIGINT UNSIGNED NOT \
         NULL, writer INT UNSIGNED NOT NULL, seq BIGINT UNSIGNED NOT NULL, from_account INT UNSIGNED NOT NULL, \
         to_account INT UNSIGNED NOT NULL, amount BIGINT NOT NULL, at TIMESTAMP(6) NOT NULL DEFAULT \
         CURRENT_TIMESTAMP(6), KEY write_of (run, writer, seq))"
            .into(),
        "CREATE TABLE shop.ticks (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, server INT UNSIGNED NOT \
         NULL)"
            .into(),
        // Under a hold each SELECT of it takes as long as there are rows times the sleep.
        "CREATE TABLE shop.notes (id INT PRIMARY KEY, note VARCHAR(100))".into(),
        "INSERT INTO shop.notes VALUES (1, 'a'), (2, 'b'), (3, 'c')".into(),
        format!(
            "CREATE DEFINER = '{app}'@'%' EVENT shop.tick ON SCHEDULE EVERY 1 SECOND ON COMPLETION PRESERVE ENABLE \
             DO INSERT INTO shop.ticks (server) VALUES (@@server_id)"
        ),
    ]
}

impl Scene {
    pub async fn new(kind: Kind) -> Self {
        Self::with(kind, &PairOptions::default()).await
    }

    pub async fn with(kind: Kind, options: &PairOptions) -> Self {
        let (blue, green) = kind.servers();
        let pair = following(blue, green, options).await;
        pair.blue.run(&shop(&pair.accounts.app.user)).await.unwrap();
        caught_up(&pair).await;
        let (blue, green) = Endpoint::both(&pair);
        let before = (
            settings(kind, &pair.blue).await,
            settings(kind, &pair.green).await,
        );
        Self {
            kind,
            pair,
            blue,
            green,
            before,
        }
    }

    pub fn plan(&self) -> Plan {
        Plan::of(&self.pair)
    }

    pub fn operator(&self) -> Operator {
        Operator::new(&self.pair, &self.plan())
    }

    pub fn server(&self, side: Side) -> &RunningServer {
        running(&self.pair, side)
    }

    fn endpoint(&self, side: Side) -> &Endpoint {
        match side {
            Side::Blue => &self.blue,
            Side::Green => &self.green,
        }
    }

    /// Starts load and sampler.
    pub async fn watch(&self) -> Watch {
        let options = LoadOptions {
            writers: 4,
            rate: 25,
            ..LoadOptions::default()
        };
        let load = Load::start(&self.blue, &self.green, options).unwrap();
        load.progress(10, SOON).await.unwrap();
        Watch {
            load,
            sampler: Sampler::start(&self.blue, &self.green),
        }
    }

    /// What must hold at the end of every case in which `serves` serves.
    pub async fn check(&self, case: &str, watch: Watch, serves: Side) -> LoadReport {
        let (report, green_was_open) = self.written_once(case, watch, serves).await;
        if serves == Side::Blue {
            assert!(!green_was_open, "{:?}, {case}: green was open", self.kind);
        }
        self.nothing_left(case).await;
        match serves {
            Side::Blue => self.as_before(case).await,
            Side::Green => self.switched(case).await,
        }
        eprintln!(
            "{:?}, {case}: {serves} serves, nothing lost or doubled",
            self.kind
        );
        report
    }

    /// After any number of switches: one side is writable, `serves`, and has every acknowledged write once.
    pub async fn check_writes(&self, case: &str, watch: Watch, serves: Side) -> LoadReport {
        let (report, _) = self.written_once(case, watch, serves).await;
        self.nothing_left(case).await;
        report
    }

    /// The load's report, and whether green was ever open.
    async fn written_once(&self, case: &str, watch: Watch, serves: Side) -> (LoadReport, bool) {
        let at = || format!("{:?}, {case}", self.kind);
        watch
            .load
            .progress(10, SOON)
            .await
            .unwrap_or_else(|e| panic!("{}: nobody can write: {e}", at()));
        let report = watch.load.stop().await;
        let sampled = watch.sampler.stop().await;
        let writable = writable_sides(&self.blue, &self.green, SOON).await;
        assert_eq!(writable, [serves], "{}: who is writable", at());
        assert!(
            report.log.unresolved.is_empty(),
            "{}: {:?}",
            at(),
            report.log.unresolved
        );
        let check = report.verify(self.endpoint(serves)).await.unwrap();
        assert!(check.is_clean(), "{}: {check:?}", at());
        assert!(
            sampled.samples > 20 && sampled.both_writable.is_empty(),
            "{}: {} samples, {} of them with both writable",
            at(),
            sampled.samples,
            sampled.both_writable.len()
        );
        let green_was_open = sampled.changes.iter().any(|(_, _, green)| *green);
        (report, green_was_open)
    }

    /// No session, no guard and no lock of bleen's on either side.
    pub async fn nothing_left(&self, case: &str) {
        for side in [Side::Blue, Side::Green] {
            let mut conn = self.server(side).root().await.unwrap();
            // The server ends the session of a client that is gone within moments, a sleeping one within five seconds.
            let began = Instant::now();
            loop {
                let left: Vec<(u64, Option<String>)> = conn
                    .query("SELECT id, info FROM information_schema.processlist WHERE user = 'bleen'")
                    .await
                    .unwrap();
                let locks: (Option<u64>, Option<u64>) = conn
                    .query_first("SELECT IS_USED_LOCK('bleen.guard'), IS_USED_LOCK('bleen.run')")
                    .await
                    .unwrap()
                    .unwrap();
                if left.is_empty() && locks == (None, None) {
                    break;
                }
                assert!(
                    began.elapsed() < Duration::from_secs(6),
                    "{:?}, {case}: left on {side}: {left:?}, locks {locks:?}",
                    self.kind
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Blue serves: every setting is as it was, green follows and has written nothing of its own.
    async fn as_before(&self, case: &str) {
        let now = (
            settings(self.kind, &self.pair.blue).await,
            settings(self.kind, &self.pair.green).await,
        );
        assert_eq!(
            now, self.before,
            "{:?}, {case}: settings of blue, green",
            self.kind
        );
        let show = match self.kind {
            Kind::MySql => "SHOW REPLICA STATUS",
            Kind::MariaDb => "SHOW ALL SLAVES STATUS",
        };
        let mut blue = self.pair.blue.root().await.unwrap();
        let follows: Vec<Row> = blue.query(show).await.unwrap();
        assert_eq!(
            follows.len(),
            0,
            "{:?}, {case}: blue still follows green",
            self.kind
        );
        caught_up(&self.pair).await;
        let ahead = self.only_on(Side::Green).await;
        assert_eq!(ahead, "", "{:?}, {case}: green wrote by itself", self.kind);
    }

    /// Green serves: decisive is the old writer's binlog, which holds no change behind the fence and nothing that green
    /// has not.
    async fn switched(&self, case: &str) {
        let change = self.behind_the_fence().await;
        assert_eq!(
            change, None,
            "{:?}, {case}: blue was changed behind the fence",
            self.kind
        );
        let ahead = self.only_on(Side::Blue).await;
        assert_eq!(
            ahead, "",
            "{:?}, {case}: blue committed after the fence",
            self.kind
        );
        let (blue, green) = (
            settings(self.kind, &self.pair.blue).await,
            settings(self.kind, &self.pair.green).await,
        );
        if self.kind == Kind::MySql {
            assert_eq!(
                blue.persisted.get("super_read_only").map(String::as_str),
                Some("ON"),
                "{case}: a sealed blue must come back sealed"
            );
            assert_eq!(
                (
                    green.persisted.get("super_read_only").map(String::as_str),
                    green.persisted.get("read_only").map(String::as_str)
                ),
                (Some("OFF"), Some("OFF")),
                "{case}: a promoted green must come back writable"
            );
        }
    }

    /// After a switch without debt: what blue's event scheduler did, green's does.
    pub async fn scheduler_moved(&self, case: &str) {
        let green = settings(self.kind, &self.pair.green).await;
        assert_eq!(green.flags["event_scheduler"], "ON", "{case}");
        let persisted = green.persisted.get("event_scheduler").map(String::as_str);
        assert_ne!(
            persisted,
            Some("OFF"),
            "{case}: green's events would end with its next start"
        );
    }

    /// The first change in blue's binlog behind the fence of its last switch. `None` also where a run died before it
    /// wrote its epoch row: only [`Scene::only_on`] looks then.
    pub async fn behind_the_fence(&self) -> Option<String> {
        let newest = "SELECT fence FROM bleen.epochs ORDER BY epoch DESC LIMIT 1";
        let fence = self.pair.green.value(newest).await.unwrap()?;
        let (file, offset) = fence.rsplit_once(':')?;
        let mut blue = self.pair.blue.root().await.unwrap();
        let logs: Vec<Row> = blue.query("SHOW BINARY LOGS").await.unwrap();
        let files = logs.iter().map(|row| row.get::<String, _>(0).unwrap());
        let mut events = Vec::new();
        for name in files.skip_while(|name| name != file) {
            let from = if name == file { offset } else { "4" };
            let question = format!("SHOW BINLOG EVENTS IN '{name}' FROM {from}");
            let rows: Vec<(String, u64, String, u32, u64, String)> = blue.query(question).await.unwrap();
            events.extend(
                rows.into_iter()
                    .map(|(file, offset, kind, server_id, _, info)| BinlogEvent {
                        file,
                        offset,
                        kind,
                        server_id,
                        info,
                    }),
            );
        }
        // What green wrote has come back on the way back.
        let green: u32 = self
            .pair
            .green
            .value("SELECT @@server_id")
            .await
            .unwrap()
            .unwrap()
            .parse()
            .unwrap();
        events.retain(|event: &BinlogEvent| event.server_id != green);
        match classify(&events) {
            Stretch::NoRows => None,
            Stretch::Rows { first } => Some(format!("{first:?}")),
        }
    }

    /// Transactions that `side` has executed and the other has not; empty if there are none.
    pub async fn only_on(&self, side: Side) -> String {
        let executed = |side: Side| async move {
            let question = match self.kind {
                Kind::MySql => "SELECT @@GLOBAL.gtid_executed",
                Kind::MariaDb => "SELECT @@GLOBAL.gtid_binlog_state",
            };
            let text = self
                .server(side)
                .value(question)
                .await
                .unwrap()
                .unwrap_or_default();
            text.replace('\n', "")
        };
        let (this, other) = (executed(side).await, executed(side.other()).await);
        match self.kind {
            Kind::MySql => self
                .server(side)
                .value(&format!("SELECT GTID_SUBTRACT('{this}', '{other}')"))
                .await
                .unwrap()
                .unwrap_or_default(),
            Kind::MariaDb => {
                let of = |text: &str| -> BTreeMap<String, u64> {
                    text.split(',')
                        .filter_map(|gtid| gtid.trim().rsplit_once('-'))
                        .map(|(origin, seq)| (origin.to_owned(), seq.parse().unwrap()))
                        .collect()
                };
                let other = of(&other);
                let ahead = of(&this)
                    .into_iter()
                    .filter(|(origin, seq)| other.get(origin).is_none_or(|there| there < seq));
                ahead.map(|(origin, seq)| format!("{origin}-{seq}")).collect()
            }
        }
    }

    /// Makes the present settings those that have to be found again.
    pub async fn settle(&mut self) {
        self.before = (
            settings(self.kind, &self.pair.blue).await,
            settings(self.kind, &self.pair.green).await,
        );
    }
}

async fn settings(kind: Kind, server: &RunningServer) -> Settings {
    let mut conn = server.root().await.unwrap();
    let names = match kind {
        Kind::MySql => {
            "'read_only', 'super_read_only', 'event_scheduler', 'sync_binlog', 'innodb_flush_log_at_trx_commit'"
        }
        Kind::MariaDb => {
            "'read_only', 'event_scheduler', 'sync_binlog', 'innodb_flush_log_at_trx_commit', 'gtid_domain_id'"
        }
    };
    let flags: Vec<(String, String)> = conn
        .query(format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})"))
        .await
        .unwrap();
    let persisted: Vec<(String, String)> = match kind {
        Kind::MySql => conn
            .query("SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.persisted_variables")
            .await
            .unwrap(),
        Kind::MariaDb => Vec::new(),
    };
    let locked = match kind {
        Kind::MySql => "SELECT COUNT(*) FROM mysql.user WHERE account_locked = 'Y'",
        Kind::MariaDb => {
            "SELECT COUNT(*) FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.account_locked') = 1"
        }
    };
    let accounts_locked: Option<u64> = conn.query_first(locked).await.unwrap();
    Settings {
        flags: flags.into_iter().collect(),
        persisted: persisted.into_iter().collect(),
        accounts_locked: accounts_locked.unwrap_or(0),
    }
}

/// Load and sampler of one case.
pub struct Watch {
    pub load: Load,
    sampler: Sampler,
}

impl Watch {
    /// I3: waits until blue accepts writes again, and no writer had to wait for longer than `bound`.
    pub async fn blue_goes_on(&self, case: &str, bound: Duration) {
        self.load
            .progress(10, bound + SOON)
            .await
            .unwrap_or_else(|e| panic!("{case}: blue did not come back: {e}"));
        let longest = self.load.snapshot().longest_write;
        assert!(
            longest <= bound + SLACK,
            "{case}: a writer waited for {longest:?}, allowed are {bound:?}"
        );
    }
}
