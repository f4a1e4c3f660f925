//! The switchover as one pure function: state and event in, state and the next command out.
//!
//! [`next`] is the only place where a phase changes. It knows no clock (the deadline arrives as an event), no server
//! (commands go out as data, what was seen comes back in answers) and no I/O, so that `tests/protocol.rs` can explore
//! every interleaving of answers, lost answers, crashes and restarts, with this very function.
//!
//! One command is under way at a time. What a command may change is set to *maybe* in the same transition that sends
//! it and becomes *yes* or *no* only by an answer that is certain (DESIGN I6): a lost answer leaves it *maybe*, and
//! backing out takes everything that is not *no* as still to be undone (I7). There is no list of undos to forget.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the words: state, commands, events |
//! | `forward.rs` | the way to promote and beyond |
//! | `back.rs` | every way back, and `resume` |

mod back;
mod forward;

use serde::{Deserialize, Serialize};

use super::outcome::{Debt, Outcome, Why, WhyKind};
use super::position::Position;
use super::step::Step;

/// How blue's writers are held (DESIGN section 3, "How to hold").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldKind {
    /// `FLUSH TABLES WITH READ LOCK`; the seal comes from the same session.
    Lock,
    /// `LOCK TABLES … READ` on every application table; the seal comes from another session.
    Tables,
    /// Read-only at once: writers are refused, not held. The hold is the seal.
    Refuse,
}

impl HoldKind {
    /// The word in playbooks and plans.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Tables => "tables",
            Self::Refuse => "refuse",
        }
    }
}

/// What one attempt is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Spec {
    /// How writers are held.
    pub hold: HoldKind,
    /// Whether anything is compared at the fence.
    pub reprove: bool,
    /// Whether blue is to follow green from promote on.
    #[serde(default)]
    pub way_back: bool,
}

/// How much is known of a change on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Made {
    /// Certainly not in force.
    #[default]
    No,
    /// A statement that makes it was sent; whether it took effect, or still will, is not known.
    Maybe,
    /// Seen in force.
    Yes,
}

/// What is known of the one statement that opens green.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Promotion {
    /// Never sent, or certain to have changed nothing and to change nothing.
    #[default]
    No,
    /// Sent; its session may still run it.
    Sent,
    /// Sent; its session was ended and seen gone, so what green shows now is final.
    SessionGone,
    /// Green was seen writable, or this run's epoch row was seen.
    Yes,
}

/// Where the machine is. While a command is under way, the phase tells which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Before the first event.
    Idle,
    /// [`Command::WireBack`] under way.
    WiringBack,
    /// [`Command::Quiet`] under way.
    Quieting,
    /// [`Command::ArmGuard`] under way.
    Arming,
    /// [`Command::TakeHold`] under way.
    Holding,
    /// [`Command::ReadFence`] under way.
    Fencing,
    /// [`Command::Drain`] under way.
    Draining,
    /// [`Command::Reprove`] under way.
    Reproving,
    /// [`Command::Seal`] under way.
    Sealing,
    /// [`Command::Disarm`] under way.
    Disarming,
    /// [`Command::ReadMoved`] under way.
    Inspecting,
    /// [`Command::DrainSealed`] under way.
    DrainingSealed,
    /// [`Command::Promote`] under way.
    Promoting,
    /// [`Command::EndEarlierSessions`] under way.
    TakingOver,
    /// [`Command::EndPromoter`] under way.
    EndingPromoter,
    /// [`Command::ReadGreen`] under way.
    ReadingGreen,
    /// [`Command::EndHolder`] under way.
    EndingHolder,
    /// [`Command::Unseal`] under way.
    Unsealing,
    /// [`Command::GiveUpHold`] under way.
    GivingUp,
    /// [`Command::EndGuard`] under way.
    EndingGuard,
    /// [`Command::PutBack`] under way.
    PuttingBack,
    /// [`Command::UnwireBack`] under way.
    UnwiringBack,
    /// [`Command::Reseal`] under way.
    Resealing,
    /// [`Command::Reopen`] under way.
    Reopening,
    /// [`Command::WriteEpoch`] under way.
    WritingEpoch,
    /// [`Command::Route`] under way.
    Routing,
    /// [`Command::Release`] under way.
    Releasing,
    /// [`Command::Confirm`] under way.
    Confirming,
    /// Ended; [`State::outcome`] tells how.
    Over,
}

