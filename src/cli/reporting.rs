//! Prints a run's events on a thread of its own, so that a stuck terminal never lengthens a hold.

use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::args::Output;
use super::error::CliError;
use super::printer::Printer;
use super::signals::At;
use super::switch::{Done, LAST_WORDS};
use crate::engine::event::{EventKind, Events, RunEvent};
use crate::report::human::{EVERY, Human};
use crate::report::json;

/// The printing thread of one run.
#[derive(Debug)]
pub struct Reporting {
    done: oneshot::Receiver<()>,
}

/// A stream of events that is being printed, and the step it is at.
#[must_use]
pub fn begin(output: Output) -> (Events, At, Reporting) {
    begin_every(output, EVERY)
}

/// As [`begin`]; what repeats is shown again after `every`.
#[must_use]
pub fn begin_every(output: Output, every: Duration) -> (Events, At, Reporting) {
    let (events, receiver) = Events::stream();
    let at = At::default();
    (events, at.clone(), start(receiver, output, every, at))
}

/// As [`begin`], for a command that shows lag and nothing else.
#[must_use]
pub fn begin_watching(output: Output) -> (Events, At, Reporting) {
    let (events, receiver) = Events::stream();
    let at = At::default();
    (
        events,
        at.clone(),
        start_with(receiver, output, Human::watching(), at),
    )
}

/// Says the last event of a command and waits, a little, until everything is printed.
pub async fn end(events: Events, reporting: Reporting, command: &str, ended: &Result<Done, CliError>) {
    if let Ok(done) = ended {
        let mut fields = serde_json::json!({
            "command": command,
            "outcome": done.ending.word(),
            "exit_code": done.ending.code(),
        });
        if let (Some(all), Some(more)) = (fields.as_object_mut(), done.result.as_object()) {
            for (name, value) in more {
                all.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        events.say(EventKind::Result(fields));
    }
    drop(events);
    if !reporting.finish(LAST_WORDS).await {
        tracing::warn!("the output was too slow for the last lines");
    }
}

/// Starts printing `events` in the form of `output`. With lines for people, what repeats is shown again after `every`.
#[must_use]
pub fn start(events: mpsc::Receiver<RunEvent>, output: Output, every: Duration, at: At) -> Reporting {
    start_with(events, output, Human::new(every), at)
}

fn start_with(mut events: mpsc::Receiver<RunEvent>, output: Output, mut human: Human, at: At) -> Reporting {
    let (finished, done) = oneshot::channel();
    // A plain thread and not a task: a write to a stopped terminal blocks for as long as it is stopped.
    thread::spawn(move || {
        let mut printer = Printer::new(output);
        while let Some(event) = events.blocking_recv() {
            at.see(&event);
            match output {
                Output::Json => printer.data(&json::line(&event)),
                Output::Human => human.lines(&event).iter().for_each(|line| printer.line(line)),
            }
        }
        // Nobody may be waiting any more.
        let _ = finished.send(());
    });
    Reporting { done }
}

impl Reporting {
    /// Waits until everything is printed: call it when every sender of events is gone. Returns whether it was in
    /// `limit`; a terminal that is stopped for longer must not keep the process.
    pub async fn finish(self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.done).await.is_ok()
    }
}
