//! What the query proof needs from the outside.

use std::time::Duration;

use crate::domain::gate::Answer;
use crate::domain::ids::Side;
use crate::domain::proof::transaction::TableName;
use crate::domain::queries::catalogue::Relation;
use crate::domain::queries::plan::Plan;
use crate::engine::ports::Pending;

/// A statement to be replayed.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Its text, with values.
    pub text: String,
    /// The default schema.
    pub schema: Option<String>,
    /// It adds numbers up: the last digits of floating-point answers say nothing.
    pub sums: bool,
    /// The longest it may run.
    pub limit: Duration,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Ran {
    /// What the server answered.
    pub answer: Answer,
    /// How long that took.
    pub took: Duration,
}

/// No answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The server answered with an error, or not within the limit: the application would see the same.
    Refused(String),
    /// The answer is there and cannot be compared: it is too large.
    TooLarge(String),
    /// The server could not be asked.
    NotAsked(String),
}

impl Failure {
    /// Why, in words.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Refused(why) | Self::TooLarge(why) | Self::NotAsked(why) => why,
        }
    }
}

/// Both sides, as far as replaying goes. Everything runs in read-only transactions, with limits of time, rows and bytes.
///
/// Dropping a future gives the statement up; the adapter ends its session before it is asked again.
pub trait Replays: Send + Sync {
    /// Looks names up on blue.
    fn relations(&self, names: Vec<TableName>) -> Pending<Result<Vec<(TableName, Relation)>, String>>;

    /// Runs a statement.
    fn run(&self, side: Side, statement: Statement) -> Pending<Result<Ran, Failure>>;

    /// Asks for its plan, without running it.
    fn plan(&self, side: Side, statement: Statement) -> Pending<Result<Plan, String>>;

    /// How many pages green has read from disk since it was started.
    fn disk_reads(&self) -> Pending<Result<u64, String>>;
}

/// Whether tables stood still while both sides were read: the bracket of the data proof, around a statement.
pub trait Quiet: Send + Sync {
    /// Takes the positions of both sides, before the first of them is read.
    fn begin(&self) -> Pending<Result<(), String>>;

    /// After both have been read: whether a transaction that touched one of these tables may have been shown by one side
    /// and not by the other since the last [`Quiet::begin`]. Waits, within bounds of its own, until that is known.
    fn touched(&self, tables: &[TableName]) -> Pending<Result<bool, String>>;
}
