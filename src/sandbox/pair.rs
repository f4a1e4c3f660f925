//! Two servers side by side, with the accounts that a switchover, its replication and the application use.
//!
//! Replication between them is not set up here: that is the work under test.

use std::path::PathBuf;
use std::sync::Arc;

use super::account::{Account, Rights};
use super::catalog::{ServerKind, check_pair};
use super::error::SandboxError;
use super::launch::RunningServer;
use super::locate::{LocateOptions, blocking, locate};
use super::option_file::{Durability, ServerOptions};
use super::sweep::SandboxDir;

/// Schema of the sandbox's application. `app` has rights on this one only.
pub const SCHEMA: &str = "shop";

/// The three accounts of a pair, the same on both servers.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// For bleen itself: every right.
    pub bleen: Account,
    /// For replication.
    pub repl: Account,
    /// For the application: every right on [`SCHEMA`], none beyond.
    pub app: Account,
}

/// How a pair is started. The defaults are two ordinary servers with GTIDs and full durability.
#[derive(Debug, Clone)]
pub struct PairOptions {
    /// Where server programs come from.
    pub locate: LocateOptions,
    /// Directory below which the sandbox's own is made; `None` is the temporary directory.
    pub parent: Option<PathBuf>,
    /// Blue. Server id 1.
    pub blue: ServerOptions,
    /// Green. Server id 2. On MariaDB in the same `gtid_domain_id` as blue until the switch gives it its own.
    pub green: ServerOptions,
}

impl Default for PairOptions {
    fn default() -> Self {
        Self {
            locate: LocateOptions::default(),
            parent: None,
            blue: ServerOptions {
                server_id: 1,
                ..ServerOptions::default()
            },
            green: ServerOptions {
                server_id: 2,
                ..ServerOptions::default()
            },
        }
    }
}

impl PairOptions {
    /// Sets the durability of both.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.blue.durability = durability;
        self.green.durability = durability;
        self
    }

    /// GTIDs on or off on both.
    #[must_use]
    pub fn gtid(mut self, on: bool) -> Self {
        self.blue.gtid = on;
        self.green.gtid = on;
        self
    }
}

/// A running pair. Dropping it ends both servers and removes their directory.
#[derive(Debug)]
pub struct SandboxPair {
    /// The server that serves writes now.
    pub blue: RunningServer,
    /// The one that will.
    pub green: RunningServer,
    /// Accounts on both.
    pub accounts: Accounts,
    /// The directory both live in, for whatever else belongs to this sandbox (a run directory, a playbook).
    pub dir: Arc<SandboxDir>,
}

impl SandboxPair {
    /// Finds or fetches both servers, starts them side by side and makes the accounts on both, outside their binary
    /// logs.
    ///
    /// # Errors
    /// [`SandboxError::PairNotPossible`] for a pair that cannot replicate; otherwise what finding, fetching or
    /// starting one of them said.
    pub async fn start(
        blue: ServerKind,
        green: ServerKind,
        options: &PairOptions,
    ) -> Result<Self, SandboxError> {
        check_pair(blue, green)?;
        let blue_found = locate(blue, &options.locate).await?;
        let green_found = if green == blue {
            blue_found.clone()
        } else {
            locate(green, &options.locate).await?
        };
        let cache = &options.locate.cache;
        let (own_cache, parent) = (cache.clone(), options.parent.clone());
        let dir = Arc::new(blocking(move || SandboxDir::create(&own_cache, parent.as_deref())).await?);
        let accounts = Accounts {
            bleen: Account::random("bleen")?,
            repl: Account::random("repl")?,
            app: Account::random("app")?,
        };
        let one = |found: super::locate::Installed, name: &'static str, server: &ServerOptions| {
            let (dir, accounts, server) = (Arc::clone(&dir), accounts.clone(), server.clone());
            async move {
                let running = found.start_in(dir, name, cache, &server).await?;
                running.create_account(&accounts.bleen, Rights::All).await?;
                running
                    .create_account(&accounts.repl, Rights::Replication)
                    .await?;
                running
                    .create_account(&accounts.app, Rights::Schema(SCHEMA))
                    .await?;
                Ok::<_, SandboxError>(running)
            }
        };
        let (blue, green) = tokio::try_join!(
            one(blue_found, "blue", &options.blue),
            one(green_found, "green", &options.green)
        )?;
        Ok(Self {
            blue,
            green,
            accounts,
            dir,
        })
    }
}
