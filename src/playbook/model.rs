//! A playbook with everything decided: every default filled in, every duration a [`Duration`].
//!
//! Plain data for the engine and the adapters. It holds where a password comes from, never a password.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::decode::words;
use super::limits;
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::queries::fingerprint::Fingerprint;

/// Everything that one pair needs to be prepared and switched.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Playbook {
    /// The pair's name: 1 to 40 letters, digits, `-`, `_` and `.`. What `--confirm` asks for.
    pub name: String,
    /// A label such as `production`, shown wherever the pair is.
    pub environment: Option<String>,
    /// Whether every command that changes something wants `--confirm`, not only `switch` and `run`.
    pub protected: bool,
    /// The two servers.
    pub pair: Pair,
    /// How green follows blue.
    pub replication: Replication,
    /// How the writers are moved.
    pub switch: Switch,
    /// What counts as caught up.
    pub lag: Lag,
    /// What is watched after the switch.
    pub soak: Soak,
    /// What has to be equal on both sides.
    pub validate: Validate,
    /// How green's buffer pool is warmed before the hold; `None` if it is not.
    pub warm: Option<Warm>,
    /// Step 14: what points the traffic at green, in order.
    pub routing: Routing,
    /// Commands run at other moments, in order.
    pub hooks: Vec<Hook>,
    /// Guardrails whose *stop* becomes a warning that stays on screen.
    pub waivers: Vec<Waiver>,
}

impl Playbook {
    /// The same pair with the roles exchanged, for going back: what it calls green serves now and is blue there. `None`
    /// where blue has no address of green.
    #[must_use]
    pub fn exchanged(&self) -> Option<Self> {
        let mut other = self.clone();
        std::mem::swap(&mut other.pair.blue, &mut other.pair.green);
        other.replication.way_back = Some(self.replication.source.clone());
        other.replication.source = self.replication.way_back.clone()?;
        other.replication.start = Start::Auto;
        Some(other)
    }
}

/// One blue writer and one green writer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The server that serves writes now.
    pub blue: Endpoint,
    /// The server that will.
    pub green: Endpoint,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// Host name or IP address, and port.
    Tcp(String, u16),
    /// Path of a Unix socket.
    Socket(PathBuf),
}

/// One server and the account that bleen uses there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// MariaDB's `extra_port`: answers when `max_connections` is used up.
    pub extra_port: Option<u16>,
    /// MySQL's `admin_port`: answers when `max_connections` is used up.
    pub admin_port: Option<u16>,
    /// The account's name.
    pub user: String,
    /// Where its password comes from.
    pub password: PasswordSource,
    /// How the connection is protected.
    pub tls: Tls,
}

/// Where a password comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PasswordSource {
    /// An environment variable of bleen's process.
    Env(String),
    /// The first line of a file that only its owner can read.
    File(PathBuf),
    /// The first line that a command prints: program and arguments, no shell.
    Command(Vec<String>),
    /// The `password` of a group in an option file (`my.cnf` style).
    OptionFile {
        /// The file.
        path: PathBuf,
        /// The group in it, without brackets.
        group: String,
    },
    /// Typed at the terminal.
    Prompt,
}

/// How a connection is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// No TLS.
    Disabled,
    /// TLS where the server offers it, its certificate unchecked.
    #[default]
    Preferred,
    /// TLS or no connection, the certificate unchecked.
    Required,
    /// TLS with a certificate signed by the authority in this file.
    VerifyCa(PathBuf),
    /// The same, and the certificate is for this very host.
    VerifyIdentity(PathBuf),
}

/// How green follows blue: the account, the road and the place to begin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replication {
    /// The account on blue that green's receiver logs in with.
    pub user: String,
    /// Where its password comes from.
    pub password: PasswordSource,
    /// How green's connection to blue is protected.
    pub tls: Tls,
    /// Host and port under which green reaches blue.
    pub source: (String, u16),
    /// Host and port under which blue reaches green, for the way back; `None` where green is only known by its socket.
    pub way_back: Option<(String, u16)>,
    /// Where green begins.
    pub start: Start,
    /// Whether green's durability may be relaxed when it falls behind. It is put back before promote and on every
    /// other way out of a run.
    pub relax_green: bool,
}

/// Where green's replication begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// By GTID where both sides have it; else a green that already follows blue goes on where it is, and an empty
    /// one begins with blue's first binlog.
    #[default]
    Auto,
    /// At a position of blue's binlog: where the copy on green was taken.
    Binlog {
        /// The binlog file.
        file: String,
        /// The offset in it, in bytes.
        offset: u64,
    },
}

