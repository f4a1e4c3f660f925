//! What a guardrail says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::known::Known;
use crate::domain::guardrail_ids::{GuardrailId, Waivable};
use crate::domain::ids::Side;
use crate::domain::server::Family;

/// When a guardrail is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// `doctor` and `plan`: nothing has been changed and nothing may be.
    Doctor,
    /// Before and after replication is set up.
    Prepare,
    /// Right before the hold.
    Hold,
    /// After promote: green serves.
    After,
}

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Looked at, and as it has to be.
    Ok,
    /// Goes on, stays on screen.
    Warning,
    /// Could not be seen. Never counts as ok.
    NotKnown,
    /// Does not go on.
    Stop,
}

/// One thing a guardrail saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The guardrail.
    pub id: GuardrailId,
    /// The scope in which it was asked.
    pub scope: Scope,
    /// How much it weighs.
    pub severity: Severity,
    /// The side it is about; `None` if it is about the pair.
    pub side: Option<Side>,
    /// What was seen, with the number.
    pub seen: String,
    /// What it was held against; empty for ok.
    pub limit: String,
    /// What to do about it; empty for ok. For *not known*: how to make it known.
    pub remedy: String,
    /// Whether a playbook may waive it on this pair.
    pub waivable: bool,
    /// The playbook's reason for going on over it. Only ever set on what is waivable and not ok.
    pub waived: Option<String>,
}

impl Finding {
    /// Whether this finding forbids going on: a stop, or something not known about a matter that cannot be waived,
    /// unless the playbook waives it.
    #[must_use]
    pub fn blocks(&self) -> bool {
        let weighs = match self.severity {
            Severity::Ok | Severity::Warning => false,
            Severity::NotKnown => !self.waivable,
            Severity::Stop => true,
        };
        weighs && self.waived.is_none()
    }

    /// Whether it usually goes away by itself right before the hold. Rows that differ do not, while those that are not
    /// proved yet soon are.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.id.may_pass() && (self.id != GuardrailId::DATA_PROOF || self.severity == Severity::NotKnown)
    }
}

/// Whether to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Nothing blocks. Warnings, waived stops and what is not known still have to be shown.
    Go,
    /// These findings block, all of them.
    NoGo(Vec<Finding>),
}

/// Draws the decision from all findings.
#[must_use]
pub fn decide(findings: &[Finding]) -> Decision {
    let blocking: Vec<Finding> = findings.iter().filter(|f| f.blocks()).cloned().collect();
    if blocking.is_empty() {
        Decision::Go
    } else {
        Decision::NoGo(blocking)
    }
}

/// What the playbook waives: the guardrail and the operator's reason.
pub type Waivers = BTreeMap<GuardrailId, String>;

/// Collects what one guardrail finds. An empty collection is *not* an ok: every check says what it looked at.
#[derive(Debug)]
pub(super) struct Findings {
    id: GuardrailId,
    scope: Scope,
    list: Vec<Finding>,
}

impl Findings {
    pub(super) fn new(id: GuardrailId, scope: Scope) -> Self {
        Self {
            id,
            scope,
            list: Vec::new(),
        }
    }

    fn push(
        &mut self,
        severity: Severity,
        side: Option<Side>,
        seen: impl Into<String>,
        limit: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.list.push(Finding {
            id: self.id,
            scope: self.scope,
            severity,
            side,
            seen: seen.into(),
            limit: limit.into(),
            remedy: remedy.into(),
            waivable: false,
            waived: None,
        });
    }

    pub(super) fn ok(&mut self, side: impl Into<Option<Side>>, seen: impl Into<String>) {
        self.push(Severity::Ok, side.into(), seen, "", "");
    }

    pub(super) fn warn(
        &mut self,
        side: impl Into<Option<Side>>,
        seen: impl Into<String>,
        limit: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(Severity::Warning, side.into(), seen, limit, remedy);
    }

    pub(super) fn stop(
        &mut self,
        side: impl Into<Option<Side>>,
        seen: impl Into<String>,
        limit: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(Severity::Stop, side.into(), seen, limit, remedy);
    }

