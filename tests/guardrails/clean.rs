//! Pairs with nothing wrong.

use bleen::domain::guardrail_ids::GuardrailId;
use bleen::domain::guardrails::{Decision, Scope, Severity};
use bleen::sandbox::{PairOptions, ServerKind, load_shop};

use super::support;
use super::world::{World, listed};

/// Every scope before the switch gives go; what is not known is what the notes say cannot be known.
async fn all_scopes_go(world: &mut World, not_known: &[GuardrailId], stops: &[GuardrailId]) {
    for scope in [Scope::Doctor, Scope::Prepare, Scope::Hold] {
        if scope == Scope::Hold {
            world.doctor.read_ahead().await;
            world.print_times().await;
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
                Severity::Stop => assert!(stops.contains(&finding.id), "{finding:?}"),
                _ => {}
            }
        }
        if stops.is_empty() {
            assert_eq!(seen.decision, Decision::Go, "{scope:?}");
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
