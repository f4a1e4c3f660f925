//! `bleen rollback`: undoes what `prepare` changed, from what is recorded on blue, on any machine.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::args::Global;
use super::confirm::is_confirmed;
use super::error::CliError;
use super::exit::{Ending, ErrorKind};
use super::pair::{self, ANSWER, Pair, SECRET};
use super::prepare::{switched_by, take_lock};
use super::printer::Printer;
use super::signals::{At, Signals};
use super::switch::{Done, start_journal};
use super::{by_hand, playbook_file, reporting, resume};
use crate::adapters::mysql::own_schema::{self, UndoRow};
use crate::adapters::mysql::prepare::Preparation;
use crate::adapters::mysql::switch::RunLock;
use crate::adapters::{journal, targets};
use crate::domain::ids::{RunId, Side};
use crate::domain::step::Step;
use crate::engine::event::{EventKind, Events, SCHEMA_VERSION};
use crate::engine::ports::{Journal, Record};
use crate::playbook::Playbook;

/// How long one undo may take.
const UNDO: Duration = Duration::from_secs(60);

/// Runs the command.
///
/// # Errors
/// Everything that keeps it from trying: the playbook, a password, a server, the run directory, the lock.
pub fn run(
    path: &Path,
    confirm: Option<&str>,
    global: &Global,
    printer: &mut Printer,
) -> Result<Ending, CliError> {
    let playbook = playbook_file::read(path)?;
    let what = format!(
        "ends the replication from {} to {} and puts back what was changed for it",
        playbook.pair.blue.address, playbook.pair.green.address
    );
    if !is_confirmed(&playbook, "rollback", &what, false, confirm, printer) {
        return Ok(Ending::Refused);
    }
    super::wait_for(async {
        let (events, at, reporting) = reporting::begin(global.output);
        let ended = rollback(&playbook, global, &events, at).await;
        reporting::end(events, reporting, "rollback", &ended).await;
        ended.map(|done| done.ending)
    })
}

async fn rollback(playbook: &Playbook, global: &Global, events: &Events, at: At) -> Result<Done, CliError> {
    let runs = pair::runs_directory(global)?;
    let signals = Signals::listen(at, events.clone())
        .map_err(|e| CliError::new(ErrorKind::Internal, "listen to signals", e.to_string()))?;
    let mut pair = pair::open(playbook, events).await?;
    if let Some(done) = resume::before_a_change(playbook, &runs, &mut pair, events, &signals).await? {
        return Ok(done);
    }
    let run = pair::new_run();
    events.say(EventKind::Started {
        schema_version: SCHEMA_VERSION,
        run: run.to_string(),
        command: "rollback".to_owned(),
        pair: playbook.name.clone(),
    });
    let lock = take_lock(&pair, &run).await?;
    let ended = locked(playbook, &runs, &mut pair, events, &signals, (&run, &lock)).await;
    lock.give_up().await;
    ended
}

