//! The run directory: one directory per run, owner only, with an append-only journal of JSON lines and a lock.
//!
//! A torn last line is legal: it is what a crash in the middle of a write leaves, and nothing after it happened. The
//! form has a version; a journal of a newer one is read by nobody older.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::ids::RunId;
use crate::engine::ports::{Journal, JournalError, Record};

/// Version of the journal's form.
pub const FORMAT: u32 = 1;

/// Longest journal that is read, in bytes; a run has a few hundred records of about a kilobyte.
const MAX_BYTES: u64 = 64 << 20;

/// How many journals one run may have beside its first.
const MOST_BESIDE: u32 = 20;

/// The journal of one run, open for appending. The lock on its file is held for as long as this lives.
#[derive(Debug)]
pub struct RunJournal {
    file: File,
    path: PathBuf,
}

impl RunJournal {
    /// Makes the run's directory and its journal.
    ///
    /// # Errors
    /// The directory cannot be made or written.
    pub fn create(runs: &Path, run: &RunId) -> Result<Self, JournalError> {
        let dir = runs.join(run.as_str());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(|e| failed(&dir, &e))?;
        Self::open(&dir.join("journal.jsonl"), true)
    }

    /// Opens a journal that is there, to go on with it.
    ///
    /// # Errors
    /// It is not there, cannot be written, or another process of this machine has it open.
    pub fn reopen(runs: &Path, run: &RunId) -> Result<Self, JournalError> {
        Self::open(&runs.join(run.as_str()).join("journal.jsonl"), false)
    }

    /// Makes a further journal beside one that another process has open, or that cannot be written any more.
    ///
    /// # Errors
    /// None can be made either.
    pub fn create_beside(runs: &Path, run: &RunId) -> Result<Self, JournalError> {
        let dir = runs.join(run.as_str());
        let mut tried = Self::open(&dir.join("resume-1.jsonl"), true);
        for number in 2..=MOST_BESIDE {
            if tried.is_ok() {
                break;
            }
            tried = Self::open(&dir.join(format!("resume-{number}.jsonl")), true);
        }
        tried
    }

    fn open(path: &Path, new: bool) -> Result<Self, JournalError> {
        let file = OpenOptions::new()
            .append(true)
            .read(true)
            .create_new(new)
            .mode(0o600)
            .open(path)
            .map_err(|e| failed(path, &e))?;
        lock(&file, path)?;
        let mut journal = Self {
            file,
            path: path.to_owned(),
        };
        if new {
            journal.sync_directory()?;
        } else {
            journal.end_torn_line()?;
        }
        Ok(journal)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The new file's name must survive a crash, too.
    fn sync_directory(&self) -> Result<(), JournalError> {
        let dir = self.path.parent().unwrap_or(&self.path);
        File::open(dir)
            .and_then(|d| d.sync_all())
            .map_err(|e| failed(dir, &e))
    }

    /// A line that a crash cut off gets its end, so that the next record stands on a line of its own.
    fn end_torn_line(&mut self) -> Result<(), JournalError> {
        let mut text = Vec::new();
        (&self.file)
            .take(MAX_BYTES)
            .read_to_end(&mut text)
            .map_err(|e| failed(&self.path, &e))?;
        if text.last().is_some_and(|byte| *byte != b'\n') {
            self.file.write_all(b"\n").map_err(|e| failed(&self.path, &e))?;
        }
        Ok(())
    }
}

/// How often a lock that somebody holds is tried again, and how long in between: a child process that was just started
/// holds its parent's files for the moment until it runs its own program.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

fn lock(file: &File, path: &Path) -> Result<(), JournalError> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(e)) => return Err(failed(path, &e)),
        }
    }
    Err(JournalError {
        path: path.display().to_string(),
        why: "another process has it open".to_owned(),
    })
}

fn failed(path: &Path, error: &std::io::Error) -> JournalError {
    JournalError {
        path: path.display().to_string(),
        why: error.to_string(),
    }
}

impl Journal for RunJournal {
    fn append(&mut self, record: &Record, durable: bool) -> Result<(), JournalError> {
        let mut line = serde_json::to_vec(record).map_err(|e| JournalError {
            path: self.path.display().to_string(),
            why: e.to_string(),
        })?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|e| failed(&self.path, &e))?;
        if durable {
            self.file.sync_data().map_err(|e| failed(&self.path, &e))?;
        }
        Ok(())
    }
}

/// Takes records and keeps none, for ending a run where no journal can be written.
#[derive(Debug)]
pub struct Nowhere;

impl Journal for Nowhere {
    fn append(&mut self, _: &Record, _: bool) -> Result<(), JournalError> {
        Ok(())
    }
}

