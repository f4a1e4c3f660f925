//! Finds the statements that blue's applications run.
//!
//! MySQL 8.0 and later keeps a sample with each statement digest. Others keep none, and MariaDB usually has the
//! performance schema off: there the list of what runs is looked at for a while, and the slow log where it is a table.
//! What the account may not read is said and not fatal: the rest still counts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::sources::{self, Digested, READ};
use crate::adapters::mysql::capabilities::variables;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::session::{Purpose, Session, Target};
use crate::domain::capabilities::Capabilities;
use crate::domain::ids::RunId;
use crate::domain::queries::candidates::{Candidate, Sample, is_whole, select};
use crate::domain::queries::fingerprint::Fingerprint;

/// How statements are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Search {
    /// How many by count and how many by total time.
    pub top: u32,
    /// How long to watch what runs, where the digests do not tell enough.
    pub watch: Duration,
    /// How often to look meanwhile.
    pub every: Duration,
}

impl Search {
    /// The usual search for this many statements.
    #[must_use]
    pub fn top(top: u32) -> Self {
        Self {
            top,
            watch: Duration::from_secs(30),
            every: Duration::from_millis(100),
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// The statements, most expensive first.
    pub candidates: Vec<Candidate>,
    /// What could not be read, and where the statements come from; in words.
    pub notes: Vec<String>,
}

/// The most different statements that are kept while watching.
const MOST_WATCHED: usize = 5_000;

/// The most texts whose digest is asked for.
const MOST_NAMED: usize = 200;

/// Looks for statements on blue.
///
/// # Errors
/// The session cannot be opened. What it may not read, or what this version lacks, is a note.
pub async fn find(
    blue: &Target,
    caps: &Capabilities,
    run: Option<&RunId>,
    search: Search,
    cancel: &CancellationToken,
) -> Result<Found, ServerError> {
    let purpose = Purpose {
        run: run.cloned(),
        role: "digests",
    };
    let mut session = Session::open(blue, &purpose, READ).await?;
    let mut found = Found::default();
    let mut samples = Vec::new();
    let mut digests = from_digests(&mut session, caps, search, &mut found.notes).await?;
    let lacking = digests.is_empty() || digests.iter().any(|d| !is_whole(&d.sample));
    if !digests.is_empty() && lacking {
        match sources::history(&mut session).await {
            Ok(history) => {
                // History holds everything that was run lately; it only completes what the digests chose.
                let wanted: Vec<Fingerprint> =
                    digests.iter().map(|d| Fingerprint::of(&d.sample.text)).collect();
                samples.extend(
                    history
                        .into_iter()
                        .filter(|s| wanted.contains(&Fingerprint::of(&s.text))),
                );
            }
            Err(e) => note(&mut session, &mut found.notes, e).await?,
        }
    }
    if lacking {
        if let Some(from_log) = slow_log(&mut session, &mut found.notes).await? {
            samples.extend(from_log);
        }
        let watched = watch(&mut session, search, cancel, &mut found.notes).await?;
        samples.extend(completed(&mut session, &mut digests, watched).await);
    }
    samples.extend(digests.into_iter().map(|d| d.sample));
    found.candidates = select(samples, search.top as usize);
    session.close(READ).await;
    Ok(found)
}

async fn from_digests(
    session: &mut Session,
    caps: &Capabilities,
    search: Search,
    notes: &mut Vec<String>,
) -> Result<Vec<Digested>, ServerError> {
    if !caps.performance_schema {
        notes.push("blue's performance_schema is off, so it keeps no statement digests".to_owned());
        return Ok(Vec::new());
    }
    match sources::digests(session, search.top).await {
        Ok(found) => Ok(found),
        // No such column.
        Err(e) if e.code() == Some(1054) => {
            notes.push("blue's statement digests keep no text with values in this version".to_owned());
            Ok(Vec::new())
        }
        Err(e) => {
            note(session, notes, e).await?;
            Ok(Vec::new())
        }
    }
}

/// Says what could not be read. A session that is spent is opened anew, so that the rest can still be read.
async fn note(session: &mut Session, notes: &mut Vec<String>, error: ServerError) -> Result<(), ServerError> {
    let why = match error.code() {
        Some(1044 | 1045 | 1142 | 1143 | 1227) => format!("the account may not {}", error.doing),
        _ => error.to_string(),
    };
    notes.push(why);
    session.revive(READ).await.map(drop)
}

async fn slow_log(
    session: &mut Session,
    notes: &mut Vec<String>,
) -> Result<Option<Vec<Sample>>, ServerError> {
    let known = match variables(session, &["log_output", "slow_query_log"], READ).await {
        Ok(known) => known,
        Err(e) => {
            note(session, notes, e).await?;
            return Ok(None);
        }
    };
    let value = |name: &str| {
        known
            .get(name)
            .map(|value| value.to_ascii_uppercase())
            .unwrap_or_default()
    };
    if value("slow_query_log") != "ON" || !value("log_output").split(',').any(|to| to == "TABLE") {
        return Ok(None);
    }
    match sources::slow_log(session).await {
        Ok(samples) => Ok(Some(samples)),
        Err(e) => {
            note(session, notes, e).await?;
            Ok(None)
        }
    }
}

/// Looks at what runs, again and again. It favours what takes long, and says so.
async fn watch(
    session: &mut Session,
    search: Search,
    cancel: &CancellationToken,
    notes: &mut Vec<String>,
) -> Result<Vec<Sample>, ServerError> {
    if search.watch.is_zero() {
        return Ok(Vec::new());
    }
    let started = Instant::now();
    let mut ticks = tokio::time::interval(search.every.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen: BTreeMap<(Fingerprint, Option<String>), Sample> = BTreeMap::new();
    while started.elapsed() < search.watch && !cancel.is_cancelled() {
        tokio::select! {
            () = cancel.cancelled() => break,
            _ = ticks.tick() => {}
        }
        match sources::running(session, search.every).await {
            Ok(running) => {
                for sample in running {
                    let name = (Fingerprint::of(&sample.text), sample.schema.clone());
                    if let Some(known) = seen.get_mut(&name) {
                        known.count += 1;
                        known.total += sample.total;
                    } else if seen.len() < MOST_WATCHED {
                        seen.insert(name, sample);
                    }
                }
            }
            Err(e) => {
                note(session, notes, e).await?;
                break;
            }
        }
    }
    notes.push(format!(
        "what ran on blue was watched for {}: statements that are shorter than the {} between two looks may be missing, and \
         counts are sightings",
        humantime::format_duration(search.watch),
        humantime::format_duration(search.every)
    ));
    Ok(seen.into_values().collect())
}

/// Gives digests whose text was cut the whole text of a statement that was seen running: the cut one goes.
async fn completed(
    session: &mut Session,
    digests: &mut Vec<Digested>,
    mut watched: Vec<Sample>,
) -> Vec<Sample> {
    for whole in watched.iter_mut().take(MOST_NAMED) {
        if !digests.iter().any(|d| d.cut) {
            break;
        }
        // A server without the function leaves the two apart: the cut one is named with its reason.
        let digest = sources::digest_of(session, whole.schema.as_deref(), &whole.text).await;
        let Ok(Some(digest)) = digest else {
            continue;
        };
        let same = |d: &Digested| d.cut && d.digest == digest && d.sample.schema == whole.schema;
        if let Some(at) = digests.iter().position(same) {
            let cut = digests.swap_remove(at);
            whole.count = whole.count.max(cut.sample.count);
            whole.total = whole.total.max(cut.sample.total);
        }
    }
    watched
}
