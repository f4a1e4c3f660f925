//! Finds a server's programs: in a directory that was named, on PATH, in the cache, and otherwise by fetching them.
//!
//! Knows how the different packagings lay out their files; starting a server is `launch.rs`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::cache::Cache;
use super::catalog::{Family, Release, ServerKind};
use super::error::SandboxError;
use super::fetch::{self, FetchOptions};
use super::program;

/// Longest time a server may take to say its version.
const VERSION: Duration = Duration::from_secs(30);
/// Program names, the one that says its family first.
const PROGRAMS: [&str; 2] = ["mariadbd", "mysqld"];
/// Where programs lie below a directory: Debian packages, tarballs, the npm package, the directory itself.
const PLACES: [&str; 8] = [
    "usr/sbin",
    "sbin",
    "bin",
    "usr/bin",
    "libexec",
    "server",
    "package/server",
    "",
];

/// A server's programs on this machine, ready to be started.
#[derive(Debug, Clone)]
pub struct Installed {
    /// The directory they were found in.
    pub root: PathBuf,
    /// Family, from what the program says of itself.
    pub family: Family,
    /// Version, from what the program says of itself.
    pub version: Release,
    /// Family and version in words, for people.
    pub version_text: String,
    pub(crate) layout: Layout,
}

/// Where the parts of an installation are.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The server program.
    pub program: PathBuf,
    /// The unpacked loader and its library path, when the installation brings its own libc.
    pub loader: Option<(PathBuf, OsString)>,
    /// Directory of further libraries, when there is no loader.
    pub library_dir: Option<PathBuf>,
    /// Base directory.
    pub basedir: PathBuf,
    /// Messages, character sets and system table scripts.
    pub share: Option<PathBuf>,
    /// Plugins.
    pub plugins: Option<PathBuf>,
    /// A data directory that is shipped ready made.
    pub seed: Option<PathBuf>,
}

impl Layout {
    /// The words that start the server program, without its options.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let mut words = Vec::new();
        if let Some((loader, libraries)) = &self.loader {
            words.extend([
                loader.clone().into_os_string(),
                "--library-path".into(),
                libraries.clone(),
            ]);
        }
        words.push(self.program.clone().into_os_string());
        words
    }

    /// A command of those words with the environment the server needs.
    pub(crate) fn command(&self, before: &[OsString]) -> Command {
        let mut words = before.iter().cloned().chain(self.words());
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        if let Some(dir) = &self.library_dir {
            command.env("LD_LIBRARY_PATH", dir);
        }
        // Both would reach into the server's configuration from outside.
        command
            .env_remove("MYSQL_HOME")
            .env_remove("MYSQL_UNIX_PORT")
            .env_remove("MYSQL_TCP_PORT");
        command
    }
}

/// What to look at when a server is looked for.
#[derive(Debug, Clone)]
pub struct LocateOptions {
    /// `--server DIR`: only this directory is looked at, and any version of the right family in it is taken.
    pub server_dir: Option<PathBuf>,
    /// Whether `mysqld` and `mariadbd` on PATH are looked at.
    pub path: bool,
    /// The cache to look in and to fetch into.
    pub cache: Cache,
    /// How to fetch, and who hears about it.
    pub fetch: FetchOptions,
}

impl Default for LocateOptions {
    fn default() -> Self {
        Self {
            server_dir: None,
            path: true,
            cache: Cache::from_env(),
            fetch: FetchOptions::default(),
        }
    }
}

/// Finds a server: `server_dir` if given, else PATH, else the cache, else a fetch.
///
/// # Errors
/// [`SandboxError::NotInDirectory`] when the named directory holds nothing that fits, [`SandboxError::Fetch`] when
/// nothing was found and nothing can be fetched.
pub async fn locate(kind: ServerKind, options: &LocateOptions) -> Result<Installed, SandboxError> {
    let options = options.clone();
    blocking(move || locate_blocking(kind, &options)).await
}

