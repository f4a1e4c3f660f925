//! `bleen finish`: going back is given up. The other server follows no more, and bleen's own schema is gone from both.
//!
//! The order is its safety: the schema is dropped where the writers are, and replication carries that to the other
//! server, which is read-only for everybody else; only then the replication ends. Ended in the middle, it is begun again.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use super::args::Global;
use super::confirm::is_confirmed;
use super::error::CliError;
use super::exit::{Ending, ErrorKind};
use super::pair::{self, ANSWER, Pair};
use super::prepare::{last_promotion, take_lock};
use super::printer::Printer;
use super::sight::is_writable;
use super::signals::{At, Signals};
use super::switch::Done;
use super::{playbook_file, reporting, resume};
use crate::adapters::mysql::replication::status;
use crate::adapters::mysql::{identity, own_schema, sql};
use crate::domain::ids::Side;
use crate::domain::replication::ReplicaStatus;
use crate::domain::server::Family;
use crate::domain::step::Step;
use crate::engine::event::{EventKind, Events, SCHEMA_VERSION};
use crate::playbook::Playbook;

/// How long the end of bleen's schema may take to arrive at the server that follows.
const ARRIVES: Duration = Duration::from_secs(60);

/// How long ending the replication may take; stopping a busy applier is the longest.
const STOPS: Duration = Duration::from_secs(60);

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
        "ends the replication between {} and {} and takes bleen's schema away from both; going back loses what is \
         written from then on",
        playbook.pair.blue.address, playbook.pair.green.address
    );
    if !is_confirmed(&playbook, "finish", &what, true, confirm, printer) {
        return Ok(Ending::Refused);
    }
    super::wait_for(async {
        let (events, at, reporting) = reporting::begin(global.output);
        let ended = finish(&playbook, global, &events, at).await;
        reporting::end(events, reporting, "finish", &ended).await;
        ended.map(|done| done.ending)
    })
}

async fn finish(playbook: &Playbook, global: &Global, events: &Events, at: At) -> Result<Done, CliError> {
    let runs = pair::runs_directory(global)?;
    let signals = Signals::listen(at, events.clone())
        .map_err(|e| CliError::new(ErrorKind::Internal, "listen to signals", e.to_string()))?;
    let mut pair = pair::open(playbook, events).await?;
    if let Some(done) = resume::before_a_change(playbook, &runs, &mut pair, events, &signals).await? {
        return Ok(done);
    }
    let run = pair::new_run();
    events.say(EventKind::Started {
        schema_version: SCHEMA_VERSION,
        run: run.to_string(),
        command: "finish".to_owned(),
        pair: playbook.name.clone(),
    });
    let lock = take_lock(&pair, &run).await?;
    let ended = match who_serves(&mut pair).await {
        Ok(Serves::This(Side::Blue)) => end(&mut pair, Side::Green, events).await,
        // From here on the one that serves is blue to the code below, as after any exchange of roles.
        Ok(Serves::This(Side::Green)) => end(&mut pair.exchanged(), Side::Blue, events).await,
        Ok(Serves::NothingOfBleen) => Ok(nothing_of_bleen(events)),
        Ok(Serves::Not(why)) => Ok(not_ready(&why)),
        Err(e) => Err(e),
    };
    lock.give_up().await;
    ended
}

/// Which side serves.
enum Serves {
    /// This one, by the last promotion.
    This(Side),
    /// There is no schema of bleen's and no replication between the two.
    NothingOfBleen,
    /// Nothing can be finished, and why.
    Not(String),
}

fn nothing_of_bleen(events: &Events) -> Done {
    events.note("neither server has anything of bleen's or follows another; nothing to do");
    Done {
        ending: Ending::Done,
        result: json!({ "left": ["both servers as they are: which of them is read-only is yours to change"] }),
    }
}

