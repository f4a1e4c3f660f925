//! The types of columns, in the form that does not depend on the server's version.

/// What matters of a column's type for the text of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// TINYINT to BIGINT, signed or not: a number is a number.
    Integer {
        /// Padded when shown.
        zerofill: bool,
    },
    /// DECIMAL.
    Decimal {
        /// Digits in all.
        digits: u32,
        /// Digits after the point.
        scale: u32,
        /// Padded when shown.
        zerofill: bool,
    },
    /// FLOAT.
    Float,
    /// DOUBLE.
    Double {
        /// Digits after the point, if they were said.
        scale: Option<u32>,
        /// Padded when shown.
        zerofill: bool,
    },
    /// BIT.
    Bit,
    /// CHAR, VARCHAR and TEXT, and JSON on MariaDB.
    Text {
        /// The character set, by the server's own name for it.
        charset: String,
        /// The longest value, in bytes.
        bytes: u64,
    },
    /// BINARY, VARBINARY and BLOB.
    Binary {
        /// The longest value, in bytes.
        bytes: u64,
        /// BINARY: every value has that length.
        fixed: bool,
    },
    /// DATE.
    Date,
    /// TIME, with the digits of its fraction.
    Time(u32),
    /// DATETIME, with the digits of its fraction.
    DateTime(u32),
    /// TIMESTAMP, with the digits of its fraction.
    Timestamp(u32),
    /// YEAR with four digits.
    Year,
    /// ENUM and SET.
    Choice {
        /// The character set of the members.
        charset: String,
        /// The definition, as the server writes it: it says which of the two it is, and the order of the members.
        definition: String,
    },
    /// MySQL's JSON.
    Json,
    /// Every spatial type.
    Geometry,
    /// VECTOR.
    Vector,
    /// MariaDB's UUID.
    Uuid,
    /// MariaDB's INET4.
    Inet4,
    /// MariaDB's INET6.
    Inet6,
    /// Any other.
    Unknown,
}

/// What `information_schema.COLUMNS` says about a type.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// `DATA_TYPE`.
    pub data_type: String,
    /// `COLUMN_TYPE`.
    pub column_type: String,
    /// `CHARACTER_SET_NAME`.
    pub charset: String,
    /// `CHARACTER_OCTET_LENGTH`.
    pub bytes: u64,
    /// `NUMERIC_PRECISION`.
    pub digits: u32,
    /// `NUMERIC_SCALE`.
    pub scale: Option<u32>,
    /// `DATETIME_PRECISION`.
    pub fraction: u32,
}

impl Kind {
    /// Reads what the server wrote.
    #[must_use]
    pub fn of(written: &Written) -> Self {
        let column_type = written.column_type.to_ascii_lowercase();
        let charset = written.charset.clone();
        let bytes = written.bytes;
        match written.data_type.to_ascii_lowercase().as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" => Self::Integer {
                zerofill: column_type.contains("zerofill"),
            },
            "decimal" | "numeric" => Self::Decimal {
                digits: written.digits,
                scale: written.scale.unwrap_or(0),
                zerofill: column_type.contains("zerofill"),
            },
            "float" => Self::Float,
            "double" | "real" => Self::Double {
                scale: written.scale,
                zerofill: column_type.contains("zerofill"),
            },
            "bit" => Self::Bit,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
                Self::Text { charset, bytes }
            }
            "binary" => Self::Binary { bytes, fixed: true },
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
                Self::Binary { bytes, fixed: false }
            }
            "date" => Self::Date,
            "time" => Self::Time(written.fraction),
            "datetime" => Self::DateTime(written.fraction),
            "timestamp" => Self::Timestamp(written.fraction),
            // Of a year with two digits the century is not told.
            "year" if !column_type.contains("(2)") => Self::Year,
            "enum" | "set" => Self::Choice {
                charset,
                definition: written.column_type.clone(),
            },
            "json" => Self::Json,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geometrycollection" | "geomcollection" => Self::Geometry,
            "vector" => Self::Vector,
            "uuid" => Self::Uuid,
            "inet4" => Self::Inet4,
            "inet6" => Self::Inet6,
            _ => Self::Unknown,
        }
    }
}

/// The name of a character set or collation that every version writes alike: `utf8mb3` was once `utf8`.
#[must_use]
pub fn plain_charset(name: &str) -> String {
    match name.strip_prefix("utf8") {
        Some(rest) if rest.is_empty() || rest.starts_with('_') => format!("utf8mb3{rest}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_for_every_version() {
        let kind = |data_type: &str, column_type: &str| {
            Kind::of(&Written {
                data_type: data_type.into(),
                column_type: column_type.into(),
                ..Written::default()
            })
        };
        assert_eq!(kind("int", "int(11)"), kind("int", "int"));
        assert_eq!(kind("bigint", "bigint(20) unsigned"), kind("tinyint", "tinyint"));
        assert_eq!(
            kind("int", "int(5) unsigned zerofill"),
            Kind::Integer { zerofill: true }
        );
        assert_eq!(kind("geomcollection", ""), kind("geometrycollection", ""));
        assert_eq!(kind("year", "year(4)"), Kind::Year);
        assert_eq!(kind("year", "year(2)"), Kind::Unknown);
        assert_eq!(kind("xmltype", "xmltype"), Kind::Unknown);
        assert_eq!(plain_charset("utf8"), "utf8mb3");
        assert_eq!(plain_charset("utf8_bin"), "utf8mb3_bin");
        assert_eq!(plain_charset("utf8mb4_bin"), "utf8mb4_bin");
    }
}
