//! Runs a command of the playbook: no shell, bounded in time and in what is kept of its output.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, Command};
use tokio::time::timeout;

use super::secrets;
use crate::engine::hooks::{Programs, Surroundings};
use crate::engine::ports::Pending;
use crate::playbook::model::Exec;

/// How much of a failing command's last words is shown, in bytes.
const LAST_WORDS: usize = 400;

/// How much of it is kept while it runs; a character takes up to four bytes.
const KEPT: usize = LAST_WORDS * 4;

/// Why a command did not do its work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExecError {
    /// It is not there, or may not be run.
    #[error("start `{0}`: {1}")]
    Start(String, String),
    /// It did not end in time and was killed.
    #[error("`{0}` did not end within {1} and was killed")]
    TimedOut(String, String),
    /// It ended with another code than 0.
    #[error("`{0}` ended with {1}: {2}")]
    Failed(String, String, String),
}

/// A program and everything that it started. Dropping it ends what is left of them.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Nobody may be left of it, and that is as it should be.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs a program with its arguments and these variables beside bleen's own surroundings, without those that hold a
/// password of the playbook.
///
/// In a group of its own: a Ctrl-C in bleen's terminal is bleen's to answer, and the end of its time is the end of all
/// that it started.
///
/// # Errors
/// It could not be started, did not end within `limit`, or failed. Dropping the future kills it.
pub async fn run(command: &[String], surroundings: &Surroundings, limit: Duration) -> Result<(), ExecError> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(ExecError::Start(String::new(), "no program is named".to_owned()));
    };
    let mut command = Command::new(program);
    for name in secrets::variables() {
        command.env_remove(name);
    }
    let mut child = command
        .args(arguments)
        .envs(surroundings.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| ExecError::Start(program.clone(), e.to_string()))?;
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    let mut group = Group(pid);
    let stderr = child.stderr.take();
    let ended = async { tokio::join!(child.wait(), last_words(stderr)) };
    let (status, words) = timeout(limit, ended)
        .await
        .map_err(|_| ExecError::TimedOut(program.clone(), humantime::format_duration(limit).to_string()))?;
    let status = status.map_err(|e| ExecError::Start(program.clone(), e.to_string()))?;
    // It ended by itself; what it left running on purpose, and without our end of the pipe, is its own.
    group.0 = None;
    if status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&words);
    let words = words.trim();
    let cut = words.char_indices().rev().nth(LAST_WORDS).map_or(0, |(i, _)| i);
    Err(ExecError::Failed(
        program.clone(),
        status.to_string(),
        words[cut..].to_owned(),
    ))
}

/// Runs the playbook's hooks on this machine.
#[derive(Debug, Clone, Copy)]
pub struct OnThisMachine;

impl Programs for OnThisMachine {
    fn run(&self, program: &Exec, surroundings: &Surroundings) -> Pending<Result<(), String>> {
        let (program, surroundings) = (program.clone(), surroundings.clone());
        Box::pin(async move {
            run(&program.command, &surroundings, program.timeout)
                .await
                .map_err(|e| e.to_string())
        })
    }
}

/// Reads to the end and keeps the last bytes only: a command that talks without end must not fill the memory.
async fn last_words(stderr: Option<ChildStderr>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut stderr) = stderr else { return kept };
    let mut piece = [0; 4096];
    // What cannot be read any more is not shown.
    while let Ok(read @ 1..) = stderr.read(&mut piece).await {
        kept.extend_from_slice(&piece[..read]);
        let over = kept.len().saturating_sub(KEPT);
        kept.drain(..over);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn a_command_gets_no_variable_that_holds_a_password() {
        let limit = Duration::from_secs(10);
        let source = crate::playbook::model::PasswordSource::Env("CARGO_MANIFEST_DIR".into());
        let has = [
            "/bin/sh".into(),
            "-c".into(),
            "/usr/bin/env | /bin/grep -q '^CARGO_MANIFEST_DIR='".into(),
        ];
        run(&has, &Vec::new(), limit).await.unwrap();
        drop(secrets::resolve(&source, "a test", limit).await.unwrap());
        assert!(matches!(
            run(&has, &Vec::new(), limit).await,
            Err(ExecError::Failed(..))
        ));
    }

    #[tokio::test]
    async fn says_how_a_command_failed() {
        let second = Duration::from_secs(10);
        run(&words("true"), &Vec::new(), second).await.unwrap();
        let failed = run(
            &["sh".into(), "-c".into(), "echo no such proxy >&2; exit 3".into()],
            &Vec::new(),
            second,
        )
        .await;
        assert!(
            failed
                .unwrap_err()
                .to_string()
                .contains("exit status: 3: no such proxy")
        );
        let missing = run(&words("/no/such/program"), &Vec::new(), second)
            .await
            .unwrap_err();
        assert!(matches!(missing, ExecError::Start(..)), "{missing}");
        let talks = "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789 >&2; i=$((i+1)); done; echo the end >&2; exit 1";
        let long = run(&["sh".into(), "-c".into(), talks.into()], &Vec::new(), second)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            long.ends_with("the end") && long.len() < LAST_WORDS + 100,
            "{long}"
        );
        let slow = run(&words("sleep 5"), &Vec::new(), Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(matches!(slow, ExecError::TimedOut(..)), "{slow}");
    }

    #[tokio::test]
    async fn what_a_command_started_ends_with_its_time() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("child");
        let script = format!("sleep 30 & echo $! > {}; wait", file.display());
        let command = ["sh".to_owned(), "-c".to_owned(), script];
        let slow = run(&command, &Vec::new(), Duration::from_millis(500)).await;
        assert!(matches!(slow, Err(ExecError::TimedOut(..))), "{slow:?}");
        let child = std::fs::read_to_string(&file).unwrap();
        let status = format!("/proc/{}/stat", child.trim());
        for _ in 0..200 {
            match std::fs::read_to_string(&status) {
                Ok(stat) if !stat.contains(") Z ") => tokio::time::sleep(Duration::from_millis(10)).await,
                _ => return,
            }
        }
        panic!("process {child} outlived the command that started it");
    }
}
