//! Statements as applications send them, and what becomes of them.

use proptest::prelude::*;

use super::catalogue::{Catalogue, Decision, Relation, Replay, decide};
use super::order::KeyColumn;
use super::reading::look;
use crate::domain::gate::Comparison;
use crate::domain::proof::transaction::TableName;

fn name(schema: &str, table: &str) -> TableName {
    TableName {
        schema: schema.into(),
        table: table.into(),
    }
}

fn key(columns: &[(&str, bool)]) -> Vec<KeyColumn> {
    let column = |(name, is_text): &(&str, bool)| KeyColumn {
        name: (*name).into(),
        is_text: *is_text,
    };
    columns.iter().map(column).collect()
}

/// `orders(id)`, `customers(id; email)`, `items(order_id, line)`, `log` without a key, the view `paid` on orders.
fn shop() -> Catalogue {
    let table = |table: &str, keys: Vec<Vec<KeyColumn>>| {
        let name = name("shop", table);
        (name.clone(), Relation::Table { name, keys })
    };
    let view = |view: &str, text: &str| (name("shop", view), Relation::View { text: text.into() });
    Catalogue::from([
        table("orders", vec![key(&[("id", false)])]),
        table("customers", vec![key(&[("id", false)]), key(&[("email", true)])]),
        table("items", vec![key(&[("order_id", false), ("line", false)])]),
        table("log", vec![]),
        view(
            "paid",
            "select `shop`.`orders`.`id` AS `id` from `shop`.`orders` where (`shop`.`orders`.`status` = 'paid')",
        ),
        view(
            "recent",
            "select `shop`.`paid`.`id` AS `id` from `shop`.`paid` where `shop`.`paid`.`at` > now()",
        ),
        (name("shop", "x"), Relation::Absent),
    ])
}

fn decided(text: &str) -> Decision {
    match look(text, Some("shop")) {
        Ok(reading) => decide(&reading, &shop()),
        Err(why) => Decision::No(why),
    }
}

