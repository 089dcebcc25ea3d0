//! `audits`: how each rule came out in each audit.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::StoreError;
use super::batch::{BatchBuilder, POSITION, ReadBatch, integer_at, text_at, time_at};
use crate::model::{AuditedRule, RecordKey, TableName, Value};

/// The table's folder within the store.
pub(super) const FOLDER: &str = "audits";

/// Results, each with its place in the order of arrival, as one batch.
pub(super) fn batch_of_audits(rows: &[(i64, &AuditedRule)]) -> Result<RecordBatch, StoreError> {
    let integers = |number: fn(&AuditedRule) -> u64| -> Result<Vec<i64>, StoreError> {
        let integer = |row: &(i64, &AuditedRule)| i64::try_from(number(row.1));
        rows.iter().map(integer).collect::<Result<_, _>>().map_err(|error| StoreError::record(FOLDER, error))
    };
    let (checked, violations) = (integers(|audited| audited.checked)?, integers(|audited| audited.violations)?);
    let rules = || rows.iter().map(|(_, audited)| *audited);
    let mut batch = BatchBuilder::default();
    batch.integer(POSITION, rows.iter().map(|(position, _)| Some(*position)));
    batch.time("at", rules().map(|audited| Some(audited.at)));
    batch.text("rule", rules().map(|audited| Some(audited.rule.as_ref())));
    batch.text("schema", rules().map(|audited| Some(audited.table.schema.as_ref())));
    batch.text("table", rules().map(|audited| Some(audited.table.table.as_ref())));
    batch.text("severity", rules().map(|audited| Some(audited.severity.as_ref())));
    batch.text("status", rules().map(|audited| Some(audited.status.as_ref())));
    batch.integer("checked", checked.into_iter().map(Some));
    batch.integer("violations", violations.into_iter().map(Some));
    batch.text("fingerprint", rules().map(|audited| audited.fingerprint.as_deref()));
    let keys: Vec<Option<String>> = rules().map(|audited| audited.keys.as_deref().map(json_of_keys)).collect();
    batch.text("keys", keys.iter().map(Option::as_deref));
    batch.integer("through", rules().map(|audited| Some(audited.through)));
    batch.finish(FOLDER)
}

/// What [`batch_of_audits`] wrote, read back.
pub(super) fn audits_of_batch(batch: &RecordBatch) -> Result<Vec<(i64, AuditedRule)>, StoreError> {
    let read = ReadBatch { batch, table: FOLDER };
    let (positions, times) = (read.integer(POSITION)?, read.time("at")?);
    let (rules, schemas, tables) = (read.text("rule")?, read.text("schema")?, read.text("table")?);
    let (severities, statuses) = (read.text("severity")?, read.text("status")?);
    let (checked, violations) = (read.integer("checked")?, read.integer("violations")?);
    let (fingerprints, keys, through) = (read.text("fingerprint")?, read.text("keys")?, read.integer("through")?);
    let mut audits = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let schema = read.required(text_at(&schemas, row), "schema")?;
        let audited = AuditedRule {
            at: read.required(time_at(&times, row), "at")?,
            rule: Arc::from(read.required(text_at(&rules, row), "rule")?),
            table: TableName::new(schema, read.required(text_at(&tables, row), "table")?),
            severity: Arc::from(read.required(text_at(&severities, row), "severity")?),
            status: Arc::from(read.required(text_at(&statuses, row), "status")?),
            checked: read.required(count(integer_at(&checked, row)), "checked")?,
            violations: read.required(count(integer_at(&violations, row)), "violations")?,
            fingerprint: text_at(&fingerprints, row).map(Arc::from),
            keys: text_at(&keys, row)
                .map(keys_of_json)
                .transpose()
                .map_err(|error| StoreError::content(FOLDER, error))?,
            through: read.required(integer_at(&through, row), "through")?,
        };
        audits.push((read.required(integer_at(&positions, row), POSITION)?, audited));
    }
    Ok(audits)
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
    use crate::model::Timestamp;
    use crate::store::Store;

    #[tokio::test]
    async fn what_was_kept_is_read_in_order() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let location = folder.path().to_string_lossy().into_owned();
        let audited = |at, rule: &str, violations| AuditedRule {
            at: Timestamp::from_micros(at),
            rule: rule.into(),
            table: TableName::new("public", "orders"),
            severity: "error".into(),
            status: if violations == 0 { "pass" } else { "fail" }.into(),
            checked: 10,
            violations,
            fingerprint: Some("f".into()),
            keys: Some(vec![RecordKey::new(vec![("id".into(), Value::text("it's")), ("n".into(), Value::NULL)])]),
            through: at,
        };
        let (first, second) = ([audited(1, "a", 0), audited(1, "b", 3)], [audited(2, "a", 1)]);
        let mut store = Store::open(&location).await.expect("opened");
        store.keep_audit(&first).await.expect("kept");
        store.keep_audit(&[]).await.expect("nothing to keep");
        let mut store = Store::open(&location).await.expect("opened again");
        store.keep_audit(&second).await.expect("kept");
        let kept = Store::open(&location).await.expect("opened").audits().await.expect("read");
        assert_eq!(kept, [first.as_slice(), second.as_slice()].concat());
        assert!(store.writes().await.expect("read").is_empty());
    }
}
