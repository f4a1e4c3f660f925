//! Passwords: from where a playbook says they are, into memory that is wiped and never shown.
//!
//! No error of this room contains what was read: not a line of a command's output, not a byte of a file.

mod option_file;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use tokio::io::AsyncReadExt;

use crate::playbook::model::PasswordSource;

/// Most bytes that are read of a file or of a command's output.
const MAX_BYTES: usize = 64 * 1024;

/// Why there is no password. The texts are fragments without a full stop and hold no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set, empty, or not text.
    #[error("the environment variable `{name}` {what}")]
    Env {
        /// The variable.
        name: String,
        /// `is not set`, `is empty` or `is not text`.
        what: &'static str,
    },
    /// The file cannot be opened or read.
    #[error("cannot read `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Others than its owner may read or change the file.
    #[error("`{}` is open to others than its owner (mode {mode:04o})", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file has no usable password.
    #[error("`{}` {what}", path.display())]
    NoPassword {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, naming the group of an option file.
        what: String,
    },
    /// The command could not be started, failed, took too long, or printed nothing.
    #[error("the command `{program}` {what}")]
    Command {
        /// The program, without its arguments.
        program: String,
        /// What happened.
        what: String,
    },
    /// The password was to be asked for and there is nobody to ask.
    #[error("there is no terminal to ask at")]
    NoTerminal,
    /// The terminal was closed, or nothing was typed.
    #[error("no password was typed")]
    NotTyped,
}

impl SecretError {
    /// Returns what to do about it, without a full stop.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Env { name, .. } => format!("set `{name}` for this command, or name another source"),
            Self::File { .. } => "create it, readable by this user only".to_owned(),
            Self::OpenToOthers { path, .. } => format!("run `chmod 600 {}`", path.display()),
            Self::NoPassword { .. } => "put the password there, or name another source".to_owned(),
            Self::Command { .. } => {
                "run it by hand; the first line it prints has to be the password".to_owned()
            }
            Self::NoTerminal | Self::NotTyped => {
                "run at a terminal, or name another source in the playbook: `env`, `file`, `command` or \
                 `option_file`"
                    .to_owned()
            }
        }
    }
}

/// Fetches a password. `whose` names it for a person who is asked: `bleen's password on blue`.
///
/// Every source but the prompt is bounded by `limit`; a person has as long as they need. Cancelling it kills a running
/// command.
///
/// # Errors
/// [`SecretError`], never with what was read.
pub async fn resolve(
    source: &PasswordSource,
    whose: &str,
    limit: Duration,
) -> Result<SecretString, SecretError> {
    match source {
        PasswordSource::Env(name) => from_env(name),
        PasswordSource::File(path) => from_file(path),
        PasswordSource::Command(words) => from_command(words, limit).await,
        PasswordSource::OptionFile { path, group } => from_option_file(path, group),
        PasswordSource::Prompt => from_prompt(whose).await,
    }
}

/// The variables from which passwords were fetched.
static VARIABLES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The names of the variables that hold a password, for whoever starts another program: it gets none of them.
#[must_use]
pub fn variables() -> Vec<String> {
    let names = VARIABLES.lock().unwrap_or_else(PoisonError::into_inner);
    names.iter().cloned().collect()
}

fn from_env(name: &str) -> Result<SecretString, SecretError> {
    VARIABLES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(name.to_owned());
    let wrong = |what| SecretError::Env {
        name: name.to_owned(),
        what,
    };
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Err(wrong("is empty")),
        Ok(value) => Ok(SecretString::from(value)),
        Err(std::env::VarError::NotPresent) => Err(wrong("is not set")),
        Err(std::env::VarError::NotUnicode(_)) => Err(wrong("is not text")),
    }
}

fn from_file(path: &Path) -> Result<SecretString, SecretError> {
    let text = private_text(path)?;
    first_line(&text).ok_or_else(|| no_password(path, "begins with an empty line"))
}

fn from_option_file(path: &Path, group: &str) -> Result<SecretString, SecretError> {
    let text = private_text(path)?;
    match option_file::value_of(&text, group, "password") {
        Ok(value) if value.is_empty() => Err(no_password(
            path,
            &format!("has an empty `password` in [{group}]"),
        )),
        Ok(value) => Ok(SecretString::from(value.to_string())),
        Err(option_file::Missing::Group) => Err(no_password(path, &format!("has no group [{group}]"))),
        Err(option_file::Missing::Key) => Err(no_password(path, &format!("has no `password` in [{group}]"))),
    }
}

fn no_password(path: &Path, what: &str) -> SecretError {
    SecretError::NoPassword {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

/// Reads a small regular file that only its owner can read. The checks are made on the open file, not on its name.
fn private_text(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let failed = |source| SecretError::File {
        path: path.to_owned(),
        source,
    };
    // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    let non_blocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(non_blocking)
        .open(path)
        .map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(no_password(path, "is not a regular file"));
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretError::OpenToOthers {
            path: path.to_owned(),
            mode,
        });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut bytes).map_err(failed)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(no_password(path, "is not UTF-8 text")),
    }
}

