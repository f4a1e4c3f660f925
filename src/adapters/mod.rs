//! The only code that knows a driver, a file or a process. Implements the engine's ports.

pub mod compose;
pub mod exec;
pub mod gates;
pub mod journal;
pub mod mysql;
pub mod proof;
pub mod proof_kept;
pub mod queries;
pub mod secrets;
pub mod targets;
