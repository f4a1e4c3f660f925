//! How a run ended, in the words that every output uses, and why.
//!
//! There are two vocabularies, one for each side of the point of no return: before promote a run is *released* or
//! *rolled back*, after it *switched* or *switched, with debt* (DESIGN I5). A type for each keeps them apart.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::Side;
use super::step::Step;

/// Why a switchover was given up, or why its end is not known. It always says why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Why {
    /// The step that could not be finished.
    pub step: Step,
    /// The kind of reason.
    pub kind: WhyKind,
    /// What was seen, in words: what it waited for, the value against the limit, who stood in the way.
    pub detail: String,
}

/// Kinds of reasons, for scripts and for deciding whether another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyKind {
    /// The deadline passed.
    DeadlineMissed,
    /// The operator, or a signal, asked to stop.
    Cancelled,
    /// The hold was not granted soon enough; something stood in its way.
    HoldBlocked,
    /// The holding session was lost.
    HoldLost,
    /// A server refused a statement.
    Refused,
    /// An answer was lost.
    AnswerLost,
    /// A prepared XA transaction was found under the hold.
    XaPrepared,
    /// Green's applier stopped while its work was waited for.
    ApplierStopped,
    /// Green could not be seen caught up right before the hold.
    GreenBehind,
    /// Green was not read-only when it had to be.
    GreenWritable,
    /// Green executed transactions of its own.
    GreenWritten,
    /// Blue's position moved under the seal by transactions with rows.
    BlueMoved,
    /// Blue cannot follow green, and the playbook does not accept that.
    NoWayBack,
    /// The comparison at the fence found a difference or did not finish.
    ProofFailed,
    /// Another bleen has taken the run over, or has ended it.
    TakenOver,
    /// Sessions of the run could not be ended, or a state could not be read, in the time an undo has.
    CannotSee,
}

impl WhyKind {
    /// Whether a later attempt in the same window may go better without anybody's help.
    #[must_use]
    pub const fn may_try_again(self) -> bool {
        matches!(self, Self::HoldBlocked | Self::DeadlineMissed | Self::GreenBehind)
    }
}

/// Something that is left to do after the switch, or that could not be put back after a release.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Debt {
    /// The step it belongs to.
    pub step: Step,
    /// What is left, in words, with the statement or command that does it.
    pub what: String,
}

/// How a switchover ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Green serves. What is left to do is listed; with an empty list nothing is.
    Switched {
        /// What is left to do.
        debt: Vec<Debt>,
    },
    /// The hold was given up before blue was sealed; blue serves as before.
    Released {
        /// Why.
        why: Why,
        /// Settings that could not be put back.
        left: Vec<Debt>,
    },
    /// Blue had been sealed and was opened again; blue serves as before.
    RolledBack {
        /// Why.
        why: Why,
        /// Settings that could not be put back.
        left: Vec<Debt>,
    },
    /// bleen cannot tell who serves, or may not decide it. A person must look.
    Ambiguous {
        /// What stood in the way of knowing.
        why: Why,
    },
}

impl Outcome {
    /// The outcome's word, the same in every output.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Switched { debt } if debt.is_empty() => "switched",
            Self::Switched { .. } => "switched-with-debt",
            Self::Released { .. } => "released",
            Self::RolledBack { .. } => "rolled-back",
            Self::Ambiguous { .. } => "ambiguous",
        }
    }

    /// Who serves then; `None` if that is not certain.
    #[must_use]
    pub const fn serves(&self) -> Option<Side> {
        match self {
            Self::Switched { .. } => Some(Side::Green),
            Self::Released { .. } | Self::RolledBack { .. } => Some(Side::Blue),
            Self::Ambiguous { .. } => None,
        }
    }

    /// Whether the run stays open on the servers, so that `resume` finds it: it is not certain who serves, green serves
    /// and was not seen to be as a promoted green is, or something on blue is not put back, which a later run would take
    /// for the operator's own.
    #[must_use]
    pub fn stays_open(&self) -> bool {
        match self {
            Self::Ambiguous { .. } => true,
            Self::Switched { debt } => debt.iter().any(|d| d.step == Step::Promote),
            Self::Released { left, .. } | Self::RolledBack { left, .. } => !left.is_empty(),
        }
    }

    /// Why it was given up; `None` if it was not.
    #[must_use]
    pub const fn why(&self) -> Option<&Why> {
        match self {
            Self::Switched { .. } => None,
            Self::Released { why, .. } | Self::RolledBack { why, .. } | Self::Ambiguous { why } => Some(why),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}", self.step, self.detail)
    }
}
