//! The loop of the query proof.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::entry::{Entry, QueryProof};
use super::ports::{Failure, Quiet, Ran, Replays, Statement};
use crate::domain::gate::compare;
use crate::domain::ids::Side;
use crate::domain::queries::candidates::Candidate;
use crate::domain::queries::catalogue::{Catalogue, Decision, Relation, Replay, decide};
use crate::domain::queries::reading::look;
use crate::domain::queries::timing::{Medians, Slower};
use crate::domain::queries::verdict::{Verdict, judge};
use crate::engine::event::{EventKind, Events};
use crate::playbook::model::StatementWaiver;

/// What the proof keeps to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// What counts as slower.
    pub slower: Slower,
    /// Timed runs on each side, at least three.
    pub runs: u32,
    /// How often a statement is compared again whose tables were touched meanwhile.
    pub tries: u32,
    /// The longest that one run may take.
    pub statement: Duration,
    /// The time for all statements together.
    pub within: Duration,
    /// Whether values of rows are left out of the verdicts.
    pub mask: bool,
}

impl Terms {
    /// The usual terms, with the playbook's ratio.
    #[must_use]
    pub fn new(max_slowdown: f64, floor: Duration, within: Duration) -> Self {
        Self {
            slower: Slower {
                ratio: max_slowdown,
                floor,
            },
            runs: 3,
            tries: 5,
            statement: Duration::from_secs(10),
            within,
            mask: false,
        }
    }
}

/// Names that may be asked for one after the other: views on views.
const LOOKS: usize = 12;

/// Replays every candidate on both sides and judges it.
///
/// Always comes back with all candidates: those that were not reached, because the time was over or it was cancelled,
/// are *not comparable*.
pub async fn prove(
    replays: &dyn Replays,
    quiet: &dyn Quiet,
    candidates: &[Candidate],
    waivers: &[StatementWaiver],
    terms: &Terms,
    cancel: &CancellationToken,
    events: &Events,
) -> QueryProof {
    let ends = Instant::now() + terms.within;
    let mut catalogue = Catalogue::new();
    let mut proof = QueryProof::default();
    for (at, candidate) in candidates.iter().enumerate() {
        let work = one(replays, quiet, &mut catalogue, candidate, terms);
        let (verdict, medians) = tokio::select! {
            biased;
            () = cancel.cancelled() => (not_comparable("it was stopped before its turn came"), None),
            () = tokio::time::sleep_until(ends) => (not_comparable("the time for the query proof was over"), None),
            judged = work => judged,
        };
        let verdict = if terms.mask { verdict.masked() } else { verdict };
        let mut entry = Entry::of(candidate, verdict, medians);
        let changed = entry.verdict.is_a_finding() || matches!(entry.verdict, Verdict::PlanChanged(_));
        if changed {
            let waiver = waivers
                .iter()
                .find(|waiver| waiver.statement == entry.fingerprint);
            entry.waived = waiver.map(|waiver| waiver.reason.clone());
        }
        events.say(EventKind::QueryJudged {
            fingerprint: entry.fingerprint.to_string(),
            statement: entry.statement.clone(),
            verdict: entry.verdict.word().to_owned(),
            why: entry.verdict.why().to_owned(),
            blue_ms: entry.medians.map(|medians| medians.blue_ms),
            green_ms: entry.medians.map(|medians| medians.green_ms),
            waived: entry.waived.clone(),
            number: at + 1,
            of: candidates.len(),
        });
        proof.entries.push(entry);
    }
    for waiver in waivers {
        if !proof
            .entries
            .iter()
            .any(|entry| entry.fingerprint == waiver.statement)
        {
            let name = &waiver.statement;
            proof.notes.push(format!(
                "the waiver of the statement {name} met no statement that was seen on blue"
            ));
        }
    }
    proof
}

fn not_comparable(why: impl Into<String>) -> Verdict {
    Verdict::NotComparable(why.into())
}

/// What a candidate reads and how it is compared, or why it is not replayed.
pub(super) async fn decided(
    replays: &dyn Replays,
    catalogue: &mut Catalogue,
    candidate: &Candidate,
) -> Result<Replay, String> {
    if let Some(why) = &candidate.unusable {
        return Err(why.clone());
    }
    let reading = look(&candidate.text, candidate.schema.as_deref())?;
    for _ in 0..LOOKS {
        let names = match decide(&reading, catalogue) {
            Decision::Replay(replay) => return Ok(replay),
            Decision::No(why) => return Err(why),
            Decision::Ask(names) => names,
        };
        let found = replays.relations(names.clone()).await?;
        catalogue.extend(found);
        for name in names {
            // A name that the answer leaves out would be asked for again and again.
            catalogue.entry(name).or_insert(Relation::Absent);
        }
    }
    Err("its views could not be followed to their tables".to_owned())
}

