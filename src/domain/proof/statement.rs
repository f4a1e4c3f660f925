//! Which tables a statement in the binlog may change, or whose definition.
//!
//! The answer errs on one side only: what is not understood reaches a schema, or everything.

use super::super::binlog_events::after_comments;
use super::transaction::TableName;

/// What a statement may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// No row and no definition of a table.
    Nothing,
    /// These tables: their definitions or all their rows.
    Tables(Vec<TableName>),
    /// Rows of this table, and through its triggers and foreign keys those of others.
    RowsOf(TableName),
    /// Tables of this schema.
    Schema(String),
    /// It is not known what.
    Everything,
}

/// What a statement may change, and which tables its foreign keys point at: what is known of those is old then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// What it may change.
    pub reach: Reach,
    /// The tables that its new foreign keys point at.
    pub refers_to: Vec<TableName>,
    /// Tables that have another name afterwards, by both names. Foreign keys go along.
    pub renamed: Vec<TableName>,
    /// It makes a trigger: what changes rows of one table may then change those of others.
    pub makes_trigger: bool,
}

/// Reads a statement that runs in the schema `default`, which is empty where none is chosen.
#[must_use]
pub fn touched(statement: &str, default: &str) -> Touched {
    let tokens = tokens(statement);
    let words = Words {
        tokens: &tokens,
        default,
    };
    let reach = words.reach();
    let mut touched = Touched {
        reach,
        refers_to: Vec::new(),
        renamed: Vec::new(),
        makes_trigger: words.makes_trigger(),
    };
    // The body of a procedure, or a privilege, may say `REFERENCES` too.
    let Reach::Tables(tables) = &touched.reach else {
        return touched;
    };
    if tables.len() > 1 && (words.is(0, "RENAME") || words.is(0, "ALTER")) {
        touched.renamed.clone_from(tables);
    }
    match words.refers_to() {
        Some(refers_to) => touched.refers_to = refers_to,
        None => touched.reach = Reach::Everything,
    }
    touched
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A word without quotes.
    Word(String),
    /// A name in quotes.
    Name(String),
    /// A literal.
    Text,
    Sign(char),
    /// The rest cannot be read: a comment that servers execute, or quotes without an end.
    Unread,
}

impl Token {
    fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own.eq_ignore_ascii_case(word))
    }

    fn one_of(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Word(name) | Self::Name(name) => Some(name),
            _ => None,
        }
    }
}

fn tokens(statement: &str) -> Vec<Token> {
    let mut rest = unwrapped(statement).unwrap_or(statement);
    let mut tokens = Vec::new();
    loop {
        rest = match after_comments(rest) {
            None => {
                tokens.push(Token::Unread);
                return tokens;
            }
            Some("") => return tokens,
            Some(rest) => rest,
        };
        let Some(first) = rest.chars().next() else {
            return tokens;
        };
        let (token, length) = match first {
            '/' if rest.starts_with("/*") => (Token::Unread, rest.len()),
            '`' | '"' => match quoted(rest, first, first == '"') {
                Some((name, length)) => (Token::Name(name), length),
                None => (Token::Unread, rest.len()),
            },
            '\'' => match quoted(rest, first, true) {
                Some((_, length)) => (Token::Text, length),
                None => (Token::Unread, rest.len()),
            },
            _ if is_word(first) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (Token::Word(rest[..length].to_owned()), length)
            }
            sign => (Token::Sign(sign), sign.len_utf8()),
        };
        tokens.push(token);
        rest = &rest[length..];
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '@') || !c.is_ascii()
}

/// What stands in a comment that servers of some versions execute, if there is nothing outside of it.
fn unwrapped(statement: &str) -> Option<&str> {
    let rest = after_comments(statement)?;
    let inside = rest.strip_prefix("/*!").or_else(|| rest.strip_prefix("/*M!"))?;
    let inside = inside.trim_start_matches(|c: char| c.is_ascii_digit());
    let end = inside.find("*/")?;
    inside[end + 2..].trim().is_empty().then_some(&inside[..end])
}

