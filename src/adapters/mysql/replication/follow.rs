//! Makes green follow blue: first as data (so that `plan` prints what `prepare` does), then statement by statement,
//! each with its undo.
//!
//! The password. It stands in one statement, `CHANGE REPLICATION SOURCE TO`, and nowhere else: the plan holds a mask,
//! [`run`] puts the password in at the last moment and scrubs the server's answer. MySQL masks it in its own logs and
//! in the process list; MariaDB does not, so that session's general and slow log are switched off where the account
//! may do so. `START REPLICA … PASSWORD` would keep it out of the server's tables, but then green could not connect
//! again after a restart: not used.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::status;
use crate::adapters::mysql::capabilities::variables;
use crate::adapters::mysql::error::{Cause, ServerError};
use crate::adapters::mysql::session::{Session, Tls};
use crate::adapters::mysql::settings::{self, Settings};
use crate::adapters::mysql::{quote, sql};
use crate::domain::capabilities::{Capabilities, Words};
use crate::domain::consistency::Start;
use crate::domain::identity::Identity;
use crate::domain::ids::Side;
use crate::domain::replication::ReplicaStatus;
use crate::domain::server::Family;
use crate::engine::change::{Change, PASSWORD_MASK};

/// How a replica's connection to its source is protected. Paths are paths on the replica's machine.
///
/// Tried on 9.7.4, 10.11.18 and 11.8.9 with a right and a wrong authority and name: a named authority is checked in
/// both modes; the name only in the last one, and there MariaDB 11.8 lets a wrong name pass once the password has
/// proven the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelTls {
    /// Plain text; where the server can, the password is still sent encrypted with blue's public key.
    Off,
    /// TLS without a check of the certificate.
    On,
    /// TLS with a certificate signed by this authority.
    VerifyCa(PathBuf),
    /// TLS with a certificate signed by this authority for this host name.
    VerifyIdentity(PathBuf),
}

/// Where and as whom a replica finds its source: green finds blue, and, on the way back, blue green.
#[derive(Debug, Clone)]
pub struct Source {
    /// Host name or address of the source, as the replica must call it.
    pub host: String,
    /// The source's port.
    pub port: u16,
    /// The replication account.
    pub user: String,
    /// Its password.
    pub password: SecretString,
    /// How the connection is protected.
    pub tls: ChannelTls,
}

/// What of green's present state the plan must know, so that it can be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// Every channel green has.
    pub channels: Vec<ReplicaStatus>,
    /// `read_only`, `super_read_only`, `event_scheduler`, `skip_replica_start` as they are.
    pub settings: Settings,
}

/// The settings of [`Before`].
const SETTINGS: [&str; 5] = [
    "read_only",
    "super_read_only",
    "event_scheduler",
    "skip_replica_start",
    "skip_slave_start",
];

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPlanned {
    /// Green follows somebody else, or several sources.
    #[error("green already follows {0}; stop and reset that replication first (`RESET REPLICA ALL`)")]
    FollowsAnother(String),
    /// Transactions without GTIDs cannot be applied by this green.
    #[error(
        "blue has GTIDs off and green ({0}) has them on and cannot give GTIDs to what arrives: set gtid_mode = OFF on green"
    )]
    AnonymousTransactions(String),
    /// Transactions with GTIDs cannot be applied by a green that has them off.
    #[error("blue has GTIDs on and green ({0}) has them off: set gtid_mode = ON on green")]
    GtidOffOnGreen(String),
}

/// What to do, and what cannot be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowPlan {
    /// The changes in order; undone in the reverse order.
    pub changes: Vec<Change>,
    /// What stays a risk, in one sentence each.
    pub findings: Vec<String>,
    /// Green followed blue already: its channel is left as it is and not reset by an undo.
    pub adopted: bool,
}

/// Reads what must be known of green.
///
/// # Errors
/// Any [`Cause`].
pub async fn before(
    green: &mut Session,
    caps: &Capabilities,
    budget: Duration,
) -> Result<Before, ServerError> {
    let channels = status::read(green, caps, budget).await?;
    let settings = settings::read(green, caps, &SETTINGS, budget).await?;
    Ok(Before { channels, settings })
}

/// What a wish for TLS means for the channel to this source: "where it offers it" is asked there.
///
/// # Errors
/// Any [`Cause`].
pub async fn channel_tls(
    wish: &Tls,
    source: &mut Session,
    caps: &Capabilities,
    budget: Duration,
) -> Result<ChannelTls, ServerError> {
    Ok(match wish {
        Tls::Disabled => ChannelTls::Off,
        Tls::Required => ChannelTls::On,
        Tls::VerifyCa(ca) => ChannelTls::VerifyCa(ca.clone()),
        Tls::VerifyIdentity(ca) => ChannelTls::VerifyIdentity(ca.clone()),
        Tls::Preferred => match offers_tls(source, caps, budget).await? {
            true => ChannelTls::On,
            false => ChannelTls::Off,
        },
    })
}

