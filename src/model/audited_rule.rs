//! How a rule came out in one audit, as the store keeps it.

use std::sync::Arc;

use super::{TableName, Timestamp};

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
    /// Rows in breach.
    pub violations: u64,
}
