//! Fetches packages from Debian's archive with the machine's apt-get, without root and without touching the
//! machine's own package state.
//!
//! apt gets a configuration of its own in place of the machine's: what the machine adds (hooks that clean
//! `/var/cache/apt`, pins, a default release, foreign architectures) must not take part. Only how to reach the
//! network (`Acquire::http` and the like) is carried over. Signatures are always checked.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use indicatif::ProgressBar;

use super::apt_sources;
use super::catalog::ServerKind;
use super::error::{FetchFailure, SandboxError};
use super::fetch::{FetchOptions, failure};
use super::program::{self, Finished};

/// Where Debian, and Ubuntu with `debian-archive-keyring`, keep the archive's keys.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const LISTS: Duration = Duration::from_secs(5 * 60);
const DOWNLOAD: Duration = Duration::from_secs(20 * 60);
const UNPACK: Duration = Duration::from_secs(5 * 60);
const SHORT: Duration = Duration::from_secs(30);

/// Fetches `packages` and what they depend on, and `alone` without, unpacked; answers the directory that holds the
/// server.
pub(crate) fn fetch(
    kind: ServerKind,
    suite: &str,
    (packages, alone): (&[&str], &[&str]),
    dir: &Path,
    options: &FetchOptions,
) -> Result<PathBuf, SandboxError> {
    let apt = Apt::new(kind, dir, options)?;
    let keyring = match &options.keyring {
        Some(given) => given.clone(),
        None if Path::new(KEYRING).exists() => PathBuf::from(KEYRING),
        None => apt.borrow_keyring()?,
    };
    let mirrors = options
        .mirror
        .clone()
        .map_or_else(apt_sources::machine_mirrors, |m| vec![m]);
    apt.update_from_any(&mirrors, suite, &keyring)?;
    if !alone.is_empty() {
        apt.download_alone(alone)?;
    }
    let archives = apt.download(packages, &format!("fetching {kind} from Debian {suite}"))?;
    let out = dir.join("out");
    apt.unpack(&archives, &out)?;
    // Read by people only; a third of the size.
    for unread in [
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
        "usr/share/perl",
        "usr/share/info",
    ] {
        super::cache::remove_tree(&out.join(unread))?;
    }
    Ok(out)
}

/// apt-get with a directory of its own.
struct Apt<'a> {
    kind: ServerKind,
    dir: &'a Path,
    options: &'a FetchOptions,
    network: String,
    architecture: String,
}

impl<'a> Apt<'a> {
    fn new(kind: ServerKind, dir: &'a Path, options: &'a FetchOptions) -> Result<Self, SandboxError> {
        for sub in ["lists/partial", "cache/archives/partial", "state"] {
            let d = dir.join(sub);
            std::fs::create_dir_all(&d).map_err(SandboxError::io(format!("creating {}", d.display())))?;
        }
        let missing = |tool: &str| {
            let what = format!("{tool} is not on this machine, so it is not a Debian or Ubuntu");
            failure(kind, FetchFailure::MissingTool, what, "")
        };
        let run = |name: &str, args: &[&str]| {
            let mut command = Command::new(name);
            command.args(args).env("LC_ALL", "C");
            program::run(&mut command, None, dir, SHORT, || {})?.ok_or_else(|| missing(name))
        };
        let network = network_settings(&run("apt-config", &["dump"])?.stdout);
        let architecture = run("dpkg", &["--print-architecture"])?.stdout.trim().to_owned();
        run("dpkg-deb", &["--version"])?;
        Ok(Self {
            kind,
            dir,
            options,
            network,
            architecture,
        })
    }

