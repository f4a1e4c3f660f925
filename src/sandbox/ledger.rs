//! What the writers remember of their writes, what comes out of it, and the check against a server.
//!
//! The check must be able to fail: the ledger table has no unique index on its sequence, so a write that arrived
//! twice is there twice, and a write that was acknowledged and is not there is lost.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use mysql_async::prelude::Queryable;

use crate::adapters::mysql::quote;
use crate::domain::ids::Side;

use super::endpoint::Endpoint;
use super::error::SandboxError;
use super::pair::SCHEMA;
use super::schema::{ACCOUNTS, START_BALANCE};

/// Longest time for reading the ledger back.
const READ_BACK: Duration = Duration::from_secs(120);

/// A write: its writer and its number there. Numbers start at 1 and are used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriteId {
    /// Which writer.
    pub writer: u32,
    /// Its how-manyth write.
    pub seq: u64,
}

/// An acknowledged write. Times count from the start of the load on one monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The write.
    pub write: WriteId,
    /// The server that acknowledged it, or on which it was found.
    pub side: Side,
    /// When its first statement was sent the first time.
    pub sent: Duration,
    /// When the acknowledgement arrived, or it was found.
    pub acked: Duration,
    /// It was in doubt and then found, and not acknowledged by an answer.
    pub found: bool,
}

/// A statement that a server refused because it is read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The write that met it.
    pub write: WriteId,
    /// The refusing side.
    pub side: Side,
    /// The server's id of the connection.
    pub connection: u32,
    /// The server's error number.
    pub code: u16,
    /// When, from the start of the load.
    pub at: Duration,
}

/// What one writer has seen. Merged over all writers in [`LoadReport`].
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// Acknowledged writes, in order.
    pub acks: Vec<Ack>,
    /// Statements refused as read-only.
    pub refusals: Vec<Refusal>,
    /// When a connection was lost with a statement under way, from the start of the load.
    pub lost_connections: Vec<Duration>,
    /// Attempts to connect that failed.
    pub failed_connects: u64,
    /// Writes whose commit was sent and not answered.
    pub in_doubt: Vec<WriteId>,
    /// Writes of these that nobody could say anything about in time. They may be there once, or not.
    pub unresolved: Vec<WriteId>,
    /// Writes given up, certainly not committed, because the load was stopped.
    pub abandoned: u64,
    /// Other errors that servers answered with, by number; the write was tried again. Deadlocks (1213) and lock waits
    /// (1205) are ordinary.
    pub errors: BTreeMap<u16, u64>,
}

impl Log {
    fn merge(&mut self, other: Self) {
        self.acks.extend(other.acks);
        self.refusals.extend(other.refusals);
        self.lost_connections.extend(other.lost_connections);
        self.failed_connects += other.failed_connects;
        self.in_doubt.extend(other.in_doubt);
        self.unresolved.extend(other.unresolved);
        self.abandoned += other.abandoned;
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
    }
}

/// Counts over a span of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Writes acknowledged in it.
    pub acknowledged: u64,
    /// Statements refused in it.
    pub refused: u64,
    /// Connections lost in it.
    pub lost_connections: u64,
    /// Longest time from sending to acknowledgement of a write acknowledged in it.
    pub longest_write: Duration,
    /// Longest time without any acknowledgement, the edges of the span counted.
    pub longest_gap: Duration,
}

/// What a load did, once it has stopped.
#[derive(Debug, Clone)]
pub struct LoadReport {
    /// Marks the load's rows in the ledger.
    pub run: u64,
    /// How long it ran.
    pub lasted: Duration,
    /// Everything the writers saw; acknowledgements in order of arrival.
    pub log: Log,
}

impl LoadReport {
    pub(crate) fn new(run: u64, lasted: Duration, logs: impl IntoIterator<Item = Log>) -> Self {
        let mut log = Log::default();
        for one in logs {
            log.merge(one);
        }
        log.acks.sort_by_key(|a| a.acked);
        log.refusals.sort_by_key(|r| r.at);
        log.lost_connections.sort();
        Self { run, lasted, log }
    }

    /// The most refusals that one connection got.
    pub fn most_refusals_on_a_connection(&self) -> u64 {
        let mut by_connection: HashMap<(Side, u32, u32), u64> = HashMap::new();
        for r in &self.log.refusals {
            *by_connection
                .entry((r.side, r.connection, r.write.writer))
                .or_default() += 1;
        }
        by_connection.into_values().max().unwrap_or(0)
    }

    /// Last acknowledgement by blue, first by green, and the time between them in milliseconds. `None` unless both
    /// acknowledged. Writes that were found later count for neither.
    pub fn writer_gap_ms(&self) -> Option<f64> {
        let answered = || self.log.acks.iter().filter(|a| !a.found);
        let last_blue = answered().rfind(|a| a.side == Side::Blue)?.acked;
        let first_green = answered().find(|a| a.side == Side::Green)?.acked;
        // Below zero only if both acknowledged at once, which is worth seeing.
        Some((first_green.as_secs_f64() - last_blue.as_secs_f64()) * 1e3)
    }

