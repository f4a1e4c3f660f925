//! `accounts-diff`: whoever can log in to blue can do so on green, and may do the same there.

use std::collections::{BTreeMap, BTreeSet};

use super::schema::is_filled_by_replication;
use super::{family, sample};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::facts::{Account, AccountWords};
use crate::domain::guardrails::{Finding, Survey, finding::Findings};
use crate::domain::ids::Side;

const READ_ACCOUNTS: &str = "grant SELECT on mysql.* to bleen's account";

/// Accounts that each server makes for itself.
const SYSTEM: &[&str] = &[
    "mysql.sys",
    "mysql.session",
    "mysql.infoschema",
    "mariadb.sys",
    "PUBLIC",
];

/// Privileges that have another name on the other family or in another version, brought to one.
fn plain(privilege: &str) -> String {
    let (object, name) = privilege.split_once(": ").unwrap_or(("", privilege));
    let name = match name {
        "REPLICATION CLIENT" => "BINLOG MONITOR",
        "REPLICA MONITOR" => "SLAVE MONITOR",
        "DELETE VERSIONING ROWS" => "DELETE HISTORY",
        other => other,
    };
    format!("{object}: {name}")
}

/// Whether a server has a privilege of this name at all.
fn knows(words: &AccountWords, privilege: &str) -> bool {
    let name = privilege.split_once(": ").map_or(privilege, |(_, name)| name);
    words
        .privileges
        .iter()
        .any(|p| plain(&format!("x: {p}")) == format!("x: {name}"))
}

/// What to add where an account is missing and could not be made as it is.
fn plugin_gone(account: &Account, words: &AccountWords) -> String {
    if account.role || words.plugins.contains(&account.plugin) {
        String::new()
    } else {
        format!(", which does not have its plugin {} either", account.plugin)
    }
}

/// How to give rights that are missing: the statements, where every name in them may stand without quoting rules.
fn give(account: &Account, missing: &[&String]) -> String {
    let plain = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.*$% ".contains(c))
    };
    let to = if account.role && account.host.is_empty() {
        account.user.clone()
    } else {
        format!("'{}'@'{}'", account.user, account.host)
    };
    let show = format!("SHOW GRANTS FOR {to} on blue prints all statements");
    if !plain(&account.user) || !plain(&account.host) {
        return show;
    }
    let statements: Vec<String> = missing
        .iter()
        .filter(|right| plain(&right.replace(": ", " ")) && !right.ends_with("GRANT OPTION"))
        .filter_map(|right| right.split_once(": "))
        .take(5)
        .map(|(object, privilege)| format!("GRANT {privilege} ON {object} TO {to}"))
        .collect();
    if statements.is_empty() {
        return show;
    }
    format!(
        "on green, with sql_log_bin = 0: {}; {show}",
        statements.join("; ")
    )
}

