//! Whether two servers answer a query alike. Pure: answers in, agreement or the first difference out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// A value as the server wrote it; `None` is NULL, which is not the empty text.
pub type Cell = Option<Vec<u8>>;

/// What one server answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// How many columns the rows have; 0 without rows.
    pub columns: usize,
    /// The rows, in the server's order. Floating-point numbers are in one spelling on both sides.
    pub rows: Vec<Vec<Cell>>,
    /// There were more rows than may be compared.
    pub cut: bool,
}

/// What it means that two answers agree.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// The same rows, whatever their order; repeated rows count.
    Set,
    /// The same rows in the same order.
    Ordered,
    /// One number each, apart by at most this much. NULL agrees with NULL only.
    Scalar {
        /// The largest absolute difference.
        tolerance: f64,
    },
    /// No row on either side.
    NoRows,
}

/// The longest rendering of a row in a message, in characters.
const ROW_CHARS: usize = 200;

/// Compares two answers.
///
/// # Errors
/// The first difference in words, with both sides' values.
pub fn compare(how: Comparison, blue: &Answer, green: &Answer) -> Result<(), String> {
    if let Comparison::NoRows = how {
        return no_rows(blue, green);
    }
    for (side, answer) in [("blue", blue), ("green", green)] {
        if answer.cut {
            return Err(format!(
                "{side} answered with more than {} rows, the most that are compared",
                answer.rows.len()
            ));
        }
    }
    if blue.columns != green.columns && !blue.rows.is_empty() && !green.rows.is_empty() {
        return Err(format!(
            "blue's rows have {} columns, green's {}",
            blue.columns, green.columns
        ));
    }
    match how {
        Comparison::Set => same_rows(blue, green),
        Comparison::Ordered => same_order(blue, green),
        Comparison::Scalar { tolerance } => same_number(blue, green, tolerance),
        Comparison::NoRows => Ok(()),
    }
}

fn no_rows(blue: &Answer, green: &Answer) -> Result<(), String> {
    for (side, answer) in [("blue", blue), ("green", green)] {
        if let Some(row) = answer.rows.first() {
            let plus = if answer.cut { "more than " } else { "" };
            return Err(format!(
                "no row was expected, {side} has {plus}{}, the first is {}",
                answer.rows.len(),
                shown(row)
            ));
        }
    }
    Ok(())
}

fn same_rows(blue: &Answer, green: &Answer) -> Result<(), String> {
    let mut counts: BTreeMap<&[Cell], i64> = BTreeMap::new();
    for row in &blue.rows {
        *counts.entry(row).or_default() += 1;
    }
    for row in &green.rows {
        *counts.entry(row).or_default() -= 1;
    }
    counts.retain(|_, count| *count != 0);
    let Some((row, count)) = counts.iter().next() else {
        return Ok(());
    };
    let side = if *count > 0 { "blue" } else { "green" };
    let times = match count.abs() {
        1 => String::new(),
        n => format!(" {n} times more"),
    };
    Err(format!(
        "{} different rows (blue has {}, green {}); for example only on {side}{times}: {}",
        counts.len(),
        blue.rows.len(),
        green.rows.len(),
        shown(row)
    ))
}

fn same_order(blue: &Answer, green: &Answer) -> Result<(), String> {
    for (at, (b, g)) in blue.rows.iter().zip(&green.rows).enumerate() {
        if b != g {
            return Err(format!(
                "row {} differs: blue {}, green {}",
                at + 1,
                shown(b),
                shown(g)
            ));
        }
    }
    if blue.rows.len() == green.rows.len() {
        Ok(())
    } else {
        Err(format!(
            "blue has {} rows, green {}",
            blue.rows.len(),
            green.rows.len()
        ))
    }
}

