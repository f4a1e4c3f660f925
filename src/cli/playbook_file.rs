//! Reads a playbook from its file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::CliError;
use super::exit::ErrorKind;
use crate::playbook::{self, Playbook};

/// A little more than the longest text that [`playbook::load`] accepts, so that it can say that there is too much.
const MAX_BYTES: u64 = (1 << 20) + 1;

/// Reads and checks a playbook.
///
/// # Errors
/// Usage when the file cannot be read; *playbook invalid* with every problem when it can.
pub fn read(path: &Path) -> Result<Playbook, CliError> {
    let name = path.display().to_string();
    let failed = |seen: String| CliError::new(ErrorKind::Usage, format!("read `{name}`"), seen);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|error| {
            failed(error.to_string()).hint("name the playbook's file: `bleen check PLAYBOOK`")
        })?;
    let text = String::from_utf8(bytes).map_err(|_| CliError {
        kind: ErrorKind::PlaybookInvalid,
        ..failed("not UTF-8 text".to_owned())
    })?;
    Ok(playbook::load(&text, &name)?)
}
