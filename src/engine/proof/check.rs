//! One check on one lane: positions before, both readings, position after, the stream past it, the verdict.

use std::time::Duration;

use super::ports::{Lane, Trouble, TroubleKind};
use super::prover::{Prover, State};
use crate::domain::ids::Side;
use crate::domain::proof::bracket::{Check, Doubt, OutOfTurn, Reading, Verdict, Void};
use crate::domain::proof::drill::{Drilled, Rows};
use crate::domain::proof::key::Key;
use crate::domain::proof::ledger::CheckId;
use crate::domain::proof::ranges::{Bounds, RangeId};
use crate::domain::proof::touches::Item;
use crate::domain::proof::transaction::TableName;
use crate::domain::proof::work::{How, Work};

/// How long the stream may take to pass the place after the readings.
pub(super) const STREAM_WAIT: Duration = Duration::from_secs(30);

/// What came of a piece of work.
pub(super) struct Found {
    pub verdict: Option<Verdict>,
    /// Keys of rows that differ, and no lag explains it.
    pub differ: Vec<Key>,
    /// Rows that were read on the side that has more.
    pub rows: u64,
    /// Of single items: how many were proved, and how many are in doubt.
    pub items: Option<(usize, usize)>,
}

impl Found {
    /// For the log.
    pub fn in_words(&self) -> String {
        match (&self.verdict, self.items) {
            (Some(Verdict::Proved { .. }), _) => "proved".to_owned(),
            (Some(Verdict::Diverged { .. }), _) => "differs".to_owned(),
            (Some(Verdict::Inconclusive(Doubt::Touched { .. })), _) => "touched meanwhile".to_owned(),
            (Some(Verdict::Inconclusive(Doubt::Void(why))), _) => format!("void: {why:?}"),
            (None, Some((proved, doubt))) => format!("{proved} rows proved, {doubt} touched meanwhile"),
            (None, None) => "the stream did not come".to_owned(),
        }
    }
}

impl Prover {
    /// Carries out a piece of work.
    pub(super) async fn carry_out(&self, lane: &mut dyn Lane, work: &Work) -> Result<Found, Trouble> {
        match work {
            Work::Range {
                table,
                range,
                bounds,
                rows,
                how,
            } => {
                let bounds = self.cut(lane, table, *range, bounds.clone(), *rows).await?;
                self.check_range(lane, table, *range, &bounds, *how).await
            }
            Work::Items { table, items } => {
                let (id, mut check) = self.begin(lane, table, None).await?;
                let under_way = UnderWay(self, id);
                let read = lane.items(table, items).await?;
                let counted = Reading {
                    rows: read.len() as u64,
                    digested: read.len() as u64,
                    digest: [0; 32],
                };
                self.both(lane, &mut check, (counted.clone(), counted)).await?;
                let found = self
                    .when_passed(&check, |state| state.ledger.finish_items(id, &check, &read))
                    .await;
                drop(under_way);
                let counts = found.as_ref().map(|found| (found.proved, found.in_doubt));
                let found = found.unwrap_or_default();
                let keys = found.diverged.into_iter().filter_map(|item| match item {
                    Item::Row(key) => Some(key),
                    Item::Where { .. } => None,
                });
                Ok(Found {
                    verdict: None,
                    differ: keys.collect(),
                    rows: read.len() as u64,
                    items: counts,
                })
            }
        }
    }

    /// Cuts a range that is too large, and returns the bounds of its lower part.
    async fn cut(
        &self,
        lane: &mut dyn Lane,
        table: &TableName,
        range: RangeId,
        bounds: Bounds,
        rows: Option<u64>,
    ) -> Result<Bounds, Trouble> {
        let Some(rows) = rows else { return Ok(bounds) };
        let Some(key) = lane.cut(table, &bounds, rows).await? else {
            return Ok(bounds);
        };
        let mut state = self.state();
        match state.ledger.split(table, range, key.clone()) {
            Ok(upper) => {
                state.plan.cut(table, range, upper, rows);
                Ok(Bounds {
                    above: bounds.above,
                    up_to: Some(key),
                })
            }
            // The key is the range's own end, or the table has changed meanwhile: it is read as it is.
            Err(_) => Ok(bounds),
        }
    }

