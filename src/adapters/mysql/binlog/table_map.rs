//! The event in front of row events that says which table they are about, and how its columns stand in them.

use super::bytes::Bytes;

/// The type of a column as the binlog writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Type {
    pub code: u8,
    /// What the type needs to be read: lengths, digits.
    pub meta: u16,
}

pub(super) mod code {
    //! Numbers of types, from both families' `field_types.h`.
    pub const TINY: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const LONG: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const NULL: u8 = 6;
    pub const TIMESTAMP: u8 = 7;
    pub const LONGLONG: u8 = 8;
    pub const INT24: u8 = 9;
    pub const DATE: u8 = 10;
    pub const TIME: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const NEWDATE: u8 = 14;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    pub const TIMESTAMP2: u8 = 17;
    pub const DATETIME2: u8 = 18;
    pub const TIME2: u8 = 19;
    pub const BLOB_COMPRESSED: u8 = 140;
    pub const VARCHAR_COMPRESSED: u8 = 141;
    pub const VECTOR: u8 = 242;
    pub const JSON: u8 = 245;
    pub const NEWDECIMAL: u8 = 246;
    pub const ENUM: u8 = 247;
    pub const SET: u8 = 248;
    pub const TINY_BLOB: u8 = 249;
    pub const MEDIUM_BLOB: u8 = 250;
    pub const LONG_BLOB: u8 = 251;
    pub const BLOB: u8 = 252;
    pub const STRING: u8 = 254;
    pub const GEOMETRY: u8 = 255;
}

/// A table as row events name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableMap {
    pub id: u64,
    pub schema: String,
    pub table: String,
    /// `None` if the types could not be read: then no row of it can.
    pub types: Option<Vec<Type>>,
}

/// The table's number in the binlog, at the front of table maps and of row events.
pub(super) const ID: usize = 6;

impl TableMap {
    /// Reads an event without its header. `None` if not even the table's name can be read.
    pub(super) fn parse(event: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(event);
        let id = bytes.low_first(ID)?;
        bytes.take(2)?;
        let schema = String::from_utf8(bytes.name()?.to_vec()).ok()?;
        let table = String::from_utf8(bytes.name()?.to_vec()).ok()?;
        Some(Self {
            id,
            schema,
            table,
            types: types(bytes),
        })
    }
}

fn types(mut bytes: Bytes<'_>) -> Option<Vec<Type>> {
    let count = bytes.count()?;
    let codes = bytes.take(count)?;
    let length = bytes.count()?;
    let mut metas = Bytes(bytes.take(length)?);
    let read = |code: &u8| {
        let meta = metas.low_first(meta_length(*code)?)?;
        Some(Type {
            code: *code,
            meta: u16::try_from(meta).ok()?,
        })
    };
    codes.iter().map(read).collect()
}

fn meta_length(code: u8) -> Option<usize> {
    use code::{
        BIT, BLOB, BLOB_COMPRESSED, DATE, DATETIME, DATETIME2, DOUBLE, ENUM, FLOAT, GEOMETRY, INT24, JSON,
        LONG, LONG_BLOB, LONGLONG, MEDIUM_BLOB, NEWDATE, NEWDECIMAL, NULL, SET, SHORT, STRING, TIME, TIME2,
        TIMESTAMP, TIMESTAMP2, TINY, TINY_BLOB, VARCHAR, VARCHAR_COMPRESSED, VECTOR, YEAR,
    };
    Some(match code {
        TINY | SHORT | LONG | NULL | TIMESTAMP | LONGLONG | INT24 | DATE | TIME | DATETIME | YEAR
        | NEWDATE => 0,
        FLOAT | DOUBLE | TIMESTAMP2 | DATETIME2 | TIME2 | BLOB_COMPRESSED | VECTOR | JSON | TINY_BLOB
        | MEDIUM_BLOB | LONG_BLOB | BLOB | GEOMETRY => 1,
        VARCHAR | BIT | VARCHAR_COMPRESSED | NEWDECIMAL | ENUM | SET | STRING => 2,
        _ => return None,
    })
}

impl Type {
    /// The type behind `STRING`: an ENUM and a SET hide there, and the length of a long CHAR uses bits of the type.
    pub(super) fn real(self) -> u8 {
        let written = self.meta.to_le_bytes()[0];
        match (self.code, written) {
            (code::STRING, code::ENUM | code::SET) => written,
            (other, _) => other,
        }
    }

