use std::collections::BTreeSet;

use super::*;
use crate::domain::ids::Side;
use crate::domain::lag::Behind;

fn change(what: &str) -> Change {
    Change {
        side: Side::Green,
        what: what.to_owned(),
        sql: format!("do {what}"),
        masked: false,
        undo: vec![format!("undo {what}")],
    }
}

/// Remembers what was done, in order, and fails where it is told to.
#[derive(Default)]
struct Fake {
    log: Vec<String>,
    fail: BTreeSet<String>,
    lag: Option<watch::Sender<LagSample>>,
    /// What to measure: one sample each second, the last one for ever.
    samples: Vec<LagSample>,
    cancel_at: Option<(String, CancellationToken)>,
    never_ends: Option<String>,
}

impl Fake {
    fn note(&mut self, text: String) -> Result<(), Failure> {
        if let Some((at, token)) = &self.cancel_at
            && *at == text
        {
            token.cancel();
        }
        let failed = self.fail.contains(&text);
        self.log.push(text);
        if failed { Err(Failure("no".into())) } else { Ok(()) }
    }
}

impl Preparing for Fake {
    async fn plan(&mut self) -> Result<Vec<Change>, Failure> {
        self.note("plan".into())?;
        Ok(vec![change("a"), change("b"), change("c")])
    }
    async fn plan_relaxed(&mut self) -> Result<Vec<Change>, Failure> {
        Ok(vec![change("relax")])
    }
    async fn record(&mut self, seq: u32, change: &Change) -> Result<(), Failure> {
        self.note(format!("record {seq} {}", change.what))
    }
    async fn apply(&mut self, change: &Change, _: Duration) -> Result<(), Failure> {
        self.note(format!("apply {}", change.what))
    }
    async fn undo(&mut self, change: &Change, _: Duration) -> Result<(), Failure> {
        if self.never_ends.as_ref() == Some(&change.what) {
            std::future::pending::<()>().await;
        }
        self.note(format!("undo {}", change.what))
    }
    async fn forget(&mut self, seq: u32) {
        self.log.push(format!("forget {seq}"));
    }
    fn measure(&mut self) -> watch::Receiver<LagSample> {
        let (sender, receiver) = watch::channel(LagSample::default());
        let (samples, out) = (self.samples.clone(), sender.clone());
        tokio::spawn(async move {
            for second in 0_u64.. {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let at = usize::try_from(second)
                    .unwrap_or(usize::MAX)
                    .min(samples.len() - 1);
                let sample = LagSample {
                    at: Duration::from_secs(second),
                    ..samples[at].clone()
                };
                if out.send(sample).is_err() {
                    break;
                }
            }
        });
        self.lag = Some(sender);
        receiver
    }
    async fn stop_measuring(&mut self) {
        self.log.push("stop".into());
    }
    fn show(&mut self, _: &LagSample, _: Duration) {}
}

fn limits() -> Limits {
    Limits {
        lag: Duration::from_secs(1),
        observe: Duration::from_secs(5),
        catch_up: Duration::from_secs(120),
        change: Duration::from_secs(5),
        undo: Duration::from_secs(5),
        may_relax: false,
    }
}

fn caught_up() -> LagSample {
    LagSample {
        lag: Some(Duration::from_millis(10)),
        verdict: Some(Verdict::CaughtUp),
        ..LagSample::default()
    }
}

fn falling() -> LagSample {
    LagSample {
        lag: Some(Duration::from_secs(90)),
        behind: Some(Behind {
            amount: 12_000,
            unit: Unit::Transactions,
        }),
        write_rate: Some(2500.0),
        apply_rate: Some(900.0),
        verdict: Some(Verdict::FallingBehind {
            write_rate: 2500.0,
            apply_rate: 900.0,
        }),
        ..LagSample::default()
    }
}

fn fake(samples: Vec<LagSample>) -> Fake {
    Fake {
        samples,
        ..Fake::default()
    }
}

#[tokio::test(start_paused = true)]
async fn everything_is_recorded_before_it_is_made() {
    let mut port = fake(vec![falling(), caught_up()]);
    let ended = prepare(&mut port, &limits(), &CancellationToken::new()).await;
    assert!(
        matches!(&ended, Prepared::Ready { changes, .. } if changes.len() == 3),
        "{ended:?}"
    );
    let expected = [
        "plan",
        "record 0 a",
        "apply a",
        "record 1 b",
        "apply b",
        "record 2 c",
        "apply c",
        "stop",
    ];
    assert_eq!(port.log, expected);
}

