//! Every statement of a switch as text, in order, each with what undoes it; sends nothing but questions.
//!
//! The texts come from the functions that build what an attempt sends. What only the run will know stands in angle
//! brackets. Not listed: opening sessions, the guardrails' and watchers' questions.

use std::time::Duration;

use super::{
    Settings, after, clock, events, facts, fence, guard, hold, looks, promote, quiet, seal, seal_tables,
    sessions, stands, way_back,
};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::own_schema::{self, RunRow};
use crate::adapters::mysql::session::Session;
use crate::adapters::mysql::survey::privileged;
use crate::adapters::mysql::{identity, lag, position_read, quote, relax, sql};
use crate::domain::capabilities::{Capabilities, PositionKind};
use crate::domain::ids::Side;
use crate::domain::machine::HoldKind;
use crate::domain::position::{FilePosition, GtidList, GtidSet, Position};
use crate::domain::step::Step;

/// One statement, or one batch of them that goes out together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The step it belongs to.
    pub step: Step,
    /// The server; `None` for a command of this machine.
    pub side: Option<Side>,
    /// The text.
    pub statement: String,
    /// What undoes it; `None` if there is nothing to undo.
    pub undo: Option<String>,
}

/// Stands for the limit of a statement with an expiry, on blue's clock.
const LIMIT_ON_BLUE: &str = "<deadline on blue's clock>";

/// Stands for the limit of a statement with an expiry, on green's clock.
const LIMIT_ON_GREEN: &str = "<deadline on green's clock>";

/// The fence position, as the waiting statement has it.
const FENCE: &str = "<fence position>";

/// What a plan reads of the two servers.
struct Seen {
    scheduler_runs: bool,
    events: Vec<String>,
    tables: Vec<String>,
    locked: Vec<String>,
    persisted: facts::Persisted,
    green_label: String,
    green_domain: Option<u32>,
    durable_again: Vec<String>,
}

/// Plans a switch: reads both servers, changes nothing.
///
/// # Errors
/// Any [`super::super::error::Cause`].
pub async fn plan(
    settings: &Settings,
    blue: &mut Session,
    green: &mut Session,
) -> Result<Vec<Planned>, ServerError> {
    let budget = settings.answer;
    let (scheduler,): (String,) = blue
        .one(
            "read the event scheduler",
            "SELECT @@GLOBAL.event_scheduler",
            budget,
        )
        .await?;
    let writers = privileged::accounts(blue, &settings.blue.caps.version, budget).await?;
    let seen = Seen {
        scheduler_runs: scheduler == "ON",
        events: events::enabled(blue, budget)
            .await?
            .into_iter()
            .map(|event| event.statement)
            .collect(),
        tables: match settings.hold {
            HoldKind::Tables => hold::application_tables(blue, budget).await?,
            HoldKind::Lock | HoldKind::Refuse => Vec::new(),
        },
        locked: match settings.end_privileged {
            true => quiet::to_lock(&writers),
            false => Vec::new(),
        },
        persisted: facts::persisted(blue, &settings.blue, budget).await?,
        green_label: identity::read(green, settings.green.caps.family(), budget)
            .await?
            .label(),
        green_domain: way_back::read(settings, blue, green)
            .await?
            .and_then(|wired| wired.green_domain),
        durable_again: relax::recorded(blue, settings.green.label.as_deref(), budget)
            .await?
            .into_iter()
            .map(|row| row.statement)
            .collect(),
    };
    let question = privileged::open_sessions_statement(&writers, &std::collections::BTreeSet::new(), 0);
    let mut list = List(Vec::new());
    quieting(&mut list, settings, &seen);
    holding(&mut list, settings, &seen, question.as_deref());
    sealing(&mut list, settings, &seen);
    afterwards(&mut list, settings, &seen);
    Ok(list.0)
}

struct List(Vec<Planned>);

impl List {
    fn add(&mut self, step: Step, side: Side, statement: impl Into<String>, undo: Option<String>) {
        self.0.push(Planned {
            step,
            side: Some(side),
            statement: statement.into(),
            undo,
        });
    }
}

/// The run's row, as it is written before the first change and when the run is over.
fn row(settings: &Settings, step: &str, outcome: Option<&str>) -> RunRow {
    RunRow {
        run_id: settings.run.to_string(),
        pair: settings.pair.clone(),
        operator: settings.operator.clone(),
        started: "<now>".to_owned(),
        step: step.to_owned(),
        outcome: outcome.map(str::to_owned),
        facts: Some("<every value that must be put back>".to_owned()),
    }
}

