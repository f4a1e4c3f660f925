//! `bleen prepare`: green follows blue and keeps up, or everything is as it was.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::args::Global;
use super::confirm::is_confirmed;
use super::error::CliError;
use super::exit::{Ending, ErrorKind};
use super::pair::{self, ANSWER, Pair, SECRET};
use super::printer::Printer;
use super::signals::{At, Signals};
use super::switch::{self, Done};
use super::{by_hand, guardrails, playbook_file, reporting, resume};
use crate::adapters::gates::lag_event;
use crate::adapters::mysql::own_schema::{self, Epoch, RunRow, UndoRow};
use crate::adapters::mysql::prepare::Preparation;
use crate::adapters::mysql::replication::consistency;
use crate::adapters::mysql::switch::{OpenError, RunLock};
use crate::adapters::{mysql, targets};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::{Decision, Scope, summary};
use crate::domain::ids::{RunId, Side};
use crate::domain::lag::LagSample;
use crate::domain::step::Step;
use crate::engine::event::{EventKind, Events, SCHEMA_VERSION, in_milliseconds};
use crate::engine::ports::{Journal, Record};
use crate::engine::prepare::{self, Limits, Prepared, Why};
use crate::playbook::Playbook;

/// How long one change may take; stopping a busy applier is the longest.
const CHANGE: Duration = Duration::from_secs(60);

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
        "makes {} read-only and a replica of {}",
        playbook.pair.green.address, playbook.pair.blue.address
    );
    if !is_confirmed(&playbook, "prepare", &what, false, confirm, printer) {
        return Ok(Ending::Refused);
    }
    super::wait_for(async {
        let (events, at, reporting) = reporting::begin(global.output);
        let ended = prepare(&playbook, global, &events, at).await;
        reporting::end(events, reporting, "prepare", &ended).await;
        ended.map(|done| done.ending)
    })
}

async fn prepare(playbook: &Playbook, global: &Global, events: &Events, at: At) -> Result<Done, CliError> {
    let runs = pair::runs_directory(global)?;
    let signals = Signals::listen(at, events.clone())
        .map_err(|e| CliError::new(ErrorKind::Internal, "listen to signals", e.to_string()))?;
    let mut pair = pair::open(playbook, events).await?;
    if let Some(done) = resume::before_a_change(playbook, &runs, &mut pair, events, &signals).await? {
        return Ok(done);
    }
    prepare_pair(playbook, &runs, &mut pair, events, &signals, "prepare").await
}

/// Prepares a pair whose servers are reached and which has no unfinished run.
///
/// # Errors
/// A server, the replication account's password, the journal, the lock.
pub async fn prepare_pair(
    playbook: &Playbook,
    runs: &Path,
    pair: &mut Pair,
    events: &Events,
    signals: &Signals,
    command: &str,
) -> Result<Done, CliError> {
    let run = pair::new_run();
    events.say(EventKind::Started {
        schema_version: SCHEMA_VERSION,
        run: run.to_string(),
        command: command.to_owned(),
        pair: playbook.name.clone(),
    });
    let lock = take_lock(pair, &run).await?;
    let ended = locked(playbook, runs, pair, events, signals, &run, &lock).await;
    lock.give_up().await;
    ended
}

/// Takes the pair for a command that changes it outside of an attempt.
///
/// # Errors
/// Another run holds it, or a server cannot be asked.
pub async fn take_lock(pair: &Pair, run: &RunId) -> Result<RunLock, CliError> {
    RunLock::take(&pair.blue, &pair.green, run, ANSWER)
        .await
        .map_err(|e| match e {
            OpenError::Locked(taken) => {
                CliError::new(ErrorKind::Locked, "take the run lock", taken.to_string())
            }
            OpenError::Server(e) => e.into(),
        })
}

/// By which run green was promoted, if that was the last promotion that either server knows of: then green serves, and
/// nothing is prepared or put back.
///
/// # Errors
/// A server that cannot be asked.
pub async fn switched_by(pair: &mut Pair) -> Result<Option<String>, CliError> {
    let newest = last_promotion(pair).await?;
    if let Some(epoch) = &newest
        && ![&pair.labels.blue, &pair.labels.green].contains(&&epoch.promoted)
    {
        let seen = format!(
            "the last promotion that they know of, by run {}, was of a third server: `{}`",
            epoch.run, epoch.promoted
        );
        return Err(CliError::new(
            ErrorKind::NotReady,
            "find out which of both servers was promoted last",
            seen,
        )
        .hint(
            "one of them may follow that server now: look at it first, and use the playbook of that pair. If the server only \
             has another name or address by now: `UPDATE bleen.epochs SET promoted = …` with what `bleen status` calls it",
        ));
    }
    Ok(newest
        .filter(|epoch| epoch.promoted == pair.labels.green)
        .map(|epoch| epoch.run))
}

