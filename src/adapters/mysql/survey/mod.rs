//! Reads a server into the plain facts that guardrails judge.
//!
//! No question fails a survey: a right that is missing or a table that this version does not have makes its fact
//! *unknown*, with the server's words as the reason. Where a server answers without an error but shows only part of
//! the truth (the process list without PROCESS, `information_schema` without SELECT), the right is looked up first.

mod accounts;
mod activity;
mod foreign;
mod pair;
pub mod privileged;
mod schema;
mod schema_parts;
mod server;

pub use pair::PairSurveyor;
pub use server::own_rights;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mysql_async::Row;

use super::columns;
use super::error::ServerError;
use super::session::Session;
use crate::domain::capabilities::Capabilities;
use crate::domain::guardrails::facts::{Rights, ServerFacts};
use crate::domain::guardrails::{Facet, Known, Scope};

/// Schemas that are the servers' own or bleen's, as a list for `NOT IN`.
pub(in crate::adapters::mysql) const NOT_COMPARED: &str = "('mysql', 'information_schema', 'performance_schema', 'sys', 'ndbinfo', \
                            'mysql_innodb_cluster_metadata', 'bleen')";

/// Whether the two sides of a schema are compared.
pub(in crate::adapters::mysql) fn is_compared(schema: &str) -> bool {
    !NOT_COMPARED.contains(&format!("'{}'", schema.to_ascii_lowercase()))
}

/// `INNODB_TRX` is refreshed only if nobody read it for 100 ms: reading it faster shows what is long gone.
const TRANSACTIONS_APART: Duration = Duration::from_millis(110);

/// One row as texts.
type Texts = Vec<Option<String>>;

/// One server, a session of its own on it, and what has to be remembered between two readings.
pub struct Surveyor {
    session: Session,
    caps: Capabilities,
    own: BTreeSet<u64>,
    rights: Known<Rights>,
    transactions_read: Option<Instant>,
    budget: Duration,
}

impl Surveyor {
    /// Takes over a session that nobody else uses. `budget` limits each single question.
    #[must_use]
    pub fn new(session: Session, caps: Capabilities, budget: Duration) -> Self {
        Self {
            own: BTreeSet::from([session.id()]),
            session,
            caps,
            rights: Known::default(),
            transactions_read: None,
            budget,
        }
    }

    /// Names further sessions of this bleen on this server, which no finding may be about.
    pub fn own_sessions(&mut self, ids: impl IntoIterator<Item = u64>) {
        self.own.extend(ids);
    }

    /// The number of its session now: one that died is opened anew for the next reading.
    #[must_use]
    pub fn session_id(&self) -> u64 {
        self.session.id()
    }

    /// What this server can do.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.caps
    }

    /// Gives the session back.
    #[must_use]
    pub fn into_session(self) -> Session {
        self.session
    }

    /// Reads these groups of facts; everything else stays as it is in `facts`. Never fails: see the head of this file.
    pub async fn read(&mut self, scope: Scope, facets: &BTreeSet<Facet>, facts: &mut ServerFacts) {
        // A server that cannot be reached now makes each fact unknown below, with its own words.
        if let Ok(true) = self.session.revive(self.budget).await {
            self.own.insert(self.session.id());
        }
        let needs_rights = facets.iter().any(|f| {
            matches!(
                f,
                Facet::Sessions
                    | Facet::Transactions
                    | Facet::Schema
                    | Facet::Events
                    | Facet::SchemaChangeTools
                    | Facet::Privileged
                    | Facet::Accounts
                    | Facet::Rights
            )
        });
        if needs_rights && (self.rights.value().is_none() || facets.contains(&Facet::Rights)) {
            self.rights = self.read_rights().await.into();
        }
        for facet in facets {
            match facet {
                Facet::Identity => facts.identity = self.identity().await.into(),
                Facet::Variables => facts.variables = self.variables(scope).await.into(),
                Facet::Status => facts.status = self.status().await.into(),
                Facet::Positions => {
                    facts.positions = self.positions(facets.contains(&Facet::Binlogs)).await.into();
                }
                Facet::Binlogs => facts.binlogs = self.binlogs().await.into(),
                Facet::Channels => facts.channels = self.channels().await.into(),
                Facet::Replicas => facts.replicas = self.replicas().await.into(),
                Facet::Sessions => facts.sessions = self.sessions().await,
                Facet::Transactions => facts.transactions = self.transactions().await,
                Facet::SessionLimits => facts.session_limits = self.session_limits().await,
                Facet::XaPrepared => facts.xa_prepared = self.xa_prepared().await.into(),
                Facet::Privileged => facts.privileged = self.privileged().await,
                Facet::GlobalLocks => facts.global_locks = self.global_locks().await,
                Facet::SchemaChangeTools => facts.schema_change_tools = self.schema_change_tools().await,
                Facet::Events => facts.events = self.events().await,
                Facet::StartUp => facts.start_up = self.start_up().await.into(),
                Facet::Rights => facts.rights = self.rights.clone(),
                Facet::Accounts => facts.accounts = self.accounts().await,
                Facet::AccountWords => facts.account_words = self.account_words().await.into(),
                Facet::Schema => facts.schema = self.schema().await,
                Facet::Clock => facts.clock = self.clock().await.into(),
                Facet::Disks => facts.disks = self.disks().await,
            }
        }
    }

    /// Runs a question and returns its rows as texts; bytes that are no UTF-8 are replaced.
    async fn ask(&mut self, doing: &str, sql: &str) -> Result<Vec<Texts>, ServerError> {
        let rows: Vec<Row> = self.session.rows(doing, sql, self.budget).await?;
        Ok(rows
            .iter()
            .map(|row| (0..row.len()).map(|at| columns::text_at(row, at)).collect())
            .collect())
    }

    /// Why bleen's account would be shown only part of the truth, if it lacks one of these rights on everything.
    fn lacks(&self, rights: &[&str]) -> Option<String> {
        match &self.rights {
            Known::Unknown(why) => Some(format!("bleen's own rights are not known: {why}")),
            Known::Known(own) => {
                let missing: Vec<&str> = rights.iter().copied().filter(|r| !own.has(r)).collect();
                (!missing.is_empty()).then(|| {
                    format!(
                        "{} lacks {} and would be shown only a part",
                        own.account,
                        missing.join(", ")
                    )
                })
            }
        }
    }
}

/// The text at a place of a row, empty for NULL.
fn text(row: &Texts, at: usize) -> String {
    optional(row, at).unwrap_or_default()
}

/// The text at a place of a row.
fn optional(row: &Texts, at: usize) -> Option<String> {
    row.get(at).cloned().flatten()
}

/// The number at a place of a row.
fn number<T: std::str::FromStr>(row: &Texts, at: usize) -> Option<T> {
    row.get(at)?.as_deref()?.trim().parse().ok()
}
