//! One session on one server: opened once, never reconnected, every statement with a time limit.
//!
//! A session that timed out or lost its connection is *spent*: it refuses further statements, because what it sent
//! may still run. Whoever needs to know ends it from another session and reads the state (DESIGN I6).

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, OptsBuilder, Row, SslOpts};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use super::error::{Cause, ServerError};
use crate::domain::ids::{RunId, Side};

/// How the connection is protected. A Unix socket takes no TLS, whatever is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Tls {
    /// Plain text. The password still never crosses the wire readable: the public key exchange sees to it.
    Disabled,
    /// TLS where the server offers it, without checking its certificate.
    #[default]
    Preferred,
    /// TLS or no connection; the certificate is not checked.
    Required,
    /// TLS with a certificate signed by this authority; the host name is not checked.
    VerifyCa(PathBuf),
    /// TLS with a certificate signed by this authority for this host name.
    VerifyIdentity(PathBuf),
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Host name or IP address, and port.
    Tcp(String, u16),
    /// Path of a Unix socket.
    Socket(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Everything needed to open a session. The password's `Debug` is masked by its type.
#[derive(Debug, Clone)]
pub struct Target {
    /// Which side of the pair this is.
    pub side: Side,
    /// Where it listens.
    pub address: Address,
    /// A second address (`extra_port`, `admin_port`) that answers when `max_connections` is used up.
    pub spare_address: Option<Address>,
    /// The account.
    pub user: String,
    /// Its password.
    pub password: SecretString,
    /// How the connection is protected.
    pub tls: Tls,
}

/// What a session is for; shown to whoever looks at the process list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose {
    /// The run it belongs to; `None` for reading commands.
    pub run: Option<RunId>,
    /// Its part in the run: `hold`, `guard`, `promote`, `watch`. Lower-case letters and `-` only.
    pub role: &'static str,
}

/// One open session. Dropping it closes the socket; [`Session::close`] says goodbye first.
pub struct Session {
    conn: Conn,
    id: u64,
    side: Side,
    server: String,
    /// `/* bleen RUN ROLE */ `, in front of every statement.
    mark: String,
    spent: Option<Cause>,
    /// What must hold for [`Session::run`] to change anything.
    condition: Option<String>,
    /// How to open it again, for [`Session::revive`].
    target: Target,
    address: Address,
    purpose: Purpose,
    /// When it last answered.
    answered: Instant,
}

/// A session that answered this recently is taken for alive.
const FRESH: Duration = Duration::from_secs(1);

/// The server's own number of seconds after which an idle session is ended, unless the caller sets another: a bleen
/// that froze must not keep sessions for the default of eight hours.
const IDLE_SECONDS: u32 = 600;

/// How often a login is begun when the driver fails at it.
const LOGINS: u32 = 4;

/// Logs in, once more if the driver panics: mysql_async 0.37 cuts the server's random bytes at a last zero, and fails at
/// one login in 256 of MariaDB's `parsec` (`continue_parsec_auth`). The next login is given other bytes; none has changed
/// anything on the server.
async fn login<T, F>(open: impl Fn() -> F) -> Result<T, mysql_async::Error>
where
    F: Future<Output = Result<T, mysql_async::Error>>,
{
    for _ in 0..LOGINS {
        if let Ok(opened) = AssertUnwindSafe(open()).catch_unwind().await {
            return opened;
        }
        tracing::debug!("the driver failed at a login; it is begun again");
    }
    Err(mysql_async::Error::Other(
        "the driver failed at the login, and failed again".into(),
    ))
}

impl Session {
    /// Opens a session: TCP or socket, TLS as asked, login, `time_zone = '+00:00'`, a known `sql_mode`, READ COMMITTED,
    /// autocommit on, `utf8mb4`.
    ///
    /// # Errors
    /// [`Cause::Unreachable`], [`Cause::LoginRefused`], or [`Cause::TimedOut`] after `budget`. Cancelling it drops the
    /// socket; the server notices.
    pub async fn open(target: &Target, purpose: &Purpose, budget: Duration) -> Result<Self, ServerError> {
        Self::open_at(target, &target.address, purpose, budget).await
    }

