//! `bleen soak`: after a switch, whether going back would lose nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::args::Global;
use super::error::CliError;
use super::exit::{Ending, ErrorKind};
use super::pair::{self, ANSWER, Pair};
use super::prepare::switched_by;
use super::signals::{At, Signals};
use super::switch::Done;
use super::{playbook_file, reporting, sight, status};
use crate::adapters::gates::lag_event;
use crate::adapters::mysql::lag::{LagMeter, Setup};
use crate::adapters::mysql::replication;
use crate::domain::lag::LagSample;
use crate::engine::event::{EventKind, Events, SCHEMA_VERSION, in_milliseconds};
use crate::playbook::Playbook;

/// How often both servers are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// How long something has to last before it is an alarm: a receiver that connects again is none.
const LASTS: Duration = Duration::from_secs(3);

/// How long the heartbeat may take to stop.
const STOP: Duration = Duration::from_secs(2);

/// Runs the command. `length` is how long to watch, if it is not to be what the playbook says.
///
/// # Errors
/// Everything that keeps it from looking: the playbook, a password, a server.
pub fn run(path: &Path, length: Option<Duration>, global: &Global) -> Result<Ending, CliError> {
    let playbook = playbook_file::read(path)?;
    super::wait_for(async {
        let (events, at, reporting) = reporting::begin_watching(global.output);
        let ended = soak(&playbook, length, &events, at).await;
        reporting::end(events, reporting, "soak", &ended).await;
        ended.map(|done| done.ending)
    })
}

async fn soak(
    playbook: &Playbook,
    length: Option<Duration>,
    events: &Events,
    at: At,
) -> Result<Done, CliError> {
    events.say(EventKind::Started {
        schema_version: SCHEMA_VERSION,
        run: String::new(),
        command: "soak".to_owned(),
        pair: playbook.name.clone(),
    });
    let signals = Signals::listen(at.without_steps("stops watching"), events.clone())
        .map_err(|e| CliError::new(ErrorKind::Internal, "listen to signals", e.to_string()))?;
    let mut pair = pair::open(playbook, events).await?;
    status::warn_of_unfinished(playbook, &mut pair, events).await?;
    if switched_by(&mut pair).await?.is_none() {
        return Ok(Done {
            ending: Ending::NotReady,
            result: json!({ "why": ["green was not promoted: there is nothing to watch yet; `bleen watch` shows the lag"] }),
        });
    }
    // Lag is measured from the server that serves to the one that follows.
    let meter = LagMeter::start(Setup {
        blue: pair.green.target.clone(),
        green: pair.blue.target.clone(),
        blue_caps: pair.green.caps.clone(),
        green_caps: pair.blue.caps.clone(),
        run: None,
        every: playbook.lag.heartbeat,
    });
    let mut alarms = Alarms::default();
    let mut most: Option<Duration> = None;
    let watching = async {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.tick().await;
        loop {
            tick.tick().await;
            let sample = meter.samples().borrow().clone();
            most = most.max(sample.lag);
            let found = look(playbook, &mut pair, &sample, events).await;
            alarms.take(found, Instant::now(), events);
        }
    };
    let began = Instant::now();
    tokio::select! {
        () = watching => {}
        () = signals.stop.cancelled() => {}
        () = super::over(Some(length.unwrap_or(playbook.soak.time))) => {}
    }
    meter.stop(STOP).await;
    let ending = match alarms.raised.is_empty() {
        true => Ending::Done,
        false => Ending::NotReady,
    };
    Ok(Done {
        ending,
        result: json!({
            "pair": playbook.name,
            "watched_s": began.elapsed().as_secs(),
            "most_lag_ms": most.map(in_milliseconds),
            "why": alarms.raised,
        }),
    })
}

/// What is wrong, by the kind of alarm.
type Found = BTreeMap<&'static str, String>;

