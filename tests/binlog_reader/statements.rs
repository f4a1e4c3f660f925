//! What each kind of statement brings.

use std::time::Duration;

use bleen::adapters::mysql::binlog::shape::{self, Wanted};
use bleen::sandbox::ServerKind;
use mysql_async::prelude::Queryable;

use crate::world::{World, root};

/// Where columns stand in row events that `SELECT *` does not show, or that are not stored.
pub async fn hidden_columns(world: &mut World) {
    let mysql = world.is_mysql();
    if mysql && !world.is_mysql_from((8, 0, 23)) {
        return;
    }
    let hidden = if mysql {
        "h INT DEFAULT 7 INVISIBLE"
    } else {
        "h INT INVISIBLE"
    };
    let mut tables = vec![
        // A value that is computed stands in front of the key.
        format!(
            "v INT, w VARCHAR(300) AS (REPEAT('w', v)) VIRTUAL, s INT AS (v + 1) STORED, {hidden}, id INT PRIMARY KEY"
        ),
        "v INT, g INT AS (v + 1) VIRTUAL, id INT, PRIMARY KEY (id), INDEX (g)".to_owned(),
        "v INT, id INT NOT NULL, UNIQUE (id)".to_owned(),
    ];
    if mysql {
        tables.push("v INT, s INT AS (v + 5) STORED, PRIMARY KEY (s)".to_owned());
        tables.push(
            "v INT, id INT PRIMARY KEY, w JSON, INDEX ((v + 1)), INDEX ((CAST(w->'$.a' AS UNSIGNED ARRAY)))"
                .into(),
        );
    } else {
        // A column of its own for the digest of the long value.
        tables.push("v INT, id INT PRIMARY KEY, w TEXT, UNIQUE (w)".into());
        tables.push("v INT, id INT PRIMARY KEY, w TEXT COMPRESSED, c VARCHAR(300) COMPRESSED".into());
        tables.push("v INT, id INT PRIMARY KEY, a DATE, b DATE, PERIOD FOR p (a, b)".into());
    }
    for columns in tables {
        world.run("DROP TABLE IF EXISTS a").await;
        world
            .run(&format!("CREATE TABLE a ({columns}) ENGINE=InnoDB"))
            .await;
        world.read_shapes(&["a"]).await;
        world.brought().await;
        let computed = columns.contains("PRIMARY KEY (s)");
        let (key, insert) = if computed {
            ("s", "INSERT INTO a (v) VALUES (5), (6)")
        } else if columns.contains("PERIOD") {
            (
                "id",
                "INSERT INTO a (v, id, a, b) VALUES (5, 10, '2020-01-01', '2021-01-01'), (6, 11, '2020-01-01', '2021-01-01')",
            )
        } else {
            ("id", "INSERT INTO a (v, id) VALUES (5, 10), (6, 11)")
        };
        let brought = world.changes(&[insert]).await;
        assert_eq!(brought, ["a +10", "a +11"], "{}: {columns}", world.caps.version);
        let update = format!("UPDATE a SET v = v + 10 WHERE {key} = 11");
        world
            .expect(&[&update], &[if computed { "a 11 to 21" } else { "a 11" }])
            .await;
        world
            .expect(&[&format!("DELETE FROM a WHERE {key} = 10")], &["a -10"])
            .await;
    }
    world.run("DROP TABLE a").await;
    if world.is_mysql_from((8, 0, 30)) {
        world
            .all(&[
                "SET sql_generate_invisible_primary_key = ON",
                "CREATE TABLE a (v INT)",
                "SET sql_generate_invisible_primary_key = OFF",
            ])
            .await;
        world.read_shapes(&["a"]).await;
        world.brought().await;
        world
            .expect(&["INSERT INTO a VALUES (7), (7)"], &["a +1", "a +2"])
            .await;
        world
            .expect(&["UPDATE a SET v = 8 WHERE my_row_id = 2"], &["a 2"])
            .await;
        world.run("DROP TABLE a").await;
    }
}