    /// As [`Session::open`], at an address of the caller's choice (the spare one when connections are used up).
    ///
    /// # Errors
    /// As [`Session::open`].
    pub async fn open_at(
        target: &Target,
        address: &Address,
        purpose: &Purpose,
        budget: Duration,
    ) -> Result<Self, ServerError> {
        let run = purpose.run.as_ref().map_or("-", RunId::as_str);
        let conn = connect(target, address, purpose, |options| options, budget).await?;
        let id = u64::from(conn.id());
        let mut session = Self {
            conn,
            id,
            side: target.side,
            server: address.to_string(),
            mark: format!("/* bleen {run} {} */ ", purpose.role),
            spent: None,
            condition: None,
            target: target.clone(),
            address: address.clone(),
            purpose: purpose.clone(),
            answered: Instant::now(),
        };
        let set = format!(
            "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', \
             autocommit = 1, wait_timeout = {IDLE_SECONDS}, group_concat_max_len = 1048576"
        );
        session.run("prepare the session", &set, budget).await?;
        // The isolation level has a statement of its own: its variable has two names across versions.
        let isolation = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
        session.run("prepare the session", isolation, budget).await?;
        Ok(session)
    }

    /// The server's number for this session, as `KILL` takes it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Names its side anew: the roles of the pair were exchanged.
    #[must_use]
    pub const fn on_side(mut self, side: Side) -> Self {
        self.side = side;
        self
    }

    /// Which side it is on.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }

