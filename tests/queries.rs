//! The query proof on real pairs: statements of a shop, found on blue and replayed on both sides.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test")]

mod support;

use std::time::Duration;

use bleen::adapters::mysql::queries::found::{Found, Search, find};
use bleen::adapters::mysql::queries::replays::LiveReplays;
use bleen::adapters::mysql::queries::standstill::Standstill;
use bleen::domain::ids::Side;
use bleen::domain::queries::fingerprint::Fingerprint;
use bleen::domain::queries::verdict::Verdict;
use bleen::engine::event::Events;
use bleen::engine::queries::{Failure, QueryProof, Quiet, Replays, Statement, Terms, prove, warm};
use bleen::sandbox::{PairOptions, SandboxPair, ServerKind};
use mysql_async::prelude::Queryable;
use support::{BUDGET, Operator, Said, corrupt, following, is_writable, server};
use tokio_util::sync::CancellationToken;

const SHOP: [&str; 12] = [
    "CREATE DATABASE shop",
    "CREATE TABLE shop.n (n INT PRIMARY KEY)",
    "INSERT INTO shop.n VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)",
    "CREATE TABLE shop.customers (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL, score DOUBLE)",
    "INSERT INTO shop.customers SELECT a.n * 10 + b.n, CONCAT('c', a.n, b.n), SQRT(a.n * 10 + b.n) FROM shop.n a, shop.n b",
    "CREATE TABLE shop.orders (id INT PRIMARY KEY, customer_id INT NOT NULL, total DECIMAL(10,2), note CHAR(200), \
     KEY by_customer (customer_id))",
    "INSERT INTO shop.orders SELECT a.n * 1000 + b.n * 100 + c.n * 10 + d.n, b.n * 10 + c.n, d.n, REPEAT('x', 200) \
     FROM shop.n a, shop.n b, shop.n c, shop.n d",
    "CREATE TABLE shop.gone (id INT PRIMARY KEY)",
    "INSERT INTO shop.gone VALUES (1)",
    "CREATE TABLE shop.narrow (id INT PRIMARY KEY, later INT)",
    "CREATE VIEW shop.rich AS SELECT id, total FROM shop.orders WHERE total > 5",
    "ANALYZE NO_WRITE_TO_BINLOG TABLE shop.orders, shop.customers",
];

/// Statements, and the verdict on an untouched green: `None` is the same.
const SAME: [&str; 7] = [
    // No ORDER BY: without its key a server may read the primary key in order instead of the whole table.
    "SELECT total FROM orders WHERE customer_id = 7",
    "SELECT name FROM customers WHERE id = 3",
    "SELECT COUNT(*) FROM gone",
    "SELECT later FROM narrow",
    "SELECT c.name, COUNT(*), AVG(c.score) FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.name",
    "SELECT id FROM rich ORDER BY id",
    "SELECT SUM(score) FROM customers WHERE id IN (1, 2, 3)",
];

const LEFT_OUT: [(&str, &str); 5] = [
    (
        "SELECT id FROM orders WHERE id = 1 AND NOW() > '2020-01-01'",
        "NOW depends on the time",
    ),
    (
        "SELECT RAND(), id FROM customers WHERE id = 1",
        "RAND gives another value",
    ),
    ("SELECT id FROM orders WHERE id = 9 FOR UPDATE", "locks"),
    ("SELECT id FROM orders WHERE total = 3 LIMIT 2", "LIMIT without"),
    ("SELECT @@version, id FROM customers WHERE id = 1", "variable"),
];

const PREPARED: &str = "SELECT note FROM orders WHERE id = ?";

/// More than performance_schema keeps of a text.
fn long() -> String {
    let list: Vec<String> = (0..400).map(|n| n.to_string()).collect();
    format!(
        "SELECT MAX(a.total) FROM orders a, customers b WHERE a.id + b.id IN ({})",
        list.join(", ")
    )
}

async fn shop(blue: ServerKind, green: ServerKind, options: &PairOptions) -> SandboxPair {
    let pair = following(blue, green, options).await;
    pair.blue.run(&SHOP).await.unwrap();
    support::caught_up(&pair).await;
    let analyze = "ANALYZE NO_WRITE_TO_BINLOG TABLE shop.orders, shop.customers";
    corrupt(&pair.green, &[analyze]).await;
    pair
}

