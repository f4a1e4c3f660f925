//! Keys of every type: the reader brings the same ones as SQL reads.

use std::collections::BTreeSet;

use bleen::domain::proof::key::Key;

use crate::world::{World, keys_of};

/// How a type is to be brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum As {
    Rows,
    /// What a row event holds is not in the form that servers print.
    Whole,
}

const TEXTS: &[&str] = &[
    "''", "' '", "'a'", "'B'", "'a\\t'", "'~'", "'1'", "'zz '", "'\\0'",
];

const TYPES: &[(&str, As, &[&str])] = &[
    ("TINYINT", As::Rows, &["-128", "-1", "0", "1", "127"]),
    ("TINYINT UNSIGNED", As::Rows, &["0", "127", "128", "255"]),
    ("SMALLINT", As::Rows, &["-32768", "-1", "0", "32767"]),
    ("SMALLINT UNSIGNED", As::Rows, &["0", "32768", "65535"]),
    ("MEDIUMINT", As::Rows, &["-8388608", "-1", "8388607"]),
    ("MEDIUMINT UNSIGNED", As::Rows, &["0", "8388608", "16777215"]),
    ("INT", As::Rows, &["-2147483648", "-1", "0", "2147483647"]),
    ("INT UNSIGNED", As::Rows, &["0", "2147483648", "4294967295"]),
    ("INT(5) ZEROFILL", As::Rows, &["0", "12", "4294967295"]),
    (
        "BIGINT",
        As::Rows,
        &["-9223372036854775808", "-1", "0", "9223372036854775807"],
    ),
    (
        "BIGINT UNSIGNED",
        As::Rows,
        &["0", "9223372036854775808", "18446744073709551615"],
    ),
    (
        "DECIMAL(10,2)",
        As::Rows,
        &["-99999999.99", "-0.01", "0", "0.01", "1.10", "99999999.99"],
    ),
    ("DECIMAL(9,9)", As::Rows, &["-0.999999999", "0", "0.000000001"]),
    ("DECIMAL(18,9)", As::Rows, &["-123456789.987654321", "0.1", "1"]),
    (
        "DECIMAL(65,30)",
        As::Rows,
        &[
            "0.000000000000000000000000000001",
            "-0.000000000000000000000000000001",
            "99999999999999999999999999999999999.5",
            "-12345678901234567890.123",
        ],
    ),
    (
        "DECIMAL(65,0)",
        As::Rows,
        &["0", "-1", "12345678901234567890123456789"],
    ),
    ("DECIMAL(8,3) ZEROFILL", As::Rows, &["0", "0.001", "12345.678"]),
    ("DECIMAL(5,0) UNSIGNED", As::Rows, &["0", "99999"]),
    ("BIT(1)", As::Rows, &["b'0'", "b'1'"]),
    ("BIT(13)", As::Rows, &["0", "1", "256", "8191"]),
    ("BIT(64)", As::Rows, &["0", "1", "18446744073709551615", "48"]),
    (
        "BINARY(4)",
        As::Rows,
        &[
            "X''",
            "X'01'",
            "X'0100'",
            "X'01000001'",
            "X'20'",
            "X'00000001'",
            "X'FFFFFFFF'",
        ],
    ),
    ("BINARY(255)", As::Rows, &["X''", "X'01'", "REPEAT('x',255)"]),
    (
        "VARBINARY(10)",
        As::Rows,
        &["X''", "X'00'", "X'0000'", "X'7E'", "X'20'", "X'FF00'"],
    ),
    ("VARBINARY(400)", As::Rows, &["X''", "X'00'", "REPEAT(X'FF',400)"]),
    ("CHAR(10)", As::Rows, TEXTS),
    (
        "CHAR(10) CHARACTER SET latin1",
        As::Rows,
        &["''", "'é'", "'e'", "'€'", "'Ÿ'", "'a '"],
    ),
    ("CHAR(10) CHARACTER SET ascii", As::Rows, TEXTS),
    (
        "CHAR(10) CHARACTER SET utf8",
        As::Rows,
        &["''", "'é'", "'語'", "'a'"],
    ),
    (
        "CHAR(100)",
        As::Rows,
        &["''", "'a'", "REPEAT('語',100)", "REPEAT('😀',70)"],
    ),
    (
        "CHAR(10) CHARACTER SET utf16",
        As::Rows,
        &["'é'", "'😀'", "''", "' '", "'a'", "'Ġ'"],
    ),
    (
        "CHAR(10) CHARACTER SET ucs2",
        As::Rows,
        &["'é'", "''", "'a'", "'†'"],
    ),
    (
        "CHAR(10) CHARACTER SET sjis",
        As::Rows,
        &["'ソ'", "'表'", "'\\\\'", "'a'"],
    ),
    ("VARCHAR(20)", As::Rows, TEXTS),
    (
        "VARCHAR(20) COLLATE utf8mb4_bin",
        As::Rows,
        &["''", "'a'", "'A'", "'á'", "'a\\0'", "'😀'"],
    ),
    (
        "VARCHAR(20) CHARACTER SET latin1",
        As::Rows,
        &["'é'", "'e'", "'Ã©'", "''", "'a '"],
    ),
    (
        "VARCHAR(20) CHARACTER SET utf16",
        As::Rows,
        &["'é'", "'😀'", "''", "' '"],
    ),
    (
        "VARCHAR(20) CHARACTER SET utf32",
        As::Rows,
        &["'é'", "'😀'", "''", "'a'"],
    ),
    ("VARCHAR(20) CHARACTER SET gbk", As::Rows, &["'語'", "'a'", "''"]),
    (
        "VARCHAR(20) CHARACTER SET binary",
        As::Rows,
        &["'a'", "'a\\0'", "''"],
    ),
    (
        "VARCHAR(180)",
        As::Rows,
        &["''", "'a'", "REPEAT('a',180)", "REPEAT('😀',180)"],
    ),
    (
        "ENUM('a','b','','é','~')",
        As::Rows,
        &["'a'", "'b'", "''", "'é'", "'~'", "'zzz'"],
    ),
    (
        "SET('a','b','c')",
        As::Rows,
        &["''", "'a'", "'b'", "'a,b'", "'a,b,c'"],
    ),
    ("YEAR", As::Rows, &["0", "1901", "2024", "2155"]),
    (
        "DATE",
        As::Rows,
        &["'1000-01-01'", "'9999-12-31'", "'0000-00-00'", "'2024-00-00'"],
    ),
    (
        "TIME",
        As::Rows,
        &[
            "'-838:59:59'",
            "'838:59:59'",
            "'00:00:00'",
            "'-00:00:01'",
            "'-100:00:00'",
        ],
    ),
    (
        "TIME(1)",
        As::Rows,
        &["'-00:00:00.1'", "'-01:00:00.9'", "'00:00:00'", "'12:34:56.5'"],
    ),
    (
        "TIME(2)",
        As::Rows,
        &["'-00:00:00.01'", "'-838:59:58.99'", "'00:00:00.5'"],
    ),
    (
        "TIME(3)",
        As::Rows,
        &[
            "'-00:00:00.001'",
            "'-838:59:58.999'",
            "'00:00:00.5'",
            "'-00:01:00'",
        ],
    ),
    (
        "TIME(4)",
        As::Rows,
        &["'-00:00:00.0001'", "'-01:00:00'", "'00:00:00.5'"],
    ),
    (
        "TIME(6)",
        As::Rows,
        &[
            "'00:00:00.000001'",
            "'-00:00:00.000001'",
            "'00:00:00'",
            "'-838:59:58.999999'",
        ],
    ),
    (
        "DATETIME",
        As::Rows,
        &[
            "'2024-02-29 00:00:00'",
            "'0000-00-00 00:00:00'",
            "'9999-12-31 23:59:59'",
            "'1000-01-01 01:02:03'",
        ],
    ),
    (
        "DATETIME(1)",
        As::Rows,
        &["'2024-02-29 00:00:00'", "'2024-02-29 00:00:00.1'"],
    ),
    (
        "DATETIME(3)",
        As::Rows,
        &["'2024-02-29 00:00:00.1'", "'2024-02-29 00:00:00.01'"],
    ),
    (
        "DATETIME(6)",
        As::Rows,
        &["'2024-02-29 00:00:00'", "'2024-02-29 00:00:00.000001'"],
    ),
    (
        "TIMESTAMP",
        As::Rows,
        &[
            "'2024-11-03 05:30:00'",
            "'2024-11-03 06:30:00'",
            "'2038-01-19 03:14:07'",
            "0",
        ],
    ),
    (
        "TIMESTAMP(2)",
        As::Rows,
        &["'1970-01-01 00:00:01'", "'1970-01-01 00:00:01.01'", "0"],
    ),
    (
        "TIMESTAMP(5)",
        As::Rows,
        &["'1970-01-01 00:00:01'", "'1999-12-31 23:59:59.00001'"],
    ),
    ("FLOAT", As::Whole, &["0.1", "-1", "3.4e38"]),
    ("DOUBLE", As::Whole, &["0.1", "-1", "1e300"]),
];

