//! The keys of a playbook as they are written, each with its place in the text.
//!
//! The doc comments here are what an editor shows: they go into the JSON Schema. Defaults and ranges are added to them
//! from `limits.rs`. Nothing is checked here beyond shape; that is `check.rs`.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::decode::{At, Decode, Entries, at, choice, mismatch, section, tagged};
use super::diagnostics::{Problems, did_you_mean};
use super::model::{GateMoment, HoldWay, HookFailure, HookMoment, PrivilegedSessions};
use super::tree::{Node, Value};

/// A duration with its unit, as humantime reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub(super) Duration);

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["500ms", "10s", "1h 30m"] })
    }
}

impl Decode for Span {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::Text(text) => match humantime::parse_duration(text) {
                Ok(duration) => return Some(Self(duration)),
                Err(_) => problems.add(node.span, not_a_duration(text)),
            },
            Value::Int(number) if *number >= 0 => {
                problems.add(
                    node.span,
                    format!("a duration needs a unit; write `{number}s` or `{number}ms`"),
                );
            }
            _ => mismatch(node, "a duration such as `10s`", problems),
        }
        None
    }
}

fn not_a_duration(text: &str) -> String {
    let number: String = text.chars().take_while(char::is_ascii_digit).collect();
    if number.is_empty() {
        "not a duration; write one such as `500ms`, `10s` or `1h 30m`".to_owned()
    } else {
        format!("not a duration; did you mean `{number}s`? units: ms, s, m, h, days")
    }
}

section! {
    /// A bleen playbook: one pair of database servers, and how its writers are moved from blue to green.
    File {
        required {
            /// Version of the playbook format. Always 1.
            version: u64,
            /// Name of the pair: letters, digits, `-`, `_` and `.`, at most 40. `--confirm` asks for it.
            name: String,
            /// The server that serves writes now.
            blue: Server,
            /// The server that will serve writes. No older than blue.
            green: Server,
            /// How green follows blue, with an account of its own.
            replication: ReplicationKeys,
        }
        optional {
            /// A label such as `production`, shown wherever the pair is.
            environment: String,
            /// Every command that changes something wants `--confirm NAME`, not only `switch` and `run`.
            /// Default false.
            protected: bool,
            /// How the writers are moved.
            switch: SwitchKeys,
            /// What counts as caught up.
            lag: LagKeys,
            /// What is watched after the switch.
            soak: SoakKeys,
            /// What has to be equal on both sides.
            validate: ValidateKeys,
            /// Before the hold, the statements of `validate.digests` are replayed on green until its buffer pool answers them.
            /// No default: without this key nothing is warmed.
            warm: WarmKeys,
            /// What points the traffic at green once it is promoted.
            routing: RoutingKeys,
            /// Commands run at other moments of the switch, in order.
            hooks: Vec<At<HookKind>>,
            /// Guardrails whose stop is accepted; each stays on screen as a warning.
            waivers: Vec<At<WaiverKeys>>,
        }
    }
}

section! {
    /// One server and the account that bleen uses there.
    Server {
        required {
            /// Name of bleen's account on this server.
            user: String,
            /// Where its password comes from. Never the password itself.
            password: Password,
        }
        optional {
            /// Host name or IP address. Either this or `socket`.
            host: String,
            /// Port. Default 3306.
            port: u64,
            /// Path of the server's Unix socket. Either this or `host`.
            socket: String,
            /// MariaDB's `extra_port`, used when `max_connections` is used up.
            extra_port: u64,
            /// MySQL's `admin_port`, used when `max_connections` is used up.
            admin_port: u64,
            /// How the connection is protected. Default preferred.
            tls: TlsKeys,
        }
    }
}

choice! {
    /// Where a password comes from. Never the password itself.
    PasswordFrom {
        /// An environment variable of bleen's process.
        Env = "env"(String),
        /// A file that only its owner can read; its first line is the password.
        File = "file"(String),
        /// A command, as a list of program and arguments, run without a shell; the first line it prints is the
        /// password.
        Command = "command"(Vec<At<String>>),
        /// The `password` of a group in an option file (my.cnf style).
        OptionFile = "option_file"(OptionFileKeys),
        /// Ask at the terminal.
        Prompt = "prompt",
    }
}