    /// Writes the configuration. `sources` of `None` means the machine's own sources.
    fn configure(&self, sources: Option<&str>, check_date: bool) -> Result<PathBuf, SandboxError> {
        let dir = self.dir.display();
        let mut conf = self.network.clone();
        let mut set = |key: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(conf, "{key} \"{value}\";");
        };
        if let Some(list) = sources {
            let path = self.dir.join("sources.list");
            std::fs::write(&path, list).map_err(SandboxError::io(format!("writing {}", path.display())))?;
            set("Dir::Etc::sourcelist", &path.display().to_string());
            set("Dir::Etc::sourceparts", "/dev/null");
        }
        let status = self.dir.join("status");
        std::fs::write(&status, "").map_err(SandboxError::io(format!("writing {}", status.display())))?;
        set("Dir::Etc::Main", "/dev/null");
        set("Dir::Etc::Parts", "/dev/null");
        set("Dir::Etc::Preferences", "/dev/null");
        set("Dir::Etc::PreferencesParts", "/dev/null");
        set("Dir::State", &format!("{dir}/state"));
        set("Dir::State::Lists", &format!("{dir}/lists"));
        set("Dir::State::status", &status.display().to_string());
        set("Dir::Cache", &format!("{dir}/cache"));
        set("Dir::Log", &format!("{dir}/state"));
        set("APT::Architecture", &self.architecture);
        set("APT::Architectures", &self.architecture);
        set("APT::Install-Recommends", "false");
        set("APT::Update::Error-Mode", "any");
        set("Acquire::Languages", "none");
        set("Acquire::AllowInsecureRepositories", "false");
        set(
            "Acquire::Check-Valid-Until",
            if check_date { "true" } else { "false" },
        );
        // As root apt would become a user that cannot write here.
        set("APT::Sandbox::User", "root");
        let path = self.dir.join("apt.conf");
        std::fs::write(&path, conf).map_err(SandboxError::io(format!("writing {}", path.display())))?;
        Ok(path)
    }

    fn apt_get(&self, args: &[&str], limit: Duration, look: impl FnMut()) -> Result<Finished, SandboxError> {
        self.finish(&mut self.apt_command(args), limit, look)
    }

    fn apt_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("apt-get");
        command
            .args(args)
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("APT_CONFIG", self.dir.join("apt.conf"));
        command
    }

    fn finish(
        &self,
        command: &mut Command,
        limit: Duration,
        look: impl FnMut(),
    ) -> Result<Finished, SandboxError> {
        program::run(command, None, self.dir, limit, look)?.ok_or_else(|| {
            failure(
                self.kind,
                FetchFailure::MissingTool,
                "apt-get is not on this machine",
                "",
            )
        })
    }

    fn update(&self) -> Result<(), SandboxError> {
        let done = self.apt_get(&["update"], LISTS, || {})?;
        let words = complaints(&done.words());
        // Older apt answers 0 although an index is missing.
        if done.status.success() && words.is_empty() {
            return Ok(());
        }
        let kind = classify(&words);
        let what = match kind {
            FetchFailure::BadSignature => "the archive's signature is not good",
            FetchFailure::Expired => "the archive's Release file is past its date",
            FetchFailure::Broken => "the archive's files are not those that its Release file names",
            _ => "the archive could not be read",
        };
        Err(failure(self.kind, kind, what, &words))
    }

    /// Reads the package lists from the first mirror that has them whole. A bad signature anywhere is a stop; a date in
    /// the past is a warning.
    fn update_from_any(&self, mirrors: &[String], suite: &str, keyring: &Path) -> Result<(), SandboxError> {
        let mut last = None;
        for mirror in mirrors {
            // From `file:` apt takes packages where they lie, and would leave nothing to unpack.
            let uri = match mirror.strip_prefix("file:") {
                Some(path) => format!("copy:{path}"),
                None => mirror.clone(),
            };
            let list = format!("deb [signed-by={}] {uri} {suite} main\n", keyring.display());
            self.configure(Some(&list), true)?;
            let mut result = self.update();
            if let Err(SandboxError::Fetch {
                kind: FetchFailure::Expired,
                words,
                ..
            }) = &result
            {
                self.options.talk.warning(&format!(
                    "the Release file of {suite} at {mirror} is past its date; going on, its signature is still checked ({})",
                    words.lines().next().unwrap_or_default()
                ));
                self.configure(Some(&list), false)?;
                result = self.update();
            }
            match result {
                Ok(()) => return Ok(()),
                Err(
                    // A mirror that is being brought up to date is broken for a while; the next may be whole.
                    e @ SandboxError::Fetch {
                        kind: FetchFailure::Unreachable | FetchFailure::Broken,
                        ..
                    },
                ) => last = Some(e),
                Err(e) => return Err(e),
            }
        }
        Err(last.unwrap_or_else(|| {
            failure(
                self.kind,
                FetchFailure::Unreachable,
                "there is no mirror to try",
                "",
            )
        }))
    }

    fn cannot_get(&self, packages: &[&str], words: &str) -> SandboxError {
        let kind = match classify(words) {
            FetchFailure::Expired => FetchFailure::Broken,
            other => other,
        };
        failure(
            self.kind,
            kind,
            format!("apt cannot get {}", packages.join(", ")),
            words,
        )
    }

    /// Downloads packages without what they depend on, to where the others go. apt checks them as it checks those.
    fn download_alone(&self, packages: &[&str]) -> Result<(), SandboxError> {
        let mut command = self.apt_command(&["-q", "download"]);
        command
            .args(packages)
            .current_dir(self.dir.join("cache/archives"));
        let done = self.finish(&mut command, DOWNLOAD, || {})?;
        if done.status.success() {
            Ok(())
        } else {
            Err(self.cannot_get(packages, &done.words()))
        }
    }

    /// Downloads packages with a bar of their sizes; answers all archives that are there.
    fn download(&self, packages: &[&str], what: &str) -> Result<Vec<PathBuf>, SandboxError> {
        let broken = |words: &str| self.cannot_get(packages, words);
        let with = |first: &[&'static str]| -> Vec<String> {
            first
                .iter()
                .map(|s| (*s).to_owned())
                .chain(packages.iter().map(|p| (*p).to_owned()))
                .collect()
        };
        let args = with(&["--print-uris", "-y", "--download-only", "install"]);
        let listed = self.apt_get(&args.iter().map(String::as_str).collect::<Vec<_>>(), LISTS, || {})?;
        if !listed.status.success() {
            return Err(broken(&listed.words()));
        }
        let archives = self.dir.join("cache/archives");
        let bar = self
            .options
            .talk
            .bytes_bar(what, Some(total_size(&listed.stdout)));
        let args = with(&["-q", "-y", "--download-only", "install"]);
        let show =
            |bar: &ProgressBar| bar.set_position(size_of(&archives) + size_of(&archives.join("partial")));
        let done = self.apt_get(
            &args.iter().map(String::as_str).collect::<Vec<_>>(),
            DOWNLOAD,
            || show(&bar),
        )?;
        bar.finish_and_clear();
        if !done.status.success() {
            return Err(broken(&done.words()));
        }
        let mut files: Vec<PathBuf> = std::fs::read_dir(&archives)
            .map_err(SandboxError::io(format!("reading {}", archives.display())))?
            .filter_map(Result::ok)
            .map(|e| e.path())
            .filter(|p| p.extension().is_some_and(|x| x == "deb"))
            .collect();
        files.sort();
        Ok(files)
    }

    fn unpack(&self, archives: &[PathBuf], out: &Path) -> Result<(), SandboxError> {
        std::fs::create_dir_all(out).map_err(SandboxError::io(format!("creating {}", out.display())))?;
        for archive in archives {
            let mut command = Command::new("dpkg-deb");
            command.arg("-x").arg(archive).arg(out);
            let done = program::run(&mut command, None, self.dir, UNPACK, || {})?;
            let Some(done) = done else {
                return Err(failure(
                    self.kind,
                    FetchFailure::MissingTool,
                    "dpkg-deb is not on this machine",
                    "",
                ));
            };
            if !done.status.success() {
                let what = format!("unpacking {} failed", archive.display());
                return Err(failure(self.kind, FetchFailure::Broken, what, &done.words()));
            }
        }
        Ok(())
    }

    /// On a machine without Debian's keys (Ubuntu) takes them from the package that the machine's own archive has
    /// under its own signature, so the chain of trust starts at keys that are already here.
    fn borrow_keyring(&self) -> Result<PathBuf, SandboxError> {
        self.options
            .talk
            .line("Debian's archive keys are not on this machine: taking them from its own archive");
        self.configure(None, true)?;
        // Any of the machine's sources may be out of order; what counts is whether the package can be had, and apt
        // takes none that is not signed.
        let lists = self.update();
        let archives = self
            .download(&["debian-archive-keyring"], "fetching debian-archive-keyring")
            .map_err(|e| lists.err().unwrap_or(e))?;
        let out = self.dir.join("keys");
        self.unpack(&archives, &out)?;
        for archive in archives {
            drop(std::fs::remove_file(archive));
        }
        let keyring = out.join(KEYRING.trim_start_matches('/'));
        if keyring.exists() {
            Ok(keyring)
        } else {
            let what = format!("{KEYRING} is missing and its package does not hold it");
            Err(failure(self.kind, FetchFailure::MissingTool, what, ""))
        }
    }
}

