//! The file of statements that would make green equal to blue.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::error::CliError;
use super::exit::ErrorKind;
use crate::domain::ids::Side;
use crate::domain::proof::drill::Differs;
use crate::engine::event::Difference;

/// What whoever runs the file has to know, and the settings under which its values mean what they meant on blue.
const HEAD: &str = "\
-- Statements that make rows of green equal to those of blue, as they were when they were compared.
-- Read them first. Run them on GREEN only, while it follows blue; it is read-only, so open it for your own session's
-- account or for that long. They are kept out of green's binlog, or green would hold transactions that blue has not.
-- Then run `bleen validate` again: a row that blue has changed meanwhile may need it once more.
-- Triggers of green fire for them: where a table has some, look at what they do first.
SET NAMES utf8mb4;
SET SESSION sql_log_bin = 0;
SET SESSION time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES', foreign_key_checks = 0;
START TRANSACTION;
";

/// Sees that the file can be made: one that is there already is never overwritten.
///
/// # Errors
/// It is there, or its directory is not.
pub fn see_writable(file: &Path) -> Result<(), CliError> {
    let refused = |seen: String| {
        CliError::new(
            ErrorKind::NotReady,
            format!("write the repairing statements to {}", file.display()),
            seen,
        )
        .hint("name another file: `--repair-sql FILE`")
    };
    if file.exists() {
        return Err(refused("the file is there already".to_owned()));
    }
    match file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) if !parent.is_dir() => Err(refused(format!("{} is not a directory", parent.display()))),
        _ => Ok(()),
    }
}

/// Writes the file; only its owner can read it, for it holds values of rows.
///
/// # Errors
/// It cannot be written.
pub fn write(file: &Path, differences: &[Difference], more: u64) -> Result<(), CliError> {
    let mut text = HEAD.to_owned();
    // What green has too much goes first: it may have the unique values of what it lacks.
    let (only_green, others): (Vec<_>, Vec<_>) = differences
        .iter()
        .partition(|found| found.how == Differs::OnlyOn(Side::Green));
    for found in only_green.into_iter().chain(others) {
        match &found.repair {
            Some(statement) => writeln!(text, "{statement}"),
            None if found.rows.is_some() => writeln!(
                text,
                "-- {} has no key that both sides share: which of its rows differ cannot be told; copy it as a whole",
                one_line(&found.table)
            ),
            None => writeln!(
                text,
                "-- a row of {} that no statement can repair",
                one_line(&found.table)
            ),
        }
        .unwrap_or_default();
    }
    if more > 0 {
        writeln!(text, "-- {more} more rows differ, whose values were not read.").unwrap_or_default();
    }
    text.push_str("COMMIT;\n");
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut opened| opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all()));
    written.map_err(|e| {
        CliError::new(
            ErrorKind::NotReady,
            format!("write the repairing statements to {}", file.display()),
            e.to_string(),
        )
    })
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
