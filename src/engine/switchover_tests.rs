use std::collections::VecDeque;
use std::sync::Mutex;

use super::*;
use crate::domain::guardrails::Scope;
use crate::domain::machine::Answer;
use crate::domain::machine::{Command, HoldKind, Seen};
use crate::domain::outcome::WhyKind;
use crate::engine::hooks::{About, Programs, Surroundings};
use crate::engine::ports::{Alarm, JournalError, Record, Terms};
use crate::playbook::model::Exec;

fn finding(id: GuardrailId, side: Option<Side>, severity: Severity, seen: &str) -> Finding {
    Finding {
        id,
        scope: Scope::Hold,
        severity,
        side,
        seen: seen.to_owned(),
        limit: String::new(),
        remedy: String::new(),
        waivable: true,
        waived: None,
    }
}

/// What each look at the gates sees; the last one for ever.
struct Looks(Mutex<VecDeque<Vec<Finding>>>);

impl Looks {
    fn of(looks: Vec<Vec<Finding>>) -> Self {
        Self(Mutex::new(looks.into()))
    }
}

impl Gates for Looks {
    fn look(&self) -> Pending<Looked> {
        let mut looks = self.0.lock().unwrap();
        let findings = match looks.len() {
            1 => looks[0].clone(),
            _ => looks.pop_front().unwrap(),
        };
        Box::pin(async { Looked { findings, note: None } })
    }
    fn stand_aside(&self) -> Pending<Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

/// A pair whose hold never comes through.
struct Blocked;

impl Servers for Blocked {
    fn perform(&self, command: Command, _: Terms) -> Pending<Answer> {
        Box::pin(async move {
            match command {
                Command::TakeHold => {
                    Answer::Refused(WhyKind::HoldBlocked, "a statement is in the way".into())
                }
                _ => Answer::Seen(Seen::Done),
            }
        })
    }
    fn approach(&self, _: Terms) -> Pending<Option<Answer>> {
        Box::pin(async { None })
    }
    fn alarm(&self) -> Pending<Alarm> {
        Box::pin(std::future::pending())
    }
    fn in_the_way(&self) -> Option<String> {
        None
    }
}

impl Opener for Blocked {
    type Port = Self;
    type Error = ();
    fn open(&self) -> Pending<Result<Self, ()>> {
        Box::pin(async { Ok(Self) })
    }
    fn close(&self, _: &Self, _: &Outcome) -> Pending<Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

struct Nothing;

impl Journal for Nothing {
    fn append(&mut self, _: &Record, _: bool) -> Result<(), JournalError> {
        Ok(())
    }
}

impl Programs for Nothing {
    fn run(&self, _: &Exec, _: &Surroundings) -> Pending<Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

/// Runs a switchover of at most three attempts and returns its end, and the findings that were told.
async fn findings_of(gates: &Looks, window: Duration) -> (Ended<()>, Vec<(String, String)>) {
    let long = Duration::from_secs(60);
    let (events, mut told) = Events::stream();
    let about = About {
        run: String::new(),
        pair: String::new(),
        blue: String::new(),
        green: String::new(),
    };
    let (hooks, cancel) = (
        Hooks::new(&Nothing, &[], about, &events),
        CancellationToken::new(),
    );
    let switchover = Switchover {
        gates,
        opener: &Blocked,
        spec: Spec {
            hold: HoldKind::Lock,
            reprove: false,
            way_back: false,
        },
        times: Times {
            deadline: long,
            answer: long,
            route: long,
            undo: long,
            after: long,
        },
        window: Window {
            window,
            attempts: 3,
            retry_after: Duration::ZERO,
        },
        hooks: &hooks,
        cancel: &cancel,
        events: &events,
    };
    let ended = switchover.run(&mut Nothing).await;
    let mut findings = Vec::new();
    while let Ok(event) = told.try_recv() {
        if let EventKind::Finding { id, seen, .. } = event.kind {
            findings.push((id, seen));
        }
    }
    (ended, findings)
}

#[tokio::test]
async fn a_finding_is_told_once_over_all_attempts_and_for_each_side() {
    let disk = |side, seen: &str| finding(GuardrailId::DISK_SPACE, Some(side), Severity::NotKnown, seen);
    let keys = |severity| {
        finding(
            GuardrailId::ROW_FORMAT_NO_KEY,
            None,
            severity,
            "1 table without a key",
        )
    };
    let gates = Looks::of(vec![
        vec![disk(Side::Blue, "a"), disk(Side::Green, "b")],
        vec![disk(Side::Blue, "another figure"), disk(Side::Green, "b")],
        vec![disk(Side::Blue, "a"), keys(Severity::Warning)],
    ]);
    let (ended, told) = findings_of(&gates, Duration::from_secs(600)).await;
    assert!(matches!(ended, Ended::Attempt(_)), "{ended:?}");
    let told: Vec<&str> = told.iter().map(|(_, seen)| seen.as_str()).collect();
    assert_eq!(told, ["a", "b", "1 table without a key"]);
}

#[tokio::test]
async fn what_blocks_is_told_again_at_the_end_only_after_a_wait() {
    let lag = |seen: &str| finding(GuardrailId::LAG, Some(Side::Green), Severity::Stop, seen);
    let key = finding(GuardrailId::GTID, None, Severity::Stop, "off");
    let (ended, told) = findings_of(&Looks::of(vec![vec![key]]), Duration::from_secs(600)).await;
    assert!(matches!(ended, Ended::NotReady(ref blocking, _) if blocking.len() == 1));
    assert_eq!(told, [("gtid".to_owned(), "off".to_owned())]);

    let gates = Looks::of(vec![vec![lag("4 s")], vec![lag("9 s")]]);
    let (_, told) = findings_of(&gates, LOOK_AGAIN + LOOK_AGAIN / 2).await;
    let told: Vec<&str> = told.iter().map(|(_, seen)| seen.as_str()).collect();
    assert_eq!(told, ["4 s", "9 s"]);
}
