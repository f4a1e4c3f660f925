//! MariaDB's compressed events (`log_bin_compress`): the rows, or the statement, as one zlib stream with its length in
//! front.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::bytes::{Bytes, high_first};

/// No event of a server is longer than that.
const MOST: u64 = 1 << 30;

/// The bytes behind a length and a compressed stream. `None` if they are not of that form, or not of that length.
/// Memory grows with what really comes out, not with what the length promises.
pub(super) fn inflate(compressed: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Bytes(compressed);
    let head = bytes.byte()?;
    // One algorithm is known, 0: zlib.
    if head & 0xf0 != 0x80 {
        return None;
    }
    let length = high_first(bytes.take(usize::from(head & 0x07)).filter(|l| !l.is_empty())?);
    if length > MOST {
        return None;
    }
    let mut inflated = Vec::new();
    ZlibDecoder::new(bytes.0)
        .take(length + 1)
        .read_to_end(&mut inflated)
        .ok()?;
    (inflated.len() as u64 == length).then_some(inflated)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;

    use super::*;

    fn compressed(length: u32, content: &[u8]) -> Vec<u8> {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(content).unwrap();
        let mut event = vec![0x84];
        event.extend(length.to_be_bytes());
        event.extend(zlib.finish().unwrap());
        event
    }

    #[test]
    fn only_what_has_the_length_that_it_says() {
        assert_eq!(inflate(&compressed(3, b"abc")).unwrap(), b"abc");
        assert_eq!(inflate(&compressed(2, b"abc")), None);
        assert_eq!(inflate(&compressed(4, b"abc")), None);
        // A length that promises more than anything may have reserves nothing.
        assert_eq!(inflate(&compressed(u32::MAX, b"abc")), None);
        assert_eq!(inflate(&compressed(MOST as u32, b"abc")), None);
        let mut other = compressed(3, b"abc");
        other[0] = 0x94;
        assert_eq!(inflate(&other), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = inflate(&bytes);
            let _ = inflate(&compressed(7, &bytes));
            let mut spoilt = compressed(u32::try_from(bytes.len()).unwrap(), &bytes);
            prop_assert_eq!(inflate(&spoilt), Some(bytes.clone()));
            if let (Some(first), true) = (bytes.first(), bytes.len() > 2) {
                let at = usize::from(*first) % spoilt.len();
                spoilt[at] ^= bytes[1] | 1;
                let _ = inflate(&spoilt);
            }
        }
    }
}
