//! The checks themselves, one file per subject. Each is a pure function from a survey to findings.

pub(super) mod accounts;
pub(super) mod activity;
pub(super) mod binlog;
pub(super) mod events;
pub(super) mod identity;
pub(super) mod limits;
pub(super) mod objects;
pub(super) mod plan;
pub(super) mod privileged;
pub(super) mod replication;
pub(super) mod restart;
pub(super) mod rights;
pub(super) mod schema;
pub(super) mod tables;
pub(super) mod upgrade;
pub(super) mod variables;
pub(super) mod way_back;

use std::collections::BTreeMap;
use std::time::Duration;

use super::facts::{Identity, ServerFacts};
use super::finding::Findings;
use crate::domain::ids::Side;
use crate::domain::server::Family;

/// How to make settings and counters known: every account may read them, so only a lost connection hides them.
const ASK_AGAIN: &str = "see why the server did not answer and ask again";

/// A map of settings or counters, names in lower case.
type Names = BTreeMap<String, String>;

fn variables<'a>(found: &mut Findings, side: Side, facts: &'a ServerFacts) -> Option<&'a Names> {
    found.need(side, &facts.variables, ASK_AGAIN)
}

fn identity<'a>(found: &mut Findings, side: Side, facts: &'a ServerFacts) -> Option<&'a Identity> {
    found.need(side, &facts.identity, ASK_AGAIN)
}

fn family(facts: &ServerFacts) -> Option<Family> {
    facts.identity.value().map(|i| i.version.family)
}

fn is_on(names: &Names, name: &str) -> bool {
    names
        .get(name)
        .is_some_and(|v| matches!(v.to_ascii_uppercase().as_str(), "ON" | "1" | "YES" | "TRUE"))
}

/// The value of the first of these names that exists.
fn first<'a>(names: &'a Names, choices: &[&str]) -> Option<&'a str> {
    choices.iter().find_map(|n| names.get(*n)).map(String::as_str)
}

fn number(names: &Names, name: &str) -> Option<u64> {
    names.get(name)?.trim().parse().ok()
}

/// The first five of a list, and how many more there are.
fn sample<T: AsRef<str>>(items: &[T]) -> String {
    let mut text = items
        .iter()
        .take(5)
        .map(AsRef::as_ref)
        .collect::<Vec<_>>()
        .join(", ");
    if items.len() > 5 {
        text.push_str(&format!(" and {} more", items.len() - 5));
    }
    text
}

/// A duration as a playbook writes it, at millisecond resolution.
fn written(duration: Duration) -> String {
    humantime::format_duration(Duration::from_millis(millis(duration))).to_string()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn written_ms(ms: u64) -> String {
    written(Duration::from_millis(ms))
}

/// A statement's text without what its quotes hold (it may be a password or a person's name) and without line ends,
/// cut to 120 characters.
#[must_use]
pub fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                out.push_str("'…'");
                while let Some(inner) = chars.next() {
                    if inner == '\\' {
                        chars.next();
                    } else if inner == c && chars.next_if_eq(&c).is_none() {
                        break;
                    }
                }
            }
            c if c.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c => out.push(c),
        }
        if out.chars().count() > 120 {
            return out.chars().take(119).chain(['…']).collect();
        }
    }
    out.trim().to_owned()
}

/// The words of a statement, upper case, comments left out (what the server executes of them stays), at most `count`.
fn leading_words(text: &str, count: usize) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("/*") {
        let (before, comment) = rest.split_at(start);
        plain.push_str(before);
        plain.push(' ');
        if comment.starts_with("/*!") || comment.starts_with("/*M!") {
            rest = comment
                .trim_start_matches(|c: char| !c.is_ascii_alphabetic() || c == 'M')
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '!');
            continue;
        }
        rest = comment
            .find("*/")
            .and_then(|end| comment.get(end + 2..))
            .unwrap_or_default();
    }
    plain.push_str(rest);
    plain
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|w| !w.is_empty())
        .take(count)
        .map(str::to_ascii_uppercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_get_out() {
        assert_eq!(
            masked("CREATE USER a\n  IDENTIFIED BY 'o''x\\'y' COMMENT \"b\""),
            "CREATE USER a IDENTIFIED BY '…' COMMENT '…'"
        );
        assert_eq!(masked("SELECT 'never closed"), "SELECT '…'");
        assert!(masked(&"x ".repeat(200)).chars().count() <= 120);
    }

    #[test]
    fn finds_the_verb_behind_comments() {
        assert_eq!(
            leading_words("/* app */ alter /*x*/ table t", 2),
            ["ALTER", "TABLE"]
        );
        assert_eq!(leading_words("/*!40000 DROP TABLE t */", 2), ["DROP", "TABLE"]);
        assert_eq!(leading_words("(select 1)", 1), ["SELECT"]);
    }

    proptest::proptest! {
        #[test]
        fn what_stands_in_quotes_is_never_shown(before in "[a-z (=,]{0,20}", secret in "[A-Z0-9\\\\']{1,20}", quote in "['\"]") {
            // Written as a server takes it: backslashes and quotes doubled.
            let inside = secret.replace('\\', "\\\\").replace(&quote, &quote.repeat(2));
            let shown = masked(&format!("{before}{quote}{inside}{quote} end"));
            for character in secret.chars().filter(char::is_ascii_alphanumeric) {
                proptest::prop_assert!(!shown.contains(character), "{shown}");
            }
        }
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        assert_eq!(sample(&["a", "b"]), "a, b");
        assert_eq!(
            sample(&["a", "b", "c", "d", "e", "f", "g"]),
            "a, b, c, d, e and 2 more"
        );
    }
}
