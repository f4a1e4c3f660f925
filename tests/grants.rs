//! The rights that `bleen grants` prints, on real servers: everything that bleen does works under them, and without any
//! one of them something does not.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a helper of a test fails the test"
)]

use std::time::Duration;

use bleen::adapters::mysql::grants::{Grantee, PASSWORD_HERE, statements};
use bleen::adapters::mysql::greeting;
use bleen::adapters::mysql::own_schema;
use bleen::adapters::mysql::session::Address;
use bleen::domain::grants::{Right, Role, Scope, Wishes, rights};
use bleen::domain::ids::{RunId, Side};
use bleen::domain::server::{Family, Version};
use bleen::sandbox::{LocateOptions, RunningServer, ServerKind, ServerOptions, locate};
use futures_util::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStreamRequest, Conn, OptsBuilder};

const PASSWORD: &str = "only for this test";
const WISHES: Wishes = Wishes {
    locks_accounts: true,
    hold: None,
    way_back: false,
};

/// Something that bleen does.
struct Trial {
    sql: String,
    /// Whether the first column of the first row has to be something: without a right a server often shows less
    /// instead of refusing.
    sees: bool,
}

fn does(sql: impl Into<String>) -> Trial {
    Trial {
        sql: sql.into(),
        sees: false,
    }
}

fn sees(sql: impl Into<String>) -> Trial {
    Trial {
        sql: sql.into(),
        sees: true,
    }
}

/// What bleen reads on both sides.
fn looking(version: &Version) -> Vec<Trial> {
    let mysql = version.family == Family::MySql;
    let modern = version.is_mysql_from((8, 4, 0));
    let renamed = version.is_mysql_from((8, 0, 22));
    let mut all = vec![
        sees("SELECT COUNT(*) FROM shop.t"),
        sees("SELECT COUNT(*) FROM mysql.user WHERE User = 'app'"),
        does("SHOW GRANTS FOR 'app'@'%'"),
        sees("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'app'"),
        does("SELECT COUNT(*) FROM information_schema.INNODB_TRX"),
        sees("SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'shop'"),
        sees("SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'shop'"),
        sees("SELECT LENGTH(VIEW_DEFINITION) FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'shop'"),
        sees(
            "SELECT LENGTH(ROUTINE_DEFINITION) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'shop'",
        ),
        does("SHOW CREATE VIEW shop.v"),
        does("XA RECOVER"),
        does(if modern {
            "SHOW BINARY LOG STATUS"
        } else {
            "SHOW MASTER STATUS"
        }),
        does("SHOW BINARY LOGS"),
        does("SHOW BINLOG EVENTS LIMIT 1"),
        does(if renamed {
            "SHOW REPLICAS"
        } else {
            "SHOW SLAVE HOSTS"
        }),
        does(if renamed {
            "SHOW REPLICA STATUS"
        } else {
            "SHOW SLAVE STATUS"
        }),
        does("SELECT COUNT(*) FROM performance_schema.threads"),
    ];
    if !mysql {
        all.push(does("SHOW ALL SLAVES STATUS"));
        all.push(does("SELECT COUNT(*) FROM mysql.global_priv"));
    }
    all
}

/// bleen's own schema, as `prepare` makes it.
fn own_schema_trials() -> Vec<Trial> {
    let run = RunId::new("20261123T214100Z-9f3a6c").unwrap();
    // The schema is there already: made by an earlier run's account, or brought by replication.
    let mut all = vec![does("CALL bleen.guard(0.000, 0, 'DO 0', 'DO 0')")];
    all.extend(own_schema::create_statements().into_iter().map(does));
    all.extend([
        does("UPDATE bleen.heartbeat SET n = n + 1"),
        does(own_schema::step_statement(&run, "hold")),
        does(own_schema::epoch_statement(&run, "x", "y")),
        does("REPLACE INTO bleen.undo (run_id, seq, green, side, what, statement_text, state) VALUES ('a', 1, 'g', 'blue', '', '', 'open')"),
        does("REPLACE INTO bleen.undo (run_id, seq, green, side, what, statement_text, state) VALUES ('a', 1, 'g', 'blue', '', '', 'done')"),
        does("CALL bleen.guard(0.000, 0, 'DO 0', 'DO 0')"),
        does(own_schema::drop_statement()),
    ]);
    all
}

