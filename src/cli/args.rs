//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::sandbox::ServerKind;

/// Moves a MySQL or MariaDB database from the server that serves it (blue) to a new one (green), inside a deadline.
///
/// A missed deadline costs the application nothing: writers wait inside the server until green is proven ready, and go
/// on as before if it is not.
#[derive(Debug, Parser)]
#[command(name = "bleen", version, propagate_version = false, max_term_width = 100, after_help = super::exit::plain_table())]
#[command(
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = false
)]
pub struct Args {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Args {
    /// Reads the process's command line.
    ///
    /// # Errors
    /// It is wrong, or asks for help.
    pub fn read() -> Result<Self, clap::Error> {
        let mut command = command();
        let matches = command.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

/// The command line as clap knows it, with the exit codes below the help of every command.
#[must_use]
pub fn command() -> clap::Command {
    Args::command().mut_subcommands(|one| one.after_help(super::exit::plain_table()))
}

/// Options that every command takes.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options for every command")]
pub struct Global {
    /// What stdout is: human, lines for people; json, JSON Lines for scripts.
    #[arg(long, global = true, value_enum, default_value_t = Output::Human)]
    #[arg(
        env = "BLEEN_OUTPUT",
        hide_env_values = true,
        hide_possible_values = true,
        value_name = "FORM"
    )]
    pub output: Output,

    /// Where runs keep their journals. Default: $XDG_STATE_HOME/bleen, or ~/.local/state/bleen.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "BLEEN_RUN_DIR",
        hide_env_values = true
    )]
    pub run_dir: Option<PathBuf>,

    /// What to log to stderr: error, warn, info, debug, trace, or a filter such as bleen::engine=debug.
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        default_value = "warn",
        env = "BLEEN_LOG",
        hide_env_values = true
    )]
    pub log: String,
}