    /// Counts between two times of the load.
    pub fn span(&self, from: Duration, to: Duration) -> Span {
        span(&self.log, from, to)
    }

    /// Counts over the whole load.
    pub fn whole(&self) -> Span {
        self.span(Duration::ZERO, self.lasted)
    }

    /// Reads the ledger from the server that is writable now and compares it with what was acknowledged.
    ///
    /// # Errors
    /// [`SandboxError::Sql`] or [`SandboxError::TooSlow`] when the server cannot be read.
    pub async fn verify(&self, endpoint: &Endpoint) -> Result<LedgerCheck, SandboxError> {
        let mut conn = endpoint.connect(READ_BACK).await?;
        let doing = "reading the ledger of";
        let table = |name: &str| quote::qualified(SCHEMA, name);
        let (ledger, accounts) = (table("ledger"), table("accounts"));
        let begin = [
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        ];
        for statement in begin {
            endpoint
                .bounded(doing, READ_BACK, conn.query_drop(statement))
                .await?;
        }
        let rows = format!(
            "SELECT writer, seq, COUNT(*) FROM {ledger} WHERE run = {} GROUP BY writer, seq",
            self.run
        );
        let rows: Vec<(u32, u64, u64)> = endpoint.bounded(doing, READ_BACK, conn.query(rows)).await?;
        let there: HashMap<WriteId, u64> = rows
            .into_iter()
            .map(|(writer, seq, times)| (WriteId { writer, seq }, times))
            .collect();
        let sum = format!("SELECT CAST(COALESCE(SUM(balance), 0) AS SIGNED), COUNT(*) FROM {accounts}");
        let sum: Option<(i64, u64)> = endpoint.first(&mut conn, &sum, READ_BACK).await?;
        // Every account must hold what the transfers in the ledger leave it: a transfer that was applied twice shows
        // here even if its ledger row did not come twice.
        let wrong = format!(
            "SELECT COUNT(*) FROM {accounts} a
             LEFT JOIN (SELECT from_account AS id, SUM(amount) AS s FROM {ledger} GROUP BY from_account) o ON o.id = a.id
             LEFT JOIN (SELECT to_account AS id, SUM(amount) AS s FROM {ledger} GROUP BY to_account) i ON i.id = a.id
             WHERE a.balance <> {START_BALANCE} - COALESCE(o.s, 0) + COALESCE(i.s, 0)"
        );
        let wrong: Option<u64> = endpoint.first(&mut conn, &wrong, READ_BACK).await?;
        let ticks = format!("SELECT server, COUNT(*) FROM {} GROUP BY server", table("ticks"));
        let ticks: Vec<(u32, u64)> = endpoint.bounded(doing, READ_BACK, conn.query(ticks)).await?;
        drop(conn.disconnect().await);
        Ok(self.compare(&there, sum.unwrap_or_default(), wrong.unwrap_or_default(), ticks))
    }

    fn compare(
        &self,
        there: &HashMap<WriteId, u64>,
        (sum, accounts): (i64, u64),
        wrong_balances: u64,
        ticks: Vec<(u32, u64)>,
    ) -> LedgerCheck {
        let acknowledged: HashSet<WriteId> = self.log.acks.iter().map(|a| a.write).collect();
        let unresolved: HashSet<WriteId> = self.log.unresolved.iter().copied().collect();
        let sorted = |mut v: Vec<WriteId>| {
            v.sort();
            v
        };
        let lost = acknowledged
            .iter()
            .filter(|w| !there.contains_key(w))
            .copied()
            .collect();
        let doubled = there
            .iter()
            .filter(|(_, times)| **times > 1)
            .map(|(w, _)| *w)
            .collect();
        let unclaimed = there
            .keys()
            .filter(|w| !acknowledged.contains(w) && !unresolved.contains(w))
            .copied()
            .collect();
        let expected = START_BALANCE * i64::try_from(ACCOUNTS).unwrap_or(i64::MAX);
        LedgerCheck {
            acknowledged: acknowledged.len() as u64,
            lost: sorted(lost),
            doubled: sorted(doubled),
            unclaimed: sorted(unclaimed),
            sum_ok: sum == expected && accounts == ACCOUNTS,
            sum,
            wrong_balances,
            ticks: ticks.into_iter().collect(),
        }
    }
}

/// What the ledger says against what the writers were told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerCheck {
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Acknowledged and not there.
    pub lost: Vec<WriteId>,
    /// There more than once.
    pub doubled: Vec<WriteId>,
    /// There, and neither acknowledged nor unresolved: committed behind a writer's back.
    pub unclaimed: Vec<WriteId>,
    /// Whether the sum over all accounts is what it was at the start.
    pub sum_ok: bool,
    /// The sum.
    pub sum: i64,
    /// Accounts that do not hold what the transfers in the ledger leave them.
    pub wrong_balances: u64,
    /// Rows that the event inserted, by the `server_id` it ran on.
    pub ticks: BTreeMap<u32, u64>,
}

