//! Accounts, roles and rights.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// An account or a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// User name.
    pub user: String,
    /// Host pattern; empty for a role of MariaDB.
    pub host: String,
    /// Whether it is a role (MariaDB says so; on MySQL a role is a locked account).
    pub role: bool,
    /// Authentication plugin, lower case.
    pub plugin: String,
    /// A digest of what is stored for the password, made on the server; no password can be had from it, and it says
    /// only *same* or *different*. `None` where it is empty or not readable.
    pub secret_mark: Option<String>,
    /// Nobody can log in.
    pub locked: bool,
    /// `MAX_STATEMENT_TIME` of the account in milliseconds (MariaDB), 0 for none.
    pub max_statement_ms: u64,
    /// Privileges as `object: PRIVILEGE`, upper case, spaces for underscores: `*.*: SELECT`, `shop.*: INSERT`.
    pub privileges: BTreeSet<String>,
    /// Roles granted to it: `role@host`, MariaDB `role`.
    pub roles: BTreeSet<String>,
}

impl Account {
    /// `user@host`, as definers are printed.
    #[must_use]
    pub fn name(&self) -> String {
        if self.role && self.host.is_empty() {
            self.user.clone()
        } else {
            format!("{}@{}", self.user, self.host)
        }
    }
}

/// What bleen's own account may do, from `SHOW GRANTS`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// The account.
    pub account: String,
    /// Object pattern (`*.*`, `shop.*`) to privileges, upper case, spaces for underscores.
    pub granted: BTreeMap<String, BTreeSet<String>>,
}

impl Rights {
    /// Reads the lines of `SHOW GRANTS`. Lines that give roles or proxies, and rights on single columns, are left out.
    #[must_use]
    pub fn parse(account: &str, lines: &[String]) -> Self {
        let mut granted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in lines {
            let Some((privileges, rest)) = line.strip_prefix("GRANT ").and_then(|l| l.split_once(" ON "))
            else {
                continue;
            };
            let Some((object, _)) = rest.split_once(" TO ") else {
                continue;
            };
            let object = object.replace('`', "");
            let entry = granted.entry(object).or_default();
            for privilege in privileges.split(',') {
                entry.insert(privilege.trim().replace('_', " ").to_ascii_uppercase());
            }
        }
        Self {
            account: account.to_owned(),
            granted,
        }
    }

    /// Whether the account has this privilege on everything.
    #[must_use]
    pub fn has(&self, privilege: &str) -> bool {
        self.has_on("*.*", privilege)
    }

    /// Whether the account has this privilege on a whole schema.
    #[must_use]
    pub fn has_in(&self, schema: &str, privilege: &str) -> bool {
        self.has(privilege) || self.has_on(&format!("{schema}.*"), privilege)
    }

    fn has_on(&self, object: &str, privilege: &str) -> bool {
        self.granted
            .get(object)
            .is_some_and(|p| p.contains(privilege) || p.contains("ALL PRIVILEGES"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_grants() {
        let rights = Rights::parse(
            "b@%",
            &[
                "GRANT RELOAD, REPLICATION CLIENT ON *.* TO `b`@`%`".to_owned(),
                "GRANT XA_RECOVER_ADMIN ON *.* TO `b`@`%` WITH GRANT OPTION".to_owned(),
                "GRANT ALL PRIVILEGES ON `bleen`.* TO 'b'@'%'".to_owned(),
                "GRANT `r`@`%` TO `b`@`%`".to_owned(),
            ],
        );
        assert!(rights.has("RELOAD") && rights.has("XA RECOVER ADMIN"));
        assert!(rights.has_in("bleen", "DROP") && !rights.has_in("shop", "DROP") && !rights.has("SUPER"));
    }
}