/// Row events that do not hold every column.
pub async fn partial_images(world: &mut World) {
    let json = if world.is_mysql_from((8, 0, 3)) {
        "JSON"
    } else {
        "TEXT"
    };
    world
        .all(&[
            "DROP TABLE IF EXISTS a, u",
            &format!("CREATE TABLE a (v INT, b LONGBLOB, id INT, j {json}, k {json}, PRIMARY KEY (id)) ENGINE=InnoDB"),
            "CREATE TABLE u (v INT, id INT NOT NULL, other INT NOT NULL, UNIQUE (other), UNIQUE (id)) ENGINE=InnoDB",
        ])
        .await;
    world.read_shapes(&["a", "u"]).await;
    world.brought().await;
    let mut images = vec!["MINIMAL", "NOBLOB", "FULL"];
    if world.caps.version.is_mariadb_from((11, 4, 0)) {
        images.push("FULL_NODUP");
    }
    for image in images {
        world.run(&format!("SET binlog_row_image = {image}")).await;
        world
            .expect(
                &["INSERT INTO a VALUES (1, REPEAT('b', 1000), 1, '{\"a\": 1}', '[1]'), (NULL, NULL, 2, NULL, NULL)"],
                &["a +1", "a +2"],
            )
            .await;
        world.expect(&["INSERT INTO a (id) VALUES (3)"], &["a +3"]).await;
        world
            .expect(&["UPDATE a SET v = 2"], &["a 1", "a 2", "a 3"])
            .await;
        world
            .expect(
                &["UPDATE a SET b = REPEAT('c', 70000) WHERE id < 3"],
                &["a 1", "a 2"],
            )
            .await;
        world
            .expect(&["UPDATE a SET id = 30 WHERE id = 3"], &["a 3 to 30"])
            .await;
        if json == "JSON" {
            world.run("SET binlog_row_value_options = PARTIAL_JSON").await;
            world
                .expect(
                    &["UPDATE a SET v = 3, j = JSON_SET(j, '$.a', 2, '$.b', 'x') WHERE id = 1"],
                    &["a 1"],
                )
                .await;
            world
                .expect(
                    &["UPDATE a SET id = id + 5, j = JSON_SET(j, '$.a', 3), k = JSON_ARRAY_APPEND(k, '$', 2)"],
                    &["a 1 to 6", "a 2 to 7", "a 30 to 35"],
                )
                .await;
            world.run("SET binlog_row_value_options = ''").await;
            world.run("UPDATE a SET id = id - 5 ORDER BY id").await;
            world.brought().await;
        }
        world
            .expect(&["DELETE FROM a WHERE id < 3"], &["a -1", "a -2"])
            .await;
        world.expect(&["DELETE FROM a"], &["a -30"]).await;
        // Of a key that no image need hold: never under another one than it has.
        world.run("INSERT INTO u VALUES (1, 10, 20)").await;
        world.brought().await;
        for statement in [
            "UPDATE u SET v = 2",
            "UPDATE u SET other = 21",
            "UPDATE u SET id = 11",
            "DELETE FROM u",
        ] {
            let brought = world.changes(&[statement]).await;
            let is_row = |key: &str| {
                brought
                    .iter()
                    .all(|one| one.starts_with("u ") && one.contains(key))
            };
            assert!(
                brought == ["u"] || is_row(if statement.contains("id") { "11" } else { "1" }),
                "{image}: {statement}: {brought:?}"
            );
        }
    }
    world.run("SET binlog_row_image = FULL").await;
}

