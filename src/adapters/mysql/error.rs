//! What can go wrong with a statement, and what is known afterwards.
//!
//! The question that matters is never only "did it fail" but "may it have taken effect, may it still run": a lost
//! connection or a client's timeout leaves a statement *unknown* (DESIGN I6).

use std::fmt;

use crate::domain::ids::Side;

/// Why a statement has no answer, or a bad one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The server cannot be reached or refused the connection before a statement was sent.
    Unreachable(String),
    /// The server refused the login (1045, 1044, 1698, plugin or TLS trouble): nothing was sent.
    LoginRefused(String),
    /// The server answered with an error: the statement has ended and did not do what it was to do.
    Refused {
        /// The server's error number.
        code: u16,
        /// Its words.
        message: String,
    },
    /// The connection was lost after the statement was sent. It may have taken effect and may still run.
    Lost(String),
    /// No answer within the time given. It may have taken effect and may still run.
    TimedOut(std::time::Duration),
    /// The answer is not of the form that was asked for.
    Unexpected(String),
    /// The answer holds more bytes than may be read.
    TooLarge(usize),
    /// Another bleen has taken this run over or ended it; nothing was sent.
    TakenOver(String),
    /// Another server answers at the address than when the command, or the run, began; nothing else was sent to it.
    OtherServer {
        /// Which one it was.
        expected: String,
        /// Which one it is.
        now: String,
    },
}

/// A statement or a connection that failed: what was being done, where, and what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// Which side of the pair.
    pub side: Side,
    /// `host:port` or the socket's path.
    pub server: String,
    /// A verb and its object: "read the replication status".
    pub doing: String,
    /// What was seen.
    pub cause: Cause,
}

impl ServerError {
    /// Whether the statement may have taken effect or may still run.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(
            self.cause,
            Cause::Lost(_) | Cause::TimedOut(_) | Cause::TooLarge(_) | Cause::Unexpected(_)
        )
    }

    /// The server's error number, if it answered with one.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self.cause {
            Cause::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "cannot be reached: {why}"),
            Self::LoginRefused(why) => write!(f, "refused the login: {why}"),
            Self::Refused { code, message } => write!(f, "error {code}: {message}"),
            Self::Lost(why) => write!(f, "connection lost, the statement may have taken effect: {why}"),
            Self::TimedOut(after) => {
                write!(
                    f,
                    "no answer within {}, the statement may still run",
                    humantime::format_duration(*after)
                )
            }
            Self::Unexpected(what) => write!(f, "unexpected answer: {what}"),
            Self::TooLarge(bytes) => write!(f, "the answer holds more than {bytes} bytes"),
            Self::TakenOver(how) => write!(f, "{how}"),
            Self::OtherServer { expected, now } => {
                write!(
                    f,
                    "another server answers there now: `{now}`, and before it was `{expected}`; nothing is changed on it"
                )
            }
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} on {} ({}): {}",
            self.doing, self.side, self.server, self.cause
        )
    }
}

impl std::error::Error for ServerError {}
