//! Asks every guardrail of a scope and draws the decision.
//!
//! Must not know how a server is read: [`Look`] does that, and a test puts plain facts in its place.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::domain::guardrails::facts::ServerFacts;
use crate::domain::guardrails::{
    Decision, Facet, Finding, Limits, PlanFacts, Scope, Survey, Waivers, decide, examine, facets,
};
use crate::domain::machine::HoldKind;
use crate::playbook::model::{HoldWay, Playbook, PrivilegedSessions};

/// The future of a [`Look`].
pub type Looking<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What is known of both servers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sides {
    /// Blue.
    pub blue: ServerFacts,
    /// Green.
    pub green: ServerFacts,
}

/// Reads both servers.
pub trait Look: Send {
    /// Reads these groups of facts into `sides` and leaves the others as they are. Never fails: what cannot be read
    /// becomes *unknown* with the reason. Bounded by a time limit for each question.
    fn look<'a>(&'a mut self, scope: Scope, facets: &'a BTreeSet<Facet>, sides: &'a mut Sides)
    -> Looking<'a>;
}

/// All findings of a scope.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Examination {
    /// The scope.
    pub scope: Scope,
    /// All findings, also those that are ok, sorted by guardrail.
    pub findings: Vec<Finding>,
    /// Whether to go on.
    pub decision: Decision,
    /// How old the slowly read facts (schema, accounts) are; zero if they were read now.
    pub slow_facts_age: Duration,
    /// How long reading took.
    pub took: Duration,
}

/// How old slowly read facts may be right before the hold.
const SLOW_FACTS_LAST: Duration = Duration::from_secs(60);

/// Asks guardrails over one way of looking, and keeps what changes seldom for the moment before the hold.
pub struct Doctor<L> {
    look: L,
    limits: Limits,
    waivers: Waivers,
    sides: Sides,
    slow_read: Option<Instant>,
}

impl<L: Look> Doctor<L> {
    /// Guardrails with these limits and waivers.
    #[must_use]
    pub fn new(look: L, limits: Limits, waivers: Waivers) -> Self {
        Self {
            look,
            limits,
            waivers,
            sides: Sides::default(),
            slow_read: None,
        }
    }

    /// Guardrails as a playbook wants them.
    #[must_use]
    pub fn of_playbook(look: L, playbook: &Playbook) -> Self {
        Self::new(look, limits(playbook), waivers(playbook))
    }

    /// The way of looking, to tell it of further sessions.
    pub fn look_mut(&mut self) -> &mut L {
        &mut self.look
    }

    /// What is known of both servers so far.
    #[must_use]
    pub fn sides(&self) -> &Sides {
        &self.sides
    }

    /// Reads what takes long and changes seldom, so that [`Doctor::examine`] right before the hold is quick. Call it
    /// while waiting for the moment; what it read is good for a minute.
    pub async fn read_ahead(&mut self) {
        let slow: BTreeSet<Facet> = facets(Scope::Hold).into_iter().filter(|f| f.is_slow()).collect();
        self.look.look(Scope::Hold, &slow, &mut self.sides).await;
        self.slow_read = Some(Instant::now());
    }

    /// Reads what the scope's guardrails look at, asks all of them, and draws the decision.
    ///
    /// Right before the hold, schema and accounts are not read again if [`Doctor::read_ahead`] did so within the last
    /// minute; in every other scope everything is. Cancelling it leaves the sessions it reads over unusable.
    pub async fn examine(&mut self, scope: Scope, plan: PlanFacts) -> Examination {
        let started = Instant::now();
        let mut wanted = facets(scope);
        let fresh = self.slow_read.filter(|at| at.elapsed() < SLOW_FACTS_LAST);
        let mut slow_facts_age = Duration::ZERO;
        match fresh {
            Some(at) if scope == Scope::Hold => {
                wanted.retain(|f| !f.is_slow());
                slow_facts_age = at.elapsed();
            }
            _ => {
                // What an earlier scope saw must not stand in for what this one did not read.
                self.sides = Sides::default();
                self.slow_read = (scope == Scope::Hold).then(Instant::now);
            }
        }
        self.look.look(scope, &wanted, &mut self.sides).await;
        let survey = Survey {
            scope,
            blue: self.sides.blue.clone(),
            green: self.sides.green.clone(),
            limits: self.limits.clone(),
            plan,
        };
        let findings = examine(&survey, &self.waivers);
        Examination {
            scope,
            decision: decide(&findings),
            findings,
            slow_facts_age,
            took: started.elapsed(),
        }
    }
}

