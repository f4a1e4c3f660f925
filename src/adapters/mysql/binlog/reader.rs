//! The connection that reads blue's binlog, in a task of its own.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use mysql_async::binlog::events::GtidEvent;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Row};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::assembly::{Assembly, Case};
use super::changes::Caps;
use super::event::{Event, kind};
use super::names::uuid;
use super::shape::Shapes;
use super::written::Written;
use crate::adapters::mysql::binlog_read::{FIRST_OFFSET, files};
use crate::adapters::mysql::capabilities::variables;
use crate::adapters::mysql::columns;
use crate::adapters::mysql::error::{Cause, ServerError};
use crate::adapters::mysql::position_read::{self, Role};
use crate::adapters::mysql::session::{Purpose, Session, Target, connect, statement_cause};
use crate::adapters::mysql::switch::OwnSessions;
use crate::domain::capabilities::{Capabilities, PositionKind};
use crate::domain::guardrails::facts::READER_HOST;
use crate::domain::ids::RunId;
use crate::domain::position::{FilePosition, Position};
use crate::domain::proof::stream::Brought;
use crate::domain::proof::transaction::{Origin, Start};
use crate::domain::server::Family;

/// What the reader is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Blue.
    pub target: Target,
    /// What blue can do.
    pub capabilities: Capabilities,
    /// The run it belongs to.
    pub run: Option<RunId>,
    /// How the pair writes positions.
    pub positions: PositionKind,
    /// Where to begin; `None` is blue's present place.
    pub from: Option<Start>,
    /// How tables' rows stand in row events. A table without a shape is changed as a whole by each row event.
    pub shapes: Shapes,
    /// How much of one transaction is kept row by row.
    pub caps: Caps,
    /// How many transactions wait for whoever takes them; beyond that the reader stops reading.
    pub queue: usize,
    /// How often a quiet blue says that it is there.
    pub heartbeat: Duration,
    /// How long blue may say nothing at all.
    pub silence: Duration,
    /// Server numbers that are taken, apart from those that blue knows: green's.
    pub taken_ids: Vec<u32>,
    /// How often blue is asked how far its binlog goes.
    pub look: Duration,
    /// How long blue may take for each answer before the stream begins.
    pub budget: Duration,
    /// Where its session is written down: a run must not take it for somebody's that writes.
    pub own: OwnSessions,
}

impl Settings {
    /// The usual settings.
    #[must_use]
    pub fn new(
        target: Target,
        capabilities: Capabilities,
        positions: PositionKind,
        shapes: Shapes,
        budget: Duration,
    ) -> Self {
        Self {
            target,
            capabilities,
            run: None,
            positions,
            from: None,
            shapes,
            caps: Caps::default(),
            queue: 32,
            heartbeat: Duration::from_millis(500),
            silence: Duration::from_secs(30),
            taken_ids: Vec::new(),
            look: Duration::from_secs(1),
            budget,
            own: OwnSessions::default(),
        }
    }
}

