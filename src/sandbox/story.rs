//! The story of `bleen sandbox`: two real servers under load, a switchover that misses its deadline, one that does not,
//! and the account of what the writers saw.
//!
//! Made of the same parts as the commands; nothing in it is simulated. Must not know the command line.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::adapters::compose::{ANSWER, new_run};
use crate::adapters::gates::lag_event;
use crate::adapters::mysql::capabilities;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::identity;
use crate::adapters::mysql::own_schema::UndoRow;
use crate::adapters::mysql::prepare::Preparation;
use crate::adapters::mysql::session::{Purpose, Session};
use crate::adapters::mysql::survey::PairSurveyor;
use crate::adapters::mysql::switch::{OpenError, Server};
use crate::adapters::proof::NotBegun;
use crate::adapters::secrets::SecretError;
use crate::adapters::targets;
use crate::domain::guardrails::{Decision, Known, PlanFacts, Scope, Severity, summary};
use crate::domain::ids::Side;
use crate::domain::lag::LagSample;
use crate::domain::outcome::Outcome;
use crate::domain::step::Step;
use crate::engine::doctor::Doctor;
use crate::engine::event::{EventKind, Events};
use crate::engine::ports::JournalError;
use crate::engine::prepare::{self, Limits, Prepared};
use crate::engine::switchover::Ended;
use crate::playbook::{self, Diagnostics, Playbook};

use super::catalog::ServerKind;
use super::endpoint::Endpoint;
use super::error::SandboxError;
use super::load_data::{ShopReport, load_shop};
use super::pair::{PairOptions, SandboxPair};
use super::story_account::{self, Acts};
use super::story_playbook;
use super::story_switch::{Played, Stage};
use super::writers::{Load, LoadOptions};

/// For how long lag is observed once green follows, for the story's sake; before each hold it is as long as ever.
const OBSERVE: Duration = Duration::from_secs(2);
/// How long the story waits for gates and attempts in all, instead of the default half hour.
const WINDOW: Duration = Duration::from_secs(60);
/// How long catching up may take.
const CATCH_UP: Duration = Duration::from_secs(180);
/// How long one change of `prepare`, or its undo, may take.
const CHANGE: Duration = Duration::from_secs(60);
/// Writes that are seen acknowledged before anything else is done, and after the switch: at most so many, and no more than
/// the writers were told to make in a few seconds.
const SOME_WRITES: u64 = 50;
/// These seconds.
const SOME_SECONDS: u64 = 5;
/// How long these may take.
const SOON: Duration = Duration::from_secs(30);
/// How often the load is told.
const TELL_LOAD: Duration = Duration::from_secs(5);
/// How often it is told in a kept sandbox while nothing changes for it: what can be tried has to stay on the screen.
const UNCHANGED_LOAD: Duration = Duration::from_secs(120);
/// How long fetching a password from a file may take.
const SECRET: Duration = Duration::from_secs(5);

/// What is played.
#[derive(Debug, Clone)]
pub struct StoryOptions {
    /// Blue's kind.
    pub blue: ServerKind,
    /// Green's kind.
    pub green: ServerKind,
    /// How the pair is started; GTIDs are turned off where the two cannot share them.
    pub pair: PairOptions,
    /// Writers of the load.
    pub writers: u32,
    /// Transactions a second of each.
    pub rate: u32,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq)]
pub enum StoryEnd {
    /// The last switchover's outcome, and an account with nothing wrong in it.
    Played(Outcome),
    /// A kept sandbox was ended by the operator.
    Kept,
    /// The operator ended the story before its end.
    Interrupted,
    /// A guardrail, or preparing, did not allow the switch; in words.
    NotReady(Vec<String>),
    /// Something that must never be: a write lost or doubled, or a forced miss that did not miss; in words.
    Wrong(Vec<String>),
}

/// A story that was played.
#[derive(Debug, Clone)]
pub struct Story {
    /// How it ended.
    pub end: StoryEnd,
    /// The figures, by name.
    pub result: Value,
}

