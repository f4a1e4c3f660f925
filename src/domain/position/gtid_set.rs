//! MySQL's sets of global transaction ids: `uuid:1-5:7,uuid:tag:1-3`.
//!
//! Always handled as sets: with workers that commit out of order a set has gaps, and since 8.3 a source may use tags
//! (facts/validation.md 2.1).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::NotAPosition;

/// A transaction's origin: the server's uuid, and the tag if it has one. Both lower case.
type Source = (String, Option<String>);

/// A set of MySQL's global transaction ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GtidSet {
    /// Per origin: closed intervals, ascending, neither touching nor overlapping, never empty.
    intervals: BTreeMap<Source, Vec<(u64, u64)>>,
}

impl GtidSet {
    /// Largest transaction number of the format (2^63 - 2; manual, "GTID format and storage").
    const LAST: u64 = i64::MAX as u64 - 1;

    /// Reads a set as `@@gtid_executed` prints it: white space and empty parts are allowed.
    ///
    /// # Errors
    /// [`NotAPosition`] for anything else.
    pub fn parse(text: &str) -> Result<Self, NotAPosition> {
        let wrong = || NotAPosition::new("GTID set", text);
        let mut set = Self::default();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let mut fields = part.split(':').map(str::trim);
            let uuid = fields
                .next()
                .filter(|u| is_uuid(u))
                .ok_or_else(wrong)?
                .to_ascii_lowercase();
            let mut source = (uuid, None);
            let mut seen_interval = false;
            for field in fields {
                if is_tag(field) {
                    source.1 = Some(field.to_ascii_lowercase());
                    continue;
                }
                let (first, last) = field.split_once('-').unwrap_or((field, field));
                let first: u64 = first.trim().parse().map_err(|_| wrong())?;
                let last: u64 = last.trim().parse().map_err(|_| wrong())?;
                if first == 0 || last < first || last > Self::LAST {
                    return Err(wrong());
                }
                set.insert(source.clone(), first, last);
                seen_interval = true;
            }
            if !seen_interval {
                return Err(wrong());
            }
        }
        Ok(set)
    }

    /// Whether no transaction is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// How many transactions it holds.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.intervals
            .values()
            .flatten()
            .map(|(first, last)| last - first + 1)
            .fold(0, u64::saturating_add)
    }

    /// Whether every transaction of `other` is in this set.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.minus(self).is_empty()
    }

    /// The transactions of this set that are not in `other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut left = Self::default();
        for (source, mine) in &self.intervals {
            let theirs = other.intervals.get(source).map_or(&[][..], Vec::as_slice);
            for &(first, last) in mine {
                let mut from = first;
                for &(cut_first, cut_last) in theirs {
                    if cut_last < from || cut_first > last {
                        continue;
                    }
                    if cut_first > from {
                        left.insert(source.clone(), from, cut_first - 1);
                    }
                    from = cut_last + 1;
                }
                if from <= last {
                    left.insert(source.clone(), from, last);
                }
            }
        }
        left
    }

    /// The transactions that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.minus(&self.minus(other))
    }

    /// Whether every transaction from `first` to `last` of one origin is in it. `source` is a uuid in lower case.
    #[must_use]
    pub fn holds(&self, source: &str, tag: Option<&str>, first: u64, last: u64) -> bool {
        // A set has a handful of origins; looking at each saves building the map's key for every transaction.
        self.intervals
            .iter()
            .filter(|((s, t), _)| s == source && t.as_deref() == tag)
            .flat_map(|(_, intervals)| intervals)
            .any(|(from, to)| *from <= first && last <= *to)
    }

    /// All transactions of both sets.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        for (source, intervals) in &other.intervals {
            for &(first, last) in intervals {
                all.insert(source.clone(), first, last);
            }
        }
        all
    }

    /// The transactions that come from the server with this uuid, whatever their tag.
    #[must_use]
    pub fn from_server(&self, uuid: &str) -> Self {
        let uuid = uuid.to_ascii_lowercase();
        let intervals = self
            .intervals
            .iter()
            .filter(|((u, _), _)| *u == uuid)
            .map(|(s, i)| (s.clone(), i.clone()))
            .collect();
        Self { intervals }
    }

    fn insert(&mut self, source: Source, first: u64, last: u64) {
        let list = self.intervals.entry(source).or_default();
        list.push((first, last));
        list.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(list.len());
        for &(first, last) in list.iter() {
            match merged.last_mut() {
                Some(previous) if first <= previous.1 + 1 => previous.1 = previous.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        *list = merged;
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// A tag begins with a letter or an underscore and has up to 32 characters (manual, "GTID format and storage").
fn is_tag(text: &str) -> bool {
    text.len() <= 32
        && text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, ((uuid, tag), intervals)) in self.intervals.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            f.write_str(uuid)?;
            if let Some(tag) = tag {
                write!(f, ":{tag}")?;
            }
            for (first, last) in intervals {
                if first == last {
                    write!(f, ":{first}")?;
                } else {
                    write!(f, ":{first}-{last}")?;
                }
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for GtidSet {
    type Error = NotAPosition;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<GtidSet> for String {
    fn from(set: GtidSet) -> Self {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429563";

    fn set(text: &str) -> GtidSet {
        GtidSet::parse(text).unwrap()
    }

    #[test]
    fn reads_what_servers_print() {
        assert_eq!(set("").to_string(), "");
        assert_eq!(
            set(&format!("{A}:1-3:5,\n{B}:9")).to_string(),
            format!("{A}:1-3:5,{B}:9")
        );
        assert_eq!(
            set(&format!("{}:1-3:4-6", A.to_uppercase())).to_string(),
            format!("{A}:1-6")
        );
        let tagged = set(&format!("{A}:1-102716:mytag:1"));
        assert_eq!(tagged.to_string(), format!("{A}:1-102716,{A}:mytag:1"));
        assert_eq!(tagged.count(), 102_717);
        for bad in [
            "x",
            A,
            &format!("{A}:0"),
            &format!("{A}:3-2"),
            &format!("{A}:1-"),
            "0-1-100",
        ] {
            assert!(GtidSet::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tag_is_another_origin() {
        assert!(!set(&format!("{A}:1-9")).contains(&set(&format!("{A}:t:1"))));
        assert!(!set(&format!("{A}:t:1-9")).contains(&set(&format!("{A}:1"))));
    }

    fn model(numbers: &BTreeSet<(bool, u64)>) -> GtidSet {
        let mut text = String::new();
        for (which, number) in numbers {
            text.push_str(&format!("{}:{number},", if *which { A } else { B }));
        }
        set(&text)
    }

    fn some_numbers() -> impl Strategy<Value = BTreeSet<(bool, u64)>> {
        proptest::collection::btree_set((any::<bool>(), 1_u64..20), 0..20)
    }

    proptest! {
        #[test]
        fn behaves_as_a_set_of_numbers(a in some_numbers(), b in some_numbers()) {
            let (sa, sb) = (model(&a), model(&b));
            prop_assert_eq!(sa.minus(&sb), model(&a.difference(&b).copied().collect()));
            prop_assert_eq!(sa.intersection(&sb), model(&a.intersection(&b).copied().collect()));
            for number in 1..20 {
                prop_assert_eq!(sa.holds(A, None, number, number), a.contains(&(true, number)));
                prop_assert!(!sa.holds(A, Some("t"), number, number));
            }
            prop_assert_eq!(sa.holds(B, None, 5, 7), (5..=7).all(|n| a.contains(&(false, n))));
            prop_assert_eq!(sa.union(&sb), model(&a.union(&b).copied().collect()));
            prop_assert_eq!(sa.contains(&sb), a.is_superset(&b));
            prop_assert_eq!(sa.count(), a.len() as u64);
            prop_assert_eq!(set(&sa.to_string()), sa);
        }

        #[test]
        fn never_panics(text in ".{0,80}") {
            let _ = GtidSet::parse(&text);
        }
    }
}
