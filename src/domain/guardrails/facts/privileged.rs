//! Who writes through a read-only server.

use serde::{Deserialize, Serialize};

/// An account whose sessions write although the server is read-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivilegedAccount {
    /// Its user name; empty for the anonymous account.
    pub user: String,
    /// Its host pattern.
    pub host: String,
    /// The privilege that lets it, or the role that brings the privilege: `READ_ONLY ADMIN`, `role dba`.
    pub through: String,
    /// Whether nobody can log in with it.
    pub locked: bool,
    /// Whether it is the account that bleen itself is logged in with.
    pub own: bool,
}

/// A session of such an account. By user name alone: which of several accounts of one name a session was matched to
/// is not shown by every server, so that all of them are listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivilegedSession {
    /// The number that `KILL` takes.
    pub id: u64,
    /// User name.
    pub user: String,
    /// Where it comes from, as the server prints it.
    pub host: String,
    /// Whether it is running a statement.
    pub busy: bool,
}

/// A stored routine that runs with the rights of such an account: whoever may call it writes through read-only, and a
/// call that waits at the hold goes on after seal and release (tried on MariaDB 10.11.18 and 11.8.9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivilegedRoutine {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Whose rights it has: `user@host`.
    pub definer: String,
}

/// Everything on one server that writes through the seal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivilegedWriters {
    /// Whether this server has a read-only that nobody writes through (`super_read_only`): then the rest is empty.
    pub sealed_for_all: bool,
    /// Accounts, roles resolved, with and without sessions.
    pub accounts: Vec<PrivilegedAccount>,
    /// Their open sessions, without those of the asking bleen.
    pub sessions: Vec<PrivilegedSession>,
    /// Routines with the rights of such an account, outside the server's own schemas.
    pub routines: Vec<PrivilegedRoutine>,
}
