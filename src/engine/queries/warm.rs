//! Warming green: the application's reads, over and over, until they no longer need the disk.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ports::{Failure, Replays, Statement};
use super::prove::decided;
use crate::domain::ids::Side;
use crate::domain::queries::candidates::Candidate;
use crate::domain::queries::catalogue::Catalogue;
use crate::domain::queries::warm::{Round, Warmed, is_flat};
use crate::engine::event::{EventKind, Events};

/// Replays the candidates on green in rounds until reads from disk per statement have gone flat, or the time is over,
/// or it is cancelled. What is left out of the query proof is left out here.
///
/// # Errors
/// Green's counter of reads from disk cannot be read; or a server cannot be asked at all.
pub async fn warm(
    replays: &dyn Replays,
    candidates: &[Candidate],
    statement_limit: Duration,
    within: Duration,
    cancel: &CancellationToken,
    events: &Events,
) -> Result<Warmed, String> {
    let ends = Instant::now() + within;
    let mut warmed = Warmed {
        rounds: Vec::new(),
        is_flat: false,
        statements: 0,
    };
    let work = rounds(replays, candidates, statement_limit, events, &mut warmed);
    let stopped = tokio::select! {
        biased;
        () = cancel.cancelled() => Ok(()),
        () = tokio::time::sleep_until(ends) => Ok(()),
        done = work => done,
    };
    stopped.map(|()| warmed)
}

async fn rounds(
    replays: &dyn Replays,
    candidates: &[Candidate],
    limit: Duration,
    events: &Events,
    warmed: &mut Warmed,
) -> Result<(), String> {
    let mut catalogue = Catalogue::new();
    let mut statements = Vec::new();
    for candidate in candidates {
        if let Ok(replay) = decided(replays, &mut catalogue, candidate).await {
            statements.push(Statement {
                text: candidate.text.clone(),
                schema: candidate.schema.clone(),
                sums: replay.sums,
                limit,
            });
        }
    }
    if statements.is_empty() {
        return Ok(());
    }
    loop {
        let before = replays.disk_reads().await?;
        let mut ran = 0;
        for statement in &statements {
            match replays.run(Side::Green, statement.clone()).await {
                // An error, a slow or a large answer has read pages, too.
                Ok(_) | Err(Failure::Refused(_) | Failure::TooLarge(_)) => ran += 1,
                Err(Failure::NotAsked(why)) => return Err(why),
            }
        }
        let round = Round {
            statements: ran,
            disk_reads: replays.disk_reads().await?.saturating_sub(before),
        };
        warmed.rounds.push(round);
        warmed.statements = ran;
        warmed.is_flat = is_flat(&warmed.rounds);
        events.say(EventKind::Warmed {
            round: warmed.rounds.len(),
            statements: ran,
            disk_reads: round.disk_reads,
            is_flat: warmed.is_flat,
        });
        if warmed.is_flat {
            return Ok(());
        }
    }
}
