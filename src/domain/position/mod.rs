//! What a server has executed, and whether one server has executed all that another has.

mod gtid_list;
mod gtid_set;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use gtid_list::GtidList;
pub use gtid_set::GtidSet;

/// Text that a server sent as a position and that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}")]
pub struct NotAPosition {
    /// What it should have been.
    pub what: &'static str,
    /// The text, cut to 200 characters.
    pub text: String,
}

impl NotAPosition {
    fn new(what: &'static str, text: &str) -> Self {
        Self {
            what,
            text: text.chars().take(200).collect(),
        }
    }
}

/// What a server has executed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// MySQL: a set of global transaction ids.
    GtidSet(GtidSet),
    /// MariaDB: the last transaction of each domain.
    GtidList(GtidList),
    /// A binlog file's name and an offset in it, where GTIDs are off.
    File(FilePosition),
}

/// A place in one server's binlog. Only comparable with places of the same server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FilePosition {
    /// `binlog.000042`. Ordered by name, which holds while the number's width does not change.
    pub file: String,
    /// Bytes from the start of the file.
    pub offset: u64,
}

impl FilePosition {
    /// Whether this place is at `other` or after it. The number of a file grows a digit after `999999`.
    #[must_use]
    pub fn has_reached(&self, other: &Self) -> bool {
        (self.file.len(), self) >= (other.file.len(), other)
    }
}

impl Position {
    /// Whether a server at `self` has executed everything that `other` names. `None` if they are of different kinds.
    #[must_use]
    pub fn contains(&self, other: &Self) -> Option<bool> {
        match (self, other) {
            (Self::GtidSet(a), Self::GtidSet(b)) => Some(a.contains(b)),
            (Self::GtidList(a), Self::GtidList(b)) => Some(a.contains(b)),
            (Self::File(a), Self::File(b)) => Some(a.has_reached(b)),
            _ => None,
        }
    }
}

impl fmt::Display for FilePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GtidSet(set) => set.fmt(f),
            Self::GtidList(list) => list.fmt(f),
            Self::File(place) => place.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_positions_compare_within_a_server() {
        let at = |file: &str, offset| {
            Position::File(FilePosition {
                file: file.into(),
                offset,
            })
        };
        assert_eq!(at("b.000002", 4).contains(&at("b.000001", 900)), Some(true));
        assert_eq!(at("b.000001", 4).contains(&at("b.000001", 5)), Some(false));
        // After 999999 the number grows a digit.
        assert_eq!(at("b.1000000", 4).contains(&at("b.999999", 5)), Some(true));
        assert_eq!(
            at("b.1", 4).contains(&Position::GtidSet(GtidSet::default())),
            None
        );
    }
}
