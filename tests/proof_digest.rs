//! The digest of the data proof on real servers, against a plain comparison of every column's exact value.
//!
//! The truth is read over the binary protocol, where numbers and times arrive as such and not as text.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that stops says where")]

use std::collections::BTreeSet;
use std::time::Duration;

use bleen::adapters::mysql::capabilities::probe;
use bleen::adapters::mysql::proof::columns::{self, Table};
use bleen::adapters::mysql::proof::cut::{self, Spread};
use bleen::adapters::mysql::proof::digest::{self, Form};
use bleen::adapters::mysql::proof::expression::{Class, Expressions};
use bleen::adapters::mysql::proof::key::{KeyValue, Part, Range};
use bleen::adapters::mysql::proof::{self_test, settings};
use bleen::adapters::mysql::session::{Address, Purpose, Session, Target, Tls};
use bleen::domain::capabilities::Capabilities;
use bleen::domain::ids::Side;
use bleen::domain::proof::key::{Key, KeyPart};
use bleen::domain::proof::ranges::Bounds;
use bleen::domain::server::Family;
use bleen::sandbox::{Account, LocateOptions, Rights, RunningServer, ServerKind, ServerOptions, locate};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

const BUDGET: Duration = Duration::from_secs(20);

async fn start(kind: ServerKind) -> RunningServer {
    let options = LocateOptions::default();
    let installed = locate(kind, &options).await.unwrap();
    let server = installed
        .start(&options.cache, None, &ServerOptions::default())
        .await
        .unwrap();
    let account = Account {
        user: "bleen".into(),
        password: "p".to_owned().into(),
    };
    server.create_account(&account, Rights::All).await.unwrap();
    server
        .run(&["CREATE DATABASE blue", "CREATE DATABASE green"])
        .await
        .unwrap();
    server
}

/// One side: a schema on a server, a session of the proof, and one of the test's own.
struct Place {
    proof: Session,
    own: Conn,
    caps: Capabilities,
    schema: &'static str,
}

async fn place(server: &RunningServer, side: Side) -> Place {
    let target = Target {
        side,
        address: Address::Tcp("127.0.0.1".into(), server.port()),
        spare_address: None,
        user: "bleen".into(),
        password: "p".to_owned().into(),
        tls: Tls::Disabled,
    };
    let purpose = Purpose {
        run: None,
        role: "test",
    };
    let mut proof = Session::open(&target, &purpose, BUDGET).await.unwrap();
    let caps = probe(&mut proof, BUDGET).await.unwrap();
    settings::apply(&mut proof, &caps, BUDGET, BUDGET).await.unwrap();
    let schema = match side {
        Side::Blue => "blue",
        Side::Green => "green",
    };
    let mut own = server.root().await.unwrap();
    own.query_drop(format!("USE {schema}")).await.unwrap();
    own.query_drop("SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = ''")
        .await
        .unwrap();
    Place {
        proof,
        own,
        caps,
        schema,
    }
}

impl Place {
    async fn run(&mut self, sql: &str) {
        self.own
            .query_drop(sql)
            .await
            .unwrap_or_else(|e| panic!("{}: {sql}: {e}", self.caps.version));
    }

    async fn table(&mut self) -> Table {
        let mut found = columns::read(&mut self.proof, self.schema, Some("t"), BUDGET)
            .await
            .unwrap();
        assert_eq!(found.len(), 1, "{}", self.caps.version);
        found.remove(0)
    }

    /// Every row in its exact form.
    async fn truth(&mut self, what: &str) -> Vec<String> {
        let rows: Vec<Row> = self.own.exec(format!("SELECT {what} FROM t"), ()).await.unwrap();
        let mut rows: Vec<String> = rows.into_iter().map(|row| exact(row.unwrap())).collect();
        rows.sort();
        rows
    }
}

fn exact(row: Vec<Value>) -> String {
    let values = row.into_iter().map(|value| match value {
        Value::Int(n) => n.to_string(),
        Value::UInt(n) => n.to_string(),
        // Exact: every FLOAT is a DOUBLE.
        Value::Float(f) => format!("{:x}", f64::from(f).to_bits()),
        Value::Double(f) => format!("{:x}", f.to_bits()),
        // Its own form for people is cut short.
        Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        other => format!("{other:?}"),
    });
    values.collect::<Vec<_>>().join(" | ")
}

/// How many elements are in one only.
fn apart<T: Ord>(one: &[T], other: &[T]) -> usize {
    let (one, other): (BTreeSet<&T>, BTreeSet<&T>) = (one.iter().collect(), other.iter().collect());
    one.symmetric_difference(&other).count()
}

struct World {
    blue: Place,
    green: Place,
}

impl World {
    async fn on(blue: &RunningServer, green: &RunningServer) -> Self {
        Self {
            blue: place(blue, Side::Blue).await,
            green: place(green, Side::Green).await,
        }
    }

    async fn both(&mut self, sql: &str) {
        self.blue.run(sql).await;
        self.green.run(sql).await;
    }

    async fn create(&mut self, blue: &str, green: &str) {
        for (place, columns) in [(&mut self.blue, blue), (&mut self.green, green)] {
            place.run("DROP TABLE IF EXISTS t").await;
            let options = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";
            place.run(&format!("CREATE TABLE t ({columns}) {options}")).await;
        }
    }

    async fn expressions(&mut self) -> Expressions {
        let (blue, green) = (self.blue.table().await, self.green.table().await);
        Expressions::of(&blue, &green).unwrap_or_else(|why| panic!("not provable: {why}"))
    }