/// Runs blocking work of this room off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SandboxError> + Send + 'static,
) -> Result<T, SandboxError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| SandboxError::io("running work in the background")(std::io::Error::other(e)))?
}

fn locate_blocking(kind: ServerKind, options: &LocateOptions) -> Result<Installed, SandboxError> {
    if let Some(dir) = &options.server_dir {
        let found = Installed::in_dir(dir)?;
        if found.family != kind.family() {
            let why = format!("it holds {}, and {kind} was asked for", found.version_text);
            return Err(SandboxError::NotInDirectory {
                dir: dir.clone(),
                why,
            });
        }
        return Ok(found);
    }
    if options.path
        && let Some(found) = on_path(kind, std::env::var_os("PATH"))
    {
        return Ok(found);
    }
    fetch::fetch(&options.cache, kind, &options.fetch)
}

/// A server on PATH that answers to the name. One that does not run or is another version is passed over.
fn on_path(kind: ServerKind, path: Option<OsString>) -> Option<Installed> {
    let path = path?;
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .flat_map(|dir| PROGRAMS.map(|name| dir.join(name)))
        .filter(|program| program.is_file())
        .filter_map(|program| Installed::of_program(&program, None).ok())
        .find(|found| kind.accepts(found.family, found.version))
}

impl Installed {
    /// Looks for a server in a directory: a tree unpacked from Debian packages, a tarball's tree, the npm package, or
    /// the directory of the program itself. Blocking; bounded.
    ///
    /// # Errors
    /// [`SandboxError::NotInDirectory`] when there is none, or none that says its version.
    pub fn in_dir(dir: &Path) -> Result<Self, SandboxError> {
        let dir =
            std::path::absolute(dir).map_err(SandboxError::io(format!("resolving {}", dir.display())))?;
        let candidates = PLACES
            .iter()
            .flat_map(|place| PROGRAMS.map(|name| dir.join(place).join(name)));
        let Some(program) = candidates.into_iter().find(|p| p.is_file()) else {
            let why = format!("no mysqld or mariadbd in it or in its {}", PLACES[..7].join(", "));
            return Err(SandboxError::NotInDirectory { dir, why });
        };
        Self::of_program(&program, Some(&dir))
    }

    /// The installation that a server program belongs to; asks the program for its version.
    fn of_program(program: &Path, root: Option<&Path>) -> Result<Self, SandboxError> {
        let layout = layout_of(program, root);
        let dir = root.unwrap_or(&layout.basedir).to_path_buf();
        let not_usable = |why: String| SandboxError::NotInDirectory {
            dir: dir.clone(),
            why,
        };
        let mut command = layout.command(&[]);
        command.args(["--no-defaults", "--version"]);
        let said = program::run(&mut command, None, &std::env::temp_dir(), VERSION, || {})?;
        let words = said.map(|s| s.words()).unwrap_or_default();
        // `/a/path/mysqld  Ver 9.7.4 for Linux`: a path may hold digits, so only what follows `Ver` counts.
        let after = words.split_once("Ver ").map_or("", |(_, after)| after);
        let Some(version) = Release::find_in(after) else {
            let said = super::error::last_lines(&words, 3);
            return Err(not_usable(format!(
                "{} did not say its version: {said}",
                program.display()
            )));
        };
        let family = if words.contains("MariaDB") {
            Family::MariaDb
        } else {
            Family::MySql
        };
        Ok(Self {
            root: dir,
            family,
            version,
            version_text: format!("{family} {version}"),
            layout,
        })
    }
}