/// The form of stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines for people.
    Human,
    /// One JSON object on each line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read a playbook and show everything that is wrong with it. Touches no server.
    Check {
        /// The playbook.
        #[arg(value_name = "PLAYBOOK")]
        playbook: PathBuf,
    },

    /// Print the statements that make the accounts of a playbook, with exactly the rights they need.
    ///
    /// Each server is asked for its version, before any login; with --blue and --green none is.
    Grants {
        /// The playbook.
        #[arg(value_name = "PLAYBOOK")]
        playbook: PathBuf,
        /// Blue's family and version, such as mysql-5.7 or mariadb-10.11.
        #[arg(long, value_name = "VERSION")]
        blue: Option<String>,
        /// Green's family and version.
        #[arg(long, value_name = "VERSION")]
        green: Option<String>,
        /// The hosts bleen logs in from, as in an account's name.
        #[arg(long, value_name = "HOST", default_value = "%")]
        from: String,
        /// The hosts green logs in to blue from, as in an account's name.
        #[arg(long, value_name = "HOST", default_value = "%")]
        green_from: String,
        /// The hosts blue logs in to green from on the way back, as in an account's name.
        #[arg(long, value_name = "HOST", default_value = "%")]
        blue_from: String,
    },

    /// Ask both servers everything that could stand in the way, and say what was seen and what to do. Changes nothing.
    ///
    /// Every check (a guardrail) ends as ok, warning, stop or not known. With a stop the exit code is 2. What a stop
    /// names can be mended, or waived in the playbook where that is safe; the same checks run again before each step.
    Doctor {
        /// The playbook.
        #[arg(value_name = "PLAYBOOK")]
        playbook: PathBuf,
    },

    /// Print every statement of the run in order, each with what undoes it. Changes nothing.
    ///
    /// What is only known later stands in angle brackets, such as <fence position>. Exit code 0 if a run could begin,
    /// 2 if something stands in its way, which is shown too.
    Plan {
        /// The playbook.
        #[arg(value_name = "PLAYBOOK")]
        playbook: PathBuf,
    },

    /// Make green a read-only replica of blue and wait until it keeps up. Blue serves as before.
    ///
    /// Green must hold a consistent copy of blue already, or be empty while blue still has its whole binlog. Every change
    /// is recorded before it is made, and undone if preparing fails or is interrupted; `bleen rollback` undoes it later.
    Prepare {
        /// The playbook.
        #[arg(value_name = "PLAYBOOK")]
        playbook: PathBuf,
        /// The pair's name. Needed for a playbook that says `protected: true`.
        #[arg(long, value_name = "PAIR")]
        confirm: Option<String>,
    },

    /// Undo what `prepare` changed, from any machine: what to put back is recorded on blue. Refused after a switch.
    Rollback {
        /// The playbook.
        #[arg(value_name = "PLAYBOOK")]
        playbook: PathBuf,
        /// The pair's name. Needed for a playbook that says `protected: true`.
        #[arg(long, value_name = "PAIR")]
        confirm: Option<String>,
    },

    /// Go back after a switch: the writers are moved from green to blue by the same protocol, and nothing is lost.
    Failback {
        /// The playbook that the pair was switched with.
        #[arg(value_name = "PLAYBOOK")]
        playbook: PathBuf,
        /// The pair's name: always needed where nobody can be asked.
        #[arg(long, value_name = "PAIR")]
        confirm: Option<String>,
    },

    /// After a switch: see that going back would lose nothing. Exit code 2 if there was an alarm.
    ///
    /// Watches how far blue is behind green, that it follows without an error, that it refuses writes and that green
    /// accepts them. Writes nothing but the heartbeat on green.
    Soak {
        /// The playbook that the pair was switched with.
        #[arg(value_name = "PLAYBOOK")]
        playbook: PathBuf,
        /// How long, such as 10m. Without it: as the playbook says.
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        for_: Option<Duration>,
    },

    /// Give up going back: the other server follows no more, and bleen's own schema is taken away from both.
    Finish {
        /// The playbook that the pair was switched with.
        #[arg(value_name = "PLAYBOOK")]
        playbook: PathBuf,
        /// The pair's name: always needed where nobody can be asked.
        #[arg(long, value_name = "PAIR")]
        confirm: Option<String>,
    },

    /// Do all of it, for scripts: prepare, unless green follows already, then switch.
    Run {
        /// The playbook.
        #[arg(value_name = "PLAYBOOK")]
        playbook: PathBuf,
        /// The pair's name, instead of typing it at the terminal.
        #[arg(long, value_name = "PAIR")]
        confirm: Option<String>,
    },

    /// Show who accepts writes, how green follows, and whether a run is under way or was left unfinished. Only reads.
    Status {
        /// The playbook.
        #[arg(value_name = "PLAYBOOK")]
        playbook: PathBuf,
    },

    /// Show the lag of green behind blue, again and again.
    ///
    /// A heartbeat row in bleen's own schema on blue is written for it, if `prepare` has made that schema; without it only
    /// the positions are compared. While a run holds the pair, nothing is written.
    Watch {
        /// The playbook.
        #[arg(value_name = "PLAYBOOK")]
        playbook: PathBuf,
        /// How long, such as 10m. Without it: until Ctrl-C.
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        for_: Option<Duration>,
        /// How often a line is shown; at least 100ms.
        #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = every)]
        every: Duration,
    },

    /// Compare every row of blue and green while both are in use, and show what differs. Changes nothing.
    ///
    /// Ranges of rows are compared by digests that the servers make; blue's binlog says which rows changed meanwhile, and
    /// these are compared again. No table is locked. If the playbook has `validate.digests`, the statements of
    /// applications are then replayed on both sides. Exit code 0 if everything is proved equal, 2 if anything differs or
    /// could not be proved.
    Validate {
        /// The playbook.
        #[arg(value_name = "PLAYBOOK")]
        playbook: PathBuf,
        /// How.
        #[command(flatten)]
        asked: HowToCompare,
    },

    /// Move the writers from blue to green, inside the deadline, or give up and leave blue serving.
    Switch {
        /// The playbook.
        #[arg(value_name = "PLAYBOOK")]
        playbook: PathBuf,
        /// The pair's name, instead of typing it at the terminal.
        #[arg(long, value_name = "PAIR")]
        confirm: Option<String>,
    },

    /// End a run that ended without an outcome: finish it if green was promoted, else open blue again.
    Resume {
        /// The playbook.
        #[arg(value_name = "PLAYBOOK")]
        playbook: PathBuf,
    },

    /// Play the main job on two real throw-away servers with load on them: a switchover that is forced to miss its
    /// deadline, then the real one, then the account of what the writers saw.
    ///
    /// Servers are taken from --server, from PATH, from bleen's own cache, or fetched into that cache, which needs
    /// no root and changes nothing else. They listen on loopback only and leave nothing behind.
    Sandbox {
        /// The server that serves at first: mysql-5.6, mysql-9.7, mariadb-10.5, mariadb-10.11 or mariadb-11.8.
        #[arg(long, value_name = "KIND", default_value = "mysql-9.7")]
        blue: ServerKind,
        /// The server that is switched to; no older than blue.
        #[arg(long, value_name = "KIND", default_value = "mysql-9.7")]
        green: ServerKind,
        /// A directory with server programs; no other place is looked at.
        #[arg(long, value_name = "DIR")]
        server: Option<PathBuf>,
        /// Writers of the load.
        #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
        writers: u32,
        /// Transactions a second of each writer.
        #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        rate: u32,
        /// Only start servers, shop and load, write a playbook for them, and stay until Ctrl-C, so that every other
        /// command can be tried by hand.
        #[arg(long)]
        keep: bool,
    },

    /// Print the JSON Schema of playbooks, for editors.
    Schema,

    /// Print a script that completes bleen's command line.
    ///
    /// For the bash that is running: `source <(bleen completions bash)`.
    Completions {
        /// The shell it is for.
        shell: clap_complete::Shell,
    },

    /// Print the manual page of bleen, or of one of its commands.
    ///
    /// To read it: `bleen man | man -l -`.
    Man {
        /// The command.
        #[arg(value_name = "COMMAND")]
        command: Option<String>,
    },
}

