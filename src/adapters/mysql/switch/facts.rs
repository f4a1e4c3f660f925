//! What a run writes down before it changes anything, so that any other machine can end it: in `bleen.runs` on blue,
//! from where replication carries it to green, and in the journal.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::events;
use super::sessions::Sessions;
use super::{Inner, Server, Settings};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::identity;
use crate::adapters::mysql::own_schema::{self, RunRow};
use crate::adapters::mysql::position_read::{self, Role};
use crate::adapters::mysql::session::Session;
use crate::domain::capabilities::PositionKind;
use crate::domain::ids::Side;
use crate::domain::machine::HoldKind;
use crate::domain::position::Position;
use crate::domain::server::Family;

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
    /// What green itself had written before: its own part of the executed position.
    pub green_own: String,
    /// Green's identity as it stands in the epoch row.
    pub green_label: String,
    /// Sessions of the run on blue.
    pub blue_sessions: Vec<u64>,
    /// Sessions of the run on green.
    pub green_sessions: Vec<u64>,
    /// The session that holds.
    pub hold_session: u64,
    /// The session that promotes.
    pub promote_session: u64,
    /// When blue and green were started (`UNIX_TIMESTAMP() - Uptime`): numbers of sessions begin anew with a restart.
    pub started: (i64, i64),
    /// Accounts locked on blue because they write through read-only, as quoted names.
    pub locked_accounts: Vec<String>,
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
    let events = events::enabling(&mut blue, budget).await?;
    let started = (
        started(&mut blue, budget).await?,
        started(&mut green, budget).await?,
    );
    Ok(Facts {
        hold: settings.hold,
        blue_persisted,
        event_scheduler,
        events,
        green_own: own_part(&mut green, &settings.green, budget).await?,
        green_label: identity::read(&mut green, settings.green.caps.family(), budget)
            .await?
            .label(),
        blue_sessions,
        green_sessions,
        hold_session: sessions.hold_id,
        promote_session: sessions.promote_id,
        started,
        locked_accounts: Vec::new(),
    })
}

/// When the server was started, in seconds since 1970; may differ by one from call to call.
pub(super) async fn started(session: &mut Session, budget: Duration) -> Result<i64, ServerError> {
    let doing = "read when the server was started";
    let (_, uptime): (String, String) = session
        .one(doing, "SHOW GLOBAL STATUS LIKE 'Uptime'", budget)
        .await?;
    let (now,): (i64,) = session.one(doing, "SELECT UNIX_TIMESTAMP()", budget).await?;
    let uptime: i64 = uptime.parse().map_err(|_| session.unexpected(doing, &uptime))?;
    Ok(now - uptime)
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

/// What a server itself has written, as text that is equal as long as it writes nothing: its own uuid's part of the
/// executed set (MySQL), the entries of its own server id (MariaDB), or the end of its binlog (no GTIDs and not
/// applying into it).
pub(super) async fn own_part(
    session: &mut Session,
    server: &Server,
    budget: Duration,
) -> Result<String, ServerError> {
    let doing = "read what the server has written itself";
    match (server.caps.family(), server.caps.position_kind()) {
        (Family::MySql, PositionKind::GtidSet) => {
            let (uuid,): (String,) = session.one(doing, "SELECT @@GLOBAL.server_uuid", budget).await?;
            let executed =
                position_read::executed(session, &server.caps, PositionKind::GtidSet, Role::Writer, budget)
                    .await?;
            match executed {
                Position::GtidSet(set) => Ok(set.from_server(&uuid).to_string()),
                other => Err(session.unexpected(doing, &other.to_string())),
            }
        }
        (Family::MariaDb, _) => {
            let sql = "SELECT @@GLOBAL.server_id, @@GLOBAL.gtid_binlog_state";
            let (id, state): (u32, String) = session.one(doing, sql, budget).await?;
            let own = state
                .split(',')
                .map(str::trim)
                .filter(|gtid| gtid.split('-').nth(1) == Some(id.to_string().as_str()));
            Ok(own.collect::<Vec<_>>().join(","))
        }
        (Family::MySql, _) => {
            // Without GTIDs only the binlog itself tells who wrote: its events carry the server's id.
            let (id,): (u32,) = session.one(doing, "SELECT @@GLOBAL.server_id", budget).await?;
            let end = position_read::written_file(session, &server.caps, budget).await?;
            Ok(format!("server_id {id} up to {end}"))
        }
    }
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
    let row = RunRow {
        run_id: settings.run.as_str().to_owned(),
        pair: settings.pair.clone(),
        operator: settings.operator.clone(),
        started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        step: step.to_owned(),
        outcome: outcome.map(str::to_owned),
        facts: serde_json::to_string(facts).ok(),
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