fn on_blue(version: &Version) -> Vec<Trial> {
    let mut all = vec![
        does("FLUSH TABLES WITH READ LOCK"),
        does("UNLOCK TABLES"),
        does("LOCK TABLES shop.t READ"),
        does("UNLOCK TABLES"),
        does("KILL CONNECTION @app"),
        does("SET GLOBAL event_scheduler = OFF"),
        does("SET GLOBAL event_scheduler = ON"),
    ];
    all.extend(flags(version));
    if version.is_mysql_from((5, 7, 8)) || version.family == Family::MariaDb {
        all.push(does("SET SESSION sql_log_bin = 0"));
        all.push(does("ALTER USER 'app'@'%' ACCOUNT LOCK"));
        all.push(does("ALTER USER 'app'@'%' ACCOUNT UNLOCK"));
        all.push(does("SET SESSION sql_log_bin = 1"));
    }
    all.extend(own_schema_trials());
    all
}

fn flags(version: &Version) -> Vec<Trial> {
    if version.is_mysql_from((8, 0, 0)) {
        vec![
            does("SET PERSIST super_read_only = ON, PERSIST read_only = ON"),
            does("SET PERSIST super_read_only = 0, PERSIST read_only = 0"),
            does("SET PERSIST event_scheduler = OFF"),
            does("SET PERSIST event_scheduler = ON"),
            does("RESET PERSIST IF EXISTS event_scheduler"),
            does("RESET PERSIST IF EXISTS super_read_only"),
            does("SET PERSIST_ONLY read_only = OFF"),
            does("RESET PERSIST IF EXISTS read_only"),
        ]
    } else if version.is_mysql_from((5, 7, 8)) {
        vec![
            does("SET GLOBAL super_read_only = ON"),
            does("SET GLOBAL super_read_only = 0, GLOBAL read_only = 0"),
        ]
    } else {
        vec![
            does("SET GLOBAL read_only = ON"),
            does("SET GLOBAL read_only = 0"),
        ]
    }
}

fn on_green(version: &Version) -> Vec<Trial> {
    let mysql = version.family == Family::MySql;
    let mut all = own_schema_trials();
    all.extend(flags(version));
    all.extend([
        does("SET SESSION sql_log_bin = 0"),
        does("SET SESSION sql_log_bin = 1"),
        does("KILL CONNECTION @app"),
        does("SET GLOBAL sync_binlog = 0"),
        does("SET GLOBAL sync_binlog = 1"),
        does("SET GLOBAL innodb_flush_log_at_trx_commit = 2"),
        does("SET GLOBAL innodb_flush_log_at_trx_commit = 1"),
        does("SET GLOBAL event_scheduler = OFF"),
        does("SET GLOBAL event_scheduler = ON"),
        // Without its DEFINER, ALTER EVENT makes whoever runs it the definer.
        does("ALTER DEFINER = 'app'@'%' EVENT shop.of_app ENABLE"),
        does("ALTER DEFINER = 'root'@'localhost' EVENT shop.e ENABLE"),
    ]);
    let change = "_HOST = '127.0.0.1', #_PORT = 1, #_USER = 'x', #_PASSWORD = 'x'";
    let (change, word) = if version.is_mysql_from((8, 0, 23)) {
        (
            format!(
                "CHANGE REPLICATION SOURCE TO SOURCE{}",
                change.replace('#', "SOURCE")
            ),
            "REPLICA",
        )
    } else {
        (
            format!("CHANGE MASTER TO MASTER{}", change.replace('#', "MASTER")),
            "SLAVE",
        )
    };
    all.extend([
        does(change),
        does(format!("START {word}")),
        does(format!("STOP {word} SQL_THREAD")),
        does(format!("STOP {word}")),
        does(format!("RESET {word} ALL")),
    ]);
    if mysql {
        if version.is_mysql_from((8, 0, 0)) {
            all.push(does("SET PERSIST_ONLY skip_replica_start = ON"));
            all.push(does("RESET PERSIST IF EXISTS skip_replica_start"));
        }
    } else {
        all.push(does("SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_current_pos"));
        all.push(does("SET GLOBAL gtid_domain_id = 7"));
        all.push(does("SET GLOBAL gtid_domain_id = 0"));
    }
    all
}

