//! What an audit finds.

use std::sync::Arc;

use super::key_file::KeyFile;
use super::rule::Severity;
use crate::model::{
    ColumnName, RecordKey, Release, ReleaseName, ServiceName, TableName, Timestamp, TransactionId, WriteSeq,
};

/// How one rule came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleStatus {
    /// No violation, or no more than is tolerated.
    Pass,
    /// More violations than are tolerated.
    Fail,
    /// It could not be evaluated.
    Error,
}

impl RuleStatus {
    /// Whether the rule could be evaluated.
    pub fn has_run(self) -> bool {
        self != RuleStatus::Error
    }

    /// The contract's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            RuleStatus::Pass => "pass",
            RuleStatus::Fail => "fail",
            RuleStatus::Error => "error",
        }
    }
}

/// One rule's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleOutcome {
    /// The rule's id.
    pub id: Arc<str>,
    /// Its table.
    pub table: TableName,
    /// What it means, for people.
    pub description: Option<String>,
    /// What the violations found amount to; where there are none, the severity that the rule declares.
    pub severity: Severity,
    /// How it came out.
    pub status: RuleStatus,
    /// Rows that were checked: those of the table that the rule's `where` holds for.
    pub checked: u64,
    /// Rows in breach.
    pub violations: u64,
    /// Why it could not be evaluated, or what else there is to know.
    pub message: Option<String>,
}

/// The write that put a record in breach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenBy {
    /// Its place in the order of writes; `None` for a breach by something that was *not* written.
    pub seq: Option<WriteSeq>,
    /// When.
    pub ts: Timestamp,
    /// By which transaction.
    pub tx: Option<TransactionId>,
    /// By which release.
    pub release: Option<Release>,
}

/// One record in breach of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule's id.
    pub rule: Arc<str>,
    /// The record's table.
    pub table: TableName,
    /// The record; the values of a group of rows, for what is about a group; empty, for a table or a release as a whole.
    pub key: RecordKey,
    /// The columns to blame.
    pub columns: Arc<[ColumnName]>,
    /// The release whose transaction put it in breach, where the history tells; of what is about a release's writes as a
    /// whole, that release.
    pub release: Option<Release>,
    /// That write, where the history tells.
    pub written: Option<WrittenBy>,
}

/// Records in breach of one rule that are too many to be listed: nothing more is known of them.
#[derive(Clone, Debug, PartialEq)]
pub struct UnlistedViolations {
    /// The rule's id.
    pub rule: Arc<str>,
    /// The records' table.
    pub table: TableName,
    /// The columns to blame.
    pub columns: Arc<[ColumnName]>,
    /// Their keys, none of which is among the listed.
    pub keys: Arc<KeyFile>,
}

/// How a release's records fare.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseOutcome {
    /// Its service, where known.
    pub service: Option<ServiceName>,
    /// Its name.
    pub release: ReleaseName,
    /// Records of audited tables that it wrote or put in breach, each once.
    pub written: u64,
    /// Violations that its transactions made.
    pub violations: u64,
    /// Its share of records in breach over that of all other releases; `None` where the others have none.
    pub lift: Option<f64>,
    /// How likely so many records in breach, or more, would be, were it like the others (Fisher's exact test).
    pub p_value: Option<f64>,
}

/// Everything an audit found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditOutcome {
    /// Every rule, in the order of the files.
    pub rules: Vec<RuleOutcome>,
    /// Releases by their violations, most first; empty where no history tells who wrote.
    pub releases: Vec<ReleaseOutcome>,
    /// The records in breach, by rule and then by key: every one, save those in `unlisted`.
    pub violations: Vec<Violation>,
    /// What is too much to be listed: only of rules with very many violations, and only where no history is recorded.
    pub unlisted: Vec<UnlistedViolations>,
    /// When the recorded history begins; `None` where none is recorded. What nobody made is older, or was written by
    /// something that is not recorded.
    pub history_begins: Option<Timestamp>,
    /// Rules whose violations could not be followed through time, and why.
    pub limits: Vec<String>,
}

/// What an audit comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditVerdict {
    /// Nothing was found that fails it.
    Pass,
    /// Something was found.
    Fail,
    /// A rule could not be evaluated, so nobody knows.
    Incomplete,
}

impl AuditVerdict {
    /// The exit status: 0, 1, 2.
    pub fn exit_status(self) -> u8 {
        match self {
            AuditVerdict::Pass => 0,
            AuditVerdict::Fail => 1,
            AuditVerdict::Incomplete => 2,
        }
    }

    /// The contract's spelling: an audit that is not complete has not passed.
    pub fn as_str(self) -> &'static str {
        match self {
            AuditVerdict::Pass => "pass",
            AuditVerdict::Fail | AuditVerdict::Incomplete => "fail",
        }
    }
}

impl AuditOutcome {
    /// What it comes to, where violations of `fail_on` or worse fail it. An `info` rule never does.
    pub fn verdict(&self, fail_on: Severity) -> AuditVerdict {
        if self.rules.iter().any(|rule| rule.status == RuleStatus::Error) {
            return AuditVerdict::Incomplete;
        }
        if self.rules.iter().any(|rule| rule.fails(fail_on)) { AuditVerdict::Fail } else { AuditVerdict::Pass }
    }
}

impl RuleOutcome {
    /// Whether it fails an audit in which violations of `fail_on` or worse do.
    pub fn fails(&self, fail_on: Severity) -> bool {
        self.status == RuleStatus::Fail && self.severity >= fail_on.max(Severity::Warn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(rules: &[(RuleStatus, Severity)]) -> AuditOutcome {
        let rules = rules.iter().map(|(status, severity)| RuleOutcome {
            id: "r".into(),
            table: TableName::new("public", "t"),
            description: None,
            severity: *severity,
            status: *status,
            checked: 1,
            violations: 0,
            message: None,
        });
        AuditOutcome { rules: rules.collect(), ..AuditOutcome::default() }
    }

    #[test]
    fn the_exit_status_follows_from_the_worst_rule() {
        use {RuleStatus as Status, Severity as Level};
        for (rules, on_error, on_warn) in [
            (vec![], 0, 0),
            (vec![(Status::Pass, Level::Error)], 0, 0),
            (vec![(Status::Fail, Level::Info)], 0, 0),
            (vec![(Status::Fail, Level::Warn)], 0, 1),
            (vec![(Status::Fail, Level::Error), (Status::Pass, Level::Warn)], 1, 1),
            (vec![(Status::Fail, Level::Error), (Status::Error, Level::Info)], 2, 2),
        ] {
            let outcome = outcome(&rules);
            assert_eq!(outcome.verdict(Level::Error).exit_status(), on_error, "{rules:?}");
            assert_eq!(outcome.verdict(Level::Warn).exit_status(), on_warn, "{rules:?}");
        }
    }
}