/// Everything into the slow log, as a table.
const LOG_ALL: [&str; 3] = [
    "SET GLOBAL log_output = 'TABLE'",
    "SET GLOBAL long_query_time = 0",
    "SET GLOBAL slow_query_log = ON",
];

/// What an application sends, several times over.
async fn load(pair: &SandboxPair, times: usize) {
    let mut conn = pair.blue.root().await.unwrap();
    conn.query_drop("USE shop").await.unwrap();
    for _ in 0..times {
        for text in SAME.iter().copied().chain(LEFT_OUT.map(|(text, _)| text)) {
            conn.query_drop(text).await.unwrap();
        }
        conn.exec_drop(PREPARED, (5,)).await.unwrap();
    }
    conn.query_drop(long()).await.unwrap();
    conn.disconnect().await.unwrap();
}

async fn found(pair: &SandboxPair, search: Search) -> Found {
    let blue = server(pair, Side::Blue).await;
    find(&blue.target, &blue.caps, None, search, &CancellationToken::new())
        .await
        .unwrap()
}

async fn replays(pair: &SandboxPair) -> LiveReplays {
    let (blue, green) = (server(pair, Side::Blue).await, server(pair, Side::Green).await);
    LiveReplays::open((&blue.target, &blue.caps), (&green.target, &green.caps), None)
        .await
        .unwrap()
}

async fn standstill(pair: &SandboxPair) -> Standstill {
    let (blue, green) = (server(pair, Side::Blue).await, server(pair, Side::Green).await);
    Standstill::open(
        (&blue.target, &blue.caps),
        (&green.target, &green.caps),
        None,
        BUDGET,
    )
    .await
    .unwrap()
}

async fn proved(pair: &SandboxPair, found: &Found) -> QueryProof {
    let (replays, quiet) = (replays(pair).await, standstill(pair).await);
    let terms = Terms::new(1.5, Duration::from_millis(5), Duration::from_secs(120));
    let (cancel, events) = (CancellationToken::new(), Events::none());
    let proof = prove(&replays, &quiet, &found.candidates, &[], &terms, &cancel, &events).await;
    replays.close().await;
    proof
}

fn verdict<'a>(proof: &'a QueryProof, text: &str) -> &'a Verdict {
    let name = Fingerprint::of(text);
    let entry = proof.entries.iter().find(|entry| entry.fingerprint == name);
    &entry
        .unwrap_or_else(|| panic!("{text} is not among {proof:#?}"))
        .verdict
}

const NO_WATCH: Search = Search {
    top: 100,
    watch: Duration::ZERO,
    every: Duration::from_millis(10),
};

/// The position of a side: what it has executed or written, as far as a write would move it.
async fn position(pair: &SandboxPair, side: Side) -> String {
    let server = support::running(pair, side);
    let gtid = match server.installed().family {
        bleen::sandbox::Family::MySql => "SELECT @@GLOBAL.gtid_executed",
        bleen::sandbox::Family::MariaDb => {
            "SELECT CONCAT(@@GLOBAL.gtid_current_pos, ' ', @@GLOBAL.gtid_binlog_pos)"
        }
    };
    server.value(gtid).await.unwrap().unwrap_or_default()
}

