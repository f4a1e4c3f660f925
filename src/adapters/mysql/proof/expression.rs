//! The text of a row, made for both sides at once from the columns of both.
//!
//! Two rows have the same text only if they are equal in every column: NULL is a mark that no value can be, texts and
//! bytes come last, one after the other, with the length of each before them all, and the key, if there is one, is always
//! among the columns, so that two rows of a table never have the same text. A value whose text cannot be made (longer than
//! `max_allowed_packet`) makes the row's text NULL, which the digest refuses.
//!
//! Making the text is most of what a digest costs, and every function in it counts (measured on MySQL 9.7 and MariaDB
//! 10.11): all lengths in one number and all texts of a character set in one piece take two thirds of the time that a
//! length and a cast for each value take.

use super::columns::{Column, Key, Table, same_name};
use super::key::{KeyColumn, Literal, SINGLE};
use super::key_form::Form;
use super::kind::{Kind, plain_charset};
use super::not_provable::NotProvable;
use crate::adapters::mysql::quote;
use crate::domain::ids::Side;

/// Values that may be longer than this are digested by themselves, so that the text of a row stays short.
const WIDE: u64 = 1000;

/// The place of a length among others in one number: more than any length, and than [`NO_VALUE`].
const LENGTHS: u64 = 1024;

/// Stands for the length of a value that is NULL; no value is that long.
const NO_VALUE: u64 = LENGTHS - 1;

/// How many lengths go into one number: it stays below 2 to the power of 60, which every server has exactly.
const LENGTHS_AT_ONCE: usize = 6;

/// What a column adds to the text of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// A text that nothing can follow but `#`, or that says itself how long it is.
    Whole(String),
    /// A value of any bytes.
    Bytes {
        /// How many, or [`NO_VALUE`].
        length: String,
        /// The value, or nothing.
        value: String,
        /// The character set that both sides have it in; `None` for binary values.
        charset: Option<String>,
    },
}

/// What is asked of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// The table, and the index that is to be used.
    pub(super) from: String,
    /// The quoted name of the table.
    pub(super) name: String,
    /// The quoted name of the index; empty without a key.
    pub(super) index: String,
    /// The columns of the key; none where no key tells the rows apart on both sides.
    pub key: Vec<KeyColumn>,
    /// The text of a row without its STORED generated columns.
    pub(super) row: String,
    /// The text of its key, if it has one, and its STORED generated columns, if it has any.
    pub(super) generated: Option<String>,
}

/// Which columns are compared. The key always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// What was written: every column but the generated ones.
    Written,
    /// What the server computed and stored: another version may compute it differently.
    Generated,
}

impl Expression {
    /// Whether a key tells the rows apart. If not, two rows may be equal, and the table is compared as a whole.
    #[must_use]
    pub fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    /// The text of a row; NULL for a class that the table has no columns of.
    pub(super) fn text(&self, class: Class) -> &str {
        match class {
            Class::Written => &self.row,
            Class::Generated => self.generated.as_deref().unwrap_or("NULL"),
        }
    }
}

/// What is asked of both sides, so that equal rows have equal texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expressions {
    /// Of blue.
    pub blue: Expression,
    /// Of green.
    pub green: Expression,
    /// Both sides sort their keys alike, so that the table can be cut into ranges. If not, it is one range.
    pub sorted_alike: bool,
    /// The table has STORED generated columns.
    pub has_generated: bool,
    /// The columns whose character sets differ: compared as utf8mb4.
    pub converted: Vec<String>,
}