/// Reads blue's binlog until it is dropped, or until what follows is not known ([`Brought::Broke`]).
#[derive(Debug)]
pub struct Reader {
    task: JoinHandle<()>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// No packet of a server is longer.
const LONGEST_PACKET: usize = 1 << 30;

/// How long blue waits for a reader that does not read, because whoever takes its transactions is busy.
const WRITE_SECONDS: u32 = 3600;

const DOING: &str = "begin to read the binlog";

impl Reader {
    /// Begins to read. What comes is every transaction that the [`Start`] does not name, in the binlog's order.
    ///
    /// Shapes must be read after this has returned, or they count as old: what happened between is not in the stream.
    ///
    /// # Errors
    /// What blue answered; a place to begin at that its binlog does not hold any more.
    pub async fn start(settings: Settings) -> Result<(Self, Start, mpsc::Receiver<Brought>), ServerError> {
        let purpose = Purpose {
            run: settings.run.clone(),
            role: "binlog",
        };
        let mut session = Session::open(&settings.target, &purpose, settings.budget).await?;
        settings.own.add([session.id()]);
        let start = match &settings.from {
            Some(start) => {
                still_there(&mut session, &settings, start).await?;
                start.clone()
            }
            None => present(&mut session, &settings).await?,
        };
        let names = ["lower_case_table_names", "server_id"];
        let blue = variables(&mut session, &names, settings.budget).await?;
        let case = match blue.get("lower_case_table_names").map(String::as_str) {
            Some("0") => Case::Kept,
            _ => Case::Lower,
        };
        let mut taken: BTreeSet<u32> = settings.taken_ids.iter().copied().collect();
        taken.extend(blue.get("server_id").and_then(|id| id.parse::<u32>().ok()));
        taken.extend(replicas(&mut session, &settings).await?);

        let mut from = start.place.clone();
        // A place beyond 32 bits cannot be asked for.
        if u32::try_from(from.offset).is_err() {
            from.offset = FIRST_OFFSET;
        }
        let stream = stream(&settings, &purpose, &from, free_id(&taken)).await?;
        let shapes = settings.shapes.clone();
        let assembly = Assembly::new(from, start.place.clone(), case, shapes, settings.caps);
        let (sender, receiver) = mpsc::channel(settings.queue.max(1));
        let task = tokio::spawn(read(stream, assembly, session, settings, sender));
        Ok((Self { task }, start, receiver))
    }
}

/// Blue's present place, and a position that names all that ends up to there.
///
/// # Errors
/// What blue answered.
pub async fn present(session: &mut Session, settings: &Settings) -> Result<Start, ServerError> {
    let caps = &settings.capabilities;
    // The place comes first: what is written later ends behind it.
    let place = position_read::written_file(session, caps, settings.budget).await?;
    let executed = match settings.positions {
        PositionKind::File => Position::File(place.clone()),
        PositionKind::GtidList => {
            position_read::executed(session, caps, settings.positions, Role::Writer, settings.budget).await?
        }
        PositionKind::GtidSet => {
            // A transaction in the binlog is executed, or on its way to be: then a session owns its number. Asked in
            // this order, none can slip from one to the other unseen.
            let sql = "SELECT @@GLOBAL.gtid_owned";
            let owned: String = session.one(DOING, sql, settings.budget).await?;
            let owned = position_read::gtid_set(session, DOING, &without_owners(&owned))?;
            match position_read::executed(session, caps, settings.positions, Role::Writer, settings.budget)
                .await?
            {
                Position::GtidSet(executed) => Position::GtidSet(executed.union(&owned)),
                other => other,
            }
        }
    };
    Ok(Start { executed, place })
}

/// `uuid:7#12:8#13` without the sessions behind each number.
fn without_owners(owned: &str) -> String {
    let mut parts = owned.split('#');
    let mut set = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        set.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    set
}

/// Sees that blue still has its binlog from a place on, and has executed what came before it.
async fn still_there(session: &mut Session, settings: &Settings, start: &Start) -> Result<(), ServerError> {
    let files = files(session, DOING, settings.budget).await?;
    if !files.contains(&start.place.file) {
        let what = format!(
            "its binlog from {} on is needed, and `{}` is not among its files any more: the proof has to begin anew",
            start.place, start.place.file
        );
        return Err(session.unexpected(DOING, &what));
    }
    let now = present(session, settings).await?;
    let goes_on =
        now.place.has_reached(&start.place) && now.executed.contains(&start.executed) != Some(false);
    if goes_on {
        return Ok(());
    }
    let what = format!(
        "its binlog was to be read from {} on, and it stands at {}, at {}: it was begun anew since, and so must be the \
         proof",
        start.place, now.place, now.executed
    );
    Err(session.unexpected(DOING, &what))
}

/// The server numbers of blue's replicas.
async fn replicas(session: &mut Session, settings: &Settings) -> Result<Vec<u32>, ServerError> {
    let sql = match settings.capabilities.family() {
        Family::MySql if settings.capabilities.version.is_mysql_from((8, 0, 22)) => "SHOW REPLICAS",
        // It sends a row with a field too few for a replica without a uuid, at which the driver gives the session up.
        Family::MySql => return Ok(Vec::new()),
        Family::MariaDb => "SHOW SLAVE HOSTS",
    };
    let rows: Vec<Row> = match session.rows("list blue's replicas", sql, settings.budget).await {
        Ok(rows) => rows,
        // Without the right to see them the choice among four billion has to do.
        Err(e) if e.code().is_some() => Vec::new(),
        Err(e) => return Err(e),
    };
    Ok(rows
        .iter()
        .filter_map(|row| columns::text_at(row, 0)?.parse().ok())
        .collect())
}

/// A server number that nobody has: a server ends the stream of whoever had it before.
fn free_id(taken: &BTreeSet<u32>) -> u32 {
    let random = RandomState::new();
    let mut attempt = 0_u64;
    loop {
        let [a, b, c, d, ..] = random.hash_one((std::process::id(), attempt)).to_le_bytes();
        // Servers take their numbers from below.
        let id = u32::from_le_bytes([a, b, c, d]) | 0x8000_0000;
        if !taken.contains(&id) {
            return id;
        }
        attempt += 1;
    }
}

async fn stream(
    settings: &Settings,
    purpose: &Purpose,
    from: &FilePosition,
    id: u32,
) -> Result<BinlogStream, ServerError> {
    let target = &settings.target;
    let big = |options: mysql_async::OptsBuilder| options.max_allowed_packet(Some(LONGEST_PACKET));
    let mut conn = connect(target, &target.address, purpose, big, settings.budget).await?;
    let failed = |cause| ServerError {
        side: target.side,
        server: target.address.to_string(),
        doing: DOING.to_owned(),
        cause,
    };
    settings.own.add([u64::from(conn.id())]);
    let period = settings.heartbeat.as_nanos();
    let set = format!(
        "SET @master_heartbeat_period = {period}, @source_heartbeat_period = {period}, @mariadb_slave_capability = 4, \
         @slave_uuid = UUID(), @replica_uuid = @slave_uuid, net_write_timeout = {WRITE_SECONDS}"
    );
    let begin = async {
        conn.query_drop(set).await?;
        let request = BinlogStreamRequest::new(id)
            .with_filename(from.file.as_bytes())
            .with_pos(from.offset)
            .with_hostname(READER_HOST.as_bytes());
        conn.get_binlog_stream(request).await
    };
    match timeout(settings.budget, begin).await {
        Err(_) => Err(failed(Cause::TimedOut(settings.budget))),
        Ok(Err(error)) => Err(failed(statement_cause(&error))),
        Ok(Ok(stream)) => Ok(stream),
    }
}

/// Asks, after a while, how far blue's binlog goes; the stream stands at `then`.
async fn look(
    mut session: Session,
    settings: &Settings,
    then: FilePosition,
) -> (Session, FilePosition, Result<FilePosition, ServerError>) {
    tokio::time::sleep(settings.look).await;
    // Whoever reads on is in no hurry.
    let budget = settings.budget.max(settings.silence);
    let place = position_read::written_file(&mut session, &settings.capabilities, budget).await;
    (session, then, place)
}

/// Reads until the end, and says why it is one.
async fn read(
    stream: BinlogStream,
    mut assembly: Assembly,
    session: Session,
    settings: Settings,
    sender: mpsc::Sender<Brought>,
) {
    let server = &settings.target.address;
    // The driver panics at some bytes that no server should send.
    let work = AssertUnwindSafe(events(stream, &mut assembly, session, &settings, &sender)).catch_unwind();
    let why = match work.await {
        Ok(Some(why)) => why,
        Ok(None) => return,
        Err(_) => "an event could not be taken apart (see the log)".to_owned(),
    };
    let place = assembly.at().0;
    let broke = format!(
        "the binlog of blue ({server}) was read up to {place}, and what follows is not known: {why}; what was proved is \
         void until the binlog is read again from there, or the proof begins anew"
    );
    // Whoever was to hear it may be gone.
    let _ = sender.send(Brought::Broke(broke)).await;
}

/// Goes on until an error, or until nobody takes what comes: `None`.
async fn events(
    mut stream: BinlogStream,
    assembly: &mut Assembly,
    session: Session,
    settings: &Settings,
    sender: &mpsc::Sender<Brought>,
) -> Option<String> {
    let silence = settings.silence;
    let mut written = Written::default();
    let mut looking = pin!(look(session, settings, assembly.at().0.clone()));
    loop {
        let next = tokio::select! {
            next = timeout(silence, stream.next()) => next,
            () = sender.closed() => return None,
            (session, then, place) = &mut looking => {
                let (clock, now) = (Instant::now(), assembly.at().0);
                let said = place
                    .map_err(|error| error.to_string())
                    .and_then(|place| written.said(place, &then, now, clock));
                if let Err(why) = said {
                    return Some(why);
                }
                if let Some(why) = written.overdue(silence, clock) {
                    return Some(why);
                }
                looking.set(look(session, settings, now.clone()));
                continue;
            }
        };
        let event = match next {
            Err(_) => {
                return Some(format!(
                    "blue said nothing for {}",
                    humantime::format_duration(silence)
                ));
            }
            Ok(None) => return Some("blue ended the stream".to_owned()),
            Ok(Some(Err(error))) => return Some(explain(&error)),
            Ok(Some(Ok(event))) => event,
        };
        let stood = assembly.at().0.clone();
        let header = event.header();
        let tagged = (header.event_type_raw() == kind::GTID_TAGGED)
            .then(|| event.read_event::<GtidEvent>().ok())
            .flatten()
            .map(|gtid| {
                let tag = gtid.tag().map(|tag| tag.as_str().to_ascii_lowercase());
                let uuid = uuid(&gtid.sid());
                (Origin::Server { uuid, tag }, gtid.gno())
            });
        let event = Event {
            kind: header.event_type_raw(),
            flags: header.flags_raw(),
            log_pos: header.log_pos(),
            size: header.event_size(),
            body: event.data(),
            tagged,
        };
        let result = assembly.event(&event);
        // An event that goes nowhere, such as a heartbeat, is no sign that what was written will come.
        if *assembly.at().0 != stood {
            written.moved(assembly.at().0, Instant::now());
        }
        if event.kind == kind::FORMAT_DESCRIPTION {
            // The head of a file: it keeps its time even where the reading begins behind it.
            let file = Brought::File {
                name: assembly.at().0.file.clone(),
                made: header.timestamp(),
            };
            if sender.send(file).await.is_err() {
                return None;
            }
        }
        for brought in assembly.take() {
            if sender.send(brought).await.is_err() {
                return None;
            }
        }
        if let Err(why) = result {
            return Some(why);
        }
    }
}

fn explain(error: &mysql_async::Error) -> String {
    match statement_cause(error) {
        Cause::Refused { code: 1236, message } => {
            format!("blue cannot send its binlog from there on (error 1236: {message})")
        }
        Cause::Refused { code, message } => format!("blue ended the stream with error {code}: {message}"),
        Cause::Lost(why) => format!("the connection was lost: {why}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::position::GtidSet;

    #[test]
    fn owned_numbers_are_a_set() {
        let uuid = "8c2b8a58-9d5a-11ee-8c90-0242ac120002";
        let set = |owned: &str| GtidSet::parse(&without_owners(owned)).unwrap().to_string();
        assert_eq!(set(&format!("{uuid}:7#12:8#13")), format!("{uuid}:7-8"));
        assert_eq!(set(""), "");
    }

    #[test]
    fn a_server_number_is_nobodys() {
        let mut taken = BTreeSet::new();
        for _ in 0..1000 {
            assert!(taken.insert(free_id(&taken)));
        }
    }
}
