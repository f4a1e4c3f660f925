//! What a run writes down before it changes anything, so that any other machine can end it: in `bleen.runs` on blue,
//! from where replication carries it to green, and in the journal.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::events;
use super::sessions::Sessions;
use super::{Inner, Server, Settings, WiredBack, green_wrote, way_back};
use crate::adapters::mysql::columns;
use crate::adapters::mysql::error::{Cause, ServerError};
use crate::adapters::mysql::identity;
use crate::adapters::mysql::own_schema::{self, RunRow};
use crate::adapters::mysql::session::Session;
use crate::domain::ids::Side;
use crate::domain::machine::HoldKind;

/// What is persisted for the two read-only flags; `None` where nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persisted {
    /// `read_only` in `mysqld-auto.cnf`.
    pub read_only: Option<String>,
    /// `super_read_only` in `mysqld-auto.cnf`.
    pub super_read_only: Option<String>,
}

/// Everything that must be known to put a run's changes back, or to finish it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// How writers are held.
    pub hold: HoldKind,
    /// What was persisted on blue before.
    pub blue_persisted: Persisted,
    /// Blue's `event_scheduler` before: `ON`, `OFF` or `DISABLED`.
    pub event_scheduler: String,
    /// For each event that was enabled on blue, the statements that enable it on green.
    pub events: Vec<String>,
    /// Their names: once green enabled them, blue, which follows it, shows them as disabled. `None` if an earlier bleen
    /// did not write them down.
    #[serde(default)]
    pub event_names: Option<BTreeSet<String>>,
    /// What green itself had written before: its own part of the executed position.
    pub green_own: String,
    /// Which server blue is ([`crate::domain::identity::Identity::label`]), whatever its address leads to later.
    pub blue_label: String,
    /// Which server green is; stands in the epoch row.
    pub green_label: String,
    /// Sessions of the run on blue.
    pub blue_sessions: Vec<u64>,
    /// Sessions of the run on green.
    pub green_sessions: Vec<u64>,
    /// The session that holds.
    pub hold_session: u64,
    /// The session that promotes.
    pub promote_session: u64,
    /// When blue and green were started, at the latest: numbers of sessions begin anew with a restart.
    pub started: (i64, i64),
    /// Accounts locked on blue because they write through read-only, as quoted names.
    pub locked_accounts: Vec<String>,
    /// The newest promotion that either server knew of when the run began; `None` if an earlier bleen did not write it
    /// down.
    #[serde(default)]
    pub epoch: Option<u64>,
    /// What blue's following of green changes; `None` if it is not to follow.
    #[serde(default)]
    pub way_back: Option<WiredBack>,
}

impl Facts {
    /// Which server a side is.
    pub(super) fn label(&self, side: Side) -> &str {
        match side {
            Side::Blue => &self.blue_label,
            Side::Green => &self.green_label,
        }
    }
}

pub(super) async fn read(
    settings: &Settings,
    sessions: &Sessions,
    budget: Duration,
) -> Result<Facts, ServerError> {
    let blue_sessions = sessions.numbers(Side::Blue).await;
    let blue_sessions = blue_sessions
        .into_iter()
        .chain(settings.own_sessions.numbers())
        .collect();
    let green_sessions = sessions.numbers(Side::Green).await;
    let mut blue = sessions.first_control(Side::Blue).await;
    let mut green = sessions.first_control(Side::Green).await;
    let blue_persisted = persisted(&mut blue, &settings.blue, budget).await?;
    let (event_scheduler,): (String,) = blue
        .one(
            "read the event scheduler",
            "SELECT @@GLOBAL.event_scheduler",
            budget,
        )
        .await?;
    let events = events::enabled(&mut blue, budget).await?;
    let on_blue = own_schema::newest_epoch(&mut blue, budget).await?;
    let on_green = own_schema::newest_epoch(&mut green, budget).await?;
    let epochs = on_blue.into_iter().chain(on_green).map(|epoch| epoch.number);
    let epoch = epochs.max().unwrap_or(0);
    let started = (
        started(&mut blue, budget).await?.latest,
        started(&mut green, budget).await?.latest,
    );
    Ok(Facts {
        hold: settings.hold,
        blue_persisted,
        event_scheduler,
        event_names: Some(events.iter().map(|event| event.name.clone()).collect()),
        events: events.into_iter().map(|event| event.statement).collect(),
        green_own: green_wrote::mark(settings, &mut blue, &mut green, budget).await?,
        blue_label: label(&mut blue, &settings.blue, budget).await?,
        green_label: label(&mut green, &settings.green, budget).await?,
        blue_sessions,
        green_sessions,
        hold_session: sessions.hold_id,
        promote_session: sessions.promote_id,
        started,
        locked_accounts: Vec::new(),
        epoch: Some(epoch),
        way_back: way_back::read(settings, &mut blue, &mut green).await?,
    })
}

/// The facts as they are written down. Cut, nobody could read them again, and what must be put back would be lost.
fn text(facts: &Facts) -> Result<String, String> {
    let text = serde_json::to_string(facts).map_err(|e| e.to_string())?;
    if text.len() <= own_schema::MOST_FACTS {
        return Ok(text);
    }
    Err(format!(
        "what has to be known to end the run takes {} bytes, and bleen.runs takes {}: {events} enabled events on blue, \
         {accounts} accounts to lock; disable events that need not run during the switch",
        text.len(),
        own_schema::MOST_FACTS,
        events = facts.events.len(),
        accounts = facts.locked_accounts.len(),
    ))
}