fn quieting(list: &mut List, settings: &Settings, seen: &Seen) {
    let row = row(settings, Step::Ready.id(), None);
    list.add(
        Step::Ready,
        Side::Blue,
        lag::beat_statement(Some(&settings.run)),
        None,
    );
    let undo = "the run's outcome is written into the row".to_owned();
    list.add(
        Step::Ready,
        Side::Blue,
        own_schema::run_statement(&row),
        Some(undo.clone()),
    );
    for (side, statement, undo) in way_back::planned(settings) {
        list.add(Step::WireBack, side, statement, Some(undo));
    }
    if !seen.locked.is_empty() {
        let row = self::row(settings, Step::Quiet.id(), None);
        list.add(
            Step::Quiet,
            Side::Blue,
            own_schema::run_statement(&row),
            Some(undo),
        );
        list.add(
            Step::Quiet,
            Side::Blue,
            quiet::accounts_statement(&seen.locked, "LOCK"),
            Some(quiet::accounts_statement(&seen.locked, "UNLOCK")),
        );
    }
    if seen.scheduler_runs {
        let undo = Some(quiet::START_SCHEDULER.to_owned());
        list.add(Step::Quiet, Side::Blue, quiet::STOP_SCHEDULER, undo);
    }
    list.add(
        Step::Arm,
        Side::Blue,
        guard::call(settings, "<the disarming session>"),
        Some(sessions::end_statement("<the guard's session>")),
    );
}

fn holding(list: &mut List, settings: &Settings, seen: &Seen, privileged_sessions: Option<&str>) {
    let (alive, in_time) = (
        guard::alive("<the guard's session>"),
        clock::in_time(LIMIT_ON_BLUE),
    );
    let caps = &settings.blue.caps;
    let (statement, undo) = match settings.hold {
        HoldKind::Lock => (hold::LOCK.to_owned(), hold::GIVE_UP.to_owned()),
        HoldKind::Tables => (hold::lock_tables(&seen.tables), hold::GIVE_UP.to_owned()),
        HoldKind::Refuse => (hold::refuse(caps, &alive, &in_time), unsealing(settings, seen)),
    };
    let lease = format!(
        "SET {}",
        hold::lease_of(settings.lease_seconds(settings.deadline))
    );
    let undo = format!("{undo}; {}", sessions::end_statement("<the holding session>"));
    if looks::closes_own_tables(settings) {
        let undo = "none: the server opens them when they are wanted".to_owned();
        list.add(Step::Hold, Side::Blue, looks::CLOSE_OWN_TABLES, Some(undo));
    }
    let end = "none: it ends with the session".to_owned();
    list.add(Step::Hold, Side::Blue, hold::before(&lease), Some(end));
    let hold = statement;
    let position = stands::question_of(settings);
    if looks::before_the_hold_is_enough(settings) {
        let both = format!("{hold}; {}", fence::question(None, &position));
        list.add(Step::Hold, Side::Blue, both, Some(undo));
    } else {
        list.add(Step::Hold, Side::Blue, hold, Some(undo));
        let question = fence::question(privileged_sessions, &position);
        list.add(Step::Fence, Side::Blue, question, None);
    }
    list.add(Step::Drain, Side::Green, waiting(settings), None);
    for statement in &seen.durable_again {
        let undo = "none: green was relaxed only to catch up".to_owned();
        list.add(Step::Drain, Side::Green, statement.clone(), Some(undo));
    }
    if settings.proves_rows {
        for side in [Side::Blue, Side::Green] {
            let rows = "SELECT <key>, SHA2(<every column>, 256) FROM <table> WHERE <key> IN (<rows touched since they \
                        were proved>)";
            list.add(Step::Reprove, side, rows, None);
        }
    }
    for query in &settings.fence_queries {
        for side in [Side::Blue, Side::Green] {
            list.add(Step::Reprove, side, query.sql.clone(), None);
        }
    }
}

fn unsealing(settings: &Settings, seen: &Seen) -> String {
    let caps = &settings.blue.caps;
    seal::opening(caps, own_schema::writable_statement(caps), &seen.persisted)
}

