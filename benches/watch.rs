//! What `bleen watch` costs beside an idle pair: resident memory and processor time, printed and not judged.
//!
//! `cargo bench --bench watch`, or with `-- SECONDS` for another length than a minute.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measurement prints its figures, and stops where it cannot measure"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::Stdio;
use std::time::{Duration, Instant};

use bleen::sandbox::{PairOptions, SandboxPair, ServerKind};
use support::{Operator, most_resident_kilobytes};

#[tokio::main]
async fn main() {
    let seconds: u64 = std::env::args()
        .filter_map(|a| a.parse().ok())
        .next()
        .unwrap_or(60);
    for (blue, green) in [
        (ServerKind::MySql97, ServerKind::MySql97),
        (ServerKind::MariaDb1011, ServerKind::MariaDb118),
    ] {
        let pair = SandboxPair::start(blue, green, &PairOptions::default())
            .await
            .unwrap();
        let operator = Operator::of(&pair, |text| text);
        let prepared = operator.run("prepare", &[]).await;
        assert_eq!(prepared.code, 0, "{prepared}");
        let length = format!("{}s", seconds + 60);
        let mut child = operator
            .command("watch", &["--for", &length])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Start-up belongs to nobody who watches for an hour.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (began, used) = (Instant::now(), processor_ticks(child.id()));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let ticks = processor_ticks(child.id()) - used;
        let share = ticks as f64 / ticks_per_second() as f64 / began.elapsed().as_secs_f64() * 100.0;
        println!(
            "watch {} to {}: {:.1} MB resident at most, {share:.2} % of a core over {seconds} s",
            pair.blue.describe(),
            pair.green.describe(),
            most_resident_kilobytes(child.id()).unwrap() as f64 / 1024.0,
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// User and system time of a process so far.
fn processor_ticks(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // The name may hold blanks; what follows its closing bracket does not.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}
