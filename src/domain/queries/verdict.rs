//! What the answers of both sides say about a statement.

use std::fmt;

use serde::Serialize;

use super::plan::Plan;
use super::timing::{Medians, Slower};

/// How a statement came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "kebab-case")]
pub enum Verdict {
    /// Same answer, no slower, same plan.
    Same,
    /// The answers differ; the first difference in words.
    DifferentResult(String),
    /// Same answer, and green takes longer.
    Slower(String),
    /// Same answer, no slower, and green goes another way.
    PlanChanged(String),
    /// Blue answers and green does not.
    ErrorOnGreen(String),
    /// Nothing can be said, for this reason.
    NotComparable(String),
}

impl Verdict {
    /// The verdict in a word or two.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::DifferentResult(_) => "different result",
            Self::Slower(_) => "slower",
            Self::PlanChanged(_) => "plan changed",
            Self::ErrorOnGreen(_) => "error on green",
            Self::NotComparable(_) => "not comparable",
        }
    }

    /// The words behind it; empty for *same*.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Same => "",
            Self::DifferentResult(why)
            | Self::Slower(why)
            | Self::PlanChanged(why)
            | Self::ErrorOnGreen(why)
            | Self::NotComparable(why) => why,
        }
    }

    /// The same without values of rows: those of a difference, and those that an error's text may have.
    #[must_use]
    pub fn masked(self) -> Self {
        match self {
            Self::DifferentResult(_) => Self::DifferentResult("the values are masked".to_owned()),
            Self::ErrorOnGreen(why) => {
                let code = why.split_once(": ").map(|(code, _)| code.to_owned());
                Self::ErrorOnGreen(code.unwrap_or(why))
            }
            other => other,
        }
    }

    /// Whether the application would notice it after a switch.
    #[must_use]
    pub const fn is_a_finding(&self) -> bool {
        matches!(
            self,
            Self::DifferentResult(_) | Self::Slower(_) | Self::ErrorOnGreen(_)
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why() {
            "" => f.write_str(self.word()),
            why => write!(f, "{}: {why}", self.word()),
        }
    }
}

/// Judges a statement whose answers agree, by time first and then by plan.
#[must_use]
pub fn judge(medians: Option<Medians>, than: Slower, plans: Option<(&Plan, &Plan)>) -> Verdict {
    let changes = plans.map(|(blue, green)| blue.changes(green)).unwrap_or_default();
    if let Some(medians) = medians.filter(|medians| medians.is_slower(than)) {
        let mut why = format!(
            "{:.1} ms on blue, {:.1} ms on green: {:.1} times, allowed {:.1}",
            medians.blue_ms,
            medians.green_ms,
            medians.ratio(),
            than.ratio
        );
        if !changes.is_empty() {
            why.push_str("; ");
            why.push_str(&changes.join("; "));
        }
        return Verdict::Slower(why);
    }
    if changes.is_empty() {
        Verdict::Same
    } else {
        Verdict::PlanChanged(changes.join("; "))
    }
}
