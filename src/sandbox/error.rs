//! What can go wrong in the sandbox, in words a person can act on.
//!
//! Must not know the command line: exit codes are chosen there.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// A failure of the sandbox. Each says what was tried and, where there is one, the remedy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The name is none of the servers this sandbox knows.
    #[error("unknown server `{name}`; known are {known}{}", hint.as_ref().map(|h| format!(" (did you mean `{h}`?)")).unwrap_or_default())]
    UnknownServer {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
        /// The nearest name, when one is near.
        hint: Option<String>,
    },
    /// Blue is newer than green, or the two cannot replicate.
    #[error("{blue} cannot be blue to {green}: {why}")]
    PairNotPossible {
        /// Blue as asked for.
        blue: String,
        /// Green as asked for.
        green: String,
        /// The reason.
        why: String,
    },
    /// `--server DIR` holds no server program that can be used.
    #[error("no usable server in {}: {why}", dir.display())]
    NotInDirectory {
        /// The directory as given.
        dir: PathBuf,
        /// What was looked for or found.
        why: String,
    },
    /// The server could not be fetched. `what` says which step, `words` are the other program's own.
    #[error("cannot fetch {server}: {what}{}\nhint: {remedy}", quote_words(words))]
    Fetch {
        /// Catalogue name.
        server: String,
        /// Which step failed.
        what: String,
        /// The last lines of apt, dpkg or npm.
        words: String,
        /// How to supply the server by hand.
        remedy: String,
        /// What kind of failure it was, for callers that treat some differently.
        kind: FetchFailure,
    },
    /// The server ended, or did not answer in time, while it was started.
    #[error("{server} did not start: {why}{}", quote_words(log))]
    Start {
        /// Name and version.
        server: String,
        /// What was seen.
        why: String,
        /// Last lines of the server's error log.
        log: String,
    },
    /// The server did not end in the time allowed.
    #[error("{server} (process {pid}) did not end within {}", humantime::format_duration(*limit))]
    Stop {
        /// Name and version.
        server: String,
        /// Its process id.
        pid: u32,
        /// The limit.
        limit: Duration,
    },
    /// Something was not finished in its time.
    #[error("{what} took longer than {}", humantime::format_duration(*limit))]
    TooSlow {
        /// What was waited for.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// A file or a process of the operating system.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A server answered a statement of the sandbox with an error.
    #[error("{what}: {source}")]
    Sql {
        /// What was tried.
        what: String,
        /// The server's or the driver's answer.
        #[source]
        source: mysql_async::Error,
    },
}

/// Why a fetch failed, as far as it changes what may be tried next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchFailure {
    /// A program that fetching needs (apt-get, dpkg-deb, npm, the archive's keys) is not on this machine.
    MissingTool,
    /// The archive could not be reached, or does not have it.
    Unreachable,
    /// A signature is missing or wrong: nothing further is tried.
    BadSignature,
    /// The archive's Release file is past its date.
    Expired,
    /// The packages do not resolve, are not those that were signed for, or do not unpack.
    Broken,
}

impl SandboxError {
    /// Wraps an I/O error with what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Wraps a driver's error with what was tried.
    pub(crate) fn sql(what: impl Into<String>) -> impl FnOnce(mysql_async::Error) -> Self {
        let what = what.into();
        move |source| Self::Sql { what, source }
    }
}

/// Another program's words, set apart from ours; nothing when there are none.
fn quote_words(words: &str) -> String {
    if words.trim().is_empty() {
        return String::new();
    }
    let mut out = String::new();
    for line in words.trim().lines() {
        out.push_str("\n  | ");
        out.push_str(line);
    }
    out
}

/// The last `n` lines of a text.
pub(crate) fn last_lines(text: &str, n: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(n)..].join("\n")
}
