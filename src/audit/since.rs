//! An audit of what changed since the last one.
//!
//! In: the rules, how they came out the last time, and the writes recorded since. Out: as of a whole audit. A rule about
//! single rows is checked on the rows written since and on those in breach then; every other row is as it was, and held.
//! A rule for which that is not certain is checked whole, and the outcome says why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::datasource::MemTable;

use super::AuditError;
use super::checks::Violating;
use super::evaluation::{AuditedTable, Tally, evaluate, outcome_of};
use super::outcome::AuditOutcome;
use super::row_scan::RowScan;
use super::rule::{Rule, Tolerance};
use super::rule_set::RuleSet;
use super::sql_text::calls_function;
use crate::catalog::{Catalog, CatalogError, DatabaseAddress, arrow_schema, register_table, rows_from_batch};
use crate::engine;
use crate::model::{
    AuditStart, Column, ColumnType, History, Operation, RecordKey, RecordedWrite, Row, TableName, TableSchema, Value,
};

/// More rows than this are not picked one by one: the table is read whole.
const MOST_ROWS: usize = 100_000;

/// The records written since some moment, by table; `None` where not every one of them can be named.
pub type ChangedRecords = BTreeMap<TableName, Option<BTreeSet<RecordKey>>>;

/// What is known of the last audit, and of what came after it.
#[derive(Clone, Copy, Debug)]
pub struct LastAudit<'a> {
    /// What the last audit of each rule left to start from.
    pub rules: &'a BTreeMap<Arc<str>, AuditStart>,
    /// Where the data is that is audited now.
    pub address: &'a DatabaseAddress,
    /// What was written since.
    pub changed: &'a ChangedRecords,
    /// The tables of which any write was ever recorded.
    pub recorded: &'a BTreeSet<TableName>,
    /// The place in the store's order of arrival at which it was last noticed that writes are missing.
    pub last_gap: Option<i64>,
}

/// Which records these writes were about.
pub fn changed_records<'w>(
    writes: impl IntoIterator<Item = &'w RecordedWrite>,
    schemas: &BTreeMap<TableName, Arc<TableSchema>>,
) -> ChangedRecords {
    let mut changed = ChangedRecords::new();
    for write in writes {
        let Some(schema) = schemas.get(&write.table) else { continue };
        let keys = changed.entry(write.table.clone()).or_insert_with(|| Some(BTreeSet::new()));
        let named = if write.operation == Operation::Truncate { None } else { keys_of(write, schema) };
        match (&mut *keys, named) {
            (Some(keys), Some(named)) => keys.extend(named),
            _ => *keys = None,
        }
    }
    changed
}

/// The row's key before and after the write, as the database prints it.
fn keys_of(write: &RecordedWrite, schema: &TableSchema) -> Option<BTreeSet<RecordKey>> {
    let images = [Some(&write.key), write.before.as_ref(), write.after.as_ref()];
    let keys: BTreeSet<RecordKey> =
        images.into_iter().flatten().filter_map(|image| canonical_key(image, schema)).collect();
    (!keys.is_empty() && !schema.key.is_empty()).then_some(keys)
}

fn canonical_key(image: &Row, schema: &TableSchema) -> Option<RecordKey> {
    let cells: Option<Vec<_>> = schema
        .key
        .iter()
        .map(|name| {
            let value = schema.column(name)?.column_type.canonical(image.get(name)?).ok()?;
            Some((Arc::clone(name), value))
        })
        .collect();
    cells.map(RecordKey::new)
}

/// What a rule demands of its table in this database, as a hash: another rule of the same id has another one, and so has
/// the same rule on another server.
pub fn fingerprint(rule: &Rule, table: &TableSchema, address: &DatabaseAddress) -> Arc<str> {
    let columns: Vec<String> =
        table.columns.iter().map(|column| format!("{} {}", column.name, column.column_type)).collect();
    let demand = (address, &rule.table, rule.violating(table), &table.key, columns);
    let demand = format!("{demand:?}");
    Arc::from(blake3::hash(demand.as_bytes()).to_hex().as_str())
}