/// How `validate` compares.
#[derive(Clone, Debug, clap::Args)]
pub struct HowToCompare {
    /// End when every range of rows was compared once.
    #[arg(long, conflicts_with = "for_")]
    pub once: bool,
    /// How long, such as 10m. Without it and without --once: until Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub for_: Option<Duration>,
    /// How often a line of progress is shown; at least 100ms.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = every)]
    pub every: Duration,
    /// Only these tables: schema.table, * for any text. May be given several times. Default: the playbook's, or all.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub tables: Vec<String>,
    /// Not these tables. Default: the playbook's.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub exclude: Vec<String>,
    /// Comparisons that run at once; each has one connection to blue and one to green. Default: the playbook's, or 2.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub connections: Option<u8>,
    /// Pause while more statements than this run on blue (Threads_running). Default: the playbook's, or no limit.
    #[arg(long, value_name = "COUNT")]
    pub max_load: Option<u64>,
    /// Pause while green is further behind than this. Default: the playbook's, or 10s.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub max_lag: Option<Duration>,
    /// How old a proof may be before its rows are read again. Default: the playbook's, or 10m.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub again_after: Option<Duration>,
    /// Compare everything, whatever an earlier run has proved.
    #[arg(long)]
    pub anew: bool,
    /// Show no values of rows, only whether and where they differ.
    #[arg(long)]
    pub mask: bool,
    /// Write the statements that would make green equal to blue to this file.
    #[arg(long, value_name = "FILE", conflicts_with = "mask")]
    pub repair_sql: Option<PathBuf>,
}

/// A duration with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; such as 500ms, 90s or 10m"))
}

/// The time between two lines of `watch` or `validate`.
fn every(text: &str) -> Result<Duration, String> {
    let every = duration(text)?;
    if every < Duration::from_millis(100) {
        return Err("at least 100ms".to_owned());
    }
    Ok(every)
}
