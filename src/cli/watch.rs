//! `bleen watch`: lag and who accepts writes, again and again.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::args::Global;
use super::error::CliError;
use super::exit::{Ending, ErrorKind};
use super::pair::{self, Pair};
use super::signals::{At, Signals};
use super::switch::Done;
use super::{guardrails, playbook_file, reporting, sight, status};
use crate::adapters::gates::lag_event;
use crate::adapters::mysql::lag::{FOLLOWS_NOBODY, LagMeter, Setup};
use crate::domain::lag::{LagSample, Verdict};
use crate::engine::event::{EventKind, Events, SCHEMA_VERSION, in_milliseconds};
use crate::engine::prepare::{backlog, what_helps};
use crate::playbook::Playbook;

/// How long the heartbeat may take to stop.
const STOP: Duration = Duration::from_secs(2);

/// Runs the command. `length` is how long to watch, `every` how often to tell.
///
/// # Errors
/// Everything that keeps it from looking: the playbook, a password, a server.
pub fn run(
    path: &Path,
    length: Option<Duration>,
    every: Duration,
    global: &Global,
) -> Result<Ending, CliError> {
    let playbook = playbook_file::read(path)?;
    super::wait_for(async {
        let (events, at, reporting) = reporting::begin_watching(global.output);
        let ended = watch(&playbook, length, every, &events, at).await;
        reporting::end(events, reporting, "watch", &ended).await;
        ended.map(|done| done.ending)
    })
}

async fn watch(
    playbook: &Playbook,
    length: Option<Duration>,
    every: Duration,
    events: &Events,
    at: At,
) -> Result<Done, CliError> {
    events.say(EventKind::Started {
        schema_version: SCHEMA_VERSION,
        run: String::new(),
        command: "watch".to_owned(),
        pair: playbook.name.clone(),
    });
    let signals = Signals::listen(at.without_steps("stops watching"), events.clone())
        .map_err(|e| CliError::new(ErrorKind::Internal, "listen to signals", e.to_string()))?;
    let mut pair = pair::open(playbook, events).await?;
    status::warn_of_unfinished(playbook, &mut pair, events).await?;
    let meter = LagMeter::start(Setup {
        blue: pair.blue.target.clone(),
        green: pair.green.target.clone(),
        blue_caps: pair.blue.caps.clone(),
        green_caps: pair.green.caps.clone(),
        run: None,
        every: playbook.lag.heartbeat,
    });
    let mut seen = Seen::default();
    let watching = async {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once, before anything could be measured.
        tick.tick().await;
        loop {
            tick.tick().await;
            look(&mut pair, &meter, &mut seen, events).await;
        }
    };
    let began = Instant::now();
    tokio::select! {
        () = watching => {}
        () = signals.stop.cancelled() => {}
        () = super::over(length) => {}
    }
    meter.stop(STOP).await;
    Ok(Done {
        ending: Ending::Done,
        result: json!({
            "pair": playbook.name,
            "watched_s": began.elapsed().as_secs(),
            "looks": seen.looks,
            "most_lag_ms": seen.most.map(in_milliseconds),
        }),
    })
}

/// What was told already, and what the last line needs.
#[derive(Default)]
struct Seen {
    looks: u64,
    most: Option<Duration>,
    trouble: Option<String>,
    falling: bool,
    held: bool,
    switched: bool,
}

/// One look. What cannot be read is shown as not known: a server that is restarted must not end the watching.
async fn look(pair: &mut Pair, meter: &LagMeter, seen: &mut Seen, events: &Events) {
    let sample = meter.samples().borrow().clone();
    // Green first: a side that is being opened is read before the other.
    let green = sight::is_writable(&mut pair.on_green).await.ok();
    let blue = sight::is_writable(&mut pair.on_blue).await.ok();
    if let Ok(holder) = guardrails::lock_holder(pair).await {
        stand_aside(holder, meter, seen, events).await;
    }
    // One that cannot be reached now is tried again at the next look; the lag tells what is wrong with it.
    if let Err(e) = pair.revive().await {
        tracing::debug!(error = %e, "a server cannot be reached");
    }
    seen.looks += 1;
    seen.most = seen.most.max(sample.lag);
    if let EventKind::Lag {
        lag_ms,
        transactions_behind,
        write_rate,
        apply_rate,
        ..
    } = lag_event(&sample)
    {
        events.say(EventKind::Lag {
            lag_ms,
            transactions_behind,
            write_rate,
            apply_rate,
            blue_writable: blue,
            green_writable: green,
        });
    }
    if (blue, green) == (Some(false), Some(true)) && !seen.switched {
        seen.switched = true;
        events.note("green accepts the writes now and blue does not: `bleen status` says by which run");
    }
    tell_trouble(&sample, seen, events);
}

/// While a run holds the pair it writes heartbeats of its own, and none of ours may come between.
async fn stand_aside(holder: Option<String>, meter: &LagMeter, seen: &mut Seen, events: &Events) {
    match (holder, seen.held) {
        (Some(holder), false) => {
            seen.held = true;
            events.note(format!(
                "a run holds the pair ({holder}): nothing is written meanwhile"
            ));
            meter.stop_writing(STOP).await;
        }
        (None, true) => {
            seen.held = false;
            events.note("no run holds the pair any more");
            meter.go_on_writing();
        }
        _ => {}
    }
}

fn tell_trouble(sample: &LagSample, seen: &mut Seen, events: &Events) {
    if sample.trouble != seen.trouble {
        // After a switch these are as they should be.
        if let Some(trouble) = sample.trouble.as_ref().filter(|_| !seen.switched) {
            events.warn(if trouble == FOLLOWS_NOBODY {
                format!("{trouble}: `bleen prepare` makes it follow blue")
            } else {
                trouble.clone()
            });
        }
        seen.trouble.clone_from(&sample.trouble);
    }
    let falling = matches!(sample.verdict, Some(Verdict::FallingBehind { .. }));
    if falling && !seen.falling {
        events.warn(format!(
            "green will not catch up at this rate: {}; {}",
            backlog(sample),
            what_helps(false)
        ));
    }
    seen.falling = falling;
}
