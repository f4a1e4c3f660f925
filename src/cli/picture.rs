//! Draws everything that is wrong with a playbook into one picture of its text.

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use crate::playbook::Diagnostics;

/// A playbook's problems in the shape that the drawing crate wants.
#[derive(Debug)]
struct Drawing<'a> {
    wrong: &'a Diagnostics,
    text: NamedSource<String>,
}

impl std::fmt::Display for Drawing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.wrong.fmt(f)
    }
}

impl std::error::Error for Drawing<'_> {}

impl Diagnostic for Drawing<'_> {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.text)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.wrong.problems.iter().map(|problem| {
            LabeledSpan::new(
                Some(wrapped(&problem.message)),
                problem.span.start,
                problem.span.len,
            )
        })))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(format!(
            "run `bleen check {}` again after editing",
            self.wrong.file_name
        )))
    }
}

/// Longest line of a label, in characters; labels begin somewhere in the middle of the picture.
const LABEL_WIDTH: usize = 68;

/// Breaks a label into lines, which the drawing crate does not do by itself.
fn wrapped(message: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    let mut is_quoted = false;
    // What stands in backticks is to be copied, so it stays on one line.
    let words = message.split(|c: char| {
        is_quoted ^= c == '`';
        c == ' ' && !is_quoted
    });
    for word in words {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > LABEL_WIDTH {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// Returns the picture, `width` columns wide, ending with a line end. Every mark is also a glyph and a word: colour
/// adds nothing that is not there without it.
#[must_use]
pub fn picture(wrong: &Diagnostics, width: usize, colour: bool) -> String {
    let theme = if colour {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width)
        .with_links(false)
        .with_context_lines(1);
    let drawing = Drawing {
        wrong,
        text: NamedSource::new(&wrong.file_name, wrong.text.clone()),
    };
    let mut out = String::new();
    if wrong.text.is_empty() || handler.render_report(&mut out, &drawing).is_err() {
        // A span that does not fit its text, or no text to point at, must not hide what is wrong.
        out = format!("{wrong}\n");
        for problem in &wrong.problems {
            out.push_str(&format!("  {}\n", problem.message));
        }
    }
    out
}
