//! Guardrails on real servers: a clean pair gives *go*, and each thing broken on purpose gives exactly its finding.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what failed by failing"
)]

mod clean;
mod mariadb;
mod mysql;
mod mysql_run;
#[path = "../support/mod.rs"]
mod support;
mod upgrade;
mod world;
