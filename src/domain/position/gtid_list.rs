//! MariaDB's lists: the last transaction of each domain, `0-1-100,7-2-5`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::NotAPosition;

/// The last transaction of each domain, as `@@gtid_slave_pos` and `@@gtid_binlog_pos` print it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GtidList {
    /// Domain to (server id, sequence number).
    last: BTreeMap<u32, (u32, u64)>,
}

impl GtidList {
    /// Reads a list; of two entries of one domain (as in `gtid_binlog_state`) the later sequence number counts.
    ///
    /// # Errors
    /// [`NotAPosition`] for anything that is not `domain-server-sequence`, separated by commas.
    pub fn parse(text: &str) -> Result<Self, NotAPosition> {
        let wrong = || NotAPosition::new("GTID list", text);
        let mut list = Self::default();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let mut fields = part.split('-');
            let mut field = || fields.next().ok_or_else(wrong);
            let domain = field()?.parse().map_err(|_| wrong())?;
            let server = field()?.parse().map_err(|_| wrong())?;
            let sequence: u64 = field()?.parse().map_err(|_| wrong())?;
            if fields.next().is_some() {
                return Err(wrong());
            }
            let entry = list.last.entry(domain).or_insert((server, sequence));
            if sequence >= entry.1 {
                *entry = (server, sequence);
            }
        }
        Ok(list)
    }

    /// Whether no domain has a transaction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Whether a server at `self` has executed everything up to `other`, domain by domain.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.last.iter().all(|(domain, (_, theirs))| {
            *theirs == 0 || self.last.get(domain).is_some_and(|(_, mine)| mine >= theirs)
        })
    }

    /// How many transactions `other` is behind this list, over all domains (sequence numbers may have gaps, so this
    /// is an upper bound).
    #[must_use]
    pub fn ahead_of(&self, other: &Self) -> u64 {
        self.last
            .iter()
            .map(|(domain, (_, mine))| mine.saturating_sub(other.sequence(*domain)))
            .fold(0, u64::saturating_add)
    }

    /// The last sequence number of a domain, 0 if it has none.
    #[must_use]
    pub fn sequence(&self, domain: u32) -> u64 {
        self.last.get(&domain).map_or(0, |(_, sequence)| *sequence)
    }

    /// The domains that have a transaction.
    pub fn domains(&self) -> impl Iterator<Item = u32> + '_ {
        self.last.keys().copied()
    }

    /// The same list with only the domains that `keep` accepts.
    #[must_use]
    pub fn retain(&self, keep: impl Fn(u32) -> bool) -> Self {
        Self {
            last: self
                .last
                .iter()
                .filter(|(d, _)| keep(**d))
                .map(|(d, v)| (*d, *v))
                .collect(),
        }
    }
}

impl fmt::Display for GtidList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (domain, (server, sequence))) in self.last.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{domain}-{server}-{sequence}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for GtidList {
    type Error = NotAPosition;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<GtidList> for String {
    fn from(list: GtidList) -> Self {
        list.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(text: &str) -> GtidList {
        GtidList::parse(text).unwrap()
    }

    #[test]
    fn reads_and_compares() {
        assert_eq!(list("0-1-100, 7-2-5").to_string(), "0-1-100,7-2-5");
        // gtid_binlog_state has an entry for each server of a domain.
        assert_eq!(list("0-1-100,0-2-120").to_string(), "0-2-120");
        assert!(list("0-2-101,5-1-1").contains(&list("0-1-100")));
        assert!(!list("0-2-101").contains(&list("0-1-100,5-1-1")));
        assert!(list("").contains(&list("")));
        assert_eq!(list("0-1-100,5-1-3").ahead_of(&list("0-1-90")), 13);
        for bad in [
            "x",
            "0-1",
            "0-1-2-3",
            "0--1",
            "-1-1-1",
            "0-1-99999999999999999999999",
        ] {
            assert!(GtidList::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9,-]{0,60}") {
            if let Ok(list) = GtidList::parse(&text) {
                prop_assert_eq!(GtidList::parse(&list.to_string()).unwrap(), list);
            }
        }
    }
}
