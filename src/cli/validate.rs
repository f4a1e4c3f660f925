//! `bleen validate`: compares every row of blue and green while both are in use.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::args::{Global, HowToCompare};
use super::error::CliError;
use super::exit::{Ending, ErrorKind};
use super::pair::{self, ANSWER, Pair};
use super::repair_file;
use super::signals::{At, Signals};
use super::switch::Done;
use super::{playbook_file, reporting, sight, status};
use crate::adapters::mysql::lag::{FOLLOWS_NOBODY, LagMeter, Setup};
use crate::adapters::mysql::replication::status::read as read_replication;
use crate::adapters::mysql::session::Session;
use crate::adapters::proof::{NotBegun, Proof, Wish};
use crate::domain::proof::pick::{Pattern, Pick};
use crate::engine::event::{EventKind, Events, SCHEMA_VERSION};
use crate::engine::proof::prover::{Ended, Options, Progress, Prover};
use crate::playbook::Playbook;

/// How often blue's load is looked at.
const LOAD: Duration = Duration::from_millis(500);

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
    super::wait_for(async {
        let (events, at, reporting) = reporting::begin_every(global.output, asked.every);
        let ended = validate(&playbook, asked, &events, at).await;
        reporting::end(events, reporting, "validate", &ended).await;
        ended.map(|done| done.ending)
    })
}

async fn validate(
    playbook: &Playbook,
    asked: &HowToCompare,
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
    let wish = Wish {
        pick: Pick {
            tables: asked.tables.iter().map(|text| Pattern::of(text)).collect(),
            exclude: asked.exclude.iter().map(|text| Pattern::of(text)).collect(),
        },
        lanes: usize::from(asked.connections),
        second_half: false,
        mask: asked.mask,
        run: None,
    };
    let options = Options {
        target: Default::default(),
        caps: Default::default(),
        again_after: (!asked.once).then_some(asked.again_after),
        once: asked.once,
    };
    let proof = Proof::open((&pair.blue, &pair.green), &wish, options, ANSWER, events)
        .await
        .map_err(not_begun)?;
    let prover = proof.prover.clone();
    let Pair {
        blue,
        green,
        mut on_blue,
        ..
    } = pair;
    let meter = asked.max_lag.map(|_| {
        LagMeter::start(Setup {
            blue: blue.target.clone(),
            green: green.target.clone(),
            blue_caps: blue.caps.clone(),
            green_caps: green.caps.clone(),
            run: None,
            every: playbook.lag.heartbeat,
        })
    });
    let ended = tokio::select! {
        ended = proof.run() => Some(ended),
        () = tell(&prover, asked.every, events) => None,
        () = spare(&prover, asked, &mut on_blue, meter.as_ref()) => None,
        () = signals.stop.cancelled() => None,
        () = over(asked.for_) => None,
    };
    if let Some(meter) = meter {
        meter.stop(STOP).await;
    }
    if let Some(Ended::GaveUp(why)) = &ended {
        return Err(CliError::new(
            ErrorKind::Unreachable,
            "compare blue and green",
            why.clone(),
        ));
    }
    conclude(playbook, asked, &prover, events)
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

fn not_begun(why: NotBegun) -> CliError {
    match why {
        NotBegun::Server(error) => error.into(),
        NotBegun::Cannot(why) => CliError::new(ErrorKind::NotReady, "begin to compare blue and green", why),
    }
}

async fn over(length: Option<Duration>) {
    match length {
        Some(length) => tokio::time::sleep(length).await,
        None => std::future::pending().await,
    }
}

async fn tell(prover: &Prover, every: Duration, events: &Events) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut earlier: Option<Progress> = None;
    tick.tick().await;
    loop {
        tick.tick().await;
        let now = prover.progress();
        events.say(EventKind::Proof(now.event(earlier.as_ref())));
        earlier = Some(now);
    }
}

/// Pauses the comparing while blue has too much to do, or green is too far behind.
async fn spare(prover: &Prover, asked: &HowToCompare, on_blue: &mut Session, meter: Option<&LagMeter>) {
    if asked.max_load.is_none() && asked.max_lag.is_none() {
        return std::future::pending().await;
    }
    loop {
        let mut why = None;
        if let Some(most) = asked.max_load {
            why = match threads_running(on_blue).await {
                Some(running) if running > most => {
                    Some(format!("{running} statements run on blue, and {most} may"))
                }
                Some(_) => None,
                None => Some("blue's load is not known".to_owned()),
            };
        }
        if let (Some(most), Some(meter)) = (asked.max_lag, meter) {
            let lag = meter.samples().borrow().lag;
            if lag.is_some_and(|lag| lag > most) {
                why.get_or_insert_with(|| {
                    format!("green is more than {} behind", humantime::format_duration(most))
                });
            }
        }
        match why {
            Some(why) => prover.pause(&why),
            None => prover.go_on(),
        }
        tokio::time::sleep(LOAD).await;
    }
}

async fn threads_running(on_blue: &mut Session) -> Option<u64> {
    on_blue.revive(ANSWER).await.ok()?;
    let doing = "read how many statements run on blue";
    let sql = "SHOW GLOBAL STATUS LIKE 'Threads_running'";
    let row: (String, u64) = on_blue.one(doing, sql, ANSWER).await.ok()?;
    Some(row.1)
}

/// The last words: what was proved, what not and why, and what differs.
fn conclude(
    playbook: &Playbook,
    asked: &HowToCompare,
    prover: &Prover,
    events: &Events,
) -> Result<Done, CliError> {
    let end = prover.progress();
    events.say(EventKind::Proof(end.event(None)));
    let sum = &end.summary;
    for (table, why) in &sum.not_provable {
        events.warn(format!("{table} is not provable: {why}"));
    }
    let (differences, more) = prover.differences();
    if let Some(file) = &asked.repair_sql {
        repair_file::write(file, &differences, more)?;
        events.note(format!(
            "{} repairing statements are in {}",
            differences.len(),
            file.display()
        ));
    }
    let differs = sum.diverged > 0 || sum.diverged_items > 0 || end.differing_rows > 0;
    let is_proved = sum.unproven == 0 && sum.ranges > 0 && sum.not_provable.is_empty();
    Ok(Done {
        ending: if differs || !is_proved {
            Ending::NotReady
        } else {
            Ending::Done
        },
        result: json!({
            "pair": playbook.name,
            "equal": is_proved && !differs,
            "ranges": sum.ranges,
            "proved": sum.proved + sum.open,
            "unproven": sum.unproven,
            "differing_ranges": sum.diverged,
            "differing_rows": end.differing_rows,
            "open_rows": sum.open_rows,
            "not_provable": sum.not_provable.iter().map(|(table, why)| json!({
                "table": table.to_string(),
                "why": why.to_string(),
            })).collect::<Vec<_>>(),
            "checks": end.checks,
            "rows_read": end.rows_read,
            "ran_s": end.running.as_secs_f64(),
        }),
    })
}