words! {
    /// How writers are held on blue.
    HoldWay {
        /// The first of `lock`, `tables` and `refuse` that the server allows.
        Auto = "auto",
        /// `FLUSH TABLES WITH READ LOCK`: writers wait.
        Lock = "lock",
        /// `LOCK TABLES … READ` on every application table: writers wait.
        Tables = "tables",
        /// Read-only at once: writers are refused for the length of the switch.
        Refuse = "refuse",
    }
}

words! {
    /// What to do with sessions of accounts that write through read-only on blue.
    PrivilegedSessions {
        /// Nothing: the switch is refused while there are any.
        Refuse = "refuse",
        /// They are ended under the hold, and their accounts stay locked until the switch is confirmed.
        End = "end",
    }
}

/// How the writers are moved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Switch {
    /// Longest time from the hold's first statement to promote confirmed.
    pub deadline: Duration,
    /// How long bleen may go on looking for a good moment.
    pub window: Duration,
    /// How many times the hold may be tried in one window.
    pub attempts: u32,
    /// Pause between two attempts.
    pub retry_after: Duration,
    /// How long the hold's statement may wait before it is given up.
    pub hold_wait: Duration,
    /// What the guard waits beyond the lease.
    pub guard_margin: Duration,
    /// How long sessions left on blue may stay idle after the release before they are ended.
    pub idle_grace: Duration,
    /// Age at which an open transaction on blue keeps the hold from being tried.
    pub longest_transaction: Duration,
    /// Age at which a running statement on blue keeps the hold from being tried.
    pub longest_statement: Duration,
    /// How writers are held.
    pub hold: HoldWay,
    /// Whether a SELECT in the way of the hold may be ended.
    pub end_selects: bool,
    /// What to do with sessions that write through read-only.
    pub privileged_sessions: PrivilegedSessions,
    /// Whether a switch goes on where blue cannot follow green.
    pub accept_no_way_back: bool,
}

/// What is watched after the switch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Soak {
    /// How long it is watched.
    pub time: Duration,
    /// How far blue may be behind green.
    pub max_lag: Duration,
}

/// What counts as caught up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lag {
    /// Lag allowed.
    pub limit: Duration,
    /// How long it has to stay under the limit.
    pub observe: Duration,
    /// Interval of the heartbeat: the resolution of lag.
    pub heartbeat: Duration,
    /// How long catching up may take.
    pub catch_up: Duration,
}

/// What has to be equal on both sides.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Validate {
    /// How the rows of both sides are compared; `None` if a switch does not compare them.
    pub data: Option<DataProof>,
    /// Gate queries: those that the playbook spells out.
    pub queries: Vec<GateQuery>,
    /// The statements that applications run on blue; `None` if they are not replayed.
    pub digests: Option<Digests>,
}

/// Which of blue's statements are replayed on both sides, and what is accepted of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Digests {
    /// How many by count, and how many by total time.
    pub top: u32,
    /// How many times as long as on blue a statement may take on green.
    pub max_slowdown: f64,
    /// How long to watch what runs on blue where it keeps no statements with their values.
    pub watch: Duration,
    /// Time for all statements together.
    pub time_limit: Duration,
    /// Statements whose finding is accepted.
    pub waivers: Vec<StatementWaiver>,
}

impl Default for Digests {
    fn default() -> Self {
        Self {
            top: u32::try_from(limits::TOP.default).unwrap_or(u32::MAX),
            max_slowdown: limits::MAX_SLOWDOWN.default,
            watch: limits::WATCH.default,
            time_limit: limits::DIGESTS_LIMIT.default,
            waivers: Vec::new(),
        }
    }
}

/// A statement whose finding is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatementWaiver {
    /// Which one.
    pub statement: Fingerprint,
    /// Why, in the operator's words; shown with the finding.
    pub reason: String,
}

/// How green's buffer pool is warmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warm {
    /// How long it may take.
    pub time_limit: Duration,
}

/// How the rows of both sides are compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataProof {
    /// Patterns of the tables; all if there are none.
    pub tables: Vec<String>,
    /// Patterns of tables that are left out.
    pub exclude: Vec<String>,
    /// Patterns of tables that a switch accepts unproved where they cannot be proved.
    pub accept_unproven: Vec<String>,
    /// Comparisons that run at once.
    pub connections: u32,
    /// Digests of 128 bits instead of 64, where a server cannot make those of 256.
    pub second_half: bool,
    /// Age at which a range is compared again.
    pub again_after: Duration,
    /// The most statements that may run on blue; no limit if there is none.
    pub max_load: Option<u64>,
    /// The most that green may be behind.
    pub max_lag: Duration,
}

