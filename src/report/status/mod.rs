//! How things stand: what is recorded and how completely, what could not be traced or repaired if it broke today, and how
//! the rules came out from audit to audit.
//!
//! In: a [`Status`]. Out: text for people, JSON for scripts.

mod json;
mod text;

use std::collections::BTreeSet;
use std::io::Write;

use super::ReportError;
use crate::audit::RuleTrend;
use crate::lineage::{Coverage, TableCoverage};
use crate::model::TableName;

/// How things stand.
#[derive(Clone, Copy, Debug)]
pub struct Status<'a> {
    /// Where the store is.
    pub store: &'a str,
    /// What is recorded.
    pub coverage: &'a Coverage,
    /// What the history itself says of its limits.
    pub limits: &'a [String],
    /// Lines that could not be read.
    pub rejected: usize,
    /// Tables that leave the company: never repaired.
    pub external: &'a BTreeSet<TableName>,
    /// How the rules came out, by their ids.
    pub trends: &'a [RuleTrend],
}

/// The formats, the default first.
pub const STATUS_FORMATS: [&str; 2] = ["text", "json"];

impl Status<'_> {
    /// Prints it in one of [`STATUS_FORMATS`]; any other name is text.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, format: &str, out: &mut dyn Write) -> Result<(), ReportError> {
        if format == "json" { json::write(self, out) } else { text::write(self, out) }
    }

    /// Whether something is missing, damaged or broken. A rule that the newest audit did not have is told, and counts for
    /// nothing.
    pub fn finds_something(&self) -> bool {
        let newest = self.trends.iter().map(|trend| trend.last).max();
        self.rejected > 0
            || !self.limits.is_empty()
            || !self.untraceable().is_empty()
            || !self.unrepairable().is_empty()
            || self.trends.iter().any(|trend| Some(trend.last) == newest && trend.status.as_ref() != "pass")
    }

    /// What could not be traced, or not exactly, if it broke today.
    pub fn untraceable(&self) -> Vec<String> {
        let coverage = self.coverage;
        let mut told = Vec::new();
        if coverage.writes == 0 {
            told.push("no write is recorded: nothing can be traced; see blast-radius capture and ingest".to_owned());
            return told;
        }
        let named = |wanted: &dyn Fn(&TableCoverage) -> bool| {
            let tables = coverage.tables.iter().filter(|table| wanted(table));
            tables.map(|table| table.table.to_string()).collect::<Vec<_>>().join(", ")
        };
        let mut tell = |tables: String, what: &str| {
            if !tables.is_empty() {
                told.push(format!("{tables}: {what}"));
            }
        };
        tell(named(&|table| table.writes == 0), "no write is recorded");
        tell(named(&|table| !table.has_key), "no key: rows cannot be followed through time");
        tell(
            named(&|table| table.without_before > 0),
            "the row before some updates or deletes is not known, and so not what they changed",
        );
        tell(named(&|table| table.truncates > 0), "truncated: what stood there before is not known");
        let unattributed = coverage.writes - coverage.attributed;
        if unattributed > 0 {
            told.push(format!("{unattributed} of {} writes name no release", coverage.writes));
        }
        let links = coverage.links;
        if links.unlinked > 0 {
            told.push(format!(
                "{} of {} writing transactions have no statement: what they computed is not known",
                links.unlinked, links.transactions
            ));
        }
        if links.ambiguous > 0 {
            told.push(format!(
                "{} of {} writing transactions fit several places of the SQL log: their values are not exact",
                links.ambiguous, links.transactions
            ));
        }
        told
    }

    /// What could not be repaired if it broke today.
    pub fn unrepairable(&self) -> Vec<String> {
        let keyless = self.coverage.tables.iter().filter(|table| !table.has_key);
        let keyless = keyless.map(|table| format!("{}: no key names the row to repair", table.table));
        let external = self.external.iter().map(|table| format!("{table}: it leaves the company (external)"));
        keyless.chain(external).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lineage::LinkCounts;
    use crate::model::Timestamp;

    fn printed(format: &str) -> String {
        let time = |hour: i64| Timestamp::from_micros(hour * 3_600_000_000);
        let table = |name: &str, writes, has_key| TableCoverage {
            table: TableName::new("public", name),
            has_key,
            writes,
            recorded: (writes > 0).then(|| (time(1), time(3))),
            without_before: usize::from(writes > 5),
            truncates: 0,
        };
        let coverage = Coverage {
            tables: vec![table("lines", 4, false), table("orders", 8, true), table("prices", 0, true)],
            transactions: 5,
            attributed: 10,
            writes: 12,
            recorded: Some((time(1), time(3))),
            links: LinkCounts { transactions: 5, by_event: 3, ambiguous: 1, unlinked: 1, ..LinkCounts::default() },
        };
        let trend = RuleTrend {
            rule: "total-adds-up".into(),
            table: TableName::new("public", "orders"),
            status: "fail".into(),
            violations: 7,
            before: Some(2),
            first_seen: Some(time(2)),
            last_seen: Some(time(3)),
            broken_since: Some(time(2)),
            last: time(3),
            audits: 4,
        };
        let status = Status {
            store: ".blast-radius",
            coverage: &coverage,
            limits: &[],
            rejected: 1,
            external: &BTreeSet::from([TableName::new("public", "mails")]),
            trends: &[trend],
        };
        assert!(status.finds_something());
        let mut out = Vec::new();
        status.write(format, &mut out).expect("it can be written");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn limits_and_the_newest_audit_decide() {
        let coverage = Coverage {
            tables: Vec::new(),
            transactions: 1,
            attributed: 1,
            writes: 1,
            recorded: None,
            links: LinkCounts::default(),
        };
        let trend = |rule: &str, status: &str, last| RuleTrend {
            rule: rule.into(),
            table: TableName::new("public", "orders"),
            status: status.into(),
            violations: 0,
            before: None,
            first_seen: None,
            last_seen: None,
            broken_since: None,
            last: Timestamp::from_micros(last),
            audits: 1,
        };
        let finds = |limits: &[String], trends: &[RuleTrend]| {
            let (store, external) = (".blast-radius", &BTreeSet::new());
            Status { store, coverage: &coverage, limits, rejected: 0, external, trends }.finds_something()
        };
        assert!(!finds(&[], &[]));
        assert!(!finds(&[], &[trend("gone", "fail", 1), trend("kept", "pass", 2)]));
        assert!(finds(&[], &[trend("kept", "pass", 2), trend("new", "error", 2)]));
        assert!(finds(&["a session without its statements".to_owned()], &[trend("kept", "pass", 2)]));
    }

    #[test]
    fn both_formats_tell_everything() {
        insta::assert_snapshot!("text", printed("text"));
        insta::assert_snapshot!("json", printed("json"));
    }
}
