//! `bleen plan`: every statement of the run, in order, with its undo; changes nothing.

use std::path::Path;

use serde_json::json;

use super::args::Global;
use super::error::CliError;
use super::exit::Ending;
use super::pair::{self, Pair, SECRET};
use super::prepare::{after_a_switch, is_prepared, prepared_row};
use super::switch::{self, Done};
use super::{guardrails, playbook_file, reporting, status};
use crate::adapters::compose;
use crate::adapters::mysql::own_schema::{self, UndoRow};
use crate::adapters::mysql::prepare::Preparation;
use crate::adapters::mysql::switch::plan;
use crate::adapters::targets;
use crate::domain::guardrails::{Scope, Severity};
use crate::domain::ids::Side;
use crate::domain::step::Step;
use crate::engine::event::{EventKind, Events, SCHEMA_VERSION};
use crate::engine::prepare::Preparing;
use crate::playbook::Playbook;
use crate::playbook::model::{HookFailure, HookMoment};

/// Runs the command.
///
/// # Errors
/// Everything that keeps it from looking: the playbook, a password, a server.
pub fn run(path: &Path, global: &Global) -> Result<Ending, CliError> {
    let playbook = playbook_file::read(path)?;
    super::wait_for(async {
        let (events, _, reporting) = reporting::begin(global.output);
        let ended = plan(&playbook, &events).await;
        reporting::end(events, reporting, "plan", &ended).await;
        ended.map(|done| done.ending)
    })
}

async fn plan(playbook: &Playbook, events: &Events) -> Result<Done, CliError> {
    events.say(EventKind::Started {
        schema_version: SCHEMA_VERSION,
        run: String::new(),
        command: "plan".to_owned(),
        pair: playbook.name.clone(),
    });
    let mut pair = pair::open(playbook, events).await?;
    status::warn_of_unfinished(playbook, &mut pair, events).await?;
    if let Some(done) = after_a_switch(&mut pair, "plan").await? {
        return Ok(done);
    }
    let mut blocking = Vec::new();
    // What the doctor asks and what preparing asks: a plan is ready if both would go on.
    for scope in [Scope::Doctor, Scope::Prepare] {
        let examination = guardrails::ask(playbook, &mut pair, scope, None).await?;
        for finding in examination.findings.iter().filter(|f| f.severity != Severity::Ok) {
            if scope == Scope::Doctor || finding.blocks() {
                events.finding(finding);
            }
        }
        for line in guardrails::blocking(&examination) {
            if !blocking.contains(&line) {
                blocking.push(line);
            }
        }
    }
    if is_prepared(&mut pair).await? {
        events.note("green follows blue already: nothing is prepared again");
    } else {
        preparing(playbook, &pair, events, &mut blocking).await?;
    }
    let (hold, why) = switch::choose_hold(playbook, &mut pair).await?;
    events.note(format!("hold: {}, {why}", hold.as_str()));
    switch::warn_of_no_way_back(playbook, events);
    let run = pair::new_run();
    let mut settings = compose::settings(playbook, (&pair.blue, &pair.green), &run, hold);
    settings.way_back = switch::way_back(playbook, events).await?;
    let statements = plan::plan(&settings, &mut pair.on_blue, &mut pair.on_green).await?;
    hooks(playbook, HookMoment::BeforeHold, Step::Ready, "", events);
    for planned in statements {
        events.say(EventKind::Planned {
            step: planned.step,
            side: planned.side,
            statement: planned.statement,
            undo: planned.undo,
        });
    }
    hooks(playbook, HookMoment::AfterSwitch, Step::Confirm, "", events);
    let else_ = " (instead, if the run ends with blue serving)";
    hooks(playbook, HookMoment::AfterRelease, Step::Undo, else_, events);
    let ending = if blocking.is_empty() {
        Ending::Done
    } else {
        Ending::NotReady
    };
    Ok(Done {
        ending,
        result: json!({
            "pair": playbook.name,
            "playbook": playbook.hash(),
            "hold": hold.as_str(),
            "hold_why": why,
            "blocking": blocking,
        }),
    })
}

/// The hooks of a moment, in its place.
fn hooks(playbook: &Playbook, at: HookMoment, step: Step, when: &str, events: &Events) {
    for hook in playbook.hooks.iter().filter(|hook| hook.at == at) {
        let may_stop = match hook.failure {
            HookFailure::Abort => " (its failure stops the run)",
            HookFailure::Notify => "",
        };
        events.say(EventKind::Planned {
            step,
            side: None,
            statement: format!("{}{may_stop}{when}", hook.exec.shown()),
            undo: None,
        });
    }
}

/// The changes that `prepare` would make, and what waiting means.
async fn preparing(
    playbook: &Playbook,
    pair: &Pair,
    events: &Events,
    blocking: &mut Vec<String>,
) -> Result<(), CliError> {
    let whose = format!(
        "the password of the replication account {}",
        playbook.replication.user
    );
    let (blue, green) = (pair.blue.target.clone(), pair.green.target.clone());
    let request = targets::prepare_request(pair::new_run(), blue, green, playbook, SECRET)
        .await
        .map_err(|e| CliError::secret(&whose, &e))?;
    let mut preparation = Preparation::new(request, Box::new(|_| Ok(())), Box::new(|_, _| ()));
    match preparation.plan().await {
        Ok(changes) => {
            // Each change is recorded before it is made, by one statement of this form.
            let record = own_schema::undo_statement(&UndoRow {
                run_id: "<run>".to_owned(),
                seq: 0,
                green: "<green>".to_owned(),
                side: Side::Blue,
                what: "<change>".to_owned(),
                statement: "<its undo>".to_owned(),
                state: "open".to_owned(),
            });
            let mut record = Some(record);
            for change in changes {
                events.say(EventKind::Planned {
                    step: Step::Follow,
                    side: Some(change.side),
                    statement: change.sql,
                    undo: (!change.undo.is_empty()).then(|| change.undo.join("; ")),
                });
                if let Some(statement) = record.take() {
                    events.say(EventKind::Planned {
                        step: Step::Follow,
                        side: Some(Side::Blue),
                        statement: format!("{statement} /* before each of these changes */"),
                        undo: None,
                    });
                }
            }
            let prepared = prepared_row(playbook, &pair::new_run(), "<now>".to_owned());
            events.say(EventKind::Planned {
                step: Step::CatchUp,
                side: Some(Side::Blue),
                statement: own_schema::run_statement(&prepared),
                undo: None,
            });
        }
        Err(why) => {
            events.warn(why.to_string());
            blocking.push(why.to_string().lines().next().unwrap_or_default().to_owned());
        }
    }
    for finding in preparation.findings() {
        events.warn(finding.clone());
    }
    if playbook.replication.relax_green {
        match preparation.plan_relaxed().await {
            Ok(changes) => {
                for change in changes {
                    events.say(EventKind::Planned {
                        step: Step::CatchUp,
                        side: Some(Side::Green),
                        statement: format!("{} (only if green falls behind)", change.sql),
                        undo: Some(change.undo.join("; ")),
                    });
                }
            }
            Err(why) => events.warn(why.to_string()),
        }
    }
    Ok(())
}
