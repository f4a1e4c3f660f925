//! The query proof and the warming of a pair, put together from a playbook and two servers: each in one call.
//!
//! What a command needs to know of the application's statements is found out here, once; `engine::queries` judges.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::mysql::error::ServerError;
use super::mysql::queries::found::{Found, Search, find};
use super::mysql::queries::replays::LiveReplays;
use super::mysql::queries::standstill::Standstill;
use super::mysql::queries::watched::Watched;
use super::mysql::switch::Server;
use crate::domain::guardrails::{Known, Replayed, StatementFact};
use crate::domain::ids::RunId;
use crate::domain::queries::candidates::Candidate;
use crate::domain::queries::warm::Warmed;
use crate::domain::step::Step;
use crate::engine::event::{EventKind, Events};
use crate::engine::proof::prover::Prover;
use crate::engine::queries::{self, QueryProof, Quiet, Terms};
use crate::playbook::Playbook;
use crate::playbook::model::{Digests, Warm};

/// A statement that takes less than this longer on green is not slower, whatever the ratio.
const FLOOR: Duration = Duration::from_millis(5);

/// How often what runs on blue is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long green may take to reach blue's position before a statement is compared.
const REACH: Duration = Duration::from_secs(10);

/// What came of the application's statements before a hold, as the guardrails take it.
#[derive(Debug, Clone)]
pub struct Replaying {
    /// The query proof; `None` if the playbook does not ask for it.
    pub replayed: Known<Option<Replayed>>,
    /// The warming; `None` if the playbook does not ask for it.
    pub warmed: Known<Option<Warmed>>,
}

impl Replaying {
    /// What is known before anything was replayed: where the playbook does not ask for it, that.
    #[must_use]
    pub fn not_yet(playbook: &Playbook) -> Self {
        let not_done = || "it has not been done in this run".to_owned();
        Self {
            replayed: match playbook.validate.digests {
                None => Known::Known(None),
                Some(_) => Known::Unknown(not_done()),
            },
            warmed: match playbook.warm {
                None => Known::Known(None),
                Some(_) => Known::Unknown(not_done()),
            },
        }
    }
}

/// Finds the statements that applications run on blue and replays them on both sides, as `validate.digests` says; `None`
/// if the playbook does not ask for it. Tells each verdict.
///
/// # Errors
/// A session cannot be opened. Nothing has changed.
pub async fn prove(playbook: &Playbook, work: &Around<'_>) -> Result<Option<QueryProof>, ServerError> {
    let Some(digests) = &playbook.validate.digests else {
        return Ok(None);
    };
    let began = work.begin(Step::Prove, PROVING);
    let found = work.find(digests).await?;
    let replays = work.open().await?;
    let proof = work.prove(&replays, digests, found, began).await;
    replays.close().await;
    proof.map(Some)
}

/// Proves the queries and warms green, each if the playbook asks for it: what a switch does before its gates.
///
/// # Errors
/// A session cannot be opened. Nothing has changed. That green could not be warmed is no error: the guardrail says it.
pub async fn before_the_hold(playbook: &Playbook, work: &Around<'_>) -> Result<Replaying, ServerError> {
    let mut known = Replaying::not_yet(playbook);
    let began = match (&playbook.validate.digests, &playbook.warm) {
        (None, None) => return Ok(known),
        (Some(_), _) => work.begin(Step::Prove, PROVING),
        (None, Some(_)) => work.begin(Step::Warm, WARMING),
    };
    let search = playbook.validate.digests.clone().unwrap_or_default();
    let found = work.find(&search).await?;
    let candidates = found.candidates.clone();
    let replays = work.open().await?;
    if let Some(digests) = &playbook.validate.digests {
        let proof = match work.prove(&replays, digests, found, began).await {
            Ok(proof) => proof,
            Err(e) => {
                replays.close().await;
                return Err(e);
            }
        };
        known.replayed = Known::Known(Some(facts(&proof)));
    }
    if let Some(warm) = &playbook.warm
        && !work.cancel.is_cancelled()
    {
        let began = match playbook.validate.digests {
            Some(_) => work.begin(Step::Warm, WARMING),
            None => began,
        };
        known.warmed = work.warm(&replays, warm, &candidates, began).await.map(Some);
    }
    replays.close().await;
    Ok(known)
}

const PROVING: &str = "the statements of applications, found on blue and replayed on both sides";
const WARMING: &str = "the statements of applications, found on blue and replayed on green";

