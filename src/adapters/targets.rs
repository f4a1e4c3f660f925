//! Turns what a playbook says about a server into what the adapters need: an address, an account with its password, a
//! way to protect the connection.

use std::time::Duration;

use super::mysql::prepare::Request;
use super::mysql::session::{Address, Target, Tls};
use super::mysql::switch::WayBack;
use super::secrets::{SecretError, resolve};
use crate::domain::ids::{RunId, Side};
use crate::domain::position::FilePosition;
use crate::playbook::model;

/// Fetches a side's password and returns everything that opens a session there.
///
/// `limit` bounds every source of a password but the prompt.
///
/// # Errors
/// [`SecretError`], never with what was read.
pub async fn target(side: Side, endpoint: &model::Endpoint, limit: Duration) -> Result<Target, SecretError> {
    let whose = format!("password of {} on {side}", endpoint.user);
    let password = resolve(&endpoint.password, &whose, limit).await?;
    let address = address(&endpoint.address);
    // Both answer when `max_connections` is used up; a server has one or the other.
    let spare_port = endpoint.admin_port.or(endpoint.extra_port);
    let spare_address = match (&address, spare_port) {
        (Address::Tcp(host, _), Some(port)) => Some(Address::Tcp(host.clone(), port)),
        (Address::Socket(_), Some(port)) => Some(Address::Tcp("127.0.0.1".to_owned(), port)),
        (_, None) => None,
    };
    Ok(Target {
        side,
        address,
        spare_address,
        user: endpoint.user.clone(),
        password,
        tls: tls(&endpoint.tls),
    })
}

/// Fetches the replication account's password and returns what [`super::mysql::prepare`] needs.
///
/// # Errors
/// [`SecretError`], never with what was read.
pub async fn prepare_request(
    run: RunId,
    blue: Target,
    green: Target,
    playbook: &model::Playbook,
    limit: Duration,
) -> Result<Request, SecretError> {
    let replication = &playbook.replication;
    let whose = format!("password of the replication account {}", replication.user);
    let source_password = resolve(&replication.password, &whose, limit).await?;
    let told_start = match &replication.start {
        model::Start::Auto => None,
        model::Start::Binlog { file, offset } => Some(FilePosition {
            file: file.clone(),
            offset: *offset,
        }),
    };
    Ok(Request {
        run,
        blue,
        green,
        source_host: replication.source.0.clone(),
        source_port: replication.source.1,
        source_user: replication.user.clone(),
        source_password,
        source_tls: tls(&replication.tls),
        told_start,
        heartbeat: playbook.lag.heartbeat,
    })
}

/// How blue is to find green once green serves, at this address; the replication account's password fetched.
///
/// # Errors
/// The password cannot be fetched.
pub async fn way_back(
    playbook: &model::Playbook,
    source: &(String, u16),
    limit: Duration,
) -> Result<WayBack, SecretError> {
    let replication = &playbook.replication;
    let whose = format!("password of the replication account {}", replication.user);
    Ok(WayBack {
        source: source.clone(),
        user: replication.user.clone(),
        password: resolve(&replication.password, &whose, limit).await?,
        tls: tls(&replication.tls),
        is_optional: playbook.switch.accept_no_way_back,
    })
}

/// An address in the adapters' words.
#[must_use]
pub fn address(address: &model::Address) -> Address {
    match address {
        model::Address::Tcp(host, port) => Address::Tcp(host.clone(), *port),
        model::Address::Socket(path) => Address::Socket(path.clone()),
    }
}

/// A TLS mode in the adapters' words.
#[must_use]
pub fn tls(tls: &model::Tls) -> Tls {
    match tls {
        model::Tls::Disabled => Tls::Disabled,
        model::Tls::Preferred => Tls::Preferred,
        model::Tls::Required => Tls::Required,
        model::Tls::VerifyCa(ca) => Tls::VerifyCa(ca.clone()),
        model::Tls::VerifyIdentity(ca) => Tls::VerifyIdentity(ca.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::model::PasswordSource;

    #[tokio::test]
    async fn the_spare_port_is_on_the_same_host() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, "s3cret\n").unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let mut endpoint = model::Endpoint {
            address: model::Address::Tcp("db1".into(), 3306),
            extra_port: None,
            admin_port: Some(33062),
            user: "bleen".into(),
            password: PasswordSource::File(file),
            tls: model::Tls::Required,
        };
        let limit = Duration::from_secs(1);
        let target = target(Side::Blue, &endpoint, limit).await.unwrap();
        assert_eq!(target.spare_address, Some(Address::Tcp("db1".into(), 33062)));
        assert_eq!(target.tls, Tls::Required);
        assert!(!format!("{target:?}").contains("s3cret"));
        endpoint.address = model::Address::Socket("/run/mysqld.sock".into());
        let local = super::target(Side::Blue, &endpoint, limit).await.unwrap();
        assert_eq!(local.spare_address, Some(Address::Tcp("127.0.0.1".into(), 33062)));
    }
}
