//! Reads columns of `SHOW` statements, whose names and types differ between servers, as texts.

use mysql_async::{Row, Value};

/// The text of a column by its place; `None` for NULL or where there is no such column.
pub(super) fn text_at(row: &Row, at: usize) -> Option<String> {
    row.as_ref(at).and_then(as_text)
}

/// The text of a column by its name (as the server spells it); `None` for NULL or where there is no such column.
pub(super) fn text(row: &Row, name: &str) -> Option<String> {
    let at = row
        .columns_ref()
        .iter()
        .position(|c| c.name_str().eq_ignore_ascii_case(name))?;
    text_at(row, at)
}

/// The text of the column that has the first name, or on older servers the second.
pub(super) fn either(row: &Row, newer: &str, older: &str) -> Option<String> {
    text(row, newer).or_else(|| text(row, older))
}

/// The number in a column, by either of its names; `None` where it is absent, NULL, or no number.
pub(super) fn number<T: std::str::FromStr>(row: &Row, newer: &str, older: &str) -> Option<T> {
    either(row, newer, older)?.parse().ok()
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        // The text protocol sends everything as bytes; this is for completeness.
        other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
    }
}
