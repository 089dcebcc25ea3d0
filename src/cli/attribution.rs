//! Who made each violation that an audit found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::diagnostic::Failure;
use super::investigation::Investigation;
use crate::audit::{AuditOutcome, RuleSet, Violation, WrittenBy, compare_releases, is_about_one_row};
use crate::catalog::{Catalog, CatalogError, RollingTables, rows_from_batch};
use crate::model::{ColumnName, RecordKey, Row, TableName};
use crate::trace::{SuspectingRule, Violating, onsets, suspecting_rules};

/// So many rows of all tables together are held, some hundred bytes each, to follow rules that look at more than one row.
const MOST_ROWS: usize = 2_000_000;

/// The keys in breach of each rule, by its id.
type KeysInBreach = BTreeMap<Arc<str>, BTreeSet<RecordKey>>;

/// Names the transaction and the release that made each violation, as far as the history reaches.
///
/// # Errors
/// A table whose rows lack a column of their key.
pub(super) async fn attribute(
    outcome: &mut AuditOutcome,
    rules: &RuleSet,
    investigation: &Investigation,
) -> Result<(), Failure> {
    let history = &investigation.history;
    if history.transactions.is_empty() {
        return Ok(());
    }
    let mut violating = KeysInBreach::new();
    for violation in outcome.violations.iter().filter(|violation| is_open(violation)) {
        violating.entry(Arc::clone(&violation.rule)).or_default().insert(violation.key.clone());
    }
    if !violating.is_empty() {
        follow(outcome, rules, investigation, violating).await?;
    }
    outcome.history_begins = history.transactions.first().map(|transaction| transaction.started);
    outcome.releases = compare_releases(outcome, rules, history);
    Ok(())
}

/// Whether it is still to be found who made it: what is about writes or releases names them itself.
fn is_open(violation: &Violation) -> bool {
    violation.release.is_none() && violation.written.is_none() && violation.key.iter().len() > 0
}

/// Follows the violations back through the history.
async fn follow(
    outcome: &mut AuditOutcome,
    rules: &RuleSet,
    investigation: &Investigation,
    mut violating: KeysInBreach,
) -> Result<(), Failure> {
    let (catalog, schemas) = (&investigation.catalog, investigation.schemas());
    let mut suspecting: Vec<SuspectingRule> = suspecting_rules(rules, schemas)
        .into_iter()
        .filter(|rule| violating.contains_key(&rule.id) && !matches!(rule.violating, Violating::Write { .. }))
        .collect();
    let (tables, untold) = tables_concerned(catalog, rules, &suspecting, &violating, MOST_ROWS).await?;
    suspecting.retain(|rule| rule.reads.iter().all(|table| !untold.tables.contains_key(table)));
    for rule in &suspecting {
        let Some(keys) = violating.get_mut(&rule.id) else { continue };
        keys.retain(|key| !untold.has(&rule.table, key));
    }
    let zone = &catalog.declarations().time_zone;
    let found = onsets(&investigation.history, tables, schemas, &suspecting, &violating, zone).await;
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
    outcome.limits.extend(untold.told(catalog));
    for rule in suspecting.iter().filter(|rule| found.failed.contains_key(&rule.id)) {
        let reason = found.failed.get(&rule.id).filter(|_| !reads_personal(catalog, rule));
        let reason = reason.map_or("the engine's reason is withheld: it may quote a personal value", String::as_str);
        outcome.limits.push(format!("since when the rule {} is broken cannot be told: {reason}", rule.id));
    }
    Ok(())
}

fn reads_personal(catalog: &Catalog, rule: &SuspectingRule) -> bool {
    rule.reads.iter().any(|table| !catalog.personal_columns(table).is_empty())
}

