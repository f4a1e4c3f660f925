//! The shop on every version: it loads, its programs work, and it says what it left out.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test says what failed by failing"
)]

use std::time::{Duration, Instant};

use bleen::sandbox::{PairOptions, SandboxPair, ServerKind, load_shop};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

async fn shop(kind: ServerKind, left_out: usize) {
    let pair = SandboxPair::start(kind, kind, &PairOptions::default())
        .await
        .unwrap();
    let report = load_shop(&pair.blue, &pair.accounts).await.unwrap();
    assert_eq!(report.left_out.len(), left_out, "{:?}", report.left_out);
    let mut conn = Conn::new(pair.accounts.app.opts(pair.blue.port())).await.unwrap();
    for (table, rows) in &report.tables {
        let seen: Option<u64> = conn
            .query_first(format!("SELECT COUNT(*) FROM shop.{table}"))
            .await
            .unwrap();
        assert!(
            seen == Some(*rows) || table == "ticks",
            "{table}: {seen:?} of {rows}"
        );
    }
    // As the application: routine, trigger, view, cascade.
    conn.query_drop("CALL shop.place_order(7, 11)").await.unwrap();
    let audited = "SELECT COUNT(*) FROM shop.audit WHERE actor = 'trigger'";
    assert_eq!(conn.query_first::<u64, _>(audited).await.unwrap(), Some(1));
    let value =
        "SELECT shop.order_value(MAX(id)) = (SELECT price FROM shop.products WHERE id = 11) FROM shop.orders";
    assert_eq!(conn.query_first::<u8, _>(value).await.unwrap(), Some(1));
    let orders = "SELECT orders > 0 FROM shop.customer_totals WHERE id = 7";
    assert_eq!(conn.query_first::<u8, _>(orders).await.unwrap(), Some(1));
    conn.query_drop("DELETE FROM shop.customers WHERE id = 7")
        .await
        .unwrap();
    let rest = "SELECT (SELECT COUNT(*) FROM shop.orders WHERE customer_id = 7)
                     + (SELECT COUNT(*) FROM shop.addresses WHERE customer_id = 7)";
    assert_eq!(conn.query_first::<u64, _>(rest).await.unwrap(), Some(0));
    // The event runs, here and only here.
    let started = Instant::now();
    while conn
        .query_first::<u64, _>("SELECT COUNT(*) FROM shop.ticks WHERE server = 1")
        .await
        .unwrap()
        < Some(2)
    {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "the event does not run"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eprintln!("{kind}: {} rows in {:?}", report.rows, report.took);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_5_6_loads_the_shop() {
    shop(ServerKind::MySql56, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_9_7_loads_the_shop() {
    shop(ServerKind::MySql97, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_10_11_loads_the_shop() {
    shop(ServerKind::MariaDb1011, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_11_8_loads_the_shop() {
    shop(ServerKind::MariaDb118, 0).await;
}