fn trials(role: Role, version: &Version) -> Vec<Trial> {
    let mut all = looking(version);
    all.extend(match role {
        Role::Blue => on_blue(version),
        Role::Green => on_green(version),
        Role::Replication => Vec::new(),
    });
    all
}

/// A server with an application's account, schema and an open session of it.
struct Scene {
    server: RunningServer,
    version: Version,
}

impl Scene {
    async fn open(kind: ServerKind) -> Self {
        let places = LocateOptions::default();
        let found = locate(kind, &places).await.unwrap();
        let server = found
            .start(&places.cache, None, &ServerOptions::default())
            .await
            .unwrap();
        let comment = server
            .value("SELECT @@version_comment")
            .await
            .unwrap()
            .unwrap_or_default();
        let version = Version::parse(
            &server.value("SELECT @@version").await.unwrap().unwrap(),
            &comment,
        );
        server
            .run(&[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.t (id INT PRIMARY KEY)",
                "INSERT INTO shop.t VALUES (1)",
                "CREATE VIEW shop.v AS SELECT id FROM shop.t",
                "CREATE TRIGGER shop.g BEFORE INSERT ON shop.t FOR EACH ROW SET @x = 1",
                "CREATE PROCEDURE shop.p() SELECT 1",
                "CREATE EVENT shop.e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
                "CREATE USER 'app'@'%' IDENTIFIED BY 'app password'",
                "CREATE DEFINER = 'app'@'%' EVENT shop.of_app ON SCHEDULE EVERY 1 DAY DO SELECT 1",
                "GRANT ALL ON shop.* TO 'app'@'%'",
            ])
            .await
            .unwrap();
        Self { server, version }
    }

