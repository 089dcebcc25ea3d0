//! `status --format json`.

use std::io::Write;

use serde::Serialize;

use super::Status;
use crate::audit::RuleTrend;
use crate::lineage::TableCoverage;
use crate::model::Timestamp;
use crate::report::ReportError;

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    store: &'a str,
    recorded: Recorded,
    links: Links,
    rejected: usize,
    tables: Vec<Table>,
    untraceable: Vec<String>,
    unrepairable: Vec<String>,
    limits: &'a [String],
    rules: Vec<Rule<'a>>,
}

#[derive(Serialize)]
struct Recorded {
    transactions: usize,
    writes: usize,
    attributed: usize,
    first: Option<String>,
    last: Option<String>,
}

/// Writing transactions by how surely they are joined to their statements.
#[derive(Serialize)]
struct Links {
    transactions: usize,
    by_event: usize,
    by_transaction_id: usize,
    by_order: usize,
    ambiguous: usize,
    unlinked: usize,
}

#[derive(Serialize)]
struct Table {
    table: String,
    key: bool,
    writes: usize,
    first: Option<String>,
    last: Option<String>,
    without_before: usize,
    truncates: usize,
}

#[derive(Serialize)]
struct Rule<'a> {
    id: &'a str,
    table: String,
    status: &'a str,
    violations: u64,
    before: Option<u64>,
    first_seen: Option<String>,
    last_seen: Option<String>,
    broken_since: Option<String>,
    last_audit: String,
    audits: u64,
}

pub(super) fn write(status: &Status<'_>, out: &mut dyn Write) -> Result<(), ReportError> {
    let coverage = status.coverage;
    let links = coverage.links;
    let document = Document {
        format: "status/1",
        store: status.store,
        recorded: Recorded {
            transactions: coverage.transactions,
            writes: coverage.writes,
            attributed: coverage.attributed,
            first: coverage.recorded.map(|(first, _)| first.to_string()),
            last: coverage.recorded.map(|(_, last)| last.to_string()),
        },
        links: Links {
            transactions: links.transactions,
            by_event: links.by_event,
            by_transaction_id: links.by_transaction_id,
            by_order: links.by_order,
            ambiguous: links.ambiguous,
            unlinked: links.unlinked,
        },
        rejected: status.rejected,
        tables: coverage.tables.iter().map(table).collect(),
        untraceable: status.untraceable(),
        unrepairable: status.unrepairable(),
        limits: status.limits,
        rules: status.trends.iter().map(rule).collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)?;
    Ok(())
}

fn table(table: &TableCoverage) -> Table {
    Table {
        table: table.table.to_string(),
        key: table.has_key,
        writes: table.writes,
        first: table.recorded.map(|(first, _)| first.to_string()),
        last: table.recorded.map(|(_, last)| last.to_string()),
        without_before: table.without_before,
        truncates: table.truncates,
    }
}

fn rule(trend: &RuleTrend) -> Rule<'_> {
    let printed = |time: Option<Timestamp>| time.map(|time| time.to_string());
    Rule {
        id: &trend.rule,
        table: trend.table.to_string(),
        status: &trend.status,
        violations: trend.violations,
        before: trend.before,
        first_seen: printed(trend.first_seen),
        last_seen: printed(trend.last_seen),
        broken_since: printed(trend.broken_since),
        last_audit: trend.last.to_string(),
        audits: trend.audits,
    }
}
