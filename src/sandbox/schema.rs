//! The sandbox's shop: every kind of thing a real schema has, as far as blue's version knows it.
//!
//! Pure text. Character set and collation are said everywhere, so that a green of another version or family reads the
//! same; definers are the application's account, which has no right to write through read-only.

use crate::adapters::mysql::quote;

use super::catalog::{Family, Release};
use super::pair::SCHEMA;

/// Accounts in the constant-sum table.
pub const ACCOUNTS: u64 = 1_000;
/// What each of them holds at the start.
pub const START_BALANCE: i64 = 100_000;

/// What a version can hold of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Knows {
    /// JSON columns.
    pub json: bool,
    /// Generated columns in the common spelling.
    pub generated: bool,
    /// Tables with nothing in them that is off by default may have checks.
    pub checks: bool,
}

impl Knows {
    pub(crate) fn of(family: Family, version: Release) -> Self {
        let from = |mysql: Release, mariadb: Release| match family {
            Family::MySql => version >= mysql,
            Family::MariaDb => version >= mariadb,
        };
        Self {
            json: from(Release(5, 7, 8), Release(10, 2, 7)),
            generated: from(Release(5, 7, 6), Release(10, 2, 1)),
            checks: from(Release(8, 0, 16), Release(10, 2, 1)),
        }
    }

    /// What this version's shop does not have, in words.
    pub(crate) fn left_out(self) -> Vec<String> {
        let all = [
            (self.json, "JSON columns (kept as text)"),
            (self.generated, "generated columns"),
            (self.checks, "check constraints"),
        ];
        all.into_iter()
            .filter(|(known, _)| !known)
            .map(|(_, what)| what.to_owned())
            .collect()
    }
}

/// A table: its name, how many rows it gets, its columns, and the row for number `n`.
pub(crate) struct Table {
    pub name: &'static str,
    pub rows: u64,
    pub columns: String,
    /// Column names of the insert.
    pub into: &'static str,
    /// The values for row `n`, `n` from 1.
    pub values: &'static str,
}

