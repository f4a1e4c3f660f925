//! `bleen grants`: the statements that make the three accounts of a playbook, with exactly the rights they need.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::args::Output;
use super::error::CliError;
use super::exit::{Ending, ErrorKind};
use super::playbook_file;
use super::printer::Printer;
use crate::adapters::mysql::grants::{Grantee, PASSWORD_HERE, statements};
use crate::adapters::mysql::greeting;
use crate::adapters::mysql::session::Address;
use crate::domain::grants::{Role, Wishes, rights};
use crate::domain::ids::Side;
use crate::domain::server::{Family, Version};
use crate::engine::doctor;
use crate::playbook::Playbook;
use crate::playbook::model::{self, PrivilegedSessions, Tls};

/// Longest wait for a server's greeting.
const GREETING: Duration = Duration::from_secs(10);

/// The patch number of a version without one: what the newest of its series can do.
const NEWEST: u16 = u16::MAX;

/// What the command line says beside the playbook.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Blue's version as written: `mysql-8.4`. Asked of the server when it is not given.
    pub blue: Option<&'a str>,
    /// Green's.
    pub green: Option<&'a str>,
    /// The hosts from which bleen logs in.
    pub from: &'a str,
    /// The hosts from which green logs in to blue.
    pub green_from: &'a str,
    /// The hosts from which blue logs in to green, on the way back.
    pub blue_from: &'a str,
}

/// Runs the command. Asks a server only for its greeting, and only when its version is not given.
///
/// # Errors
/// As [`playbook_file::read`]; usage for a version that cannot be read; unreachable.
pub async fn run(path: &Path, options: &Options<'_>, printer: &mut Printer) -> Result<Ending, CliError> {
    let playbook = playbook_file::read(path)?;
    let blue = version(Side::Blue, options.blue, &playbook).await?;
    let green = version(Side::Green, options.green, &playbook).await?;
    let wishes = Wishes {
        locks_accounts: playbook.switch.privileged_sessions == PrivilegedSessions::End,
        hold: doctor::limits(&playbook).hold,
        way_back: !playbook.switch.accept_no_way_back,
    };
    let pair = &playbook.pair;
    let mut accounts = vec![
        (
            Role::Blue,
            Side::Blue,
            &blue,
            pair.blue.user.as_str(),
            &pair.blue.tls,
            options.from,
        ),
        (
            Role::Green,
            Side::Green,
            &green,
            pair.green.user.as_str(),
            &pair.green.tls,
            options.from,
        ),
        (
            Role::Replication,
            Side::Blue,
            &blue,
            playbook.replication.user.as_str(),
            &playbook.replication.tls,
            options.green_from,
        ),
    ];
    if wishes.way_back {
        accounts.push((
            Role::Replication,
            Side::Green,
            &green,
            playbook.replication.user.as_str(),
            &playbook.replication.tls,
            options.blue_from,
        ));
    }
    for (role, side, version, user, tls, host) in accounts {
        let needs_tls = matches!(tls, Tls::Required | Tls::VerifyCa(_) | Tls::VerifyIdentity(_));
        let grantee = Grantee {
            role,
            user,
            host,
            needs_tls,
        };
        let address = match side {
            Side::Blue => &pair.blue.address,
            Side::Green => &pair.green.address,
        };
        show(&grantee, side, &address.to_string(), version, wishes, printer);
    }
    if printer.output() == Output::Json {
        printer.json(&json!({
            "type": "result", "outcome": Ending::Done.word(), "exit_code": Ending::Done.code(),
        }));
    } else {
        printer.talk(&format!(
            "Put a password in place of {PASSWORD_HERE}, then run each part on its server as an administrator."
        ));
    }
    Ok(Ending::Done)
}

fn show(
    grantee: &Grantee<'_>,
    side: Side,
    address: &str,
    version: &Version,
    wishes: Wishes,
    printer: &mut Printer,
) {
    let statements = statements(grantee, version, wishes);
    let rights = rights(grantee.role, version, wishes);
    if printer.output() == Output::Json {
        printer.json(&json!({
            "type": "account", "role": grantee.role, "side": side, "server": address, "version": version,
            "user": grantee.user, "host": grantee.host, "statements": statements, "rights": rights,
        }));
        return;
    }
    let what = match grantee.role {
        Role::Blue | Role::Green => "bleen's account",
        Role::Replication => "the replication account",
    };
    // A version from the command line is shown as it was written there.
    let version = if version.number.2 == NEWEST {
        version.text.clone()
    } else {
        version.to_string()
    };
    printer.data(&format!("-- {what}, on {side} ({address}, {version})"));
    for right in rights {
        printer.data(&format!("--   {}: {}", right.privilege, right.needed_for));
    }
    for statement in statements {
        printer.data(&format!("{statement};"));
    }
    printer.data("");
}

async fn version(side: Side, given: Option<&str>, playbook: &Playbook) -> Result<Version, CliError> {
    if let Some(text) = given {
        return parse(text).ok_or_else(|| {
            CliError::new(
                ErrorKind::Usage,
                format!("read `--{side} {text}`"),
                "not a family and a version",
            )
            .hint("such as `mysql-8.4`, `mysql-5.7.44` or `mariadb-10.11`")
        });
    }
    let address = match side {
        Side::Blue => &playbook.pair.blue.address,
        Side::Green => &playbook.pair.green.address,
    };
    let address = match address {
        model::Address::Tcp(host, port) => Address::Tcp(host.clone(), *port),
        model::Address::Socket(path) => Address::Socket(path.clone()),
    };
    greeting::read_version(side, &address, GREETING)
        .await
        .map_err(|error| {
            CliError::from(error).hint(format!(
                "or say its version: `--{side} mysql-8.4`, and no server is asked"
            ))
        })
}

/// Reads `mysql-8.4`, `mysql-5.7.44`, `mariadb-10.11`. A number that is left out counts as the newest.
fn parse(text: &str) -> Option<Version> {
    let (family, number) = text.split_once('-')?;
    let family = match family.to_ascii_lowercase().as_str() {
        "mysql" => Family::MySql,
        "mariadb" => Family::MariaDb,
        _ => return None,
    };
    let parts: Vec<u16> = number
        .split('.')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    let number = match parts.as_slice() {
        [major, minor] => (*major, *minor, NEWEST),
        [major, minor, patch] => (*major, *minor, *patch),
        _ => return None,
    };
    Some(Version {
        family,
        number,
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_people_write_them() {
        assert_eq!(parse("mysql-8.4").unwrap().number, (8, 4, NEWEST));
        assert_eq!(parse("MariaDB-10.5.1").unwrap().number, (10, 5, 1));
        for wrong in [
            "8.4",
            "mysql",
            "mysql-8",
            "percona-8.0",
            "mysql-8.x",
            "mysql-8.4.0-log",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
