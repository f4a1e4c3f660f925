//! The playbook's hooks: programs that are told of a run before its first change and at its end, never in between.
//!
//! Must not know how a program is run; a hook is never run while writers may be held.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::event::{EventKind, Events};
use super::ports::{Journal, Pending, Record};
use crate::domain::ids::Side;
use crate::playbook::model::{Exec, Hook, HookFailure, HookMoment};

/// Variables that a program finds in its surroundings, beside bleen's own.
pub type Surroundings = Vec<(&'static str, String)>;

/// Runs the programs of a playbook.
pub trait Programs: Send + Sync {
    /// Runs one to its end, at most for its own time limit; an error says how it failed. Dropping the future ends it.
    fn run(&self, program: &Exec, surroundings: &Surroundings) -> Pending<Result<(), String>>;
}

/// Which run the hooks are told of.
#[derive(Debug, Clone)]
pub struct About {
    /// The run's id.
    pub run: String,
    /// The pair's name.
    pub pair: String,
    /// Blue's address.
    pub blue: String,
    /// Green's address.
    pub green: String,
}

impl About {
    /// What routes and hooks alike are told.
    #[must_use]
    pub fn surroundings(&self) -> Surroundings {
        vec![
            ("BLEEN_RUN", self.run.clone()),
            ("BLEEN_PAIR", self.pair.clone()),
            ("BLEEN_BLUE", self.blue.clone()),
            ("BLEEN_GREEN", self.green.clone()),
        ]
    }
}

/// How a run ended, as the hooks are told.
#[derive(Debug, Clone)]
pub struct End {
    /// Who serves; `None` if that is not certain.
    pub serves: Option<Side>,
    /// The outcome's word, as in every output.
    pub outcome: &'static str,
    /// Why, in words; empty where nothing went wrong.
    pub why: String,
}

/// Why no hold comes after the hooks before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// Somebody asked to stop.
    Cancelled,
    /// A hook that may stop the run failed: which, and how.
    Aborted(String),
}

/// The hooks of one run.
pub struct Hooks<'a> {
    programs: &'a dyn Programs,
    hooks: &'a [Hook],
    about: About,
    events: &'a Events,
    /// Whether the run came to its first hold, or close before it.
    begun: AtomicBool,
}

impl<'a> Hooks<'a> {
    /// The hooks of a run that begins.
    #[must_use]
    pub fn new(programs: &'a dyn Programs, hooks: &'a [Hook], about: About, events: &'a Events) -> Self {
        Self {
            programs,
            hooks,
            about,
            events,
            begun: AtomicBool::new(false),
        }
    }

    /// The hooks of a run that another bleen began and did not end.
    #[must_use]
    pub fn taken_over(self) -> Self {
        self.begun.store(true, Ordering::Relaxed);
        self
    }

    /// Whether anything is run before a hold: the gates are then asked again after it.
    #[must_use]
    pub fn any_before_hold(&self) -> bool {
        self.of(HookMoment::BeforeHold).next().is_some()
    }

