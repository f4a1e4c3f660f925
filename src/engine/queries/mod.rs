//! The query proof: the application's own statements, answered by both sides. And the same statements as a warm-up.
//!
//! One statement at a time, so that the sides are not slowed down by the proof itself. Must not know SQL or a driver.

mod entry;
mod ports;
mod prove;
#[cfg(test)]
mod tests;
mod warm;

pub use entry::{Entry, QueryProof};
pub use ports::{Failure, Quiet, Ran, Replays, Statement};
pub use prove::{Terms, prove};
pub use warm::warm;
