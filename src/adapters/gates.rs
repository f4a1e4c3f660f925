//! The gates of a switchover on real servers: guardrails, lag, and gate queries, asked until all are green.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex as PlainMutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::mysql::error::ServerError;
use super::mysql::gate::{self, Gate, Verdict};
use super::mysql::lag::{LagMeter, Setup};
use super::mysql::session::{Purpose, Session};
use super::mysql::survey::PairSurveyor;
use super::mysql::switch::{OwnSessions, Server};
use super::proof::{Beside, NotBegun, Proof, Sparing, Wish};
use super::queries::Replaying;
use crate::domain::guardrails::{Finding, Known, LagFact, PlanFacts, Scope};
use crate::domain::ids::{RunId, Side};
use crate::domain::lag::{self, LagSample};
use crate::domain::proof::pace::Target;
use crate::engine::doctor::Doctor;
use crate::engine::event::{EventKind, Events, in_milliseconds};
use crate::engine::ports::Pending;
use crate::engine::switchover::{Gates, Looked};
use crate::playbook::Playbook;
use crate::playbook::model::{DataProof, GateMoment};

/// How often lag is told to the outputs.
const TELL_LAG: Duration = Duration::from_secs(1);

/// How long the heartbeat may take to stop before a hold.
const STOP_HEARTBEAT: Duration = Duration::from_secs(5);

/// The most samples that are kept: the observation time at ten a second, at most ten minutes of it.
const MOST_SAMPLES: usize = 6_000;

/// Gates with sessions of their own on both sides.
pub struct LiveGates {
    inner: Arc<Mutex<Inner>>,
    /// The gates' sessions on blue: bleen's own, whatever they may write through. Grows when one is opened anew.
    pub blue_sessions: OwnSessions,
    /// The data proof that runs beside the switchover, if the playbook asks for one.
    pub proof: Option<Arc<Beside>>,
}

/// How each gate query came out: its name, and what was wrong.
type Answers = Vec<(String, Option<String>)>;

struct Inner {
    doctor: Doctor<PairSurveyor>,
    /// Which servers blue and green were when the command began.
    expected: Option<(String, String)>,
    setup: Setup,
    meter: Option<Meter>,
    observe: Duration,
    events: Events,
    queries: Option<Gate>,
    run: RunId,
    own: OwnSessions,
    /// How the gate queries came out, and when.
    answered: Option<(Instant, Answers)>,
    /// The data proof, if the playbook asks for one.
    proof: Option<Arc<Beside>>,
    newest_lag: NewestLag,
    /// What was found out before the gates were opened.
    before: Replaying,
}

/// The lag that was measured last, for the data proof, which pauses while it is large.
type NewestLag = Arc<PlainMutex<Option<Duration>>>;

/// How long the answers of gate queries count.
const ANSWERS_LAST: Duration = Duration::from_secs(10);

struct Meter {
    meter: LagMeter,
    seen: Arc<PlainMutex<VecDeque<LagSample>>>,
    _told: AbortOnDropHandle<()>,
}