    /// Runs what comes before an attempt's first change, in the playbook's order.
    ///
    /// # Errors
    /// One that may stop the run failed, or `cancel` came: nothing may be held then.
    pub async fn before_hold(
        &self,
        attempt: u32,
        journal: &mut dyn Journal,
        cancel: &CancellationToken,
    ) -> Result<(), Stopped> {
        self.begun.store(true, Ordering::Relaxed);
        for hook in self.of(HookMoment::BeforeHold) {
            let more = [("BLEEN_ATTEMPT", attempt.to_string())];
            let ended = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(Stopped::Cancelled),
                ended = self.run(hook, more, journal) => ended,
            };
            if let (Err(why), HookFailure::Abort) = (ended, hook.failure) {
                return Err(Stopped::Aborted(format!(
                    "hook `{}` at {} stops the run: {why}",
                    hook.exec.name, hook.at
                )));
            }
        }
        Ok(())
    }

    /// Runs what the run's end asks for. Nothing if it never came close to a hold, or if it is not certain who serves.
    /// `give_up` ends a hook that is under way and those that are left.
    pub async fn at_the_end(&self, end: &End, journal: &mut dyn Journal, give_up: &CancellationToken) {
        let moment = match end.serves {
            Some(Side::Blue) => HookMoment::AfterRelease,
            Some(Side::Green) => HookMoment::AfterSwitch,
            None => {
                if self.hooks.iter().any(|hook| hook.at != HookMoment::BeforeHold) {
                    self.events.note("no hook is run: it is not certain who serves");
                }
                return;
            }
        };
        if !self.begun.load(Ordering::Relaxed) {
            return;
        }
        for hook in self.of(moment) {
            let more = [
                ("BLEEN_OUTCOME", end.outcome.to_owned()),
                ("BLEEN_WHY", end.why.clone()),
            ];
            tokio::select! {
                biased;
                () = give_up.cancelled() => {
                    self.events.warn(format!("hook `{}` at {moment} is not waited for", hook.exec.name));
                    return;
                }
                // Its failure is shown; there is nothing left that it could stop.
                _ = self.run(hook, more, journal) => {}
            }
        }
    }

    fn of(&self, moment: HookMoment) -> impl Iterator<Item = &'a Hook> {
        self.hooks.iter().filter(move |hook| hook.at == moment)
    }

    async fn run<const N: usize>(
        &self,
        hook: &Hook,
        more: [(&'static str, String); N],
        journal: &mut dyn Journal,
    ) -> Result<(), String> {
        let mut surroundings = self.about.surroundings();
        surroundings.push(("BLEEN_HOOK", hook.at.to_string()));
        surroundings.extend(more);
        self.events.say(EventKind::HookBegan {
            at: hook.at.to_string(),
            name: hook.exec.name.clone(),
        });
        let began = Instant::now();
        let ended = self.programs.run(&hook.exec, &surroundings).await;
        self.tell(hook, ended.as_ref().err(), began.elapsed(), journal);
        ended
    }

    fn tell(&self, hook: &Hook, why: Option<&String>, took: Duration, journal: &mut dyn Journal) {
        self.events.say(EventKind::HookEnded {
            at: hook.at.to_string(),
            name: hook.exec.name.clone(),
            why: why.cloned(),
            took,
        });
        let record = Record::Hook {
            at: hook.at.to_string(),
            name: hook.exec.name.clone(),
            why: why.cloned(),
        };
        // Nothing is undone by it, so nothing depends on it.
        if let Err(e) = journal.append(&record, false) {
            self.events.warn(e.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::engine::ports::JournalError;

    /// Notes what is run; a program named `fail` fails, one named `hang` never ends.
    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Programs for Told {
        fn run(&self, program: &Exec, surroundings: &Surroundings) -> Pending<Result<(), String>> {
            let said: Vec<String> = surroundings
                .iter()
                .filter(|(name, _)| {
                    ["BLEEN_HOOK", "BLEEN_ATTEMPT", "BLEEN_OUTCOME", "BLEEN_WHY"].contains(name)
                })
                .map(|(_, value)| value.clone())
                .collect();
            self.0
                .lock()
                .unwrap()
                .push(format!("{}({})", program.name, said.join(",")));
            match program.name.as_str() {
                "fail" => Box::pin(async { Err("exit status: 3".to_owned()) }),
                "hang" => Box::pin(std::future::pending()),
                _ => Box::pin(async { Ok(()) }),
            }
        }
    }

    #[derive(Default)]
    struct Kept(Vec<Record>);

    impl Journal for Kept {
        fn append(&mut self, record: &Record, _: bool) -> Result<(), JournalError> {
            self.0.push(record.clone());
            Ok(())
        }
    }

    fn hook(at: HookMoment, name: &str, failure: HookFailure) -> Hook {
        let exec = Exec {
            name: name.to_owned(),
            command: vec![name.to_owned()],
            timeout: Duration::from_secs(1),
        };
        Hook { at, exec, failure }
    }

    fn about() -> About {
        About {
            run: "r".into(),
            pair: "p".into(),
            blue: "b".into(),
            green: "g".into(),
        }
    }

    fn end(serves: Option<Side>, outcome: &'static str) -> End {
        End {
            serves,
            outcome,
            why: "because".into(),
        }
    }

    use HookFailure::{Abort, Notify};
    use HookMoment::{AfterRelease, AfterSwitch, BeforeHold};

    async fn play(list: &[Hook], ends: Option<Side>) -> (Result<(), Stopped>, Vec<String>, usize) {
        let (told, events) = (Told::default(), Events::none());
        let mut journal = Kept::default();
        let hooks = Hooks::new(&told, list, about(), &events);
        let stopped = hooks
            .before_hold(2, &mut journal, &CancellationToken::new())
            .await;
        hooks
            .at_the_end(&end(ends, "word"), &mut journal, &CancellationToken::new())
            .await;
        let told = told.0.lock().unwrap().clone();
        (stopped, told, journal.0.len())
    }

    #[tokio::test]
    async fn the_end_decides_which_hooks_are_run_and_each_is_recorded() {
        let list = [
            hook(AfterSwitch, "green", Notify),
            hook(BeforeHold, "before", Abort),
            hook(AfterRelease, "blue", Notify),
        ];
        let (stopped, told, kept) = play(&list, Some(Side::Blue)).await;
        assert_eq!(stopped, Ok(()));
        assert_eq!(
            told,
            ["before(before_hold,2)", "blue(after_release,word,because)"]
        );
        assert_eq!(kept, 2);
        let (_, told, _) = play(&list, Some(Side::Green)).await;
        assert_eq!(told[1], "green(after_switch,word,because)");
        let (_, told, _) = play(&list, None).await;
        assert_eq!(
            told.len(),
            1,
            "nobody is told who serves when nobody knows: {told:?}"
        );
    }

    #[tokio::test]
    async fn a_failure_stops_the_run_only_where_the_playbook_says_so() {
        let list = [hook(BeforeHold, "fail", Notify), hook(BeforeHold, "next", Notify)];
        let (stopped, told, _) = play(&list, None).await;
        assert_eq!((stopped, told.len()), (Ok(()), 2));
        let list = [hook(BeforeHold, "fail", Abort), hook(BeforeHold, "next", Notify)];
        let (stopped, told, kept) = play(&list, None).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(kept, 1);
        let Err(Stopped::Aborted(why)) = stopped else {
            panic!("{stopped:?}")
        };
        assert!(why.contains("`fail`") && why.contains("exit status: 3"), "{why}");
    }

    #[tokio::test]
    async fn a_hook_that_hangs_can_be_left() {
        let (told, events, list) = (
            Told::default(),
            Events::none(),
            [
                hook(BeforeHold, "hang", Notify),
                hook(AfterRelease, "hang", Notify),
            ],
        );
        let mut journal = Kept::default();
        let hooks = Hooks::new(&told, &list, about(), &events);
        let cancel = CancellationToken::new();
        let later = cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            later.cancel();
        });
        assert_eq!(
            hooks.before_hold(1, &mut journal, &cancel).await,
            Err(Stopped::Cancelled)
        );
        hooks
            .at_the_end(&end(Some(Side::Blue), "interrupted"), &mut journal, &cancel)
            .await;
    }

    #[tokio::test]
    async fn a_run_that_never_came_close_to_a_hold_tells_nobody() {
        let (told, events, list) = (
            Told::default(),
            Events::none(),
            [hook(AfterRelease, "blue", Notify)],
        );
        let mut journal = Kept::default();
        let hooks = Hooks::new(&told, &list, about(), &events);
        let not_yet = end(Some(Side::Blue), "not-ready");
        hooks
            .at_the_end(&not_yet, &mut journal, &CancellationToken::new())
            .await;
        assert!(told.0.lock().unwrap().is_empty());
        let hooks = Hooks::new(&told, &list, about(), &events).taken_over();
        hooks
            .at_the_end(&not_yet, &mut journal, &CancellationToken::new())
            .await;
        assert_eq!(told.0.lock().unwrap().len(), 1);
    }
}
