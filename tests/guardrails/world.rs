//! A pair with a doctor beside it, and how to say what a doctor should have found.

use std::collections::BTreeSet;
use std::time::Duration;

use bleen::adapters::mysql::session::Session;
use bleen::adapters::mysql::survey::PairSurveyor;
use bleen::domain::guardrail_ids::GuardrailId;
use bleen::domain::guardrails::facts::ServerFacts;
use bleen::domain::guardrails::{
    Facet, Finding, Known, LagFact, Limits, PlanFacts, Scope, Severity, Survey, Waivers, examine, facets,
};
use bleen::domain::ids::Side;
use bleen::engine::doctor::{Doctor, Examination, Sides};
use bleen::sandbox::{PairOptions, SandboxPair, ServerKind};

use super::support::{self, BUDGET};

pub struct World {
    pub pair: SandboxPair,
    pub doctor: Doctor<PairSurveyor>,
}

/// What a run knows by itself when nothing is wrong.
pub fn calm() -> PlanFacts {
    PlanFacts {
        lag: Known::Known(LagFact {
            now: Duration::ZERO,
            most: Duration::from_millis(20),
            rising: false,
            observed: Duration::from_secs(10),
        }),
        gate_queries: Known::Known(Vec::new()),
        replayed: Known::Known(None),
        warmed: Known::Known(None),
        data_proof: Known::Known(None),
        run_lock: Known::Known(None),
        events_on_blue: Some(BTreeSet::new()),
        // Where only the option file says it, somebody looked.
        starts_read_only: (Known::Known(true), Known::Known(true)),
        ..PlanFacts::default()
    }
}

impl World {
    /// A pair whose green follows blue.
    pub async fn new(blue: ServerKind, green: ServerKind, options: &PairOptions) -> Self {
        let pair = support::following(blue, green, options).await;
        Self::around(pair, Waivers::new()).await
    }

    pub async fn around(pair: SandboxPair, waivers: Waivers) -> Self {
        let limits = Limits {
            longest_statement: Duration::from_millis(200),
            largest_transaction: 3,
            ..Limits::default()
        };
        Self::limited(pair, waivers, limits).await
    }

    pub async fn limited(pair: SandboxPair, waivers: Waivers, limits: Limits) -> Self {
        let one = async |side| {
            let server = support::server(&pair, side).await;
            (support::session(&pair, side).await, server.caps)
        };
        let look = PairSurveyor::new(one(Side::Blue).await, one(Side::Green).await, BUDGET);
        Self {
            doctor: Doctor::new(look, limits, waivers),
            pair,
        }
    }

    /// Runs statements on green although it is read-only, outside its binlog.
    pub async fn on_green(&self, statements: &[&str]) {
        let mysql = self.pair.green.installed().family == bleen::sandbox::Family::MySql;
        let mut all = vec!["SET SESSION sql_log_bin = 0", "SET GLOBAL read_only = 0"];
        all.extend(statements);
        all.push(if mysql {
            "SET GLOBAL super_read_only = 1"
        } else {
            "SET GLOBAL read_only = 1"
        });
        self.run(Side::Green, &all).await;
    }

    /// Opens a session on blue as root (by TCP it would need a password) and runs statements on it; it stays open.
    pub async fn kept(&self, side: Side, statements: &[&str]) -> mysql_async::Conn {
        use mysql_async::prelude::Queryable;
        let mut conn = support::running(&self.pair, side).root().await.unwrap();
        for statement in statements {
            conn.query_drop(*statement).await.unwrap();
        }
        conn
    }

    /// Runs a statement on a session of root in the background.
    pub async fn running_statement(&self, side: Side, statement: &'static str) -> Busy {
        let conn = support::running(&self.pair, side).root().await.unwrap();
        self.busy(side, conn, statement).await
    }

    /// Runs a statement on this session on blue in the background.
    pub async fn running_on(&self, conn: mysql_async::Conn, statement: &'static str) -> Busy {
        self.busy(Side::Blue, conn, statement).await
    }

