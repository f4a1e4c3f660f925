//! Directories of running sandboxes, and the sweep that removes what an earlier run left when it was killed.
//!
//! Each sandbox has a state file in the cache: its directory, the process that owns it, every process started in it.
//! The sweep touches a sandbox only when its owner is gone, ends only processes whose id, start time and command line
//! are the recorded ones, and removes only directories that bear the sandbox's own mark.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::cache::{Cache, random_hex, remove_tree};
use super::error::SandboxError;
use super::process::{ProcessId, end_stranger};

/// First part of every sandbox directory's name.
const PREFIX: &str = "bleen-sandbox-";
/// The file that marks a directory as a sandbox's; it holds the sandbox's name.
const MARK: &str = ".bleen-sandbox";

/// What is written down about a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    dir: PathBuf,
    /// Boot and process-id namespace: process ids mean nothing in another.
    machine: String,
    owner: ProcessId,
    processes: Vec<Started>,
}

/// A process started in the sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Started {
    id: ProcessId,
    /// An argument of its command line that names a file of this sandbox.
    argument: String,
}

/// The directory of a sandbox. Removed, with its state file, when dropped: everything in it must have ended by then.
#[derive(Debug)]
pub struct SandboxDir {
    dir: PathBuf,
    state_file: PathBuf,
    state: Mutex<State>,
}

impl SandboxDir {
    /// Makes a directory for a sandbox below `parent` (the temporary directory if `None`), after a sweep.
    ///
    /// # Errors
    /// [`SandboxError::Io`] when a directory or file cannot be made.
    pub fn create(cache: &Cache, parent: Option<&Path>) -> Result<Self, SandboxError> {
        sweep(cache)?;
        let name = format!("{PREFIX}{}", random_hex()?);
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let parent = std::path::absolute(&parent).unwrap_or(parent);
        std::fs::create_dir_all(&parent)
            .map_err(SandboxError::io(format!("creating {}", parent.display())))?;
        let dir = parent.join(&name);
        let no_self = || std::io::Error::other("/proc does not show this process");
        let owner = ProcessId::own()
            .ok_or_else(no_self)
            .map_err(SandboxError::io("reading /proc"))?;
        let state = State {
            dir: dir.clone(),
            machine: machine(),
            owner,
            processes: Vec::new(),
        };
        let state_file = cache.dir("sandboxes")?.join(format!("{name}.json"));
        // Written down first: a directory without a record would stay for ever.
        write(&state_file, &state)?;
        let made = Self {
            dir,
            state_file,
            state: Mutex::new(state),
        };
        let what = |p: &Path| SandboxError::io(format!("creating {}", p.display()));
        make_private_dir(&made.dir).map_err(what(&made.dir))?;
        std::fs::write(made.dir.join(MARK), &name).map_err(what(&made.dir))?;
        Ok(made)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Writes a process down before it runs.
    pub(crate) fn record(&self, id: ProcessId, argument: &str) -> Result<(), SandboxError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.processes.retain(|p| p.id.is_alive());
        state.processes.push(Started {
            id,
            argument: argument.to_owned(),
        });
        write(&self.state_file, &state)
    }
}

impl Drop for SandboxDir {
    fn drop(&mut self) {
        // If the directory cannot be removed, its record stays and the next run tries again.
        if remove_tree(&self.dir).is_ok() {
            drop(std::fs::remove_file(&self.state_file));
        }
    }
}

/// A directory that only this user may enter: it holds data and passwordless sockets.
fn make_private_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(dir)
}

/// Boot id and process-id namespace, where the system tells.
fn machine() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", boot.trim(), space.display())
}

/// Writes a state file whole: readers see the old one or the new one.
fn write(path: &Path, state: &State) -> Result<(), SandboxError> {
    let what = format!("writing {}", path.display());
    let text = serde_json::to_vec(state).map_err(|e| SandboxError::io(what.clone())(e.into()))?;
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(SandboxError::io(what))
}

/// What a sweep did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Processes that were ended.
    pub ended: Vec<u32>,
    /// Directories that were removed.
    pub removed: Vec<PathBuf>,
    /// Directories that were left, because something in them could not be ended or is not known.
    pub left: Vec<PathBuf>,
}

