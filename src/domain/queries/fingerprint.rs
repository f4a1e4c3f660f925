//! A name for all statements that differ only in their values.
//!
//! It is bleen's own, so that it is the same on both sides of a pair and in both families: the servers' own digests
//! differ between versions, and MariaDB usually keeps none. People see it in every output and name it in a waiver.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::words::{NotCut, Token, tokens};

/// Sixteen hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

/// A text that is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a fingerprint: {DIGITS} hexadecimal digits in lower case")]
pub struct NotAFingerprint(pub String);

/// How long a fingerprint is.
pub const DIGITS: usize = 16;

impl Fingerprint {
    /// Takes a fingerprint as it was shown.
    ///
    /// # Errors
    /// [`NotAFingerprint`].
    pub fn new(text: impl Into<String>) -> Result<Self, NotAFingerprint> {
        let text = text.into();
        let fits = text.len() == DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if fits {
            Ok(Self(text))
        } else {
            Err(NotAFingerprint(text))
        }
    }

    /// The fingerprint of a statement. A text that cannot be cut into words has one, too, of the text itself: it still
    /// has to be named.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let normal = normal(text).unwrap_or_else(|_| text.to_owned());
        let digest = Sha256::digest(normal.as_bytes());
        let mut digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.truncate(DIGITS);
        Self(digits)
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = NotAFingerprint;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0
    }
}

/// Words whose case says nothing. Names of tables keep theirs: on most servers it matters.
const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "ANY",
    "AS",
    "ASC",
    "BETWEEN",
    "BINARY",
    "BY",
    "CASE",
    "COLLATE",
    "CROSS",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "DELETE",
    "DESC",
    "DISTINCT",
    "DISTINCTROW",
    "DIV",
    "DUAL",
    "ELSE",
    "END",
    "ESCAPE",
    "EXCEPT",
    "EXISTS",
    "FALSE",
    "FOR",
    "FORCE",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IGNORE",
    "IN",
    "INDEX",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "KEY",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LOCK",
    "MOD",
    "MODE",
    "NATURAL",
    "NOT",
    "NULL",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "RECURSIVE",
    "REGEXP",
    "REPLACE",
    "RIGHT",
    "RLIKE",
    "ROLLUP",
    "ROW",
    "ROWS",
    "SELECT",
    "SEPARATOR",
    "SET",
    "SHARE",
    "SHOW",
    "SQL_NO_CACHE",
    "SQL_CALC_FOUND_ROWS",
    "STRAIGHT_JOIN",
    "TABLE",
    "THEN",
    "TRUE",
    "UNION",
    "UNKNOWN",
    "UPDATE",
    "USE",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
    "XOR",
];

/// A statement without its values: `SELECT a FROM t WHERE b IN (?, ...) AND c = ?`.
///
/// # Errors
/// [`NotCut`].
pub fn normal(text: &str) -> Result<String, NotCut> {
    let tokens = tokens(text)?;
    let mut parts: Vec<String> = Vec::with_capacity(tokens.len());
    for (at, token) in tokens.iter().enumerate() {
        let part = match token {
            Token::Word(word) => {
                let upper = word.to_ascii_uppercase();
                let is_call = tokens.get(at + 1) == Some(&Token::Sign('('));
                if matches!(upper.as_str(), "TRUE" | "FALSE") {
                    "?".to_owned()
                } else if is_call || KEYWORDS.contains(&upper.as_str()) {
                    upper
                } else {
                    word.clone()
                }
            }
            Token::Name(name) if is_plain(name) => name.clone(),
            Token::Name(name) => format!("`{}`", name.replace('`', "``")),
            Token::Text | Token::Number | Token::Placeholder => "?".to_owned(),
            Token::Variable(name) => name.clone(),
            Token::Sign(sign) => sign.to_string(),
        };
        push(&mut parts, part);
    }
    while parts.last().is_some_and(|part| part == ";") {
        parts.pop();
    }
    Ok(parts.join(" "))
}

/// Adds a part, and folds what only counts values: a sign before a value, texts side by side, lists, rows of values.
fn push(parts: &mut Vec<String>, part: String) {
    let ends_with = |parts: &[String], end: &[&str]| {
        parts.len() >= end.len()
            && parts[parts.len() - end.len()..]
                .iter()
                .zip(end)
                .all(|(a, b)| a == b)
    };
    if part == "?" {
        let signed = matches!(parts.last().map(String::as_str), Some("-" | "+"))
            && parts
                .len()
                .checked_sub(2)
                .and_then(|at| parts.get(at))
                .is_none_or(|before| opens(before));
        if signed {
            parts.pop();
        }
        if matches!(parts.last().map(String::as_str), Some("?")) {
            return;
        }
        for list in [["?", ","], ["...", ","]] {
            if ends_with(parts, &list) && in_a_list(parts) {
                parts.truncate(parts.len() - 2);
                parts.push("...".to_owned());
                return;
            }
        }
    }
    if part == ")" && ends_with(parts, &["(", "?"]) && is_list_head(parts, parts.len() - 2) {
        // A list of one value is a list.
        parts.pop();
        parts.push("...".to_owned());
    }
    parts.push(part);
    // Rows of values: `VALUES (...), (...)`.
    if ends_with(parts, &["(", "...", ")", ",", "(", "...", ")"]) {
        parts.truncate(parts.len() - 4);
    }
}

