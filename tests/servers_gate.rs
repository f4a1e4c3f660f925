//! Gate queries on real pairs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test")]

mod support;

use std::time::Duration;

use bleen::adapters::mysql::gate::{self, Gate, MOST_ROWS, Query, Verdict};
use bleen::domain::gate::Comparison;
use bleen::domain::ids::Side;
use bleen::sandbox::{PairOptions, SandboxPair, ServerKind};
use support::{BUDGET, following, server, session};

const TYPES: &str = "CREATE TABLE shop.v (id INT PRIMARY KEY, f FLOAT, d DOUBLE, n DECIMAL(10,2), b VARBINARY(20), \
                     t DATETIME, s VARCHAR(20) CHARACTER SET utf8mb4)";
const ROWS: &str = "INSERT INTO shop.v VALUES (1, 1.5, 1e20, 3.50, x'00ff27', '2024-01-02 03:04:05', 'ä''\\\\'), \
                    (2, 0.1, -0.0, NULL, '', NULL, ''), (3, 16777216, 0.1, 0, NULL, '2024-01-01', NULL)";

fn query(sql: &str, comparison: Comparison) -> Query {
    Query {
        name: "q".into(),
        sql: sql.into(),
        comparison,
        limit: Duration::from_secs(2),
    }
}

async fn open(pair: &SandboxPair, queries: Vec<Query>) -> Gate {
    let (blue, green) = (server(pair, Side::Blue).await, server(pair, Side::Green).await);
    gate::open(
        (&blue.target, &blue.caps),
        (&green.target, &green.caps),
        None,
        queries,
    )
    .await
    .unwrap()
}

async fn agrees_and_differs(blue: ServerKind, green: ServerKind, options: PairOptions) {
    let pair = following(blue, green, &options).await;
    pair.blue
        .run(&["CREATE DATABASE shop", TYPES, ROWS])
        .await
        .unwrap();
    support::caught_up(&pair).await;
    let all = "SELECT * FROM shop.v ORDER BY id";
    let slow = Query {
        limit: Duration::from_millis(300),
        ..query("SELECT SLEEP(3) FROM shop.v WHERE id = 1", Comparison::Set)
    };
    let many = "SELECT a.id FROM shop.v a, shop.v b, shop.v c, shop.v d, shop.v e, shop.v f, shop.v g, shop.v h, \
                shop.v i";
    let queries = vec![
        query(all, Comparison::Ordered),
        query(all, Comparison::Set),
        query("SELECT SUM(n), 1 FROM shop.v", Comparison::Set),
        query("SELECT SUM(d) FROM shop.v", Comparison::Scalar { tolerance: 0.0 }),
        query("SELECT id FROM shop.v WHERE id > 3", Comparison::NoRows),
        query(many, Comparison::Set),
        slow,
    ];
    let mut gate = open(&pair, queries).await;
    for at in 0..5 {
        let verdict = gate.run(at, BUDGET).await;
        assert!(matches!(verdict, Verdict::Agree { .. }), "{at}: {verdict:?}");
        let verdict = gate.run_under_load(at).await.unwrap();
        assert!(matches!(verdict, Verdict::Agree { .. }), "{at}: {verdict:?}");
    }
    assert!(3_usize.pow(9) > MOST_ROWS);
    assert!(
        matches!(gate.run(5, BUDGET).await, Verdict::Differ(what) if what.contains("more than 10000 rows"))
    );

    // One row differs, by one byte, without the binlog.
    let mut green_session = session(&pair, Side::Green).await;
    let hidden = "SET SESSION sql_log_bin = 0; UPDATE shop.v SET b = x'00ff26' WHERE id = 1; \
                  INSERT INTO shop.v (id, d) VALUES (4, 1e20)";
    let opened = "SET GLOBAL read_only = 0";
    green_session.run("open", opened, BUDGET).await.unwrap();
    green_session.run("differ", hidden, BUDGET).await.unwrap();
    for at in [0, 1, 3, 4] {
        let verdict = gate.run(at, BUDGET).await;
        let Verdict::Differ(what) = verdict else {
            panic!("{at}: {verdict:?}")
        };
        assert!(
            at != 0 || what.contains("0x00ff27") && what.contains("0x00ff26"),
            "{what}"
        );
    }

    // Too slow: the answer comes in time all the same, and what still runs can be told.
    let started = std::time::Instant::now();
    let verdict = gate.run(6, BUDGET).await;
    assert!(
        started.elapsed() < Duration::from_millis(1500),
        "{:?}",
        started.elapsed()
    );
    match verdict {
        Verdict::Failed(_, what) => assert!(what.contains("time limit"), "{what}"),
        // MySQL ends a SLEEP at the limit without an error.
        Verdict::Agree { .. } => assert!(gate.unanswered().is_empty()),
        other @ Verdict::Differ(_) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql() {
    agrees_and_differs(ServerKind::MySql97, ServerKind::MySql97, PairOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb() {
    agrees_and_differs(
        ServerKind::MariaDb1011,
        ServerKind::MariaDb118,
        PairOptions::default(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn across_families() {
    let options = PairOptions::default().gtid(false);
    agrees_and_differs(ServerKind::MySql56, ServerKind::MariaDb118, options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_query_cannot_write() {
    for kind in [ServerKind::MySql97, ServerKind::MariaDb118] {
        let pair = following(kind, kind, &PairOptions::default()).await;
        let function = "CREATE FUNCTION shop.sneak() RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN \
                        INSERT INTO shop.w VALUES (1); RETURN 1; END";
        let prepare = [
            "SET GLOBAL log_bin_trust_function_creators = 1",
            "CREATE DATABASE shop",
        ];
        pair.blue.run(&prepare).await.unwrap();
        pair.blue
            .run(&["CREATE TABLE shop.w (id INT)", function])
            .await
            .unwrap();
        support::caught_up(&pair).await;
        let sneak = vec![query("SELECT shop.sneak()", Comparison::Set)];
        let (blue, green) = (server(&pair, Side::Blue).await, server(&pair, Side::Green).await);
        // MySQL refuses it when it is prepared, MariaDB when it is run.
        match gate::open(
            (&blue.target, &blue.caps),
            (&green.target, &green.caps),
            None,
            sneak,
        )
        .await
        {
            Err(refused) => assert_eq!(refused.code(), Some(1792)),
            Ok(mut gate) => {
                let verdict = gate.run(0, BUDGET).await;
                assert!(
                    matches!(&verdict, Verdict::Failed(_, what) if what.contains("read-only")),
                    "{verdict:?}"
                );
            }
        }
        let rows: Option<String> = pair.blue.value("SELECT COUNT(*) FROM shop.w").await.unwrap();
        assert_eq!(rows.as_deref(), Some("0"));

        let two = vec![query("SELECT 1; DROP TABLE shop.w", Comparison::Set)];
        let refused = gate::open(
            (&blue.target, &blue.caps),
            (&green.target, &green.caps),
            None,
            two,
        )
        .await;
        assert_eq!(refused.err().unwrap().code(), Some(1064));
    }
}
