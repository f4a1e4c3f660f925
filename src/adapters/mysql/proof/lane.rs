//! A lane of the proof: one session on each side, asked at the same time, one check after the other.
//!
//! What bounds a reading was measured (facts/validation.md 2.1). MySQL: the executed GTID set that is read before is in
//! what the reading sees. MariaDB: that is not so, but a consistent snapshot knows its exact place, on blue in blue's own
//! binlog, on green in the table of what it has applied.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join;

use super::cut::{self, Spread};
use super::defined::{Defined, Definitions};
use super::digest::{self, Digest, Form};
use super::expression::{Class, Expressions};
use super::key::{KeyColumn, KeyValue, Range};
use super::{describe, key_form, settings};
use crate::adapters::mysql::columns::text;
use crate::adapters::mysql::error::{Cause, ServerError};
use crate::adapters::mysql::identity;
use crate::adapters::mysql::position_read::{Role, executed, gtid_list, written_file};
use crate::adapters::mysql::session::{Purpose, Session};
use crate::adapters::mysql::switch::{OwnSessions, Server};
use crate::domain::capabilities::{Capabilities, PositionKind};
use crate::domain::ids::{RunId, Side};
use crate::domain::position::{FilePosition, Position};
use crate::domain::proof::bracket::Reading;
use crate::domain::proof::drill::Rows;
use crate::domain::proof::key::Key;
use crate::domain::proof::ledger::ItemRead;
use crate::domain::proof::ranges::Bounds;
use crate::domain::proof::touches::Item;
use crate::domain::proof::transaction::{Positions, Shown, TableName};
use crate::engine::event::Difference;
use crate::engine::proof::ports::{Asking, BothRead, BothRows, Lane, Trouble, TroubleKind};

/// What a session of the proof is for, as it is shown in the process list.
const ROLE: &str = "prove";

/// What every lane of a proof has in common.
#[derive(Clone)]
pub struct Common {
    /// Blue.
    pub blue: Server,
    /// Green.
    pub green: Server,
    /// The run it belongs to, if there is one.
    pub run: Option<RunId>,
    /// The form of the digests.
    pub form: Form,
    /// What is known of the tables.
    pub definitions: Definitions,
    /// How long one reading may take.
    pub reading: Duration,
    /// How long any other answer may take.
    pub answer: Duration,
    /// Whether values of rows are shown by their digests only.
    pub mask: bool,
    /// Where sessions on blue are written down: a run must not take them for somebody's that writes.
    pub own: OwnSessions,
}

impl Common {
    /// A session of the proof on one side.
    ///
    /// # Errors
    /// It cannot be opened, or does not take the settings of the proof.
    pub async fn session(&self, side: Side) -> Result<Session, ServerError> {
        let server = self.server(side);
        let purpose = Purpose {
            run: self.run.clone(),
            role: ROLE,
        };
        let mut session = Session::open(&server.target, &purpose, self.answer).await?;
        if let Some(label) = &server.label {
            identity::expect(&mut session, server, label, self.answer).await?;
        }
        if side == Side::Blue {
            self.own.add([session.id()]);
        }
        settings::apply(&mut session, &server.caps, self.reading, self.answer).await?;
        Ok(session)
    }

    /// How a table is compared.
    pub(super) fn defined(&self, table: &TableName) -> Result<Arc<Defined>, Trouble> {
        self.definitions
            .get(table)
            .ok_or_else(|| of_table(format!("{table} is not among the tables that can be compared")))
    }

    fn server(&self, side: Side) -> &Server {
        match side {
            Side::Blue => &self.blue,
            Side::Green => &self.green,
        }
    }
}

/// One session on each side.
pub struct PairLane {
    common: Common,
    kind: PositionKind,
    blue: Session,
    green: Session,
    /// The table that was read last, and how far apart its keys were there.
    spread: Option<(TableName, Spread)>,
}