/// What a playbook allows.
#[must_use]
pub fn limits(playbook: &Playbook) -> Limits {
    let switch = &playbook.switch;
    Limits {
        deadline: switch.deadline,
        lag: playbook.lag.limit,
        longest_transaction: switch.longest_transaction,
        longest_statement: switch.longest_statement,
        end_selects: switch.end_selects,
        end_privileged_sessions: switch.privileged_sessions == PrivilegedSessions::End,
        hold: match switch.hold {
            HoldWay::Auto => None,
            HoldWay::Lock => Some(HoldKind::Lock),
            HoldWay::Tables => Some(HoldKind::Tables),
            HoldWay::Refuse => Some(HoldKind::Refuse),
        },
        // From now to the end of the window, with the time that green may take to catch up before it.
        keep_binlogs: switch
            .window
            .saturating_add(playbook.lag.catch_up)
            .saturating_add(Duration::from_secs(1_800)),
        way_back: !switch.accept_no_way_back,
        replication_user: playbook.replication.user.clone(),
        ..Limits::default()
    }
}

/// What a playbook waives.
#[must_use]
pub fn waivers(playbook: &Playbook) -> Waivers {
    playbook
        .waivers
        .iter()
        .map(|w| (w.guardrail, w.reason.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::guardrails::{Known, Severity};

    /// Remembers what it was asked for, and answers every question about XA with "none".
    #[derive(Default)]
    struct Plain {
        asked: Vec<BTreeSet<Facet>>,
    }

    impl Look for Plain {
        fn look<'a>(
            &'a mut self,
            _: Scope,
            facets: &'a BTreeSet<Facet>,
            sides: &'a mut Sides,
        ) -> Looking<'a> {
            self.asked.push(facets.clone());
            if facets.contains(&Facet::XaPrepared) {
                sides.blue.xa_prepared = Known::Known(Vec::new());
            }
            Box::pin(std::future::ready(()))
        }
    }

    #[tokio::test]
    async fn before_the_hold_only_what_is_quick_is_read() {
        let mut doctor = Doctor::new(Plain::default(), Limits::default(), Waivers::new());
        doctor.read_ahead().await;
        let seen = doctor.examine(Scope::Hold, PlanFacts::default()).await;
        let asked = &doctor.look_mut().asked;
        assert!(asked[0].contains(&Facet::Schema) && !asked[0].contains(&Facet::XaPrepared));
        assert!(!asked[1].contains(&Facet::Schema) && asked[1].contains(&Facet::XaPrepared));
        assert!(
            matches!(seen.decision, Decision::NoGo(_)),
            "most of it is not known"
        );
        let xa = seen
            .findings
            .iter()
            .find(|f| f.id.as_str() == "xa-prepared")
            .unwrap();
        assert_eq!(xa.severity, Severity::Ok);
    }

    #[tokio::test]
    async fn nothing_of_an_earlier_scope_is_left_standing() {
        let mut doctor = Doctor::new(Plain::default(), Limits::default(), Waivers::new());
        doctor.examine(Scope::Hold, PlanFacts::default()).await;
        doctor.examine(Scope::Prepare, PlanFacts::default()).await;
        assert!(doctor.sides().blue.xa_prepared.value().is_none());
        assert!(
            doctor.look_mut().asked[0].contains(&Facet::Schema),
            "nobody read ahead"
        );
    }
}
