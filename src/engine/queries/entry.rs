//! What the query proof found, as it is shown and kept.

use serde::Serialize;

use crate::domain::queries::candidates::Candidate;
use crate::domain::queries::fingerprint::{Fingerprint, normal};
use crate::domain::queries::timing::Medians;
use crate::domain::queries::verdict::Verdict;

/// One statement and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its name, for a waiver.
    pub fingerprint: Fingerprint,
    /// Its text without values, shortened.
    pub statement: String,
    /// The default schema.
    pub schema: Option<String>,
    /// How many times it was seen on blue.
    pub count: u64,
    /// The time that all of these took together, in milliseconds.
    pub total_ms: f64,
    /// How it came out.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The medians of the timed runs.
    pub medians: Option<Medians>,
    /// Why the playbook accepts it.
    pub waived: Option<String>,
}

/// All statements.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct QueryProof {
    /// The statements, those first that cost blue most.
    pub entries: Vec<Entry>,
    /// What the account could not read, and what else narrows this proof; in words.
    pub notes: Vec<String>,
}

/// The longest text of a statement that is shown.
const SHOWN: usize = 500;

impl Entry {
    pub(super) fn of(candidate: &Candidate, verdict: Verdict, medians: Option<Medians>) -> Self {
        // A text that cannot be cut into words is named by its fingerprint alone: it may hold values.
        let text = normal(&candidate.text).unwrap_or_default();
        Self {
            fingerprint: candidate.fingerprint.clone(),
            statement: text.chars().take(SHOWN).collect(),
            schema: candidate.schema.clone(),
            count: candidate.count,
            total_ms: candidate.total_ms,
            verdict,
            medians,
            waived: None,
        }
    }
}

impl QueryProof {
    /// The statements that stop a switch: a finding that no waiver accepts.
    pub fn findings(&self) -> impl Iterator<Item = &Entry> {
        let stops = |entry: &&Entry| entry.verdict.is_a_finding() && entry.waived.is_none();
        self.entries.iter().filter(stops)
    }

    /// The statements that did not come out the same, whatever the reason.
    #[must_use]
    pub fn not_the_same(&self) -> Vec<&Entry> {
        let differs = |entry: &&Entry| entry.verdict != Verdict::Same;
        self.entries.iter().filter(differs).collect()
    }

    /// How many statements came out how, in words: `97 same, 2 slower, 1 not comparable`.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut counts: Vec<(&'static str, usize)> = Vec::new();
        for entry in &self.entries {
            let word = entry.verdict.word();
            match counts.iter_mut().find(|(known, _)| *known == word) {
                Some((_, count)) => *count += 1,
                None => counts.push((word, 1)),
            }
        }
        if counts.is_empty() {
            return "no statement of the application was seen".to_owned();
        }
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let parts: Vec<String> = counts
            .iter()
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        parts.join(", ")
    }
}
