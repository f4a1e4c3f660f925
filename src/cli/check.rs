//! `bleen check`: reads a playbook, offline.

use std::path::Path;

use serde_json::json;

use super::args::Output;
use super::error::CliError;
use super::exit::Ending;
use super::playbook_file;
use super::printer::{Printer, Tone};
use crate::playbook::Playbook;
use crate::playbook::limits::written;
use crate::playbook::model::{Endpoint, PasswordSource, Start, Tls};

/// Runs the command.
///
/// # Errors
/// As [`playbook_file::read`].
pub fn run(path: &Path, printer: &mut Printer) -> Result<Ending, CliError> {
    let playbook = playbook_file::read(path)?;
    match printer.output() {
        Output::Json => printer.json(&json!({
            "type": "result", "outcome": Ending::Done.word(), "exit_code": Ending::Done.code(),
            "playbook": playbook.name, "hash": playbook.hash(),
        })),
        Output::Human => describe(path, &playbook, printer),
    }
    Ok(Ending::Done)
}

fn describe(path: &Path, playbook: &Playbook, printer: &mut Printer) {
    let good = printer.paint("valid", Tone::Good);
    let label = playbook
        .environment
        .as_ref()
        .map(|label| format!(" ({label})"))
        .unwrap_or_default();
    printer.data(&format!("{}: {good}", path.display()));
    printer.data(&format!("  pair         {}{label}", playbook.name));
    printer.data(&format!("  blue         {}", endpoint(&playbook.pair.blue)));
    printer.data(&format!("  green        {}", endpoint(&playbook.pair.green)));
    let replication = &playbook.replication;
    let start = match &replication.start {
        Start::Auto => String::new(),
        Start::Binlog { file, offset } => format!(", from {file}:{offset}"),
    };
    printer.data(&format!(
        "  replication  as {} from {}:{}, TLS {}, password from {}{start}",
        replication.user,
        replication.source.0,
        replication.source.1,
        tls(&replication.tls),
        source(&replication.password),
    ));
    let switch = &playbook.switch;
    printer.data(&format!(
        "  switch       hold {}, deadline {}, window {} with at most {} attempts",
        switch.hold,
        written(switch.deadline),
        written(switch.window),
        switch.attempts
    ));
    let mut gates = vec![format!(
        "lag under {} for {}",
        written(playbook.lag.limit),
        written(playbook.lag.observe)
    )];
    if !playbook.validate.queries.is_empty() {
        gates.push(format!("{} gate queries", playbook.validate.queries.len()));
    }
    printer.data(&format!("  gates        {}", gates.join(", ")));
    for waiver in &playbook.waivers {
        printer.data(&format!("  waived       {}: {}", waiver.guardrail, waiver.reason));
    }
    printer.data(&format!("  hash         {}", playbook.hash()));
}

fn endpoint(endpoint: &Endpoint) -> String {
    format!(
        "{} as {}, TLS {}, password from {}",
        endpoint.address,
        endpoint.user,
        tls(&endpoint.tls),
        source(&endpoint.password)
    )
}

fn tls(tls: &Tls) -> String {
    match tls {
        Tls::Disabled => "disabled".to_owned(),
        Tls::Preferred => "preferred".to_owned(),
        Tls::Required => "required".to_owned(),
        Tls::VerifyCa(ca) => format!("verified by {}", ca.display()),
        Tls::VerifyIdentity(ca) => format!("verified by {} with the host's name", ca.display()),
    }
}

fn source(source: &PasswordSource) -> String {
    match source {
        PasswordSource::Env(name) => format!("${name}"),
        PasswordSource::File(path) => format!("file {}", path.display()),
        PasswordSource::Command(words) => {
            format!("command {}", words.first().map_or("", String::as_str))
        }
        PasswordSource::OptionFile { path, group } => format!("[{group}] of {}", path.display()),
        PasswordSource::Prompt => "a prompt".to_owned(),
    }
}
