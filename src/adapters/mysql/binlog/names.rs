//! Small events: who numbered a transaction, a statement, the name of a prepared transaction.

use super::bytes::Bytes;
use crate::domain::proof::transaction::Origin;

/// Who numbered a transaction, and its number.
pub(super) type Numbered = (Origin, u64);

/// MySQL's GTID event without a tag.
pub(super) fn mysql_gtid(event: &[u8]) -> Option<Numbered> {
    let mut bytes = Bytes(event);
    bytes.take(1)?;
    let uuid = uuid(bytes.take(16)?);
    Some((Origin::Server { uuid, tag: None }, bytes.low_first(8)?))
}

/// A server's uuid in its usual form.
pub(super) fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// MariaDB's GTID event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MariaDbGtid {
    pub numbered: Numbered,
    /// One statement follows, and no event ends it.
    pub stands_alone: bool,
}

/// Reads MariaDB's GTID event.
pub(super) fn mariadb_gtid(event: &[u8]) -> Option<MariaDbGtid> {
    const STANDS_ALONE: u8 = 1;
    let mut bytes = Bytes(event);
    let number = bytes.low_first(8)?;
    let domain = u32::try_from(bytes.low_first(4)?).ok()?;
    let flags = bytes.byte()?;
    Some(MariaDbGtid {
        numbered: (Origin::Domain(domain), number),
        stands_alone: flags & STANDS_ALONE != 0,
    })
}

/// A statement as it stands in the binlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query<'a> {
    /// The schema it runs in.
    pub schema: String,
    /// Its bytes, in the character set of its session.
    pub text: &'a [u8],
    /// The SQL mode of its session.
    mode: Option<u64>,
    /// The number of its session's character set.
    charset: Option<u64>,
}

impl Query<'_> {
    /// Whether the names in it can be told as they are in other statements: by a reader of UTF-8 that takes a backslash
    /// for what it is in most sessions.
    pub(super) fn is_plain(&self) -> bool {
        const ANSI_QUOTES: u64 = 1 << 2;
        const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;
        let is_utf8 = self.text.is_ascii()
            || self.charset.is_some_and(is_utf8) && std::str::from_utf8(self.text).is_ok();
        let other_mode = self
            .mode
            .is_none_or(|mode| mode & (ANSI_QUOTES | NO_BACKSLASH_ESCAPES) != 0);
        is_utf8 && !(other_mode && self.text.contains(&b'\\'))
    }
}

/// Whether it is the number of a collation of utf8mb3 or utf8mb4, in either family.
const fn is_utf8(collation: u64) -> bool {
    matches!(collation, 33 | 45 | 46 | 76 | 83 | 192..=215 | 223..=247 | 255..=323 | 2048..=2559)
}

/// The SQL mode and the character set among what an event says of its session; the rest is skipped, up to what is not
/// known.
fn session(said: &[u8]) -> (Option<u64>, Option<u64>) {
    const FLAGS: u8 = 0;
    const MODE: u8 = 1;
    const CATALOG: u8 = 2;
    const AUTO_INCREMENT: u8 = 3;
    const CHARSETS: u8 = 4;
    const TIME_ZONE: u8 = 5;
    const CATALOG_BARE: u8 = 6;
    let (mut mode, mut charset) = (None, None);
    let mut bytes = Bytes(said);
    let mut skip = || -> Option<()> {
        loop {
            match bytes.byte()? {
                FLAGS | AUTO_INCREMENT => _ = bytes.take(4)?,
                MODE => mode = Some(bytes.low_first(8)?),
                CATALOG => _ = bytes.name()?,
                CHARSETS => {
                    charset = Some(bytes.low_first(2)?);
                    bytes.take(4)?;
                }
                TIME_ZONE | CATALOG_BARE => {
                    let length = usize::from(bytes.byte()?);
                    bytes.take(length)?;
                }
                _ => return None,
            }
        }
    };
    _ = skip();
    (mode, charset)
}

/// Reads a statement's event.
pub(super) fn query(event: &[u8]) -> Option<Query<'_>> {
    let mut bytes = Bytes(event);
    // Its session and its time.
    bytes.take(8)?;
    let schema = usize::from(bytes.byte()?);
    // What error it ended with.
    bytes.take(2)?;
    let status = usize::try_from(bytes.low_first(2)?).ok()?;
    let (mode, charset) = session(bytes.take(status)?);
    let schema = String::from_utf8_lossy(bytes.take(schema)?).into_owned();
    (bytes.byte()? == 0).then_some(Query {
        schema,
        text: bytes.0,
        mode,
        charset,
    })
}

/// The name of an XA transaction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Xid {
    format: u32,
    global: Vec<u8>,
    branch: Vec<u8>,
}