/// Violations that cannot be followed, and why.
#[derive(Debug, Default)]
struct Untold {
    /// Those of every rule that reads the table.
    tables: BTreeMap<TableName, NotLoaded>,
    /// Those of rows that cannot be read.
    rows: BTreeMap<TableName, BTreeMap<RecordKey, CatalogError>>,
    /// Those of rows whose key is another row's as well.
    repeated: BTreeMap<TableName, BTreeSet<RecordKey>>,
}

/// Why a table is not followed.
#[derive(Debug)]
enum NotLoaded {
    Unreadable(CatalogError),
    TooLarge,
}

impl Untold {
    fn has(&self, table: &TableName, key: &RecordKey) -> bool {
        self.rows.get(table).is_some_and(|rows| rows.contains_key(key))
            || self.repeated.get(table).is_some_and(|keys| keys.contains(key))
    }

    /// What can therefore not be told.
    fn told(&self, catalog: &Catalog) -> Vec<String> {
        let reason = |table: &TableName, error: &CatalogError| match catalog.personal_columns(table) {
            [] => format!("failed to {error}"),
            _ => "why it cannot be read is withheld: that may quote a personal value".to_owned(),
        };
        let of_tables = self.tables.iter().map(|(table, why)| {
            let reason = match why {
                NotLoaded::Unreadable(error) => reason(table, error),
                NotLoaded::TooLarge => format!("it has too many rows to be followed (more than {MOST_ROWS} in all)"),
            };
            format!("who made the violations of rules that read {table} cannot be told: {reason}")
        });
        let of_rows = self.rows.iter().flat_map(|(table, rows)| {
            rows.iter().map(move |(key, error)| {
                format!("who made the violations of {table} {key} cannot be told: {}", reason(table, error))
            })
        });
        let of_keys = self.repeated.iter().map(|(table, keys)| {
            let count = keys.len();
            format!("who made the violations of {table} by {count} of its keys cannot be told: several rows have them")
        });
        of_tables.chain(of_rows).chain(of_keys).collect()
    }

    /// Notes which of the keys in breach more than one of the rows has.
    fn note_repeated(&mut self, table: &TableName, rows: &[Row], key: &[ColumnName], in_breach: &BTreeSet<RecordKey>) {
        let mut met: BTreeSet<RecordKey> = BTreeSet::new();
        for key in rows.iter().filter_map(|row| row.key(key)).filter(|key| in_breach.contains(key)) {
            if let Some(again) = met.replace(key) {
                self.repeated.entry(table.clone()).or_default().insert(again);
            }
        }
    }
}

/// The tables that a violation is followed through: those that its rule reads, and no other. Of a table whose rules judge
/// each row by itself, only the rows in breach; of the others no more than `most_rows` together.
async fn tables_concerned(
    catalog: &Catalog,
    rules: &RuleSet,
    suspecting: &[SuspectingRule],
    violating: &KeysInBreach,
    most_rows: usize,
) -> Result<(RollingTables, Untold), Failure> {
    let schemas = catalog.schemas();
    let judges_rows = |rule: &SuspectingRule| {
        let rule = rules.rules().iter().find(|known| known.id == rule.id);
        rule.is_some_and(|rule| schemas.get(&rule.table).is_some_and(|schema| is_about_one_row(rule, schema)))
    };
    let (mut tables, mut untold, mut room) = (RollingTables::new(), Untold::default(), most_rows);
    for (name, schema) in schemas.iter().filter(|(_, schema)| !schema.key.is_empty()) {
        let readers: Vec<&SuspectingRule> = suspecting.iter().filter(|rule| rule.reads.contains(name)).collect();
        if readers.is_empty() {
            continue;
        }
        let own = readers.iter().filter(|rule| rule.table == *name).filter_map(|rule| violating.get(&rule.id));
        let in_breach: BTreeSet<RecordKey> = own.flatten().cloned().collect();
        let rows = if readers.iter().all(|rule| rule.table == *name && judges_rows(rule)) {
            readable_rows(catalog, name, in_breach.clone(), &mut untold).await.map(Some)
        } else {
            every_row(catalog, name, &mut room).await
        };
        match rows {
            Ok(Some(rows)) => {
                untold.note_repeated(name, &rows, &schema.key, &in_breach);
                tables.load(Arc::clone(schema), rows)?;
            }
            Ok(None) => _ = untold.tables.insert(name.clone(), NotLoaded::TooLarge),
            Err(error) => _ = untold.tables.insert(name.clone(), NotLoaded::Unreadable(error)),
        }
    }
    Ok((tables, untold))
}

