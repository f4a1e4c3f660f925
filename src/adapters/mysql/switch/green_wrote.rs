//! Whether green executed transactions of its own since the run began: it may have opened, taken writes, and come back
//! shut after a crash (DESIGN I6).
//!
//! A mark is written down before the run changes anything, and compared later: what green has and blue has not (GTIDs
//! of MySQL), the entries of green's own server id (MariaDB), or the end of green's binlog, from which its events are
//! read, because they carry the id of the server that made them (MySQL without GTIDs).

use std::time::Duration;

use super::{Inner, Server, Settings};
use crate::adapters::mysql::binlog_read;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::position_read::{self, Role};
use crate::adapters::mysql::session::Session;
use crate::domain::capabilities::PositionKind;
use crate::domain::ids::Side;
use crate::domain::position::{FilePosition, GtidSet, Position};
use crate::domain::server::Family;
use crate::engine::ports::Terms;

const DOING: &str = "read what green has written itself";

enum Way {
    Gtids,
    OwnEntries,
    Events,
}

fn way(settings: &Settings) -> Way {
    match (settings.green.caps.family(), settings.position_kind()) {
        (Family::MariaDb, _) => Way::OwnEntries,
        (Family::MySql, PositionKind::GtidSet) => Way::Gtids,
        (Family::MySql, _) => Way::Events,
    }
}

/// The mark that is written down when the run begins.
pub(super) async fn mark(
    settings: &Settings,
    blue: &mut Session,
    green: &mut Session,
    budget: Duration,
) -> Result<String, ServerError> {
    Ok(match way(settings) {
        Way::Gtids => {
            // Green first: what it applies meanwhile, blue has.
            let on_green = gtids(green, &settings.green, budget).await?;
            let on_blue = gtids(blue, &settings.blue, budget).await?;
            on_green.minus(&on_blue).to_string()
        }
        Way::OwnEntries => own_entries(green, budget).await?,
        Way::Events => position_read::written_file(green, &settings.green.caps, budget)
            .await?
            .to_string(),
    })
}

/// What green has written itself since the mark, in words.
pub(super) async fn since_the_run(inner: &Inner, terms: Terms) -> Result<Option<String>, ServerError> {
    let (settings, budget) = (&inner.settings, terms.budget);
    let before = inner.facts().green_own.clone();
    let mut green = inner.control(Side::Green, budget).await?;
    match way(settings) {
        Way::Gtids => {
            let on_green = gtids(&mut green, &settings.green, budget).await?;
            let before = position_read::gtid_set(&green, DOING, &before)?;
            drop(green);
            let mut blue = inner.control(Side::Blue, budget).await?;
            let on_blue = gtids(&mut blue, &settings.blue, budget).await?;
            let own = on_green.minus(&on_blue).minus(&before);
            Ok((!own.is_empty()).then(|| own.to_string()))
        }
        Way::OwnEntries => {
            let now = own_entries(&mut green, budget).await?;
            Ok((now != before).then(|| format!("`{now}`, before the run `{before}`")))
        }
        Way::Events => {
            let from = before.rsplit_once(':').and_then(|(file, offset)| {
                Some(FilePosition {
                    file: file.to_owned(),
                    offset: offset.parse().ok()?,
                })
            });
            match from {
                Some(from) => own_event(&mut green, &from, budget).await,
                None => Err(green.unexpected(DOING, &format!("a mark `{before}`"))),
            }
        }
    }
}

async fn gtids(session: &mut Session, server: &Server, budget: Duration) -> Result<GtidSet, ServerError> {
    let kind = PositionKind::GtidSet;
    match position_read::executed(session, &server.caps, kind, Role::Writer, budget).await? {
        Position::GtidSet(set) => Ok(set),
        other => Err(session.unexpected(DOING, &other.to_string())),
    }
}

/// The last transaction of each domain that bears the server's own id. The server lists them in no certain order.
async fn own_entries(session: &mut Session, budget: Duration) -> Result<String, ServerError> {
    let sql = "SELECT @@GLOBAL.server_id, @@GLOBAL.gtid_binlog_state";
    let (id, state): (u32, String) = session.one(DOING, sql, budget).await?;
    let id = id.to_string();
    let mut own: Vec<&str> = state
        .split(',')
        .map(str::trim)
        .filter(|gtid| gtid.split('-').nth(1) == Some(id.as_str()))
        .collect();
    own.sort_unstable();
    Ok(own.join(","))
}

/// Events read in one go.
const PAGE: usize = 5_000;

/// The most pages: a run is resumed long before green has applied this much.
const MOST_PAGES: usize = 400;

/// Events that every server writes into its binlog whoever made the changes.
const FRAMES: &[&str] = &["Format_desc", "Previous_gtids", "Rotate", "Stop"];

/// The first event after `from` that the server made itself.
async fn own_event(
    session: &mut Session,
    from: &FilePosition,
    budget: Duration,
) -> Result<Option<String>, ServerError> {
    let (id,): (u32,) = session.one(DOING, "SELECT @@GLOBAL.server_id", budget).await?;
    let files = binlog_read::files(session, DOING, budget).await?;
    let Some(mut stretch) = binlog_read::Events::from(files, from) else {
        return Err(session.unexpected(DOING, &format!("{} is purged", from.file)));
    };
    for _ in 0..MOST_PAGES {
        let Some(events) = stretch.next(session, DOING, PAGE, budget).await? else {
            return Ok(None);
        };
        let own = events
            .iter()
            .find(|event| event.server_id == id && !FRAMES.contains(&event.kind.as_str()));
        if let Some(own) = own {
            return Ok(Some(format!(
                "{} at {}:{}: {}",
                own.kind, own.file, own.offset, own.info
            )));
        }
    }
    Err(session.unexpected(
        DOING,
        &format!("more than {} events since the run began", PAGE * MOST_PAGES),
    ))
}
