//! Accounts of the sandbox: who they are, how they connect, and how they are made without leaving a trace in the
//! binary log.

use mysql_async::{Opts, OptsBuilder};
use secrecy::{ExposeSecret, SecretString};

use crate::adapters::mysql::quote;

use super::cache::random_hex;
use super::catalog::{Family, Release};
use super::error::SandboxError;
use super::launch::RunningServer;
use super::option_file::has_super_read_only;

/// A user and its password. The password never shows in a debug print.
#[derive(Debug, Clone)]
pub struct Account {
    /// User name; the host part is always `%` (the servers listen on loopback only).
    pub user: String,
    /// Password.
    pub password: SecretString,
}

impl Account {
    /// An account with a random password.
    ///
    /// # Errors
    /// [`SandboxError::Io`] when the system gives no randomness.
    pub fn random(user: &str) -> Result<Self, SandboxError> {
        Ok(Self {
            user: user.to_owned(),
            password: random_hex()?.into(),
        })
    }

    /// How this account connects to a server by TCP on loopback. Never through the socket, which the driver would
    /// otherwise prefer: a proxy in between must see the traffic.
    pub fn opts(&self, port: u16) -> Opts {
        OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(port)
            .user(Some(&self.user))
            .pass(Some(self.password.expose_secret()))
            .prefer_socket(false)
            .into()
    }
}

/// What an account may do in the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Everything, with grant option.
    All,
    /// What a replica needs on its source.
    Replication,
    /// Everything on one schema, and nothing that writes through read-only.
    Schema(&'static str),
}

impl RunningServer {
    /// Makes an account, outside the binary log and whether or not the server is read-only. An account of that name
    /// that is already there gets the password and the rights.
    ///
    /// # Errors
    /// [`SandboxError::Sql`]; the message names no password.
    pub async fn create_account(&self, account: &Account, rights: Rights) -> Result<(), SandboxError> {
        let (family, version) = (self.installed().family, self.version());
        let read_only = |variable: &str| {
            let query = format!("SELECT @@GLOBAL.{variable}");
            async move { Ok::<_, SandboxError>(self.value(&query).await?.is_some_and(|v| v == "1")) }
        };
        let super_too = has_super_read_only(family, version) && read_only("super_read_only").await?;
        let plain = read_only("read_only").await?;
        if plain {
            self.run(&["SET GLOBAL read_only = 0"]).await?;
        }
        let made = self.run(&statements(account, rights, family, version)).await;
        // Back as it was also when that failed.
        if super_too {
            self.run(&["SET GLOBAL super_read_only = 1"]).await?;
        } else if plain {
            self.run(&["SET GLOBAL read_only = 1"]).await?;
        }
        made
    }
}

fn statements(account: &Account, rights: Rights, family: Family, version: Release) -> Vec<String> {
    let who = quote::account(&account.user, "%");
    let password = quote::text(account.password.expose_secret());
    let granted = match rights {
        Rights::All => format!("GRANT ALL ON *.* TO {who} WITH GRANT OPTION"),
        Rights::Replication => format!("GRANT REPLICATION SLAVE ON *.* TO {who}"),
        Rights::Schema(schema) => format!("GRANT ALL ON {}.* TO {who}", quote::identifier(schema)),
    };
    let create = if family == Family::MySql && version < Release(5, 7, 6) {
        // 5.6 has no IF NOT EXISTS; GRANT makes the account.
        format!("GRANT USAGE ON *.* TO {who} IDENTIFIED BY {password}")
    } else {
        format!("CREATE USER IF NOT EXISTS {who} IDENTIFIED BY {password}")
    };
    let mut all = vec!["SET SESSION sql_log_bin = 0".to_owned(), create];
    if family == Family::MariaDb || version >= Release(5, 7, 6) {
        all.push(format!("ALTER USER {who} IDENTIFIED BY {password}"));
    }
    all.push(granted);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_in_no_debug_print() {
        let account = Account {
            user: "app".into(),
            password: "hunter2".to_owned().into(),
        };
        assert!(!format!("{account:?}").contains("hunter2"));
    }
}