fn replay(text: &str) -> Replay {
    match decided(text) {
        Decision::Replay(replay) => replay,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn reading_statements_are_replayed_and_their_tables_known() {
    for (text, tables) in [
        ("SELECT * FROM orders WHERE id = 7", "orders"),
        (
            "select o.id from shop.orders o, customers c where c.id = o.customer_id",
            "customers orders",
        ),
        (
            "SELECT 1 FROM orders WHERE EXISTS (SELECT 1 FROM items i WHERE i.order_id = orders.id)",
            "items orders",
        ),
        (
            "SELECT * FROM (SELECT id FROM customers) AS d LEFT JOIN `items` USING (id)",
            "customers items",
        ),
        (
            "SELECT (SELECT MAX(id) FROM log) FROM orders UNION ALL SELECT id FROM customers",
            "customers log orders",
        ),
        (
            "WITH x AS (SELECT id FROM orders) SELECT * FROM x JOIN customers c ON c.id = x.id",
            "customers orders",
        ),
        ("SELECT id FROM paid", "orders"),
        (
            "SELECT SQL_NO_CACHE id FROM orders USE INDEX (PRIMARY) WHERE a <=> NULL AND b DIV 2 = 1",
            "orders",
        ),
        (
            "SELECT STRAIGHT_JOIN o.id FROM orders o STRAIGHT_JOIN items i ON i.order_id = o.id",
            "items orders",
        ),
        (
            "SELECT COUNT(DISTINCT a), GROUP_CONCAT(b ORDER BY b SEPARATOR ';') FROM orders",
            "orders",
        ),
        (
            "SELECT DATE_ADD(placed_at, INTERVAL 1 DAY), CAST(a AS CHAR), a->>'$.b' FROM orders;",
            "orders",
        ),
        (
            "SELECT 'FOR UPDATE', \"NOW()\", `into` FROM orders /* FOR UPDATE */",
            "orders",
        ),
        (
            "(SELECT id FROM orders WHERE id = 1 LIMIT 1) UNION (SELECT id FROM customers WHERE id = 2)",
            "customers orders",
        ),
    ] {
        let found: Vec<String> = replay(text).tables.into_iter().map(|table| table.table).collect();
        assert_eq!(found.join(" "), tables, "{text}");
    }
}

#[test]
fn what_is_left_out_says_why() {
    for (text, why) in [
        ("UPDATE orders SET a = 1", "not a SELECT"),
        ("DELETE FROM orders", "not a SELECT"),
        ("CALL p()", "not a SELECT"),
        ("WITH c AS (SELECT 1) DELETE FROM orders", "not a SELECT"),
        ("WITH c AS (SELECT 1) UPDATE orders SET a = 1", "not a SELECT"),
        (
            "SELECT 1 FROM orders; DROP TABLE orders",
            "more than one statement",
        ),
        ("SELECT * FROM orders FOR UPDATE", "locks"),
        ("SELECT * FROM orders FOR SHARE SKIP LOCKED", "locks"),
        ("SELECT * FROM orders LOCK IN SHARE MODE", "locks"),
        ("SELECT * FROM (SELECT * FROM orders FOR UPDATE) d", "locks"),
        ("SELECT * INTO OUTFILE '/tmp/x' FROM orders", "writes its answer"),
        ("SELECT id INTO @a FROM orders", "variable"),
        ("SELECT @a := id FROM orders", "variable @a"),
        ("SELECT @@hostname FROM orders", "variable @@hostname"),
        ("SELECT NOW() FROM orders", "time"),
        ("SELECT id FROM orders WHERE at > CURRENT_TIMESTAMP", "time"),
        ("SELECT id FROM orders WHERE at > UNIX_TIMESTAMP()", "time"),
        ("SELECT * FROM orders ORDER BY RAND()", "another value"),
        ("SELECT UUID() FROM orders", "another value"),
        ("SELECT LAST_INSERT_ID() FROM orders", "session"),
        ("SELECT USER() FROM orders", "session"),
        ("SELECT GET_LOCK('a', 1) FROM orders", "effect"),
        ("SELECT SLEEP(10) FROM orders", "effect"),
        ("SELECT BENCHMARK(1000000, 1) FROM orders", "effect"),
        ("SELECT NEXTVAL(s) FROM orders", "effect"),
        ("SELECT NEXT VALUE FOR s FROM orders", "sequence"),
        ("SELECT price_of(id) FROM orders", "price_of"),
        ("SELECT shop.price_of(id) FROM orders", "stored function"),
        ("SELECT * FROM orders WHERE id = ?", "prepared statement"),
        ("SELECT 1 FROM orders /*! FOR UPDATE */", "cannot be looked into"),
        ("SELECT * FROM mysql.user", "not the application's"),
        ("SELECT * FROM information_schema.TABLES", "not the application's"),
        ("SELECT * FROM bleen.heartbeat", "not the application's"),
        ("SELECT 1", "no table"),
        ("SELECT 1 FROM dual", "no table"),
        ("SELECT * FROM orders LIMIT 10", "LIMIT without"),
        ("SELECT * FROM orders ORDER BY total LIMIT 10", "LIMIT without"),
        (
            "SELECT * FROM orders o JOIN items i ON i.order_id = o.id ORDER BY o.id LIMIT 10",
            "LIMIT without",
        ),
        (
            "SELECT * FROM orders WHERE a IN (SELECT id FROM log LIMIT 3)",
            "LIMIT without",
        ),
        (
            "SELECT f.id FROM orders f ORDER BY id LIMIT 100000",
            "more than 10000",
        ),
        ("SELECT a, b, COUNT(*) FROM orders GROUP BY a", "GROUP BY"),
        ("SELECT *, COUNT(*) FROM orders GROUP BY a", "GROUP BY"),
        ("SELECT GROUP_CONCAT(a) FROM orders", "GROUP_CONCAT"),
        ("SELECT ROW_NUMBER() OVER (ORDER BY a) FROM orders", "ROW_NUMBER"),
        ("SELECT SUM(a) OVER (ORDER BY b) FROM orders", "window"),
        ("SELECT id FROM orders WHERE MATCH (a) AGAINST ('b')", "full-text"),
        ("SELECT * FROM nosuch WHERE ((", "not understood"),
        ("SELECT id FROM recent", "the view shop.recent: NOW"),
        ("SELECT id FROM x", "no table shop.x"),
        ("SELECT 'a FROM orders", "never closed"),
        ("", "not a SELECT"),
    ] {
        match decided(text) {
            Decision::No(said) => assert!(said.contains(why), "{text}: {said}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(
        look("SELECT * FROM t", None)
            .unwrap_err()
            .contains("default schema")
    );
}

#[test]
fn an_order_is_total_only_by_a_key() {
    use Comparison::{Ordered, Set};
    for (text, comparison) in [
        ("SELECT * FROM orders ORDER BY id", Ordered),
        ("SELECT * FROM orders ORDER BY total, id DESC LIMIT 10", Ordered),
        ("SELECT id, a FROM orders ORDER BY 1", Ordered),
        ("SELECT * FROM orders ORDER BY total", Set),
        ("SELECT * FROM orders", Set),
        ("SELECT * FROM orders o WHERE o.id = 5 LIMIT 1", Ordered),
        (
            "SELECT * FROM items WHERE order_id = 5 AND (line = 2) LIMIT 1",
            Ordered,
        ),
        ("SELECT * FROM items WHERE order_id = 5 ORDER BY line", Ordered),
        (
            "SELECT * FROM items WHERE order_id = 5 OR line = 2 ORDER BY line",
            Set,
        ),
        ("SELECT * FROM customers WHERE email = 'a' LIMIT 1", Ordered),
        ("SELECT COUNT(*), MAX(a) FROM orders LIMIT 1", Set),
        (
            "SELECT a, COUNT(*) FROM orders GROUP BY a ORDER BY a LIMIT 3",
            Ordered,
        ),
        ("SELECT a, COUNT(*) FROM orders GROUP BY a ORDER BY COUNT(*)", Set),
        ("SELECT DISTINCT a FROM log ORDER BY a LIMIT 3", Ordered),
        ("SELECT -id AS id FROM log ORDER BY id", Set),
        ("SELECT total AS id FROM orders ORDER BY id", Set),
        (
            "SELECT c.id, c.name, COUNT(*) FROM customers c JOIN orders o ON o.c = c.id GROUP BY c.id",
            Set,
        ),
        ("SELECT id, a, MAX(b) FROM orders GROUP BY id", Set),
    ] {
        assert_eq!(replay(text).comparison, comparison, "{text}");
    }
    for text in [
        // A text is equal to many numbers, and other texts to one.
        "SELECT * FROM customers WHERE email = 0 LIMIT 1",
        "SELECT * FROM log ORDER BY id LIMIT 1",
        "SELECT * FROM items ORDER BY line LIMIT 1",
        // The name of the expression, and not the key.
        "SELECT total AS id FROM orders ORDER BY id LIMIT 5",
        "SELECT * FROM orders ORDER BY id + 0 LIMIT 5",
        "SELECT a, COUNT(*) FROM orders GROUP BY a ORDER BY 2 LIMIT 3",
        // The expression in front of the table.
        "WITH orders AS (SELECT 1 AS id FROM log) SELECT * FROM orders ORDER BY id LIMIT 2",
        "SELECT c.id, o.name, COUNT(*) FROM customers c JOIN orders o ON o.c = c.id GROUP BY c.id",
    ] {
        assert!(matches!(decided(text), Decision::No(_)), "{text}");
    }
    assert!(replay("SELECT AVG(f) FROM orders").sums && !replay("SELECT f FROM orders").sums);
}

#[test]
fn what_is_not_known_yet_is_asked_for() {
    let reading = look("SELECT * FROM paid JOIN other.t ON 1 = 1", Some("shop")).unwrap();
    let mut known = shop();
    known.remove(&name("shop", "orders"));
    assert_eq!(decide(&reading, &known), Decision::Ask(vec![name("other", "t")]));
    let table = Relation::Table {
        name: name("other", "t"),
        keys: vec![],
    };
    known.insert(name("other", "t"), table);
    assert_eq!(
        decide(&reading, &known),
        Decision::Ask(vec![name("shop", "orders")])
    );
}

#[test]
fn a_view_on_itself_ends() {
    let view = |of: &str| Relation::View {
        text: format!("select id from {of}"),
    };
    let known = Catalogue::from([(name("s", "a"), view("b")), (name("s", "b"), view("a"))]);
    let reading = look("SELECT id FROM a", Some("s")).unwrap();
    assert!(matches!(decide(&reading, &known), Decision::No(why) if why.contains("views")));
}

/// The parser and the drop of its tree go as deep as a chain of operators is long.
#[test]
fn a_long_chain_does_not_exhaust_the_stack() {
    let within = std::thread::Builder::new().stack_size(1 << 20).spawn(|| {
        for (chain, times) in [
            ("OR a = 1 ", 249),
            ("+ 1 ", 499),
            ("UNION SELECT id FROM orders ", 500),
        ] {
            let text = format!("SELECT id FROM orders WHERE 1 {}", chain.repeat(times));
            assert!(look(&text, Some("shop")).is_ok(), "{chain}");
            let text = format!("SELECT id FROM orders WHERE 1 {}", chain.repeat(100_000));
            assert!(
                look(&text, Some("shop")).unwrap_err().contains("operators"),
                "{chain}"
            );
        }
        for deep in [
            "(",
            "NOT ",
            "(SELECT ",
            "- ",
            "!",
            "~",
            "CASE WHEN ",
            "EXISTS (SELECT 1 FROM orders WHERE ",
        ] {
            let text = format!("SELECT id FROM orders WHERE {}", deep.repeat(10_000));
            assert!(look(&text, Some("shop")).is_err(), "{deep}");
        }
        // A list is no chain.
        let text = format!("SELECT id FROM orders WHERE id IN (1{})", ", 2".repeat(20_000));
        assert!(look(&text, Some("shop")).is_ok());
    });
    within.unwrap().join().unwrap();
}

proptest! {
    #[test]
    fn no_text_is_too_strange(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "SELECT ", "FROM ", "orders ", "WHERE ", "(", ")", ", ", "id ", "= ", "1 ", "'x' ", "ORDER BY ", "LIMIT ",
                "GROUP BY ", "UNION ", "WITH ", "AS ", "JOIN ", "ON ", "* ", "COUNT(", "INTERVAL ", "CASE ", "WHEN ",
                "END ", "@a ", ":= ", "FOR ", "UPDATE ", "; ", "`", "\\", ".", "->", "{", "[", "]", "::", "? ",
            ]),
            0..25,
        )
    ) {
        let text = parts.concat();
        let _ = look(&text, Some("shop"));
        let _ = look(&format!("SELECT {text}"), Some("shop"));
    }

    /// Whatever wraps it, a lock, a clock or a placeholder is never overlooked.
    #[test]
    fn what_must_not_be_replayed_is_found_anywhere(
        inner in proptest::sample::select(vec!["NOW()", "SLEEP(1)", "@a := 1", "f(1)", "RAND()", "GET_LOCK('a', 1)", "?"]),
        wraps in proptest::collection::vec(0_u8..6, 0..4),
    ) {
        let mut expr = inner.to_owned();
        for wrap in wraps {
            expr = match wrap {
                0 => format!("({expr})"),
                1 => format!("COALESCE({expr}, 1)"),
                2 => format!("CASE WHEN {expr} = 1 THEN 2 ELSE 3 END"),
                3 => format!("(SELECT MAX({expr}) FROM items)"),
                4 => format!("CAST({expr} AS CHAR)"),
                _ => format!("{expr} + 1"),
            };
        }
        for text in [
            format!("SELECT {expr} FROM orders"),
            format!("SELECT id FROM orders WHERE {expr} = 1"),
            format!("SELECT id FROM orders ORDER BY {expr}"),
            format!("SELECT a FROM orders GROUP BY a HAVING {expr} > 0"),
            format!("SELECT o.id FROM orders o JOIN items i ON i.x = {expr}"),
            format!("WITH c AS (SELECT {expr} AS a FROM orders) SELECT * FROM c"),
        ] {
            prop_assert!(look(&text, Some("shop")).is_err(), "{}", text);
        }
    }
}