/// Transactions of several statements and tables.
pub async fn transactions(world: &mut World) {
    world
        .all(&[
            "DROP TABLE IF EXISTS a, b, m, log",
            "CREATE TABLE a (id INT PRIMARY KEY, v INT) ENGINE=InnoDB",
            "CREATE TABLE b (id INT PRIMARY KEY, v INT) ENGINE=InnoDB",
            "CREATE TABLE m (id INT PRIMARY KEY, v INT) ENGINE=MyISAM",
            "CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, v INT) ENGINE=InnoDB",
            "CREATE TRIGGER of_b AFTER INSERT ON b FOR EACH ROW INSERT INTO log (v) VALUES (NEW.v)",
        ])
        .await;
    world.read_shapes(&["a", "b", "log"]).await;
    world.brought().await;
    world
        .all(&[
            "BEGIN",
            "INSERT INTO a VALUES (1, 1), (2, 2)",
            "UPDATE a SET v = 3 WHERE id = 1",
            "SAVEPOINT s",
        ])
        .await;
    world
        .all(&["DELETE FROM a", "ROLLBACK TO s", "INSERT INTO b VALUES (9, 1)"])
        .await;
    assert_eq!(world.brought().await, []);
    world.run("COMMIT").await;
    let steps = world.brought().await;
    assert_eq!(steps.len(), 1, "{steps:?}");
    let short: Vec<String> = steps[0].1.iter().map(crate::world::short).collect();
    // Rows that were undone may be there: they only cost a look.
    for wanted in ["a +1", "a +2", "a 1", "b +9", "log +1"] {
        assert!(short.iter().any(|one| one == wanted), "{wanted}: {short:?}");
    }
    assert!(short.len() <= 7, "{short:?}");

    world
        .expect(&["BEGIN", "INSERT INTO a VALUES (5, 1)", "ROLLBACK"], &[])
        .await;
    world
        .expect(
            &["UPDATE a, b SET a.v = 50, b.v = 51 WHERE a.id = 2 AND b.id = 9"],
            &["a 2", "b 9"],
        )
        .await;
    world
        .expect(
            &["INSERT INTO a VALUES (2, 7) ON DUPLICATE KEY UPDATE id = 20"],
            &["a 2 to 20"],
        )
        .await;
    let replaced = world.changes(&["REPLACE INTO a VALUES (20, 8)"]).await;
    assert!(
        replaced == ["a 20"] || replaced == ["a -20", "a +20"],
        "{replaced:?}"
    );
    // A table of another engine in the same transaction, which is rolled back: its rows stay, and those of `a` do not count.
    // MySQL with GTIDs refuses that.
    if !world.is_mysql() {
        let mixed = world
            .changes(&[
                "BEGIN",
                "INSERT INTO a VALUES (6, 1)",
                "INSERT INTO m VALUES (1, 1)",
                "ROLLBACK",
            ])
            .await;
        assert!(mixed.contains(&"m".to_owned()), "{mixed:?}");
    }
    world.expect(&["INSERT INTO m VALUES (2, 1)"], &["m"]).await;
    // Temporary tables are nobody's.
    let temporary = world
        .changes(&[
            "CREATE TEMPORARY TABLE a (id INT PRIMARY KEY)",
            "INSERT INTO a VALUES (77)",
            "DROP TEMPORARY TABLE a",
        ])
        .await;
    assert!(temporary.is_empty() || temporary == ["a"], "{temporary:?}");
    world.read_shapes(&["a"]).await;
    // MySQL 5.6 with GTIDs refuses that.
    if !world.is_mysql() || world.is_mysql_from((8, 0, 13)) {
        let temporary = world
            .changes(&[
                "BEGIN",
                "CREATE TEMPORARY TABLE tmp (id INT PRIMARY KEY) SELECT id FROM a",
                "INSERT INTO b SELECT id + 100, 1 FROM tmp",
                "DROP TEMPORARY TABLE tmp",
                "COMMIT",
            ])
            .await;
        assert!(
            temporary.iter().any(|one| one.starts_with("b +1")),
            "{temporary:?}"
        );
        assert!(!temporary.contains(&"everything".to_owned()), "{temporary:?}");
    }
    world.read_shapes(&["a", "b"]).await;

    let file = world.server.data_dir().join("rows.csv");
    std::fs::write(&file, "300,1\n301,2\n").unwrap();
    let load = format!(
        "LOAD DATA INFILE '{}' INTO TABLE a FIELDS TERMINATED BY ','",
        file.display()
    );
    world.expect(&[&load], &["a +300", "a +301"]).await;
    // Ends in the middle, after some rows were written.
    let half = world.changes(&["BEGIN"]).await;
    assert_eq!(half, Vec::<String>::new());
    let refused = world
        .own
        .query_drop("INSERT INTO a VALUES (400, 1), (301, 1)")
        .await;
    assert!(refused.is_err());
    world
        .expect(&["INSERT INTO a VALUES (401, 1)", "COMMIT"], &["a +401"])
        .await;
}

