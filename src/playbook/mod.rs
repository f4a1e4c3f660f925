//! Playbooks: YAML text in, settings or diagnostics out.
//!
//! Pure: no file is opened here and no server asked. The text becomes a tree (`tree.rs`), the tree keys with places
//! (`syntax.rs`, read by `decode.rs`), the keys settings (`lower.rs`, `check.rs`, into `model.rs`). Each stage goes on
//! after a problem, so that all problems of a file are shown at once.

pub mod builtin;
mod check;
pub(crate) mod decode;
pub mod diagnostics;
pub mod limits;
mod lower;
pub mod model;
pub mod schema;
mod sql;
mod syntax;
pub(crate) mod tree;

use decode::Decode;
use diagnostics::Problems;

pub use diagnostics::{Diagnostics, Problem, Span};
pub use model::Playbook;

/// Largest playbook that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Reads a playbook.
///
/// `file_name` is only shown. Nothing is opened.
///
/// # Errors
/// Every problem of the text, at least one, each with its place and a remedy.
pub fn load(text: &str, file_name: &str) -> Result<Playbook, Diagnostics> {
    let mut problems = Problems::default();
    let playbook = read(text, &mut problems);
    match playbook {
        Some(playbook) if problems.is_empty() => Ok(playbook),
        _ => Err(problems.into_diagnostics(file_name, text)),
    }
}

fn read(text: &str, problems: &mut Problems) -> Option<Playbook> {
    if text.len() > MAX_BYTES {
        problems.add(Span::default(), "over 1 MiB: this is no playbook");
        return None;
    }
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        problems.add(
            Span::default(),
            "nothing in here; a playbook begins with `version: 1`",
        );
        return None;
    }
    let node = match tree::parse(text) {
        Ok(node) => node,
        Err((span, words)) => {
            problems.add(span, words);
            return None;
        }
    };
    let file = syntax::File::decode(&node, problems)?;
    let playbook = lower::playbook(&file, problems);
    check::across(&file, &playbook, problems);
    Some(playbook)
}
