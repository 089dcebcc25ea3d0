//! `audit --records FILE`: every violation, one JSON object a line.

use std::io::Write;
use std::sync::Arc;

use super::super::ReportError;
use super::json::ReportedViolation;
use crate::audit::{AuditOutcome, Schemas, Violation};
use crate::model::RecordKey;

/// Writes every violation as a line of JSON with the keys of the contract's `violations`; those too many to be listed come
/// last, and in no order.
///
/// # Errors
/// What the writer says; violations on a disk that cannot be read.
pub fn write_violations(outcome: &AuditOutcome, schemas: &Schemas, out: &mut dyn Write) -> Result<(), ReportError> {
    for violation in &outcome.violations {
        serde_json::to_writer(&mut *out, &ReportedViolation::new(violation, schemas))?;
        writeln!(out)?;
    }
    for unlisted in &outcome.unlisted {
        let mut violation = Violation {
            rule: Arc::clone(&unlisted.rule),
            table: unlisted.table.clone(),
            key: RecordKey::new(Vec::new()),
            columns: Arc::clone(&unlisted.columns),
            release: None,
            written: None,
        };
        unlisted.keys.for_each(|key| {
            violation.key = key;
            serde_json::to_writer(&mut *out, &ReportedViolation::new(&violation, schemas))?;
            writeln!(out)?;
            Ok::<(), ReportError>(())
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_violation_is_a_line() {
        let mut out = Vec::new();
        write_violations(&sample::outcome(), &sample::schemas(), &mut out).expect("it is written");
        let text = String::from_utf8(out).expect("JSON is text");
        assert_eq!(text.lines().count(), sample::outcome().violations.len());
        assert!(
            text.starts_with(r#"{"rule":"total","table":"public.orders","key":{"id":9},"columns":["total"],"#),
            "{text}"
        );
    }
}