/// A text in quotes and how long it is with them. `escapes`: a backslash may stand before a quote.
fn quoted(text: &str, quote: char, escapes: bool) -> Option<(String, usize)> {
    let mut inside = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            inside.push(chars.next()?.1);
        } else if c != quote {
            inside.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            inside.push(quote);
        } else {
            return Some((inside, at + 1));
        }
    }
    None
}

/// Kinds of objects that hold no rows of tables.
const WITHOUT_ROWS: &[&str] = &[
    "VIEW",
    "TRIGGER",
    "PROCEDURE",
    "FUNCTION",
    "EVENT",
    "USER",
    "ROLE",
    "SERVER",
    "PACKAGE",
    "TABLESPACE",
    "LOGFILE",
    "RESOURCE",
    "SPATIAL",
    "INSTANCE",
    "UNDO",
    "LIBRARY",
];

/// What may follow a name with a parenthesis in a statement that changes rows, without running anything of the user's.
const HARMLESS_CALLS: &[&str] = &[
    "VALUES",
    "VALUE",
    "IN",
    "AND",
    "OR",
    "NOT",
    "ON",
    "SET",
    "WHERE",
    "PARTITION",
    "NOW",
    "CURRENT_TIMESTAMP",
    "RAND",
    "UUID",
    "CONCAT",
    "IFNULL",
    "COALESCE",
    "REPEAT",
    "LPAD",
    "HEX",
    "UNHEX",
    "FLOOR",
    "ROUND",
    "ABS",
    "LENGTH",
    "UPPER",
    "LOWER",
    "MD5",
    "SHA1",
    "SHA2",
    "CAST",
    "CHAR",
    "FROM_UNIXTIME",
    "UNIX_TIMESTAMP",
];

struct Words<'a> {
    tokens: &'a [Token],
    default: &'a str,
}