/// XA transactions count where they are committed.
pub async fn xa(world: &mut World) {
    world
        .all(&[
            "DROP TABLE IF EXISTS a",
            "CREATE TABLE a (id INT PRIMARY KEY, v INT) ENGINE=InnoDB",
        ])
        .await;
    world.read_shapes(&["a"]).await;
    world.brought().await;
    world
        .expect(
            &[
                "XA START 'one'",
                "INSERT INTO a VALUES (1, 1)",
                "XA END 'one'",
                "XA COMMIT 'one' ONE PHASE",
            ],
            &["a +1"],
        )
        .await;
    // Before 5.7 and 10.5 a prepared transaction is not in the binlog until it is committed.
    let prepared = [
        "XA START 'it''s', X'00FF', 7",
        "INSERT INTO a VALUES (2, 1)",
        "XA END 'it''s', X'00FF', 7",
        "XA PREPARE 'it''s', X'00FF', 7",
    ];
    world.expect(&prepared, &[]).await;
    world.expect(&["XA COMMIT 'it''s', X'00FF', 7"], &["a +2"]).await;
    world
        .expect(
            &[
                "XA START 'two'",
                "INSERT INTO a VALUES (3, 1)",
                "XA END 'two'",
                "XA PREPARE 'two'",
                "XA ROLLBACK 'two'",
            ],
            &[],
        )
        .await;
    let in_binlog = world.is_mysql_from((5, 7, 7)) || !world.is_mysql();
    if in_binlog {
        // Two at once, and one that was prepared before the reader began.
        let mut other = root(&world.server).await;
        for sql in [
            "XA START 'other'",
            "INSERT INTO a VALUES (10, 1)",
            "XA END 'other'",
            "XA PREPARE 'other'",
        ] {
            other.query_drop(sql).await.unwrap();
        }
        world
            .expect(
                &[
                    "XA START 'mine'",
                    "INSERT INTO a VALUES (11, 1)",
                    "XA END 'mine'",
                    "XA PREPARE 'mine'",
                ],
                &[],
            )
            .await;
        other.query_drop("XA COMMIT 'other'").await.unwrap();
        world.expect(&[], &["a +10"]).await;
        world.begin_again(|_| ()).await;
        world.expect(&["XA COMMIT 'mine'"], &["everything"]).await;
        world.read_shapes(&["a"]).await;
    }
}

/// Foreign keys change rows that no event tells.
pub async fn cascades(world: &mut World) {
    cascades_of(world, false).await;
}

/// The same where MySQL leaves foreign keys to the engine, as all did before 9.6.
pub async fn native_cascades() {
    let mut world = World::on(ServerKind::MySql97, &["innodb-native-foreign-keys=ON"]).await;
    cascades_of(&mut world, true).await;
}

