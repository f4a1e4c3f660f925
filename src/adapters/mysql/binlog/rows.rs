//! Row events: which keys they carry. Columns that no key needs are skipped, never read.

use super::bytes::{Bytes, bit};
use super::shape::Shape;
use super::table_map::{ID, TableMap, Type};
use crate::domain::proof::key::{Key, KeyPart};

/// What a row event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Insert,
    Update,
    /// An update that writes a part of a JSON column only.
    PartialUpdate,
    Delete,
}

impl Act {
    fn has_before(self) -> bool {
        self != Self::Insert
    }

    fn has_after(self) -> bool {
        self != Self::Delete
    }
}

/// The head of a row event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub table: u64,
    pub flags: u16,
    pub act: Act,
    pub columns: usize,
    /// Which columns the image before has, and the one after.
    pub before: &'a [u8],
    pub after: &'a [u8],
    /// Where the rows begin.
    pub rows: &'a [u8],
}

/// The last row event of its statement.
pub(super) const LAST_OF_STATEMENT: u16 = 1;
/// `foreign_key_checks` was off: no foreign key changed anything.
pub(super) const NO_FOREIGN_KEY_CHECKS: u16 = 2;
/// The server carries out foreign keys above the engine, and writes what they change: MySQL 9.6 and later, but for
/// `innodb_native_foreign_keys` (seen on 9.7.4).
pub(super) const FOREIGN_KEYS_WRITTEN: u16 = 0x10;

impl<'a> Head<'a> {
    /// Reads the head. `with_extra` is the second version of these events, which has room for more in its head.
    pub(super) fn parse(event: &'a [u8], act: Act, with_extra: bool) -> Option<Self> {
        let mut bytes = Bytes(event);
        let table = bytes.low_first(ID)?;
        let flags = u16::try_from(bytes.low_first(2)?).ok()?;
        if with_extra {
            // The length counts itself.
            let extra = usize::try_from(bytes.low_first(2)?).ok()?;
            bytes.take(extra.checked_sub(2)?)?;
        }
        let columns = bytes.count()?;
        let mut map = || bytes.take(columns.div_ceil(8));
        let first = map()?;
        let (before, after): (&[u8], &[u8]) = match act {
            Act::Insert => (&[], first),
            Act::Delete => (first, &[]),
            Act::Update | Act::PartialUpdate => (first, map()?),
        };
        Some(Self {
            table,
            flags,
            act,
            columns,
            before,
            after,
            rows: bytes.0,
        })
    }

    /// Of no table: it only says that a statement ends.
    pub(super) fn is_end_only(&self) -> bool {
        self.table == 0x00ff_ffff && self.columns == 0 && self.rows.is_empty()
    }
}

/// What an image says of a column that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Absent,
    Null,
    Is(KeyPart),
    /// It is there, and not in a form that can be read; two of the same bytes are the same value.
    Unread(Vec<u8>),
}

/// Some columns of a row before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pair {
    /// Every column is known on both sides; `None` where there is no such row, or one of them is NULL.
    Known { before: Option<Key>, after: Option<Key> },
    /// An update changed none of them, and does not tell what they are.
    Untouched,
    /// An image leaves some of them out, or has them in a form that cannot be read.
    Unknown,
}

/// One changed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changed {
    /// The proof's key; `None` for a table without one.
    pub key: Option<Pair>,
    /// For each foreign key that points at the table, in the order of [`Shape::references`]: the columns it refers to.
    pub referenced: Vec<Pair>,
}

/// Goes through the rows of an event. `None` when the rest cannot be read.
pub(super) fn read(
    head: &Head<'_>,
    map: &TableMap,
    shape: &Shape,
    mut each: impl FnMut(Changed),
) -> Option<()> {
    let types = map.types.as_ref()?;
    if head.columns != types.len() || !shape.fits(types) {
        return None;
    }
    let mut bytes = Bytes(head.rows);
    while !bytes.is_empty() {
        let left = bytes.0.len();
        let before = match head.act.has_before() {
            true => Some(image(&mut bytes, types, head.before, shape)?),
            false => None,
        };
        if head.act == Act::PartialUpdate {
            partial(&mut bytes, types)?;
        }
        let after = match head.act.has_after() {
            true => Some(image(&mut bytes, types, head.after, shape)?),
            false => None,
        };
        // A row of a table without columns would never end.
        if bytes.0.len() == left {
            return None;
        }
        let pair = |places: &[usize]| pair(places, before.as_deref(), after.as_deref());
        each(Changed {
            key: (!shape.key.is_empty()).then(|| pair(&shape.key)),
            referenced: shape
                .references
                .iter()
                .map(|reference| pair(&reference.places))
                .collect(),
        });
    }
    Some(())
}

/// Options of a partial update: which JSON columns are written as differences. Those have their length in front, as the
/// whole value would.
fn partial(bytes: &mut Bytes<'_>, types: &[Type]) -> Option<()> {
    const PARTIAL_JSON: u64 = 1;
    if bytes.packed()? & PARTIAL_JSON != 0 {
        let json = types
            .iter()
            .filter(|one| one.code == super::table_map::code::JSON)
            .count();
        bytes.take(json.div_ceil(8))?;
    }
    Some(())
}

/// The columns that the shape asks for, in the order of [`Shape::wanted`].
fn image(bytes: &mut Bytes<'_>, types: &[Type], present: &[u8], shape: &Shape) -> Option<Vec<Said>> {
    let count = (0..types.len()).filter(|at| bit(present, *at)).count();
    let nulls = bytes.take(count.div_ceil(8))?;
    let mut said = vec![Said::Absent; shape.wanted.len()];
    let mut seen = 0;
    for (at, of) in types.iter().enumerate() {
        if !bit(present, at) {
            continue;
        }
        let is_null = bit(nulls, seen);
        seen += 1;
        let value = if is_null { None } else { Some(of.cut(bytes)?) };
        if let Some(wanted) = shape.wanted_at(at) {
            said[wanted] = match value {
                None => Said::Null,
                Some(value) => shape.wanted[wanted]
                    .1
                    .read(*of, value)
                    .map_or_else(|| Said::Unread(value.to_vec()), Said::Is),
            };
        }
    }
    Some(said)
}

fn pair(places: &[usize], before: Option<&[Said]>, after: Option<&[Said]>) -> Pair {
    let key = |image: Option<&[Said]>, other: Option<&[Said]>| -> Result<Option<Key>, ()> {
        let Some(image) = image else { return Ok(None) };
        let mut parts = Vec::with_capacity(places.len());
        let mut has_null = false;
        for at in places {
            // What an update leaves out of the image after was not changed.
            let said = match &image[*at] {
                Said::Absent => other.map_or(&Said::Absent, |other| &other[*at]),
                said => said,
            };
            match said {
                Said::Absent | Said::Unread(_) => return Err(()),
                Said::Null => has_null = true,
                Said::Is(part) => parts.push(part.clone()),
            }
        }
        Ok((!has_null).then_some(Key(parts)))
    };
    match (key(before, None), key(after, before)) {
        (Ok(before), Ok(after)) => Pair::Known { before, after },
        _ => match (before, after) {
            (Some(before), Some(after))
                if places
                    .iter()
                    .all(|at| after[*at] == Said::Absent || after[*at] == before[*at]) =>
            {
                Pair::Untouched
            }
            _ => Pair::Unknown,
        },
    }
}
