//! The one stream of events: the only thing that any output ever sees of a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde::{Serialize, Serializer};
use tokio::sync::mpsc;

use crate::domain::guardrails::{Finding, Severity};
use crate::domain::ids::Side;
use crate::domain::outcome::Outcome;
use crate::domain::proof::drill::Differs;
use crate::domain::proof::transaction::TableName;
use crate::domain::step::Step;

/// Version of the events' form in JSON; grows when a field changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// Something that happened in a run.
#[derive(Debug, Clone, Serialize)]
pub struct RunEvent {
    /// Counts from 1 without gaps, unless events were dropped because an output was too slow.
    pub seq: u64,
    /// Wall clock, UTC, RFC 3339.
    #[serde(serialize_with = "rfc3339")]
    pub at: SystemTime,
    /// Since the run began, in milliseconds.
    #[serde(serialize_with = "milliseconds", rename = "elapsed_ms")]
    pub elapsed: Duration,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum EventKind {
    /// A run began.
    Started {
        /// Version of this form.
        schema_version: u32,
        /// The run's id; empty for commands that only read.
        run: String,
        /// The command.
        command: String,
        /// The pair's name.
        pair: String,
    },
    /// A server was reached.
    Server {
        /// Which side.
        side: Side,
        /// Where it listens.
        address: String,
        /// Family and version.
        version: String,
    },
    /// A step began.
    StepBegan {
        /// Which.
        step: Step,
        /// What it does now, in words.
        what: String,
    },
    /// A step ended well.
    StepDone {
        /// Which.
        step: Step,
        /// What was done or seen, in words.
        what: String,
        /// How long it took, in milliseconds.
        #[serde(serialize_with = "milliseconds", rename = "took_ms")]
        took: Duration,
    },
    /// A step did not do what it was to do.
    StepFailed {
        /// Which.
        step: Step,
        /// Why.
        why: String,
        /// How long it took, in milliseconds.
        #[serde(serialize_with = "milliseconds", rename = "took_ms")]
        took: Duration,
    },
    /// A guardrail's finding.
    Finding {
        /// The guardrail.
        id: String,
        /// `ok`, `warning`, `stop` or `not-known`.
        severity: String,
        /// The side it is about.
        side: Option<Side>,
        /// What was seen.
        seen: String,
        /// The limit.
        limit: String,
        /// What to do.
        remedy: String,
        /// Why a playbook waived it.
        waived: Option<String>,
    },
    /// Something is being waited for.
    Waiting {
        /// The step.
        step: Step,
        /// What for, the value against its limit, and what releases it.
        what: String,
    },
    /// Lag as it was just measured.
    Lag {
        /// Milliseconds, `None` while no heartbeat has arrived.
        lag_ms: Option<f64>,
        /// Transactions that green has not executed.
        transactions_behind: Option<u64>,
        /// Writes per second on blue.
        write_rate: Option<f64>,
        /// Transactions per second that green applies.
        apply_rate: Option<f64>,
        /// Whether blue accepts writes.
        blue_writable: Option<bool>,
        /// Whether green accepts writes.
        green_writable: Option<bool>,
    },
    /// A statement of a plan, with its undo.
    Planned {
        /// The step.
        step: Step,
        /// Where.
        side: Option<Side>,
        /// The statement or the call.
        statement: String,
        /// What undoes it.
        undo: Option<String>,
    },
    /// A hook of the playbook began.
    HookBegan {
        /// The moment: `before_hold`, `after_release` or `after_switch`.
        at: String,
        /// Its name.
        name: String,
    },
    /// A hook of the playbook ended.
    HookEnded {
        /// The moment.
        at: String,
        /// Its name.
        name: String,
        /// How it failed; `None` if it did not.
        why: Option<String>,
        /// How long it took, in milliseconds.
        #[serde(serialize_with = "milliseconds", rename = "took_ms")]
        took: Duration,
    },
    /// How far the data proof is.
    Proof(ProofEvent),
    /// A row that differs on the two sides, and no lag explains it.
    Difference(Difference),
    /// A statement of the application was judged by the query proof.
    QueryJudged {
        /// Its name, for a waiver.
        fingerprint: String,
        /// Its text without values.
        statement: String,
        /// `same`, `different result`, `slower`, `plan changed`, `error on green` or `not comparable`.
        verdict: String,
        /// What is behind the verdict; empty for `same`.
        why: String,
        /// Blue's median of the timed runs.
        blue_ms: Option<f64>,
        /// Green's.
        green_ms: Option<f64>,
        /// Why the playbook accepts it.
        waived: Option<String>,
        /// Which statement it is, from 1.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// The application's statements were replayed on green once more, to fill its buffer pool.
    Warmed {
        /// Which round, from 1.
        round: usize,
        /// How many statements were replayed.
        statements: u64,
        /// How many pages green read from disk meanwhile.
        disk_reads: u64,
        /// Whether the reads no longer fall.
        is_flat: bool,
    },
    /// Something worth knowing.
    Note {
        /// In words.
        text: String,
    },
    /// Something that should not pass unread.
    Warning {
        /// In words.
        text: String,
    },
    /// One attempt to switch ended.
    AttemptEnded {
        /// Which attempt, from 1.
        attempt: u32,
        /// How.
        result: Outcome,
        /// From the hold's statement sent to promote confirmed, or to the hold given up; milliseconds.
        pause_ms: Option<f64>,
        /// The deadline that would have been enough, where that can be said; in words.
        enough: Option<String>,
    },
    /// The last event of a command: fields depend on the command.
    Result(serde_json::Value),
}

/// How far the data proof is.
#[derive(Debug, Clone, Serialize)]
pub struct ProofEvent {
    /// Ranges of all tables that can be proved.
    pub ranges: usize,
    /// Ranges that are proved and that nothing has touched since.
    pub proved: usize,
    /// Ranges that are proved but for rows touched since.
    pub open: usize,
    /// Ranges of which nothing is known, or not any more.
    pub unproven: usize,
    /// Ranges that differ.
    pub diverged: usize,
    /// Tables that cannot be proved.
    pub not_provable: usize,
    /// Rows known to differ.
    pub differing_rows: u64,
    /// Rows that were touched since they were proved, and that a switchover would have to compare under the hold.
    pub open_rows: u64,
    /// The age of the oldest proof, in milliseconds.
    pub oldest_proof_ms: Option<f64>,
    /// Rows read so far, on the side that has more.
    pub rows_read: u64,
    /// Rows read in a second since the last event.
    pub rows_per_second: u64,
    /// How long comparing what is open would take under the hold, in milliseconds; nothing while that is not known.
    pub fence_ms: Option<f64>,
    /// Why nothing is read at present.
    pub paused: Option<String>,
}

/// A row that differs, in words that people can use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The table.
    pub table: String,
    /// The row's key: column and value; empty for a table without one.
    pub key: Vec<(String, String)>,
    /// How it differs.
    pub how: Differs,
    /// The columns that differ; empty where the row is on one side only.
    pub columns: Vec<ColumnDiffers>,
    /// How many rows blue and green have, for a table without a key: which of them differ cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<(u64, u64)>,
    /// The statement that would make green's row equal to blue's; `None` where none can be written.
    #[serde(skip)]
    pub repair: Option<String>,
}

impl Difference {
    /// Of a table without a key, by how many rows each side has.
    #[must_use]
    pub fn of_whole(table: &TableName, blue: u64, green: u64) -> Self {
        Self {
            table: table.to_string(),
            key: Vec::new(),
            how: Differs::Values,
            columns: Vec::new(),
            rows: Some((blue, green)),
            repair: None,
        }
    }
}

/// One column of a row that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnDiffers {
    /// Its name.
    pub column: String,
    /// Blue's value, `None` for NULL.
    pub blue: Option<String>,
    /// Green's value, `None` for NULL.
    pub green: Option<String>,
}