async fn cascades_of(world: &mut World, is_native: bool) {
    world
        .all(&[
            "DROP TABLE IF EXISTS grandchild, child, cleared, refused, parent",
            "CREATE TABLE parent (v INT, id INT PRIMARY KEY, code VARCHAR(20) CHARACTER SET latin1, UNIQUE (code)) ENGINE=InnoDB",
            "CREATE TABLE child (id INT PRIMARY KEY, parent INT, v INT, \
             FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE) ENGINE=InnoDB",
            "CREATE TABLE grandchild (id INT PRIMARY KEY, child INT, \
             FOREIGN KEY (child) REFERENCES child (id) ON DELETE CASCADE ON UPDATE CASCADE) ENGINE=InnoDB",
            "CREATE TABLE cleared (id INT PRIMARY KEY, code VARCHAR(20) CHARACTER SET latin1, \
             FOREIGN KEY (code) REFERENCES parent (code) ON DELETE SET NULL ON UPDATE CASCADE) ENGINE=InnoDB",
            "CREATE TABLE refused (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES parent (id)) ENGINE=InnoDB",
        ])
        .await;
    // The parent itself need not be wanted.
    world
        .read_shapes(&["child", "grandchild", "cleared", "refused"])
        .await;
    world
        .all(&[
            "INSERT INTO parent VALUES (1, 1, 'a'), (1, 2, 'b'), (1, 3, NULL), (1, 4, 'é'), (1, 5, 'x')",
            "INSERT INTO child VALUES (10, 1, 1), (20, 2, 1), (40, 4, 1)",
            "INSERT INTO grandchild VALUES (100, 10), (200, 20)",
            "INSERT INTO cleared VALUES (1000, 'a'), (4000, 'é'), (5000, 'x')",
        ])
        .await;
    world.brought().await;
    // MySQL 9.6 writes what foreign keys change, unless it leaves them to InnoDB.
    let native = "SHOW VARIABLES LIKE 'innodb_native_foreign_keys'";
    let native: Option<(String, String)> = world.own.query_first(native).await.unwrap();
    let written = native.is_some_and(|(_, value)| value == "OFF");
    assert_eq!(written, world.is_mysql_from((9, 6, 0)) && !is_native);
    let told = |brought: &[String], row: &[&str], cascade: &[&str], about: &str| {
        let wanted = if written { row } else { cascade };
        for one in wanted {
            assert!(
                brought.iter().any(|brought| brought == one),
                "{about}: {one} is not in {brought:?}"
            );
        }
        let parents = usize::from(brought.iter().any(|one| one.starts_with("parent")));
        assert_eq!(brought.len(), wanted.len() + parents, "{about}: {brought:?}");
    };
    let brought = world.changes(&["UPDATE parent SET v = 2"]).await;
    told(&brought, &[], &[], "nothing that is referred to");
    let brought = world.changes(&["UPDATE parent SET id = 7 WHERE id = 1"]).await;
    told(
        &brought,
        &["child 10"],
        &["child where (parent) is 1|7", "grandchild"],
        "ON UPDATE CASCADE",
    );
    let brought = world
        .changes(&["UPDATE parent SET code = 'c' WHERE id = 7"])
        .await;
    told(
        &brought,
        &["cleared 1000"],
        &["cleared where (code) is 'a'|'c'"],
        "ON UPDATE CASCADE of a text",
    );
    let brought = world.changes(&["DELETE FROM parent WHERE id = 2"]).await;
    told(
        &brought,
        &["child -20", "grandchild -200"],
        &["child where (parent) is 2", "grandchild", "cleared"],
        "ON DELETE CASCADE",
    );
    let brought = world.changes(&["DELETE FROM parent WHERE id = 3"]).await;
    told(
        &brought,
        &[],
        &["child where (parent) is 3", "grandchild"],
        "ON DELETE CASCADE, without children",
    );
    let brought = world.changes(&["DELETE FROM parent WHERE id = 7"]).await;
    told(
        &brought,
        &["child -10", "grandchild -100", "cleared 1000"],
        &["child where (parent) is 7", "grandchild", "cleared"],
        "both",
    );
    // The text of another character set may be asked for in another one.
    let brought = world
        .changes(&["UPDATE parent SET code = 'è' WHERE id = 4"])
        .await;
    told(
        &brought,
        &["cleared 4000"],
        &["cleared"],
        "a text that is not of ASCII",
    );
    let brought = world
        .changes(&[
            "SET foreign_key_checks = 0",
            "DELETE FROM parent WHERE id = 4",
            "SET foreign_key_checks = 1",
        ])
        .await;
    told(&brought, &[], &[], "without foreign_key_checks");
    world.run("DELETE FROM child WHERE id = 40").await;
    world.brought().await;

    // What the image does not tell is not known.
    world.run("SET binlog_row_image = MINIMAL").await;
    let brought = world
        .changes(&["UPDATE parent SET code = 'f' WHERE id = 5"])
        .await;
    told(&brought, &["cleared 5000"], &["cleared"], "MINIMAL");
    world.run("SET binlog_row_image = FULL").await;

    // A parent whose shape nobody has: it is not proved any more.
    world.run("INSERT INTO child VALUES (49, 5, 1)").await;
    world.brought().await;
    world
        .shapes
        .write()
        .unwrap()
        .remove(&crate::world::named("parent"));
    let brought = world
        .changes(&[
            "UPDATE parent SET id = 6 WHERE id = 5",
            "UPDATE parent SET id = 5 WHERE id = 6",
        ])
        .await;
    let one = if written { "child 49" } else { "child" };
    assert!(brought.contains(&one.to_owned()), "{brought:?}");
    world
        .read_shapes(&["child", "grandchild", "cleared", "refused"])
        .await;

    // The same under another name, as long as nobody has read it anew.
    world
        .all(&[
            "INSERT INTO child VALUES (50, 5, 1)",
            "RENAME TABLE parent TO elder",
        ])
        .await;
    world.brought().await;
    let brought = world.changes(&["UPDATE elder SET id = 55 WHERE id = 5"]).await;
    if written {
        assert!(
            brought.iter().any(|one| one == "child 50" || one == "child"),
            "{brought:?}"
        );
    } else {
        assert!(
            brought.iter().any(|one| one == "everything" || one == "child"),
            "a renamed parent: {brought:?}"
        );
    }
    world
        .read_shapes(&["child", "grandchild", "cleared", "refused"])
        .await;
    let brought = world.changes(&["UPDATE elder SET id = 56 WHERE id = 55"]).await;
    let one = if written {
        "child 50"
    } else {
        "child where (parent) is 55|56"
    };
    assert!(brought.contains(&one.to_owned()), "{brought:?}");
    // A foreign key that is new, on a table that nobody knows.
    world
        .all(&[
            "CREATE TABLE stranger (id INT PRIMARY KEY) ENGINE=InnoDB",
            "INSERT INTO stranger VALUES (1), (2)",
            "UPDATE child SET v = 1",
            "ALTER TABLE child ADD FOREIGN KEY (v) REFERENCES stranger (id) ON DELETE CASCADE ON UPDATE CASCADE",
        ])
        .await;
    world.brought().await;
    let brought = world.changes(&["UPDATE stranger SET id = 3 WHERE id = 1"]).await;
    if written {
        assert!(brought.contains(&"child".to_owned()), "{brought:?}");
    } else {
        assert!(brought.contains(&"everything".to_owned()), "{brought:?}");
    }
    world
        .read_shapes(&["child", "grandchild", "cleared", "refused"])
        .await;
    let brought = world.changes(&["UPDATE stranger SET id = 4 WHERE id = 3"]).await;
    let one = if written {
        "child 50"
    } else {
        "child where (v) is 3|4"
    };
    assert!(brought.contains(&one.to_owned()), "{brought:?}");
    world
        .all(&[
            "SET foreign_key_checks = 0",
            "DROP TABLE grandchild, child, cleared, refused, elder, stranger",
            "SET foreign_key_checks = 1",
        ])
        .await;
    world.brought().await;
}