async fn locked(
    playbook: &Playbook,
    runs: &Path,
    pair: &mut Pair,
    events: &Events,
    signals: &Signals,
    (run, lock): (&RunId, &RunLock),
) -> Result<Done, CliError> {
    if let Some(by) = switched_by(pair).await? {
        return Ok(Done {
            ending: Ending::NotReady,
            result: json!({
                "changed": false,
                "why": format!(
                    "the pair was switched by run {by}: green serves and blue is sealed, so there is nothing to roll \
                     back; `bleen failback` goes back"
                ),
            }),
        });
    }
    let green = pair.labels.green.clone();
    let rows = match own_schema::open_undos(&mut pair.on_blue, Some(&green), ANSWER).await? {
        Some(rows) => rows,
        // The schema is not there, or not all of it: only its own making can have been under way.
        None if own_schema::is_there(&mut pair.on_blue, ANSWER).await? => {
            unmade_schema(runs, playbook, &green)?
        }
        None => Vec::new(),
    };
    let (rows, schema) = without_shared(rows, pair).await?;
    if rows.is_empty() && schema.is_empty() {
        events.note(
            "nothing is recorded that would have to be put back; nothing has changed. After a fail back, `bleen finish` ends \
             the replication",
        );
        return Ok(Done {
            ending: Ending::Done,
            result: json!({ "pair": playbook.name, "undone": 0 }),
        });
    }
    if signals.stop.is_cancelled() {
        return Ok(Done::plain(Ending::Interrupted));
    }
    let whose = format!(
        "the password of the replication account {}",
        playbook.replication.user
    );
    let (blue, green) = (pair.blue.target.clone(), pair.green.target.clone());
    let request = targets::prepare_request(run.clone(), blue, green, playbook, SECRET)
        .await
        .map_err(|e| CliError::secret(&whose, &e))?;
    events.say(EventKind::StepBegan {
        step: Step::Undo,
        what: format!("{} recorded changes are put back, the last one first", rows.len()),
    });
    let began = std::time::Instant::now();
    let mut journal = start_journal(runs, run, playbook)?;
    let told = events.clone();
    let on_record = Box::new(move |row: &UndoRow| {
        told.note(format!("undone on {}: {}", row.side, row.what));
        let record = Record::Undone { seq: row.seq };
        journal.append(&record, false).map_err(|e| e.to_string())
    });
    let mut preparation = Preparation::new(request, on_record, Box::new(|_, _| ())).only_while(lock.held());
    // First: the other pair has the schema's record, whatever becomes of this rollback.
    for (row, other) in &schema {
        preparation.hand_over(row, other, ANSWER).await.map_err(|e| {
            CliError::new(
                ErrorKind::NotReady,
                "leave bleen's schema to another pair of this blue",
                e.to_string(),
            )
        })?;
        events.note(format!(
            "bleen's schema stays on blue: another green that follows it, `{other}`, is recorded there; the last rollback \
             takes it away"
        ));
    }
    let total = rows.len();
    // Not given up half-way by the first signal: it is the way back itself, and bounded.
    let left = tokio::select! {
        left = preparation.put_back(rows.clone(), UNDO) => left,
        () = signals.stop_waiting.cancelled() => {
            let by_hand = by_hand::put_back(&rows);
            events.warn(by_hand.clone());
            return Ok(Done { ending: Ending::Ambiguous, result: json!({ "run": run.as_str(), "by_hand": by_hand }) });
        }
    };
    let undone = total - left.len();
    if left.is_empty() {
        events.say(EventKind::StepDone {
            step: Step::Undo,
            what: "both servers are as they were before; the data that green has copied stays".to_owned(),
            took: began.elapsed(),
        });
    } else {
        events.say(EventKind::StepFailed {
            step: Step::Undo,
            why: format!("{} of {total} changes could not be put back", left.len()),
            took: began.elapsed(),
        });
    }
    let left: Vec<String> = left
        .iter()
        .map(|(row, failure)| {
            format!(
                "on {}: {} ({failure})",
                row.side,
                row.statement.replace('\n', " ")
            )
        })
        .collect();
    if left.is_empty() {
        return Ok(Done {
            ending: Ending::Done,
            result: json!({ "pair": playbook.name, "undone": undone, "left": left }),
        });
    }
    // As a `prepare` that could not put everything back: blue has served all the time.
    Ok(Done {
        ending: Ending::Released,
        result: json!({
            "pair": playbook.name,
            "undone": undone,
            "now": "not everything was put back; blue serves as before; see to what stands in the way, then `bleen \
                    rollback` again",
            "left": left,
        }),
    })
}

/// The rows of this pair that are put back, and those that another pair of the same blue still needs, each with that
/// pair's green: bleen's schema on blue holds the records of all of them, and the last one takes it away.
async fn without_shared(
    rows: Vec<UndoRow>,
    pair: &mut Pair,
) -> Result<(Vec<UndoRow>, Vec<(UndoRow, String)>), CliError> {
    let all = own_schema::open_undos(&mut pair.on_blue, None, ANSWER).await?;
    let other = all
        .unwrap_or_default()
        .into_iter()
        .find(|row| row.green != pair.labels.green);
    let Some(other) = other else {
        return Ok((rows, Vec::new()));
    };
    let (shared, own): (Vec<_>, Vec<_>) = rows
        .into_iter()
        .partition(|row| row.side == Side::Blue && row.statement == own_schema::drop_statement());
    Ok((
        own,
        shared.into_iter().map(|row| (row, other.green.clone())).collect(),
    ))
}

/// What a `prepare` left that ended while it made bleen's schema: known from this machine's journals only, because
/// nothing else is changed before that schema is there and has the record.
fn unmade_schema(runs: &Path, playbook: &Playbook, green: &str) -> Result<Vec<UndoRow>, CliError> {
    let cannot = |e: crate::engine::ports::JournalError| {
        CliError::new(ErrorKind::NotReady, "read the journals", e.to_string())
    };
    let mut rows = Vec::new();
    for run in journal::runs(runs).map_err(cannot)? {
        let records = journal::read(runs, &run).map_err(cannot)?;
        let of_pair = records
            .iter()
            .any(|r| matches!(r, Record::Run { pair, .. } if *pair == playbook.name));
        let undone = records.iter().any(|r| matches!(r, Record::Undone { seq: 0 }));
        if !of_pair || undone {
            continue;
        }
        rows.extend(records.iter().filter_map(|record| match record {
            Record::Undo {
                what,
                statement,
                seq: 0,
                ..
            } if statement == own_schema::drop_statement() => Some(UndoRow {
                run_id: run.to_string(),
                seq: 0,
                green: green.to_owned(),
                side: Side::Blue,
                what: what.clone(),
                statement: statement.clone(),
                state: "open".to_owned(),
            }),
            _ => None,
        }));
    }
    rows.reverse();
    Ok(rows)
}