/// What the guardrail looks at.
#[must_use]
pub fn facts(proof: &QueryProof) -> Replayed {
    let fact = |entry: &queries::Entry| StatementFact {
        statement: entry.fingerprint.to_string(),
        verdict: entry.verdict.to_string(),
    };
    Replayed {
        summary: proof.summary(),
        wrong: proof.findings().map(fact).collect(),
        accepted: proof
            .entries
            .iter()
            .filter_map(|entry| Some((fact(entry), entry.waived.clone()?)))
            .collect(),
    }
}

/// One pair, and what goes on around it.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// Blue and green.
    pub servers: (&'a Server, &'a Server),
    /// A data proof that runs beside it and knows which tables are touched meanwhile. Without one, answers are compared
    /// only while blue writes nothing at all.
    pub prover: Option<&'a Arc<Prover>>,
    /// The run it belongs to.
    pub run: Option<&'a RunId>,
    /// Whether values of rows are left out of what is told.
    pub mask: bool,
    /// Asks to stop.
    pub cancel: &'a CancellationToken,
    /// Where it is told.
    pub events: &'a Events,
}

impl Around<'_> {
    fn begin(&self, step: Step, what: &str) -> (Step, Instant) {
        self.events.say(EventKind::StepBegan {
            step,
            what: what.to_owned(),
        });
        (step, Instant::now())
    }

    fn done(&self, (step, began): (Step, Instant), what: String) {
        let took = began.elapsed();
        self.events.say(EventKind::StepDone { step, what, took });
    }

    fn failed(&self, (step, began): (Step, Instant), why: String) {
        let took = began.elapsed();
        self.events.say(EventKind::StepFailed { step, why, took });
    }

    async fn find(&self, digests: &Digests) -> Result<Found, ServerError> {
        let search = Search {
            top: digests.top,
            watch: digests.watch,
            every: LOOK_EVERY,
        };
        let blue = self.servers.0;
        let found = find(&blue.target, &blue.caps, self.run, search, self.cancel).await?;
        for note in &found.notes {
            self.events.note(note.clone());
        }
        Ok(found)
    }

    async fn open(&self) -> Result<LiveReplays, ServerError> {
        let (blue, green) = self.servers;
        LiveReplays::open((&blue.target, &blue.caps), (&green.target, &green.caps), self.run).await
    }

    async fn prove(
        &self,
        replays: &LiveReplays,
        digests: &Digests,
        found: Found,
        began: (Step, Instant),
    ) -> Result<QueryProof, ServerError> {
        let (blue, green) = self.servers;
        let (to_blue, to_green) = ((&blue.target, &blue.caps), (&green.target, &green.caps));
        let Some(prover) = self.prover else {
            let quiet = Standstill::open(to_blue, to_green, self.run, REACH).await?;
            let proof = self.judge(replays, &quiet, digests, found, began).await;
            quiet.close().await;
            return Ok(proof);
        };
        let quiet = Watched::open(Arc::clone(prover), to_blue, to_green, self.run).await?;
        let proof = self.judge(replays, &quiet, digests, found, began).await;
        quiet.close().await;
        Ok(proof)
    }

    async fn judge(
        &self,
        replays: &LiveReplays,
        quiet: &dyn Quiet,
        digests: &Digests,
        found: Found,
        began: (Step, Instant),
    ) -> QueryProof {
        let terms = Terms {
            mask: self.mask,
            ..Terms::new(digests.max_slowdown, FLOOR, digests.time_limit)
        };
        let mut proof = queries::prove(
            replays,
            quiet,
            &found.candidates,
            &digests.waivers,
            &terms,
            self.cancel,
            self.events,
        )
        .await;
        for note in &proof.notes {
            self.events.note(note.clone());
        }
        proof.notes.splice(0..0, found.notes);
        match proof.findings().count() {
            0 => self.done(began, proof.summary()),
            _ => self.failed(began, proof.summary()),
        }
        proof
    }

    async fn warm(
        &self,
        replays: &LiveReplays,
        warm: &Warm,
        candidates: &[Candidate],
        began: (Step, Instant),
    ) -> Known<Warmed> {
        let limit = Terms::new(1.0, FLOOR, warm.time_limit).statement;
        let warmed = queries::warm(
            replays,
            candidates,
            limit,
            warm.time_limit,
            self.cancel,
            self.events,
        )
        .await;
        match &warmed {
            Ok(warmed) if warmed.is_flat => {
                self.done(began, "reads from disk per statement have gone flat".to_owned());
            }
            Ok(warmed) if warmed.statements == 0 => {
                self.failed(
                    began,
                    "no statement that can be replayed was seen on blue".to_owned(),
                );
            }
            Ok(_) => self.failed(began, "green still reads from disk".to_owned()),
            Err(why) => self.failed(began, why.clone()),
        }
        warmed.into()
    }
}
