//! Cuts a statement's text into tokens. Pure text: it knows neither tables nor grammar.
//!
//! Texts are read as servers read them by default: double quotes are a text, a backslash escapes.

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A name or keyword as it was written, without quotes.
    Word(String),
    /// A name in backticks, without them.
    Name(String),
    /// A text in quotes; what it says does not matter to anyone here.
    Text,
    /// A number, also hexadecimal or binary.
    Number,
    /// A variable of the session or the server: `@x`, `@@x`.
    Variable(String),
    /// `?`: the place of a value that was sent apart from the text.
    Placeholder,
    /// Any other character.
    Sign(char),
}

/// Why a text cannot be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCut {
    /// `/*! */` or `/*M! */`: the server runs what stands in it.
    #[error("a comment that the server runs (/*! */) cannot be looked into")]
    CommentThatRuns,
    /// A quote without its partner.
    #[error("a quote ({0}) is opened and never closed")]
    OpenQuote(char),
    /// A comment without its end.
    #[error("a comment is opened and never closed")]
    OpenComment,
}

/// Cuts a text; comments are left out.
///
/// # Errors
/// [`NotCut`].
pub fn tokens(text: &str) -> Result<Vec<Token>, NotCut> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        match c {
            '\'' | '"' | '`' => {
                let end = end_of_quoted(&chars, at).ok_or(NotCut::OpenQuote(c))?;
                found.push(if c == '`' {
                    let inner: String = chars[at + 1..end - 1].iter().collect();
                    Token::Name(inner.replace("``", "`"))
                } else {
                    Token::Text
                });
                at = end;
            }
            '#' => at = end_of_line(&chars, at),
            '-' if next == Some('-') && chars.get(at + 2).is_none_or(|c| c.is_whitespace()) => {
                at = end_of_line(&chars, at);
            }
            '/' if next == Some('*') => {
                let rest = &chars[at + 2..];
                if matches!(rest, ['!', ..] | ['M' | 'm', '!', ..]) {
                    return Err(NotCut::CommentThatRuns);
                }
                at = (at + 2..chars.len())
                    .find(|i| chars[*i] == '*' && chars.get(i + 1) == Some(&'/'))
                    .ok_or(NotCut::OpenComment)?
                    + 2;
            }
            '?' => {
                found.push(Token::Placeholder);
                at += 1;
            }
            '@' => {
                let start = at;
                while chars.get(at) == Some(&'@') {
                    at += 1;
                }
                at = match chars.get(at) {
                    Some(quote @ ('\'' | '"' | '`')) => {
                        end_of_quoted(&chars, at).ok_or(NotCut::OpenQuote(*quote))?
                    }
                    _ => end_of_word(&chars, at, |c| c == '.'),
                };
                found.push(Token::Variable(chars[start..at].iter().collect()));
            }
            c if c.is_ascii_digit() => {
                at = end_of_number(&chars, at);
                found.push(Token::Number);
            }
            '.' if next.is_some_and(|c| c.is_ascii_digit()) && !follows_a_name(&found, &chars, at) => {
                at = end_of_number(&chars, at);
                found.push(Token::Number);
            }
            c if is_word(c) => {
                let end = end_of_word(&chars, at, |_| false);
                let word: String = chars[at..end].iter().collect();
                let quoted_next = chars.get(end) == Some(&'\'');
                // `x'00'`, `b'1'`, `N'..'` and `_utf8mb4'..'` are one text.
                let is_prefix = quoted_next
                    && (matches!(word.to_ascii_lowercase().as_str(), "x" | "b" | "n")
                        || word.starts_with('_'));
                if !is_prefix {
                    found.push(Token::Word(word));
                }
                at = end;
            }
            c => {
                if !c.is_whitespace() {
                    found.push(Token::Sign(c));
                }
                at += 1;
            }
        }
    }
    Ok(found)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// `t.1` is a column of a table; ` .1` is a number.