async fn label(session: &mut Session, server: &Server, budget: Duration) -> Result<String, ServerError> {
    let identity = identity::read(session, server.caps.family(), budget).await?;
    Ok(identity.label())
}

/// When a server was started, in seconds since 1970. Its clock and its uptime are not read at one instant, and a stall
/// in between must not look like a restart.
#[derive(Debug, Clone, Copy)]
pub struct Started {
    /// Not before this.
    pub earliest: i64,
    /// Not after this.
    pub latest: i64,
}

/// Both of a server's clocks tell whole seconds.
const RESTART_SLACK_SECONDS: i64 = 2;

impl Started {
    /// Whether the server has restarted since it was read to have been started at `before`. Only a start that is certainly
    /// later counts.
    pub fn is_after(self, before: i64) -> bool {
        self.earliest - before > RESTART_SLACK_SECONDS
    }
}

/// Asks a server when it was started.
///
/// # Errors
/// Any [`Cause`].
pub async fn started(session: &mut Session, budget: Duration) -> Result<Started, ServerError> {
    let doing = "read when the server was started";
    let question = "SELECT UNIX_TIMESTAMP(); SHOW GLOBAL STATUS LIKE 'Uptime'; SELECT UNIX_TIMESTAMP()";
    let sets = session.batch(doing, question, budget).await?;
    let number = |set: usize, column: usize| {
        let row = sets.get(set).and_then(|rows| rows.first())?;
        columns::text_at(row, column)?.parse::<i64>().ok()
    };
    match (number(0, 0), number(1, 1), number(2, 0)) {
        (Some(before), Some(uptime), Some(after)) => Ok(Started {
            earliest: before - uptime,
            latest: after - uptime,
        }),
        _ => Err(session.unexpected(doing, "no clock or no uptime")),
    }
}

pub(super) async fn persisted(
    session: &mut Session,
    server: &Server,
    budget: Duration,
) -> Result<Persisted, ServerError> {
    if !server.caps.persist || !server.caps.performance_schema {
        return Ok(Persisted::default());
    }
    let sql = "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.persisted_variables \
               WHERE VARIABLE_NAME IN ('read_only', 'super_read_only')";
    let rows: Vec<(String, String)> = session.rows("read what is persisted", sql, budget).await?;
    let value = |name: &str| rows.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    Ok(Persisted {
        read_only: value("read_only"),
        super_read_only: value("super_read_only"),
    })
}

pub(super) async fn write(
    settings: &Settings,
    sessions: &Sessions,
    facts: &Facts,
    budget: Duration,
) -> Result<(), ServerError> {
    let mut blue = sessions.first_control(Side::Blue).await;
    write_row(&mut blue, settings, facts, "ready", None, budget).await
}

async fn write_row(
    session: &mut Session,
    settings: &Settings,
    facts: &Facts,
    step: &str,
    outcome: Option<&str>,
    budget: Duration,
) -> Result<(), ServerError> {
    let text = text(facts).map_err(|message| ServerError {
        side: session.side(),
        server: settings.blue.target.address.to_string(),
        doing: "write down the run".to_owned(),
        cause: Cause::Refused { code: 0, message },
    })?;
    let row = RunRow {
        run_id: settings.run.as_str().to_owned(),
        pair: settings.pair.clone(),
        operator: settings.operator.clone(),
        started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        step: step.to_owned(),
        outcome: outcome.map(str::to_owned),
        facts: Some(text),
    };
    session
        .run("write down the run", &own_schema::run_statement(&row), budget)
        .await
}

/// Renews the row on blue, when something was added to the facts.
pub(super) async fn renew(inner: &Inner, step: &str, budget: Duration) -> Result<(), ServerError> {
    let facts = inner.facts().clone();
    let mut blue = inner.control(Side::Blue, budget).await?;
    write_row(&mut blue, &inner.settings, &facts, step, None, budget).await
}

pub(super) async fn close_run(inner: &Inner, side: Side, outcome: &str) -> Result<(), ServerError> {
    let budget = inner.settings.answer;
    let facts = inner.facts().clone();
    let mut session = inner.control(side, budget).await?;
    write_row(
        &mut session,
        &inner.settings,
        &facts,
        "over",
        Some(outcome),
        budget,
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_that_are_too_long_are_refused_and_never_cut() {
        let event = format!("ALTER EVENT `{}` ENABLE", "e".repeat(230));
        let with = |events: usize| Facts {
            hold: HoldKind::Lock,
            blue_persisted: Persisted::default(),
            event_scheduler: "ON".to_owned(),
            events: vec![event.clone(); events],
            event_names: None,
            green_own: String::new(),
            blue_label: "B".to_owned(),
            green_label: "G".to_owned(),
            blue_sessions: Vec::new(),
            green_sessions: Vec::new(),
            hold_session: 0,
            promote_session: 0,
            started: (0, 0),
            locked_accounts: Vec::new(),
            epoch: None,
            way_back: None,
        };
        let row = |facts: String| RunRow {
            run_id: "r".to_owned(),
            pair: "p".to_owned(),
            operator: "o".to_owned(),
            started: "s".to_owned(),
            step: "ready".to_owned(),
            outcome: None,
            facts: Some(facts),
        };
        let many = own_schema::run_statement(&row(text(&with(6_000)).unwrap()));
        assert!(many.contains("locked_accounts"), "it was cut");
        let refused = text(&with(9_000)).unwrap_err();
        assert!(refused.contains("9000 enabled events"), "{refused}");
    }
}
