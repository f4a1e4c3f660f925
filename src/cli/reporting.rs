//! Prints a run's events on a thread of its own, so that a stuck terminal never lengthens a hold.

use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::args::Output;
use super::printer::Printer;
use crate::engine::event::RunEvent;
use crate::report::human::Human;
use crate::report::json;

/// The printing thread of one run.
#[derive(Debug)]
pub struct Reporting {
    done: oneshot::Receiver<()>,
}

/// Starts printing `events` in the form of `output`. With lines for people, what repeats is shown again after `every`.
#[must_use]
pub fn start(mut events: mpsc::Receiver<RunEvent>, output: Output, every: Duration) -> Reporting {
    let (finished, done) = oneshot::channel();
    // A plain thread and not a task: a write to a stopped terminal blocks for as long as it is stopped.
    thread::spawn(move || {
        let mut printer = Printer::new(output);
        let mut human = Human::new(every);
        while let Some(event) = events.blocking_recv() {
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