    pub(super) fn not_known(
        &mut self,
        side: impl Into<Option<Side>>,
        why: impl Into<String>,
        how: impl Into<String>,
    ) {
        self.push(Severity::NotKnown, side.into(), why, "known", how);
    }

    /// The value, or a finding that says why it is not known and how to make it known.
    pub(super) fn need<'a, T>(
        &mut self,
        side: impl Into<Option<Side>>,
        value: &'a Known<T>,
        how: &str,
    ) -> Option<&'a T> {
        match value.get() {
            Ok(value) => Some(value),
            Err(why) => {
                self.not_known(side, why, how);
                None
            }
        }
    }

    /// Whether nothing but ok was found so far.
    pub(super) fn is_clean(&self) -> bool {
        self.list.iter().all(|f| f.severity == Severity::Ok)
    }

    pub(super) fn done(self) -> Vec<Finding> {
        self.list
    }
}

/// Sets what only the whole table knows: whether a finding may be waived here, and whether it is.
pub(super) fn stamp(finding: &mut Finding, blue_family: Option<Family>, waivers: &Waivers) {
    finding.waivable = match finding.id.waivable() {
        Waivable::Yes => true,
        Waivable::No => false,
        // An unknown family may be MariaDB.
        Waivable::NotOnMariaDb => blue_family == Some(Family::MySql),
    };
    if finding.waivable && matches!(finding.severity, Severity::Stop | Severity::NotKnown) {
        finding.waived = waivers.get(&finding.id).cloned();
    }
}

/// How the findings came out where none forbids going on, in words.
#[must_use]
pub fn summary(findings: &[Finding]) -> String {
    let ok = findings.iter().filter(|f| f.severity == Severity::Ok).count();
    format!(
        "{ok} findings are in order, {} more are told above, none forbids going on",
        findings.len() - ok
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(id: GuardrailId, severity: Severity) -> Finding {
        let mut findings = Findings::new(id, Scope::Hold);
        findings.push(severity, None, "seen", "limit", "remedy");
        findings.done().remove(0)
    }

    #[test]
    fn what_blocks() {
        let waivers = Waivers::from([
            (GuardrailId::XA_PREPARED, "no".to_owned()),
            (GuardrailId::CLOCK, "fine".to_owned()),
            (GuardrailId::PRIVILEGED_WRITERS, "ours".to_owned()),
        ]);
        for (id, severity, family, blocks) in [
            (GuardrailId::XA_PREPARED, Severity::Stop, Family::MySql, true),
            (GuardrailId::XA_PREPARED, Severity::NotKnown, Family::MySql, true),
            (GuardrailId::XA_PREPARED, Severity::Warning, Family::MySql, false),
            (GuardrailId::CLOCK, Severity::Stop, Family::MySql, false),
            (GuardrailId::DISK_SPACE, Severity::NotKnown, Family::MySql, false),
            (GuardrailId::DISK_SPACE, Severity::Stop, Family::MySql, true),
            (
                GuardrailId::PRIVILEGED_WRITERS,
                Severity::Stop,
                Family::MySql,
                false,
            ),
            (
                GuardrailId::PRIVILEGED_WRITERS,
                Severity::Stop,
                Family::MariaDb,
                true,
            ),
        ] {
            let mut f = finding(id, severity);
            stamp(&mut f, Some(family), &waivers);
            assert_eq!(f.blocks(), blocks, "{f:?}");
        }
        let mut unknown_family = finding(GuardrailId::PRIVILEGED_WRITERS, Severity::Stop);
        stamp(&mut unknown_family, None, &waivers);
        assert!(unknown_family.blocks());
    }

    #[test]
    fn all_blocking_findings_are_given() {
        let findings = [
            finding(GuardrailId::LAG, Severity::Stop),
            finding(GuardrailId::GTID, Severity::Ok),
            finding(GuardrailId::XA_PREPARED, Severity::Stop),
        ];
        assert_eq!(
            decide(&findings),
            Decision::NoGo(vec![findings[0].clone(), findings[2].clone()])
        );
        assert_eq!(decide(&findings[1..2]), Decision::Go);
    }
}
