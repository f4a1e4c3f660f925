//! A row's key, and where one key stands to another.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One column of a key. There is no null: a key that may hold nulls is no key for this purpose.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPart {
    /// Every integer type; wide enough for both `BIGINT` and `BIGINT UNSIGNED`.
    Integer(i128),
    /// Bytes whose order is the server's order: binary strings (padded to their column's width again, because a row
    /// event strips trailing zeros), `_bin` collations without padding, and whatever else the adapter can write so
    /// that bytes compare as the server compares values.
    Bytes(Vec<u8>),
    /// Text under a collation. Its place among other texts is known to the server only.
    Text(Vec<u8>),
}

/// The key of one row: the values of its key columns, in the key's order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key(pub Vec<KeyPart>);

impl Key {
    /// How this key stands to another one on the server. `None` where only the server can tell: a column whose order
    /// is a collation's decides, or the two are not keys of the same table.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        if self.0.len() != other.0.len() {
            return None;
        }
        for (mine, theirs) in self.0.iter().zip(&other.0) {
            let order = match (mine, theirs) {
                (KeyPart::Integer(a), KeyPart::Integer(b)) => a.cmp(b),
                (KeyPart::Bytes(a), KeyPart::Bytes(b)) => a.cmp(b),
                // The same bytes are the same value under every collation.
                (KeyPart::Text(a), KeyPart::Text(b)) if a == b => Ordering::Equal,
                _ => return None,
            };
            if order != Ordering::Equal {
                return Some(order);
            }
        }
        Some(Ordering::Equal)
    }

    /// Whether a column's order is a collation's.
    #[must_use]
    pub fn has_text(&self) -> bool {
        self.0.iter().any(|part| matches!(part, KeyPart::Text(_)))
    }

    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        let text: usize = self
            .0
            .iter()
            .map(|part| match part {
                KeyPart::Integer(_) => 0,
                KeyPart::Bytes(bytes) | KeyPart::Text(bytes) => bytes.len(),
            })
            .sum();
        text + size_of::<Self>() + self.0.len() * size_of::<KeyPart>()
    }
}

impl From<i128> for Key {
    fn from(number: i128) -> Self {
        Self(vec![KeyPart::Integer(number)])
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match part {
                KeyPart::Integer(number) => number.fmt(f)?,
                KeyPart::Bytes(bytes) => {
                    f.write_str("0x")?;
                    bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))?;
                }
                KeyPart::Text(bytes) => write!(f, "'{}'", String::from_utf8_lossy(bytes).escape_debug())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_where_it_can_and_says_where_not() {
        let ints = |a: i128, b: i128| Key(vec![KeyPart::Integer(a), KeyPart::Integer(b)]);
        assert_eq!(ints(1, 9).compare(&ints(2, 0)), Some(Ordering::Less));
        assert_eq!(ints(1, 9).compare(&ints(1, 0)), Some(Ordering::Greater));
        assert_eq!(
            Key::from(i128::from(u64::MAX)).compare(&Key::from(-1)),
            Some(Ordering::Greater)
        );
        assert_eq!(ints(1, 2).compare(&Key::from(1)), None);
        let text = |number: i128, text: &str| {
            Key(vec![
                KeyPart::Integer(number),
                KeyPart::Text(text.as_bytes().to_vec()),
            ])
        };
        // The columns before the text decide, if they can.
        assert_eq!(text(1, "b").compare(&text(2, "a")), Some(Ordering::Less));
        assert_eq!(text(1, "b").compare(&text(1, "a")), None);
        assert_eq!(text(1, "b").compare(&text(1, "b")), Some(Ordering::Equal));
        let bytes = |bytes: &[u8]| Key(vec![KeyPart::Bytes(bytes.to_vec())]);
        assert_eq!(bytes(&[1, 0]).compare(&bytes(&[1])), Some(Ordering::Greater));
        assert_eq!(bytes(&[1]).compare(&Key::from(1)), None);
        assert_eq!(bytes(&[1, 255]).to_string(), "0x01FF");
    }
}
