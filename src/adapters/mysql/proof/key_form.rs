//! How the values of a key stand in the proof's ledger: as numbers and bytes whose order is known, or as text whose place
//! only the server knows.
//!
//! Two things bring keys, and both must write the same key in the same way: the servers' answers ([`to_ledger`]) and
//! the row events of blue's binlog.

use super::columns::Column;
use super::key::{KeyColumn, KeyValue, Part};
use super::kind::Kind;
use crate::domain::proof::key::{Key, KeyPart};

/// How the values of one column of a key stand in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A [`KeyPart::Integer`]: integers, BIT, YEAR, and members of an ENUM or SET by their numbers.
    Number,
    /// [`KeyPart::Bytes`] of a binary value; those of BINARY(N) are filled up with zeros to this length.
    Binary(usize),
    /// [`KeyPart::Bytes`] of a date, or a date and time in UTC, as the server prints it with all its digits: the order of
    /// those texts is the order of time.
    Time,
    /// [`KeyPart::Bytes`] of a text whose collation compares byte by byte, in the character set of
    /// [`KeyColumn::charset`].
    TextByBytes,
    /// [`KeyPart::Text`] of a text, in the character set of [`KeyColumn::charset`].
    Text,
    /// [`KeyPart::Text`] of any other value as the server prints it.
    Printed,
}

impl Form {
    /// The form of a column that both sides have.
    #[must_use]
    pub fn of(column: &Column, other: &Column) -> Self {
        match &column.kind {
            Kind::Integer { .. } | Kind::Bit | Kind::Year | Kind::Choice { .. } => Self::Number,
            Kind::Binary { bytes, fixed } => Self::Binary(if *fixed {
                usize::try_from(*bytes).unwrap_or(0)
            } else {
                0
            }),
            Kind::Date | Kind::DateTime(_) | Kind::Timestamp(_) => Self::Time,
            Kind::Text { .. } if by_bytes(column) && by_bytes(other) => Self::TextByBytes,
            Kind::Text { .. } => Self::Text,
            _ => Self::Printed,
        }
    }

    fn to_ledger(self, part: &Part) -> Option<KeyPart> {
        Some(match (self, part) {
            (Self::Number, Part::Plain(number)) => KeyPart::Integer(number.parse().ok()?),
            (Self::Binary(length), Part::Bytes(bytes)) => KeyPart::Bytes(padded(bytes, length)),
            (Self::Time, Part::Plain(time)) => KeyPart::Bytes(time.clone().into_bytes()),
            (Self::TextByBytes, Part::Bytes(bytes)) => KeyPart::Bytes(bytes.clone()),
            (Self::Text, Part::Bytes(bytes)) => KeyPart::Text(bytes.clone()),
            (Self::Printed, Part::Plain(text)) => KeyPart::Text(text.clone().into_bytes()),
            _ => return None,
        })
    }

    fn read_back(self, part: &KeyPart) -> Option<Part> {
        Some(match (self, part) {
            (Self::Number, KeyPart::Integer(number)) => Part::Plain(number.to_string()),
            (Self::Binary(_) | Self::TextByBytes, KeyPart::Bytes(bytes))
            | (Self::Text, KeyPart::Text(bytes)) => Part::Bytes(bytes.clone()),
            (Self::Time, KeyPart::Bytes(text)) | (Self::Printed, KeyPart::Text(text)) => {
                Part::Plain(String::from_utf8(text.clone()).ok()?)
            }
            _ => return None,
        })
    }
}

/// Collations that compare texts byte by byte, trailing spaces too. A plain `_bin` one ignores those.
fn by_bytes(column: &Column) -> bool {
    column
        .collation
        .as_deref()
        .is_some_and(|name| name.ends_with("_0900_bin") || name.ends_with("_nopad_bin"))
}

/// Bytes, filled up with zeros to a length: row events leave the last zeros of BINARY(N) out.
#[must_use]
pub fn padded(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().max(length), 0);
    padded
}

/// A key as a server answered it, for the ledger; `None` if it is not of that form.
#[must_use]
pub fn to_ledger(columns: &[KeyColumn], key: &KeyValue) -> Option<Key> {
    each(columns, &key.0, Form::to_ledger).map(Key)
}

/// A key of the ledger, to be asked for on a server; `None` if it is not of that form.
#[must_use]
pub fn from_ledger(columns: &[KeyColumn], key: &Key) -> Option<KeyValue> {
    each(columns, &key.0, Form::read_back).map(KeyValue)
}

fn each<From, To>(
    columns: &[KeyColumn],
    parts: &[From],
    turn: impl Fn(Form, &From) -> Option<To>,
) -> Option<Vec<To>> {
    if columns.len() != parts.len() {
        return None;
    }
    let both = columns.iter().zip(parts);
    both.map(|(column, part)| turn(column.form, part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::mysql::proof::key::Literal;

    #[test]
    fn what_goes_into_the_ledger_comes_out_again() {
        let plain = |text: &str| Part::Plain(text.into());
        for (form, part, stands) in [
            (
                Form::Number,
                plain("18446744073709551615"),
                KeyPart::Integer(i128::from(u64::MAX)),
            ),
            (Form::Number, plain("-1"), KeyPart::Integer(-1)),
            (Form::Binary(0), Part::Bytes(vec![1]), KeyPart::Bytes(vec![1])),
            (
                Form::Time,
                plain("2024-01-01"),
                KeyPart::Bytes(b"2024-01-01".to_vec()),
            ),
            (
                Form::TextByBytes,
                Part::Bytes(b"a ".to_vec()),
                KeyPart::Bytes(b"a ".to_vec()),
            ),
            (
                Form::Text,
                Part::Bytes(b"a".to_vec()),
                KeyPart::Text(b"a".to_vec()),
            ),
            (
                Form::Printed,
                plain("-00:00:01"),
                KeyPart::Text(b"-00:00:01".to_vec()),
            ),
        ] {
            let columns = [KeyColumn {
                name: "k".into(),
                read: "k".into(),
                literal: Literal::Quoted,
                form,
                fraction: 0,
            }];
            let value = KeyValue(vec![part]);
            let key = to_ledger(&columns, &value).unwrap();
            assert_eq!(key.0, [stands]);
            assert_eq!(from_ledger(&columns, &key), Some(value));
            assert_eq!(to_ledger(&columns, &KeyValue(vec![])), None);
        }
        // As the binlog has it, and as the server has it.
        assert_eq!(
            Form::Binary(4).to_ledger(&Part::Bytes(vec![1])),
            Some(KeyPart::Bytes(vec![1, 0, 0, 0]))
        );
        assert_eq!(Form::Number.to_ledger(&plain("0x1")), None);
    }
}
