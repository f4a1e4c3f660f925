//! What the engine needs from the outside: one port for each kind of thing, each with a fake in the tests.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::domain::machine::{Answer, Command, State};
use crate::domain::outcome::Outcome;

/// A future that an adapter hands out.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a command has to keep to.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// When the attempt's deadline passes; `None` before the hold.
    pub deadline: Option<Instant>,
    /// How long to wait for an answer. Undo commands have a budget of their own, never what is left of the deadline.
    pub budget: Duration,
}

/// Something that a watcher saw beside the command under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// The holding session is gone.
    HoldLost(String),
    /// Green's applier stopped.
    ApplierStopped(String),
}

/// The two servers and the routes, as far as the machine's commands go.
pub trait Servers: Send + Sync {
    /// Carries out a command. Never panics, never retries a statement that changes something.
    ///
    /// Dropping the future gives the command up: its session takes no more statements, and what it sent may still
    /// run, which is why the machine then ends that session before it decides anything.
    fn perform(&self, command: Command, terms: Terms) -> Pending<Answer>;

    /// What is done last before the hold's statement is sent, when its record is on the disk already: the last looks, and
    /// the wait for an instant when green has just been seen caught up. Changes no data. `Some` is why the hold is not
    /// to be taken now. May be dropped at any time.
    fn approach(&self, terms: Terms) -> Pending<Option<Answer>>;

    /// Resolves when a watcher sees something. Dropping it and asking again loses nothing.
    fn alarm(&self) -> Pending<Alarm>;

    /// What the watchers saw last that may explain a wait: who or what stands in the way. Never waits.
    fn in_the_way(&self) -> Option<String>;
}

/// One record of the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// The first record: which run, of which playbook, by whom.
    Run {
        /// Version of the journal's form.
        format: u32,
        /// The run's id.
        run: String,
        /// The pair's name.
        pair: String,
        /// The playbook's hash.
        playbook: String,
        /// Who, and on which machine.
        operator: String,
    },
    /// Before a command: everything the machine knows, and what undoes the command.
    Command {
        /// The attempt, from 1.
        attempt: u32,
        /// What is about to be done.
        command: Command,
        /// What undoes it.
        undo: Option<Command>,
        /// The machine's state, in which everything that may be in force is *maybe*.
        state: Box<State>,
    },
    /// After a command.
    Answered {
        /// The machine's number for it.
        number: u32,
        /// How it ended.
        answer: Answer,
    },
    /// A value that must be put back, before it is changed.
    Undo {
        /// The side, `blue` or `green`.
        side: String,
        /// What was changed, in words.
        what: String,
        /// The statements that put it back.
        statement: String,
        /// Its place among the run's changes, from 0.
        #[serde(default)]
        seq: u32,
    },
    /// A change announced by [`Record::Undo`] has been put back.
    Undone {
        /// Its place among the run's changes.
        seq: u32,
    },
    /// A hook of the playbook ended.
    Hook {
        /// Its moment.
        at: String,
        /// Its name.
        name: String,
        /// How it failed; `None` if it did not.
        why: Option<String>,
    },
    /// The last record of an attempt.
    Outcome {
        /// The attempt, from 1.
        attempt: u32,
        /// How it ended.
        outcome: Outcome,
    },
}

/// A record could not be written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("write the journal {path}: {why}")]
pub struct JournalError {
    /// The file.
    pub path: String,
    /// The system's words.
    pub why: String,
}

/// Where the run writes down what it is about to do.
pub trait Journal: Send {
    /// Appends a record. With `durable`, it is on disk when this returns; else the operating system has it, which
    /// survives the end of bleen but not of its machine.
    ///
    /// # Errors
    /// The disk is full, or gone. Nothing that the record announces may then be done.
    fn append(&mut self, record: &Record, durable: bool) -> Result<(), JournalError>;
}
