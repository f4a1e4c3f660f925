//! Prepares a real pair: bleen's schema on blue, green read-only and following blue, everything recorded on blue too.

use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;

use super::error::ServerError;
use super::lag::{LagMeter, Setup};
use super::own_schema::{self, UndoRow};
use super::replication::follow::{self, Source};
use super::replication::{consistency, status};
use super::session::{Purpose, Session, Target, Tls};
use super::{capabilities, identity, relax, sql};
use crate::domain::capabilities::{Capabilities, PositionKind};
use crate::domain::consistency::{Start, judge};
use crate::domain::identity::Identity;
use crate::domain::ids::{RunId, Side};
use crate::domain::lag::LagSample;
use crate::domain::position::FilePosition;
use crate::engine::change::Change;
use crate::engine::prepare::{Failure, Preparing};

/// How long a reading statement may take.
const READ: Duration = Duration::from_secs(10);

/// How long the heartbeat may take to fall silent.
const SILENCE: Duration = Duration::from_secs(10);

/// What is to be prepared.
#[derive(Debug, Clone)]
pub struct Request {
    /// The run that the changes are recorded under.
    pub run: RunId,
    /// Blue.
    pub blue: Target,
    /// Green.
    pub green: Target,
    /// Blue's host as green must call it.
    pub source_host: String,
    /// Blue's port as green must call it.
    pub source_port: u16,
    /// The replication account.
    pub source_user: String,
    /// Its password.
    pub source_password: SecretString,
    /// How green's connection to blue is protected. Paths are paths on green's machine.
    pub source_tls: Tls,
    /// Where the copy on green was taken, where GTIDs are off.
    pub told_start: Option<FilePosition>,
    /// Time from one heartbeat to the next.
    pub heartbeat: Duration,
}

/// Hears of every change before it is made, and of every undo that was run. An error keeps the change from being made.
pub type OnRecord = Box<dyn FnMut(&UndoRow) -> Result<(), String> + Send>;

/// Hears how waiting goes: the newest look, and for how long the lag has been under the limit.
pub type OnWait = Box<dyn FnMut(&LagSample, Duration) + Send>;

/// What is known of one side once it has been reached.
struct Reached {
    session: Session,
    caps: Capabilities,
    identity: Identity,
}

/// A pair that is being prepared, or put back.
pub struct Preparation {
    request: Request,
    on_record: OnRecord,
    on_wait: OnWait,
    blue: Option<Reached>,
    green: Option<Reached>,
    /// Sessions whose last statement got no answer: ended before anything is undone.
    doubtful: Vec<(Side, u64)>,
    /// Records that wait until bleen's schema is there.
    unwritten: Vec<UndoRow>,
    schema_is_there: bool,
    meter: Option<LagMeter>,
    /// What stays a risk, filled by `plan`.
    findings: Vec<String>,
    /// What must hold on blue and on green for anything to be changed there: that the run lock is ours.
    only_while: Option<(String, String)>,
}

impl Preparation {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(request: Request, on_record: OnRecord, on_wait: OnWait) -> Self {
        Self {
            request,
            on_record,
            on_wait,
            blue: None,
            green: None,
            doubtful: Vec::new(),
            unwritten: Vec::new(),
            schema_is_there: false,
            meter: None,
            findings: Vec::new(),
            only_while: None,
        }
    }

    /// Changes nothing and puts nothing back unless these expressions are 1 on blue and on green right before: another
    /// bleen may have taken the pair from one that was frozen or cut off.
    #[must_use]
    pub fn only_while(mut self, held: (String, String)) -> Self {
        self.only_while = Some(held);
        self
    }

    /// What stays a risk, one sentence each; known after the plan.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Undoes recorded changes, in the order given (the last change first), and marks them as undone. Goes on after a
    /// failure; returns what is left.
    pub async fn put_back(&mut self, rows: Vec<UndoRow>, budget: Duration) -> Vec<(UndoRow, Failure)> {
        let mut left = Vec::new();
        for row in rows {
            let change = Change {
                side: row.side,
                what: row.what.clone(),
                sql: String::new(),
                masked: false,
                undo: vec![row.statement.clone()],
            };
            match self.undo(&change, budget).await {
                Ok(()) => self.mark_undone(row).await,
                Err(failure) => left.push((row, failure)),
            }
        }
        left
    }

