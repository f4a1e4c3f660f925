use std::sync::{Arc, Mutex};

use super::*;
use crate::domain::machine::{HoldKind, Seen, Spec};
use crate::domain::outcome::Why;
use crate::domain::position::{FilePosition, Position};
use crate::engine::ports::{JournalError, Pending};

const SPEC: Spec = Spec {
    hold: HoldKind::Lock,
    reprove: false,
    way_back: false,
};

/// What was written and done, in order: `+name` is a record that is on disk before its command is done, `-name` one
/// that is not.
type Log = Arc<Mutex<Vec<String>>>;

struct Written(Log);

impl Journal for Written {
    fn append(&mut self, record: &Record, durable: bool) -> Result<(), JournalError> {
        let name = match record {
            Record::Command { command, .. } => command.name(),
            Record::Outcome { .. } => "outcome",
            _ => return Ok(()),
        };
        let mark = if durable { '+' } else { '-' };
        self.0.lock().unwrap().push(format!("{mark}{name}"));
        Ok(())
    }
}

/// Answers each command as a server without trouble would, but refuses one, the first time.
struct Calm {
    refuses: Mutex<Option<&'static str>>,
    promoted: bool,
    /// The process stands still at this command for this long, and its answer is there when it goes on.
    stalls: Option<(&'static str, Duration)>,
    /// Something speaks against the hold at the last moment.
    not_now: bool,
}

fn position() -> Position {
    Position::File(FilePosition {
        file: "b".into(),
        offset: 4,
    })
}

impl Servers for Calm {
    fn perform(&self, command: Command, _: Terms) -> Pending<Answer> {
        if let Some((_, long)) = self.stalls.filter(|(name, _)| *name == command.name()) {
            std::thread::sleep(long);
        }
        let mut refuses = self.refuses.lock().unwrap();
        if *refuses == Some(command.name()) {
            *refuses = None;
            return Box::pin(async { Answer::Refused(WhyKind::Refused, "no".into()) });
        }
        let seen = match command {
            Command::ReadFence => Seen::Fence {
                position: position(),
                prepared_xa: 0,
            },
            Command::Disarm => Seen::Sealed {
                guard_gone: true,
                sealed: true,
                position: position(),
            },
            Command::Unseal => Seen::Opened { was_sealed: true },
            Command::Promote | Command::ReadGreen => Seen::Green {
                read_only: command == Command::ReadGreen && !self.promoted,
                epoch: false,
                own: None,
                blue_sealed: Some(true),
                has_all: Some(true),
                forgot: false,
            },
            _ => Seen::Done,
        };
        Box::pin(async { Answer::Seen(seen) })
    }

    fn approach(&self, _: Terms) -> Pending<Option<Answer>> {
        let not_now = self.not_now;
        Box::pin(async move { not_now.then(|| Answer::Refused(WhyKind::GreenBehind, "behind".into())) })
    }

    fn alarm(&self) -> Pending<Alarm> {
        Box::pin(std::future::pending())
    }

    fn in_the_way(&self) -> Option<String> {
        None
    }
}

async fn log_of(state: State, refuses: Option<&'static str>, promoted: bool) -> Vec<String> {
    let servers = Calm {
        refuses: Mutex::new(refuses),
        promoted,
        stalls: None,
        not_now: false,
    };
    log_with(&servers, state, Duration::from_secs(60)).await
}

async fn log_with(servers: &Calm, state: State, deadline: Duration) -> Vec<String> {
    let log = Log::default();
    let long = Duration::from_secs(60);
    let times = Times {
        deadline,
        answer: long,
        route: long,
        undo: long,
        after: long,
    };
    let (cancel, events) = (CancellationToken::new(), Events::none());
    run(
        servers,
        &mut Written(Arc::clone(&log)),
        state,
        &times,
        1,
        &cancel,
        &events,
    )
    .await;
    log.lock().unwrap().clone()
}

fn resuming() -> State {
    let why = Why {
        step: Step::Ready,
        kind: WhyKind::AnswerLost,
        detail: "x".into(),
    };
    State::resuming(SPEC, None, why)
}

/// A disk that is stuck must not keep writers waiting, or blue sealed: only what is written before anybody waits is
/// waited for.
#[tokio::test(start_paused = true)]
async fn no_disk_is_waited_for_while_writers_wait() {
    assert_eq!(
        log_of(State::new(SPEC), None, true).await.join(" "),
        "+quiet +arm +hold -fence -drain -seal -disarm -promote -write-epoch -route -release -confirm +outcome"
    );
    assert_eq!(
        log_of(State::new(SPEC), Some("seal"), false).await.join(" "),
        "+quiet +arm +hold -fence -drain -seal -end-holder -unseal -end-guard -put-back +outcome"
    );
    assert_eq!(
        log_of(resuming(), Some("end-earlier-sessions"), false)
            .await
            .join(" "),
        "+end-earlier-sessions -end-earlier-sessions -read-green -unseal -end-guard -put-back +outcome"
    );
    assert_eq!(
        log_of(resuming(), None, true).await.join(" "),
        "+end-earlier-sessions -read-green -reseal -read-green -reopen -write-epoch -route -release -confirm +outcome"
    );
}

/// After a stall the deadline's timer and an answer come together: the answer is no reason to go on.
#[tokio::test]
async fn a_late_answer_is_not_gone_on_with() {
    for (stalled, then) in [
        ("fence", "-give-up-hold -end-guard -put-back"),
        ("drain", "-give-up-hold -end-guard -put-back"),
        ("seal", "-unseal -give-up-hold -end-guard -put-back"),
    ] {
        let servers = Calm {
            refuses: Mutex::new(None),
            promoted: false,
            stalls: Some((stalled, Duration::from_millis(60))),
            not_now: false,
        };
        let log = log_with(&servers, State::new(SPEC), Duration::from_millis(40)).await;
        let after = log.join(" ");
        let after = after.split_once(&format!("-{stalled} ")).unwrap().1;
        assert_eq!(after, format!("{then} +outcome"), "stalled at {stalled}");
    }
}

/// What is seen at the last moment keeps the hold from being taken: nobody waits for it.
#[tokio::test]
async fn the_hold_is_not_taken_against_the_last_look() {
    let servers = Calm {
        refuses: Mutex::new(Some("hold")),
        promoted: false,
        stalls: None,
        not_now: true,
    };
    let log = log_with(&servers, State::new(SPEC), Duration::from_secs(60)).await;
    assert_eq!(
        log.join(" "),
        "+quiet +arm +hold -give-up-hold -end-guard -put-back +outcome"
    );
    assert!(servers.refuses.lock().unwrap().is_some(), "the hold was sent");
}

#[tokio::test]
async fn a_failure_says_its_step_once() {
    for (refused, said) in [("drain", "no"), ("write-epoch", "write-epoch: no")] {
        let servers = Calm {
            refuses: Mutex::new(Some(refused)),
            promoted: false,
            stalls: None,
            not_now: false,
        };
        let long = Duration::from_secs(60);
        let times = Times {
            deadline: long,
            answer: long,
            route: long,
            undo: long,
            after: long,
        };
        let (events, mut told) = Events::stream();
        let state = State::new(SPEC);
        let mut journal = Written(Log::default());
        run(
            &servers,
            &mut journal,
            state,
            &times,
            1,
            &CancellationToken::new(),
            &events,
        )
        .await;
        let mut failed = Vec::new();
        while let Ok(event) = told.try_recv() {
            if let EventKind::StepFailed { why, .. } = event.kind {
                failed.push(why);
            }
        }
        assert_eq!(failed, [said]);
    }
}
