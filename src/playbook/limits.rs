//! The defaults and ranges of every number and duration in a playbook, in one table.
//!
//! The reader checks against it and the schema is written from it, so what the editor shows is what is enforced.

use std::time::Duration;

/// A duration key with its default and the values it may take, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationLimits {
    /// Section and key as in the playbook: `switch.deadline`.
    pub key: &'static str,
    /// The value when the playbook does not say.
    pub default: Duration,
    /// The smallest value.
    pub least: Duration,
    /// The largest value.
    pub most: Duration,
}

/// A whole-number key with its default and the values it may take, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountLimits {
    /// Section and key as in the playbook: `switch.attempts`.
    pub key: &'static str,
    /// The value when the playbook does not say.
    pub default: u64,
    /// The smallest value.
    pub least: u64,
    /// The largest value.
    pub most: u64,
}

/// A key for a ratio with its default and the values it may take, ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatioLimits {
    /// Section and key as in the playbook: `validate.digests.max_slowdown`.
    pub key: &'static str,
    /// The value when the playbook does not say.
    pub default: f64,
    /// The smallest value.
    pub least: f64,
    /// The largest value.
    pub most: f64,
}

const MS: u64 = 1;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

macro_rules! durations {
    ($($(#[$doc:meta])* $name:ident = $key:literal, $default:expr, $least:expr, $most:expr;)*) => {
        $($(#[$doc])* pub const $name: DurationLimits = DurationLimits {
            key: $key,
            default: Duration::from_millis($default),
            least: Duration::from_millis($least),
            most: Duration::from_millis($most),
        };)*

        /// Every duration key.
        pub const DURATIONS: &[DurationLimits] = &[$($name),*];
    };
}

durations! {
    /// From the hold's first statement to promote confirmed.
    DEADLINE = "switch.deadline", 10 * SECOND, SECOND, 10 * MINUTE;
    /// How long bleen may go on looking for a good moment.
    WINDOW = "switch.window", 30 * MINUTE, SECOND, 24 * HOUR;
    /// What the guard waits beyond the lease; at least the lock wait of one second and two more.
    GUARD_MARGIN = "switch.guard_margin", 5 * SECOND, 3 * SECOND, MINUTE;
    /// How long the hold's statement may wait before it is given up, from another session.
    HOLD_WAIT = "switch.hold_wait", 100 * MS, 10 * MS, SECOND;
    /// The pause between two attempts of one window.
    RETRY_AFTER = "switch.retry_after", 5 * SECOND, 100 * MS, HOUR;
    /// Idle time after which a session that still sits on blue is ended, counted from the release.
    IDLE_GRACE = "switch.idle_grace", 5 * SECOND, 0, HOUR;
    /// Lag allowed during the observation time.
    LAG_LIMIT = "lag.limit", SECOND, 100 * MS, MINUTE;
    /// How long lag has to stay under its limit.
    LAG_OBSERVE = "lag.observe", 10 * SECOND, SECOND, HOUR;
    /// The interval of the heartbeat, which is the resolution of lag.
    HEARTBEAT = "lag.heartbeat", 100 * MS, 10 * MS, 10 * SECOND;
    /// How long catching up may take before bleen gives up.
    CATCH_UP = "lag.catch_up", HOUR, SECOND, 7 * 24 * HOUR;
    /// How long a pair is watched after the switch.
    SOAK_TIME = "soak.time", 10 * MINUTE, SECOND, 30 * 24 * HOUR;
    /// How far blue may be behind green after the switch.
    SOAK_LAG = "soak.max_lag", 10 * SECOND, 100 * MS, HOUR;
    /// All routes together; after it the hold is released anyway and the rest is debt.
    ROUTE_LIMIT = "routing.limit", 2 * SECOND, 100 * MS, MINUTE;
    /// Time for one hook.
    HOOK_TIMEOUT = "hooks.timeout", 30 * SECOND, 100 * MS, HOUR;
    /// Time for one gate query on each side.
    QUERY_LIMIT = "validate.queries.time_limit", 10 * SECOND, 10 * MS, HOUR;
    /// Time for one gate query under the hold, where it counts against the deadline.
    FENCE_QUERY_LIMIT = "validate.queries.time_limit (at: fence)", 500 * MS, 10 * MS, MINUTE;
    /// Age at which a range of rows is compared again.
    AGAIN_AFTER = "validate.data.again_after", 10 * MINUTE, SECOND, 7 * 24 * HOUR;
    /// Lag beyond which comparing pauses.
    DATA_LAG = "validate.data.max_lag", 10 * SECOND, 100 * MS, 7 * 24 * HOUR;
    /// How long blue is watched for what runs there.
    WATCH = "validate.digests.watch", 30 * SECOND, 0, HOUR;
    /// Time for all statements of the digests together.
    DIGESTS_LIMIT = "validate.digests.time_limit", 10 * MINUTE, SECOND, 24 * HOUR;
    /// Time for warming green.
    WARM_LIMIT = "warm.time_limit", 10 * MINUTE, SECOND, 24 * HOUR;
    /// Age at which an open transaction on blue keeps the hold from being tried.
    TRANSACTION_AGE = "switch.longest_transaction", 10 * SECOND, 100 * MS, HOUR;
    /// Age at which a running statement on blue keeps the hold from being tried.
    STATEMENT_AGE = "switch.longest_statement", 10 * MS, MS, MINUTE;
}

/// How many times the hold may be tried within one window.
pub const ATTEMPTS: CountLimits = CountLimits {
    key: "switch.attempts",
    default: 20,
    least: 1,
    most: 1_000,
};

/// Comparisons of rows that run at once, each with a session on both sides.
pub const DATA_CONNECTIONS: CountLimits = CountLimits {
    key: "validate.data.connections",
    default: 2,
    least: 1,
    most: 32,
};

/// How many statements of blue's digests, by count and by time.
pub const TOP: CountLimits = CountLimits {
    key: "validate.digests.top",
    default: 100,
    least: 1,
    most: 10_000,
};

/// Every whole-number key with a default.
pub const COUNTS: &[CountLimits] = &[ATTEMPTS, DATA_CONNECTIONS, TOP];

/// How many times as long as on blue a statement may take on green.
pub const MAX_SLOWDOWN: RatioLimits = RatioLimits {
    key: "validate.digests.max_slowdown",
    default: 1.5,
    least: 1.0,
    most: 1_000.0,
};

/// Writes a duration as a playbook would: `10s`, `1h 30m`.
#[must_use]
pub fn written(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_lies_in_its_range() {
        for limits in DURATIONS {
            assert!(
                limits.least <= limits.default && limits.default <= limits.most,
                "{}",
                limits.key
            );
        }
        for limits in COUNTS {
            assert!(
                limits.least <= limits.default && limits.default <= limits.most,
                "{}",
                limits.key
            );
        }
        const { assert!(MAX_SLOWDOWN.least <= MAX_SLOWDOWN.default && MAX_SLOWDOWN.default <= MAX_SLOWDOWN.most) }
    }
}