    /// Gives a recorded change to the pair of another green of this blue: that one still needs it.
    ///
    /// # Errors
    /// Any [`super::error::Cause`]; the record stays as it is.
    pub async fn hand_over(&mut self, row: &UndoRow, green: &str, budget: Duration) -> Result<(), Failure> {
        let statement = own_schema::hand_over_statement(row, green);
        let blue = self.on(Side::Blue).await.map_err(said)?;
        let doing = "leave bleen's schema on blue to another pair";
        blue.session.run(doing, &statement, budget).await.map_err(said)
    }

    /// An open session on a side, with what is known of it. Opens one where there is none or it is spent.
    async fn on(&mut self, side: Side) -> Result<&mut Reached, ServerError> {
        let (slot, target) = match side {
            Side::Blue => (&mut self.blue, &self.request.blue),
            Side::Green => (&mut self.green, &self.request.green),
        };
        let known = match slot.take() {
            Some(mut reached) if !reached.session.is_spent() => {
                // It may have idled for too long while green caught up; its last statement was answered.
                reached.session.revive(READ).await?;
                Some(reached)
            }
            Some(Reached {
                session,
                caps,
                identity,
            }) => {
                self.doubtful.push((side, session.id()));
                let session = open(target, &self.request.run).await?;
                Some(Reached {
                    session,
                    caps,
                    identity,
                })
            }
            None => None,
        };
        let reached = match known {
            Some(reached) => reached,
            None => {
                let mut session = open(target, &self.request.run).await?;
                let caps = capabilities::probe(&mut session, READ).await?;
                let identity = identity::read(&mut session, caps.family(), READ).await?;
                Reached {
                    session,
                    caps,
                    identity,
                }
            }
        };
        let mut reached = reached;
        if let Some((on_blue, on_green)) = &self.only_while {
            let condition = if side == Side::Blue { on_blue } else { on_green };
            reached.session.only_while(condition.clone());
        }
        Ok(slot.insert(reached))
    }

    /// Both sides at once.
    async fn both(&mut self) -> Result<(&mut Reached, &mut Reached), ServerError> {
        self.on(Side::Blue).await?;
        self.on(Side::Green).await?;
        match (&mut self.blue, &mut self.green) {
            (Some(blue), Some(green)) => Ok((blue, green)),
            // `on` fills what it is asked for.
            _ => Err(ServerError {
                side: Side::Blue,
                server: String::new(),
                doing: "open the sessions".to_owned(),
                cause: super::error::Cause::Unexpected("no session".to_owned()),
            }),
        }
    }

    async fn planned(&mut self) -> Result<Vec<Change>, Failure> {
        let request = self.request.clone();
        let (blue, green) = self.both().await.map_err(said)?;
        if blue.identity.is_same_server(&green.identity) {
            return Err(Failure(format!(
                "blue and green are the same server: {}",
                blue.identity.label()
            )));
        }
        let kind = Capabilities::pair_position_kind(&blue.caps, &green.caps);
        let source = source(&request, &mut blue.session, &blue.caps)
            .await
            .map_err(said)?;
        let before = follow::before(&mut green.session, &green.caps, READ)
            .await
            .map_err(said)?;
        // A channel that is there knows its own place.
        let start = if kind == PositionKind::File && !before.channels.is_empty() {
            Start::Gtid
        } else {
            let seen = consistency::read(
                &mut blue.session,
                &mut green.session,
                kind,
                &green.identity,
                request.told_start.clone(),
                READ,
            )
            .await
            .map_err(said)?;
            judge(kind, &seen).map_err(|why| {
                let (at, to) = (
                    request.blue.address.to_string(),
                    request.green.address.to_string(),
                );
                Failure(format!(
                    "{why}\n{}",
                    consistency::how_to_seed(&blue.caps, &green.caps, &at, &to)
                ))
            })?
        };
        let follow = follow::plan(
            (&blue.caps, &blue.identity),
            &green.caps,
            &before,
            &source,
            &start,
        )
        .map_err(|e| Failure(e.to_string()))?;
        let is_there = schema_is_there(&mut blue.session).await.map_err(said)?;
        if is_there {
            // Of the form that the record needs, or refused now, when nothing is changed yet.
            let label = green.identity.label();
            own_schema::open_undos(&mut blue.session, Some(&label), READ)
                .await
                .map_err(said)?;
        }
        let mut changes = vec![make_schema(is_there)];
        // The schema that replication brings to green stays there when all is undone: green is a copy of blue at its
        // position, and what is in blue's binlog behind it, the end of this schema included, asks for it when green
        // follows again.
        changes.extend(follow.changes);
        self.findings = follow.findings;
        self.schema_is_there = is_there;
        Ok(changes)
    }

