//! `bleen sandbox` ended from outside, at moments that matter: no process and no directory is left.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what failed by failing"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest time for an orderly end: an undo under the hold included.
const SOON: Duration = Duration::from_secs(30);

/// Processes whose command line names something below a directory.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|words| String::from_utf8_lossy(&words).replace('\0', " "))
        .filter(|words| words.contains(dir))
        .collect()
}

fn wait(child: &mut Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if began.elapsed() > SOON {
            child.kill().unwrap();
            panic!("it did not end within {SOON:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a sandbox, sends it the signal when it says `moment`, and looks at what is left. Answers the last line.
fn ended_at(keep: bool, moment: &str, signal: Signal, code: i32) -> serde_json::Value {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bleen"));
    command
        .args(["sandbox", "--writers", "2", "--rate", "10", "--output", "json"])
        .args(keep.then_some("--keep"))
        .env("TMPDIR", home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut told = Vec::new();
    let came = lines.by_ref().any(|line| {
        told.push(line);
        told.last().is_some_and(|line| line.contains(moment))
    });
    assert!(came, "{moment}: {told:#?}");
    assert!(!processes_of(home.path()).is_empty(), "servers run from there");
    kill_process(Pid::from_child(&child), signal).unwrap();
    told.extend(lines);
    assert_eq!(wait(&mut child), Some(code), "{moment}: {told:#?}");
    // Who serves a kept pair, this command does not know.
    if keep {
        let claims = |line: &String| line.contains("put back") || line.contains("blue serves");
        assert!(!told.iter().any(claims), "{told:#?}");
        let says = |line: &String| line.contains("takes the servers away");
        assert!(told.iter().any(says), "{told:#?}");
    }
    assert_eq!(processes_of(home.path()), Vec::<String>::new(), "{moment}");
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert!(left.is_empty(), "{moment}: {left:?}");
    serde_json::from_str(told.last().unwrap()).unwrap()
}

const LOADING: &str = "both answer after";
const HELD: &str = "\"type\":\"step-done\",\"step\":\"hold\"";
const KEPT: &str = "servers and load stay until Ctrl-C";

#[test]
fn ctrl_c_while_it_is_set_up() {
    let last = ended_at(false, LOADING, Signal::INT, 130);
    assert_eq!(last["outcome"], "interrupted", "{last}");
}

/// The hold is given up first, as in `bleen switch`; what the writers saw is accounted for.
#[test]
fn sigterm_under_the_hold() {
    let last = ended_at(false, HELD, Signal::TERM, 130);
    assert_eq!(last["outcome"], "interrupted", "{last}");
    for field in ["lost", "doubled", "refused"] {
        assert_eq!(last[field], 0, "{field} in {last}");
    }
    assert_eq!(last["writable"], serde_json::json!(["blue"]), "{last}");
}

/// A kept sandbox is ended by a signal: that is how it is meant to end.
#[test]
fn a_kept_one_by_ctrl_c() {
    let last = ended_at(true, KEPT, Signal::INT, 0);
    assert_eq!(
        (&last["outcome"], &last["lost"]),
        (&"done".into(), &0.into()),
        "{last}"
    );
}

#[test]
fn a_kept_one_by_sigterm() {
    ended_at(true, KEPT, Signal::TERM, 0);
}