/// [`PasswordFrom`], with words of its own for the one mistake that must not be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Password(pub(super) PasswordFrom);

impl JsonSchema for Password {
    fn schema_name() -> Cow<'static, str> {
        PasswordFrom::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        PasswordFrom::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        PasswordFrom::json_schema(generator)
    }
}

impl Decode for Password {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let is_inline = match &node.value {
            Value::Text(text) => text != "prompt",
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => true,
            Value::Null | Value::List(_) | Value::Map(_) => false,
        };
        if is_inline {
            problems.add(
                node.span,
                "a password never stands in a playbook; say where it comes from: `{ env: NAME }`, \
                 `{ file: PATH }`, `{ command: [...] }`, `{ option_file: {...} }` or `prompt`",
            );
            return None;
        }
        PasswordFrom::decode(node, problems).map(Self)
    }
}

section! {
    /// A group in an option file.
    OptionFileKeys {
        required {
            /// The file, readable by its owner only.
            path: String,
        }
        optional {
            /// The group, without brackets. Default client.
            group: String,
        }
    }
}

choice! {
    /// How a connection is protected.
    TlsKeys {
        /// No TLS.
        Disabled = "disabled",
        /// TLS where the server offers it; its certificate is not checked.
        Preferred = "preferred",
        /// TLS or no connection; the certificate is not checked.
        Required = "required",
        /// TLS with a certificate signed by the authority in this PEM file.
        VerifyCa = "verify_ca"(String),
        /// As verify_ca, and the certificate must be for this very host.
        VerifyIdentity = "verify_identity"(String),
    }
}

section! {
    /// How green follows blue.
    ReplicationKeys {
        required {
            /// Name of the account on blue that green logs in with. Not bleen's own.
            user: String,
            /// Where its password comes from. Never the password itself.
            password: Password,
        }
        optional {
            /// How green's connection to blue is protected. Default: as blue's own `tls`.
            tls: TlsKeys,
            /// Host and port under which green reaches blue, where that is not blue's own `host` and `port`.
            source: SourceKeys,
            /// Host and port under which blue reaches green, for the way back, where that is not green's own `host` and
            /// `port`. The account is the same one; it has to be on green, too.
            way_back: SourceKeys,
            /// Where green begins. Default auto.
            start: StartKeys,
            /// Green's durability may be relaxed when it falls behind (it is put back before promote and on every other
            /// way out of a run). Default false.
            relax_green: bool,
        }
    }
}

section! {
    /// An address of one server as the other sees it.
    SourceKeys {
        required {
            /// Host name or IP address.
            host: String,
        }
        optional {
            /// Port. Default 3306.
            port: u64,
        }
    }
}

choice! {
    /// Where green's replication begins.
    StartKeys {
        /// By GTID where both sides have it. Else a green that already follows blue goes on where it is, and an empty
        /// green begins with blue's first binlog.
        Auto = "auto",
        /// At a position of blue's binlog: where the copy on green was taken.
        Binlog = "binlog"(BinlogKeys),
    }
}

section! {
    /// A position in a binlog.
    BinlogKeys {
        required {
            /// The binlog file, such as mysql-bin.000042.
            file: String,
            /// The offset in it, in bytes; 4 is a file's beginning.
            offset: u64,
        }
    }
}