impl Expressions {
    /// Makes the expressions for a table.
    ///
    /// # Errors
    /// Why it cannot be proved.
    pub fn of(blue: &Table, green: &Table) -> Result<Self, NotProvable> {
        for (side, table) in [(Side::Blue, blue), (Side::Green, green)] {
            if !table.engine.eq_ignore_ascii_case("InnoDB") {
                return Err(NotProvable::Engine(side, table.engine.clone()));
            }
            if table.versioned {
                return Err(NotProvable::Versioned(side));
            }
        }
        let columns = paired(blue, green)?;
        let key = usable_key(blue, green, &columns);
        let in_key = |column: &Column| {
            let is_it =
                |key: &UsableKey<'_>| key.blue.columns.iter().any(|name| same_name(name, &column.name));
            key.as_ref().is_some_and(is_it)
        };
        let (mut written, mut generated) = (Vec::new(), Vec::new());
        for &(on_blue, on_green) in &columns {
            let pieces = both(on_blue, on_green)?;
            let computed = on_blue.generated || on_green.generated;
            if !computed || in_key(on_blue) {
                written.push(pieces.clone());
            }
            if computed || in_key(on_blue) {
                generated.push((pieces, computed));
            }
        }
        let has_generated = generated.iter().any(|(_, computed)| *computed);
        let generated: Vec<(Piece, Piece)> = generated.into_iter().map(|(pieces, _)| pieces).collect();

        let side =
            |table: &Table, key: Option<(&Key, Vec<KeyColumn>)>, pieces: fn(&(Piece, Piece)) -> &Piece| {
                let text = |of: &[(Piece, Piece)]| row_text(of.iter().map(pieces));
                let name = quote::qualified(&table.schema, &table.name);
                let (from, index, key) = match key {
                    Some((key, columns)) => {
                        let index = quote::identifier(&key.index);
                        (format!("{name} FORCE INDEX ({index})"), index, columns)
                    }
                    None => (name.clone(), String::new(), Vec::new()),
                };
                Expression {
                    from,
                    name,
                    index,
                    key,
                    row: text(&written),
                    generated: has_generated.then(|| text(&generated)),
                }
            };
        let sorted_alike = key.as_ref().is_none_or(|key| key.sorted_alike);
        let (on_blue, on_green) = key
            .map(|key| ((key.blue, key.columns.0), (key.green, key.columns.1)))
            .unzip();
        Ok(Self {
            blue: side(blue, on_blue, |pieces| &pieces.0),
            green: side(green, on_green, |pieces| &pieces.1),
            sorted_alike,
            has_generated,
            converted: columns
                .iter()
                .filter(|(on_blue, on_green)| converts(&on_blue.kind, &on_green.kind))
                .map(|(on_blue, _)| on_blue.name.clone())
                .collect(),
        })
    }

    /// What is asked of a side.
    #[must_use]
    pub fn of_side(&self, side: Side) -> &Expression {
        match side {
            Side::Blue => &self.blue,
            Side::Green => &self.green,
        }
    }
}

/// The stored columns of both sides, in blue's order.
fn paired<'a>(blue: &'a Table, green: &'a Table) -> Result<Vec<(&'a Column, &'a Column)>, NotProvable> {
    for (side, table, other) in [(Side::Blue, blue, green), (Side::Green, green, blue)] {
        for column in &table.columns {
            if other.column(&column.name).is_some() {
                continue;
            }
            let generated = other
                .virtual_columns
                .iter()
                .any(|name| same_name(name, &column.name));
            return Err(if generated {
                NotProvable::GeneratedOnly(side.other(), column.name.clone())
            } else {
                NotProvable::OnlyOn(side, column.name.clone())
            });
        }
    }
    let pair = |column: &'a Column| Some((column, green.column(&column.name)?));
    let pairs: Vec<(&Column, &Column)> = blue.columns.iter().filter_map(pair).collect();
    // What one side computes and the other was given may differ freely.
    match pairs
        .iter()
        .find(|(blue, green)| blue.generated != green.generated)
    {
        Some((blue, _)) => {
            let side = if blue.generated { Side::Blue } else { Side::Green };
            Err(NotProvable::GeneratedOnly(side, blue.name.clone()))
        }
        None => Ok(pairs),
    }
}

/// A key that tells rows apart on both sides.
struct UsableKey<'a> {
    blue: &'a Key,
    green: &'a Key,
    columns: (Vec<KeyColumn>, Vec<KeyColumn>),
    sorted_alike: bool,
}

/// The first of blue's keys that green has, too, and whose columns both sides can be asked for.
fn usable_key<'a>(
    blue: &'a Table,
    green: &'a Table,
    columns: &[(&Column, &Column)],
) -> Option<UsableKey<'a>> {
    let same = |one: &Key, other: &Key| {
        one.columns.len() == other.columns.len()
            && one
                .columns
                .iter()
                .zip(&other.columns)
                .all(|(one, other)| same_name(one, other))
    };
    blue.keys.iter().find_map(|key| {
        let on_green = green.keys.iter().find(|other| same(key, other))?;
        let (mut asked, mut sorted_alike) = ((Vec::new(), Vec::new()), true);
        for name in &key.columns {
            let &(on_blue, on_green) = columns
                .iter()
                .find(|(on_blue, _)| same_name(&on_blue.name, name))?;
            let (of_blue, of_green) = key_columns(on_blue, on_green)?;
            asked.0.push(of_blue);
            asked.1.push(of_green);
            let collation = |column: &Column| column.collation.as_deref().map(plain_charset);
            sorted_alike &= collation(on_blue) == collation(on_green);
        }
        Some(UsableKey {
            blue: key,
            green: on_green,
            columns: asked,
            sorted_alike,
        })
    })
}

