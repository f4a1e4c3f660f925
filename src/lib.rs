//! bleen moves a MySQL or MariaDB database from the cluster that serves it today (blue) to a new one (green).
//!
//! The rooms, and who may use whom (`tests/architecture.rs` refuses an import against the direction):
//!
//! ```text
//! domain    pure: words, positions, guardrails, the state machine. No clock, no I/O, no SQL.
//! playbook  YAML text in, settings or diagnostics out. Uses domain.
//! engine    runs the machine on ports with deadlines. Uses domain and playbook. No SQL, no driver.
//! adapters  the only code that knows a driver, a file, a process. Uses engine, playbook, domain.
//! report    one stream of events in, lines or JSON out. Uses engine's events and domain.
//! sandbox   throw-away servers and load on this machine. Uses everything but cli.
//! cli       the composition root. Uses everything.
//! ```

pub mod adapters;
pub mod cli;
pub mod domain;
pub mod engine;
pub mod playbook;
pub mod report;
pub mod sandbox;