    async fn check_range(
        &self,
        lane: &mut dyn Lane,
        table: &TableName,
        range: RangeId,
        bounds: &Bounds,
        how: How,
    ) -> Result<Found, Trouble> {
        let (id, mut check) = self.begin(lane, table, Some((range, bounds))).await?;
        let under_way = UnderWay(self, id);
        let mut rows: Option<(Rows, Rows)> = None;
        let (readings, took) = if how == How::RowByRow {
            let read = lane.rows(table, bounds).await?;
            let readings = (Reading::of(&read.blue), Reading::of(&read.green));
            rows = Some((read.blue, read.green));
            (readings, read.took)
        } else {
            let read = lane.range(table, bounds).await?;
            ((read.blue, read.green), read.took)
        };
        let count = readings.0.rows.max(readings.1.rows);
        self.both(lane, &mut check, readings).await?;
        let found = self
            .when_passed(&check, |state| match &rows {
                None => {
                    let verdict = state.ledger.finish(id, &check)?;
                    Some((verdict, Drilled::default()))
                }
                Some((blue, green)) => state.ledger.finish_rows(id, &check, blue, green),
            })
            .await;
        drop(under_way);
        self.state().plan.read(table, range, count, took);
        let (verdict, drilled) = match found {
            Some((verdict, drilled)) => (Some(verdict), drilled),
            None => (None, Drilled::default()),
        };
        Ok(Found {
            verdict,
            differ: drilled.real.into_keys().collect(),
            rows: count,
            items: None,
        })
    }

    /// Reads the positions and begins a check with them, before anybody else reads positions: a check that began with
    /// older ones than another would be void.
    async fn begin(
        &self,
        lane: &mut dyn Lane,
        table: &TableName,
        range: Option<(RangeId, &Bounds)>,
    ) -> Result<(CheckId, Check), Trouble> {
        let one_at_a_time = self.beginning.lock().await;
        let positions = lane.begin().await?;
        let refused = |kind, why: String| Trouble { kind, why };
        let mut check =
            Check::begin(positions).map_err(|why| refused(TroubleKind::Server, why.to_string()))?;
        let began = self.now();
        let id = {
            let mut state = self.state();
            // The table may have begun anew since the work was chosen: a range of the same number is another one.
            let is_there =
                |(id, bounds): (RangeId, &Bounds)| state.ledger.bounds(table, id).as_ref() == Some(bounds);
            if !range.is_none_or(is_there) {
                return Err(refused(TroubleKind::NotYet, format!("{table} began anew")));
            }
            let range = range.map(|(id, _)| id);
            state
                .ledger
                .begin(table, range, &mut check, began)
                .map_err(|why| refused(TroubleKind::NotYet, why.to_string()))?
        };
        drop(one_at_a_time);
        let why = match check.void() {
            None => {
                let mut state = self.state();
                state.waits = None;
                state.newest_positions = Some(check.before().clone());
                return Ok((id, check));
            }
            Some(Void::StreamBeganTooLate) => {
                "green has not executed yet what was in blue's binlog when the reading of it began"
            }
            Some(Void::PositionsTooOld) => "a server's position went back",
            Some(_) => "blue's binlog is not being read",
        };
        let mut state = self.state();
        state.ledger.give_up(id);
        state.waits = Some(why.to_owned());
        Err(refused(TroubleKind::NotYet, why.to_owned()))
    }

    async fn both(
        &self,
        lane: &mut dyn Lane,
        check: &mut Check,
        (blue, green): (Reading, Reading),
    ) -> Result<(), Trouble> {
        let bug = |out: OutOfTurn| Trouble {
            kind: TroubleKind::Server,
            why: out.to_string(),
        };
        check.read(Side::Blue, blue).map_err(bug)?;
        check.read(Side::Green, green).map_err(bug)?;
        let after = lane.after().await?;
        check.after(after).map_err(bug)
    }

    /// Asks for the answer again and again as the stream goes on, until there is one. `None` when the stream does not
    /// come.
    async fn when_passed<T>(&self, check: &Check, answer: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let came = self.as_it_passes(STREAM_WAIT, answer).await;
        if came.is_none() {
            tracing::warn!(place = ?check.place_after(), "blue's binlog was not read that far in time");
        }
        came
    }
}

/// A check that is under way. It must not stay so when it is given up: what it found on both sides could never be
/// forgotten.
struct UnderWay<'a>(&'a Prover, CheckId);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.state().ledger.give_up(self.1);
    }
}
