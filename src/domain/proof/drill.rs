//! Which rows of a range differ, and which of the differences are real.
//!
//! A hot range is never quiet for as long as a check takes. Its rows are: only those that a transaction in doubt has
//! touched are open, all others are proved or differ for good.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Serialize;

use super::super::ids::Side;
use super::key::Key;
use super::touches::{InDoubt, Item};

/// The digests of rows by key, as one side answered them. A shorter digest is filled up with zeros.
pub type Rows = BTreeMap<Key, [u8; 32]>;

/// How one row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "&'static str")]
pub enum Differs {
    /// Its values.
    Values,
    /// It is on one side only.
    OnlyOn(Side),
}

impl From<Differs> for &'static str {
    fn from(differs: Differs) -> Self {
        match differs {
            Differs::Values => "values",
            Differs::OnlyOn(Side::Blue) => "only-on-blue",
            Differs::OnlyOn(Side::Green) => "only-on-green",
        }
    }
}

/// What comparing row by row has found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Drilled {
    /// Differences that no lag explains.
    pub real: BTreeMap<Key, Differs>,
    /// Differences of rows that a transaction in doubt has touched: to be read again.
    pub open: BTreeMap<Key, Differs>,
    /// Rows that are equal and that nothing in doubt has touched.
    pub equal: u64,
}

/// Compares the rows of one range, read inside one check, whose transactions in doubt have touched `in_doubt`.
#[must_use]
pub fn compare(blue: &Rows, green: &Rows, in_doubt: &InDoubt) -> Drilled {
    let doubt = Touched::of(in_doubt);
    let mut found = Drilled::default();
    let only_green = green.keys().filter(|key| !blue.contains_key(*key));
    for key in blue.keys().chain(only_green) {
        let differs = match (blue.get(key), green.get(key)) {
            (Some(a), Some(b)) if a == b => None,
            (Some(_), Some(_)) => Some(Differs::Values),
            (Some(_), None) => Some(Differs::OnlyOn(Side::Blue)),
            (None, _) => Some(Differs::OnlyOn(Side::Green)),
        };
        match differs {
            Some(differs) if doubt.may_be(key) => found.open.insert(key.clone(), differs),
            Some(differs) => found.real.insert(key.clone(), differs),
            None => {
                found.equal += u64::from(!doubt.may_be(key));
                None
            }
        };
    }
    found
}

/// What is in doubt, made ready to be asked for many rows.
#[derive(Debug)]
pub struct Touched<'a> {
    in_doubt: &'a InDoubt,
    /// Every item is a row whose key can be told from every other: looking it up is enough.
    is_exact: bool,
}

impl<'a> Touched<'a> {
    /// Looks at the items once.
    #[must_use]
    pub fn of(in_doubt: &'a InDoubt) -> Self {
        let is_exact = match in_doubt {
            InDoubt::Items(items) => items.iter().all(|item| match &**item {
                Item::Row(key) => !key.has_text(),
                Item::Where { .. } => false,
            }),
            InDoubt::Nothing | InDoubt::Anything => true,
        };
        Self { in_doubt, is_exact }
    }

    /// Whether it may be this row.
    #[must_use]
    pub fn may_be(&self, key: &Key) -> bool {
        match self.in_doubt {
            InDoubt::Nothing => false,
            InDoubt::Anything => true,
            InDoubt::Items(items) if self.is_exact => items.contains(&Item::Row(key.clone())),
            InDoubt::Items(items) => items.iter().any(|item| match &**item {
                Item::Where { .. } => true,
                // Under a collation other bytes may be the same row; only the server could tell.
                Item::Row(touched) => touched.compare(key).is_none_or(|order| order == Ordering::Equal),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::key::KeyPart;
    use super::*;

    fn rows(rows: &[(i128, u8)]) -> Rows {
        rows.iter()
            .map(|(key, digest)| (Key::from(*key), [*digest; 32]))
            .collect()
    }

    fn doubt(keys: &[i128]) -> InDoubt {
        InDoubt::Items(
            keys.iter()
                .map(|key| Arc::new(Item::Row(Key::from(*key))))
                .collect(),
        )
    }

    #[test]
    fn tells_real_differences_from_open_ones() {
        let blue = rows(&[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
        let green = rows(&[(1, 1), (2, 9), (3, 9), (5, 5), (6, 6), (7, 7)]);
        let found = compare(&blue, &green, &doubt(&[3, 5, 7]));
        let real = [
            (2, Differs::Values),
            (4, Differs::OnlyOn(Side::Blue)),
            (6, Differs::OnlyOn(Side::Green)),
        ];
        assert_eq!(found.real, real.map(|(k, d)| (Key::from(k), d)).into());
        let open = [(3, Differs::Values), (7, Differs::OnlyOn(Side::Green))];
        assert_eq!(found.open, open.map(|(k, d)| (Key::from(k), d)).into());
        assert_eq!(found.equal, 1, "row 5 is equal, but in doubt");
        let all = compare(&blue, &green, &InDoubt::Nothing);
        assert_eq!((all.real.len(), all.open.len(), all.equal), (5, 0, 2));
        let none = compare(&blue, &green, &InDoubt::Anything);
        assert_eq!((none.real.len(), none.open.len(), none.equal), (0, 5, 0));
    }

    #[test]
    fn what_only_the_server_can_tell_is_no_real_difference() {
        let text = |text: &str| Key(vec![KeyPart::Text(text.into())]);
        let touched = InDoubt::Items([Arc::new(Item::Row(text("A")))].into());
        let found = compare(&[(text("a"), [1; 32])].into(), &Rows::new(), &touched);
        assert_eq!((found.real.len(), found.open.len()), (0, 1));
        let cascade = InDoubt::Items(
            [Arc::new(Item::Where {
                columns: vec!["parent".into()],
                values: vec![7.into()],
            })]
            .into(),
        );
        let found = compare(&rows(&[(1, 1)]), &rows(&[(1, 2)]), &cascade);
        assert_eq!((found.real.len(), found.open.len()), (0, 1));
    }
}
