//! The words of apt told apart, and whole fetches by the machine's apt from a small archive on this machine.

use std::sync::{Arc, Mutex};

use super::*;
use crate::sandbox::Talk;

/// Where the archive's files lie.
const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/archive");

#[test]
fn apts_words_are_told_apart() {
    // As apt 2.6.1 says them.
    let expired = "E: Release file for http://deb.debian.org/debian/dists/sid/InRelease is expired (invalid since \
                   6d 3h). Updates for this repository will not be applied.";
    let unsigned = "E: The repository 'file:/x ./ Release' is not signed.";
    let no_key = "W: GPG error: http://deb.debian.org/debian sid InRelease: The following signatures couldn't be \
                  verified because the public key is not available: NO_PUBKEY 6ED0E7B82643E131";
    let offline = "E: Failed to fetch http://deb.debian.org/debian/dists/sid/InRelease  Temporary failure resolving \
                   'deb.debian.org'";
    assert_eq!(classify(expired), FetchFailure::Expired);
    assert_eq!(classify(unsigned), FetchFailure::BadSignature);
    assert_eq!(classify(no_key), FetchFailure::BadSignature);
    assert_eq!(
        classify(&format!("{expired}\n{no_key}")),
        FetchFailure::BadSignature
    );
    assert_eq!(classify(offline), FetchFailure::Unreachable);
    assert_eq!(
        classify("E: Unable to locate package mysql-server-core"),
        FetchFailure::Broken
    );
    assert_eq!(
        complaints(&format!("Get:1 http://x\n{no_key}\nReading package lists...")),
        no_key
    );
}

#[test]
fn sizes_are_summed_and_only_network_settings_kept() {
    let listed = "Reading package lists...\n'http://d/a.deb' a_1.deb 100 SHA256:00\n'http://d/b.deb' b_1.deb 23 SHA256:01\n";
    assert_eq!(total_size(listed), 123);
    let dump = "Acquire::http::Proxy \"http://p:3128\";\nAPT::Update::Post-Invoke:: \"rm -f /var/x\";\n\
                Acquire::Check-Valid-Until \"false\";\nAcquire::Retries \"3\";\n";
    assert_eq!(
        network_settings(dump),
        "Acquire::http::Proxy \"http://p:3128\";\nAcquire::Retries \"3\";\n"
    );
}

/// A mirror on this machine with one package, and what fetching from it needs. Its files lie ready in
/// `tests/archive`, as its README says.
struct Archive {
    dir: tempfile::TempDir,
    talk: Arc<Mutex<Vec<String>>>,
}

