//! The binary as a person or a script meets it: words, streams and exit codes. No server is needed for any of this.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A home of its own and an environment with nothing else in it.
struct Environment {
    home: tempfile::TempDir,
}

impl Environment {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bleen"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("COLUMNS", "100")
            .env("TERM", "xterm");
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    #[must_use = "assert on the exit code, stdout or stderr"]
    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Writes a playbook into the home and returns its name.
    fn playbook(&self, name: &str, text: &str) -> String {
        std::fs::write(self.home.path().join(name), text).unwrap();
        name.to_owned()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shipped(name: &str) -> String {
    std::fs::read_to_string(root().join("playbooks").join(name)).unwrap()
}

/// Everything that a caller can see, for a snapshot.
fn seen(output: &Output) -> String {
    format!(
        "exit code: {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The names of all commands, from the help itself.
fn commands(environment: &Environment) -> Vec<String> {
    let help = String::from_utf8(environment.run(&["--help"]).stdout).unwrap();
    let list = help
        .split("Commands:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let names: Vec<_> = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect();
    assert!(names.len() >= 4, "{names:?}");
    names
}

#[test]
fn help_of_every_command() {
    let environment = Environment::new();
    insta::assert_snapshot!("help", seen(&environment.run(&["--help"])));
    for command in commands(&environment) {
        insta::assert_snapshot!(
            format!("help-{command}"),
            seen(&environment.run(&[&command, "--help"]))
        );
    }
}

#[test]
fn every_command_has_a_manual_page_and_completes() {
    let environment = Environment::new();
    let main = String::from_utf8(environment.run(&["man"]).stdout).unwrap();
    let scripts: Vec<_> = ["bash", "zsh", "fish", "elvish", "powershell"]
        .map(|shell| String::from_utf8(environment.run(&["completions", shell]).stdout).unwrap())
        .into();
    for command in commands(&environment) {
        let page = environment.run(&["man", &command]);
        assert!(
            String::from_utf8_lossy(&page.stdout).contains(&format!(".TH bleen-{command}")),
            "{command}"
        );
        assert!(
            main.contains(&format!("bleen\\-{command}")),
            "{command} is not in bleen(1)"
        );
        let table = String::from_utf8_lossy(&page.stdout);
        assert!(
            table.contains(".TP\n\\fB69\\fR unreachable\n") && !table.contains("EXTRA"),
            "{table}"
        );
        for script in &scripts {
            assert!(script.contains(&command), "{command} does not complete");
        }
    }
    assert_eq!(code(&environment.run(&["man", "no-such-command"])), 64);
}

#[test]
fn a_valid_playbook_is_described_on_stdout() {
    let environment = Environment::new();
    let name = environment.playbook("full.yaml", &shipped("full.yaml"));
    insta::assert_snapshot!(seen(&environment.run(&["check", &name])));
}

#[test]
fn an_invalid_playbook_is_65_and_drawn_on_stderr() {
    let environment = Environment::new();
    let text = shipped("minimal.yaml").replace("version: 1", "version: 1\ndeadlin: 10s\nprotected: maybe");
    let name = environment.playbook("shop.yaml", &text);
    insta::assert_snapshot!("invalid-human", seen(&environment.run(&["check", &name])));
    let json = environment.run(&["check", &name, "--output", "json"]);
    insta::assert_snapshot!("invalid-json", String::from_utf8_lossy(&json.stdout));
    assert_eq!(code(&json), 65);
}

#[test]
fn an_empty_playbook_is_said_to_be_empty() {
    let environment = Environment::new();
    for text in ["", "\n", "# later\n"] {
        let name = environment.playbook("shop.yaml", text);
        let output = environment.run(&["check", &name]);
        assert_eq!(code(&output), 65, "{text:?}");
        assert!(
            seen(&output).contains("begins with `version: 1`"),
            "{}",
            seen(&output)
        );
    }
}

#[test]
fn an_inline_password_is_shown_nowhere() {
    let environment = Environment::new();
    let text = shipped("minimal.yaml").replace("{ env: BLEEN_BLUE_PASSWORD }", "hunter2");
    let name = environment.playbook("shop.yaml", &text);
    for form in ["human", "json"] {
        let output = environment.run(&["check", &name, "--output", form, "--log", "trace"]);
        assert_eq!(code(&output), 65);
        let seen = seen(&output);
        assert!(!seen.contains("hunter2"), "{seen}");
        assert!(seen.contains("a password never stands in a playbook"), "{seen}");
    }
}

#[test]
fn there_is_no_flag_for_a_password() {
    let environment = Environment::new();
    for flag in ["--password=x", "--password", "-px"] {
        assert_eq!(code(&environment.run(&["check", "x.yaml", flag])), 64, "{flag}");
    }
}

#[test]
fn usage_errors_are_64_and_say_what_to_do() {
    let environment = Environment::new();
    for (name, arguments) in [
        ("no-command", &[][..]),
        ("unknown-command", &["chek"]),
        ("no-playbook", &["check"]),
        ("unreadable-playbook", &["check", "missing.yaml"]),
        ("bad-output", &["check", "x.yaml", "--output", "xml"]),
        ("bad-log-filter", &["schema", "--log", "bleen=loud"]),
    ] {
        let output = environment.run(arguments);
        assert_eq!(code(&output), 64, "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?} wrote to stdout");
        // The list of commands has a snapshot of its own: the help.
        let talk: String = String::from_utf8_lossy(&output.stderr)
            .split_inclusive('\n')
            .filter(|line| !line.contains("[subcommands:"))
            .collect();
        insta::assert_snapshot!(format!("usage-{name}"), talk);
    }
}

#[test]
fn grants_of_given_versions_need_no_server() {
    let environment = Environment::new();
    let name = environment.playbook("shop.yaml", &shipped("mysql-5.6-by-file.yaml"));
    let given = [
        "grants",
        &name,
        "--blue",
        "mysql-5.6",
        "--green",
        "mariadb-11.8",
        "--from",
        "10.0.0.%",
    ];
    insta::assert_snapshot!("grants", seen(&environment.run(&given)));
    let json = environment.run(&[&given[..], &["--output", "json"]].concat());
    let lines = String::from_utf8(json.stdout).unwrap();
    let types: Vec<_> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["type"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(types, ["account", "account", "account", "result"]);
    let wrong = environment.run(&["grants", &name, "--blue", "8.4"]);
    assert_eq!(code(&wrong), 64);
}

#[test]
fn grants_of_an_unreachable_server_are_69() {
    let environment = Environment::new();
    // A port that was free a moment ago and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let text = shipped("minimal.yaml").replace(
        "host: db-blue.example.net",
        &format!("host: 127.0.0.1\n  port: {port}"),
    );
    let name = environment.playbook("shop.yaml", &text);
    let output = environment.run(&["grants", &name]);
    assert_eq!(code(&output), 69, "{}", seen(&output));
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        talk.contains("cannot be reached") && talk.contains("nothing has changed"),
        "{talk}"
    );
}

#[test]
fn what_goes_to_a_pipe_has_no_colour() {
    let environment = Environment::new();
    let name = environment.playbook("bad.yaml", "version: 2\n");
    let output = environment.run(&["check", &name]);
    assert!(
        !output.stderr.contains(&0x1b) && !output.stdout.contains(&0x1b),
        "{}",
        seen(&output)
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let environment = Environment::new();
    let mut child = environment
        .command(&["schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed before anything is read; the schema is larger than what a pipe holds when nobody reads is not needed for
    // that: a write to a pipe without a reader fails at once.
    drop(child.stdout.take());
    let mut talk = String::new();
    child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{talk}");
    assert_eq!(talk, "");
}

#[test]
fn a_full_disk_is_an_error() {
    let environment = Environment::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = environment.command(&["schema"]).stdout(full).output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("failed to write to stdout"));
}

#[test]
fn schema_prints_the_committed_file() {
    let committed = std::fs::read(root().join("playbooks/playbook.schema.json")).unwrap();
    assert_eq!(Environment::new().run(&["schema"]).stdout, committed);
}

#[test]
fn nothing_is_left_behind_by_commands_that_only_read() {
    let environment = Environment::new();
    let name = environment.playbook("full.yaml", &shipped("full.yaml"));
    for arguments in [&["check", &name][..], &["schema"], &["man"], &["--version"]] {
        assert_eq!(code(&environment.run(arguments)), 0);
    }
    let left: Vec<PathBuf> = std::fs::read_dir(environment.home.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(left, [environment.home.path().join("full.yaml")]);
}

#[test]
fn a_refusal_is_a_result_for_scripts_too() {
    let environment = Environment::new();
    let playbook = environment.playbook("shop.yaml", &shipped("minimal.yaml"));
    for (command, more) in [
        ("switch", vec![]),
        ("run", vec![]),
        ("switch", vec!["--confirm", "another"]),
        ("rollback", vec!["--confirm", "another"]),
    ] {
        let mut arguments = vec![command, &playbook, "--output", "json"];
        arguments.extend(more);
        let output = environment.run(&arguments);
        let stdout = String::from_utf8(output.stdout.clone()).unwrap();
        let last: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap_or("null")).unwrap();
        assert_eq!(
            (
                &last["type"],
                &last["command"],
                &last["outcome"],
                &last["exit_code"],
                &last["changed"]
            ),
            (
                &"result".into(),
                &command.into(),
                &"refused".into(),
                &6.into(),
                &false.into()
            ),
            "{}",
            seen(&output)
        );
        assert_eq!(code(&output), 6);
        assert!(last["why"].as_str().unwrap().contains("--confirm"), "{last}");
    }
}