impl Phase {
    /// The protocol's step that this phase belongs to.
    #[must_use]
    pub const fn step(self) -> Step {
        match self {
            Self::Idle => Step::Ready,
            Self::WiringBack => Step::WireBack,
            Self::Quieting => Step::Quiet,
            Self::Arming => Step::Arm,
            Self::Holding => Step::Hold,
            Self::Fencing => Step::Fence,
            Self::Draining => Step::Drain,
            Self::Reproving => Step::Reprove,
            Self::Sealing => Step::Seal,
            Self::Disarming | Self::Inspecting | Self::DrainingSealed => Step::Disarm,
            Self::Promoting | Self::Resealing | Self::Reopening | Self::WritingEpoch => Step::Promote,
            Self::TakingOver
            | Self::EndingPromoter
            | Self::ReadingGreen
            | Self::EndingHolder
            | Self::Unsealing
            | Self::GivingUp
            | Self::EndingGuard
            | Self::PuttingBack
            | Self::UnwiringBack => Step::Undo,
            Self::Routing => Step::Route,
            Self::Releasing => Step::Release,
            Self::Confirming | Self::Over => Step::Confirm,
        }
    }
}

/// Everything the machine knows. Plain data: it is journalled whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// What the attempt is to do.
    pub spec: Spec,
    /// Where it is.
    pub phase: Phase,
    /// Number of the command under way, or of the last one. Answers to earlier ones are ignored.
    pub number: u32,
    /// The reverse channel of step 6a: blue follows green.
    #[serde(default)]
    pub back: Made,
    /// The settings of step 6b.
    pub quiet: Made,
    /// The guard.
    pub guard: Made,
    /// The hold.
    pub hold: Made,
    /// The seal.
    pub seal: Made,
    /// The statement that opens green.
    pub promotion: Promotion,
    /// Where blue stood under the hold.
    pub fence: Option<Position>,
    /// How often blue's position moved under the seal by transactions without rows.
    pub moves: u8,
    /// Where blue was seen to stand under the seal, if that was not the fence position.
    pub moved_to: Option<Position>,
    /// Whether green shows this run's epoch row and is read-only: to be opened again.
    pub reopen: bool,
    /// Whether green is writable without this run's epoch row: to be written.
    pub epoch_missing: bool,
    /// Whether traffic was pointed at green and the writers let go: what green lacks is then looked after once more.
    #[serde(default)]
    pub released: bool,
    /// Whether a record of this run, of an earlier bleen, says that it promoted green, whatever green shows now.
    #[serde(default)]
    pub known_promoted: bool,
    /// What stood in the way of the last undo.
    pub trouble: Option<String>,
    /// Whether the deadline has passed.
    pub late: bool,
    /// Whether somebody asked to stop.
    pub cancelled: bool,
    /// Whether this machine took over an earlier run.
    pub resumed: bool,
    /// Whether blue was ever seen sealed: tells *released* from *rolled back*.
    pub was_sealed: bool,
    /// Why the attempt is being given up.
    pub why: Option<Why>,
    /// What is left to do.
    pub debt: Vec<Debt>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

/// What the machine asks for. Adapters do it; every one is answered, or given up by its own time limit, once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Blue: follow green, from where green stands; seen connected. Before promote there is nothing to apply: green is
    /// read-only, and what it has of blue's own is passed over.
    WireBack,
    /// Blue: stop the event scheduler and whatever else step 6b names. Idempotent.
    Quiet,
    /// Blue: end sessions of earlier runs and see them gone, call the guard on a session of its own, see it sleep.
    ArmGuard,
    /// Blue: take the hold. Starts the deadline's clock.
    TakeHold,
    /// Blue: no prepared XA transaction, no session that writes through read-only, then the position. Green: its flags.
    ReadFence,
    /// Green: one blocking wait until the position is executed.
    Drain {
        /// The fence position.
        to: Position,
    },
    /// Both: the gate queries and dirty rows at the fence.
    Reprove,
    /// Blue: guard seen alive and green free of locks, then durably read-only, with an expiry.
    Seal,
    /// Blue: end the guard's session, see it gone; then read flags, what is persisted, and the position.
    Disarm,
    /// Blue: read the events from the fence position to where it stands now.
    ReadMoved {
        /// Where blue stands now.
        to: Position,
    },
    /// As [`Command::Drain`], under the seal.
    DrainSealed {
        /// Where blue stands now.
        to: Position,
    },
    /// Green: read-only off by a statement with its own expiry, and the epoch row. The point of no return.
    Promote,
    /// Both: end every session of earlier runs but the guard (the promoting one first) and see them gone.
    EndEarlierSessions,
    /// Green: end the session that sent promote and see it gone.
    EndPromoter,
    /// Blue: flags, then position. Green: flags, epoch row, transactions of its own, and whether it has that position.
    ReadGreen,
    /// Blue: end the holding session and see it gone.
    EndHolder,
    /// Blue: both flags off, what is persisted put back as recorded; then read them.
    Unseal,
    /// Blue: give up the hold and see its session gone.
    GiveUpHold,
    /// Blue: end the guard's session and see it gone.
    EndGuard,
    /// Both: settings of step 6b and relaxed settings put back as recorded.
    PutBack,
    /// Blue: follow green no more, and what was changed for it put back as recorded.
    UnwireBack,
    /// Blue: the guard's session ended and seen gone, then read-only. Only when green serves.
    Reseal,
    /// Green: writable again, although a restart shut it. Only when it is certain that this run promoted it, and blue is
    /// sealed. Waits for a green that is being restarted.
    Reopen,
    /// Green: the missing epoch row.
    WriteEpoch,
    /// Proxies, names, hooks: point at green.
    Route,
    /// Blue: give up the hold; waiting statements get a clean refusal; end idle sessions after the grace time.
    Release,
    /// All: forward channel removed, settings put back, a write seen on green, a refusal seen on blue.
    Confirm,
}