/// Whether a run's journal can be written: makes the directory and a file in it, and takes the file away.
///
/// # Errors
/// It cannot.
pub fn check_writable(runs: &Path) -> Result<(), JournalError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(runs)
        .map_err(|e| failed(runs, &e))?;
    let mode = runs
        .metadata()
        .map_err(|e| failed(runs, &e))?
        .permissions()
        .mode();
    if mode & 0o022 != 0 {
        return Err(JournalError {
            path: runs.display().to_string(),
            why: format!(
                "others may write there (mode {:o}): `chmod go-w` it",
                mode & 0o777
            ),
        });
    }
    let probe = runs.join(format!(".probe-{}", std::process::id()));
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&probe);
    made.map_err(|e| failed(runs, &e))?;
    std::fs::remove_file(&probe).map_err(|e| failed(&probe, &e))
}

/// The runs that have a journal here, oldest first. Run ids sort by their time.
///
/// # Errors
/// The directory cannot be read; one that is not there has no runs.
pub fn runs(runs: &Path) -> Result<Vec<RunId>, JournalError> {
    let entries = match std::fs::read_dir(runs) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(runs, &e)),
    };
    let mut ids: Vec<RunId> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("journal.jsonl").exists())
        .filter_map(|entry| RunId::new(entry.file_name().to_string_lossy()).ok())
        .collect();
    ids.sort();
    Ok(ids)
}

/// Reads a run's records. A last line that is torn, or that is not a record, ends the journal there.
///
/// # Errors
/// The file cannot be read, or its form is newer than this bleen's.
pub fn read(runs: &Path, run: &RunId) -> Result<Vec<Record>, JournalError> {
    read_file(&runs.join(run.as_str()).join("journal.jsonl"))
}

/// Reads the records of a run's further journals, made by those who took it over while its first was in use.
///
/// # Errors
/// As [`read`].
pub fn read_beside(runs: &Path, run: &RunId) -> Result<Vec<Record>, JournalError> {
    let dir = runs.join(run.as_str());
    let mut records = Vec::new();
    for number in 1..=MOST_BESIDE {
        let path = dir.join(format!("resume-{number}.jsonl"));
        if !path.exists() {
            break;
        }
        records.extend(read_file(&path)?);
    }
    Ok(records)
}

fn read_file(path: &Path) -> Result<Vec<Record>, JournalError> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text))
        .map_err(|e| failed(path, &e))?;
    let mut records = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        // Without its line end a record was not finished, even if it can be read.
        let Some(line) = line.strip_suffix(b"\n") else {
            break;
        };
        let Ok(record) = serde_json::from_slice::<Record>(line) else {
            continue;
        };
        if let Record::Run { format, .. } = record
            && format > FORMAT
        {
            return Err(JournalError {
                path: path.display().to_string(),
                why: format!("it was written by a newer bleen (form {format}, this one knows {FORMAT})"),
            });
        }
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_run() -> Record {
        Record::Run {
            format: FORMAT,
            run: "r-1".into(),
            pair: "shop".into(),
            playbook: "abc".into(),
            operator: "me".into(),
        }
    }

    fn note(number: u32) -> Record {
        Record::Undo {
            side: "blue".into(),
            what: number.to_string(),
            statement: "x".into(),
            seq: number,
        }
    }

    #[test]
    fn a_journal_cut_at_any_byte_is_read_up_to_its_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::new("r-1").unwrap();
        let mut journal = RunJournal::create(dir.path(), &run).unwrap();
        journal.append(&a_run(), true).unwrap();
        journal.append(&note(1), true).unwrap();
        let path = journal.path().to_owned();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        let first_line = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
        for cut in first_line..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(read(dir.path(), &run).unwrap().len(), 1, "cut at {cut}");
            let mut again = RunJournal::reopen(dir.path(), &run).unwrap();
            again.append(&note(2), false).unwrap();
            drop(again);
            let records = read(dir.path(), &run).unwrap();
            assert!(
                matches!(records.last(), Some(Record::Undo { what, .. }) if what == "2"),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn owner_only_and_one_writer() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::new("r-1").unwrap();
        let journal = RunJournal::create(dir.path(), &run).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(journal.path()), 0o600);
        assert_eq!(mode(journal.path().parent().unwrap()), 0o700);
        let second = RunJournal::reopen(dir.path(), &run).unwrap_err();
        assert!(second.why.contains("another process"), "{second}");
        assert_eq!(runs(dir.path()).unwrap(), [run]);
    }

    #[test]
    fn a_newer_form_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::new("r-1").unwrap();
        let journal = RunJournal::create(dir.path(), &run).unwrap();
        std::fs::write(journal.path(), "{\"record\":\"run\",\"format\":99,\"run\":\"r-1\",\"pair\":\"p\",\"playbook\":\"\",\"operator\":\"\"}\n").unwrap();
        assert!(read(dir.path(), &run).unwrap_err().why.contains("newer"));
    }
}