/// The newest promotion that either server knows of. One that was restored from a backup has forgotten the last ones,
/// and one that the other does not follow has not heard of them.
///
/// # Errors
/// A server that cannot be asked.
pub async fn last_promotion(pair: &mut Pair) -> Result<Option<Epoch>, CliError> {
    let on_blue = own_schema::newest_epoch(&mut pair.on_blue, ANSWER).await?;
    let on_green = own_schema::newest_epoch(&mut pair.on_green, ANSWER).await?;
    Ok(on_blue
        .into_iter()
        .chain(on_green)
        .max_by_key(|epoch| epoch.number))
}

/// The end of a command that has nothing to do any more once green serves; nothing if it does not. The guardrails must
/// not be asked then: they take green's own writes for a mistake, and would have a person throw them away.
///
/// # Errors
/// A server that cannot be asked.
pub async fn after_a_switch(pair: &mut Pair, nothing_to: &str) -> Result<Option<Done>, CliError> {
    Ok(switched_by(pair).await?.map(|by| {
        not_ready(vec![format!(
            "the pair was switched by run {by}: green serves, and there is nothing to {nothing_to}; `bleen status` shows \
             both servers, `bleen failback` goes back"
        )])
    }))
}

async fn locked(
    playbook: &Playbook,
    runs: &Path,
    pair: &mut Pair,
    events: &Events,
    signals: &Signals,
    run: &RunId,
    lock: &RunLock,
) -> Result<Done, CliError> {
    if let Some(done) = after_a_switch(pair, "prepare").await? {
        return Ok(done);
    }
    let follows_already = is_prepared(pair).await?;
    if follows_already {
        events.note(
            "green follows blue already: it is not set up anew; what may be missing is made sure of, then green is watched \
             until it keeps up",
        );
    }
    let began = Instant::now();
    events.say(EventKind::StepBegan {
        step: Step::Preflight,
        what: "every guardrail for preparing, on both servers".to_owned(),
    });
    let examination = guardrails::ask(playbook, pair, Scope::Prepare, Some(run)).await?;
    guardrails::tell_not_ok(&examination.findings, events);
    if let Decision::NoGo(blocking) = &examination.decision {
        events.say(EventKind::StepFailed {
            step: Step::Preflight,
            why: match blocking.len() {
                1 => "1 finding forbids going on; nothing has changed".to_owned(),
                many => format!("{many} findings forbid going on; nothing has changed"),
            },
            took: began.elapsed(),
        });
        if blocking.iter().any(|f| ABOUT_THE_COPY.contains(&f.id)) {
            let (at, to) = (&playbook.pair.blue.address, &playbook.pair.green.address);
            events.note(consistency::how_to_seed(
                &pair.blue.caps,
                &pair.green.caps,
                &at.to_string(),
                &to.to_string(),
            ));
        }
        return Ok(not_ready(guardrails::blocking(&examination)));
    }
    events.say(EventKind::StepDone {
        step: Step::Preflight,
        what: summary(&examination.findings),
        took: began.elapsed(),
    });
    if signals.stop.is_cancelled() {
        return Ok(Done::plain(Ending::Interrupted));
    }
    let whose = format!(
        "the password of the replication account {}",
        playbook.replication.user
    );
    let request = targets::prepare_request(
        run.clone(),
        pair.blue.target.clone(),
        pair.green.target.clone(),
        playbook,
        SECRET,
    )
    .await
    .map_err(|e| CliError::secret(&whose, &e))?;
    let telling = Telling::new(events, playbook);
    let mut journal = switch::start_journal(runs, run, playbook)?;
    let (told, waits) = (telling.clone(), telling.clone());
    let on_record = Box::new(move |row: &UndoRow| {
        told.record(row);
        let record = match row.state.as_str() {
            "open" => Record::Undo {
                side: row.side.to_string(),
                what: row.what.clone(),
                statement: row.statement.clone(),
                seq: row.seq,
            },
            _ => Record::Undone { seq: row.seq },
        };
        journal.append(&record, true).map_err(|e| e.to_string())
    });
    let on_wait = Box::new(move |sample: &LagSample, held: Duration| waits.wait(sample, held));
    let mut preparation = Preparation::new(request, on_record, on_wait).only_while(lock.held());
    let limits = Limits {
        lag: playbook.lag.limit,
        observe: playbook.lag.observe,
        catch_up: playbook.lag.catch_up,
        change: CHANGE,
        undo: CHANGE,
        may_relax: playbook.replication.relax_green,
    };
    let cancel = CancellationToken::new();
    let watch = cancel.clone();
    let wanted = async {
        tokio::select! {
            () = signals.stop.cancelled() => {}
            () = lock.lost.cancelled() => {
                events.warn(
                    "the run lock is lost: another bleen may take the pair, so nothing more is changed where it is not \
                     ours; what was changed stands recorded on blue, and `bleen rollback` puts it back",
                );
            }
        }
        watch.cancel();
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = prepare::prepare(&mut preparation, &limits, &cancel) => ended,
        () = wanted => return Ok(Done::plain(Ending::Interrupted)),
        () = signals.stop_waiting.cancelled() => {
            let by_hand = by_hand::put_back(&telling.open());
            events.warn(by_hand.clone());
            return Ok(Done { ending: Ending::Ambiguous, result: json!({ "run": run.as_str(), "by_hand": by_hand }) });
        }
    };
    for finding in preparation.findings() {
        events.warn(finding.clone());
    }
    let mut done = conclude(ended, playbook, pair, run, events, &telling).await?;
    if follows_already && let Some(fields) = done.result.as_object_mut() {
        fields.insert("followed_already".to_owned(), true.into());
    }
    Ok(done)
}

