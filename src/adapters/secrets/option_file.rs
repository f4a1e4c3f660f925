//! Reads one value out of an option file, by the rules of the servers' own clients.
//!
//! Groups in brackets, `key = value`, `#` and `;` comments, quotes, and the escapes `\b \t \n \r \s \\ \' \"`. A `#`
//! outside quotes ends a value, as it does for the clients. `!include` is not followed: a password comes from the file
//! that the playbook names.

use secrecy::zeroize::Zeroizing;

/// What an option file lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Group,
    Key,
}

/// Returns the value of `key` in `group`; the last one wins, as with the clients.
pub(super) fn value_of(text: &str, group: &str, key: &str) -> Result<Zeroizing<String>, Missing> {
    let mut is_in_group = false;
    let mut missing = Missing::Group;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';', '!']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            is_in_group = rest.split(']').next().is_some_and(|name| name.trim() == group);
            if is_in_group {
                missing = Missing::Key;
            }
            continue;
        }
        if !is_in_group {
            continue;
        }
        let line = without_comment(line);
        if let Some((name, value)) = line.split_once('=')
            && name.trim().replace('-', "_") == key
        {
            found = Some(unquoted(value.trim()));
        }
    }
    found.ok_or(missing)
}

fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, c) in line.char_indices() {
        if matches!(c, '\'' | '"') && !is_escaped {
            quote = match quote {
                None => Some(c),
                Some(open) if open == c => None,
                open => open,
            };
        }
        if quote.is_none() && c == '#' {
            return &line[..at];
        }
        is_escaped = quote.is_some() && c == '\\' && !is_escaped;
    }
    line
}

fn unquoted(value: &str) -> Zeroizing<String> {
    let inner = ['\'', '"']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value);
    let mut out = Zeroizing::new(String::with_capacity(inner.len()));
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('b') => out.push('\u{8}'),
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('s') => out.push(' '),
            Some(c @ ('\\' | '\'' | '"')) => out.push(c),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(line: &str) -> String {
        value_of(
            &format!("[other]\npassword=no\n[client]\n{line}\n"),
            "client",
            "password",
        )
        .unwrap()
        .to_string()
    }

    #[test]
    fn values_are_read_as_the_clients_read_them() {
        for (line, expected) in [
            ("password=plain", "plain"),
            ("  password =  spaced out  ", "spaced out"),
            ("password=\"a # b\" # comment", "a # b"),
            ("password='it\\'s'", "it's"),
            ("password=ab#cd", "ab"),
            ("password=a\\sb\\tc\\\\d\\xe", "a b\tc\\d\\xe"),
            ("password=a=b=c", "a=b=c"),
            ("password=first\npassword=second", "second"),
            ("password=\"unbalanced", "\"unbalanced"),
            ("# password=no\n;password=no\nuser=x\npassword=yes", "yes"),
        ] {
            assert_eq!(password(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_missing_is_told_apart() {
        assert_eq!(
            value_of("[a]\nx=1\n", "b", "password").unwrap_err(),
            Missing::Group
        );
        assert_eq!(
            value_of("[a]\nx=1\npassword\n", "a", "password").unwrap_err(),
            Missing::Key
        );
        assert_eq!(
            value_of("[ab]\npassword=1\n", "a", "password").unwrap_err(),
            Missing::Group
        );
    }
}