/// Checks every rule, each on as few rows as will do.
///
/// # Errors
/// As [`super::run`].
pub async fn run_since(
    rules: &RuleSet,
    catalog: &Catalog,
    history: &History,
    last: LastAudit<'_>,
) -> Result<AuditOutcome, AuditError> {
    let all: Vec<&Rule> = rules.rules().iter().collect();
    let mut narrow: BTreeMap<&TableName, Vec<usize>> = BTreeMap::new();
    let mut whole: Vec<(usize, String)> = Vec::new();
    let parents = tables_with_children(catalog).await?;
    for (place, rule) in all.iter().enumerate() {
        match reason_for_whole(rule, catalog, &parents, last)? {
            None => narrow.entry(&rule.table).or_default().push(place),
            Some(reason) => whole.push((place, reason)),
        }
    }
    let mut tallies: Vec<Result<Tally, String>> = all.iter().map(|_| Ok(Tally::default())).collect();
    for (table, places) in narrow {
        let of_table: Vec<&Rule> = places.iter().map(|place| all[*place]).collect();
        match changed_rows(table, &of_table, catalog, history, last).await? {
            Some(found) => places.iter().zip(found).for_each(|(place, tally)| tallies[*place] = Ok(tally)),
            None => whole.extend(places.iter().map(|place| (*place, "its rows could not be picked".to_owned()))),
        }
    }
    let of_whole: Vec<&Rule> = whole.iter().map(|(place, _)| all[*place]).collect();
    for ((place, reason), tally) in whole.iter().zip(evaluate(&of_whole, catalog, history).await?) {
        tallies[*place] = tally.map(|tally| noted(tally, &format!("checked whole: {reason}")));
    }
    outcome_of(&all, tallies, catalog)
}

fn noted(mut tally: Tally, note: &str) -> Tally {
    tally.note = Some(match tally.note.take() {
        Some(known) => format!("{known}; {note}"),
        None => note.to_owned(),
    });
    tally
}

/// The tables that are read with the rows of others: partitioned ones, and those that others inherit from. A write is
/// recorded under the table that holds the row.
async fn tables_with_children(catalog: &Catalog) -> Result<BTreeSet<TableName>, CatalogError> {
    let sql = "SELECT DISTINCT n.nspname::text, c.relname::text FROM pg_catalog.pg_inherits i
               JOIN pg_catalog.pg_class c ON c.oid = i.inhparent
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";
    let column =
        |name: &str| Column { name: name.into(), column_type: ColumnType::Text, not_null: true, generated: false };
    let shape = TableSchema {
        name: TableName::new("pg_catalog", "pg_inherits"),
        columns: vec![column("schema"), column("table")],
        key: Vec::new(),
        foreign_keys: Vec::new(),
        unique_keys: Vec::new(),
    };
    let mut tables = BTreeSet::new();
    for batch in catalog.select_on_server(sql, shape.clone()).await?.into_iter().flatten() {
        for row in rows_from_batch(&shape, &batch)? {
            let text = |name: &str| row.get(name).and_then(Value::as_str);
            tables.extend(text("schema").zip(text("table")).map(|(schema, table)| TableName::new(schema, table)));
        }
    }
    Ok(tables)
}

/// Why a rule has to be checked on every row; `None` where it does not.
fn reason_for_whole(
    rule: &Rule,
    catalog: &Catalog,
    parents: &BTreeSet<TableName>,
    last: LastAudit<'_>,
) -> Result<Option<String>, CatalogError> {
    let table = catalog.schema(&rule.table)?;
    let told = |reason: &str| Ok(Some(reason.to_owned()));
    if !catalog.has_server() {
        return told("its table is a file, whose changes are not recorded");
    }
    let Some(before) = last.rules.get(&rule.id) else { return told("no earlier audit has it") };
    if before.fingerprint.as_deref() != Some(&*fingerprint(rule, table, last.address)) {
        return told("the rule or its table is not as it was");
    }
    if !is_about_one_row(rule, table) {
        return told("a row's breach may depend on more than the row");
    }
    let percent = |tolerance: Option<Tolerance>| matches!(tolerance, Some(Tolerance::Percent { .. }));
    if rule.tolerances.is_some_and(|tolerances| percent(tolerances.warn) || percent(tolerances.error)) {
        return told("its tolerance is a share of all rows");
    }
    if table.key.is_empty() {
        return told("its table has no key");
    }
    if table.key.iter().any(|name| table.column(name).is_none_or(|column| !column.not_null)) {
        return told("a column of its table's key may be NULL");
    }
    if parents.contains(&rule.table) {
        return told("its table has partitions or is inherited from");
    }
    if !last.recorded.contains(&rule.table) {
        return told("no write of its table is recorded");
    }
    if last.last_gap.is_some_and(|noticed| noticed >= before.through) {
        return told("writes that came since the last audit are known to be missing from the recording");
    }
    let Some(known) = &before.keys else { return told("the last audit could not run it, or found too many") };
    match last.changed.get(&rule.table) {
        Some(None) => told("not every changed row of its table can be named"),
        Some(Some(changed)) if changed.len() + known.len() > MOST_ROWS => told("too many rows changed"),
        _ => Ok(None),
    }
}

/// Whether a row's breach is decided by its own cells alone, at any time.
pub fn is_about_one_row(rule: &Rule, table: &TableSchema) -> bool {
    let Violating::Row(predicate) = rule.violating(table) else { return false };
    rule.across_rows().is_none() && !calls_function(&predicate)
}

