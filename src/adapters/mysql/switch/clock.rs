//! A deadline on a server's own clock, for statements that carry their expiry with them.

use std::time::{Duration, Instant};

use super::sessions::Sessions;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::session::Session;
use crate::domain::ids::Side;

/// One server's clock: what it showed, and the latest moment at which it can have shown it.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Seconds since 1970, as the server counts them.
    shown: f64,
    at: Instant,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    blue: Reading,
    green: Reading,
}

impl Clocks {
    pub async fn measure(sessions: &Sessions, budget: Duration) -> Result<Self, ServerError> {
        let blue = reading(&mut *sessions.first_control(Side::Blue).await, budget).await?;
        let green = reading(&mut *sessions.first_control(Side::Green).await, budget).await?;
        Ok(Self { blue, green })
    }

    /// An expression that is 1 until `deadline` has come on that server's clock, and 0 or NULL after it.
    ///
    /// `SYSDATE`, because `NOW()` is the statement's start; rounded so that an expiry is early rather than late.
    pub fn in_time(&self, side: Side, deadline: Instant) -> String {
        let reading = match side {
            Side::Blue => self.blue,
            Side::Green => self.green,
        };
        // The answer was on its way when `at` was taken, so the server's clock is ahead of this by up to one trip.
        let limit = match deadline.checked_duration_since(reading.at) {
            Some(ahead) => reading.shown + ahead.as_secs_f64(),
            None => 0.0,
        };
        in_time(format_args!("{limit:.6}"))
    }
}

/// An expression that is 1 up to a moment on the server's clock.
pub(super) fn in_time(limit: impl std::fmt::Display) -> String {
    format!("(UNIX_TIMESTAMP(SYSDATE(6)) <= {limit})")
}

async fn reading(session: &mut Session, budget: Duration) -> Result<Reading, ServerError> {
    let (shown,): (String,) = session
        .one(
            "read the server's clock",
            "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) AS CHAR)",
            budget,
        )
        .await?;
    let at = Instant::now();
    let shown = shown
        .parse()
        .map_err(|_| session.unexpected("read the server's clock", &shown))?;
    Ok(Reading { shown, at })
}