/// Works out where the parts are. `root` is the directory of an unpacked tree, which may bring its own libc.
fn layout_of(program: &Path, root: Option<&Path>) -> Layout {
    // A packaged program is often a link (mysqld to mariadbd, or from /sbin): its real place has the rest beside it.
    let real = program.canonicalize().unwrap_or_else(|_| program.to_path_buf());
    let own_dir = real.parent().unwrap_or(Path::new("/")).to_path_buf();
    let above = own_dir.parent().unwrap_or(Path::new("/")).to_path_buf();
    // The npm package keeps everything beside the program.
    let basedir = if own_dir.join("share").is_dir() {
        own_dir
    } else {
        above
    };
    let first_dir = |names: &[&str]| names.iter().map(|n| basedir.join(n)).find(|d| d.is_dir());
    let share = ["share/mysql", "share/mariadb", "share"]
        .iter()
        .map(|n| basedir.join(n))
        .find(|d| d.join("charsets").is_dir());
    let loader = root.and_then(|root| own_loader(root, &basedir));
    let library_dir = (loader.is_none() && basedir.join("libaio.so.1").is_file()).then(|| basedir.clone());
    Layout {
        plugins: first_dir(&[
            "lib/mysql/plugin",
            "lib64/mysql/plugin",
            "lib/plugin",
            "lib64/plugin",
        ]),
        seed: Some(basedir.join("data"))
            .filter(|d| d.join("mysql/mysql").is_dir())
            .map(|d| d.join("mysql")),
        program: real,
        loader,
        library_dir,
        share,
        basedir,
    }
}

/// The dynamic loader and library path inside an unpacked tree, when it has them.
fn own_loader(root: &Path, basedir: &Path) -> Option<(PathBuf, OsString)> {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    let homes = [
        root.join("usr/lib").join(&triplet),
        root.join("lib").join(&triplet),
    ];
    let is_loader = |p: &PathBuf| {
        let name = p
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        // `ld-linux-x86-64.so.2`, `ld-linux-aarch64.so.1`; before 2.34 also `ld-2.31.so`, to which the other links.
        name.starts_with("ld-linux") && p.is_file()
    };
    let loader = homes.iter().find_map(|home| {
        std::fs::read_dir(home)
            .ok()?
            .filter_map(|e| Some(e.ok()?.path()))
            .find(is_loader)
    })?;
    let mut libraries: Vec<PathBuf> = homes.into_iter().filter(|d| d.is_dir()).collect();
    libraries.extend(
        [basedir.join("lib/mysql/private"), basedir.join("lib/private")]
            .into_iter()
            .filter(|d| d.is_dir()),
    );
    Some((loader, std::env::join_paths(libraries).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(path: &Path, says: &str) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("#!/bin/sh\necho \"{says}\"\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn a_named_directory_is_the_only_place_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let server = dir.path().join("11.8/usr/sbin/mariadbd");
        script(&server, "mariadbd  Ver 10.6.1-MariaDB for Linux");
        let options = LocateOptions {
            server_dir: Some(dir.path().join("11.8")),
            cache: Cache::at(dir.path().join("cache")),
            ..LocateOptions::default()
        };
        let found = locate(ServerKind::MariaDb118, &options).await.unwrap();
        assert_eq!(found.version_text, "MariaDB 10.6.1");
        let said = locate(ServerKind::MySql97, &options)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("holds MariaDB 10.6.1, and mysql-9.7 was asked for"),
            "{said}"
        );

        let empty = LocateOptions {
            server_dir: Some(dir.path().into()),
            ..options
        };
        let said = locate(ServerKind::MySql97, &empty).await.unwrap_err().to_string();
        assert!(said.contains("no mysqld or mariadbd"), "{said}");
    }

    #[test]
    fn path_gives_only_what_answers_to_the_name() {
        let dir = tempfile::tempdir().unwrap();
        script(
            &dir.path().join("a/mysqld"),
            "/usr/sbin/mysqld  Ver 8.4.0 for Linux on x86_64",
        );
        script(&dir.path().join("b/mariadbd"), "no words that help");
        script(
            &dir.path().join("c/mysqld"),
            "/opt/mysql-5.6/mysqld  Ver 9.8.1 for Linux on x86_64",
        );
        let path = std::env::join_paths(["a", "b", "c"].map(|d| dir.path().join(d))).unwrap();
        let found = on_path(ServerKind::MySql97, Some(path.clone())).unwrap();
        assert_eq!(found.version, Release(9, 8, 1));
        assert!(on_path(ServerKind::MariaDb118, Some(path)).is_none());
    }
}
