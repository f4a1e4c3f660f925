//! Reads accounts, roles and what they may do.

use std::collections::{BTreeMap, BTreeSet};

use super::{Surveyor, Texts, number, optional, privileged::split_grantee, text};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::quote;
use crate::domain::guardrails::Known;
use crate::domain::guardrails::facts::{Account, AccountWords, Rights};
use crate::domain::server::Family;

/// User name and host.
type Key = (String, String);

impl Surveyor {
    pub(super) async fn accounts(&mut self) -> Known<Vec<Account>> {
        match self.lacks(&["SELECT"]) {
            Some(why) => Known::Unknown(why),
            None => self.read_accounts().await.into(),
        }
    }

    async fn read_accounts(&mut self) -> Result<Vec<Account>, ServerError> {
        let mut accounts = self.who_there_is().await?;
        self.lock_states(&mut accounts).await?;
        for (grantee, object, privilege, grantable) in self.privileges().await? {
            if let Some(account) = split_grantee(&grantee).and_then(|key| accounts.get_mut(&key)) {
                let privilege = privilege.replace('_', " ").to_ascii_uppercase();
                if privilege != "USAGE" {
                    account.privileges.insert(format!("{object}: {privilege}"));
                }
                if grantable {
                    account.privileges.insert(format!("{object}: GRANT OPTION"));
                }
            }
        }
        self.role_members(&mut accounts).await?;
        Ok(accounts.into_values().collect())
    }

    /// Names, plugins and digests of what is stored for the password.
    async fn who_there_is(&mut self) -> Result<BTreeMap<Key, Account>, ServerError> {
        let doing = "list the accounts";
        let columns = "SELECT LOWER(COLUMN_NAME) FROM information_schema.COLUMNS \
                       WHERE TABLE_SCHEMA = 'mysql' AND TABLE_NAME = 'user'";
        let columns: BTreeSet<String> = self
            .ask(doing, columns)
            .await?
            .iter()
            .map(|r| text(r, 0))
            .collect();
        let or = |name: &str, otherwise: &str| {
            if columns.contains(name) {
                name.to_owned()
            } else {
                otherwise.to_owned()
            }
        };
        let stored = if columns.contains("password") && self.caps.family() == Family::MySql {
            // MySQL 5.6 keeps the native password's digest in a column of its own.
            "COALESCE(NULLIF(CAST(authentication_string AS CHAR), ''), Password)".to_owned()
        } else {
            or("authentication_string", "Password")
        };
        // The digest of the stored form is made on the server: no form of a password comes here.
        let sql = format!(
            "SELECT User, Host, {}, {}, IF({stored} = '' OR {stored} = 'invalid', NULL, \
             SHA2(CONCAT('bleen', {stored}), 256)), {} FROM mysql.user",
            or("is_role", "'N'"),
            or("plugin", "''"),
            or("max_statement_time", "0"),
        );
        let rows = self.ask(doing, &sql).await?;
        let mut accounts = BTreeMap::new();
        for row in &rows {
            let seconds: f64 = number(row, 5).unwrap_or(0.0);
            let plugin = text(row, 3).to_ascii_lowercase();
            let account = Account {
                user: text(row, 0),
                host: text(row, 1),
                role: text(row, 2) == "Y",
                plugin: if plugin.is_empty() {
                    "mysql_native_password".into()
                } else {
                    plugin
                },
                secret_mark: optional(row, 4),
                max_statement_ms: (seconds.clamp(0.0, 1e9) * 1_000.0) as u64,
                ..Account::default()
            };
            accounts.insert((account.user.clone(), account.host.clone()), account);
        }
        Ok(accounts)
    }

    async fn lock_states(&mut self, accounts: &mut BTreeMap<Key, Account>) -> Result<(), ServerError> {
        let sql = if self.caps.version.is_mariadb_from((10, 4, 2)) {
            "SELECT User, Host FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.account_locked') = 1"
        } else if self.caps.version.is_mysql_from((5, 7, 6)) {
            "SELECT User, Host FROM mysql.user WHERE account_locked = 'Y'"
        } else {
            return Ok(());
        };
        for row in self.ask("list locked accounts", sql).await? {
            if let Some(account) = accounts.get_mut(&(text(&row, 0), text(&row, 1))) {
                account.locked = true;
            }
        }
        Ok(())
    }

