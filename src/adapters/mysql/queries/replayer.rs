//! One session on one side that replays statements, one after the other.
//!
//! What keeps a statement from writing is the server: every transaction of this session is read-only (1792 for a write,
//! also from a stored function), and PREPARE takes one statement only. Rows, bytes and time are limited.

use std::time::{Duration, Instant};

use mysql_async::Row;

use crate::adapters::mysql::capabilities::variables;
use crate::adapters::mysql::error::{Cause, ServerError};
use crate::adapters::mysql::gate::cells;
use crate::adapters::mysql::session::{Purpose, Session, Target};
use crate::adapters::mysql::{columns, quote, sql};
use crate::domain::capabilities::{Capabilities, StatementLimit};
use crate::domain::gate::Answer;
use crate::domain::ids::RunId;
use crate::domain::queries::MOST_ROWS;
use crate::domain::queries::plan::Plan;
use crate::engine::queries::{Failure, Ran, Statement};

/// How long opening, preparing and looking up may take.
pub(super) const READ: Duration = Duration::from_secs(5);

/// What is added to a statement's own limit before its session is given up.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// The most bytes of an answer that are read.
const MOST_BYTES: usize = 64 << 20;

/// A session, and what has been set in it.
pub(super) struct Replayer {
    target: Target,
    run: Option<RunId>,
    pub(super) caps: Capabilities,
    pub(super) session: Session,
    /// The server's own `sql_mode`: what the application's sessions have unless they change it.
    sql_mode: String,
    schema: Option<String>,
}

impl Replayer {
    /// Opens the session.
    pub(super) async fn open(
        target: &Target,
        caps: &Capabilities,
        run: Option<&RunId>,
    ) -> Result<Self, ServerError> {
        let purpose = Purpose {
            run: run.cloned(),
            role: "queries",
        };
        let mut session = Session::open(target, &purpose, READ).await?;
        let names = ["sql_mode", "explain_json_format_version"];
        let known = variables(&mut session, &names, READ).await?;
        let mut set = format!(
            "SET SESSION TRANSACTION READ ONLY; SET SESSION sql_select_limit = {}",
            MOST_ROWS + 1
        );
        if known.contains_key("explain_json_format_version") {
            // The form that all versions have in common.
            set.push_str("; SET SESSION explain_json_format_version = 1");
        }
        session.run("make the session read-only", &set, READ).await?;
        Ok(Self {
            target: target.clone(),
            run: run.cloned(),
            caps: caps.clone(),
            session,
            sql_mode: known.get("sql_mode").cloned().unwrap_or_default(),
            schema: None,
        })
    }

    /// Sees that the session takes statements. One that got no answer may have left a statement running: it is ended
    /// first, from the session that takes its place.
    pub(super) async fn ready(&mut self) -> Result<(), ServerError> {
        let lost = self.session.is_spent().then(|| self.session.id());
        if lost.is_none()
            && self
                .session
                .run("see that the session answers", "DO 0", READ)
                .await
                .is_ok()
        {
            return Ok(());
        }
        let mut fresh = Self::open(&self.target, &self.caps, self.run.as_ref()).await?;
        if let Some(id) = lost {
            let kill = format!("KILL CONNECTION {id}");
            match fresh
                .session
                .run("end a session that got no answer", &kill, READ)
                .await
            {
                // No such session: gone already.
                Err(e) if e.code() != Some(1094) => return Err(e),
                _ => {}
            }
        }
        *self = fresh;
        Ok(())
    }

    /// Runs a statement and times it.
    pub(super) async fn run(&mut self, statement: &Statement) -> Result<Ran, Failure> {
        self.ready().await.map_err(|e| Failure::NotAsked(e.to_string()))?;
        let prepared = self.prepare(statement, &statement.text).await;
        let ran = match prepared {
            Ok(()) => {
                let started = Instant::now();
                let sets = self
                    .session
                    .batch_within(
                        "replay a statement",
                        EXECUTE,
                        statement.limit + ANSWER_MARGIN,
                        MOST_BYTES,
                    )
                    .await;
                sets.map(|sets| (sets, started.elapsed()))
            }
            Err(e) => Err(e),
        };
        self.put_back().await;
        let (sets, took) = ran.map_err(|e| failure(&e, statement.limit))?;
        let rows = sets.into_iter().next().unwrap_or_default();
        let answer = Answer {
            columns: rows.first().map_or(0, Row::len),
            cut: rows.len() > MOST_ROWS,
            rows: rows
                .into_iter()
                .take(MOST_ROWS)
                .map(|row| cells(row, statement.sums))
                .collect(),
        };
        Ok(Ran { answer, took })
    }

