//! Whether green may follow blue from where it stands: it must hold a consistent copy whose place in blue's history is
//! known, or be empty while blue still has its whole history.
//!
//! Replication started from a wrong place does not always fail: rows can be missing without an error. So a doubt is a
//! refusal, never a try.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::capabilities::PositionKind;
use super::position::{FilePosition, GtidList, GtidSet};

/// Where replication begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// By GTID: green says what it has, blue sends the rest.
    Gtid,
    /// At this place of blue's binlog.
    At(FilePosition),
}

/// What both sides have, as it bears on the start. Green is read first and blue afterwards, so that what blue commits
/// in between does not look like something of green's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histories {
    /// Green: user schemas that have tables, as `schema (3 tables)`.
    pub green_schemas: Vec<String>,
    /// Green, GTID sets: everything executed.
    pub green_executed: GtidSet,
    /// Green, GTID lists: what was applied.
    pub green_applied: GtidList,
    /// Green, GTID lists: transactions written on green itself that blue's binlog does not know, as texts.
    pub green_own: Vec<String>,
    /// Blue, GTID sets: everything executed.
    pub blue_executed: GtidSet,
    /// Blue, GTID sets: executed and no longer in its binlogs.
    pub blue_purged: GtidSet,
    /// Blue, GTID lists: the end of its binlog.
    pub blue_written: GtidList,
    /// Blue, GTID lists: where its oldest binlog file begins.
    pub blue_oldest: GtidList,
    /// Blue's binlog files, oldest first.
    pub blue_files: Vec<String>,
    /// The place that the operator named for the copy on green, where GTIDs are off.
    pub told_start: Option<FilePosition>,
}

/// Why green may not follow from where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inconsistent {
    /// Blue writes no binlog.
    NoBinlog,
    /// Green has tables, and nothing says which moment of blue they are a copy of.
    UnknownCopy(Vec<String>),
    /// Green needs transactions that blue has purged; which, as far as is known.
    Purged(String),
    /// Green executed transactions that blue did not.
    Errant(String),
    /// Blue does not have the binlog file that the operator named.
    NoSuchFile(String),
}

impl fmt::Display for Inconsistent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBinlog => f.write_str("blue writes no binlog"),
            Self::UnknownCopy(schemas) => write!(
                f,
                "green has tables ({}) and nothing says which moment of blue they are a copy of",
                schemas.join(", ")
            ),
            Self::Purged(what) => write!(f, "green needs transactions that blue has purged: {what}"),
            Self::Errant(what) => write!(f, "green executed transactions that blue did not: {what}"),
            Self::NoSuchFile(file) => write!(f, "blue has no binlog file `{file}`"),
        }
    }
}

impl std::error::Error for Inconsistent {}

/// Decides where green may start, or why it may not.
///
/// # Errors
/// [`Inconsistent`], naming what is missing or too much.
pub fn judge(kind: PositionKind, seen: &Histories) -> Result<Start, Inconsistent> {
    let Some(oldest_file) = seen.blue_files.first() else {
        return Err(Inconsistent::NoBinlog);
    };
    let holds_tables = !seen.green_schemas.is_empty();
    let unknown = || Inconsistent::UnknownCopy(seen.green_schemas.clone());
    let incomplete = || {
        Inconsistent::Purged(format!(
            "green is empty and blue's oldest binlog file is `{oldest_file}`, not the first"
        ))
    };
    match kind {
        PositionKind::GtidSet => {
            let errant = seen.green_executed.minus(&seen.blue_executed);
            if !errant.is_empty() {
                return Err(Inconsistent::Errant(errant.to_string()));
            }
            if seen.green_executed.is_empty() && holds_tables {
                return Err(unknown());
            }
            let missing = seen.blue_purged.minus(&seen.green_executed);
            if !missing.is_empty() {
                return Err(Inconsistent::Purged(missing.to_string()));
            }
            // With GTIDs switched on late, purged transactions without a GTID are in no set.
            if seen.green_executed.is_empty() && !is_first_file(oldest_file) {
                return Err(incomplete());
            }
            Ok(Start::Gtid)
        }
        PositionKind::GtidList => {
            if !seen.green_own.is_empty() {
                return Err(Inconsistent::Errant(seen.green_own.join(",")));
            }
            if !seen.blue_written.contains(&seen.green_applied) {
                return Err(Inconsistent::Errant(format!(
                    "green applied {}, blue's binlog ends at {}",
                    seen.green_applied, seen.blue_written
                )));
            }
            if seen.green_applied.is_empty() && holds_tables {
                return Err(unknown());
            }
            if !seen.green_applied.contains(&seen.blue_oldest) {
                return Err(Inconsistent::Purged(format!(
                    "green applied `{}`, blue's oldest binlog file begins after {}",
                    seen.green_applied, seen.blue_oldest
                )));
            }
            if seen.green_applied.is_empty() && !is_first_file(oldest_file) {
                return Err(incomplete());
            }
            Ok(Start::Gtid)
        }
        PositionKind::File => match &seen.told_start {
            Some(start) if seen.blue_files.contains(&start.file) => Ok(Start::At(start.clone())),
            Some(start) => Err(Inconsistent::NoSuchFile(start.file.clone())),
            None if holds_tables => Err(unknown()),
            None if !is_first_file(oldest_file) => Err(incomplete()),
            // A binlog file begins with four bytes that say it is one.
            None => Ok(Start::At(FilePosition {
                file: oldest_file.clone(),
                offset: 4,
            })),
        },
    }
}