/// The tables in an order in which parents come first.
pub(crate) fn tables(knows: Knows) -> Vec<Table> {
    let json = if knows.json { "JSON" } else { "TEXT" };
    let when = |known: bool, text: &'static str| if known { text } else { "" };
    let table = |name, rows, columns: String, into, values| Table {
        name,
        rows,
        columns,
        into,
        values,
    };
    vec![
        table(
            "regions",
            8,
            "id TINYINT UNSIGNED NOT NULL PRIMARY KEY, name VARCHAR(40) NOT NULL UNIQUE".into(),
            "id, name",
            "n, ELT(n, 'Nord', 'Süd', 'Øst', 'West', 'Île', 'Łódź', '東', '😀')",
        ),
        table(
            "customers",
            25_000,
            format!(
                "id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
                 email VARCHAR(120) NOT NULL, name VARCHAR(80) NOT NULL, region_id TINYINT UNSIGNED NOT NULL,
                 status ENUM('new','active','blocked','gone') NOT NULL DEFAULT 'new',
                 flags SET('vip','press','staff') NOT NULL DEFAULT '', profile {json}, born DATE,
                 created_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
                 changed_at TIMESTAMP(6) NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP(6),
                 UNIQUE KEY email (email), KEY region (region_id, status),
                 CONSTRAINT customers_region FOREIGN KEY (region_id) REFERENCES regions (id)"
            ),
            "id, email, name, region_id, status, flags, profile, born, created_at",
            "n, CONCAT('c', n, '@example.com'), CONCAT(ELT(1 + n % 4, 'Ada ', 'Zoë ', 'Nuño ', '李 '), n), 1 + n % 8,
             1 + n % 4, n % 8, CONCAT('{\"age\": ', 18 + n % 70, ', \"tags\": [\"t', n % 13, '\", null], \"ok\": true}'),
             DATE('1950-01-01') + INTERVAL n % 20000 DAY, TIMESTAMP('2024-01-01') + INTERVAL n MINUTE",
        ),
        table(
            "addresses",
            30_000,
            "id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, customer_id BIGINT UNSIGNED NOT NULL,
             street VARCHAR(120) NOT NULL, zip CHAR(8) NOT NULL, note TEXT, KEY customer (customer_id),
             CONSTRAINT addresses_customer FOREIGN KEY (customer_id) REFERENCES customers (id)
                 ON DELETE CASCADE ON UPDATE CASCADE"
                .into(),
            "id, customer_id, street, zip, note",
            "n, 1 + n % 25000, CONCAT('Straße ', n % 977, ' No. ', n % 83), LPAD(n % 99999, 5, '0'),
             IF(n % 3 = 0, NULL, REPEAT('x ', n % 20))",
        ),
        table(
            "categories",
            60,
            "id SMALLINT UNSIGNED NOT NULL PRIMARY KEY, parent_id SMALLINT UNSIGNED, name VARCHAR(60) NOT NULL,
             KEY parent (parent_id),
             CONSTRAINT categories_parent FOREIGN KEY (parent_id) REFERENCES categories (id) ON DELETE SET NULL"
                .into(),
            "id, parent_id, name",
            "n, NULL, CONCAT('Category ', n)",
        ),
        table(
            "products",
            6_000,
            format!(
                "id INT UNSIGNED NOT NULL PRIMARY KEY, sku VARBINARY(20) NOT NULL UNIQUE,
                 category_id SMALLINT UNSIGNED NOT NULL, name VARCHAR(120) NOT NULL, price DECIMAL(10,2) NOT NULL,
                 tax DECIMAL(5,4) NOT NULL, weight FLOAT, rating DOUBLE, attributes {json},
                 {}KEY category (category_id),
                 CONSTRAINT products_category FOREIGN KEY (category_id) REFERENCES categories (id){}",
                when(
                    knows.generated,
                    "gross DECIMAL(12,2) GENERATED ALWAYS AS (ROUND(price * (1 + tax), 2)) STORED,
                     label VARCHAR(150) GENERATED ALWAYS AS (CONCAT(name, ' / ', category_id)) VIRTUAL,
                     KEY gross (gross), ",
                ),
                when(knows.checks, ", CONSTRAINT price_positive CHECK (price >= 0)"),
            ),
            "id, sku, category_id, name, price, tax, weight, rating, attributes",
            "n, CONCAT('SKU-', LPAD(n, 8, '0')), 1 + n % 60, CONCAT('Thing №', n), (CRC32(n) % 100000) / 100, 0.1900,
             (n % 997) / 7, SQRT(n), CONCAT('{\"colour\": \"', ELT(1 + n % 3, 'red', 'grün', '青'), '\", \"n\": ', n, '}')",
        ),
        table(
            "product_images",
            2_000,
            "id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, product_id INT UNSIGNED NOT NULL,
             image BLOB NOT NULL, digest BINARY(32) NOT NULL, KEY product (product_id),
             CONSTRAINT images_product FOREIGN KEY (product_id) REFERENCES products (id) ON DELETE CASCADE"
                .into(),
            "id, product_id, image, digest",
            "n, 1 + n % 6000, UNHEX(REPEAT(SHA2(n, 256), 10 + n % 30)), UNHEX(SHA2(n, 256))",
        ),
        table(
            "orders",
            40_000,
            "id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, customer_id BIGINT UNSIGNED NOT NULL,
             status ENUM('open','paid','sent','back') NOT NULL DEFAULT 'open', total DECIMAL(12,2) NOT NULL DEFAULT 0,
             placed_at DATETIME(6) NOT NULL, updated_at TIMESTAMP NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP,
             KEY customer (customer_id, placed_at),
             CONSTRAINT orders_customer FOREIGN KEY (customer_id) REFERENCES customers (id)
                 ON DELETE CASCADE ON UPDATE CASCADE"
                .into(),
            "id, customer_id, status, total, placed_at",
            "n, 1 + CRC32(n) % 25000, 1 + n % 4, (n % 50000) / 100,
             TIMESTAMP('2025-01-01 00:00:00.123456') + INTERVAL n * 37 SECOND",
        ),
        table(
            "order_items",
            90_000,
            "order_id BIGINT UNSIGNED NOT NULL, line SMALLINT UNSIGNED NOT NULL, product_id INT UNSIGNED NOT NULL,
             quantity SMALLINT UNSIGNED NOT NULL, price DECIMAL(10,2) NOT NULL, PRIMARY KEY (order_id, line),
             KEY product (product_id),
             CONSTRAINT items_order FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE,
             CONSTRAINT items_product FOREIGN KEY (product_id) REFERENCES products (id)"
                .into(),
            "order_id, line, product_id, quantity, price",
            "1 + (n - 1) DIV 3, 1 + (n - 1) % 3, 1 + CRC32(n) % 6000, 1 + n % 9, (n % 9999) / 100",
        ),
        table(
            "readings",
            2_000,
            "device BINARY(16) NOT NULL, taken_at DATETIME(3) NOT NULL, f FLOAT, d DOUBLE, exact DECIMAL(30,10),
             bits BIT(12), y YEAR, t TIME(3), small TINYINT, medium MEDIUMINT UNSIGNED, words MEDIUMTEXT,
             raw VARBINARY(64), PRIMARY KEY (device, taken_at)"
                .into(),
            "device, taken_at, f, d, exact, bits, y, t, small, medium, words, raw",
            "UNHEX(LEFT(SHA2(n % 40, 256), 32)), TIMESTAMP('2026-01-01 00:00:00.007') + INTERVAL n SECOND, n / 7, -n / 3e10,
             CAST(n AS DECIMAL(30,10)) / 7, n % 4096, 1970 + n % 100, SEC_TO_TIME(n * 7.125), -(n % 128), n * 13 % 16777215,
             IF(n % 5 = 0, '', REPEAT('Wörter ', n % 30)), UNHEX(SHA2(n + 1, 256))",
        ),
        // No primary key: replicas look its rows up the hard way, and a proof has one range for it.
        table(
            "audit",
            5_000,
            "at DATETIME(6) NOT NULL, actor VARCHAR(40) NOT NULL, what VARCHAR(120) NOT NULL, KEY at (at)".into(),
            "at, actor, what",
            "TIMESTAMP('2025-06-01') + INTERVAL n MICROSECOND, CONCAT('user', n % 17), CONCAT('did ', n % 101)",
        ),
        // Filled by the event, which says where it ran.
        table(
            "ticks",
            0,
            "id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, server INT UNSIGNED NOT NULL,
             at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)"
                .into(),
            "server",
            "0",
        ),
        table(
            "accounts",
            ACCOUNTS,
            "id INT UNSIGNED NOT NULL PRIMARY KEY, balance BIGINT NOT NULL".into(),
            "id, balance",
            "n, 100000",
        ),
        // Deliberately without a unique index on (run, writer, seq): a write that arrives twice must be able to.
        table(
            "ledger",
            0,
            "id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, run BIGINT UNSIGNED NOT NULL,
             writer INT UNSIGNED NOT NULL, seq BIGINT UNSIGNED NOT NULL, from_account INT UNSIGNED NOT NULL,
             to_account INT UNSIGNED NOT NULL, amount BIGINT NOT NULL,
             at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), KEY write_of (run, writer, seq)"
                .into(),
            "run, writer, seq, from_account, to_account, amount",
            "0, 0, 0, 0, 0, 0",
        ),
    ]
}