impl PairLane {
    /// Opens both sessions.
    ///
    /// # Errors
    /// A session that cannot be opened.
    pub async fn open(common: &Common) -> Result<Self, ServerError> {
        let (blue, green) = join(common.session(Side::Blue), common.session(Side::Green)).await;
        Ok(Self {
            common: common.clone(),
            kind: Capabilities::pair_position_kind(&common.blue.caps, &common.green.caps),
            blue: blue?,
            green: green?,
            spread: None,
        })
    }

    async fn positions(&mut self) -> Result<Positions, ServerError> {
        let budget = self.common.answer;
        if self.kind == PositionKind::GtidList {
            let (blue, green) = join(
                snapshot_of_blue(&mut self.blue, budget),
                snapshot_of_green(&mut self.green, budget),
            )
            .await;
            return Ok(Positions {
                blue: Shown::Exactly(Position::File(blue?)),
                green: Shown::Exactly(green?),
            });
        }
        let (common, kind) = (&self.common, self.kind);
        let (blue, green) = join(
            executed(&mut self.blue, &common.blue.caps, kind, Role::Writer, budget),
            executed(&mut self.green, &common.green.caps, kind, Role::Replica, budget),
        )
        .await;
        Ok(Positions {
            blue: Shown::AtLeast(blue?),
            green: Shown::AtLeast(green?),
        })
    }

    async fn digests(&mut self, table: &TableName, bounds: &Bounds) -> Result<BothRead, Trouble> {
        let (defined, budget, form) = (self.common.defined(table)?, self.common.reading, self.common.form);
        let of = &defined.expressions;
        let (on_blue, on_green) = on_both(of, |columns| range_of(columns, bounds))?;
        let class = Class::Written;
        let (blue, green) = join(
            timed(digest::range(
                &mut self.blue,
                form,
                &of.blue,
                class,
                &on_blue,
                budget,
            )),
            timed(digest::range(
                &mut self.green,
                form,
                &of.green,
                class,
                &on_green,
                budget,
            )),
        )
        .await;
        let took = blue.1.max(green.1);
        let (blue, green) = (reading(blue.0)?, reading(green.0)?);
        if let Some(spread) = Spread::of(bounds, blue.rows.max(green.rows)) {
            self.spread = Some((table.clone(), spread));
        }
        Ok(BothRead { blue, green, took })
    }

    async fn one_by_one(&mut self, table: &TableName, bounds: &Bounds) -> Result<BothRows, Trouble> {
        let (defined, budget) = (self.common.defined(table)?, self.common.reading);
        let of = &defined.expressions;
        let (on_blue, on_green) = on_both(of, |columns| range_of(columns, bounds))?;
        let class = Class::Written;
        let (blue, green) = join(
            timed(digest::rows_of_range(
                &mut self.blue,
                &of.blue,
                class,
                &on_blue,
                budget,
            )),
            timed(digest::rows_of_range(
                &mut self.green,
                &of.green,
                class,
                &on_green,
                budget,
            )),
        )
        .await;
        let took = blue.1.max(green.1);
        Ok(BothRows {
            blue: rows(&of.blue.key, blue.0)?,
            green: rows(&of.green.key, green.0)?,
            took,
        })
    }

    async fn read_items(&mut self, table: &TableName, items: &[Arc<Item>]) -> Result<Vec<ItemRead>, Trouble> {
        let defined = self.common.defined(table)?;
        let of = &defined.expressions;
        let budget = self.common.reading;
        let keys: Vec<&Key> = items
            .iter()
            .filter_map(|item| match &**item {
                Item::Row(key) => Some(key),
                Item::Where { .. } => None,
            })
            .collect();
        let (on_blue, on_green) = on_both(of, |columns| values_of(columns, keys.iter().copied()))?;
        let class = Class::Written;
        let (blue, green) = join(
            digest::rows_of_keys(&mut self.blue, &of.blue, class, &on_blue, budget),
            digest::rows_of_keys(&mut self.green, &of.green, class, &on_green, budget),
        )
        .await;
        let blue = rows(&of.blue.key, blue)?;
        let green = rows(&of.green.key, green)?;
        let mut read = Vec::with_capacity(items.len());
        for item in items {
            let is_equal = match &**item {
                Item::Row(key) => blue.get(key) == green.get(key),
                Item::Where { columns, values } => self.same_where(&defined, columns, values).await?,
            };
            read.push(ItemRead {
                item: (**item).clone(),
                is_equal,
            });
        }
        Ok(read)
    }