    /// After replication was started: seen running, from blue and no one else. A receiver that is still connecting is
    /// left to the wait that follows.
    async fn confirm_source(&mut self, budget: Duration) -> Result<(), Failure> {
        let until = tokio::time::Instant::now() + budget.min(Duration::from_secs(5));
        loop {
            let (blue, green) = self.both().await.map_err(said)?;
            let channels = status::read(&mut green.session, &green.caps, READ)
                .await
                .map_err(said)?;
            let Some(channel) = channels.first() else {
                return Err(Failure("green follows nobody".to_owned()));
            };
            let other_uuid = channel
                .source_uuid
                .as_ref()
                .zip(blue.identity.server_uuid.as_ref())
                .is_some_and(|(a, b)| !a.eq_ignore_ascii_case(b));
            let other_id = channel
                .source_server_id
                .is_some_and(|id| id != blue.identity.server_id);
            if other_uuid || other_id {
                return Err(Failure(format!(
                    "green reached another server than blue at {}:{}: server_id {} instead of {}",
                    channel.source_host,
                    channel.source_port,
                    channel.source_server_id.unwrap_or_default(),
                    blue.identity.server_id
                )));
            }
            if channel.is_running() {
                return Ok(());
            }
            if channel.is_hopeless() {
                return Err(Failure(channel.trouble().unwrap_or_default()));
            }
            if tokio::time::Instant::now() >= until {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the sessions whose last statement may still run, and sees them gone.
    async fn end_doubtful(&mut self, side: Side, budget: Duration) -> Result<(), Failure> {
        let ids: Vec<u64> = self
            .doubtful
            .iter()
            .filter(|(s, _)| *s == side)
            .map(|(_, id)| *id)
            .collect();
        for id in ids {
            let reached = self.on(side).await.map_err(said)?;
            let list = sql::process_list(&reached.caps);
            let doing = "end a session whose statement may still run";
            match reached
                .session
                .run(doing, &format!("KILL CONNECTION {id}"), budget)
                .await
            {
                // No such session: gone already.
                Err(e) if e.code() != Some(1094) => return Err(said(e)),
                _ => {}
            }
            let question = format!("SELECT COUNT(*) FROM {list} WHERE ID = {id}");
            let until = tokio::time::Instant::now() + budget;
            loop {
                let left: u64 = reached
                    .session
                    .one(doing, &question, budget)
                    .await
                    .map_err(said)?;
                if left == 0 {
                    break;
                }
                if tokio::time::Instant::now() >= until {
                    return Err(Failure(format!("session {id} on {side} does not end")));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            self.doubtful.retain(|d| *d != (side, id));
        }
        Ok(())
    }

    /// Writes the records that blue does not have yet.
    async fn write_records(&mut self) -> Result<(), Failure> {
        if !self.schema_is_there {
            return Ok(());
        }
        while let Some(row) = self.unwritten.first().cloned() {
            let statement = own_schema::undo_statement(&row);
            let blue = self.on(Side::Blue).await.map_err(said)?;
            let doing = "record on blue what must be put back";
            blue.session.run(doing, &statement, READ).await.map_err(said)?;
            self.unwritten.remove(0);
        }
        Ok(())
    }

    async fn mark_undone(&mut self, mut row: UndoRow) {
        "undone".clone_into(&mut row.state);
        let statement = own_schema::undone_statement(&row.run_id, row.seq);
        if let Ok(blue) = self.on(Side::Blue).await {
            // The row may be gone with bleen's schema, and it is the journal that is asked first.
            let _ = blue.session.run("note an undo on blue", &statement, READ).await;
        }
        // Nothing depends on the note: an undo that is run once more does no harm.
        let _ = (self.on_record)(&row);
    }

    /// Which server green is; known since the plan was made.
    fn green_label(&self) -> String {
        let green = self.green.as_ref();
        green.map_or_else(String::new, |green| green.identity.label())
    }

    fn row(&self, seq: u32, change: &Change) -> UndoRow {
        UndoRow {
            run_id: self.request.run.to_string(),
            seq,
            green: self.green_label(),
            side: change.side,
            what: change.what.clone(),
            statement: change.undo.join(";\n"),
            state: "open".to_owned(),
        }
    }
}

impl Preparing for Preparation {
    async fn plan(&mut self) -> Result<Vec<Change>, Failure> {
        self.planned().await
    }

    async fn plan_relaxed(&mut self) -> Result<Vec<Change>, Failure> {
        let green = self.on(Side::Green).await.map_err(said)?;
        relax::plan(&mut green.session, &green.caps, READ)
            .await
            .map_err(said)
    }

    async fn record(&mut self, seq: u32, change: &Change) -> Result<(), Failure> {
        let row = self.row(seq, change);
        (self.on_record)(&row).map_err(Failure)?;
        self.unwritten.push(row);
        self.write_records().await
    }

    async fn apply(&mut self, change: &Change, budget: Duration) -> Result<(), Failure> {
        let password = self.request.source_password.clone();
        let reached = self.on(change.side).await.map_err(said)?;
        let starts = change.sql == sql::start_replica(&reached.caps);
        follow::run(&mut reached.session, change, &password, budget)
            .await
            .map_err(said)?;
        if change.side == Side::Blue {
            self.schema_is_there = true;
            self.write_records().await?;
        }
        if starts {
            self.confirm_source(budget).await?;
        }
        Ok(())
    }

    async fn undo(&mut self, change: &Change, budget: Duration) -> Result<(), Failure> {
        self.on(change.side).await.map_err(said)?;
        self.end_doubtful(change.side, budget).await?;
        let reached = self.on(change.side).await.map_err(said)?;
        let undone = follow::undo(&mut reached.session, change, budget).await;
        if undone.is_err() && !reached.session.is_spent() {
            // It may have stopped between a session's own setting (`sql_log_bin = 0`) and its end.
            let slot = match change.side {
                Side::Blue => &mut self.blue,
                Side::Green => &mut self.green,
            };
            if let Some(reached) = slot.take() {
                reached.session.close(budget).await;
            }
        }
        undone.map_err(said)
    }

    async fn forget(&mut self, seq: u32) {
        self.unwritten.retain(|row| row.seq != seq);
        let nothing = Change {
            side: Side::Blue,
            what: String::new(),
            sql: String::new(),
            masked: false,
            undo: Vec::new(),
        };
        let row = self.row(seq, &nothing);
        self.mark_undone(row).await;
    }

    fn measure(&mut self) -> watch::Receiver<LagSample> {
        let (Some(blue), Some(green)) = (&self.blue, &self.green) else {
            // Nothing was reached, so nothing can be measured: the receiver's sender is gone, which the wait tells.
            return watch::channel(LagSample::default()).1;
        };
        let meter = LagMeter::start(Setup {
            blue: self.request.blue.clone(),
            green: self.request.green.clone(),
            blue_caps: blue.caps.clone(),
            green_caps: green.caps.clone(),
            run: Some(self.request.run.clone()),
            every: self.request.heartbeat,
        });
        let samples = meter.samples();
        self.meter = Some(meter);
        samples
    }

    async fn stop_measuring(&mut self) {
        if let Some(meter) = self.meter.take() {
            meter.stop(SILENCE).await;
        }
    }

    fn show(&mut self, sample: &LagSample, held_for: Duration) {
        (self.on_wait)(sample, held_for);
    }
}

async fn open(target: &Target, run: &RunId) -> Result<Session, ServerError> {
    let purpose = Purpose {
        run: Some(run.clone()),
        role: "prepare",
    };
    Session::open(target, &purpose, READ).await
}

fn said(error: ServerError) -> Failure {
    Failure(error.to_string())
}

/// The channel's source, with "TLS where blue offers it" decided.
async fn source(request: &Request, blue: &mut Session, caps: &Capabilities) -> Result<Source, ServerError> {
    Ok(Source {
        host: request.source_host.clone(),
        port: request.source_port,
        user: request.source_user.clone(),
        password: request.source_password.clone(),
        tls: follow::channel_tls(&request.source_tls, blue, caps, READ).await?,
    })
}

async fn schema_is_there(session: &mut Session) -> Result<bool, ServerError> {
    let question =
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'bleen' AND table_name = 'undo'";
    let tables: u64 = session.one("look for bleen's schema", question, READ).await?;
    Ok(tables > 0)
}

/// The schema on blue. Only who made it takes it away.
fn make_schema(is_there: bool) -> Change {
    Change {
        side: Side::Blue,
        what: "make bleen's schema on blue: heartbeat, runs, epochs, undo, guard".to_owned(),
        sql: own_schema::create_statements().join(";\n"),
        masked: false,
        undo: if is_there {
            Vec::new()
        } else {
            vec![own_schema::drop_statement().to_owned()]
        },
    }
}