    /// The comment that begins everything it sends, so that others know whose it is. The server takes the statements of a
    /// batch apart: a later one that costs much needs it, too, or it is taken for an application's.
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Whether a statement of it was lost or timed out, so that it takes no more.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.spent.is_some()
    }

    /// From now on [`Session::run`] runs nothing unless the server itself finds `condition` to be 1 right before: a
    /// bleen that was frozen or cut off may have been overtaken since it last looked.
    pub fn only_while(&mut self, condition: String) {
        self.condition = Some(condition);
    }

    /// Runs one statement (or several, separated by `;`) and throws away what it returns.
    ///
    /// # Errors
    /// Any [`Cause`]; see [`ServerError::is_unknown`]. [`Cause::TakenOver`] if the condition of
    /// [`Session::only_while`] does not hold: nothing was run.
    pub async fn run(&mut self, doing: &str, sql: &str, budget: Duration) -> Result<(), ServerError> {
        let Some(condition) = &self.condition else {
            return self.batch(doing, sql, budget).await.map(drop);
        };
        // A batch stops at the first statement that fails: 1690, out of range.
        let guarded = format!("SELECT EXP(IF({condition}, 0, 1000)); {sql}");
        match self.batch(doing, &guarded, budget).await {
            Err(e) if e.code() == Some(1690) => Err(self.failed(
                doing,
                Cause::TakenOver(
                    "the run lock is no longer held by this run, so nothing was changed".to_owned(),
                ),
            )),
            other => other.map(drop),
        }
    }

    /// Runs one statement and returns its rows.
    ///
    /// # Errors
    /// Any [`Cause`]; see [`ServerError::is_unknown`].
    pub async fn rows<T: FromRow>(
        &mut self,
        doing: &str,
        sql: &str,
        budget: Duration,
    ) -> Result<Vec<T>, ServerError> {
        let sets = self.batch(doing, sql, budget).await?;
        let rows = sets.into_iter().next().unwrap_or_default();
        rows.into_iter()
            .map(|row| mysql_async::from_row_opt(row))
            .collect::<Result<Vec<T>, _>>()
            .map_err(|e| self.failed(doing, Cause::Unexpected(e.to_string())))
    }

    /// Runs one statement that returns exactly one row.
    ///
    /// # Errors
    /// Any [`Cause`]; no row or more than one is [`Cause::Unexpected`].
    pub async fn one<T: FromRow>(
        &mut self,
        doing: &str,
        sql: &str,
        budget: Duration,
    ) -> Result<T, ServerError> {
        let mut rows = self.rows(doing, sql, budget).await?;
        match (rows.pop(), rows.len()) {
            (Some(row), 0) => Ok(row),
            (_, n) => Err(self.failed(
                doing,
                Cause::Unexpected(format!("{n} rows where one was expected")),
            )),
        }
    }

    /// Runs several statements in one round trip and returns the rows of each that has a result set, in order.
    ///
    /// The server stops at the first statement that fails; those before it have taken effect.
    ///
    /// # Errors
    /// Any [`Cause`]; see [`ServerError::is_unknown`]. Cancelling it leaves the session unusable and the statement
    /// running: end the session from another one.
    pub async fn batch(
        &mut self,
        doing: &str,
        sql: &str,
        budget: Duration,
    ) -> Result<Vec<Vec<Row>>, ServerError> {
        self.batch_within(doing, sql, budget, usize::MAX).await
    }

    /// As [`Session::batch`], and gives up reading when the rows hold more than `most_bytes`.
    ///
    /// # Errors
    /// As [`Session::batch`]; [`Cause::TooLarge`], after which the session is spent: the rest of the answer is still on
    /// its way.
    pub async fn batch_within(
        &mut self,
        doing: &str,
        sql: &str,
        budget: Duration,
        most_bytes: usize,
    ) -> Result<Vec<Vec<Row>>, ServerError> {
        if let Some(cause) = &self.spent {
            let cause = Cause::Lost(format!(
                "an earlier statement of this session got no answer: {cause}"
            ));
            return Err(self.failed(doing, cause));
        }
        // Should this future be dropped half-way, the session stays spent.
        self.spent = Some(Cause::Lost("abandoned".to_owned()));
        let text = format!("{}{sql}", self.mark);
        let work = async {
            let mut sets = Vec::new();
            let mut bytes = 0;
            let mut result = self.conn.query_iter(text).await?;
            while !result.is_empty() {
                let has_columns = result.columns().is_some_and(|c| !c.is_empty());
                let mut rows: Vec<Row> = Vec::new();
                while let Some(row) = result.next().await? {
                    bytes += bytes_of(&row);
                    if bytes > most_bytes {
                        return Ok(Err(Cause::TooLarge(most_bytes)));
                    }
                    rows.push(row);
                }
                if has_columns {
                    sets.push(rows);
                }
            }
            // An error of a later statement of the batch is only told when it is asked for; left alone, the driver
            // would give it as the answer to the next batch.
            result.drop_result().await?;
            Ok::<_, mysql_async::Error>(Ok(sets))
        };
        let outcome = timeout(budget, work).await;
        let cause = match outcome {
            Ok(Ok(Ok(sets))) => {
                self.spent = None;
                self.answered = Instant::now();
                return Ok(sets);
            }
            Ok(Ok(Err(cause))) => cause,
            Ok(Err(error)) => statement_cause(&error),
            Err(_) => Cause::TimedOut(budget),
        };
        self.spent = match &cause {
            Cause::Refused { .. } => None,
            other => Some(other.clone()),
        };
        Err(self.failed(doing, cause))
    }

    /// Sees that the session answers, and opens it anew if the server has ended it meanwhile: whoever idles for longer
    /// than its `wait_timeout` is ended. Returns whether it was opened anew; it has another number then.
    ///
    /// Only for sessions that read or undo, between two uses. Never for one that holds, guards, seals or promotes:
    /// what those hold ends with them. A spent session may have left a statement running: end it by its number first.
    ///
    /// # Errors
    /// As [`Session::open`]; the session is spent then.
    pub async fn revive(&mut self, budget: Duration) -> Result<bool, ServerError> {
        if !self.is_spent() {
            if self.answered.elapsed() < FRESH {
                return Ok(false);
            }
            if self
                .batch("see that the session answers", "DO 0", budget)
                .await
                .is_ok()
            {
                return Ok(false);
            }
        }
        let condition = self.condition.take();
        *self = Self::open_at(&self.target, &self.address, &self.purpose, budget).await?;
        self.condition = condition;
        Ok(true)
    }

    /// Says goodbye and closes; bounded by `budget`, after which the socket is simply closed.
    pub async fn close(self, budget: Duration) {
        if self.spent.is_none() {
            // A session that does not answer its goodbye is closed all the same by the drop.
            let _ = timeout(budget, self.conn.disconnect()).await;
        }
    }

    /// An answer that is not of the form that was asked for, as an error of this session.
    #[must_use]
    pub fn unexpected(&self, doing: &str, what: &str) -> ServerError {
        self.failed(doing, Cause::Unexpected(what.to_owned()))
    }

    fn failed(&self, doing: &str, cause: Cause) -> ServerError {
        ServerError {
            side: self.side,
            server: self.server.clone(),
            doing: doing.to_owned(),
            cause,
        }
    }
}