    /// Grantee, object, privilege, whether it may be passed on.
    async fn privileges(&mut self) -> Result<Vec<(String, String, String, bool)>, ServerError> {
        let doing = "list privileges";
        let sql = "SELECT GRANTEE, '*.*', PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.USER_PRIVILEGES \
                   UNION ALL SELECT GRANTEE, CONCAT(TABLE_SCHEMA, '.*'), PRIVILEGE_TYPE, IS_GRANTABLE \
                   FROM information_schema.SCHEMA_PRIVILEGES \
                   UNION ALL SELECT GRANTEE, CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), PRIVILEGE_TYPE, IS_GRANTABLE \
                   FROM information_schema.TABLE_PRIVILEGES \
                   UNION ALL SELECT GRANTEE, CONCAT(TABLE_SCHEMA, '.', TABLE_NAME, '(', COLUMN_NAME, ')'), \
                   PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.COLUMN_PRIVILEGES";
        let mut all: Vec<_> = self
            .ask(doing, sql)
            .await?
            .iter()
            .map(|row| (text(row, 0), text(row, 1), text(row, 2), text(row, 3) == "YES"))
            .collect();
        let routines = "SELECT User, Host, Db, Routine_name, Routine_type, Proc_priv FROM mysql.procs_priv";
        for row in self.ask(doing, routines).await? {
            let grantee = format!("'{}'@'{}'", text(&row, 0), text(&row, 1));
            let object = format!("{} {}.{}", text(&row, 4), text(&row, 2), text(&row, 3));
            for privilege in text(&row, 5).split(',').filter(|p| !p.is_empty()) {
                all.push((grantee.clone(), object.clone(), privilege.to_owned(), false));
            }
        }
        Ok(all)
    }

    async fn role_members(&mut self, accounts: &mut BTreeMap<Key, Account>) -> Result<(), ServerError> {
        let doing = "list roles";
        let sql = match self.caps.family() {
            Family::MariaDb => "SELECT User, Host, Role, '' FROM mysql.roles_mapping",
            Family::MySql if self.caps.version.is_mysql_from((8, 0, 0)) => {
                "SELECT TO_USER, TO_HOST, FROM_USER, CONCAT('@', FROM_HOST) FROM mysql.role_edges"
            }
            Family::MySql => return Ok(()),
        };
        let rows: Vec<Texts> = self.ask(doing, sql).await?;
        for row in &rows {
            if let Some(account) = accounts.get_mut(&(text(row, 0), text(row, 1))) {
                account.roles.insert(format!("{}{}", text(row, 2), text(row, 3)));
            }
        }
        // What a role of MariaDB may do stands in none of the lists above.
        let roles: Vec<Key> = accounts
            .iter()
            .filter(|(_, a)| a.role)
            .map(|(k, _)| k.clone())
            .collect();
        for key in roles.into_iter().filter(|(user, _)| user != "PUBLIC") {
            let sql = format!("SHOW GRANTS FOR {}", quote::identifier(&key.0));
            let lines: Vec<String> = self.ask(doing, &sql).await?.iter().map(|r| text(r, 0)).collect();
            // A role's grants show those of its roles, too; each line says for whom it is.
            let own_name = format!(" TO {}", quote::identifier(&key.0));
            let own: Vec<String> = lines
                .into_iter()
                .filter(|l| l.trim_end_matches(" WITH GRANT OPTION").ends_with(&own_name))
                .collect();
            let rights = Rights::parse(&key.0, &own);
            if let Some(account) = accounts.get_mut(&key) {
                for (object, privileges) in rights.granted {
                    account.privileges.extend(
                        privileges
                            .into_iter()
                            .filter(|p| p != "USAGE")
                            .map(|p| format!("{object}: {p}")),
                    );
                }
            }
        }
        Ok(())
    }

    pub(super) async fn account_words(&mut self) -> Result<AccountWords, ServerError> {
        let doing = "list the privileges and plugins that the server knows";
        let privileges = self.ask(doing, "SHOW PRIVILEGES").await?;
        let plugins = "SELECT LOWER(PLUGIN_NAME) FROM information_schema.PLUGINS \
                       WHERE PLUGIN_TYPE = 'AUTHENTICATION' AND PLUGIN_STATUS = 'ACTIVE'";
        let plugins = self.ask(doing, plugins).await?;
        Ok(AccountWords {
            privileges: privileges
                .iter()
                .map(|row| text(row, 0).replace('_', " ").to_ascii_uppercase())
                .collect(),
            plugins: plugins.iter().map(|row| text(row, 0)).collect(),
        })
    }
}
