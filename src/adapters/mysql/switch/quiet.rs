//! Step 6b: what would write on blue although it is sealed is stopped, and put back on every way out.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Inner, done, facts, refused, sessions};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::quote;
use crate::adapters::mysql::survey::privileged;
use crate::domain::grants::knows_account_lock;
use crate::domain::guardrails::facts::PrivilegedAccount;
use crate::domain::ids::Side;
use crate::domain::machine::{Answer, Seen};
use crate::domain::outcome::{Debt, WhyKind};
use crate::domain::step::Step;
use crate::engine::ports::Terms;

/// Stops events, which privileged accounts' may write through read-only.
pub(super) const STOP_SCHEDULER: &str = "SET GLOBAL event_scheduler = OFF";

/// Starts them again.
pub(super) const START_SCHEDULER: &str = "SET GLOBAL event_scheduler = ON";

/// Locks or unlocks accounts (`LOCK`, `UNLOCK`), without a trace in the binlog. The session's own setting is not put
/// back: it is run on a session that ends with it.
pub(super) fn accounts_statement(names: &[String], word: &str) -> String {
    format!(
        "SET SESSION sql_log_bin = 0; ALTER USER {} ACCOUNT {word}",
        names.join(", ")
    )
}

/// Runs [`accounts_statement`] on blue, on a session of its own that is closed whatever came of it: a batch ends at the
/// first statement that fails, and nothing else may ever be written without a trace.
pub(super) async fn change_accounts(
    inner: &Inner,
    doing: &str,
    statement: &str,
    budget: Duration,
) -> Result<(), ServerError> {
    // Only while the run lock is still ours.
    drop(inner.control(Side::Blue, budget).await?);
    let settings = &inner.settings;
    let mut session = sessions::open(&settings.blue, &settings.run, "accounts", budget).await?;
    let changed = session.run(doing, statement, budget).await;
    session.close(budget).await;
    changed
}

/// The accounts that are locked for the switch, as quoted names. bleen's own stays open: it is needed to finish. Those
/// locked already are not ours to unlock.
pub(super) fn to_lock(privileged: &[PrivilegedAccount]) -> Vec<String> {
    privileged
        .iter()
        .filter(|account| !account.own && !account.locked)
        .map(|account| quote::account(&account.user, &account.host))
        .collect()
}

pub(super) async fn quiet(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let budget = terms.budget;
    if inner.settings.end_privileged {
        let version = &inner.settings.blue.caps.version;
        if !to_lock(&inner.privileged).is_empty() && !knows_account_lock(version) {
            return refused(
                WhyKind::Refused,
                format!(
                    "{version} cannot lock accounts, so `switch.privileged_sessions: end` cannot keep those away that \
                     write through read-only; set it to `refuse`"
                ),
            );
        }
        lock_privileged(inner, budget).await?;
    }
    // What is put back stands in the run's row already: the facts were written when the sessions were opened.
    let scheduler = inner.facts().event_scheduler.clone();
    if scheduler == "ON" {
        let mut blue = inner.control(Side::Blue, budget).await?;
        blue.run("stop the event scheduler", STOP_SCHEDULER, budget)
            .await?;
    }
    done()
}

/// Accounts that write through read-only may not log in until the switch is confirmed; their open sessions are ended
/// under the hold. The locks are not written to the binlog: green's accounts stay as they are.
async fn lock_privileged(inner: &Inner, budget: Duration) -> Result<(), ServerError> {
    let names = to_lock(&inner.privileged);
    if names.is_empty() {
        return Ok(());
    }
    inner.facts().locked_accounts.clone_from(&names);
    facts::renew(inner, "quiet", budget).await?;
    let doing = "lock the accounts that write through read-only";
    change_accounts(inner, doing, &accounts_statement(&names, "LOCK"), budget).await
}

/// The statement that lists sessions on blue that write through read-only, without those of this run; nothing where
/// nobody can.
pub(super) fn privileged_sessions(inner: &Inner, asking: u64) -> Option<String> {
    let own: BTreeSet<u64> = inner.facts().blue_sessions.iter().copied().collect();
    privileged::open_sessions_statement(&inner.privileged, &own, asking)
}

pub(super) async fn put_back(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let budget = terms.budget;
    let (scheduler, locked) = {
        let facts = inner.facts();
        (facts.event_scheduler.clone(), facts.locked_accounts.clone())
    };
    let mut left = Vec::new();
    if scheduler == "ON" {
        let sql = START_SCHEDULER;
        let mut blue = inner.control(Side::Blue, budget).await?;
        if let Err(e) = blue.run("start the event scheduler", sql, budget).await {
            if e.is_unknown() {
                return Err(e);
            }
            left.push(Debt {
                step: Step::Undo,
                what: format!("on blue: {sql}; ({e})"),
            });
        }
    }
    if !locked.is_empty() {
        let sql = accounts_statement(&locked, "UNLOCK");
        let doing = "unlock the accounts that write through read-only";
        if let Err(e) = change_accounts(inner, doing, &sql, budget).await {
            if e.code().is_none() {
                return Err(e);
            }
            left.push(Debt {
                step: Step::Undo,
                what: format!("on blue: {sql}; ({e})"),
            });
        }
    }
    Ok(Answer::Seen(Seen::Left(left)))
}
