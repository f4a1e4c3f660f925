//! Runs another program to its end inside a time limit and hands back its words.
//!
//! Blocking: callers in async code go through `spawn_blocking`.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::cache::random_hex;
use super::error::SandboxError;

/// How often a running program is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// Both outputs, for a message.
    pub fn words(&self) -> String {
        format!("{}\n{}", self.stdout.trim(), self.stderr.trim())
            .trim()
            .to_owned()
    }
}

/// Runs `command` with its output going to files in `scratch`, and calls `look` every few milliseconds meanwhile.
/// `Ok(None)` means that there is no such program on this machine. At the limit the program is ended.
pub(crate) fn run(
    command: &mut Command,
    input: Option<File>,
    scratch: &Path,
    limit: Duration,
    mut look: impl FnMut(),
) -> Result<Option<Finished>, SandboxError> {
    let name = command.get_program().to_string_lossy().into_owned();
    // Files and not pipes: nobody has to read them for the program to go on.
    let tag = random_hex()?;
    let (out, err) = (
        scratch.join(format!("{tag}.out")),
        scratch.join(format!("{tag}.err")),
    );
    let create = |p: &Path| File::create(p).map_err(SandboxError::io(format!("creating {}", p.display())));
    command
        .stdin(input.map_or_else(Stdio::null, Stdio::from))
        .stdout(create(&out)?)
        .stderr(create(&err)?);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(SandboxError::io(format!("starting {name}"))(e)),
    };
    let started = Instant::now();
    let status = loop {
        let seen = child
            .try_wait()
            .map_err(SandboxError::io(format!("waiting for {name}")))?;
        if let Some(status) = seen {
            break status;
        }
        if started.elapsed() > limit {
            // Our own child, not yet waited for: its id cannot have gone to anybody else.
            drop(child.kill());
            drop(child.wait());
            return Err(SandboxError::TooSlow { what: name, limit });
        }
        look();
        std::thread::sleep(LOOK);
    };
    let read = |p: &Path| {
        let text = std::fs::read(p).map(|b| String::from_utf8_lossy(&b).into_owned());
        drop(std::fs::remove_file(p));
        text.map_err(SandboxError::io(format!("reading {}", p.display())))
    };
    Ok(Some(Finished {
        status,
        stdout: read(&out)?,
        stderr: read(&err)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_status_absence_and_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mut sh = Command::new("sh");
        sh.args(["-c", "echo out; echo err >&2; exit 3"]);
        let done = run(&mut sh, None, dir.path(), Duration::from_secs(10), || {})
            .unwrap()
            .unwrap();
        assert_eq!((done.status.code(), done.words().as_str()), (Some(3), "out\nerr"));

        let mut none = Command::new("no-such-program-here");
        assert!(
            run(&mut none, None, dir.path(), Duration::from_secs(1), || {})
                .unwrap()
                .is_none()
        );

        let mut long = Command::new("sleep");
        long.arg("600");
        let said = run(&mut long, None, dir.path(), Duration::from_millis(60), || {}).unwrap_err();
        assert!(matches!(said, SandboxError::TooSlow { .. }), "{said}");
    }
}
