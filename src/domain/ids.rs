//! Names and numbers with an identity: which side, which run, which epoch.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the two sides of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The cluster that serves writes now.
    Blue,
    /// The cluster that will serve them.
    Green,
}

impl Side {
    /// The other one of the two.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Blue => Self::Green,
            Self::Green => Self::Blue,
        }
    }

    /// The word used in every output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Identifies one run of bleen: a UTC stamp to the second and a random tail, `20261123T214100Z-9f3a6c`.
///
/// It stands in the journal's directory name, in the connection attributes and statement comments of every session,
/// and in the epoch row. Only ASCII letters, digits and `-`, at most 40 characters: it is put into statements.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// A run id that has other characters than letters, digits and `-`, is empty, or is longer than 40.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a run id: 1 to 40 ASCII letters, digits and `-`")]
pub struct NotARunId(pub String);

impl RunId {
    /// Longest run id that fits the columns of bleen's own schema.
    pub const MAX_LENGTH: usize = 40;

    /// Checks the characters and the length.
    ///
    /// # Errors
    /// [`NotARunId`] for anything that could not safely stand in a statement's comment.
    pub fn new(text: impl Into<String>) -> Result<Self, NotARunId> {
        let text = text.into();
        let fits = !text.is_empty() && text.len() <= Self::MAX_LENGTH;
        if fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            Ok(Self(text))
        } else {
            Err(NotARunId(text))
        }
    }

    /// The text as it stands in journals and statements.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = NotARunId;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_cannot_end_a_comment() {
        assert!(RunId::new("20261123T214100Z-9f3a6c").is_ok());
        for bad in ["", "a*/b", "a b", "x'y", &"a".repeat(41)] {
            assert!(RunId::new(bad).is_err(), "{bad}");
        }
    }
}