impl LiveGates {
    /// Opens the sessions that surveys need, and begins to measure lag.
    ///
    /// # Errors
    /// A session that cannot be opened. Nothing has changed.
    pub async fn open(
        playbook: &Playbook,
        blue: &Server,
        green: &Server,
        run: &RunId,
        keep: Option<&Path>,
        (events, budget): (&Events, Duration),
    ) -> Result<Self, NotBegun> {
        let purpose = Purpose {
            run: Some(run.clone()),
            role: "survey",
        };
        let on_blue = Session::open(&blue.target, &purpose, budget).await?;
        let on_green = Session::open(&green.target, &purpose, budget).await?;
        let blue_sessions = OwnSessions::default();
        blue_sessions.add([on_blue.id()]);
        let queries: Vec<gate::Query> = playbook
            .validate
            .queries
            .iter()
            .filter(|q| q.at == GateMoment::Gate)
            .map(gate::Query::from)
            .collect();
        let queries = if queries.is_empty() {
            None
        } else {
            let (to_blue, to_green) = ((&blue.target, &blue.caps), (&green.target, &green.caps));
            Some(gate::open(to_blue, to_green, Some(run), queries).await?)
        };
        if let Some(gate) = &queries {
            blue_sessions.add(on_blue_of(gate));
        }
        let look = PairSurveyor::new(
            (on_blue, blue.caps.clone()),
            (on_green, green.caps.clone()),
            budget,
        );
        let mut doctor = Doctor::of_playbook(look, playbook);
        doctor.read_ahead().await;
        let setup = Setup {
            blue: blue.target.clone(),
            green: green.target.clone(),
            blue_caps: blue.caps.clone(),
            green_caps: green.caps.clone(),
            run: Some(run.clone()),
            every: playbook.lag.heartbeat,
        };
        let newest_lag = NewestLag::default();
        let proof = match &playbook.validate.data {
            Some(data) => Some(Arc::new(
                begin_proof(
                    data,
                    (blue, green),
                    run,
                    &blue_sessions,
                    (events, budget),
                    (Arc::clone(&newest_lag), keep),
                )
                .await?,
            )),
            None => None,
        };
        let mut inner = Inner {
            before: Replaying::not_yet(playbook),
            doctor,
            proof: proof.clone(),
            newest_lag,
            expected: blue.label.clone().zip(green.label.clone()),
            setup,
            meter: None,
            observe: playbook.lag.observe,
            events: events.clone(),
            queries,
            run: run.clone(),
            own: blue_sessions.clone(),
            answered: None,
        };
        inner.measure();
        Ok(Self {
            inner: Arc::new(Mutex::new(inner)),
            blue_sessions,
            proof,
        })
    }
}

impl Gates for LiveGates {
    fn look(&self) -> Pending<Looked> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { inner.lock().await.look().await })
    }

    fn stand_aside(&self) -> Pending<Result<(), String>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let proof = inner.lock().await.proof.clone();
            if let Some(proof) = proof {
                proof.stand_aside().await?;
            }
            let Some(meter) = inner.lock().await.meter.take() else {
                return Ok(());
            };
            let quiet = meter.meter.stop_writing(STOP_HEARTBEAT).await;
            meter.meter.stop(STOP_HEARTBEAT).await;
            if quiet {
                Ok(())
            } else {
                Err("the heartbeat on blue could not be seen stopped".to_owned())
            }
        })
    }
}

