//! The only place that prints. stdout is data, stderr is talk.
//!
//! A reader that went away (`bleen … | head`) and a terminal that is gone are no errors: a run goes on without them.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::json;

use super::args::Output;
use super::error::CliError;
use super::exit::Ending;
use super::picture::picture;
use crate::report::{Line, Stream};

pub use crate::report::Tone;

/// How wide a picture is drawn when nobody says how wide the terminal is.
const DEFAULT_WIDTH: usize = 100;

/// Where the words of a command go.
pub struct Printer {
    output: Output,
    stdout: Sink,
    stderr: Sink,
    width: usize,
}

/// One of the two streams.
struct Sink {
    stream: Box<dyn Write + Send>,
    has_colour: bool,
    /// Set when the reader is gone; nothing more is written then.
    is_closed: bool,
    /// The first other failure, for the exit code.
    failed: Option<io::Error>,
}

impl Sink {
    fn write(&mut self, text: &str) {
        if self.is_closed {
            return;
        }
        let written = self
            .stream
            .write_all(text.as_bytes())
            .and_then(|()| self.stream.flush());
        if let Err(error) = written {
            self.is_closed = true;
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.failed = Some(error);
            }
        }
    }
}

/// The colour of a tone, as a terminal wants it.
const fn colour(tone: Tone) -> Option<&'static str> {
    match tone {
        Tone::Error => Some("31"),
        Tone::Warning => Some("33"),
        Tone::Hint => Some("36"),
        Tone::Good => Some("32"),
        Tone::Plain => None,
    }
}

impl Printer {
    /// Makes the printer of the process: colour only on a terminal, and never when `NO_COLOR` is set.
    #[must_use]
    pub fn new(output: Output) -> Self {
        let wants_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let width = std::env::var("COLUMNS")
            .ok()
            .and_then(|columns| columns.parse().ok());
        Self::with(
            output,
            (Box::new(io::stdout()), wants_colour && io::stdout().is_terminal()),
            (Box::new(io::stderr()), wants_colour && io::stderr().is_terminal()),
            width.unwrap_or(DEFAULT_WIDTH),
        )
    }

    /// Makes a printer on other streams, each with whether it shows colour; for tests.
    #[must_use]
    pub fn with(
        output: Output,
        stdout: (Box<dyn Write + Send>, bool),
        stderr: (Box<dyn Write + Send>, bool),
        width: usize,
    ) -> Self {
        let sink = |(stream, has_colour)| Sink {
            stream,
            has_colour,
            is_closed: false,
            failed: None,
        };
        Self {
            output,
            stdout: sink(stdout),
            stderr: sink(stderr),
            width,
        }
    }

    /// Returns what the command line asked for.
    #[must_use]
    pub fn output(&self) -> Output {
        self.output
    }

    /// Prints a line of data on stdout.
    pub fn data(&mut self, line: &str) {
        self.stdout.write(&format!("{line}\n"));
    }

    /// Prints text on stdout as it is: generated files.
    pub fn raw(&mut self, text: &str) {
        self.stdout.write(text);
    }

    /// Prints one line of a report on its stream.
    pub fn line(&mut self, line: &Line) {
        let sink = match line.stream {
            Stream::Data => &mut self.stdout,
            Stream::Talk => &mut self.stderr,
        };
        let mark = painted(&line.mark, line.tone, sink.has_colour);
        sink.write(&format!(
            "{}\n",
            format!("{}{mark}{}", line.margin, line.text).trim_end()
        ));
    }

    /// Prints one JSON line on stdout.
    pub fn json(&mut self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(line) => self.data(&line),
            Err(error) => self.talk(&format!("failed to write a value as JSON: {error}")),
        }
    }

    /// Prints a line of talk on stderr.
    pub fn talk(&mut self, line: &str) {
        self.stderr.write(&format!("{line}\n"));
    }

    /// Prints a line of talk that begins with a word, `warning: …`, in the word's colour.
    pub fn say(&mut self, tone: Tone, word: &str, rest: &str) {
        let word = painted(&format!("{word}:"), tone, self.stderr.has_colour);
        self.talk(&format!("{word} {rest}"));
    }

    /// Returns `text` in its colour if stdout shows colours.
    #[must_use]
    pub fn paint(&self, text: &str, tone: Tone) -> String {
        painted(text, tone, self.stdout.has_colour)
    }

    /// Prints an error with its hints, and with `--output json` also as data.
    pub fn error(&mut self, error: &CliError) {
        if let Some(wrong) = &error.diagnostics {
            let drawn = picture(wrong, self.width, self.stderr.has_colour);
            self.stderr.write(&drawn);
        } else {
            self.say(Tone::Error, "error", &error.to_string());
        }
        for hint in &error.hints {
            self.say(Tone::Hint, "hint", hint);
        }
        if self.output == Output::Json {
            for problem in error.diagnostics.iter().flat_map(|wrong| wrong.located()) {
                self.json(&json!({
                    "type": "problem", "file": problem.file_name, "line": problem.line, "column": problem.column,
                    "message": problem.message,
                }));
            }
            let ending = Ending::Failed(error.kind);
            self.json(&json!({
                "type": "error", "outcome": ending.word(), "exit_code": ending.code(), "doing": error.doing,
                "server": error.server, "seen": error.seen, "changed": error.changed, "hints": error.hints,
            }));
        }
    }

    /// Returns the first failure to write that was not just a reader going away.
    pub fn take_failure(&mut self) -> Option<io::Error> {
        self.stdout.failed.take()
    }
}

fn painted(text: &str, tone: Tone, has_colour: bool) -> String {
    match colour(tone) {
        Some(code) if has_colour && !text.is_empty() => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        _ => text.to_owned(),
    }
}

/// Returns the stream for log lines: talk, like everything that is no data.
#[must_use]
pub fn log_stream() -> io::Stderr {
    io::stderr()
}

/// Says whether log lines may have colours.
#[must_use]
pub fn log_has_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn colour_adds_nothing_that_is_not_there_without_it() {
        let (plain, coloured) = (Shared::default(), Shared::default());
        for (sink, colour) in [(&plain, false), (&coloured, true)] {
            let streams = (Box::new(Shared::default()) as Box<dyn Write + Send>, false);
            let mut printer = Printer::with(Output::Human, streams, (Box::new(sink.clone()), colour), 100);
            printer.say(Tone::Warning, "warning", "x");
        }
        assert_eq!(plain.text(), "warning: x\n");
        assert_eq!(
            coloured.text().replace("\u{1b}[33m", "").replace("\u{1b}[0m", ""),
            plain.text()
        );
    }

    #[test]
    fn a_reader_that_went_away_is_no_error_and_a_full_disk_is() {
        for (kind, is_error) in [
            (io::ErrorKind::BrokenPipe, false),
            (io::ErrorKind::StorageFull, true),
        ] {
            let talk = Shared::default();
            let mut printer = Printer::with(
                Output::Human,
                (Box::new(Failing(kind)), false),
                (Box::new(talk.clone()), false),
                80,
            );
            printer.data("x");
            printer.data("y");
            printer.talk("still here");
            assert_eq!(printer.take_failure().is_some(), is_error);
            assert_eq!(talk.text(), "still here\n");
        }
    }
}
