//! Who made each violation that an audit found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::diagnostic::Failure;
use super::investigation::Investigation;
use crate::audit::{AuditOutcome, RuleSet, Violation, WrittenBy, compare_releases, is_about_one_row};
use crate::catalog::{Catalog, CatalogError, RollingTables, rows_from_batch};
use crate::model::{RecordKey, Row, TableName};
use crate::trace::{SuspectingRule, Violating, onsets, suspecting_rules};

/// The keys in breach of each rule, by its id.
type KeysInBreach = BTreeMap<Arc<str>, BTreeSet<RecordKey>>;

/// Names the transaction and the release that made each violation, as far as the history reaches.
///
/// # Errors
/// A rule that cannot be evaluated for one of its records.
pub(super) async fn attribute(
    outcome: &mut AuditOutcome,
    rules: &RuleSet,
    investigation: &Investigation,
) -> Result<(), Failure> {
    let history = &investigation.history;
    if history.transactions.is_empty() {
        return Ok(());
    }
    // What is about writes or releases names them itself.
    let is_open = |violation: &Violation| violation.release.is_none() && violation.key.iter().len() > 0;
    let mut violating = KeysInBreach::new();
    for violation in outcome.violations.iter().filter(|violation| is_open(violation)) {
        violating.entry(Arc::clone(&violation.rule)).or_default().insert(violation.key.clone());
    }
    if !violating.is_empty() {
        let schemas = investigation.schemas();
        let mut suspecting: Vec<SuspectingRule> = suspecting_rules(rules, schemas)
            .into_iter()
            .filter(|rule| violating.contains_key(&rule.id) && !matches!(rule.violating, Violating::Write { .. }))
            .collect();
        let (tables, unreadable) = tables_concerned(investigation, rules, &suspecting, &violating).await?;
        suspecting.retain(|rule| rule.reads.iter().all(|table| !unreadable.tables.contains_key(table)));
        for rule in &suspecting {
            if let (Some(keys), Some(lost)) = (violating.get_mut(&rule.id), unreadable.rows.get(&rule.table)) {
                lost.keys().for_each(|key| _ = keys.remove(key));
            }
        }
        let found = onsets(history, tables, schemas, &suspecting, &violating).await?;
        for violation in outcome.violations.iter_mut().filter(|violation| is_open(violation)) {
            let since = found.since.get(&(Arc::clone(&violation.rule), violation.key.clone()));
            violation.release = since.and_then(|written| written.release.clone());
            violation.written = since.map(|written| WrittenBy {
                seq: written.seq,
                ts: written.ts,
                tx: written.tx.clone(),
                release: written.release.clone(),
            });
        }
        outcome.limits = found.limits;
        // What the audit found is told all the same.
        outcome.limits.extend(unreadable.told(investigation));
    }
    outcome.history_begins = history.transactions.first().map(|transaction| transaction.started);
    outcome.releases = compare_releases(outcome, rules, history);
    Ok(())
}

/// What cannot be read now, and why.
#[derive(Debug, Default)]
struct Unreadable {
    tables: BTreeMap<TableName, CatalogError>,
    rows: BTreeMap<TableName, BTreeMap<RecordKey, CatalogError>>,
}

impl Unreadable {
    /// What can therefore not be told.
    fn told(&self, investigation: &Investigation) -> Vec<String> {
        let reason = |table: &TableName, error: &CatalogError| match investigation.catalog.personal_columns(table) {
            [] => format!("failed to {error}"),
            _ => "why it cannot be read is withheld: that may quote a personal value".to_owned(),
        };
        let of_tables = self.tables.iter().map(|(table, error)| {
            format!("who made the violations of rules that read {table} cannot be told: {}", reason(table, error))
        });
        let of_rows = self.rows.iter().flat_map(|(table, rows)| {
            rows.iter().map(move |(key, error)| {
                format!("who made the violations of {table} {key} cannot be told: {}", reason(table, error))
            })
        });
        of_tables.chain(of_rows).collect()
    }
}

/// The tables that a violation is followed through: those that its rule reads, and no other. Of a table whose rules judge
/// each row by itself, only the rows in breach.
async fn tables_concerned(
    investigation: &Investigation,
    rules: &RuleSet,
    suspecting: &[SuspectingRule],
    violating: &KeysInBreach,
) -> Result<(RollingTables, Unreadable), Failure> {
    let schemas = investigation.schemas();
    let judges_rows = |rule: &SuspectingRule| {
        let rule = rules.rules().iter().find(|known| known.id == rule.id);
        rule.is_some_and(|rule| schemas.get(&rule.table).is_some_and(|schema| is_about_one_row(rule, schema)))
    };
    let (mut tables, mut unreadable) = (RollingTables::new(), Unreadable::default());
    for (name, schema) in schemas.iter().filter(|(_, schema)| !schema.key.is_empty()) {
        let readers: Vec<&SuspectingRule> = suspecting.iter().filter(|rule| rule.reads.contains(name)).collect();
        if readers.is_empty() {
            continue;
        }
        let rows = if readers.iter().all(|rule| rule.table == *name && judges_rows(rule)) {
            let keys = readers.iter().filter_map(|rule| violating.get(&rule.id)).flatten().cloned().collect();
            readable_rows(&investigation.catalog, name, keys, &mut unreadable).await
        } else {
            every_row(&investigation.catalog, name).await
        };
        match rows {
            Ok(rows) => tables.load(Arc::clone(schema), rows)?,
            Err(error) => _ = unreadable.tables.insert(name.clone(), error),
        }
    }
    Ok((tables, unreadable))
}

async fn every_row(catalog: &Catalog, table: &TableName) -> Result<Vec<Row>, CatalogError> {
    let schema = catalog.schema(table)?;
    let mut rows = Vec::new();
    for batch in catalog.scan(table).await? {
        rows.extend(rows_from_batch(schema, &batch)?);
    }
    Ok(rows)
}

/// The rows of these keys; where one holds what cannot be read, without it.
async fn readable_rows(
    catalog: &Catalog,
    table: &TableName,
    keys: BTreeSet<RecordKey>,
    unreadable: &mut Unreadable,
) -> Result<Vec<Row>, CatalogError> {
    let schema = catalog.schema(table)?;
    let mut rows = Vec::new();
    let mut pending = vec![keys];
    while let Some(mut keys) = pending.pop() {
        match catalog.rows_of(table, &keys).await {
            Ok(batches) => {
                for batch in batches {
                    rows.extend(rows_from_batch(schema, &batch)?);
                }
            }
            // Halved until only that row is left; what holds for a file holds for every part of it.
            Err(CatalogError::Value { .. }) if catalog.has_server() && keys.len() > 1 => {
                let middle = keys.iter().nth(keys.len() / 2).cloned();
                let upper = middle.map(|middle| keys.split_off(&middle)).unwrap_or_default();
                pending.extend([keys, upper]);
            }
            Err(error @ CatalogError::Value { .. }) if catalog.has_server() => {
                let lost = unreadable.rows.entry(table.clone()).or_default();
                lost.extend(keys.pop_first().map(|key| (key, error)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(rows)
}