fn same_number(blue: &Answer, green: &Answer, tolerance: f64) -> Result<(), String> {
    let (b, g) = (one_value("blue", blue)?, one_value("green", green)?);
    if b == g {
        return Ok(());
    }
    let said = || format!("blue {}, green {}", shown_cell(b), shown_cell(g));
    let (Some(x), Some(y)) = (number(b), number(g)) else {
        return Err(format!("not two numbers: {}", said()));
    };
    let apart = (x - y).abs();
    // A difference that is no number is never within a tolerance.
    if apart <= tolerance {
        Ok(())
    } else {
        Err(format!("{}: apart by {apart}, allowed is {tolerance}", said()))
    }
}

fn one_value<'a>(side: &str, answer: &'a Answer) -> Result<&'a Cell, String> {
    match answer.rows.as_slice() {
        [row] => match row.as_slice() {
            [cell] => Ok(cell),
            _ => Err(format!(
                "one value was expected, {side} has {} columns",
                row.len()
            )),
        },
        rows => Err(format!("one row was expected, {side} has {}", rows.len())),
    }
}

fn number(cell: &Cell) -> Option<f64> {
    std::str::from_utf8(cell.as_deref()?).ok()?.trim().parse().ok()
}

fn shown(row: &[Cell]) -> String {
    let cells: Vec<String> = row.iter().map(shown_cell).collect();
    let text = format!("({})", cells.join(", "));
    if text.chars().count() > ROW_CHARS {
        let head: String = text.chars().take(ROW_CHARS).collect();
        format!("{head}...")
    } else {
        text
    }
}

fn shown_cell(cell: &Cell) -> String {
    let Some(bytes) = cell else {
        return "NULL".to_owned();
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => {
            let is_number = !text.is_empty() && text.parse::<f64>().is_ok();
            if is_number {
                text.to_owned()
            } else {
                format!("'{text}'")
            }
        }
        _ => {
            let mut hex = String::from("0x");
            for byte in bytes.iter().take(ROW_CHARS / 2) {
                // Writing into a String cannot fail.
                let _ = write!(hex, "{byte:02x}");
            }
            hex
        }
    }
}

