//! Which accounts, sessions and routines of a server write through its read-only.
//!
//! On MySQL since 5.7.8 nobody does: `super_read_only` holds for all. On MariaDB from 10.11 it is who has READ ONLY
//! ADMIN, before that also who has SUPER; on MySQL 5.6 who has SUPER. A role brings it as well, and a routine with
//! `SQL SECURITY DEFINER` has its definer's rights.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::quote;
use crate::adapters::mysql::session::Session;
use crate::domain::guardrails::facts::{
    PrivilegedAccount, PrivilegedRoutine, PrivilegedSession, PrivilegedWriters,
};
use crate::domain::server::{Family, Version};

/// Whether this server has `super_read_only` (MySQL 5.7.8 and later), through which nobody writes.
#[must_use]
pub fn sealed_for_all(version: &Version) -> bool {
    version.is_mysql_from((5, 7, 8))
}

/// Reads accounts, their open sessions (those in `own` and those of the asking account left out) and routines. On a server with `super_read_only`
/// nothing is asked and the lists are empty.
///
/// # Errors
/// What the server answers to the first question it refuses; it needs `SELECT` on `mysql.*` and `PROCESS`.
pub async fn read(
    session: &mut Session,
    version: &Version,
    own: &BTreeSet<u64>,
    budget: Duration,
) -> Result<PrivilegedWriters, ServerError> {
    if sealed_for_all(version) {
        return Ok(PrivilegedWriters {
            sealed_for_all: true,
            ..PrivilegedWriters::default()
        });
    }
    let accounts = accounts(session, version, budget).await?;
    let mut sessions = open_sessions(session, &accounts, own, budget).await?;
    // The heartbeat and the other sessions of this very process come and go. Whoever else uses bleen's account is found
    // under the hold, where each of a run's own sessions is known by its number.
    sessions.retain(|s| !accounts.iter().any(|a| a.own && a.user == s.user));
    let routines = routines(session, &accounts, budget).await?;
    Ok(PrivilegedWriters {
        sealed_for_all: false,
        accounts,
        sessions,
        routines,
    })
}

/// Reads the accounts that write through read-only on this server, with roles resolved (also roles that are not a
/// default role: the account can set them).
///
/// # Errors
/// As [`read`].
pub async fn accounts(
    session: &mut Session,
    version: &Version,
    budget: Duration,
) -> Result<Vec<PrivilegedAccount>, ServerError> {
    if sealed_for_all(version) {
        return Ok(Vec::new());
    }
    let wanted = writing_privileges(version);
    let doing = "list the accounts that write through read-only";
    let list = wanted
        .iter()
        .map(|p| quote::text(p))
        .collect::<Vec<_>>()
        .join(", ");
    let sql = format!(
        "SELECT GRANTEE, PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE IN ({list})"
    );
    let mut through: BTreeMap<(String, String), String> = BTreeMap::new();
    for (grantee, privilege) in session.rows::<(String, String)>(doing, &sql, budget).await? {
        if let Some(account) = split_grantee(&grantee) {
            through.insert(account, privilege);
        }
    }
    if version.family == Family::MariaDb {
        add_those_with_a_role(session, &wanted, &mut through, budget).await?;
    }
    let me: String = session
        .one::<(String,)>(doing, "SELECT CURRENT_USER()", budget)
        .await?
        .0;
    let locked = locked_accounts(session, version, budget).await?;
    Ok(through
        .into_iter()
        .map(|((user, host), through)| PrivilegedAccount {
            own: me == format!("{user}@{host}"),
            locked: locked.contains(&(user.clone(), host.clone())),
            user,
            host,
            through,
        })
        .collect())
}

/// Reads the open sessions of these accounts, by user name, without those in `own` and without replication's threads.
/// One statement, so that it can be asked under the hold.
///
/// # Errors
/// As [`read`]; without `PROCESS` the server shows only the asking account's sessions, and no error.
pub async fn open_sessions(
    session: &mut Session,
    accounts: &[PrivilegedAccount],
    own: &BTreeSet<u64>,
    budget: Duration,
) -> Result<Vec<PrivilegedSession>, ServerError> {
    let Some(sql) = open_sessions_statement(accounts, own, session.id()) else {
        return Ok(Vec::new());
    };
    let rows: Vec<(u64, String, Option<String>, String)> = session
        .rows("list sessions that write through read-only", &sql, budget)
        .await?;
    Ok(rows
        .into_iter()
        .map(|(id, user, host, command)| PrivilegedSession {
            id,
            user,
            host: host.unwrap_or_default(),
            busy: command != "Sleep",
        })
        .collect())
}