    /// Asks for the plan of a statement.
    pub(super) async fn plan(&mut self, statement: &Statement) -> Result<Plan, String> {
        self.ready().await.map_err(|e| e.to_string())?;
        let explain = format!("EXPLAIN FORMAT=JSON {}", statement.text);
        let asked = match self.prepare(statement, &explain).await {
            Ok(()) => {
                let limit = statement.limit + ANSWER_MARGIN;
                self.session.rows::<Row>("ask for a plan", EXECUTE, limit).await
            }
            Err(e) => Err(e),
        };
        self.put_back().await;
        let rows = asked.map_err(|e| e.to_string())?;
        let text = rows.first().and_then(|row| columns::text_at(row, 0));
        Plan::read(&text.ok_or("the server gave no plan")?)
    }

    /// Prepares a text as the application would have it: in its schema, under the server's own `sql_mode`.
    async fn prepare(&mut self, statement: &Statement, text: &str) -> Result<(), ServerError> {
        if let Some(schema) = statement
            .schema
            .as_ref()
            .filter(|schema| self.schema.as_ref() != Some(schema))
        {
            let use_it = format!("USE {}", quote::identifier(schema));
            self.session
                .run("choose the schema of a statement", &use_it, READ)
                .await?;
            self.schema = Some(schema.clone());
        }
        // The text is quoted for the session's own `sql_mode`, so it is handed over before that changes.
        let hand_over = format!("SET @bleen_text = {}", quote::text(text));
        self.session
            .run("hand over a statement", &hand_over, READ)
            .await?;
        let mut prepare = format!("SET SESSION sql_mode = {}", quote::text(&self.sql_mode));
        if self.caps.statement_limit != StatementLimit::None
            && let Some(limit) = sql::limit_statements(&self.caps, statement.limit)
        {
            prepare.push_str("; ");
            prepare.push_str(&limit);
        }
        prepare.push_str("; PREPARE bleen_replay FROM @bleen_text");
        // Preparing may take as long as running: some servers read small tables to plan.
        self.session
            .run("prepare a statement", &prepare, statement.limit + ANSWER_MARGIN)
            .await
    }

    /// Puts the session's own settings back. Where that fails, the session is opened anew before its next use.
    async fn put_back(&mut self) {
        if self.session.is_spent() {
            return;
        }
        let mut set =
            "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', @bleen_text = NULL"
                .to_owned();
        match self.caps.statement_limit {
            StatementLimit::MaxExecutionTime => set.push_str(", max_execution_time = 0"),
            StatementLimit::MaxStatementTime => set.push_str(", max_statement_time = 0"),
            StatementLimit::None => {}
        }
        let done = self
            .session
            .run("put the session's settings back", &set, READ)
            .await;
        if done.is_err()
            && let Ok(fresh) = Self::open(&self.target, &self.caps, self.run.as_ref()).await
        {
            *self = fresh;
        }
    }

    /// How many pages the server has read from disk.
    pub(super) async fn disk_reads(&mut self) -> Result<u64, String> {
        self.ready().await.map_err(|e| e.to_string())?;
        let sql = "SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_reads'";
        let (_, reads): (String, u64) = self
            .session
            .one("read how much comes from disk", sql, READ)
            .await
            .map_err(|e| e.to_string())?;
        Ok(reads)
    }
}

const EXECUTE: &str = "EXECUTE bleen_replay";

/// What a missing answer means.
fn failure(error: &ServerError, limit: Duration) -> Failure {
    let slow = || Failure::Refused(format!("no answer within {}", humantime::format_duration(limit)));
    match &error.cause {
        Cause::TimedOut(_)
        | Cause::Refused {
            code: 1969 | 3024, ..
        } => slow(),
        Cause::TooLarge(bytes) => {
            Failure::TooLarge(format!("its answer holds more than {} MiB", bytes >> 20))
        }
        // About bleen's own account, about the moment, or about the read-only transaction: not about the statement.
        Cause::Refused {
            code: 1044 | 1045 | 1142 | 1143 | 1205 | 1213 | 1227 | 1317 | 1370 | 1792,
            message,
        } => Failure::NotAsked(message.clone()),
        Cause::Refused { code, message } => Failure::Refused(format!("error {code}: {message}")),
        other => Failure::NotAsked(other.to_string()),
    }
}
