//! Tables, schemas, accounts, and what an upgrade would trip over.

use super::*;
use crate::domain::guardrails::facts::Schema as SchemaFacts;
use Family::{MariaDb, MySql};
use Scope::{After, Doctor, Hold, Prepare};

fn account(facts: &mut ServerFacts) -> &mut Account {
    match &mut facts.accounts {
        Known::Known(accounts) => &mut accounts[0],
        Known::Unknown(_) => panic!("the fixture has an account"),
    }
}

fn old_blue(survey: &mut Survey) {
    version(&mut survey.blue, "5.7.44");
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        stop(
            MySql,
            Doctor,
            Id::ROW_FORMAT_NO_KEY,
            "shop.orders (about 500000 rows)",
            |s| {
                let table = &mut schema(&mut s.blue).tables[0];
                table.indexes.clear();
                table.rows = 500_000;
            },
        ),
        stop(MySql, Prepare, Id::ROW_FORMAT_NO_KEY, "shop.orders", |s| {
            // A unique key with a column that may be NULL finds no row for certain.
            let table = &mut schema(&mut s.blue).tables[0];
            table.columns[0].nullable = true;
        }),
        stop(MySql, Doctor, Id::ENGINE, "shop.orders (MyISAM)", |s| {
            schema(&mut s.blue).tables[0].engine = "MyISAM".into();
        }),
        stop(MySql, Doctor, Id::ENGINE, "cannot be opened", |s| {
            schema(&mut s.blue).tables[0].engine.clear()
        }),
        warn(
            MySql,
            Doctor,
            Id::AUTO_INCREMENT,
            "900 on green, 1001 on blue",
            |s| {
                schema(&mut s.green).tables[0].auto_increment = Some(900);
            },
        ),
        warn(MySql, After, Id::AUTO_INCREMENT, "did not commit", |s| {
            schema(&mut s.green).tables[0].auto_increment = Some(900);
        }),
        stop(MySql, After, Id::AUTO_INCREMENT, "900 on green", |s| {
            schema(&mut s.green).tables[0].auto_increment = Some(900);
            s.green.positions = Known::default();
        }),
        stop(MySql, Doctor, Id::AUTO_INCREMENT, "95 %", |s| {
            schema(&mut s.blue).tables[0].auto_increment = Some(2_050_000_000);
            schema(&mut s.green).tables[0].auto_increment = Some(2_050_000_000);
        }),
        warn(MySql, Doctor, Id::AUTO_INCREMENT, "83 %", |s| {
            schema(&mut s.blue).tables[0].auto_increment = Some(1_800_000_000);
            schema(&mut s.green).tables[0].auto_increment = Some(1_800_000_000);
        }),
        stop(
            MySql,
            Doctor,
            Id::SCHEMA_DIFF,
            "table shop.orders is missing",
            |s| schema(&mut s.green).tables.clear(),
        ),
        stop(MySql, Hold, Id::SCHEMA_DIFF, "column total", |s| {
            schema(&mut s.green).tables[0].columns[1].column_type = "decimal(12,2)".into();
        }),
        stop(MySql, Hold, Id::SCHEMA_DIFF, "columns is `total, id`", |s| {
            schema(&mut s.green).tables[0].columns.reverse();
        }),
        stop(MySql, Doctor, Id::SCHEMA_DIFF, "index PRIMARY is missing", |s| {
            schema(&mut s.green).tables[0].indexes.clear();
        }),
        warn(
            MySql,
            Doctor,
            Id::SCHEMA_DIFF,
            "index extra is only on green",
            |s| {
                let mut index = schema(&mut s.blue).tables[0].indexes["PRIMARY"].clone();
                index.unique = false;
                schema(&mut s.green).tables[0]
                    .indexes
                    .insert("extra".into(), index);
            },
        ),
        stop(
            MySql,
            Doctor,
            Id::SCHEMA_DIFF,
            "index extra is only on green",
            |s| {
                let index = schema(&mut s.blue).tables[0].indexes["PRIMARY"].clone();
                schema(&mut s.green).tables[0]
                    .indexes
                    .insert("extra".into(), index);
            },
        ),
        warn(
            MySql,
            Doctor,
            Id::SCHEMA_DIFF,
            "table shop.more is only on green",
            |s| {
                schema(&mut s.green).tables.push(table("more"));
            },
        ),
        stop(MySql, Doctor, Id::SCHEMA_DIFF, "body is `SELECT 2`", |s| {
            schema(&mut s.green).routines[0].text = Some("SELECT  2".into());
        }),
        stop(
            MySql,
            Doctor,
            Id::SCHEMA_DIFF,
            "trigger shop.t is only on green",
            |s| {
                let trigger = ProgramFact {
                    schema: "shop".into(),
                    name: "t".into(),
                    kind: "TRIGGER".into(),
                    ..ProgramFact::default()
                };
                schema(&mut s.green).triggers.push(trigger);
            },
        ),
        stop(MySql, Doctor, Id::SCHEMA_DIFF, "foreign key (id)", |s| {
            let key = crate::domain::guardrails::facts::ForeignKeyFact {
                columns: vec!["id".into()],
                target: "shop.x".into(),
                target_columns: vec!["id".into()],
                ..Default::default()
            };
            schema(&mut s.blue).tables[0].foreign_keys.insert("f".into(), key);
        }),
        fine(MySql, Doctor, Id::SCHEMA_DIFF, |s| {
            // What replication does not need, and other spellings of the same.
            let table = &mut schema(&mut s.green).tables[0];
            table.rows = 7;
            table.row_format = "Compact".into();
            table.auto_increment = Some(5);
            table.columns[0].column_type = "int(11)".into();
            schema(&mut s.green).routines[0].text = Some("SELECT\n  1".into());
        }),
        stop(
            MySql,
            Doctor,
            Id::DEFINERS,
            "gone@% does not exist on green and defines procedure shop.p",
            |s| {
                schema(&mut s.blue).routines[0].definer = "gone@%".into();
            },
        ),
        warn(MySql, Prepare, Id::ACCOUNTS_DIFF, "not there: app@%", |s| {
            s.green.accounts = Known::Known(vec![]);
            s.green.schema = Known::Known(SchemaFacts::default());
        }),
        warn(MySql, Doctor, Id::DEFINERS, "who defines", |s| {
            s.green.accounts = Known::Known(vec![]);
            s.green.schema = Known::Known(SchemaFacts::default());
        }),
        stop(
            MySql,
            Doctor,
            Id::ACCOUNTS_DIFF,
            "account app@% does not exist on green",
            |s| {
                s.green.accounts = Known::Known(vec![]);
            },
        ),
        stop(
            MySql,
            After,
            Id::ACCOUNTS_DIFF,
            "lacks 1 rights on green: shop.*: INSERT",
            |s| {
                account(&mut s.green).privileges.remove("shop.*: INSERT");
            },
        ),
        stop(MySql, Doctor, Id::ACCOUNTS_DIFF, "is locked on green", |s| {
            account(&mut s.green).locked = true
        }),
        stop(
            MySql,
            Prepare,
            Id::ACCOUNTS_DIFF,
            "password on one side only",
            |s| {
                account(&mut s.green).secret_mark = None;
            },
        ),
        stop(
            MySql,
            Doctor,
            Id::ACCOUNTS_DIFF,
            "mysql_native_password, which green does not have",
            |s| {
                account(&mut s.blue).plugin = "mysql_native_password".into();
                account(&mut s.green).plugin = "mysql_native_password".into();
            },
        ),
        stop(
            MySql,
            Doctor,
            Id::ACCOUNTS_DIFF,
            "lacks roles on green: r@%",
            |s| {
                account(&mut s.blue).roles.insert("r@%".into());
            },
        ),
        warn(MySql, Doctor, Id::ACCOUNTS_DIFF, "another plugin", |s| {
            account(&mut s.blue).plugin = "mysql_native_password".into();
        }),
        warn(MySql, Doctor, Id::ACCOUNTS_DIFF, "password differs", |s| {
            account(&mut s.green).secret_mark = Some("y".into());
        }),
        warn(
            MySql,
            Doctor,
            Id::ACCOUNTS_DIFF,
            "rights that green does not know: OLD RIGHT",
            |s| {
                account(&mut s.blue).privileges.insert("*.*: OLD RIGHT".into());
            },
        ),
        fine(MySql, Doctor, Id::ACCOUNTS_DIFF, |s| {
            // As `bleen grants` prints them: fewer rights on green, and green's own account on blue only.
            s.limits.replication_user = "repl".into();
            let of = |user: &str, right: &str| Account {
                user: user.into(),
                host: "%".into(),
                plugin: "caching_sha2_password".into(),
                privileges: [format!("*.*: {right}")].into(),
                ..Account::default()
            };
            if let (Known::Known(blue), Known::Known(green)) = (&mut s.blue.accounts, &mut s.green.accounts) {
                blue.extend([of("bleen", "SUPER"), of("repl", "SELECT")]);
                green.push(of("bleen", "SELECT"));
            }
        }),
        fine(MySql, Doctor, Id::ACCOUNTS_DIFF, |s| {
            let system = Account {
                user: "mysql.sys".into(),
                host: "localhost".into(),
                ..Account::default()
            };
            if let Known::Known(accounts) = &mut s.blue.accounts {
                accounts.push(system);
            }
        }),
        stop(
            MySql,
            Doctor,
            Id::UPGRADE_ISSUES,
            "md5() in procedure shop.p",
            |s| {
                version(&mut s.blue, "8.4.3");
                schema(&mut s.blue).routines[0].text = Some("SELECT MD5('a')".into());
            },
        ),
        warn(
            MySql,
            Doctor,
            Id::UPGRADE_ISSUES,
            "column shop.orders.rank",
            |s| {
                old_blue(s);
                schema(&mut s.blue).tables[0].columns[1].name = "rank".into();
            },
        ),
        warn(MySql, Doctor, Id::UPGRADE_ISSUES, "sql_mode", |s| {
            old_blue(s);
            schema(&mut s.blue).routines[0].sql_mode = "NO_AUTO_CREATE_USER".into();
        }),
        warn(MySql, Doctor, Id::UPGRADE_ISSUES, "utf8mb3", |s| {
            schema(&mut s.blue).tables[0].columns[1].collation = Some("utf8_general_ci".into());
        }),
        warn(MariaDb, Doctor, Id::UPGRADE_ISSUES, "zero dates", |s| {
            schema(&mut s.blue).tables[0].columns[1].default = Some("'0000-00-00 00:00:00'".into());
        }),
        stop(MySql, Doctor, Id::UPGRADE_ISSUES, "floating-point", |s| {
            schema(&mut s.blue).tables[0].columns[0].column_type = "double".into();
        }),
        stop(MySql, Doctor, Id::UPGRADE_ISSUES, "partitions of its own", |s| {
            let table = &mut schema(&mut s.blue).tables[0];
            table.engine = "MyISAM".into();
            table.partitions = vec!["p0 | RANGE".into()];
        }),
        // No server of today lets one be made.
        stop(MySql, Doctor, Id::UPGRADE_ISSUES, "none of its members", |s| {
            let column = &mut schema(&mut s.blue).tables[0].columns[1];
            column.column_type = "enum('a','b')".into();
            column.default = Some("c".into());
        }),
        fine(MySql, Doctor, Id::UPGRADE_ISSUES, |s| {
            let column = &mut schema(&mut s.blue).tables[0].columns[1];
            column.column_type = "enum('a','it''s')".into();
            column.default = Some("A".into());
        }),
        stop(
            MySql,
            Prepare,
            Id::UPGRADE_ISSUES,
            "schemas that do not exist",
            |s| {
                schema(&mut s.blue).routines[0].schema = "gone".into();
            },
        ),
        fine(MySql, Doctor, Id::UPGRADE_ISSUES, |s| {
            // Not new: blue has reserved the word itself.
            schema(&mut s.blue).tables[0].columns[1].name = "rank".into();
        }),
    ]
}

#[test]
fn objects_and_accounts() {
    hold(&cases());
}

#[test]
fn many_differences_are_counted_and_not_all_listed() {
    let mut survey = healthy(MySql, Doctor);
    for number in 0..200 {
        schema(&mut survey.blue).tables.push(table(&format!("t{number}")));
    }
    let (_, findings) = verdict(&survey, Id::SCHEMA_DIFF);
    assert!(
        findings.iter().any(|f| f.seen == "150 more differences"),
        "{}",
        findings.len()
    );
}
