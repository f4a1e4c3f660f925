//! What a command says at its end of what it has changed: the code, the word, and how to go on or back.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that stops says where")]

mod support;

use bleen::adapters::mysql::own_schema::{self, UndoRow};
use bleen::domain::ids::Side;
use bleen::sandbox::{PairOptions, SandboxPair, ServerKind};
use support::{Operator, is_writable};

const NO_WINDOW: &str = "hooks:\n  - exec:\n      at: before_hold\n      name: window\n      command: [/bin/false]\n      \
                         timeout: 5s\n      failure: abort\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_run_has_prepared_and_what_rollback_has_left_is_said() {
    let kind = ServerKind::MySql97;
    let pair = SandboxPair::start(kind, kind, &PairOptions::default())
        .await
        .unwrap();
    let operator = Operator::of(&pair, |text| format!("{text}{NO_WINDOW}"));
    let plan = operator.run("plan", &["--output", "json"]).await;
    assert!(
        plan.code == 0 && !plan.stdout.contains("no way back after promote"),
        "{plan}"
    );
    let knows = Operator::of(&pair, |text| {
        format!("{text}switch:\n  accept_no_way_back: true\n")
    });
    let plan = knows.run("plan", &["--output", "json"]).await;
    assert!(
        plan.stdout.contains("there may be no way back after promote"),
        "{plan}"
    );
    let stopped = operator
        .run("run", &["--confirm", "shop", "--output", "json"])
        .await;
    let result = stopped.result();
    assert_eq!(
        (
            stopped.code,
            result["outcome"].as_str(),
            result["changed"].as_bool()
        ),
        (2, Some("not-ready"), Some(true)),
        "{stopped}"
    );
    let now = result["now"].as_str().unwrap();
    assert!(
        now.contains("is prepared") && now.contains("bleen rollback"),
        "{now}"
    );
    assert!(!stopped.stdout.contains("nothing has changed"), "{stopped}");
    assert!(!is_writable(&pair, Side::Green).await);

    let label = pair.green.value("SELECT @@server_uuid").await.unwrap().unwrap();
    let stuck = own_schema::undo_statement(&UndoRow {
        run_id: "20990101T000000Z-000000".to_owned(),
        seq: 0,
        green: label,
        side: Side::Green,
        what: "something that cannot be put back".to_owned(),
        statement: "SET GLOBAL no_such_variable = 1".to_owned(),
        state: "open".to_owned(),
    });
    pair.blue.run(&[&stuck]).await.unwrap();
    let left = operator.run("rollback", &["--output", "json"]).await;
    let result = left.result();
    assert_eq!(
        (left.code, result["outcome"].as_str()),
        (3, Some("released")),
        "{left}"
    );
    assert_eq!(result["left"].as_array().unwrap().len(), 1, "{left}");
    assert!(
        result["left"][0].as_str().unwrap().contains("no_such_variable"),
        "{left}"
    );
    assert!(result["now"].as_str().unwrap().contains("blue serves"), "{left}");
    assert!(is_writable(&pair, Side::Green).await && is_writable(&pair, Side::Blue).await);
}
