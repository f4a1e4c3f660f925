//! The statements that make an account with exactly the rights it needs.
//!
//! Pure text from `domain::grants`. A password is never in it: where it belongs stands a word that no server accepts, so
//! that the statements cannot be run before a password was put in.

use super::quote;
use crate::domain::grants::{Role, Scope, Wishes, rights};
use crate::domain::server::Version;

/// Stands where the password belongs. No server takes it for a statement.
pub const PASSWORD_HERE: &str = "<password>";

/// An account to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grantee<'a> {
    /// What it is for.
    pub role: Role,
    /// Its name.
    pub user: &'a str,
    /// The hosts it may come from, as in an account's name: `%`, `10.0.0.%`.
    pub host: &'a str,
    /// Whether it may only come over TLS.
    pub needs_tls: bool,
}

/// Returns the statements in order, without semicolons.
///
/// They are kept out of the binlog: an account made on blue must not arrive on green a second time, and one made on
/// green must not be a transaction that blue does not have.
#[must_use]
pub fn statements(grantee: &Grantee<'_>, version: &Version, wishes: Wishes) -> Vec<String> {
    let who = quote::account(grantee.user, grantee.host);
    let knows_if_not_exists = version.is_mysql_from((5, 7, 6)) || version.is_mariadb_from((10, 1, 3));
    let mut all = vec!["SET SESSION sql_log_bin = 0".to_owned()];
    let requires = if grantee.needs_tls { " REQUIRE SSL" } else { "" };
    if knows_if_not_exists {
        all.push(format!(
            "CREATE USER IF NOT EXISTS {who} IDENTIFIED BY {PASSWORD_HERE}{requires}"
        ));
    } else {
        all.push(format!(
            "GRANT USAGE ON *.* TO {who} IDENTIFIED BY {PASSWORD_HERE}{requires}"
        ));
    }
    let rights = rights(grantee.role, version, wishes);
    for (scope, on) in [(Scope::Everything, "*.*"), (Scope::OwnSchema, "`bleen`.*")] {
        let privileges: Vec<_> = rights
            .iter()
            .filter(|right| right.scope == scope)
            .map(|right| right.privilege)
            .collect();
        if !privileges.is_empty() {
            all.push(format!("GRANT {} ON {on} TO {who}", privileges.join(", ")));
        }
    }
    all.push("SET SESSION sql_log_bin = 1".to_owned());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statements_cannot_be_run_without_a_password() {
        let grantee = Grantee {
            role: Role::Replication,
            user: "it's",
            host: "10.%",
            needs_tls: true,
        };
        let all = statements(&grantee, &Version::parse("8.4.0", ""), Wishes::default());
        assert_eq!(
            all,
            [
                "SET SESSION sql_log_bin = 0",
                "CREATE USER IF NOT EXISTS 'it''s'@'10.%' IDENTIFIED BY <password> REQUIRE SSL",
                "GRANT REPLICATION SLAVE ON *.* TO 'it''s'@'10.%'",
                "SET SESSION sql_log_bin = 1",
            ]
        );
    }
}
