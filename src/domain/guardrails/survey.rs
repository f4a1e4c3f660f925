//! Everything the guardrails of one scope look at.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::ServerFacts;
use super::finding::Scope;
use super::known::Known;
use crate::domain::ids::Side;
use crate::domain::machine::HoldKind;
use crate::domain::queries::warm::Warmed;

/// Both servers, what the playbook allows, and what the run knows by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// The scope it was made for.
    pub scope: Scope,
    /// The server that serves writes now (after promote: served).
    pub blue: ServerFacts,
    /// The server that will.
    pub green: ServerFacts,
    /// What the playbook allows.
    pub limits: Limits,
    /// What the run knows by itself.
    pub plan: PlanFacts,
}

impl Survey {
    /// The facts of one side.
    #[must_use]
    pub fn side(&self, side: Side) -> &ServerFacts {
        match side {
            Side::Blue => &self.blue,
            Side::Green => &self.green,
        }
    }

    /// Both sides, blue first.
    pub fn sides(&self) -> [(Side, &ServerFacts); 2] {
        [(Side::Blue, &self.blue), (Side::Green, &self.green)]
    }
}

/// What a playbook allows. All numbers have defaults that suit a switch of seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// From the hold's first statement to promote confirmed.
    pub deadline: Duration,
    /// Lag allowed during the observation time.
    pub lag: Duration,
    /// Age at which an open transaction stands in the way.
    pub longest_transaction: Duration,
    /// Changed rows at which an open transaction stands in the way: it would have to be applied under the hold.
    pub largest_transaction: u64,
    /// Age at which a running statement stands in the way.
    pub longest_statement: Duration,
    /// Whether a SELECT in the way may be ended.
    pub end_selects: bool,
    /// Whether sessions of accounts that write through read-only are ended under the hold and their logins prevented
    /// until confirm.
    pub end_privileged_sessions: bool,
    /// How writers are held; `None` for the first way that the account's rights allow.
    pub hold: Option<HoldKind>,
    /// For how long from now binlogs have to stay.
    pub keep_binlogs: Duration,
    /// Connections that have to be free on each side.
    pub spare_connections: u64,
    /// Threads that a pool has to have beyond its connections.
    pub spare_threads: u64,
    /// How far the servers' clocks may be apart.
    pub clock_apart: Duration,
    /// Bytes that have to be free on each side's disks.
    pub free_bytes: u64,
    /// Whether blue is to follow green after the switch.
    pub way_back: bool,
    /// The account by which green follows blue: it is needed on blue only.
    pub replication_user: String,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            lag: Duration::from_secs(1),
            longest_transaction: Duration::from_secs(10),
            largest_transaction: 100_000,
            longest_statement: Duration::from_millis(10),
            way_back: false,
            end_selects: false,
            end_privileged_sessions: false,
            hold: None,
            keep_binlogs: Duration::from_secs(2 * 3600),
            spare_connections: 10,
            spare_threads: 10,
            clock_apart: Duration::from_secs(1),
            free_bytes: 1 << 30,
            replication_user: String::new(),
        }
    }
}

/// What the run knows by itself, without asking a server's tables: filled by whoever runs the guardrails.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanFacts {
    /// [`crate::domain::identity::Identity::label`] of blue and green as the plan or the run's start had them.
    pub expected: Option<(String, String)>,
    /// Lag by heartbeat over the observation time.
    pub lag: Known<LagFact>,
    /// Gate queries that were run: name, and what was wrong or `None`.
    pub gate_queries: Known<Vec<(String, Option<String>)>>,
    /// The application's own statements, replayed on both sides; `None` if the playbook does not ask for it.
    pub replayed: Known<Option<Replayed>>,
    /// How green's buffer pool was warmed; `None` if the playbook does not ask for it.
    pub warmed: Known<Option<Warmed>>,
    /// Who holds the pair's lock: `None` nobody, else run id and since when. The asking run does not count.
    pub run_lock: Known<Option<String>>,
    /// The longest pause that the last drill measured.
    pub last_drill: Option<Duration>,
    /// How far the data proof is: `None` if the playbook asks for none.
    pub data_proof: Known<Option<ProofFact>>,
    /// Events that were enabled on blue when it was quieted: those that green has to run afterwards.
    pub events_on_blue: Option<BTreeSet<String>>,
    /// Whether blue's event scheduler ran before it was quieted.
    pub scheduler_ran: Option<bool>,
    /// Whether the option file of blue and of green starts the server read-only, as somebody looked it up.
    pub starts_read_only: (Known<bool>, Known<bool>),
    /// Free bytes on the disks of blue and of green, as somebody looked them up.
    pub free_bytes: (Known<u64>, Known<u64>),
}

/// What the data proof knows, as far as it decides whether to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofFact {
    /// Ranges of rows, all proved but for rows touched since.
    pub ranges: usize,
    /// Ranges and rows that differ, in words; `None` if nothing does.
    pub differs: Option<String>,
    /// Tables that cannot be proved and are not accepted so, each with the reason.
    pub not_provable: Vec<(String, String)>,
    /// Tables that cannot be proved and are accepted so.
    pub accepted: Vec<String>,
    /// Rows to compare at the fence.
    pub open_rows: u64,
    /// How long that would take.
    pub fence: Duration,
}

/// What the query proof came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// How many statements came out how, in words.
    pub summary: String,
    /// Statements that differ, fail or are too slow on green, and whose finding nothing accepts.
    pub wrong: Vec<StatementFact>,
    /// Those whose finding the playbook accepts, with its reason.
    pub accepted: Vec<(StatementFact, String)>,
}

/// A statement that did not come out the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementFact {
    /// Its fingerprint.
    pub statement: String,
    /// The verdict with its reason.
    pub verdict: String,
}

/// Lag over an observation time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LagFact {
    /// The newest value.
    pub now: Duration,
    /// The largest value of the observation time.
    pub most: Duration,
    /// Whether it grew all through it.
    pub rising: bool,
    /// How long it was observed.
    pub observed: Duration,
}