/// Every row, where there is room for all of them.
async fn every_row(catalog: &Catalog, table: &TableName, room: &mut usize) -> Result<Option<Vec<Row>>, CatalogError> {
    let schema = catalog.schema(table)?;
    let Some(batches) = catalog.scan_up_to(table, *room).await? else { return Ok(None) };
    let mut rows = Vec::new();
    for batch in batches {
        rows.extend(rows_from_batch(schema, &batch)?);
    }
    *room = room.saturating_sub(rows.len());
    Ok(Some(rows))
}

/// The rows of these keys; where one holds what cannot be read, without it.
async fn readable_rows(
    catalog: &Catalog,
    table: &TableName,
    keys: BTreeSet<RecordKey>,
    untold: &mut Untold,
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
                let lost = untold.rows.entry(table.clone()).or_default();
                lost.extend(keys.pop_first().map(|key| (key, error)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DatabaseSource, TableSettings, TableSettingsByName};

    const RULES: &str = "rules:
  - {id: customer, table: orders, check: {references: {columns: [customer], table: customers, key: [id]}}}
  - {id: positive, table: orders, check: {range: {column: total, min: 0}}}
";

    #[tokio::test]
    async fn tables_past_the_bound_are_not_held() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
        write("orders.csv", "id,customer,total\n1,7,5\n2,9,-5\n3,7,5\n");
        write("customers.csv", "id\n7\n8\n");
        write("rules.yaml", RULES);
        let key = TableSettings { key: vec!["id".into()], ..TableSettings::default() };
        let names = [TableName::new("public", "orders"), TableName::new("public", "customers")];
        let settings: TableSettingsByName = names.iter().map(|name| (name.clone(), key.clone())).collect();
        let source = DatabaseSource::Folder(folder.path().to_owned());
        let catalog = Catalog::open(&source, &settings).await.expect("a catalog");
        let rules = RuleSet::load(&[folder.path().join("rules.yaml")], catalog.schemas()).await.expect("rules");
        let broken = BTreeSet::from([RecordKey::new(vec![("id".into(), crate::model::Value::text("2"))])]);
        let violating: KeysInBreach =
            ["customer", "positive"].into_iter().map(|rule| (Arc::from(rule), broken.clone())).collect();
        let suspecting = suspecting_rules(&rules, catalog.schemas());
        for (most_rows, left_out) in [(5, vec![]), (4, vec![&names[0]]), (1, vec![&names[1], &names[0]])] {
            let found = tables_concerned(&catalog, &rules, &suspecting, &violating, most_rows).await;
            let (tables, untold) = found.unwrap_or_else(|failure| panic!("{}", failure.rendered(false)));
            assert_eq!(untold.tables.keys().collect::<Vec<_>>(), left_out, "{most_rows}");
            assert_eq!(tables.iter().count(), 2 - left_out.len());
            assert_eq!(untold.told(&catalog).len(), left_out.len());
        }
        // A rule about single rows needs no more than the rows in breach.
        let alone: Vec<SuspectingRule> = suspecting.into_iter().filter(|rule| &*rule.id == "positive").collect();
        let found = tables_concerned(&catalog, &rules, &alone, &violating, 0).await;
        let (_, untold) = found.unwrap_or_else(|failure| panic!("{}", failure.rendered(false)));
        assert!(untold.tables.is_empty());
    }
}