async fn offers_tls(
    source: &mut Session,
    caps: &Capabilities,
    budget: Duration,
) -> Result<bool, ServerError> {
    let seen = variables(source, &["have_ssl"], budget).await?;
    if let Some(answer) = seen.get("have_ssl") {
        return Ok(answer.eq_ignore_ascii_case("YES"));
    }
    if !caps.performance_schema {
        return Ok(false);
    }
    let sql = "SELECT COUNT(*) FROM performance_schema.tls_channel_status WHERE CHANNEL = 'mysql_main' AND PROPERTY = \
               'Enabled' AND VALUE = 'Yes'";
    let enabled: u64 = source.one("find out whether TLS is offered", sql, budget).await?;
    Ok(enabled > 0)
}

/// Plans the changes that make green follow blue, read-only, from `start`.
///
/// # Errors
/// [`NotPlanned`].
pub fn plan(
    blue: (&Capabilities, &Identity),
    green: &Capabilities,
    before: &Before,
    source: &Source,
    start: &Start,
) -> Result<FollowPlan, NotPlanned> {
    let (blue, blue_identity) = blue;
    let adopted = follows(&before.channels, blue_identity, source).map_err(NotPlanned::FollowsAnother)?;
    if blue.family() == Family::MySql && green.family() == Family::MySql {
        if blue.gtid && !green.gtid {
            return Err(NotPlanned::GtidOffOnGreen(green.version.to_string()));
        }
        // A source before 5.7 does not mark transactions without a GTID as such, so green could not tell where each
        // begins (tried: 5.6.24 to 9.7.4 stops with 1782).
        let can_assign = green.change_source == Words::New && blue.version.is_mysql_from((5, 7, 0));
        if !blue.gtid && green.gtid && !can_assign {
            return Err(NotPlanned::AnonymousTransactions(green.version.to_string()));
        }
    }
    let mut plan = FollowPlan {
        changes: Vec::new(),
        findings: Vec::new(),
        adopted,
    };
    plan.changes.push(close_green(green, before));
    if !green.can_persist() {
        plan.findings.push(format!(
            "{} cannot keep read_only over a restart: put `read_only = ON` into green's option file until the switch",
            green.version
        ));
    }
    // Left as it is: the operator's way to look at a crashed green first. It is only said.
    let skip = sql::skip_replica_start(green);
    if before
        .settings
        .value(skip)
        .is_some_and(|v| v.eq_ignore_ascii_case("ON"))
    {
        plan.findings.push(format!(
            "green has {skip} on: after a restart of green, replication must be started by hand"
        ));
    }
    let scheduler = before.settings.value("event_scheduler");
    if scheduler.is_some_and(|s| s.eq_ignore_ascii_case("ON")) {
        plan.changes.push(Change {
            side: Side::Green,
            what: "stop green's event scheduler: events of privileged accounts write through read-only"
                .to_owned(),
            sql: settings::set_kept(green, &[("event_scheduler", "OFF")]),
            masked: false,
            undo: before.settings.put_back("event_scheduler"),
        });
    }
    if !adopted {
        plan.changes.push(Change {
            side: Side::Green,
            what: format!("tell green to follow blue at {}:{}", source.host, source.port),
            sql: change_source(blue, green, source, start),
            masked: true,
            undo: vec![sql::reset_replica_all(green).to_owned()],
        });
    }
    if !before.channels.iter().any(ReplicaStatus::is_running) {
        plan.changes.push(Change {
            side: Side::Green,
            what: "start replication on green".to_owned(),
            sql: sql::start_replica(green).to_owned(),
            masked: false,
            undo: vec![sql::stop_replica(green).to_owned()],
        });
    }
    Ok(plan)
}