fn sealing(list: &mut List, settings: &Settings, seen: &Seen) {
    let (alive, in_time) = (
        guard::alive("<the guard's session>"),
        clock::in_time(LIMIT_ON_BLUE),
    );
    let caps = &settings.blue.caps;
    let lease = hold::lease_of(settings.lease_seconds(settings.deadline));
    let statement = match settings.hold {
        HoldKind::Tables => {
            if seal_tables::by_deadlock(caps) {
                let undo = seal_tables::GIVE_BACK.to_owned();
                list.add(Step::Seal, Side::Blue, seal_tables::TAKE, Some(undo));
                let undo = "none: what it waits for it gives back".to_owned();
                list.add(Step::Seal, Side::Blue, seal_tables::wait(&lease), Some(undo));
            }
            seal_tables::statement(caps, &alive, &in_time)
        }
        HoldKind::Lock | HoldKind::Refuse => seal::statement(caps, &lease, &alive, &in_time),
    };
    list.add(Step::Seal, Side::Blue, statement, Some(unsealing(settings, seen)));
    let order = guard::order(caps, "<the guard's session>", "<the disarming session>");
    list.add(Step::Disarm, Side::Blue, guard::disarming(settings, &order), None);
    let green = &settings.green.caps;
    let undo = "none: the point of no return; `bleen failback` goes back by a switch in the other direction"
        .to_owned();
    let in_time = clock::in_time(LIMIT_ON_GREEN);
    list.add(
        Step::Promote,
        Side::Green,
        promote::statement(green, &in_time, seen.green_domain),
        Some(undo),
    );
    let epoch = promote::epoch_statement(green, &settings.run, &seen.green_label, FENCE);
    list.add(Step::Promote, Side::Green, epoch, None);
}

fn afterwards(list: &mut List, settings: &Settings, seen: &Seen) {
    for route in &settings.routes {
        list.0.push(Planned {
            step: Step::Route,
            side: None,
            statement: route.shown(),
            undo: None,
        });
    }
    if settings.hold != HoldKind::Refuse {
        list.add(Step::Release, Side::Blue, hold::GIVE_UP, None);
    }
    let end = sessions::end_statement("<the holding session>");
    list.add(Step::Release, Side::Blue, end, None);
    let green = &settings.green.caps;
    list.add(Step::Confirm, Side::Green, promote::accepts_question(green), None);
    for statement in [
        sql::stop_replica(green),
        sql::reset_replica_all(green),
        after::BEAT,
    ] {
        list.add(Step::Confirm, Side::Green, statement, None);
    }
    for event in &seen.events {
        list.add(Step::Confirm, Side::Green, event.clone(), None);
    }
    if seen.scheduler_runs {
        list.add(Step::Confirm, Side::Green, after::start_scheduler(green), None);
    }
    if !seen.locked.is_empty() {
        let unlock = quiet::accounts_statement(&seen.locked, "UNLOCK");
        list.add(Step::Confirm, Side::Blue, unlock, None);
    }
    let flags = format!("SELECT {}", seal::sealed_expression(&settings.blue.caps));
    list.add(Step::Confirm, Side::Blue, flags, None);
    for statement in way_back::planned_by_gtid(settings) {
        list.add(Step::Confirm, Side::Blue, statement, None);
    }
    let idle = format!(
        "<each session idle for {}>",
        humantime::format_duration(settings.idle_grace)
    );
    list.add(Step::Confirm, Side::Blue, sessions::end_statement(idle), None);
    let conclude = own_schema::conclude_statement(&seen.green_label);
    list.add(Step::Confirm, Side::Green, conclude, None);
    let row = row(settings, "over", Some("<outcome>"));
    list.add(Step::Confirm, Side::Green, own_schema::run_statement(&row), None);
}

/// The wait on green, with placeholders in the position's place.
fn waiting(settings: &Settings) -> String {
    let caps = &settings.green.caps;
    wait_text(caps, settings.position_kind(), settings.deadline)
}

fn wait_text(caps: &Capabilities, kind: PositionKind, deadline: Duration) -> String {
    // An empty position and an impossible offset: they can be told from everything else in the text.
    let nowhere = match kind {
        PositionKind::GtidSet => Position::GtidSet(GtidSet::default()),
        PositionKind::GtidList => Position::GtidList(GtidList::default()),
        PositionKind::File => Position::File(FilePosition {
            file: String::new(),
            offset: u64::MAX,
        }),
    };
    let text = position_read::wait_question(caps, &nowhere, deadline, seal::sealed_expression(caps))
        .unwrap_or_default();
    let what = match kind {
        PositionKind::File => "<file of the fence position>",
        PositionKind::GtidSet | PositionKind::GtidList => FENCE,
    };
    text.replacen(&quote::text(""), &quote::text(what), 1)
        .replacen(&u64::MAX.to_string(), "<its offset>", 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::capabilities::tests::known;

    #[test]
    fn the_wait_shows_where_the_position_will_stand() {
        let text = |server, kind| wait_text(&known(server), kind, Duration::from_secs(10));
        assert!(text("mysql-9.7", PositionKind::GtidSet).contains("'<fence position>'"));
        assert!(text("mariadb-11.8", PositionKind::GtidList).contains("'<fence position>'"));
        let by_file = text("mariadb-11.8", PositionKind::File);
        assert!(
            by_file.contains("'<file of the fence position>', <its offset>"),
            "{by_file}"
        );
    }
}
