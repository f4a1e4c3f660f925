//! `privileges`: what bleen's account has to be allowed, step by step.

use super::identity;
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::facts::Rights;
use crate::domain::guardrails::{Finding, Survey, finding::Findings};
use crate::domain::ids::Side;
use crate::domain::server::{Family, Version};
use crate::domain::step::Step;

/// A right that a step needs.
struct Need {
    /// The first step that needs it.
    step: Step,
    /// What for, after "to".
    what: &'static str,
    /// Any one of these is enough. The first is the one to grant.
    any_of: &'static [&'static str],
    /// Only on this schema, or `*` for everything.
    schema: &'static str,
}

const fn need(step: Step, what: &'static str, any_of: &'static [&'static str]) -> Need {
    Need {
        step,
        what,
        any_of,
        schema: "*",
    }
}

const fn own(step: Step, any_of: &'static [&'static str]) -> Need {
    Need {
        step,
        what: "keep bleen's own tables",
        any_of,
        schema: "bleen",
    }
}

/// Both sides, both families.
const COMMON: &[Need] = &[
    need(Step::Preflight, "see all sessions", &["PROCESS"]),
    need(Step::Preflight, "compare schemas and data", &["SELECT"]),
    need(Step::Preflight, "compare views", &["SHOW VIEW"]),
    need(Step::Preflight, "compare triggers", &["TRIGGER"]),
    need(
        Step::Preflight,
        "read binlog events",
        &["REPLICATION SLAVE", "BINLOG MONITOR"],
    ),
    need(Step::Quiet, "see and switch events", &["EVENT"]),
    need(
        Step::Hold,
        "hold the writers (FLUSH TABLES WITH READ LOCK)",
        &["RELOAD", "FLUSH TABLES"],
    ),
    own(Step::Preflight, &["CREATE"]),
    own(Step::Preflight, &["DROP"]),
    own(Step::Preflight, &["INSERT"]),
    own(Step::Preflight, &["UPDATE"]),
    own(Step::Preflight, &["DELETE"]),
    own(Step::Preflight, &["CREATE ROUTINE"]),
    own(Step::Preflight, &["ALTER ROUTINE"]),
    own(Step::Arm, &["EXECUTE"]),
];

const MYSQL: &[Need] = &[
    need(Step::Preflight, "read positions", &["REPLICATION CLIENT"]),
    need(Step::Disarm, "end sessions", &["CONNECTION ADMIN", "SUPER"]),
    need(Step::Seal, "set read-only", &["SYSTEM VARIABLES ADMIN", "SUPER"]),
    need(Step::Fence, "see prepared XA transactions", &["XA RECOVER ADMIN"]),
];

const MYSQL_GREEN: &[Need] = &[need(
    Step::Follow,
    "set up and stop replication",
    &["REPLICATION SLAVE ADMIN", "SUPER"],
)];

const OLD_MYSQL: &[Need] = &[
    need(
        Step::Preflight,
        "read positions",
        &["REPLICATION CLIENT", "SUPER"],
    ),
    need(
        Step::Seal,
        "set read-only, end sessions, set up replication",
        &["SUPER"],
    ),
];

const MARIADB: &[Need] = &[
    need(
        Step::Preflight,
        "read positions",
        &["BINLOG MONITOR", "REPLICATION CLIENT"],
    ),
    need(Step::Disarm, "end sessions", &["CONNECTION ADMIN", "SUPER"]),
    need(Step::Seal, "set read-only", &["READ ONLY ADMIN", "SUPER"]),
    need(Step::Quiet, "stop the event scheduler", &["SUPER"]),
];

const MARIADB_BLUE: &[Need] = &[need(
    Step::Preflight,
    "see who reads the binlog",
    &["REPLICATION MASTER ADMIN", "SUPER"],
)];

const MARIADB_GREEN: &[Need] = &[
    need(
        Step::Follow,
        "set up and stop replication",
        &["REPLICATION SLAVE ADMIN", "SUPER"],
    ),
    need(
        Step::CatchUp,
        "see how replication is",
        &["SLAVE MONITOR", "REPLICA MONITOR", "SUPER"],
    ),
    need(
        Step::Promote,
        "write in a gtid domain of green's own",
        &["BINLOG REPLAY", "SUPER"],
    ),
];