/// Opens a bare connection: address, TLS, account and attributes as a session's. `adjust` may add options.
///
/// # Errors
/// As [`Session::open`].
pub(super) async fn connect(
    target: &Target,
    address: &Address,
    purpose: &Purpose,
    adjust: impl Fn(OptsBuilder) -> OptsBuilder + Copy,
    budget: Duration,
) -> Result<Conn, ServerError> {
    let run = purpose.run.as_ref().map_or("-", RunId::as_str);
    let failed = |cause| ServerError {
        side: target.side,
        server: address.to_string(),
        doing: format!("open the {} session", purpose.role),
        cause,
    };
    let attempt = async {
        authority_readable(&target.tls).await?;
        let connect = |tls| login(move || Conn::new(adjust(options(target, address, purpose, run, tls))));
        let result = match (&target.tls, address) {
            // A socket never leaves the machine: no TLS on it, whatever is asked for.
            (_, Address::Socket(_)) | (Tls::Disabled, _) => connect(false).await,
            (Tls::Preferred, _) => match connect(true).await {
                Err(e) if no_tls_offered(&e) => connect(false).await,
                other => other,
            },
            _ => connect(true).await,
        };
        result.map_err(|e| connect_cause(&e))
    };
    match timeout(budget, attempt).await {
        Err(_) => Err(failed(Cause::TimedOut(budget))),
        Ok(result) => result.map_err(failed),
    }
}

fn bytes_of(row: &Row) -> usize {
    let bytes = |at| match row.as_ref(at) {
        Some(mysql_async::Value::Bytes(bytes)) => bytes.len(),
        // The text protocol has nothing else.
        _ => 0,
    };
    (0..row.len()).map(bytes).sum()
}

fn options(target: &Target, address: &Address, purpose: &Purpose, run: &str, tls: bool) -> OptsBuilder {
    let mut options = OptsBuilder::default()
        .user(Some(target.user.clone()))
        .pass(Some(target.password.expose_secret().to_owned()))
        .prefer_socket(false)
        .tcp_nodelay(true)
        .stmt_cache_size(0)
        .secure_auth(true)
        .connect_attribute("program_name", "bleen")
        .connect_attribute("bleen_run", run)
        .connect_attribute("bleen_role", purpose.role);
    options = match address {
        Address::Tcp(host, port) => options.ip_or_hostname(host.clone()).tcp_port(*port),
        Address::Socket(path) => options.socket(Some(path.display().to_string())),
    };
    if !tls {
        return options;
    }
    let checked = SslOpts::default();
    let ssl = match &target.tls {
        Tls::VerifyIdentity(ca) => checked
            .with_root_certs(vec![ca.clone().into()])
            .with_disable_built_in_roots(true),
        Tls::VerifyCa(ca) => checked
            .with_root_certs(vec![ca.clone().into()])
            .with_disable_built_in_roots(true)
            .with_danger_skip_domain_validation(true)
            .with_danger_tls_hostname_override(Some(ANY_NAME)),
        _ => checked
            .with_danger_accept_invalid_certs(true)
            .with_danger_skip_domain_validation(true),
    };
    options.ssl_opts(Some(ssl))
}

/// The name that is asked for where the host name is not to be checked.
///
/// The driver (`mysql_async` 0.37.1, `io/tls/rustls_io.rs`) lets an error of the TLS library pass if its text contains
/// this word; the library's present text does not, but it quotes the name that was asked for. The library checks the
/// signatures first and the name last, so only the name is let pass. `tests/servers_session.rs` would notice a change
/// of either: the right authority must be accepted and a wrong one refused.
const ANY_NAME: &str = "NotValidForName";

