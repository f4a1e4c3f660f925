//! `privileges`: what bleen's account has to be allowed.

use super::identity;
use crate::domain::grants::{Right, Role, Scope, Wishes, rights};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::facts::Rights;
use crate::domain::guardrails::{Finding, Survey, finding::Findings};
use crate::domain::ids::Side;
use crate::domain::machine::HoldKind;
use crate::domain::server::{Family, Version};

/// Rights of which one is enough where the playbook leaves the way to hold open.
const HOLDS: &[&str] = &["RELOAD", "LOCK TABLES"];

/// The first way to hold that the account's rights on blue allow, with the reason.
#[must_use]
pub fn first_hold(own: &Rights, version: &Version) -> (HoldKind, &'static str) {
    let may = |privilege| {
        let right = Right {
            privilege,
            scope: Scope::Everything,
            needed_for: "",
        };
        has(own, version, &right)
    };
    if may("RELOAD") {
        (HoldKind::Lock, "the first choice: the account has RELOAD on blue")
    } else if may("LOCK TABLES") {
        (
            HoldKind::Tables,
            "because the account has LOCK TABLES on blue but not RELOAD, which `lock` needs",
        )
    } else {
        (
            HoldKind::Refuse,
            "because the account has neither RELOAD nor LOCK TABLES on blue; writers are refused, not held",
        )
    }
}

/// Other rights that are as good on this server as the one that bleen would grant.
fn as_good(privilege: &str, version: &Version) -> &'static [&'static str] {
    match (version.family, privilege) {
        (Family::MySql, "CONNECTION ADMIN" | "SYSTEM VARIABLES ADMIN" | "REPLICATION SLAVE ADMIN") => {
            &["SUPER"]
        }
        (Family::MySql, "RELOAD") => &["FLUSH TABLES"],
        (Family::MariaDb, "BINLOG MONITOR") => &["REPLICATION CLIENT"],
        (Family::MariaDb, "SLAVE MONITOR") => &["REPLICA MONITOR"],
        (Family::MariaDb, "REPLICATION SLAVE ADMIN") => &["REPLICATION REPLICA ADMIN"],
        _ => &[],
    }
}

fn has(own: &Rights, version: &Version, right: &Right) -> bool {
    let plain = right.privilege.replace('_', " ");
    std::iter::once(plain.as_str())
        .chain(as_good(&plain, version).iter().copied())
        .any(|name| match right.scope {
            Scope::Everything => own.has(name),
            Scope::OwnSchema => own.has_in("bleen", name),
        })
}

/// Rights of bleen's own account on both sides, by the list that `bleen grants` prints.
pub fn privileges(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::PRIVILEGES, survey.scope);
    let wishes = Wishes {
        locks_accounts: survey.limits.end_privileged_sessions,
        hold: survey.limits.hold,
        way_back: survey.limits.way_back,
    };
    for (side, facts) in survey.sides() {
        let Some(who) = identity(&mut found, side, facts) else {
            continue;
        };
        let Some(own) = found.need(side, &facts.rights, "see why SHOW GRANTS was refused") else {
            continue;
        };
        let role = match side {
            Side::Blue => Role::Blue,
            Side::Green => Role::Green,
        };
        let missing: Vec<Right> = rights(role, &who.version, wishes)
            .into_iter()
            .filter(|right| !has(own, &who.version, right))
            .collect();
        for right in &missing {
            let seen = format!(
                "{} lacks {}, needed for: {}",
                own.account, right.privilege, right.needed_for
            );
            let on = match right.scope {
                Scope::Everything => "*.*",
                Scope::OwnSchema => "bleen.*",
            };
            let remedy = format!(
                "GRANT {} ON {on} TO {}",
                right.privilege,
                account_text(&own.account)
            );
            let other_way =
                side == Side::Blue && survey.limits.hold.is_none() && HOLDS.contains(&right.privilege);
            if other_way {
                let (hold, why) = first_hold(own, &who.version);
                let seen = format!("{seen}; the hold is `{}` {why}", hold.as_str());
                found.warn(side, seen, right.privilege, remedy);
            } else {
                found.stop(side, seen, right.privilege, remedy);
            }
        }
        if missing.is_empty() {
            found.ok(
                side,
                format!("{} has every right that the steps need", own.account),
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

    fn granted(version: &Version, role: Role, without: &str) -> Rights {
        let lines: Vec<_> = rights(role, version, Wishes::default())
            .into_iter()
            .filter(|right| right.privilege != without)
            .map(|right| {
                let on = if right.scope == Scope::Everything {
                    "*.*"
                } else {
                    "`bleen`.*"
                };
                format!("GRANT {} ON {on} TO `bleen`@`%`", right.privilege)
            })
            .collect();
        Rights::parse("bleen@%", &lines)
    }

    #[test]
    fn an_account_made_as_bleen_says_lacks_nothing_and_misses_what_is_taken_away() {
        let mysql = ["5.6.24", "5.7.44", "8.0.40", "8.4.3", "9.7.4"].map(|t| Version::parse(t, ""));
        let mariadb = ["10.5.23", "10.11.18", "11.4.5", "11.8.9"].map(|t| Version::parse(t, "MariaDB"));
        for version in mysql.into_iter().chain(mariadb) {
            for role in [Role::Blue, Role::Green] {
                let all = granted(&version, role, "");
                for right in rights(role, &version, Wishes::default()) {
                    assert!(has(&all, &version, &right), "{version}: {}", right.privilege);
                    let fewer = granted(&version, role, right.privilege);
                    assert!(
                        !has(&fewer, &version, &right),
                        "{version}: {} is not missed",
                        right.privilege
                    );
                }
            }
        }
    }

    #[test]
    fn older_and_wider_rights_count() {
        let of = |grant: &str| Rights::parse("b@%", &[format!("GRANT {grant} ON *.* TO `b`@`%`")]);
        let right = |privilege| Right {
            privilege,
            scope: Scope::Everything,
            needed_for: "",
        };
        let (new, old) = (Version::parse("9.7.4", ""), Version::parse("10.11.18", "MariaDB"));
        assert!(has(&of("SUPER"), &new, &right("CONNECTION_ADMIN")));
        assert!(!has(&of("SUPER"), &new, &right("XA_RECOVER_ADMIN")));
        // MDEV-29596: SUPER no longer brings it.
        assert!(!has(&of("SUPER"), &old, &right("READ ONLY ADMIN")));
        assert!(has(&of("REPLICATION CLIENT"), &old, &right("BINLOG MONITOR")));
        assert!(has(&of("ALL PRIVILEGES"), &old, &right("READ ONLY ADMIN")));
    }
}
