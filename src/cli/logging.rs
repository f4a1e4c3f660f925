//! Log lines: for whoever looks for a mistake, on stderr, never mixed into data.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::args::Global;
use super::error::CliError;
use super::exit::ErrorKind;
use super::printer;

/// Starts logging as `--log` says.
///
/// # Errors
/// A usage error for a filter that cannot be read.
pub fn start(global: &Global) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(&global.log).map_err(|error| {
        CliError::new(
            ErrorKind::Usage,
            format!("read `--log {}`", global.log),
            error.to_string(),
        )
        .hint("a level (error, warn, info, debug, trace) or a filter such as `bleen::engine=debug`")
    })?;
    let lines = fmt::layer()
        .with_writer(printer::log_stream)
        .with_ansi(printer::log_has_colour())
        .with_target(true)
        .compact();
    // A second start in one process (tests) keeps the first one's settings.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Ok(())
}
