//! An event that is enabled on green is the one that ran on blue: on real servers, in every column that the server
//! keeps.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::time::Duration;

use bleen::adapters::mysql::session::{Address, Purpose, Session, Target, Tls};
use bleen::adapters::mysql::switch::events;
use bleen::domain::ids::Side;
use bleen::sandbox::{Account, LocateOptions, Rights, ServerKind, ServerOptions, locate};

const BUDGET: Duration = Duration::from_secs(20);

async fn an_event_stays_as_it_was(kind: ServerKind) {
    let places = LocateOptions::default();
    let found = locate(kind, &places).await.unwrap();
    let server = found
        .start(&places.cache, None, &ServerOptions::default())
        .await
        .unwrap();
    let account = Account::random("bleen").unwrap();
    server.create_account(&account, Rights::All).await.unwrap();
    server
        .run(&[
            "CREATE DATABASE shop",
            "CREATE USER 'app'@'%'",
            "SET sql_mode = 'ANSI_QUOTES', time_zone = '+05:00', NAMES latin1",
            "CREATE DEFINER = 'app'@'%' EVENT shop.nightly ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 10:00:00' \
             ON COMPLETION PRESERVE COMMENT 'x' DO SELECT 1",
            "CREATE EVENT shop.off ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
        ])
        .await
        .unwrap();
    let target = Target {
        side: Side::Green,
        address: Address::Tcp("127.0.0.1".to_owned(), server.port()),
        spare_address: None,
        user: account.user.clone(),
        password: account.password.clone(),
        tls: Tls::Preferred,
    };
    let purpose = Purpose {
        run: None,
        role: "test",
    };
    let mut session = Session::open(&target, &purpose, BUDGET).await.unwrap();

    let look = "SELECT CONCAT_WS('|', DEFINER, SQL_MODE, TIME_ZONE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, \
                DATABASE_COLLATION, STARTS, ON_COMPLETION, EVENT_COMMENT, EVENT_DEFINITION, STATUS) \
                FROM information_schema.EVENTS WHERE EVENT_NAME = 'nightly'";
    let before = server.value(look).await.unwrap().unwrap();
    assert!(before.contains("app@%|ANSI_QUOTES|+05:00|latin1"), "{before}");
    let enabled = events::enabled(&mut session, BUDGET).await.unwrap();
    let statements: Vec<String> = enabled.into_iter().map(|event| event.statement).collect();
    assert_eq!(
        statements.len(),
        1,
        "the disabled one stays disabled: {statements:?}"
    );

    // Replication brings events to green disabled.
    let disable = "SET NAMES latin1; ALTER DEFINER = 'app'@'%' EVENT shop.nightly DISABLE; SET NAMES utf8mb4";
    session.run("disable the event", disable, BUDGET).await.unwrap();
    assert_ne!(server.value(look).await.unwrap().unwrap(), before);
    session
        .run("enable the event", &statements[0], BUDGET)
        .await
        .unwrap();
    assert_eq!(server.value(look).await.unwrap().unwrap(), before);
}

#[tokio::test]
async fn an_event_stays_as_it_was_on_mysql_9_7() {
    an_event_stays_as_it_was(ServerKind::MySql97).await;
}

#[tokio::test]
async fn an_event_stays_as_it_was_on_mysql_5_6() {
    an_event_stays_as_it_was(ServerKind::MySql56).await;
}

#[tokio::test]
async fn an_event_stays_as_it_was_on_mariadb_11_8() {
    an_event_stays_as_it_was(ServerKind::MariaDb118).await;
}

#[tokio::test]
async fn an_event_stays_as_it_was_on_mariadb_10_5() {
    an_event_stays_as_it_was(ServerKind::MariaDb105).await;
}
