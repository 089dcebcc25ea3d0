//! How each rule came out from audit to audit.
//!
//! In: the results that the store keeps. Out: of each rule, how it stands, how it stood before, and since when it has been
//! broken.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::outcome::AuditOutcome;
use crate::model::{AuditStart, AuditedRule, RecordKey, TableName, Timestamp};

/// One rule over all audits that are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleTrend {
    /// The rule's id.
    pub rule: Arc<str>,
    /// Its table.
    pub table: TableName,
    /// `pass`, `fail` or `error`, at the last audit that had the rule.
    pub status: Arc<str>,
    /// Rows in breach then.
    pub violations: u64,
    /// Rows in breach at the audit before that; `None` where there is none, or it could not run the rule.
    pub before: Option<u64>,
    /// The first audit that found a violation.
    pub first_seen: Option<Timestamp>,
    /// The last audit that found a violation.
    pub last_seen: Option<Timestamp>,
    /// The first of the audits since which it has failed without having passed; an audit that could not run it says nothing.
    pub broken_since: Option<Timestamp>,
    /// The last audit that had the rule.
    pub last: Timestamp,
    /// How many audits had it.
    pub audits: u64,
}

/// The trend of every rule that some audit had, by its id.
pub fn trends(audits: &[AuditedRule]) -> Vec<RuleTrend> {
    let mut trends: BTreeMap<&str, RuleTrend> = BTreeMap::new();
    for audited in audits {
        let trend = trends.entry(&audited.rule).or_insert_with(|| RuleTrend {
            rule: Arc::clone(&audited.rule),
            table: audited.table.clone(),
            status: "".into(),
            violations: 0,
            before: None,
            first_seen: None,
            last_seen: None,
            broken_since: None,
            last: audited.at,
            audits: 0,
        });
        let was_run = trend.audits > 0 && trend.status.as_ref() != "error";
        trend.before = was_run.then_some(trend.violations);
        trend.table = audited.table.clone();
        trend.status = Arc::clone(&audited.status);
        trend.violations = audited.violations;
        trend.last = audited.at;
        trend.audits += 1;
        if audited.violations > 0 {
            trend.first_seen.get_or_insert(audited.at);
            trend.last_seen = Some(audited.at);
        }
        match audited.status.as_ref() {
            "fail" => _ = trend.broken_since.get_or_insert(audited.at),
            "pass" => trend.broken_since = None,
            _ => {}
        }
    }
    trends.into_values().collect()
}

/// Where the next audit can start from.
#[derive(Clone, Copy, Debug)]
pub struct StartingPoint<'a> {
    /// The keys in breach of each rule that may be narrowed to what changes, the accepted ones included.
    pub keys: &'a BTreeMap<Arc<str>, Vec<RecordKey>>,
    /// A hash of what each rule demands.
    pub fingerprints: &'a BTreeMap<Arc<str>, Arc<str>>,
    /// The store's place before which every write was done when the audit began.
    pub through: i64,
}

/// What the store keeps of an audit.
pub fn kept_results(outcome: &AuditOutcome, at: Timestamp, start: StartingPoint<'_>) -> Vec<(AuditedRule, AuditStart)> {
    let kept = outcome.rules.iter().map(|rule| {
        let result = AuditedRule {
            at,
            rule: Arc::clone(&rule.id),
            table: rule.table.clone(),
            severity: rule.severity.as_str().into(),
            status: rule.status.as_str().into(),
            checked: rule.checked,
            violations: rule.violations,
        };
        let start = AuditStart {
            fingerprint: start.fingerprints.get(&rule.id).cloned(),
            keys: start.keys.get(&rule.id).cloned(),
            through: start.through,
        };
        (result, start)
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_broken_since_it_last_held() {
        let audited = |at, status: &str, violations| AuditedRule {
            at: Timestamp::from_micros(at),
            rule: "r".into(),
            table: TableName::new("public", "orders"),
            severity: "error".into(),
            status: status.into(),
            checked: 10,
            violations,
        };
        let time = |at| Some(Timestamp::from_micros(at));
        let told = |audits: &[AuditedRule]| {
            let trend = trends(audits).pop().expect("a trend");
            (trend.before, trend.first_seen, trend.last_seen, trend.broken_since)
        };
        let audits = [
            audited(1, "pass", 0),
            audited(2, "fail", 4),
            audited(3, "pass", 0),
            audited(4, "fail", 2),
            audited(5, "fail", 3),
        ];
        assert_eq!(told(&audits), (Some(2), time(2), time(5), time(4)));
        assert_eq!(told(&audits[..3]), (Some(4), time(2), time(2), None));
        assert_eq!(told(&audits[..1]), (None, None, None, None));
        let after_error = [audited(1, "error", 0), audited(2, "fail", 1)];
        assert_eq!(told(&after_error), (None, time(2), time(2), time(2)));
        // What is tolerated is seen, and breaks nothing.
        let tolerated = [audited(1, "fail", 9), audited(2, "pass", 3), audited(3, "fail", 8)];
        assert_eq!(told(&tolerated), (Some(3), time(1), time(3), time(3)));
        assert_eq!(told(&tolerated[..2]), (Some(9), time(1), time(2), None));
        // Nobody saw it hold.
        let unknown = [audited(1, "fail", 1), audited(2, "error", 0), audited(3, "fail", 1)];
        assert_eq!(told(&unknown), (None, time(1), time(3), time(1)));
    }
}