/// Whether a server with these channels follows `who` already, and nobody else.
///
/// # Errors
/// Whom it follows instead, in words.
pub fn follows(channels: &[ReplicaStatus], who: &Identity, source: &Source) -> Result<bool, String> {
    let [channel] = channels else {
        let names: Vec<String> = channels
            .iter()
            .map(|c| format!("{}:{}", c.source_host, c.source_port))
            .collect();
        return if names.is_empty() {
            Ok(false)
        } else {
            Err(names.join(" and "))
        };
    };
    let by_uuid = match (&channel.source_uuid, &who.server_uuid) {
        (Some(a), Some(b)) => Some(a.eq_ignore_ascii_case(b)),
        _ => None,
    };
    // Without a uuid: the server id it met there, and the address.
    let is_it = by_uuid.unwrap_or_else(|| {
        let same_address = channel.source_host == source.host && channel.source_port == source.port;
        same_address && channel.source_server_id.is_none_or(|id| id == who.server_id)
    });
    if is_it && channel.channel.is_empty() {
        Ok(true)
    } else {
        Err(format!("{}:{}", channel.source_host, channel.source_port))
    }
}

fn close_green(green: &Capabilities, before: &Before) -> Change {
    let flags: &[(&str, &str)] = if green.super_read_only {
        &[("super_read_only", "ON"), ("read_only", "ON")]
    } else {
        &[("read_only", "ON")]
    };
    let names = flags.iter().map(|(name, _)| *name);
    let mut undo: Vec<String> = names
        .clone()
        .filter_map(|n| before.settings.put_back_persisted(n))
        .collect();
    // Together: either flag alone would leave the other one in the way.
    let set: Vec<String> = names
        .filter_map(|name| {
            Some(format!(
                "GLOBAL {name} = {}",
                settings::literal(before.settings.value(name)?)
            ))
        })
        .collect();
    undo.push(format!("SET {}", set.join(", ")));
    Change {
        side: Side::Green,
        what: "make green read-only".to_owned(),
        sql: settings::set_kept(green, flags),
        masked: false,
        undo,
    }
}

/// The statement that tells a replica to follow a source from `start`, with a mask in the password's place.
#[must_use]
pub fn change_source(
    of_source: &Capabilities,
    of_replica: &Capabilities,
    source: &Source,
    start: &Start,
) -> String {
    let (statement, word) = match of_replica.change_source {
        Words::New => ("CHANGE REPLICATION SOURCE TO", "SOURCE"),
        Words::Old => ("CHANGE MASTER TO", "MASTER"),
    };
    let mariadb = of_replica.family() == Family::MariaDb;
    let mut options = vec![
        format!("{word}_HOST = {}", quote::text(&source.host)),
        format!("{word}_PORT = {}", source.port),
        format!("{word}_USER = {}", quote::text(&source.user)),
    ];
    match (start, mariadb) {
        (Start::Gtid, true) => options.push("MASTER_USE_GTID = slave_pos".to_owned()),
        (Start::Gtid, false) => options.push(format!("{word}_AUTO_POSITION = 1")),
        (Start::At(place), _) => {
            if mariadb {
                options.push("MASTER_USE_GTID = no".to_owned());
            } else if of_replica.gtid || of_replica.gtid_wait.is_some() {
                options.push(format!("{word}_AUTO_POSITION = 0"));
            }
            options.push(format!("{word}_LOG_FILE = {}", quote::text(&place.file)));
            options.push(format!("{word}_LOG_POS = {}", place.offset));
            if !mariadb && of_replica.gtid && !of_source.gtid {
                options.push("ASSIGN_GTIDS_TO_ANONYMOUS_TRANSACTIONS = LOCAL".to_owned());
            }
        }
    }
    // Said in every case: what is left unsaid means TLS on some servers and none on others.
    match &source.tls {
        ChannelTls::Off => options.push(format!("{word}_SSL = 0")),
        ChannelTls::On => options.push(format!("{word}_SSL = 1, {word}_SSL_VERIFY_SERVER_CERT = 0")),
        ChannelTls::VerifyCa(ca) => options.push(format!(
            "{word}_SSL = 1, {word}_SSL_CA = {}, {word}_SSL_VERIFY_SERVER_CERT = 0",
            quote::text(&ca.display().to_string())
        )),
        ChannelTls::VerifyIdentity(ca) => options.push(format!(
            "{word}_SSL = 1, {word}_SSL_CA = {}, {word}_SSL_VERIFY_SERVER_CERT = 1",
            quote::text(&ca.display().to_string())
        )),
    }
    if of_replica.get_source_public_key {
        options.push(format!("GET_{word}_PUBLIC_KEY = 1"));
    }
    // The defaults wait a minute between tries, and MySQL 9 gives up after ten.
    options.push(format!("{word}_CONNECT_RETRY = 1, {word}_HEARTBEAT_PERIOD = 5"));
    if !mariadb {
        options.push(format!("{word}_RETRY_COUNT = 86400"));
    }
    options.push(format!("{word}_PASSWORD = {PASSWORD_MASK}"));
    format!("{statement} {}", options.join(", "))
}

