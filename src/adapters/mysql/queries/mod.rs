//! The application's own queries on real servers: where they are found, and how they are replayed.

pub mod found;
mod relations;
mod replayer;
pub mod replays;
mod sides;
mod sources;
pub mod standstill;
pub mod watched;