/// The pieces of a column on both sides.
fn both(on_blue: &Column, on_green: &Column) -> Result<(Piece, Piece), NotProvable> {
    for (side, column) in [(Side::Blue, on_blue), (Side::Green, on_green)] {
        if column.kind == Kind::Unknown {
            return Err(NotProvable::UnknownType(
                side,
                column.name.clone(),
                column.written.clone(),
            ));
        }
    }
    piece(on_blue, &on_green.kind)
        .zip(piece(on_green, &on_blue.kind))
        .ok_or_else(|| types(on_blue, on_green))
}

fn types(on_blue: &Column, on_green: &Column) -> NotProvable {
    NotProvable::Types(
        on_blue.name.clone(),
        on_blue.written.clone(),
        on_green.written.clone(),
    )
}

/// The text of a row, made of the pieces of its columns: alike on both sides, whose pieces are of the same sorts.
fn row_text<'a>(pieces: impl Iterator<Item = &'a Piece>) -> String {
    let (mut parts, mut lengths, mut groups) =
        (Vec::new(), Vec::new(), Vec::<(Option<&str>, Vec<&str>)>::new());
    for piece in pieces {
        match piece {
            Piece::Whole(text) => parts.push(text.clone()),
            Piece::Bytes {
                length,
                value,
                charset,
            } => {
                lengths.push(length.as_str());
                let charset = charset.as_deref();
                match groups.iter_mut().find(|(of, _)| *of == charset) {
                    Some((_, values)) => values.push(value),
                    None => groups.push((charset, vec![value])),
                }
            }
        }
    }
    // Of a table without a key it may be that nothing was written: every column is computed.
    if parts.is_empty() && lengths.is_empty() {
        return "''".to_owned();
    }
    for some in lengths.chunks(LENGTHS_AT_ONCE) {
        let together = some.iter().map(|length| (*length).to_owned());
        parts.extend(together.reduce(|all, length| format!("({all})*{LENGTHS}+{length}")));
    }
    // Within one character set nothing is converted, so that the bytes are those whose number is told. As bytes they are
    // joined to the rest, which is ASCII.
    let values = groups.iter().map(|(charset, values)| {
        let together = match values.as_slice() {
            [one] => (*one).to_owned(),
            many => format!("CONCAT({})", many.join(",")),
        };
        match charset {
            Some(_) => format!("CAST({together} AS BINARY)"),
            None => together,
        }
    });
    let values: String = values.map(|value| format!(",{value}")).collect();
    let end = if values.is_empty() { "" } else { ",'#'" };
    format!("CONCAT({}{end}{values})", parts.join(",'#',"))
}

/// What a column adds to the text of a row: its value's text, or the mark of NULL.
///
/// `IF` and not `IFNULL`: a text that could not be made must not look like a NULL of the table.
fn piece(column: &Column, other: &Kind) -> Option<Piece> {
    let name = quote::identifier(&column.name);
    let or = |null: &str, value: String| {
        if column.nullable {
            format!("IF({name} IS NULL,{null},{value})")
        } else {
            value
        }
    };
    let (value, charset, longest) = match (&column.kind, other) {
        (Kind::Text { charset, bytes }, Kind::Text { bytes: others, .. }) => {
            let longest = *bytes.max(others);
            // A character of one byte may have up to four when it is converted.
            let (common, longest) = if converts(&column.kind, other) {
                ("utf8mb4".to_owned(), longest.saturating_mul(4))
            } else {
                (plain_charset(charset), longest)
            };
            (as_text(&name, &column.kind, other), Some(common), longest)
        }
        (Kind::Binary { bytes, .. }, Kind::Binary { bytes: others, .. }) => {
            (name.clone(), None, *bytes.max(others))
        }
        (own, others) => return value(&name, own, others).map(|value| Piece::Whole(or("'~'", value))),
    };
    Some(if longest > WIDE {
        Piece::Whole(or("'~'", format!("SHA2({value},256)")))
    } else {
        Piece::Bytes {
            length: or(&NO_VALUE.to_string(), format!("LENGTH({value})")),
            value: or("''", value),
            charset,
        }
    })
}

