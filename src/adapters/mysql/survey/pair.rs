//! Reads both sides of a pair, in the order that the guardrails' comparisons need.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Surveyor;
use crate::adapters::mysql::session::Session;
use crate::domain::capabilities::Capabilities;
use crate::domain::guardrails::facts::{Positions, ServerFacts};
use crate::domain::guardrails::{Facet, Scope};
use crate::domain::ids::Side;
use crate::engine::doctor::{Look, Looking, Sides};

/// A transaction is sent to replicas before the engine of its own server has committed it, up to 100 ms before in
/// measurements (longer behind a semi-synchronous wait): the follower may show it first. So what only the follower has
/// is looked for again on the other side, this often and this far apart, before it is called foreign.
const SHIPPED_LOOKS: u32 = 8;
const SHIPPED_APART: Duration = Duration::from_millis(25);

/// Whether the follower shows transactions that the leader does not.
fn has_foreign(follower: &ServerFacts, leader: &ServerFacts) -> bool {
    match (follower.positions.value(), leader.positions.value()) {
        (Some(own), Some(theirs)) => theirs.has_all_of(own) == Some(false),
        _ => false,
    }
}

/// Whether those may be on the leader at the next look. MariaDB's state is ahead of what it sends, so there one look is
/// enough.
fn may_be_shipped(follower: &ServerFacts) -> bool {
    matches!(follower.positions.value(), Some(Positions::MySql { .. }))
}

/// One session on each side, held for surveys.
pub struct PairSurveyor {
    blue: Surveyor,
    green: Surveyor,
}

impl PairSurveyor {
    /// Takes over a session on each side. `budget` limits each single question.
    #[must_use]
    pub fn new(blue: (Session, Capabilities), green: (Session, Capabilities), budget: Duration) -> Self {
        Self {
            blue: Surveyor::new(blue.0, blue.1, budget),
            green: Surveyor::new(green.0, green.1, budget),
        }
    }

    /// The surveyor of one side.
    pub fn side(&mut self, side: Side) -> &mut Surveyor {
        match side {
            Side::Blue => &mut self.blue,
            Side::Green => &mut self.green,
        }
    }

    /// Reads these groups of facts of both sides into `blue` and `green`; what is not among them stays as it is.
    ///
    /// Positions come first, and the side that only follows before the other: what it executed by then, the other one
    /// has executed when it is asked later. Everything else is read from both sides at once.
    pub async fn read(
        &mut self,
        scope: Scope,
        facets: &BTreeSet<Facet>,
        blue: &mut ServerFacts,
        green: &mut ServerFacts,
    ) {
        let mut rest = facets.clone();
        if rest.remove(&Facet::Positions) {
            let mut positions = BTreeSet::from([Facet::Positions]);
            // Binlogs go along: whether they are asked for decides whether the purged part is read.
            if rest.contains(&Facet::Binlogs) {
                positions.insert(Facet::Binlogs);
                rest.remove(&Facet::Binlogs);
            }
            let (follower, follower_facts, leader, leader_facts) = if scope == Scope::After {
                (&mut self.blue, &mut *blue, &mut self.green, &mut *green)
            } else {
                (&mut self.green, &mut *green, &mut self.blue, &mut *blue)
            };
            follower.read(scope, &positions, follower_facts).await;
            leader.read(scope, &positions, leader_facts).await;
            positions.remove(&Facet::Binlogs);
            for _ in 0..SHIPPED_LOOKS {
                if !may_be_shipped(follower_facts) || !has_foreign(follower_facts, leader_facts) {
                    break;
                }
                tokio::time::sleep(SHIPPED_APART).await;
                let mut again = ServerFacts::default();
                leader.read(scope, &positions, &mut again).await;
                leader_facts.positions = again.positions;
            }
            if has_foreign(follower_facts, leader_facts)
                && let Some(other_side) = leader_facts.positions.value()
            {
                follower_facts.foreign_statements = follower.foreign_statements(other_side).await.into();
            }
        }
        tokio::join!(
            self.blue.read(scope, &rest, blue),
            self.green.read(scope, &rest, green)
        );
    }
}

impl Look for PairSurveyor {
    fn look<'a>(
        &'a mut self,
        scope: Scope,
        facets: &'a BTreeSet<Facet>,
        sides: &'a mut Sides,
    ) -> Looking<'a> {
        Box::pin(self.read(scope, facets, &mut sides.blue, &mut sides.green))
    }
}
