//! `bleen run`: prepare if green does not follow yet, then switch.

use std::path::Path;

use super::args::Global;
use super::confirm::is_confirmed;
use super::error::{CliError, NOTHING_CHANGED};
use super::exit::{Ending, ErrorKind};
use super::printer::Printer;
use super::signals::{At, Signals};
use super::switch::{Done, accepted_loss, switch_pair};
use super::{pair, playbook_file, prepare, reporting, resume};
use crate::engine::event::Events;
use crate::playbook::Playbook;

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
        "prepares {green} to follow {blue}, and moves the writers to it",
        blue = playbook.pair.blue.address,
        green = playbook.pair.green.address
    );
    let what = format!("{what}{}", accepted_loss(&playbook));
    if !is_confirmed(&playbook, "run", &what, true, confirm, printer) {
        return Ok(Ending::Refused);
    }
    super::wait_for(async {
        let (events, at, reporting) = reporting::begin(global.output);
        let ended = all_of_it(&playbook, global, &events, at).await;
        reporting::end(events, reporting, "run", &ended).await;
        ended.map(|done| done.ending)
    })
}

async fn all_of_it(playbook: &Playbook, global: &Global, events: &Events, at: At) -> Result<Done, CliError> {
    let runs = pair::runs_directory(global)?;
    let signals = Signals::listen(at, events.clone())
        .map_err(|e| CliError::new(ErrorKind::Internal, "listen to signals", e.to_string()))?;
    let mut pair = pair::open(playbook, events).await?;
    if let Some(done) = resume::before_a_change(playbook, &runs, &mut pair, events, &signals).await? {
        return Ok(done);
    }
    if prepare::is_prepared(&mut pair).await? {
        events.note("green follows blue already");
        return switch_pair(playbook, &runs, &mut pair, events, &signals).await;
    }
    let prepared = prepare::prepare_pair(playbook, &runs, &mut pair, events, &signals, "prepare").await?;
    if prepared.ending != Ending::Done {
        return Ok(prepared);
    }
    let switched = switch_pair(playbook, &runs, &mut pair, events, &signals).await;
    after_preparing(switched, events)
}

/// What this command has changed, for whoever reads that no switch came of it.
const PREPARED: &str = "the pair is prepared: green follows blue and is read-only; `bleen switch` tries again, `bleen \
                        rollback` undoes it; blue serves as before";

/// A switch that did not begin has changed nothing; this command has.
fn after_preparing(switched: Result<Done, CliError>, events: &Events) -> Result<Done, CliError> {
    match switched {
        Ok(mut done) if matches!(done.ending, Ending::NotReady | Ending::Interrupted) => {
            events.warn(PREPARED);
            if let Some(fields) = done.result.as_object_mut() {
                fields.insert("changed".to_owned(), true.into());
                fields.insert("now".to_owned(), PREPARED.into());
            }
            Ok(done)
        }
        Err(e) if e.changed == NOTHING_CHANGED => Err(e.changed(PREPARED)),
        other => other,
    }
}