fn not_ready(why: Vec<String>) -> Done {
    Done {
        ending: Ending::NotReady,
        result: json!({ "changed": false, "why": why }),
    }
}

async fn conclude(
    ended: Prepared,
    playbook: &Playbook,
    pair: &mut Pair,
    run: &RunId,
    events: &Events,
    telling: &Telling,
) -> Result<Done, CliError> {
    match ended {
        Prepared::Ready { changes, sample } => {
            telling.caught_up(&sample);
            // Catching up may have taken longer than a session may idle.
            pair.revive().await?;
            let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
            let row = prepared_row(playbook, run, now);
            pair.on_blue
                .run(
                    "write down that the pair is prepared",
                    &own_schema::run_statement(&row),
                    ANSWER,
                )
                .await
                .map_err(|e| CliError::from(e).changed("green follows blue; `bleen rollback` undoes that"))?;
            let relaxed = changes.iter().any(|c| mysql::relax::is_relaxing(&c.what));
            if relaxed {
                events.warn(
                    "green's durability is relaxed until it has caught up under the hold, until a switch is given up, or until \
                     `bleen rollback`",
                );
            }
            Ok(Done {
                ending: Ending::Done,
                result: json!({
                    "pair": playbook.name,
                    "run": run.as_str(),
                    "lag_ms": sample.lag.map(in_milliseconds),
                    "backlog": prepare::backlog(&sample),
                    "changes": changes.len(),
                    "green_relaxed": relaxed,
                    "next": "`bleen switch` moves the writers; `bleen rollback` undoes what was prepared",
                }),
            })
        }
        Prepared::Undone { why, left, changed } => {
            telling.undone(&why, changed);
            let left: Vec<String> = left
                .iter()
                .map(|(change, failure)| {
                    format!("on {}: {} ({failure})", change.side, change.undo.join("; "))
                })
                .collect();
            for what in &left {
                events.warn(format!(
                    "could not be put back: {what}; `bleen rollback` tries again"
                ));
            }
            let ending = match (&why, changed) {
                (Why::Cancelled, false) => Ending::Interrupted,
                (_, false) => Ending::NotReady,
                (_, true) => Ending::Released,
            };
            let now = match (changed, left.is_empty()) {
                (false, _) => "nothing has changed",
                (true, true) => "everything was put back; blue serves as before",
                (true, false) => "not everything was put back; blue serves as before",
            };
            Ok(Done {
                ending,
                result: json!({
                    "pair": playbook.name,
                    "run": run.as_str(),
                    "changed": changed && !left.is_empty(),
                    "why": why.to_string(),
                    "now": now,
                    "left": left,
                }),
            })
        }
    }
}

/// Guardrails whose stop means that green holds no copy that could follow.
const ABOUT_THE_COPY: [GuardrailId; 4] = [
    GuardrailId::ERRANT_TRANSACTIONS,
    GuardrailId::GTID,
    GuardrailId::PURGED,
    GuardrailId::SCHEMA_DIFF,
];

