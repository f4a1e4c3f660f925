//! Comparing what is left at the fence: on sessions of its own, opened before the hold, in as few round trips as there
//! can be, because writers wait. Both sides stand still, so that no positions are needed around it: blue under the hold,
//! and green once it has executed the fence position. Green's session waits for that by itself, and reads in the same
//! round trip.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join, try_join_all};
use mysql_async::Row;

use super::defined::Defined;
use super::digest::{self, ROWS_AT_ONCE};
use super::expression::{Class, Expression};
use super::key::KeyColumn;
use super::lane::{Common, range_of, rows as to_rows, timed, trouble, values_of};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::position_read::{Waited, wait_question, waited};
use crate::adapters::mysql::session::Session;
use crate::domain::capabilities::Capabilities;
use crate::domain::guardrails::{Known, ProofFact};
use crate::domain::ids::Side;
use crate::domain::position::{FilePosition, Position};
use crate::domain::proof::drill::Rows;
use crate::domain::proof::fence::Left;
use crate::domain::proof::key::Key;
use crate::domain::proof::pick::Pattern;
use crate::domain::proof::touches::Item;
use crate::domain::proof::transaction::TableName;
use crate::engine::proof::ports::Trouble;
use crate::engine::proof::progress::Progress;
use crate::engine::proof::prover::Prover;

/// Statements that are sent in one round trip.
const AT_ONCE: usize = 64;

/// How long blue's binlog may take to be read up to the fence: milliseconds, if all is well, and writers wait.
const STREAM: Duration = Duration::from_secs(1);

/// How long green may take to answer after its wait has ended.
const ANSWER: Duration = Duration::from_secs(1);

/// The most differences that are named.
const NAMED: usize = 5;

/// The data proof as an attempt knows it: cheap to clone, opened for each attempt.
#[derive(Clone)]
pub struct FenceProof {
    prover: Arc<Prover>,
    common: Common,
    accepted: Vec<Pattern>,
    /// What the last fence compared.
    last: Arc<Mutex<Option<Compared>>>,
}

impl FenceProof {
    /// `accepted` are tables that may stay unproved where they cannot be proved.
    #[must_use]
    pub fn new(prover: &Arc<Prover>, common: &Common, accepted: Vec<Pattern>) -> Self {
        Self {
            prover: Arc::clone(prover),
            common: common.clone(),
            accepted,
            last: Arc::default(),
        }
    }

    /// What the newest attempt compared at its fence.
    #[must_use]
    pub fn last(&self) -> Option<Compared> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn accepts(&self, table: &TableName) -> bool {
        self.accepted.iter().any(|pattern| pattern.matches(table))
    }

    /// Tables that cannot be proved and are accepted so.
    #[must_use]
    pub fn accepted(&self, progress: &Progress) -> Vec<String> {
        let not_provable = progress.summary.not_provable.iter();
        let accepted = not_provable.filter(|(table, _)| self.accepts(table));
        accepted.map(|(table, _)| table.to_string()).collect()
    }

    /// How far the proof is, as far as it decides whether to hold.
    #[must_use]
    pub fn fact(&self, progress: &Progress) -> Known<ProofFact> {
        let sum = &progress.summary;
        let not_accepted = sum.not_provable.iter().filter(|(table, _)| !self.accepts(table));
        let mut fact = ProofFact {
            ranges: sum.ranges,
            differs: progress.differs(),
            not_provable: not_accepted
                .map(|(table, why)| (table.to_string(), why.to_string()))
                .collect(),
            accepted: self.accepted(progress),
            open_rows: sum.open_rows + sum.whole_rows,
            fence: Duration::ZERO,
        };
        if fact.differs.is_some() || !fact.not_provable.is_empty() {
            return Known::Known(fact);
        }
        if let Some(why) = progress.paused.as_ref().filter(|_| sum.unproven > 0) {
            return Known::Unknown(format!(
                "{} of {} ranges of rows are not proved yet, and comparing pauses: {why}",
                sum.unproven, sum.ranges
            ));
        }
        if sum.unproven > 0 {
            return Known::Unknown(format!(
                "{} of {} ranges of rows are not proved yet",
                sum.unproven, sum.ranges
            ));
        }
        match progress.fence_time(Duration::ZERO) {
            Some(time) => {
                fact.fence = time;
                Known::Known(fact)
            }
            None => Known::Unknown("how long comparing the open rows takes is not measured yet".to_owned()),
        }
    }
}

