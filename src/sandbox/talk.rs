//! What the sandbox says while it works: plain lines, and a progress bar where a person is looking.
//!
//! Always stderr; stdout is for data. Must not know who listens.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where talk goes. Cheap to clone.
#[derive(Clone, Default)]
pub enum Talk {
    /// Lines and bars on stderr. Bars only when stderr is a terminal.
    Stderr,
    /// Nothing.
    #[default]
    Silent,
    /// Lines into a list, for tests and for callers that show them their own way.
    Collected(Arc<Mutex<Vec<String>>>),
}

impl std::fmt::Debug for Talk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stderr => "Stderr",
            Self::Silent => "Silent",
            Self::Collected(_) => "Collected",
        })
    }
}

impl Talk {
    /// Says one line.
    pub fn line(&self, text: &str) {
        match self {
            // Nobody to tell when stderr itself is broken.
            Self::Stderr => drop(writeln!(std::io::stderr(), "{text}")),
            Self::Silent => {}
            Self::Collected(lines) => {
                lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(text.to_owned());
            }
        }
    }

    /// Says one line that somebody should act on or at least know.
    pub fn warning(&self, text: &str) {
        self.line(&format!("warning: {text}"));
    }

    /// A bar that counts bytes up to `total`, or only turns when the total is not known. On anything but a terminal it
    /// is one line now.
    pub(crate) fn bytes_bar(&self, what: &str, total: Option<u64>) -> ProgressBar {
        if !(matches!(self, Self::Stderr) && std::io::stderr().is_terminal()) {
            let size = total
                .map(|t| format!(" ({})", indicatif::HumanBytes(t)))
                .unwrap_or_default();
            self.line(&format!("{what}{size}"));
            return ProgressBar::hidden();
        }
        let template = match total {
            Some(_) => "{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
            None => "{msg} {spinner} {elapsed}",
        };
        let bar = match total {
            Some(t) => ProgressBar::with_draw_target(Some(t), ProgressDrawTarget::stderr()),
            None => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}