    /// Whether both sides have the same rows with these values in the columns of a foreign key.
    async fn same_where(
        &mut self,
        defined: &Defined,
        columns: &[String],
        values: &[Key],
    ) -> Result<bool, Trouble> {
        let of = &defined.expressions;
        let (on_blue, on_green) = defined.columns_of_foreign_key(columns)?;
        let (blue_values, green_values) = (values_of(&on_blue, values)?, values_of(&on_green, values)?);
        let budget = self.common.reading;
        let (blue, green) = join(
            digest::rows_where(&mut self.blue, &of.blue, &on_blue, &blue_values, budget),
            digest::rows_where(&mut self.green, &of.green, &on_green, &green_values, budget),
        )
        .await;
        let blue = rows(&of.blue.key, blue)?;
        let green = rows(&of.green.key, green)?;
        Ok(blue == green)
    }

    async fn place(&mut self) -> Result<FilePosition, ServerError> {
        let budget = self.common.answer;
        if self.kind == PositionKind::GtidList {
            let doing = "end the snapshot";
            let (blue, green) = join(
                self.blue.run(doing, "COMMIT", budget),
                self.green.run(doing, "COMMIT", budget),
            )
            .await;
            blue.and(green)?;
        }
        written_file(&mut self.blue, &self.common.blue.caps, budget).await
    }

    async fn end_of_range(
        &mut self,
        table: &TableName,
        bounds: &Bounds,
        count: u64,
    ) -> Result<Option<Key>, Trouble> {
        let defined = self.common.defined(table)?;
        // Cutting is only an order that both sides share; a range that is read as a whole needs none.
        if !defined.expressions.sorted_alike {
            return Ok(None);
        }
        // On green, which has less to do.
        let of = &defined.expressions.green;
        if let Some((_, spread)) = self.spread.as_ref().filter(|(of, _)| of == table)
            && let Some(guess) = spread.guess(bounds, count)
        {
            let near = cut::near(&mut self.green, of, bounds, &guess, count, self.common.reading);
            if let Some(near) = near.await? {
                return Ok(near);
            }
        }
        let range = range_of(&of.key, bounds)?;
        let found = digest::end_of_range(&mut self.green, of, &range, count, self.common.reading)
            .await
            .map_err(trouble)?;
        found.map(|value| key_of(&of.key, &value)).transpose()
    }

    async fn reopen(&mut self) -> Result<(), ServerError> {
        for side in [Side::Blue, Side::Green] {
            let old = match side {
                Side::Blue => &mut self.blue,
                Side::Green => &mut self.green,
            };
            if !old.is_spent() {
                // A snapshot that was left open must not stay.
                if old
                    .run("end the snapshot", "ROLLBACK", self.common.answer)
                    .await
                    .is_ok()
                {
                    continue;
                }
            }
            let mut new = self.common.session(side).await?;
            // What it sent may still run, and would read on for nothing. It may be gone by now.
            let kill = format!("KILL {}", old.id());
            if let Err(e) = new
                .run("end a session of the proof", &kill, self.common.answer)
                .await
                && e.code().is_none()
            {
                return Err(e);
            }
            *old = new;
        }
        Ok(())
    }
}

