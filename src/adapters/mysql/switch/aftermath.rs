//! The guardrails of the time after promote: what they stop is a debt by then, with what to do about it.

use std::time::Duration;

use tokio::time::timeout;

use super::Inner;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::session::{Purpose, Session};
use crate::adapters::mysql::survey::PairSurveyor;
use crate::domain::guardrails::{Finding, Known, Limits, PlanFacts, Scope, Severity, Waivers};
use crate::domain::ids::Side;
use crate::domain::outcome::Debt;
use crate::domain::step::Step;
use crate::engine::doctor::Doctor;
use crate::engine::event::Events;

/// What the playbook allows, and where findings are told.
#[derive(Debug, Clone)]
pub struct AskAfter {
    /// What the playbook allows.
    pub limits: Limits,
    /// What it waives.
    pub waivers: Waivers,
    /// Where findings that are no debt are told.
    pub events: Events,
}

/// How long all of it may take: accounts and schemas of a large server take their time, and a confirmation must end.
const ALL: Duration = Duration::from_secs(10);

/// Asks the guardrails over sessions of their own; what blocks becomes a debt.
pub(super) async fn ask(inner: &Inner) -> Vec<Debt> {
    let Some(how) = &inner.settings.after else {
        return Vec::new();
    };
    let seen = match timeout(ALL, examine(inner, how)).await {
        Ok(Ok(findings)) => findings,
        Ok(Err(e)) => return vec![not_asked(&e.to_string())],
        Err(_) => {
            let why = format!("not done within {}", humantime::format_duration(ALL));
            return vec![not_asked(&why)];
        }
    };
    for finding in seen.iter().filter(|f| f.severity != Severity::Ok) {
        how.events.finding(finding);
    }
    seen.iter().filter(|f| f.blocks()).map(owed).collect()
}

async fn examine(inner: &Inner, how: &AskAfter) -> Result<Vec<Finding>, ServerError> {
    let budget = inner.settings.answer;
    let purpose = Purpose {
        run: Some(inner.settings.run.clone()),
        role: "survey",
    };
    let (blue, green) = (&inner.settings.blue, &inner.settings.green);
    let on_blue = Session::open(&blue.target, &purpose, budget).await?;
    let on_green = Session::open(&green.target, &purpose, budget).await?;
    let look = PairSurveyor::new(
        (on_blue, blue.caps.clone()),
        (on_green, green.caps.clone()),
        budget,
    );
    let recorded = inner.facts().clone();
    let plan = PlanFacts {
        expected: blue.label.clone().zip(green.label.clone()),
        // The asking run holds it.
        run_lock: Known::Known(None),
        scheduler_ran: Some(recorded.event_scheduler == "ON"),
        events_on_blue: recorded.event_names,
        ..PlanFacts::default()
    };
    let mut doctor = Doctor::new(look, how.limits.clone(), how.waivers.clone());
    Ok(doctor.examine(Scope::After, plan).await.findings)
}

fn owed(finding: &Finding) -> Debt {
    let on = finding
        .side
        .map_or_else(String::new, |side: Side| format!(" on {side}"));
    Debt {
        step: Step::Confirm,
        what: format!(
            "{}{on}: {} (wanted: {}); {}",
            finding.id, finding.seen, finding.limit, finding.remedy
        ),
    }
}

fn not_asked(why: &str) -> Debt {
    Debt {
        step: Step::Confirm,
        what: format!("the guardrails for the time after the switch were not asked: {why}"),
    }
}
