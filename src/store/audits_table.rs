//! `audits`: how each rule came out in each audit, and where the next audit can start from.
//!
//! One commit an audit, whole or not at all by itself, so that it does not go by `commits`: an audit and an ingest that run
//! at the same time do not hinder each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::StoreError;
use super::batch::{BatchBuilder, POSITION, ReadBatch, integer_at, text_at, time_at};
use crate::model::{AuditStart, AuditedRule, RecordKey, TableName, Timestamp, Value};

/// The table's folder within the store.
pub(super) const FOLDER: &str = "audits";
/// What tells of a result: all but what the next audit starts from, which can be large.
pub(super) const RESULT: [&str; 9] =
    [POSITION, AT, RULE, "schema", "table", "severity", "status", "checked", "violations"];
/// What tells which result is a rule's last.
pub(super) const NAME: [&str; 2] = [AT, RULE];
/// What tells where the next audit starts from.
pub(super) const START: [&str; 5] = [AT, RULE, "fingerprint", "keys", "through"];
/// When an audit was done.
pub(super) const AT: &str = "at";
const RULE: &str = "rule";

/// The results of one audit as one batch, each with its place among them.
pub(super) fn batch_of_audit(rows: &[(AuditedRule, AuditStart)]) -> Result<RecordBatch, StoreError> {
    let integers = |number: fn(&AuditedRule) -> u64| -> Result<Vec<i64>, StoreError> {
        let integer = |row: &(AuditedRule, AuditStart)| i64::try_from(number(&row.0));
        rows.iter().map(integer).collect::<Result<_, _>>().map_err(|error| StoreError::record(FOLDER, error))
    };
    let (checked, violations) = (integers(|audited| audited.checked)?, integers(|audited| audited.violations)?);
    let rules = || rows.iter().map(|(audited, _)| audited);
    let starts = || rows.iter().map(|(_, start)| start);
    let mut batch = BatchBuilder::default();
    batch.integer(POSITION, (0..).take(rows.len()).map(Some));
    batch.time(AT, rules().map(|audited| Some(audited.at)));
    batch.text(RULE, rules().map(|audited| Some(audited.rule.as_ref())));
    batch.text("schema", rules().map(|audited| Some(audited.table.schema.as_ref())));
    batch.text("table", rules().map(|audited| Some(audited.table.table.as_ref())));
    batch.text("severity", rules().map(|audited| Some(audited.severity.as_ref())));
    batch.text("status", rules().map(|audited| Some(audited.status.as_ref())));
    batch.integer("checked", checked.into_iter().map(Some));
    batch.integer("violations", violations.into_iter().map(Some));
    batch.text("fingerprint", starts().map(|start| start.fingerprint.as_deref()));
    let keys: Vec<Option<String>> = starts().map(|start| start.keys.as_deref().map(json_of_keys)).collect();
    batch.text("keys", keys.iter().map(Option::as_deref));
    batch.integer("through", starts().map(|start| Some(start.through)));
    batch.finish(FOLDER)
}

/// The results of a batch with the columns of [`RESULT`], each with its place among those of its audit.
pub(super) fn results_of_batch(batch: &RecordBatch) -> Result<Vec<(i64, AuditedRule)>, StoreError> {
    let read = ReadBatch { batch, table: FOLDER };
    let (positions, times) = (read.integer(POSITION)?, read.time(AT)?);
    let (rules, schemas, tables) = (read.text(RULE)?, read.text("schema")?, read.text("table")?);
    let (severities, statuses) = (read.text("severity")?, read.text("status")?);
    let (checked, violations) = (read.integer("checked")?, read.integer("violations")?);
    let mut results = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let schema = read.required(text_at(&schemas, row), "schema")?;
        let audited = AuditedRule {
            at: read.required(time_at(&times, row), AT)?,
            rule: Arc::from(read.required(text_at(&rules, row), RULE)?),
            table: TableName::new(schema, read.required(text_at(&tables, row), "table")?),
            severity: Arc::from(read.required(text_at(&severities, row), "severity")?),
            status: Arc::from(read.required(text_at(&statuses, row), "status")?),
            checked: read.required(count(integer_at(&checked, row)), "checked")?,
            violations: read.required(count(integer_at(&violations, row)), "violations")?,
        };
        results.push((read.required(integer_at(&positions, row), POSITION)?, audited));
    }
    Ok(results)
}

/// Notes the last audit of each rule that is in `last`, from a batch with the columns of [`NAME`].
pub(super) fn note_last(
    batch: &RecordBatch,
    last: &mut BTreeMap<Arc<str>, Option<Timestamp>>,
) -> Result<(), StoreError> {
    let read = ReadBatch { batch, table: FOLDER };
    let (times, rules) = (read.time(AT)?, read.text(RULE)?);
    for row in 0..batch.num_rows() {
        if let Some(known) = last.get_mut(read.required(text_at(&rules, row), RULE)?) {
            *known = (*known).max(Some(read.required(time_at(&times, row), AT)?));
        }
    }
    Ok(())
}