impl Inner {
    fn measure(&mut self) {
        let meter = LagMeter::start(self.setup.clone());
        let seen: Arc<PlainMutex<VecDeque<LagSample>>> = Arc::default();
        let (mut samples, kept, events, observe) = (
            meter.samples(),
            Arc::clone(&seen),
            self.events.clone(),
            self.observe,
        );
        let told = tokio::spawn(async move {
            let mut told_at = Duration::ZERO;
            while samples.changed().await.is_ok() {
                let sample = samples.borrow_and_update().clone();
                if sample.at.saturating_sub(told_at) >= TELL_LAG {
                    told_at = sample.at;
                    events.say(lag_event(&sample));
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let oldest = sample.at.saturating_sub(observe);
                kept.push_back(sample);
                // One sample older than the time is kept, so that the whole time is covered.
                while kept.len() > MOST_SAMPLES || kept.get(1).is_some_and(|s| s.at < oldest) {
                    kept.pop_front();
                }
            }
        });
        self.meter = Some(Meter {
            meter,
            seen,
            _told: AbortOnDropHandle::new(told),
        });
    }

    async fn look(&mut self) -> Looked {
        if self.meter.is_none() {
            self.measure();
        }
        let (lag, note) = self.lag();
        let newest = lag.value().map(|fact| fact.now);
        *self.newest_lag.lock().unwrap_or_else(PoisonError::into_inner) = newest;
        // The lag first: it costs nothing, and while it is not known the servers need not be asked everything.
        let gate_queries = if lag.value().is_some() {
            self.ask_queries().await
        } else {
            Known::Unknown("asked as soon as green keeps up".to_owned())
        };
        let plan = PlanFacts {
            expected: self.expected.clone(),
            lag,
            gate_queries,
            replayed: self.before.replayed.clone(),
            warmed: self.before.warmed.clone(),
            run_lock: Known::Known(None),
            data_proof: match &self.proof {
                Some(proof) => proof.look().map(Some),
                None => Known::Known(None),
            },
            ..PlanFacts::default()
        };
        let examination = self.doctor.examine(Scope::Hold, plan).await;
        self.own
            .add([self.doctor.look_mut().side(Side::Blue).session_id()]);
        Looked {
            findings: examination.findings,
            note,
        }
    }

    /// The gate queries' answers: each name, and what was wrong.
    async fn ask_queries(&mut self) -> Known<Answers> {
        let Some(gate) = self.queries.as_mut() else {
            return Known::Known(Vec::new());
        };
        if let Some((at, answers)) = &self.answered
            && at.elapsed() < ANSWERS_LAST
            && answers.iter().all(|(_, wrong)| wrong.is_none())
        {
            return Known::Known(answers.clone());
        }
        if !gate.answers().await
            && let Err(e) = reopen(gate, &self.setup, &self.run, &self.own).await
        {
            return Known::Unknown(e.to_string());
        }
        let mut answers = Vec::new();
        for at in 0..gate.queries().len() {
            let wrong = match gate.run_under_load(at).await {
                Ok(Verdict::Agree { .. }) => None,
                Ok(Verdict::Differ(what)) => Some(what),
                Ok(Verdict::Failed(side, what)) => Some(format!("on {side}: {what}")),
                Err(e) => return Known::Unknown(e.to_string()),
            };
            let name = gate
                .queries()
                .get(at)
                .map_or_else(String::new, |query| query.name.clone());
            answers.push((name, wrong));
        }
        self.answered = Some((Instant::now(), answers.clone()));
        Known::Known(answers)
    }

    /// Lag over the observation time, and what is worth saying about it.
    fn lag(&self) -> (Known<LagFact>, Option<String>) {
        let Some(meter) = &self.meter else {
            return (Known::Unknown("not measured".to_owned()), None);
        };
        let seen = meter.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(first), Some(last)) = (seen.front(), seen.back()) else {
            return (
                Known::Unknown("no heartbeat has been measured yet".to_owned()),
                None,
            );
        };
        let note = last.verdict.as_ref().and_then(falling_behind);
        if let Some(trouble) = &last.trouble {
            return (Known::Unknown(trouble.clone()), note);
        }
        let Some(now) = last.lag.filter(|_| !last.is_at_least) else {
            let least = last.lag.filter(|lag| *lag >= RISE_COUNTS_FROM);
            let so_far = least.map_or_else(String::new, |lag| {
                format!(": lag is at least {:.1} s", lag.as_secs_f64())
            });
            let why = format!("no heartbeat has arrived on green yet{so_far}");
            return (Known::Unknown(why), note);
        };
        // What was seen before the first heartbeat arrived says nothing of that time.
        let first = seen
            .iter()
            .rev()
            .take_while(|s| !s.is_at_least)
            .last()
            .unwrap_or(first);
        let observed = last.at.saturating_sub(first.at);
        if observed < self.observe {
            let why = format!(
                "observed for {:.1} s of {}",
                observed.as_secs_f64(),
                humantime::format_duration(self.observe)
            );
            return (Known::Unknown(why), note);
        }
        let lags: Vec<Duration> = seen.iter().filter_map(|s| s.lag).collect();
        let half = lags.len() / 2;
        let (before, after) = lags.split_at(half);
        let rising = before.iter().max() < after.iter().min() && now > RISE_COUNTS_FROM;
        let fact = LagFact {
            now,
            most: lags.iter().copied().max().unwrap_or(now),
            rising,
            observed,
        };
        (Known::Known(fact), note)
    }
}