impl LedgerCheck {
    /// Whether nothing is lost, doubled or unclaimed and the balances are right.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty()
            && self.doubled.is_empty()
            && self.unclaimed.is_empty()
            && self.sum_ok
            && self.wrong_balances == 0
    }
}

/// Counts of a log between two times. `log.acks` need not be sorted.
pub(crate) fn span(log: &Log, from: Duration, to: Duration) -> Span {
    let inside = |at: Duration| at >= from && at <= to;
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let mut acks: Vec<&Ack> = log.acks.iter().filter(|a| inside(a.acked)).collect();
    acks.sort_by_key(|a| a.acked);
    let edges = acks.iter().map(|a| a.acked).chain([to]);
    let (longest_gap, _) = edges.fold((Duration::ZERO, from), |(longest, last), at| {
        (longest.max(at.saturating_sub(last)), at)
    });
    Span {
        acknowledged: count(acks.len()),
        refused: count(log.refusals.iter().filter(|r| inside(r.at)).count()),
        lost_connections: count(log.lost_connections.iter().filter(|at| inside(**at)).count()),
        longest_write: acks
            .iter()
            .map(|a| a.acked.saturating_sub(a.sent))
            .max()
            .unwrap_or_default(),
        longest_gap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(writer: u32, seq: u64) -> WriteId {
        WriteId { writer, seq }
    }

    fn ack(seq: u64, side: Side, sent: u64, acked: u64) -> Ack {
        let ms = Duration::from_millis;
        Ack {
            write: write(1, seq),
            side,
            sent: ms(sent),
            acked: ms(acked),
            found: false,
        }
    }

    fn report(acks: Vec<Ack>, unresolved: Vec<WriteId>) -> LoadReport {
        LoadReport::new(
            7,
            Duration::from_millis(100),
            [Log {
                acks,
                unresolved,
                ..Log::default()
            }],
        )
    }

    const RIGHT: (i64, u64) = (START_BALANCE * 1_000, ACCOUNTS);

    #[test]
    fn each_kind_of_difference_has_its_name() {
        let acks = (1..=4).map(|n| ack(n, Side::Blue, n, n)).collect();
        let report = report(acks, vec![write(1, 5), write(1, 6)]);
        // 1 and 3 as they should be; 2 twice; 4 missing; 5 in doubt and there; 6 in doubt and not; 9 nobody's.
        let there = [(1, 1), (2, 2), (3, 1), (5, 1), (9, 1)].map(|(seq, times)| (write(1, seq), times));
        let check = report.compare(&there.into_iter().collect(), RIGHT, 0, Vec::new());
        assert_eq!(check.lost, [write(1, 4)]);
        assert_eq!(check.doubled, [write(1, 2)]);
        assert_eq!(check.unclaimed, [write(1, 9)]);
        assert!(check.sum_ok && !check.is_clean());
        let clean = |sum, wrong| {
            let there = (1..=4).map(|n| (write(1, n), 1)).collect();
            report.compare(&there, sum, wrong, Vec::new()).is_clean()
        };
        assert!(clean(RIGHT, 0));
        assert!(!clean((RIGHT.0 - 1, ACCOUNTS), 0), "the sum counts");
        assert!(!clean((RIGHT.0, ACCOUNTS - 1), 0), "a missing account counts");
        assert!(!clean(RIGHT, 1), "a wrong balance counts");
    }

    #[test]
    fn pauses_and_gaps_are_measured_between_answers() {
        let acks = vec![
            ack(1, Side::Blue, 5, 10),
            ack(2, Side::Blue, 11, 20),
            ack(3, Side::Green, 21, 65),
        ];
        let report = report(acks, Vec::new());
        assert_eq!(report.writer_gap_ms(), Some(45.0));
        let ms = Duration::from_millis;
        let whole = report.whole();
        assert_eq!(
            (whole.acknowledged, whole.longest_write, whole.longest_gap),
            (3, ms(44), ms(45))
        );
        // Nothing acknowledged at the end of a span is a gap too.
        assert_eq!(report.span(ms(15), ms(60)).longest_gap, ms(40));
        assert_eq!(
            report.span(ms(30), ms(60)),
            Span {
                longest_gap: ms(30),
                ..Span::default()
            }
        );
    }

    #[test]
    fn refusals_are_counted_by_connection() {
        let refusal = |connection, side| Refusal {
            write: write(1, 1),
            side,
            connection,
            code: 1290,
            at: Duration::ZERO,
        };
        let refusals = vec![
            refusal(4, Side::Blue),
            refusal(4, Side::Green),
            refusal(5, Side::Blue),
            refusal(5, Side::Blue),
        ];
        let report = LoadReport::new(
            1,
            Duration::ZERO,
            [Log {
                refusals,
                ..Log::default()
            }],
        );
        assert_eq!(report.most_refusals_on_a_connection(), 2);
    }
}