fn more(world: &World) -> Vec<(String, As, Vec<&'static str>)> {
    let mut types: Vec<(String, As, Vec<&'static str>)> = TYPES
        .iter()
        .map(|(kind, how, values)| ((*kind).to_owned(), *how, values.to_vec()))
        .collect();
    let members = |count: usize| {
        let all: Vec<String> = (0..count).map(|at| format!("'m{at}'")).collect();
        all.join(",")
    };
    types.push((
        format!("ENUM({})", members(300)),
        As::Rows,
        vec!["'m0'", "'m255'", "'m299'"],
    ));
    types.push((
        format!("SET({})", members(20)),
        As::Rows,
        vec!["''", "'m0'", "'m19'", "'m3,m17'"],
    ));
    types.push((
        format!("SET({})", members(64)),
        As::Rows,
        vec!["''", "'m0'", "'m63'", "'m3,m17'"],
    ));
    if world.is_mysql_from((8, 0, 17)) {
        let texts = vec!["''", "' '", "'a'", "'A'", "'á'", "'😀'"];
        types.push((
            "VARCHAR(20) COLLATE utf8mb4_0900_bin".into(),
            As::Rows,
            texts.clone(),
        ));
        types.push(("VARCHAR(20) COLLATE utf8mb4_0900_ai_ci".into(), As::Rows, texts));
    }
    if !world.is_mysql() {
        let texts = vec!["''", "' '", "'a'", "'A'", "'á'"];
        types.push(("VARCHAR(20) COLLATE utf8mb4_nopad_bin".into(), As::Rows, texts));
        types.push((
            "UUID".into(),
            As::Rows,
            vec![
                "'00000000-0000-0000-0000-000000000001'",
                "'01000000-0000-0000-0000-000000000000'",
                "'2e2a3a30-8d7e-11ee-b9d1-0242ac120002'",
                "'f47ac10b-58cc-4372-a567-0e02b2c3d479'",
                "'01890a5d-ac96-774b-bcce-b302099a8057'",
                "'1ec9414c-232a-6b00-b3c8-9e6bdeced846'",
                "'320c3d4d-cc00-875b-8ec9-32d5f69181c0'",
                "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
                "'ffffffff-ffff-0fff-8000-000000000000'",
                "'00112233-4455-1677-0899-aabbccddeeff'",
            ],
        ));
        types.push((
            "INET6".into(),
            As::Rows,
            vec![
                "'::'",
                "'::1'",
                "'::ffff:1.2.3.4'",
                "'::1.2.3.4'",
                "'2001:db8::1:0:0:1'",
                "'1::'",
                "'1:2:3:4:5:6:7:8'",
                "'::2:3:4:5:6:7:8'",
                "'1:0:0:4:0:0:0:8'",
                "'::0.0.1.0'",
                "'0:0:0:0:0:1:2:3'",
                "'::ffff:0:1'",
                "'64:ff9b::1'",
                "'1:2:3:4:5:6:7:0'",
                "'1:0:3:4:5:6:7:0'",
                "'0:1:0:1:0:1:0:1'",
            ],
        ));
        if world.caps.version.is_mariadb_from((10, 10, 0)) {
            types.push((
                "INET4".into(),
                As::Rows,
                vec!["'0.0.0.0'", "'1.2.3.4'", "'1.2.3.0'", "'255.255.255.255'"],
            ));
        }
    }
    if world.caps.version.is_mariadb_from((11, 5, 0)) {
        types.push((
            "TIMESTAMP".into(),
            As::Rows,
            vec!["'2106-02-07 06:28:15'", "'2050-01-01 00:00:00'"],
        ));
    }
    types
}

/// What differs between two readings of the table.
async fn step(world: &mut World, about: &str, how: As, statement: &str) {
    let before = world.rows("t", "t").await;
    world.run(statement).await;
    let steps = world.brought().await;
    let after = world.rows("t", "t").await;
    let truth: BTreeSet<Key> = before
        .iter()
        .filter(|(key, row)| after.get(*key) != Some(row))
        .chain(after.iter().filter(|(key, row)| before.get(*key) != Some(row)))
        .map(|(key, _)| key.clone())
        .collect();
    assert!(!truth.is_empty(), "{about}: {statement} changed nothing");
    let about = format!("{}: {about}: {statement}", world.caps.version);
    match (how, keys_of(&steps, "t")) {
        (As::Rows, keys) => assert_eq!(keys, Ok(truth), "{about}"),
        (As::Whole, keys) => assert_eq!(keys, Err("t".to_owned()), "{about}"),
    }
}

pub async fn every_type(world: &mut World) {
    for (kind, how, values) in more(world) {
        world.run("DROP TABLE IF EXISTS t").await;
        let create = format!(
            "CREATE TABLE t (w VARCHAR(300), k {kind} NOT NULL, x INT, b LONGBLOB, part BIGINT UNSIGNED NOT NULL, v INT, \
             PRIMARY KEY (part, k)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
        );
        world.run(&create).await;
        world.read_shapes(&["t"]).await;
        world.brought().await;
        let rows: Vec<String> = ["0", "18446744073709551615"]
            .iter()
            .flat_map(|part| {
                values.iter().enumerate().map(move |(at, value)| {
                    let w = if at % 2 == 0 { "NULL" } else { "REPEAT('w', 280)" };
                    format!("({w}, {value}, NULL, REPEAT('b', {at} * 100), {part}, 1)")
                })
            })
            .collect();
        let about = &kind[..kind.len().min(60)];
        // Values that the key takes for the same are left out.
        step(
            world,
            about,
            how,
            &format!("INSERT IGNORE INTO t VALUES {}", rows.join(", ")),
        )
        .await;
        assert!(world.rows("t", "t").await.len() >= values.len(), "{about}");
        step(world, about, how, "UPDATE t SET v = v + 1").await;
        step(
            world,
            about,
            how,
            "UPDATE t SET x = 5, w = NULL, part = 7 WHERE part = 0",
        )
        .await;
        step(
            world,
            about,
            how,
            &format!("UPDATE IGNORE t SET k = {}, v = v + 1 WHERE part = 7", values[0]),
        )
        .await;
        step(world, about, how, "DELETE FROM t").await;
    }
}
