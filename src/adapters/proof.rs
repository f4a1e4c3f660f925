//! Puts two servers and what is asked of a data proof together.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::mysql::binlog::reader::{self, Reader};
use super::mysql::binlog::shape::Shapes;
use super::mysql::error::ServerError;
use super::mysql::proof::catalogue::PairCatalogue;
use super::mysql::proof::defined::Definitions;
use super::mysql::proof::digest::Form;
use super::mysql::proof::lane::{Common, PairLane, trouble};
use super::mysql::proof::self_test;
use super::mysql::switch::Server;
use crate::domain::capabilities::{Capabilities, PositionKind};
use crate::domain::ids::{RunId, Side};
use crate::domain::proof::pick::Pick;
use crate::engine::event::Events;
use crate::engine::proof::ports::{Asking, Catalogue as _, Lane, Stream, Streams};
use crate::engine::proof::prover::{Ended, Options, Prover};

/// How long one reading may take before it is given up, and less is read at once.
const READING: Duration = Duration::from_secs(60);

/// What is asked of a proof.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Which tables.
    pub pick: Pick,
    /// How many checks are under way at once, each with a session on both sides.
    pub lanes: usize,
    /// Twice as long digests where the servers only have short ones.
    pub second_half: bool,
    /// Whether values of rows are shown by their digests only.
    pub mask: bool,
    /// The run it belongs to.
    pub run: Option<RunId>,
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
    stream: Stream,
    streams: BlueStreams,
    catalogue: PairCatalogue,
    lanes: Vec<Box<dyn Lane>>,
}

impl Proof {
    /// Reaches both servers, tries the digest on them, begins to read blue's binlog and reads the tables.
    ///
    /// # Errors
    /// [`NotBegun`]. Nothing is changed on either server.
    pub async fn open(
        (blue, green): (&Server, &Server),
        wish: &Wish,
        options: Options,
        answer: Duration,
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
        let form = Form::of(&blue.caps.version, &green.caps.version, wish.second_half);
        let common = Common {
            blue: blue.clone(),
            green: green.clone(),
            run: wish.run.clone(),
            form,
            definitions: Definitions::default(),
            reading: READING,
            answer,
            mask: wish.mask,
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
        let streams = BlueStreams { settings };
        // First the stream, then the tables: what changes in between is in the stream.
        let stream = streams.begin().await?;
        let mut catalogue = PairCatalogue::new(
            sessions,
            blue.caps.clone(),
            wish.pick.clone(),
            common.definitions.clone(),
            shapes,
            READING,
        );
        let tables = catalogue
            .read(None)
            .await
            .map_err(|trouble| NotBegun::Cannot(trouble.why))?;
        let opened = join_all((0..wish.lanes.max(1)).map(|_| PairLane::open(&common))).await;
        let mut lanes: Vec<Box<dyn Lane>> = Vec::new();
        for lane in opened {
            lanes.push(Box::new(lane?));
        }
        Ok(Self {
            prover: Arc::new(Prover::new(&stream, tables, options, events)),
            stream,
            streams,
            catalogue,
            lanes,
        })
    }

    /// Goes on until everything is proved, or for ever. Dropping it ends all reading.
    pub async fn run(mut self) -> Ended {
        let prover = Arc::clone(&self.prover);
        prover
            .run(self.stream, &mut self.streams, &mut self.catalogue, self.lanes)
            .await
    }
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
}

impl Streams for BlueStreams {
    fn open(&mut self) -> Asking<'_, Stream> {
        Box::pin(async move { self.begin().await.map_err(trouble) })
    }
}
