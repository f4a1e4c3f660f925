//! One writer: a client as an application should have it.
//!
//! It writes to one server until that one refuses (1290 and its kin) or is gone, then changes over to the other and
//! tries the same write again. A write whose commit was sent and not answered is in doubt: it is looked up before
//! anything is tried again (`in_doubt.rs`). Half of the writes are transfers inside a transaction, half single
//! inserts that commit by themselves, because a hold meets the two at different places.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use tokio::time::MissedTickBehavior;

use crate::domain::ids::Side;

use super::in_doubt::{self, Found, Sender};
use super::ledger::{Ack, Refusal, WriteId};
use super::schema::ACCOUNTS;
use super::writers::Shared;

/// The account that every eighth transfer touches: a row to lock when a drain must not finish.
pub const HOT_ACCOUNT: u64 = 1;
/// First and longest pause between attempts after both sides have turned a write away.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Why an attempt did not end in an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Refused as read-only: certainly not committed, go to the other side.
    Refused(u16),
    /// Another error of the server: certainly not committed, same side again.
    Again(u16),
    /// The connection is gone before the commit was sent: certainly not committed, go to the other side.
    Lost,
    /// The commit was sent and its fate is not known.
    InDoubt,
}

/// Whether the server has been told to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Before,
    Committing,
}

/// Writes until the load is stopped.
pub(crate) async fn write_on(shared: Arc<Shared>, writer: u32) {
    let period = Duration::from_secs(1) / shared.options.rate.max(1);
    // Spread over the period, so that the writers do not move as one.
    let offset = period * writer / shared.options.writers.max(1);
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + offset, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut client = Client {
        shared: Arc::clone(&shared),
        writer,
        side: Side::Blue,
        open: None,
        turned_away: 0,
    };
    if writer == 0 {
        tokio::spawn(make_known(Arc::clone(&shared)));
    }
    for seq in 1u64.. {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        if !client.write(WriteId { writer, seq }).await {
            break;
        }
    }
    if let Some(open) = client.open.take() {
        drop(tokio::time::timeout(shared.options.connect, open.conn.disconnect()).await);
    }
}

/// Logs in on green once. An account's first login under `caching_sha2_password` without TLS costs a key exchange,
/// which applications with a history on both servers have behind them; without this the first change-over would
/// measure it.
async fn make_known(shared: Arc<Shared>) {
    let green = shared.endpoint(Side::Green);
    let login = async { Conn::new(green.opts(false)).await?.disconnect().await };
    // A green that is not up yet only makes the first login slower.
    drop(tokio::time::timeout(shared.options.connect, login).await);
}

struct Open {
    conn: Conn,
    sender: Sender,
}

struct Client {
    shared: Arc<Shared>,
    writer: u32,
    side: Side,
    open: Option<Open>,
    /// Attempts in a row that a side turned away.
    turned_away: u32,
}

impl Client {
    /// Makes one write and records it. `false` when the load was stopped before it was committed.
    async fn write(&mut self, write: WriteId) -> bool {
        let sent = self.shared.now();
        self.record(|slot| slot.pending_since = Some(sent));
        let goes_on = loop {
            if self.shared.stop.is_cancelled() {
                self.record(|slot| slot.log.abandoned += 1);
                break false;
            }
            if self.open.is_none() && !self.connect().await {
                self.change_over().await;
                continue;
            }
            let Some(open) = self.open.as_mut() else { continue };
            match attempt(&self.shared, &mut open.conn, write).await {
                Ok(()) => {
                    self.acknowledge(write, self.side, sent, false);
                    break true;
                }
                Err(Trouble::Refused(code)) => {
                    let (side, connection, at) = (self.side, open.conn.id(), self.shared.now());
                    self.record(|slot| {
                        slot.log.refusals.push(Refusal {
                            write,
                            side,
                            connection,
                            code,
                            at,
                        })
                    });
                    self.change_over().await;
                }
                Err(Trouble::Again(code)) => {
                    self.record(|slot| *slot.log.errors.entry(code).or_default() += 1);
                    // What the transaction still holds goes with its connection.
                    self.open = None;
                    self.pause().await;
                }
                Err(Trouble::Lost) => {
                    let at = self.shared.now();
                    self.record(|slot| slot.log.lost_connections.push(at));
                    self.change_over().await;
                }
                Err(Trouble::InDoubt) => {
                    let (at, sender) = (self.shared.now(), open.sender);
                    self.record(|slot| {
                        slot.log.lost_connections.push(at);
                        slot.log.in_doubt.push(write);
                    });
                    // Closed before it is looked for, or it would find itself.
                    self.open = None;
                    match in_doubt::resolve(&self.shared, write, sender).await {
                        Found::On(side) => {
                            self.acknowledge(write, side, sent, true);
                            break true;
                        }
                        Found::Nowhere => self.change_over().await,
                        Found::Unknown => {
                            self.record(|slot| slot.log.unresolved.push(write));
                            break true;
                        }
                    }
                }
            }
        };
        self.record(|slot| slot.pending_since = None);
        goes_on
    }

    fn acknowledge(&mut self, write: WriteId, side: Side, sent: Duration, found: bool) {
        self.turned_away = 0;
        let acked = self.shared.now();
        self.record(|slot| {
            slot.log.acks.push(Ack {
                write,
                side,
                sent,
                acked,
                found,
            })
        });
    }

