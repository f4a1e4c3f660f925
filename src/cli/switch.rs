//! `bleen switch`: gates, hold, promote, or the way back.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::args::Global;
use super::confirm::is_confirmed;
use super::error::CliError;
use super::exit::{Ending, ErrorKind};
use super::pair::{self, ANSWER, Pair, SECRET};
use super::prepare::after_a_switch;
use super::printer::Printer;
use super::signals::{At, Signals};
use super::{by_hand, playbook_file, reporting, resume};
use crate::adapters::compose::{self, Opening};
use crate::adapters::gates::LiveGates;
use crate::adapters::journal::{FORMAT, RunJournal};
use crate::adapters::mysql::replication::status;
use crate::adapters::mysql::survey::own_rights;
use crate::adapters::mysql::switch::{OpenError, Settings, WayBack};
use crate::adapters::queries::{self, Around, Replaying};
use crate::adapters::targets;
use crate::domain::guardrails::first_hold;
use crate::domain::ids::{RunId, Side};
use crate::domain::machine::{HoldKind, Spec};
use crate::engine::doctor;
use crate::engine::event::{EventKind, Events, SCHEMA_VERSION, in_milliseconds};
use crate::engine::hooks::End;
use crate::engine::ports::{Journal, Record};
use crate::engine::proof::prover::Prover;
use crate::engine::switchover::{Ended, Switchover};
use crate::playbook::Playbook;

pub use crate::adapters::compose::times;

/// How long the outputs may take to write what is left, at the end.
pub const LAST_WORDS: Duration = Duration::from_secs(2);

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
        "moves the writers of {} to {}",
        playbook.pair.blue.address, playbook.pair.green.address
    );
    let what = format!("{what}{}", accepted_loss(&playbook));
    if !is_confirmed(&playbook, "switch", &what, true, confirm, printer) {
        return Ok(Ending::Refused);
    }
    super::wait_for(async {
        let (events, at, reporting) = reporting::begin(global.output);
        let ended = switch(&playbook, global, &events, at).await;
        reporting::end(events, reporting, "switch", &ended).await;
        ended.map(|done| done.ending)
    })
}

/// What whoever confirms a switch, or reads its plan, has to know where the playbook accepts it.
pub const NO_WAY_BACK: &str = "there may be no way back after promote: the playbook says `switch.accept_no_way_back: true`, \
                               so the switch goes on where blue cannot follow green, and then going back loses what was \
                               written to green";

/// What a switch says that compares no rows.
const NO_DATA_PROOF: &str = "rows of blue and green are not compared: `validate: { data: {} }` in the playbook makes a \
                             switch wait until every row is proved equal; `bleen validate` compares without switching";

/// More for a person to confirm, where the playbook accepts it.
#[must_use]
pub fn accepted_loss(playbook: &Playbook) -> String {
    match playbook.switch.accept_no_way_back {
        true => format!("; {NO_WAY_BACK}"),
        false => String::new(),
    }
}

/// Says that there may be no way back, where the playbook accepts it.
pub fn warn_of_no_way_back(playbook: &Playbook, events: &Events) {
    if playbook.switch.accept_no_way_back {
        events.warn(NO_WAY_BACK);
    }
}

/// How blue is to follow green from promote on. `None` where it cannot be told to and the playbook accepts that.
///
/// # Errors
/// The replication account's password cannot be fetched, or blue has no address of green.
pub async fn way_back(playbook: &Playbook, events: &Events) -> Result<Option<WayBack>, CliError> {
    let is_optional = playbook.switch.accept_no_way_back;
    let Some(source) = &playbook.replication.way_back else {
        let seen = "green is only known by its socket, by which blue cannot reach it";
        if is_optional {
            events.warn(format!("no way back, which the playbook accepts: {seen}"));
            return Ok(None);
        }
        return Err(CliError::new(
            ErrorKind::NotReady,
            "let blue follow green after the switch",
            seen,
        )
        .hint(
            "`replication: { way_back: { host: …, port: … } }` says under which address blue reaches green",
        ));
    };
    match targets::way_back(playbook, source, SECRET).await {
        Ok(way_back) => Ok(Some(way_back)),
        Err(e) if is_optional => {
            events.warn(format!("no way back, which the playbook accepts: {e}"));
            Ok(None)
        }
        Err(e) => {
            let whose = format!(
                "the password of the replication account {}, with which blue is to follow green",
                playbook.replication.user
            );
            Err(CliError::secret(&whose, &e))
        }
    }
}

/// How a command that may switch ended, with what its last line says.
pub struct Done {
    /// The ending.
    pub ending: Ending,
    /// The fields of the last line in JSON.
    pub result: Value,
}

impl Done {
    /// An ending with nothing to add.
    #[must_use]
    pub fn plain(ending: Ending) -> Self {
        Self {
            ending,
            result: json!({}),
        }
    }
}

