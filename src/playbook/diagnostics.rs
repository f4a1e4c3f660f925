//! What is wrong with a playbook: every problem of a file, each pointing into its text, with a remedy.
//!
//! Plain data. How it is drawn is the command line's business. The text kept here never holds a secret: values of
//! keys that look like passwords are masked before anything is stored.

use std::fmt;

/// A stretch of the playbook's text, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Where it begins.
    pub start: usize,
    /// How long it is; 0 points at the place between two characters.
    pub len: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The text it points at.
    pub span: Span,
    /// What is wrong and what to write instead: a lowercase fragment without a full stop.
    pub message: String,
}

/// Every problem of one playbook. Never empty when returned as an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    /// The name under which the text was loaded.
    pub file_name: String,
    /// The text, with secrets masked by asterisks of the same length, so that spans still fit.
    pub text: String,
    /// The problems in the order of the text.
    pub problems: Vec<Problem>,
}

/// A problem with its place in lines and columns, both counted from 1, for outputs that draw no picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<'a> {
    /// The playbook's file.
    pub file_name: &'a str,
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
    /// As [`Problem::message`].
    pub message: &'a str,
}

impl Diagnostics {
    /// Returns every problem with its line and column.
    pub fn located(&self) -> impl Iterator<Item = Located<'_>> {
        self.problems.iter().map(|problem| {
            let before = self.text.get(..problem.span.start).unwrap_or(&self.text);
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            Located {
                file_name: &self.file_name,
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                message: &problem.message,
            }
        })
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(f, "1 problem in `{}`", self.file_name),
            n => write!(f, "{n} problems in `{}`", self.file_name),
        }
    }
}

impl std::error::Error for Diagnostics {}

/// Collects problems while a playbook is read.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    /// Records one problem.
    pub(super) fn add(&mut self, span: Span, message: impl Into<String>) {
        self.found.push(Problem {
            span,
            message: message.into(),
        });
    }

    /// Says whether nothing was found so far.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Turns the collection into an error about `text`, sorted by place, secrets masked.
    pub(super) fn into_diagnostics(mut self, file_name: &str, text: &str) -> Diagnostics {
        self.found.sort_by_key(|problem| problem.span);
        // Two labels at one place would be drawn over each other.
        self.found.dedup_by(|later, first| {
            let same = later.span == first.span;
            if same {
                first.message = format!("{}; {}", first.message, later.message);
            }
            same
        });
        Diagnostics {
            file_name: file_name.to_owned(),
            text: mask_secrets(text),
            problems: self.found,
        }
    }
}

/// Returns the candidate that `word` was probably meant to be.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word.to_lowercase(), candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Words that name a secret, also misspelt.
const SECRET_KEYS: [&str; 6] = ["password", "passwd", "pwd", "pass", "secret", "token"];

/// Says whether a key is, or was probably meant to be, one that holds a secret.
fn names_a_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET_KEYS
        .iter()
        .any(|secret| key.contains(secret) || strsim::damerau_levenshtein(&key, secret) <= key.len() / 4)
}

/// Replaces the inline values of keys that look like passwords, so that a picture of the file never shows one.
///
/// Works on lines and not on the YAML tree, because the text may not even be YAML. A mapping (`{ env: NAME }`), the
/// word `prompt` and a key without a value are left alone: they name a source and are no secret.
fn mask_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // The column of a secret's key while the lines of its block value (`password: |`) follow.
    let mut block: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if let Some(column) = block {
            if line.trim().is_empty() || indent > column {
                mask_into(&mut out, line, 0);
                continue;
            }
            block = None;
        }
        match secret_value(line) {
            Some((at, starts_block)) => {
                if starts_block {
                    block = Some(indent);
                }
                mask_into(&mut out, line, at);
            }
            None => out.push_str(line),
        }
    }
    out
}

/// Finds where the inline secret of a line begins, and whether the value goes on in the lines below.
fn secret_value(line: &str) -> Option<(usize, bool)> {
    let mut from = 0;
    while let Some(colon) = line[from..].find(':').map(|at| from + at) {
        from = colon + 1;
        let key_start = line[..colon]
            .rfind(|c: char| !(c.is_alphanumeric() || "_-'\"".contains(c)))
            .map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
        let key = line[key_start..colon].trim_matches(['"', '\'']);
        let rest = &line[from..];
        let value = rest.trim();
        if key.is_empty() || !names_a_secret(key) || !rest.starts_with([' ', '\t']) {
            continue;
        }
        let is_source = value.is_empty()
            || value.starts_with(['{', '#', '*', '&'])
            || value
                .split(['#', ',', '}'])
                .next()
                .unwrap_or("")
                .trim()
                .trim_matches(['"', '\''])
                == "prompt";
        if !is_source {
            let at = from + (rest.len() - rest.trim_start().len());
            // A quoted or plain value may be folded over the lines below, too.
            return Some((at, true));
        }
    }
    None
}

/// Appends `line` with everything from byte `at` masked, keeping its length, its line end and its blanks.
fn mask_into(out: &mut String, line: &str, at: usize) {
    out.push_str(&line[..at]);
    for c in line[at..].chars() {
        if c.is_whitespace() {
            out.push(c);
        } else {
            out.extend(std::iter::repeat_n('*', c.len_utf8()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_inline_secrets_and_keeps_lengths() {
        let text = "  password: hunter2 # ä\n  pasword: \"x y\"\n  api_token: ß\n  user: bob\n";
        let masked = mask_secrets(text);
        assert_eq!(masked.len(), text.len());
        for secret in ["hunter2", "x y", "ß"] {
            assert!(!masked.contains(secret), "{masked}");
        }
        assert!(masked.contains("user: bob"));
    }

    #[test]
    fn masks_block_secrets_and_flow_secrets() {
        let masked = mask_secrets(
            "a:\n  password: |\n    hunter2\n    more\n  user: bob\nb: { user: x, password: hunter3 }\n",
        );
        assert!(!masked.contains("hunter") && !masked.contains("more"), "{masked}");
        assert!(masked.contains("user: bob"));
    }

    #[test]
    fn leaves_sources_alone() {
        for line in [
            "password: { env: SHOP }\n",
            "password: prompt\n",
            "{ password: prompt, tls: x }\n",
            "password:\n    file: /x\n",
            "bypass:1\n",
        ] {
            assert_eq!(mask_secrets(line), line);
        }
    }

    #[test]
    fn suggests_only_what_is_alike() {
        assert_eq!(did_you_mean("deadlin", ["window", "deadline"]), Some("deadline"));
        assert_eq!(did_you_mean("zebra", ["window", "deadline"]), None);
    }
}
