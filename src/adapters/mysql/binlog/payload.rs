//! MySQL's compressed transactions (`binlog_transaction_compression`).
//!
//! The driver takes them apart, and drops one that it cannot take apart without a word (`mysql_async` 0.37.1,
//! `binlog_stream/mod.rs`). So the length of what is in it is read here, and held against the events that come out.

use super::bytes::Bytes;

/// How many bytes of events are in a compressed transaction.
pub(super) fn length(event: &[u8]) -> Option<u64> {
    const END: u64 = 0;
    const COMPRESSED: u64 = 1;
    const ALGORITHM: u64 = 2;
    const UNCOMPRESSED: u64 = 3;
    const NOT_COMPRESSED: u64 = 255;
    let mut bytes = Bytes(event);
    let (mut compressed, mut algorithm, mut uncompressed) = (None, None, None);
    loop {
        let field = bytes.packed()?;
        if field == END {
            break;
        }
        let length = bytes.count()?;
        let mut value = Bytes(bytes.take(length)?);
        match field {
            COMPRESSED => compressed = value.packed(),
            ALGORITHM => algorithm = value.packed(),
            UNCOMPRESSED => uncompressed = value.packed(),
            _ => {}
        }
    }
    match algorithm? {
        NOT_COMPRESSED => compressed,
        _ => uncompressed,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_length() {
        assert_eq!(
            length(b"\x02\x01\x00\x03\x03\xfc\x00\x01\x01\x01\x05\x00abcde"),
            Some(256)
        );
        assert_eq!(length(b"\x02\x03\xfc\xff\x00\x01\x01\x05\x00abcde"), Some(5));
        assert_eq!(length(b"\x01\x01\x05\x00abcde"), None);
        assert_eq!(length(b"\x02\x01\x00"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = length(&bytes);
        }
    }
}