async fn one(
    replays: &dyn Replays,
    quiet: &dyn Quiet,
    catalogue: &mut Catalogue,
    candidate: &Candidate,
    terms: &Terms,
) -> (Verdict, Option<Medians>) {
    let replay = match decided(replays, catalogue, candidate).await {
        Ok(replay) => replay,
        Err(why) => return (not_comparable(why), None),
    };
    let statement = Statement {
        text: candidate.text.clone(),
        schema: candidate.schema.clone(),
        sums: replay.sums,
        limit: terms.statement,
    };
    if let Err(verdict) = same_answer(replays, quiet, &replay, &statement, terms).await {
        return (verdict, None);
    }
    // Both have just run it: both are warm.
    let medians = match timed(replays, &statement, terms).await {
        Ok(medians) => medians,
        Err(verdict) => return (verdict, None),
    };
    let (blue, green) = (
        replays.plan(Side::Blue, statement.clone()).await,
        replays.plan(Side::Green, statement).await,
    );
    // A plan that cannot be asked for is not held against a statement that answers alike and as fast.
    let plans = blue.as_ref().ok().zip(green.as_ref().ok());
    (judge(medians, terms.slower, plans), medians)
}

/// Runs a statement on both sides within a bracket, again where its tables were touched. `Err` is the verdict.
async fn same_answer(
    replays: &dyn Replays,
    quiet: &dyn Quiet,
    replay: &Replay,
    statement: &Statement,
    terms: &Terms,
) -> Result<(), Verdict> {
    for _ in 0..terms.tries.max(1) {
        quiet.begin().await.map_err(not_comparable)?;
        let on_blue = replays.run(Side::Blue, statement.clone()).await;
        let blue = on_blue.map_err(|failure| not_comparable(format!("on blue: {}", failure.why())))?;
        let green = replays.run(Side::Green, statement.clone()).await;
        if let Err(Failure::NotAsked(why)) = &green {
            return Err(not_comparable(format!("on green: {why}")));
        }
        if quiet.touched(&replay.tables).await.map_err(not_comparable)? {
            continue;
        }
        return compared(replay, &blue, green);
    }
    let tries = terms.tries.max(1);
    Err(not_comparable(format!(
        "its tables were never quiet, {tries} times"
    )))
}

fn compared(replay: &Replay, blue: &Ran, green: Result<Ran, Failure>) -> Result<(), Verdict> {
    let green = match green {
        Ok(green) => green,
        Err(Failure::Refused(why)) => return Err(Verdict::ErrorOnGreen(why)),
        // Blue's answer was small enough.
        Err(Failure::TooLarge(why)) => return Err(Verdict::DifferentResult(format!("on green {why}"))),
        Err(Failure::NotAsked(why)) => return Err(not_comparable(format!("on green: {why}"))),
    };
    if blue.answer.cut {
        let most = blue.answer.rows.len();
        return Err(not_comparable(format!(
            "it answers with more than {most} rows, the most that are compared"
        )));
    }
    compare(replay.comparison, &blue.answer, &green.answer).map_err(Verdict::DifferentResult)
}

/// Times a statement on both sides, one after the other, and the other way round the next time.
async fn timed(
    replays: &dyn Replays,
    statement: &Statement,
    terms: &Terms,
) -> Result<Option<Medians>, Verdict> {
    let (mut blue, mut green) = (Vec::new(), Vec::new());
    for run in 0..terms.runs.max(3) {
        let order = if run % 2 == 0 {
            [Side::Blue, Side::Green]
        } else {
            [Side::Green, Side::Blue]
        };
        for side in order {
            match (replays.run(side, statement.clone()).await, side) {
                (Ok(ran), Side::Blue) => blue.push(ran.took),
                (Ok(ran), Side::Green) => green.push(ran.took),
                (Err(Failure::Refused(why)), Side::Green) => return Err(Verdict::ErrorOnGreen(why)),
                (Err(failure), _) => return Err(not_comparable(format!("on {side}: {}", failure.why()))),
            }
        }
    }
    Ok(Medians::of(&blue, &green))
}
