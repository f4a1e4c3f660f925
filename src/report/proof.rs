//! The data proof in lines for people.

use super::words::{harmless, milliseconds};
use crate::domain::ids::Side;
use crate::domain::proof::drill::Differs;
use crate::engine::event::{Difference, ProofEvent};

/// The longest value that is shown of a column, in characters.
const VALUE_CHARS: usize = 120;

/// How far it is, in one line.
#[must_use]
pub fn progress(at: &ProofEvent) -> String {
    let mut parts = vec![format!("{} of {} ranges proved", at.proved + at.open, at.ranges)];
    if at.open_rows > 0 {
        parts.push(format!("{} rows touched since", at.open_rows));
    }
    if at.unproven > 0 {
        parts.push(format!("{} to prove", at.unproven));
    }
    if at.diverged > 0 || at.differing_rows > 0 {
        parts.push(format!(
            "{} ranges and {} rows differ",
            at.diverged, at.differing_rows
        ));
    }
    if at.not_provable > 0 {
        parts.push(format!("{} tables not provable", at.not_provable));
    }
    if let Some(age) = at.oldest_proof_ms {
        parts.push(format!("oldest proof {}", milliseconds(age)));
    }
    if let Some(time) = at.fence_ms {
        parts.push(format!("re-proving now would take {}", milliseconds(time)));
    }
    match &at.paused {
        Some(why) => parts.push(format!("paused: {why}")),
        None => parts.push(format!("{} rows/s", at.rows_per_second)),
    }
    parts.join(", ")
}

/// A row that differs: one line, and one for each column.
#[must_use]
pub fn difference(found: &Difference) -> Vec<String> {
    if let Some((blue, green)) = found.rows {
        return vec![format!(
            "{}: rows differ, {blue} on blue and {green} on green; it has no key that would tell which",
            harmless(&found.table)
        )];
    }
    let key: Vec<String> = found
        .key
        .iter()
        .map(|(column, value)| format!("{column} = {}", shown(value)))
        .collect();
    let how = match found.how {
        Differs::Values => "differs",
        Differs::OnlyOn(Side::Blue) => "is on blue only",
        Differs::OnlyOn(Side::Green) => "is on green only",
    };
    let mut lines = vec![format!(
        "{}, row {}: {how}",
        harmless(&found.table),
        key.join(", ")
    )];
    let value = |value: &Option<String>| value.as_deref().map_or_else(|| "NULL".to_owned(), shown);
    for column in &found.columns {
        lines.push(format!(
            "    {}: blue {}, green {}",
            harmless(&column.column),
            value(&column.blue),
            value(&column.green)
        ));
    }
    lines
}

fn shown(value: &str) -> String {
    let value = harmless(value);
    if value.chars().count() <= VALUE_CHARS {
        return value;
    }
    let cut: String = value.chars().take(VALUE_CHARS).collect();
    format!("{cut}… ({} characters)", value.chars().count())
}