/// The statement behind [`open_sessions`], for whoever sends it in a batch of their own under the hold: columns id,
/// user, host, command. `None` if there is no such account, so that there can be no session.
#[must_use]
pub fn open_sessions_statement(
    accounts: &[PrivilegedAccount],
    own: &BTreeSet<u64>,
    asking: u64,
) -> Option<String> {
    if accounts.is_empty() {
        return None;
    }
    let users: BTreeSet<&str> = accounts.iter().map(|a| a.user.as_str()).collect();
    // Sessions of the anonymous account show whatever name their client gave: any name can be one.
    let by_user = if users.contains("") {
        "TRUE".to_owned()
    } else {
        let names = users
            .iter()
            .map(|u| quote::text(u))
            .collect::<Vec<_>>()
            .join(", ");
        format!("USER IN ({names})")
    };
    let ids: BTreeSet<u64> = own.iter().copied().chain([asking]).collect();
    let ids = ids.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    Some(format!(
        "SELECT ID, USER, HOST, COMMAND FROM information_schema.PROCESSLIST WHERE {by_user} AND ID NOT IN ({ids}) \
         AND USER NOT IN ('system user', 'event_scheduler') \
         AND COMMAND NOT IN ('Binlog Dump', 'Binlog Dump GTID', 'Daemon', 'Slave_IO', 'Slave_SQL', 'Slave_worker')"
    ))
}

/// The privileges, as `information_schema.USER_PRIVILEGES` names them, that write through read-only.
fn writing_privileges(version: &Version) -> Vec<&'static str> {
    match version.family {
        Family::MySql => vec!["SUPER"],
        // MDEV-29596: SUPER no longer includes READ ONLY ADMIN from 10.11 on.
        Family::MariaDb if version.number >= (10, 11, 0) => vec!["READ_ONLY ADMIN", "READ ONLY ADMIN"],
        Family::MariaDb => vec!["READ_ONLY ADMIN", "READ ONLY ADMIN", "SUPER"],
    }
}

/// Adds accounts that hold a role, directly or through other roles, with one of the privileges. MariaDB does not show
/// roles in `USER_PRIVILEGES`, so each role's grants are read.
async fn add_those_with_a_role(
    session: &mut Session,
    wanted: &[&str],
    through: &mut BTreeMap<(String, String), String>,
    budget: Duration,
) -> Result<(), ServerError> {
    let doing = "resolve roles that write through read-only";
    let edges: Vec<(String, String, String)> = session
        .rows(doing, "SELECT User, Host, Role FROM mysql.roles_mapping", budget)
        .await?;
    let roles: BTreeSet<&String> = edges.iter().map(|(_, _, role)| role).collect();
    let mut granting: BTreeSet<String> = BTreeSet::new();
    for role in roles {
        let sql = format!("SHOW GRANTS FOR {}", quote::identifier(role));
        let grants: Vec<(String,)> = session.rows(doing, &sql, budget).await?;
        if grants.iter().any(|(grant,)| grants_one_of(grant, wanted)) {
            granting.insert(role.clone());
        }
    }
    // A role's own line in the mapping has an empty host. Repeat until nothing is added: roles nest.
    loop {
        let more: Vec<String> = edges
            .iter()
            .filter(|(user, host, role)| {
                host.is_empty() && granting.contains(role) && !granting.contains(user)
            })
            .map(|(user, _, _)| user.clone())
            .collect();
        if more.is_empty() {
            break;
        }
        granting.extend(more);
    }
    for (user, host, role) in edges {
        if !host.is_empty() && granting.contains(&role) {
            through
                .entry((user, host))
                .or_insert_with(|| format!("role {role}"));
        }
    }
    Ok(())
}

/// Whether a line of `SHOW GRANTS` gives one of these privileges, or all, on everything.
fn grants_one_of(grant: &str, wanted: &[&str]) -> bool {
    let Some((privileges, _)) = grant
        .strip_prefix("GRANT ")
        .and_then(|g| g.split_once(" ON *.* "))
    else {
        return false;
    };
    let plain = |p: &str| p.trim().replace('_', " ").to_ascii_uppercase();
    privileges
        .split(',')
        .map(plain)
        .any(|p| p == "ALL PRIVILEGES" || wanted.iter().any(|w| plain(w) == p))
}

