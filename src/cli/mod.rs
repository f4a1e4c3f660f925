//! The composition root: the only room that wires adapters into the engine.

pub mod picture;

/// Runs the command line and returns the process's exit code.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
