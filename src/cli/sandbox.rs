//! `bleen sandbox`: the main job on two real throw-away servers.

use std::path::PathBuf;

use super::args::Global;
use super::error::CliError;
use super::exit::{Ending, ErrorKind};
use super::reporting;
use super::signals::{At, Signals};
use super::switch::Done;
use crate::adapters::mysql::switch::OpenError;
use crate::engine::event::Events;
use crate::sandbox::error::FetchFailure;
use crate::sandbox::{
    FetchOptions, LocateOptions, PairOptions, SandboxError, ServerKind, Story, StoryEnd, StoryError,
    StoryOptions, Talk, story,
};

/// What the command line says.
#[derive(Debug)]
pub struct Options {
    /// Blue's kind.
    pub blue: ServerKind,
    /// Green's kind.
    pub green: ServerKind,
    /// Where server programs are, if they are not to be looked for.
    pub server: Option<PathBuf>,
    /// Writers of the load.
    pub writers: u32,
    /// Transactions a second of each.
    pub rate: u32,
    /// Whether to set up only, and stay.
    pub keep: bool,
}

/// Runs the command.
///
/// # Errors
/// Servers that cannot be found, fetched or started; anything that breaks off the story.
pub fn run(options: Options, global: &Global) -> Result<Ending, CliError> {
    super::wait_for(async {
        let (events, at, reporting) = reporting::begin(global.output);
        let ended = play(options, &events, at).await;
        reporting::end(events, reporting, "sandbox", &ended).await;
        ended.map(|done| done.ending)
    })
}

async fn play(options: Options, events: &Events, at: At) -> Result<Done, CliError> {
    // With `--keep` there are no steps, and nobody here knows what other commands have done with the pair.
    let at = at.without_steps("stops, and takes the servers away; once more does so at once");
    let signals = Signals::listen(at, events.clone())
        .map_err(|e| CliError::new(ErrorKind::Internal, "listen to signals", e.to_string()))?;
    let keep = options.keep;
    let story_options = StoryOptions {
        blue: options.blue,
        green: options.green,
        pair: PairOptions {
            locate: LocateOptions {
                server_dir: options.server,
                fetch: FetchOptions {
                    talk: Talk::Stderr,
                    ..FetchOptions::default()
                },
                ..LocateOptions::default()
            },
            ..PairOptions::default()
        },
        writers: options.writers,
        rate: options.rate,
    };
    let playing = async {
        if keep {
            story::keep(&story_options, events, &signals.stop).await
        } else {
            story::play(&story_options, events, &signals.stop).await
        }
    };
    let ended = tokio::select! {
        ended = playing => ended,
        // What was playing is dropped, and with it the servers and their directory.
        () = signals.stop_waiting.cancelled() => return Ok(Done::plain(Ending::Interrupted)),
    };
    conclude(ended?, events)
}

fn conclude(Story { end, mut result }: Story, events: &Events) -> Result<Done, CliError> {
    let mut why = Vec::new();
    let ending = match end {
        StoryEnd::Played(outcome) => Ending::from(&outcome),
        StoryEnd::Kept => Ending::Done,
        StoryEnd::Interrupted => Ending::Interrupted,
        StoryEnd::NotReady(reasons) => {
            why = reasons;
            Ending::NotReady
        }
        StoryEnd::Wrong(wrong) => {
            for what in wrong {
                events.warn(what);
            }
            Ending::Failed(ErrorKind::Internal)
        }
    };
    if !why.is_empty()
        && let Some(fields) = result.as_object_mut()
    {
        fields.insert("why".to_owned(), why.into());
    }
    Ok(Done { ending, result })
}

impl From<StoryError> for CliError {
    fn from(error: StoryError) -> Self {
        let internal = |doing: &str, seen: String| Self::new(ErrorKind::Internal, doing, seen);
        let error = match error {
            // Seen before any server is started.
            StoryError::Sandbox(
                e @ (SandboxError::UnknownServer { .. }
                | SandboxError::PairNotPossible { .. }
                | SandboxError::NotInDirectory { .. }),
            ) => return e.into(),
            StoryError::Sandbox(e) => e.into(),
            StoryError::Server(e) | StoryError::Open(OpenError::Server(e)) => e.into(),
            StoryError::Proof(e) => e.into(),
            StoryError::Open(OpenError::Locked(taken)) => {
                Self::new(ErrorKind::Locked, "take the run lock", taken.to_string())
            }
            StoryError::Secret(e) => Self::secret("a password of the sandbox", &e),
            StoryError::Journal(e) => Self::new(ErrorKind::NotReady, "write the journal", e.to_string()),
            other @ StoryError::Playbook(_) => internal("read the sandbox's own playbook", other.to_string()),
        };
        error.changed("the sandbox's servers are ended and their directory is removed")
    }
}

impl From<SandboxError> for CliError {
    fn from(error: SandboxError) -> Self {
        let kind = match &error {
            SandboxError::UnknownServer { .. } | SandboxError::PairNotPossible { .. } => ErrorKind::Usage,
            SandboxError::NotInDirectory { .. } => ErrorKind::NotReady,
            SandboxError::Fetch {
                kind: FetchFailure::Unreachable,
                ..
            } => ErrorKind::Unreachable,
            SandboxError::Fetch { .. } => ErrorKind::NotReady,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, "play on throw-away servers", error.to_string())
    }
}
