//! The sandbox's own cache directory: fetched servers, initialised data directories, state of running sandboxes.
//!
//! Nothing outside it is ever written, except the throw-away directory of a running sandbox.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::SandboxError;

/// Environment variable that names the cache directory in place of `$XDG_CACHE_HOME/bleen`.
pub const CACHE_DIR_ENV: &str = "BLEEN_CACHE_DIR";

/// How often a lock held by another process is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// The cache directory. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache this user's environment names: `BLEEN_CACHE_DIR`, `$XDG_CACHE_HOME/bleen`, `$HOME/.cache/bleen`,
    /// and without any of them a directory of this user under the temporary directory.
    pub fn from_env() -> Self {
        let set = |name: &str| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let root = set(CACHE_DIR_ENV)
            .or_else(|| set("XDG_CACHE_HOME").map(|d| d.join("bleen")))
            .or_else(|| set("HOME").map(|d| d.join(".cache").join("bleen")))
            .unwrap_or_else(|| {
                let uid = rustix::process::getuid().as_raw();
                std::env::temp_dir().join(format!("bleen-cache-{uid}"))
            });
        Self::at(root)
    }

    /// A cache in a given directory, which need not exist yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        // Servers get absolute paths in their option files, whatever this process's working directory is.
        Self {
            root: std::path::absolute(&root).unwrap_or(root),
        }
    }

    /// The cache directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A directory inside the cache, made if it is missing.
    pub(crate) fn dir(&self, name: &str) -> Result<PathBuf, SandboxError> {
        let dir = self.root.join(name);
        std::fs::create_dir_all(&dir).map_err(SandboxError::io(format!("creating {}", dir.display())))?;
        Ok(dir)
    }

    /// Takes the named lock, waiting for another process no longer than `limit`. Dropping the answer gives it up;
    /// so does the end of this process.
    pub(crate) fn lock(&self, name: &str, limit: Duration) -> Result<File, SandboxError> {
        let started = Instant::now();
        loop {
            if let Some(held) = self.try_lock(name)? {
                return Ok(held);
            }
            if started.elapsed() > limit {
                let what = format!("waiting for another bleen that holds the lock `{name}`");
                return Err(SandboxError::TooSlow { what, limit });
            }
            std::thread::sleep(LOCK_RETRY);
        }
    }

    /// Takes the named lock, or answers `None` when another process holds it.
    pub(crate) fn try_lock(&self, name: &str) -> Result<Option<File>, SandboxError> {
        let path = self.dir("locks")?.join(name);
        let what = format!("locking {}", path.display());
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = file.map_err(SandboxError::io(what.clone()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(SandboxError::io(what)(e)),
        }
    }
}

/// Sixteen hexadecimal digits of the system's randomness, for names and throw-away passwords.
pub(crate) fn random_hex() -> Result<String, SandboxError> {
    use std::io::Read;
    let mut bytes = [0u8; 8];
    File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .map_err(SandboxError::io("reading /dev/urandom"))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Removes a directory tree; that it is already gone is no error.
pub(crate) fn remove_tree(dir: &Path) -> Result<(), SandboxError> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(SandboxError::io(format!("removing {}", dir.display()))(e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_waited_for_within_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let held = cache.try_lock("one").unwrap().unwrap();
        assert!(cache.try_lock("one").unwrap().is_none());
        assert!(cache.try_lock("two").unwrap().is_some());
        let said = cache.lock("one", Duration::from_millis(80)).unwrap_err();
        assert!(matches!(said, SandboxError::TooSlow { .. }), "{said}");
        drop(held);
        // Not at once: a child of another test may hold the file until it runs its own program.
        cache.lock("one", Duration::from_secs(10)).unwrap();
    }
}
