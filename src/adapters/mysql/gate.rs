//! Runs gate queries on both sides and compares the answers.
//!
//! The sessions are opened and the queries prepared beforehand, so that under the hold only an EXECUTE is sent. What
//! keeps a query from writing is the server: every transaction of these sessions is read-only (1792 for a write, also
//! from a stored function), and PREPARE takes one statement only. Answers are compared as the bytes of the text
//! protocol, but for floating-point columns, whose spelling differs between servers.

use std::time::{Duration, Instant};

use mysql_async::consts::ColumnType;
use mysql_async::{Row, Value};

use super::error::{Cause, ServerError};
use super::position_read::{Role, executed, wait_applied};
use super::session::{Purpose, Session, Target};
use super::{quote, sql};
use crate::domain::capabilities::{Capabilities, StatementLimit};
use crate::domain::gate::{Answer, Cell, Comparison, compare, one_spelling};
use crate::domain::ids::{RunId, Side};
use crate::playbook::model;

/// The most rows that are compared.
pub const MOST_ROWS: usize = 10_000;

/// What is added to a query's own time limit before its session is given up.
const ANSWER_MARGIN: Duration = Duration::from_millis(500);

/// How long opening, preparing and reading a position may take.
const READ: Duration = Duration::from_secs(5);

/// How often a query is tried while blue is being written to.
const TRIES: u32 = 5;

/// One query.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Its name in every output.
    pub name: String,
    /// One reading statement.
    pub sql: String,
    /// What agreeing means.
    pub comparison: Comparison,
    /// Longest time on each side.
    pub limit: Duration,
}

impl From<&model::GateQuery> for Query {
    fn from(query: &model::GateQuery) -> Self {
        Self {
            name: query.name.clone(),
            sql: query.sql.clone(),
            comparison: match query.compare {
                model::Compare::Set => Comparison::Set,
                model::Compare::Ordered => Comparison::Ordered,
                model::Compare::Scalar { tolerance } => Comparison::Scalar { tolerance },
                model::Compare::NoRows => Comparison::NoRows,
            },
            limit: query.time_limit,
        }
    }
}

/// How a query came out.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Both sides agree.
    Agree {
        /// How long blue took.
        blue: Duration,
        /// How long green took.
        green: Duration,
    },
    /// They do not; the first difference in words.
    Differ(String),
    /// A side gave no answer: an error, or too slow.
    Failed(Side, String),
}

/// Two sessions with every query prepared. Neither is reopened: whoever asks before a hold opens another gate.
pub struct Gate {
    blue: (Session, Capabilities),
    green: (Session, Capabilities),
    queries: Vec<Query>,
}

/// Opens both sessions and prepares the queries on both.
///
/// # Errors
/// Any [`Cause`]; a query that a side cannot prepare is told with its name.
pub async fn open(
    blue: (&Target, &Capabilities),
    green: (&Target, &Capabilities),
    run: Option<&RunId>,
    queries: Vec<Query>,
) -> Result<Gate, ServerError> {
    let (on_blue, on_green) = tokio::join!(prepared(blue, run, &queries), prepared(green, run, &queries));
    Ok(Gate {
        blue: (on_blue?, blue.1.clone()),
        green: (on_green?, green.1.clone()),
        queries,
    })
}

async fn prepared(
    (target, _): (&Target, &Capabilities),
    run: Option<&RunId>,
    queries: &[Query],
) -> Result<Session, ServerError> {
    let purpose = Purpose {
        run: run.cloned(),
        role: "gate",
    };
    let mut session = Session::open(target, &purpose, READ).await?;
    let read_only = format!(
        "SET SESSION TRANSACTION READ ONLY; SET SESSION sql_select_limit = {}",
        MOST_ROWS + 1
    );
    session
        .run("make the gate session read-only", &read_only, READ)
        .await?;
    for (at, query) in queries.iter().enumerate() {
        let doing = format!("prepare the gate query `{}`", query.name);
        let prepare = format!("PREPARE gate_{at} FROM {}", quote::text(&query.sql));
        session.run(&doing, &prepare, READ).await?;
    }
    Ok(session)
}

impl Gate {
    /// The queries, in order.
    #[must_use]
    pub fn queries(&self) -> &[Query] {
        &self.queries
    }

    /// The numbers of both sessions, so that no guardrail is about them.
    #[must_use]
    pub fn sessions(&self) -> [(Side, u64); 2] {
        [(Side::Blue, self.blue.0.id()), (Side::Green, self.green.0.id())]
    }

