//! What the stream says was changed since it was last proved.
//!
//! Two questions are asked, and each has its own memory. *What must the fence read again?* The open items: keys, or the
//! whole of it once there are too many. *Which transactions are in doubt in this check?* The recent touches, each with
//! its transaction; when there are too many, the oldest are kept as an outline only. Both are bounded by construction:
//! see [`Caps`].

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::position::FilePosition;
use super::key::Key;
use super::transaction::{Outline, Positions, Transaction};

/// How much is remembered at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caps {
    /// Open items and recent touches that one range may have, each.
    pub in_a_range: usize,
    /// Bytes that all of them together may take, about.
    pub bytes_in_all: usize,
    /// Rows that are known to differ and are kept, of all ranges together; of each range that differs one is.
    pub differing: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            in_a_range: 20_000,
            bytes_in_all: 64 << 20,
            differing: 100_000,
        }
    }
}

/// What a touch touched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// One row.
    Row(Key),
    /// All rows whose columns have one of these values: a foreign key on them cascades, and the binlog does not say
    /// to which rows.
    Where {
        /// The columns, in the foreign key's order.
        columns: Vec<String>,
        /// The values before the change and, if it left one, after it.
        values: Vec<Key>,
    },
}

impl Item {
    fn weight(&self) -> usize {
        match self {
            Self::Row(key) => key.weight(),
            Self::Where { columns, values } => {
                columns
                    .iter()
                    .map(|c| c.len() + size_of::<String>())
                    .sum::<usize>()
                    + values.iter().map(Key::weight).sum::<usize>()
            }
        }
    }
}

/// What must be read again before a proof is one of now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Open {
    /// These items.
    Items(BTreeSet<Arc<Item>>),
    /// Everything: there were too many items.
    Whole,
}

/// What the transactions in doubt touched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InDoubt {
    /// No transaction is in doubt.
    Nothing,
    /// These items only.
    Items(BTreeSet<Arc<Item>>),
    /// It cannot be said: a statement without rows, or only an outline is left.
    Anything,
}

impl InDoubt {
    /// What this and `other` name together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Anything, _) | (_, Self::Anything) => Self::Anything,
            (Self::Nothing, other) => other,
            (this, Self::Nothing) => this,
            (Self::Items(mut a), Self::Items(b)) => {
                a.extend(b);
                Self::Items(a)
            }
        }
    }
}

/// The touches of one range, or those of a table that fall into no known range.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Touches {
    open: Open,
    /// In the stream's order. `None` for a touch of everything.
    recent: VecDeque<(Arc<Transaction>, Option<Arc<Item>>)>,
    folded: Option<Outline>,
    bytes: usize,
}

/// What one touch takes besides its item: the entry, and its share of tree and queue.
const ENTRY: usize = 64;

impl Default for Touches {
    fn default() -> Self {
        Self {
            open: Open::Items(BTreeSet::new()),
            recent: VecDeque::new(),
            folded: None,
            bytes: 0,
        }
    }
}

impl Touches {
    /// What must be read again.
    #[must_use]
    pub const fn open(&self) -> &Open {
        &self.open
    }

    /// How many recent touches are kept, with their transactions.
    #[must_use]
    pub fn recent(&self) -> usize {
        self.recent.len()
    }

    /// About how many bytes it takes; never more than the caps allow, but for one touch.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Remembers a touch. With `keep_open` its item must be read again, too: there is a proof that it ends.
    pub fn add(
        &mut self,
        transaction: &Arc<Transaction>,
        item: Option<Arc<Item>>,
        keep_open: bool,
        most: usize,
    ) {
        if keep_open {
            self.open_item(item.clone(), most);
        }
        self.bytes += recent_weight(item.as_ref());
        self.recent.push_back((transaction.clone(), item));
        if self.recent.len() > most {
            self.fold_oldest();
        }
    }

    /// Makes an item one that must be read again.
    pub(super) fn open_item(&mut self, item: Option<Arc<Item>>, most: usize) {
        let Open::Items(items) = &mut self.open else {
            return;
        };
        let Some(item) = item else {
            self.open_whole();
            return;
        };
        let weight = open_weight(&item);
        if items.insert(item) {
            self.bytes += weight;
            if items.len() > most {
                self.open_whole();
            }
        }
    }

    fn fold_oldest(&mut self) {
        if let Some((transaction, item)) = self.recent.pop_front() {
            self.bytes -= recent_weight(item.as_ref());
            match &mut self.folded {
                Some(outline) => outline.add(&transaction),
                none => *none = Some(Outline::of(&transaction)),
            }
        }
    }

    /// Makes everything open and forgets the single items.
    pub fn open_whole(&mut self) {
        self.close_all();
        self.open = Open::Whole;
    }

    /// Forgets what is open. Only for what a wider state covers: an unproven range, an unproven table.
    pub fn close_all(&mut self) {
        if let Open::Items(items) = &self.open {
            self.bytes -= items.iter().map(|item| open_weight(item)).sum::<usize>();
        }
        self.open = Open::Items(BTreeSet::new());
    }

    /// Gives up every detail: everything is open if `keep_open`, and of the transactions only the outline is left.
    pub fn give_up_details(&mut self, keep_open: bool) {
        if keep_open {
            self.open_whole();
        }
        while !self.recent.is_empty() {
            self.fold_oldest();
        }
    }

    /// Takes in which transactions of `other` may be in doubt, without what they touched.
    pub fn take_in(&mut self, mut other: Self) {
        other.give_up_details(false);
        if let Some(theirs) = other.folded {
            self.take_in_outline(&theirs);
        }
    }

