//! The one place that turns names and texts into SQL.

/// Quotes an identifier: `` `a``b` ``. Right under every `sql_mode`.
#[must_use]
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Quotes a qualified name: `` `schema`.`table` ``.
#[must_use]
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// Quotes a text as a string literal that is right with and without `NO_BACKSLASH_ESCAPES`.
///
/// A text with a backslash is written as a hexadecimal literal with its character set, because a backslash means
/// different things in the two modes; everything else doubles its quotes.
#[must_use]
pub fn text(value: &str) -> String {
    if value.bytes().any(|b| b == b'\\' || b == 0) {
        let hex: String = value.bytes().map(|b| format!("{b:02x}")).collect();
        format!("_utf8mb4 x'{hex}'")
    } else {
        format!("'{}'", value.replace('\'', "''"))
    }
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
        assert_eq!(text("it's"), "'it''s'");
        assert_eq!(text("a\\'b"), "_utf8mb4 x'615c2762'");
        assert_eq!(account("o'x", "%"), "'o''x'@'%'");
    }
}