/// Accounts nobody can log in with. What cannot be read is an error: an account that counts as open is locked for the
/// switch and unlocked after it, also one that the operator had locked.
async fn locked_accounts(
    session: &mut Session,
    version: &Version,
    budget: Duration,
) -> Result<BTreeSet<(String, String)>, ServerError> {
    if !version.is_mariadb_from((10, 4, 2)) {
        return Ok(BTreeSet::new());
    }
    let sql = "SELECT User, Host FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.account_locked') = 1";
    let rows: Vec<(String, String)> = session.rows("list locked accounts", sql, budget).await?;
    Ok(rows.into_iter().collect())
}

async fn routines(
    session: &mut Session,
    accounts: &[PrivilegedAccount],
    budget: Duration,
) -> Result<Vec<PrivilegedRoutine>, ServerError> {
    let sql = "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, DEFINER FROM information_schema.ROUTINES \
               WHERE SECURITY_TYPE = 'DEFINER' \
               AND ROUTINE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')";
    let rows: Vec<(String, String, String)> = session
        .rows("list routines that write through read-only", sql, budget)
        .await?;
    Ok(rows
        .into_iter()
        .filter(|(_, _, definer)| {
            accounts
                .iter()
                .any(|a| *definer == format!("{}@{}", a.user, a.host))
        })
        .map(|(schema, name, definer)| PrivilegedRoutine {
            schema,
            name,
            definer,
        })
        .collect())
}

/// Takes `'user'@'host'` apart; the server does not escape the quotes inside.
pub(super) fn split_grantee(grantee: &str) -> Option<(String, String)> {
    let inner = grantee.strip_prefix('\'')?.strip_suffix('\'')?;
    let (user, host) = inner.rsplit_once("'@'")?;
    Some((user.to_owned(), host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(user: &str) -> PrivilegedAccount {
        PrivilegedAccount {
            user: user.into(),
            host: "%".into(),
            through: "SUPER".into(),
            locked: false,
            own: false,
        }
    }

    #[test]
    fn super_stopped_counting_with_mariadb_10_11() {
        assert!(writing_privileges(&Version::parse("10.6.20-MariaDB", "")).contains(&"SUPER"));
        assert!(!writing_privileges(&Version::parse("10.11.2-MariaDB", "")).contains(&"SUPER"));
        assert!(sealed_for_all(&Version::parse("5.7.8", "")));
        assert!(!sealed_for_all(&Version::parse("5.6.24", "")));
        assert!(!sealed_for_all(&Version::parse("11.8.9-MariaDB", "")));
    }

    #[test]
    fn reads_grants_and_grantees() {
        let wanted = ["READ_ONLY ADMIN"];
        assert!(grants_one_of(
            "GRANT SUPER, READ ONLY ADMIN ON *.* TO `r`",
            &wanted
        ));
        assert!(grants_one_of(
            "GRANT ALL PRIVILEGES ON *.* TO `r`@`%` WITH GRANT OPTION",
            &wanted
        ));
        assert!(!grants_one_of("GRANT ALL PRIVILEGES ON `t`.* TO `r`", &wanted));
        assert!(!grants_one_of("GRANT SUPER ON *.* TO `r`", &wanted));
        assert!(!grants_one_of("GRANT `inner` TO `r`", &wanted));
        assert_eq!(split_grantee("'o'x'@'%'"), Some(("o'x".into(), "%".into())));
        assert_eq!(
            split_grantee("''@'localhost'"),
            Some((String::new(), "localhost".into()))
        );
        assert_eq!(split_grantee("x"), None);
    }

    #[test]
    fn the_asking_session_is_never_listed() {
        let own = BTreeSet::from([7]);
        assert_eq!(open_sessions_statement(&[], &own, 9), None);
        let sql = open_sessions_statement(&[account("o'x")], &own, 9).unwrap();
        assert!(
            sql.contains("USER IN ('o''x')") && sql.contains("NOT IN (7, 9)"),
            "{sql}"
        );
        // With an anonymous account no name is safe.
        assert!(
            !open_sessions_statement(&[account("")], &own, 9)
                .unwrap()
                .contains("USER IN")
        );
    }
}
