//! `query-proof`, `run-lock`, `deadline`: what the run knows by itself.

use super::{ASK_AGAIN, sample, written};
use crate::domain::guardrail_ids::GuardrailId;
use crate::domain::guardrails::{Finding, Survey, finding::Findings};

/// Gate queries agree.
pub fn query_proof(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings::new(GuardrailId::QUERY_PROOF, survey.scope);
    let Some(queries) = found.need(None, &survey.plan.gate_queries, "let the gate queries run first") else {
        return found.done();
    };
    for (name, problem) in queries {
        if let Some(problem) = problem {
            found.stop(
                None,
                format!("gate query `{name}`: {problem}"),
                "the same answer on both sides",
                "compare the query's rows on both sides; if the difference is meant, change `validate.queries`",
            );
        }
    }
    if found.is_clean() {
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
