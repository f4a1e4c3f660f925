//! `bleen status`: who accepts writes, how green follows, what is under way or was left; only reads.
//!
//! Made for the worst hour: a server that cannot be reached is named, and the other one is reported in full.

use std::path::Path;

use serde_json::{Value, json};

use super::args::Global;
use super::error::CliError;
use super::exit::{Ending, ErrorKind};
use super::pair::{self, Pair, Reached};
use super::prepare::PREPARED;
use super::sight::{self, Sight};
use super::signals::what_cancel_does;
use super::switch::Done;
use super::unfinished::{self, Labels};
use super::{playbook_file, remembered, reporting, resume, run_dir};
use crate::adapters::mysql::lag::behind;
use crate::adapters::mysql::own_schema::{Epoch, RunRow, UndoRow};
use crate::domain::ids::{RunId, Side};
use crate::domain::lag::{Unit, transactions};
use crate::domain::step::Step;
use crate::engine::event::{EventKind, Events, SCHEMA_VERSION};
use crate::playbook::Playbook;

/// Runs the command.
///
/// # Errors
/// The playbook is wrong, or both sides are one server. What cannot be reached is part of the report.
pub fn run(path: &Path, global: &Global) -> Result<Ending, CliError> {
    let playbook = playbook_file::read(path)?;
    super::wait_for(async {
        let (events, _, reporting) = reporting::begin(global.output);
        let ended = status(&playbook, global, &events).await;
        reporting::end(events, reporting, "status", &ended).await;
        ended.map(|done| done.ending)
    })
}

async fn status(playbook: &Playbook, global: &Global, events: &Events) -> Result<Done, CliError> {
    events.say(EventKind::Started {
        schema_version: SCHEMA_VERSION,
        run: String::new(),
        command: "status".to_owned(),
        pair: playbook.name.clone(),
    });
    // Green first: a side that is being opened is read before the other.
    let mut green = pair::reach(Side::Green, playbook, events).await;
    let green_seen = see(&mut green).await;
    let mut blue = pair::reach(Side::Blue, playbook, events).await;
    let blue_seen = see(&mut blue).await;
    if let (Ok(blue), Ok(green)) = (&blue_seen, &green_seen) {
        pair::tell_apart(&blue.identity, &green.identity)?;
    }
    let ending = ending([&blue_seen, &green_seen], events);
    let mut report = Report {
        playbook,
        runs: run_dir::find(global).ok(),
        blue: blue_seen,
        green: green_seen,
        behind: None,
    };
    if let (Ok(blue), Ok(green)) = (&mut blue, &mut green) {
        report.behind = match report.serves() {
            Side::Blue => distance(blue, green).await,
            Side::Green => distance(green, blue).await,
        };
    }
    if report.accept_writes() == "both" && report.switched().is_some() {
        events.warn("both servers accept writes, and green was promoted: make blue read-only at once");
    }
    Ok(Done {
        ending,
        result: report.told(),
    })
}

async fn see(reached: &mut Result<Reached, CliError>) -> Result<Sight, CliError> {
    match reached {
        Ok((server, session)) => sight::look(server, session).await,
        Err(e) => Err(CliError {
            hints: e.hints.clone(),
            server: e.server.clone(),
            ..CliError::new(e.kind, e.doing.as_ref(), e.seen.clone())
        }),
    }
}

/// Done if both were seen; else what kept one from being seen, said aloud.
fn ending(sides: [&Result<Sight, CliError>; 2], events: &Events) -> Ending {
    let mut ending = Ending::Done;
    for error in sides.into_iter().filter_map(|side| side.as_ref().err()) {
        events.warn(cannot_see(error));
        for hint in &error.hints {
            events.note(format!("hint: {hint}"));
        }
        if ending != Ending::Failed(ErrorKind::Unreachable) {
            ending = Ending::Failed(error.kind);
        }
    }
    ending
}

fn cannot_see(error: &CliError) -> String {
    let on = error
        .server
        .as_ref()
        .map(|server| format!(" on {server}"))
        .unwrap_or_default();
    format!("failed to {}{on}: {}", error.doing, error.seen)
}

/// How far the server that follows is behind by the positions. Not known if a server goes away right now.
async fn distance(serving: &mut Reached, following: &mut Reached) -> Option<String> {
    let serving = (&mut serving.1, &serving.0.caps);
    let following = (&mut following.1, &following.0.caps);
    let behind = behind(serving, following).await.ok().flatten()?;
    Some(match behind.unit {
        Unit::Transactions => format!("{} {}", behind.amount, transactions(behind.amount)),
        Unit::Bytes => format!("{} bytes of binlog", behind.amount),
    })
}

/// What is said where only a server would know.
const NEITHER: &str = "neither server could be asked";