/// One look at both servers. What cannot be asked is an alarm of its own if it lasts.
async fn look(playbook: &Playbook, pair: &mut Pair, sample: &LagSample, events: &Events) -> Found {
    let mut found = Found::new();
    let green = sight::is_writable(&mut pair.on_green).await;
    let blue = sight::is_writable(&mut pair.on_blue).await;
    if let EventKind::Lag {
        lag_ms,
        transactions_behind,
        write_rate,
        apply_rate,
        ..
    } = lag_event(sample)
    {
        events.say(EventKind::Lag {
            lag_ms,
            transactions_behind,
            write_rate,
            apply_rate,
            blue_writable: blue.as_ref().ok().copied(),
            green_writable: green.as_ref().ok().copied(),
        });
    }
    match green {
        Ok(true) => {}
        Ok(false) => {
            found.insert(
                "green-shut",
                "green refuses writes: `bleen status`, then `bleen resume`".to_owned(),
            );
        }
        Err(e) => {
            found.insert("green-away", e.to_string());
        }
    }
    match blue {
        Ok(false) => {}
        Ok(true) => {
            let why = "blue accepts writes beside green: make it read-only at once, what is written there is lost to green";
            found.insert("blue-open", why.to_owned());
        }
        Err(e) => {
            found.insert("blue-away", e.to_string());
        }
    }
    match replication::status::read(&mut pair.on_blue, &pair.blue.caps, ANSWER).await {
        Ok(channels) => {
            let trouble = match channels.first() {
                None => Some("it follows nobody".to_owned()),
                Some(channel) => channel.trouble(),
            };
            if let Some(trouble) = trouble {
                let why = format!(
                    "blue does not follow green: {trouble}; what is written now would be lost on the way back"
                );
                found.insert("way-back", why);
            }
        }
        Err(e) => {
            found.insert("blue-away", e.to_string());
        }
    }
    if let Some(lag) = sample.lag.filter(|lag| *lag > playbook.soak.max_lag) {
        let why = format!(
            "blue is {} behind green, and {} is the limit: going back would have to wait for that",
            humantime::format_duration(Duration::from_millis(
                lag.as_millis().try_into().unwrap_or(u64::MAX)
            )),
            humantime::format_duration(playbook.soak.max_lag)
        );
        found.insert("lag", why);
    }
    if let Err(e) = pair.revive().await {
        tracing::debug!(error = %e, "a server cannot be reached");
    }
    found
}

/// Which alarms stand, since when, and what was raised so far.
#[derive(Debug, Default)]
struct Alarms {
    since: BTreeMap<&'static str, Instant>,
    standing: BTreeMap<&'static str, bool>,
    raised: Vec<String>,
}

impl Alarms {
    fn take(&mut self, found: Found, now: Instant, events: &Events) {
        self.since.retain(|kind, _| {
            let stays = found.contains_key(kind);
            if !stays && self.standing.remove(kind).is_some() {
                events.note(format!("no more: {kind}"));
            }
            stays
        });
        for (kind, why) in found {
            let since = *self.since.entry(kind).or_insert(now);
            // Two writers are told of at once.
            let lasts = now.duration_since(since) >= LASTS || kind == "blue-open";
            if lasts && self.standing.insert(kind, true).is_none() {
                let why = format!("{kind}: {why}");
                events.warn(format!("alarm: {why}"));
                self.raised.push(why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_raised_once_when_it_lasts_and_again_after_it_was_gone() {
        let (mut alarms, events, began) = (Alarms::default(), Events::none(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        let lag = || Found::from([("lag", "much".to_owned())]);
        alarms.take(lag(), at(0), &events);
        alarms.take(Found::new(), at(2), &events);
        alarms.take(lag(), at(3), &events);
        alarms.take(lag(), at(5), &events);
        assert_eq!(alarms.raised.len(), 0, "it never lasted");
        alarms.take(lag(), at(6), &events);
        alarms.take(lag(), at(60), &events);
        assert_eq!(alarms.raised, ["lag: much"]);
        alarms.take(Found::new(), at(61), &events);
        alarms.take(lag(), at(62), &events);
        alarms.take(lag(), at(65), &events);
        assert_eq!(alarms.raised.len(), 2);
        alarms.take(
            Found::from([("blue-open", "two writers".to_owned())]),
            at(66),
            &events,
        );
        assert_eq!(alarms.raised.len(), 3, "told at once");
    }
}
