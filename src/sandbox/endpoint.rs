//! Where a client of the sandbox finds one side of a pair, and short bounded reads from it.

use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Opts, OptsBuilder};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::ids::Side;

use super::account::Account;
use super::error::SandboxError;
use super::launch::RunningServer;
use super::pair::{SCHEMA, SandboxPair};

/// One side of a pair as a client sees it. Host and port may be a proxy's.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Which side it is.
    pub side: Side,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User name.
    pub user: String,
    /// Password; shown in no debug print.
    pub password: SecretString,
}

impl Endpoint {
    /// A server of the sandbox as `account` reaches it.
    pub fn of(side: Side, server: &RunningServer, account: &Account) -> Self {
        Self {
            side,
            host: "127.0.0.1".to_owned(),
            port: server.port(),
            user: account.user.clone(),
            password: account.password.clone(),
        }
    }

    /// Both sides of a pair as the application reaches them: blue, green.
    pub fn both(pair: &SandboxPair) -> (Self, Self) {
        let app = &pair.accounts.app;
        (
            Self::of(Side::Blue, &pair.blue, app),
            Self::of(Side::Green, &pair.green, app),
        )
    }

    /// Connection options. `schema` selects the shop, which must then exist.
    pub fn opts(&self, schema: bool) -> Opts {
        OptsBuilder::default()
            .ip_or_hostname(&self.host)
            .tcp_port(self.port)
            .user(Some(&self.user))
            .pass(Some(self.password.expose_secret()))
            .db_name(schema.then_some(SCHEMA))
            .stmt_cache_size(0)
            // The driver would leave TCP for the Unix socket, past any proxy.
            .prefer_socket(false)
            .into()
    }

    /// Connects inside `limit`.
    ///
    /// # Errors
    /// [`SandboxError::Sql`] or [`SandboxError::TooSlow`].
    pub async fn connect(&self, limit: Duration) -> Result<Conn, SandboxError> {
        self.bounded("connecting to", limit, Conn::new(self.opts(true)))
            .await
    }

    /// The first row of a query on a connection of this endpoint, inside `limit`.
    pub(crate) async fn first<T: FromRow + Send + 'static>(
        &self,
        conn: &mut Conn,
        query: &str,
        limit: Duration,
    ) -> Result<Option<T>, SandboxError> {
        self.bounded("reading from", limit, conn.query_first(query)).await
    }

    /// Bounds anything done on this endpoint.
    pub(crate) async fn bounded<T>(
        &self,
        doing: &str,
        limit: Duration,
        work: impl Future<Output = Result<T, mysql_async::Error>>,
    ) -> Result<T, SandboxError> {
        let what = format!("{doing} {} at {}:{}", self.side, self.host, self.port);
        match tokio::time::timeout(limit, work).await {
            Err(_) => Err(SandboxError::TooSlow { what, limit }),
            Ok(result) => result.map_err(SandboxError::sql(what)),
        }
    }

    /// Whether the server refuses writes of ordinary accounts.
    ///
    /// # Errors
    /// [`SandboxError::Sql`] or [`SandboxError::TooSlow`].
    pub async fn is_read_only(&self, limit: Duration) -> Result<bool, SandboxError> {
        let mut conn = self.connect(limit).await?;
        let flag: Option<u8> = self.first(&mut conn, "SELECT @@GLOBAL.read_only", limit).await?;
        Ok(flag != Some(0))
    }
}

/// The sides that accept application writes now. A side that does not answer inside `limit` accepts none.
pub async fn writable_sides(blue: &Endpoint, green: &Endpoint, limit: Duration) -> Vec<Side> {
    // The side being opened first: the other order could see both writable though they never were at once.
    let (green_open, blue_open) = (
        matches!(green.is_read_only(limit).await, Ok(false)),
        matches!(blue.is_read_only(limit).await, Ok(false)),
    );
    [(Side::Blue, blue_open), (Side::Green, green_open)]
        .into_iter()
        .filter(|(_, open)| *open)
        .map(|(side, _)| side)
        .collect()
}
