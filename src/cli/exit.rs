//! How a command can end, and the exit code of each end.
//!
//! One exhaustive match: an ending without a code does not compile. The table in README is made from [`TABLE`].

use std::process::ExitCode;

use crate::domain::outcome::Outcome;

/// How a command that could do its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// What was asked for is done.
    Done,
    /// Green serves, nothing is left to do.
    Switched,
    /// Guardrails stop the run, or differences were found. Nothing has changed.
    NotReady,
    /// The hold was given up before blue was sealed. Blue serves as before.
    Released,
    /// Blue had been sealed and was opened again. Blue serves as before.
    RolledBack,
    /// Nobody knows for sure who serves. A person must look.
    Ambiguous,
    /// Green serves, and a list of things is left to do.
    SwitchedWithDebt,
    /// The operator said no. Nothing has changed.
    Refused,
    /// The operator held the run back until its time was over. Nothing has changed. Reserved: a run waits for nobody's word
    /// yet, and the code and the word are kept so that scripts need not change when one does.
    Held,
    /// A signal came before anything was changed.
    Interrupted,
    /// A command could not do its work.
    Failed(ErrorKind),
}

/// Why a command could not do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A mistake in bleen, or something nobody expected.
    Internal,
    /// Something that the command needs is not there: a password, a directory, a right.
    NotReady,
    /// The command line is wrong.
    Usage,
    /// The playbook is wrong.
    PlaybookInvalid,
    /// A server cannot be reached, or refuses the login.
    Unreachable,
    /// Another run holds the pair.
    Locked,
}

/// Every ending, in the order of the codes.
pub const ALL: &[Ending] = &[
    Ending::Done,
    Ending::Switched,
    Ending::Failed(ErrorKind::Internal),
    Ending::NotReady,
    Ending::Failed(ErrorKind::NotReady),
    Ending::Released,
    Ending::RolledBack,
    Ending::Ambiguous,
    Ending::SwitchedWithDebt,
    Ending::Refused,
    Ending::Held,
    Ending::Failed(ErrorKind::Usage),
    Ending::Failed(ErrorKind::PlaybookInvalid),
    Ending::Failed(ErrorKind::Unreachable),
    Ending::Failed(ErrorKind::Locked),
    Ending::Interrupted,
];

impl Ending {
    /// Returns the exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done | Self::Switched => 0,
            Self::Failed(ErrorKind::Internal) => 1,
            Self::NotReady | Self::Failed(ErrorKind::NotReady) => 2,
            Self::Released | Self::RolledBack => 3,
            Self::Ambiguous => 4,
            Self::SwitchedWithDebt => 5,
            Self::Refused | Self::Held => 6,
            Self::Failed(ErrorKind::Usage) => 64,
            Self::Failed(ErrorKind::PlaybookInvalid) => 65,
            Self::Failed(ErrorKind::Unreachable) => 69,
            Self::Failed(ErrorKind::Locked) => 75,
            Self::Interrupted => 130,
        }
    }

    /// Returns the outcome word, the same in every output.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Switched => "switched",
            Self::NotReady | Self::Failed(ErrorKind::NotReady) => "not-ready",
            Self::Released => "released",
            Self::RolledBack => "rolled-back",
            Self::Ambiguous => "ambiguous",
            Self::SwitchedWithDebt => "switched-with-debt",
            Self::Refused => "refused",
            Self::Held => "held",
            Self::Interrupted => "interrupted",
            Self::Failed(ErrorKind::Internal) => "internal-error",
            Self::Failed(ErrorKind::Usage) => "usage-error",
            Self::Failed(ErrorKind::PlaybookInvalid) => "playbook-invalid",
            Self::Failed(ErrorKind::Unreachable) => "unreachable",
            Self::Failed(ErrorKind::Locked) => "locked",
        }
    }

    /// Returns what the ending means, in a few words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done as asked",
            Self::Switched => "green serves, nothing is left to do",
            Self::NotReady => "a guardrail, a hook or a difference stops the run; nothing has changed",
            Self::Failed(ErrorKind::NotReady) => {
                "a password, directory or right is missing; nothing has changed"
            }
            Self::Released => "given up before blue was sealed; blue serves as before",
            Self::RolledBack => "given up and blue opened again; blue serves as before",
            Self::Ambiguous => "it is not certain who serves; a person must look",
            Self::SwitchedWithDebt => "green serves; a list of things is left to do",
            Self::Refused => "the operator said no; nothing has changed",
            Self::Held => "reserved: held by the operator until its time was over; not yet in use",
            Self::Interrupted => "interrupted by a signal before any change",
            Self::Failed(ErrorKind::Internal) => "a mistake in bleen, or something nobody expected",
            Self::Failed(ErrorKind::Usage) => "the command line is wrong",
            Self::Failed(ErrorKind::PlaybookInvalid) => "the playbook is wrong",
            Self::Failed(ErrorKind::Unreachable) => "a server cannot be reached or refuses the login",
            Self::Failed(ErrorKind::Locked) => "another run holds the pair",
        }
    }
}