/// The text of a value that is not NULL, and no text or bytes of any length. None may begin with `~`, and only one with
/// its length in front may hold a `#`.
fn value(name: &str, own: &Kind, other: &Kind) -> Option<String> {
    let fraction = |kind: &str, own: u32, other: u32| {
        if own >= other {
            name.to_owned()
        } else {
            format!("CAST({name} AS {kind}({other}))")
        }
    };
    Some(match (own, other) {
        (Kind::Integer { zerofill: true }, Kind::Integer { .. }) | (Kind::Bit, Kind::Bit) => {
            format!("CAST({name} AS UNSIGNED)")
        }
        (Kind::Integer { .. }, Kind::Integer { .. })
        | (Kind::Date, Kind::Date)
        | (Kind::Year, Kind::Year) => name.to_owned(),
        (
            Kind::Decimal {
                digits,
                scale,
                zerofill,
            },
            Kind::Decimal { scale: others, .. },
        ) if scale == others => {
            if *zerofill {
                format!("CAST({name} AS DECIMAL({digits},{scale}))")
            } else {
                name.to_owned()
            }
        }
        // No product with 1 and no sum with 0: of those MySQL 9.7 cuts the last digit off.
        (Kind::Double { .. }, Kind::Double { .. }) if own == other => name.to_owned(),
        (Kind::Float, Kind::Float) => format!("({name}*{SINGLE})"),
        (Kind::Time(own), Kind::Time(other)) => fraction("TIME", *own, *other),
        (Kind::DateTime(own), Kind::DateTime(other)) | (Kind::Timestamp(own), Kind::Timestamp(other)) => {
            fraction("DATETIME", *own, *other)
        }
        // An invalid value has the number 0 and the text of an empty member.
        (Kind::Choice { .. }, Kind::Choice { .. }) if is_set(own) == is_set(other) => {
            let text = as_text(name, own, other);
            format!("CONCAT(IF(({name}|0)=0,'!',''),LENGTH({text}),':',CAST({text} AS BINARY))")
        }
        (Kind::Json, Kind::Json) => format!("SHA2(CAST({name} AS CHAR),256)"),
        (Kind::Geometry, Kind::Geometry) | (Kind::Vector, Kind::Vector) => {
            format!("SHA2(CAST({name} AS BINARY),256)")
        }
        (Kind::Uuid, Kind::Uuid) | (Kind::Inet4, Kind::Inet4) | (Kind::Inet6, Kind::Inet6) => {
            format!("CAST({name} AS CHAR)")
        }
        _ => return None,
    })
}

fn is_set(kind: &Kind) -> bool {
    matches!(kind, Kind::Choice { definition, .. } if definition.to_ascii_lowercase().starts_with("set"))
}

fn charset(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::Text { charset, .. } | Kind::Choice { charset, .. } => Some(charset),
        _ => None,
    }
}

/// Whether both are texts in different character sets.
fn converts(own: &Kind, other: &Kind) -> bool {
    charset(own).map(plain_charset) != charset(other).map(plain_charset)
}

/// The text in a character set that both sides have.
fn as_text(name: &str, own: &Kind, other: &Kind) -> String {
    if converts(own, other) {
        format!("CONVERT({name} USING utf8mb4)")
    } else {
        name.to_owned()
    }
}

/// How columns that both sides have are asked for and written, on blue and on green; `None` if one of them is no column
/// of both, or has values that cannot be compared by `=`.
pub(super) fn columns_of(
    blue: &Table,
    green: &Table,
    names: &[String],
) -> Option<(Vec<KeyColumn>, Vec<KeyColumn>)> {
    let pairs = names
        .iter()
        .map(|name| key_columns(blue.column(name)?, green.column(name)?));
    Some(pairs.collect::<Option<Vec<_>>>()?.into_iter().unzip())
}

/// How a column of a key is asked for and written, on blue and on green.
fn key_columns(on_blue: &Column, on_green: &Column) -> Option<(KeyColumn, KeyColumn)> {
    key_column(on_blue, on_green).zip(key_column(on_green, on_blue))
}

