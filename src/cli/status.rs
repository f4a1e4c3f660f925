//! `bleen status`: who accepts writes, how green follows, what is under way or was left; only reads.

use std::path::Path;

use serde_json::{Value, json};

use super::args::Global;
use super::error::CliError;
use super::exit::Ending;
use super::pair::{self, ANSWER, Pair};
use super::prepare::{PREPARED, switched_by};
use super::signals::what_cancel_does;
use super::switch::Done;
use super::{guardrails, playbook_file, reporting, resume, run_dir};
use crate::adapters::journal;
use crate::adapters::mysql::lag::behind;
use crate::adapters::mysql::own_schema::{self, RunRow, UndoRow};
use crate::adapters::mysql::replication;
use crate::adapters::mysql::session::Session;
use crate::domain::ids::{RunId, Side};
use crate::domain::lag::Unit;
use crate::domain::step::Step;
use crate::engine::event::{EventKind, Events, SCHEMA_VERSION};
use crate::engine::ports::Record;
use crate::playbook::Playbook;

/// Runs the command.
///
/// # Errors
/// Everything that keeps it from looking: the playbook, a password, a server.
pub fn run(path: &Path, global: &Global) -> Result<Ending, CliError> {
    let playbook = playbook_file::read(path)?;
    super::wait_for(async {
        let (events, _, reporting) = reporting::begin(global.output);
        let ended = status(&playbook, global, &events).await;
        reporting::end(events, reporting, "status", &ended).await;
        ended.map(|done| done.ending)
    })
}

/// Whether a server accepts the writes of an ordinary account.
///
/// # Errors
/// Any cause.
pub async fn is_writable(session: &mut Session) -> Result<bool, CliError> {
    let question = "SELECT @@GLOBAL.read_only IN ('OFF', '0')";
    let open: i64 = session.one("read read_only", question, ANSWER).await?;
    Ok(open == 1)
}

async fn status(playbook: &Playbook, global: &Global, events: &Events) -> Result<Done, CliError> {
    events.say(EventKind::Started {
        schema_version: SCHEMA_VERSION,
        run: String::new(),
        command: "status".to_owned(),
        pair: playbook.name.clone(),
    });
    let mut pair = pair::open(playbook, events).await?;
    let pair = &mut pair;
    // Green first: a side that is being opened is read before the other.
    let green = is_writable(&mut pair.on_green).await?;
    let blue = is_writable(&mut pair.on_blue).await?;
    let writable = match (blue, green) {
        (true, false) => "blue",
        (false, true) => "green",
        (false, false) => "neither",
        (true, true) => "both",
    };
    let open = own_schema::open_undos(&mut pair.on_blue, None, ANSWER).await?;
    let open = open.unwrap_or_default();
    let runs = own_schema::runs(&mut pair.on_blue, ANSWER)
        .await?
        .unwrap_or_default();
    let switched = switched_by(pair).await?;
    if writable == "both" && switched.is_some() {
        events.warn("both servers accept writes, and green was promoted: make blue read-only at once");
    }
    let unfinished = resume::unfinished(playbook, pair).await?;
    let holder = guardrails::lock_holder(pair).await?;
    let unfinished = unfinished.map(|row| {
        let step = step_of(global, &row);
        unfinished_words(&row, step, holder.as_deref())
    });
    let (behind, replication) = following(pair).await?;
    let state = state(
        &runs,
        &open,
        switched.as_deref(),
        replication.is_some(),
        unfinished.is_some(),
    );
    Ok(Done {
        ending: Ending::Done,
        result: json!({
            "pair": playbook.name,
            "writable": writable,
            "blue": side(pair, Side::Blue, blue),
            "green": side(pair, Side::Green, green),
            "replication": replication.unwrap_or_else(|| "green follows nobody".to_owned()),
            "behind": behind,
            "state": state,
            "unfinished_run": unfinished,
            "run_lock": holder.unwrap_or_else(|| "free".to_owned()),
            "to_put_back": open.iter().map(|r| format!("{}: {}", r.side, r.what)).collect::<Vec<_>>(),
        }),
    })
}