async fn who_serves(pair: &mut Pair) -> Result<Serves, CliError> {
    let open = (
        is_writable(&mut pair.on_blue).await?,
        is_writable(&mut pair.on_green).await?,
    );
    let side = match open {
        (true, false) => Side::Blue,
        (false, true) => Side::Green,
        (true, true) => {
            return Ok(Serves::Not(
                "both servers accept writes: see to that first".to_owned(),
            ));
        }
        (false, false) => {
            return Ok(Serves::Not(
                "no server accepts writes: `bleen status` shows both, `bleen resume` ends what is unfinished"
                    .to_owned(),
            ));
        }
    };
    let label = match side {
        Side::Blue => &pair.labels.blue,
        Side::Green => &pair.labels.green,
    }
    .clone();
    match last_promotion(pair).await? {
        Some(epoch) if epoch.promoted == label => Ok(Serves::This(side)),
        Some(epoch) => Ok(Serves::Not(format!(
            "{side} accepts writes, but the last promotion, by run {}, was of `{}`: see to that first",
            epoch.run, epoch.promoted
        ))),
        None if own_schema::is_there(&mut pair.on_blue, ANSWER).await? => Ok(Serves::Not(
            "the pair was not switched: `bleen rollback` undoes what `prepare` changed".to_owned(),
        )),
        None => without_schema(pair, side).await,
    }
}

/// Without a promotion and without bleen's schema: an earlier finish may have come that far, or the replication is the
/// operator's own. Nobody but a person can tell.
async fn without_schema(pair: &mut Pair, serves: Side) -> Result<Serves, CliError> {
    let on_blue = status::read(&mut pair.on_blue, &pair.blue.caps, ANSWER).await?;
    let on_green = status::read(&mut pair.on_green, &pair.green.caps, ANSWER).await?;
    let (follower, caps) = match (on_blue.is_empty(), on_green.is_empty()) {
        (true, true) => return Ok(Serves::NothingOfBleen),
        (false, _) => (Side::Blue, &pair.blue.caps),
        (true, false) => (Side::Green, &pair.green.caps),
    };
    Ok(Serves::Not(format!(
        "{serves} serves and {follower} is a replica, and nothing of bleen's is on either to say whose replication that is: if \
         an earlier `bleen finish` was ended in the middle, run on {follower}: {}; {}",
        sql::stop_replica(caps),
        sql::reset_replica_all(caps)
    )))
}

fn not_ready(why: &str) -> Done {
    Done {
        ending: Ending::NotReady,
        result: json!({ "changed": false, "why": [why] }),
    }
}

