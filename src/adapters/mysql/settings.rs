//! Global settings as they are, in memory and persisted, and the statements that put them back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::capabilities::variables;
use super::error::ServerError;
use super::quote;
use super::session::Session;
use crate::domain::capabilities::Capabilities;

/// Some global settings of one server at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// In memory, as the server spells them. What the server does not have is missing.
    memory: BTreeMap<String, String>,
    /// Persisted; `None` where the server cannot persist.
    persisted: Option<BTreeMap<String, String>>,
}

/// Reads settings by name.
///
/// # Errors
/// Any [`super::error::Cause`].
pub async fn read(
    session: &mut Session,
    caps: &Capabilities,
    names: &[&str],
    budget: Duration,
) -> Result<Settings, ServerError> {
    let memory = variables(session, names, budget).await?;
    let persisted = if caps.persist && caps.performance_schema {
        let names: Vec<String> = names.iter().map(|n| quote::text(n)).collect();
        let sql = format!(
            "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.persisted_variables WHERE VARIABLE_NAME IN \
             ({})",
            names.join(", ")
        );
        let rows: Vec<(String, String)> = session.rows("read what is persisted", &sql, budget).await?;
        Some(rows.into_iter().collect())
    } else {
        None
    };
    Ok(Settings { memory, persisted })
}

impl Settings {
    /// A value in memory, as the server spells it; `None` if the server has no such setting.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.memory.get(name).map(String::as_str)
    }

    /// The statements that put one setting back, in memory and persisted.
    #[must_use]
    pub fn put_back(&self, name: &str) -> Vec<String> {
        let mut undo: Vec<String> = self.put_back_persisted(name).into_iter().collect();
        if let Some(old) = self.memory.get(name) {
            undo.push(format!("SET GLOBAL {name} = {}", literal(old)));
        }
        undo
    }

    /// The statement that puts back what is persisted, without setting in memory anything but the value it had there
    /// too. `None` where the server cannot persist.
    #[must_use]
    pub fn put_back_persisted(&self, name: &str) -> Option<String> {
        Some(match self.persisted.as_ref()?.get(name) {
            None => format!("RESET PERSIST IF EXISTS {name}"),
            // PERSIST_ONLY wants one more right than PERSIST; it is needed only where memory and file differed.
            Some(old) if self.memory.get(name) != Some(old) => {
                format!("SET PERSIST_ONLY {name} = {}", literal(old))
            }
            Some(old) => format!("SET PERSIST {name} = {}", literal(old)),
        })
    }

    /// Settings made up for a test.
    #[cfg(test)]
    pub(crate) fn of(memory: &[(&str, &str)], persisted: Option<&[(&str, &str)]>) -> Self {
        let map = |pairs: &[(&str, &str)]| {
            let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
            pairs.iter().map(owned).collect()
        };
        Self {
            memory: map(memory),
            persisted: persisted.map(map),
        }
    }
}

/// Sets variables so that they outlast a restart, where the server can.
#[must_use]
pub fn set_kept(caps: &Capabilities, settings: &[(&str, &str)]) -> String {
    let how = if caps.persist { "PERSIST" } else { "GLOBAL" };
    let list: Vec<String> = settings
        .iter()
        .map(|(name, value)| format!("{how} {name} = {value}"))
        .collect();
    format!("SET {}", list.join(", "))
}

/// A setting's value as SQL: numbers, ON and OFF as they are, everything else as a text.
#[must_use]
pub fn literal(value: &str) -> String {
    let number = !value.is_empty()
        && value
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    if number || ["ON", "OFF"].contains(&value.to_ascii_uppercase().as_str()) {
        value.to_owned()
    } else {
        quote::text(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_file_are_put_back_apart() {
        let settings = Settings::of(
            &[("read_only", "ON"), ("sync_binlog", "1"), ("x", "NO_LOCK")],
            Some(&[("read_only", "OFF"), ("sync_binlog", "1")]),
        );
        assert_eq!(
            settings.put_back("read_only"),
            ["SET PERSIST_ONLY read_only = OFF", "SET GLOBAL read_only = ON"]
        );
        assert_eq!(
            settings.put_back("sync_binlog"),
            ["SET PERSIST sync_binlog = 1", "SET GLOBAL sync_binlog = 1"]
        );
        assert_eq!(
            settings.put_back("x"),
            ["RESET PERSIST IF EXISTS x", "SET GLOBAL x = 'NO_LOCK'"]
        );
        let cannot = Settings::of(&[("read_only", "ON")], None);
        assert_eq!(cannot.put_back("read_only"), ["SET GLOBAL read_only = ON"]);
    }
}
