//! The steps of the protocol and their ids.
//!
//! One id per step, used by the journal, the log, the event stream, the fault points and the documents.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A step of the protocol, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Every guardrail of its scope, on both sides.
    Preflight,
    /// Replication set up on green, read-only on.
    Follow,
    /// Lag under the limit for a whole observation time.
    CatchUp,
    /// Data and queries compared.
    Prove,
    /// Green's buffer pool made to answer.
    Warm,
    /// All gates green; waiting for the word or the moment.
    Ready,
    /// The reverse channel prepared.
    WireBack,
    /// Event scheduler stopped, accounts that could write through gone or waived.
    Quiet,
    /// The guard armed on a session of its own.
    Arm,
    /// Writers of blue wait inside the server.
    Hold,
    /// Blue's position read under the hold.
    Fence,
    /// Green executes up to the fence position.
    Drain,
    /// Dirty rows and gate queries at the fence.
    Reprove,
    /// Blue durably read-only.
    Seal,
    /// The guard's session ended and seen gone.
    Disarm,
    /// Green writable: the point of no return.
    Promote,
    /// Traffic pointed at green.
    Route,
    /// The hold given up.
    Release,
    /// Settings put back, a write seen on green, a refusal seen on blue.
    Confirm,
    /// The time in which going back is one command.
    Soak,
    /// Going back given up, bleen's own objects removed.
    Finish,
    /// Undoing: what was changed is put back as it was.
    Undo,
}

impl Step {
    /// Every step, in the protocol's order, the undo last.
    pub const ALL: [Self; 22] = [
        Self::Preflight,
        Self::Follow,
        Self::CatchUp,
        Self::Prove,
        Self::Warm,
        Self::Ready,
        Self::WireBack,
        Self::Quiet,
        Self::Arm,
        Self::Hold,
        Self::Fence,
        Self::Drain,
        Self::Reprove,
        Self::Seal,
        Self::Disarm,
        Self::Promote,
        Self::Route,
        Self::Release,
        Self::Confirm,
        Self::Soak,
        Self::Finish,
        Self::Undo,
    ];

    /// The id of this step in every output.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Follow => "follow",
            Self::CatchUp => "catch-up",
            Self::Prove => "prove",
            Self::Warm => "warm",
            Self::Ready => "ready",
            Self::WireBack => "wire-back",
            Self::Quiet => "quiet",
            Self::Arm => "arm",
            Self::Hold => "hold",
            Self::Fence => "fence",
            Self::Drain => "drain",
            Self::Reprove => "reprove",
            Self::Seal => "seal",
            Self::Disarm => "disarm",
            Self::Promote => "promote",
            Self::Route => "route",
            Self::Release => "release",
            Self::Confirm => "confirm",
            Self::Soak => "soak",
            Self::Finish => "finish",
            Self::Undo => "undo",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_the_same_id_in_json() {
        for step in Step::ALL {
            assert_eq!(
                serde_json::to_string(&step).unwrap(),
                format!("\"{}\"", step.id())
            );
        }
    }
}
