//! Bytes of an event, read from the front. Nothing is read beyond the end, and nothing is allocated.

/// What is left of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A number of up to eight bytes, the lowest first.
    pub(super) fn low_first(&mut self, length: usize) -> Option<u64> {
        self.take(length).map(low_first)
    }

    /// A number with its own length in front, as the protocol has it.
    pub(super) fn packed(&mut self) -> Option<u64> {
        match self.byte()? {
            0xfc => self.low_first(2),
            0xfd => self.low_first(3),
            0xfe => self.low_first(8),
            0xfb | 0xff => None,
            small => Some(u64::from(small)),
        }
    }

    /// A packed number that counts bytes or things that stand in this event.
    pub(super) fn count(&mut self) -> Option<usize> {
        self.packed().and_then(|n| usize::try_from(n).ok())
    }

    /// A name with its length in one byte in front, and a zero behind it.
    pub(super) fn name(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        let name = self.take(usize::from(length))?;
        (self.byte()? == 0).then_some(name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A number, the lowest byte first.
pub(super) fn low_first(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// A number, the highest byte first.
pub(super) fn high_first(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// Bits of a bitmap, the lowest of the first byte first.
pub(super) fn bit(map: &[u8], at: usize) -> bool {
    map.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}
