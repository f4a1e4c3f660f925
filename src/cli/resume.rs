//! `bleen resume`: ends a run that ended without an outcome, from any machine, by looking at the servers.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::args::Global;
use super::error::CliError;
use super::exit::{Ending, ErrorKind};
use super::pair::{self, ANSWER, Pair};
use super::printer::Printer;
use super::signals::{At, Signals};
use super::switch::{Done, settings, times};
use super::{by_hand, playbook_file, reporting};
use crate::adapters::compose::{self, Recorded};
use crate::adapters::journal::RunJournal;
use crate::adapters::mysql::own_schema::{self, RunRow};
use crate::adapters::mysql::switch::{self, Facts, OpenError, SwitchServers};
use crate::domain::ids::RunId;
use crate::domain::machine::{Spec, State};
use crate::domain::outcome::{Why, WhyKind};
use crate::domain::step::Step;
use crate::engine::attempt;
use crate::engine::event::{EventKind, Events, SCHEMA_VERSION};
use crate::engine::hooks::End;
use crate::playbook::Playbook;

/// Runs the command.
///
/// # Errors
/// Everything that keeps it from looking: the playbook, a password, a server, a living run.
pub fn run(path: &Path, global: &Global, printer: &mut Printer) -> Result<Ending, CliError> {
    let playbook = playbook_file::read(path)?;
    super::wait_for(async {
        let (events, at, reporting) = reporting::begin(printer.output());
        let ended = resume(&playbook, global, &events, at).await;
        reporting::end(events, reporting, "resume", &ended).await;
        ended.map(|done| done.ending)
    })
}

async fn resume(playbook: &Playbook, global: &Global, events: &Events, at: At) -> Result<Done, CliError> {
    let runs = pair::runs_directory(global)?;
    let signals = Signals::listen(at, events.clone())
        .map_err(|e| CliError::new(ErrorKind::Internal, "listen to signals", e.to_string()))?;
    let mut pair = pair::open(playbook, events).await?;
    let done = end_unfinished(playbook, &runs, &mut pair, events, &signals).await?;
    Ok(done.unwrap_or_else(|| {
        events.note("no run of this pair is unfinished; nothing to do");
        Done::plain(Ending::Done)
    }))
}

/// The unfinished run of a pair, as the servers know it. The newer side's word counts: green's, once it was promoted.
///
/// # Errors
/// A server that cannot be asked.
pub async fn unfinished(playbook: &Playbook, pair: &mut Pair) -> Result<Option<RunRow>, CliError> {
    let on_blue = own_schema::runs(&mut pair.on_blue, ANSWER)
        .await?
        .unwrap_or_default();
    let on_green = own_schema::runs(&mut pair.on_green, ANSWER)
        .await?
        .unwrap_or_default();
    Ok(unfinished_of(&playbook.name, on_blue, on_green))
}

/// The unfinished run of a pair by the rows of both sides, or of the one that could be asked.
#[must_use]
pub fn unfinished_of(pair: &str, on_blue: Vec<RunRow>, on_green: Vec<RunRow>) -> Option<RunRow> {
    let of_pair = |rows: Vec<RunRow>| rows.into_iter().filter(|r| r.pair == pair).collect::<Vec<_>>();
    let (on_blue, on_green) = (of_pair(on_blue), of_pair(on_green));
    let ended_on_green = |run: &str| on_green.iter().any(|r| r.run_id == run && r.outcome.is_some());
    let open = on_blue
        .iter()
        .chain(&on_green)
        .filter(|r| r.outcome.is_none() && !ended_on_green(&r.run_id));
    // A row that was ended on blue may not have reached green yet.
    let ended_on_blue = |run: &str| on_blue.iter().any(|r| r.run_id == run && r.outcome.is_some());
    open.filter(|r| !ended_on_blue(&r.run_id))
        .max_by(|a, b| a.started.cmp(&b.started))
        .cloned()
}