/// Accounts, roles, grants and plugins.
pub fn accounts_diff(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::ACCOUNTS_DIFF, survey.scope);
    let (Some(blue), Some(green)) = (
        found.need(Side::Blue, &survey.blue.accounts, READ_ACCOUNTS),
        found.need(Side::Green, &survey.green.accounts, READ_ACCOUNTS),
    ) else {
        return found.done();
    };
    let Some(words) = found.need(Side::Green, &survey.green.account_words, READ_ACCOUNTS) else {
        return found.done();
    };
    let same_family = family(&survey.blue) == family(&survey.green);
    let on_green: BTreeMap<String, &Account> = green.iter().map(|a| (a.name(), a)).collect();
    let mut to_come = Vec::new();
    let mut other_passwords = Vec::new();
    let mut other_plugins = Vec::new();
    let mut unknown_rights = BTreeSet::new();
    // `privileges` judges bleen's own account on each side, which needs less on green; green follows by one that it does
    // not need itself. `bleen grants` prints them so.
    let own = survey.blue.rights.value().map(|own| own.account.as_str());
    let is_the_applications = |account: &&Account| {
        let user = account.user.as_str();
        !SYSTEM.contains(&user)
            && Some(account.name().as_str()) != own
            && (account.role || user != survey.limits.replication_user)
    };
    for account in blue.iter().filter(is_the_applications) {
        let name = account.name();
        let what = if account.role { "role" } else { "account" };
        let Some(other) = on_green.get(&name) else {
            if is_filled_by_replication(survey) {
                to_come.push(format!("{name}{}", plugin_gone(account, words)));
                continue;
            }
            found.stop(
                Side::Green,
                format!("{what} {name} does not exist on green{}", plugin_gone(account, words)),
                format!("every {what} of blue"),
                format!(
                    "create it on green with sql_log_bin = 0: SHOW CREATE USER and SHOW GRANTS FOR {name} on blue print \
                     the statements"
                ),
            );
            continue;
        };
        if !account.role && other.plugin != account.plugin {
            other_plugins.push(format!(
                "{name} ({} on green, {} on blue)",
                other.plugin, account.plugin
            ));
        }
        if !other.role && !words.plugins.contains(&other.plugin) {
            found.stop(
                Side::Green,
                format!(
                    "{what} {name} logs in with {}, which green does not have",
                    other.plugin
                ),
                "a plugin that green has",
                "ALTER USER … IDENTIFIED WITH another plugin on green, and see that every client speaks it",
            );
        }
        if other.locked && !account.locked {
            found.stop(
                Side::Green,
                format!("{what} {name} is locked on green"),
                "as on blue",
                "ALTER USER … ACCOUNT UNLOCK on green",
            );
        }
        if account.secret_mark.is_some() != other.secret_mark.is_some() {
            found.stop(
                Side::Green,
                format!("{what} {name} has a password on one side only"),
                "the same on both",
                "set the same password on green",
            );
        } else if account.plugin == other.plugin && account.secret_mark != other.secret_mark {
            other_passwords.push(name.clone());
        }
        let theirs: BTreeSet<String> = other.privileges.iter().map(|p| plain(p)).collect();
        let wanted: BTreeSet<String> = account.privileges.iter().map(|p| plain(p)).collect();
        let (missing, unknown): (Vec<&String>, Vec<&String>) =
            wanted.difference(&theirs).partition(|p| knows(words, p));
        if !missing.is_empty() {
            found.stop(
                Side::Green,
                format!(
                    "{what} {name} lacks {} rights on green: {}",
                    missing.len(),
                    sample(&missing)
                ),
                "what it may do on blue",
                give(account, &missing),
            );
        }
        unknown_rights.extend(
            unknown
                .into_iter()
                .map(|p| p.split_once(": ").map_or(p.clone(), |(_, n)| n.to_owned())),
        );
        let roles: Vec<&String> = account.roles.difference(&other.roles).collect();
        if !roles.is_empty() && same_family {
            found.stop(
                Side::Green,
                format!("{what} {name} lacks roles on green: {}", sample(&roles)),
                "the roles it has on blue",
                "GRANT these roles on green",
            );
        }
    }
    if !to_come.is_empty() {
        // One that is made by hand and comes again would stop green's applier, so this is no reason to stop.
        found.warn(
            Side::Green,
            format!(
                "green is empty, and {} accounts and roles of blue are not there: {}",
                to_come.len(),
                sample(&to_come)
            ),
            "every account and role of blue before the switch",
            "those made within blue's binlog come with it; create the others on green with sql_log_bin = 0",
        );
    }
    if !other_plugins.is_empty() {
        found.warn(
            Side::Green,
            format!("accounts log in with another plugin: {}", sample(&other_plugins)),
            "the same on both",
            "see that every client speaks it (caching_sha2_password wants TLS or the server's public key)",
        );
    }
    if !other_passwords.is_empty() {
        found.warn(
            Side::Green,
            format!(
                "what is stored for the password differs: {} (a salted digest differs also for equal passwords)",
                sample(&other_passwords)
            ),
            "the same on both",
            "log in to green with the application's password, or copy the stored form with SHOW CREATE USER",
        );
    }
    if !unknown_rights.is_empty() {
        let list: Vec<String> = unknown_rights.into_iter().collect();
        found.warn(
            Side::Green,
            format!("rights that green does not know: {}", sample(&list)),
            "none that the application needs",
            "see what took their place in green's manual",
        );
    }
    if found.is_clean() {
        found.ok(
            None,
            format!(
                "all {} accounts of blue are on green with their rights",
                blue.len()
            ),
        );
    }
    found.done()
}
