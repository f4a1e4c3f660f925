//! Comparing what is left at the fence: on sessions of its own, opened before the hold, in as few round trips as there
//! can be, because writers wait. Both sides stand still, so that no positions are needed around it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join;
use mysql_async::Row;

use super::defined::Defined;
use super::digest::{self, ROWS_AT_ONCE};
use super::expression::Class;
use super::key::KeyColumn;
use super::lane::{Common, range_of, rows as to_rows, trouble, values_of};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::session::Session;
use crate::domain::guardrails::{Known, ProofFact};
use crate::domain::ids::Side;
use crate::domain::position::FilePosition;
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

/// One session on each side.
pub struct FenceReader {
    proof: FenceProof,
    blue: Session,
    green: Session,
}

/// One question, and what it is about.
enum Part<'a> {
    Keys(Vec<&'a Key>),
    ForeignKey,
    Range,
}

struct Question<'a> {
    table: &'a TableName,
    defined: Arc<Defined>,
    part: Part<'a>,
    blue: String,
    green: String,
}

impl FenceReader {
    /// Opens both sessions.
    ///
    /// # Errors
    /// A session that cannot be opened.
    pub async fn open(proof: &FenceProof) -> Result<Self, ServerError> {
        let (blue, green) = join(
            proof.common.session(Side::Blue),
            proof.common.session(Side::Green),
        )
        .await;
        Ok(Self {
            proof: proof.clone(),
            blue: blue?,
            green: green?,
        })
    }

    /// The numbers of its sessions.
    #[must_use]
    pub fn session(&self, side: Side) -> u64 {
        match side {
            Side::Blue => self.blue.id(),
            Side::Green => self.green.id(),
        }
    }

    /// Lets no comparison run any more: a hold would wait for it. `false` if one does not end.
    pub async fn rest(&self, limit: Duration) -> bool {
        self.proof.prover.rest("a hold", limit).await
    }

    /// Waits until blue's binlog is read up to the fence, and compares what is left.
    ///
    /// # Errors
    /// In words why not everything is proved.
    pub async fn compare(&mut self, fence: &FilePosition, deadline: Instant) -> Result<Compared, String> {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let all = self
            .proof
            .prover
            .left_at_the_fence(fence, |table| self.proof.accepts(table), left(deadline))
            .await?;
        let in_words = |trouble: Trouble| trouble.why;
        let questions = self.questions(&all).map_err(in_words)?;
        let mut compared = Compared::default();
        for some in questions.chunks(AT_ONCE) {
            self.ask(some, &mut compared, left(deadline))
                .await
                .map_err(in_words)?;
        }
        if compared.differ.is_empty() {
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
        *self.proof.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(compared.clone());
        Ok(compared)
    }

    fn questions<'a>(&self, all: &'a [Left]) -> Result<Vec<Question<'a>>, Trouble> {
        let form = self.proof.common.form;
        let mut questions = Vec::new();
        for left in all {
            let defined = self.proof.common.defined(&left.table)?;
            let keys: Vec<&Key> = left
                .items
                .iter()
                .filter_map(|item| match &**item {
                    Item::Row(key) => Some(key),
                    Item::Where { .. } => None,
                })
                .collect();
            let of = &defined.expressions;
            for keys in keys.chunks(ROWS_AT_ONCE) {
                let one = |of: &super::expression::Expression| {
                    let values = values_of(&of.key, keys.iter().copied())?;
                    Ok::<_, Trouble>(digest::keys_statement(of, Class::Written, &values))
                };
                questions.push(Question {
                    table: &left.table,
                    blue: one(&of.blue)?,
                    green: one(&of.green)?,
                    defined: Arc::clone(&defined),
                    part: Part::Keys(keys.to_vec()),
                });
            }
            for item in &left.items {
                let Item::Where { columns, values } = &**item else {
                    continue;
                };
                let (on_blue, on_green) = defined.columns_of_foreign_key(columns)?;
                let one = |of, columns: &[KeyColumn]| {
                    Ok::<_, Trouble>(digest::where_statement(of, columns, &values_of(columns, values)?))
                };
                questions.push(Question {
                    table: &left.table,
                    blue: one(&of.blue, &on_blue)?,
                    green: one(&of.green, &on_green)?,
                    defined: Arc::clone(&defined),
                    part: Part::ForeignKey,
                });
            }
            for bounds in &left.ranges {
                let one = |of: &super::expression::Expression| {
                    let range = range_of(&of.key, bounds)?;
                    Ok::<_, Trouble>(digest::range_statement(form, of, Class::Written, &range))
                };
                questions.push(Question {
                    table: &left.table,
                    blue: one(&of.blue)?,
                    green: one(&of.green)?,
                    defined: Arc::clone(&defined),
                    part: Part::Range,
                });
            }
        }
        Ok(questions)
    }

    async fn ask(
        &mut self,
        questions: &[Question<'_>],
        compared: &mut Compared,
        budget: Duration,
    ) -> Result<(), Trouble> {
        let doing = "compare rows at the fence";
        let to_blue: Vec<&str> = questions.iter().map(|one| one.blue.as_str()).collect();
        let to_green: Vec<&str> = questions.iter().map(|one| one.green.as_str()).collect();
        let (to_blue, to_green) = (to_blue.join("; "), to_green.join("; "));
        let (blue, green) = join(
            digest::ask_all(&mut self.blue, doing, &to_blue, questions.len(), budget),
            digest::ask_all(&mut self.green, doing, &to_green, questions.len(), budget),
        )
        .await;
        let (blue, green) = (blue.map_err(trouble)?, green.map_err(trouble)?);
        for (question, (blue, green)) in questions.iter().zip(blue.iter().zip(&green)) {
            self.judge(question, (blue, green), compared)?;
        }
        Ok(())
    }

    fn judge(
        &self,
        question: &Question<'_>,
        (blue, green): (&[Row], &[Row]),
        compared: &mut Compared,
    ) -> Result<(), Trouble> {
        let of = &question.defined.expressions;
        let both = || -> Result<(Rows, Rows), Trouble> {
            let blue = digest::read_rows(&self.blue, &of.blue, blue);
            let green = digest::read_rows(&self.green, &of.green, green);
            Ok((to_rows(&of.blue.key, blue)?, to_rows(&of.green.key, green)?))
        };
        match &question.part {
            Part::Keys(keys) => {
                let (blue, green) = both()?;
                compared.items += keys.len();
                for key in keys.iter().filter(|key| blue.get(key) != green.get(key)) {
                    compared.differs(format!("row {key} of {}", question.table));
                }
            }
            Part::ForeignKey => {
                let (blue, green) = both()?;
                compared.items += 1;
                if blue != green {
                    compared.differs(format!(
                        "rows of {} that a foreign key may have changed",
                        question.table
                    ));
                }
            }
            Part::Range => {
                compared.ranges += 1;
                let blue = digest::read_digest(&self.blue, blue).map_err(trouble)?;
                let green = digest::read_digest(&self.green, green).map_err(trouble)?;
                if blue != green {
                    compared.differs(format!("a range of rows of {}", question.table));
                }
            }
        }
        Ok(())
    }
}

impl Compared {
    fn differs(&mut self, what: String) {
        self.differ.push(what);
    }

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