async fn switch(playbook: &Playbook, global: &Global, events: &Events, at: At) -> Result<Done, CliError> {
    let runs = pair::runs_directory(global)?;
    let signals = Signals::listen(at, events.clone())
        .map_err(|e| CliError::new(ErrorKind::Internal, "listen to signals", e.to_string()))?;
    let mut pair = pair::open(playbook, events).await?;
    // A run that ended without an outcome is ended first; if it had switched, there is nothing left to switch.
    if let Some(done) = resume::before_a_change(playbook, &runs, &mut pair, events, &signals).await? {
        return Ok(done);
    }
    switch_pair(playbook, &runs, &mut pair, events, &signals).await
}

/// Switches a pair whose servers are reached and which has no unfinished run: `switch`, and the second half of `run`.
///
/// # Errors
/// As [`run`].
pub async fn switch_pair(
    playbook: &Playbook,
    runs: &Path,
    pair: &mut Pair,
    events: &Events,
    signals: &Signals,
) -> Result<Done, CliError> {
    pair.revive().await?;
    let run = pair::new_run();
    events.say(EventKind::Started {
        schema_version: SCHEMA_VERSION,
        run: run.to_string(),
        command: "switch".to_owned(),
        pair: playbook.name.clone(),
    });
    if let Some(done) = after_a_switch(pair, "switch").await? {
        return Ok(done);
    }
    if let Some(done) = before_prepare(pair).await? {
        return Ok(done);
    }
    warn_of_no_way_back(playbook, events);
    let (hold, why) = choose_hold(playbook, pair).await?;
    events.note(format!("hold: {}, {why}", hold.as_str()));
    let mut settings = settings(playbook, pair, &run, hold, events);
    settings.way_back = way_back(playbook, events).await?;
    // The gates write a heartbeat: without a data proof no statement could be compared beside it.
    let before = match playbook.validate.data {
        Some(_) => None,
        None => Some(replay(playbook, pair, &run, None, signals, events).await?),
    };
    pair.revive().await?;
    let gates = LiveGates::open(
        playbook,
        &pair.blue,
        &pair.green,
        &run,
        Some(runs),
        (events, ANSWER),
    )
    .await?;
    let replayed = match before {
        Some(replayed) => replayed,
        None => {
            let prover = gates.proof.as_ref().map(|proof| proof.prover());
            let replayed = replay(playbook, pair, &run, prover, signals, events).await?;
            pair.revive().await?;
            replayed
        }
    };
    gates.know(replayed).await;
    settings.own_sessions = gates.blue_sessions.clone();
    settings.own_sessions.add([pair.on_blue.id()]);
    settings.proof = gates.proof.as_ref().map(|proof| proof.fence());
    if settings.proof.is_none() {
        events.warn(NO_DATA_PROOF);
    }
    let mut journal = start_journal(runs, &run, playbook)?;
    let spec = Spec {
        hold,
        reprove: settings.reproves(),
        way_back: settings.way_back.is_some(),
    };
    let times = times(playbook, &settings);
    let hooks = compose::hooks(playbook, &settings, events);
    let opener = Opening::new(settings);
    let recorded = opener.recorded();
    let tell = |pair: &Pair| {
        let servers = (&pair.blue, &pair.green);
        by_hand::tell(events, servers, &run, recorded.facts().as_ref())
    };
    let switchover = Switchover {
        gates: &gates,
        opener: &opener,
        spec,
        times,
        window: compose::window(playbook),
        hooks: &hooks,
        cancel: &signals.stop,
        events,
    };
    let ended = tokio::select! {
        ended = switchover.run(&mut journal) => ended,
        () = signals.stop_waiting.cancelled() => {
            let servers = (&pair.blue, &pair.green);
            let facts = recorded.facts();
            return Ok(by_hand::leave(events, servers, &run, facts.as_ref(), signals.at.is_promoted()));
        }
    };
    let serves = ended.serves();
    if serves == Some(Side::Blue) {
        compose::end_relaxing((&pair.blue, &pair.green), &run, events).await;
    }
    let mut done = conclude(ended);
    if let Ok(done) = &mut done
        && done.ending == Ending::Ambiguous
        && let Some(fields) = done.result.as_object_mut()
    {
        fields.insert("by_hand".to_owned(), tell(pair));
    }
    if let (Ok(done), Some(proof)) = (&mut done, &gates.proof)
        && let Some(fields) = done.result.as_object_mut()
    {
        fields.insert("data_proof".to_owned(), proof.result());
    }
    let end = end_of(serves, &done);
    hooks.at_the_end(&end, &mut journal, &signals.stop_waiting).await;
    done
}