impl fmt::Debug for FenceProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FenceProof").finish_non_exhaustive()
    }
}

/// How many rows and ranges were compared at the fence, and which differ, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Rows, or values of foreign keys.
    pub items: usize,
    /// Whole ranges.
    pub ranges: usize,
    /// What differs.
    pub differ: Vec<String>,
}

/// Sessions that read at once on each side. The hold has closed every table on blue, and to open one again takes longer
/// than to read a few rows of it.
const AT_ONE_SIDE: usize = 2;

/// Sessions on both sides.
pub struct FenceReader {
    proof: FenceProof,
    blue: [Session; AT_ONE_SIDE],
    green: [Session; AT_ONE_SIDE],
    /// What both sides have answered.
    read: Option<Result<BothRead, String>>,
}

/// What a question is about.
enum Part {
    Keys(Vec<Key>),
    ForeignKey,
    Range,
}

struct Question {
    table: TableName,
    defined: Arc<Defined>,
    part: Part,
    blue: String,
    green: String,
}

/// Everything that is asked at a fence, and both sides' answers.
struct BothRead {
    questions: Vec<Question>,
    blue: Vec<Vec<Row>>,
    green: Vec<Vec<Row>>,
}

const DOING: &str = "compare rows at the fence";

impl FenceReader {
    /// Opens its sessions.
    ///
    /// # Errors
    /// A session that cannot be opened.
    pub async fn open(proof: &FenceProof) -> Result<Self, ServerError> {
        let one = |side| proof.common.session(side);
        let (blue, green) = join(
            join(one(Side::Blue), one(Side::Blue)),
            join(one(Side::Green), one(Side::Green)),
        )
        .await;
        Ok(Self {
            proof: proof.clone(),
            blue: [blue.0?, blue.1?],
            green: [green.0?, green.1?],
            read: None,
        })
    }

    /// The numbers of its sessions.
    #[must_use]
    pub fn sessions(&self, side: Side) -> [u64; AT_ONE_SIDE] {
        let sessions = match side {
            Side::Blue => &self.blue,
            Side::Green => &self.green,
        };
        sessions.each_ref().map(Session::id)
    }

    /// Lets no comparison run any more: a hold would wait for it. `false` if one does not end.
    pub async fn rest(&self, limit: Duration) -> bool {
        self.proof.prover.rest("a hold", limit).await
    }

    /// Waits until blue's binlog is read up to the fence, and reads what is left on both sides: on blue at once, and on
    /// green when it has executed `to`. What goes wrong is told by [`FenceReader::compare`].
    pub async fn read(&mut self, fence: &FilePosition, to: &Position, deadline: Instant) {
        self.read = Some(self.try_read(fence, to, deadline).await);
    }

    async fn try_read(
        &mut self,
        fence: &FilePosition,
        to: &Position,
        deadline: Instant,
    ) -> Result<BothRead, String> {
        let began = Instant::now();
        let all = self
            .proof
            .prover
            .left_at_the_fence(
                fence,
                |table| self.proof.accepts(table),
                until(deadline).min(STREAM),
            )
            .await?;
        let stream = began.elapsed();
        let questions = self.questions(&all).map_err(in_words)?;
        let caps = &self.proof.common.green.caps;
        let (blue, green) = join(
            timed(shared(&mut self.blue, &questions, |session, some| {
                answers(session, some, |question| &question.blue, deadline).boxed()
            })),
            timed(shared(&mut self.green, &questions, |session, some| {
                answers_once_there(session, caps, some, to, deadline).boxed()
            })),
        )
        .await;
        tracing::debug!(?stream, questions = questions.len(), blue = ?blue.1, green = ?green.1, "read at the fence");
        Ok(BothRead {
            blue: blue.0?,
            green: green.0?,
            questions,
        })
    }