impl Words<'_> {
    fn is(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is(word))
    }

    fn reach(&self) -> Reach {
        let Some(first) = self.tokens.first() else {
            // Nothing but comments: what MariaDB puts in the place of an event that a reader would not know.
            return Reach::Nothing;
        };
        let Token::Word(verb) = first else {
            return Reach::Everything;
        };
        match verb.to_ascii_uppercase().as_str() {
            "GRANT" | "REVOKE" | "FLUSH" | "INSTALL" | "UNINSTALL" => self.whole(Reach::Nothing),
            "SET" if self.is(1, "PASSWORD") || self.is(1, "DEFAULT") || self.is(1, "ROLE") => {
                self.whole(Reach::Nothing)
            }
            // MariaDB's `ANALYZE UPDATE …` executes the update.
            "ANALYZE" => match self.after(1, &["LOCAL", "NO_WRITE_TO_BINLOG"]) {
                at if self.is(at, "TABLE") || self.is(at, "TABLES") => self.whole(Reach::Nothing),
                _ => Reach::Everything,
            },
            "OPTIMIZE" | "REPAIR" | "CHECK" => match self.after(1, &["LOCAL", "NO_WRITE_TO_BINLOG"]) {
                at if self.is(at, "TABLE") || self.is(at, "TABLES") => self.list(at + 1),
                _ => Reach::Everything,
            },
            "TRUNCATE" => self.list(self.after(1, &["TABLE"])),
            "CREATE" => self.create(),
            "DROP" => self.drop_(),
            "ALTER" => self.alter(),
            "RENAME" if self.is(1, "TABLE") || self.is(1, "TABLES") => self.rename(),
            "RENAME" if self.is(1, "USER") => self.whole(Reach::Nothing),
            "INSERT" | "REPLACE" => {
                let at = self.after(1, &["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"]);
                self.rows_of(at, |_| true)
            }
            "UPDATE" => self.rows_of(self.after(1, &["LOW_PRIORITY", "IGNORE"]), |next| {
                next.is_some_and(|token| token.is("SET"))
            }),
            "DELETE" => {
                let at = self.after(1, &["LOW_PRIORITY", "QUICK", "IGNORE", "FROM"]);
                let is_simple = at > 0 && self.is(at - 1, "FROM");
                self.rows_of(at, |next| {
                    is_simple && next.is_none_or(|token| token.one_of(&["WHERE", "ORDER", "LIMIT"]))
                })
            }
            _ => Reach::Everything,
        }
    }

    /// The tables behind `REFERENCES`; `None` if one of them cannot be told.
    fn refers_to(&self) -> Option<Vec<TableName>> {
        let places = (0..self.tokens.len()).filter(|at| self.is(*at, "REFERENCES"));
        places
            .map(|at| self.named(at + 1).map(|(name, _)| name))
            .collect()
    }

    /// An answer that holds for the whole statement only if all of it could be read.
    fn whole(&self, reach: Reach) -> Reach {
        if self.tokens.contains(&Token::Unread) {
            Reach::Everything
        } else {
            reach
        }
    }

    /// Behind all of these words.
    fn after(&self, from: usize, words: &[&str]) -> usize {
        let rest = self.tokens.iter().skip(from);
        from + rest.take_while(|token| token.one_of(words)).count()
    }

    /// A table's name, and where it ends.
    fn named(&self, at: usize) -> Option<(TableName, usize)> {
        let name = self.tokens.get(at)?.name()?;
        if self.tokens.get(at + 1) == Some(&Token::Sign('.')) {
            let table = self.tokens.get(at + 2)?.name()?;
            return Some((table_name(name, table), at + 3));
        }
        if self.default.is_empty() {
            return None;
        }
        Some((table_name(self.default, name), at + 1))
    }

    fn tables(&self, names: Option<Vec<TableName>>) -> Reach {
        names.map_or(Reach::Everything, |names| self.whole(Reach::Tables(names)))
    }

    /// `[IF [NOT] EXISTS] a, b.c`
    fn list(&self, from: usize) -> Reach {
        let mut at = self.after(from, &["IF", "NOT", "EXISTS"]);
        let mut names = Vec::new();
        loop {
            let Some((name, end)) = self.named(at) else {
                return Reach::Everything;
            };
            names.push(name);
            if self.tokens.get(end) != Some(&Token::Sign(',')) {
                return self.tables(Some(names));
            }
            at = end + 1;
        }
    }

    /// Where the kind of object stands that is created.
    fn kind_created(&self) -> Option<usize> {
        // What may stand in front of it.
        let end = self
            .tokens
            .iter()
            .take_while(|token| !matches!(token, Token::Sign('(')))
            .count();
        let kinds = ["TABLE", "INDEX", "SEQUENCE", "DATABASE", "SCHEMA"];
        let is_kind = |token: &Token| token.one_of(&kinds) || token.one_of(WITHOUT_ROWS);
        self.tokens[..end].iter().position(is_kind)
    }

    fn makes_trigger(&self) -> bool {
        self.is(0, "CREATE") && self.kind_created().is_some_and(|at| self.is(at, "TRIGGER"))
    }

    fn create(&self) -> Reach {
        let Some(at) = self.kind_created() else {
            return Reach::Everything;
        };
        let kind = &self.tokens[at];
        if kind.is("TABLE") || kind.is("SEQUENCE") {
            let at = self.after(at + 1, &["IF", "NOT", "EXISTS"]);
            return self.tables(self.named(at).map(|(name, _)| vec![name]));
        }
        if kind.is("INDEX") {
            return self.on_table(at);
        }
        // MariaDB's `OR REPLACE` drops the one that was there.
        let replaces = self.tokens[..at].iter().any(|token| token.is("REPLACE"));
        if kind.one_of(&["DATABASE", "SCHEMA"]) && replaces {
            return self.schema(at + 1);
        }
        // The body of a procedure may hold anything; it is not run.
        Reach::Nothing
    }

    /// The schema that is named here.
    fn schema(&self, at: usize) -> Reach {
        match self.tokens.get(at).and_then(Token::name) {
            Some(name) => self.whole(Reach::Schema(name.to_owned())),
            None => Reach::Everything,
        }
    }

    /// `… ON table`
    fn on_table(&self, from: usize) -> Reach {
        let on = self.tokens.iter().skip(from).position(|token| token.is("ON"));
        let name = on.and_then(|on| self.named(from + on + 1));
        self.tables(name.map(|(name, _)| vec![name]))
    }

    fn drop_(&self) -> Reach {
        let at = self.after(1, &["TEMPORARY", "UNDO"]);
        match self.tokens.get(at) {
            Some(kind) if kind.one_of(&["TABLE", "TABLES", "SEQUENCE"]) => self.list(at + 1),
            Some(kind) if kind.is("INDEX") => self.on_table(at),
            Some(kind) if kind.one_of(&["DATABASE", "SCHEMA"]) => {
                self.schema(self.after(at + 1, &["IF", "EXISTS"]))
            }
            Some(kind) if kind.one_of(WITHOUT_ROWS) || kind.one_of(&["PREPARE"]) => {
                self.whole(Reach::Nothing)
            }
            _ => Reach::Everything,
        }
    }

    fn alter(&self) -> Reach {
        let at = self.after(1, &["ONLINE", "OFFLINE", "IGNORE"]);
        let Some(kind) = self.tokens.get(at) else {
            return Reach::Everything;
        };
        if kind.is("TABLE") || kind.is("SEQUENCE") {
            return self.alter_table(self.after(at + 1, &["IF", "EXISTS"]));
        }
        if kind.one_of(&["DATABASE", "SCHEMA"]) {
            // MariaDB's `UPGRADE DATA DIRECTORY NAME` renames it.
            let renames = self.tokens.iter().any(|token| token.is("UPGRADE"));
            return self.whole(if renames {
                Reach::Everything
            } else {
                Reach::Nothing
            });
        }
        // `ALTER DEFINER = … VIEW`, `ALTER ALGORITHM = … VIEW`.
        let is_view = kind.one_of(&["DEFINER", "ALGORITHM", "SQL"]);
        if kind.one_of(WITHOUT_ROWS) || is_view {
            return self.whole(Reach::Nothing);
        }
        Reach::Everything
    }

    fn alter_table(&self, at: usize) -> Reach {
        let Some((name, end)) = self.named(at) else {
            return Reach::Everything;
        };
        let mut names = vec![name];
        for at in end..self.tokens.len() {
            // The table's new name, and tables that give or take a partition.
            let other = if self.is(at, "RENAME") {
                let next = self.after(at + 1, &["TO", "AS"]);
                let next = if self.tokens.get(next) == Some(&Token::Sign('=')) {
                    next + 1
                } else {
                    next
                };
                let of_table = !self
                    .tokens
                    .get(next)
                    .is_some_and(|token| token.one_of(&["COLUMN", "INDEX", "KEY", "CONSTRAINT"]));
                of_table.then_some(next)
            } else {
                self.is(at, "TABLE").then_some(at + 1)
            };
            let Some(other) = other else { continue };
            match self.named(other) {
                Some((name, _)) => names.push(name),
                None => return Reach::Everything,
            }
        }
        self.tables(Some(names))
    }

    /// `a TO b, c TO d`
    fn rename(&self) -> Reach {
        let mut at = self.after(2, &["IF", "EXISTS"]);
        let mut names = Vec::new();
        loop {
            let Some((from, end)) = self.named(at) else {
                return Reach::Everything;
            };
            // MariaDB: `a WAIT 5 TO b`.
            let to = self.tokens.iter().skip(end).position(|token| token.is("TO"));
            let Some((to, end)) = to.and_then(|to| self.named(end + to + 1)) else {
                return Reach::Everything;
            };
            names.extend([from, to]);
            if self.tokens.get(end) != Some(&Token::Sign(',')) {
                return self.tables(Some(names));
            }
            at = end + 1;
        }
    }

    /// Rows of the table named here, if the statement names no other and runs nothing of the user's.
    fn rows_of(&self, at: usize, follows: impl Fn(Option<&Token>) -> bool) -> Reach {
        let Some((name, end)) = self.named(at) else {
            return Reach::Everything;
        };
        let rest = &self.tokens[end..];
        let calls = rest.windows(2).any(|pair| {
            pair[1] == Token::Sign('(') && pair[0].name().is_some() && !pair[0].one_of(HARMLESS_CALLS)
        });
        let reads = rest
            .iter()
            .any(|token| token.one_of(&["SELECT", "TABLE", "JOIN", "USING"]));
        if calls || reads || !follows(rest.first()) {
            return Reach::Everything;
        }
        self.whole(Reach::RowsOf(name))
    }
}