section! {
    /// How the writers are moved.
    SwitchKeys {
        optional {
            /// Longest time from the hold's first statement to green confirmed writable. If it is missed, blue goes on
            /// serving.
            deadline: Span,
            /// How long bleen may go on looking for a good moment to hold.
            window: Span,
            /// How many times the hold may be tried in one window.
            attempts: u64,
            /// Pause between two attempts.
            retry_after: Span,
            /// How long the hold's statement may wait for its lock before it is given up and tried again later. Writers
            /// wait with it.
            hold_wait: Span,
            /// What the guard waits beyond the deadline before it frees blue by itself.
            guard_margin: Span,
            /// How long sessions left on blue may stay idle after a switch before they are ended.
            idle_grace: Span,
            /// Age at which an open transaction on blue keeps the hold from being tried.
            longest_transaction: Span,
            /// Age at which a running statement on blue keeps the hold from being tried.
            longest_statement: Span,
            /// How writers are held on blue. Default auto.
            hold: HoldWay,
            /// A SELECT in the way of the hold may be ended. Default false.
            end_selects: bool,
            /// What to do with sessions of accounts that write through read-only on blue. Default refuse.
            privileged_sessions: PrivilegedSessions,
            /// A switch goes on although blue cannot follow green, so that what is written after it is lost on the way back.
            /// Default false.
            accept_no_way_back: bool,
        }
    }
}

section! {
    /// What counts as caught up.
    LagKeys {
        optional {
            /// Lag allowed before a hold is tried.
            limit: Span,
            /// How long lag has to stay under its limit.
            observe: Span,
            /// Interval of the heartbeat; the resolution with which lag is known.
            heartbeat: Span,
            /// How long catching up may take before bleen gives up.
            catch_up: Span,
        }
    }
}

section! {
    /// What is watched after the switch, while going back loses nothing.
    SoakKeys {
        optional {
            /// How long `bleen soak` watches.
            time: Span,
            /// How far blue may be behind green before that is an alarm.
            max_lag: Span,
        }
    }
}

section! {
    /// What has to be equal on both sides.
    ValidateKeys {
        optional {
            /// The rows of both sides are compared, and a switch waits until all are proved equal. Without it rows are not
            /// compared by a switch. `{}` is enough.
            data: DataKeys,
            /// Queries that are run on both sides, in read-only transactions, and have to agree.
            queries: Vec<At<QueryKeys>>,
            /// The statements that applications run on blue, replayed on both sides in read-only transactions: no
            /// other answer, no error and no slower on green. No default: without this key nothing is replayed.
            digests: DigestKeys,
        }
    }
}

section! {
    /// The statements that applications run on blue, replayed on both sides.
    DigestKeys {
        optional {
            /// How many statements by count, and how many by the time that they take together.
            top: u64,
            /// How many times as long as on blue a statement may take on green. Less than 5 ms more never counts.
            max_slowdown: f64,
            /// How long to watch what runs on blue where it keeps no statements with their values: MariaDB above all.
            watch: Span,
            /// Time for all statements together. What is not reached is told as not comparable.
            time_limit: Span,
            /// Statements whose finding is accepted; each stays on screen as a warning.
            waivers: Vec<At<StatementWaiverKeys>>,
        }
    }
}

section! {
    /// A statement whose finding is accepted.
    StatementWaiverKeys {
        required {
            /// The statement's fingerprint, as every output shows it.
            statement: String,
            /// Why; shown with the finding.
            reason: String,
        }
    }
}

section! {
    /// How green's buffer pool is warmed.
    WarmKeys {
        optional {
            /// How long it may take. It ends earlier when reads from disk no longer fall.
            time_limit: Span,
        }
    }
}

section! {
    /// How the rows of both sides are compared.
    DataKeys {
        optional {
            /// Only these tables: `schema.table`, with `*` for any text. Default all.
            tables: Vec<At<String>>,
            /// Not these tables. Default none.
            exclude: Vec<At<String>>,
            /// Tables that a switch accepts unproved where they cannot be proved: another engine, a column that one side lacks. Default none.
            accept_unproven: Vec<At<String>>,
            /// Comparisons that run at once, each with a session on both sides.
            connections: u64,
            /// Digests of 128 bits instead of 64, where a server cannot make those of 256. Default false.
            second_half: bool,
            /// Age at which a range of rows is compared again.
            again_after: Span,
            /// Comparing pauses while more statements than this run on blue. Default no limit.
            max_load: u64,
            /// Comparing pauses while green is further behind.
            max_lag: Span,
        }
    }
}

