//! Pairs with nothing wrong.

use bleen::domain::guardrail_ids::GuardrailId;
use bleen::domain::guardrails::{Decision, Finding, Known, PlanFacts, Scope, Severity, Waivers, decide};
use bleen::domain::ids::Side;
use bleen::domain::machine::HoldKind;
use bleen::domain::outcome::Outcome;
use bleen::sandbox::{PairOptions, ServerKind, load_shop};

use super::support;
use super::world::{World, calm, listed};

/// Every scope before the switch gives go but for the shop's table without a key; what is not known is what the notes
/// say cannot be known.
async fn all_scopes_go(world: &mut World, not_known: &[GuardrailId], stops: &[GuardrailId]) {
    for scope in [Scope::Doctor, Scope::Prepare, Scope::Hold] {
        if scope == Scope::Hold {
            world.doctor.read_ahead().await;
            world.print_times().await;
            world.few_settings_are_enough().await;
        }
        let seen = world.examine(scope).await;
        let notable: Vec<_> = seen
            .findings
            .iter()
            .filter(|f| f.severity != Severity::Ok)
            .cloned()
            .collect();
        eprintln!("{scope:?} took {:?}{}", seen.took, listed(&notable));
        for finding in &notable {
            match finding.severity {
                Severity::NotKnown => assert!(not_known.contains(&finding.id), "{finding:?}"),
                Severity::Stop if finding.id == GuardrailId::ROW_FORMAT_NO_KEY => {
                    assert!(
                        finding.seen.starts_with("1 tables without a key: shop."),
                        "{finding:?}"
                    );
                }
                Severity::Stop => assert!(stops.contains(&finding.id), "{finding:?}"),
                _ => {}
            }
        }
        if stops.is_empty() {
            let other = |f: &Finding| f.id != GuardrailId::ROW_FORMAT_NO_KEY;
            let rest: Vec<Finding> = seen.findings.iter().filter(|f| other(f)).cloned().collect();
            assert_eq!(decide(&rest), Decision::Go, "{scope:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_mysql_pair_goes() {
    let mut world = World::new(ServerKind::MySql97, ServerKind::MySql97, &PairOptions::default()).await;
    load_shop(&world.pair.blue, &world.pair.accounts).await.unwrap();
    support::caught_up(&world.pair).await;
    all_scopes_go(&mut world, &[GuardrailId::DISK_SPACE], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_mariadb_pair_goes() {
    let mut world = World::new(
        ServerKind::MariaDb1011,
        ServerKind::MariaDb118,
        &PairOptions::default(),
    )
    .await;
    load_shop(&world.pair.blue, &world.pair.accounts).await.unwrap();
    support::caught_up(&world.pair).await;
    all_scopes_go(&mut world, OLD, &[]).await;
}

/// What 5.6 and MariaDB cannot say.
const OLD: &[GuardrailId] = &[
    GuardrailId::DISK_SPACE,
    GuardrailId::RESTART_WRITABLE,
    GuardrailId::WAITER_TIMEOUTS,
    GuardrailId::BACKUP_RUNNING,
];

/// The widest jump: settings, plugins and versions differ by intention, schema and rights do not.
#[tokio::test(flavor = "multi_thread")]
async fn mysql_5_6_to_9_7_differs_in_nothing_but_its_age() {
    let mut world = World::new(ServerKind::MySql56, ServerKind::MySql97, &PairOptions::default()).await;
    load_shop(&world.pair.blue, &world.pair.accounts).await.unwrap();
    support::caught_up(&world.pair).await;
    let stops = [GuardrailId::VARIABLES_DIFF, GuardrailId::VERSION_PATH];
    all_scopes_go(&mut world, OLD, &stops).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_5_6_to_mariadb_differs_in_nothing_but_its_age() {
    let options = PairOptions::default().gtid(false);
    let mut world = World::new(ServerKind::MySql56, ServerKind::MariaDb118, &options).await;
    load_shop(&world.pair.blue, &world.pair.accounts).await.unwrap();
    support::caught_up(&world.pair).await;
    all_scopes_go(&mut world, OLD, &[GuardrailId::VARIABLES_DIFF]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_pair_of_an_old_mariadb_goes() {
    let mut world = World::new(
        ServerKind::MariaDb105,
        ServerKind::MariaDb1011,
        &PairOptions::default(),
    )
    .await;
    load_shop(&world.pair.blue, &world.pair.accounts).await.unwrap();
    support::caught_up(&world.pair).await;
    // The two versions' own defaults differ (explicit_defaults_for_timestamp).
    all_scopes_go(&mut world, OLD, &[GuardrailId::VARIABLES_DIFF]).await;
    // Before 10.11 SUPER writes through.
    let only_super = [
        "CREATE USER only_super@'%' IDENTIFIED BY 'x'",
        "GRANT SUPER ON *.* TO only_super@'%'",
    ];
    world.run(Side::Blue, &only_super).await;
    support::caught_up(&world.pair).await;
    let conn = world.client("only_super", "x").await;
    world
        .stopped_by(Scope::Hold, &[GuardrailId::PRIVILEGED_WRITERS])
        .await;
    drop(conn);
}

/// What the guardrails after promote look at, after a real switch.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_switch_nothing_stops() {
    for (blue, green) in [
        (ServerKind::MySql97, ServerKind::MySql97),
        (ServerKind::MariaDb1011, ServerKind::MariaDb118),
    ] {
        let pair = support::following(blue, green, &PairOptions::default()).await;
        let tables = [
            "CREATE DATABASE d",
            "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY)",
            "INSERT INTO d.t VALUES (NULL), (NULL)",
            "CREATE DEFINER = app@'%' EVENT d.e ON SCHEDULE EVERY 1 HOUR DO SET @x = 1",
        ];
        pair.blue.run(&tables).await.unwrap();
        support::caught_up(&pair).await;
        let switched = support::attempt(support::settings(&pair, HoldKind::Lock).await).await;
        assert_eq!(switched.outcome, Outcome::Switched { debt: vec![] });
        let mut world = World::around(pair, Waivers::new()).await;
        world.run(Side::Green, &["INSERT INTO d.t VALUES (NULL)"]).await;
        let events = PlanFacts {
            events_on_blue: Some(std::collections::BTreeSet::from(["d.e".to_owned()])),
            starts_read_only: (Known::Known(true), Known::Known(false)),
            ..calm()
        };
        let seen = world.doctor.examine(Scope::After, events).await;
        assert_eq!(seen.decision, Decision::Go, "{}", listed(&seen.findings));
        assert!(
            seen.findings.iter().all(|f| f.severity != Severity::Stop),
            "{}",
            listed(&seen.findings)
        );

        // A blue that took a write afterwards, and an event that runs nowhere.
        world
            .run(
                Side::Green,
                &["SET SESSION sql_log_bin = 0", "ALTER EVENT d.e DISABLE"],
            )
            .await;
        world
            .run(
                Side::Blue,
                &["SET GLOBAL read_only = 0", "INSERT INTO d.t VALUES (100)"],
            )
            .await;
        let events = PlanFacts {
            events_on_blue: Some(std::collections::BTreeSet::from(["d.e".to_owned()])),
            starts_read_only: (Known::Known(true), Known::Known(false)),
            ..calm()
        };
        let seen = world.doctor.examine(Scope::After, events).await.findings;
        let stops: std::collections::BTreeSet<_> = seen
            .iter()
            .filter(|f| f.severity == Severity::Stop)
            .map(|f| f.id.as_str())
            .collect();
        let wanted = ["auto-increment", "errant-transactions", "event-scheduler"];
        assert_eq!(
            stops,
            std::collections::BTreeSet::from(wanted),
            "{}",
            listed(&seen)
        );
    }
}