impl Command {
    /// What it may change on a server, for the journal's record of the undo. `None` for commands that only read or
    /// that are themselves an undo.
    #[must_use]
    pub const fn undo(&self) -> Option<Self> {
        match self {
            Self::WireBack => Some(Self::UnwireBack),
            Self::Quiet => Some(Self::PutBack),
            Self::ArmGuard => Some(Self::EndGuard),
            Self::TakeHold => Some(Self::GiveUpHold),
            Self::Seal => Some(Self::Unseal),
            _ => None,
        }
    }

    /// A word for logs and fault points.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::WireBack => "wire-back",
            Self::Quiet => "quiet",
            Self::ArmGuard => "arm",
            Self::TakeHold => "hold",
            Self::ReadFence => "fence",
            Self::Drain { .. } => "drain",
            Self::Reprove => "reprove",
            Self::Seal => "seal",
            Self::Disarm => "disarm",
            Self::ReadMoved { .. } => "read-moved",
            Self::DrainSealed { .. } => "drain-sealed",
            Self::Promote => "promote",
            Self::EndEarlierSessions => "end-earlier-sessions",
            Self::EndPromoter => "end-promoter",
            Self::ReadGreen => "read-green",
            Self::EndHolder => "end-holder",
            Self::Unseal => "unseal",
            Self::GiveUpHold => "give-up-hold",
            Self::EndGuard => "end-guard",
            Self::PutBack => "put-back",
            Self::UnwireBack => "unwire-back",
            Self::Reseal => "reseal",
            Self::Reopen => "reopen",
            Self::WriteEpoch => "write-epoch",
            Self::Route => "route",
            Self::Release => "release",
            Self::Confirm => "confirm",
        }
    }
}

/// What was seen while a command was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// It was done, and there is nothing more to say.
    Done,
    /// Answer of [`Command::ReadFence`].
    Fence {
        /// Blue's position under the hold.
        position: Position,
        /// Prepared XA transactions on blue.
        prepared_xa: u32,
    },
    /// Answer of [`Command::Disarm`] and [`Command::DrainSealed`].
    Sealed {
        /// The guard's session is gone.
        guard_gone: bool,
        /// Read-only in memory and, where the server can, persisted.
        sealed: bool,
        /// Blue's position.
        position: Position,
    },
    /// Answer of [`Command::ReadMoved`]: the first event with rows, if there is one.
    Moved {
        /// The event in words; `None` if no transaction in between has rows.
        rows: Option<String>,
    },
    /// Answer of [`Command::Unseal`]: blue accepts writes.
    Opened {
        /// It did not before: a seal whose answer was lost had taken effect.
        was_sealed: bool,
    },
    /// Answer of [`Command::Promote`] and [`Command::ReadGreen`].
    Green {
        /// Green refuses the application's writes.
        read_only: bool,
        /// This run's epoch row is there.
        epoch: bool,
        /// Transactions that green executed and blue did not, in words.
        own: Option<String>,
        /// Blue's flags: sealed in memory. `None` if they were not, or could not be, read.
        blue_sealed: Option<bool>,
        /// Green executed everything that blue had executed once its flags were read. `None` as above.
        has_all: Option<bool>,
        /// That green is read-only, without the run's epoch row and without a write, does not show that it was never
        /// open: it restarted since the run began, a restart shuts it, and nothing on blue rules out that promote was
        /// sent.
        #[serde(default)]
        forgot: bool,
    },
    /// Answer of the commands after promote: what of it is left to do.
    Left(Vec<Debt>),
    /// Answer of [`Command::WireBack`] where it is accepted that there is no way back: why there is none. Nothing of it
    /// is in force.
    NoWayBack(String),
}

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It was done, and this was seen.
    Seen(Seen),
    /// It was certainly not done and will not be: nothing changed.
    Refused(WhyKind, String),
    /// It may have been done, and may still be.
    Unknown(String),
}

