//! A change to a server as data: the statement, its undo, and why; printed by `plan`, recorded before it is made.

use serde::{Deserialize, Serialize};

use crate::domain::ids::Side;

/// What stands in a statement's text in the place of a password. The adapter that runs the statement puts the password
/// in at the last moment; every output shows the mask.
pub const PASSWORD_MASK: &str = "'********'";

/// One statement that changes a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The server it is made on.
    pub side: Side,
    /// What it does, for people: a verb and its object.
    pub what: String,
    /// The statement. A password in it is masked by [`PASSWORD_MASK`].
    pub sql: String,
    /// Whether [`PASSWORD_MASK`] stands in for a password.
    pub masked: bool,
    /// The statements that put it back, in the order to run them. Right also if the change was never made. Empty only
    /// if there is nothing to put back.
    pub undo: Vec<String>,
}
