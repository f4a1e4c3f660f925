//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

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

    /// Print the JSON Schema of playbooks, for editors.
    Schema,

    /// Print a script that completes bleen's command line.
    Completions {
        /// The shell it is for.
        shell: clap_complete::Shell,
    },

    /// Print the manual page of bleen, or of one of its commands.
    Man {
        /// The command.
        #[arg(value_name = "COMMAND")]
        command: Option<String>,
    },
}
