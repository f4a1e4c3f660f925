//! The application's own queries, answered by both sides: which may be replayed, and what the answers say. Pure.
//!
//! A statement's text goes through [`reading::look`] (what does it read, may it be replayed), [`catalogue::decide`]
//! (with what blue says of its tables), and when both sides have answered through [`verdict::judge`].

pub mod candidates;
pub mod catalogue;
pub mod fingerprint;
mod functions;
pub mod order;
pub mod plan;
mod plan_tree;
pub mod reading;
#[cfg(test)]
mod tests;
pub mod timing;
pub mod verdict;
pub mod warm;
pub mod words;

/// The most rows of an answer that are compared.
pub const MOST_ROWS: usize = 10_000;