    /// Compares what was read on both sides.
    ///
    /// # Errors
    /// In words why not everything is proved.
    pub fn compare(&mut self) -> Result<Compared, String> {
        let Some(read) = self.read.take() else {
            return Err("nothing was read at the fence".to_owned());
        };
        let read = read?;
        let mut compared = Compared::default();
        for (question, (blue, green)) in read.questions.iter().zip(read.blue.iter().zip(&read.green)) {
            self.judge(question, (blue, green), &mut compared)
                .map_err(in_words)?;
        }
        if compared.differ.is_empty() {
            self.tell(&compared);
        }
        *self.proof.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(compared.clone());
        Ok(compared)
    }

    fn tell(&self, compared: &Compared) {
        let progress = self.proof.prover.progress();
        let accepted = self.proof.accepted(&progress);
        let but = if accepted.is_empty() {
            String::new()
        } else {
            format!("; accepted unproved: {}", accepted.join(", "))
        };
        self.proof.prover.events().note(format!(
            "every row was equal at the fence: {} ranges proved before, {} rows and {} ranges touched since compared{but}",
            progress.summary.ranges, compared.items, compared.ranges
        ));
    }

    fn questions(&self, all: &[Left]) -> Result<Vec<Question>, Trouble> {
        let form = self.proof.common.form;
        let mut questions = Vec::new();
        for left in all {
            let defined = self.proof.common.defined(&left.table)?;
            let of = &defined.expressions;
            let mut add = |part, blue, green| {
                questions.push(Question {
                    table: left.table.clone(),
                    defined: Arc::clone(&defined),
                    part,
                    blue,
                    green,
                });
            };
            let mut keys = Vec::new();
            for item in &left.items {
                match &**item {
                    Item::Row(key) => keys.push(key.clone()),
                    Item::Where { columns, values } => {
                        let (on_blue, on_green) = defined.columns_of_foreign_key(columns)?;
                        let one = |of, columns: &[KeyColumn]| {
                            let values = values_of(columns, values)?;
                            Ok::<_, Trouble>(digest::where_statement(of, columns, &values))
                        };
                        add(
                            Part::ForeignKey,
                            one(&of.blue, &on_blue)?,
                            one(&of.green, &on_green)?,
                        );
                    }
                }
            }
            for keys in keys.chunks(ROWS_AT_ONCE) {
                let one = |of: &Expression| {
                    let values = values_of(&of.key, keys)?;
                    Ok::<_, Trouble>(digest::keys_statement(of, Class::Written, &values))
                };
                add(Part::Keys(keys.to_vec()), one(&of.blue)?, one(&of.green)?);
            }
            for bounds in &left.ranges {
                let one = |of: &Expression| {
                    let range = range_of(&of.key, bounds)?;
                    Ok::<_, Trouble>(digest::range_statement(form, of, Class::Written, &range))
                };
                add(Part::Range, one(&of.blue)?, one(&of.green)?);
            }
        }
        Ok(questions)
    }

    fn judge(
        &self,
        question: &Question,
        (blue, green): (&[Row], &[Row]),
        compared: &mut Compared,
    ) -> Result<(), Trouble> {
        let of = &question.defined.expressions;
        let ([on_blue, ..], [on_green, ..]) = (&self.blue, &self.green);
        let both = || -> Result<(Rows, Rows), Trouble> {
            let blue = digest::read_rows(on_blue, &of.blue, blue);
            let green = digest::read_rows(on_green, &of.green, green);
            Ok((to_rows(&of.blue.key, blue)?, to_rows(&of.green.key, green)?))
        };
        let table = &question.table;
        match &question.part {
            Part::Keys(keys) => {
                let (blue, green) = both()?;
                compared.items += keys.len();
                for key in keys.iter().filter(|key| blue.get(key) != green.get(key)) {
                    compared.differ.push(format!("row {key} of {table}"));
                }
            }
            Part::ForeignKey => {
                let (blue, green) = both()?;
                compared.items += 1;
                if blue != green {
                    let what = format!("rows of {table} that a foreign key may have changed");
                    compared.differ.push(what);
                }
            }
            Part::Range => {
                compared.ranges += 1;
                let blue = digest::read_digest(on_blue, blue).map_err(trouble)?;
                let green = digest::read_digest(on_green, green).map_err(trouble)?;
                if blue != green {
                    compared.differ.push(format!("a range of rows of {table}"));
                }
            }
        }
        Ok(())
    }
}

