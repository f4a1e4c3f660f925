//! Durations and foreign text in the form that people read.

use std::time::Duration;

/// Writes a duration with three digits that matter: `3.21 ms`, `412 ms`, `1.50 s`, `2m 5s`.
pub(super) fn duration(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms < 10.0 {
        format!("{ms:.2} ms")
    } else if ms < 100.0 {
        format!("{ms:.1} ms")
    } else if ms < 1_000.0 {
        format!("{ms:.0} ms")
    } else if ms < 60_000.0 {
        format!("{:.2} s", ms / 1000.0)
    } else {
        humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
    }
}

/// As [`duration`], of milliseconds; what is no duration is written as it is.
pub(super) fn milliseconds(ms: f64) -> String {
    Duration::try_from_secs_f64(ms / 1000.0).map_or_else(|_| format!("{ms} ms"), duration)
}

/// Writes the time since the run began: `   0.412s`, `1:02.500`.
pub(super) fn elapsed(elapsed: Duration) -> String {
    let (minutes, seconds) = (elapsed.as_secs() / 60, elapsed.as_secs() % 60);
    let millis = elapsed.subsec_millis();
    if minutes == 0 {
        format!("{seconds}.{millis:03}s")
    } else {
        format!("{minutes}:{seconds:02}.{millis:03}")
    }
}

/// Makes text that came from a server harmless for a terminal: control characters are written out, line ends become
/// blanks.
pub(super) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_that_matter() {
        for (micros, text) in [
            (0, "0.00 ms"),
            (3_210, "3.21 ms"),
            (41_250, "41.2 ms"),
            (412_000, "412 ms"),
            (1_500_000, "1.50 s"),
            (125_000_000, "2m 5s"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), text);
        }
        assert_eq!(milliseconds(-1.0), "-1 ms");
        assert_eq!(elapsed(Duration::from_millis(412)), "0.412s");
        assert_eq!(elapsed(Duration::from_millis(62_500)), "1:02.500");
    }

    #[test]
    fn a_server_cannot_paint_the_terminal() {
        assert_eq!(harmless("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb c");
    }
}
