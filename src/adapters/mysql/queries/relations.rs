//! Looks up what stands behind a name: a table with its unique keys, a view, or nothing.

use mysql_async::Row;

use super::replayer::READ;
use crate::adapters::mysql::columns::text_at;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::quote;
use crate::adapters::mysql::session::Session;
use crate::domain::proof::transaction::TableName;
use crate::domain::queries::catalogue::Relation;
use crate::domain::queries::order::KeyColumn;

const DOING: &str = "look up the tables of a statement";

pub(super) async fn look_up(session: &mut Session, name: &TableName) -> Result<Relation, ServerError> {
    let (schema, table) = (quote::text(&name.schema), quote::text(&name.table));
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {table}"
    );
    let found: Vec<(String, String, String)> = session.rows(DOING, &sql, READ).await?;
    // Where the case of names matters, the comparison may give a neighbour as well.
    let exact = |(s, t, _): &&(String, String, String)| *s == name.schema && *t == name.table;
    let Some((schema, table, kind)) = found.iter().find(exact).or(found.first()).cloned() else {
        return Ok(Relation::Absent);
    };
    let found = TableName { schema, table };
    if kind.to_ascii_uppercase().contains("VIEW") {
        return view(session, &found).await;
    }
    let keys = unique_keys(session, &found).await?;
    Ok(Relation::Table { name: found, keys })
}

async fn view(session: &mut Session, name: &TableName) -> Result<Relation, ServerError> {
    let sql = format!(
        "SELECT VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        quote::text(&name.schema),
        quote::text(&name.table)
    );
    let rows: Vec<Row> = session.rows(DOING, &sql, READ).await?;
    let text = rows.first().and_then(|row| text_at(row, 0)).unwrap_or_default();
    Ok(Relation::View { text })
}

/// The unique keys of whole columns without NULL.
async fn unique_keys(session: &mut Session, name: &TableName) -> Result<Vec<Vec<KeyColumn>>, ServerError> {
    let sql = format!(
        "SELECT s.INDEX_NAME, s.COLUMN_NAME, s.SUB_PART, s.NULLABLE, c.DATA_TYPE FROM information_schema.STATISTICS s \
         LEFT JOIN information_schema.COLUMNS c ON c.TABLE_SCHEMA = s.TABLE_SCHEMA AND c.TABLE_NAME = s.TABLE_NAME \
         AND c.COLUMN_NAME = s.COLUMN_NAME WHERE s.TABLE_SCHEMA = {} AND s.TABLE_NAME = {} AND s.NON_UNIQUE = 0 \
         ORDER BY s.INDEX_NAME, s.SEQ_IN_INDEX",
        quote::text(&name.schema),
        quote::text(&name.table)
    );
    let rows: Vec<Row> = session.rows(DOING, &sql, READ).await?;
    let mut keys: Vec<(String, Option<Vec<KeyColumn>>)> = Vec::new();
    for row in &rows {
        let index = text_at(row, 0).unwrap_or_default();
        if keys.last().is_none_or(|(last, _)| *last != index) {
            keys.push((index, Some(Vec::new())));
        }
        // A part that is an expression, a prefix or may be NULL spoils the whole key.
        let usable = text_at(row, 2).is_none() && text_at(row, 3).as_deref() != Some("YES");
        let column = text_at(row, 1).zip(text_at(row, 4)).filter(|_| usable);
        if let Some((_, key)) = keys.last_mut() {
            match (column, key.as_mut()) {
                (Some((name, kind)), Some(columns)) => columns.push(KeyColumn {
                    name: name.to_lowercase(),
                    is_text: !is_number(&kind),
                }),
                _ => *key = None,
            }
        }
    }
    Ok(keys.into_iter().filter_map(|(_, key)| key).collect())
}

/// Whether a value of this type is equal to one number only.
fn is_number(kind: &str) -> bool {
    [
        "tinyint",
        "smallint",
        "mediumint",
        "int",
        "bigint",
        "decimal",
        "float",
        "double",
        "bit",
        "year",
        "date",
        "datetime",
        "timestamp",
    ]
    .contains(&kind.to_ascii_lowercase().as_str())
}
