//! Values of keys: how they are asked for, how they are written as literals, and the conditions made of them.
//!
//! A value always comes from a server and goes back as what it was: nothing is computed here, so nothing is rounded.

use mysql_async::{Row, Value};

use super::key_form::{self, Form};
use crate::adapters::mysql::columns::text_at;
use crate::adapters::mysql::quote;

/// The value of one column of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Numbers (a member of an ENUM or SET by its number, a BIT as a number), dates and times in UTC, addresses.
    Plain(String),
    /// The bytes of a text, in the character set of [`KeyColumn::charset`], or of a binary value. Those of BINARY(N) may
    /// lack zeros at the end, as they do in the binlog.
    Bytes(Vec<u8>),
}

/// The value of a whole key: one part for each of its columns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyValue(pub Vec<Part>);

/// Rows by their key: all after one value and up to another, which is among them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Range {
    /// `None` is from the first row on.
    pub after: Option<KeyValue>,
    /// `None` is up to the last row.
    pub until: Option<KeyValue>,
}

/// 2 to the power of 149, which makes an integer of every FLOAT, without rounding.
///
/// The plain text of a FLOAT has six digits. As a DOUBLE it has them all, but MySQL 9.7 cuts the text of a computed
/// DOUBLE at 22 characters; the integer is never longer.
pub(super) const SINGLE: &str = "7.136238463529799e44";

/// How the values of a column are written as literals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literal {
    Number,
    Double,
    /// A FLOAT, read as [`SINGLE`] times its value.
    Float,
    Quoted,
    /// Bytes, filled up with zeros to this length.
    Binary(usize),
    /// Bytes in this character set.
    Text(String),
}

/// A column of a key on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its quoted name.
    pub(super) name: String,
    /// The expression that is asked for its value.
    pub(super) read: String,
    pub(super) literal: Literal,
    /// How its values stand in the proof's ledger.
    pub form: Form,
    /// With how many digits after the second both sides are read, for times.
    pub fraction: u32,
}

impl KeyColumn {
    /// Its name, quoted.
    #[must_use]
    pub fn quoted_name(&self) -> &str {
        &self.name
    }

    /// The character set that this side expects the bytes of a text in; `None` where it is no text.
    #[must_use]
    pub fn charset(&self) -> Option<&str> {
        match &self.literal {
            Literal::Text(charset) => Some(charset),
            _ => None,
        }
    }

    pub(super) fn literal(&self, part: &Part) -> String {
        match (&self.literal, part) {
            (Literal::Text(charset), Part::Bytes(bytes)) => format!("_{charset} X'{}'", hex(bytes)),
            (Literal::Binary(length), Part::Bytes(bytes)) => {
                format!("X'{}'", hex(&key_form::padded(bytes, *length)))
            }
            (_, Part::Bytes(bytes)) => format!("X'{}'", hex(bytes)),
            (Literal::Number, Part::Plain(number)) if is_number(number) => number.clone(),
            (Literal::Double, Part::Plain(number)) if is_number(number) => double(number),
            (Literal::Float, Part::Plain(number)) if is_number(number) => {
                format!("({}/{SINGLE})", double(number))
            }
            (_, Part::Plain(text)) => quote::text(text),
        }
    }

    pub(super) fn part(&self, row: &Row, at: usize) -> Option<Part> {
        match (&self.literal, row.as_ref(at)?) {
            (_, Value::NULL) => None,
            (Literal::Binary(_) | Literal::Text(_), Value::Bytes(digits)) => unhex(digits).map(Part::Bytes),
            _ => text_at(row, at).map(Part::Plain),
        }
    }
}

