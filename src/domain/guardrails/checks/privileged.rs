//! `privileged-writers`: who writes through a sealed blue.

use std::collections::BTreeSet;

use super::sample;
use crate::domain::grants::knows_account_lock;
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::{Finding, Survey, finding::Findings};
use crate::domain::ids::Side;

/// Accounts, their sessions, and routines with their rights. A waiting write of theirs goes on after seal and release,
/// and is lost.
pub fn privileged_writers(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::PRIVILEGED_WRITERS, survey.scope);
    let how = "grant SELECT on mysql.*, PROCESS and SHOW CREATE ROUTINE (or SELECT on mysql.proc) to bleen's account";
    let Some(writers) = found.need(Side::Blue, &survey.blue.privileged, how) else {
        return found.done();
    };
    if writers.sealed_for_all {
        found.ok(Side::Blue, "super_read_only holds for every account");
        return found.done();
    }
    let ends = survey.limits.end_privileged_sessions;
    let to_lock = writers.accounts.iter().filter(|a| !a.own && !a.locked).count();
    if let Some(who) = survey.blue.identity.value()
        && ends
        && to_lock > 0
        && !knows_account_lock(&who.version)
    {
        found.stop(
            Side::Blue,
            format!(
                "{} cannot lock accounts (ACCOUNT LOCK came with MySQL 5.7.6), and {to_lock} of them write through \
                 read-only",
                who.version
            ),
            "accounts that can be locked for `switch.privileged_sessions: end`",
            "set `switch.privileged_sessions: refuse` and keep these accounts away, or take SUPER from them",
        );
    }
    let with_sessions: BTreeSet<&str> = writers.sessions.iter().map(|s| s.user.as_str()).collect();
    // bleen's heartbeat and its other sessions use its own account. Which of them are of this run the fence knows; a
    // session of an earlier run is ended before the guard is armed.
    let is_own = |user: &str| writers.accounts.iter().any(|a| a.own && a.user == user);
    let foreign: Vec<_> = writers.sessions.iter().filter(|s| !is_own(&s.user)).collect();
    if !foreign.is_empty() {
        let list: Vec<String> = foreign
            .iter()
            .map(|s| format!("session {} of {}@{}", s.id, s.user, s.host))
            .collect();
        let seen = format!(
            "{} sessions write through read-only: {}",
            list.len(),
            sample(&list)
        );
        if ends {
            found.warn(
                Side::Blue,
                seen,
                "none",
                "they will be ended under the hold, and their logins prevented until confirm",
            );
        } else {
            found.stop(
                Side::Blue,
                seen,
                "none",
                "have the application use an account without READ ONLY ADMIN (before MariaDB 10.11 and on MySQL 5.6: \
                 without SUPER), or set `switch.privileged_sessions: end`",
            );
        }
    }
    let idle: Vec<String> = writers
        .accounts
        .iter()
        .filter(|a| !a.locked && !a.own && !with_sessions.contains(a.user.as_str()))
        .map(|a| format!("{}@{} ({})", a.user, a.host, a.through))
        .collect();
    if !idle.is_empty() {
        found.warn(
            Side::Blue,
            format!(
                "{} accounts could log in and write through read-only: {}",
                idle.len(),
                sample(&idle)
            ),
            "none that logs in before confirm",
            if ends {
                "their logins are prevented from the hold to confirm"
            } else {
                "keep them away during the switch, lock them (ALTER USER … ACCOUNT LOCK), or set \
                 `switch.privileged_sessions: end`"
            },
        );
    }
    if !writers.routines.is_empty() {
        let list: Vec<String> = writers
            .routines
            .iter()
            .map(|r| format!("{}.{} ({})", r.schema, r.name, r.definer))
            .collect();
        found.stop(
            Side::Blue,
            format!(
                "{} routines run with such rights for whoever calls them: {}",
                list.len(),
                sample(&list)
            ),
            "none: a call that waits at the hold goes on after the seal",
            "give them SQL SECURITY INVOKER, or a definer without READ ONLY ADMIN",
        );
    }
    if found.is_clean() {
        found.ok(Side::Blue, "nobody but bleen writes through read-only");
    }
    found.done()
}
