//! Reads views, routines, triggers and events from `information_schema`.

use std::collections::BTreeMap;

use super::{NOT_COMPARED, Surveyor, Texts, optional, text};
use crate::adapters::mysql::error::ServerError;
use crate::domain::guardrails::facts::{ProgramFact, ViewFact};

/// Named properties from places of a row.
fn properties(row: &Texts, names: &[(&str, usize)]) -> BTreeMap<String, String> {
    names
        .iter()
        .map(|(name, at)| ((*name).to_owned(), text(row, *at)))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

impl Surveyor {
    pub(super) async fn views(&mut self) -> Result<Vec<ViewFact>, ServerError> {
        let sql = format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION, SECURITY_TYPE, DEFINER, CHECK_OPTION \
             FROM information_schema.VIEWS WHERE TABLE_SCHEMA NOT IN {NOT_COMPARED}"
        );
        let rows = self.ask("list the views", &sql).await?;
        Ok(rows
            .iter()
            .map(|row| ViewFact {
                schema: text(row, 0),
                name: text(row, 1),
                text: text(row, 2),
                security: text(row, 3),
                definer: text(row, 4),
                check_option: text(row, 5),
            })
            .collect())
    }

    pub(super) async fn routines(&mut self) -> Result<Vec<ProgramFact>, ServerError> {
        let doing = "list the routines";
        let parameters = format!(
            "SELECT SPECIFIC_SCHEMA, SPECIFIC_NAME, ROUTINE_TYPE, \
             CONCAT(COALESCE(PARAMETER_MODE, ''), ' ', COALESCE(PARAMETER_NAME, ''), ': ', DTD_IDENTIFIER) \
             FROM information_schema.PARAMETERS WHERE ORDINAL_POSITION > 0 AND SPECIFIC_SCHEMA NOT IN {NOT_COMPARED} \
             ORDER BY SPECIFIC_SCHEMA, SPECIFIC_NAME, ROUTINE_TYPE, ORDINAL_POSITION"
        );
        let mut lists: BTreeMap<(String, String, String), Vec<String>> = BTreeMap::new();
        for row in self.ask(doing, &parameters).await? {
            lists
                .entry((text(&row, 0), text(&row, 1), text(&row, 2)))
                .or_default()
                .push(text(&row, 3));
        }
        let sql = format!(
            "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE, ROUTINE_DEFINITION, DEFINER, SQL_MODE, SECURITY_TYPE, \
             IS_DETERMINISTIC, SQL_DATA_ACCESS, DTD_IDENTIFIER FROM information_schema.ROUTINES \
             WHERE ROUTINE_SCHEMA NOT IN {NOT_COMPARED}"
        );
        let rows = self.ask(doing, &sql).await?;
        Ok(rows
            .iter()
            .map(|row| {
                let mut all = properties(
                    row,
                    &[
                        ("security", 6),
                        ("deterministic", 7),
                        ("data access", 8),
                        ("returns", 9),
                    ],
                );
                if let Some(list) = lists.get(&(text(row, 0), text(row, 1), text(row, 2))) {
                    all.insert("parameters".into(), list.join(", "));
                }
                program(row, &text(row, 2), all)
            })
            .collect())
    }

    pub(super) async fn triggers(&mut self) -> Result<Vec<ProgramFact>, ServerError> {
        let sql = format!(
            "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, 'TRIGGER', ACTION_STATEMENT, DEFINER, SQL_MODE, \
             CONCAT(ACTION_TIMING, ' ', EVENT_MANIPULATION, ' ON ', EVENT_OBJECT_TABLE) \
             FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA NOT IN {NOT_COMPARED}"
        );
        let rows = self.ask("list the triggers", &sql).await?;
        Ok(rows
            .iter()
            .map(|row| program(row, "TRIGGER", properties(row, &[("timing", 6)])))
            .collect())
    }

    pub(super) async fn scheduled(&mut self) -> Result<Vec<ProgramFact>, ServerError> {
        let sql = format!(
            "SELECT EVENT_SCHEMA, EVENT_NAME, 'EVENT', EVENT_DEFINITION, DEFINER, SQL_MODE, \
             CONCAT(COALESCE(INTERVAL_VALUE, ''), ' ', COALESCE(INTERVAL_FIELD, '')), COALESCE(EXECUTE_AT, ''), \
             COALESCE(ENDS, ''), ON_COMPLETION, TIME_ZONE FROM information_schema.EVENTS \
             WHERE EVENT_SCHEMA NOT IN {NOT_COMPARED}"
        );
        let rows = self.ask("list the events", &sql).await?;
        Ok(rows
            .iter()
            .map(|row| {
                let names = [
                    ("interval", 6),
                    ("execute at", 7),
                    ("ends", 8),
                    ("on completion", 9),
                    ("time zone", 10),
                ];
                program(row, "EVENT", properties(row, &names))
            })
            .collect())
    }
}

/// Schema, name, kind, body, definer and mode stand at the first six places of every question here.
fn program(row: &Texts, kind: &str, properties: BTreeMap<String, String>) -> ProgramFact {
    ProgramFact {
        schema: text(row, 0),
        name: text(row, 1),
        kind: kind.to_owned(),
        text: optional(row, 3),
        definer: text(row, 4),
        sql_mode: text(row, 5),
        properties,
    }
}