fn follows_a_name(found: &[Token], chars: &[char], at: usize) -> bool {
    let touches = at > 0 && chars.get(at - 1).is_some_and(|c| is_word(*c) || *c == '`');
    touches && matches!(found.last(), Some(Token::Word(_) | Token::Name(_)))
}

fn end_of_word(chars: &[char], from: usize, also: impl Fn(char) -> bool) -> usize {
    (from..chars.len())
        .find(|i| !(is_word(chars[*i]) || also(chars[*i])))
        .unwrap_or(chars.len())
}

/// `12`, `1.5`, `1e-9`, `0xff`.
fn end_of_number(chars: &[char], from: usize) -> usize {
    let mut at = from;
    while let Some(&c) = chars.get(at) {
        let is_exponent = matches!(chars.get(at.wrapping_sub(1)), Some('e' | 'E')) && at > from;
        if is_word(c) || c == '.' || (is_exponent && (c == '-' || c == '+') && !is_hexadecimal(chars, from)) {
            at += 1;
        } else {
            break;
        }
    }
    at
}

fn is_hexadecimal(chars: &[char], from: usize) -> bool {
    matches!(chars.get(from + 1), Some('x' | 'X'))
}

fn end_of_line(chars: &[char], from: usize) -> usize {
    (from..chars.len())
        .find(|i| chars[*i] == '\n')
        .unwrap_or(chars.len())
}

/// Returns the place after the closing quote.
fn end_of_quoted(chars: &[char], from: usize) -> Option<usize> {
    let quote = chars[from];
    let mut at = from + 1;
    while let Some(&c) = chars.get(at) {
        match c {
            '\\' if quote != '`' => at += 2,
            c if c == quote && chars.get(at + 1) == Some(&quote) => at += 2,
            c if c == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word(text: &str) -> Token {
        Token::Word(text.to_owned())
    }

    #[test]
    fn a_statement_falls_into_its_parts() {
        let text = "SELECT `a``b`, t.1e, .5 FROM s.t -- no\n WHERE x='it''s \\' \"q' AND y=0xFF # no\n/* no */ OR z=1e-5";
        assert_eq!(
            tokens(text).unwrap(),
            [
                word("SELECT"),
                Token::Name("a`b".into()),
                Token::Sign(','),
                word("t"),
                Token::Sign('.'),
                Token::Number,
                Token::Sign(','),
                Token::Number,
                word("FROM"),
                word("s"),
                Token::Sign('.'),
                word("t"),
                word("WHERE"),
                word("x"),
                Token::Sign('='),
                Token::Text,
                word("AND"),
                word("y"),
                Token::Sign('='),
                Token::Number,
                word("OR"),
                word("z"),
                Token::Sign('='),
                Token::Number,
            ]
        );
        let values = tokens("_utf8mb4'x' x'00' N'a' ? @a @@global.b @`c d` \"e\"").unwrap();
        assert_eq!(
            values,
            [
                Token::Text,
                Token::Text,
                Token::Text,
                Token::Placeholder,
                Token::Variable("@a".into()),
                Token::Variable("@@global.b".into()),
                Token::Variable("@`c d`".into()),
                Token::Text,
            ]
        );
    }

    #[test]
    fn what_the_server_would_run_or_never_ends_is_refused() {
        for (text, why) in [
            ("SELECT 1 /*! , SLEEP(9) */", NotCut::CommentThatRuns),
            ("SELECT 1 /*!50000 , 2 */", NotCut::CommentThatRuns),
            ("SELECT 1 /*M! , 2 */", NotCut::CommentThatRuns),
            ("SELECT 'a", NotCut::OpenQuote('\'')),
            ("SELECT `a", NotCut::OpenQuote('`')),
            ("SELECT 'a\\'", NotCut::OpenQuote('\'')),
            ("SELECT /* a", NotCut::OpenComment),
        ] {
            assert_eq!(tokens(text), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,80}|[-a-z0-9'\"`@?.\\\\/*!#; \n]{0,80}") {
            let _ = tokens(&text);
        }
    }
}