    async fn login(&self, user: &str, password: &str) -> Conn {
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.server.port())
            .user(Some(user))
            .pass(Some(password))
            .prefer_socket(false);
        Conn::new(options).await.unwrap()
    }

    async fn make(&self, role: Role, wishes: Wishes) {
        let grantee = Grantee {
            role,
            user: "bleen",
            host: "%",
            needs_tls: false,
        };
        let all: Vec<_> = statements(&grantee, &self.version, wishes)
            .into_iter()
            .map(|statement| statement.replace(PASSWORD_HERE, &format!("'{PASSWORD}'")))
            .collect();
        self.server.run(&all).await.unwrap();
    }

    /// The words of the trials that failed. With a way back each side is the other one, too.
    async fn failures(&self, role: Role, wishes: Wishes) -> Vec<String> {
        let mut failed = self.failures_of(role).await;
        if wishes.way_back {
            failed.extend(self.failures_of(Role::Green).await);
        }
        failed
    }

    /// Runs every trial of a role on a fresh session.
    async fn failures_of(&self, role: Role) -> Vec<String> {
        let by_another: Vec<_> = own_schema::create_statements()
            .iter()
            .map(|statement| statement.replace("CREATE PROCEDURE", "CREATE DEFINER = 'app'@'%' PROCEDURE"))
            .collect();
        self.server.run(&by_another).await.unwrap();
        let app = self.login("app", "app password").await;
        let mut conn = self.login("bleen", PASSWORD).await;
        let mut failed = Vec::new();
        for trial in trials(role, &self.version) {
            let sql = trial.sql.replace("@app", &app.id().to_string());
            let answer = conn.query_first::<mysql_async::Row, _>(&sql).await;
            match answer {
                Ok(row) if trial.sees => {
                    let value = row
                        .and_then(|row| row.get_opt::<Option<i64>, _>(0))
                        .and_then(Result::ok)
                        .flatten();
                    if value.unwrap_or(0) == 0 {
                        failed.push(format!("{sql}: sees nothing"));
                    }
                }
                Ok(_) => {}
                Err(error) => failed.push(format!("{sql}: {error}")),
            }
        }
        drop(conn);
        if role == Role::Blue
            && let Err(error) = self.stream().await
        {
            failed.push(format!("the binlog as a stream: {error}"));
        }
        // Whatever a failed trial left behind must not make the next round fail or pass.
        let root = [
            "DROP DATABASE IF EXISTS bleen",
            "SET GLOBAL event_scheduler = ON",
            "SET GLOBAL read_only = 0",
        ];
        self.server.run(&root).await.unwrap();
        drop(app);
        failed
    }

    /// Reads the first event of the binlog as a replica would, which no statement does.
    async fn stream(&self) -> Result<(), mysql_async::Error> {
        let conn = self.login("bleen", PASSWORD).await;
        let request = BinlogStreamRequest::new(4242).with_non_blocking();
        let mut stream = conn.get_binlog_stream(request).await?;
        let first = stream.next().await;
        stream.close().await?;
        first.expect("a binlog has a first event").map(|_| ())
    }

    async fn take(&self, right: &Right) {
        let on = match right.scope {
            Scope::Everything => "*.*",
            Scope::OwnSchema => "`bleen`.*",
        };
        self.server
            .run(&[format!("REVOKE {} ON {on} FROM 'bleen'@'%'", right.privilege)])
            .await
            .unwrap();
    }

    async fn forget(&self) {
        self.server.run(&["DROP USER 'bleen'@'%'"]).await.unwrap();
    }
}

async fn exactly_these_rights(kind: ServerKind) {
    let scene = Scene::open(kind).await;
    let address = Address::Tcp("127.0.0.1".to_owned(), scene.server.port());
    let greeted = greeting::read_version(Side::Blue, &address, Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(
        (greeted.family, greeted.number),
        (scene.version.family, scene.version.number)
    );
    let mut wrong = Vec::new();
    let way_back = Wishes {
        way_back: true,
        ..WISHES
    };
    for (role, wishes) in [
        (Role::Blue, WISHES),
        (Role::Green, WISHES),
        (Role::Blue, way_back),
    ] {
        scene.make(role, wishes).await;
        for failure in scene.failures(role, wishes).await {
            wrong.push(format!("{role:?} with all rights: {failure}"));
        }
        scene.forget().await;
        for right in rights(role, &scene.version, wishes) {
            scene.make(role, wishes).await;
            scene.take(&right).await;
            if scene.failures(role, wishes).await.is_empty() {
                wrong.push(format!(
                    "{role:?}: {} ({}) is not needed",
                    right.privilege, right.needed_for
                ));
            }
            scene.forget().await;
        }
    }
    assert!(wrong.is_empty(), "on {}:\n{}", scene.version, wrong.join("\n"));
}

#[tokio::test]
async fn mysql_9_7_needs_exactly_these_rights() {
    exactly_these_rights(ServerKind::MySql97).await;
}

#[tokio::test]
async fn mysql_5_6_needs_exactly_these_rights() {
    exactly_these_rights(ServerKind::MySql56).await;
}

#[tokio::test]
async fn mariadb_11_8_needs_exactly_these_rights() {
    exactly_these_rights(ServerKind::MariaDb118).await;
}

#[tokio::test]
async fn mariadb_10_11_needs_exactly_these_rights() {
    exactly_these_rights(ServerKind::MariaDb1011).await;
}

#[tokio::test]
async fn mariadb_10_5_needs_exactly_these_rights() {
    exactly_these_rights(ServerKind::MariaDb105).await;
}
