//! Since when a record violates a rule, and whose commit made it so.
//!
//! Backward through the history, one transaction at a time: a violation belongs to the commit before which the record
//! did not violate the rule, or did not exist. Only transactions that can have changed a violating record are looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::blast_radius::WrittenBy;
use super::reenact::{Refusal, SessionZones, Statements};
use super::sweep::{Candidates, Notes, PlannedRule, SuspectingRule, record_of, rows_of, written_by};
use crate::catalog::{RollingTables, World};
use crate::model::{History, RecordKey, TimeZone, Timestamp, Transaction};
use crate::sql::Schemas;

/// A violation by its rule and its record's key.
pub type ViolationName = (Arc<str>, RecordKey);

/// The commit that made each violation; a violation older than the history is not in it.
#[derive(Clone, Debug, Default)]
pub struct Onsets {
    /// Since when, and by whom.
    pub since: HashMap<ViolationName, WrittenBy>,
    /// Rules that could not be followed through time, and why.
    pub limits: Vec<String>,
    /// By its id, what the engine says of a rule that it could not evaluate at some moment of the past: may quote a value.
    pub failed: BTreeMap<Arc<str>, String>,
}

/// A rule with its violations whose commit is still to be found.
type Pending = (PlannedRule, BTreeSet<RecordKey>);

/// Finds the commit that made each of these violations. `tables` are as they stand now; `zone` is the database's.
pub async fn onsets(
    history: &History,
    mut tables: RollingTables,
    schemas: &Schemas,
    rules: &[SuspectingRule],
    violations: &BTreeMap<Arc<str>, BTreeSet<RecordKey>>,
    zone: &TimeZone,
) -> Onsets {
    let zones = SessionZones { database: zone.clone(), session: zone.clone() };
    let mut statements = Statements::new(schemas.clone(), zones);
    let mut notes = Notes::default();
    let mut pending: Vec<Pending> = Vec::new();
    for rule in rules {
        if let Some(keys) = violations.get(&rule.id).filter(|keys| !keys.is_empty())
            && let Some(planned) = PlannedRule::compile(rule, &mut statements, &mut notes).await
        {
            pending.push((planned, keys.clone()));
        }
    }
    let mut failed = BTreeMap::new();
    keep_what_is_broken(&mut pending, &mut tables, &mut failed, &mut notes).await;
    let mut since = HashMap::new();
    for transaction in history.transactions.iter().rev() {
        if pending.iter().all(|(_, keys)| keys.is_empty()) {
            break;
        }
        let concerned: Vec<(usize, BTreeSet<RecordKey>)> = pending
            .iter()
            .enumerate()
            .filter_map(|(place, (rule, keys))| {
                let concerned = concerned(rule, keys, transaction, &mut tables);
                (!concerned.is_empty()).then_some((place, concerned))
            })
            .collect();
        let writes: Vec<_> = transaction.writes().collect();
        writes.iter().rev().for_each(|write| tables.undo(write));
        for (place, keys) in concerned {
            let (rule, pending) = &mut pending[place];
            match violating_of(rule, &keys, transaction.committed, &mut tables).await {
                Ok(before) => {
                    for key in keys.difference(&before) {
                        pending.remove(key);
                        since.insert((Arc::clone(&rule.rule.id), key.clone()), written(rule, key, transaction));
                    }
                }
                Err(refusal) => {
                    failed.insert(Arc::clone(&rule.rule.id), refusal.to_string());
                    pending.clear();
                }
            }
        }
    }
    Onsets { since, limits: notes.limits(), failed }
}

/// Leaves out the records that do not break their rule as the tables stand: what is found of them by another way cannot
/// be followed by this one.
async fn keep_what_is_broken(
    pending: &mut [Pending],
    tables: &mut RollingTables,
    failed: &mut BTreeMap<Arc<str>, String>,
    notes: &mut Notes,
) {
    let now = Timestamp::from_micros(jiff::Timestamp::now().as_microsecond());
    for (rule, keys) in pending {
        match violating_of(rule, keys, now, tables).await {
            Ok(broken) => {
                let all = keys.len();
                keys.retain(|key| broken.contains(key));
                if let Some(lost @ 1..) = all.checked_sub(keys.len()) {
                    let id = &rule.rule.id;
                    notes.limit(format!(
                        "since when {lost} records break the rule {id} cannot be told: by their keys alone, they keep it"
                    ));
                }
            }
            Err(refusal) => {
                failed.insert(Arc::clone(&rule.rule.id), refusal.to_string());
                keys.clear();
            }
        }
    }
}

/// The pending records that the transaction can have made violate the rule.
fn concerned(
    rule: &PlannedRule,
    pending: &BTreeSet<RecordKey>,
    transaction: &Transaction,
    tables: &mut RollingTables,
) -> BTreeSet<RecordKey> {
    if pending.is_empty() {
        return BTreeSet::new();
    }
    match rule.candidates(transaction.writes().filter(|write| rule.is_concerned(write))) {
        Candidates::Query | Candidates::EveryRow => pending.clone(),
        Candidates::Rows { keys, values } => {
            let tied = |key: &RecordKey| {
                let row = tables.table(&rule.rule.table).and_then(|table| table.row(World::Actual, key));
                values.iter().any(|(column, values)| {
                    let value = row.and_then(|row| row.get(column)).or_else(|| key.get(column));
                    value.is_some_and(|value| values.contains(value))
                })
            };
            pending.iter().filter(|key| keys.contains(*key) || tied(key)).cloned().collect()
        }
    }
}

async fn violating_of(
    rule: &PlannedRule,
    keys: &BTreeSet<RecordKey>,
    time: Timestamp,
    tables: &mut RollingTables,
) -> Result<BTreeSet<RecordKey>, Refusal> {
    let keys: Vec<RecordKey> = keys.iter().cloned().collect();
    let rows = rule.keys.is_tied().then(|| rows_of(tables, &rule.rule.table, &keys, World::Actual));
    let violating = rule.violations(tables, World::Actual, rows, time).await?;
    Ok(violating.into_iter().collect())
}

/// The transaction's last write of the record; where it did not write it, the transaction itself.
fn written(rule: &PlannedRule, key: &RecordKey, transaction: &Transaction) -> WrittenBy {
    let record = (rule.rule.table.clone(), key.clone());
    let writes: Vec<_> = transaction.writes().collect();
    match writes.iter().rev().find(|write| record_of(write) == record) {
        Some(write) => WrittenBy { tx: transaction.id.clone(), ..written_by(write) },
        None => WrittenBy {
            seq: None,
            ts: transaction.committed,
            tx: transaction.id.clone(),
            release: transaction.attribution.as_ref().map(|attribution| attribution.release.clone()),
        },
    }
}
