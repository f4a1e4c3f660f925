//! A first look at a gate query's text, for early and clear words.
//!
//! This is no guard: what keeps a gate query from writing is the read-only transaction it runs in. A statement that
//! passes here and writes all the same is refused by the server.

use crate::domain::queries::words::{Token, tokens};

/// Words with which a reading statement begins.
const READING: [&str; 7] = ["SELECT", "WITH", "TABLE", "VALUES", "SHOW", "CHECKSUM", "EXPLAIN"];

/// Returns what is wrong with a gate query, or nothing.
pub(super) fn objection(text: &str) -> Option<String> {
    let words = match words(text) {
        Ok(words) => words,
        Err(what) => return Some(what),
    };
    let first = words.iter().find(|word| *word != "(").map_or("", String::as_str);
    if first.is_empty() {
        return Some("no statement here".to_owned());
    }
    if !READING.contains(&first) {
        return Some(format!(
            "a gate query only reads; it begins with SELECT, WITH, SHOW, ..., not {first}"
        ));
    }
    if let Some(at) = words.iter().position(|word| word == ";") {
        return Some(if at + 1 == words.len() {
            "remove the semicolon at the end".to_owned()
        } else {
            "one statement for each query; make a second query of the rest".to_owned()
        });
    }
    let has_pair = |a: &str, b: &[&str]| {
        words
            .windows(2)
            .any(|pair| pair[0] == a && b.contains(&pair[1].as_str()))
    };
    if has_pair("FOR", &["UPDATE", "SHARE"]) || has_pair("LOCK", &["IN"]) {
        return Some(
            "a gate query takes no locks; remove FOR UPDATE, FOR SHARE or LOCK IN SHARE MODE".to_owned(),
        );
    }
    if has_pair("INTO", &["OUTFILE", "DUMPFILE"]) {
        return Some("a gate query writes no files; remove INTO OUTFILE or INTO DUMPFILE".to_owned());
    }
    None
}

/// Cuts a statement into upper-case words and single characters, leaving out strings, names in backticks and comments.
fn words(text: &str) -> Result<Vec<String>, String> {
    let tokens = tokens(text).map_err(|why| why.to_string())?;
    let word = |token| match token {
        Token::Word(word) => word.to_uppercase(),
        Token::Sign(sign) => sign.to_string(),
        Token::Name(_) | Token::Text | Token::Number | Token::Variable(_) | Token::Placeholder => {
            "''".to_owned()
        }
    };
    Ok(tokens.into_iter().map(word).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_statements_pass() {
        for sql in [
            "SELECT SUM(balance) FROM accounts",
            "(SELECT 1) UNION (SELECT 2)",
            "WITH t AS (SELECT 1) SELECT * FROM t",
            "SELECT ';', \"FOR UPDATE\", 'it''s' FROM `a;b` -- for update;\n WHERE x = 'a\\'b'",
            "select 1 /* ; insert */ # ;",
            "SHOW TABLE STATUS",
        ] {
            assert_eq!(objection(sql), None, "{sql}");
        }
    }

    #[test]
    fn others_are_told_why_not() {
        for (sql, word) in [
            ("UPDATE t SET a = 1", "not UPDATE"),
            ("SELECT 1; DELETE FROM t", "one statement"),
            ("SELECT 1;", "semicolon"),
            ("SELECT * FROM t FOR UPDATE", "locks"),
            ("SELECT * INTO OUTFILE 'x' FROM t", "files"),
            ("SELECT 'x", "never closed"),
            ("SELECT 1 /*! , sleep(9) */", "server runs"),
            ("-- nothing", "no statement"),
        ] {
            let said = objection(sql).unwrap_or_default();
            assert!(said.contains(word), "{sql}: {said}");
        }
    }
}
