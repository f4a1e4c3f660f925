//! `bleen failback`: the switch in the other direction, with everything that a switch has.

use std::path::Path;

use serde_json::json;

use super::args::Global;
use super::confirm::is_confirmed;
use super::error::CliError;
use super::exit::{Ending, ErrorKind};
use super::pair::{self, ANSWER};
use super::prepare::switched_by;
use super::printer::Printer;
use super::signals::{At, Signals};
use super::switch::{Done, accepted_loss, switch_pair};
use super::{playbook_file, reporting, resume};
use crate::adapters::mysql::replication::status;
use crate::engine::event::Events;
use crate::playbook::Playbook;
use crate::playbook::model::Route;

/// Runs the command.
///
/// # Errors
/// Everything that keeps it from trying: the playbook, a password, a server, the run directory, the lock.
pub fn run(
    path: &Path,
    confirm: Option<&str>,
    global: &Global,
    printer: &mut Printer,
) -> Result<Ending, CliError> {
    let playbook = playbook_file::read(path)?;
    let what = format!(
        "moves the writers of {} back to {}{}{}",
        playbook.pair.green.address,
        playbook.pair.blue.address,
        routes(&playbook),
        accepted_loss(&playbook)
    );
    if !is_confirmed(&playbook, "failback", &what, true, confirm, printer) {
        return Ok(Ending::Refused);
    }
    super::wait_for(async {
        let (events, at, reporting) = reporting::begin(global.output);
        let ended = go_back(&playbook, global, &events, at).await;
        reporting::end(events, reporting, "failback", &ended).await;
        ended.map(|done| done.ending)
    })
}

/// The routes are the switch's own: they have to go by the addresses that they are told.
fn routes(playbook: &Playbook) -> String {
    let names: Vec<&str> = playbook
        .routing
        .routes
        .iter()
        .map(|Route::Exec(exec)| exec.name.as_str())
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        "; the routes ({}) are run with the roles exchanged: they must point at $BLEEN_GREEN, not at a server that they name \
         themselves",
        names.join(", ")
    )
}

async fn go_back(playbook: &Playbook, global: &Global, events: &Events, at: At) -> Result<Done, CliError> {
    let runs = pair::runs_directory(global)?;
    let signals = Signals::listen(at, events.clone())
        .map_err(|e| CliError::new(ErrorKind::Internal, "listen to signals", e.to_string()))?;
    let exchanged = exchanged(playbook)?;
    let mut pair = pair::open(playbook, events).await?;
    if let Some(done) = resume::before_a_change(playbook, &runs, &mut pair, events, &signals).await? {
        return Ok(done);
    }
    let Some(by) = switched_by(&mut pair).await? else {
        return Ok(Done {
            ending: Ending::NotReady,
            result: json!({
                "changed": false,
                "why": ["green was not promoted: blue serves, and there is nothing to go back from; `bleen status` shows \
                         both servers"],
            }),
        });
    };
    let follows = status::read(&mut pair.on_blue, &pair.blue.caps, ANSWER).await?;
    if follows.is_empty() {
        return Ok(Done {
            ending: Ending::NotReady,
            result: json!({
                "changed": false,
                "why": [format!(
                    "blue ({}) does not follow green, so going back would lose what was written since the switch of run \
                     {by}. Seed it from a copy of green and switch to it as to any new server, with a playbook of its own",
                    pair.blue.target.address
                )],
            }),
        });
    }
    events.note(format!(
        "going back from the switch of run {by}. From here on the roles are exchanged: blue is the server that serves \
         now, {} (the playbook's green), and green is {} (the playbook's blue)",
        playbook.pair.green.address, playbook.pair.blue.address
    ));
    switch_pair(&exchanged, &runs, &mut pair.exchanged(), events, &signals).await
}

/// The playbook with the roles exchanged.
///
/// # Errors
/// Green is only known by its socket, so that blue could not have followed it.
pub fn exchanged(playbook: &Playbook) -> Result<Playbook, CliError> {
    playbook.exchanged().ok_or_else(|| {
        CliError::new(
            ErrorKind::NotReady,
            "exchange the roles of blue and green",
            "green is only known by its socket, by which blue cannot follow it",
        )
        .hint("`replication: { way_back: { host: …, port: … } }` says under which address blue reaches green")
    })
}