/// Whether the file of a certificate authority can be read; the driver would not say which file it missed.
async fn authority_readable(tls: &Tls) -> Result<(), Cause> {
    let (Tls::VerifyCa(ca) | Tls::VerifyIdentity(ca)) = tls else {
        return Ok(());
    };
    let wrong = |why: &dyn std::fmt::Display| {
        Cause::LoginRefused(format!("TLS: certificate authority {}: {why}", ca.display()))
    };
    match tokio::fs::read(ca).await {
        Err(e) => Err(wrong(&e)),
        Ok(bytes) if bytes.is_empty() => Err(wrong(&"the file is empty")),
        Ok(_) => Ok(()),
    }
}

/// The driver's own error for a server whose greeting lacks the TLS capability.
fn no_tls_offered(error: &mysql_async::Error) -> bool {
    matches!(
        error,
        mysql_async::Error::Driver(mysql_async::DriverError::NoClientSslFlagFromServer)
    )
}

fn connect_cause(error: &mysql_async::Error) -> Cause {
    use mysql_async::{Error, IoError};
    match error {
        // Too many connections, of the server or of the account; the server is shutting down.
        Error::Server(e) if matches!(e.code, 1040 | 1203 | 1226 | 1053) => {
            Cause::Unreachable(format!("error {}: {}", e.code, e.message))
        }
        Error::Server(e) => Cause::LoginRefused(format!("error {}: {}", e.code, e.message)),
        Error::Driver(e) if no_tls_offered(error) => {
            Cause::LoginRefused(format!("TLS is required and the server does not offer it ({e})"))
        }
        Error::Driver(e) => Cause::LoginRefused(e.to_string()),
        Error::Io(IoError::Tls(e)) => Cause::LoginRefused(format!("TLS: {e}")),
        // The TLS library's refusals arrive as I/O errors of this kind.
        Error::Io(IoError::Io(e)) if e.kind() == std::io::ErrorKind::InvalidData => {
            Cause::LoginRefused(format!("TLS: {e}"))
        }
        Error::Io(IoError::Io(e)) => Cause::Unreachable(e.to_string()),
        other => Cause::Unreachable(other.to_string()),
    }
}

/// What is known after an error of a statement.
///
/// A server that ends a session says so in different ways: an error packet (1053 shutdown, 1317 with the session
/// going, 1927 and 3169 killed, 4031 idle for too long), which may come before the statement was read, or nothing but
/// a closed connection. In each of these the session is gone; whether the statement took effect is not said.
pub(super) fn statement_cause(error: &mysql_async::Error) -> Cause {
    use mysql_async::{Error, IoError};
    match error {
        Error::Server(e) if matches!(e.code, 1053 | 1927 | 3169 | 4031) => {
            Cause::Lost(format!("error {}: {}", e.code, e.message))
        }
        Error::Server(e) => Cause::Refused {
            code: e.code,
            message: e.message.clone(),
        },
        Error::Io(IoError::Io(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Cause::Lost("the server closed the connection".to_owned())
        }
        // The packet with which a server ends an idle session does not fit the statement's numbering.
        Error::Io(IoError::Io(e)) if e.to_string().contains("out of sync") => {
            Cause::Lost("the server ended the session before it read the statement".to_owned())
        }
        Error::Io(IoError::Io(e)) => Cause::Lost(e.to_string()),
        other => Cause::Lost(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_driver_that_panics_is_asked_again() {
        let begun = AtomicU32::new(0);
        let opened = login(|| async {
            match begun.fetch_add(1, Ordering::Relaxed) {
                0 => panic!("as at an unlucky nonce"),
                n => Ok(n),
            }
        });
        assert_eq!(opened.await.unwrap(), 1);
        let failed: Result<u32, _> = login(|| async { panic!("always") }).await;
        assert!(failed.unwrap_err().to_string().contains("the driver failed"));
    }
}
