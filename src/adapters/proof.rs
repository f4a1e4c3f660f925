//! Puts two servers and what is asked of a data proof together: for `validate`, which runs it to its end, and for a
//! switchover, which has it run beside it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::mysql::binlog::reader::{self, Reader};
use super::mysql::binlog::shape::Shapes;
use super::mysql::error::ServerError;
use super::mysql::proof::catalogue::PairCatalogue;
use super::mysql::proof::defined::Definitions;
use super::mysql::proof::digest::Form;
use super::mysql::proof::fence::FenceProof;
use super::mysql::proof::lane::{Common, PairLane, trouble};
use super::mysql::proof::self_test;
use super::mysql::session::Session;
use super::mysql::switch::{OwnSessions, Server};
use super::proof_kept::{Earlier, Keeper, Witness};
use crate::domain::capabilities::{Capabilities, PositionKind};
use crate::domain::guardrails::{Known, ProofFact};
use crate::domain::ids::{RunId, Side};
use crate::domain::position::FilePosition;
use crate::domain::proof::pace::Target;
use crate::domain::proof::pick::{Pattern, Pick};
use crate::domain::proof::stream::Brought;
use crate::domain::proof::transaction::{Positions, Start, TableName};
use crate::engine::event::Events;
use crate::engine::proof::ports::{Asking, Catalogue as _, Lane, Stream, Streams};
use crate::engine::proof::prover::{Ended, Options, Prover};
use crate::playbook::model::DataProof;

/// How long one reading may take before it is given up, and less is read at once.
const READING: Duration = Duration::from_secs(60);

/// How often the servers' load is looked at.
const LOAD: Duration = Duration::from_millis(500);

/// How often a switchover tells how far the proof is.
const TELL: Duration = Duration::from_secs(1);

/// What is asked of a proof.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What the playbook says.
    pub data: DataProof,
    /// End when every range was compared once.
    pub once: bool,
    /// Whether values of rows are shown by their digests only.
    pub mask: bool,
    /// The run it belongs to.
    pub run: Option<RunId>,
    /// Where its sessions on blue are written down.
    pub own: OwnSessions,
    /// How long a server may take for each answer that is no reading.
    pub answer: Duration,
    /// The size of ranges.
    pub target: Target,
    /// The directory of runs, where what is proved is kept for a run that is started again; nowhere if absent.
    pub keep: Option<PathBuf>,
    /// Compare everything, whatever an earlier run has proved.
    pub anew: bool,
}

/// Why a proof cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum NotBegun {
    /// A server did not answer as it should.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// This pair cannot be proved.
    #[error("{0}")]
    Cannot(String),
}

/// A proof that is ready to run.
pub struct Proof {
    /// What it knows; to be asked while it runs.
    pub prover: Arc<Prover>,
    common: Common,
    accepted: Vec<Pattern>,
    stream: Stream,
    streams: BlueStreams,
    catalogue: PairCatalogue,
    lanes: Vec<Box<dyn Lane>>,
    keeper: Option<Arc<Keeper>>,
    events: Events,
}

