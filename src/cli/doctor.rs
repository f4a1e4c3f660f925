//! `bleen doctor`: every guardrail, asked now; changes nothing.

use std::path::Path;

use serde_json::json;

use super::args::Global;
use super::error::CliError;
use super::exit::Ending;
use super::pair::{self, Pair};
use super::prepare::after_a_switch;
use super::switch::Done;
use super::{guardrails, playbook_file, reporting, status};
use crate::domain::guardrails::{Decision, Scope};
use crate::engine::event::{EventKind, Events, SCHEMA_VERSION};
use crate::playbook::Playbook;

/// Runs the command.
///
/// # Errors
/// Everything that keeps it from looking: the playbook, a password, a server.
pub fn run(path: &Path, global: &Global) -> Result<Ending, CliError> {
    let playbook = playbook_file::read(path)?;
    super::wait_for(async {
        let (events, _, reporting) = reporting::begin(global.output);
        let ended = doctor(&playbook, &events).await;
        reporting::end(events, reporting, "doctor", &ended).await;
        ended.map(|done| done.ending)
    })
}

async fn doctor(playbook: &Playbook, events: &Events) -> Result<Done, CliError> {
    events.say(EventKind::Started {
        schema_version: SCHEMA_VERSION,
        run: String::new(),
        command: "doctor".to_owned(),
        pair: playbook.name.clone(),
    });
    let mut pair = pair::open(playbook, events).await?;
    look(playbook, &mut pair, events).await
}

/// Asks the guardrails of the doctor's scope and tells every finding.
///
/// # Errors
/// A server that cannot be asked.
pub async fn look(playbook: &Playbook, pair: &mut Pair, events: &Events) -> Result<Done, CliError> {
    status::warn_of_unfinished(playbook, pair, events).await?;
    if let Some(done) = after_a_switch(pair, "prepare or to switch").await? {
        return Ok(done);
    }
    let examination = guardrails::ask(playbook, pair, Scope::Doctor, None).await?;
    guardrails::tell(&examination.findings, events);
    let ending = match &examination.decision {
        Decision::Go => Ending::Done,
        Decision::NoGo(_) => Ending::NotReady,
    };
    Ok(Done {
        ending,
        result: json!({
            "pair": playbook.name,
            "findings": guardrails::counts(&examination.findings),
            "blocking": guardrails::blocking(&examination),
        }),
    })
}
