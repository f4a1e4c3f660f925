//! Which runs have no outcome yet, from what both servers know of them: a pure reading of rows.
//!
//! A run's row is written on its own blue and replicated; only a switch is closed on green. So the copy on green may
//! be behind: an earlier attempt's outcome, or accounts not yet known to be locked. The row where the run was begun
//! counts, unless the other side says *switched*.

use std::collections::BTreeSet;

use crate::adapters::mysql::own_schema::RunRow;
use crate::adapters::mysql::switch::Facts;
use crate::domain::outcome::Outcome;

/// The labels of the two servers, as the playbook at hand names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Of blue.
    pub blue: String,
    /// Of green.
    pub green: String,
}

/// Whose an unfinished run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Of this pair, on these servers.
    Ours,
    /// On these servers with the roles exchanged.
    Reversed,
    /// On these servers, under another pair's name.
    OtherName,
    /// Under this pair's name, on other servers.
    OtherServers,
}

/// A run without an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Its row, where the run was begun.
    pub row: RunRow,
    /// Whose it is.
    pub whose: Whose,
}

/// The unfinished runs that concern this pair, the newest first.
#[must_use]
pub fn unfinished(pair: &str, labels: &Labels, on_blue: &[RunRow], on_green: &[RunRow]) -> Vec<Unfinished> {
    let ids: BTreeSet<&str> = on_blue
        .iter()
        .chain(on_green)
        .map(|r| r.run_id.as_str())
        .collect();
    let mut found: Vec<Unfinished> = ids
        .into_iter()
        .filter_map(|id| {
            let row_in = |rows: &[RunRow]| rows.iter().find(|r| r.run_id == id).cloned();
            one(pair, labels, row_in(on_blue), row_in(on_green))
        })
        .collect();
    found.sort_by(|a, b| (&b.row.started, &b.row.run_id).cmp(&(&a.row.started, &a.row.run_id)));
    found
}

fn one(pair: &str, labels: &Labels, blue: Option<RunRow>, green: Option<RunRow>) -> Option<Unfinished> {
    let facts = [&blue, &green].into_iter().flatten().find_map(facts);
    let reversed = facts.as_ref().is_some_and(|f| f.blue_label == labels.green);
    let (home, copy) = if reversed { (green, blue) } else { (blue, green) };
    if copy.as_ref().is_some_and(is_switched) {
        return None;
    }
    let row = home.or(copy)?;
    if row.outcome.is_some() {
        return None;
    }
    let here = |f: &Facts| f.blue_label == labels.blue && f.green_label == labels.green;
    let exchanged = |f: &Facts| f.blue_label == labels.green && f.green_label == labels.blue;
    let whose = match (row.pair == pair, &facts) {
        // What it wrote down cannot be read: whoever takes it over is told so.
        (true, None) => Whose::Ours,
        (true, Some(f)) if here(f) => Whose::Ours,
        (true, Some(f)) if exchanged(f) => Whose::Reversed,
        (true, Some(_)) => Whose::OtherServers,
        (false, Some(f)) if here(f) || exchanged(f) => Whose::OtherName,
        (false, _) => return None,
    };
    Some(Unfinished { row, whose })
}

fn facts(row: &RunRow) -> Option<Facts> {
    serde_json::from_str(row.facts.as_deref()?).ok()
}

fn is_switched(row: &RunRow) -> bool {
    let word = Outcome::Switched { debt: Vec::new() }.word();
    row.outcome.as_deref().is_some_and(|o| o.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: &str = r#"{"hold":"lock","blue_persisted":{"read_only":null,"super_read_only":null},
        "event_scheduler":"ON","events":[],"green_own":"","blue_label":"B","green_label":"G","blue_sessions":[],
        "green_sessions":[],"hold_session":0,"promote_session":0,"started":[0,0],"locked_accounts":[]}"#;

    fn row(id: &str, step: &str, outcome: Option<&str>) -> RunRow {
        RunRow {
            run_id: id.to_owned(),
            pair: "shop".to_owned(),
            operator: "me".to_owned(),
            started: "2026-01-01T00:00:00Z".to_owned(),
            step: step.to_owned(),
            outcome: outcome.map(str::to_owned),
            facts: Some(FACTS.to_owned()),
        }
    }

    fn found(
        pair: &str,
        (blue, green): (&str, &str),
        on_blue: &[RunRow],
        on_green: &[RunRow],
    ) -> Vec<(String, Whose)> {
        let labels = Labels {
            blue: blue.to_owned(),
            green: green.to_owned(),
        };
        unfinished(pair, &labels, on_blue, on_green)
            .into_iter()
            .map(|u| (format!("{} {}", u.row.run_id, u.row.step), u.whose))
            .collect()
    }

    #[test]
    fn the_row_where_the_run_was_begun_counts() {
        let ours = |on_blue: &[RunRow], on_green: &[RunRow]| found("shop", ("B", "G"), on_blue, on_green);
        let one = |text: &str| vec![(text.to_owned(), Whose::Ours)];
        // The second attempt died; green still shows the first one's outcome.
        let stale = row("r", "over", Some("released"));
        assert_eq!(ours(&[row("r", "quiet", None)], &[stale]), one("r quiet"));
        // Green is behind within the same second, and does not know yet which accounts are locked.
        assert_eq!(
            ours(&[row("r", "quiet", None)], &[row("r", "ready", None)]),
            one("r quiet")
        );
        assert_eq!(
            ours(
                &[row("r", "over", Some("rolled-back"))],
                &[row("r", "ready", None)]
            ),
            []
        );
        // Only a switch is closed on green.
        for word in ["switched", "switched-with-debt"] {
            assert_eq!(
                ours(&[row("r", "quiet", None)], &[row("r", "over", Some(word))]),
                []
            );
        }
        // Blue lost its schema.
        assert_eq!(ours(&[], &[row("r", "ready", None)]), one("r ready"));
        let both = [row("r1", "ready", None), row("r2", "ready", None)];
        let newest_first: Vec<String> = ours(&both, &[]).into_iter().map(|(id, _)| id).collect();
        assert_eq!(newest_first, ["r2 ready", "r1 ready"]);
    }

    #[test]
    fn runs_of_other_names_and_servers_are_told_apart() {
        let open = [row("r", "quiet", None)];
        let stale = [row("r", "ready", None)];
        let one = |text: &str, whose| vec![(text.to_owned(), whose)];
        assert_eq!(
            found("renamed", ("B", "G"), &open, &stale),
            one("r quiet", Whose::OtherName)
        );
        // The playbook has the roles exchanged: its green is where the run was begun.
        assert_eq!(
            found("shop", ("G", "B"), &stale, &open),
            one("r quiet", Whose::Reversed)
        );
        assert_eq!(
            found("shop", ("B", "X"), &open, &[]),
            one("r quiet", Whose::OtherServers)
        );
        // A chain: the row came by replication, and is another pair's.
        assert_eq!(found("next", ("G", "X"), &open, &[]), []);
    }
}