fn table_name(schema: &str, table: &str) -> TableName {
    TableName {
        schema: schema.to_owned(),
        table: table.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(names: &[&str]) -> Reach {
        let name = |name: &&str| {
            let (schema, table) = name.split_once('.').unwrap();
            table_name(schema, table)
        };
        Reach::Tables(names.iter().map(name).collect())
    }

    fn reach(statement: &str) -> Reach {
        touched(statement, "shop").reach
    }

    #[test]
    fn plain_statements_name_their_tables() {
        for (statement, tables) in [
            ("ALTER TABLE a ADD b INT", &["shop.a"][..]),
            ("alter online ignore table if exists `a``b` drop c", &["shop.a`b"]),
            ("ALTER TABLE x.a RENAME TO y.b, ADD c INT", &["x.a", "y.b"]),
            ("ALTER TABLE a RENAME b", &["shop.a", "shop.b"]),
            (
                "ALTER TABLE a RENAME COLUMN b TO c, RENAME KEY d TO e",
                &["shop.a"],
            ),
            (
                "ALTER TABLE a EXCHANGE PARTITION p WITH TABLE x.b",
                &["shop.a", "x.b"],
            ),
            (
                "DROP TABLE IF EXISTS a, `x`.`b` /* generated by server */",
                &["shop.a", "x.b"],
            ),
            ("DROP TEMPORARY TABLE a", &["shop.a"]),
            ("TRUNCATE a", &["shop.a"]),
            ("truncate table x . a", &["x.a"]),
            ("/* mine */ -- and\n# so on\nTRUNCATE TABLE a", &["shop.a"]),
            (
                "RENAME TABLE a TO b, x.c TO y.d",
                &["shop.a", "shop.b", "x.c", "y.d"],
            ),
            ("RENAME TABLE a WAIT 5 TO b", &["shop.a", "shop.b"]),
            ("CREATE TABLE IF NOT EXISTS a (id INT)", &["shop.a"]),
            ("CREATE OR REPLACE TEMPORARY TABLE \"x\".\"a\" LIKE b", &["x.a"]),
            ("CREATE UNIQUE INDEX i ON x.a (b)", &["x.a"]),
            ("DROP INDEX i ON a", &["shop.a"]),
            ("OPTIMIZE LOCAL TABLE a, b", &["shop.a", "shop.b"]),
            ("/*!40000 ALTER TABLE a DISABLE KEYS */", &["shop.a"]),
            ("CREATE TABLE größe (id INT)", &["shop.größe"]),
        ] {
            assert_eq!(reach(statement), names(tables), "{statement}");
        }
    }

    #[test]
    fn what_holds_no_rows_changes_none() {
        for statement in [
            "GRANT ALL ON *.* TO a",
            "CREATE USER 'drop table'@'%'",
            "CREATE DEFINER=`root`@`%` TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @a = 1",
            "CREATE OR REPLACE ALGORITHM=MERGE DEFINER=`a`@`b` SQL SECURITY DEFINER VIEW v AS SELECT 1",
            "CREATE PROCEDURE p() DROP TABLE a",
            "CREATE DATABASE x",
            "ALTER DATABASE x CHARACTER SET utf8mb4",
            "DROP VIEW a",
            "ANALYZE TABLE a",
            "FLUSH TABLES a",
            "SET PASSWORD FOR a = 'x'",
            "ALTER USER a IDENTIFIED BY 'x'",
            "# Dummy event replacing event type 160 that slave cannot handle.",
            "",
        ] {
            assert_eq!(reach(statement), Reach::Nothing, "{statement}");
        }
    }

    #[test]
    fn what_is_not_understood_reaches_everything() {
        for statement in [
            "ANALYZE UPDATE a SET b = 1",
            "SET STATEMENT max_statement_time=1 FOR DROP TABLE a",
            "CALL p()",
            "UPDATE a, b SET a.x = 1",
            "UPDATE a JOIN b SET a.x = 1",
            "DELETE a FROM a",
            "DELETE FROM a USING a",
            "INSERT INTO a SELECT * FROM b",
            "INSERT INTO a VALUES (f(1))",
            "/*!99999 FLUSH TABLES */ DROP TABLE a",
            "FLUSH /*!99999 TABLES */ TABLES",
            "FLUSH TABLES /* ",
            "DROP TABLE a, 'b",
            "ALTER DATABASE `#mysql50#x` UPGRADE DATA DIRECTORY NAME",
            "LOAD DATA INFILE 'x' INTO TABLE a",
            "xyzzy",
            "(",
        ] {
            assert_eq!(reach(statement), Reach::Everything, "{statement}");
        }
        assert_eq!(touched("DROP TABLE a", "").reach, Reach::Everything);
        assert_eq!(touched("DROP TABLE x.a", "").reach, names(&["x.a"]));
        assert_eq!(reach("DROP DATABASE IF EXISTS `y`"), Reach::Schema("y".into()));
        assert_eq!(reach("CREATE OR REPLACE DATABASE y"), Reach::Schema("y".into()));
        assert_eq!(reach("create or replace schema `y`"), Reach::Schema("y".into()));
    }

    #[test]
    fn rows_by_statements() {
        for statement in [
            "INSERT INTO a (b, c) VALUES (1, 'it''s'), (NOW(), \"x\\\"y\") ON DUPLICATE KEY UPDATE b = VALUES(b)",
            "replace low_priority shop.a set b = 1",
            "UPDATE a SET b = 1 WHERE c IN (1, 2)",
            "DELETE FROM a",
            "DELETE FROM a WHERE b = 1 ORDER BY c LIMIT 1",
        ] {
            assert_eq!(
                reach(statement),
                Reach::RowsOf(table_name("shop", "a")),
                "{statement}"
            );
        }
    }

    #[test]
    fn other_names_and_new_triggers_are_told() {
        let renamed = |statement: &str| touched(statement, "shop").renamed.len();
        assert_eq!(renamed("RENAME TABLE a TO b, c TO d"), 4);
        assert_eq!(renamed("ALTER TABLE a RENAME b"), 2);
        assert_eq!(renamed("ALTER TABLE a ADD b INT"), 0);
        assert_eq!(renamed("DROP TABLE a, b"), 0);
        let makes_trigger = |statement: &str| touched(statement, "shop").makes_trigger;
        assert!(makes_trigger(
            "CREATE DEFINER=`root`@`%` TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @a = 1"
        ));
        assert!(makes_trigger(
            "create or replace trigger x after update on t for each row set @a = 1"
        ));
        assert!(!makes_trigger("DROP TRIGGER x"));
        assert!(!makes_trigger("CREATE PROCEDURE p() SELECT 1"));
    }

    #[test]
    fn new_foreign_keys_name_the_tables_they_point_at() {
        let refers = |statement: &str| touched(statement, "shop").refers_to;
        let one = |schema, table| vec![table_name(schema, table)];
        assert_eq!(
            refers("ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES x.c (d)"),
            one("x", "c")
        );
        assert_eq!(
            refers("CREATE TABLE a (b INT REFERENCES `c` (d))"),
            one("shop", "c")
        );
        assert_eq!(refers("CREATE TABLE a (b INT COMMENT 'REFERENCES c')"), []);
        assert_eq!(refers("GRANT REFERENCES ON a TO b"), []);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,60}", default in "[a-z]{0,3}") {
            let _ = touched(&text, &default);
        }

        #[test]
        fn words_in_any_order_are_read(words in proptest::collection::vec(
            proptest::sample::select(vec![
                "ALTER", "TABLE", "RENAME", "TO", "DROP", "CREATE", "INDEX", "ON", "a", ".", ",", "(", ")", "`", "'",
                "/*", "*/", "/*!", "--", "\n", "IF", "EXISTS", "UPDATE", "SET", "INSERT", "DELETE", "FROM", "\\", "\"",
            ]), 0..14
        )) {
            let _ = touched(&words.join(" "), "shop");
            let _ = touched(&words.concat(), "");
        }
    }
}
