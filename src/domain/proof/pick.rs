//! Which tables are to be proved: patterns such as `shop.*`, and those to leave out.

use super::transaction::TableName;

/// A name with `*` for any characters and `?` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    schema: Vec<char>,
    table: Vec<char>,
}

impl Pattern {
    /// Reads `schema.table`; a pattern without a dot is a table of any schema.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let (schema, table) = text.split_once('.').unwrap_or(("*", text));
        Self {
            schema: schema.chars().collect(),
            table: table.chars().collect(),
        }
    }

    /// Whether a table is meant.
    #[must_use]
    pub fn matches(&self, name: &TableName) -> bool {
        let chars = |text: &str| text.chars().collect::<Vec<char>>();
        fits(&self.schema, &chars(&name.schema)) && fits(&self.table, &chars(&name.table))
    }
}

/// Goes back to the last `*` where it does not fit: no more steps than both lengths multiplied.
fn fits(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || Some(c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, t));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_none_or(|rest| rest.iter().all(|c| *c == '*'))
}

/// Which tables are to be proved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pick {
    /// Those that match one of these; all if there are none.
    pub tables: Vec<Pattern>,
    /// And none of these.
    pub exclude: Vec<Pattern>,
}

impl Pick {
    /// Whether a table is to be proved.
    #[must_use]
    pub fn takes(&self, name: &TableName) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        (self.tables.is_empty() || any(&self.tables)) && !any(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_a_shell_means() {
        let name = |schema: &str, table: &str| TableName {
            schema: schema.into(),
            table: table.into(),
        };
        for (pattern, schema, table, matches) in [
            ("shop.*", "shop", "orders", true),
            ("shop.*", "shop2", "orders", false),
            ("orders", "any", "orders", true),
            ("orders", "any", "orders_old", false),
            ("*.*_old", "a", "b_old_old", true),
            ("s?op.o*r*s", "shop", "orders", true),
            ("shop.a**b*", "shop", "ab", true),
            ("shop.", "shop", "x", false),
            ("shop.a.b", "shop", "a.b", true),
        ] {
            assert_eq!(
                Pattern::of(pattern).matches(&name(schema, table)),
                matches,
                "{pattern} {schema}.{table}"
            );
        }
        let pick = Pick {
            tables: vec![Pattern::of("shop.*")],
            exclude: vec![Pattern::of("*_old")],
        };
        assert!(pick.takes(&name("shop", "a")));
        assert!(!pick.takes(&name("shop", "a_old")) && !pick.takes(&name("x", "a")));
        assert!(Pick::default().takes(&name("x", "y")));
    }
}