impl From<&Outcome> for Ending {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Switched { debt } if debt.is_empty() => Self::Switched,
            Outcome::Switched { .. } => Self::SwitchedWithDebt,
            Outcome::Released { .. } => Self::Released,
            Outcome::RolledBack { .. } => Self::RolledBack,
            Outcome::Ambiguous { .. } => Self::Ambiguous,
        }
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(ending.code())
    }
}

/// Returns the table of exit codes in Markdown, as it stands in README.
#[must_use]
pub fn markdown_table() -> String {
    let rows = ALL
        .iter()
        .map(|end| format!("| {} | `{}` | {} |\n", end.code(), end.word(), end.meaning()));
    format!(
        "| code | outcome | meaning |\n|---|---|---|\n{}",
        rows.collect::<String>()
    )
}

/// Returns the table of exit codes in plain text, as it stands below `--help`.
#[must_use]
pub fn plain_table() -> String {
    let rows = ALL
        .iter()
        .map(|end| format!("  {:>3}  {:<18}  {}\n", end.code(), end.word(), end.meaning()));
    format!("Exit codes:\n{}", rows.collect::<String>())
}

/// Returns the table of exit codes as a section of a manual page, which breaks its lines as wide as the terminal is.
#[must_use]
pub fn manual_section() -> String {
    let rows = ALL.iter().map(|end| {
        let word = end.word().replace('-', "\\-");
        format!(".TP\n\\fB{}\\fR {word}\n{}\n", end.code(), end.meaning())
    });
    format!(".SH \"EXIT CODES\"\n{}", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::{Debt, Why, WhyKind};
    use crate::domain::step::Step;

    #[test]
    fn every_ending_of_the_match_is_in_the_table() {
        let codes: Vec<_> = ALL.iter().map(|ending| ending.code()).collect();
        assert!(codes.is_sorted());
        let mut distinct = codes;
        distinct.dedup();
        assert_eq!(distinct, [0, 1, 2, 3, 4, 5, 6, 64, 65, 69, 75, 130]);
    }

    #[test]
    fn an_outcome_and_its_ending_have_the_same_word() {
        let why = Why {
            step: Step::Drain,
            kind: WhyKind::DeadlineMissed,
            detail: String::new(),
        };
        let debt = vec![Debt {
            step: Step::Route,
            what: String::new(),
        }];
        for outcome in [
            Outcome::Switched { debt: Vec::new() },
            Outcome::Switched { debt },
            Outcome::Released {
                why: why.clone(),
                left: Vec::new(),
            },
            Outcome::RolledBack {
                why: why.clone(),
                left: Vec::new(),
            },
            Outcome::Ambiguous { why },
        ] {
            assert_eq!(Ending::from(&outcome).word(), outcome.word());
        }
    }

    #[test]
    fn released_and_rolled_back_are_told_apart() {
        assert_eq!(Ending::Released.code(), Ending::RolledBack.code());
        assert_ne!(Ending::Released.word(), Ending::RolledBack.word());
    }
}