impl Proof {
    /// Reaches both servers, tries the digest on them, begins to read blue's binlog and reads the tables.
    ///
    /// # Errors
    /// [`NotBegun`]. Nothing is changed on either server.
    pub async fn open(
        (blue, green): (&Server, &Server),
        wish: &Wish,
        events: &Events,
    ) -> Result<Self, NotBegun> {
        let kind = Capabilities::pair_position_kind(&blue.caps, &green.caps);
        if kind == PositionKind::File {
            return Err(NotBegun::Cannot(
                "rows can be compared under load only where both servers are of one family and write GTIDs: by file \
                 and offset nobody can tell which transactions a reading shows. Turn GTIDs on (`gtid_mode = ON`), or \
                 go without the data proof"
                    .to_owned(),
            ));
        }
        let (data, answer) = (&wish.data, wish.answer);
        let form = Form::of(&blue.caps.version, &green.caps.version, data.second_half);
        let common = Common {
            blue: blue.clone(),
            green: green.clone(),
            run: wish.run.clone(),
            form,
            definitions: Definitions::default(),
            reading: READING,
            answer,
            mask: wish.mask,
            own: wish.own.clone(),
        };
        let mut sessions = (
            common.session(Side::Blue).await?,
            common.session(Side::Green).await?,
        );
        self_test::run(&mut sessions.0, form, answer).await?;
        self_test::run(&mut sessions.1, form, answer).await?;

        let shapes = Shapes::default();
        let mut settings = reader::Settings::new(
            blue.target.clone(),
            blue.caps.clone(),
            kind,
            shapes.clone(),
            answer,
        );
        settings.run.clone_from(&wish.run);
        settings.own = wish.own.clone();
        let streams = BlueStreams { settings };
        let keeper = match &wish.keep {
            Some(dir) => {
                let witness = Witness::of(&common, kind, (&mut sessions.0, &mut sessions.1)).await?;
                witness.map(|witness| Arc::new(Keeper::new(dir, witness, &common.definitions)))
            }
            None => None,
        };
        let mut earlier = keeper
            .as_ref()
            .filter(|_| !wish.anew)
            .and_then(|keeper| match keeper.earlier() {
                Ok(earlier) => earlier,
                Err(why) => {
                    begins_anew(events, &why);
                    None
                }
            });
        let pick = Pick {
            tables: patterns(&data.tables),
            exclude: patterns(&data.exclude),
        };
        let mut catalogue = PairCatalogue::new(sessions, &common, pick, shapes);
        let mut read = async || {
            let tables = catalogue.read(None).await;
            tables.map_err(|trouble| NotBegun::Cannot(trouble.why))
        };
        let mut gone_on = None;
        if let Some(kept) = &earlier {
            // How rows stand in events must be known before the first one comes. The stream begins in the past, so it
            // holds what changes while the tables are read.
            let tables = read().await?;
            let mut on_blue = common.session(Side::Blue).await?;
            match streams.go_on(kept, &mut on_blue).await {
                Ok((stream, present)) => gone_on = Some((stream, tables, present)),
                Err(why) => {
                    begins_anew(events, &why);
                    earlier = None;
                }
            }
        }
        let (stream, tables, present) = match gone_on {
            Some((stream, tables, present)) => (stream, tables, Some(present)),
            None => {
                // First the stream, then the tables: what changes in between is in the stream.
                let stream = streams.begin().await?;
                (stream, read().await?, None)
            }
        };
        let opened = join_all((0..data.connections.max(1)).map(|_| PairLane::open(&common))).await;
        let mut lanes: Vec<Box<dyn Lane>> = Vec::new();
        for lane in opened {
            lanes.push(Box::new(lane?));
        }
        // Neither side may have executed less than when it was kept.
        if let (Some(kept), Some(lane)) = (&earlier, lanes.first_mut())
            && !has_reached(lane, &kept.kept.executed).await
        {
            begins_anew(events, "a server has executed less than then");
            earlier = None;
        }
        let options = Options {
            again_after: (!wish.once).then_some(data.again_after),
            once: wish.once,
            target: wish.target,
            ..Options::default()
        };
        let mut prover = Prover::new(&stream, tables, options, events);
        if let (Some(kept), Some(present), Some(keeper)) = (earlier, present, &keeper) {
            let as_then = |table: &TableName| keeper.is_as_then(&kept, table);
            let restored = prover.restore(&kept.kept, kept.since, present, as_then);
            let but = match restored.tables_left_out {
                0 => String::new(),
                tables => format!("; {tables} tables begin anew, because they are defined otherwise by now"),
            };
            events.note(format!(
                "{} ranges of rows are proved by an earlier run, {} ago; what changed since is read from blue's binlog{but}",
                restored.ranges,
                humantime::format_duration(Duration::from_secs(kept.since.as_secs()))
            ));
        }
        Ok(Self {
            prover: Arc::new(prover),
            keeper,
            events: events.clone(),
            common,
            accepted: patterns(&data.accept_unproven),
            stream,
            streams,
            catalogue,
            lanes,
        })
    }