/// Hands events to the outputs. Cloning is cheap. It never waits: while an output is stuck, events are dropped and
/// their numbers show the gap, because a slow terminal must not lengthen a hold.
#[derive(Debug, Clone)]
pub struct Events {
    started: Instant,
    seq: Arc<AtomicU64>,
    sender: Option<mpsc::Sender<RunEvent>>,
}

/// How many events an output may be behind.
const QUEUE: usize = 4096;

impl Events {
    /// A stream and its receiving end.
    #[must_use]
    pub fn stream() -> (Self, mpsc::Receiver<RunEvent>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (
            Self {
                started: Instant::now(),
                seq: Arc::default(),
                sender: Some(sender),
            },
            receiver,
        )
    }

    /// A stream that nobody reads.
    #[must_use]
    pub fn none() -> Self {
        Self {
            started: Instant::now(),
            seq: Arc::default(),
            sender: None,
        }
    }

    /// Says that something happened.
    pub fn say(&self, kind: EventKind) {
        let Some(sender) = &self.sender else { return };
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        let event = RunEvent {
            seq,
            at: SystemTime::now(),
            elapsed: self.started.elapsed(),
            kind,
        };
        // A full queue or a closed output: the gap in the numbers tells.
        let _ = sender.try_send(event);
    }

    /// Tells a guardrail's finding.
    pub fn finding(&self, finding: &Finding) {
        let severity = match finding.severity {
            Severity::Ok => "ok",
            Severity::Warning => "warning",
            Severity::NotKnown => "not-known",
            Severity::Stop => "stop",
        };
        self.say(EventKind::Finding {
            id: finding.id.to_string(),
            severity: severity.to_owned(),
            side: finding.side,
            seen: finding.seen.clone(),
            limit: finding.limit.clone(),
            remedy: finding.remedy.clone(),
            waived: finding.waived.clone(),
        });
    }

    /// Says something in words.
    pub fn note(&self, text: impl Into<String>) {
        self.say(EventKind::Note { text: text.into() });
    }

    /// Says something that should not pass unread.
    pub fn warn(&self, text: impl Into<String>) {
        self.say(EventKind::Warning { text: text.into() });
    }
}

/// A duration in milliseconds with microseconds as its fraction.
#[must_use]
pub fn in_milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(in_milliseconds(*duration))
}

fn rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*at))
}