    /// All rows that blue has, in the order of their keys.
    async fn rows_on_blue(&mut self, of: &Expressions) -> Vec<(KeyValue, digest::RowHash)> {
        let all = Range::default();
        digest::rows_of_range(&mut self.blue.proof, &of.blue, Class::Written, &all, BUDGET)
            .await
            .unwrap()
    }

    fn forms(&self) -> Vec<Form> {
        let (blue, green) = (&self.blue.caps.version, &self.green.caps.version);
        vec![Form::of(blue, green, false), Form::Half, Form::Halves]
    }

    /// Whether the digests say that both sides are equal; sees to it that they agree with the truth, to the row.
    async fn verdict(&mut self, class: Class, what: &str, about: &str) -> bool {
        let of = self.expressions().await;
        let truth = apart(&self.blue.truth(what).await, &self.green.truth(what).await);
        let about = format!(
            "{about}, {} to {}",
            self.blue.caps.version, self.green.caps.version
        );
        let all = Range::default();
        for form in self.forms() {
            let blue = digest::range(&mut self.blue.proof, form, &of.blue, class, &all, BUDGET)
                .await
                .unwrap();
            let green = digest::range(&mut self.green.proof, form, &of.green, class, &all, BUDGET)
                .await
                .unwrap();
            assert_eq!(
                blue == green,
                truth == 0,
                "{about}: {form:?} {blue:?} {green:?}, {truth} differ"
            );
        }
        let blue = digest::rows_of_range(&mut self.blue.proof, &of.blue, class, &all, BUDGET)
            .await
            .unwrap();
        let green = digest::rows_of_range(&mut self.green.proof, &of.green, class, &all, BUDGET)
            .await
            .unwrap();
        assert_eq!(apart(&blue, &green), truth, "{about}: rows that differ");
        truth == 0
    }

    async fn equal(&mut self, about: &str) {
        assert!(self.verdict(Class::Written, "*", about).await, "{about}: equal");
    }

    async fn differs(&mut self, about: &str) {
        assert!(
            !self.verdict(Class::Written, "*", about).await,
            "{about}: different"
        );
    }
}

/// Types that every server has, each with values that are easily taken for each other.
const TYPES: &[(&str, &[&str])] = &[
    ("TINYINT", &["-128", "0", "127", "NULL"]),
    ("INT", &["-1", "1", "11", "2147483647"]),
    ("INT(5) ZEROFILL", &["0", "12", "4294967295"]),
    ("BIGINT", &["-9223372036854775808", "9223372036854775807", "0"]),
    (
        "BIGINT UNSIGNED",
        &["18446744073709551615", "9223372036854775808", "0", "NULL"],
    ),
    ("DECIMAL(10,2)", &["-0.01", "0", "0.01", "99999999.99", "NULL"]),
    (
        "DECIMAL(65,30)",
        &[
            "0.000000000000000000000000000001",
            "0",
            "99999999999999999999999999999999999.5",
        ],
    ),
    ("DECIMAL(8,3) ZEROFILL", &["0", "0.001", "12345.678"]),
    (
        "FLOAT",
        &[
            "0.1",
            "0.10000000894069672",
            "-0.0e0",
            "0",
            "3.4e38",
            "1.4e-45",
            "-1.1754943508222875e-38",
            "-3.4028234663852886e38",
            "16777216",
            "NULL",
        ],
    ),
    ("FLOAT(10,3)", &["0.1", "0.101", "0.102"]),
    (
        "DOUBLE",
        &[
            "0.1",
            "0.10000000000000002",
            "-0.0e0",
            "0",
            "1.7976931348623157e308",
            "4.9e-324",
            "2.2250738585072014e-308",
            "9007199254740993",
            "1e15",
            "123456789012345680",
            "-2.2250738585072014e-308",
            "-2.225073858507201e-308",
            "0.00003000000000000001",
        ],
    ),
    ("DOUBLE(20,3)", &["0.1", "0.101", "12345678901234.567"]),
    ("BIT(1)", &["b'0'", "b'1'", "NULL"]),
    ("BIT(64)", &["0", "1", "18446744073709551615", "48", "49"]),
    (
        "CHAR(10)",
        &["''", "' '", "'a'", "'A'", "'a '", "'á'", "'~'", "'😀'", "NULL"],
    ),
    (
        "VARCHAR(20)",
        &[
            "''", "' '", "'a'", "'A'", "'a '", "'a\\0'", "'~'", "'1:a'", "'#'", "'\\''", "'\\\\'", "'😀'",
            "NULL",
        ],
    ),
    (
        "VARCHAR(20) CHARACTER SET latin1",
        &["'é'", "'e'", "'Ã©'", "''", "NULL"],
    ),
    ("VARCHAR(20) CHARACTER SET utf16", &["'é'", "'😀'", "''", "' '"]),
    ("VARCHAR(20) CHARACTER SET sjis", &["'ソ'", "'表'", "'\\\\'"]),
    (
        "VARCHAR(2000)",
        &["''", "REPEAT('a',2000)", "REPEAT('a',1999)", "NULL"],
    ),
    ("TINYTEXT", &["''", "'a'", "'a '", "NULL"]),
    ("TEXT", &["''", "'a'", "'a '", "'~'", "NULL"]),
    (
        "LONGTEXT",
        &["''", "REPEAT('a',100000)", "REPEAT('b',100000)", "NULL"],
    ),
    (
        "BINARY(4)",
        &["X''", "X'01'", "X'0100'", "X'01000001'", "X'20'", "NULL"],
    ),
    (
        "VARBINARY(10)",
        &["X''", "X'00'", "X'0000'", "X'7E'", "X'20'", "NULL"],
    ),
    ("TINYBLOB", &["X''", "X'00'", "NULL"]),
    (
        "LONGBLOB",
        &["X''", "X'00'", "REPEAT(X'00',70000)", "REPEAT(X'00',70001)"],
    ),
    (
        "DATE",
        &[
            "'1000-01-01'",
            "'9999-12-31'",
            "'0000-00-00'",
            "'2024-00-00'",
            "NULL",
        ],
    ),
    (
        "TIME",
        &["'-838:59:59'", "'838:59:59'", "'00:00:00'", "'-00:00:01'", "NULL"],
    ),
    (
        "TIME(6)",
        &["'00:00:00.000001'", "'-00:00:00.000001'", "'00:00:00'"],
    ),
    (
        "DATETIME",
        &[
            "'2024-02-29 00:00:00'",
            "'0000-00-00 00:00:00'",
            "'9999-12-31 23:59:59'",
            "NULL",
        ],
    ),
    (
        "DATETIME(6)",
        &["'2024-02-29 00:00:00'", "'2024-02-29 00:00:00.000001'"],
    ),
    (
        "DATETIME(3)",
        &["'2024-02-29 00:00:00.1'", "'2024-02-29 00:00:00.01'"],
    ),
    // The first two are the same hour in New York, before and after the clocks were put back.
    (
        "TIMESTAMP NULL",
        &[
            "'2024-11-03 05:30:00'",
            "'2024-11-03 06:30:00'",
            "'2038-01-19 03:14:07'",
            "0",
            "NULL",
        ],
    ),
    (
        "TIMESTAMP(6) NULL",
        &["'1970-01-01 00:00:01'", "'1970-01-01 00:00:01.000001'"],
    ),
    ("YEAR", &["0", "1901", "2155", "NULL"]),
    // The last but one is no member.
    (
        "ENUM('a','b','','é','~')",
        &["'a'", "'b'", "''", "'é'", "'~'", "'zzz'", "NULL"],
    ),
    (
        "SET('a','b','c')",
        &["''", "'a'", "'b'", "'a,b'", "'a,b,c'", "NULL"],
    ),
    (
        "GEOMETRY",
        &[
            "ST_GeomFromText('POINT(1 2)')",
            "ST_GeomFromText('POINT(2 1)')",
            "NULL",
        ],
    ),
    (
        "POINT",
        &["ST_GeomFromText('POINT(0 0)')", "ST_GeomFromText('POINT(0 1)')"],
    ),
];