#[tokio::test(start_paused = true)]
async fn a_failure_undoes_what_was_made_and_what_may_have_been() {
    let mut port = fake(vec![caught_up()]);
    port.fail.insert("apply b".into());
    let ended = prepare(&mut port, &limits(), &CancellationToken::new()).await;
    let Prepared::Undone { why, left, changed } = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(why.to_string(), "b: no");
    assert!(left.is_empty() && changed);
    assert_eq!(port.log[5..], ["undo b", "forget 1", "undo a", "forget 0"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_is_not_made() {
    let mut port = fake(vec![caught_up()]);
    port.fail.insert("record 1 b".into());
    let ended = prepare(&mut port, &limits(), &CancellationToken::new()).await;
    assert!(matches!(ended, Prepared::Undone { .. }));
    assert!(!port.log.contains(&"apply b".to_owned()));
    assert_eq!(port.log.last().unwrap(), "forget 0");
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_fails_or_never_ends_does_not_keep_the_others_from_being_run() {
    let mut port = fake(vec![caught_up()]);
    port.fail.extend(["apply c".into(), "undo b".into()]);
    port.never_ends = Some("c".into());
    let ended = prepare(&mut port, &limits(), &CancellationToken::new()).await;
    let Prepared::Undone { left, .. } = ended else {
        panic!("{ended:?}")
    };
    let names: Vec<&str> = left.iter().map(|(c, _)| c.what.as_str()).collect();
    assert_eq!(names, ["c", "b"]);
    assert_eq!(port.log.last().unwrap(), "forget 0");
}

#[tokio::test(start_paused = true)]
async fn cancelling_undoes_between_changes_and_while_waiting() {
    for (at, undone) in [("apply a", 1), ("apply c", 3)] {
        let token = CancellationToken::new();
        let mut port = fake(vec![falling()]);
        port.cancel_at = Some((at.to_owned(), token.clone()));
        let ended = prepare(&mut port, &limits(), &token).await;
        assert!(
            matches!(
                ended,
                Prepared::Undone {
                    why: Why::Cancelled,
                    ..
                }
            ),
            "{ended:?}"
        );
        assert_eq!(port.log.iter().filter(|l| l.starts_with("undo")).count(), undone);
    }
    let token = CancellationToken::new();
    token.cancel();
    let mut port = fake(vec![falling()]);
    let ended = prepare(&mut port, &limits(), &token).await;
    assert!(
        matches!(ended, Prepared::Undone { changed: false, .. }),
        "{ended:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_wait_has_an_end_and_says_the_numbers() {
    let mut slow = falling();
    slow.verdict = Some(Verdict::CatchingUp {
        eta: Duration::from_secs(600),
    });
    let mut port = fake(vec![slow]);
    let ended = prepare(&mut port, &limits(), &CancellationToken::new()).await;
    let Prepared::Undone { why, .. } = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(
        why.to_string(),
        "lag did not stay under 1s for 5s within 2m: lag 1m 30s, 12000 transactions behind, 2500/s written on blue, \
         900/s applied on green; at this rate it takes 10m 1s more"
    );
}

#[tokio::test(start_paused = true)]
async fn replication_that_stays_in_trouble_is_not_waited_for_to_the_end() {
    let stopped = LagSample {
        trouble: Some("the applier is stopped: error 1032: no row".into()),
        ..falling()
    };
    let mut port = fake(vec![stopped]);
    let started = tokio::time::Instant::now();
    let ended = prepare(&mut port, &limits(), &CancellationToken::new()).await;
    assert!(
        matches!(&ended, Prepared::Undone { why: Why::Trouble(t), .. } if t.contains("1032")),
        "{ended:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn falling_behind_is_said_with_numbers_or_met_by_relaxing_once() {
    let mut port = fake(vec![falling()]);
    let ended = prepare(&mut port, &limits(), &CancellationToken::new()).await;
    let Prepared::Undone { why, .. } = ended else {
        panic!("{ended:?}")
    };
    assert!(
        why.to_string()
            .contains("2500/s written on blue, 900/s applied on green")
    );
    assert!(why.to_string().contains("relax_green"));

    let may = Limits {
        may_relax: true,
        ..limits()
    };
    let mut samples = vec![falling(); 30];
    samples.push(caught_up());
    let mut port = fake(samples);
    let ended = prepare(&mut port, &may, &CancellationToken::new()).await;
    assert!(
        matches!(&ended, Prepared::Ready { changes, .. } if changes.len() == 4),
        "{ended:?}"
    );
    assert!(port.log.contains(&"record 3 relax".to_owned()));

    let mut port = fake(vec![falling()]);
    let ended = prepare(&mut port, &may, &CancellationToken::new()).await;
    assert!(
        matches!(&ended, Prepared::Undone { why: Why::FallingBehind(t), .. } if t.contains("relaxed already")),
        "{ended:?}"
    );
    assert_eq!(port.log.iter().filter(|l| l.starts_with("undo")).count(), 4);
}