/// Replays the statements of applications before the gates are asked, if the playbook asks for it.
async fn replay(
    playbook: &Playbook,
    pair: &Pair,
    run: &RunId,
    prover: Option<&Arc<Prover>>,
    signals: &Signals,
    events: &Events,
) -> Result<Replaying, CliError> {
    let around = Around {
        servers: (&pair.blue, &pair.green),
        prover,
        run: Some(run),
        mask: false,
        cancel: &signals.stop,
        events,
    };
    Ok(queries::before_the_hold(playbook, &around).await?)
}

/// The end of a switch to a green that follows nobody: gate queries cannot even be prepared on an empty one.
async fn before_prepare(pair: &mut Pair) -> Result<Option<Done>, CliError> {
    let channels = status::read(&mut pair.on_green, &pair.green.caps, ANSWER).await?;
    Ok(channels.is_empty().then(|| Done {
        ending: Ending::NotReady,
        result: json!({
            "changed": false,
            "why": ["green follows nobody: `bleen prepare` makes it follow blue, then `bleen switch`"],
        }),
    }))
}

/// What the hooks are told of an end.
fn end_of(serves: Option<Side>, done: &Result<Done, CliError>) -> End {
    let (outcome, why) = match done {
        Ok(done) => (done.ending.word(), &done.result["why"]),
        Err(e) => {
            return End {
                serves,
                outcome: Ending::Failed(e.kind).word(),
                why: e.seen.clone(),
            };
        }
    };
    let why = match why {
        Value::Null => String::new(),
        Value::Array(all) => {
            let all: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
            all.join("; ")
        }
        // An attempt's reason, with its step and its kind beside it.
        why => why["detail"].as_str().unwrap_or_default().to_owned(),
    };
    End { serves, outcome, why }
}

/// Makes the journal and writes its first record.
///
/// # Errors
/// It cannot be written. Nothing has changed.
pub fn start_journal(runs: &Path, run: &RunId, playbook: &Playbook) -> Result<RunJournal, CliError> {
    let cannot = |e: crate::engine::ports::JournalError| {
        CliError::new(ErrorKind::NotReady, "write the journal", e.to_string())
            .hint("name another place: `--run-dir DIR`")
    };
    let mut journal = RunJournal::create(runs, run).map_err(cannot)?;
    journal
        .append(&first_record(run, playbook), true)
        .map_err(cannot)?;
    Ok(journal)
}

/// The first record of a run's journal.
pub fn first_record(run: &RunId, playbook: &Playbook) -> Record {
    Record::Run {
        format: FORMAT,
        run: run.to_string(),
        pair: playbook.name.clone(),
        playbook: playbook.hash(),
        operator: pair::operator(),
    }
}

fn conclude(ended: Ended<OpenError>) -> Result<Done, CliError> {
    match ended {
        Ended::Attempt(attempt) => {
            let ending = Ending::from(&attempt.outcome);
            let mut result = json!({
                "pause_ms": attempt.pause.map(in_milliseconds),
                "enough": attempt.enough,
            });
            if let (Some(fields), Ok(Value::Object(outcome))) =
                (result.as_object_mut(), serde_json::to_value(&attempt.outcome))
            {
                fields.extend(outcome.into_iter().filter(|(name, _)| name != "outcome"));
            }
            Ok(Done { ending, result })
        }
        Ended::NotReady(blocking, trouble) => {
            let why: Vec<String> = blocking
                .iter()
                .map(|f| format!("{}: {}", f.id, f.seen))
                .chain(trouble)
                .collect();
            Ok(Done {
                ending: Ending::NotReady,
                result: json!({ "why": why }),
            })
        }
        Ended::Interrupted => Ok(Done::plain(Ending::Interrupted)),
        Ended::NotOpened(OpenError::Locked(taken)) => Err(CliError::new(
            ErrorKind::Locked,
            "take the run lock",
            taken.to_string(),
        )),
        Ended::NotOpened(OpenError::Server(e)) => Err(e.into()),
    }
}

/// The way to hold, with the reason: as the playbook says, or the first that the account's rights allow.
///
/// # Errors
/// Blue cannot be asked for the account's rights.
pub async fn choose_hold(playbook: &Playbook, pair: &mut Pair) -> Result<(HoldKind, &'static str), CliError> {
    if let Some(hold) = doctor::limits(playbook).hold {
        return Ok((hold, "as the playbook says"));
    }
    let caps = &pair.blue.caps;
    let own = own_rights(&mut pair.on_blue, caps, ANSWER).await?;
    Ok(first_hold(&own, &caps.version))
}

/// The playbook's settings for the attempts of a run.
#[must_use]
pub fn settings(playbook: &Playbook, pair: &Pair, run: &RunId, hold: HoldKind, events: &Events) -> Settings {
    let mut settings = compose::settings(playbook, (&pair.blue, &pair.green), run, hold);
    settings.after = Some(compose::ask_after(playbook, events));
    settings
}
