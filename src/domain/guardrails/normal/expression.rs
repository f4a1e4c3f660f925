//! One spelling for an expression, whatever server printed it.
//!
//! Servers print the same generated column, default, check or view with different brackets, quotes, letter case and
//! character set introducers. Brackets that only repeat precedence go, those that change the meaning stay. What cannot
//! be read as an expression is compared token by token.

use std::collections::BTreeSet;
use std::fmt::Write;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A name or keyword, lower case, without backticks.
    Word(String),
    /// A text, its content.
    Text(String),
    /// A number as written.
    Number(String),
    /// An operator or a bracket.
    Sign(String),
}

/// Brings an expression to one spelling. Never fails: what is no expression comes out as its tokens.
#[must_use]
pub fn canonical(text: &str) -> String {
    let tokens = tokens(text);
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        depth: 0,
    };
    match parser.sequence() {
        Some(out) if parser.at == tokens.len() => out,
        _ => tokens.iter().map(spelled).collect::<Vec<_>>().join(" "),
    }
}

fn spelled(token: &Token) -> String {
    match token {
        Token::Word(w) | Token::Number(w) | Token::Sign(w) => w.clone(),
        Token::Text(t) => format!("'{}'", t.replace('\'', "''")),
    }
}

/// Different names for one function.
fn function_name(name: &str) -> &str {
    match name {
        "now" | "localtime" | "localtimestamp" => "current_timestamp",
        "curdate" => "current_date",
        "curtime" => "current_time",
        "lcase" => "lower",
        "ucase" => "upper",
        "substring" | "mid" => "substr",
        "character_length" => "char_length",
        "power" => "pow",
        "day" => "dayofmonth",
        other => other,
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut out: Vec<Token> = Vec::new();
    let mut i = 0;
    while let Some(&c) = chars.get(i) {
        let next = chars.get(i + 1).copied();
        if c.is_whitespace() {
            i += 1;
        } else if c == '\'' || c == '"' || (c == '\\' && next == Some('\'')) {
            // MySQL prints the quotes of a generated column's texts with a backslash in front.
            let escaped = c == '\\';
            let quote = if escaped { '\'' } else { c };
            let (content, end) = quoted(&chars, i + if escaped { 2 } else { 1 }, quote, escaped);
            drop_introducer(&mut out);
            out.push(Token::Text(content));
            i = end;
        } else if c == '`' {
            let (content, end) = quoted(&chars, i + 1, '`', false);
            out.push(Token::Word(content.to_lowercase()));
            i = end;
        } else if c.is_ascii_digit() {
            let start = i;
            while chars
                .get(i)
                .is_some_and(|c| c.is_ascii_alphanumeric() || *c == '.')
            {
                i += 1;
            }
            out.push(Token::Number(
                chars[start..i].iter().collect::<String>().to_lowercase(),
            ));
        } else if c.is_alphabetic() || c == '_' || c == '@' || c == '$' {
            let start = i;
            while chars
                .get(i)
                .is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '@'))
            {
                i += 1;
            }
            let word = chars[start..i].iter().collect::<String>().to_lowercase();
            match word.as_str() {
                "and" | "or" | "xor" | "div" | "like" | "regexp" | "is" | "in" | "between" => {
                    out.push(Token::Sign(word));
                }
                "mod" if chars.get(i) != Some(&'(') => out.push(Token::Sign("%".into())),
                _ => out.push(Token::Word(word)),
            }
        } else {
            let rest: String = chars[i..chars.len().min(i + 3)].iter().collect();
            let sign = [
                "<=>", "->>", "<=", ">=", "<>", "!=", "&&", "||", "<<", ">>", "->", ":=",
            ]
            .iter()
            .find(|s| rest.starts_with(**s))
            .map_or_else(|| c.to_string(), |s| (*s).to_owned());
            i += sign.chars().count();
            out.push(Token::Sign(match sign.as_str() {
                "!=" => "<>".into(),
                "&&" => "and".into(),
                "||" => "or".into(),
                _ => sign,
            }));
        }
    }
    out
}

/// `_utf8mb4'x'` and `N'x'` are `'x'`: both servers convert on comparison, and one of them never prints it.
fn drop_introducer(out: &mut Vec<Token>) {
    if let Some(Token::Word(word)) = out.last()
        && matches!(
            word.as_str(),
            "_utf8" | "_utf8mb3" | "_utf8mb4" | "_latin1" | "_ascii" | "n"
        )
    {
        out.pop();
    }
}

/// Content up to the closing quote and the index behind it.
fn quoted(chars: &[char], start: usize, quote: char, escaped: bool) -> (String, usize) {
    let mut content = String::new();
    let mut i = start;
    while let Some(&c) = chars.get(i) {
        let next = chars.get(i + 1).copied();
        if escaped {
            if c == '\\' && next == Some('\'') {
                return (content, i + 2);
            }
        } else if c == quote {
            if next != Some(quote) {
                return (content, i + 1);
            }
            i += 1;
        } else if c == '\\' && quote != '`' {
            // Keep the escape: both sides print the same one.
            content.push(c);
            i += 1;
            if let Some(next) = next {
                content.push(next);
            }
            i += 1;
            continue;
        }
        content.push(c);
        i += 1;
    }
    (content, i)
}