/// Whether a sign after this part belongs to the value, and is no subtraction.
fn opens(part: &str) -> bool {
    matches!(
        part,
        "(" | "," | "=" | "<" | ">" | "+" | "-" | "*" | "/" | "%" | "|" | "&"
    ) || KEYWORDS.contains(&part) && part != "END"
}

/// Whether the parts end inside an open list of values.
fn in_a_list(parts: &[String]) -> bool {
    parts
        .iter()
        .rposition(|part| part == "(")
        .is_some_and(|open| is_list_head(parts, open))
}

/// Whether this bracket opens a list whose length says nothing: after IN, and rows of values.
fn is_list_head(parts: &[String], open: usize) -> bool {
    let before = open
        .checked_sub(1)
        .and_then(|at| parts.get(at))
        .map(String::as_str);
    match before {
        Some("IN" | "VALUES" | "ROW") => true,
        Some(",") => open >= 2 && parts[open - 2] == ")",
        // `IN ((1, 2), (3, 4))`.
        Some("(") => open >= 2 && parts[open - 2] == "IN",
        _ => false,
    }
}

fn is_plain(name: &str) -> bool {
    let is_keyword = KEYWORDS.contains(&name.to_ascii_uppercase().as_str());
    !is_keyword
        && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$')
        && name.chars().next().is_some_and(|c| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_spaces_comments_and_case_of_keywords_do_not_matter() {
        let all = [
            "SELECT a FROM t WHERE b = 1 AND c IN (1, 2, 3)",
            "select a\n from `t` where b=-7.5 and c in ('x')",
            "SELECT a /* why */ FROM t WHERE b = ? AND c IN (?, ?) -- end",
            "SELECT a FROM t WHERE b = x'00' AND c IN (1,'a',NULL OR 1);",
        ];
        let first = normal(all[0]).unwrap();
        assert_eq!(first, "SELECT a FROM t WHERE b = ? AND c IN ( ... )");
        for text in &all[1..3] {
            assert_eq!(normal(text).unwrap(), first, "{text}");
            assert_eq!(Fingerprint::of(text), Fingerprint::of(all[0]));
        }
        assert_eq!(
            normal("VALUES ROW(1,2), ROW(3,4)").unwrap(),
            "VALUES ROW ( ... ) , ROW ( ... )"
        );
        assert_eq!(
            normal("SELECT 1 WHERE (a, b) IN ((1,2),(3,4), (5,6))").unwrap(),
            "SELECT ? WHERE ( a , b ) IN ( ( ... ) )"
        );
        assert_eq!(
            normal("SELECT a - 1, f(-1), 'a' 'b'").unwrap(),
            "SELECT a - ? , F ( ? ) , ?"
        );
    }

    #[test]
    fn what_means_something_else_has_another_name() {
        let base = Fingerprint::of("SELECT a FROM t WHERE b = 1");
        for other in [
            "SELECT a FROM T WHERE b = 1",
            "SELECT a FROM t WHERE b > 1",
            "SELECT a FROM t WHERE b = 1 LIMIT 1",
            "SELECT `from` FROM t WHERE b = 1",
            "SELECT a FROM s.t WHERE b = 1",
            "SELECT a FROM t WHERE b = c",
        ] {
            assert_ne!(Fingerprint::of(other), base, "{other}");
        }
        assert_ne!(Fingerprint::of("SELECT f(1)"), Fingerprint::of("SELECT f(1, 2)"));
    }

    #[test]
    fn a_fingerprint_is_written_in_one_way() {
        let shown = Fingerprint::of("SELECT 1").to_string();
        assert_eq!(Fingerprint::new(shown.as_str()).unwrap().as_str(), shown);
        // Shown once, named in a playbook: it may never change.
        assert_eq!(shown, "66cbb3a40d4bbd15");
        for bad in ["", "abc", "0123456789abcdeG", "0123456789ABCDEF"] {
            assert!(Fingerprint::new(bad).is_err(), "{bad}");
        }
        // What cannot be cut is named all the same.
        assert_eq!(Fingerprint::of("SELECT 'a"), Fingerprint::of("SELECT 'a"));
    }

    proptest! {
        #[test]
        fn numbers_and_lengths_of_lists_never_matter(
            a in any::<i32>(), b in any::<f64>(), list in proptest::collection::vec(any::<i32>(), 1..20), text in "[a-z ]{0,9}"
        ) {
            let items: Vec<String> = list.iter().map(ToString::to_string).collect();
            let one = format!("SELECT x FROM t WHERE a = {a} AND d = {b:?} AND c = '{text}' AND e IN ({})", items.join(", "));
            let two = "SELECT x FROM t WHERE a = 1 AND d = 2.5 AND c = '' AND e IN (1)";
            prop_assume!(b.is_finite());
            prop_assert_eq!(Fingerprint::of(&one), Fingerprint::of(two));
        }
    }
}