/// Ends it for a pair whose blue serves. `other` is what the playbook calls the one that follows.
async fn end(pair: &mut Pair, other: Side, events: &Events) -> Result<Done, CliError> {
    let began = Instant::now();
    events.say(EventKind::StepBegan {
        step: Step::Finish,
        what: format!("{other} ({}) follows no more", pair.green.target.address),
    });
    let channels = status::read(&mut pair.on_green, &pair.green.caps, ANSWER).await?;
    let who = identity::read(&mut pair.on_blue, pair.blue.caps.family(), ANSWER).await?;
    let follows = matches!(
        channels.as_slice(),
        [channel] if channel.channel.is_empty() && channel.source_server_id == Some(who.server_id)
    );
    let mut left = Vec::new();
    // Another green of this blue has its records there, too.
    let others = own_schema::open_undos(&mut pair.on_blue, None, ANSWER).await?;
    let other_green = others
        .unwrap_or_default()
        .into_iter()
        .map(|row| row.green)
        .find(|green| *green != pair.labels.blue && *green != pair.labels.green);
    if let Some(green) = other_green {
        left.push(format!(
            "bleen's schema on both servers: what was changed for another green, `{green}`, is recorded there; its own \
             `bleen rollback` takes it away"
        ));
        end_replication(pair, follows, "nothing").await?;
        return Ok(over(pair, other, left, began, events));
    }
    let doing = "take bleen's schema away";
    pair.on_blue
        .run(doing, own_schema::drop_statement(), ANSWER)
        .await?;
    let changed =
        "bleen's schema is gone from the server that serves; `bleen finish` once more does the rest";
    // One that cannot follow any more will not hear of it, and nobody goes back to it.
    let trouble = channels.first().and_then(ReplicaStatus::trouble);
    if let (true, Some(trouble)) = (follows, &trouble) {
        events.warn(format!("{other} does not follow: {trouble}"));
    }
    let hears = follows && trouble.is_none();
    let arrived = arrives(pair, hears).await.map_err(|e| e.changed(changed))?;
    if !arrived && hears {
        let why = format!("not within {}", humantime::format_duration(ARRIVES));
        events.say(EventKind::StepFailed {
            step: Step::Finish,
            why: format!("the end of bleen's schema has not arrived at {other}: {why}"),
            took: began.elapsed(),
        });
        return Ok(Done {
            ending: Ending::NotReady,
            result: json!({
                "changed": true,
                "why": [format!("the end of bleen's schema has not arrived at {other}: {why}")],
                "now": changed,
            }),
        });
    }
    if !arrived {
        left.push(format!(
            "{other} still has the schema `bleen`: DROP DATABASE bleen there, once it is writable"
        ));
    }
    end_replication(pair, follows, changed).await?;
    if !follows && !channels.is_empty() {
        left.push(format!("{other} follows somebody else; that stays as it is"));
    }
    Ok(over(pair, other, left, began, events))
}

/// `changed` is what was changed before.
async fn end_replication(pair: &mut Pair, follows: bool, changed: &str) -> Result<(), CliError> {
    if !follows {
        return Ok(());
    }
    for statement in [
        sql::stop_replica(&pair.green.caps),
        sql::reset_replica_all(&pair.green.caps),
    ] {
        let done = pair.on_green.run("end the replication", statement, STOPS).await;
        done.map_err(|e| CliError::from(e).changed(changed.to_owned()))?;
    }
    Ok(())
}

/// Says how it ended, with what is left as it is.
fn over(pair: &Pair, other: Side, mut left: Vec<String>, began: Instant, events: &Events) -> Done {
    left.extend(stays(pair, other));
    events.say(EventKind::StepDone {
        step: Step::Finish,
        what: "going back is given up".to_owned(),
        took: began.elapsed(),
    });
    for what in &left {
        events.note(format!("left as it is: {what}"));
    }
    Done {
        ending: Ending::Done,
        result: json!({ "left": left }),
    }
}

/// What `finish` leaves to the operator.
fn stays(pair: &Pair, other: Side) -> Vec<String> {
    let (serving, following) = (&pair.blue, &pair.green);
    let mut all = vec![format!(
        "{other} ({}) is read-only{}; it is yours now",
        following.target.address,
        if following.caps.can_persist() {
            ", also after a restart (SET PERSIST)"
        } else {
            ""
        }
    )];
    if serving.caps.can_persist() {
        all.push(format!(
            "{} has read_only and super_read_only persisted as OFF, and perhaps event_scheduler as ON (SET PERSIST): see \
             that its option file says the same, then RESET PERSIST",
            serving.target.address
        ));
    }
    if serving.caps.family() == Family::MariaDb {
        all.push(format!(
            "the gtid_domain_id that {} was given, until its restart",
            serving.target.address
        ));
    }
    all.push("bleen's accounts and the replication account on both servers".to_owned());
    all
}

/// Whether the server that follows has no schema of bleen's any more.
async fn arrives(pair: &mut Pair, hears: bool) -> Result<bool, CliError> {
    let until = Instant::now() + ARRIVES;
    loop {
        if !own_schema::is_there(&mut pair.on_green, ANSWER).await? {
            return Ok(true);
        }
        if !hears || Instant::now() >= until {
            return Ok(false);
        }
        sleep(Duration::from_millis(50)).await;
    }
}
