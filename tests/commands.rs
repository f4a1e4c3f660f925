//! The commands on real pairs, as a person runs them: what they say, what they leave, how they end.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that stops says where")]

mod support;

use bleen::domain::ids::Side;
use bleen::sandbox::{PairOptions, SandboxPair, ServerKind};
use secrecy::ExposeSecret;
use support::{Operator, fingerprint, is_writable};

const DATA: &str = "CREATE DATABASE IF NOT EXISTS shop; CREATE TABLE shop.t (id INT PRIMARY KEY, v INT) ENGINE=InnoDB; \
                    INSERT INTO shop.t VALUES (1, 1), (2, 2)";

async fn pair(blue: ServerKind, green: ServerKind) -> SandboxPair {
    let pair = SandboxPair::start(blue, green, &PairOptions::default())
        .await
        .unwrap();
    pair.blue.run(&[DATA]).await.unwrap();
    pair
}

/// Everything but what green has copied of blue, which stays: the application's schema, and bleen's own.
fn without_data(fingerprint: &str) -> String {
    fingerprint
        .replace("\"shop\"", "")
        .replace("\"bleen\"", "")
        .replace("[, ", "[")
        .replace(", ,", ",")
        .replace(", ]", "]")
}

/// The plan has every step that changes something, in the protocol's order, and no password.
async fn plans(operator: &Operator) {
    let plan = operator.run("plan", &["--output", "json"]).await;
    assert_eq!(plan.code, 0, "{plan}");
    let planned: Vec<serde_json::Value> = plan
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["type"] == "planned")
        .collect();
    let mut steps: Vec<&str> = planned.iter().map(|p| p["step"].as_str().unwrap()).collect();
    steps.dedup();
    steps.retain(|step| *step != "quiet");
    let expected = [
        "follow",
        "catch-up",
        "ready",
        "wire-back",
        "arm",
        "hold",
        "drain",
        "seal",
        "disarm",
        "promote",
        "release",
        "confirm",
    ];
    assert_eq!(steps, expected, "{plan}");
    let of = |step: &str| {
        let found = planned.iter().find(|p| p["step"] == step).unwrap();
        (
            found["statement"].as_str().unwrap(),
            found["undo"].as_str().unwrap_or_default(),
        )
    };
    // On MariaDB bleen's own tables are closed before it.
    let holds = |p: &serde_json::Value| {
        let text = |field: &str| p[field].as_str().unwrap_or_default().to_owned();
        text("statement").contains("FLUSH TABLES WITH READ LOCK") && text("undo").contains("UNLOCK TABLES")
    };
    assert!(planned.iter().any(|p| p["step"] == "hold" && holds(p)), "{plan}");
    assert!(of("drain").0.contains("<fence position>"), "{plan}");
    assert!(of("seal").1.contains("read_only = 0"), "{plan}");
    assert!(of("promote").0.contains("<deadline on green's clock>"), "{plan}");
    assert!(plan.stdout.contains("PASSWORD = '********'"), "{plan}");
    assert_eq!(plan.result()["hold"], "lock");
}

/// Green is empty, and blue has made within its binlog what a shop has: nothing of it stands in the way of the plan, and
/// preparing brings it.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_green_is_planned_and_prepared() {
    for (blue, green) in [
        (ServerKind::MySql97, ServerKind::MySql97),
        (ServerKind::MariaDb1011, ServerKind::MariaDb118),
    ] {
        let pair = pair(blue, green).await;
        let objects = [
            "CREATE USER owner@'%' IDENTIFIED BY 'x'",
            "GRANT ALL ON shop.* TO owner@'%'",
            "CREATE DEFINER = owner@'%' PROCEDURE shop.p() SELECT 1",
            "CREATE DEFINER = owner@'%' EVENT shop.e ON SCHEDULE EVERY 1 HOUR DO DELETE FROM shop.t WHERE id > 1000",
        ];
        pair.blue.run(&objects).await.unwrap();
        let operator = Operator::of(&pair, |text| text);
        let doctor = operator.run("doctor", &["--output", "json"]).await;
        assert_eq!(doctor.code, 0, "{doctor}");
        for warned in ["accounts-diff", "definers"] {
            let seen = doctor
                .stdout
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
                .any(|event| event["id"] == warned && event["severity"] == "warning");
            assert!(seen, "{warned}: {doctor}");
        }
        plans(&operator).await;
        let prepared = operator.run("prepare", &[]).await;
        assert_eq!(prepared.code, 0, "{prepared}");
        let doctor = operator.run("doctor", &["--output", "json"]).await;
        assert_eq!(doctor.code, 0, "{doctor}");
        assert!(!doctor.stdout.contains("owner@"), "{doctor}");
    }
}

