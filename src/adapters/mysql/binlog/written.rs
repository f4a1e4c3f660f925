//! Holds the stream against what blue says of its own binlog.
//!
//! A server whose binlog is begun anew (`RESET`) says nothing to those who read the old one: they go on to hear heartbeats,
//! and no change (tried on MySQL 5.6 and 9.7, and MariaDB 10.11 and 11.8).

use std::time::{Duration, Instant};

use crate::domain::position::FilePosition;

/// What blue has written down, and the stream has not brought yet.
#[derive(Debug, Default)]
pub(super) struct Written {
    ahead: Option<(FilePosition, Instant)>,
}

impl Written {
    /// Blue's place, asked for when the stream stood at `then`; it stands at `now` since.
    pub(super) fn said(
        &mut self,
        place: FilePosition,
        then: &FilePosition,
        now: &FilePosition,
        clock: Instant,
    ) -> Result<(), String> {
        if !place.has_reached(then) {
            return Err(format!(
                "blue's binlog stands at {place}, before what was read of it: it was begun anew"
            ));
        }
        if self.ahead.is_none() && !now.has_reached(&place) {
            self.ahead = Some((place, clock));
        }
        Ok(())
    }

    /// The stream has gone on.
    pub(super) fn moved(&mut self, now: &FilePosition, clock: Instant) {
        match &mut self.ahead {
            Some((place, _)) if now.has_reached(place) => self.ahead = None,
            Some((_, since)) => *since = clock,
            None => {}
        }
    }

    /// Whether it has stood still for so long although blue has written.
    pub(super) fn overdue(&self, longest: Duration, clock: Instant) -> Option<String> {
        let (place, since) = self.ahead.as_ref()?;
        let waited = clock.saturating_duration_since(*since);
        (waited > longest).then(|| {
            format!(
                "blue has written up to {place}, and sent nothing of it for {}: its binlog may have been begun anew",
                humantime::format_duration(longest)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64) -> FilePosition {
        FilePosition {
            file: "binlog.000001".into(),
            offset,
        }
    }

    #[test]
    fn a_binlog_that_was_begun_anew_is_noticed() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut written = Written::default();
        written.said(place(100), &place(100), &place(100), start).unwrap();
        assert_eq!(written.overdue(second, start + 9 * second), None);
        // The answer is older than what has come since.
        written.said(place(150), &place(100), &place(200), start).unwrap();
        assert_eq!(written.overdue(second, start + 9 * second), None);
        assert!(written.said(place(99), &place(100), &place(200), start).is_err());
        // As long as something comes, it is only slow.
        written.said(place(300), &place(200), &place(200), start).unwrap();
        written.moved(&place(250), start + 5 * second);
        assert_eq!(written.overdue(second, start + 6 * second), None);
        assert!(written.overdue(second, start + 7 * second).is_some());
        written.moved(&place(300), start + 8 * second);
        assert_eq!(written.overdue(second, start + 20 * second), None);
    }
}