/// The lines of `apt-config dump` that say how to reach the network.
fn network_settings(dump: &str) -> String {
    let wanted = [
        "Acquire::http",
        "Acquire::https",
        "Acquire::Retries",
        "Acquire::ForceIPv",
        "Acquire::Proxy",
    ];
    let mut kept = String::new();
    for line in dump.lines().filter(|l| wanted.iter().any(|w| l.starts_with(w))) {
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

/// The lines in which apt complains about what it read.
fn complaints(words: &str) -> String {
    let bad = |l: &&str| {
        l.starts_with("E:")
            || l.starts_with("Err:")
            || (l.starts_with("W:") && (l.contains("Failed to fetch") || l.contains("GPG error")))
            || (l.starts_with("W:") && l.contains("signature"))
    };
    words.lines().filter(bad).collect::<Vec<_>>().join("\n")
}

/// What kind of failure apt's words mean. A signature outweighs everything else in the same words.
fn classify(words: &str) -> FetchFailure {
    let has = |needles: &[&str]| needles.iter().any(|n| words.contains(n));
    if has(&[
        "NO_PUBKEY",
        "BADSIG",
        "EXPKEYSIG",
        "REVKEYSIG",
        "is not signed",
        "GPG error",
    ]) || has(&[
        "signatures were invalid",
        "signatures couldn't be verified",
        "Clearsigned file isn't valid",
    ]) || has(&[
        "cannot be authenticated",
        "Unable to read signedby",
        "OpenPGP signature verification failed",
    ]) {
        FetchFailure::BadSignature
    } else if has(&["is expired"]) {
        FetchFailure::Expired
    } else if has(&[
        "Unable to locate package",
        "unmet dependencies",
        "held broken packages",
        "no installation candidate",
        "Hash Sum mismatch",
    ]) {
        FetchFailure::Broken
    } else {
        FetchFailure::Unreachable
    }
}

/// Sum of the sizes in `apt-get --print-uris`: `'http://...' name.deb 12345 SHA256:...`.
fn total_size(listed: &str) -> u64 {
    let size = |l: &str| l.split_whitespace().nth(2)?.parse::<u64>().ok();
    listed
        .lines()
        .filter(|l| l.starts_with('\''))
        .filter_map(size)
        .sum()
}

/// Bytes in a directory's own files.
fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .filter_map(|e| e.ok()?.metadata().ok())
        .filter(|m| m.is_file())
        .map(|m| m.len())
        .sum()
}

#[cfg(test)]
#[path = "fetch_apt_tests.rs"]
mod tests;
