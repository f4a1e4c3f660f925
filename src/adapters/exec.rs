//! Runs a command of the playbook: no shell, bounded in time and in what is kept of its output.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// How much of a failing command's last words is shown, in bytes.
const LAST_WORDS: usize = 400;

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

/// Runs a program with its arguments and these variables beside bleen's own surroundings.
///
/// # Errors
/// It could not be started, did not end within `limit`, or failed. Dropping the future kills it.
pub async fn run(
    command: &[String],
    surroundings: &[(&str, String)],
    limit: Duration,
) -> Result<(), ExecError> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(ExecError::Start(String::new(), "no program is named".to_owned()));
    };
    let child = Command::new(program)
        .args(arguments)
        .envs(surroundings.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| ExecError::Start(program.clone(), e.to_string()))?;
    let output = timeout(limit, child.wait_with_output())
        .await
        .map_err(|_| ExecError::TimedOut(program.clone(), humantime::format_duration(limit).to_string()))?
        .map_err(|e| ExecError::Start(program.clone(), e.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.trim();
    let cut = words.char_indices().rev().nth(LAST_WORDS).map_or(0, |(i, _)| i);
    Err(ExecError::Failed(
        program.clone(),
        output.status.to_string(),
        words[cut..].to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn says_how_a_command_failed() {
        let second = Duration::from_secs(10);
        run(&words("true"), &[], second).await.unwrap();
        let failed = run(
            &["sh".into(), "-c".into(), "echo no such proxy >&2; exit 3".into()],
            &[],
            second,
        )
        .await;
        assert!(
            failed
                .unwrap_err()
                .to_string()
                .contains("exit status: 3: no such proxy")
        );
        let missing = run(&words("/no/such/program"), &[], second).await.unwrap_err();
        assert!(matches!(missing, ExecError::Start(..)), "{missing}");
        let slow = run(&words("sleep 5"), &[], Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(matches!(slow, ExecError::TimedOut(..)), "{slow}");
    }
}
