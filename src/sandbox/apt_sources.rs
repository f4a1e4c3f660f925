//! Finds the Debian mirror that the machine's own apt uses, so that fetching goes where this machine is allowed to.
//!
//! Pure text in, addresses out; reading the files is one small function at the end.

use std::path::Path;

/// Used when the machine names no Debian mirror of its own.
const FALLBACK: &str = "http://deb.debian.org/debian";
/// Where suites go when they leave the mirrors.
const ARCHIVE: &str = "http://archive.debian.org/debian";

/// Addresses of Debian's main archive in a one-line-style `sources.list`.
fn in_one_line_style(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb ").or_else(|| line.strip_prefix("deb\t")) else {
            continue;
        };
        let mut rest = rest.trim_start();
        if rest.starts_with('[') {
            rest = rest.split_once(']').map_or("", |(_, after)| after).trim_start();
        }
        found.extend(rest.split_whitespace().next().map(str::to_owned));
    }
    found
}

/// Addresses in a deb822-style `.sources` file: stanzas divided by empty lines, `Enabled: no` left out.
fn in_deb822_style(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for stanza in text.split("\n\n") {
        let mut uris: Vec<String> = Vec::new();
        let (mut enabled, mut binary, mut field) = (true, false, String::new());
        for line in stanza.lines().filter(|l| !l.starts_with('#')) {
            let value = if line.starts_with([' ', '\t']) {
                line
            } else if let Some((name, value)) = line.split_once(':') {
                field = name.trim().to_ascii_lowercase();
                value
            } else {
                continue;
            };
            match field.as_str() {
                "uris" => uris.extend(value.split_whitespace().map(str::to_owned)),
                "enabled" => enabled = !value.trim().eq_ignore_ascii_case("no"),
                "types" => binary |= value.split_whitespace().any(|t| t == "deb"),
                _ => {}
            }
        }
        if enabled && binary {
            found.append(&mut uris);
        }
    }
    found
}

/// Whether an address is a mirror of Debian's main archive (not of its security archive, not of anybody else's).
fn is_main_archive(uri: &str) -> bool {
    let known_way = ["http://", "https://", "file:"]
        .iter()
        .any(|p| uri.starts_with(p));
    known_way && uri.trim_end_matches('/').ends_with("/debian")
}

/// The mirrors to try, best first: the machine's own, the common one, the archive of suites that left the mirrors.
pub(crate) fn mirrors_of(files: &[(String, String)]) -> Vec<String> {
    let mut mirrors = Vec::new();
    for (name, text) in files {
        let uris = if name.ends_with(".sources") {
            in_deb822_style(text)
        } else {
            in_one_line_style(text)
        };
        mirrors.extend(uris.into_iter().filter(|u| is_main_archive(u)));
    }
    mirrors.extend([FALLBACK.to_owned(), ARCHIVE.to_owned()]);
    let mut seen = std::collections::HashSet::new();
    mirrors.retain(|m| seen.insert(m.trim_end_matches('/').to_owned()));
    mirrors
}

/// Reads the machine's apt sources (`/etc/apt`); a file that cannot be read is as good as none.
pub(crate) fn machine_mirrors() -> Vec<String> {
    let mut files = Vec::new();
    let mut read = |path: &Path| {
        if let Ok(text) = std::fs::read_to_string(path) {
            files.push((path.display().to_string(), text));
        }
    };
    read(Path::new("/etc/apt/sources.list"));
    if let Ok(dir) = std::fs::read_dir("/etc/apt/sources.list.d") {
        let mut paths: Vec<_> = dir.filter_map(Result::ok).map(|e| e.path()).collect();
        paths.sort();
        for path in paths
            .iter()
            .filter(|p| p.extension().is_some_and(|x| x == "list" || x == "sources"))
        {
            read(path);
        }
    }
    mirrors_of(&files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirrors(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files
            .iter()
            .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()))
            .collect();
        mirrors_of(&files)
    }

    #[test]
    fn both_styles_are_read_and_others_archives_left_out() {
        let list = "# deb http://old.example/debian stable main\n\
                    deb [arch=amd64 signed-by=/x.gpg] http://ftp.de.debian.org/debian/ bookworm main # main\n\
                    deb http://security.debian.org/debian-security bookworm-security main\n\
                    deb-src http://source.example/debian bookworm main\n";
        let sources = "Types: deb\n# http://snapshot.example/debian\nURIs: https://mirror.example/debian\nSuites: trixie\n\n\
                       Types: deb\nEnabled: no\nURIs: http://off.example/debian\n\n\
                       Types: deb-src\nURIs: http://src.example/debian\n\n\
                       Types: deb\nURIs: https://deb.nodesource.com/node_20.x\n";
        let got = mirrors(&[("/etc/apt/sources.list", list), ("a.sources", sources)]);
        let want = [
            "http://ftp.de.debian.org/debian/",
            "https://mirror.example/debian",
            FALLBACK,
            ARCHIVE,
        ]
        .map(str::to_owned);
        assert_eq!(got, want);
    }

    #[test]
    fn continued_lines_count_and_the_fallback_comes_once() {
        let sources = "Types: deb\nURIs:\n http://deb.debian.org/debian/\n cdrom:[x]/debian\nSuites: sid\n";
        assert_eq!(
            mirrors(&[("x.sources", sources)]),
            ["http://deb.debian.org/debian/", ARCHIVE]
        );
        assert_eq!(
            mirrors(&[("x.list", "deb http://archive.ubuntu.com/ubuntu noble main")]),
            [FALLBACK, ARCHIVE]
        );
    }
}