/// The outcome word of a prepared pair in bleen's own table of runs.
pub const PREPARED: &str = "prepared";

/// What is written down on blue when the pair is prepared.
#[must_use]
pub fn prepared_row(playbook: &Playbook, run: &RunId, now: String) -> RunRow {
    RunRow {
        run_id: run.to_string(),
        pair: playbook.name.clone(),
        operator: pair::operator(),
        started: now,
        step: Step::Ready.id().to_owned(),
        outcome: Some(PREPARED.to_owned()),
        facts: None,
    }
}

/// Tells the steps of preparing, and knows what would have to be put back.
#[derive(Clone)]
struct Telling(Arc<Mutex<Told>>);

struct Told {
    events: Events,
    limit: Duration,
    observe: Duration,
    step: Step,
    began: Instant,
    open: Vec<UndoRow>,
}

impl Telling {
    fn new(events: &Events, playbook: &Playbook) -> Self {
        Self(Arc::new(Mutex::new(Told {
            events: events.clone(),
            limit: playbook.lag.limit,
            observe: playbook.lag.observe,
            step: Step::Preflight,
            began: Instant::now(),
            open: Vec::new(),
        })))
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is recorded and not put back, the last change first.
    fn open(&self) -> Vec<UndoRow> {
        self.told().open.iter().rev().cloned().collect()
    }

    fn record(&self, row: &UndoRow) {
        let mut told = self.told();
        if row.state == "open" {
            told.enter(Step::Follow, &row.what);
            let what = format!("{}: {}", row.side, row.what);
            told.events.note(what);
            told.open.push(row.clone());
        } else {
            told.enter(Step::Undo, "what was changed is put back, the last change first");
            told.open.retain(|r| r.seq != row.seq);
        }
    }

    fn wait(&self, sample: &LagSample, held: Duration) {
        let mut told = self.told();
        if told.step == Step::Follow {
            told.done("green follows blue, read-only");
        }
        let (limit, observe) = (told.limit, told.observe);
        told.enter(
            Step::CatchUp,
            &format!(
                "lag has to stay under {} for {}",
                humantime::format_duration(limit),
                humantime::format_duration(observe)
            ),
        );
        told.events.say(lag_event(sample));
        let trouble = sample
            .trouble
            .as_ref()
            .map_or_else(String::new, |t| format!("; {t}"));
        told.events.say(EventKind::Waiting {
            step: Step::CatchUp,
            what: format!(
                "{}; under the limit of {} for {:.0} of {:.0} s{trouble}",
                prepare::backlog(sample),
                humantime::format_duration(limit),
                held.as_secs_f64(),
                observe.as_secs_f64(),
            ),
        });
    }

    fn caught_up(&self, sample: &LagSample) {
        let mut told = self.told();
        let what = format!("green keeps up: {}", prepare::backlog(sample));
        told.step = Step::CatchUp;
        told.done(&what);
    }

    fn undone(&self, why: &Why, changed: bool) {
        let told = self.told();
        told.events.say(EventKind::StepFailed {
            step: match told.step {
                Step::Preflight => Step::Follow,
                step => step,
            },
            why: if changed {
                format!("{why}; everything that was recorded was put back")
            } else {
                format!("{why}; nothing has changed")
            },
            took: told.began.elapsed(),
        });
    }
}

impl Told {
    fn enter(&mut self, step: Step, what: &str) {
        if self.step != step {
            self.step = step;
            self.began = Instant::now();
            self.events.say(EventKind::StepBegan {
                step,
                what: what.to_owned(),
            });
        }
    }

    fn done(&self, what: &str) {
        self.events.say(EventKind::StepDone {
            step: self.step,
            what: what.to_owned(),
            took: self.began.elapsed(),
        });
    }
}

/// Whether green follows blue already because of bleen: something is recorded to be put back, and green is a replica.
///
/// # Errors
/// A server that cannot be asked.
pub async fn is_prepared(pair: &mut Pair) -> Result<bool, CliError> {
    let open = own_schema::open_undos(&mut pair.on_blue, Some(&pair.labels.green), ANSWER).await?;
    if open.unwrap_or_default().iter().all(|row| row.side == Side::Blue) {
        return Ok(false);
    }
    let channels = mysql::replication::status::read(&mut pair.on_green, &pair.green.caps, ANSWER).await?;
    Ok(channels
        .iter()
        .any(crate::domain::replication::ReplicaStatus::is_running))
}