/// Without an exponent a number would be a DECIMAL, and compared as one.
fn double(number: &str) -> String {
    if number.contains('e') {
        number.to_owned()
    } else {
        format!("{number}e0")
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e'))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The bytes of hexadecimal digits.
pub(super) fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    digits
        .chunks(2)
        .map(|pair| Some(digit(pair[0])? * 16 + digit(pair[1])?))
        .collect()
}

/// The key at the beginning of a row; `None` if the row is not of that form.
pub(super) fn read(columns: &[KeyColumn], row: &Row) -> Option<KeyValue> {
    let parts = columns
        .iter()
        .enumerate()
        .map(|(at, column)| column.part(row, at));
    parts.collect::<Option<Vec<Part>>>().map(KeyValue)
}

/// The condition of a range, written out so that optimisers scan the key: they do not for `(a, b) > (1, 2)`.
pub(super) fn in_range(columns: &[KeyColumn], range: &Range) -> String {
    let after = range.after.as_ref().map(|value| beyond(columns, value, ">", ">"));
    let until = range
        .until
        .as_ref()
        .map(|value| beyond(columns, value, "<", "<="));
    let both: Vec<String> = [after, until].into_iter().flatten().collect();
    if both.is_empty() {
        "TRUE".to_owned()
    } else {
        both.join(" AND ")
    }
}

/// `(a > 1 OR (a = 1 AND b > 2))`; the last column is compared by an operator of its own.
fn beyond(columns: &[KeyColumn], value: &KeyValue, operator: &str, last: &str) -> String {
    let pairs: Vec<(&KeyColumn, String)> = columns
        .iter()
        .zip(&value.0)
        .map(|(column, part)| (column, column.literal(part)))
        .collect();
    let cases = (0..pairs.len()).map(|at| {
        let operator = if at + 1 == pairs.len() { last } else { operator };
        let equal = pairs[..at]
            .iter()
            .map(|(column, literal)| format!("{} = {literal}", column.name));
        let (column, literal) = &pairs[at];
        let beyond = format!("{} {operator} {literal}", column.name);
        format!("({})", equal.chain([beyond]).collect::<Vec<_>>().join(" AND "))
    });
    format!("({})", cases.collect::<Vec<_>>().join(" OR "))
}

/// The condition of single rows.
pub(super) fn among(columns: &[KeyColumn], values: &[KeyValue]) -> String {
    if values.is_empty() {
        return "FALSE".to_owned();
    }
    if let [column] = columns {
        let literals = values.iter().flat_map(|value| value.0.first());
        let literals: Vec<String> = literals.map(|part| column.literal(part)).collect();
        return format!("{} IN ({})", column.name, literals.join(", "));
    }
    let rows = values.iter().map(|value| {
        let equal = columns.iter().zip(&value.0);
        let equal: Vec<String> = equal
            .map(|(column, part)| format!("{} = {}", column.name, column.literal(part)))
            .collect();
        format!("({})", equal.join(" AND "))
    });
    format!("({})", rows.collect::<Vec<_>>().join(" OR "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, literal: Literal) -> KeyColumn {
        KeyColumn {
            name: name.into(),
            read: name.into(),
            literal,
            form: Form::Printed,
            fraction: 0,
        }
    }

    fn plain(parts: &[&str]) -> KeyValue {
        KeyValue(parts.iter().map(|part| Part::Plain((*part).into())).collect())
    }

    #[test]
    fn composite_keys_are_written_out() {
        let columns = ["a", "b", "c"].map(|name| column(name, Literal::Number));
        let range = Range {
            after: Some(plain(&["1", "2", "3"])),
            until: Some(plain(&["4", "5", "6"])),
        };
        assert_eq!(
            in_range(&columns, &range),
            "((a > 1) OR (a = 1 AND b > 2) OR (a = 1 AND b = 2 AND c > 3)) AND \
             ((a < 4) OR (a = 4 AND b < 5) OR (a = 4 AND b = 5 AND c <= 6))"
        );
        assert_eq!(in_range(&columns, &Range::default()), "TRUE");
        assert_eq!(
            among(&columns[..2], &[plain(&["1", "2"]), plain(&["3", "4"])]),
            "((a = 1 AND b = 2) OR (a = 3 AND b = 4))"
        );
        assert_eq!(
            among(&columns[..1], &[plain(&["1"]), plain(&["2"])]),
            "a IN (1, 2)"
        );
        assert_eq!(among(&columns, &[]), "FALSE");
    }

    #[test]
    fn literals_are_what_the_server_said() {
        let written = |literal, part: Part| column("k", literal).literal(&part);
        let plain = |text: &str| Part::Plain(text.into());
        assert_eq!(
            written(Literal::Number, plain("18446744073709551615")),
            "18446744073709551615"
        );
        assert_eq!(written(Literal::Number, plain("1) OR (1")), "'1) OR (1'");
        assert_eq!(written(Literal::Double, plain("0.5")), "0.5e0");
        assert_eq!(written(Literal::Double, plain("-1e-7")), "-1e-7");
        assert_eq!(written(Literal::Quoted, plain("it's")), "'it''s'");
        assert_eq!(
            written(Literal::Text("latin1".into()), Part::Bytes(vec![0xE9])),
            "_latin1 X'E9'"
        );
        assert_eq!(written(Literal::Binary(4), Part::Bytes(vec![1])), "X'01000000'");
        assert_eq!(unhex(b"00fFA0"), Some(vec![0, 255, 160]));
        assert_eq!((unhex(b"0"), unhex(b"0g")), (None, None));
    }
}
