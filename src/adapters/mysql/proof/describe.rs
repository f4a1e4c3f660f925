//! The values of rows that differ, for people, and the statements that would make green's rows equal to blue's.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::defined::Defined;
use super::digest;
use super::expression::Expression;
use super::key::{self, KeyColumn, KeyValue, Literal, Part, SINGLE};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::quote;
use crate::adapters::mysql::session::Session;
use crate::domain::ids::Side;
use crate::domain::proof::drill::Differs;
use crate::domain::proof::transaction::TableName;
use crate::engine::event::{ColumnDiffers, Difference};

/// The longest value that is kept of a column, in bytes.
const VALUE_BYTES: usize = 2_000;

/// The values of one row; `None` is NULL.
pub type Values = Vec<Option<Part>>;

/// Reads the values of rows by their keys.
///
/// # Errors
/// What the server answered.
pub async fn read(
    session: &mut Session,
    of: &Expression,
    columns: &[KeyColumn],
    keys: &[KeyValue],
    budget: Duration,
) -> Result<BTreeMap<KeyValue, Values>, ServerError> {
    let doing = "read the values of rows that differ";
    let reads = of.key.iter().chain(columns).map(|column| column.read.as_str());
    let sql = format!(
        "SELECT {} FROM {} WHERE {}",
        reads.collect::<Vec<_>>().join(", "),
        of.from,
        key::among(&of.key, keys)
    );
    let rows = digest::ask(session, doing, &sql, budget).await?;
    let mut found = BTreeMap::new();
    for row in &rows {
        let Some(key) = key::read(&of.key, row) else {
            return Err(session.unexpected(doing, "a row without a key"));
        };
        let values = columns
            .iter()
            .enumerate()
            .map(|(at, column)| column.part(row, of.key.len() + at));
        found.insert(key, values.collect());
    }
    Ok(found)
}

/// What differs of a row; nothing if it is equal by now, or gone on both sides.
#[must_use]
pub fn difference(
    table: &TableName,
    defined: &Defined,
    key: &KeyValue,
    (blue, green): (Option<&Values>, Option<&Values>),
    mask: bool,
) -> Option<Difference> {
    let columns = defined.shown(Side::Green);
    let key_columns = &defined.expressions.green.key;
    let how = match (blue, green) {
        (None, None) => return None,
        (Some(blue), Some(green)) if blue == green => return None,
        (Some(_), Some(_)) => Differs::Values,
        (Some(_), None) => Differs::OnlyOn(Side::Blue),
        (None, Some(_)) => Differs::OnlyOn(Side::Green),
    };
    let differing: Vec<usize> = match (blue, green) {
        (Some(blue), Some(green)) => (0..columns.len())
            .filter(|at| blue.get(*at) != green.get(*at))
            .collect(),
        _ => Vec::new(),
    };
    let value = |values: Option<&Values>, at: usize| {
        let part = values?.get(at)?.as_ref()?;
        Some(shown(&columns[at], part, mask))
    };
    let name = |column: &KeyColumn| quote::plain(&column.name);
    Some(Difference {
        table: table.to_string(),
        key: key_columns
            .iter()
            .zip(&key.0)
            .map(|(column, part)| (name(column), shown(column, part, false)))
            .collect(),
        how,
        columns: differing
            .iter()
            .map(|at| ColumnDiffers {
                column: name(&columns[*at]),
                blue: value(blue, *at),
                green: value(green, *at),
            })
            .collect(),
        rows: None,
        repair: repair(table, defined, key, blue, how),
    })
}

/// The statement that makes green's row equal to blue's.
fn repair(
    table: &TableName,
    defined: &Defined,
    key: &KeyValue,
    blue: Option<&Values>,
    how: Differs,
) -> Option<String> {
    let columns = defined.shown(Side::Green);
    let key_columns = &defined.expressions.green.key;
    let name = quote::qualified(&table.schema, &table.table);
    let here = key::among(key_columns, std::slice::from_ref(key));
    let literal = |at: usize| {
        let part = blue?.get(at)?;
        Some(
            part.as_ref()
                .map_or_else(|| "NULL".to_owned(), |part| columns[at].literal(part)),
        )
    };
    match how {
        Differs::OnlyOn(Side::Green) => Some(format!("DELETE FROM {name} WHERE {here};")),
        Differs::OnlyOn(Side::Blue) => {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let values: Option<Vec<String>> = (0..columns.len()).map(literal).collect();
            Some(format!(
                "INSERT INTO {name} ({}) VALUES ({});",
                names.join(", "),
                values?.join(", ")
            ))
        }
        Differs::Values => {
            // All of them: one that is given is not set to the present time by `ON UPDATE`.
            let sets: Option<Vec<String>> = (0..columns.len())
                .map(|at| Some(format!("{} = {}", columns[at].name, literal(at)?)))
                .collect();
            Some(format!("UPDATE {name} SET {} WHERE {here};", sets?.join(", ")))
        }
    }
}

/// A value for people.
fn shown(column: &KeyColumn, part: &Part, mask: bool) -> String {
    if mask {
        let bytes = match part {
            Part::Plain(text) => text.as_bytes(),
            Part::Bytes(bytes) => bytes,
        };
        let digest: String = Sha256::digest(bytes)
            .iter()
            .take(4)
            .map(|b| format!("{b:02x}"))
            .collect();
        return format!("(masked, {digest}, {} bytes)", bytes.len());
    }
    let cut = |bytes: &[u8]| bytes.get(..VALUE_BYTES).unwrap_or(bytes).to_vec();
    match (&column.literal, part) {
        (Literal::Text(_), Part::Bytes(bytes)) => String::from_utf8_lossy(&cut(bytes)).into_owned(),
        (_, Part::Bytes(bytes)) => format!("0x{}", key::hex(&cut(bytes))),
        (Literal::Float, Part::Plain(number)) => float(number).unwrap_or_else(|| number.clone()),
        (_, Part::Plain(text)) => text.clone(),
    }
}

/// A FLOAT was read as an integer, see [`SINGLE`].
fn float(number: &str) -> Option<String> {
    let value = number.parse::<f64>().ok()? / SINGLE.parse::<f64>().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "it was a FLOAT before")]
    Some((value as f32).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_is_shown_as_it_was_written() {
        let read = f64::from(0.1_f32) * SINGLE.parse::<f64>().unwrap();
        assert_eq!(float(&format!("{read:e}")).as_deref(), Some("0.1"));
        assert_eq!(float("x"), None);
    }
}