    fn record(&self, change: impl FnOnce(&mut super::writers::Slot)) {
        self.shared.slot(self.writer, change);
    }

    async fn connect(&mut self) -> bool {
        match self
            .shared
            .endpoint(self.side)
            .connect(self.shared.options.connect)
            .await
        {
            Ok(conn) => {
                let sender = Sender {
                    side: self.side,
                    connection: conn.id(),
                    opened: Instant::now(),
                };
                self.open = Some(Open { conn, sender });
                true
            }
            Err(_) => {
                self.record(|slot| slot.log.failed_connects += 1);
                false
            }
        }
    }

    /// Gives the connection up and turns to the other side: at once the first time, then slower and slower.
    async fn change_over(&mut self) {
        self.open = None;
        self.side = self.side.other();
        if self.turned_away > 0 {
            self.pause().await;
        }
        self.turned_away = self.turned_away.saturating_add(1);
    }

    async fn pause(&self) {
        let (first, longest) = PAUSE;
        let pause = longest.min(first * (1 << self.turned_away.min(6)));
        tokio::select! {
            () = self.shared.stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Tries a write once, each answer waited for as long as the load's patience lasts.
async fn attempt(shared: &Shared, conn: &mut Conn, write: WriteId) -> Result<(), Trouble> {
    for (stage, statement) in statements(shared.run, write) {
        match tokio::time::timeout(shared.options.patience, conn.query_drop(statement)).await {
            Ok(Ok(())) => {}
            Ok(Err(Error::Server(e))) => return Err(answered(stage, e.code)),
            Ok(Err(_)) | Err(_) if stage == Stage::Committing => return Err(Trouble::InDoubt),
            Ok(Err(_)) | Err(_) => return Err(Trouble::Lost),
        }
    }
    Ok(())
}

/// What an error that the server answered with means.
fn answered(stage: Stage, code: u16) -> Trouble {
    match code {
        // --read-only, read-only mode, read-only transaction.
        1290 | 1836 | 1792 => Trouble::Refused(code),
        // Shutdown, connection killed, query interrupted, session killed: an answer to a commit that is none.
        1053 | 1927 | 1317 | 3169 if stage == Stage::Committing => Trouble::InDoubt,
        1053 | 1927 | 3169 => Trouble::Lost,
        _ => Trouble::Again(code),
    }
}

/// The statements of a write. Even ones are transfers in a transaction, odd ones single inserts.
fn statements(run: u64, write: WriteId) -> Vec<(Stage, String)> {
    let WriteId { writer, seq } = write;
    let ledger = |from: u64, to: u64, amount: u64| {
        format!(
            "INSERT INTO ledger (run, writer, seq, from_account, to_account, amount) \
             VALUES ({run}, {writer}, {seq}, {from}, {to}, {amount})"
        )
    };
    let dice = mix(u64::from(writer) << 40 | seq);
    let mut from = 1 + dice % ACCOUNTS;
    let to = 1 + (dice >> 20) % ACCOUNTS;
    if seq % 2 == 1 {
        return vec![(Stage::Committing, ledger(from, to, 0))];
    }
    if seq % 16 == 0 {
        from = HOT_ACCOUNT;
    }
    let amount = 1 + (dice >> 40) % 100;
    let update = |id: u64, sign: char| {
        (
            Stage::Before,
            format!("UPDATE accounts SET balance = balance {sign} {amount} WHERE id = {id}"),
        )
    };
    let mut both = [update(from, '-'), update(to, '+')];
    // Always the lower account first, so that transfers do not deadlock.
    if to < from {
        both.reverse();
    }
    let [first, second] = both;
    vec![
        (Stage::Before, "START TRANSACTION".to_owned()),
        first,
        second,
        (Stage::Before, ledger(from, to, amount)),
        (Stage::Committing, "COMMIT".to_owned()),
    ]
}

/// Spreads a number over 64 bits (the finaliser of SplitMix64).
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sent_commit_can_be_in_doubt() {
        for code in [1053, 1927, 3169] {
            assert_eq!(answered(Stage::Before, code), Trouble::Lost);
            assert_eq!(answered(Stage::Committing, code), Trouble::InDoubt);
        }
        for stage in [Stage::Before, Stage::Committing] {
            assert_eq!(answered(stage, 1290), Trouble::Refused(1290));
            assert_eq!(answered(stage, 1213), Trouble::Again(1213));
        }
    }

    #[test]
    fn transfers_keep_the_sum_order_and_touch_the_hot_account() {
        let mut hot = 0;
        for seq in 1..=320 {
            let all = statements(9, WriteId { writer: 3, seq });
            assert_eq!(all.last().unwrap().0, Stage::Committing);
            assert!(
                all[..all.len() - 1]
                    .iter()
                    .all(|(stage, _)| *stage == Stage::Before)
            );
            assert_eq!(all.len(), if seq % 2 == 1 { 1 } else { 5 });
            if seq % 2 == 0 {
                let id = |s: &str| s.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
                let (first, second) = (id(&all[1].1), id(&all[2].1));
                assert!(first <= second && (1..=ACCOUNTS).contains(&first) && second <= ACCOUNTS);
                hot += u64::from(first == HOT_ACCOUNT);
                let signs: Vec<bool> = all[1..3].iter().map(|(_, s)| s.contains("balance + ")).collect();
                assert_ne!(signs[0], signs[1], "one gives, one takes");
            }
        }
        assert!(hot >= 20, "{hot}");
    }
}
