//! Outputs of a run: each a fold over its events into lines.
//!
//! Nothing here prints, reads a clock or knows the engine beyond its events: lines go out, `cli` prints them.

pub mod human;
pub mod json;
mod proof;
mod words;

/// Which of the two streams a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// stdout: what was asked for.
    Data,
    /// stderr: how it is going.
    Talk,
}

/// What a mark means; shown as a colour where there is one, and always as the mark itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Something is wrong.
    Error,
    /// Something deserves a look.
    Warning,
    /// What to do next.
    Hint,
    /// Something is well.
    Good,
    /// Neither.
    Plain,
}

/// One line of output without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it goes.
    pub stream: Stream,
    /// What stands before the mark: time and margin.
    pub margin: String,
    /// A glyph or word that carries the line's meaning; the only part that is coloured. May be empty.
    pub mark: String,
    /// What the mark means.
    pub tone: Tone,
    /// The rest.
    pub text: String,
}

impl Line {
    /// Returns the line as plain text.
    #[must_use]
    pub fn plain(&self) -> String {
        format!("{}{}{}", self.margin, self.mark, self.text)
            .trim_end()
            .to_owned()
    }
}
