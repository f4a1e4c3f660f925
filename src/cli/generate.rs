//! What is generated from the command line and the playbook's types: schema, completions, manual pages.

use super::args;
use super::error::CliError;
use super::exit::{Ending, ErrorKind, manual_section};
use super::printer::Printer;

/// `bleen schema`.
pub fn schema(printer: &mut Printer) -> Ending {
    printer.raw(&crate::playbook::schema::text());
    Ending::Done
}

/// `bleen completions SHELL`.
pub fn completions(shell: clap_complete::Shell, printer: &mut Printer) -> Ending {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "bleen", &mut script);
    printer.raw(&String::from_utf8_lossy(&script));
    Ending::Done
}

/// `bleen man [COMMAND]`.
///
/// # Errors
/// Usage, when there is no such command.
pub fn man(command: Option<&str>, printer: &mut Printer) -> Result<Ending, CliError> {
    let mut all = args::command();
    all.build();
    let page = match command {
        None => all,
        Some(name) => match all.find_subcommand(name) {
            Some(found) => found.clone(),
            None => {
                return Err(CliError::new(
                    ErrorKind::Usage,
                    format!("print the page of `{name}`"),
                    "there is no such command",
                )
                .hint("`bleen --help` lists them"));
            }
        },
    };
    let mut text = Vec::new();
    // The table below the help would be run together into a paragraph.
    let page = page.after_help(clap::builder::Resettable::Reset);
    clap_mangen::Man::new(page)
        .render(&mut text)
        .map_err(|error| CliError::new(ErrorKind::Internal, "write the manual page", error.to_string()))?;
    printer.raw(&String::from_utf8_lossy(&text));
    printer.raw(&manual_section());
    Ok(Ending::Done)
}
