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

    /// A new run's id: UTC to the second, and a tail that tells two runs of one second apart.
    ///
    /// `seconds` since 1970; of `tail` the lowest 24 bits are used.
    #[must_use]
    pub fn at(seconds: u64, tail: u64) -> Self {
        let days = seconds / 86_400;
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        Self(format!(
            "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z-{:06x}",
            tail & 0xff_ffff
        ))
    }

    /// The text as it stands in journals and statements.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Year, month and day of a number of days since 1970-01-01 (Gregorian; Howard Hinnant, "chrono-compatible low-level
/// date algorithms", for dates after 1970).
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
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
    fn a_run_id_begins_with_its_time() {
        assert_eq!(
            RunId::at(1_795_470_060, 0x1_0009_f3a6).as_str(),
            "20261123T214100Z-09f3a6"
        );
        assert_eq!(RunId::at(951_782_400, 0).as_str(), "20000229T000000Z-000000");
        assert!(RunId::new(RunId::at(0, 0).as_str()).is_ok());
    }

    #[test]
    fn a_run_id_cannot_end_a_comment() {
        assert!(RunId::new("20261123T214100Z-9f3a6c").is_ok());
        for bad in ["", "a*/b", "a b", "x'y", &"a".repeat(41)] {
            assert!(RunId::new(bad).is_err(), "{bad}");
        }
    }
}