fn side(pair: &Pair, side: Side, writable: bool) -> Value {
    let server = match side {
        Side::Blue => &pair.blue,
        Side::Green => &pair.green,
    };
    json!({
        "address": server.target.address.to_string(),
        "version": server.caps.version.to_string(),
        "accepts_writes": writable,
    })
}

/// How far green is behind, and how it follows; nothing if it follows nobody.
async fn following(pair: &mut Pair) -> Result<(Option<String>, Option<String>), CliError> {
    let channels = replication::status::read(&mut pair.on_green, &pair.green.caps, ANSWER).await?;
    let Some(channel) = channels.first() else {
        return Ok((None, None));
    };
    let at = format!("{}:{}", channel.source_host, channel.source_port);
    let words = match channel.trouble() {
        None => format!("green follows {at}"),
        Some(trouble) => format!("green is told to follow {at}, but: {trouble}"),
    };
    let distance = behind(
        (&mut pair.on_blue, &pair.blue.caps),
        (&mut pair.on_green, &pair.green.caps),
    )
    .await?;
    let distance = distance.map(|b| match b.unit {
        Unit::Transactions => format!("{} transactions", b.amount),
        Unit::Bytes => format!("{} bytes of binlog", b.amount),
    });
    Ok((distance, Some(words)))
}

/// What the pair has come to, with the command that goes on.
fn state(
    runs: &[RunRow],
    open: &[UndoRow],
    switched: Option<&str>,
    follows: bool,
    unfinished: bool,
) -> String {
    if unfinished {
        return "a run is unfinished".to_owned();
    }
    if let Some(run) = switched {
        return format!("switched by run {run}: green serves");
    }
    let Some(newest) = open.first() else {
        return "not prepared: `bleen doctor`, then `bleen prepare`".to_owned();
    };
    let prepared = runs
        .iter()
        .any(|r| r.run_id == newest.run_id && r.outcome.as_deref() == Some(PREPARED));
    match (prepared, follows) {
        (true, true) => format!(
            "prepared by run {}: `bleen switch` moves the writers, `bleen rollback` undoes it",
            newest.run_id
        ),
        (true, false) => {
            "prepared, but green follows nobody any more: `bleen prepare` sets it up again".to_owned()
        }
        (false, _) => format!(
            "preparing was left in the middle by run {}: `bleen prepare` goes on, `bleen rollback` undoes it",
            newest.run_id
        ),
    }
}

/// The step that an unfinished run was at: from its journal if that is on this machine, else as blue knows it.
fn step_of(global: &Global, row: &RunRow) -> Option<Step> {
    let journalled = || {
        let run = RunId::new(row.run_id.clone()).ok()?;
        let records = journal::read(&run_dir::find(global).ok()?, &run).ok()?;
        records.iter().rev().find_map(|record| match record {
            Record::Command { state, .. } => Some(state.phase.step()),
            _ => None,
        })
    };
    journalled().or_else(|| Step::ALL.into_iter().find(|step| step.id() == row.step))
}

fn unfinished_words(row: &RunRow, step: Option<Step>, holder: Option<&str>) -> Value {
    let (at, next) = match holder {
        Some(holder) => (
            format!("under way, held by {holder}"),
            format!(
                "wait for it; Ctrl-C in its terminal {}; if its bleen is frozen or cut off: `bleen resume`",
                what_cancel_does(step)
            ),
        ),
        None => (
            "its bleen is gone".to_owned(),
            "`bleen resume` finishes it if green was promoted, else opens blue again".to_owned(),
        ),
    };
    json!({
        "run": row.run_id,
        "by": row.operator,
        "begun": row.started,
        "step": step.map_or_else(|| row.step.clone(), |step| step.id().to_owned()),
        "now": at,
        "next": next,
    })
}

/// Warns, in a command that only reads, of a run that was left unfinished.
///
/// # Errors
/// A server that cannot be asked.
pub async fn warn_of_unfinished(
    playbook: &Playbook,
    pair: &mut Pair,
    events: &Events,
) -> Result<(), CliError> {
    if let Some(row) = resume::unfinished(playbook, pair).await? {
        events.warn(format!(
            "run {} of {}, begun {}, has no outcome: if its bleen is gone, `bleen resume` ends it",
            row.run_id, row.operator, row.started
        ));
    }
    Ok(())
}