impl Default for DataProof {
    fn default() -> Self {
        Self {
            tables: Vec::new(),
            exclude: Vec::new(),
            accept_unproven: Vec::new(),
            connections: u32::try_from(limits::DATA_CONNECTIONS.default).unwrap_or(1),
            second_half: false,
            again_after: limits::AGAIN_AFTER.default,
            max_load: None,
            max_lag: limits::DATA_LAG.default,
        }
    }
}

/// A query whose answers on both sides have to agree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateQuery {
    /// Its name in every output.
    pub name: String,
    /// One reading statement, without a semicolon.
    pub sql: String,
    /// What *agree* means.
    pub compare: Compare,
    /// When it is run.
    pub at: GateMoment,
    /// Longest time on each side.
    pub time_limit: Duration,
}

/// What it means that two answers agree.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// The same rows, whatever their order; repeated rows count.
    Set,
    /// The same rows in the same order.
    Ordered,
    /// One number each, apart by at most this much.
    Scalar {
        /// The largest absolute difference.
        tolerance: f64,
    },
    /// No row on either side.
    NoRows,
}

words! {
    /// When a gate query is run.
    GateMoment {
        /// Before the hold, while traffic runs.
        Gate = "gate",
        /// Under the hold, at the fence position: it counts against the deadline.
        Fence = "fence",
    }
}

/// Step 14 of the protocol.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Routing {
    /// Time for all routes together; after it the hold is released anyway and the rest is debt.
    pub limit: Duration,
    /// What points the traffic at green, in order.
    pub routes: Vec<Route>,
}

/// One thing that points traffic at green.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// A command. A failure is debt: green is already promoted.
    Exec(Exec),
}

/// A command without a shell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exec {
    /// Its name in every output.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Longest run time, after which it is killed and counts as failed.
    pub timeout: Duration,
}

impl Exec {
    /// Returns the call as a plan shows it.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("run {}: {}", self.name, self.command.join(" "))
    }
}

words! {
    /// The moment at which a hook is run.
    HookMoment {
        /// All gates are green; an attempt's first change comes next. The gates are asked again after it.
        BeforeHold = "before_hold",
        /// The run had come to `before_hold`, and ended with blue serving: released, rolled back, or never held.
        AfterRelease = "after_release",
        /// The run ended and green serves.
        AfterSwitch = "after_switch",
    }
}

words! {
    /// What the failure of a hook means.
    HookFailure {
        /// The run stops before the hold. Only possible with `at: before_hold`.
        Abort = "abort",
        /// It is shown and recorded; the run goes on.
        Notify = "notify",
    }
}

/// A command at some other moment than routing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hook {
    /// When.
    pub at: HookMoment,
    /// What.
    pub exec: Exec,
    /// What its failure means.
    pub failure: HookFailure,
}

/// A guardrail whose *stop* is accepted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Waiver {
    /// Which one.
    pub guardrail: GuardrailId,
    /// Why, in the operator's words; shown with the finding.
    pub reason: String,
}

impl Playbook {
    /// Returns a name for these settings that is the same on every machine: 64 hexadecimal digits.
    ///
    /// It covers what the playbook means, with defaults filled in, and not how it is written: comments, order and
    /// spelling of durations do not change it. The journal keeps it.
    #[must_use]
    pub fn hash(&self) -> String {
        // A structure without maps always serialises, and always in the order of its fields.
        let settings = serde_json::to_vec(self).unwrap_or_default();
        let mut hasher = Sha256::new();
        hasher.update(b"bleen playbook 1\n");
        hasher.update(&settings);
        hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Returns the waiver of a guardrail, if the playbook has one.
    #[must_use]
    pub fn waiver(&self, guardrail: GuardrailId) -> Option<&Waiver> {
        self.waivers.iter().find(|waiver| waiver.guardrail == guardrail)
    }
}

impl Endpoint {
    /// Returns the address that answers when connections are used up, if the playbook names one.
    #[must_use]
    pub fn spare_address(&self) -> Option<Address> {
        match &self.address {
            Address::Tcp(host, _) => self
                .extra_port
                .or(self.admin_port)
                .map(|port| Address::Tcp(host.clone(), port)),
            Address::Socket(_) => None,
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}