    /// Cuts the value of a column off the front; what is left out is the length in front of it. `None` if it is not all
    /// there, or of an unknown type.
    pub(super) fn cut<'a>(self, bytes: &mut Bytes<'a>) -> Option<&'a [u8]> {
        use code::{
            BIT, BLOB, BLOB_COMPRESSED, DATE, DATETIME, DATETIME2, DOUBLE, ENUM, FLOAT, GEOMETRY, INT24,
            JSON, LONG, LONG_BLOB, LONGLONG, MEDIUM_BLOB, NEWDATE, NEWDECIMAL, NULL, SET, SHORT, STRING,
            TIME, TIME2, TIMESTAMP, TIMESTAMP2, TINY, TINY_BLOB, VARCHAR, VARCHAR_COMPRESSED, VECTOR, YEAR,
        };
        let [low, high] = self.meta.to_le_bytes();
        let fraction = usize::from(low.div_ceil(2));
        let length = match self.real() {
            NULL => 0,
            TINY | YEAR => 1,
            SHORT => 2,
            INT24 | DATE | NEWDATE | TIME => 3,
            LONG | FLOAT | TIMESTAMP => 4,
            LONGLONG | DOUBLE | DATETIME => 8,
            TIMESTAMP2 => 4 + fraction,
            DATETIME2 => 5 + fraction,
            TIME2 => 3 + fraction,
            BIT => usize::from(high) + usize::from(low > 0),
            NEWDECIMAL => decimal_length(low, high)?,
            ENUM | SET => usize::from(high),
            VARCHAR | VARCHAR_COMPRESSED => prefixed(bytes, if self.meta > 255 { 2 } else { 1 })?,
            STRING => {
                // The two highest bits of a length beyond 255 stand, inverted, in the type.
                let longest = usize::from(high) | usize::from((low & 0x30) ^ 0x30) << 4;
                prefixed(bytes, if longest > 255 { 2 } else { 1 })?
            }
            TINY_BLOB | MEDIUM_BLOB | LONG_BLOB | BLOB | BLOB_COMPRESSED | JSON | GEOMETRY | VECTOR => {
                if !(1..=4).contains(&low) {
                    return None;
                }
                prefixed(bytes, usize::from(low))?
            }
            _ => return None,
        };
        bytes.take(length)
    }
}

fn prefixed(bytes: &mut Bytes<'_>, length: usize) -> Option<usize> {
    usize::try_from(bytes.low_first(length)?).ok()
}

/// Bytes of so many digits: nine in four bytes, fewer in as many as they need.
pub(super) const DIGIT_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

fn decimal_length(digits: u8, scale: u8) -> Option<usize> {
    let bytes = |digits: u8| usize::from(digits / 9) * 4 + DIGIT_BYTES[usize::from(digits % 9)];
    Some(bytes(digits.checked_sub(scale)?) + bytes(scale))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `shop.t (INT, VARCHAR(300), CHAR(100) of utf8mb4, ENUM, DECIMAL(10,2))`, as a server writes it.
    const EVENT: &[u8] = b"\x6b\0\0\0\0\0\x01\0\x04shop\0\x01t\0\x05\x03\x0f\xfe\xfe\xf6\x08\x2c\x01\xee\x90\xf7\x01\x0a\x02\0";

    #[test]
    fn reads_names_and_types() {
        let map = TableMap::parse(EVENT).unwrap();
        assert_eq!(
            (map.id, map.schema.as_str(), map.table.as_str()),
            (107, "shop", "t")
        );
        let types = map.types.unwrap();
        let meta: Vec<(u8, u16)> = types.iter().map(|t| (t.real(), t.meta)).collect();
        assert_eq!(
            meta,
            [(3, 0), (15, 300), (254, 0x90ee), (247, 0x01f7), (246, 0x020a)]
        );
        let mut row = Bytes(b"\x01\0\0\0\x02\0ab\x01\0x\x02\x80\0\0\x01\x32rest");
        let cut: Vec<&[u8]> = types.iter().map(|t| t.cut(&mut row).unwrap()).collect();
        assert_eq!(
            cut,
            [&b"\x01\0\0\0"[..], b"ab", b"x", b"\x02", b"\x80\0\0\x01\x32"]
        );
        assert_eq!(row.0, b"rest");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80), code: u8, meta: u16) {
            let _ = TableMap::parse(&bytes);
            let mut spoilt = EVENT.to_vec();
            for (at, byte) in bytes.iter().enumerate() {
                if let Some(place) = spoilt.get_mut(at + usize::from(code) % EVENT.len()) {
                    *place = *byte;
                }
            }
            if let Some(map) = TableMap::parse(&spoilt) {
                let mut row = Bytes(&bytes);
                for one in map.types.into_iter().flatten() {
                    let _ = one.cut(&mut row);
                }
            }
            let mut row = Bytes(&bytes);
            let before = row.0.len();
            if let Some(cut) = (Type { code, meta }).cut(&mut row) {
                prop_assert!(cut.len() <= before);
            }
        }
    }
}
