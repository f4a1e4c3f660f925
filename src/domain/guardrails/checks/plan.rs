//! `query-proof`, `cold-cache`, `run-lock`, `deadline`: what the run knows by itself.

use super::{ASK_AGAIN, sample, written};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::{Finding, Survey, finding::Findings};
use crate::domain::ids::Side;

/// Gate queries agree, and the application's own statements answer the same, no slower and without an error.
pub fn query_proof(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::QUERY_PROOF, survey.scope);
    gate_queries(survey, &mut found);
    statements(survey, &mut found);
    found.done()
}

fn gate_queries(survey: &Survey, found: &mut Findings) {
    let Some(queries) = found.need(None, &survey.plan.gate_queries, "let the gate queries run first") else {
        return;
    };
    let mut agree = true;
    for (name, problem) in queries {
        if let Some(problem) = problem {
            agree = false;
            found.stop(
                None,
                format!("gate query `{name}`: {problem}"),
                "the same answer on both sides",
                "compare the query's rows on both sides; if the difference is meant, change `validate.queries`",
            );
        }
    }
    if agree {
        let names: Vec<&String> = queries.iter().map(|(name, _)| name).collect();
        found.ok(
            None,
            if names.is_empty() {
                "the playbook names no gate queries".to_owned()
            } else {
                format!("{} gate queries agree: {}", names.len(), sample(&names))
            },
        );
    }
}

fn statements(survey: &Survey, found: &mut Findings) {
    let how = "see why blue's statements could not be replayed, and begin again";
    let Some(replayed) = found.need(None, &survey.plan.replayed, how) else {
        return;
    };
    let Some(replayed) = replayed else {
        found.ok(
            None,
            "the playbook does not ask for statements of blue to be replayed",
        );
        return;
    };
    for fact in &replayed.wrong {
        let name = &fact.statement;
        found.stop(
            None,
            format!("statement {name}: {}", fact.verdict),
            "the same answer, no error, and not slower than `validate.digests.max_slowdown`",
            format!(
                "cure it on green: data, schema, keys, statistics; if it is meant, name `{name}` under \
                 `validate.digests.waivers`"
            ),
        );
    }
    for (fact, reason) in &replayed.accepted {
        found.warn(
            None,
            format!("statement {}: {}", fact.statement, fact.verdict),
            "the same on both sides",
            format!("the playbook accepts it: {reason}"),
        );
    }
    if replayed.wrong.is_empty() {
        found.ok(
            None,
            format!("statements of blue replayed on both sides: {}", replayed.summary),
        );
    }
}

/// Green's buffer pool answers what applications ask blue.
pub fn cold_cache(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::COLD_CACHE, survey.scope);
    let how = "see why green could not be warmed, and begin again";
    let Some(warmed) = found.need(None, &survey.plan.warmed, how) else {
        return found.done();
    };
    let remedy = "raise `warm.time_limit`; give green a larger buffer pool, or warm it by hand";
    match warmed {
        None => found.ok(None, "the playbook does not ask for green to be warmed"),
        Some(warmed) if warmed.statements == 0 => found.warn(
            Side::Green,
            "not warmed: no statement of an application that can be replayed was seen on blue",
            "reads from disk per replayed statement have gone flat",
            "let blue keep statement digests, or a slow log in a table; or warm green by hand",
        ),
        Some(warmed) => {
            let reads: Vec<String> = (warmed.rounds.iter().rev().take(3).rev())
                .map(|round| format!("{:.1}", round.per_statement()))
                .collect();
            let seen = format!(
                "{} statements replayed in {} rounds, reads from disk per statement in the last of them: {}",
                warmed.statements,
                warmed.rounds.len(),
                if reads.is_empty() {
                    "none was finished".to_owned()
                } else {
                    reads.join(", ")
                }
            );
            if warmed.is_flat {
                found.ok(Side::Green, seen);
            } else {
                found.stop(
                    Side::Green,
                    seen,
                    "reads from disk per replayed statement have gone flat",
                    remedy,
                );
            }
        }
    }
    found.done()
}

/// Every row is proved equal, and comparing what was touched since fits into the deadline.
pub fn data_proof(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::DATA_PROOF, survey.scope);
    let Some(fact) = found.need(None, &survey.plan.data_proof, "wait: it goes on by itself") else {
        return found.done();
    };
    let Some(fact) = fact else {
        found.ok(
            None,
            "the playbook asks for no comparison of rows (`validate.data`)",
        );
        return found.done();
    };
    if let Some(differs) = &fact.differs {
        found.stop(
            None,
            differs.clone(),
            "every row equal on both sides",
            "`bleen validate` names each row, column and both values; with `--repair-sql FILE` it writes the statements \
             that make green equal",
        );
    }
    for (table, why) in &fact.not_provable {
        found.stop(
            None,
            format!("{table} cannot be proved: {why}"),
            "every table proved",
            "mend that, or name the table under `validate.data.accept_unproven`",
        );
    }
    let deadline = survey.limits.deadline;
    if fact.fence >= deadline {
        // No stop: it usually becomes less by itself, and is waited for.
        found.not_known(
            None,
            format!(
                "comparing the {} rows touched since they were proved would take {} at the fence, and the deadline is {}",
                fact.open_rows,
                written(fact.fence),
                written(deadline)
            ),
            "raise `switch.deadline`, or wait for less load on blue",
        );
    }
    if found.is_clean() {
        let accepted: Vec<&String> = fact.accepted.iter().collect();
        let but = if accepted.is_empty() {
            String::new()
        } else {
            format!("; accepted unproved: {}", sample(&accepted))
        };
        found.ok(
            None,
            format!(
                "every row proved equal in {} ranges; {} touched since, to compare at the fence in about {}{but}",
                fact.ranges,
                fact.open_rows,
                written(fact.fence)
            ),
        );
    }
    found.done()
}

/// Nobody else works on this pair.
pub fn run_lock(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::RUN_LOCK, survey.scope);
    let how = "take the run's lock on both servers first";
    if let Some(holder) = found.need(None, &survey.plan.run_lock, how) {
        match holder {
            Some(holder) => found.stop(
                None,
                format!("another run holds the pair: {holder}"),
                "one run at a time",
                "wait for it; if its bleen is gone, `bleen resume`",
            ),
            None => found.ok(None, "no other run holds the pair"),
        }
    }
    found.done()
}

/// The deadline can be met.
pub fn deadline(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::DEADLINE, survey.scope);
    let deadline = survey.limits.deadline;
    let remedy = "raise `switch.deadline`, or lower what the hold has to do";
    for (side, facts) in survey.sides() {
        if let Some(clock) = found.need(side, &facts.clock, ASK_AGAIN)
            && !clock.sysdate_moves
        {
            found.stop(
                side,
                "sysdate_is_now is ON: SYSDATE() stands still within a statement",
                "OFF: a statement that comes late refuses itself by SYSDATE()",
                format!("start {side} without sysdate_is_now"),
            );
        }
    }
    if let Some(pause) = survey.plan.last_drill.filter(|p| *p >= deadline) {
        found.stop(
            None,
            format!("the last drill paused for {}", written(pause)),
            format!("under the deadline of {}", written(deadline)),
            remedy,
        );
    }
    if found.is_clean() {
        found.ok(
            None,
            match survey.plan.last_drill {
                Some(pause) => format!(
                    "the last drill paused for {} of {}",
                    written(pause),
                    written(deadline)
                ),
                None => format!("{}; no drill has measured this pair yet", written(deadline)),
            },
        );
    }
    found.done()
}
