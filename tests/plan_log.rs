//! What the plan says is what is sent: the servers' own general logs of a whole run against the plan made before it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that stops says where")]

mod support;

use std::iter::Peekable;
use std::str::Chars;

use bleen::adapters::mysql::identity;
use bleen::adapters::mysql::own_schema::{self, UndoRow};
use bleen::domain::ids::Side;
use bleen::sandbox::{PairOptions, RunningServer, SandboxPair, ServerKind};
use serde_json::Value;
use support::Operator;

/// One statement per element, with texts as `'?'`, numbers and what only the run knows as `0`, and single blanks.
fn statements(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut chars = without_comment(text).chars().peekable();
    while let Some(c) = chars.next() {
        let out = all.last_mut().unwrap();
        match c {
            '\'' => {
                skip_text(&mut chars);
                out.push_str("'?'");
            }
            // `<fence position>`, and MySQL's `<secret>` in the place of a password.
            '<' if chars.peek().is_some_and(|c| c.is_ascii_lowercase()) => {
                let word: String = chars.by_ref().take_while(|c| *c != '>').collect();
                out.push_str(if word == "secret" { "'?'" } else { "0" });
            }
            '0'..='9' => {
                while chars.peek().is_some_and(|c| c.is_ascii_digit() || *c == '.') {
                    chars.next();
                }
                out.push('0');
            }
            '/' if chars.peek() == Some(&'*') => {
                let mut star = false;
                for c in chars.by_ref() {
                    if star && c == '/' {
                        break;
                    }
                    star = c == '*';
                }
            }
            ';' => all.push(String::new()),
            c if c.is_whitespace() => {
                if !out.is_empty() && !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c => out.push(c),
        }
    }
    all.iter()
        .map(|s| s.trim().to_owned())
        .filter(|s| !s.is_empty())
        .collect()
}

fn skip_text(chars: &mut Peekable<Chars<'_>>) {
    // A placeholder inside may have an apostrophe of its own.
    let mut placeholder = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '<' if chars.peek().is_some_and(|c| c.is_ascii_lowercase()) => placeholder = true,
            '>' => placeholder = false,
            '\'' if !placeholder => {
                if chars.peek() != Some(&'\'') {
                    return;
                }
                chars.next();
            }
            _ => {}
        }
    }
}

fn without_comment(text: &str) -> &str {
    match text.strip_prefix("/* bleen ") {
        Some(rest) => rest.split_once("*/").map_or(rest, |(_, rest)| rest),
        None => text,
    }
}

/// What changes nothing but the session that sends it.
fn only_reads(statement: &str) -> bool {
    let upper = statement.to_ascii_uppercase();
    if upper.contains(", GLOBAL ") || upper.contains(", PERSIST ") {
        return false;
    }
    [
        "SELECT",
        "SHOW",
        "(SELECT",
        "WITH",
        "XA RECOVER",
        "DO ",
        "SET SESSION",
        "SET TRANSACTION",
        "SET NAMES",
        "START TRANSACTION READ ONLY",
        "START TRANSACTION WITH CONSISTENT",
        "COMMIT",
        "ROLLBACK",
        "EXPLAIN",
        // What a server can do is probed by what it would take; nothing is executed.
        "PREPARE BLEEN_PROBE",
        "DEALLOCATE PREPARE BLEEN_PROBE",
        "SET STATEMENT MAX_STATEMENT_TIME=0 FOR SELECT",
    ]
    .iter()
    .any(|start| upper.starts_with(start))
}

async fn log(server: &RunningServer) {
    let set = [
        "SET GLOBAL log_output = 'TABLE'",
        "SET GLOBAL group_concat_max_len = 100000000",
        "SET GLOBAL general_log = 1",
    ];
    server.run(&set).await.unwrap();
}

/// What bleen's account sent, in order.
async fn sent(server: &RunningServer) -> Vec<String> {
    let question = "SELECT GROUP_CONCAT(HEX(argument) ORDER BY event_time SEPARATOR ',') FROM (SELECT argument, event_time \
                    FROM mysql.general_log WHERE command_type = 'Query' AND user_host LIKE '%bleen%') q";
    let all = match server.value(question).await {
        Ok(Some(all)) => all,
        other => panic!("{other:?}"),
    };
    all.split(',')
        .map(|hex| {
            let bytes: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            String::from_utf8(bytes).unwrap()
        })
        .flat_map(|text| statements(&text))
        .filter(|statement| !only_reads(statement))
        .collect()
}

async fn plan(operator: &Operator) -> Vec<Value> {
    let plan = operator.run("plan", &["--output", "json"]).await;
    assert_eq!(plan.code, 0, "{plan}");
    plan.stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["type"] == "planned")
        .collect()
}