/// Runs one planned change; a password is put in where the mask stands.
///
/// # Errors
/// Any [`Cause`]. The server's words never carry the password: what might quote the statement is left out.
pub async fn run(
    session: &mut Session,
    change: &Change,
    password: &SecretString,
    budget: Duration,
) -> Result<(), ServerError> {
    if !change.masked {
        return session.run(&change.what, &change.sql, budget).await;
    }
    // MariaDB writes the statement into its logs as it is. Best effort: not every account may switch this off.
    for off in ["SET SESSION sql_log_off = 1", "SET SESSION slow_query_log = 0"] {
        match session
            .run("keep the statement out of the server's logs", off, budget)
            .await
        {
            Err(e) if e.is_unknown() => return Err(e),
            _ => {}
        }
    }
    let secret = quote::text(password.expose_secret());
    // The password is the last option: only the last mask is one.
    let sql = match change.sql.rfind(PASSWORD_MASK) {
        Some(at) => {
            let (head, tail) = change.sql.split_at(at);
            format!("{head}{secret}{}", &tail[PASSWORD_MASK.len()..])
        }
        None => change.sql.clone(),
    };
    let result = session.run(&change.what, &sql, budget).await;
    result.map_err(|e| scrub(e, password))
}

/// Takes out of an error what may quote the statement that held a password.
fn scrub(mut error: ServerError, password: &SecretString) -> ServerError {
    if let Cause::Refused { code, message } = &mut error.cause {
        // A syntax error quotes the statement from where it was not understood, perhaps half a password.
        let quotes_statement = matches!(*code, 1064 | 1065 | 1149);
        if quotes_statement
            || (!password.expose_secret().is_empty() && message.contains(password.expose_secret()))
        {
            "(the server's words are left out: they quote the statement with the password)"
                .clone_into(message);
        }
    }
    error
}