/// Statements that change definitions.
pub async fn definitions(world: &mut World) {
    world
        .all(&[
            "DROP TABLE IF EXISTS a, b",
            "CREATE TABLE a (id INT PRIMARY KEY, v INT) ENGINE=InnoDB",
            "CREATE TABLE b (id INT PRIMARY KEY, v INT) ENGINE=InnoDB",
            "CREATE DATABASE other",
        ])
        .await;
    world.read_shapes(&["a", "b"]).await;
    world.brought().await;
    let is = |brought: &[String], wanted: &str| brought.iter().any(|one| one == wanted);

    // An old shape is never used: not before it was read anew.
    world.expect(&["ALTER TABLE a ADD x INT FIRST"], &["a"]).await;
    world.expect(&["INSERT INTO a VALUES (9, 1, 1)"], &["a"]).await;
    world.read_shapes(&["a"]).await;
    world.expect(&["INSERT INTO a VALUES (9, 2, 1)"], &["a +2"]).await;
    world
        .expect(&["ALTER TABLE a MODIFY id BIGINT UNSIGNED"], &["a"])
        .await;
    world.read_shapes(&["a"]).await;
    world
        .expect(
            &["INSERT INTO a VALUES (9, 18446744073709551615, 1)"],
            &["a +18446744073709551615"],
        )
        .await;
    world
        .expect(&["CREATE INDEX v ON a (v)", "DROP INDEX v ON a"], &["a", "a"])
        .await;
    world.read_shapes(&["a"]).await;
    world.expect(&["TRUNCATE TABLE a"], &["a"]).await;
    world.read_shapes(&["a"]).await;
    world.expect(&["INSERT INTO a VALUES (9, 2, 1)"], &["a +2"]).await;

    // Two tables change places.
    let brought = world.changes(&["RENAME TABLE a TO c, b TO a, c TO b"]).await;
    assert!(is(&brought, "a") && is(&brought, "b"), "{brought:?}");
    world.expect(&["INSERT INTO a VALUES (3, 1)"], &["a"]).await;
    world.read_shapes(&["a", "b"]).await;
    world
        .expect(
            &["INSERT INTO a VALUES (4, 1)", "INSERT INTO b VALUES (9, 5, 1)"],
            &["a +4", "b +5"],
        )
        .await;
    let brought = world
        .changes(&[
            "ALTER TABLE b RENAME TO other.b",
            "ALTER TABLE other.b RENAME TO shop.b",
        ])
        .await;
    assert!(is(&brought, "b") && is(&brought, "other.b"), "{brought:?}");
    world.read_shapes(&["a", "b"]).await;

    // From another schema, from none, with comments, in procedures.
    world
        .expect(&["USE other", "ALTER TABLE shop.a ADD y INT", "USE shop"], &["a"])
        .await;
    world
        .expect(
            &[
                "CREATE PROCEDURE p() ALTER TABLE /* mine */ a DROP y",
                "CALL p()",
                "DROP PROCEDURE p",
            ],
            &["a"],
        )
        .await;
    world.read_shapes(&["a"]).await;
    world
        .expect(&["/*!40000 ALTER TABLE a DISABLE KEYS */"], &["a"])
        .await;
    world.run("CREATE TABLE made LIKE a").await;
    world.run("INSERT INTO made VALUES (1, 1)").await;
    world.read_shapes(&["a", "b"]).await;
    world.brought().await;
    let brought = world.changes(&["DROP TABLE made"]).await;
    assert_eq!(brought, ["made"]);
    // Older ones with GTIDs refuse it.
    if !world.is_mysql() || world.is_mysql_from((8, 0, 21)) {
        let brought = world
            .changes(&["CREATE TABLE made (PRIMARY KEY (id)) SELECT 1 AS id"])
            .await;
        assert!(is(&brought, "made") && !is(&brought, "everything"), "{brought:?}");
    }
    if !world.is_mysql() {
        let brought = world
            .changes(&["CREATE OR REPLACE TABLE b (id INT PRIMARY KEY) SELECT 1 AS id"])
            .await;
        assert!(is(&brought, "b") && !is(&brought, "everything"), "{brought:?}");
        world.read_shapes(&["b"]).await;
        let brought = world.changes(&["CREATE OR REPLACE DATABASE other"]).await;
        assert_eq!(brought, ["schema other"]);
        world.read_shapes(&["a", "b"]).await;
    }
    // What holds no rows.
    world
        .expect(
            &[
                "CREATE VIEW w AS SELECT * FROM a",
                "DROP VIEW w",
                "CREATE USER someone@localhost",
                "GRANT SELECT ON shop.a TO someone@localhost",
                "DROP USER someone@localhost",
                "ANALYZE TABLE a",
                "CREATE DATABASE third",
                "FLUSH TABLES",
                "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1",
                "DROP FUNCTION f",
                "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SET @x = 1",
                "DROP EVENT e",
            ],
            &[],
        )
        .await;
    world.expect(&["INSERT INTO a VALUES (5, 1)"], &["a +5"]).await;

    // Names that are not of ASCII, from sessions in other character sets.
    world
        .all(&[
            "CREATE TABLE größe (id INT PRIMARY KEY)",
            "CREATE TABLE gr (id INT PRIMARY KEY)",
        ])
        .await;
    for charset in ["utf8mb4", "latin1"] {
        let mut other = root(&world.server).await;
        for (statement, verb) in [
            ("ALTER TABLE größe ADD v INT", "ALTER"),
            ("ALTER TABLE größe DROP v", "ALTER"),
            ("TRUNCATE größe", "TRUNCATE"),
        ] {
            world.read_shapes(&["größe", "a"]).await;
            world.brought().await;
            other.query_drop(format!("SET NAMES {charset}")).await.unwrap();
            // The driver sends the bytes as they are.
            let bytes: Vec<u8> = match charset {
                "latin1" => statement
                    .chars()
                    .map(|c| u8::try_from(u32::from(c)).unwrap())
                    .collect(),
                _ => statement.as_bytes().to_vec(),
            };
            other.query_drop(&bytes[..]).await.unwrap();
            let brought = world.changes(&[]).await;
            assert!(
                is(&brought, "größe") || charset == "latin1" && is(&brought, "everything"),
                "{charset}: {verb}: {brought:?}"
            );
        }
        other.query_drop("SET NAMES latin1").await.unwrap();
        drop(other.disconnect().await);
    }
    let mut other = root(&world.server).await;
    other.query_drop("SET NAMES latin1").await.unwrap();
    other.query_drop(&b"DROP TABLE gr\xf6\xdfe"[..]).await.unwrap();
    world.read_shapes(&["a"]).await;
    let brought = world.changes(&[]).await;
    assert!(is(&brought, "größe") || is(&brought, "everything"), "{brought:?}");
    // A backslash that escapes nothing.
    world.read_shapes(&["a", "b"]).await;
    let brought = world
        .changes(&[
            "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
            "ALTER TABLE gr COMMENT 'x\\', RENAME TO gr2, ALGORITHM = COPY, COMMENT 'y'''",
            "SET sql_mode = 'ANSI_QUOTES'",
            "CREATE TABLE \"q\\\" (id INT)",
            "CREATE TABLE \"r\\\" (id INT)",
            "DROP TABLE \"q\\\", \"r\\\"",
            "SET sql_mode = ''",
        ])
        .await;
    assert!(is(&brought, "gr2") || is(&brought, "everything"), "{brought:?}");
    assert!(is(&brought, "r\\") || is(&brought, "everything"), "{brought:?}");

    world.read_shapes(&["a"]).await;
    world.expect(&["DROP DATABASE other"], &["schema other"]).await;
    world.expect(&["INSERT INTO a VALUES (6, 1)"], &["a +6"]).await;
    let brought = world.changes(&["DROP TABLE a"]).await;
    assert!(is(&brought, "a"), "{brought:?}");
    world.run("CREATE TABLE a (k VARCHAR(9) PRIMARY KEY)").await;
    world.brought().await;
    world.expect(&["INSERT INTO a VALUES ('x')"], &["a"]).await;
    world.all(&["DROP TABLE gr2", "DROP DATABASE third"]).await;
}