async fn the_plan_is_what_is_sent(blue: ServerKind, green: ServerKind, hold: &str) {
    let pair = SandboxPair::start(blue, green, &PairOptions::default())
        .await
        .unwrap();
    let data = [
        "CREATE DATABASE shop",
        "CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)",
        "INSERT INTO shop.t VALUES (1, 1)",
        "SET GLOBAL event_scheduler = ON",
    ];
    pair.blue.run(&data).await.unwrap();
    // Accounts that write through read-only are locked, where there are any.
    let operator = Operator::of(&pair, |text| {
        format!("{text}switch:\n  hold: {hold}\n  privileged_sessions: end\n")
    });
    let mut planned = plan(&operator).await;
    planned.retain(|p| ["follow", "catch-up"].contains(&p["step"].as_str().unwrap()));
    for server in [&pair.blue, &pair.green] {
        log(server).await;
    }
    let prepared = operator.run("prepare", &[]).await;
    assert_eq!(prepared.code, 0, "{prepared}");
    // An event of the application, to be stopped on blue and enabled on green.
    let event = "CREATE EVENT shop.nightly ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 10:00:00' DO UPDATE shop.t SET v = 0";
    pair.blue.run(&[event]).await.unwrap();
    // As a `prepare` leaves it that had to relax green.
    let mut on_green = support::session(&pair, Side::Green).await;
    let family = support::server(&pair, Side::Green).await.caps.family();
    let green_label = identity::read(&mut on_green, family, support::BUDGET)
        .await
        .unwrap()
        .label();
    on_green.close(support::BUDGET).await;
    let relaxed = own_schema::undo_statement(&UndoRow {
        run_id: "20200101T000000Z-000000".to_owned(),
        seq: 7,
        green: green_label,
        side: Side::Green,
        what: "relax green's durability while it catches up".to_owned(),
        statement: "SET GLOBAL sync_binlog = 1, GLOBAL innodb_flush_log_at_trx_commit = 1".to_owned(),
        state: "open".to_owned(),
    });
    pair.blue.run(&[&relaxed]).await.unwrap();
    pair.green.run(&["SET GLOBAL sync_binlog = 0"]).await.unwrap();
    support::caught_up(&pair).await;
    planned.extend(plan(&operator).await);
    let switched = operator
        .run("switch", &["--confirm", "shop", "--output", "json"])
        .await;
    assert_eq!(switched.code, 0, "{switched}");
    let mut wrong = Vec::new();
    for (name, server) in [("blue", &pair.blue), ("green", &pair.green)] {
        let list: Vec<String> = planned
            .iter()
            .filter(|p| p["side"] == name)
            .flat_map(|p| statements(p["statement"].as_str().unwrap()))
            .collect();
        let sent = sent(server).await;
        assert!(sent.len() > 5, "{sent:#?}");
        if name == "green" {
            assert!(sent.iter().any(|s| s.contains("sync_binlog = 0")), "{sent:#?}");
        } else if blue == ServerKind::MariaDb1011 {
            let locks = sent.iter().filter(|s| s.starts_with("ALTER USER")).count();
            assert_eq!(locks, 2, "{sent:#?}");
        }
        let mut at = 0;
        for statement in sent {
            if name == "blue" && statement == OF_THIS_TEST {
                continue;
            }
            if REPEATED.iter().any(|start| statement.starts_with(start)) && list.contains(&statement) {
                continue;
            }
            match list[at..].iter().position(|planned| *planned == statement) {
                Some(next) => at += next + 1,
                None if list.contains(&statement) => wrong.push(format!("{name}, out of order: {statement}")),
                None => wrong.push(format!("{name}, not in the plan: {statement}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{planned:#?}");
    // What is undone on the way back says how.
    for step in ["quiet", "arm", "hold", "seal"] {
        let without = planned
            .iter()
            .find(|p| p["step"] == step && p["undo"].is_null() && p["side"].is_string());
        assert_eq!(without, None);
    }
}

/// How this test sees that green has caught up.
const OF_THIS_TEST: &str = "UPDATE bleen.heartbeat SET n = n + 0";

/// Sent more often than once, or beside the others: told once, in the place where they begin.
const REPEATED: [&str; 3] = [
    "UPDATE bleen.heartbeat SET n = LAST_INSERT_ID",
    "REPLACE INTO bleen.undo",
    "KILL CONNECTION 0",
];

#[tokio::test(flavor = "multi_thread")]
async fn mysql_sends_what_the_plan_says() {
    the_plan_is_what_is_sent(ServerKind::MySql97, ServerKind::MySql97, "lock").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_sends_what_the_plan_says_with_table_locks() {
    the_plan_is_what_is_sent(ServerKind::MySql97, ServerKind::MySql97, "tables").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_sends_what_the_plan_says() {
    the_plan_is_what_is_sent(ServerKind::MariaDb1011, ServerKind::MariaDb118, "lock").await;
}

#[test]
fn texts_numbers_and_placeholders_are_one() {
    let planned = "/* bleen r x */ SET @a = TIMESTAMP'<deadline on blue's clock>'; KILL CONNECTION <the guard's session>";
    let sent = "SET  @a = TIMESTAMP'2026-01-01 00:00:00.5'; KILL CONNECTION 12";
    assert_eq!(statements(planned), statements(sent));
    assert_eq!(statements("a 'it''s; \\' b' c"), ["a '?' c"]);
    assert_ne!(
        statements("SET GLOBAL read_only = 1"),
        statements("SET GLOBAL super_read_only = 1")
    );
}
