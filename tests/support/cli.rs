//! Runs the real binary as an operator would: a home and a run directory of its own, nothing else in its environment,
//! and every wait with an end.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that stops says where")]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bleen::sandbox::{Account, SandboxPair};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// What a playbook of the tests says beyond its servers.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Ports of blue and green: the servers' own, or a proxy's.
    pub ports: (u16, u16),
    /// From the hold's statement to promote confirmed.
    pub deadline: Duration,
    /// How often the hold may be tried: on MySQL a writer that waits for another one's row lock can stand in its way.
    pub attempts: u32,
    /// Further lines of the `switch` section, each indented by two spaces.
    pub switch: String,
    /// Further sections.
    pub more: String,
}

impl Plan {
    pub fn of(pair: &SandboxPair) -> Self {
        Self {
            ports: (pair.blue.port(), pair.green.port()),
            deadline: Duration::from_secs(2),
            attempts: 10,
            switch: String::new(),
            more: String::new(),
        }
    }

    /// The guard's margin of every playbook here.
    pub const GUARD_MARGIN: Duration = Duration::from_secs(3);

    /// I3: the deadline rounded up to the next second, and the guard's margin.
    pub fn bound(&self) -> Duration {
        let whole = Duration::from_secs(self.deadline.as_millis().div_ceil(1000) as u64);
        whole + Self::GUARD_MARGIN
    }
}

/// One operator: a home with a playbook, its passwords and the run directory.
pub struct Operator {
    home: TempDir,
    playbook: PathBuf,
}