/// Ends and removes what sandboxes whose owner is gone have left. Does nothing while another process sweeps.
///
/// # Errors
/// [`SandboxError::Io`] when the cache cannot be read; what cannot be removed is in [`Swept::left`].
pub fn sweep(cache: &Cache) -> Result<Swept, SandboxError> {
    let mut swept = Swept::default();
    let Some(_lock) = cache.try_lock("sweep")? else {
        return Ok(swept);
    };
    let states = cache.dir("sandboxes")?;
    let entries =
        std::fs::read_dir(&states).map_err(SandboxError::io(format!("reading {}", states.display())))?;
    let here = machine();
    for path in entries.filter_map(|e| Some(e.ok()?.path())) {
        if path.extension().is_none_or(|x| x != "json") {
            continue;
        }
        // Gone meanwhile, or not ours to understand.
        let Ok(text) = std::fs::read(&path) else { continue };
        let Ok(state) = serde_json::from_slice::<State>(&text) else {
            continue;
        };
        let same_boot = state.machine.split(' ').next() == here.split(' ').next();
        let same_machine = state.machine == here;
        // Another container's processes cannot be seen from here, so nothing is known about them.
        if (same_boot && !same_machine) || (same_machine && state.owner.is_alive()) {
            continue;
        }
        let mut all_gone = true;
        if same_machine {
            for started in &state.processes {
                if started.id.is_alive() {
                    let gone = end_stranger(started.id, &started.argument);
                    all_gone &= gone;
                    swept.ended.extend(gone.then_some(started.id.pid));
                }
            }
        }
        // A server whose directory goes away does not stop but writes errors without end: so never before it is gone.
        if all_gone && remove_marked(&state.dir, &path) {
            drop(std::fs::remove_file(&path));
            swept.removed.push(state.dir);
        } else {
            swept.left.push(state.dir);
        }
    }
    Ok(swept)
}

/// Removes a directory that bears the mark of the sandbox whose state file this is; answers whether it is gone.
fn remove_marked(dir: &Path, state_file: &Path) -> bool {
    if !dir.exists() {
        return true;
    }
    let name = state_file
        .file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default();
    let named = name.starts_with(PREFIX) && dir.file_name().is_some_and(|n| *n == *name);
    let mark = std::fs::read_to_string(dir.join(MARK)).unwrap_or_default();
    // A directory made a moment before its owner was killed may not have its mark yet; then it is empty.
    let empty = std::fs::read_dir(dir).is_ok_and(|mut d| d.next().is_none());
    named && (mark == name || empty) && remove_tree(dir).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn sleeper(argument: &str) -> Child {
        // Waits for a line that never comes; ends by itself when this process does.
        let waits = ["-c", "read -r never", "sh", argument];
        Command::new("sh")
            .args(waits)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Leaves a sandbox behind as a `kill -9` would: record and directory stay, the owner is gone.
    fn leave_behind(cache: &Cache, parent: &Path, processes: Vec<Started>) -> PathBuf {
        let made = SandboxDir::create(cache, Some(parent)).unwrap();
        let mut state = made.state.lock().unwrap().clone();
        // A start time no process has now: this owner is gone.
        state.owner.started += 1;
        state.processes = processes;
        write(&made.state_file, &state).unwrap();
        let dir = made.dir.clone();
        std::mem::forget(made);
        dir
    }

    #[test]
    fn what_a_killed_run_left_is_ended_and_removed_and_nothing_else() {
        let tmp = tempfile::tempdir().unwrap();
        let cache = Cache::at(tmp.path().join("cache"));
        let (mut ours, mut reused, mut other) = (sleeper("--mine"), sleeper("--mine"), sleeper("--theirs"));
        let id = |c: &Child| ProcessId::of(c.id()).unwrap();
        let started = |id: ProcessId| Started {
            id,
            argument: "--mine".into(),
        };
        let (a, b, c) = (id(&ours), id(&reused), id(&other));
        let earlier = ProcessId {
            started: b.started - 1,
            ..b
        };
        // One that is ours, one whose id went to a later process.
        let left = leave_behind(&cache, tmp.path(), vec![started(a), started(earlier)]);
        // One whose command line is not the recorded one: not ended, and its directory stays.
        let unsure = leave_behind(&cache, tmp.path(), vec![started(c)]);
        let living = SandboxDir::create(&cache, Some(tmp.path())).unwrap();

        // Creating `living` has swept already.
        assert!(!left.exists() && unsure.exists() && living.path().exists());
        assert!(ours.try_wait().unwrap().is_some(), "recorded and matching: ended");
        assert!(
            reused.try_wait().unwrap().is_none(),
            "another start time: not ours"
        );
        assert!(
            other.try_wait().unwrap().is_none(),
            "another command line: not ours"
        );
        assert_eq!(
            sweep(&cache).unwrap(),
            Swept {
                left: vec![unsure.clone()],
                ..Swept::default()
            }
        );

        for child in [&mut reused, &mut other] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(sweep(&cache).unwrap().removed, [unsure]);
        let kept = living.path().to_owned();
        drop(living);
        assert!(!kept.exists());
        assert_eq!(
            std::fs::read_dir(cache.root().join("sandboxes")).unwrap().count(),
            0
        );
    }

    #[test]
    fn a_directory_without_the_mark_is_never_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let cache = Cache::at(tmp.path().join("cache"));
        let dir = leave_behind(&cache, tmp.path(), Vec::new());
        std::fs::write(dir.join(MARK), "something else").unwrap();
        assert_eq!(sweep(&cache).unwrap().left, std::slice::from_ref(&dir));
        assert!(dir.exists());
    }
}
