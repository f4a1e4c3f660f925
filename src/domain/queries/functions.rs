//! Which of the servers' functions may be called twice with the same answer and no effect.

/// Why a function keeps a statement from being replayed; `None` for one that does not.
#[must_use]
pub fn objection(name: &str, arguments: usize) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let is = |names: &[&str]| names.contains(&upper.as_str());
    if is(NOW) || (upper == "UNIX_TIMESTAMP" && arguments == 0) {
        return Some(format!("{upper} depends on the time at which it is run"));
    }
    if is(CHANCE) {
        return Some(format!("{upper} gives another value each time"));
    }
    if is(SESSION) {
        return Some(format!(
            "{upper} depends on the session or the server that runs it"
        ));
    }
    if is(EFFECTS) {
        return Some(format!("{upper} has an effect, or waits"));
    }
    if is(ORDER) {
        return Some(format!("{upper} depends on the order in which rows are read"));
    }
    if is(REPEATABLE) {
        None
    } else {
        Some(format!(
            "it calls {name}, which is not known to only read and to repeat its answer"
        ))
    }
}

/// Whether the last digits of its answer may depend on the order in which rows are read.
#[must_use]
pub fn is_sum(name: &str) -> bool {
    let sums = [
        "SUM",
        "AVG",
        "STD",
        "STDDEV",
        "STDDEV_POP",
        "STDDEV_SAMP",
        "VAR_POP",
        "VAR_SAMP",
        "VARIANCE",
    ];
    sums.iter().any(|sum| sum.eq_ignore_ascii_case(name))
}

/// Whether it makes one value of many rows.
#[must_use]
pub fn is_aggregate(name: &str) -> bool {
    let others = [
        "COUNT",
        "MIN",
        "MAX",
        "BIT_AND",
        "BIT_OR",
        "BIT_XOR",
        "GROUP_CONCAT",
    ];
    is_sum(name) || others.iter().any(|other| other.eq_ignore_ascii_case(name))
}

const NOW: &[&str] = &[
    "CURDATE",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURTIME",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "NOW",
    "SYSDATE",
    "UTC_DATE",
    "UTC_TIME",
    "UTC_TIMESTAMP",
];

const CHANCE: &[&str] = &[
    "RAND",
    "RANDOM_BYTES",
    "SYS_GUID",
    "UUID",
    "UUID_SHORT",
    "UUID_V4",
    "UUID_V7",
];

const SESSION: &[&str] = &[
    "CONNECTION_ID",
    "CURRENT_ROLE",
    "CURRENT_USER",
    "FOUND_ROWS",
    "LAST_INSERT_ID",
    "LASTVAL",
    "PS_CURRENT_THREAD_ID",
    "ROW_COUNT",
    "SESSION_USER",
    "SYSTEM_USER",
    "USER",
    "VERSION",
];

const EFFECTS: &[&str] = &[
    "BENCHMARK",
    "GET_LOCK",
    "IS_FREE_LOCK",
    "IS_USED_LOCK",
    "LOAD_FILE",
    "MASTER_GTID_WAIT",
    "MASTER_POS_WAIT",
    "NEXTVAL",
    "RELEASE_ALL_LOCKS",
    "RELEASE_LOCK",
    "SETVAL",
    "SLEEP",
    "SOURCE_POS_WAIT",
    "WAIT_FOR_EXECUTED_GTID_SET",
    "WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS",
];

const ORDER: &[&str] = &["ANY_VALUE", "JSON_ARRAYAGG", "JSON_OBJECTAGG"];