fn secret(home: &Path, name: &str, account: &Account) -> PathBuf {
    let path = home.join(name);
    std::fs::write(&path, account.password.expose_secret()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

impl Operator {
    /// An operator with an empty run directory.
    pub fn new(pair: &SandboxPair, plan: &Plan) -> Self {
        let home = TempDir::new().unwrap();
        let bleen = secret(home.path(), "bleen.secret", &pair.accounts.bleen);
        let repl = secret(home.path(), "repl.secret", &pair.accounts.repl);
        let side = |port: u16| {
            format!(
                "  host: 127.0.0.1\n  port: {port}\n  user: {}\n  password: {{ file: {} }}\n  tls: disabled\n",
                pair.accounts.bleen.user,
                bleen.display()
            )
        };
        let text = format!(
            "version: 1\nname: shop\nblue:\n{}green:\n{}replication:\n  user: {}\n  password: {{ file: {} }}\n  \
             source: {{ host: 127.0.0.1, port: {} }}\n  way_back: {{ host: 127.0.0.1, port: {} }}\n\
             switch:\n  deadline: {}ms\n  window: 60s\n  attempts: {}\n  retry_after: 200ms\n  guard_margin: {}s\n  hold_wait: 300ms\n  \
             idle_grace: 200ms\n  longest_statement: 1m\n  longest_transaction: 1h\n{}\
             lag:\n  limit: 1900ms\n  observe: 1s\n  heartbeat: 50ms\n{}{}",
            side(plan.ports.0),
            side(plan.ports.1),
            pair.accounts.repl.user,
            repl.display(),
            pair.blue.port(),
            pair.green.port(),
            plan.deadline.as_millis(),
            plan.attempts,
            Plan::GUARD_MARGIN.as_secs(),
            plan.switch,
            super::waivers(pair),
            plan.more,
        );
        let playbook = home.path().join("shop.yaml");
        std::fs::write(&playbook, text).unwrap();
        Self { home, playbook }
    }

    fn command(&self, arguments: &[&str], environment: &[(&str, &str)], shell: Option<&str>) -> Command {
        let binary = env!("CARGO_BIN_EXE_bleen");
        let mut command = match shell {
            None => Command::new(binary),
            Some(before) => {
                let mut sh = Command::new("/bin/sh");
                sh.args(["-c", &format!("{before}; exec \"$0\" \"$@\""), binary]);
                sh
            }
        };
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.home.path())
            .env("USER", "tester")
            .envs(environment.iter().copied())
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Whoever started the tests may end before them: then the system wakes every frozen process of their group
            // (SIGHUP and SIGCONT to an orphaned group). A group of its own hears of that only when the test ends.
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    fn start(&self, arguments: &[&str], environment: &[(&str, &str)], shell: Option<&str>) -> Running {
        Running::new(self.command(arguments, environment, shell).spawn().unwrap())
    }

    /// `bleen validate` with further arguments.
    pub fn validate(&self, more: &[&str]) -> Running {
        let playbook = self.playbook.to_str().unwrap();
        let mut arguments = vec!["validate", playbook, "--output", "json"];
        arguments.extend(more);
        self.start(&arguments, &[], None)
    }

    /// `bleen switch`, with `fault` as fault points.
    pub fn switch(&self, fault: &str) -> Running {
        self.switch_in(fault, None)
    }

    /// As [`Operator::switch`], by a shell that runs `before` first.
    pub fn switch_in(&self, fault: &str, before: Option<&str>) -> Running {
        let playbook = self.playbook.to_str().unwrap();
        self.start(
            &["switch", playbook, "--confirm", "shop", "--output", "json"],
            &[("BLEEN_FAULT", fault)],
            before,
        )
    }

    /// `bleen switch` until it says that `step` is done. An attempt whose hold one of the load's own writers stood in
    /// the way of has not come that far and is begun again.
    pub async fn switch_to(&self, fault: &str, step: &str) -> Running {
        self.switch_in_to(fault, step, None).await
    }

    /// As [`Operator::switch_to`], by a shell that runs `before` first.
    pub async fn switch_in_to(&self, fault: &str, step: &str, before: Option<&str>) -> Running {
        let mut last = String::new();
        for _ in 0..8 {
            let mut run = self.switch_in(fault, before);
            if run.comes_to("step-done", step).await {
                return run;
            }
            let ended = run.end(Duration::from_secs(5)).await;
            assert!(ended.is_blocked_by_the_load(), "{}", ended.told());
            last = ended.why();
        }
        panic!("the hold was never granted: {last}");
    }

    /// `bleen switch` until the hold is granted, with `act` done right before its statement is sent.
    /// `undo` undoes it when the attempt did not come that far and another one is begun.
    pub async fn switch_with<T>(&self, act: impl AsyncFn() -> T, undo: impl AsyncFn(T)) -> (Running, T) {
        let mut last = String::new();
        for _ in 0..8 {
            let mut run = self
                .switch_to("hold.before=pause:400,hold.after=pause:100", "arm")
                .await;
            run.comes_to("step-began", "hold").await;
            let acted = act().await;
            if run.comes_to("step-done", "hold").await {
                return (run, acted);
            }
            let ended = run.end(Duration::from_secs(5)).await;
            assert!(ended.is_blocked_by_the_load(), "{}", ended.told());
            last = ended.why();
            undo(acted).await;
        }
        panic!("the hold was never granted: {last}");
    }

    /// `bleen failback`, with `fault` as fault points.
    pub fn failback(&self, fault: &str) -> Running {
        let playbook = self.playbook.to_str().unwrap();
        self.start(
            &["failback", playbook, "--confirm", "shop", "--output", "json"],
            &[("BLEEN_FAULT", fault)],
            None,
        )
    }

    /// `bleen finish`.
    pub fn finish(&self) -> Running {
        let playbook = self.playbook.to_str().unwrap();
        let arguments = ["finish", playbook, "--confirm", "shop", "--output", "json"];
        self.start(&arguments, &[], None)
    }

    /// `bleen soak` for a while.
    pub fn soak(&self, length: &str) -> Running {
        let playbook = self.playbook.to_str().unwrap();
        self.start(
            &["soak", playbook, "--for", length, "--output", "json"],
            &[],
            None,
        )
    }

    /// `bleen status`.
    pub fn status(&self) -> Running {
        let playbook = self.playbook.to_str().unwrap();
        self.start(&["status", playbook, "--output", "json"], &[], None)
    }

    /// `bleen resume`.
    pub fn resume(&self) -> Running {
        self.resume_with("")
    }

    /// `bleen resume`, with `fault` as fault points.
    pub fn resume_with(&self, fault: &str) -> Running {
        let playbook = self.playbook.to_str().unwrap();
        self.start(
            &["resume", playbook, "--output", "json"],
            &[("BLEEN_FAULT", fault)],
            None,
        )
    }

    /// Changes the playbook's text.
    pub fn edit_playbook(&self, change: impl Fn(String) -> String) {
        let text = std::fs::read_to_string(&self.playbook).unwrap();
        std::fs::write(&self.playbook, change(text)).unwrap();
    }

    /// Where the runs' journals are.
    pub fn runs(&self) -> PathBuf {
        self.home.path().join(".local/state/bleen")
    }
}

#[derive(Default)]
struct Said {
    events: Vec<(Instant, Value)>,
    stderr: String,
}

/// A bleen under way. Dropping it kills it.
pub struct Running {
    child: Child,
    pid: Pid,
    began: Instant,
    said: Arc<Mutex<Said>>,
    readers: Vec<tokio::task::JoinHandle<()>>,
}

impl Running {
    fn new(mut child: Child) -> Self {
        let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        let said = Arc::new(Mutex::new(Said::default()));
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (events, talk) = (Arc::clone(&said), Arc::clone(&said));
        let readers = vec![
            tokio::spawn(async move {
                let mut lines = BufReader::new(stdout).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                    events.lock().unwrap().events.push((Instant::now(), event));
                }
            }),
            tokio::spawn(async move {
                let mut text = String::new();
                let _ = stderr.read_to_string(&mut text).await;
                talk.lock().unwrap().stderr = text;
            }),
        ];
        Self {
            child,
            pid,
            began: Instant::now(),
            said,
            readers,
        }
    }

    /// Waits until it says this of a step; whether it did before it was over.
    pub async fn comes_to(&mut self, what: &str, step: &str) -> bool {
        let said = |e: &Value| e["type"] == what && e["step"] == step;
        while self.over().is_none() && !self.events().iter().any(said) {
            tokio::time::sleep(Duration::from_millis(2)).await;
            assert!(
                self.began.elapsed() < Duration::from_secs(30),
                "{:#?}",
                self.events()
            );
        }
        self.events().iter().any(said)
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it has ended.
    pub fn over(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Closes the other end of everything it writes, as a terminal that is gone.
    pub async fn hang_up(&mut self) {
        for reader in self.readers.drain(..) {
            reader.abort();
            let _ = reader.await;
        }
        self.signal(Signal::HUP);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// What it said so far.
    pub fn events(&self) -> Vec<Value> {
        self.said
            .lock()
            .unwrap()
            .events
            .iter()
            .map(|(_, e)| e.clone())
            .collect()
    }

    /// Waits until it says that a step is done; the moment at which it was read.
    pub async fn step_done(&mut self, step: &str, limit: Duration) -> Instant {
        self.until(step, limit, |e| e["type"] == "step-done" && e["step"] == step)
            .await
    }

    /// Waits for an event.
    pub async fn until(&mut self, what: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Instant {
        let began = Instant::now();
        loop {
            let seen = self
                .said
                .lock()
                .unwrap()
                .events
                .iter()
                .find(|(_, e)| wanted(e))
                .map(|(at, _)| *at);
            if let Some(at) = seen {
                return at;
            }
            let over = self.child.try_wait().unwrap();
            assert!(
                over.is_none() && began.elapsed() < limit,
                "`{what}` was not said ({over:?}): {:#?}",
                self.events()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until the process is stopped by a signal.
    pub async fn until_stopped(&mut self, limit: Duration) {
        let began = Instant::now();
        let path = format!("/proc/{}/stat", self.pid.as_raw_nonzero());
        loop {
            let stat = std::fs::read_to_string(&path).unwrap_or_default();
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
            if state == Some('T') {
                return;
            }
            let over = self.child.try_wait().unwrap();
            assert!(
                over.is_none() && began.elapsed() < limit,
                "it did not stop ({over:?}): {:#?}",
                self.events()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for its end.
    pub async fn end(mut self, limit: Duration) -> Ended {
        let Ok(status) = timeout(limit, self.child.wait()).await else {
            panic!("it did not end within {limit:?}: {:#?}", self.events());
        };
        let status = status.unwrap();
        for reader in self.readers.drain(..) {
            // A child of it that keeps the pipe open must not keep the test.
            let _ = timeout(Duration::from_secs(5), reader).await;
        }
        let said = std::mem::take(&mut *self.said.lock().unwrap());
        Ended {
            code: status.code(),
            signal: status.signal(),
            events: said.events.into_iter().map(|(_, e)| e).collect(),
            stderr: said.stderr,
        }
    }
}

/// How a bleen ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub events: Vec<Value>,
    pub stderr: String,
}

impl Ended {
    /// The last line's fields, or null if it never came to one.
    pub fn result(&self) -> &Value {
        self.events
            .iter()
            .rev()
            .find(|e| e["type"] == "result")
            .unwrap_or(&Value::Null)
    }

    pub fn outcome(&self) -> &str {
        self.result()["outcome"].as_str().unwrap_or("")
    }

    /// Why it was given up, in bleen's words.
    pub fn why(&self) -> String {
        self.result()["why"].to_string()
    }

    /// Whether the only attempt was given up because a writer of the load stood in the hold's way, or green was not
    /// quick enough: both pass by themselves.
    pub fn is_blocked_by_the_load(&self) -> bool {
        let why = self.why();
        self.code == Some(3) && (why.contains("hold-blocked") || why.contains("green-behind"))
    }

    /// Asserts outcome word and exit code.
    #[track_caller]
    pub fn expect(&self, outcome: &str, code: i32) -> &Self {
        assert!(
            self.outcome() == outcome && self.code == Some(code),
            "expected {outcome} ({code}), got {} ({:?}, signal {:?}):\n{}",
            self.outcome(),
            self.code,
            self.signal,
            self.told()
        );
        self
    }

    /// Everything it said, short.
    pub fn told(&self) -> String {
        let mut text = String::new();
        for event in self.events.iter().filter(|e| {
            let kind = e["type"].as_str().unwrap_or("");
            kind != "lag" && !(kind == "finding" && e["severity"] == "ok")
        }) {
            text.push_str(&event.to_string());
            text.push('\n');
        }
        text + &self.stderr
    }
}