    /// Goes on until everything is proved, or for ever. Dropping it ends all reading.
    pub async fn run(mut self) -> Ended {
        let prover = Arc::clone(&self.prover);
        let keeping = async {
            if let Some(keeper) = self.keeper {
                let why = keeper.keep(Arc::clone(&prover)).await;
                self.events.warn(why);
            }
            std::future::pending().await
        };
        tokio::select! {
            ended = prover.run(self.stream, &mut self.streams, &mut self.catalogue, self.lanes) => ended,
            ended = keeping => ended,
        }
    }

    /// Who keeps what is proved.
    #[must_use]
    pub const fn keeper(&self) -> Option<&Arc<Keeper>> {
        self.keeper.as_ref()
    }

    /// Begins to run beside a switchover, and tells how far it is.
    #[must_use]
    pub fn begin(self, sparing: Sparing) -> Beside {
        let fence = FenceProof::new(&self.prover, &self.common, self.accepted.clone());
        let prover = Arc::clone(&self.prover);
        let ended: Arc<Mutex<Option<Ended>>> = Arc::default();
        let (told, mut sparing) = (Arc::clone(&ended), sparing);
        let task = tokio::spawn(async move {
            let prover = Arc::clone(&self.prover);
            let end = tokio::select! {
                end = self.run() => end,
                () = prover.tell(TELL) => return,
                () = sparing.spare(&prover) => return,
            };
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        });
        Beside {
            prover,
            fence,
            ended,
            _task: AbortOnDropHandle::new(task),
        }
    }
}

fn begins_anew(events: &Events, why: &str) {
    events.note(format!(
        "what an earlier run has proved does not count, and everything is compared: {why}"
    ));
}

/// Whether both sides have executed at least that.
async fn has_reached(lane: &mut Box<dyn Lane>, executed: &Positions) -> bool {
    let reached = match lane.begin().await {
        Ok(now) => now.reach(executed),
        Err(_) => false,
    };
    // Ends the snapshots.
    let ended = lane.after().await.is_ok() || lane.revive().await.is_ok();
    reached && ended
}

fn patterns(all: &[String]) -> Vec<Pattern> {
    all.iter().map(|text| Pattern::of(text)).collect()
}

/// A proof that runs beside a switchover. Dropping it ends it.
pub struct Beside {
    prover: Arc<Prover>,
    fence: FenceProof,
    ended: Arc<Mutex<Option<Ended>>>,
    _task: AbortOnDropHandle<()>,
}

/// How long a check may take to end before a hold: as long as its reading.
const REST: Duration = READING;

impl Beside {
    /// What it knows, for whoever replays statements beside it.
    #[must_use]
    pub const fn prover(&self) -> &Arc<Prover> {
        &self.prover
    }

    /// What an attempt needs of it.
    #[must_use]
    pub fn fence(&self) -> FenceProof {
        self.fence.clone()
    }

    /// How far it is, for the gate; it goes on if an attempt had stopped it.
    #[must_use]
    pub fn look(&self) -> Known<ProofFact> {
        self.prover.go_on();
        if let Some(Ended::GaveUp(why)) = &*self.ended.lock().unwrap_or_else(PoisonError::into_inner) {
            return Known::Unknown(format!("the data proof was given up: {why}"));
        }
        self.fence.fact(&self.prover.progress())
    }

    /// A hold is near: only rows touched since they were proved are compared from now on.
    ///
    /// # Errors
    /// A range of rows is still being read.
    pub async fn stand_aside(&self) -> Result<(), String> {
        if self.prover.only_open_rows(REST).await {
            return Ok(());
        }
        self.prover.go_on();
        Err("a range of rows is still being compared, and the hold would wait for that".to_owned())
    }

    /// What was proved, for the run's last line.
    #[must_use]
    pub fn result(&self) -> Value {
        let progress = self.prover.progress();
        let last = self.fence.last();
        json!({
            "ranges": progress.summary.ranges,
            "unproven": progress.summary.unproven,
            "differing_rows": progress.differing_rows,
            "rows_at_the_fence": last.as_ref().map(|compared| compared.items),
            "ranges_at_the_fence": last.as_ref().map(|compared| compared.ranges),
            "differ_at_the_fence": last.map(|compared| compared.differ),
            "accepted_unproven": self.fence.accepted(&progress),
            "checks": progress.checks,
        })
    }
}