/// Those of MySQL 9.7 and MariaDB 11.8 that an application's reads are made of.
const REPEATABLE: &[&str] = &[
    "ABS",
    "ACOS",
    "ADDDATE",
    "ADDTIME",
    "ADD_MONTHS",
    "ASCII",
    "ASIN",
    "ATAN",
    "ATAN2",
    "AVG",
    "BIN",
    "BIN_TO_UUID",
    "BIT_AND",
    "BIT_COUNT",
    "BIT_LENGTH",
    "BIT_OR",
    "BIT_XOR",
    "CEIL",
    "CEILING",
    "CHAR",
    "CHARACTER_LENGTH",
    "CHAR_LENGTH",
    "CHR",
    "COALESCE",
    "CONCAT",
    "CONCAT_WS",
    "CONV",
    "CONVERT_TZ",
    "COS",
    "COT",
    "COUNT",
    "CRC32",
    "DATABASE",
    "DATE",
    "DATEDIFF",
    "DATE_ADD",
    "DATE_FORMAT",
    "DATE_SUB",
    "DAY",
    "DAYNAME",
    "DAYOFMONTH",
    "DAYOFWEEK",
    "DAYOFYEAR",
    "DEGREES",
    "ELT",
    "EXP",
    "EXPORT_SET",
    "EXTRACTVALUE",
    "FIELD",
    "FIND_IN_SET",
    "FLOOR",
    "FORMAT",
    "FROM_BASE64",
    "FROM_DAYS",
    "FROM_UNIXTIME",
    "GREATEST",
    "GROUP_CONCAT",
    "GROUPING",
    "HEX",
    "HOUR",
    "IF",
    "IFNULL",
    "INET6_ATON",
    "INET6_NTOA",
    "INET_ATON",
    "INET_NTOA",
    "INSERT",
    "INSTR",
    "INTERVAL",
    "ISNULL",
    "IS_IPV4",
    "IS_IPV6",
    "IS_UUID",
    "JSON_ARRAY",
    "JSON_CONTAINS",
    "JSON_CONTAINS_PATH",
    "JSON_DEPTH",
    "JSON_EXISTS",
    "JSON_EXTRACT",
    "JSON_KEYS",
    "JSON_LENGTH",
    "JSON_OBJECT",
    "JSON_OVERLAPS",
    "JSON_QUERY",
    "JSON_QUOTE",
    "JSON_SEARCH",
    "JSON_TYPE",
    "JSON_UNQUOTE",
    "JSON_VALID",
    "JSON_VALUE",
    "LAST_DAY",
    "LCASE",
    "LEAST",
    "LEFT",
    "LENGTH",
    "LN",
    "LOCATE",
    "LOG",
    "LOG10",
    "LOG2",
    "LOWER",
    "LPAD",
    "LTRIM",
    "MAKEDATE",
    "MAKETIME",
    "MAKE_SET",
    "MAX",
    "MD5",
    "MICROSECOND",
    "MID",
    "MIN",
    "MINUTE",
    "MOD",
    "MONTH",
    "MONTHNAME",
    "NULLIF",
    "NVL",
    "NVL2",
    "OCT",
    "OCTET_LENGTH",
    "ORD",
    "PERIOD_ADD",
    "PERIOD_DIFF",
    "PI",
    "POSITION",
    "POW",
    "POWER",
    "QUARTER",
    "QUOTE",
    "RADIANS",
    "REGEXP_INSTR",
    "REGEXP_LIKE",
    "REGEXP_REPLACE",
    "REGEXP_SUBSTR",
    "REPEAT",
    "REPLACE",
    "REVERSE",
    "RIGHT",
    "ROUND",
    "RPAD",
    "RTRIM",
    "SCHEMA",
    "SECOND",
    "SEC_TO_TIME",
    "SHA",
    "SHA1",
    "SHA2",
    "SIGN",
    "SIN",
    "SOUNDEX",
    "SPACE",
    "SQRT",
    "STD",
    "STDDEV",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "STRCMP",
    "STR_TO_DATE",
    "ST_ASTEXT",
    "ST_CONTAINS",
    "ST_DISTANCE",
    "ST_DISTANCE_SPHERE",
    "ST_GEOMFROMTEXT",
    "ST_INTERSECTS",
    "ST_WITHIN",
    "ST_X",
    "ST_Y",
    "SUBDATE",
    "SUBSTR",
    "SUBSTRING",
    "SUBSTRING_INDEX",
    "SUBTIME",
    "SUM",
    "TAN",
    "TIME",
    "TIMEDIFF",
    "TIMESTAMP",
    "TIMESTAMPADD",
    "TIMESTAMPDIFF",
    "TIME_FORMAT",
    "TIME_TO_SEC",
    "TO_BASE64",
    "TO_DAYS",
    "TO_SECONDS",
    "TRIM",
    "TRUNCATE",
    "UCASE",
    "UNHEX",
    "UNIX_TIMESTAMP",
    "UPPER",
    "UUID_TO_BIN",
    "VALUES",
    "VARIANCE",
    "VAR_POP",
    "VAR_SAMP",
    "WEEK",
    "WEEKDAY",
    "WEEKOFYEAR",
    "WEIGHT_STRING",
    "YEAR",
    "YEARWEEK",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_of_one_kind() {
        let lists = [NOW, CHANCE, SESSION, EFFECTS, ORDER, REPEATABLE];
        let mut all: Vec<_> = lists.concat();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(objection("now", 0).unwrap().contains("time"));
        assert!(objection("unix_timestamp", 0).is_some() && objection("unix_timestamp", 1).is_none());
        assert!(objection("price_of", 1).unwrap().contains("price_of"));
        assert_eq!(objection("count", 1), None);
    }
}