/// Why it could not be played.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    /// The sandbox itself.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A password's file.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The sandbox's own playbook: a mistake in bleen.
    #[error("the sandbox's own playbook is wrong: {0}")]
    Playbook(Box<Diagnostics>),
    /// The data proof could not be begun.
    #[error(transparent)]
    Proof(#[from] NotBegun),
    /// An attempt's sessions could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A pair with load on it. Dropping it ends the servers and removes their directory.
struct Scene {
    pair: SandboxPair,
    shop: ShopReport,
    blue: Endpoint,
    green: Endpoint,
    load: Load,
    some_writes: u64,
}

/// Plays the story. `stop` ends it early, and puts a hold back as a Ctrl-C during `bleen switch` does; dropping the
/// future ends it at once. Nothing is left in either case.
///
/// # Errors
/// What kept it from being played. A switchover that is given up is no error but an outcome.
pub async fn play(
    options: &StoryOptions,
    events: &Events,
    stop: &CancellationToken,
) -> Result<Story, StoryError> {
    let scene = tokio::select! {
        scene = set_up(options, events) => scene?,
        () = stop.cancelled() => return Ok(interrupted()),
    };
    let (_, text) = story_playbook::write(&scene.pair, (options.blue, options.green))?;
    let mut acts = Acts::default();
    let playing = perform(&scene, &text, &mut acts, events, stop);
    let ended = while_telling(&scene.load, events, Duration::ZERO, playing).await;
    let end = ended?;
    if matches!(end, StoryEnd::Played(_)) {
        // Writers that have changed over write on; that is part of the account. Without these the gap is not known.
        drop(scene.load.progress(scene.some_writes, SOON).await);
    }
    let Scene {
        pair,
        shop,
        blue,
        green,
        load,
        some_writes: _,
    } = scene;
    let report = load.stop().await;
    let account = story_account::draw_up(&report, &acts, &shop, (&pair, &blue, &green)).await?;
    drop(pair);
    let end = match end {
        StoryEnd::Played(_) if !account.wrong.is_empty() => StoryEnd::Wrong(account.wrong),
        end => end,
    };
    Ok(Story {
        end,
        result: account.result,
    })
}

/// Starts servers, shop and load, writes a playbook for them, says what can be tried, and waits for `stop`.
///
/// # Errors
/// As [`play`].
pub async fn keep(
    options: &StoryOptions,
    events: &Events,
    stop: &CancellationToken,
) -> Result<Story, StoryError> {
    let scene = tokio::select! {
        scene = set_up(options, events) => scene?,
        () = stop.cancelled() => return Ok(interrupted()),
    };
    let (path, _) = story_playbook::write(&scene.pair, (options.blue, options.green))?;
    events.note(format!(
        "servers and load stay until Ctrl-C; the playbook is {}",
        path.display()
    ));
    events.note(try_these(scene.pair.dir.path()));
    while_telling(&scene.load, events, UNCHANGED_LOAD, stop.cancelled()).await;
    let Scene {
        pair,
        shop,
        blue,
        green,
        load,
        some_writes: _,
    } = scene;
    let report = load.stop().await;
    let account = story_account::draw_up(&report, &Acts::default(), &shop, (&pair, &blue, &green)).await?;
    let end = if account.wrong.is_empty() {
        StoryEnd::Kept
    } else {
        StoryEnd::Wrong(account.wrong)
    };
    Ok(Story {
        end,
        result: account.result,
    })
}

/// What can be typed in another terminal, short enough for a narrow one.
fn try_these(dir: &Path) -> String {
    let program = std::env::current_exe().ok();
    let place = program
        .as_deref()
        .and_then(Path::parent)
        .map_or_else(String::new, |place| {
            format!(" PATH=\"{}:$PATH\"", place.display())
        });
    format!(
        "in another terminal:\n  cd '{}'\n  export BLEEN_RUN_DIR=\"$PWD/runs\"{place}\n  bleen doctor playbook.yaml\n  \
         bleen prepare playbook.yaml\n  bleen status playbook.yaml\n  bleen validate playbook.yaml --once\n  bleen switch playbook.yaml --confirm sandbox",
        dir.display()
    )
}

fn interrupted() -> Story {
    Story {
        end: StoryEnd::Interrupted,
        result: json!({}),
    }
}

async fn set_up(options: &StoryOptions, events: &Events) -> Result<Scene, StoryError> {
    let (blue_kind, green_kind) = (options.blue, options.green);
    events.note(format!("starting {blue_kind} as blue and {green_kind} as green"));
    let began = Instant::now();
    let mut pair_options = options.pair.clone();
    if blue_kind.family() != green_kind.family() {
        // MySQL and MariaDB cannot read each other's GTIDs.
        pair_options = pair_options.gtid(false);
    }
    let pair = SandboxPair::start(blue_kind, green_kind, &pair_options).await?;
    for (side, server) in [(Side::Blue, &pair.blue), (Side::Green, &pair.green)] {
        events.say(EventKind::Server {
            side,
            address: format!("127.0.0.1:{}", server.port()),
            version: format!(
                "{} from {}",
                server.installed().version_text,
                server.installed().root.display()
            ),
        });
    }
    events.note(format!("both answer after {}", in_seconds(began)));
    let shop = load_shop(&pair.blue, &pair.accounts).await?;
    events.note(format!(
        "a shop of {} rows in {} tables on blue, in {:.1}s{}",
        shop.rows,
        shop.tables.len(),
        shop.took.as_secs_f64(),
        if shop.left_out.is_empty() {
            String::new()
        } else {
            format!(
                "; left out, as this version does not know them: {}",
                shop.left_out.join(", ")
            )
        }
    ));
    let (blue, green) = Endpoint::both(&pair);
    let load_options = LoadOptions {
        writers: options.writers,
        rate: options.rate,
        ..LoadOptions::default()
    };
    let load = Load::start(&blue, &green, load_options)?;
    let some_writes = SOME_WRITES.min(u64::from(options.writers) * u64::from(options.rate) * SOME_SECONDS);
    load.progress(some_writes, SOON).await?;
    events.note(format!(
        "{} writers, {} transactions a second each, write to blue and remember every acknowledged write",
        options.writers, options.rate
    ));
    Ok(Scene {
        pair,
        shop,
        blue,
        green,
        load,
        some_writes,
    })
}

/// Everything between set-up and account.
async fn perform(
    scene: &Scene,
    text: &str,
    acts: &mut Acts,
    events: &Events,
    stop: &CancellationToken,
) -> Result<StoryEnd, StoryError> {
    let mut playbook =
        playbook::load(text, "playbook.yaml").map_err(|wrong| StoryError::Playbook(Box::new(wrong)))?;
    playbook.switch.window = WINDOW;
    playbook.lag.catch_up = CATCH_UP;
    let blue = reach(Side::Blue, &playbook).await?;
    let green = reach(Side::Green, &playbook).await?;
    if let Some(end) = follow(&playbook, (&blue, &green), events, stop).await? {
        return Ok(end);
    }
    // After following: green was empty before, and what it has now came from blue.
    if let Some(end) = preflight(&playbook, (&blue, &green), events).await? {
        return Ok(end);
    }
    let runs = scene.pair.dir.path().join("runs");
    let stage = Stage {
        servers: (&blue, &green),
        runs: &runs,
        events,
        stop,
    };
    let mut to_miss = playbook.clone();
    to_miss.switch.attempts = 1;
    events.note(format!(
        "first a switchover that is forced to miss its deadline of {}; one attempt instead of the default {}, because the \
         next one would be made without what is in the way",
        humantime::format_duration(to_miss.switch.deadline),
        playbook.switch.attempts
    ));
    let from = scene.load.now();
    let missed = match attempt(stage.miss(&to_miss).await?, acts)? {
        Ok(attempt) => attempt,
        Err(end) => return Ok(end),
    };
    // Waiting writers have gone on, or there is nothing to go on with.
    drop(scene.load.progress(scene.some_writes, SOON).await);
    acts.missed = Some((from, scene.load.now(), missed));
    if stop.is_cancelled() {
        return Ok(StoryEnd::Interrupted);
    }
    events.note("now a switchover that nothing stands in the way of");
    let from = scene.load.now();
    let switched = match attempt(stage.switch(&playbook).await?, acts)? {
        Ok(attempt) => attempt,
        Err(end) => return Ok(end),
    };
    let outcome = switched.outcome.clone();
    acts.switched = Some((from, scene.load.now(), switched));
    Ok(StoryEnd::Played(outcome))
}

/// An attempt that was made, or how the story ends without it.
fn attempt(
    played: Played,
    acts: &mut Acts,
) -> Result<Result<crate::engine::attempt::Attempt, StoryEnd>, StoryError> {
    acts.by_hand = acts.by_hand.take().or(played.by_hand);
    Ok(match played.ended {
        Ended::Attempt(attempt) => Ok(*attempt),
        Ended::NotReady(blocking, trouble) => {
            let why = blocking.iter().map(|f| format!("{}: {}", f.id, f.seen));
            Err(StoryEnd::NotReady(why.chain(trouble).collect()))
        }
        Ended::Interrupted => Err(StoryEnd::Interrupted),
        Ended::NotOpened(e) => return Err(e.into()),
    })
}

async fn reach(side: Side, playbook: &Playbook) -> Result<Server, StoryError> {
    let endpoint = match side {
        Side::Blue => &playbook.pair.blue,
        Side::Green => &playbook.pair.green,
    };
    let target = targets::target(side, endpoint, SECRET).await?;
    let purpose = Purpose {
        run: None,
        role: "look",
    };
    let mut session = Session::open(&target, &purpose, ANSWER).await?;
    let caps = capabilities::probe(&mut session, ANSWER).await?;
    let label = identity::read(&mut session, caps.family(), ANSWER).await?.label();
    session.close(ANSWER).await;
    Ok(Server {
        target,
        caps,
        label: Some(label),
    })
}

/// Every guardrail of preparing. Answers an end when one of them stops.
async fn preflight(
    playbook: &Playbook,
    (blue, green): (&Server, &Server),
    events: &Events,
) -> Result<Option<StoryEnd>, StoryError> {
    let began = Instant::now();
    events.say(EventKind::StepBegan {
        step: Step::Preflight,
        what: "every guardrail, on both servers".to_owned(),
    });
    let purpose = Purpose {
        run: None,
        role: "survey",
    };
    let on_blue = Session::open(&blue.target, &purpose, ANSWER).await?;
    let on_green = Session::open(&green.target, &purpose, ANSWER).await?;
    let look = PairSurveyor::new(
        (on_blue, blue.caps.clone()),
        (on_green, green.caps.clone()),
        ANSWER,
    );
    let mut doctor = Doctor::of_playbook(look, playbook);
    // Nobody else knows of these servers.
    let plan = PlanFacts {
        run_lock: Known::Known(None),
        ..PlanFacts::default()
    };
    let seen = doctor.examine(Scope::Prepare, plan).await;
    for finding in seen.findings.iter().filter(|f| f.severity != Severity::Ok) {
        events.finding(finding);
    }
    if let Decision::NoGo(blocking) = &seen.decision {
        let why = blocking.iter().map(|f| format!("{}: {}", f.id, f.seen)).collect();
        return Ok(Some(StoryEnd::NotReady(why)));
    }
    events.say(EventKind::StepDone {
        step: Step::Preflight,
        what: summary(&seen.findings),
        took: began.elapsed(),
    });
    Ok(None)
}

/// Makes green follow blue and waits until it keeps up. Answers an end when that did not come about.
async fn follow(
    playbook: &Playbook,
    (blue, green): (&Server, &Server),
    events: &Events,
    stop: &CancellationToken,
) -> Result<Option<StoryEnd>, StoryError> {
    let began = Instant::now();
    events.say(EventKind::StepBegan {
        step: Step::Follow,
        what: "green becomes a read-only replica of blue".to_owned(),
    });
    let request = targets::prepare_request(
        new_run(),
        blue.target.clone(),
        green.target.clone(),
        playbook,
        SECRET,
    )
    .await?;
    let (told, waits) = (events.clone(), events.clone());
    let on_record = Box::new(move |row: &UndoRow| {
        if row.state == "open" {
            told.note(format!("{}: {}", row.side, row.what));
        }
        Ok(())
    });
    let on_wait = Box::new(move |sample: &LagSample, _: Duration| waits.say(lag_event(sample)));
    let mut preparation = Preparation::new(request, on_record, on_wait);
    let limits = Limits {
        lag: playbook.lag.limit,
        observe: OBSERVE,
        catch_up: playbook.lag.catch_up,
        change: CHANGE,
        undo: CHANGE,
        may_relax: playbook.replication.relax_green,
    };
    let prepared = prepare::prepare(&mut preparation, &limits, stop).await;
    for risk in preparation.findings() {
        events.warn(risk.clone());
    }
    match prepared {
        Prepared::Ready { sample, .. } => {
            events.say(EventKind::StepDone {
                step: Step::CatchUp,
                what: prepare::backlog(&sample),
                took: began.elapsed(),
            });
            Ok(None)
        }
        Prepared::Undone {
            why: prepare::Why::Cancelled,
            ..
        } => Ok(Some(StoryEnd::Interrupted)),
        Prepared::Undone { why, .. } => Ok(Some(StoryEnd::NotReady(vec![why.to_string()]))),
    }
}

/// Does some work and tells every few seconds what the writers see meanwhile.
/// Tells the load when something has changed for the writers, and at least every `at_least`.
async fn while_telling<T>(
    load: &Load,
    events: &Events,
    at_least: Duration,
    work: impl Future<Output = T>,
) -> T {
    let (mut told, mut told_at) = (None, Instant::now());
    let mut tick = interval(TELL_LOAD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ = tick.tick() => {
                let seen = load.snapshot();
                let (blue, green) = seen.acknowledged;
                // What they see once they have changed over, too: the count of one side stands still then.
                let now = Some((seen.refused, seen.lost_connections, seen.waiting, green > 0));
                if now == told && told_at.elapsed() < at_least {
                    continue;
                }
                (told, told_at) = (now, Instant::now());
                events.note(format!(
                    "load: {blue} writes acknowledged by blue, {green} by green; longest {} ms; {} refused, {} connections \
                     lost, {} writers waiting",
                    seen.longest_write.as_millis(), seen.refused, seen.lost_connections, seen.waiting
                ));
            }
        }
    }
}

fn in_seconds(began: Instant) -> String {
    format!("{:.1}s", began.elapsed().as_secs_f64())
}