/// `CREATE TABLE` of a table.
pub(crate) fn create_table(table: &Table) -> String {
    format!(
        "CREATE TABLE {} ({}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci",
        quote::qualified(SCHEMA, table.name),
        table.columns
    )
}

/// `CREATE DATABASE` of the shop.
pub(crate) fn create_schema() -> String {
    let name = quote::identifier(SCHEMA);
    format!("CREATE DATABASE {name} DEFAULT CHARACTER SET utf8mb4 DEFAULT COLLATE utf8mb4_general_ci")
}

/// View, routines, trigger and event, after the rows are in. `definer` is an account as SQL.
pub(crate) fn programs(definer: &str) -> Vec<String> {
    let name = |n: &str| quote::qualified(SCHEMA, n);
    vec![
        format!(
            "CREATE DEFINER={definer} VIEW {} AS
             SELECT c.id, c.email, COUNT(o.id) AS orders, COALESCE(SUM(o.total), 0) AS spent
             FROM {} c LEFT JOIN {} o ON o.customer_id = c.id GROUP BY c.id, c.email",
            name("customer_totals"),
            name("customers"),
            name("orders")
        ),
        format!(
            "CREATE DEFINER={definer} FUNCTION {}(wanted BIGINT UNSIGNED) RETURNS DECIMAL(14,2) READS SQL DATA
             RETURN (SELECT COALESCE(SUM(price * quantity), 0) FROM {} WHERE order_id = wanted)",
            name("order_value"),
            name("order_items")
        ),
        format!(
            "CREATE DEFINER={definer} PROCEDURE {}(IN who BIGINT UNSIGNED, IN thing INT UNSIGNED) MODIFIES SQL DATA
             BEGIN
               INSERT INTO {} (customer_id, placed_at) VALUES (who, NOW(6));
               INSERT INTO {} (order_id, line, product_id, quantity, price)
               SELECT LAST_INSERT_ID(), 1, id, 1, price FROM {} WHERE id = thing;
             END",
            name("place_order"),
            name("orders"),
            name("order_items"),
            name("products")
        ),
        format!(
            "CREATE DEFINER={definer} TRIGGER {} AFTER INSERT ON {} FOR EACH ROW
             INSERT INTO {} (at, actor, what) VALUES (NEW.placed_at, 'trigger', CONCAT('order ', NEW.id))",
            name("orders_audited"),
            name("orders"),
            name("audit")
        ),
        format!(
            "CREATE DEFINER={definer} EVENT {} ON SCHEDULE EVERY 1 SECOND ON COMPLETION PRESERVE ENABLE
             DO INSERT INTO {} (server) VALUES (@@server_id)",
            name("tick"),
            name("ticks")
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_about_two_hundred_thousand_rows_and_says_what_is_missing() {
        let modern = Knows::of(Family::MySql, Release(9, 7, 4));
        let rows: u64 = tables(modern).iter().map(|t| t.rows).sum();
        assert!((195_000..=205_000).contains(&rows), "{rows}");
        assert!(modern.left_out().is_empty());
        let old = Knows::of(Family::MySql, Release(5, 6, 24));
        assert_eq!(old.left_out().len(), 3);
        let old_text: String = tables(old).iter().map(create_table).collect();
        assert!(!old_text.contains("JSON") && !old_text.contains("GENERATED") && !old_text.contains("CHECK"));
        // What the text says is what the constants say.
        let accounts = tables(modern).into_iter().find(|t| t.name == "accounts").unwrap();
        assert_eq!(accounts.values, format!("n, {START_BALANCE}"));
        let ledger = tables(modern).into_iter().find(|t| t.name == "ledger").unwrap();
        assert!(
            !ledger.columns.contains("UNIQUE"),
            "the ledger must be able to hold a write twice"
        );
    }
}