const JSON: &[&str] = &[
    "'{\"a\": 1, \"b\": 2}'",
    "'{\"b\": 2, \"a\": 1}'",
    "'{\"a\": 1.0, \"b\": 2}'",
    "'[]'",
    "'null'",
    "NULL",
];

/// Types of one family, or of its newer versions.
fn more_types(caps: &Capabilities) -> Vec<(&'static str, &'static [&'static str])> {
    // Versions store the axes of this reference system in different orders.
    let earth: &[&str] = &[
        "ST_GeomFromText('POINT(1 2)')",
        "ST_GeomFromText('POINT(1 2)', 4326)",
    ];
    let mut types: Vec<(&'static str, &'static [&'static str])> = vec![("GEOMETRY", earth)];
    if caps.version.is_mysql_from((9, 0, 0)) {
        types.push(("JSON", JSON));
        types.push((
            "VECTOR(2)",
            &["STRING_TO_VECTOR('[1,2]')", "STRING_TO_VECTOR('[2,1]')", "NULL"],
        ));
    }
    if caps.version.family == Family::MariaDb {
        types.push(("JSON", JSON));
        types.push((
            "UUID",
            &[
                "'00000000-0000-0000-0000-000000000001'",
                "'01000000-0000-0000-0000-000000000000'",
                "NULL",
            ],
        ));
        types.push(("INET6", &["'::'", "'::1'", "'::ffff:1.2.3.4'", "NULL"]));
        types.push(("INET4", &["'0.0.0.0'", "'1.2.3.4'", "NULL"]));
        types.push((
            "VARCHAR(200) COMPRESSED",
            &["''", "REPEAT('a',200)", "REPEAT('b',200)"],
        ));
    }
    if caps.version.is_mariadb_from((11, 7, 0)) {
        types.push((
            "VECTOR(2)",
            &["VEC_FromText('[1,2]')", "VEC_FromText('[2,1]')", "NULL"],
        ));
    }
    types
}

/// Every value beside every other one of its type: the digests must find equal what is equal, and nothing else.
async fn every_type(world: &mut World, most_shifts: usize, of_family: bool) {
    let mut types = TYPES.to_vec();
    if of_family {
        types.extend(more_types(&world.blue.caps));
    }
    for (kind, values) in types {
        // Of the same literal one family stores -0, the other 0.
        let zeros_alike = world.blue.caps.family() == world.green.caps.family();
        let mut values = values.to_vec();
        values.retain(|value| zeros_alike || *value != "-0.0e0");
        let column = format!("id INT PRIMARY KEY, v {kind}");
        world.create(&column, &column).await;
        let choice = ["ENUM", "SET"].iter().any(|choice| kind.starts_with(choice));
        let what = if choice { "id, v, v|0" } else { "*" };
        for shift in 0..values.len().min(most_shifts) {
            for (place, shift) in [(&mut world.blue, 0), (&mut world.green, shift)] {
                let rows =
                    (0..values.len()).map(|id| format!("({id}, {})", values[(id + shift) % values.len()]));
                let rows = rows.collect::<Vec<_>>().join(", ");
                place.run("DELETE FROM t").await;
                place.run(&format!("INSERT IGNORE INTO t VALUES {rows}")).await;
            }
            let about = format!("{kind}, shifted by {shift}");
            let equal = world.verdict(Class::Written, what, &about).await;
            assert_eq!(equal, shift == 0, "{about}");
        }
    }
}

/// Keys of every type: cut into ranges, found by value, at their smallest and largest.
async fn every_key(world: &mut World) {
    let mut keys: Vec<(&str, &str, Vec<&str>)> = TYPES
        .iter()
        .filter(|(kind, _)| {
            !["TEXT", "BLOB", "GEOMETRY", "POINT", "2000"]
                .iter()
                .any(|no| kind.contains(no))
        })
        .map(|(kind, values)| (kind.trim_end_matches(" NULL"), "k", values.to_vec()))
        .collect();
    keys.retain(|(kind, ..)| !kind.starts_with("FLOAT(") && !kind.starts_with("DOUBLE("));
    keys.push((
        "BINARY(8)",
        "k",
        vec!["X''", "X'01'", "X'0100000000000001'", "X'FF'"],
    ));
    keys.push((
        "VARBINARY(8)",
        "k",
        vec!["X''", "X'00'", "X'0000'", "X'FF'", "X'FF00'"],
    ));
    keys.push((
        "VARCHAR(20) COLLATE utf8mb4_bin",
        "k, part",
        vec!["'a'", "'a\\0'", "'b'", "'A'", "''"],
    ));
    keys.push((
        "BIGINT UNSIGNED",
        "k, part",
        vec!["0", "18446744073709551615", "5"],
    ));
    if world.blue.caps.version.family == Family::MariaDb {
        for (kind, values) in more_types(&world.blue.caps) {
            if ["UUID", "INET6", "INET4"].contains(&kind) {
                keys.push((kind, "k", values.to_vec()));
            }
        }
    }
    for (kind, key, values) in keys {
        let columns = format!("k {kind} NOT NULL, part BIGINT UNSIGNED NOT NULL, v INT, PRIMARY KEY ({key})");
        world.create(&columns, &columns).await;
        for value in values.iter().filter(|value| **value != "NULL") {
            for part in ["0", "18446744073709551615"] {
                // Values that the key takes for the same are left out.
                let row = format!("INSERT IGNORE INTO t VALUES ({value}, {part}, 1)");
                world.both(&row).await;
            }
        }
        let of = world.expressions().await;
        assert!(of.sorted_alike, "{kind}");
        let all = world.rows_on_blue(&of).await;
        assert!(all.len() > 1, "{kind}: {} rows", all.len());
        let keys: Vec<KeyValue> = all.iter().map(|(key, _)| key.clone()).collect();

        // Ranges of one row each, and what lies beyond the last.
        let mut ends: Vec<Option<KeyValue>> = Vec::new();
        while let Some(end) =
            digest::end_of_range(&mut world.blue.proof, &of.blue, &beyond(last(&ends)), 1, BUDGET)
                .await
                .unwrap()
        {
            assert!(
                ends.len() < all.len(),
                "{kind}: more ranges than rows, at {end:?}"
            );
            ends.push(Some(end));
        }
        assert_eq!(
            ends.iter().flatten().cloned().collect::<Vec<_>>(),
            keys,
            "{kind}: the ends"
        );
        ends.push(None);
        for at in 0..ends.len() {
            let range = Range {
                after: at.checked_sub(1).and_then(|before| ends[before].clone()),
                until: ends[at].clone(),
            };
            let form = world.forms()[0];
            let blue = digest::range(
                &mut world.blue.proof,
                form,
                &of.blue,
                Class::Written,
                &range,
                BUDGET,
            )
            .await
            .unwrap();
            let green = digest::range(
                &mut world.green.proof,
                form,
                &of.green,
                Class::Written,
                &range,
                BUDGET,
            )
            .await
            .unwrap();
            assert_eq!(blue, green, "{kind}: {range:?}");
            assert_eq!(blue.rows, u64::from(range.until.is_some()), "{kind}: {range:?}");
        }

        // By their keys; as the binlog has them, without the zeros at the end of BINARY.
        let as_in_binlog: Vec<KeyValue> = match kind.starts_with("BINARY") {
            true => keys.iter().map(stripped).collect(),
            false => keys,
        };
        let mut found = digest::rows_of_keys(
            &mut world.green.proof,
            &of.green,
            Class::Written,
            &as_in_binlog,
            BUDGET,
        )
        .await
        .unwrap();
        found.sort();
        let mut all = all;
        all.sort();
        assert_eq!(found, all, "{kind}: by their keys");

        world.equal(kind).await;
        world
            .green
            .run("UPDATE t SET v = 2 ORDER BY k DESC LIMIT 1")
            .await;
        world.differs(kind).await;
    }
}

fn beyond(key: Option<&KeyValue>) -> Range {
    Range {
        after: key.cloned(),
        until: None,
    }
}

fn last(ends: &[Option<KeyValue>]) -> Option<&KeyValue> {
    ends.last().and_then(Option::as_ref)
}

fn stripped(key: &KeyValue) -> KeyValue {
    let parts = key.0.iter().map(|part| match part {
        Part::Bytes(bytes) => {
            let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            Part::Bytes(bytes[..length].to_vec())
        }
        plain => plain.clone(),
    });
    KeyValue(parts.collect())
}

/// Differences that other tools' checksums miss.
async fn differences(world: &mut World) {
    let columns = "id INT PRIMARY KEY, a VARCHAR(20), b VARCHAR(20), n INT, f FLOAT, at TIMESTAMP NULL";
    let rows: Vec<String> = (0..200)
        .map(|id| format!("({id}, 'x{id}', 'y', {id}, {id}.5, '2024-11-03 05:30:00')"))
        .collect();
    let insert = format!("INSERT INTO t VALUES {}", rows.join(", "));
    world.create(columns, columns).await;
    let changes: &[(&str, &[&str])] = &[
        (
            "a lost update on an even number of rows",
            &["UPDATE t SET b = 'z' WHERE id < 100"],
        ),
        (
            "an update of all rows",
            &["UPDATE t SET at = at + INTERVAL 1 HOUR"],
        ),
        ("two rows", &["UPDATE t SET n = 1000 WHERE id IN (3, 4)"]),
        (
            "a value moved to its neighbour",
            &["UPDATE t SET a = 'x', b = '5y' WHERE id = 5"],
        ),
        (
            "a value moved into another column",
            &["UPDATE t SET a = b, b = a WHERE id = 6"],
        ),
        ("NULL for empty", &["UPDATE t SET a = NULL WHERE id = 7"]),
        ("a space at the end", &["UPDATE t SET b = 'y ' WHERE id = 8"]),
        ("a row only on blue", &["DELETE FROM t WHERE id = 9"]),
        ("two rows only on blue", &["DELETE FROM t WHERE id IN (9, 10)"]),
        ("a row only on green", &["INSERT INTO t (id) VALUES (-1)"]),
        (
            "a row beyond the last only on green",
            &["INSERT INTO t (id) VALUES (2147483647)"],
        ),
        (
            "swapped rows",
            &[
                "UPDATE t SET id = -1 WHERE id = 11",
                "UPDATE t SET id = 11 WHERE id = 12",
                "UPDATE t SET id = 12 WHERE id = -1",
            ],
        ),
        (
            "a row under another key",
            &["UPDATE t SET id = 1000 WHERE id = 13"],
        ),
        (
            "a row for another",
            &["DELETE FROM t WHERE id = 14", "INSERT INTO t (id) VALUES (1014)"],
        ),
        (
            "a float one step apart",
            &["UPDATE t SET f = f + 0.00000012e0 WHERE id = 1"],
        ),
    ];
    for (about, statements) in changes {
        for place in [&mut world.blue, &mut world.green] {
            place.run("DELETE FROM t").await;
            place.run(&insert).await;
        }
        world.equal(about).await;
        for statement in *statements {
            world.green.run(statement).await;
        }
        world.differs(about).await;
    }
}

/// Tables in which no key tells the rows apart: rows may be there several times, and are counted.
async fn without_a_key(world: &mut World) {
    for (blue, green) in [
        ("id INT", "id INT"),
        ("id INT PRIMARY KEY", "id INT"),
        ("id INT, UNIQUE (id)", "id INT, UNIQUE (id)"),
        (
            "s VARCHAR(20) NOT NULL, UNIQUE (s(5))",
            "s VARCHAR(20) PRIMARY KEY",
        ),
        ("id INT PRIMARY KEY, v INT", "id INT, v INT PRIMARY KEY"),
        ("e ENUM('a','b') PRIMARY KEY", "e ENUM('b','a') PRIMARY KEY"),
    ] {
        world.create(blue, green).await;
        let of = world.expressions().await;
        assert!(!of.blue.has_key() && !of.green.has_key(), "{blue} and {green}");
    }
    let columns = "a INT, b VARCHAR(20), t TEXT";
    let (one, two, other) = ("(1, 'x', NULL)", "(2, 'y', 'long')", "(1, '', 'x')");
    let cases: [(&[&str], &[&str]); 9] = [
        (&[], &[]),
        (&[one, two, one], &[one, one, two]),
        (&[one, two], &[one, other]),
        // Under XOR both of these would be nothing.
        (&[one, one], &[two, two]),
        (&[one, one, two, two], &[one, one, one, one]),
        (&[one, two, two], &[one, one, two]),
        (&[one], &[one, one]),
        (&[], &[one, one]),
        (&[one; 7], &[one; 7]),
    ];
    world.create(columns, columns).await;
    for (on_blue, on_green) in cases {
        for (place, rows) in [(&mut world.blue, on_blue), (&mut world.green, on_green)] {
            place.run("DELETE FROM t").await;
            if !rows.is_empty() {
                place
                    .run(&format!("INSERT INTO t VALUES {}", rows.join(", ")))
                    .await;
            }
        }
        let truth = world.blue.truth("*").await == world.green.truth("*").await;
        let of = world.expressions().await;
        let (all, class) = (Range::default(), Class::Written);
        for form in world.forms() {
            let blue = digest::range(&mut world.blue.proof, form, &of.blue, class, &all, BUDGET);
            let blue = blue.await.unwrap();
            let green = digest::range(&mut world.green.proof, form, &of.green, class, &all, BUDGET);
            let green = green.await.unwrap();
            assert!(blue.bytes().is_some(), "{blue:?}");
            assert_eq!(
                (blue == green, blue.bytes() == green.bytes()),
                (truth, truth),
                "{form:?}: {on_blue:?} {blue:?}, {on_green:?} {green:?}"
            );
        }
    }
}

/// Columns whose types differ: equal values are equal all the same.
async fn other_types(world: &mut World) {
    let cases: &[(&str, &str, &[&str])] = &[
        ("INT", "BIGINT UNSIGNED", &["0", "2147483647", "NULL"]),
        ("INT ZEROFILL", "INT", &["0", "17"]),
        (
            "VARCHAR(20) CHARACTER SET latin1",
            "VARCHAR(20)",
            &["'é'", "''", "'a '", "NULL"],
        ),
        (
            "TEXT CHARACTER SET utf16",
            "VARCHAR(10) CHARACTER SET utf8",
            &["'é'", "'語'", "''"],
        ),
        ("VARCHAR(10)", "LONGTEXT", &["'a'", "''", "NULL"]),
        ("VARBINARY(10)", "BLOB", &["X'00'", "X''", "NULL"]),
        ("DATETIME", "DATETIME(3)", &["'2024-02-29 00:00:00'", "NULL"]),
        ("TIME(6)", "TIME", &["'-01:00:00'", "'00:00:00'"]),
        (
            "TIMESTAMP(2) NULL",
            "TIMESTAMP NULL",
            &["'2024-02-29 00:00:00'", "NULL"],
        ),
        ("ENUM('a','b')", "ENUM('b','a','c')", &["'a'", "'b'", "NULL"]),
        (
            "SET('a','b') CHARACTER SET latin1",
            "SET('a','b','c')",
            &["'a,b'", "'b'", "''"],
        ),
    ];
    for (blue, green, values) in cases {
        let column = |kind: &str| format!("id INT PRIMARY KEY, v {kind}, w INT");
        world.create(&column(blue), &column(green)).await;
        for (id, value) in values.iter().enumerate() {
            world
                .both(&format!("INSERT INTO t VALUES ({id}, {value}, 1)"))
                .await;
        }
        let about = format!("{blue} and {green}");
        world.equal(&about).await;
        let of = world.expressions().await;
        let texts = ["CHARACTER SET"].iter().any(|word| blue.contains(word));
        assert_eq!(of.converted, if texts { vec!["v"] } else { vec![] }, "{about}");
        let change = format!("UPDATE t SET v = {} WHERE id = 1", values[0]);
        world.green.run(&change).await;
        world.differs(&about).await;
    }
    // Keys that sort differently cannot be cut, but are found.
    world
        .create(
            "k VARCHAR(20) CHARACTER SET latin1 PRIMARY KEY, v INT",
            "k VARCHAR(20) PRIMARY KEY, v INT",
        )
        .await;
    world.both("INSERT INTO t VALUES ('é', 1), ('b', 2)").await;
    world.equal("keys in two character sets").await;
    let of = world.expressions().await;
    assert!(!of.sorted_alike);
    let all = world.rows_on_blue(&of).await;
    let keys: Vec<KeyValue> = all.iter().map(|(key, _)| key.clone()).collect();
    for place in [&mut world.blue, &mut world.green] {
        let of = of.of_side(place.proof.side());
        let mut found = digest::rows_of_keys(&mut place.proof, of, Class::Written, &keys, BUDGET)
            .await
            .unwrap();
        found.sort();
        let mut all = all.clone();
        all.sort();
        assert_eq!(found, all);
    }
}

/// Random rows of texts that look like the marks of the expression.
async fn random_rows(world: &mut World, rounds: u64) {
    let columns = "id INT PRIMARY KEY, a VARCHAR(9), b VARBINARY(9), c INT, d VARCHAR(9) NOT NULL";
    world.create(columns, columns).await;
    let texts = [
        "''", "'~'", "'#'", "'1:a'", "'a#1:a'", "'a'", "'a '", "'1'", "'11'", "'0:'", "'~#~'",
    ];
    for seed in 0..rounds {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let mut row = |id: usize| {
            let mut text = || match next(texts.len() + 3) {
                at if at < texts.len() => texts[at],
                _ => "NULL",
            };
            let (a, b, d) = (text(), text(), text());
            let d = if d == "NULL" { "''" } else { d };
            let c = ["0", "1", "11", "NULL"][next(4)];
            format!("({id}, {a}, {b}, {c}, {d})")
        };
        let rows: Vec<String> = (0..4).map(&mut row).collect();
        let other = row(2);
        world.both("DELETE FROM t").await;
        world
            .both(&format!("INSERT INTO t VALUES {}", rows.join(", ")))
            .await;
        world.green.run(&format!("REPLACE INTO t VALUES {other}")).await;
        let about = format!("seed {seed}: {} and {other}", rows[2]);
        assert_eq!(
            world.verdict(Class::Written, "*", &about).await,
            rows[2] == other,
            "{about}"
        );
    }
}

/// What cannot be proved is said, and a range with a row that cannot be compared is never equal.
async fn refusals(world: &mut World, server: &RunningServer) {
    let mysql_8 = world.blue.caps.version.is_mysql_from((8, 0, 0));
    let mariadb = world.blue.caps.family() == Family::MariaDb;
    let cases: &[(&str, &str, &str)] = &[
        (
            "id INT PRIMARY KEY, v INT",
            "id INT PRIMARY KEY",
            "column `v` is on blue only",
        ),
        (
            "id INT PRIMARY KEY, v INT",
            "id INT PRIMARY KEY, v VARCHAR(9)",
            "no text in common",
        ),
        (
            "id INT PRIMARY KEY, v DECIMAL(5,1)",
            "id INT PRIMARY KEY, v DECIMAL(5,2)",
            "no text in common",
        ),
        (
            "id INT PRIMARY KEY, v ENUM('a')",
            "id INT PRIMARY KEY, v SET('a')",
            "no text in common",
        ),
        (
            "id INT PRIMARY KEY, v FLOAT",
            "id INT PRIMARY KEY, v DOUBLE",
            "no text in common",
        ),
        (
            "id INT PRIMARY KEY, v DATETIME",
            "id INT PRIMARY KEY, v TIMESTAMP NULL",
            "no text in common",
        ),
    ];
    for (blue, green, why) in cases {
        world.create(blue, green).await;
        let (blue, green) = (world.blue.table().await, world.green.table().await);
        let said = Expressions::of(&blue, &green).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    }
    world.create("id INT PRIMARY KEY", "id INT PRIMARY KEY").await;
    world.green.run("ALTER TABLE t ENGINE = MyISAM").await;
    let (blue, green) = (world.blue.table().await, world.green.table().await);
    let said = Expressions::of(&blue, &green).unwrap_err().to_string();
    assert!(said.contains("MyISAM, not InnoDB"), "{said}");
    if mariadb {
        world.blue.run("DROP TABLE t").await;
        let sql = "CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB WITH SYSTEM VERSIONING";
        world.blue.run(sql).await;
        let said = Expressions::of(&world.blue.table().await, &blue)
            .unwrap_err()
            .to_string();
        assert!(said.contains("history"), "{said}");
    }

    // A unique key serves, too, and generated columns are a class of their own.
    if mysql_8 || mariadb {
        let hidden = if mariadb {
            "g INT INVISIBLE"
        } else {
            "g INT DEFAULT 7 INVISIBLE"
        };
        let columns = format!(
            "u INT NOT NULL, v INT, {hidden}, s INT AS (v + 1) STORED, w INT AS (v + 2) VIRTUAL, UNIQUE other (u)"
        );
        world
            .create(&columns, &columns.replace("v + 1", "v + v - v + 1"))
            .await;
        world.both("INSERT INTO t (u, v) VALUES (1, 10), (2, 20)").await;
        let table = world.blue.table().await;
        let named: Vec<(&str, bool, bool)> = table
            .columns
            .iter()
            .map(|column| (column.name.as_str(), column.generated, column.invisible))
            .collect();
        assert_eq!(
            named,
            [
                ("u", false, false),
                ("v", false, false),
                ("g", false, true),
                ("s", true, false)
            ]
        );
        assert!(world.expressions().await.has_generated);
        assert!(world.verdict(Class::Written, "u, v, g", "unique key").await);
        world.green.run("UPDATE t SET g = 8 WHERE u = 1").await;
        assert!(
            !world
                .verdict(Class::Written, "u, v, g", "an invisible column")
                .await
        );
        assert!(world.verdict(Class::Generated, "u, s", "generated columns").await);
        world.create(&columns, &columns.replace("v + 1", "v + v")).await;
        world.both("INSERT INTO t (u, v) VALUES (1, 10), (2, 20)").await;
        assert!(
            world
                .verdict(Class::Written, "u, v, g", "generated otherwise")
                .await
        );
        assert!(
            !world
                .verdict(Class::Generated, "u, s", "generated otherwise")
                .await
        );
    }
    if mysql_8 {
        world.both("SET sql_generate_invisible_primary_key = ON").await;
        world.create("v INT", "v INT").await;
        world.both("INSERT INTO t VALUES (1), (1), (1)").await;
        let table = world.blue.table().await;
        let key = table.column("my_row_id").unwrap();
        assert!(key.invisible && table.keys[0].columns == ["my_row_id"]);
        let exact = "my_row_id, v";
        assert!(world.verdict(Class::Written, exact, "generated key").await);
        world.green.run("UPDATE t SET v = 2 WHERE my_row_id < 3").await;
        assert!(!world.verdict(Class::Written, exact, "generated key").await);
        world.both("SET sql_generate_invisible_primary_key = OFF").await;
    }

    // Other settings than the proof's.
    let many = (0..9).map(|at| format!(", c{at} VARCHAR(1000) CHARACTER SET latin1"));
    let columns = format!("id INT PRIMARY KEY{}", many.collect::<String>());
    world.create(&columns, &columns).await;
    let of = world.expressions().await;
    let form = world.forms()[0];
    let all = Range::default();
    for spoil in [
        "SET time_zone = '-05:00'",
        "SET sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'",
        "SET sql_select_limit = 1",
    ] {
        let proof = &mut world.blue.proof;
        proof.run("spoil", spoil, BUDGET).await.unwrap();
        let said = digest::range(proof, form, &of.blue, Class::Written, &all, BUDGET).await;
        assert!(
            said.unwrap_err().to_string().contains("nothing was compared"),
            "{spoil}"
        );
        settings::apply(proof, &world.blue.caps, BUDGET, BUDGET)
            .await
            .unwrap();
        digest::range(proof, form, &of.blue, Class::Written, &all, BUDGET)
            .await
            .unwrap();
    }

    // A text that is longer than a packet is none: the range has no digest, and never one like an empty range's.
    let long = ", REPEAT('a', 1000)".repeat(9);
    world.both(&format!("INSERT INTO t VALUES (1{long})")).await;
    world.equal("long rows").await;
    server
        .run(&["SET GLOBAL max_allowed_packet = 8192"])
        .await
        .unwrap();
    let mut short = place(server, Side::Blue).await;
    for form in [form, Form::Half, Form::Halves] {
        let said = digest::range(&mut short.proof, form, &of.blue, Class::Written, &all, BUDGET).await;
        let said = said.unwrap_err().to_string();
        assert!(said.contains("must not count as equal"), "{said}");
    }
    let said = digest::rows_of_range(&mut short.proof, &of.blue, Class::Written, &all, BUDGET).await;
    assert!(said.unwrap_err().to_string().contains("must not count as equal"));
    server
        .run(&["SET GLOBAL max_allowed_packet = 67108864"])
        .await
        .unwrap();
}

/// The conditions of a range are such that the optimiser reads that range, and no more.
async fn range_scans(world: &mut World) {
    let columns = "a INT, b VARCHAR(20), c BIGINT UNSIGNED, v INT, PRIMARY KEY (a, b, c)";
    world.create(columns, columns).await;
    for a in 0..20 {
        let rows = (0..100).map(|n| format!("({a}, 'b{}', {n}, 0)", n / 10));
        let rows = rows.collect::<Vec<_>>().join(", ");
        world.blue.run(&format!("INSERT INTO t VALUES {rows}")).await;
    }
    world.blue.run("ANALYZE TABLE t").await;
    let of = world.expressions().await;
    let proof = &mut world.blue.proof;
    let after = digest::end_of_range(proof, &of.blue, &Range::default(), 950, BUDGET)
        .await
        .unwrap();
    let until = digest::end_of_range(proof, &of.blue, &beyond(after.as_ref()), 75, BUDGET)
        .await
        .unwrap();
    let range = Range { after, until };
    let form = world.forms()[0];
    let sql = digest::range_statement(form, &of.blue, Class::Written, &range);
    let plan: Row = world
        .blue
        .own
        .query_first(format!("EXPLAIN FORMAT=TRADITIONAL {sql}"))
        .await
        .unwrap()
        .unwrap();
    let (access, rows): (String, u64) = (plan.get("type").unwrap(), plan.get("rows").unwrap());
    assert!(access == "range" && rows < 300, "{access}, {rows} rows: {sql}");
    let proof = &mut world.blue.proof;
    let digest = digest::range(proof, form, &of.blue, Class::Written, &range, BUDGET)
        .await
        .unwrap();
    assert_eq!(digest.rows, 75);
}

/// A table is cut near where so many rows end, unless many more than were asked for may be there: then it is counted.
async fn cuts(world: &mut World) {
    let columns = "id BIGINT PRIMARY KEY, v INT";
    world.create(columns, columns).await;
    // Even numbers up to 4,000, and some more far away.
    for from in 0..20 {
        let rows = (1..=100).map(|n| format!("({}, 0)", 2 * (from * 100 + n)));
        let rows = rows.collect::<Vec<_>>().join(", ");
        world.blue.run(&format!("INSERT INTO t VALUES {rows}")).await;
    }
    world
        .blue
        .run("INSERT INTO t VALUES (1000000, 0), (1000001, 0)")
        .await;
    world.blue.run("ANALYZE TABLE t").await;
    let of = world.expressions().await;
    let key = |at: i128| Key(vec![KeyPart::Integer(at)]);
    let bounds = |above: i128, up_to: Option<i128>| Bounds {
        above: Some(key(above)),
        up_to: up_to.map(key),
    };
    let dense = Spread::of(&bounds(0, Some(1000)), 500).unwrap();
    let sparse = Spread::of(&bounds(0, Some(1_000_000)), 100).unwrap();
    let cases = [
        (
            "as it was before",
            dense,
            bounds(1000, None),
            250,
            Some(Some(1500)),
        ),
        (
            "to a key that is there",
            dense,
            bounds(1001, None),
            250,
            Some(Some(1500)),
        ),
        (
            "the range ends first",
            dense,
            bounds(3800, Some(4000)),
            500,
            Some(None),
        ),
        (
            "the table ends first",
            sparse,
            bounds(4000, None),
            1000,
            Some(None),
        ),
        ("many more than before", sparse, bounds(0, None), 100, None),
        ("nothing is there", dense, bounds(4000, None), 500, None),
    ];
    for (what, spread, bounds, count, expected) in cases {
        let guess = spread.guess(&bounds, count).unwrap();
        let proof = &mut world.blue.proof;
        let cut = cut::near(proof, &of.blue, &bounds, &guess, count, BUDGET).await;
        assert_eq!(
            cut.unwrap(),
            expected.map(|end: Option<i128>| end.map(key)),
            "{what}"
        );
    }
}

/// Everything on one server, in two schemas.
async fn alone(kind: ServerKind) {
    let server = start(kind).await;
    let mut world = World::on(&server, &server).await;
    for form in world.forms() {
        self_test::run(&mut world.blue.proof, form, BUDGET).await.unwrap();
    }
    // Where the long form finds nothing or 0, or is an error, it is not believed.
    if !world.blue.caps.version.is_mysql_from((8, 0, 0)) {
        let long = self_test::run(&mut world.blue.proof, Form::Whole, BUDGET).await;
        assert!(long.is_err());
    }
    every_type(&mut world, usize::MAX, true).await;
    every_key(&mut world).await;
    range_scans(&mut world).await;
    cuts(&mut world).await;
    differences(&mut world).await;
    without_a_key(&mut world).await;
    other_types(&mut world).await;
    random_rows(&mut world, 100).await;
    refusals(&mut world, &server).await;
}

/// What two servers must agree on.
async fn across(blue: ServerKind, green: ServerKind) {
    let (blue, green) = (start(blue).await, start(green).await);
    let mut world = World::on(&blue, &green).await;
    let of_family = world.blue.caps.family() == world.green.caps.family()
        && world.blue.caps.family() == Family::MariaDb
        && world.blue.caps.version.number >= (10, 10, 0);
    every_type_across(&mut world, of_family).await;
    differences(&mut world).await;
    without_a_key(&mut world).await;
    other_types(&mut world).await;
}

async fn every_type_across(world: &mut World, of_family: bool) {
    every_type(world, 2, of_family).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_9_7() {
    alone(ServerKind::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_5_6() {
    alone(ServerKind::MySql56).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_11_8() {
    alone(ServerKind::MariaDb118).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_10_11() {
    alone(ServerKind::MariaDb1011).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_5_6_to_9_7() {
    across(ServerKind::MySql56, ServerKind::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_9_7_to_mariadb_11_8() {
    across(ServerKind::MySql97, ServerKind::MariaDb118).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_10_11_to_11_8() {
    across(ServerKind::MariaDb1011, ServerKind::MariaDb118).await;
}
