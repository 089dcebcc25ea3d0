//! How a rule came out in one audit, as the store keeps it.

use std::sync::Arc;

use super::{RecordKey, TableName, Timestamp};

/// One rule's result in one audit. What it names is spelled as the audit's JSON spells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedRule {
    /// When the audit was done: the same for all of its rules.
    pub at: Timestamp,
    /// The rule's id.
    pub rule: Arc<str>,
    /// Its table.
    pub table: TableName,
    /// `error`, `warn` or `info`.
    pub severity: Arc<str>,
    /// `pass`, `fail` or `error`.
    pub status: Arc<str>,
    /// Rows that were checked.
    pub checked: u64,
    /// Rows in breach, those not counted that are accepted.
    pub violations: u64,
}

/// What the next audit of a rule can start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditStart {
    /// A hash of what the rule demanded of its table; `None` where nobody can start from this result.
    pub fingerprint: Option<Arc<str>>,
    /// The keys of the rows in breach, those that are accepted included; `None` where they are not kept.
    pub keys: Option<Vec<RecordKey>>,
    /// The place in the store's order of arrival up to which every recorded write was done when the audit began.
    pub through: i64,
}
