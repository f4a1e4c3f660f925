//! The world around the machine: two servers, a network, a clock, an application, and a bleen that can die.
//!
//! Everything here is allowed to happen in any order; only what a server really guarantees is urgent (an idle session
//! ends when its lease is over, the guard fires when its time has come).

use bleen::domain::machine::{Answer, Command, Event, HoldKind, Made, Phase, Seen, Spec, State, next};
use bleen::domain::outcome::{Debt, Outcome, Why, WhyKind};
use bleen::domain::position::{FilePosition, Position};
use bleen::domain::step::Step;

/// Ticks after the hold's statement at which the deadline passes; the lease of the holding session ends there too.
pub const DEADLINE: u8 = 2;
/// Tick at which the guard fires.
pub const GUARD: u8 = 3;
/// I3: from this tick on blue accepts writes unless green was promoted.
pub const BOUND: u8 = 4;

/// A mistake planted in the world, so that the check can show that it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    Nothing,
    /// The seal is not persisted.
    NoPersist,
    /// Promote carries no expiry.
    NoExpiry,
    /// The guard's session is told to end and taken for gone.
    NoConfirm,
    /// Blue is unsealed without looking at green.
    BlindUnseal,
    /// The guard is not armed.
    NoGuard,
    /// The wait on green is taken for done.
    NoDrain,
    /// A promote that came too late is taken for done.
    LateIsPromoted,
    /// A lost answer of promote is taken for a refusal.
    LostIsRefused,
    /// The undo of the hold is forgotten.
    ForgetHold,
    /// Prepared XA transactions are not looked for.
    IgnoreXa,
    /// The session that sent promote is told to end and taken for gone.
    PromoterNotEnded,
    /// A write of bleen's own on green is taken for a green that is open.
    BlindConfirm,
    /// A green that is open is taken for promoted: blue is not looked at.
    OpenIsPromoted,
    /// A green that is read-only after a restart is taken for one that was never open.
    ForgotIsShut,
    /// The undo of the way back is forgotten.
    ForgetBack,
    /// The way back is taken away although green serves.
    BackIsLost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Answers that may still be lost or statements refused.
    pub lost: u8,
    pub crashes: u8,
    pub blue_restarts: u8,
    pub green_restarts: u8,
    /// Transactions without rows, as `FLUSH TABLES` makes them.
    pub rowless: u8,
    /// How often the guard may fire early (`KILL QUERY`).
    pub early_guard: u8,
    pub cancels: u8,
    /// Changes of the network.
    pub cuts: u8,
    /// How often green may come to accept writes by other means: a restart without `read_only`, an operator.
    pub strays: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub machine: State,
    pub alive: bool,
    pub command: Option<Command>,
    // Blue.
    pub sealed: bool,
    pub persisted: bool,
    pub lock: bool,
    pub holder: bool,
    pub guard: bool,
    /// The guard was told to end and runs on.
    pub stray_guard: bool,
    pub quiet: bool,
    /// Blue follows green.
    pub back: bool,
    /// It could not be told to, and the playbook accepts that.
    pub back_given_up: bool,
    pub pending_hold: bool,
    /// The position that the statement of the hold answered: the fence, where the global lock is the hold.
    pub at_hold: Option<Position>,
    pub pending_seal: bool,
    pub pending_unseal: bool,
    pub xa: bool,
    pub rows: u8,
    pub rowless: u8,
    // Green.
    pub green_open: bool,
    pub green_open_persisted: bool,
    pub epoch: bool,
    pub applied: u8,
    pub green_written: bool,
    pub promoter: bool,
    pub pending_promote: bool,
    // Network and time.
    pub blue_net: bool,
    pub green_net: bool,
    pub clock: Option<u8>,
    pub left: Budget,
    // History.
    /// A rule that a command of the machine broke.
    pub wrong: Option<&'static str>,
    pub promoted: bool,
    /// Green was opened by other means than promote. What both sides do until the run is ended is not bleen's; but it
    /// must not take that green for the one that serves.
    pub strayed: bool,
    pub promotes_sent: u8,
    /// Green opened, took no write, has no epoch row and came back read-only: nothing is lost, and its run, which knows
    /// that it pointed no traffic there, may give up.
    pub promote_left_no_trace: bool,
    /// The run itself gave up and opened blue then.
    pub given_back: bool,
    pub blue_restarted: bool,
    /// Green was open, restarted, and came back read-only.
    pub green_forgot: bool,
    pub promoted_late: bool,
    pub disarmed: bool,
    pub restarted_sealed: bool,
}