/// What happens to the machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// All gates are green and the moment is good.
    Begin,
    /// The command with this number has ended.
    Answered(u32, Answer),
    /// The deadline of this attempt has passed; what was being waited for, in words.
    DeadlinePassed(String),
    /// The operator or a signal asks to stop.
    CancelAsked,
    /// The watcher saw that the holding session is gone.
    HoldLost(String),
    /// The watcher saw that green's applier has stopped.
    ApplierStopped(String),
    /// The time that undoing has is used up.
    UndoTimeUp,
}

impl State {
    /// A fresh attempt.
    #[must_use]
    pub fn new(spec: Spec) -> Self {
        Self {
            spec,
            phase: Phase::Idle,
            number: 0,
            back: Made::No,
            quiet: Made::No,
            guard: Made::No,
            hold: Made::No,
            seal: Made::No,
            promotion: Promotion::No,
            fence: None,
            moves: 0,
            moved_to: None,
            reopen: false,
            epoch_missing: false,
            released: false,
            known_promoted: false,
            trouble: None,
            late: false,
            cancelled: false,
            resumed: false,
            was_sealed: false,
            why: None,
            debt: Vec::new(),
            outcome: None,
        }
    }

    /// Takes over a run that ended without an outcome: nothing is known, everything may have been done.
    ///
    /// `fence` is what the run recorded, if it got that far.
    #[must_use]
    pub fn resuming(spec: Spec, fence: Option<Position>, why: Why) -> Self {
        Self {
            back: if spec.way_back { Made::Maybe } else { Made::No },
            quiet: Made::Maybe,
            guard: Made::Maybe,
            hold: Made::Maybe,
            seal: Made::Maybe,
            promotion: Promotion::Sent,
            resumed: true,
            fence,
            why: Some(why),
            ..Self::new(spec)
        }
    }

    /// Whether a cancel would still lead back to blue.
    #[must_use]
    pub fn can_cancel(&self) -> bool {
        matches!(self.promotion, Promotion::No) && self.outcome.is_none()
    }

    /// Whether the deadline's clock runs: from the hold's statement to promote confirmed or backed out.
    #[must_use]
    pub fn is_in_window(&self) -> bool {
        use Phase::{
            Disarming, Draining, DrainingSealed, Fencing, Holding, Inspecting, Promoting, Reproving, Sealing,
        };
        matches!(
            self.phase,
            Holding
                | Fencing
                | Draining
                | Reproving
                | Sealing
                | Disarming
                | Inspecting
                | DrainingSealed
                | Promoting
        )
    }

    /// Whether the machine is undoing.
    #[must_use]
    pub fn is_backing_out(&self) -> bool {
        matches!(self.phase.step(), Step::Undo)
    }

    fn send(&mut self, phase: Phase, command: Command) -> Option<Command> {
        self.phase = phase;
        self.number += 1;
        Some(command)
    }

    fn give_up(&mut self, kind: WhyKind, detail: impl Into<String>) {
        // The first reason is the cause; what follows from it while undoing is not.
        if self.why.is_none() {
            self.why = Some(Why {
                step: self.phase.step(),
                kind,
                detail: detail.into(),
            });
        }
    }

    fn owe(&mut self, what: impl Into<String>) {
        self.debt.push(Debt {
            step: self.phase.step(),
            what: what.into(),
        });
    }

    fn end(&mut self, outcome: Outcome) -> Option<Command> {
        self.phase = Phase::Over;
        self.outcome = Some(outcome);
        None
    }
}

/// The transition: what the machine becomes, and what is to be done next.
#[must_use]
pub fn next(state: &State, event: &Event) -> (State, Option<Command>) {
    let mut after = state.clone();
    let command = match event {
        _ if state.phase == Phase::Over => None,
        Event::Begin if state.phase == Phase::Idle && state.resumed => {
            after.send(Phase::TakingOver, Command::EndEarlierSessions)
        }
        Event::Begin if state.phase == Phase::Idle => forward::begin(&mut after),
        Event::Begin => None,
        Event::Answered(number, _) if *number != state.number => None,
        Event::Answered(_, answer) if state.is_backing_out() => back::answered(&mut after, answer),
        Event::Answered(_, answer) => forward::answered(&mut after, answer),
        Event::DeadlinePassed(detail) => {
            after.late = true;
            forward::interrupted(&mut after, WhyKind::DeadlineMissed, detail)
        }
        Event::CancelAsked => {
            after.cancelled = true;
            forward::interrupted(&mut after, WhyKind::Cancelled, "the operator asked to stop")
        }
        Event::HoldLost(detail) => forward::hold_lost(&mut after, detail),
        Event::ApplierStopped(detail) => forward::applier_stopped(&mut after, detail),
        Event::UndoTimeUp if state.is_backing_out() => back::time_up(&mut after),
        Event::UndoTimeUp => None,
    };
    (after, command)
}