section! {
    /// A query whose answers on both sides have to agree.
    QueryKeys {
        required {
            /// Its name in every output.
            name: String,
            /// One reading statement, without a semicolon.
            sql: String,
        }
        optional {
            /// What it means that the answers agree. Default set.
            compare: CompareKeys,
            /// When it is run. Default gate.
            at: GateMoment,
            /// Longest time on each side.
            time_limit: Span,
        }
    }
}

choice! {
    /// What it means that two answers agree.
    CompareKeys {
        /// The same rows, whatever their order; repeated rows count.
        Set = "set",
        /// The same rows in the same order.
        Ordered = "ordered",
        /// One number each, apart by at most the tolerance.
        Scalar = "scalar"(ScalarKeys),
        /// No row on either side.
        NoRows = "no_rows",
    }
}

section! {
    /// How far apart two numbers may be.
    ScalarKeys {
        required {
            /// The largest absolute difference; 0 for none.
            tolerance: f64,
        }
    }
}

section! {
    /// What points the traffic at green once it is promoted.
    RoutingKeys {
        optional {
            /// Time for all routes together. After it the writers waiting on blue are released anyway, and what is left
            /// is debt.
            limit: Span,
            /// The routes, in order.
            routes: Vec<At<RouteKind>>,
        }
    }
}

choice! {
    /// One thing that points traffic at green.
    RouteKind {
        /// A command. Green is already promoted, so its failure is debt and never undoes the switch.
        Exec = "exec"(RouteExec),
    }
}

section! {
    /// A command that points traffic at green.
    RouteExec {
        required {
            /// Program and arguments; no shell.
            command: Vec<At<String>>,
        }
        optional {
            /// Its name in every output. Default: the program's name.
            name: String,
            /// Longest run time. Default: the limit of all routes.
            timeout: Span,
        }
    }
}

choice! {
    /// A hook.
    HookKind {
        /// A command.
        Exec = "exec"(HookExec),
    }
}

section! {
    /// A command run at some moment of the switch.
    HookExec {
        required {
            /// When it is run.
            at: HookMoment,
            /// Program and arguments; no shell.
            command: Vec<At<String>>,
        }
        optional {
            /// Its name in every output. Default: the program's name.
            name: String,
            /// Longest run time.
            timeout: Span,
            /// What its failure means. Default notify.
            failure: HookFailure,
        }
    }
}

section! {
    /// A guardrail whose stop is accepted.
    WaiverKeys {
        required {
            /// The guardrail's id.
            guardrail: GuardrailName,
            /// Why; shown with the finding.
            reason: String,
        }
    }
}

/// The id of a guardrail that may be waived; which ids those are is checked later.
#[derive(Clone, Debug, PartialEq)]
pub struct GuardrailName(pub(super) String);

impl JsonSchema for GuardrailName {
    fn schema_name() -> Cow<'static, str> {
        "guardrail".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        use crate::domain::guardrail_ids::{ALL, Waivable};
        let waivable: Vec<_> = ALL
            .iter()
            .filter(|(_, may)| *may != Waivable::No)
            .map(|(id, _)| id.as_str())
            .collect();
        json_schema!({ "type": "string", "enum": waivable })
    }
}

impl Decode for GuardrailName {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        String::decode(node, problems).map(Self)
    }
}

/// Finds the section in which a key, or one that is written much like it, is known.
pub(super) fn home_of(name: &str) -> Option<(&'static str, &'static str)> {
    let sections: [(&'static str, &'static [&'static str]); 9] = [
        ("switch", SwitchKeys::KEYS),
        ("lag", LagKeys::KEYS),
        ("soak", SoakKeys::KEYS),
        ("replication", ReplicationKeys::KEYS),
        ("validate", ValidateKeys::KEYS),
        ("validate.digests", DigestKeys::KEYS),
        ("warm", WarmKeys::KEYS),
        ("routing", RoutingKeys::KEYS),
        ("blue` and `green", Server::KEYS),
    ];
    sections
        .into_iter()
        .find_map(|(section, keys)| Some((section, did_you_mean(name, keys.iter().copied())?)))
}
