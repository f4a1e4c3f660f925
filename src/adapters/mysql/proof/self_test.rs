//! Known rows must give known digests, before a server's digests are believed.
//!
//! Servers answer the obvious form of the digest with 0 (`BIT_XOR` on MariaDB), or a hash with NULL where it is forbidden
//! (FIPS), without an error: every range would be equal. What the digests must be is computed here.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::columns::{Column, Key, Table};
use super::digest::{self, Digest, Form};
use super::expression::{Class, Expression, Expressions};
use super::key::Range;
use super::kind::Kind;
use super::not_provable::NotProvable;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::session::Session;

/// The known rows, and the text that each must have. The long text is told by its digest.
const ROWS: [(&str, &str); 3] = [
    (
        "SELECT 1 AS id, _utf8mb4 X'C3A42720' AS t, 0.1e0 AS f, CAST('2024-02-29 01:30:01' AS DATETIME) AS d, \
         _utf8mb4 'x' AS w",
        "1#0.1#2024-02-29 01:30:01#2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881#4#ä' ",
    ),
    (
        "SELECT 2 AS id, NULL AS t, NULL AS f, NULL AS d, NULL AS w",
        "2#~#~#~#1023#",
    ),
    (
        "SELECT 3 AS id, _utf8mb4 '' AS t, -2.5e300 AS f, CAST('9999-12-31 23:59:59' AS DATETIME) AS d, \
         _utf8mb4 '' AS w",
        "3#-2.5e300#9999-12-31 23:59:59#e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855#0#",
    ),
];

/// Two changes of the same kind in two rows, which a CRC would not see.
const CHANGED: [(&str, &str); 2] = [
    (
        "SELECT 4 AS id, _utf8mb4 'a' AS t, 1e0 AS f, CAST(NULL AS DATETIME) AS d, _utf8mb4 '' AS w",
        "4#1#~#e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855#1#a",
    ),
    (
        "SELECT 5, _utf8mb4 'a', 1e0, NULL, _utf8mb4 ''",
        "5#1#~#e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855#1#a",
    ),
];

/// One row twice: the XOR of any such two is 0.
const TWICE: [(&str, &str); 2] = [ROWS[2], ROWS[2]];

/// Tries a form of the digest on a server. The session needs the settings of the proof.
///
/// # Errors
/// What the server answered, or that its digests are not the right ones: it cannot take part in a proof.
pub async fn run(session: &mut Session, form: Form, budget: Duration) -> Result<(), ServerError> {
    let doing = "test the digest on known rows";
    let wrong = |session: &Session, what: String| session.unexpected(doing, &what);
    let known = |nullable| known(nullable).map_err(|why| wrong(session, why.to_string()));
    let (of, strict) = (known(true)?, known(false)?);
    let keyless = Expression {
        key: Vec::new(),
        ..of.clone()
    };
    for of in [&of, &keyless] {
        for rows in sets() {
            let seen = over(session, form, of, rows, budget).await?;
            let expected = expected(form, of.has_key(), rows);
            if seen != expected {
                let what = format!(
                    "they give {seen:?}, and the right digest is {expected:?}; this server cannot be proved"
                );
                return Err(wrong(session, what));
            }
        }
    }
    // A row whose text is NULL must be refused, and not left out.
    match over(session, form, &strict, &ROWS, budget).await {
        Ok(seen) => {
            let what =
                format!("a row without a text was passed over: {seen:?}; this server cannot be proved");
            Err(wrong(session, what))
        }
        Err(e) if e.is_unknown() && !session.is_spent() => Ok(()),
        Err(e) => Err(e),
    }
}

/// Several rows at once, and each by itself: some of their digests have the highest bit set, which servers lose; and equal
/// rows, as a table without a key may have them.
fn sets() -> impl Iterator<Item = &'static [(&'static str, &'static str)]> {
    [&ROWS[..], &CHANGED[..], &TWICE[..]]
        .into_iter()
        .chain(ROWS.chunks(1))
}

async fn over(
    session: &mut Session,
    form: Form,
    of: &Expression,
    rows: &[(&str, &str)],
    budget: Duration,
) -> Result<Digest, ServerError> {
    let rows: Vec<&str> = rows.iter().map(|(row, _)| *row).collect();
    let of = Expression {
        from: format!("({}) AS known", rows.join(" UNION ALL ")),
        ..of.clone()
    };
    digest::range(session, form, &of, Class::Written, &Range::default(), budget).await
}

/// The expression over the columns of the known rows.
fn known(nullable: bool) -> Result<Expression, NotProvable> {
    let text = |bytes| Kind::Text {
        charset: "utf8mb4".to_owned(),
        bytes,
    };
    let column = |name: &str, kind, nullable| Column {
        name: name.to_owned(),
        kind,
        written: String::new(),
        collation: None,
        nullable,
        generated: false,
        invisible: false,
    };
    let table = Table {
        schema: String::new(),
        name: String::new(),
        engine: "InnoDB".to_owned(),
        versioned: false,
        made: String::new(),
        columns: vec![
            column("id", Kind::Integer { zerofill: false }, false),
            column("t", text(4), nullable),
            column(
                "f",
                Kind::Double {
                    scale: None,
                    zerofill: false,
                },
                true,
            ),
            column("d", Kind::DateTime(0), true),
            column("w", text(u64::MAX), true),
        ],
        virtual_columns: Default::default(),
        keys: vec![Key {
            index: String::new(),
            columns: vec!["id".to_owned()],
        }],
    };
    Expressions::of(&table, &table).map(|both| both.blue)
}

fn expected(form: Form, has_key: bool, rows: &[(&str, &str)]) -> Digest {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let mut xor = [0_u8; 32];
    let mut sums = [0_u128; 2];
    for (_, text) in rows {
        let hash = Sha256::digest(text);
        for (bits, more) in xor.iter_mut().zip(hash) {
            *bits ^= more;
        }
        for (sum, part) in sums.iter_mut().zip(hash.chunks(8)) {
            *sum += u128::from(number(part));
        }
    }
    Digest {
        rows: rows.len() as u64,
        of_rows: match (form, has_key) {
            (Form::Whole, true) => xor.iter().map(|byte| format!("{byte:02X}")).collect(),
            (Form::Half, true) => number(&xor[..8]).to_string(),
            (Form::Halves, true) => format!("{} {}", number(&xor[..8]), number(&xor[8..16])),
            (Form::Half, false) => sums[0].to_string(),
            (Form::Whole | Form::Halves, false) => format!("{} {}", sums[0], sums[1]),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_rows_have_the_highest_bits() {
        let high = |half: usize| {
            sets().any(|rows| {
                let xor = expected(Form::Halves, true, rows).of_rows;
                let number: u64 = xor.split(' ').nth(half).unwrap().parse().unwrap();
                number >= 1 << 63
            })
        };
        assert!(high(0) && high(1));
    }

    #[test]
    fn a_changed_row_is_another_digest() {
        for form in [Form::Whole, Form::Half, Form::Halves] {
            for has_key in [true, false] {
                let all: std::collections::BTreeSet<String> =
                    sets().map(|rows| expected(form, has_key, rows).of_rows).collect();
                assert_eq!(all.len(), sets().count());
            }
        }
    }
}