/// Changes that stand in the binlog as statements.
pub async fn statement_format(world: &mut World) {
    const TABLES: &[&str] = &["a", "b", "with_trigger", "log"];
    world
        .all(&[
            "DROP TABLE IF EXISTS a, b, with_trigger, log",
            "CREATE TABLE a (id INT PRIMARY KEY, v INT) ENGINE=InnoDB",
            "CREATE TABLE b (id INT PRIMARY KEY, v INT) ENGINE=InnoDB",
            "CREATE TABLE with_trigger (id INT PRIMARY KEY, v INT) ENGINE=InnoDB",
            "CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, v INT) ENGINE=InnoDB",
            "CREATE TRIGGER t AFTER INSERT ON with_trigger FOR EACH ROW INSERT INTO log (v) VALUES (NEW.v)",
        ])
        .await;
    world.read_shapes(TABLES).await;
    world.brought().await;
    if world
        .own
        .query_drop("SET binlog_format = STATEMENT")
        .await
        .is_err()
    {
        return;
    }
    world
        .expect(&["INSERT INTO a VALUES (1, 1), (2, 1)"], &["a"])
        .await;
    world.expect(&["UPDATE a SET v = 2 WHERE id = 1"], &["a"]).await;
    world
        .expect(&["INSERT INTO b SELECT * FROM a"], &["everything"])
        .await;
    world.read_shapes(TABLES).await;
    world
        .expect(&["INSERT INTO with_trigger VALUES (1, 1)"], &["everything"])
        .await;
    world
        .expect(
            &[
                "BEGIN",
                "UPDATE a SET v = 3",
                "DELETE FROM b WHERE id = 1",
                "COMMIT",
            ],
            &["a", "b"],
        )
        .await;
    world.read_shapes(TABLES).await;
    let file = world.server.data_dir().join("more.csv");
    std::fs::write(&file, "300,1\n301,2\n").unwrap();
    let load = format!(
        "LOAD DATA INFILE '{}' INTO TABLE a FIELDS TERMINATED BY ','",
        file.display()
    );
    world.expect(&[&load], &["everything"]).await;
    world.read_shapes(TABLES).await;
    // A trigger that is younger than what is known of its table.
    world
        .all(&["CREATE TRIGGER u AFTER UPDATE ON a FOR EACH ROW INSERT INTO log (v) VALUES (NEW.v)"])
        .await;
    world.brought().await;
    world
        .expect(&["UPDATE a SET v = 4 WHERE id = 1"], &["everything"])
        .await;
    world.run("SET binlog_format = ROW").await;
}

/// Definitions are not read while a statement that changes one of them may be under way.
pub async fn definitions_under_way(world: &mut World) {
    // Others have the lock behind `information_schema` itself.
    if !world.is_mysql_from((8, 0, 0)) {
        return;
    }
    world.run("CREATE TABLE a (id INT PRIMARY KEY)").await;
    let (mut session, caps) = crate::world::session(&world.server).await;
    let name = crate::world::named("a");
    let wanted = [Wanted {
        name: &name,
        blue: None,
    }];
    world.run("LOCK TABLES a WRITE").await;
    let read = shape::read(&mut session, &caps, &wanted, Duration::from_secs(1)).await;
    assert!(read.is_err(), "{read:?}");
    world.run("UNLOCK TABLES").await;
    let (mut session, _) = crate::world::session(&world.server).await;
    let read = shape::read(&mut session, &caps, &wanted, crate::world::BUDGET).await;
    assert_eq!(read.unwrap().len(), 1);
}
