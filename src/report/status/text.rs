//! `status` for people.

use std::io::Write;

use super::Status;
use crate::audit::RuleTrend;
use crate::report::ReportError;

pub(super) fn write(status: &Status<'_>, out: &mut dyn Write) -> Result<(), ReportError> {
    let coverage = status.coverage;
    match coverage.recorded {
        Some((first, last)) => writeln!(
            out,
            "recorded in {}: {} writes in {} transactions, {first} to {last}",
            status.store, coverage.writes, coverage.transactions
        )?,
        None => writeln!(out, "recorded in {}: nothing", status.store)?,
    }
    let width = coverage.tables.iter().map(|table| table.table.to_string().len()).max().unwrap_or(0);
    for table in &coverage.tables {
        let name = table.table.to_string();
        match table.recorded {
            Some((first, last)) => writeln!(out, "  {name:width$}  {:>9} writes, {first} to {last}", table.writes)?,
            None => writeln!(out, "  {name:width$}  {:>9} writes", 0)?,
        }
    }
    let links = coverage.links;
    if links.transactions > 0 {
        writeln!(
            out,
            "statements of the {} writing transactions: {} carried by the writes, {} by transaction id, {} by order, \
             {} ambiguous, {} unknown",
            links.transactions,
            links.by_event,
            links.by_transaction_id,
            links.by_order,
            links.ambiguous,
            links.unlinked
        )?;
    }
    writeln!(out, "writes whose release is known: {} of {}", coverage.attributed, coverage.writes)?;
    if status.rejected > 0 {
        writeln!(out, "lines that could not be read: {}", status.rejected)?;
    }
    list(out, "could not be traced if it broke today", &status.untraceable())?;
    list(out, "could not be repaired if it broke today", &status.unrepairable())?;
    list(out, "limits of the history", status.limits)?;
    audits(out, status.trends)
}

fn list(out: &mut dyn Write, title: &str, lines: &[String]) -> Result<(), ReportError> {
    if !lines.is_empty() {
        writeln!(out, "\n{title}")?;
        lines.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    }
    Ok(())
}

fn audits(out: &mut dyn Write, trends: &[RuleTrend]) -> Result<(), ReportError> {
    let Some(last) = trends.iter().map(|trend| trend.last).max() else {
        writeln!(out, "\nno audit is kept: run blast-radius audit")?;
        return Ok(());
    };
    writeln!(out, "\nrules, last audited {last}")?;
    let width = trends.iter().map(|trend| trend.rule.len()).max().unwrap_or(0);
    for trend in trends {
        let before = trend.before.map(|before| format!(" ({before} before)")).unwrap_or_default();
        let since = match (trend.broken_since, trend.last_seen) {
            (Some(since), _) => format!(", broken since {since}"),
            (None, Some(seen)) => format!(", last seen broken {seen}"),
            (None, None) => String::new(),
        };
        let gone = if trend.last < last { format!(", not audited since {}", trend.last) } else { String::new() };
        let RuleTrend { rule, status, violations, .. } = trend;
        writeln!(out, "  {rule:width$}  {status:5}  {violations:>9} violations{before}{since}{gone}")?;
    }
    Ok(())
}