/// Undoes one planned change; safe also if it was never made.
///
/// # Errors
/// Any [`Cause`]; the statements after the one that failed were not run.
pub async fn undo(session: &mut Session, change: &Change, budget: Duration) -> Result<(), ServerError> {
    let doing = format!("undo: {}", change.what);
    for statement in change.undo.iter().filter(|s| !s.trim().is_empty()) {
        match session.run(&doing, statement, budget).await {
            // "Not configured as a replica": it was never told to follow, or has been reset already.
            Err(e) if matches!(e.code(), Some(1200)) => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::capabilities::tests::known;
    use crate::domain::position::FilePosition;
    use crate::domain::replication::Receiver;
    use crate::domain::server::Version;

    fn identity(uuid: Option<&str>) -> Identity {
        Identity {
            family: Family::MySql,
            server_uuid: uuid.map(str::to_owned),
            server_id: 1,
            hostname: "h".into(),
            port: 3306,
            datadir: "/d/".into(),
            gtid_domain_id: None,
        }
    }

    fn fresh(persist: bool) -> Before {
        let memory = [
            ("read_only", "OFF"),
            ("super_read_only", "OFF"),
            ("event_scheduler", "ON"),
        ];
        Before {
            channels: vec![],
            settings: Settings::of(&memory, persist.then_some(&[])),
        }
    }

    fn source() -> Source {
        Source {
            host: "db'1".into(),
            port: 3306,
            user: "repl".into(),
            password: "s3cret'".to_owned().into(),
            tls: ChannelTls::Off,
        }
    }

    fn planned(blue: &str, green: &str, before: &Before, start: &Start) -> FollowPlan {
        let uuid = identity(Some("55121d2e-e789-11f1-bffb-02fc00000001"));
        plan((&known(blue), &uuid), &known(green), before, &source(), start).unwrap()
    }

    #[test]
    fn mysql_by_gtid() {
        let plan = planned("mysql-5.6", "mysql-9.7", &fresh(true), &Start::Gtid);
        let statements: Vec<&str> = plan.changes.iter().map(|c| c.sql.as_str()).collect();
        assert_eq!(
            statements,
            [
                "SET PERSIST super_read_only = ON, PERSIST read_only = ON",
                "SET PERSIST event_scheduler = OFF",
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'db''1', SOURCE_PORT = 3306, SOURCE_USER = 'repl', \
                 SOURCE_AUTO_POSITION = 1, SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, \
                 SOURCE_HEARTBEAT_PERIOD = 5, SOURCE_RETRY_COUNT = 86400, SOURCE_PASSWORD = '********'",
                "START REPLICA",
            ]
        );
        let undo: Vec<String> = plan.changes.iter().rev().flat_map(|c| c.undo.clone()).collect();
        assert_eq!(
            undo,
            [
                "STOP REPLICA",
                "RESET REPLICA ALL",
                "RESET PERSIST IF EXISTS event_scheduler",
                "SET GLOBAL event_scheduler = ON",
                "RESET PERSIST IF EXISTS super_read_only",
                "RESET PERSIST IF EXISTS read_only",
                "SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF",
            ]
        );
        assert!(plan.findings.is_empty());
    }

    #[test]
    fn mariadb_and_file_and_offset() {
        let at = Start::At(FilePosition {
            file: "binlog.000001".into(),
            offset: 4,
        });
        let by_file = planned("mysql-5.6-file", "mariadb-11.8", &fresh(false), &at);
        assert!(by_file.changes[2].sql.contains(
            "MASTER_USE_GTID = no, MASTER_LOG_FILE = 'binlog.000001', MASTER_LOG_POS = 4, MASTER_SSL = 0"
        ));
        assert_eq!(by_file.findings.len(), 1, "MariaDB cannot persist read_only");
        let by_gtid = planned("mariadb-11.8", "mariadb-11.8", &fresh(false), &Start::Gtid);
        assert!(by_gtid.changes[2].sql.contains("MASTER_USE_GTID = slave_pos"));
        let uuid = identity(Some("55121d2e-e789-11f1-bffb-02fc00000001"));
        let (old, green) = (known("mysql-5.6-file"), known("mysql-9.7"));
        let anonymous = |blue: &Capabilities| plan((blue, &uuid), &green, &fresh(true), &source(), &at);
        assert!(matches!(
            anonymous(&old),
            Err(NotPlanned::AnonymousTransactions(_))
        ));
        let newer = Capabilities {
            version: Version::parse("5.7.44", ""),
            ..old
        };
        let statement = &anonymous(&newer).unwrap().changes[2].sql;
        assert!(statement.contains("ASSIGN_GTIDS_TO_ANONYMOUS_TRANSACTIONS = LOCAL"));
    }

    #[test]
    fn what_follows_blue_already_is_left_alone_and_anything_else_is_refused() {
        let uuid = "55121d2e-e789-11f1-bffb-02fc00000001";
        let channel = ReplicaStatus {
            channel: String::new(),
            source_host: "10.0.0.9".into(),
            source_port: 3306,
            source_user: "repl".into(),
            source_uuid: Some(uuid.into()),
            source_server_id: Some(1),
            receiver: Receiver::Running,
            receiver_error: None,
            applier_running: true,
            applier_error: None,
            worker_errors: vec![],
            applier_state: String::new(),
            filters: vec![],
            delay_seconds: 0,
            by_gtid: true,
            received: None,
            executed: None,
            read_to: None,
            executed_to: None,
        };
        let before = Before {
            channels: vec![channel.clone()],
            ..fresh(true)
        };
        let adopted = planned("mysql-9.7", "mysql-9.7", &before, &Start::Gtid);
        assert!(adopted.adopted);
        assert!(
            adopted
                .changes
                .iter()
                .all(|c| !c.masked && !c.sql.contains("START"))
        );

        let other = Before {
            channels: vec![ReplicaStatus {
                source_uuid: Some("00000000-e789-11f1-bffb-02fc00000001".into()),
                ..channel.clone()
            }],
            ..fresh(true)
        };
        let refuse = |before: &Before| {
            let caps = known("mysql-9.7");
            plan(
                (&caps, &identity(Some(uuid))),
                &caps,
                before,
                &source(),
                &Start::Gtid,
            )
            .unwrap_err()
        };
        assert!(matches!(refuse(&other), NotPlanned::FollowsAnother(_)));
        let two = Before {
            channels: vec![channel.clone(), channel],
            ..fresh(true)
        };
        assert!(matches!(refuse(&two), NotPlanned::FollowsAnother(_)));
    }

    #[test]
    fn a_refusal_does_not_quote_the_password() {
        let refused = |code, message: &str| ServerError {
            side: Side::Green,
            server: "g".into(),
            doing: "tell".into(),
            cause: Cause::Refused {
                code,
                message: message.into(),
            },
        };
        let password: SecretString = "s3cret".to_owned().into();
        for error in [
            refused(1064, "near 's3c' at line 1"),
            refused(1234, "bad option 's3cret'"),
        ] {
            assert!(!scrub(error, &password).to_string().contains("s3c"));
        }
        assert!(
            scrub(refused(1201, "no such file"), &password)
                .to_string()
                .contains("no such file")
        );
    }
}