    /// Takes in transactions of which it is not known what they touched.
    pub fn take_in_outline(&mut self, outline: &Outline) {
        match &mut self.folded {
            Some(mine) => mine.merge(outline),
            none => *none = Some(outline.clone()),
        }
    }

    /// Forgets transactions that all of these checks, and so every later one, find on both sides.
    pub fn settle<'a>(&mut self, checks: impl Iterator<Item = &'a Positions> + Clone) {
        let settled = |t: &Transaction| checks.clone().all(|positions| positions.on_both(t));
        let mut bytes = self.bytes;
        self.recent.retain(|(transaction, item)| {
            let keep = !settled(transaction);
            if !keep {
                bytes -= recent_weight(item.as_ref());
            }
            keep
        });
        self.bytes = bytes;
        if self
            .folded
            .as_ref()
            .is_some_and(|outline| checks.clone().all(|positions| outline.on_both(positions)))
        {
            self.folded = None;
        }
    }

    /// What the transactions touched that may have been on one side only, in a check that began with `before` and
    /// after which blue stood at `after`. The stream must have passed `after`.
    #[must_use]
    pub fn in_doubt(&self, before: &Positions, after: &FilePosition) -> InDoubt {
        self.touched_by(
            |outline| !outline.on_both(before) && !outline.on_neither(before, after),
            |transaction| !before.on_both(transaction) && !before.on_neither(transaction, after),
        )
    }

    /// What was touched by transactions that are not known to be on both sides where a check began with `before`: its
    /// proof does not hold them.
    #[must_use]
    pub fn outside(&self, before: &Positions) -> InDoubt {
        self.touched_by(
            |outline| !outline.on_both(before),
            |transaction| !before.on_both(transaction),
        )
    }

    /// What these transactions touched; `any_of` says whether some of those in an outline are among them.
    fn touched_by(
        &self,
        any_of: impl Fn(&Outline) -> bool,
        is_one: impl Fn(&Transaction) -> bool,
    ) -> InDoubt {
        if self.folded.as_ref().is_some_and(any_of) {
            return InDoubt::Anything;
        }
        let mut items = BTreeSet::new();
        for (transaction, item) in &self.recent {
            if !is_one(transaction) {
                continue;
            }
            match item {
                Some(item) => items.insert(item.clone()),
                None => return InDoubt::Anything,
            };
        }
        if items.is_empty() {
            InDoubt::Nothing
        } else {
            InDoubt::Items(items)
        }
    }

    /// The range was proved by a check that began with `before`: only what was touched by transactions that are not
    /// known to be in that proof stays open.
    pub fn proved(&mut self, before: &Positions, most: usize) {
        let outside = self.outside(before);
        self.close_all();
        match outside {
            InDoubt::Nothing => {}
            InDoubt::Anything => self.open = Open::Whole,
            InDoubt::Items(items) => {
                for item in items {
                    self.open_item(Some(item), most);
                }
            }
        }
    }

    /// One item was proved, and nothing has touched it that its proof does not hold.
    pub fn close(&mut self, item: &Item) {
        if let Open::Items(items) = &mut self.open
            && items.remove(item)
        {
            self.bytes -= open_weight(item);
        }
    }

    /// Whether an item is in it of which only the server could tell to which part of a range it belongs.
    #[must_use]
    pub fn has_text(&self) -> bool {
        let is_text = |item: &Item| matches!(item, Item::Row(key) if key.has_text());
        let recent = self.recent.iter().filter_map(|(_, item)| item.as_deref());
        let open = match &self.open {
            Open::Items(items) => Some(items),
            Open::Whole => None,
        };
        recent
            .chain(open.into_iter().flatten().map(|item| &**item))
            .any(is_text)
    }

    /// Takes away what `belongs` to the upper part of a range that is split. What cannot be told apart stays in both.
    #[must_use]
    pub fn split_off(&mut self, is_upper: impl Fn(&Key) -> bool) -> Self {
        let is_upper = |item: &Item| matches!(item, Item::Row(key) if is_upper(key));
        let mut upper = Self {
            folded: self.folded.clone(),
            ..Self::default()
        };
        for (transaction, item) in std::mem::take(&mut self.recent) {
            match &item {
                None => {
                    upper.recent.push_back((transaction.clone(), None));
                    self.recent.push_back((transaction, None));
                }
                Some(some) if is_upper(some) => upper.recent.push_back((transaction, item)),
                Some(_) => self.recent.push_back((transaction, item)),
            }
        }
        match &mut self.open {
            Open::Whole => upper.open = Open::Whole,
            Open::Items(items) => {
                let (above, below) = std::mem::take(items).into_iter().partition(|item| is_upper(item));
                *items = below;
                upper.open = Open::Items(above);
            }
        }
        self.bytes = self.weigh();
        upper.bytes = upper.weigh();
        upper
    }

    /// The bytes, counted anew.
    fn weigh(&self) -> usize {
        let recent: usize = self
            .recent
            .iter()
            .map(|(_, item)| recent_weight(item.as_ref()))
            .sum();
        let open = match &self.open {
            Open::Items(items) => items.iter().map(|item| open_weight(item)).sum(),
            Open::Whole => 0,
        };
        recent + open
    }
}

// Open set and queue share one item, but either may outlive the other: each pays for it.
fn open_weight(item: &Item) -> usize {
    ENTRY + item.weight()
}

fn recent_weight(item: Option<&Arc<Item>>) -> usize {
    // A transaction is shared by its touches; a small one has a single touch, so each pays for a whole one.
    ENTRY + size_of::<Transaction>() + item.map_or(0, |item| item.weight())
}