impl Lane for PairLane {
    fn begin(&mut self) -> Asking<'_, Positions> {
        Box::pin(async move { self.positions().await.map_err(trouble) })
    }

    fn range<'a>(&'a mut self, table: &'a TableName, bounds: &'a Bounds) -> Asking<'a, BothRead> {
        Box::pin(self.digests(table, bounds))
    }

    fn rows<'a>(&'a mut self, table: &'a TableName, bounds: &'a Bounds) -> Asking<'a, BothRows> {
        Box::pin(self.one_by_one(table, bounds))
    }

    fn items<'a>(&'a mut self, table: &'a TableName, items: &'a [Arc<Item>]) -> Asking<'a, Vec<ItemRead>> {
        Box::pin(self.read_items(table, items))
    }

    fn after(&mut self) -> Asking<'_, FilePosition> {
        Box::pin(async move { self.place().await.map_err(trouble) })
    }

    fn cut<'a>(&'a mut self, table: &'a TableName, bounds: &'a Bounds, rows: u64) -> Asking<'a, Option<Key>> {
        Box::pin(self.end_of_range(table, bounds, rows))
    }

    fn describe<'a>(
        &'a mut self,
        table: &'a TableName,
        keys: &'a [Key],
    ) -> Asking<'a, Vec<(Key, Difference)>> {
        Box::pin(async move {
            let defined = self.common.defined(table)?;
            let of = &defined.expressions;
            let (on_blue, on_green) = on_both(of, |columns| values_of(columns, keys))?;
            let budget = self.common.reading;
            // Of another definition the statements would show differences that are none.
            let sides = (&mut self.blue, &mut self.green);
            defined.see_unchanged(sides, table, self.common.answer).await?;
            let (blue, green) = join(
                describe::read(
                    &mut self.blue,
                    &of.blue,
                    defined.shown(Side::Blue),
                    &on_blue,
                    budget,
                ),
                describe::read(
                    &mut self.green,
                    &of.green,
                    defined.shown(Side::Green),
                    &on_green,
                    budget,
                ),
            )
            .await;
            let (blue, green) = (blue.map_err(trouble)?, green.map_err(trouble)?);
            let mut found = Vec::new();
            for (key, (on_blue, on_green)) in keys.iter().zip(on_blue.iter().zip(&on_green)) {
                let rows = (blue.get(on_blue), green.get(on_green));
                if let Some(difference) =
                    describe::difference(table, &defined, on_green, rows, self.common.mask)
                {
                    found.push((key.clone(), difference));
                }
            }
            Ok(found)
        })
    }

    fn revive(&mut self) -> Asking<'_, ()> {
        Box::pin(async move { self.reopen().await.map_err(trouble) })
    }
}

/// Begins a snapshot on MariaDB, and returns its place in the server's own binlog.
pub(in crate::adapters::mysql) async fn snapshot_of_blue(
    session: &mut Session,
    budget: Duration,
) -> Result<FilePosition, ServerError> {
    let doing = "begin a consistent snapshot";
    let sql = "START TRANSACTION WITH CONSISTENT SNAPSHOT; SHOW STATUS LIKE 'binlog_snapshot_%'";
    let sets = session.batch(doing, sql, budget).await?;
    let value = |name: &str| {
        sets.first()?
            .iter()
            .find(|row| text(row, "Variable_name").is_some_and(|it| it.eq_ignore_ascii_case(name)))
            .and_then(|row| text(row, "Value"))
    };
    let place = value("Binlog_snapshot_file").zip(value("Binlog_snapshot_position"));
    let place = place.and_then(|(file, offset)| {
        let offset = offset.parse().ok()?;
        (!file.is_empty()).then_some(FilePosition { file, offset })
    });
    place.ok_or_else(|| session.unexpected(doing, "no place in the binlog"))
}

