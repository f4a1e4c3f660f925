//! Guardrails as values: what must hold before anything is changed, and again right before the hold.

pub mod facts;
mod known;

pub use known::Known;
