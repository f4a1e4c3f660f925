//! Events: which of them ran on blue, and the statements that let the same ones run on green, unchanged otherwise.
//!
//! Tried on 5.6.24, 9.7.4, 10.5.23 and 11.8.9, all alike: `ALTER EVENT … ENABLE` keeps the event's body, `sql_mode`,
//! `time_zone` and schedule, but makes whoever runs it the definer and writes the session's own character set and
//! collation over the event's. Both are therefore said.

use std::time::Duration;

use super::super::error::ServerError;
use super::super::quote;
use super::super::session::Session;

/// An event as `information_schema.EVENTS` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    schema: String,
    name: String,
    /// `user@host`, unquoted.
    definer: String,
    character_set: String,
    collation: String,
}

/// An event that is enabled on one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enabled {
    /// `schema.name`, as the guardrails call it.
    pub name: String,
    /// The batch that enables it on another server.
    pub statement: String,
}

/// The events that are enabled on this server, with what enables each on another one.
///
/// # Errors
/// Any [`super::super::error::Cause`].
pub async fn enabled(session: &mut Session, budget: Duration) -> Result<Vec<Enabled>, ServerError> {
    let sql = "SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER, CHARACTER_SET_CLIENT, COLLATION_CONNECTION \
               FROM information_schema.EVENTS WHERE STATUS = 'ENABLED' ORDER BY 1, 2";
    let rows: Vec<(String, String, String, String, String)> =
        session.rows("list the events", sql, budget).await?;
    Ok(rows
        .into_iter()
        .map(|(schema, name, definer, character_set, collation)| Enabled {
            name: format!("{schema}.{name}"),
            statement: statement(&Event {
                schema,
                name,
                definer,
                character_set,
                collation,
            }),
        })
        .collect())
}

fn statement(event: &Event) -> String {
    // A host has no `@`, a user may.
    let definer = match event.definer.rsplit_once('@') {
        Some((user, host)) => quote::account(user, host),
        None => quote::text(&event.definer),
    };
    let alter = format!(
        "ALTER DEFINER = {definer} EVENT {} ENABLE",
        quote::qualified(&event.schema, &event.name)
    );
    if !alter.is_ascii() {
        // In another character set the server would read other names. The names matter more.
        return alter;
    }
    format!(
        "SET character_set_client = {}, collation_connection = {}; {alter}; SET NAMES utf8mb4",
        quote::text(&event.character_set),
        quote::text(&event.collation)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, definer: &str) -> Event {
        Event {
            schema: "shop".to_owned(),
            name: name.to_owned(),
            definer: definer.to_owned(),
            character_set: "latin1".to_owned(),
            collation: "latin1_swedish_ci".to_owned(),
        }
    }

    #[test]
    fn definer_and_character_set_are_said() {
        assert_eq!(
            statement(&event("e`1", "a@b@%")),
            "SET character_set_client = 'latin1', collation_connection = 'latin1_swedish_ci'; \
             ALTER DEFINER = 'a@b'@'%' EVENT `shop`.`e``1` ENABLE; SET NAMES utf8mb4"
        );
    }

    #[test]
    fn a_name_that_another_character_set_would_change_is_kept() {
        assert_eq!(
            statement(&event("é", "a@%")),
            "ALTER DEFINER = 'a'@'%' EVENT `shop`.`é` ENABLE"
        );
    }
}
