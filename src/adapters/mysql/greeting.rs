//! Reads what a server says before anybody logs in: its version.
//!
//! For `bleen grants`, which is run before bleen's account exists. Nothing is sent. The server counts the connection as
//! one that was given up; it forgets that with the next login from this host.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::error::{Cause, ServerError};
use super::session::Address;
use crate::domain::ids::Side;
use crate::domain::server::Version;

/// Longest greeting that is read; a real one has about a hundred bytes.
const MOST: usize = 4096;

/// Connects, reads the greeting and closes. `side` is only for the error.
///
/// # Errors
/// [`Cause::Unreachable`], [`Cause::LoginRefused`] with the server's words when it greets with an error, or
/// [`Cause::TimedOut`] after `budget`.
pub async fn read_version(side: Side, address: &Address, budget: Duration) -> Result<Version, ServerError> {
    let failed = |cause| ServerError {
        side,
        server: address.to_string(),
        doing: "read the server's greeting".to_owned(),
        cause,
    };
    let work = async {
        let unreachable = |error: std::io::Error| Cause::Unreachable(error.to_string());
        let greeting = match address {
            Address::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port))
                    .await
                    .map_err(unreachable)?;
                packet(stream).await.map_err(unreachable)?
            }
            Address::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(unreachable)?;
                packet(stream).await.map_err(unreachable)?
            }
        };
        version_in(&greeting)
    };
    match timeout(budget, work).await {
        Ok(Ok(version)) => Ok(version),
        Ok(Err(cause)) => Err(failed(cause)),
        Err(_) => Err(failed(Cause::TimedOut(budget))),
    }
}

/// Reads one packet: three bytes of length, one of sequence, and the payload.
async fn packet(mut stream: impl AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let mut header = [0_u8; 4];
    stream.read_exact(&mut header).await?;
    let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
    let mut payload = vec![0; length.min(MOST)];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}

fn version_in(payload: &[u8]) -> Result<Version, Cause> {
    match payload {
        // Protocol 10, then the version up to a NUL.
        [10, rest @ ..] => {
            let text = rest.split(|byte| *byte == 0).next().unwrap_or_default();
            Ok(Version::parse(&String::from_utf8_lossy(text), ""))
        }
        // An error: two bytes of number, then words, with or without a SQL state in front.
        [0xff, low, high, words @ ..] => {
            let code = u16::from_le_bytes([*low, *high]);
            let words = String::from_utf8_lossy(words);
            let words = match words.strip_prefix('#') {
                Some(rest) => rest.get(5..).unwrap_or_default(),
                None => &words,
            };
            Err(Cause::LoginRefused(format!("error {code}: {words}")))
        }
        _ => Err(Cause::Unexpected(
            "what answers there is no MySQL or MariaDB server".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::server::Family;

    #[test]
    fn greetings_as_servers_send_them() {
        let version = version_in(b"\x0a5.5.5-10.5.23-MariaDB-log\0\x01\0\0\0").unwrap();
        assert_eq!((version.family, version.number), (Family::MariaDb, (10, 5, 23)));
        let version = version_in(b"\x0a9.7.4\0\x01\0\0\0").unwrap();
        assert_eq!((version.family, version.number), (Family::MySql, (9, 7, 4)));
        let refused = version_in(b"\xff\x6a\x04Host '10.0.0.1' is not allowed").unwrap_err();
        assert_eq!(
            refused,
            Cause::LoginRefused("error 1130: Host '10.0.0.1' is not allowed".to_owned())
        );
        let refused = version_in(b"\xff\x10\x04#08004Too many connections").unwrap_err();
        assert_eq!(
            refused,
            Cause::LoginRefused("error 1040: Too many connections".to_owned())
        );
        assert!(matches!(version_in(b"SSH-2.0"), Err(Cause::Unexpected(_))));
        assert!(matches!(version_in(b""), Err(Cause::Unexpected(_))));
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let budget = Duration::from_millis(50);
        let address = Address::Tcp("127.0.0.1".to_owned(), port);
        let error = read_version(Side::Blue, &address, budget).await.unwrap_err();
        assert_eq!(error.cause, Cause::TimedOut(budget));
    }
}
