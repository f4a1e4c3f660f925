//! `bleen validate`: compares every row of blue and green while both are in use, and then what applications ask for.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::args::{Global, HowToCompare};
use super::error::CliError;
use super::exit::{Ending, ErrorKind};
use super::pair::{self, ANSWER, Pair};
use super::repair_file;
use super::signals::{At, Signals};
use super::switch::Done;
use super::{playbook_file, reporting, run_dir, sight, status};
use crate::adapters::mysql::lag::{FOLLOWS_NOBODY, LagMeter, Setup};
use crate::adapters::mysql::replication::status::read as read_replication;
use crate::adapters::mysql::switch::OwnSessions;
use crate::adapters::proof::{Proof, Sparing, Wish};
use crate::adapters::queries::{self, Around};
use crate::domain::proof::pace::Target;
use crate::engine::event::{EventKind, Events, SCHEMA_VERSION};
use crate::engine::proof::prover::{Ended, Prover};
use crate::engine::queries::QueryProof;
use crate::playbook::Playbook;
use crate::playbook::model::DataProof;

/// How often it is looked whether everything has been compared once.
const LOOK: Duration = Duration::from_millis(200);

/// How long the heartbeat may take to stop.
const STOP: Duration = Duration::from_secs(2);

/// Runs the command.
///
/// # Errors
/// Everything that keeps it from comparing: the playbook, a password, a server, a right, a file that is there already.
pub fn run(path: &Path, asked: &HowToCompare, global: &Global) -> Result<Ending, CliError> {
    let playbook = playbook_file::read(path)?;
    if let Some(file) = &asked.repair_sql {
        repair_file::see_writable(file)?;
    }
    // Without a place for it nothing is kept.
    let runs = run_dir::find(global).ok();
    super::wait_for(async {
        let (events, at, reporting) = reporting::begin_every(global.output, asked.every);
        let ended = validate(&playbook, asked, runs.as_deref(), &events, at).await;
        reporting::end(events, reporting, "validate", &ended).await;
        ended.map(|done| done.ending)
    })
}