/// Words in front of a bracket that call nothing.
const KEYWORDS: &[&str] = &[
    "all", "as", "by", "case", "distinct", "else", "end", "escape", "exists", "from", "having", "join",
    "limit", "on", "over", "select", "then", "union", "using", "when", "where", "with",
];

/// How strongly an operator binds; `None` for what is none.
fn strength(sign: &str) -> Option<u8> {
    Some(match sign {
        "or" => 1,
        "xor" => 2,
        "and" => 3,
        "between" => 5,
        "=" | "<=>" | ">=" | ">" | "<=" | "<" | "<>" | "is" | "like" | "regexp" | "in" => 6,
        "|" => 7,
        "&" => 8,
        "<<" | ">>" => 9,
        "+" | "-" => 10,
        "*" | "/" | "div" | "%" => 11,
        "^" => 12,
        "->" | "->>" => 14,
        "." => 15,
        _ => return None,
    })
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: u32,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(s)) if s == sign)
    }

    fn take_sign(&mut self, sign: &str) -> Option<()> {
        self.is_sign(sign).then(|| self.at += 1)
    }

    /// Expressions side by side: `case when a then b end`, `a as char`.
    fn sequence(&mut self) -> Option<String> {
        let mut parts = vec![self.binary(0)?];
        while matches!(
            self.peek(),
            Some(Token::Word(_) | Token::Text(_) | Token::Number(_))
        ) || self.is_sign("(")
        {
            parts.push(self.binary(0)?);
        }
        Some(parts.join(" "))
    }

    fn binary(&mut self, least: u8) -> Option<String> {
        // Deep nesting must not run the stack out: such a text is compared token by token.
        self.depth += 1;
        if self.depth > 200 {
            return None;
        }
        let mut left = self.unary()?;
        while let Some(Token::Sign(sign)) = self.peek() {
            let sign = sign.clone();
            let Some(power) = strength(&sign).filter(|p| *p > least) else {
                break;
            };
            self.at += 1;
            let right = self.binary(power)?;
            left = if sign == "." {
                format!("{left}.{right}")
            } else {
                format!("({left} {sign} {right})")
            };
        }
        self.depth -= 1;
        Some(left)
    }

    fn unary(&mut self) -> Option<String> {
        match self.peek()?.clone() {
            Token::Sign(s) if matches!(s.as_str(), "-" | "+" | "~") => {
                self.at += 1;
                let inner = self.binary(12)?;
                Some(format!("{s}{inner}"))
            }
            Token::Sign(s) if s == "!" => {
                self.at += 1;
                Some(format!("not({})", self.binary(12)?))
            }
            Token::Word(w) if w == "not" => {
                self.at += 1;
                Some(format!("not({})", self.binary(4)?))
            }
            _ => self.atom(),
        }
    }

    fn atom(&mut self) -> Option<String> {
        let token = self.peek()?.clone();
        self.at += 1;
        match token {
            Token::Text(_) | Token::Number(_) => Some(spelled(&token)),
            Token::Word(word) => {
                if !self.is_sign("(") || KEYWORDS.contains(&word.as_str()) {
                    return Some(function_name(&word).to_owned());
                }
                let arguments = self.bracketed()?;
                let name = function_name(&word);
                // `current_timestamp()` and `current_timestamp` are one.
                let empty_now = arguments.is_empty() && name.starts_with("current_");
                Some(if empty_now {
                    name.to_owned()
                } else {
                    format!("{name}({})", arguments.join(", "))
                })
            }
            Token::Sign(s) if s == "(" => {
                self.at -= 1;
                let mut inner = self.bracketed()?;
                if inner.len() == 1 {
                    inner.pop()
                } else {
                    Some(format!("({})", inner.join(", ")))
                }
            }
            // `count(*)`
            Token::Sign(s) if s == "*" => Some(s),
            Token::Sign(_) => None,
        }
    }

    /// `(a, b)`: what stands between the brackets, split at the commas.
    fn bracketed(&mut self) -> Option<Vec<String>> {
        self.take_sign("(")?;
        let mut out = Vec::new();
        if self.take_sign(")").is_some() {
            return Some(out);
        }
        loop {
            out.push(self.sequence()?);
            if self.take_sign(",").is_none() {
                self.take_sign(")")?;
                return Some(out);
            }
        }
    }
}

/// A column's type in one spelling: no display widths where they mean nothing, `utf8mb3` for `utf8`.
#[must_use]
pub fn column_type(text: &str) -> String {
    let lower = text.trim().to_ascii_lowercase();
    let (base, rest) = match lower.find(|c: char| !c.is_ascii_alphanumeric()) {
        Some(end) => lower.split_at(end),
        None => (lower.as_str(), ""),
    };
    let integer = matches!(
        base,
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year"
    );
    let mut out = base.to_owned();
    match rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
        // Zerofill pads to the width; tinyint(1) is what connectors call boolean.
        Some((width, after)) if integer => {
            let boolean = base == "tinyint" && width == "1" && !after.contains("unsigned");
            if after.contains("zerofill") || boolean {
                let _ = write!(out, "({width})");
            }
            out.push_str(after);
        }
        // Members of enum and set keep their letter case.
        _ if matches!(base, "enum" | "set") => {
            out.push_str(text.trim().get(base.len()..).unwrap_or_default())
        }
        _ => out.push_str(rest),
    }
    let words: Vec<&str> = out.split_whitespace().collect();
    words.join(" ")
}

