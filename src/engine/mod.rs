//! Runs the machine on ports with deadlines. Must not know SQL, a driver, a terminal or a file.

pub mod attempt;
pub mod change;
pub mod doctor;
pub mod event;
pub mod fault;
pub mod hooks;
pub mod ports;
pub mod prepare;
pub mod proof;
pub mod queries;
pub mod switchover;
mod words;
