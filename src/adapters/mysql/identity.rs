//! Reads which server is at the other end.

use std::time::Duration;

use super::capabilities::variables;
use super::error::{Cause, ServerError};
use super::session::Session;
use super::switch::Server;
use crate::domain::identity::Identity;
use crate::domain::server::Family;

/// Reads a server's identity.
///
/// # Errors
/// Any [`super::error::Cause`]; a server id or port that is no number is unexpected.
pub async fn read(session: &mut Session, family: Family, budget: Duration) -> Result<Identity, ServerError> {
    let names = [
        "server_uuid",
        "server_id",
        "hostname",
        "port",
        "datadir",
        "gtid_domain_id",
    ];
    let seen = variables(session, &names, budget).await?;
    let text = |name: &str| seen.get(name).cloned().unwrap_or_default();
    let wrong =
        |name: &str| session.unexpected("read the server's identity", &format!("{name} `{}`", text(name)));
    Ok(Identity {
        family,
        server_uuid: seen.get("server_uuid").filter(|u| !u.is_empty()).cloned(),
        server_id: text("server_id").parse().map_err(|_| wrong("server_id"))?,
        hostname: text("hostname"),
        port: text("port").parse().map_err(|_| wrong("port"))?,
        datadir: text("datadir"),
        gtid_domain_id: seen.get("gtid_domain_id").and_then(|d| d.parse().ok()),
    })
}

/// Sees that a session came out at the server of this label: a name or a virtual address may have been moved since, and
/// what is done or undone there would be done on a server that nobody meant.
///
/// # Errors
/// Any [`super::error::Cause`]; [`super::error::Cause::OtherServer`] if it is another one.
pub async fn expect(
    session: &mut Session,
    server: &Server,
    expected: &str,
    budget: Duration,
) -> Result<(), ServerError> {
    let now = read(session, server.caps.family(), budget).await?.label();
    if now == expected {
        return Ok(());
    }
    Err(ServerError {
        side: session.side(),
        server: server.target.address.to_string(),
        doing: "see that this is still the same server".to_owned(),
        cause: Cause::OtherServer {
            expected: expected.to_owned(),
            now,
        },
    })
}