/// A character set or collation in one spelling.
#[must_use]
pub fn collation(text: &str) -> String {
    match text.strip_prefix("utf8") {
        Some("") => "utf8mb3".to_owned(),
        Some(rest) if rest.starts_with('_') => format!("utf8mb3{rest}"),
        _ => text.to_owned(),
    }
}

/// Modes that exist on one side only, or mean nothing for rows: left out of the comparison. NO_AUTO_CREATE_USER went
/// with MySQL 8.0; the compatibility names (MSSQL, DB2 …) went too and stand for others in the list.
const MODES_WITHOUT_WEIGHT: &[&str] = &[
    "NO_AUTO_CREATE_USER",
    "NO_FIELD_OPTIONS",
    "NO_KEY_OPTIONS",
    "NO_TABLE_OPTIONS",
];

/// The modes of a `sql_mode` that have weight.
#[must_use]
pub fn plain_modes(value: &str) -> BTreeSet<String> {
    value
        .split(',')
        .map(|m| m.trim().to_ascii_uppercase())
        .filter(|m| !m.is_empty() && !MODES_WITHOUT_WEIGHT.contains(&m.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_as_two_servers_print_it() {
        for (one, other) in [
            ("(`a` + (`b` * 2))", "`a` + `b` * 2"),
            ("concat(`a`,_utf8mb4\\'-\\',`b`)", "concat(`a`,'-',`b`)"),
            ("((`price` >= 0) and (`qty` > 0))", "`price` >= 0 and `qty` > 0"),
            ("CURRENT_TIMESTAMP", "current_timestamp()"),
            ("CURRENT_TIMESTAMP(6)", "now(6)"),
            (
                "json_unquote(json_extract(`j`,_utf8mb4\\'$.a\\'))",
                "json_unquote(json_extract(`j`,'$.a'))",
            ),
            (
                "(case when (`a` = 1) then _latin1'x' else 'y' end)",
                "case when `a` = 1 then 'x' else 'y' end",
            ),
            ("(`a` in (1,2))", "A IN (1, 2)"),
            ("(not((`a` is null)))", "NOT `a` IS NULL"),
            ("`a` != 1 && `b`", "(`a` <> 1) and `b`"),
            (
                "select `t`.`a` AS `a` from `s`.`t` where (`t`.`a` > 1)",
                "select `t`.`a` AS `a` from `s`.`t` where `t`.`a` > 1",
            ),
        ] {
            assert_eq!(canonical(one), canonical(other), "{one}\n{other}");
        }
    }

    #[test]
    fn what_means_something_else_stays_different() {
        for (one, other) in [
            ("(`a` + `b`) * 2", "`a` + `b` * 2"),
            ("`a` - (`b` - `c`)", "`a` - `b` - `c`"),
            ("'A'", "'a'"),
            ("concat(`a`,'-')", "concat(`a`,'_')"),
            ("not `a` and `b`", "not (`a` and `b`)"),
            ("`a` in (1,2)", "`a` in (1,3)"),
            ("f(a, b)", "f((a, b))"),
        ] {
            assert_ne!(canonical(one), canonical(other), "{one}\n{other}");
        }
    }

    #[test]
    fn types() {
        for (one, other) in [
            ("int(11)", "int"),
            ("int(10) unsigned", "int unsigned"),
            ("year(4)", "year"),
            ("BIGINT(20)", "bigint"),
        ] {
            assert_eq!(column_type(one), column_type(other));
        }
        for (one, other) in [
            ("tinyint(1)", "tinyint(4)"),
            ("int(5) unsigned zerofill", "int(6) unsigned zerofill"),
            ("varchar(10)", "varchar(20)"),
            ("decimal(10,2)", "decimal(10,3)"),
            ("enum('A')", "enum('a')"),
            ("int", "int unsigned"),
            ("datetime(6)", "datetime"),
        ] {
            assert_ne!(column_type(one), column_type(other));
        }
        assert_eq!(collation("utf8_bin"), "utf8mb3_bin");
        assert_eq!(collation("utf8mb4_bin"), "utf8mb4_bin");
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,60}") {
            let _ = canonical(&text);
            let _ = column_type(&text);
        }

        #[test]
        fn outer_brackets_never_matter(text in "[a-c+*<(), 1-]{0,20}") {
            // Only where the text is an expression by itself.
            let alone = tokens(&text);
            let mut parser = Parser { tokens: &alone, at: 0, depth: 0 };
            if parser.sequence().is_some() && parser.at == alone.len() {
                prop_assert_eq!(canonical(&text), canonical(&format!("({text})")));
            }
        }
    }
}