impl Archive {
    /// `release` is the name of the signed Release file to give it.
    fn with(release: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("debian");
        let from = Path::new(FILES);
        std::fs::create_dir_all(archive.join("pool")).unwrap();
        std::fs::copy(from.join("server.deb"), archive.join("pool/server.deb")).unwrap();
        let suite = archive.join("dists/sid");
        for name in ["amd64", "arm64", "armhf", "i386", "ppc64el", "riscv64", "s390x"] {
            let index = suite.join(format!("main/binary-{name}"));
            std::fs::create_dir_all(&index).unwrap();
            std::fs::copy(from.join("Packages"), index.join("Packages")).unwrap();
        }
        std::fs::copy(from.join(release), suite.join("InRelease")).unwrap();
        Self {
            dir,
            talk: Arc::default(),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("debian").join(name)
    }

    /// Replaces the first `from` in a file of the archive, in as many bytes.
    fn tamper(&self, name: &str, from: &str, to: &str) {
        assert_eq!(from.len(), to.len());
        let path = self.file(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes());
        let at = at.unwrap_or_else(|| panic!("{from} is not in {name}"));
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        std::fs::write(path, bytes).unwrap();
    }

    /// Fetches the package with the machine's own apt, trusting `key` alone.
    fn fetch(&self, key: &str) -> Result<PathBuf, SandboxError> {
        let work = self.dir.path().join("work");
        std::fs::create_dir_all(&work).unwrap();
        let options = FetchOptions {
            mirror: Some(format!("file:{}", self.file("").display())),
            keyring: Some(Path::new(FILES).join(key)),
            talk: Talk::Collected(self.talk.clone()),
        };
        let packages: (&[&str], &[&str]) = (&["bleen-test-server"], &[]);
        fetch(ServerKind::MySql97, "sid", packages, &work, &options)
    }

    /// Fetches and is refused; answers the kind of refusal and the other program's words.
    fn refused(&self, key: &str) -> (FetchFailure, String) {
        let said = self.fetch(key).unwrap_err();
        assert!(
            !self.dir.path().join("work/out").exists(),
            "nothing is unpacked: {said}"
        );
        match said {
            SandboxError::Fetch { kind, words, .. } => (kind, words),
            other => panic!("{other}"),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let said = self.talk.lock().unwrap();
        said.iter()
            .filter(|l| l.starts_with("warning: "))
            .cloned()
            .collect()
    }
}

#[test]
fn a_signed_archive_is_fetched_without_a_word_of_warning() {
    let archive = Archive::with("InRelease.in_date");
    let out = archive.fetch("key.asc").unwrap();
    let server = std::fs::read_to_string(out.join("usr/sbin/test-server")).unwrap();
    assert_eq!(server, "stands for a server\n");
    assert_eq!(archive.warnings(), Vec::<String>::new());
}

#[test]
fn a_release_file_past_its_date_is_a_warning_and_not_a_stop() {
    let archive = Archive::with("InRelease.past_its_date");
    let out = archive.fetch("key.asc").unwrap();
    assert!(out.join("usr/sbin/test-server").exists());
    let warnings = archive.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("is past its date; going on, its signature is still checked")
            && warnings[0].contains("is expired"),
        "{warnings:?}"
    );
}

#[test]
fn a_signature_that_is_not_good_is_a_stop_in_date_or_not() {
    for release in ["InRelease.in_date", "InRelease.past_its_date"] {
        let archive = Archive::with(release);
        let (kind, words) = archive.refused("another_key.asc");
        assert_eq!(
            kind,
            FetchFailure::BadSignature,
            "{release}, of another key: {words}"
        );

        archive.tamper("dists/sid/InRelease", "Components: main", "Components: mine");
        let (kind, words) = archive.refused("key.asc");
        assert_eq!(
            kind,
            FetchFailure::BadSignature,
            "{release}, changed since: {words}"
        );
        assert_eq!(archive.warnings(), Vec::<String>::new(), "{release}");
    }
}

/// What the signature covers is the Release file; what that names is only as good as its digest.
#[test]
fn a_file_that_differs_from_its_digest_is_a_stop() {
    for release in ["InRelease.in_date", "InRelease.past_its_date"] {
        let archive = Archive::with(release);
        let architecture = Command::new("dpkg").arg("--print-architecture").output().unwrap();
        let architecture = String::from_utf8(architecture.stdout).unwrap();
        let index = format!("dists/sid/main/binary-{}/Packages", architecture.trim());
        archive.tamper(&index, "Version: 1.0", "Version: 9.0");
        let (_, words) = archive.refused("key.asc");
        assert!(
            words.contains("Hash Sum mismatch"),
            "{release}, the index: {words}"
        );

        let archive = Archive::with(release);
        archive.tamper("pool/server.deb", "data.tar", "Data.tar");
        let (kind, words) = archive.refused("key.asc");
        assert_eq!(kind, FetchFailure::Broken, "{release}, the package: {words}");
        assert!(
            words.contains("Hash Sum mismatch"),
            "{release}, the package: {words}"
        );
    }
}

#[test]
fn an_unsigned_archive_is_a_stop() {
    let archive = Archive::with("InRelease.in_date");
    let suite = archive.file("dists/sid");
    std::fs::remove_file(suite.join("InRelease")).unwrap();
    std::fs::write(
        suite.join("Release"),
        "Suite: sid\nCodename: sid\nDate: Wed, 01 Jan 2020 00:00:00 UTC\n",
    )
    .unwrap();
    let (kind, words) = archive.refused("key.asc");
    assert_eq!(kind, FetchFailure::BadSignature, "{words}");
    assert!(words.contains("not signed"), "{words}");
}