/// What one step of the world was, for the trace.
pub type Label = &'static str;

impl World {
    pub fn start(spec: Spec, left: Budget, xa: bool) -> Self {
        let (machine, command) = next(&State::new(spec), &Event::Begin);
        Self {
            machine,
            alive: true,
            command,
            sealed: false,
            persisted: false,
            lock: false,
            holder: false,
            guard: false,
            stray_guard: false,
            quiet: false,
            back: false,
            back_given_up: false,
            pending_hold: false,
            at_hold: None,
            pending_seal: false,
            pending_unseal: false,
            xa,
            rows: 0,
            rowless: 0,
            green_open: false,
            green_open_persisted: false,
            epoch: false,
            applied: 0,
            green_written: false,
            promoter: true,
            pending_promote: false,
            blue_net: true,
            green_net: true,
            clock: None,
            left,
            wrong: None,
            promoted: false,
            strayed: false,
            promotes_sent: 0,
            promote_left_no_trace: false,
            given_back: false,
            blue_restarted: false,
            green_forgot: false,
            promoted_late: false,
            disarmed: false,
            restarted_sealed: false,
        }
    }

    pub fn blue_accepts(&self) -> bool {
        !self.lock && !self.sealed
    }

    fn ticks(&self) -> u8 {
        self.clock.unwrap_or(0)
    }

    fn position(&self) -> Position {
        let offset = u64::from(self.rows) * 10 + u64::from(self.rowless);
        Position::File(FilePosition {
            file: "b".into(),
            offset,
        })
    }