/// Ends the unfinished run of a pair, if there is one.
///
/// # Errors
/// The run is alive (its lock is held by a session that speaks), its facts cannot be read, a server cannot be asked.
pub async fn end_unfinished(
    playbook: &Playbook,
    runs: &Path,
    pair: &mut Pair,
    events: &Events,
    signals: &Signals,
) -> Result<Option<Done>, CliError> {
    let Some(row) = unfinished(playbook, pair).await? else {
        return Ok(None);
    };
    let cannot =
        |seen: String| CliError::new(ErrorKind::Internal, format!("take over run {}", row.run_id), seen);
    let run = RunId::new(row.run_id.clone()).map_err(|e| cannot(e.to_string()))?;
    let facts: Facts = serde_json::from_str(row.facts.as_deref().unwrap_or_default()).map_err(|e| {
        cannot(format!("what it wrote down cannot be read: {e}"))
            .hint(switch::by_hand(&pair.blue, &pair.green, &run, None).to_string())
    })?;
    events.say(EventKind::Started {
        schema_version: SCHEMA_VERSION,
        run: run.to_string(),
        command: "resume".to_owned(),
        pair: playbook.name.clone(),
    });
    events.note(format!(
        "found run {run} of {}, begun {}, without an outcome; its sessions are ended, then both servers are read, then \
         it is finished forward if green was promoted, else blue is opened again",
        row.operator, row.started
    ));
    let settings = settings(playbook, pair, &run, facts.hold, events);
    settings.own_sessions.add([pair.on_blue.id()]);
    let spec = Spec {
        hold: facts.hold,
        reprove: false,
    };
    let mut times = times(playbook, &settings);
    // A guard that is still to fire belongs to the run that is taken over; its time is not waited for.
    times.undo = times.undo.max(Duration::from_secs(15));
    let servers = match SwitchServers::take_over(settings.clone(), facts).await {
        Ok(servers) => servers,
        Err(OpenError::Locked(taken)) => {
            return Err(CliError::new(ErrorKind::Locked, format!("take over run {run}"), taken.to_string())
                .hint("a run that is alive is not taken over; one that is frozen or cut off falls silent within seconds"));
        }
        Err(OpenError::Server(e)) => return Err(e.into()),
    };
    let recorded = Recorded::of(servers.facts());
    let tell =
        |pair: &Pair| by_hand::tell(events, (&pair.blue, &pair.green), &run, recorded.facts().as_ref());
    let mut journal = match RunJournal::reopen(runs, &run) {
        Ok(journal) => journal,
        // Another machine, or an empty home: the servers have what is needed. A journal of its own is begun.
        Err(_) => super::switch::start_journal(runs, &run, playbook)?,
    };
    let why = Why {
        step: Step::Ready,
        kind: WhyKind::AnswerLost,
        detail: format!("bleen ended or lost its servers at an unknown step; run {run} was taken over"),
    };
    let state = State::resuming(spec, None, why);
    let attempt = tokio::select! {
        attempt = attempt::run(&servers, &mut journal, state, &times, 1, &signals.stop, events) => attempt,
        () = signals.stop_waiting.cancelled() => {
            return Ok(Some(Done { ending: Ending::Ambiguous, result: json!({ "by_hand": tell(pair) }) }));
        }
    };
    if let Err(e) = servers.close_run(&attempt.outcome).await {
        events.warn(format!("the outcome is not written down on the servers: {e}"));
    }
    let ending = Ending::from(&attempt.outcome);
    let mut result = serde_json::to_value(&attempt.outcome).unwrap_or_default();
    if ending == Ending::Ambiguous
        && let Some(fields) = result.as_object_mut()
    {
        fields.insert("by_hand".to_owned(), tell(pair));
    }
    // Its locks go first: a hook that takes its time must not keep the pair.
    drop(servers);
    let end = End {
        serves: attempt.outcome.serves(),
        outcome: attempt.outcome.word(),
        why: attempt
            .outcome
            .why()
            .map(|why| why.detail.clone())
            .unwrap_or_default(),
    };
    compose::hooks(playbook, &settings, events)
        .taken_over()
        .at_the_end(&end, &mut journal, &signals.stop_waiting)
        .await;
    Ok(Some(Done { ending, result }))
}