/// Everything that was seen, by whatever could be seen.
struct Report<'a> {
    playbook: &'a Playbook,
    /// This machine's journals.
    runs: Option<std::path::PathBuf>,
    blue: Result<Sight, CliError>,
    green: Result<Sight, CliError>,
    behind: Option<String>,
}

impl Report<'_> {
    fn told(&self) -> Value {
        let unfinished = self.unfinished();
        let (follower, sight) = match self.serves() {
            Side::Blue => ("green", &self.green),
            Side::Green => ("blue", &self.blue),
        };
        let replication = sight.as_ref().ok().map(|sight| {
            let follows = sight.follows.as_deref().unwrap_or("follows nobody");
            format!("{follower} {follows}")
        });
        let open = self.open();
        json!({
            "pair": self.playbook.name,
            "writable": self.accept_writes(),
            "blue": side(&self.blue),
            "green": side(&self.green),
            "replication": replication,
            "behind": self.behind,
            "state": self.state(&open, unfinished.is_some()),
            "unfinished_run": unfinished.map(|row| self.unfinished_words(&row)),
            "run_lock": self.lock().unwrap_or_else(|| match (self.is_blind(), self.missing()) {
                (true, _) => NEITHER.to_owned(),
                (false, Some(side)) => format!("free on the side that answered; {side} could not be asked"),
                (false, None) => "free".to_owned(),
            }),
            "to_put_back": match &open {
                Ok(open) => open.iter().map(|r| format!("{}: {}", r.side, r.what)).collect::<Vec<_>>(),
                Err(why) => vec![format!("not known: {why}")],
            },
            "this_machine": self.runs.as_deref().and_then(|runs| remembered::newest(runs, &self.playbook.name)),
        })
    }

    fn accept_writes(&self) -> &'static str {
        let of = |side: &Result<Sight, CliError>| side.as_ref().ok().map(|s| s.accepts_writes);
        match (of(&self.blue), of(&self.green)) {
            (Some(true), Some(false)) => "blue",
            (Some(false), Some(true)) => "green",
            (Some(false), Some(false)) => "neither",
            (Some(true), Some(true)) => "both",
            (Some(true), None) => "blue; green could not be asked",
            (Some(false), None) => "not blue; green could not be asked",
            (None, Some(true)) => "green; blue could not be asked",
            (None, Some(false)) => "not green; blue could not be asked",
            (None, None) => NEITHER,
        }
    }

    /// The newest promotion that either side knows of.
    fn epoch(&self) -> Option<&Epoch> {
        [&self.blue, &self.green]
            .into_iter()
            .filter_map(|side| side.as_ref().ok()?.epoch.as_ref())
            .max_by_key(|epoch| epoch.number)
    }

    /// The run that promoted a side, if that was the last promotion.
    fn promoted(&self, side: Side) -> Option<&str> {
        let sight = match side {
            Side::Blue => &self.blue,
            Side::Green => &self.green,
        };
        let label = sight.as_ref().ok()?.identity.label();
        self.epoch()
            .filter(|epoch| epoch.promoted == label)
            .map(|epoch| epoch.run.as_str())
    }

    fn switched(&self) -> Option<&str> {
        self.promoted(Side::Green)
    }

    /// The side that serves by the last promotion; blue if there was none.
    fn serves(&self) -> Side {
        match self.switched() {
            Some(_) => Side::Green,
            None => Side::Blue,
        }
    }

    /// What is recorded to be put back, by the side that serves: after a switch blue is sealed and its record stands
    /// still.
    fn open(&self) -> Result<Vec<UndoRow>, String> {
        let of = |side: &Result<Sight, CliError>| side.as_ref().ok().map(|s| s.open.clone());
        let rows = if self.switched().is_some() {
            of(&self.green)
        } else {
            of(&self.blue).or_else(|| of(&self.green))
        };
        let mut rows = rows.unwrap_or_else(|| Err(NEITHER.to_owned()))?;
        // Another green of this blue has its own; which green is ours is not known while it cannot be asked.
        if let Ok(green) = &self.green {
            let ours = green.identity.label();
            rows.retain(|row| row.green == ours);
        }
        Ok(rows)
    }

    fn lock(&self) -> Option<String> {
        let holders: Vec<String> = [&self.blue, &self.green]
            .into_iter()
            .filter_map(|side| side.as_ref().ok()?.lock.clone())
            .collect();
        (!holders.is_empty()).then(|| holders.join("; "))
    }

    fn unfinished(&self) -> Option<RunRow> {
        let rows = |side: &Result<Sight, CliError>| side.as_ref().map(|s| s.runs.clone()).unwrap_or_default();
        let label =
            |side: &Result<Sight, CliError>| side.as_ref().map(|s| s.identity.label()).unwrap_or_default();
        let labels = Labels {
            blue: label(&self.blue),
            green: label(&self.green),
        };
        let found = unfinished::unfinished(
            &self.playbook.name,
            &labels,
            &rows(&self.blue),
            &rows(&self.green),
        );
        found.into_iter().next().map(|found| found.row)
    }

    fn is_blind(&self) -> bool {
        self.blue.is_err() && self.green.is_err()
    }

    /// The side that did not answer, if only one did.
    fn missing(&self) -> Option<Side> {
        match (&self.blue, &self.green) {
            (Ok(_), Err(_)) => Some(Side::Green),
            (Err(_), Ok(_)) => Some(Side::Blue),
            _ => None,
        }
    }

    /// What the pair has come to, with the command that goes on.
    fn state(&self, open: &Result<Vec<UndoRow>, String>, unfinished: bool) -> String {
        if self.is_blind() {
            return format!("not known: {NEITHER}; make nothing writable by hand");
        }
        let switched = self
            .switched()
            .map(|run| format!("switched by run {run}: green serves"));
        match (self.missing(), switched, unfinished) {
            (_, Some(switched), true) => format!("{switched}; something is left to do: `bleen resume`"),
            (_, Some(switched), false) => match self.blue.as_ref().is_ok_and(|blue| blue.follows.is_none()) {
                true => format!(
                    "{switched}; blue does not follow it, so going back would lose what was written since"
                ),
                false => format!("{switched}; `bleen failback` goes back, `bleen finish` gives that up"),
            },
            (Some(Side::Green), None, true) => {
                "a run has no end on blue, and green could not be asked: green may have \
                been promoted; make nothing writable by hand, `bleen resume` as soon as green is back"
                    .to_owned()
            }
            (Some(Side::Blue), None, true) => {
                "a run has no end on green, and blue could not be asked; green was not \
                promoted by a run that is written down there; `bleen resume` as soon as blue is back"
                    .to_owned()
            }
            (None, None, true) => "a run is unfinished".to_owned(),
            (Some(missing), None, false) => format!(
                "no run is known to be unfinished on the side that answered; {missing} could not be asked{}",
                match missing {
                    Side::Green => ", and only green knows whether it was promoted",
                    Side::Blue => ", and green was not promoted",
                }
            ),
            (None, None, false) => match open {
                Ok(open) => self.at_rest(open),
                Err(why) => format!("not known: {why}"),
            },
        }
    }

    /// The state of a pair that was not switched and has no run under way.
    fn at_rest(&self, open: &[UndoRow]) -> String {
        let follows = self.green.as_ref().is_ok_and(|green| green.follows.is_some());
        if let (Some(run), true) = (self.promoted(Side::Blue), follows) {
            return format!(
                "went back by run {run}: blue serves and green follows it; `bleen switch` moves the writers again, `bleen \
                 finish` ends it"
            );
        }
        let Some(newest) = open.first() else {
            return "not prepared: `bleen doctor`, then `bleen prepare`".to_owned();
        };
        let prepared = self.blue.as_ref().is_ok_and(|blue| {
            blue.runs
                .iter()
                .any(|r| r.run_id == newest.run_id && r.outcome.as_deref() == Some(PREPARED))
        });
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

    /// An unfinished run: by its journal if that is on this machine, else as the servers know it.
    fn unfinished_words(&self, row: &RunRow) -> Value {
        let journalled = || {
            let run = RunId::new(row.run_id.clone()).ok()?;
            remembered::step_of(self.runs.as_deref()?, &run)
        };
        let step = journalled().or_else(|| Step::ALL.into_iter().find(|step| step.id() == row.step));
        let (at, next) = match self.lock() {
            Some(holder) => (
                format!("under way, held by {holder}"),
                format!(
                    "wait for it; Ctrl-C in its terminal {}; if its bleen is frozen or cut off: `bleen resume`",
                    what_cancel_does(step)
                ),
            ),
            None => (
                match self.missing() {
                    None => "its bleen is gone".to_owned(),
                    Some(side) => format!("its bleen holds no lock on the side that answered; {side} may know its end"),
                },
                "`bleen resume` finishes it if green was promoted, else opens blue again; it needs both servers"
                    .to_owned(),
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
}

fn side(seen: &Result<Sight, CliError>) -> Value {
    match seen {
        Ok(sight) => json!({
            "address": sight.address,
            "version": sight.version,
            "accepts_writes": sight.accepts_writes,
        }),
        Err(e) => json!({ "unreachable": cannot_see(e) }),
    }
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
    for found in resume::unfinished(playbook, pair).await? {
        let row = found.row;
        events.warn(format!(
            "run {} of {}, begun {}, has no outcome: if its bleen is gone, `bleen resume` ends it",
            row.run_id, row.operator, row.started
        ));
    }
    Ok(())
}