/// How every column that is compared is asked for and written, on blue and on green, so that equal values have equal
/// texts; the generated ones are left out.
pub(super) fn shown_columns(blue: &Table, green: &Table) -> (Vec<KeyColumn>, Vec<KeyColumn>) {
    let pairs = blue.columns.iter().filter_map(|on_blue| {
        let on_green = green.column(&on_blue.name)?;
        if on_blue.generated || on_green.generated {
            return None;
        }
        Some((shown_column(on_blue, on_green)?, shown_column(on_green, on_blue)?))
    });
    pairs.unzip()
}

fn shown_column(column: &Column, other: &Column) -> Option<KeyColumn> {
    let name = quote::identifier(&column.name);
    let (read, literal) = match (&column.kind, &other.kind) {
        (Kind::Json, _) => (
            format!("HEX(CAST({name} AS CHAR CHARACTER SET utf8mb4))"),
            Literal::Text("utf8mb4".to_owned()),
        ),
        (Kind::Geometry | Kind::Vector, _) => (format!("HEX(CAST({name} AS BINARY))"), Literal::Binary(0)),
        // By their members and not by their numbers, which need not be the same.
        (Kind::Choice { .. }, others) => (
            format!("HEX(CONVERT({name} USING utf8mb4))"),
            matches!(others, Kind::Choice { .. }).then(|| Literal::Text("utf8mb4".to_owned()))?,
        ),
        _ => return key_column(column, other),
    };
    Some(KeyColumn {
        name,
        read,
        literal,
        form: Form::Printed,
        fraction: 0,
    })
}