    /// The first rule that this state breaks.
    pub fn broken(&self) -> Option<&'static str> {
        if self.wrong.is_some() {
            return self.wrong;
        }
        let serves = !self.strayed || matches!(self.machine.outcome, Some(Outcome::Switched { .. }));
        if serves && self.blue_accepts() && self.green_open {
            return Some("I1: both sides accept writes");
        }
        if serves && self.green_open && self.applied < self.rows {
            return Some("I2: green is open and lacks an acknowledged write of blue");
        }
        if self.blue_accepts() && self.green_written {
            return Some("I2: blue is open and lacks an acknowledged write of green");
        }
        if self.ticks() >= BOUND
            && !self.promoted
            && !self.strayed
            && !self.disarmed
            && !self.restarted_sealed
            && !self.blue_accepts()
        {
            return Some("I3: blue is not open again in time");
        }
        if self.promoted_late {
            return Some("I4: promote took effect after the deadline");
        }
        if self.promotes_sent > 1 {
            return Some("I6: promote was sent twice");
        }
        if self.alive {
            let made = [
                (self.back, self.machine.back),
                (self.quiet, self.machine.quiet),
                (self.guard, self.machine.guard),
                (self.lock, self.machine.hold),
            ];
            let forward = self.machine.promotion == bleen::domain::machine::Promotion::Yes;
            if !forward && made.iter().any(|(real, known)| *real && *known == Made::No) {
                return Some("I7: something is in force whose undo is not recorded");
            }
            if !forward && self.sealed && self.machine.seal == Made::No {
                return Some("I7: blue is sealed and its undo is not recorded");
            }
        }
        self.machine
            .outcome
            .as_ref()
            .filter(|_| self.alive)
            .and_then(|outcome| self.wrong_outcome(outcome))
    }

    fn wrong_outcome(&self, outcome: &Outcome) -> Option<&'static str> {
        match outcome {
            Outcome::Released { left, .. } | Outcome::RolledBack { left, .. } => {
                let its_own = !self.machine.resumed || self.given_back;
                if self.promoted && !(self.promote_left_no_trace && its_own) {
                    Some("I5: green was promoted and the outcome says it was not")
                } else if !self.blue_accepts() {
                    Some("I7: the outcome says blue serves and it does not")
                } else if left.is_empty() && (self.quiet || self.guard || self.back) {
                    Some("I7: the outcome names nothing left to do, and something is")
                } else if self.pending_seal || self.pending_hold || self.pending_promote {
                    Some("I6: a statement of the run may still run after its outcome")
                } else {
                    None
                }
            }
            Outcome::Switched { debt } => {
                if !self.promoted && !self.strayed {
                    Some("I5: the outcome says switched and green was never promoted")
                } else if debt.is_empty() && !self.green_open {
                    Some("I5: switched without debt and green is read-only")
                } else if debt.is_empty() && !self.epoch {
                    Some("I5: switched without debt and without an epoch row")
                } else if self.promoted && self.machine.spec.way_back && !self.back && !self.back_given_up {
                    Some("I5: green serves and the way back is gone")
                } else {
                    None
                }
            }
            Outcome::Ambiguous { .. } => None,
        }
    }

    /// Hands an event to the machine and checks what it asks for against the truth.
    pub fn tell(mut self, event: &Event, plant: Plant) -> Self {
        let abandoned = self.command.take();
        let (machine, command) = next(&self.machine, event);
        let unchanged = machine.number == self.machine.number && machine.phase != Phase::Over;
        self.machine = machine;
        if unchanged {
            self.command = abandoned;
            return self;
        }
        if !matches!(event, Event::Answered(..)) && abandoned == Some(Command::TakeHold) {
            // The wait for it was given up, the statement was not.
            self.pending_hold = self.holder;
        }
        self.machine.number = 1;
        if plant == Plant::ForgetBack && self.machine.phase == Phase::Quieting {
            self.machine.back = Made::No;
        }
        if plant == Plant::BackIsLost && self.machine.phase == Phase::Routing {
            self.back = false;
        }
        if plant == Plant::ForgetHold && self.machine.phase == Phase::Fencing {
            self.machine.hold = Made::No;
        }
        self.command = command;
        let wrong = match &self.command {
            Some(Command::TakeHold) => {
                self.clock = Some(0);
                self.holder = true;
                None
            }
            Some(Command::Promote) => {
                self.promotes_sent += 1;
                if !(self.sealed && self.persisted) {
                    Some("I4: promote although blue is not sealed")
                } else if self.guard {
                    Some("I4: promote although the guard lives")
                } else if self.applied < self.rows {
                    Some("I4: promote although green has not executed the fence position")
                } else if self.machine.late {
                    Some("I4: promote after the deadline")
                } else {
                    None
                }
            }
            Some(Command::Unseal) if !self.pending_promote => {
                self.given_back |= !self.machine.resumed;
                None
            }
            Some(Command::Unseal) => Some("I6: unseal while promote may still run"),
            Some(Command::Reseal | Command::Reopen | Command::WriteEpoch | Command::Route)
                if !self.promoted && self.applied < self.rows =>
            {
                Some("I2: a green that lacks acknowledged writes is taken for the one that serves")
            }
            _ => None,
        };
        self.wrong = wrong;
        self
    }

    /// Every world that may come next.
    pub fn steps(&self, plant: Plant) -> Vec<(Label, Self)> {
        let mut out = Vec::new();
        self.time_and_servers(plant, &mut out);
        self.application(&mut out);
        if self.alive {
            self.bleen(plant, &mut out);
        } else {
            self.after_death(&mut out);
        }
        out
    }

    fn change(&self, label: Label, edit: impl FnOnce(&mut Self)) -> (Label, Self) {
        let mut world = self.clone();
        edit(&mut world);
        (label, world)
    }

    fn time_and_servers(&self, plant: Plant, out: &mut Vec<(Label, Self)>) {
        let lease_due = self.ticks() >= DEADLINE && self.holder && !self.pending_seal && !self.pending_hold;
        let guard_due = self.ticks() >= GUARD && (self.guard || self.stray_guard);
        // The longest statement on the holding session ends before the guard fires.
        let statement_due = self.ticks() >= DEADLINE && (self.pending_seal || self.pending_hold);
        if let Some(now) = self.clock
            && now < BOUND
            && !lease_due
            && !guard_due
            && !statement_due
        {
            out.push(self.change("a tick passes", |w| w.clock = Some(now + 1)));
        }
        if self.holder && (lease_due || !self.alive) {
            out.push(self.change("the holding session ends", Self::end_holder));
        }
        if self.guard && (guard_due || !self.alive) {
            out.push(self.change("the guard fires", Self::fire_guard));
        } else if self.guard && self.left.early_guard > 0 {
            out.push(self.change("the guard is made to fire early", |w| {
                w.left.early_guard -= 1;
                w.fire_guard();
            }));
        }
        if self.stray_guard {
            out.push(self.change("the guard that was told to end fires", Self::fire_guard));
        }
        if self.pending_hold {
            out.push(self.change("the late hold is granted", |w| {
                w.pending_hold = false;
                w.lock = true;
            }));
        }
        if self.pending_seal {
            out.push(self.change("the late seal runs", |w| w.run_seal(plant)));
        }
        if self.pending_unseal {
            out.push(self.change("the late unseal runs", |w| {
                w.pending_unseal = false;
                w.sealed = false;
                w.persisted = false;
            }));
        }
        if self.pending_promote {
            out.push(self.change("the late promote runs", |w| {
                w.run_promote(plant, true);
            }));
        }
        if self.left.blue_restarts > 0 {
            out.push(self.change("blue restarts", |w| {
                w.left.blue_restarts -= 1;
                w.blue_restarted = true;
                w.restarted_sealed |= w.sealed && w.persisted;
                w.end_holder();
                w.guard = false;
                w.stray_guard = false;
                w.sealed = w.persisted;
            }));
        }
        if self.left.green_restarts > 0 {
            out.push(self.change("green restarts", |w| {
                w.left.green_restarts -= 1;
                w.promoter = false;
                w.pending_promote = false;
                w.green_open = w.green_open_persisted;
            }));
            // Without SET PERSIST an option file may shut it again. After the end it is nobody's but the operator's.
            if self.green_open && !(self.alive && self.machine.phase == Phase::Over) {
                out.push(self.change("green restarts and comes back read-only", |w| {
                    w.left.green_restarts -= 1;
                    w.promoter = false;
                    w.pending_promote = false;
                    w.green_open = false;
                    w.green_open_persisted = false;
                    w.green_forgot = true;
                    w.promote_left_no_trace |= w.promoted && !w.epoch && !w.green_written;
                }));
            }
        }
        if self.left.strays > 0 && !self.green_open {
            out.push(self.change("green comes to accept writes by other means", |w| {
                w.left.strays -= 1;
                w.green_open = true;
                w.strayed = true;
            }));
        }
        if self.left.cuts > 0 {
            out.push(self.change("the network to blue changes", |w| {
                w.left.cuts -= 1;
                w.blue_net = !w.blue_net;
            }));
            out.push(self.change("the network to green changes", |w| {
                w.left.cuts -= 1;
                w.green_net = !w.green_net;
            }));
        } else if !self.blue_net || !self.green_net {
            out.push(self.change("the network comes back", |w| {
                w.blue_net = true;
                w.green_net = true;
            }));
        }
        if self.applied < self.rows {
            out.push(self.change("green applies", |w| w.applied = w.rows));
        }
    }

    fn application(&self, out: &mut Vec<(Label, Self)>) {
        if self.blue_accepts() && self.rows < 2 {
            out.push(self.change("the application writes on blue", |w| w.rows += 1));
        }
        if self.xa && self.rows < 2 {
            out.push(self.change("XA COMMIT on blue", |w| {
                w.xa = false;
                w.rows += 1;
            }));
        }
        if self.left.rowless > 0 {
            out.push(self.change("FLUSH TABLES on blue", |w| {
                w.left.rowless -= 1;
                w.rowless += 1;
            }));
        }
        // Nobody has pointed the application at a green that was opened by other means.
        if self.green_open && self.promoted && !self.strayed && !self.green_written {
            out.push(self.change("the application writes on green", |w| w.green_written = true));
        }
    }

    fn bleen(&self, plant: Plant, out: &mut Vec<(Label, Self)>) {
        if self.left.crashes > 0 && self.machine.phase != Phase::Over {
            out.push(self.change("bleen dies", |w| {
                w.left.crashes -= 1;
                w.alive = false;
                w.leave_pending();
                w.command = None;
            }));
        }
        if self.ticks() >= DEADLINE && !self.machine.late {
            out.push((
                "the deadline is noticed",
                self.clone().tell(&Event::DeadlinePassed("x".into()), plant),
            ));
        }
        if self.left.cancels > 0 && self.machine.can_cancel() {
            let mut world = self.clone();
            world.left.cancels -= 1;
            out.push(("the operator cancels", world.tell(&Event::CancelAsked, plant)));
        }
        if self.machine.is_in_window() && !self.holder && self.machine.spec.hold != HoldKind::Refuse {
            out.push((
                "the watcher misses the holder",
                self.clone().tell(&Event::HoldLost("x".into()), plant),
            ));
        }
        if self.machine.is_backing_out() && self.machine.trouble.is_some() {
            out.push((
                "the undo's time is up",
                self.clone().tell(&Event::UndoTimeUp, plant),
            ));
        }
        if let Some(command) = &self.command {
            for (label, world, answer) in self.carry_out(command, plant) {
                let number = world.machine.number;
                out.push((label, world.tell(&Event::Answered(number, answer), plant)));
            }
        }
        if matches!(self.machine.outcome, Some(Outcome::Ambiguous { .. })) && self.left.crashes > 0 {
            out.push(self.change("somebody resumes", |w| {
                w.left.crashes -= 1;
                w.resume();
            }));
        }
    }

    fn after_death(&self, out: &mut Vec<(Label, Self)>) {
        if self.promoter {
            out.push(self.change("green notices the dead client", |w| {
                w.promoter = w.pending_promote;
            }));
        }
        out.push(self.change("somebody resumes", Self::resume));
    }

    fn resume(&mut self) {
        let why = Why {
            step: Step::Undo,
            kind: WhyKind::AnswerLost,
            detail: "resumed".into(),
        };
        let fresh = State::resuming(self.machine.spec, self.machine.fence.clone(), why);
        let (machine, command) = next(&fresh, &Event::Begin);
        self.machine = machine;
        self.machine.number = 1;
        self.command = command;
        self.alive = true;
    }

    fn end_holder(&mut self) {
        self.holder = false;
        self.lock = false;
        self.pending_hold = false;
        self.pending_seal = false;
        self.pending_unseal = false;
    }

    fn fire_guard(&mut self) {
        self.guard = false;
        self.stray_guard = false;
        self.sealed = false;
        self.persisted = false;
    }

    fn run_seal(&mut self, plant: Plant) {
        self.pending_seal = false;
        let session = self.holder || self.machine.spec.hold == HoldKind::Tables;
        if session && self.guard | (plant == Plant::NoGuard) && self.ticks() < DEADLINE {
            self.sealed = true;
            self.persisted = plant != Plant::NoPersist;
        }
    }

    /// Whether it opened green: late, it fails and changes nothing.
    fn run_promote(&mut self, plant: Plant, epoch: bool) -> bool {
        self.pending_promote = false;
        let in_time = self.ticks() < DEADLINE || plant == Plant::NoExpiry;
        if in_time {
            self.green_open = true;
            self.green_open_persisted = true;
            self.promoted = true;
            self.promoted_late |= self.ticks() >= DEADLINE;
            self.epoch |= epoch;
        }
        in_time
    }

    /// What was under way may still reach the server.
    fn leave_pending(&mut self) {
        match self.command {
            Some(Command::Seal) if self.holder => self.pending_seal = true,
            Some(Command::Promote) if self.promoter => self.pending_promote = true,
            Some(Command::TakeHold) if self.holder => self.pending_hold = true,
            Some(Command::Unseal) => self.pending_unseal = true,
            _ => {}
        }
    }

    /// Every way in which a command can end: done, refused, lost before, lost after, still under way.
    fn carry_out(&self, command: &Command, plant: Plant) -> Vec<(Label, Self, Answer)> {
        let lost = || Answer::Unknown("lost".into());
        let mut ends = Vec::new();
        let needs_blue = !matches!(
            command,
            Command::Promote
                | Command::EndPromoter
                | Command::WriteEpoch
                | Command::Reopen
                | Command::Drain { .. }
        );
        let needs_green = matches!(
            command,
            Command::Promote
                | Command::EndPromoter
                | Command::WriteEpoch
                | Command::Reopen
                | Command::Drain { .. }
                | Command::ReadGreen
                | Command::EndEarlierSessions
                | Command::ReadFence
        );
        let needs_blue = needs_blue && (self.machine.resumed || !matches!(command, Command::ReadGreen));
        let reachable = (!needs_blue || self.blue_net) && (!needs_green || self.green_net);
        if !reachable {
            let mut world = self.clone();
            world.leave_pending();
            ends.push(("no answer, the network is cut", world, lost()));
            return ends;
        }
        for (label, world, answer) in self.done(command, plant) {
            if world.left.lost > 0 {
                let mut world = world.clone();
                world.left.lost -= 1;
                let answer = if plant == Plant::LostIsRefused && *command == Command::Promote {
                    Answer::Refused(WhyKind::Refused, "lost".into())
                } else {
                    lost()
                };
                ends.push(("done, the answer is lost", world, answer));
            }
            ends.push((label, world, answer));
        }
        if self.left.lost > 0 {
            let mut world = self.clone();
            world.left.lost -= 1;
            world.leave_pending();
            ends.push(("no answer, it may still run", world, lost()));
            let mut world = self.clone();
            world.left.lost -= 1;
            ends.push((
                "refused",
                world,
                Answer::Refused(WhyKind::Refused, "refused".into()),
            ));
        }
        ends
    }

    fn done(&self, command: &Command, plant: Plant) -> Vec<(Label, Self, Answer)> {
        let mut world = self.clone();
        let seen = |s| Answer::Seen(s);
        let refused = |k: WhyKind| Answer::Refused(k, "refused".into());
        let sealed_now = |w: &Self, gone| Seen::Sealed {
            guard_gone: gone,
            sealed: w.sealed && (w.persisted || plant == Plant::NoPersist),
            position: w.position(),
        };
        match command {
            Command::WireBack => {
                let mut none = world.clone();
                none.back_given_up = true;
                world.back = true;
                vec![
                    ("blue follows green", world, seen(Seen::Done)),
                    (
                        "no way back, which is accepted",
                        none,
                        seen(Seen::NoWayBack(String::new())),
                    ),
                ]
            }
            Command::UnwireBack => {
                world.back = false;
                vec![("blue follows green no more", world, seen(Seen::Left(Vec::new())))]
            }
            Command::Quiet => {
                world.quiet = true;
                vec![("quiet", world, seen(Seen::Done))]
            }
            Command::ArmGuard => {
                world.guard = plant != Plant::NoGuard;
                vec![("guard armed", world, seen(Seen::Done))]
            }
            Command::TakeHold => {
                if !world.holder {
                    return vec![(
                        "the holding session is gone",
                        world,
                        Answer::Unknown("gone".into()),
                    )];
                }
                if world.machine.spec.hold == HoldKind::Refuse {
                    if !world.guard || world.ticks() >= DEADLINE {
                        return vec![("no guard", world, refused(WhyKind::Refused))];
                    }
                    world.sealed = true;
                } else {
                    world.lock = true;
                }
                if world.machine.spec.hold == HoldKind::Lock {
                    world.at_hold = Some(world.position());
                }
                vec![("hold granted", world, seen(Seen::Done))]
            }
            Command::ReadFence => {
                let position = world.at_hold.take().unwrap_or_else(|| world.position());
                let prepared_xa = u32::from(world.xa && plant != Plant::IgnoreXa);
                let fence = Seen::Fence {
                    position,
                    prepared_xa,
                };
                vec![("fence read", world, seen(fence))]
            }
            Command::Drain { to } | Command::DrainSealed { to } => {
                let reached = match to {
                    Position::File(f) => u64::from(world.applied) * 10 + 9 >= f.offset,
                    _ => false,
                };
                if !reached && plant != Plant::NoDrain {
                    return Vec::new();
                }
                if matches!(command, Command::Drain { .. }) {
                    if world.green_open {
                        return vec![("green is open", world, refused(WhyKind::GreenWritable))];
                    }
                    vec![("drained", world, seen(Seen::Done))]
                } else {
                    let answer = seen(sealed_now(&world, !world.guard));
                    vec![("drained under the seal", world, answer)]
                }
            }
            Command::Reprove => vec![
                ("equal at the fence", world.clone(), seen(Seen::Done)),
                ("different at the fence", world, refused(WhyKind::ProofFailed)),
            ],
            Command::Seal => {
                let can = match world.machine.spec.hold {
                    HoldKind::Tables => true,
                    HoldKind::Lock | HoldKind::Refuse => world.holder,
                };
                if !can {
                    return vec![(
                        "the holding session is gone",
                        world,
                        Answer::Unknown("gone".into()),
                    )];
                }
                world.run_seal(plant);
                let held = world.holder || world.machine.spec.hold == HoldKind::Refuse;
                let answer = if world.sealed && held {
                    seen(Seen::Done)
                } else {
                    refused(WhyKind::HoldLost)
                };
                vec![("seal statement ran", world, answer)]
            }
            Command::Disarm => {
                let mut stubborn = world.clone();
                world.disarmed |= world.guard;
                if plant == Plant::NoConfirm && world.guard {
                    world.stray_guard = true;
                }
                world.guard = false;
                let answer = seen(sealed_now(&world, true));
                let mut ends = vec![("guard ended", world, answer)];
                if stubborn.guard && stubborn.left.lost > 0 {
                    stubborn.left.lost -= 1;
                    let answer = seen(sealed_now(&stubborn, false));
                    ends.push(("the guard is still there", stubborn, answer));
                }
                ends
            }
            Command::ReadMoved { .. } => {
                let from = match &world.machine.fence {
                    Some(Position::File(f)) => f.offset / 10,
                    _ => 0,
                };
                let rows = (u64::from(world.rows) > from).then(|| "rows".to_owned());
                vec![("events read", world, seen(Seen::Moved { rows }))]
            }
            Command::Promote => {
                if !world.promoter {
                    return vec![(
                        "the promoting session is gone",
                        world,
                        Answer::Unknown("gone".into()),
                    )];
                }
                let opened = world.run_promote(plant, true);
                if !opened && plant != Plant::LateIsPromoted {
                    return vec![("promote came late", world, refused(WhyKind::DeadlineMissed))];
                }
                let mut without = self.clone();
                without.run_promote(plant, false);
                let green = |epoch| Seen::Green {
                    read_only: false,
                    epoch,
                    own: None,
                    blue_sealed: None,
                    has_all: None,
                    forgot: false,
                };
                vec![
                    ("green opens", world, seen(green(true))),
                    ("green opens without epoch row", without, seen(green(false))),
                ]
            }
            Command::EndEarlierSessions => {
                world.end_holder();
                world.promoter = false;
                world.pending_promote = false;
                vec![("earlier sessions ended", world, seen(Seen::Done))]
            }
            Command::EndPromoter => {
                if plant != Plant::PromoterNotEnded {
                    world.promoter = false;
                    world.pending_promote = false;
                }
                vec![("promoting session ended", world, seen(Seen::Done))]
            }
            Command::ReadGreen => {
                let blind = plant == Plant::BlindUnseal;
                let taken = plant == Plant::OpenIsPromoted;
                // A run of its own goes on without blue; here it never sees it.
                let read_blue = world.machine.resumed;
                let never_sent = world.guard || (!world.sealed && !world.blue_restarted);
                let green = Seen::Green {
                    read_only: !world.green_open || blind,
                    epoch: world.epoch && !blind,
                    own: (world.green_written && !blind).then(|| "own".to_owned()),
                    blue_sealed: read_blue.then_some(world.sealed || taken),
                    has_all: read_blue.then_some(world.applied == world.rows || taken),
                    forgot: world.green_forgot && !never_sent && plant != Plant::ForgotIsShut,
                };
                vec![("green read", world, seen(green))]
            }
            Command::EndHolder | Command::GiveUpHold => {
                world.end_holder();
                vec![("holding session ended", world, seen(Seen::Done))]
            }
            Command::Unseal => {
                let opened = Seen::Opened {
                    was_sealed: world.sealed,
                };
                world.sealed = false;
                world.persisted = false;
                world.pending_unseal = false;
                vec![("unsealed", world, seen(opened))]
            }
            Command::EndGuard => {
                world.guard = false;
                vec![("guard ended", world, seen(Seen::Done))]
            }
            Command::PutBack => {
                world.quiet = false;
                vec![("settings put back", world, seen(Seen::Left(Vec::new())))]
            }
            Command::Reseal => {
                world.guard = false;
                world.sealed = true;
                world.persisted = true;
                vec![("sealed again", world, seen(Seen::Done))]
            }
            Command::Reopen if !world.sealed => {
                vec![(
                    "not opened beside an open blue",
                    world,
                    refused(WhyKind::GreenWritable),
                )]
            }
            Command::Reopen => {
                world.green_open = true;
                world.green_open_persisted = true;
                vec![("green opened again", world, seen(Seen::Done))]
            }
            Command::WriteEpoch if !world.green_open => {
                vec![(
                    "no epoch row, green is read-only",
                    world,
                    refused(WhyKind::Refused),
                )]
            }
            Command::WriteEpoch => {
                world.epoch = true;
                vec![("epoch row written", world, seen(Seen::Left(Vec::new())))]
            }
            Command::Release => {
                world.end_holder();
                vec![("released", world, seen(Seen::Left(Vec::new())))]
            }
            Command::Confirm if !world.green_open && plant != Plant::BlindConfirm => {
                let left = Debt {
                    step: Step::Promote,
                    what: "green is read-only".into(),
                };
                vec![("green is seen read-only", world, seen(Seen::Left(vec![left])))]
            }
            Command::Route | Command::Confirm => vec![("done", world, seen(Seen::Left(Vec::new())))],
        }
    }
}
