//! Finds out what became of a write whose commit was sent and not answered.
//!
//! The statement may still run, waiting at a hold for instance. So first its session is ended and seen gone, and only
//! then both servers are asked; an answer before that proves nothing. Everything inside one time limit, after which
//! the write counts as unresolved.

use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::domain::ids::Side;

use super::endpoint::Endpoint;
use super::error::SandboxError;
use super::ledger::WriteId;
use super::writers::Shared;

/// Between two rounds of asking.
const ROUND: Duration = Duration::from_millis(50);

/// Who sent the write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    /// To which side.
    pub side: Side,
    /// On which connection, by the server's number.
    pub connection: u32,
    /// When that connection was opened.
    pub opened: Instant,
}

/// Where a write in doubt was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Committed, seen on this side.
    On(Side),
    /// Certainly nowhere: it may be tried again.
    Nowhere,
    /// Nobody could say in time.
    Unknown,
}

/// What one side says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    There,
    NotThere {
        writable: bool,
    },
    /// No answer, or the session that sent the write may still be at it.
    Nothing,
}

/// Asks until one side has the write, or it is certain that none will.
pub(crate) async fn resolve(shared: &Shared, write: WriteId, sender: Sender) -> Found {
    let limit = tokio::time::Instant::now() + shared.options.in_doubt;
    let one_read = shared.options.connect;
    while tokio::time::Instant::now() < limit {
        let origin = shared.endpoint(sender.side);
        let at_origin = ask_origin(origin, shared.run, write, sender, one_read).await;
        let other = shared.endpoint(sender.side.other());
        let at_other = ask(other, shared.run, write, one_read)
            .await
            .unwrap_or(Said::Nothing);
        match (at_origin, at_other) {
            (Said::There, _) => return Found::On(sender.side),
            (_, Said::There) => return Found::On(sender.side.other()),
            // Its session is gone and its server does not have it: it will never come.
            (Said::NotThere { .. }, _) => return Found::Nowhere,
            // Its server cannot be asked, but the other was opened, which is done only when it has everything.
            (Said::Nothing, Said::NotThere { writable: true }) => return Found::Nowhere,
            (Said::Nothing, _) => tokio::time::sleep(ROUND).await,
        }
    }
    Found::Unknown
}

/// Asks the side that the write was sent to, once the session that sent it is gone.
async fn ask_origin(endpoint: &Endpoint, run: u64, write: WriteId, sender: Sender, limit: Duration) -> Said {
    let work = async {
        let mut conn = endpoint.connect(limit).await?;
        if !end_session(endpoint, &mut conn, sender, limit).await? {
            return Ok(Said::Nothing);
        }
        look_up(endpoint, &mut conn, run, write, limit).await
    };
    work.await.unwrap_or(Said::Nothing)
}

async fn ask(endpoint: &Endpoint, run: u64, write: WriteId, limit: Duration) -> Result<Said, SandboxError> {
    let mut conn = endpoint.connect(limit).await?;
    look_up(endpoint, &mut conn, run, write, limit).await
}

async fn look_up(
    endpoint: &Endpoint,
    conn: &mut Conn,
    run: u64,
    WriteId { writer, seq }: WriteId,
    limit: Duration,
) -> Result<Said, SandboxError> {
    // In this order: a side that is opened after the first read has the write by the second.
    let writable = "SELECT @@GLOBAL.read_only";
    let writable = endpoint.first::<u8>(conn, writable, limit).await? == Some(0);
    let count =
        format!("SELECT COUNT(*) FROM ledger WHERE run = {run} AND writer = {writer} AND seq = {seq}");
    let count: Option<u64> = endpoint.first(conn, &count, limit).await?;
    Ok(if count.unwrap_or(0) > 0 {
        Said::There
    } else {
        Said::NotThere { writable }
    })
}

/// Ends the session that sent the write, as its own user may. Answers whether it is gone.
async fn end_session(
    endpoint: &Endpoint,
    conn: &mut Conn,
    sender: Sender,
    limit: Duration,
) -> Result<bool, SandboxError> {
    let uptime = "SHOW GLOBAL STATUS LIKE 'Uptime'";
    let uptime: Option<(String, u64)> = endpoint.first(conn, uptime, limit).await?;
    // A server that has been up for less time than the connection was open is another life of it: the session died
    // with the old one, and its number may now be somebody else's. Whole seconds, so one is left for rounding.
    let open_for = sender.opened.elapsed().as_secs();
    if uptime.is_some_and(|(_, up)| up + 1 < open_for) {
        return Ok(true);
    }
    let id = sender.connection;
    let there = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {id}");
    let started = Instant::now();
    let mut killed = false;
    loop {
        let count: Option<u64> = endpoint.first(conn, &there, limit).await?;
        if count == Some(0) {
            return Ok(true);
        }
        if started.elapsed() > limit {
            return Ok(false);
        }
        if !killed {
            // 1094, no such thread, is the wish fulfilled; the next look says so.
            drop(
                endpoint
                    .bounded(
                        "ending a session on",
                        limit,
                        conn.query_drop(format!("KILL CONNECTION {id}")),
                    )
                    .await,
            );
            killed = true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
