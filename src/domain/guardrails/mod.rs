//! Guardrails as values: what must hold before anything is changed, and again right before the hold.
//!
//! A survey is plain data, a guardrail a pure function from it to findings, the table all there are. Nothing here asks
//! a server. A new guardrail needs an id in `guardrail_ids`, a check, a line in the table, and cases in `tests`: one
//! that stops, one that is fine, and one that is not known.

mod checks;
pub mod facts;
mod finding;
mod known;
mod normal;
mod survey;
mod table;
#[cfg(test)]
mod tests;

pub use checks::masked;
pub use checks::rights::first_hold;
pub use finding::{Decision, Finding, Scope, Severity, Waivers, decide, summary};
pub use known::Known;
pub use survey::{LagFact, Limits, PlanFacts, ProofFact, Replayed, StatementFact, Survey};
pub use table::{Facet, GUARDRAILS, Guardrail, examine, facets};