fn needs(version: &Version, side: Side) -> Vec<&'static Need> {
    let mut all: Vec<&Need> = COMMON.iter().collect();
    match version.family {
        Family::MySql if version.number >= (8, 0, 0) => {
            all.extend(MYSQL);
            if side == Side::Green {
                all.extend(MYSQL_GREEN);
            }
        }
        Family::MySql => all.extend(OLD_MYSQL),
        Family::MariaDb => {
            all.extend(MARIADB);
            all.extend(if side == Side::Green {
                MARIADB_GREEN
            } else {
                MARIADB_BLUE
            });
        }
    }
    all
}

fn has(rights: &Rights, version: &Version, need: &Need) -> bool {
    need.any_of.iter().any(|right| {
        // From MariaDB 10.11 on SUPER no longer brings READ ONLY ADMIN (MDEV-29596).
        let counts = *right != "SUPER"
            || need.any_of.first() != Some(&"READ ONLY ADMIN")
            || !version.is_mariadb_from((10, 11, 0));
        counts
            && if need.schema == "*" {
                rights.has(right)
            } else {
                rights.has_in(need.schema, right)
            }
    })
}

/// Rights of bleen's own account on both sides.
pub fn privileges(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::PRIVILEGES, survey.scope);
    for (side, facts) in survey.sides() {
        let Some(who) = identity(&mut found, side, facts) else {
            continue;
        };
        let Some(rights) = found.need(side, &facts.rights, "see why SHOW GRANTS was refused") else {
            continue;
        };
        let mut clean = true;
        for need in needs(&who.version, side) {
            if has(rights, &who.version, need) {
                continue;
            }
            clean = false;
            let right = need.any_of.first().copied().unwrap_or_default();
            // MySQL writes its dynamic privileges with underscores, MariaDB all of them with spaces.
            let dynamic = [
                "SYSTEM VARIABLES ADMIN",
                "CONNECTION ADMIN",
                "XA RECOVER ADMIN",
                "REPLICATION SLAVE ADMIN",
            ];
            let spelled = if who.version.family == Family::MySql && dynamic.contains(&right) {
                right.replace(' ', "_")
            } else {
                right.to_owned()
            };
            found.stop(
                side,
                format!(
                    "{} lacks {right}, which step `{}` needs to {}",
                    rights.account, need.step, need.what
                ),
                spelled.clone(),
                format!(
                    "GRANT {spelled} ON {}.* TO {}",
                    need.schema,
                    account_text(&rights.account)
                ),
            );
        }
        if clean {
            found.ok(
                side,
                format!("{} has every right that the steps need", rights.account),
            );
        }
    }
    found.done()
}

/// `user@host` as `'user'@'host'`, for reading; a name with a quote in it is left as it is.
fn account_text(account: &str) -> String {
    match account.rsplit_once('@') {
        Some((user, host)) if !account.contains('\'') => format!("'{user}'@'{host}'"),
        _ => account.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::grants::{Role, Scope, Wishes, rights};

    #[test]
    fn an_account_made_as_bleen_says_lacks_nothing() {
        for version in ["5.6.24", "5.7.44", "8.0.11", "8.0.40", "8.4.3", "9.7.4"]
            .map(|text| Version::parse(text, ""))
            .into_iter()
            .chain(
                ["10.5.23", "10.6.20", "10.11.18", "11.4.5", "11.8.9"]
                    .map(|text| Version::parse(text, "MariaDB")),
            )
        {
            for (side, role) in [(Side::Blue, Role::Blue), (Side::Green, Role::Green)] {
                let lines: Vec<_> = rights(role, &version, Wishes::default())
                    .into_iter()
                    .map(|right| {
                        let on = if right.scope == Scope::Everything {
                            "*.*"
                        } else {
                            "`bleen`.*"
                        };
                        format!("GRANT {} ON {on} TO `bleen`@`%`", right.privilege)
                    })
                    .collect();
                let granted = Rights::parse("'bleen'@'%'", &lines);
                for need in needs(&version, side) {
                    assert!(
                        has(&granted, &version, need),
                        "{version}, {side}: {:?}",
                        need.any_of
                    );
                }
            }
        }
    }
}