/// Checks rules of one table on the rows that changed or were in breach; `None` where they cannot be picked.
async fn changed_rows(
    table: &TableName,
    rules: &[&Rule],
    catalog: &Catalog,
    history: &History,
    last: LastAudit<'_>,
) -> Result<Option<Vec<Tally>>, AuditError> {
    let schema = catalog.schema(table)?;
    let mut keys: BTreeSet<RecordKey> = last.changed.get(table).cloned().flatten().unwrap_or_default();
    let known = rules.iter().filter_map(|rule| last.rules.get(&rule.id)?.keys.as_ref());
    keys.extend(known.flatten().cloned());
    // What cannot be read is told by the whole check.
    let Ok(rows) = catalog.rows_of(table, &keys).await else { return Ok(None) };
    let audited = AuditedTable::new(schema, catalog, history, rules.len());
    let mut scan = RowScan::new(&audited.key);
    if !rules.iter().all(|rule| scan.take(rule, schema, catalog)) {
        return Ok(None);
    }
    let session = engine::session_context_in(&catalog.declarations().time_zone);
    let count = rows.iter().map(RecordBatch::num_rows).sum::<usize>();
    let picked = MemTable::try_new(arrow_schema(schema), vec![rows]).map_err(CatalogError::from)?;
    register_table(&session, table, Arc::new(picked))?;
    // What spoils the scan is told by the whole check.
    let Ok(tallies) = scan.run(&audited, &session).await else { return Ok(None) };
    let note = format!("{count} rows looked at: those written since the last audit, and those in breach then");
    Ok(tallies.into_iter().map(|tally| tally.map(|tally| noted(tally, &note))).collect())
}

/// The keys in breach of each rule that the next audit can start from.
///
/// # Errors
/// A rule of a table that the catalog does not have.
pub fn keys_in_breach(
    outcome: &AuditOutcome,
    rules: &RuleSet,
    catalog: &Catalog,
) -> Result<BTreeMap<Arc<str>, Vec<RecordKey>>, CatalogError> {
    let mut keys: BTreeMap<Arc<str>, Vec<RecordKey>> = BTreeMap::new();
    for rule in rules.rules() {
        let table = catalog.schema(&rule.table)?;
        let has_run = outcome.rules.iter().any(|told| told.id == rule.id && told.status.has_run());
        if has_run && !table.key.is_empty() && is_about_one_row(rule, table) {
            keys.insert(Arc::clone(&rule.id), Vec::new());
        }
    }
    for violation in &outcome.violations {
        if let Some(keys) = keys.get_mut(&violation.rule) {
            keys.push(violation.key.clone());
        }
    }
    keys.retain(|rule, keys| {
        keys.len() <= MOST_ROWS && !outcome.unlisted.iter().any(|unlisted| unlisted.rule == *rule)
    });
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RecordingId, Timestamp};

    fn schema() -> TableSchema {
        let column =
            |name: &str, column_type| Column { name: name.into(), column_type, not_null: false, generated: false };
        TableSchema {
            name: TableName::new("public", "orders"),
            columns: vec![column("id", ColumnType::BigInt), column("at", ColumnType::TimestampTz)],
            key: vec!["id".into()],
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
        }
    }

    fn write(operation: Operation, before: Option<&str>, after: Option<&str>) -> RecordedWrite {
        let row = |id: &str| -> Row { [("id".into(), Value::text(id))].into_iter().collect() };
        RecordedWrite {
            id: RecordingId([0; 16]),
            seq: None,
            ts: Timestamp::from_micros(0),
            table: schema().name,
            operation,
            key: Row::new(),
            before: before.map(row),
            after: after.map(row),
            reads: Vec::new(),
            transaction: None,
            session: None,
            trace: None,
            release: None,
            service: None,
            statement: None,
            parameters: Vec::new(),
        }
    }

    #[test]
    fn a_write_names_its_row_before_and_after_or_the_whole_table() {
        let schemas = BTreeMap::from([(schema().name, Arc::new(schema()))]);
        let changed = |writes: &[RecordedWrite]| {
            let changed = changed_records(writes, &schemas).remove(&schema().name).expect("the table changed");
            changed.map(|keys| keys.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let moved = write(Operation::Update, Some("1"), Some(" 02 "));
        assert_eq!(
            changed(&[moved.clone(), write(Operation::Delete, Some("3"), None)]),
            Some(vec!["1".to_owned(), "2".to_owned(), "3".to_owned()])
        );
        assert_eq!(changed(&[moved.clone(), write(Operation::Truncate, None, None)]), None);
        assert_eq!(changed(&[write(Operation::Update, None, None), moved]), None);
    }
}