    /// The sessions that got no answer in time, with their numbers: what they sent may still run. End them before the
    /// hold is tried again, because a running SELECT makes it wait.
    #[must_use]
    pub fn unanswered(&self) -> Vec<(Side, u64)> {
        let spent = |side, session: &Session| session.is_spent().then(|| (side, session.id()));
        [spent(Side::Blue, &self.blue.0), spent(Side::Green, &self.green.0)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Whether both sessions answer: they are ended by the server when they idle for too long.
    pub async fn answers(&mut self) -> bool {
        let doing = "see that the gate session answers";
        let (blue, green) = tokio::join!(
            self.blue.0.run(doing, "DO 0", READ),
            self.green.0.run(doing, "DO 0", READ)
        );
        blue.is_ok() && green.is_ok()
    }

    /// Runs a query on both sides at once and compares. For standstill: at the fence. `at` is the query's place in
    /// [`Gate::queries`]; `within` shortens its time limit to what is left.
    pub async fn run(&mut self, at: usize, within: Duration) -> Verdict {
        let Some(query) = self.queries.get(at) else {
            return Verdict::Failed(Side::Blue, format!("there is no query number {at}"));
        };
        let limit = query.limit.min(within);
        let (blue, green) = tokio::join!(
            answer(&mut self.blue, at, limit),
            answer(&mut self.green, at, limit)
        );
        judge(query.comparison, blue, green)
    }

    /// Runs a query on blue, waits until green has executed what blue had then, runs it on green, and compares; tries
    /// again while blue is being written to, because then a difference may be nothing but a change in between.
    ///
    /// Bounded by five tries of three times the query's limit each.
    ///
    /// # Errors
    /// Any [`Cause`] of reading a position or waiting for it.
    pub async fn run_under_load(&mut self, at: usize) -> Result<Verdict, ServerError> {
        let Some(query) = self.queries.get(at).cloned() else {
            let what = format!("there is no query number {at}");
            return Ok(Verdict::Failed(Side::Blue, what));
        };
        let kind = Capabilities::pair_position_kind(&self.blue.1, &self.green.1);
        let mut last = Verdict::Differ("never run".to_owned());
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(50) * attempt).await;
            }
            let (session, caps) = &mut self.blue;
            let before = executed(session, caps, kind, Role::Writer, READ).await?;
            let blue = answer(&mut self.blue, at, query.limit).await;
            if blue.is_err() {
                return Ok(judge(
                    query.comparison,
                    blue,
                    Ok((Answer::default(), Duration::ZERO)),
                ));
            }
            let (session, caps) = &mut self.blue;
            let after = executed(session, caps, kind, Role::Writer, READ).await?;
            let (session, caps) = &mut self.green;
            wait_applied(session, caps, &after, query.limit.max(Duration::from_secs(1))).await?;
            let green = answer(&mut self.green, at, query.limit).await;
            let failed = green.is_err();
            last = judge(query.comparison, blue, green);
            let (session, caps) = &mut self.blue;
            let stood_still = before == executed(session, caps, kind, Role::Writer, READ).await?;
            if failed || stood_still || matches!(last, Verdict::Agree { .. }) {
                return Ok(last);
            }
        }
        if let Verdict::Differ(what) = last {
            last = Verdict::Differ(format!(
                "{what} ({TRIES} tries while blue was being written to; `at: fence` compares at standstill)"
            ));
        }
        Ok(last)
    }

    /// Closes both sessions.
    pub async fn close(self) {
        tokio::join!(self.blue.0.close(READ), self.green.0.close(READ));
    }
}

type Answered = Result<(Answer, Duration), ServerError>;

fn judge(how: Comparison, blue: Answered, green: Answered) -> Verdict {
    match (blue, green) {
        (Err(e), _) | (_, Err(e)) => Verdict::Failed(e.side, failure(&e)),
        (Ok((b, blue)), Ok((g, green))) => match compare(how, &b, &g) {
            Ok(()) => Verdict::Agree { blue, green },
            Err(what) => Verdict::Differ(what),
        },
    }
}

fn failure(error: &ServerError) -> String {
    match (&error.cause, error.code()) {
        (Cause::TimedOut(_), _) | (_, Some(1969 | 3024)) => {
            "no answer within the query's time limit".to_owned()
        }
        (_, Some(1792)) => "it would write, and a gate query runs in a read-only transaction".to_owned(),
        (cause, _) => cause.to_string(),
    }
}

async fn answer((session, caps): &mut (Session, Capabilities), at: usize, limit: Duration) -> Answered {
    let execute = format!("EXECUTE gate_{at}");
    let text = match (caps.statement_limit, sql::limit_statements(caps, limit)) {
        (StatementLimit::None, _) | (_, None) => execute,
        (_, Some(set)) => format!("{set}; {execute}"),
    };
    let started = Instant::now();
    let sets = session
        .batch("run a gate query", &text, limit + ANSWER_MARGIN)
        .await?;
    let took = started.elapsed();
    let rows = sets.into_iter().next().unwrap_or_default();
    let cut = rows.len() > MOST_ROWS;
    Ok((
        Answer {
            columns: rows.first().map_or(0, Row::len),
            rows: rows
                .into_iter()
                .take(MOST_ROWS)
                .map(|row| cells(row, false))
                .collect(),
            cut,
        },
        took,
    ))
}

/// The values of a row in one spelling. With `rounded`, floating-point numbers keep twelve digits: the last ones of a sum
/// depend on the order in which rows were read.
pub(super) fn cells(row: Row, rounded: bool) -> Vec<Cell> {
    let columns = row.columns();
    let values = row.unwrap_raw().into_iter();
    values
        .zip(columns.iter())
        .map(|(value, column)| {
            let bytes = match value? {
                Value::NULL => return None,
                Value::Bytes(bytes) => bytes,
                // The text protocol has nothing else.
                other => other.as_sql(true).into_bytes(),
            };
            let is_float = matches!(
                column.column_type(),
                ColumnType::MYSQL_TYPE_FLOAT | ColumnType::MYSQL_TYPE_DOUBLE
            );
            match is_float.then(|| one_spelling(&bytes, rounded)).flatten() {
                Some(spelled) => Some(spelled),
                None => Some(bytes),
            }
        })
        .collect()
}
