//! Reads both sides of a pair, in the order that the guardrails' comparisons need.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Surveyor;
use crate::adapters::mysql::session::Session;
use crate::domain::capabilities::Capabilities;
use crate::domain::guardrails::facts::ServerFacts;
use crate::domain::guardrails::{Facet, Scope};
use crate::domain::ids::Side;
use crate::engine::doctor::{Look, Looking, Sides};

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
            if scope == Scope::After {
                self.blue.read(scope, &positions, blue).await;
                self.green.read(scope, &positions, green).await;
            } else {
                self.green.read(scope, &positions, green).await;
                self.blue.read(scope, &positions, blue).await;
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
