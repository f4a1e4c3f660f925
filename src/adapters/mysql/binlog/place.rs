//! Where the stream is in blue's binlog.
//!
//! Events say where they end in 32 bits, and files may be longer; and servers leave events out that were not asked for. So
//! the place is counted, and what the events say is held against it.

use super::event::{Event, kind};
use crate::domain::position::FilePosition;

/// More than this is never left out between two events.
const LONGEST_GAP: u64 = 1 << 30;

/// Where the stream is.
#[derive(Debug)]
pub(super) struct Place {
    at: FilePosition,
    /// The server has said how long its events' checksums are.
    knows_checksums: bool,
}

impl Place {
    pub(super) const fn new(at: FilePosition) -> Self {
        Self {
            at,
            knows_checksums: false,
        }
    }

    pub(super) const fn at(&self) -> &FilePosition {
        &self.at
    }

    /// Goes on over an event, which is not one inside of another. Whether another file begins.
    pub(super) fn advance(&mut self, event: &Event<'_>) -> Result<bool, String> {
        match event.kind {
            kind::ROTATE => return self.rotate(event),
            kind::HEARTBEAT => {
                if event.body == self.at.file.as_bytes() {
                    let end = self.end(event.log_pos, 0);
                    self.at.offset = end.unwrap_or(self.at.offset);
                }
                return Ok(false);
            }
            // Its place is in its body, and the other kind tells the same.
            kind::HEARTBEAT_2 => return Ok(false),
            kind::FORMAT_DESCRIPTION => self.knows_checksums = true,
            _ => {}
        }
        // What a server makes up for the reader stands nowhere in the file.
        if event.log_pos == 0 || event.is_artificial() {
            return Ok(false);
        }
        match self.end(event.log_pos, event.size) {
            Some(end) => {
                self.at.offset = end;
                Ok(false)
            }
            None if kind::is_head_of_file(event.kind) => Ok(false),
            None => Err(format!(
                "an event says that it ends at {} in {}, and the one in front of it ended at {}",
                event.log_pos, self.at.file, self.at.offset
            )),
        }
    }

    /// The end of an event that says these 32 bits of it.
    fn end(&self, log_pos: u32, size: u32) -> Option<u64> {
        let least = self.at.offset.checked_add(u64::from(size))?;
        let missing = log_pos.wrapping_sub(u32::try_from(least & u64::from(u32::MAX)).ok()?);
        Some(u64::from(missing))
            .filter(|gap| *gap <= LONGEST_GAP)
            .and_then(|gap| least.checked_add(gap))
    }

    fn rotate(&mut self, event: &Event<'_>) -> Result<bool, String> {
        let (offset, name) = event
            .body
            .split_at_checked(8)
            .ok_or("a rotation that could not be read")?;
        let offset = super::bytes::low_first(offset);
        let mut name = String::from_utf8_lossy(name).into_owned();
        // The first one comes before it is known that four bytes behind the name are a checksum.
        if !self.knows_checksums
            && let Some(bare) = event.body.get(8..event.body.len().saturating_sub(4))
            && bare == self.at.file.as_bytes()
        {
            name.clone_from(&self.at.file);
        }
        if name == self.at.file {
            return Ok(false);
        }
        let next = FilePosition { file: name, offset };
        if !next.has_reached(&self.at) {
            return Err(format!("the binlog went from {} back to {next}", self.at));
        }
        self.at = next;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(kind: u8, log_pos: u32, size: u32, body: &[u8]) -> Event<'_> {
        Event {
            kind,
            flags: 0,
            log_pos,
            size,
            body,
            tagged: None,
        }
    }

    fn place(offset: u64) -> Place {
        Place::new(FilePosition {
            file: "binlog.000009".into(),
            offset,
        })
    }

    #[test]
    fn counts_beyond_32_bits_and_over_gaps() {
        let mut at = place(u64::from(u32::MAX) - 9);
        at.advance(&event(kind::XID, 21, 31, b"")).unwrap();
        assert_eq!(at.at().offset, (1 << 32) + 21);
        let mut at = place(100);
        at.advance(&event(kind::XID, 200, 31, b"")).unwrap();
        assert_eq!(at.at().offset, 200);
        // An event cannot end before the one in front of it.
        assert!(at.advance(&event(kind::XID, 200, 31, b"")).is_err());
        at.advance(&event(kind::FORMAT_DESCRIPTION, 126, 122, b""))
            .unwrap();
        assert_eq!(at.at().offset, 200);
    }

    #[test]
    fn goes_from_file_to_file_and_never_back() {
        let mut at = place(100);
        // The first one, with a checksum behind the name.
        assert!(
            !at.advance(&event(
                kind::ROTATE,
                0,
                48,
                b"\x04\0\0\0\0\0\0\0binlog.000009\x31\x32\x33\x34"
            ))
            .unwrap()
        );
        at.advance(&event(kind::FORMAT_DESCRIPTION, 0, 122, b"")).unwrap();
        assert!(
            at.advance(&event(kind::ROTATE, 150, 44, b"\x04\0\0\0\0\0\0\0binlog.000010"))
                .unwrap()
        );
        assert_eq!(at.at().to_string(), "binlog.000010:4");
        assert!(
            at.advance(&event(kind::ROTATE, 0, 44, b"\x04\0\0\0\0\0\0\0binlog.000001"))
                .is_err()
        );
    }

    #[test]
    fn a_quiet_server_says_how_far_it_is() {
        let mut at = place(100);
        at.advance(&event(kind::HEARTBEAT, 150, 40, b"binlog.000009"))
            .unwrap();
        assert_eq!(at.at().offset, 150);
        at.advance(&event(kind::HEARTBEAT, 120, 40, b"binlog.000009"))
            .unwrap();
        at.advance(&event(kind::HEARTBEAT, 190, 40, b"binlog.000010"))
            .unwrap();
        assert_eq!(at.at().offset, 150);
    }

    proptest! {
        #[test]
        fn never_goes_back(events in proptest::collection::vec((any::<u8>(), any::<u32>(), 19_u32..1000), 0..40)) {
            let mut at = place(4);
            for (kind, log_pos, size) in events {
                let before = at.at().clone();
                let _ = at.advance(&event(kind, log_pos, size, b""));
                prop_assert!(at.at().has_reached(&before));
            }
        }
    }
}