/// The event that ends a prepared transaction: its name, and whether it was committed in the same go.
pub(super) fn prepared(event: &[u8]) -> Option<(Xid, bool)> {
    let mut bytes = Bytes(event);
    let one_phase = bytes.byte()? != 0;
    let format = u32::try_from(bytes.low_first(4)?).ok()?;
    let global = usize::try_from(bytes.low_first(4)?).ok()?;
    let branch = usize::try_from(bytes.low_first(4)?).ok()?;
    let xid = Xid {
        format,
        global: bytes.take(global)?.to_vec(),
        branch: bytes.take(branch)?.to_vec(),
    };
    Some((xid, one_phase))
}

/// The name as statements write it: `X'61',X'',1`.
pub(super) fn xid(text: &str) -> Option<Xid> {
    let mut parts = text.split(',').map(str::trim);
    let hex = |part: &str| -> Option<Vec<u8>> {
        let digits = part
            .strip_prefix(['X', 'x'])?
            .strip_prefix('\'')?
            .strip_suffix('\'')?;
        if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
            return None;
        }
        (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok())
            .collect()
    };
    let xid = Xid {
        global: hex(parts.next()?)?,
        branch: hex(parts.next()?)?,
        format: parts.next()?.split_whitespace().next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(xid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_both_families() {
        let mut event = vec![1];
        event.extend(1_u8..=16);
        event.extend(7_u64.to_le_bytes());
        let (origin, number) = mysql_gtid(&event).unwrap();
        let uuid = "01020304-0506-0708-090a-0b0c0d0e0f10".to_owned();
        assert_eq!((origin, number), (Origin::Server { uuid, tag: None }, 7));
        let mut event = 9_u64.to_le_bytes().to_vec();
        event.extend(3_u32.to_le_bytes());
        event.push(5);
        let gtid = mariadb_gtid(&event).unwrap();
        assert_eq!(gtid.numbered, (Origin::Domain(3), 9));
        assert!(gtid.stands_alone);
        assert_eq!(mariadb_gtid(&event[..12]), None);
    }

    #[test]
    fn a_prepared_transaction_has_one_name() {
        let event = b"\0\x01\0\0\0\x02\0\0\0\x01\0\0\0abc";
        let (xid_of_event, one_phase) = prepared(event).unwrap();
        assert!(!one_phase);
        assert_eq!(xid("X'6162',X'63',1"), Some(xid_of_event));
        assert_eq!(xid("X'6162',X'63',1 ONE PHASE").unwrap().format, 1);
        for bad in [
            "",
            "X'6',X'',1",
            "'a','b',1",
            "X'61',X''",
            "X'61',X'',1,2",
            "X'é',X'',1",
        ] {
            assert_eq!(xid(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_statement_has_its_schema() {
        let event = b"\x01\0\0\0\0\0\0\0\x04\0\0\x02\0xxshop\0DROP TABLE a";
        let read = query(event).unwrap();
        assert_eq!((read.schema.as_str(), read.text), ("shop", &b"DROP TABLE a"[..]));
        assert_eq!(query(&event[..16]), None);
    }

    #[test]
    fn names_are_told_where_their_letters_are_known() {
        let plain = |mode: u64, charset: u16, text: &[u8]| {
            let mut said = vec![0, 0, 0, 0, 0, 1];
            said.extend(mode.to_le_bytes());
            said.extend(b"\x06\x03std\x04");
            said.extend(charset.to_le_bytes());
            said.extend([0; 4]);
            let mut event = vec![0; 11];
            event.extend(u16::try_from(said.len()).unwrap().to_le_bytes());
            event.extend(said);
            event.push(0);
            event.extend(text);
            query(&event).unwrap().is_plain()
        };
        let of_latin1 = b"DROP TABLE gr\xf6\xdfe";
        assert!(plain(0, 255, "DROP TABLE größe".as_bytes()));
        assert!(plain(0, 2304, "DROP TABLE größe".as_bytes()));
        assert!(!plain(0, 255, of_latin1));
        assert!(!plain(0, 8, of_latin1));
        // The bytes of a letter of another character set may be those of one of UTF-8.
        assert!(!plain(0, 8, "DROP TABLE größe".as_bytes()));
        assert!(plain(0, 8, b"DROP TABLE a COMMENT '\\'"));
        assert!(!plain(1 << 20, 8, b"DROP TABLE a COMMENT '\\'"));
        assert!(!plain(1 << 2, 8, b"DROP TABLE \"a\\\""));
        assert!(plain(1 << 2, 8, b"DROP TABLE \"a\""));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in ".{0,30}") {
            let _ = (mysql_gtid(&bytes), mariadb_gtid(&bytes), query(&bytes), prepared(&bytes), xid(&text));
        }
    }
}
