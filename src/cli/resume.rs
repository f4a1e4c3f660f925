//! `bleen resume`: ends a run that ended without an outcome, from any machine, by looking at the servers.

use std::path::Path;
use std::time::Duration;

use super::args::Global;
use super::error::CliError;
use super::exit::{Ending, ErrorKind};
use super::pair::{self, ANSWER, Pair};
use super::prepare::last_promotion;
use super::printer::Printer;
use super::signals::{At, Signals};
use super::switch::{Done, settings, times};
use super::unfinished::{self, Unfinished, Whose};
use super::{by_hand, failback, playbook_file, remembered, reporting, run_dir};
use crate::adapters::compose::{self, Recorded};
use crate::adapters::journal::{self, RunJournal};
use crate::adapters::mysql::own_schema;
use crate::adapters::mysql::switch::{self, Facts, OpenError, SwitchServers};
use crate::domain::ids::{RunId, Side};
use crate::domain::machine::{Spec, State};
use crate::domain::outcome::{Debt, Outcome, Why, WhyKind};
use crate::domain::step::Step;
use crate::engine::attempt;
use crate::engine::event::{EventKind, Events, SCHEMA_VERSION};
use crate::engine::hooks::End;
use crate::engine::ports::Journal;
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
    // A journal that cannot be written keeps nobody from ending a run.
    let runs = run_dir::find(global)?;
    let signals = Signals::listen(at, events.clone())
        .map_err(|e| CliError::new(ErrorKind::Internal, "listen to signals", e.to_string()))?;
    let mut pair = pair::open(playbook, events).await?;
    let ended = end_unfinished(playbook, &runs, &mut pair, events, &signals).await?;
    Ok(ended.last.unwrap_or_else(|| {
        events.note("no run of this pair is unfinished; nothing to do");
        Done::plain(Ending::Done)
    }))
}

/// The unfinished runs that concern a pair, the newest first.
///
/// # Errors
/// A server that cannot be asked.
pub async fn unfinished(playbook: &Playbook, pair: &mut Pair) -> Result<Vec<Unfinished>, CliError> {
    let on_blue = own_schema::runs(&mut pair.on_blue, ANSWER)
        .await?
        .unwrap_or_default();
    let on_green = own_schema::runs(&mut pair.on_green, ANSWER)
        .await?
        .unwrap_or_default();
    Ok(unfinished::unfinished(
        &playbook.name,
        &pair.labels,
        &on_blue,
        &on_green,
    ))
}

/// Ends what is unfinished before a command that changes something. A command that gets an end back must stop with it:
/// green serves, nobody knows who serves, or something of an earlier run is not put back, which a new run would take
/// for the operator's own.
///
/// # Errors
/// The run is alive (its lock is held by a session that speaks), its facts cannot be read, a server cannot be asked.
pub async fn before_a_change(
    playbook: &Playbook,
    runs: &Path,
    pair: &mut Pair,
    events: &Events,
    signals: &Signals,
) -> Result<Option<Done>, CliError> {
    let ended = end_unfinished(playbook, runs, pair, events, signals).await?;
    Ok(ended.last.filter(|_| !ended.clear))
}

/// What became of the unfinished runs.
struct Ended {
    /// The end of the last one that was taken over.
    last: Option<Done>,
    /// Blue serves, and nothing of them is left.
    clear: bool,
}

/// Runs that are ended in one go, one after the other: each is left open only by a mishap of its own.
const MOST: usize = 20;

async fn end_unfinished(
    playbook: &Playbook,
    runs: &Path,
    pair: &mut Pair,
    events: &Events,
    signals: &Signals,
) -> Result<Ended, CliError> {
    let mut ended = Ended {
        last: None,
        clear: true,
    };
    let mut seen: Vec<String> = Vec::new();
    while let Some(found) = unfinished(playbook, pair).await?.into_iter().next() {
        // What an older run found before it changed it is put back last.
        if seen.contains(&found.row.run_id) || seen.len() == MOST {
            ended.clear = false;
            break;
        }
        seen.push(found.row.run_id.clone());
        not_overtaken(&found, pair).await?;
        let (done, clear) = match found.whose {
            Whose::Reversed => {
                events.note(format!(
                    "run {} went in the other direction: its blue is {} (the playbook's green), its green {} (the \
                     playbook's blue), and so they are called until it is ended",
                    found.row.run_id, pair.green.target.address, pair.blue.target.address
                ));
                let playbook = failback::exchanged(playbook)?;
                let exchanged = pair::open(&playbook, events).await?;
                end_one(&playbook, runs, &exchanged, &found, events, signals).await?
            }
            _ => end_one(playbook, runs, pair, &found, events, signals).await?,
        };
        ended = Ended {
            last: Some(done),
            clear,
        };
        if !clear {
            break;
        }
        pair.revive().await?;
    }
    Ok(ended)
}