/// How far green is behind, if that is known.
pub type AskLag = Box<dyn Fn() -> Option<Duration> + Send>;

/// When comparing pauses, so that the servers are spared.
pub struct Sparing {
    /// The most statements that may run on blue, and a session to ask.
    pub load: Option<(u64, Session)>,
    /// The most that green may be behind, and who knows how far it is.
    pub lag: Option<(Duration, AskLag)>,
    /// How long blue may take to answer.
    pub answer: Duration,
}

impl Sparing {
    /// Pauses and goes on as the servers' load says. Ends only by being dropped.
    pub async fn spare(&mut self, prover: &Prover) {
        if self.load.is_none() && self.lag.is_none() {
            return std::future::pending().await;
        }
        loop {
            prover.spare(self.why().await);
            sleep(LOAD).await;
        }
    }

    async fn why(&mut self) -> Option<String> {
        if let Some((most, on_blue)) = &mut self.load {
            match threads_running(on_blue, self.answer).await {
                Some(running) if running > *most => {
                    return Some(format!("{running} statements run on blue, and {most} may"));
                }
                Some(_) => {}
                None => return Some("blue's load is not known".to_owned()),
            }
        }
        let (most, ask) = self.lag.as_ref()?;
        (ask()? > *most).then(|| format!("green is more than {} behind", humantime::format_duration(*most)))
    }
}

async fn threads_running(on_blue: &mut Session, answer: Duration) -> Option<u64> {
    on_blue.revive(answer).await.ok()?;
    let doing = "read how many statements run on blue";
    let sql = "SHOW GLOBAL STATUS LIKE 'Threads_running'";
    let row: (String, u64) = on_blue.one(doing, sql, answer).await.ok()?;
    Some(row.1)
}

/// Opens streams of blue's binlog.
struct BlueStreams {
    settings: reader::Settings,
}

impl BlueStreams {
    async fn begin(&self) -> Result<Stream, ServerError> {
        let (reader, start, brought) = Reader::start(self.settings.clone()).await?;
        Ok(Stream {
            start,
            brought,
            reader: Box::new(reader),
        })
    }

    /// Goes on where an earlier run stopped. With it, a place that blue has reached by now.
    async fn go_on(&self, kept: &Earlier, on_blue: &mut Session) -> Result<(Stream, FilePosition), String> {
        let (place, executed) = kept.place();
        let mut settings = self.settings.clone();
        settings.from = Some(Start { executed, place });
        let in_words = |error: ServerError| error.to_string();
        let (reader, start, mut brought) = Reader::start(settings.clone()).await.map_err(in_words)?;
        // The head of the file comes first.
        let made = match timeout(settings.budget, brought.recv()).await {
            Ok(Some(Brought::File { name, made })) if name == start.place.file => made,
            other => {
                let seen = match other {
                    Err(_) => "no answer in time",
                    Ok(None) => "the reading has ended",
                    // Not in words: it holds rows.
                    Ok(Some(_)) => "something else came first",
                };
                return Err(format!(
                    "blue does not say when `{}` was made: {seen}",
                    start.place.file
                ));
            }
        };
        if made != kept.kept.made {
            return Err(format!(
                "blue's binlog file `{}` is another one than it was: it was begun anew",
                start.place.file
            ));
        }
        // What blue has executed by now names at least what stands before that place, so that no check that is begun from
        // now on can have any of it on one side only.
        let present = reader::present(on_blue, &settings).await.map_err(in_words)?;
        let stream = Stream {
            start: Start {
                executed: present.executed,
                place: start.place,
            },
            brought,
            reader: Box::new(reader),
        };
        Ok((stream, present.place))
    }
}

impl Streams for BlueStreams {
    fn open(&mut self) -> Asking<'_, Stream> {
        Box::pin(async move { self.begin().await.map_err(trouble) })
    }
}
