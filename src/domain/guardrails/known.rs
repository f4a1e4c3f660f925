//! A value that was read, or why it was not.

use serde::{Deserialize, Serialize};

/// Something a server was asked for. *Unknown* is an answer of its own: it never stands for a default, and it carries
/// the reason, so that a finding can say how to make it known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known<T> {
    /// The server said so.
    Known(T),
    /// It was not asked, may not be asked, or does not say.
    Unknown(String),
}

impl<T> Known<T> {
    /// The value, or why there is none.
    ///
    /// # Errors
    /// The reason of [`Known::Unknown`].
    pub fn get(&self) -> Result<&T, &str> {
        match self {
            Self::Known(value) => Ok(value),
            Self::Unknown(why) => Err(why),
        }
    }

    /// The value, if it is known.
    pub fn value(&self) -> Option<&T> {
        self.get().ok()
    }

    /// The same with another value in it.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Known<U> {
        match self {
            Self::Known(value) => Known::Known(change(value)),
            Self::Unknown(why) => Known::Unknown(why),
        }
    }
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self::Unknown("it was not read".to_owned())
    }
}

impl<T, E: std::fmt::Display> From<Result<T, E>> for Known<T> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::Known(value),
            Err(error) => Self::Unknown(error.to_string()),
        }
    }
}
