//! Which of the statements that blue was seen to run are worth a replay: the most frequent and the most expensive.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::fingerprint::Fingerprint;
use super::words::{Token, tokens};

/// A statement as it was found on blue.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its text; one of many with the same fingerprint.
    pub text: String,
    /// The default schema it ran in.
    pub schema: Option<String>,
    /// How many times it was seen.
    pub count: u64,
    /// The time that all of these took together.
    pub total: Duration,
    /// Why this text cannot be replayed as it stands: it was cut, or its values are not in it.
    pub unusable: Option<String>,
}

/// A statement that is to be replayed, or to be named with the reason why not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// Its name.
    pub fingerprint: Fingerprint,
    /// Its text, with values.
    pub text: String,
    /// The default schema.
    pub schema: Option<String>,
    /// How many times it was seen on blue.
    pub count: u64,
    /// The time that all of these took together, in milliseconds.
    pub total_ms: f64,
    /// Why its text cannot be replayed.
    pub unusable: Option<String>,
}

/// Whether a statement reads, by its first word. Others are never replayed, and not worth a line.
#[must_use]
pub fn reads(text: &str) -> bool {
    let first = tokens(text).ok().and_then(|tokens| {
        tokens.into_iter().find_map(|token| match token {
            Token::Word(word) => Some(word.to_ascii_uppercase()),
            _ => None,
        })
    });
    // A text that cannot be cut is told with its reason.
    first.is_none_or(|word| word == "SELECT" || word == "WITH")
}

/// Whether a text can be replayed as it stands: it is not cut, and its values are in it.
#[must_use]
pub fn is_whole(sample: &Sample) -> bool {
    let has_place = || tokens(&sample.text).is_ok_and(|tokens| tokens.contains(&Token::Placeholder));
    sample.unusable.is_none() && !has_place()
}

/// Comments by which bleen's own statements are known.
const OWN_MARK: &str = "/* bleen ";

/// Unites the `top` most frequent statements with the `top` most expensive ones, most expensive first.
///
/// Samples with the same fingerprint and schema are one statement; a usable text stands for the others.
#[must_use]
pub fn select(samples: Vec<Sample>, top: usize) -> Vec<Candidate> {
    let mut merged: BTreeMap<(Fingerprint, Option<String>), Sample> = BTreeMap::new();
    for sample in samples {
        if sample.text.trim_start().starts_with(OWN_MARK) || sample.text.trim().is_empty() {
            continue;
        }
        let name = (Fingerprint::of(&sample.text), sample.schema.clone());
        match merged.get_mut(&name) {
            None => {
                merged.insert(name, sample);
            }
            Some(known) => {
                known.count = known.count.saturating_add(sample.count);
                known.total = known.total.saturating_add(sample.total);
                if !is_whole(known) && is_whole(&sample) {
                    known.text = sample.text;
                    known.unusable = None;
                }
            }
        }
    }
    let mut all: Vec<Candidate> = merged
        .into_iter()
        .map(|((fingerprint, schema), sample)| Candidate {
            fingerprint,
            text: sample.text,
            schema,
            count: sample.count,
            total_ms: sample.total.as_secs_f64() * 1000.0,
            unusable: sample.unusable,
        })
        .collect();
    all.sort_by_key(|candidate| std::cmp::Reverse(candidate.count));
    let frequent = all
        .iter()
        .take(top)
        .map(|c| (c.fingerprint.clone(), c.schema.clone()));
    let mut chosen: Vec<_> = frequent.collect();
    all.sort_by(|a, b| b.total_ms.total_cmp(&a.total_ms));
    let expensive = all
        .iter()
        .take(top)
        .map(|c| (c.fingerprint.clone(), c.schema.clone()));
    chosen.extend(expensive);
    all.retain(|c| {
        chosen
            .iter()
            .any(|(name, schema)| *name == c.fingerprint && *schema == c.schema)
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(text: &str, count: u64, millis: u64, unusable: Option<&str>) -> Sample {
        Sample {
            text: text.to_owned(),
            schema: Some("shop".to_owned()),
            count,
            total: Duration::from_millis(millis),
            unusable: unusable.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn the_frequent_and_the_expensive_are_chosen() {
        let chosen = select(
            vec![
                sample("SELECT a FROM t WHERE id = 1", 900, 10, None),
                sample("SELECT b FROM t WHERE id = 1", 1, 9_000, None),
                sample("SELECT c FROM t WHERE id = 1", 2, 20, None),
                sample("/* bleen - survey */ SELECT 1", 10_000, 10_000, None),
            ],
            1,
        );
        let texts: Vec<&str> = chosen.iter().map(|c| c.text.as_str()).collect();
        assert_eq!(
            texts,
            ["SELECT b FROM t WHERE id = 1", "SELECT a FROM t WHERE id = 1"]
        );
    }

    #[test]
    fn a_whole_text_stands_for_one_without_values() {
        let chosen = select(
            vec![
                sample("SELECT a FROM t WHERE id = ?", 5, 10, None),
                sample("SELECT a FROM t WHERE id = 77", 2, 5, None),
            ],
            10,
        );
        assert_eq!(chosen.len(), 1);
        assert_eq!(
            (chosen[0].count, chosen[0].text.as_str()),
            (7, "SELECT a FROM t WHERE id = 77")
        );
        let cut = select(vec![sample("SELECT a FROM t", 5, 10, Some("cut"))], 10);
        assert_eq!(cut[0].unusable.as_deref(), Some("cut"));
        assert!(reads("/* x */ (select 1)") && !reads("INSERT INTO t SELECT 1"));
    }
}