async fn same_and_different(pair: &SandboxPair, found: &Found) {
    let before = (
        position(pair, Side::Blue).await,
        position(pair, Side::Green).await,
    );
    let proof = proved(pair, found).await;
    for text in SAME {
        // The answers are the same. A machine under load may make one of them slow, and another version may plan anew.
        let said = verdict(&proof, text);
        let same = matches!(said, Verdict::Same | Verdict::Slower(_) | Verdict::PlanChanged(_));
        assert!(same, "{text}: {said}");
    }
    for (text, why) in LEFT_OUT {
        assert!(
            matches!(verdict(&proof, text), Verdict::NotComparable(said) if said.contains(why)),
            "{text}"
        );
    }
    let after = (
        position(pair, Side::Blue).await,
        position(pair, Side::Green).await,
    );
    assert_eq!(before, after, "replaying wrote something");

    corrupt(
        &pair.green,
        &[
            "ALTER TABLE shop.orders DROP KEY by_customer",
            "UPDATE shop.customers SET name = 'another' WHERE id = 3",
            "DROP TABLE shop.gone",
            "ALTER TABLE shop.narrow DROP COLUMN later",
        ],
    )
    .await;
    let before = position(pair, Side::Green).await;
    let proof = proved(pair, found).await;
    match verdict(&proof, SAME[0]) {
        Verdict::PlanChanged(why) | Verdict::Slower(why) => {
            assert!(
                why.contains("orders: ref on by_customer became a full scan"),
                "{why}"
            );
        }
        other => panic!("{other}"),
    }
    match verdict(&proof, SAME[1]) {
        Verdict::DifferentResult(why) => assert!(why.contains("'c03'") && why.contains("'another'"), "{why}"),
        other => panic!("{other}"),
    }
    for (text, code) in [(SAME[2], "error 1146"), (SAME[3], "error 1054")] {
        assert!(
            matches!(verdict(&proof, text), Verdict::ErrorOnGreen(why) if why.contains(code)),
            "{text}"
        );
    }
    assert_eq!(
        position(pair, Side::Green).await,
        before,
        "replaying wrote something"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_finds_and_replays_its_digests() {
    let pair = shop(ServerKind::MySql97, ServerKind::MySql97, &PairOptions::default()).await;
    load(&pair, 5).await;
    let at_once = found(&pair, NO_WATCH).await;
    let counted = at_once.candidates.iter().find(|c| c.text == SAME[1]).unwrap();
    assert_eq!((counted.count, counted.schema.as_deref()), (5, Some("shop")));
    assert!(
        at_once.candidates.iter().all(|c| !c.text.contains("bleen")),
        "{at_once:#?}"
    );
    same_and_different(&pair, &at_once).await;

    let proof = proved(&pair, &at_once).await;
    assert!(
        matches!(verdict(&proof, PREPARED), Verdict::NotComparable(why) if why.contains("prepared statement"))
    );
    let cut = proof
        .entries
        .iter()
        .find(|e| e.verdict.why().contains("is cut"))
        .unwrap();
    assert!(matches!(cut.verdict, Verdict::NotComparable(_)));

    // Seen running, the whole text is there.
    let mut conn = pair.blue.root().await.unwrap();
    let runs = tokio::spawn(async move {
        conn.query_drop("USE shop").await.unwrap();
        for _ in 0..200 {
            conn.query_drop(long()).await.unwrap();
        }
    });
    let watching = Search {
        watch: Duration::from_secs(2),
        ..NO_WATCH
    };
    let watched = found(&pair, watching).await;
    runs.abort();
    let whole = watched.candidates.iter().find(|c| c.text == long());
    assert!(whole.is_some_and(|c| c.unusable.is_none()), "{watched:#?}");
    assert!(
        watched.candidates.iter().all(|c| c.unusable.is_none()),
        "{watched:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_finds_them_in_the_slow_log() {
    let pair = shop(
        ServerKind::MariaDb1011,
        ServerKind::MariaDb118,
        &PairOptions::default(),
    )
    .await;
    pair.blue.run(&LOG_ALL).await.unwrap();
    load(&pair, 2).await;
    pair.blue.run(&["SET GLOBAL slow_query_log = OFF"]).await.unwrap();
    // Off, it is not read.
    let none = found(&pair, NO_WATCH).await;
    assert!(none.candidates.is_empty() && none.notes.iter().any(|n| n.contains("performance_schema is off")));
    pair.blue
        .run(&[
            "SET GLOBAL long_query_time = 1000",
            "SET GLOBAL slow_query_log = ON",
        ])
        .await
        .unwrap();
    let logged = found(&pair, NO_WATCH).await;
    assert!(logged.candidates.iter().any(|c| c.text == long()), "{logged:#?}");
    let counted = logged.candidates.iter().find(|c| c.text == SAME[1]).unwrap();
    assert_eq!((counted.count, counted.schema.as_deref()), (2, Some("shop")));
    assert!(
        logged.candidates.iter().all(|c| !c.text.contains("bleen")),
        "{logged:#?}"
    );
    // A prepared statement is logged with its values.
    let prepared = logged
        .candidates
        .iter()
        .find(|c| c.fingerprint == Fingerprint::of(PREPARED));
    assert_eq!(prepared.unwrap().text, PREPARED.replace('?', "5"));
    same_and_different(&pair, &logged).await;
    let proof = proved(&pair, &logged).await;
    for text in [PREPARED, &long()] {
        let said = verdict(&proof, text);
        assert!(!matches!(said, Verdict::NotComparable(_)), "{text}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_sees_what_runs() {
    let pair = shop(
        ServerKind::MariaDb118,
        ServerKind::MariaDb118,
        &PairOptions::default(),
    )
    .await;
    let mut conn = pair.blue.root().await.unwrap();
    let runs = tokio::spawn(async move {
        conn.query_drop("USE shop").await.unwrap();
        for _ in 0..200 {
            conn.query_drop(long()).await.unwrap();
        }
    });
    let search = Search {
        watch: Duration::from_secs(2),
        ..NO_WATCH
    };
    let seen = found(&pair, search).await;
    runs.abort();
    let texts: Vec<&str> = seen.candidates.iter().map(|c| c.text.as_str()).collect();
    assert_eq!(texts, [long().as_str()], "{:?}", seen.notes);
    assert!(
        seen.notes.iter().any(|note| note.contains("watched for 2s")),
        "{:?}",
        seen.notes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn replaying_cannot_write_and_is_limited() {
    for kind in [ServerKind::MySql97, ServerKind::MariaDb118] {
        let pair = shop(kind, kind, &PairOptions::default()).await;
        let function = "CREATE FUNCTION shop.sneak() RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN \
                        INSERT INTO shop.gone VALUES (2); RETURN 1; END";
        pair.blue
            .run(&["SET GLOBAL log_bin_trust_function_creators = 1", function])
            .await
            .unwrap();
        support::caught_up(&pair).await;
        let before = (
            position(&pair, Side::Blue).await,
            position(&pair, Side::Green).await,
        );
        let replays = replays(&pair).await;
        let statement = |text: &str| Statement {
            text: text.into(),
            schema: Some("shop".into()),
            sums: false,
            limit: Duration::from_millis(400),
        };
        for side in [Side::Blue, Side::Green] {
            for text in [
                "SELECT sneak()",
                "DELETE FROM gone",
                "UPDATE gone SET id = 3",
                "SELECT 1; DELETE FROM gone",
                "CREATE TABLE more (id INT)",
                "DROP TABLE gone",
            ] {
                let failed = replays.run(side, statement(text)).await;
                assert!(failed.is_err(), "{text} on {side}: {failed:?}");
            }
            // It goes on with the next statement, whatever the last one did.
            let ran = replays.run(side, statement("SELECT id FROM gone")).await.unwrap();
            assert_eq!(ran.answer.rows, [vec![Some(b"1".to_vec())]]);

            // Too slow: the limit ends it, and the session goes on.
            let slow = statement(
                "SELECT COUNT(*) FROM orders a, orders b, orders c WHERE a.note <> b.note OR c.id > 0",
            );
            let failed = replays.run(side, slow).await;
            assert!(
                matches!(&failed, Err(Failure::Refused(why)) if why.contains("no answer within")),
                "{failed:?}"
            );
            // Too large by rows, and by bytes.
            let rows = replays
                .run(side, statement("SELECT a.n FROM n a, n b, n c, n d, n e"))
                .await
                .unwrap();
            assert!(rows.answer.cut && rows.answer.rows.len() == 10_000);
            let large = Statement {
                limit: Duration::from_secs(20),
                ..statement("SELECT REPEAT('x', 10000000) FROM n")
            };
            let failed = replays.run(side, large).await;
            assert!(
                matches!(&failed, Err(Failure::TooLarge(why)) if why.contains("64 MiB")),
                "{failed:?}"
            );
            replays.run(side, statement("SELECT id FROM gone")).await.unwrap();
        }
        let after = (
            position(&pair, Side::Blue).await,
            position(&pair, Side::Green).await,
        );
        assert_eq!(before, after, "{kind:?}");
        let left: Vec<Option<String>> = vec![
            pair.blue
                .value("SELECT GROUP_CONCAT(id) FROM shop.gone")
                .await
                .unwrap(),
        ];
        assert_eq!(left, [Some("1".to_owned())]);
        replays.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_was_given_up_does_not_run_on() {
    let pair = shop(ServerKind::MySql97, ServerKind::MySql97, &PairOptions::default()).await;
    let replays = replays(&pair).await;
    let endless = Statement {
        text: "SELECT COUNT(*) FROM orders a, orders b, orders c WHERE a.note <> b.note OR c.id > 0".into(),
        schema: Some("shop".into()),
        sums: false,
        limit: Duration::from_secs(60),
    };
    let given_up = tokio::time::timeout(Duration::from_millis(500), replays.run(Side::Blue, endless)).await;
    assert!(given_up.is_err());
    replays.close().await;
    let running = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%orders c WHERE%' \
                   AND ID <> CONNECTION_ID()";
    // Ended, its session takes a moment to leave the list.
    for _ in 0..100 {
        if pair.blue.value(running).await.unwrap().as_deref() == Some("0") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it still runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_in_between_is_noticed() {
    for kind in [ServerKind::MySql97, ServerKind::MariaDb118] {
        let pair = shop(kind, kind, &PairOptions::default()).await;
        let quiet = standstill(&pair).await;
        quiet.begin().await.unwrap();
        assert_eq!(quiet.touched(&[]).await, Ok(false));
        quiet.begin().await.unwrap();
        pair.blue.run(&["UPDATE shop.gone SET id = 5"]).await.unwrap();
        assert_eq!(quiet.touched(&[]).await, Ok(true));
        quiet.begin().await.unwrap();
        let on_green = pair.green.value("SELECT id FROM shop.gone").await.unwrap();
        assert_eq!(on_green.as_deref(), Some("5"), "green was waited for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn green_is_warmed() {
    let mut options = PairOptions::default();
    options.green.buffer_pool_mb = 64;
    let pair = shop(ServerKind::MySql97, ServerKind::MySql97, &options).await;
    load(&pair, 2).await;
    // A start without the pages of before.
    let cold = ["SET GLOBAL innodb_buffer_pool_dump_at_shutdown = OFF"];
    pair.green.run(&cold).await.unwrap();
    pair.green.restart().await.unwrap();
    let candidates = found(&pair, NO_WATCH).await.candidates;
    let replays = replays(&pair).await;
    let (cancel, events) = (CancellationToken::new(), Events::none());
    let limits = (Duration::from_secs(5), Duration::from_secs(60));
    let warmed = warm(&replays, &candidates, limits.0, limits.1, &cancel, &events)
        .await
        .unwrap();
    assert!(warmed.is_flat, "{warmed:?}");
    let (first, last) = (warmed.rounds[0], *warmed.rounds.last().unwrap());
    assert!(
        first.disk_reads > 20 && last.disk_reads < first.disk_reads / 10,
        "{warmed:?}"
    );
    replays.close().await;
}

fn lines(said: &Said) -> Vec<serde_json::Value> {
    said.stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The events of a type.
fn events<'a>(said: &'a [serde_json::Value], kind: &str) -> Vec<&'a serde_json::Value> {
    said.iter().filter(|event| event["type"] == kind).collect()
}

/// Every row is equal, and a view is not.
async fn validate_replays_them(pair: &SandboxPair, with: &impl Fn(&str) -> Operator) {
    let view = |least: u32| {
        format!(
            "CREATE OR REPLACE DEFINER = 'root'@'localhost' VIEW shop.rich AS SELECT id, total FROM shop.orders \
             WHERE total > {least}"
        )
    };
    corrupt(&pair.green, &[&view(6)]).await;
    let once = ["--once", "--output", "json"];
    let name = Fingerprint::of(SAME[5]).to_string();
    let different = with("").run("validate", &once).await;
    let result = different.result();
    assert_eq!(
        (different.code, &result["equal"]),
        (2, &true.into()),
        "{different}"
    );
    let statements = result["statements"].as_array().unwrap();
    let own = |text: &str| text.contains("BIT_XOR");
    assert!(
        !statements
            .iter()
            .any(|statement| own(statement["statement"].as_str().unwrap())),
        "bleen's own: {different}"
    );
    let found: Vec<&serde_json::Value> = statements
        .iter()
        // Green's own statistics may lead to another plan.
        .filter(|statement| {
            !["not-comparable", "plan-changed"]
                .map(serde_json::Value::from)
                .contains(&statement["verdict"])
        })
        .collect();
    assert_eq!(found.len(), 1, "{different}");
    assert_eq!(
        (&found[0]["fingerprint"], &found[0]["verdict"]),
        (&name.clone().into(), &"different-result".into()),
        "{different}"
    );
    assert!(
        result["queries"].as_str().unwrap().contains("1 different result"),
        "{different}"
    );

    let waiver = format!("    waivers:\n      - statement: \"{name}\"\n        reason: a new limit\n");
    let accepted = with(&waiver).run("validate", &["--once"]).await;
    assert_eq!(accepted.code, 0, "{accepted}");
    let told = format!("query {name}: different result");
    assert!(
        accepted.stderr.contains(&told) && accepted.stderr.contains("waived: a new limit"),
        "{accepted}"
    );

    // Until it is stopped: after the first pass.
    let stopped = with("")
        .run("validate", &["--for", "20s", "--output", "json"])
        .await;
    let result = stopped.result();
    assert_eq!((stopped.code, &result["equal"]), (2, &true.into()), "{stopped}");
    assert!(
        result["queries"].as_str().unwrap().contains("1 different result"),
        "{stopped}"
    );
    corrupt(&pair.green, &[&view(5)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_waits_for_what_the_applications_ask() {
    let kind = ServerKind::MySql97;
    let pair = SandboxPair::start(kind, kind, &PairOptions::default())
        .await
        .unwrap();
    pair.blue.run(&SHOP).await.unwrap();
    let with = |more: &str| {
        let more =
            format!("validate:\n  digests:\n    watch: 0s\n    max_slowdown: 1000\n{more}warm: {{}}\n");
        Operator::of(&pair, move |playbook| format!("{playbook}{more}"))
    };
    let operator = with("");
    let prepared = operator.run("prepare", &[]).await;
    assert_eq!(prepared.code, 0, "{prepared}");
    load(&pair, 3).await;
    validate_replays_them(&pair, &with).await;
    corrupt(
        &pair.green,
        &["UPDATE shop.customers SET name = 'another' WHERE id = 3"],
    )
    .await;

    let confirmed = ["--confirm", "shop", "--output", "json"];
    let stopped = operator.run("switch", &confirmed).await;
    assert_eq!(stopped.code, 2, "{stopped}");
    let names = [SAME[1], SAME[4]].map(|text| Fingerprint::of(text).to_string());
    let result = stopped.result();
    let why = result["why"].as_array().unwrap();
    let about_queries = |why: &&str| why.starts_with("query-proof");
    let mut stops: Vec<&str> = (why
        .iter()
        .filter_map(serde_json::Value::as_str)
        .filter(about_queries))
    .collect();
    stops.sort_unstable();
    let mut wanted = names
        .clone()
        .map(|name| format!("query-proof: statement {name}: different result: "));
    wanted.sort_unstable();
    assert!(
        stops.len() == 2
            && stops
                .iter()
                .zip(&wanted)
                .all(|(why, begin)| why.starts_with(begin.as_str())),
        "{stopped}"
    );
    // Each of them is told, not only the first.
    let said = lines(&stopped);
    let told = events(&said, "finding");
    let told = told
        .iter()
        .filter(|f| f["id"] == "query-proof" && f["severity"] == "stop");
    assert_eq!(told.count(), 2, "{stopped}");
    assert!(!is_writable(&pair, Side::Green).await && is_writable(&pair, Side::Blue).await);

    // Accepted by name, it goes on, and says what was accepted.
    let waivers: String = names
        .iter()
        .map(|name| format!("      - statement: \"{name}\"\n        reason: renamed on purpose\n"))
        .collect();
    let switched = with(&format!("    waivers:\n{waivers}"))
        .run("switch", &confirmed)
        .await;
    assert_eq!(
        (switched.code, switched.result()["outcome"].as_str()),
        (0, Some("switched")),
        "{switched}"
    );
    let said = lines(&switched);
    let judged = events(&said, "query-judged");
    assert_eq!(judged.len() as u64, judged[0]["of"].as_u64().unwrap());
    let accepted: Vec<_> = judged
        .iter()
        .filter(|event| event["waived"] == "renamed on purpose")
        .collect();
    assert_eq!(accepted.len(), 2, "{judged:#?}");
    let warned = events(&said, "finding");
    let warned = warned
        .iter()
        .filter(|f| f["id"] == "query-proof" && f["severity"] == "warning");
    assert_eq!(warned.count(), 2);
    let rounds = events(&said, "warmed");
    assert_eq!(rounds.last().unwrap()["is_flat"], true, "{rounds:#?}");
    let done = |step: &str| {
        said.iter()
            .position(|e| e["type"] == "step-done" && e["step"] == step)
    };
    assert!(
        done("prove").unwrap() < done("warm").unwrap() && done("warm") < done("hold"),
        "{switched}"
    );
}

/// A blue that is written to all the time: what reads quiet tables is compared all the same, and nothing is called
/// different that is not.
async fn a_busy_blue_is_compared(kind: ServerKind) {
    let pair = SandboxPair::start(kind, kind, &PairOptions::default())
        .await
        .unwrap();
    pair.blue.run(&SHOP).await.unwrap();
    let operator = Operator::of(&pair, |playbook| {
        format!("{playbook}validate:\n  data: {{}}\n  digests:\n    watch: 0s\n    max_slowdown: 1000\n")
    });
    let prepared = operator.run("prepare", &[]).await;
    assert_eq!(prepared.code, 0, "{prepared}");
    if kind != ServerKind::MySql97 {
        pair.blue.run(&LOG_ALL).await.unwrap();
    }
    load(&pair, 2).await;
    let mut conn = pair.blue.root().await.unwrap();
    conn.query_drop("USE shop").await.unwrap();
    conn.query_drop(CHANGING).await.unwrap();
    pair.blue
        .run(&["SET GLOBAL long_query_time = 1000"])
        .await
        .unwrap();
    corrupt(
        &pair.green,
        &["UPDATE shop.customers SET name = 'another' WHERE id = 3"],
    )
    .await;

    // This session may still log every statement.
    let mut conn = pair.blue.root().await.unwrap();
    let writer = tokio::spawn(async move {
        // A rate that green keeps up with: what it lacks is in doubt, whatever its table.
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        loop {
            pace.tick().await;
            conn.query_drop("UPDATE shop.gone SET id = id + 1").await.unwrap();
        }
    });
    let validated = operator.run("validate", &["--once", "--output", "json"]).await;
    // A switch beside a data proof compares as well.
    let stopped = operator
        .run("switch", &["--confirm", "shop", "--output", "json"])
        .await;
    writer.abort();
    for said in [validated, stopped] {
        assert_eq!(said.code, 2, "{said}");
        only_what_differs_is_different(&lines(&said), &said);
    }
}

/// What applications ask of a table that is never quiet in [`a_busy_blue_is_compared`].
const CHANGING: &str = "SELECT id FROM gone";

fn only_what_differs_is_different(said: &[serde_json::Value], whole: &Said) {
    let verdict = |text: &str| {
        let name = Fingerprint::of(text).to_string();
        let judged = events(said, "query-judged");
        let one = judged.iter().find(|event| event["fingerprint"] == name.as_str());
        one.map(|event| (event["verdict"].to_string(), event["why"].to_string()))
            .unwrap_or_else(|| panic!("{text} is not among {judged:#?}"))
    };
    assert_eq!(verdict(SAME[1]).0, "\"different result\"", "{whole}");
    for text in [SAME[0], SAME[5], SAME[6]] {
        let (word, why) = verdict(text);
        assert!(
            ["\"same\"", "\"plan changed\""].contains(&word.as_str()),
            "{text}: {word}: {why}: {whole}"
        );
    }
    let (word, why) = verdict(CHANGING);
    assert!(
        word == "\"same\"" || word == "\"not comparable\"" && why.contains("never quiet"),
        "{word}: {why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_mysql_is_compared_where_it_is_quiet() {
    a_busy_blue_is_compared(ServerKind::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_mariadb_is_compared_where_it_is_quiet() {
    a_busy_blue_is_compared(ServerKind::MariaDb118).await;
}
