//! The one place that turns names and texts into SQL.

/// Quotes an identifier: `` `a``b` ``. Right under every `sql_mode`.
#[must_use]
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The name that [`identifier`] quoted.
#[must_use]
pub fn plain(quoted: &str) -> String {
    let inside = quoted.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
    inside.unwrap_or(quoted).replace("``", "`")
}

/// Quotes a qualified name: `` `schema`.`table` ``.
#[must_use]
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// Quotes a text as a string literal, for sessions whose `sql_mode` lacks `NO_BACKSLASH_ESCAPES`: what
/// [`Session::open`](super::session::Session::open) sees to, and every server's default.
///
/// A plain literal and never a hexadecimal one: where a statement wants a text (`IDENTIFIED BY`, `SOURCE_PASSWORD =`,
/// `PREPARE … FROM`) servers take nothing else.
#[must_use]
pub fn text(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('\'');
    for c in value.chars() {
        match c {
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            '\0' => quoted.push_str("\\0"),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    quoted
}

/// Quotes an account: `'user'@'host'`.
#[must_use]
pub fn account(user: &str, host: &str) -> String {
    format!("{}@{}", text(user), text(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_quotes() {
        assert_eq!(identifier("a`b"), "`a``b`");
        assert_eq!(qualified("s", "t`"), "`s`.`t```");
        for name in ["a", "`", "a`", "`a`b`"] {
            assert_eq!(plain(&identifier(name)), name);
        }
        assert_eq!(text("it's"), "'it''s'");
        assert_eq!(text("a\\'b\0"), "'a\\\\''b\\0'");
        assert_eq!(account("o'x", "%"), "'o''x'@'%'");
    }
}
