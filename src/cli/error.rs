//! What a person is told when a command could not do its work: what was being done, where, what was seen, what has
//! changed so far, and what to do next.

use super::exit::ErrorKind;
use crate::adapters::mysql::error::{Cause, ServerError};
use crate::adapters::proof::NotBegun;
use crate::adapters::secrets::SecretError;
use crate::playbook::Diagnostics;

/// The words for the usual case.
pub const NOTHING_CHANGED: &str = "nothing has changed";

/// An error with everything that a person needs. No field ever holds a secret.
#[derive(Debug)]
pub struct CliError {
    /// Decides the exit code.
    pub kind: ErrorKind,
    /// A verb and its object that reads after "failed to": ``read `shop.yaml` ``.
    pub doing: Box<str>,
    /// The server on which it was done, with its side: `blue (db:3306)`.
    pub server: Option<Box<str>>,
    /// What was seen: a lowercase fragment without a full stop.
    pub seen: String,
    /// What has changed so far.
    pub changed: String,
    /// What to do next, one line each, without a full stop.
    pub hints: Vec<String>,
    /// The problems of a playbook; drawn instead of the one-line message.
    pub diagnostics: Option<Box<Diagnostics>>,
}

impl CliError {
    /// Makes an error of a command that has changed nothing.
    #[must_use]
    pub fn new(kind: ErrorKind, doing: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            kind,
            doing: doing.into().into_boxed_str(),
            server: None,
            seen: seen.into(),
            changed: NOTHING_CHANGED.to_owned(),
            hints: Vec::new(),
            diagnostics: None,
        }
    }

    /// Adds a line that says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Says what has changed so far, in place of "nothing has changed".
    #[must_use]
    pub fn changed(mut self, changed: impl Into<String>) -> Self {
        self.changed = changed.into();
        self
    }

    /// Makes an error of a password that could not be fetched. `whose` as in `bleen's password on blue`.
    #[must_use]
    pub fn secret(whose: &str, error: &SecretError) -> Self {
        Self::new(ErrorKind::NotReady, format!("fetch {whose}"), error.to_string()).hint(error.hint())
    }
}

impl From<Diagnostics> for CliError {
    fn from(diagnostics: Diagnostics) -> Self {
        let doing = format!("read `{}`", diagnostics.file_name);
        let mut error = Self::new(ErrorKind::PlaybookInvalid, doing, diagnostics.to_string());
        error.diagnostics = Some(Box::new(diagnostics));
        error
    }
}

impl From<NotBegun> for CliError {
    fn from(why: NotBegun) -> Self {
        match why {
            NotBegun::Server(error) => error.into(),
            NotBegun::Cannot(why) => Self::new(ErrorKind::NotReady, "begin to compare blue and green", why),
        }
    }
}

impl From<ServerError> for CliError {
    /// For a command that has changed nothing; others add [`CliError::changed`].
    fn from(error: ServerError) -> Self {
        let kind = match &error.cause {
            Cause::Unreachable(_) | Cause::LoginRefused(_) | Cause::Lost(_) | Cause::TimedOut(_) => {
                ErrorKind::Unreachable
            }
            Cause::Refused { .. } | Cause::OtherServer { .. } => ErrorKind::NotReady,
            Cause::TakenOver(_) => ErrorKind::Locked,
            Cause::Unexpected(_) | Cause::TooLarge(_) => ErrorKind::Internal,
        };
        let hint = match &error.cause {
            Cause::Unreachable(_) => Some("check host, port and firewall, and that the server runs"),
            Cause::LoginRefused(why)
                if ["TLS", "SSL", "certificate"]
                    .iter()
                    .any(|word| why.contains(word)) =>
            {
                Some("check the `tls` of this server in the playbook, and its certificate")
            }
            Cause::LoginRefused(_) => {
                Some("check user, password and `tls` in the playbook; `bleen grants` prints the accounts")
            }
            Cause::Refused {
                code: 1044 | 1045 | 1142 | 1143 | 1227 | 1370,
                ..
            } => Some("the account lacks a right; `bleen grants` prints the statements that give it"),
            Cause::OtherServer { .. } => {
                Some("see who moved the address, and begin again; `bleen resume` ends what is unfinished")
            }
            Cause::Refused { .. }
            | Cause::Lost(_)
            | Cause::TimedOut(_)
            | Cause::Unexpected(_)
            | Cause::TooLarge(_)
            | Cause::TakenOver(_) => None,
        };
        let server = Some(format!("{} ({})", error.side, error.server).into_boxed_str());
        let built = Self {
            server,
            ..Self::new(kind, error.doing, error.cause.to_string())
        };
        match hint {
            Some(hint) => built.hint(hint),
            None => built,
        }
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "failed to {}", self.doing)?;
        if let Some(server) = &self.server {
            write!(f, " on {server}")?;
        }
        write!(f, ": {}", self.seen)?;
        if !self.changed.is_empty() {
            write!(f, "; {}", self.changed)?;
        }
        Ok(())
    }
}

impl std::error::Error for CliError {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::ids::Side;

    #[test]
    fn an_error_says_what_where_seen_changed_and_next() {
        let error = CliError::from(ServerError {
            side: Side::Green,
            server: "db-2:3306".to_owned(),
            doing: "open the watch session".to_owned(),
            cause: Cause::LoginRefused("error 1045: Access denied".to_owned()),
        });
        assert_eq!(error.kind, ErrorKind::Unreachable);
        assert_eq!(
            error.to_string(),
            "failed to open the watch session on green (db-2:3306): refused the login: error 1045: Access denied; \
             nothing has changed"
        );
        assert!(error.hints[0].contains("bleen grants"));
    }

    #[test]
    fn a_lost_answer_is_not_called_a_refusal() {
        let error = CliError::from(ServerError {
            side: Side::Blue,
            server: "s".to_owned(),
            doing: "x".to_owned(),
            cause: Cause::TimedOut(Duration::from_secs(1)),
        })
        .changed("blue is held");
        assert!(
            error.to_string().ends_with("may still run; blue is held"),
            "{error}"
        );
    }
}