/// Begins a snapshot on a MariaDB replica, and returns what it had applied.
async fn snapshot_of_green(session: &mut Session, budget: Duration) -> Result<Position, ServerError> {
    let doing = "begin a consistent snapshot";
    let sql = "START TRANSACTION WITH CONSISTENT SNAPSHOT; \
               SELECT domain_id AS d, MAX(seq_no) AS n FROM mysql.gtid_slave_pos GROUP BY domain_id";
    let sets = session.batch(doing, sql, budget).await?;
    let rows = sets.first().map_or(&[][..], Vec::as_slice);
    // Which server wrote them does not matter here.
    let list: Vec<String> = rows
        .iter()
        .filter_map(|row| Some(format!("{}-0-{}", text(row, "d")?, text(row, "n")?)))
        .collect();
    gtid_list(session, doing, &list.join(",")).map(Position::GtidList)
}

pub(super) async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let answer = future.await;
    (answer, began.elapsed())
}

fn reading(read: Result<Digest, ServerError>) -> Result<Reading, Trouble> {
    let digest = read.map_err(trouble)?;
    Ok(Reading {
        rows: digest.rows,
        // A row without a digest ends the statement.
        digested: digest.rows,
        digest: digest
            .bytes()
            .ok_or_else(|| of_table(format!("`{}` is no digest", digest.of_rows)))?,
    })
}

pub(super) fn rows(
    columns: &[KeyColumn],
    read: Result<Vec<(KeyValue, digest::RowHash)>, ServerError>,
) -> Result<Rows, Trouble> {
    read.map_err(trouble)?
        .into_iter()
        .map(|(value, hash)| Ok((key_of(columns, &value)?, hash)))
        .collect()
}

pub(super) fn key_of(columns: &[KeyColumn], value: &KeyValue) -> Result<Key, Trouble> {
    key_form::to_ledger(columns, value)
        .ok_or_else(|| of_table("a server answered with a key of another form".to_owned()))
}

fn value_of(columns: &[KeyColumn], key: &Key) -> Result<KeyValue, Trouble> {
    key_form::from_ledger(columns, key)
        .ok_or_else(|| of_table(format!("the key {key} is not of the form that the table has now")))
}

pub(super) fn values_of<'a>(
    columns: &[KeyColumn],
    keys: impl IntoIterator<Item = &'a Key>,
) -> Result<Vec<KeyValue>, Trouble> {
    keys.into_iter().map(|key| value_of(columns, key)).collect()
}

/// The same of the key's columns on blue and on green.
fn on_both<T>(
    of: &Expressions,
    each: impl Fn(&[KeyColumn]) -> Result<T, Trouble>,
) -> Result<(T, T), Trouble> {
    Ok((each(&of.blue.key)?, each(&of.green.key)?))
}

pub(super) fn range_of(columns: &[KeyColumn], bounds: &Bounds) -> Result<Range, Trouble> {
    let bound = |key: &Option<Key>| key.as_ref().map(|key| value_of(columns, key)).transpose();
    Ok(Range {
        after: bound(&bounds.above)?,
        until: bound(&bounds.up_to)?,
    })
}

pub(super) fn of_table(why: String) -> Trouble {
    Trouble {
        kind: TroubleKind::Table,
        why,
    }
}

/// A statement reached the server's own time limit: MySQL, MariaDB.
const OUT_OF_TIME: [u16; 2] = [3024, 1969];

/// The server is shutting down, the session was ended, the statement was interrupted.
const OF_SERVER: [u16; 4] = [1053, 1927, 1317, 3169];

/// What an error of a server means for the proof.
#[must_use]
pub fn trouble(error: ServerError) -> Trouble {
    let kind = match &error.cause {
        Cause::TimedOut(_) => TroubleKind::TooSlow,
        Cause::Refused { code, .. } if OUT_OF_TIME.contains(code) => TroubleKind::TooSlow,
        Cause::Refused { code, .. } if !OF_SERVER.contains(code) => TroubleKind::Table,
        Cause::Unexpected(_) => TroubleKind::Table,
        _ => TroubleKind::Server,
    };
    Trouble {
        kind,
        why: error.to_string(),
    }
}