/// Whether a binlog file is the first that its server ever wrote (or since its binlogs were reset): `binlog.000001`.
fn is_first_file(name: &str) -> bool {
    name.rsplit('.')
        .next()
        .is_some_and(|number| number.parse() == Ok(1_u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429563";

    fn set(text: &str) -> GtidSet {
        GtidSet::parse(&text.replace('A', A).replace('B', B)).unwrap()
    }

    fn list(text: &str) -> GtidList {
        GtidList::parse(text).unwrap()
    }

    fn files(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    fn with_tables() -> Vec<String> {
        vec!["shop (3 tables)".to_owned()]
    }

    #[test]
    fn with_gtid_sets() {
        let kind = PositionKind::GtidSet;
        let empty = Histories {
            blue_executed: set("A:1-100"),
            blue_files: files(&["binlog.000001", "binlog.000002"]),
            ..Histories::default()
        };
        assert_eq!(judge(kind, &empty), Ok(Start::Gtid));
        let copy = Histories {
            green_schemas: with_tables(),
            green_executed: set("A:1-60"),
            blue_purged: set("A:1-50"),
            blue_files: files(&["binlog.000007"]),
            ..empty.clone()
        };
        assert_eq!(judge(kind, &copy), Ok(Start::Gtid));

        let purged = Histories {
            blue_purged: set("A:1-50"),
            ..empty.clone()
        };
        assert!(matches!(judge(kind, &purged), Err(Inconsistent::Purged(_))));
        let gap = Histories {
            green_executed: set("A:1-40:45-60"),
            ..copy.clone()
        };
        assert_eq!(
            judge(kind, &gap),
            Err(Inconsistent::Purged(set("A:41-44").to_string()))
        );
        let errant = Histories {
            green_executed: set("A:1-60,B:1"),
            ..copy.clone()
        };
        assert_eq!(
            judge(kind, &errant),
            Err(Inconsistent::Errant(set("B:1").to_string()))
        );
        let loaded_without_gtids = Histories {
            green_schemas: with_tables(),
            ..empty.clone()
        };
        assert!(matches!(
            judge(kind, &loaded_without_gtids),
            Err(Inconsistent::UnknownCopy(_))
        ));
        let gtids_came_late = Histories {
            blue_files: files(&["binlog.000009"]),
            ..empty.clone()
        };
        assert!(matches!(
            judge(kind, &gtids_came_late),
            Err(Inconsistent::Purged(_))
        ));
        let no_binlog = Histories {
            blue_files: vec![],
            ..empty
        };
        assert_eq!(judge(kind, &no_binlog), Err(Inconsistent::NoBinlog));
    }

    #[test]
    fn with_gtid_lists() {
        let kind = PositionKind::GtidList;
        let empty = Histories {
            blue_written: list("0-1-100"),
            blue_files: files(&["m-bin.000001"]),
            ..Histories::default()
        };
        assert_eq!(judge(kind, &empty), Ok(Start::Gtid));
        let copy = Histories {
            green_schemas: with_tables(),
            green_applied: list("0-1-60"),
            blue_oldest: list("0-1-50"),
            blue_files: files(&["m-bin.000004"]),
            ..empty.clone()
        };
        assert_eq!(judge(kind, &copy), Ok(Start::Gtid));

        let too_old = Histories {
            green_applied: list("0-1-40"),
            ..copy.clone()
        };
        assert!(matches!(judge(kind, &too_old), Err(Inconsistent::Purged(_))));
        let another_domain_purged = Histories {
            blue_oldest: list("0-1-50,7-1-3"),
            ..copy.clone()
        };
        assert!(matches!(
            judge(kind, &another_domain_purged),
            Err(Inconsistent::Purged(_))
        ));
        let ahead = Histories {
            green_applied: list("0-1-160"),
            ..copy.clone()
        };
        assert!(matches!(judge(kind, &ahead), Err(Inconsistent::Errant(_))));
        let wrote_itself = Histories {
            green_own: vec!["0-2-61".to_owned()],
            ..copy
        };
        assert_eq!(
            judge(kind, &wrote_itself),
            Err(Inconsistent::Errant("0-2-61".into()))
        );
        let unknown = Histories {
            green_schemas: with_tables(),
            ..empty
        };
        assert!(matches!(judge(kind, &unknown), Err(Inconsistent::UnknownCopy(_))));
    }

    #[test]
    fn with_file_and_offset() {
        let kind = PositionKind::File;
        let at = |file: &str, offset| FilePosition {
            file: file.to_owned(),
            offset,
        };
        let empty = Histories {
            blue_files: files(&["binlog.000001", "binlog.000002"]),
            ..Histories::default()
        };
        assert_eq!(judge(kind, &empty), Ok(Start::At(at("binlog.000001", 4))));
        let copy = Histories {
            green_schemas: with_tables(),
            ..empty.clone()
        };
        assert!(matches!(judge(kind, &copy), Err(Inconsistent::UnknownCopy(_))));
        let told = Histories {
            told_start: Some(at("binlog.000002", 700)),
            ..copy.clone()
        };
        assert_eq!(judge(kind, &told), Ok(Start::At(at("binlog.000002", 700))));
        let told_wrongly = Histories {
            told_start: Some(at("binlog.000003", 700)),
            ..copy
        };
        assert_eq!(
            judge(kind, &told_wrongly),
            Err(Inconsistent::NoSuchFile("binlog.000003".into()))
        );
        let rotated = Histories {
            blue_files: files(&["binlog.000002"]),
            ..empty
        };
        assert!(matches!(judge(kind, &rotated), Err(Inconsistent::Purged(_))));
    }
}