fn until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn in_words(trouble: Trouble) -> String {
    trouble.why
}

/// The answers of one side to all questions, in order; each of its sessions has a share of them.
async fn shared<'a, F>(
    sessions: &'a mut [Session; AT_ONE_SIDE],
    questions: &'a [Question],
    ask: F,
) -> Result<Vec<Vec<Row>>, String>
where
    F: Fn(&'a mut Session, &'a [Question]) -> BoxFuture<'a, Result<Vec<Vec<Row>>, String>>,
{
    let share = questions.len().div_ceil(AT_ONE_SIDE).max(1);
    let shares = sessions.iter_mut().zip(questions.chunks(share));
    let answers = try_join_all(shares.map(|(session, some)| ask(session, some))).await?;
    Ok(answers.concat())
}

/// A session's answers to questions, in order.
async fn answers(
    session: &mut Session,
    questions: &[Question],
    side: fn(&Question) -> &String,
    deadline: Instant,
) -> Result<Vec<Vec<Row>>, String> {
    let mut answers = Vec::with_capacity(questions.len());
    for some in questions.chunks(AT_ONCE) {
        let sql = joined(some, side);
        let sets = digest::ask_all(session, DOING, &sql, some.len(), until(deadline)).await;
        answers.extend(sets.map_err(|error| in_words(trouble(error)))?);
    }
    Ok(answers)
}

/// Green's answers, once it has executed `to`: the wait is the first statement of the batch.
async fn answers_once_there(
    green: &mut Session,
    caps: &Capabilities,
    questions: &[Question],
    to: &Position,
    deadline: Instant,
) -> Result<Vec<Vec<Row>>, String> {
    let Some(wait) = wait_question(caps, to, until(deadline), "1") else {
        return Err(format!("green cannot wait for `{to}`"));
    };
    let side: fn(&Question) -> &String = |question| &question.green;
    let (first, others) = questions.split_at(questions.len().min(AT_ONCE));
    let mut sql = wait;
    if !first.is_empty() {
        sql.push_str("; ");
        sql.push_str(&joined(first, side));
    }
    let sets = digest::ask_all(green, DOING, &sql, first.len() + 1, until(deadline) + ANSWER).await;
    let mut sets = sets.map_err(|error| in_words(trouble(error)))?;
    let answer = sets
        .remove(0)
        .first()
        .and_then(|row| row.get_opt::<i64, _>(0)?.ok());
    // Where it did not come the rows are older than the fence, and nothing follows from them.
    if waited(caps, to, answer) != Waited::Reached {
        return Err(format!("green did not execute {to} in time"));
    }
    sets.extend(answers(green, others, side, deadline).await?);
    Ok(sets)
}

fn joined(questions: &[Question], side: fn(&Question) -> &String) -> String {
    let all: Vec<&str> = questions.iter().map(|question| side(question).as_str()).collect();
    all.join("; ")
}

impl Compared {
    /// What differs, in words; `None` if nothing does.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        let named: Vec<&str> = self.differ.iter().take(NAMED).map(String::as_str).collect();
        let more = self.differ.len().saturating_sub(NAMED);
        (!named.is_empty()).then(|| match more {
            0 => named.join("; "),
            more => format!("{}; and {more} more", named.join("; ")),
        })
    }
}
