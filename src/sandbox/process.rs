//! Server processes: started so that they end with this process, recorded before they run, and signalled only while
//! they are certainly ours.
//!
//! Three things together keep a crash from leaving a server behind. The process asks the kernel to be killed when
//! the thread that started it ends (`setpriv --pdeathsig`), so one thread that lives as long as this process starts
//! them all. It waits on a pipe until its id has been written down, so there is no moment in which it runs unknown.
//! And what is written down is what a later run sweeps.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use super::error::SandboxError;

/// How long a killed process may take to be gone. Far more than it needs, also on a busy machine.
const GONE: Duration = Duration::from_secs(20);

/// A process of this machine, named so that it cannot be mistaken for a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub started: u64,
}

impl ProcessId {
    /// The process that has this id now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold spaces and parentheses itself; what follows its last one does not.
        let after = stat.rsplit_once(')')?.1;
        // Field 22 of the line; the state, field 3, is the first one here. A zombie runs no more.
        let mut fields = after.split_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        Some(Self {
            pid,
            started: fields.nth(18)?.parse().ok()?,
        })
    }

    /// This process.
    pub(crate) fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Whether it was started with exactly this argument.
    pub(crate) fn has_argument(self, argument: &str) -> bool {
        let line = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        line.split(|b| *b == 0).any(|word| word == argument.as_bytes())
    }
}

/// What the starting thread is asked to do.
type Job = (Command, Sender<std::io::Result<Child>>);

/// Starts a process from the one thread that lives as long as this process.
fn spawn_from_lasting_thread(command: Command) -> std::io::Result<Child> {
    static STARTER: OnceLock<Mutex<Option<Sender<Job>>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (send, receive) = channel::<Job>();
        let thread = std::thread::Builder::new()
            .name("sandbox-starter".into())
            .spawn(move || {
                for (mut command, answer) in receive {
                    // Nobody waits for the answer only when the asking thread is gone; the child then reads end of file.
                    drop(answer.send(command.spawn()));
                }
            });
        Mutex::new(thread.ok().map(|_| send))
    });
    let lost = || std::io::Error::other("the thread that starts servers is gone");
    let (send, receive) = channel();
    let sent = match starter.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        Some(to) => to.send((command, send)),
        None => return Err(lost()),
    };
    sent.map_err(|_| lost())?;
    receive.recv().map_err(|_| lost())?
}

/// The words before a command that make the kernel end it with its starter; none where `setpriv` cannot do it.
fn death_wish() -> &'static [&'static str] {
    static WORDS: OnceLock<bool> = OnceLock::new();
    let can = *WORDS.get_or_init(|| {
        let tried = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|s| s.success())
    });
    if can {
        &["setpriv", "--pdeathsig", "KILL"]
    } else {
        &[]
    }
}

/// Words to put before a program's own: a shell that waits for one line, then becomes the program.
pub(crate) fn words_before() -> Vec<OsString> {
    let shell = ["sh", "-c", "read -r go && exec \"$@\"", "sh"];
    shell.iter().chain(death_wish()).map(OsString::from).collect()
}

/// A running child of this process, ended when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    id: ProcessId,
    child: Child,
}

impl Process {
    /// Starts a command that begins with [`words_before`]. `record` writes its id down; only then does it go on.
    pub(crate) fn start(
        mut command: Command,
        record: impl FnOnce(ProcessId) -> Result<(), SandboxError>,
    ) -> Result<Self, SandboxError> {
        // A group of its own: Ctrl-C at the terminal is for bleen, which then ends its servers in order.
        command.stdin(Stdio::piped()).process_group(0);
        let what = format!("starting {}", command.get_program().to_string_lossy());
        let mut child = spawn_from_lasting_thread(command).map_err(SandboxError::io(what.clone()))?;
        let go = child.stdin.take();
        // A child that was not waited for keeps its id, as a zombie if need be, so reading by id is safe.
        let Some(id) = ProcessId::of(child.id()) else {
            drop(child.wait());
            return Err(SandboxError::io(what)(std::io::Error::other("it ended at once")));
        };
        let process = Self { id, child };
        record(id)?;
        if let Some(mut go) = go {
            go.write_all(b"go\n").map_err(SandboxError::io(what))?;
        }
        Ok(process)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.id.pid
    }

    /// Its exit status, once it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal, if it still runs.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), SandboxError> {
        if self.ended().is_some() {
            return Ok(());
        }
        // Not yet waited for, so the id is still this child's.
        let pid = i32::try_from(self.id.pid).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(()) };
        rustix::process::kill_process(pid, signal)
            .map_err(|e| SandboxError::io(format!("signalling process {}", self.id.pid))(e.into()))
    }

    /// Waits until every thread has stopped after `SIGSTOP`: the signal is sent long before the last one obeys.
    pub(crate) fn wait_stopped(&mut self) -> Result<(), SandboxError> {
        let tasks = format!("/proc/{}/task", self.id.pid);
        let stopped = |stat: &str| {
            stat.rsplit_once(')')
                .is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
        };
        let started = Instant::now();
        while self.ended().is_none() {
            let threads = std::fs::read_dir(&tasks).map_err(SandboxError::io(format!("reading {tasks}")))?;
            let stats = threads.filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("stat")).ok());
            if stats.into_iter().all(|s| stopped(&s)) {
                return Ok(());
            }
            if started.elapsed() > GONE {
                return Err(SandboxError::TooSlow {
                    what: format!("stopping process {}", self.id.pid),
                    limit: GONE,
                });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<(), SandboxError> {
        self.signal(Signal::KILL)?;
        let started = Instant::now();
        while self.ended().is_none() {
            if started.elapsed() > GONE {
                let server = "a killed server".to_owned();
                return Err(SandboxError::Stop {
                    server,
                    pid: self.id.pid,
                    limit: GONE,
                });
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing left to tell; the next run's sweep finds what survives even this.
        drop(self.kill());
    }
}

/// Kills a process of an earlier run. The id is pinned first and then checked again, so the signal cannot reach
/// another process. Answers whether it is gone.
pub(crate) fn end_stranger(id: ProcessId, argument: &str) -> bool {
    let Some(pid) = i32::try_from(id.pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    let Ok(pinned) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else {
        return !id.is_alive();
    };
    if !id.is_alive() {
        return true;
    }
    if !id.has_argument(argument) || rustix::process::pidfd_send_signal(&pinned, Signal::KILL).is_err() {
        return !id.is_alive();
    }
    let started = Instant::now();
    while id.is_alive() && started.elapsed() < GONE {
        std::thread::sleep(Duration::from_millis(5));
    }
    !id.is_alive()
}