async fn prepares_and_rolls_back(blue: ServerKind, green: ServerKind) {
    let pair = pair(blue, green).await;
    let operator = Operator::of(&pair, |text| text);
    let before = (
        fingerprint(&pair, Side::Blue).await,
        fingerprint(&pair, Side::Green).await,
    );

    let doctor = operator.run("doctor", &[]).await;
    assert_eq!(doctor.code, 0, "{doctor}");
    let status = operator.run("status", &["--output", "json"]).await;
    assert!(
        status.result()["state"]
            .as_str()
            .unwrap()
            .starts_with("not prepared"),
        "{status}"
    );
    plans(&operator).await;
    assert_eq!(fingerprint(&pair, Side::Blue).await, before.0);
    assert_eq!(fingerprint(&pair, Side::Green).await, before.1);

    let prepared = operator.run("prepare", &[]).await;
    assert_eq!(prepared.code, 0, "{prepared}");
    assert!(!prepared.stderr.contains("follows blue already"), "{prepared}");
    assert!(!prepared.stdout.contains("✓ ok"), "{prepared}");
    assert!(!is_writable(&pair, Side::Green).await);

    let status = operator.run("status", &["--output", "json"]).await;
    assert_eq!(status.code, 0, "{status}");
    let seen = status.result();
    assert_eq!(seen["writable"], "blue", "{status}");
    assert!(
        seen["state"].as_str().unwrap().starts_with("prepared by run"),
        "{status}"
    );
    assert!(seen["behind"].as_str().unwrap().starts_with("0 "), "{status}");
    assert_eq!(seen["run_lock"], "free");

    let watch = operator
        .run("watch", &["--for", "3s", "--every", "200ms", "--output", "json"])
        .await;
    assert_eq!(watch.code, 0, "{watch}");
    let lags: Vec<f64> = watch
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["type"] == "lag" && event["blue_writable"] == true)
        .filter_map(|event| event["lag_ms"].as_f64())
        .collect();
    assert!(lags.len() >= 3, "{watch}");

    // Twice is no harm, and what it records comes off again.
    let again = operator.run("prepare", &[]).await;
    assert_eq!(again.code, 0, "{again}");
    assert!(again.stderr.contains("follows blue already"), "{again}");

    // Another machine: no journal there.
    let another = Operator::of(&pair, |text| text);
    let back = another.run("rollback", &[]).await;
    assert_eq!(back.code, 0, "{back}");
    assert_eq!(fingerprint(&pair, Side::Blue).await, before.0);
    assert_eq!(
        without_data(&fingerprint(&pair, Side::Green).await),
        without_data(&before.1)
    );
    let nothing = operator.run("rollback", &["--output", "json"]).await;
    assert_eq!(
        (nothing.code, &nothing.result()["undone"]),
        (0, &0.into()),
        "{nothing}"
    );

    // And once more: green goes on where it stood, through what the first time left in blue's binlog.
    let anew = operator.run("prepare", &[]).await;
    assert_eq!(anew.code, 0, "{anew}");
    let back = operator.run("rollback", &[]).await;
    assert_eq!(back.code, 0, "{back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_prepares_and_rolls_back() {
    prepares_and_rolls_back(ServerKind::MySql97, ServerKind::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_prepares_and_rolls_back() {
    prepares_and_rolls_back(ServerKind::MariaDb1011, ServerKind::MariaDb118).await;
}

async fn prepares_and_switches(blue: ServerKind, green: ServerKind) {
    let pair = pair(blue, green).await;
    let operator = Operator::of(&pair, |text| text);
    let unconfirmed = operator.run("run", &[]).await;
    assert_eq!(unconfirmed.code, 6, "{unconfirmed}");
    assert!(
        unconfirmed.stderr.contains("nothing has changed"),
        "{unconfirmed}"
    );
    assert!(is_writable(&pair, Side::Green).await);
    let unprepared = operator.run("switch", &["--confirm", "shop"]).await;
    assert_eq!(unprepared.code, 2, "{unprepared}");
    assert!(unprepared.stdout.contains("`bleen prepare`"), "{unprepared}");

    let switched = operator
        .run("run", &["--confirm", "shop", "--output", "json"])
        .await;
    assert_eq!(switched.code, 0, "{switched}");
    assert_eq!(switched.result()["outcome"], "switched", "{switched}");
    let status = operator.run("status", &["--output", "json"]).await;
    let seen = status.result();
    assert_eq!((status.code, &seen["writable"]), (0, &"green".into()), "{status}");
    assert!(
        seen["state"].as_str().unwrap().starts_with("switched by run"),
        "{status}"
    );
    assert_eq!(seen["unfinished_run"], serde_json::Value::Null, "{status}");

    // What was prepared is concluded: nothing of it may be put back any more.
    assert_eq!(seen["to_put_back"], serde_json::json!([]), "{status}");
    let open = "SELECT COUNT(*) FROM bleen.undo WHERE state = 'open'";
    assert_eq!(pair.green.value(open).await.unwrap().as_deref(), Some("0"));

    // There is no way back by undoing what was prepared, and nothing to prepare.
    // Nothing tells a person to seed green again either: its own writes are no mistake any more.
    for (command, more) in [
        ("rollback", vec![]),
        ("prepare", vec![]),
        ("switch", vec!["--confirm", "shop"]),
        ("run", vec!["--confirm", "shop"]),
        ("plan", vec![]),
        ("doctor", vec![]),
    ] {
        let refused = operator.run(command, &more).await;
        assert!(!refused.stdout.contains("errant-transactions"), "{refused}");
        assert_eq!(refused.code, 2, "{refused}");
        assert!(refused.stdout.contains("was switched by run"), "{refused}");
        assert!(refused.stdout.contains("green serves"), "{refused}");
        assert!(is_writable(&pair, Side::Green).await && !is_writable(&pair, Side::Blue).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_prepares_and_switches() {
    prepares_and_switches(ServerKind::MySql97, ServerKind::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_prepares_and_switches() {
    prepares_and_switches(ServerKind::MariaDb1011, ServerKind::MariaDb118).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_green_with_data_of_its_own_is_refused_and_told_how_to_seed() {
    let pair = pair(ServerKind::MySql97, ServerKind::MySql97).await;
    pair.green.run(&["CREATE DATABASE stray"]).await.unwrap();
    let operator = Operator::of(&pair, |text| text);
    let before = (
        fingerprint(&pair, Side::Blue).await,
        fingerprint(&pair, Side::Green).await,
    );
    let refused = operator.run("prepare", &[]).await;
    assert_eq!(refused.code, 2, "{refused}");
    assert!(refused.stdout.contains("errant-transactions"), "{refused}");
    assert!(refused.stderr.contains("mysqldump"), "{refused}");
    assert!(refused.stderr.contains("nothing has changed"), "{refused}");
    let after = (
        fingerprint(&pair, Side::Blue).await,
        fingerprint(&pair, Side::Green).await,
    );
    assert_eq!(after, before);
}

/// Ctrl-C while green is waited for: everything is put back, and the exit code says that blue serves.
#[tokio::test(flavor = "multi_thread")]
async fn preparing_that_is_interrupted_is_undone() {
    let pair = pair(ServerKind::MySql97, ServerKind::MySql97).await;
    let operator = Operator::of(&pair, |text| text.replace("observe: 1s", "observe: 60s"));
    let before = (
        fingerprint(&pair, Side::Blue).await,
        fingerprint(&pair, Side::Green).await,
    );
    let child = operator
        .command("prepare", &["--output", "json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let id = i32::try_from(child.id()).unwrap();
    // Waits for what it waits for: green follows when it is a read-only replica.
    for _ in 0..600 {
        if !is_writable(&pair, Side::Green).await
            && !fingerprint(&pair, Side::Green).await.ends_with(" 0 channels")
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let second = operator.run("prepare", &[]).await;
    assert_eq!(second.code, 75, "{second}");
    let pid = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("everything was put back"), "{said}");
    assert_eq!(fingerprint(&pair, Side::Blue).await, before.0);
    assert_eq!(
        without_data(&fingerprint(&pair, Side::Green).await),
        without_data(&before.1)
    );
}

/// New accounts, made of nothing but what `bleen grants` prints, come from the doctor to the switch.
async fn granted_accounts_switch(blue: ServerKind, green: ServerKind) {
    let pair = pair(blue, green).await;
    let accounts = &pair.accounts;
    let operator = Operator::of(&pair, |text| {
        text.replace(&format!("user: {}\n", accounts.bleen.user), "user: dba\n")
            .replace(&format!("user: {}\n", accounts.repl.user), "user: dba_repl\n")
    });
    let printed = operator.run("grants", &[]).await;
    assert_eq!(printed.code, 0, "{printed}");
    // The parts: bleen's account on blue, on green, and the replication account on both.
    let parts: Vec<&str> = printed.stdout.split_inclusive("sql_log_bin = 1;").collect();
    assert_eq!(parts.len(), 5, "{printed}");
    for (part, server, account) in [
        (parts[0], &pair.blue, &accounts.bleen),
        (parts[1], &pair.green, &accounts.bleen),
        (parts[2], &pair.blue, &accounts.repl),
        (parts[3], &pair.green, &accounts.repl),
    ] {
        let password = format!("'{}'", account.password.expose_secret());
        let statements: Vec<String> = part
            .lines()
            .filter(|line| !line.starts_with("--") && !line.is_empty())
            .map(|line| line.replace("<password>", &password))
            .collect();
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        server.run(&statements).await.unwrap();
    }
    // Once with an empty green and once with a full one.
    for command in ["doctor", "prepare", "doctor"] {
        let said = operator.run(command, &[]).await;
        assert!(!said.stdout.contains("✗ stop      accounts-diff"), "{said}");
        assert!(command == "doctor" || said.code == 0, "{said}");
    }
    for command in ["switch", "failback"] {
        let switched = operator.run(command, &["--confirm", "shop"]).await;
        assert_eq!(switched.code, 0, "{switched}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_switches_by_the_accounts_that_grants_prints() {
    granted_accounts_switch(ServerKind::MySql97, ServerKind::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_switches_by_the_accounts_that_grants_prints() {
    granted_accounts_switch(ServerKind::MariaDb1011, ServerKind::MariaDb118).await;
}