/// One spelling for a floating-point number: what reads back as the same number. Servers differ in exponents, trailing
/// zeros and in whether zero has a sign. With `rounded`, twelve digits of it.
#[must_use]
pub fn one_spelling(text: &[u8], rounded: bool) -> Option<Vec<u8>> {
    let value: f64 = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    let value = if value == 0.0 { 0.0 } else { value };
    let spelled = if rounded {
        format!("{value:.11e}")
    } else {
        format!("{value:?}")
    };
    Some(spelled.into_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(rows: &[&[Option<&str>]]) -> Answer {
        Answer {
            columns: rows.first().map_or(1, |r| r.len()),
            rows: rows
                .iter()
                .map(|row| row.iter().map(|c| c.map(|t| t.as_bytes().to_vec())).collect())
                .collect(),
            cut: false,
        }
    }

    #[test]
    fn a_set_counts_repeated_rows_and_forgets_the_order() {
        let a = answer(&[&[Some("1")], &[Some("2")], &[Some("1")]]);
        let b = answer(&[&[Some("2")], &[Some("1")], &[Some("1")]]);
        let c = answer(&[&[Some("2")], &[Some("2")], &[Some("1")]]);
        assert_eq!(compare(Comparison::Set, &a, &b), Ok(()));
        assert!(
            compare(Comparison::Ordered, &a, &b)
                .unwrap_err()
                .contains("row 1 differs")
        );
        let why = compare(Comparison::Set, &a, &c).unwrap_err();
        assert!(
            why.contains("2 different rows") && why.contains("only on blue: (1)"),
            "{why}"
        );
        // Two equal differences do not cancel out.
        let twice = answer(&[
            &[Some("1")],
            &[Some("1")],
            &[Some("1")],
            &[Some("1")],
            &[Some("2")],
        ]);
        assert!(
            compare(Comparison::Set, &a, &twice)
                .unwrap_err()
                .contains("2 times more")
        );
    }

    #[test]
    fn null_is_neither_empty_nor_its_name() {
        let null = answer(&[&[None]]);
        for other in ["", "NULL", "0"] {
            let other = answer(&[&[Some(other)]]);
            for how in [
                Comparison::Set,
                Comparison::Ordered,
                Comparison::Scalar { tolerance: 1e9 },
            ] {
                assert!(compare(how, &null, &other).is_err());
            }
        }
        assert_eq!(
            compare(Comparison::Scalar { tolerance: 0.0 }, &null, &null),
            Ok(())
        );
    }

    #[test]
    fn scalars_are_compared_within_a_tolerance() {
        let of = |text| answer(&[&[Some(text)]]);
        let how = |tolerance| Comparison::Scalar { tolerance };
        assert_eq!(compare(how(0.0), &of("10.50"), &of("10.5")), Ok(()));
        assert_eq!(compare(how(2.0), &of("10"), &of("12")), Ok(()));
        assert!(
            compare(how(1.9), &of("10"), &of("12"))
                .unwrap_err()
                .contains("apart by 2")
        );
        assert!(compare(how(f64::INFINITY), &of("10"), &of("NaN")).is_err());
        assert!(compare(how(1e9), &of("a"), &of("b")).is_err());
        let two = answer(&[&[Some("1")], &[Some("1")]]);
        assert!(
            compare(how(0.0), &two, &two)
                .unwrap_err()
                .contains("one row was expected")
        );
    }

    #[test]
    fn no_rows_means_none_on_either_side() {
        let (none, one) = (answer(&[]), answer(&[&[Some("lost")]]));
        assert_eq!(compare(Comparison::NoRows, &none, &none), Ok(()));
        assert!(
            compare(Comparison::NoRows, &one, &one)
                .unwrap_err()
                .contains("blue has 1")
        );
        assert!(
            compare(Comparison::NoRows, &none, &one)
                .unwrap_err()
                .contains("('lost')")
        );
    }

    #[test]
    fn what_was_cut_never_agrees_and_binary_is_shown_as_such() {
        let cut = Answer {
            cut: true,
            ..answer(&[&[Some("1")]])
        };
        assert!(compare(Comparison::Set, &cut, &cut).is_err());
        assert_eq!(shown_cell(&Some(vec![0, 255])), "0x00ff");
        assert!(shown(&[Some(vec![b'x'; 5000])]).len() < 300);
    }

    #[test]
    fn floats_have_one_spelling() {
        let spelled = |text: &str| one_spelling(text.as_bytes(), false).unwrap();
        assert_eq!(spelled("1e20"), spelled("100000000000000000000"));
        assert_eq!(spelled("-0"), spelled("0"));
        assert_ne!(spelled("0.1"), spelled("0.10000000000000002"));
        assert_eq!(one_spelling(b"abc", false), None);
        let rounded = |text: &str| one_spelling(text.as_bytes(), true).unwrap();
        assert_eq!(rounded("0.1"), rounded("0.10000000000000002"));
        assert_ne!(rounded("0.1"), rounded("0.10000000001"));
    }

    proptest! {
        #[test]
        fn shuffling_never_matters_for_sets(mut rows in proptest::collection::vec(0_u8..4, 0..20), seed in any::<u64>()) {
            let build = |rows: &[u8]| Answer {
                columns: 1,
                rows: rows.iter().map(|r| vec![Some(vec![*r])]).collect(),
                cut: false,
            };
            let before = build(&rows);
            let len = rows.len().max(1);
            for i in 0..rows.len() {
                rows.swap(i, (seed as usize).wrapping_add(i * 7) % len);
            }
            prop_assert_eq!(compare(Comparison::Set, &before, &build(&rows)), Ok(()));
            rows.push(9);
            prop_assert!(compare(Comparison::Set, &before, &build(&rows)).is_err());
        }
    }
}
