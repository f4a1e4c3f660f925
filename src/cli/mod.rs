//! The composition root: the only room that wires adapters into the engine.
//!
//! `args.rs` is the command line, one file each for the commands, `exit.rs` their endings, `printer.rs` their words.

pub mod args;
mod by_hand;
mod check;
mod confirm;
mod doctor;
pub mod error;
pub mod exit;
mod failback;
mod finish;
mod generate;
mod grants;
mod guardrails;
mod logging;
mod pair;
pub mod picture;
mod plan;
mod playbook_file;
mod prepare;
pub mod printer;
mod remembered;
mod repair_file;
pub mod reporting;
mod resume;
mod rollback;
mod run;
pub mod run_dir;
mod sandbox;
mod sight;
mod signals;
mod soak;
mod status;
mod switch;
mod unfinished;
mod validate;
mod watch;

use std::process::ExitCode;

use args::{Args, Command, Output};
use error::CliError;
use exit::{Ending, ErrorKind};
use printer::Printer;

/// Runs the command line and returns the process's exit code.
pub fn main() -> ExitCode {
    let args = match Args::read() {
        Ok(args) => args,
        Err(error) => return refuse(&error),
    };
    let mut printer = Printer::new(args.global.output);
    let ending = match logging::start(&args.global).and_then(|()| run(args, &mut printer)) {
        Ok(ending) => ending,
        Err(error) => {
            printer.error(&error);
            Ending::Failed(error.kind)
        }
    };
    // What the command did is done; that its words were lost matters only to a caller who was told all is well.
    match printer.take_failure() {
        Some(error) if ending.code() == 0 => {
            let doing = "write to stdout";
            printer.error(&CliError::new(ErrorKind::Internal, doing, error.to_string()).changed(""));
            Ending::Failed(ErrorKind::Internal).into()
        }
        _ => ending.into(),
    }
}

/// Answers a command line that cannot be run: help and version on stdout, everything else on stderr as a usage error.
fn refuse(error: &clap::Error) -> ExitCode {
    let mut printer = Printer::new(Output::Human);
    if error.use_stderr() {
        printer.talk(error.render().to_string().trim_end());
        Ending::Failed(ErrorKind::Usage).into()
    } else {
        printer.raw(&error.render().to_string());
        Ending::Done.into()
    }
}

fn run(args: Args, printer: &mut Printer) -> Result<Ending, CliError> {
    match args.command {
        Command::Check { playbook } => check::run(&playbook, printer),
        Command::Grants {
            playbook,
            blue,
            green,
            from,
            green_from,
            blue_from,
        } => {
            let options = grants::Options {
                blue: blue.as_deref(),
                green: green.as_deref(),
                from: &from,
                green_from: &green_from,
                blue_from: &blue_from,
            };
            wait_for(grants::run(&playbook, &options, printer))
        }
        Command::Doctor { playbook } => doctor::run(&playbook, &args.global),
        Command::Plan { playbook } => plan::run(&playbook, &args.global),
        Command::Prepare { playbook, confirm } => {
            prepare::run(&playbook, confirm.as_deref(), &args.global, printer)
        }
        Command::Rollback { playbook, confirm } => {
            rollback::run(&playbook, confirm.as_deref(), &args.global, printer)
        }
        Command::Failback { playbook, confirm } => {
            failback::run(&playbook, confirm.as_deref(), &args.global, printer)
        }
        Command::Soak { playbook, for_ } => soak::run(&playbook, for_, &args.global),
        Command::Finish { playbook, confirm } => {
            finish::run(&playbook, confirm.as_deref(), &args.global, printer)
        }
        Command::Run { playbook, confirm } => run::run(&playbook, confirm.as_deref(), &args.global, printer),
        Command::Status { playbook } => status::run(&playbook, &args.global),
        Command::Watch {
            playbook,
            for_,
            every,
        } => watch::run(&playbook, for_, every, &args.global),
        Command::Switch { playbook, confirm } => {
            switch::run(&playbook, confirm.as_deref(), &args.global, printer)
        }
        Command::Resume { playbook } => resume::run(&playbook, &args.global, printer),
        Command::Validate { playbook, asked } => validate::run(&playbook, &asked, &args.global),
        Command::Sandbox {
            blue,
            green,
            server,
            writers,
            rate,
            keep,
        } => {
            let options = sandbox::Options {
                blue,
                green,
                server,
                writers,
                rate,
                keep,
            };
            sandbox::run(options, &args.global)
        }
        Command::Schema => Ok(generate::schema(printer)),
        Command::Completions { shell } => Ok(generate::completions(shell, printer)),
        Command::Man { command } => generate::man(command.as_deref(), printer),
    }
}

/// Runs a command that waits for something, on a runtime of its own.
fn wait_for<F: Future<Output = Result<Ending, CliError>>>(work: F) -> Result<Ending, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(ErrorKind::Internal, "start the runtime", error.to_string()))?;
    let ending = runtime.block_on(work);
    // A blocked thread (a prompt at a stopped terminal) must not keep the process.
    runtime.shutdown_background();
    ending
}

/// The end of a time that was asked for; never, if none was.
async fn over(length: Option<std::time::Duration>) {
    match length {
        Some(length) => tokio::time::sleep(length).await,
        None => std::future::pending().await,
    }
}