async fn from_command(words: &[String], limit: Duration) -> Result<SecretString, SecretError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(SecretError::Command {
            program: String::new(),
            what: "is empty".to_owned(),
        });
    };
    let failed = |what: String| SecretError::Command {
        program: program.clone(),
        what,
    };
    // What it says on stderr is not shown: a script that traces itself would print the secret there.
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let Some(output) = child.stdout.take() else {
        return Err(failed("has no output".to_owned()));
    };
    let work = async {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
        let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
        output.take(most).read_to_end(&mut bytes).await?;
        // The pipe is closed here, so a program that goes on printing ends instead of waiting for a reader.
        Ok::<_, io::Error>((bytes, child.wait().await?))
    };
    let (bytes, status) = match tokio::time::timeout(limit, work).await {
        Err(_) => {
            return Err(failed(format!(
                "printed nothing within {}",
                humantime::format_duration(limit)
            )));
        }
        Ok(Err(error)) => return Err(failed(format!("cannot be read: {error}"))),
        Ok(Ok(done)) => done,
    };
    if !status.success() {
        return Err(failed(format!("failed ({status})")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| failed("did not print UTF-8 text".to_owned()))?;
    first_line(text).ok_or_else(|| failed("printed no password".to_owned()))
}

fn first_line(text: &str) -> Option<SecretString> {
    let line = text.lines().next()?;
    (!line.is_empty()).then(|| SecretString::from(line))
}

async fn from_prompt(whose: &str) -> Result<SecretString, SecretError> {
    if !io::stdin().is_terminal() {
        return Err(SecretError::NoTerminal);
    }
    let words = format!("{whose}: ");
    let typed = tokio::task::spawn_blocking(move || rpassword::prompt_password(words)).await;
    match typed {
        Ok(Ok(text)) if !text.is_empty() => Ok(SecretString::from(text)),
        Ok(Ok(_) | Err(_)) | Err(_) => Err(SecretError::NotTyped),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);
    const SECRET: &str = "hunter2 ä";

    fn written(mode: u32, text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    async fn get(source: PasswordSource) -> Result<String, SecretError> {
        resolve(&source, "x", LIMIT)
            .await
            .map(|secret| secret.expose_secret().to_owned())
    }

    fn sh(script: &str) -> PasswordSource {
        PasswordSource::Command(vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()])
    }

    #[tokio::test]
    async fn a_file_gives_its_first_line_to_its_owner_only() {
        let (_dir, path) = written(0o600, &format!("{SECRET}\r\nmore\n"));
        assert_eq!(get(PasswordSource::File(path)).await.unwrap(), SECRET);
        for mode in [0o640, 0o604, 0o660] {
            let (_dir, path) = written(mode, SECRET);
            let error = get(PasswordSource::File(path)).await.unwrap_err();
            assert!(matches!(error, SecretError::OpenToOthers { .. }), "{error}");
            assert!(error.hint().contains("chmod 600"));
        }
    }

    #[tokio::test]
    async fn an_option_file_gives_the_password_of_its_group() {
        let (_dir, path) = written(0o600, "[client]\npassword=a\n[blue]\npassword = \"b # c\"\n");
        let source = |group: &str| PasswordSource::OptionFile {
            path: path.clone(),
            group: group.to_owned(),
        };
        assert_eq!(get(source("blue")).await.unwrap(), "b # c");
        assert_eq!(get(source("client")).await.unwrap(), "a");
        assert!(
            get(source("green"))
                .await
                .unwrap_err()
                .to_string()
                .contains("no group [green]")
        );
    }

    #[tokio::test]
    async fn a_command_gives_its_first_line() {
        assert_eq!(
            get(sh(&format!("echo '{SECRET}'; echo more"))).await.unwrap(),
            SECRET
        );
        assert_eq!(get(sh("printf x")).await.unwrap(), "x");
    }

    #[tokio::test]
    async fn a_command_that_fails_or_hangs_is_named_without_its_output() {
        let error = get(sh(&format!("echo '{SECRET}'; exit 3")))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`sh`") && error.contains('3') && !error.contains("hunter2"),
            "{error}"
        );
        let short = Duration::from_millis(50);
        let error = resolve(&sh("sleep 30"), "x", short)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("within 50ms"), "{error}");
        let error = get(PasswordSource::Command(vec!["/nowhere/x".to_owned()]))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("cannot be started"), "{error}");
    }

    #[tokio::test]
    async fn a_command_that_never_stops_printing_is_cut() {
        assert_eq!(
            get(sh("echo first; yes 2>/dev/null | head -c 1000000; exit 0"))
                .await
                .unwrap(),
            "first"
        );
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let error = get(PasswordSource::Env("BLEEN_NO_SUCH_VARIABLE".to_owned()))
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the environment variable `BLEEN_NO_SUCH_VARIABLE` is not set"
        );
        let (dir, path) = written(0o600, "\nsecond\n");
        assert!(
            get(PasswordSource::File(path))
                .await
                .unwrap_err()
                .to_string()
                .contains("empty line")
        );
        let error = get(PasswordSource::File(dir.path().to_owned()))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("not a regular file"), "{error}");
        assert!(matches!(
            get(PasswordSource::File(dir.path().join("x"))).await,
            Err(SecretError::File { .. })
        ));
    }
}
