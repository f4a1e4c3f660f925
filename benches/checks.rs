//! Many checks of the data proof under load, on both families: no difference may be found that is none, and one that is
//! made on the way must be found and named.
//!
//! `cargo bench --bench checks`, or with `-- CHECKS` for another number than 20,000 on each pair; `-- mysql` or `-- mariadb`
//! for one of them. Ranges are kept small, so that there are many checks; the load touches some of them all the time.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measurement prints its figures, and stops where they are wrong"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use bleen::adapters::mysql::switch::OwnSessions;
use bleen::adapters::proof::{Proof, Wish};
use bleen::domain::ids::Side;
use bleen::domain::proof::pace::Target;
use bleen::engine::event::Events;
use bleen::engine::proof::progress::Progress;
use bleen::playbook::model::DataProof;
use bleen::sandbox::{Endpoint, Load, LoadOptions, PairOptions, load_shop};
use support::BUDGET;
use support::check::Kind;

/// Longest time for all checks of a pair.
const LIMIT: Duration = Duration::from_secs(3600);

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let checks: u64 = arguments
        .iter()
        .filter_map(|a| a.parse().ok())
        .next()
        .unwrap_or(20_000);
    let only = |name: &str| {
        !arguments.iter().any(|a| a == "mysql" || a == "mariadb") || arguments.iter().any(|a| a == name)
    };
    for (name, kind) in [("mysql", Kind::MySql), ("mariadb", Kind::MariaDb)] {
        if only(name) {
            measure(kind, checks).await;
        }
    }
}

async fn measure(kind: Kind, checks: u64) {
    let (blue, green) = kind.servers();
    let mut options = PairOptions::default();
    // Green applies with several workers, as it should.
    options.green.extra = vec![
        "loose-replica-parallel-workers=4".into(),
        "loose-slave-parallel-threads=4".into(),
        "loose-slave-parallel-mode=optimistic".into(),
    ];
    let pair = support::following(blue, green, &options).await;
    load_shop(&pair.blue, &pair.accounts).await.unwrap();
    let still = [
        "CREATE TABLE shop.still (id INT UNSIGNED NOT NULL PRIMARY KEY, word VARCHAR(60) NOT NULL)",
        "INSERT INTO shop.still SELECT id, CONCAT('word ', id) FROM shop.customers",
    ];
    pair.blue.run(&still).await.unwrap();
    support::caught_up(&pair).await;
    pair.green.set_read_only(true).await.unwrap();
    let (on_blue, on_green) = Endpoint::both(&pair);
    let load = LoadOptions {
        writers: 8,
        rate: 25,
        ..LoadOptions::default()
    };
    let load = Load::start(&on_blue, &on_green, load).unwrap();
    load.progress(200, Duration::from_secs(20)).await.unwrap();

    let wish = Wish {
        anew: true,
        keep: None,
        data: DataProof {
            again_after: Duration::from_millis(1),
            ..DataProof::default()
        },
        once: false,
        mask: false,
        run: None,
        own: OwnSessions::default(),
        answer: BUDGET,
        target: Target {
            time: Duration::from_millis(10),
            ..Target::default()
        },
    };
    let servers = (
        support::server(&pair, Side::Blue).await,
        support::server(&pair, Side::Green).await,
    );
    let proof = Proof::open((&servers.0, &servers.1), &wish, &Events::none())
        .await
        .unwrap();
    let prover = proof.prover.clone();
    let began = Instant::now();
    let mut first_pass = None;
    let mut corrupted = None;
    let counting = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = prover.progress();
            let sum = &now.summary;
            if first_pass.is_none() && sum.unproven == 0 && sum.ranges > 0 {
                first_pass = Some(began.elapsed());
            }
            if total(&now) >= checks {
                return;
            }
            if corrupted.is_none() && total(&now) >= checks / 2 {
                assert_eq!(now.checks.diverged, 0, "{now:?}");
                let change = "UPDATE shop.still SET word = 'another' WHERE id = 777";
                assert_eq!(support::corrupt(&pair.green, &[change]).await, [1]);
                corrupted = Some(Instant::now());
            }
        }
    };
    tokio::select! {
        ended = proof.run() => panic!("{ended:?}"),
        () = tokio::time::sleep(LIMIT) => panic!("only {:?}", prover.progress()),
        () = counting => {}
    }
    let end = prover.progress();
    let (found, more) = prover.differences();
    let named: Vec<String> = found
        .iter()
        .map(|one| format!("{} {:?} {:?}", one.table, one.key, one.columns))
        .collect();
    let report = load.stop().await;
    println!(
        "{kind:?}: {} checks in {:.0} s beside {} acknowledged writes: {} proved, {} touched meanwhile, {} void, {} different; \
         all {} ranges proved after {:.1} s; differences named: {}",
        total(&end),
        began.elapsed().as_secs_f64(),
        report.log.acks.len(),
        end.checks.proved,
        end.checks.touched,
        end.checks.void,
        end.checks.diverged,
        end.summary.ranges,
        first_pass.unwrap().as_secs_f64(),
        named.join("; ")
    );
    assert_eq!(more, 0);
    assert_eq!(
        named.len(),
        1,
        "one row was changed on purpose, and no other differs"
    );
    assert!(
        named[0].starts_with("shop.still [(\"id\", \"777\")]"),
        "{named:?}"
    );
}

fn total(progress: &Progress) -> u64 {
    let checks = progress.checks;
    checks.proved + checks.diverged + checks.touched
}