async fn validate(
    playbook: &Playbook,
    asked: &HowToCompare,
    runs: Option<&Path>,
    events: &Events,
    at: At,
) -> Result<Done, CliError> {
    events.say(EventKind::Started {
        schema_version: SCHEMA_VERSION,
        run: String::new(),
        command: "validate".to_owned(),
        pair: playbook.name.clone(),
    });
    let signals = Signals::listen(
        at.without_steps("stops comparing and says what was found"),
        events.clone(),
    )
    .map_err(|e| CliError::new(ErrorKind::Internal, "listen to signals", e.to_string()))?;
    let mut pair = pair::open(playbook, events).await?;
    status::warn_of_unfinished(playbook, &mut pair, events).await?;
    see_that_green_only_follows(&mut pair, events).await?;
    let data = wanted(playbook, asked);
    let replays = playbook.validate.digests.is_some();
    let wish = Wish {
        data: data.clone(),
        // Its stream is wanted for as long as statements are replayed.
        once: asked.once && !replays,
        mask: asked.mask,
        run: None,
        own: OwnSessions::default(),
        answer: ANSWER,
        target: Target::default(),
        keep: runs.map(Path::to_owned),
        anew: asked.anew,
    };
    let proof = Proof::open((&pair.blue, &pair.green), &wish, events).await?;
    let prover = proof.prover.clone();
    let keeper = proof.keeper().cloned();
    let Pair {
        blue, green, on_blue, ..
    } = pair;
    let meter = LagMeter::start(Setup {
        blue: blue.target.clone(),
        green: green.target.clone(),
        blue_caps: blue.caps.clone(),
        green_caps: green.caps.clone(),
        run: None,
        every: playbook.lag.heartbeat,
    });
    let samples = meter.samples();
    let mut sparing = Sparing {
        load: data.max_load.map(|most| (most, on_blue)),
        lag: Some((data.max_lag, Box::new(move || samples.borrow().lag))),
        answer: ANSWER,
    };
    let around = Around {
        servers: (&blue, &green),
        prover: Some(&prover),
        run: None,
        mask: asked.mask,
        cancel: &signals.stop,
        events,
    };
    let (mut replayed, mut trouble) = (None, None);
    let replay = async {
        while !prover.was_everywhere() {
            tokio::time::sleep(LOOK).await;
        }
        match queries::prove(playbook, &around).await {
            Ok(proof) => replayed = proof,
            Err(e) => trouble = Some(e),
        }
        // What goes on until it is stopped goes on comparing rows.
        if trouble.is_none() && !asked.once {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = proof.run() => Some(ended),
        () = replay, if replays => None,
        () = prover.tell(asked.every) => None,
        () = sparing.spare(&prover) => None,
        () = signals.stop.cancelled() => None,
        () = super::over(asked.for_) => None,
    };
    meter.stop(STOP).await;
    if let Some(keeper) = &keeper {
        // What is complete is over: whoever asks for everything to be compared once more is not answered from a file.
        if ended == Some(Ended::Complete) || asked.once && prover.was_everywhere() {
            keeper.forget();
        } else if let Err(why) = keeper.write(&prover) {
            events.warn(why);
        }
    }
    if let Some(Ended::GaveUp(why)) = &ended {
        return Err(CliError::new(
            ErrorKind::Unreachable,
            "compare blue and green",
            why.clone(),
        ));
    }
    if let Some(e) = trouble {
        return Err(e.into());
    }
    conclude(playbook, asked, &prover, replayed.as_ref(), events)
}

/// What the proof rests on: that green changes only by applying what blue wrote.
async fn see_that_green_only_follows(pair: &mut Pair, events: &Events) -> Result<(), CliError> {
    if sight::is_writable(&mut pair.on_green).await? {
        events.warn(
            "green accepts writes: what anybody writes there after a row was compared is not seen; `bleen prepare` makes \
             it read-only",
        );
    }
    let status = read_replication(&mut pair.on_green, &pair.green.caps, ANSWER).await?;
    if status.is_empty() {
        events.warn(format!(
            "{FOLLOWS_NOBODY}: what blue has written since then counts as touched and is not proved"
        ));
    }
    Ok(())
}

/// What the playbook says, and beyond it the command line.
fn wanted(playbook: &Playbook, asked: &HowToCompare) -> DataProof {
    let mut data = playbook.validate.data.clone().unwrap_or_default();
    if !asked.tables.is_empty() {
        data.tables.clone_from(&asked.tables);
    }
    if !asked.exclude.is_empty() {
        data.exclude.clone_from(&asked.exclude);
    }
    data.connections = asked.connections.map_or(data.connections, u32::from);
    data.max_load = asked.max_load.or(data.max_load);
    data.max_lag = asked.max_lag.unwrap_or(data.max_lag);
    data.again_after = asked.again_after.unwrap_or(data.again_after);
    data
}

/// The last words: what was proved, what not and why, and what differs.
fn conclude(
    playbook: &Playbook,
    asked: &HowToCompare,
    prover: &Prover,
    replayed: Option<&QueryProof>,
    events: &Events,
) -> Result<Done, CliError> {
    let end = prover.progress();
    events.say(EventKind::Proof(end.event(None)));
    let sum = &end.summary;
    for (table, why) in &sum.not_provable {
        events.warn(format!("{table} is not provable: {why}"));
    }
    for table in &sum.unsettled {
        events.warn(format!(
            "{table} is not proved: it has no key, so that it is compared as a whole, and it changed each time that was \
             done; a switch compares it while writers are held, and with a primary key it could be compared now"
        ));
    }
    if let Some(what) = end.differs() {
        events.warn(what);
    }
    let (differences, more) = prover.differences();
    if let Some(file) = &asked.repair_sql {
        repair_file::write(file, &differences, more)?;
        events.note(format!(
            "{} repairing statements are in {}",
            differences.iter().filter(|found| found.repair.is_some()).count(),
            file.display()
        ));
    }
    let differs = sum.diverged > 0 || sum.diverged_items > 0 || end.differing_rows > 0;
    let is_proved =
        sum.unproven == 0 && sum.unsettled.is_empty() && sum.ranges > 0 && sum.not_provable.is_empty();
    let not_replayed = playbook.validate.digests.is_some() && replayed.is_none();
    if not_replayed {
        events.warn("the statements of applications were not all replayed: it ended before that");
    }
    let answers_differ = replayed.is_some_and(|proof| proof.findings().next().is_some());
    Ok(Done {
        ending: if differs || !is_proved || not_replayed || answers_differ {
            Ending::NotReady
        } else {
            Ending::Done
        },
        result: json!({
            "pair": playbook.name,
            "equal": is_proved && !differs,
            "ranges": sum.ranges,
            "proved": sum.proved + sum.open,
            "unproven": sum.unproven + sum.unsettled.len(),
            "differing_ranges": sum.diverged,
            "differing_rows": end.differing_rows,
            "differing_tables": sum.differing.keys().map(ToString::to_string).collect::<Vec<_>>(),
            "unsettled": sum.unsettled.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "open_rows": sum.open_rows,
            "not_provable": sum.not_provable.iter().map(|(table, why)| json!({
                "table": table.to_string(),
                "why": why.to_string(),
            })).collect::<Vec<_>>(),
            "queries": replayed.map(QueryProof::summary),
            "statements": replayed.map(QueryProof::not_the_same),
            "checks": end.checks,
            "rows_read": end.rows_read,
            "ran_s": end.running.as_secs_f64(),
        }),
    })
}
