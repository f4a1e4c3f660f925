//! The guard procedure and the lag meter on real servers.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that stops says where"
)]

mod support;

use std::time::{Duration, Instant};

use bleen::adapters::mysql::lag::{LagMeter, Setup};
use bleen::adapters::mysql::own_schema::{FIND_GUARD, disarm_lock, guard_call, writable_statement};
use bleen::adapters::mysql::position_read::written_file;
use bleen::adapters::mysql::session::Session;
use bleen::adapters::mysql::sql;
use bleen::domain::ids::Side;
use bleen::domain::lag::{LagSample, Verdict};
use bleen::sandbox::{PairOptions, SandboxPair, ServerKind};
use support::{BUDGET, following, server, session};
use tokio::time::timeout;

/// Waits until the guard has begun to sleep and returns its session's number.
async fn armed(look: &mut Session) -> u64 {
    let seen = async {
        loop {
            let id: Option<u64> = look.one("find", FIND_GUARD, BUDGET).await.unwrap();
            if let Some(id) = id {
                return id;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(BUDGET, seen).await.unwrap()
}

/// Waits until blue is writable and returns how long that took; `None` if it is still shut after `within`.
async fn opens(look: &mut Session, within: Duration) -> Option<Duration> {
    let started = Instant::now();
    while started.elapsed() < within {
        let shut: u8 = look
            .one("read", "SELECT @@GLOBAL.read_only", BUDGET)
            .await
            .unwrap();
        if shut == 0 {
            return Some(started.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    None
}

/// The guard ends the seal at its time, soon after its client is gone, at once when its statement is ended, and never
/// when its session is, nor when its statement is while the session that it was told of holds the lock: another one's
/// lock changes nothing. A global statement limit does not end it.
async fn guards(kind: ServerKind) {
    let pair = following(kind, kind, &PairOptions::default()).await;
    let blue = server(&pair, Side::Blue).await;
    let mut look = session(&pair, Side::Blue).await;
    let shut = if blue.caps.persist {
        "SET PERSIST super_read_only = ON, PERSIST read_only = ON"
    } else {
        "SET GLOBAL read_only = ON"
    };
    if blue.caps.set_statement {
        look.run("limit", "SET GLOBAL max_statement_time = 0.2", BUDGET)
            .await
            .unwrap();
    }
    for (seconds, end, at_most) in [
        (0.8, "time", Some(Duration::from_secs(2))),
        (30.0, "client gone", Some(Duration::from_secs(7))),
        (30.0, "KILL QUERY", Some(Duration::from_secs(1))),
        (
            30.0,
            "KILL QUERY beside a stranger's lock",
            Some(Duration::from_secs(1)),
        ),
        (30.0, "KILL QUERY by the disarmer", None),
        (0.8, "time while it is disarmed", None),
        (1.0, "KILL CONNECTION", None),
    ] {
        look.run("shut", shut, BUDGET).await.unwrap();
        let mut guard = session(&pair, Side::Blue).await;
        let mut disarmer = session(&pair, Side::Blue).await;
        let lock = disarm_lock(disarmer.id());
        let call = guard_call(
            &blue.caps,
            seconds,
            disarmer.id(),
            [writable_statement(&blue.caps), ""],
        );
        let running = tokio::spawn(async move {
            // The client's end is part of the test; how the call ends is seen on the server.
            let _ = guard.run("guard", &call, Duration::from_secs(60)).await;
        });
        let id = armed(&mut look).await;
        // There is never a second one.
        let mut second = session(&pair, Side::Blue).await;
        let again = guard_call(&blue.caps, 0.0, 0, ["DO 1", ""]);
        assert_eq!(
            second.run("guard", &again, BUDGET).await.unwrap_err().code(),
            Some(1644)
        );
        match end {
            "client gone" => running.abort(),
            "KILL QUERY" | "KILL CONNECTION" => {
                look.run("end", &format!("{end} {id}"), BUDGET).await.unwrap();
            }
            "KILL QUERY beside a stranger's lock" => {
                let order = format!("KILL QUERY IF(GET_LOCK('{lock}', 0) = 1, {id}, 0)");
                second.batch("end", &order, BUDGET).await.unwrap();
            }
            "KILL QUERY by the disarmer" => {
                let order = format!("KILL QUERY IF(GET_LOCK('{lock}', 0) = 1, {id}, 0)");
                disarmer.batch("end", &order, BUDGET).await.unwrap();
            }
            "time while it is disarmed" => {
                let order = format!("DO GET_LOCK('{lock}', 0)");
                disarmer.run("lock", &order, BUDGET).await.unwrap();
            }
            _ => {}
        }
        let opened = opens(&mut look, at_most.unwrap_or(Duration::from_secs(3))).await;
        eprintln!("{kind:?}, guard of {seconds} s, {end}: {opened:?}");
        assert_eq!(opened.is_some(), at_most.is_some(), "{end}");
        if blue.caps.persist {
            let kept = "SELECT COUNT(*) FROM performance_schema.persisted_variables WHERE VARIABLE_NAME LIKE \
                        '%read_only' AND VARIABLE_VALUE = 'ON'";
            let shut_at_next_start: u64 = look.one("read", kept, BUDGET).await.unwrap();
            assert_eq!(shut_at_next_start == 0, at_most.is_some(), "{end}");
        }
        let left: Option<u64> = look.one("find", FIND_GUARD, BUDGET).await.unwrap();
        assert_eq!(left, None, "{end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_on_mysql() {
    guards(ServerKind::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_on_mariadb() {
    guards(ServerKind::MariaDb118).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_on_the_oldest() {
    guards(ServerKind::MySql56).await;
}

async fn setup(pair: &SandboxPair) -> Setup {
    let (blue, green) = (server(pair, Side::Blue).await, server(pair, Side::Green).await);
    Setup {
        blue: blue.target,
        green: green.target,
        blue_caps: blue.caps,
        green_caps: green.caps,
        run: None,
        every: Duration::from_millis(50),
    }
}

/// Waits for a sample that satisfies.
async fn sample(meter: &LagMeter, what: &str, is_it: impl Fn(&LagSample) -> bool) -> LagSample {
    let mut samples = meter.samples();
    let found = timeout(Duration::from_secs(20), samples.wait_for(|s| is_it(s))).await;
    let last = meter.samples().borrow().clone();
    found
        .unwrap_or_else(|_| unreachable_sample(what, &last))
        .unwrap()
        .clone()
}

fn unreachable_sample(what: &str, last: &LagSample) -> ! {
    panic!("no sample with {what}; the last: {last:?}")
}

/// Lag grows while the applier stands, with the trouble named, and falls to nothing afterwards. Once the heartbeat is
/// stopped, nothing of it is at blue, also when it was waiting at a hold.
async fn measures(blue: ServerKind, green: ServerKind, options: PairOptions) {
    let pair = following(blue, green, &options).await;
    let setup = setup(&pair).await;
    let (caps, list) = (setup.green_caps.clone(), sql::process_list(&setup.blue_caps));
    let meter = LagMeter::start(setup);
    let second = Duration::from_secs(1);
    let good = |s: &LagSample| s.trouble.is_none() && s.lag.is_some_and(|l| l < second);
    sample(&meter, "no lag", |s| {
        good(s) && s.verdict == Some(Verdict::CaughtUp)
    })
    .await;

    let mut on_green = session(&pair, Side::Green).await;
    on_green
        .run("stop", sql::stop_applier(&caps), BUDGET)
        .await
        .unwrap();
    let lagging = sample(&meter, "lag", |s| {
        s.lag.is_some_and(|l| l > second) && s.trouble.is_some()
    })
    .await;
    assert!(lagging.trouble.unwrap().contains("the applier is stopped"));
    assert!(lagging.behind.is_some_and(|b| b.amount > 0));
    on_green
        .run("start", sql::start_applier(&caps), BUDGET)
        .await
        .unwrap();
    sample(&meter, "no lag again", good).await;

    let mut hold = session(&pair, Side::Blue).await;
    let mut look = session(&pair, Side::Blue).await;
    hold.run("hold", "FLUSH TABLES WITH READ LOCK", BUDGET)
        .await
        .unwrap();
    let waiting =
        format!("SELECT COUNT(*) FROM {list} WHERE INFO LIKE '%heartbeat SET n%' AND ID <> CONNECTION_ID()");
    let seen_waiting = async {
        while look.one::<u64>("look", &waiting, BUDGET).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(BUDGET, seen_waiting).await.unwrap();
    // It hangs at the hold until its own time for locks is over, which is longer than this.
    assert!(!meter.stop_writing(Duration::from_millis(100)).await);
    assert!(meter.stop_writing(Duration::from_secs(15)).await);
    let left = waiting.replace("COUNT(*)", "CONCAT(ID, ' ', COMMAND, ' ', STATE, ' ', INFO)");
    // One that has answered may still be shown for a moment ("freeing items"); one that waits is not gone so soon.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let left: Vec<String> = look.rows("look", &left, BUDGET).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    let number = "SELECT n FROM bleen.heartbeat";
    let before: u64 = look.one("read", number, BUDGET).await.unwrap();
    hold.run("release", "UNLOCK TABLES", BUDGET).await.unwrap();
    // Time enough for a heartbeat to show, were there one left: six of their intervals.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(look.one::<u64>("read", number, BUDGET).await.unwrap(), before);
    meter.go_on_writing();
    let beats = async {
        while look.one::<u64>("read", number, BUDGET).await.unwrap() == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(BUDGET, beats).await.unwrap();
    meter.stop(BUDGET).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_on_mysql() {
    measures(ServerKind::MySql97, ServerKind::MySql97, PairOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_on_mariadb() {
    measures(
        ServerKind::MariaDb1011,
        ServerKind::MariaDb118,
        PairOptions::default(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_by_file_and_offset() {
    let options = PairOptions::default().gtid(false);
    measures(ServerKind::MySql56, ServerKind::MariaDb118, options).await;
}

/// Where an account may write through read-only, a heartbeat on a sealed blue would be a transaction that green never
/// gets, and the way back would be broken. Neither one that comes then is written, nor one that waited at the hold.
async fn leaves_a_sealed_blue_alone(blue: ServerKind, green: ServerKind, options: PairOptions) {
    let pair = following(blue, green, &options).await;
    let caps = server(&pair, Side::Blue).await.caps;
    let meter = LagMeter::start(setup(&pair).await);
    sample(&meter, "lag", |s| s.trouble.is_none() && s.lag.is_some()).await;
    let mut hold = session(&pair, Side::Blue).await;
    let mut look = session(&pair, Side::Blue).await;
    hold.run("hold", "FLUSH TABLES WITH READ LOCK", BUDGET)
        .await
        .unwrap();
    let end = written_file(&mut look, &caps, BUDGET).await.unwrap();
    sample(&meter, "a held heartbeat", |s| {
        s.trouble.as_ref().is_some_and(|t| t.contains("held"))
    })
    .await;
    hold.run(
        "seal and release",
        "SET GLOBAL read_only = 1; UNLOCK TABLES",
        BUDGET,
    )
    .await
    .unwrap();
    sample(&meter, "a sealed blue", |s| {
        s.trouble.as_ref().is_some_and(|t| t.contains("read-only"))
    })
    .await;
    let operator = support::Operator::of(&pair, |text| text);
    let watched = operator.run("watch", &["--for", "2s"]).await;
    assert_eq!(watched.code, 0, "{watched}");
    assert!(watched.stdout.contains("read-only"), "{watched}");
    assert_eq!(written_file(&mut look, &caps, BUDGET).await.unwrap(), end);
    look.run("open", writable_statement(&caps), BUDGET).await.unwrap();
    sample(&meter, "heartbeats again", |s| s.trouble.is_none()).await;
    meter.stop(BUDGET).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_heartbeat_on_a_sealed_mariadb() {
    let (blue, green) = (ServerKind::MariaDb1011, ServerKind::MariaDb118);
    leaves_a_sealed_blue_alone(blue, green, PairOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_heartbeat_on_a_sealed_mysql_5_6() {
    let options = PairOptions::default().gtid(false);
    leaves_a_sealed_blue_alone(ServerKind::MySql56, ServerKind::MariaDb118, options).await;
}