/// How a column of the key is asked for and written.
fn key_column(column: &Column, other: &Column) -> Option<KeyColumn> {
    let name = quote::identifier(&column.name);
    let (read, literal) = match (&column.kind, &other.kind) {
        (Kind::Text { charset, .. }, others) => {
            let charset = if converts(&column.kind, others) {
                "utf8mb4".to_owned()
            } else {
                charset.clone()
            };
            let text = as_text(&name, &column.kind, others);
            (format!("HEX({text})"), Literal::Text(charset))
        }
        (Kind::Binary { bytes, fixed }, _) => {
            let length = if *fixed { usize::try_from(*bytes).ok()? } else { 0 };
            (format!("HEX({name})"), Literal::Binary(length))
        }
        // Members are sorted and found by their numbers, which are the same only under the same definition.
        (
            Kind::Choice { definition: own, .. },
            Kind::Choice {
                definition: others, ..
            },
        ) => {
            if own != others {
                return None;
            }
            (format!("({name}|0)"), Literal::Number)
        }
        (Kind::Json | Kind::Geometry | Kind::Vector, _) => return None,
        (own, others) => {
            let literal = match own {
                Kind::Float => Literal::Float,
                Kind::Double { .. } => Literal::Double,
                Kind::Integer { .. } | Kind::Decimal { .. } | Kind::Bit | Kind::Year => Literal::Number,
                _ => Literal::Quoted,
            };
            (value(&name, own, others)?, literal)
        }
    };
    let fraction = match (&column.kind, &other.kind) {
        (Kind::Time(own), Kind::Time(other))
        | (Kind::DateTime(own), Kind::DateTime(other))
        | (Kind::Timestamp(own), Kind::Timestamp(other)) => *own.max(other),
        _ => 0,
    };
    Some(KeyColumn {
        name,
        read,
        literal,
        form: Form::of(column, other),
        fraction,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: Kind, nullable: bool) -> Column {
        Column {
            name: name.into(),
            kind,
            written: "TYPE".into(),
            collation: None,
            nullable,
            generated: false,
            invisible: false,
        }
    }

    fn table(columns: Vec<Column>, key: &str) -> Table {
        Table {
            schema: "shop".into(),
            name: "t`".into(),
            engine: "InnoDB".into(),
            versioned: false,
            made: String::new(),
            columns,
            virtual_columns: std::iter::once("w".to_owned()).collect(),
            keys: vec![Key {
                index: "PRIMARY".into(),
                columns: vec![key.into()],
            }],
        }
    }

    fn text(charset: &str, bytes: u64) -> Kind {
        Kind::Text {
            charset: charset.into(),
            bytes,
        }
    }

    fn id() -> Column {
        column("id", Kind::Integer { zerofill: false }, false)
    }

    #[test]
    fn both_sides_agree_on_the_text() {
        let blue = table(
            vec![
                id(),
                column("s", text("latin1", 20), true),
                column("d", Kind::DateTime(0), false),
            ],
            "id",
        );
        let mut green = table(
            vec![
                id(),
                column("d", Kind::DateTime(3), false),
                column("S", text("utf8mb4", 80), true),
            ],
            "ID",
        );
        green.columns[0].kind = Kind::Integer { zerofill: true };
        let both = Expressions::of(&blue, &green).unwrap();
        assert_eq!(both.blue.from, "`shop`.`t``` FORCE INDEX (`PRIMARY`)");
        assert_eq!(
            both.blue.row,
            "CONCAT(`id`,'#',CAST(`d` AS DATETIME(3)),'#',IF(`s` IS NULL,1023,LENGTH(CONVERT(`s` USING utf8mb4))),'#',\
             CAST(IF(`s` IS NULL,'',CONVERT(`s` USING utf8mb4)) AS BINARY))"
        );
        assert_eq!(
            both.green.row,
            "CONCAT(CAST(`id` AS UNSIGNED),'#',`d`,'#',IF(`S` IS NULL,1023,LENGTH(CONVERT(`S` USING utf8mb4))),'#',\
             CAST(IF(`S` IS NULL,'',CONVERT(`S` USING utf8mb4)) AS BINARY))"
        );
        assert_eq!(both.converted, ["s"]);
        assert!(both.sorted_alike && !both.has_generated);
    }

    #[test]
    fn lengths_are_told_together_and_texts_of_one_character_set_come_together() {
        let mut columns = vec![id()];
        for (name, charset) in [("a", "utf8"), ("b", "latin1"), ("c", "utf8mb3")] {
            columns.push(column(name, text(charset, 10), false));
        }
        let bytes = Kind::Binary {
            bytes: 9,
            fixed: false,
        };
        columns.extend(["d", "e", "f", "g"].map(|name| column(name, bytes.clone(), false)));
        let of = table(columns, "id");
        assert_eq!(
            Expressions::of(&of, &of).unwrap().blue.row,
            "CONCAT(`id`,'#',(((((LENGTH(`a`))*1024+LENGTH(`b`))*1024+LENGTH(`c`))*1024+LENGTH(`d`))*1024+LENGTH(`e`))*1024\
             +LENGTH(`f`),'#',LENGTH(`g`),'#',CAST(CONCAT(`a`,`c`) AS BINARY),CAST(`b` AS BINARY),CONCAT(`d`,`e`,`f`,`g`))"
        );
        assert!(LENGTHS.pow(6) <= 1 << 60 && WIDE < NO_VALUE && NO_VALUE < LENGTHS);
    }

    #[test]
    fn what_is_long_on_one_side_is_digested_on_both() {
        let of = |bytes| table(vec![id(), column("s", text("utf8", bytes), false)], "id");
        let both = Expressions::of(&of(30), &of(WIDE + 1)).unwrap();
        assert_eq!(both.blue.row, "CONCAT(`id`,'#',SHA2(`s`,256))");
        assert_eq!(both.blue.row, both.green.row);
        // Or may be when it is converted: its length would not fit beside others.
        let of = |charset| table(vec![id(), column("s", text(charset, WIDE), false)], "id");
        let both = Expressions::of(&of("latin1"), &of("cp1250")).unwrap();
        assert_eq!(
            both.blue.row,
            "CONCAT(`id`,'#',SHA2(CONVERT(`s` USING utf8mb4),256))"
        );
        let both = Expressions::of(&of("latin1"), &of("latin1")).unwrap();
        assert_eq!(
            both.blue.row,
            "CONCAT(`id`,'#',LENGTH(`s`),'#',CAST(`s` AS BINARY))"
        );
    }

    #[test]
    fn what_has_no_text_in_common_is_said() {
        let of = |column: Column| table(vec![id(), column], "id");
        let said = |blue, green| Expressions::of(&of(blue), &of(green)).unwrap_err().to_string();
        let v = |kind| column("v", kind, true);
        assert!(said(v(Kind::Json), v(text("utf8mb4", u64::MAX))).contains("no text in common"));
        assert!(said(v(Kind::Unknown), v(Kind::Unknown)).contains("`v` on blue has the type TYPE"));
        assert!(said(v(Kind::Date), column("x", Kind::Date, true)).contains("`v` is on blue only"));
        assert!(said(column("w", Kind::Date, true), column("w", Kind::Unknown, true)).contains("TYPE"));
        assert!(said(column("w", Kind::Date, true), column("x", Kind::Date, true)).contains("generated"));
    }
}