async fn end_one(
    playbook: &Playbook,
    runs: &Path,
    pair: &Pair,
    found: &Unfinished,
    events: &Events,
    signals: &Signals,
) -> Result<(Done, bool), CliError> {
    let row = &found.row;
    not_ours(found, pair)?;
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
        way_back: facts.way_back.is_some(),
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
    let mut journal = journal_of(runs, &run, playbook, events);
    let recorded = Recorded::of(servers.facts());
    let tell =
        |pair: &Pair| by_hand::tell(events, (&pair.blue, &pair.green), &run, recorded.facts().as_ref());
    let why = Why {
        step: Step::Ready,
        kind: WhyKind::AnswerLost,
        detail: format!("bleen ended or lost its servers at an unknown step; run {run} was taken over"),
    };
    let mut state = State::resuming(spec, None, why);
    // Green may have come back read-only before it had the run's epoch row: then only this machine knows.
    state.known_promoted = remembered::was_promoted(runs, &run);
    if state.known_promoted {
        events.note(format!(
            "this machine's journal says that run {run} promoted green"
        ));
    }
    let attempt = tokio::select! {
        attempt = attempt::run(&servers, journal.as_mut(), state, &times, 1, &signals.stop, events) => attempt,
        () = signals.stop_waiting.cancelled() => {
            let servers = (&pair.blue, &pair.green);
            let facts = recorded.facts();
            let done = by_hand::leave(events, servers, &run, facts.as_ref(), signals.at.is_promoted());
            return Ok((done, false));
        }
    };
    if let Err(e) = servers.close_run(&attempt.outcome).await {
        events.warn(format!("the outcome is not written down on the servers: {e}"));
    }
    let clear = match &attempt.outcome {
        Outcome::Released { left, .. } | Outcome::RolledBack { left, .. } => nothing_left(&run, left, events),
        Outcome::Switched { .. } | Outcome::Ambiguous { .. } => false,
    };
    let ending = Ending::from(&attempt.outcome);
    let mut result = serde_json::to_value(&attempt.outcome).unwrap_or_default();
    if ending == Ending::Ambiguous
        && let Some(fields) = result.as_object_mut()
    {
        fields.insert("by_hand".to_owned(), tell(pair));
    }
    // Its locks go first: a hook that takes its time must not keep the pair.
    drop(servers);
    if attempt.outcome.serves() == Some(Side::Blue) {
        compose::end_relaxing((&pair.blue, &pair.green), &run, events).await;
    }
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
        .at_the_end(&end, journal.as_mut(), &signals.stop_waiting)
        .await;
    Ok((Done { ending, result }, clear))
}

fn nothing_left(run: &RunId, left: &[Debt], events: &Events) -> bool {
    if !left.is_empty() {
        let list: Vec<&str> = left.iter().map(|debt| debt.what.as_str()).collect();
        events.warn(format!(
            "blue serves, but not everything of run {run} is put back: {}; see to what stands in the way, then \
             `bleen resume` again: until then no other run of this pair begins",
            list.join("; ")
        ));
    }
    left.is_empty()
}

/// Refuses a run that is older than the last promotion: its row came back with a backup, or its end was never written
/// down. Whatever it left, a later run has decided who serves, and nothing of the old one may be undone or finished.
async fn not_overtaken(found: &Unfinished, pair: &mut Pair) -> Result<(), CliError> {
    let row = &found.row;
    let facts: Option<Facts> = row
        .facts
        .as_deref()
        .and_then(|facts| serde_json::from_str(facts).ok());
    let Some(known) = facts.and_then(|facts| facts.epoch) else {
        return Ok(());
    };
    let newest = last_promotion(pair).await?;
    let Some(later) = newest.filter(|epoch| epoch.number > known && epoch.run != row.run_id) else {
        return Ok(());
    };
    let doing = format!("end the unfinished run {}", row.run_id);
    let seen = format!(
        "it is older than the last promotion (epoch {}, by run {}): it may have come back with a backup, and decides \
         nothing any more",
        later.number, later.run
    );
    Err(CliError::new(ErrorKind::NotReady, doing, seen).hint(format!(
        "if it is over for certain, on the server that serves: `UPDATE bleen.runs SET outcome = 'superseded' WHERE run_id \
         = '{}'`",
        row.run_id
    )))
}

/// Refuses a run that was begun on other servers, in the other direction or under another name: its statements would
/// go to the wrong server, and only the playbook that it was begun with is known to fit.
fn not_ours(found: &Unfinished, pair: &Pair) -> Result<(), CliError> {
    let row = &found.row;
    let (seen, hint) = match found.whose {
        Whose::Ours | Whose::Reversed => return Ok(()),
        Whose::OtherName => (
            format!("it was begun on these two servers as the pair `{}`", row.pair),
            format!(
                "run `bleen resume` with the playbook whose name is `{}`",
                row.pair
            ),
        ),
        Whose::OtherServers => (
            format!(
                "it was begun on other servers than those that answer now (blue `{}`, green `{}`)",
                pair.labels.blue, pair.labels.green
            ),
            format!(
                "see that the addresses lead to the servers of that run: `SELECT facts FROM bleen.runs WHERE run_id = \
                 '{id}'`; if it is over for certain, `UPDATE bleen.runs SET outcome = 'released' WHERE run_id = '{id}'`",
                id = row.run_id
            ),
        ),
    };
    let doing = format!("end the unfinished run {}", row.run_id);
    Err(CliError::new(ErrorKind::NotReady, doing, seen).hint(hint))
}

/// The run's own journal if it is on this machine and free; else one beside it (another machine, an empty home, a
/// frozen bleen that still has it open); else none. The servers have what is needed.
fn journal_of(runs: &Path, run: &RunId, playbook: &Playbook, events: &Events) -> Box<dyn Journal> {
    if let Ok(journal) = RunJournal::reopen(runs, run) {
        return Box::new(journal);
    }
    let begun = RunJournal::create(runs, run)
        .or_else(|_| RunJournal::create_beside(runs, run))
        .and_then(|mut journal| {
            journal.append(&super::switch::first_record(run, playbook), true)?;
            Ok(journal)
        });
    match begun {
        Ok(journal) => Box::new(journal),
        Err(e) => {
            events.warn(format!("{e}; the run is ended without a journal on this machine"));
            Box::new(journal::Nowhere)
        }
    }
}
