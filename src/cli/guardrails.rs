//! Asks the guardrails of a scope over sessions of their own and tells what they found.

use super::error::CliError;
use super::pair::{ANSWER, Pair};
use super::sight;
use crate::adapters::mysql::session::{Purpose, Session};
use crate::adapters::mysql::survey::PairSurveyor;
use crate::domain::guardrails::{Decision, Finding, Known, PlanFacts, Scope, Severity};
use crate::domain::ids::{RunId, Side};
use crate::engine::doctor::{Doctor, Examination};
use crate::engine::event::Events;
use crate::playbook::Playbook;

/// Asks every guardrail of a scope. `own_run` is the asking run if it holds the run lock.
///
/// # Errors
/// A session that cannot be opened. What a server does not tell is a finding, not an error.
pub async fn ask(
    playbook: &Playbook,
    pair: &mut Pair,
    scope: Scope,
    own_run: Option<&RunId>,
) -> Result<Examination, CliError> {
    let purpose = Purpose {
        run: own_run.cloned(),
        role: "survey",
    };
    let on_blue = Session::open(&pair.blue.target, &purpose, ANSWER).await?;
    let on_green = Session::open(&pair.green.target, &purpose, ANSWER).await?;
    let run_lock = match own_run {
        Some(_) => Known::Known(None),
        None => Known::Known(lock_holder(pair).await?),
    };
    let look = PairSurveyor::new(
        (on_blue, pair.blue.caps.clone()),
        (on_green, pair.green.caps.clone()),
        ANSWER,
    );
    let plan = PlanFacts {
        expected: pair.blue.label.clone().zip(pair.green.label.clone()),
        run_lock,
        ..PlanFacts::default()
    };
    Ok(Doctor::of_playbook(look, playbook).examine(scope, plan).await)
}

/// Who holds the run lock of a pair, in words.
///
/// # Errors
/// A server that cannot be asked.
pub async fn lock_holder(pair: &mut Pair) -> Result<Option<String>, CliError> {
    let mut holders = Vec::new();
    for side in [Side::Blue, Side::Green] {
        let (server, session) = match side {
            Side::Blue => (&pair.blue, &mut pair.on_blue),
            Side::Green => (&pair.green, &mut pair.on_green),
        };
        holders.extend(sight::lock_holder(server, session).await?);
    }
    Ok((!holders.is_empty()).then(|| holders.join("; ")))
}

/// Tells all findings, what weighs most at the end, where a person looks first.
pub fn tell(findings: &[Finding], events: &Events) {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|f| (f.blocks(), f.severity));
    for finding in sorted {
        events.finding(finding);
    }
}

/// As [`tell`], without those that are ok: for a command whose matter is another.
pub fn tell_not_ok(findings: &[Finding], events: &Events) {
    let findings: Vec<Finding> = findings
        .iter()
        .filter(|f| f.severity != Severity::Ok)
        .cloned()
        .collect();
    tell(&findings, events);
}

/// What blocks, one line each: `schema-diff on green: …`.
#[must_use]
pub fn blocking(examination: &Examination) -> Vec<String> {
    let Decision::NoGo(blocking) = &examination.decision else {
        return Vec::new();
    };
    blocking
        .iter()
        .map(|f| {
            let side = f.side.map(|side| format!(" on {side}")).unwrap_or_default();
            format!("{}{side}: {}", f.id, f.seen)
        })
        .collect()
}

/// How many findings there are of each weight.
#[must_use]
pub fn counts(findings: &[Finding]) -> serde_json::Value {
    let of = |severity| {
        findings
            .iter()
            .filter(|f| f.severity == severity && f.waived.is_none())
            .count()
    };
    serde_json::json!({
        "ok": of(Severity::Ok),
        "warnings": of(Severity::Warning),
        "not_known": of(Severity::NotKnown),
        "stops": of(Severity::Stop),
        "waived": findings.iter().filter(|f| f.waived.is_some()).count(),
    })
}