/// The data proof beside the switchover.
async fn begin_proof(
    data: &DataProof,
    (blue, green): (&Server, &Server),
    run: &RunId,
    own: &OwnSessions,
    (events, answer): (&Events, Duration),
    (lag, keep): (NewestLag, Option<&Path>),
) -> Result<Beside, NotBegun> {
    let wish = Wish {
        data: data.clone(),
        once: false,
        mask: false,
        run: Some(run.clone()),
        own: own.clone(),
        answer,
        target: Target::default(),
        keep: keep.map(Path::to_owned),
        anew: false,
    };
    let proof = Proof::open((blue, green), &wish, events).await?;
    let load = match data.max_load {
        Some(most) => {
            let purpose = Purpose {
                run: Some(run.clone()),
                role: "load",
            };
            let session = Session::open(&blue.target, &purpose, answer).await?;
            own.add([session.id()]);
            Some((most, session))
        }
        None => None,
    };
    let sparing = Sparing {
        load,
        lag: Some((
            data.max_lag,
            Box::new(move || *lag.lock().unwrap_or_else(PoisonError::into_inner)),
        )),
        answer,
    };
    Ok(proof.begin(sparing))
}

fn on_blue_of(gate: &Gate) -> Vec<u64> {
    let on_blue = gate
        .sessions()
        .into_iter()
        .filter(|(side, _)| *side == Side::Blue);
    on_blue.map(|(_, id)| id).collect()
}

/// Another gate in place of one whose sessions idled for too long, or got no answer: what those sent is ended first.
async fn reopen(gate: &mut Gate, setup: &Setup, run: &RunId, own: &OwnSessions) -> Result<(), ServerError> {
    let purpose = Purpose {
        run: Some(run.clone()),
        role: "gate",
    };
    for (side, id) in gate.unanswered() {
        let target = match side {
            Side::Blue => &setup.blue,
            Side::Green => &setup.green,
        };
        let mut session = Session::open(target, &purpose, END).await?;
        match session
            .run("end a gate session", &format!("KILL CONNECTION {id}"), END)
            .await
        {
            // No such session: gone already.
            Err(e) if e.code() != Some(1094) => return Err(e),
            _ => session.close(END).await,
        }
    }
    let sides = ((&setup.blue, &setup.blue_caps), (&setup.green, &setup.green_caps));
    *gate = gate::open(sides.0, sides.1, Some(run), gate.queries().to_vec()).await?;
    own.add(on_blue_of(gate));
    Ok(())
}

/// How long ending a session may take.
const END: Duration = Duration::from_secs(5);

/// Below this, growth is noise.
const RISE_COUNTS_FROM: Duration = Duration::from_millis(500);

/// What to say of a green that will not catch up.
fn falling_behind(verdict: &lag::Verdict) -> Option<String> {
    match verdict {
        lag::Verdict::FallingBehind {
            write_rate,
            apply_rate,
        } => Some(format!(
            "green cannot keep up: blue writes {write_rate:.0}/s and green applies {apply_rate:.0}/s, so it never catches up \
             at these rates; less load on blue, more applier workers or a faster disk for green would help, or \
             `replication.relax_green: true` and `bleen prepare` once more"
        )),
        lag::Verdict::CaughtUp | lag::Verdict::CatchingUp { .. } => None,
    }
}

/// A look at the lag, as an event.
#[must_use]
pub fn lag_event(sample: &LagSample) -> EventKind {
    EventKind::Lag {
        lag_ms: sample.lag.map(in_milliseconds),
        // Where positions are files and offsets, these are bytes, and other figures than the event has.
        transactions_behind: sample
            .behind
            .filter(|b| b.unit == lag::Unit::Transactions)
            .map(|b| b.amount),
        write_rate: sample.write_rate,
        apply_rate: sample.apply_rate,
        blue_writable: None,
        green_writable: None,
    }
}

impl LiveGates {
    /// Takes in what came of the application's statements: from now on the guardrails know.
    pub async fn know(&self, replaying: Replaying) {
        self.inner.lock().await.before = replaying;
    }

    /// The findings of a scope, asked once over the gates' sessions.
    pub async fn examine(&self, scope: Scope, plan: PlanFacts) -> Vec<Finding> {
        self.inner.lock().await.doctor.examine(scope, plan).await.findings
    }
}