    async fn busy(&self, side: Side, mut conn: mysql_async::Conn, statement: &'static str) -> Busy {
        use mysql_async::prelude::Queryable;
        let id = conn.id();
        let task = tokio::spawn(async move { drop(conn.query_drop(statement).await) });
        // The server counts whole seconds from boundary to boundary: two of them are at least one.
        let question = format!(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {id} AND COMMAND = 'Query' AND TIME >= 2"
        );
        for _ in 0..500 {
            if support::running(&self.pair, side)
                .value(&question)
                .await
                .unwrap()
                .as_deref()
                == Some("1")
            {
                return Busy { id, side, task };
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("`{statement}` does not run");
    }

    /// Ends a background statement.
    pub async fn end(&self, busy: Busy) {
        self.run(busy.side, &[&format!("KILL {}", busy.id)]).await;
        busy.task.await.unwrap();
    }

    /// Runs statements as root on a side.
    pub async fn run(&self, side: Side, statements: &[&str]) {
        support::running(&self.pair, side).run(statements).await.unwrap();
    }

    pub async fn examine(&mut self, scope: Scope) -> Examination {
        self.doctor.examine(scope, calm()).await
    }

    /// Right before the hold only some settings are read: no guardrail of that scope may say something else with all.
    pub async fn few_settings_are_enough(&mut self) {
        self.examine(Scope::Hold).await;
        let few = self.doctor.sides().clone();
        let mut all = few.clone();
        let settings = BTreeSet::from([Facet::Variables]);
        let look = self.doctor.look_mut();
        look.side(Side::Blue)
            .read(Scope::Doctor, &settings, &mut all.blue)
            .await;
        look.side(Side::Green)
            .read(Scope::Doctor, &settings, &mut all.green)
            .await;
        let judged = |sides: Sides| {
            let (limits, plan) = (Limits::default(), calm());
            let survey = Survey {
                scope: Scope::Hold,
                blue: sides.blue,
                green: sides.green,
                limits,
                plan,
            };
            examine(&survey, &Waivers::new())
        };
        assert_ne!(few.blue.variables, all.blue.variables);
        assert_eq!(judged(few), judged(all));
    }

    /// Connects to blue by TCP with a password.
    pub async fn client(&self, user: &str, password: &str) -> mysql_async::Conn {
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.pair.blue.port())
            .prefer_socket(false)
            .user(Some(user))
            .pass(Some(password));
        mysql_async::Conn::new(options).await.unwrap()
    }

    /// Prints how long each group of facts takes that is read right before the hold, on each side.
    pub async fn print_times(&mut self) {
        for facet in facets(Scope::Hold).into_iter().filter(|f| !f.is_slow()) {
            let mut line = format!("  {facet:?}:");
            for side in [Side::Blue, Side::Green] {
                let started = std::time::Instant::now();
                let (wanted, mut facts) = (BTreeSet::from([facet]), ServerFacts::default());
                self.doctor
                    .look_mut()
                    .side(side)
                    .read(Scope::Hold, &wanted, &mut facts)
                    .await;
                line.push_str(&format!(" {:?}", started.elapsed()));
            }
            eprintln!("{line}");
        }
    }

    /// What stops in a scope, by id.
    pub async fn stops(&mut self, scope: Scope) -> Vec<Finding> {
        let seen = self.examine(scope).await;
        seen.findings
            .into_iter()
            .filter(|f| f.severity == Severity::Stop)
            .collect()
    }

    /// Sees that exactly these guardrails stop in a scope, and returns their findings.
    pub async fn stopped_by(&mut self, scope: Scope, ids: &[GuardrailId]) -> Vec<Finding> {
        let stops = self.stops(scope).await;
        let seen: BTreeSet<&str> = stops.iter().map(|f| f.id.as_str()).collect();
        let wanted: BTreeSet<&str> = ids.iter().map(|id| id.as_str()).collect();
        assert_eq!(seen, wanted, "{scope:?}: {}", listed(&stops));
        stops
    }
}

/// A statement that runs in the background.
pub struct Busy {
    id: u32,
    side: Side,
    task: tokio::task::JoinHandle<()>,
}

pub async fn open(target: &bleen::adapters::mysql::session::Target) -> Session {
    use bleen::adapters::mysql::session::Purpose;
    Session::open(
        target,
        &Purpose {
            run: None,
            role: "application",
        },
        BUDGET,
    )
    .await
    .unwrap()
}

pub fn listed(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(|f| {
            let side = f.side.map_or("pair", Side::as_str);
            format!(
                "\n  {:?} {} {side}: {} [{}] -> {}",
                f.severity, f.id, f.seen, f.limit, f.remedy
            )
        })
        .collect()
}
