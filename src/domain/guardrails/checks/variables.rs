//! `variables-diff`: settings whose difference changes results or writes.

use super::{Names, first, number, variables};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::normal::expression::plain_modes;
use crate::domain::guardrails::{Finding, Survey, finding::Findings};
use crate::domain::ids::Side;

/// How two values of a setting are compared.
enum Rule {
    /// As texts, letter case and `utf8` for `utf8mb3` aside.
    Same,
    /// Green must be at least blue.
    AtLeast,
    /// As sets of modes, those that one side cannot have left out.
    Modes,
    /// As truth values.
    Switch,
}

/// Settings that stop, with the names they had.
const COMPARED: &[(&[&str], Rule)] = &[
    (&["sql_mode"], Rule::Modes),
    (&["lower_case_table_names"], Rule::Same),
    (&["character_set_server"], Rule::Same),
    (&["collation_server"], Rule::Same),
    (&["explicit_defaults_for_timestamp"], Rule::Switch),
    (&["innodb_strict_mode"], Rule::Switch),
    (&["group_concat_max_len"], Rule::AtLeast),
    (&["max_allowed_packet"], Rule::AtLeast),
    (&["auto_increment_increment"], Rule::Same),
    (&["auto_increment_offset"], Rule::Same),
    (&["transaction_isolation", "tx_isolation"], Rule::Same),
    (&["div_precision_increment"], Rule::Same),
    (&["default_week_format"], Rule::Same),
    (&["foreign_key_checks"], Rule::Switch),
    (&["innodb_rollback_on_timeout"], Rule::Switch),
];

/// Settings that are only listed.
const LISTED: &[&str] = &[
    "default_storage_engine",
    "ft_min_word_len",
    "innodb_autoinc_lock_mode",
    "innodb_buffer_pool_size",
    "innodb_flush_log_at_trx_commit",
    "innodb_ft_min_token_size",
    "innodb_lock_wait_timeout",
    "innodb_page_size",
    "interactive_timeout",
    "join_buffer_size",
    "lock_wait_timeout",
    "max_connections",
    "max_execution_time",
    "max_heap_table_size",
    "max_statement_time",
    "open_files_limit",
    "sort_buffer_size",
    "sync_binlog",
    "table_open_cache",
    "tmp_table_size",
    "wait_timeout",
];

fn plain_text(value: &str) -> String {
    let value = value.to_ascii_lowercase();
    match value.strip_prefix("utf8") {
        Some("") => "utf8mb3".to_owned(),
        Some(rest) if rest.starts_with('_') => format!("utf8mb3{rest}"),
        _ => value,
    }
}

fn truth(value: &str) -> bool {
    matches!(value.to_ascii_uppercase().as_str(), "ON" | "1" | "YES")
}

fn same(rule: &Rule, blue: &str, green: &str) -> bool {
    match rule {
        Rule::Same => plain_text(blue) == plain_text(green),
        Rule::Switch => truth(blue) == truth(green),
        Rule::Modes => plain_modes(blue) == plain_modes(green),
        Rule::AtLeast => match (blue.parse::<u64>(), green.parse::<u64>()) {
            (Ok(blue), Ok(green)) => green >= blue,
            _ => blue == green,
        },
    }
}

/// The time zone that a session has if it says nothing.
fn zone(names: &Names) -> &str {
    match first(names, &["time_zone"]) {
        None | Some("SYSTEM") => first(names, &["system_time_zone"]).unwrap_or("SYSTEM"),
        Some(zone) => zone,
    }
}

/// Settings compared.
pub fn variables_diff(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::VARIABLES_DIFF, survey.scope);
    let (Some(blue), Some(green)) = (
        variables(&mut found, Side::Blue, &survey.blue),
        variables(&mut found, Side::Green, &survey.green),
    ) else {
        return found.done();
    };
    for (names, rule) in COMPARED {
        let name = names.first().copied().unwrap_or_default();
        match (first(blue, names), first(green, names)) {
            (Some(on_blue), Some(on_green)) if !same(rule, on_blue, on_green) => found.stop(
                Side::Green,
                format!("{name} is `{on_green}` on green and `{on_blue}` on blue"),
                if matches!(rule, Rule::AtLeast) {
                    "at least blue's"
                } else {
                    "the same on both"
                },
                format!("SET GLOBAL {name} on green to blue's value, here and in its option file"),
            ),
            (Some(on_blue), None) if !matches!(rule, Rule::Switch) => found.warn(
                Side::Green,
                format!("green has no setting {name}; it is `{on_blue}` on blue"),
                "the same on both",
                "see in green's manual what took its place",
            ),
            _ => {}
        }
    }
    if !zone(blue).eq_ignore_ascii_case(zone(green)) {
        found.stop(
            Side::Green,
            format!(
                "the time zone is {} on green and {} on blue",
                zone(green),
                zone(blue)
            ),
            "the same on both",
            "SET GLOBAL time_zone on green, or start it with blue's TZ",
        );
    }
    if found.is_clean() {
        found.ok(None, "no setting differs that changes results or writes");
    }
    let others: Vec<String> = LISTED
        .iter()
        .filter_map(|name| {
            let (on_blue, on_green) = (blue.get(*name)?, green.get(*name)?);
            let differs = match (number(blue, name), number(green, name)) {
                (Some(a), Some(b)) => a != b,
                _ => !on_blue.eq_ignore_ascii_case(on_green),
            };
            differs.then(|| format!("{name} {on_green} (blue {on_blue})"))
        })
        .collect();
    if !others.is_empty() {
        found.ok(
            Side::Green,
            format!("for information, these differ too: {}", others.join(", ")),
        );
    }
    found.done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_no_difference() {
        assert!(same(&Rule::Same, "utf8_general_ci", "utf8mb3_general_ci"));
        assert!(!same(&Rule::Same, "utf8mb4_general_ci", "utf8mb3_general_ci"));
        assert!(same(
            &Rule::Modes,
            "NO_AUTO_CREATE_USER,STRICT_TRANS_TABLES",
            "STRICT_TRANS_TABLES"
        ));
        assert!(!same(&Rule::Modes, "", "STRICT_TRANS_TABLES"));
        assert!(same(&Rule::Switch, "1", "ON"));
        assert!(same(&Rule::AtLeast, "1024", "4096") && !same(&Rule::AtLeast, "4096", "1024"));
    }
}
