//! What was found of one rule, by the release that made it so.

use super::super::text::layout::{counted, number};
use super::AuditReport;
use crate::audit::{RuleOutcome, RuleStatus, Violation};
use crate::model::{ColumnName, RecordKey, Release, Timestamp};

/// The violations of a rule that came about alike.
pub(super) struct Origin<'a> {
    /// Who made them; `None` where no evidence tells.
    pub(super) release: Option<&'a Release>,
    /// When the first was committed; `None` where the history does not tell.
    pub(super) since: Option<Timestamp>,
    pub(super) violations: Vec<&'a Violation>,
}

/// A rule's violations by the release that made them, most first; those the history does not tell of last.
pub(super) fn origins<'a>(rule: &RuleOutcome, report: &AuditReport<'a>) -> Vec<Origin<'a>> {
    let mut origins: Vec<Origin<'a>> = Vec::new();
    for violation in report.outcome.violations.iter().filter(|violation| violation.rule == rule.id) {
        let release = violation.release.as_ref();
        let time = violation.written.as_ref().map(|written| written.ts);
        let alike = |origin: &&mut Origin<'_>| origin.release == release && origin.since.is_some() == time.is_some();
        match origins.iter_mut().find(alike) {
            Some(origin) => {
                origin.since = origin.since.min(time);
                origin.violations.push(violation);
            }
            None => origins.push(Origin { release, since: time, violations: vec![violation] }),
        }
    }
    origins.sort_by_key(|origin| (origin.since.is_none(), std::cmp::Reverse(origin.violations.len())));
    origins
}

/// Whether the history tells of any violation who made it, or when.
pub(super) fn is_traced(report: &AuditReport<'_>) -> bool {
    report.outcome.violations.iter().any(|violation| violation.written.is_some())
}

impl Origin<'_> {
    /// Who, in words.
    pub(super) fn name(&self) -> String {
        match (self.release, self.since) {
            (Some(release), _) => release.to_string(),
            (None, Some(_)) => "a write of no known release".to_owned(),
            (None, None) => "not in the history".to_owned(),
        }
    }
}

/// `12 of 4,200 rows`.
pub(super) fn share(rule: &RuleOutcome) -> String {
    format!("{} of {}", number(rule.violations), counted(rule.checked, "row"))
}

/// How a rule came out in one word: `ok`, its severity, `not run`.
pub(super) fn word(rule: &RuleOutcome) -> &'static str {
    match rule.status {
        RuleStatus::Pass => "ok",
        RuleStatus::Fail => rule.severity.as_str(),
        RuleStatus::Error => "not run",
    }
}

/// The first `most` keys, and how many more there are: `id 9, 10 and 2 more`.
pub(super) fn listed_keys(violations: &[&Violation], most: usize) -> String {
    let keys: Vec<String> = violations.iter().take(most).map(|violation| printable(&violation.key)).collect();
    let more = match violations.len().saturating_sub(most) {
        0 => String::new(),
        more => format!(" and {} more", number(u64::try_from(more).unwrap_or(u64::MAX))),
    };
    // A key of one column prints its value alone; one of several names them itself.
    let columns: Vec<&ColumnName> =
        violations.first().into_iter().flat_map(|first| first.key.iter()).map(|(column, _)| column).collect();
    match columns.as_slice() {
        [column] => format!("{column} {}{more}", keys.join(", ")),
        _ => format!("{}{more}", keys.join("; ")),
    }
}

/// A key on one line: a terminal would obey control characters.
fn printable(key: &RecordKey) -> String {
    key.to_string().chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
