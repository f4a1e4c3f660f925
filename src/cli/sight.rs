//! What one server shows of its pair, so that a report can be made from the side that is still there.
//!
//! Only reads; must not need the other side.

use super::error::CliError;
use super::pair::ANSWER;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::own_schema::{self, Epoch, RunRow, UndoRow};
use crate::adapters::mysql::session::Session;
use crate::adapters::mysql::switch::{Server, run_lock_holder};
use crate::adapters::mysql::{identity, replication};
use crate::domain::identity::Identity;

/// One server, reached and read.
#[derive(Debug)]
pub struct Sight {
    /// Where it listens.
    pub address: String,
    /// Family and version.
    pub version: String,
    /// Which server it is.
    pub identity: Identity,
    /// Whether it accepts the writes of an ordinary account.
    pub accepts_writes: bool,
    /// The runs that it knows, newest last.
    pub runs: Vec<RunRow>,
    /// What is recorded there to be put back, last change first, for every pair of that blue; or why that is not known.
    pub open: Result<Vec<UndoRow>, String>,
    /// Who holds the run lock there, in words.
    pub lock: Option<String>,
    /// The newest promotion that it knows of.
    pub epoch: Option<Epoch>,
    /// How it follows another server, in words; nothing if it follows nobody.
    pub follows: Option<String>,
}

/// Whether a server accepts the writes of an ordinary account.
///
/// # Errors
/// Any cause.
pub async fn is_writable(session: &mut Session) -> Result<bool, ServerError> {
    let question = "SELECT @@GLOBAL.read_only IN ('OFF', '0')";
    let open: i64 = session.one("read read_only", question, ANSWER).await?;
    Ok(open == 1)
}

/// Who holds the run lock on a server, in words.
///
/// # Errors
/// Any cause.
pub async fn lock_holder(server: &Server, session: &mut Session) -> Result<Option<String>, ServerError> {
    let taken = run_lock_holder(server, session, ANSWER).await?;
    Ok(taken.map(|taken| {
        let run = taken.run.map(|run| format!("{run}, ")).unwrap_or_default();
        format!(
            "{run}session {} on {} ({}), last heard of {} s ago",
            taken.session, server.target.side, taken.account, taken.silent
        )
    }))
}

/// Reads everything that a server shows by itself.
///
/// # Errors
/// It ended in the middle, or refuses to be asked.
pub async fn look(server: &Server, session: &mut Session) -> Result<Sight, CliError> {
    // The flag first: of a side that is being opened it is what matters.
    let accepts_writes = is_writable(session).await?;
    let channels = replication::status::read(session, &server.caps, ANSWER).await?;
    let follows = channels.first().map(|channel| {
        let at = format!("{}:{}", channel.source_host, channel.source_port);
        match channel.trouble() {
            None => format!("follows {at}"),
            Some(trouble) => format!("is told to follow {at}, but: {trouble}"),
        }
    });
    Ok(Sight {
        address: server.target.address.to_string(),
        version: server.caps.version.to_string(),
        identity: identity::read(session, server.caps.family(), ANSWER).await?,
        accepts_writes,
        runs: own_schema::runs(session, ANSWER).await?.unwrap_or_default(),
        open: match own_schema::open_undos(session, None, ANSWER).await {
            Err(e) if own_schema::is_of_earlier_form(&e) => Err(e.to_string()),
            other => Ok(other?.unwrap_or_default()),
        },
        lock: lock_holder(server, session).await?,
        epoch: own_schema::newest_epoch(session, ANSWER).await?,
        follows,
    })
}