/// What each rule's last audit, as `last` has it, left to start from; of a batch with the columns of [`START`].
pub(super) fn starts_of_batch(
    batch: &RecordBatch,
    last: &BTreeMap<Arc<str>, Option<Timestamp>>,
) -> Result<Vec<(Arc<str>, AuditStart)>, StoreError> {
    let read = ReadBatch { batch, table: FOLDER };
    let (times, rules) = (read.time(AT)?, read.text(RULE)?);
    let (fingerprints, keys, through) = (read.text("fingerprint")?, read.text("keys")?, read.integer("through")?);
    let mut starts = Vec::new();
    for row in 0..batch.num_rows() {
        let Some((rule, Some(at))) = last.get_key_value(read.required(text_at(&rules, row), RULE)?) else { continue };
        if time_at(&times, row) != Some(*at) {
            continue;
        }
        let keys = text_at(&keys, row).map(keys_of_json).transpose();
        let start = AuditStart {
            fingerprint: text_at(&fingerprints, row).map(Arc::from),
            keys: keys.map_err(|error| StoreError::content(FOLDER, error))?,
            through: read.required(integer_at(&through, row), "through")?,
        };
        starts.push((Arc::clone(rule), start));
    }
    Ok(starts)
}

/// `[[["id","17"]],…]`: the cells of each key, by column.
fn json_of_keys(keys: &[RecordKey]) -> String {
    let cells = |key: &RecordKey| -> Vec<(String, Option<String>)> {
        key.iter().map(|(column, value)| (column.to_string(), value.as_str().map(str::to_owned))).collect()
    };
    serde_json::Value::from_iter(keys.iter().map(|key| serde_json::json!(cells(key)))).to_string()
}

/// What [`json_of_keys`] wrote.
fn keys_of_json(json: &str) -> Result<Vec<RecordKey>, serde_json::Error> {
    let keys: Vec<Vec<(String, Option<String>)>> = serde_json::from_str(json)?;
    let key = |cells: Vec<(String, Option<String>)>| {
        RecordKey::new(cells.into_iter().map(|(column, value)| (column.into(), Value::from(value))).collect())
    };
    Ok(keys.into_iter().map(key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Recording, RecordingId, RejectedLine};
    use crate::store::Store;

    #[tokio::test]
    async fn what_was_kept_is_read_in_order() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let location = folder.path().to_string_lossy().into_owned();
        let audited = |at, rule: &str, violations| {
            let result = AuditedRule {
                at: Timestamp::from_micros(at),
                rule: rule.into(),
                table: TableName::new("public", "orders"),
                severity: "error".into(),
                status: if violations == 0 { "pass" } else { "fail" }.into(),
                checked: 10,
                violations,
            };
            let key = RecordKey::new(vec![("id".into(), Value::text("it's")), ("n".into(), Value::NULL)]);
            let keys = (violations > 0).then(|| vec![key]);
            (result, AuditStart { fingerprint: Some("f".into()), keys, through: at })
        };
        // Within one millisecond, which is as fine as the files' statistics are.
        let first = [audited(5_000_001, "a", 2), audited(5_000_001, "b", 3)];
        let second = [audited(5_000_002, "a", 1)];
        let store = Store::open(&location).await.expect("opened");
        let ingesting = Store::open(&location).await.expect("opened by somebody else");
        store.keep_audit(&first).await.expect("kept");
        store.keep_audit(&[]).await.expect("nothing to keep");
        store.keep_audit(&second).await.expect("kept");
        let kept = Store::open(&location).await.expect("opened").audits().await.expect("read");
        let results: Vec<AuditedRule> = [first.as_slice(), &second].concat().into_iter().map(|row| row.0).collect();
        assert_eq!(kept, results);
        let wanted = |rules: &[&str]| rules.iter().map(|rule| Arc::from(*rule)).collect::<Vec<Arc<str>>>();
        let starts = store.audit_starts(wanted(&["a", "b", "c"])).await.expect("read");
        assert_eq!(starts, BTreeMap::from([("a".into(), second[0].1.clone()), ("b".into(), first[1].1.clone())]));
        let starts = store.audit_starts(wanted(&["b"])).await.expect("read");
        assert_eq!(starts.keys().map(AsRef::as_ref).collect::<Vec<&str>>(), ["b"]);
        assert!(store.writes().await.expect("read").is_empty());
        assert_no_audit_hinders(ingesting).await;
    }

    /// Whoever opened the store before an audit was kept can still write to it.
    async fn assert_no_audit_hinders(mut store: Store) {
        let rejected = RejectedLine {
            id: RecordingId([1; 16]),
            source: "events".into(),
            line: 1,
            reason: "damaged".into(),
            text: "{".into(),
        };
        let recording = Recording { rejected: vec![rejected], ..Recording::default() };
        assert_eq!(store.append(&recording).await.expect("stored").rejected, 1);
    }
}
