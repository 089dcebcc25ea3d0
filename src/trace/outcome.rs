//! From the two worlds at the end of the sweep to the blast radius.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::blast_radius::{
    AffectedColumn, AffectedRecord, AffectedStatement, BlastRadius, Onset, OnsetShape, RecordState, RepairAction, Role,
    WrittenBy,
};
use super::run::Question;
use super::sweep::Notes;
use super::worlds::{Difference, RecordName, Worlds};
use crate::catalog::World;
use crate::model::{
    ColumnName, History, Operation, Row, TableName, TableSettings, Timestamp, Transaction, Value, Write,
};

/// Everything the sweep found.
pub fn blast_radius(history: &History, worlds: &Worlds, notes: &Notes, question: Question<'_>) -> BlastRadius {
    let mut records: Vec<AffectedRecord> = worlds
        .differences()
        .filter_map(|(record, difference)| affected(record, difference, worlds, question))
        .collect();
    let released: Vec<&Write> = history
        .transactions
        .iter()
        .flat_map(Transaction::writes)
        .filter(|write| question.target.wrote(write))
        .collect();
    let listed: HashSet<RecordName> = records.iter().map(|record| (record.table.clone(), record.key.clone())).collect();
    let unlisted = released.iter().filter(|write| write.operation != Operation::Truncate);
    let mut suspects: BTreeMap<RecordName, &Write> = BTreeMap::new();
    for write in unlisted {
        let name = (write.table.clone(), write.key.clone());
        if !listed.contains(&name) {
            suspects.insert(name, write);
        }
    }
    if question.list_suspects {
        records.extend(suspects.iter().map(|(name, write)| suspect(name, write, worlds, question)));
    }
    records.sort_by(|one, other| {
        (one.role, one.hops, &one.table, &one.key).cmp(&(other.role, other.hops, &other.table, &other.key))
    });
    let mut by_table: BTreeMap<TableName, u64> = BTreeMap::new();
    for write in &released {
        *by_table.entry(write.table.clone()).or_insert(0) += 1;
    }
    let window = window(&released);
    let mut limits = history.limits.clone();
    limits.extend(notes.limits());
    BlastRadius {
        release: question.target.release.clone(),
        service: question.target.service.clone().or_else(|| service_of(&released)),
        writes: by_table,
        window,
        onset: onset(&records, &released),
        rules: rules(&records),
        statements: statements(notes),
        unattributed: unattributed(history, window),
        suspects: u64::try_from(suspects.len()).unwrap_or(u64::MAX),
        limits,
        records,
    }
}

fn service_of(released: &[&Write]) -> Option<crate::model::ServiceName> {
    let services: BTreeSet<_> =
        released.iter().filter_map(|write| write.attribution.as_ref()?.release.service.clone()).collect();
    let mut services = services.into_iter();
    services.next().filter(|_| services.next().is_none())
}

fn window(released: &[&Write]) -> Option<(Timestamp, Timestamp)> {
    let first = released.iter().map(|write| write.ts).min()?;
    Some((first, released.iter().map(|write| write.ts).max()?))
}

fn unattributed(history: &History, window: Option<(Timestamp, Timestamp)>) -> u64 {
    let Some((first, last)) = window else { return 0 };
    let writes = history.transactions.iter().flat_map(Transaction::writes);
    let nobodys = writes.filter(|write| write.attribution.is_none() && first <= write.ts && write.ts <= last);
    u64::try_from(nobodys.count()).unwrap_or(u64::MAX)
}

fn affected(
    name: &RecordName,
    difference: &Difference,
    worlds: &Worlds,
    question: Question<'_>,
) -> Option<AffectedRecord> {
    let actual = worlds.row(World::Actual, name);
    let right = worlds.row(World::Right, name);
    let differing = worlds.differing_columns(name);
    let state = match (&differing, actual, right) {
        (None, None, _) => RecordState::Missing,
        (None, _, _) => RecordState::Extra,
        (Some(_), None, None) => RecordState::Gone,
        (Some(columns), _, _)
            if columns.is_empty() && difference.unknown.is_empty() && difference.suspected.is_empty() =>
        {
            RecordState::Healed
        }
        _ => RecordState::Live,
    };
    // Doubted once more after it had come right, and overwritten since: what was known of it before stands.
    let difference = match &difference.earlier {
        Some(earlier) if difference.role == Role::Possible && !state.is_wrong_now() => earlier,
        _ => difference,
    };
    let key: BTreeSet<&ColumnName> = name.1.iter().map(|(column, _)| column).collect();
    // Nobody knows whether it should be there. That the release itself got it wrong is known all the same.
    let is_known_wrong =
        differing.as_ref().is_some_and(|columns| columns.iter().any(|column| !difference.unknown.contains(column)));
    let is_doubtful = state != RecordState::Extra && worlds.doubts_existence(name, &difference.unknown);
    let is_root = difference.role == Role::Root && is_known_wrong;
    let role = if is_doubtful && !is_root { Role::Possible } else { difference.role };
    let known = (difference, role, is_doubtful);
    let columns = columns(state, known, &key, differing.as_deref().unwrap_or_default(), actual, right);
    // Suspected once, and overwritten since: nothing was ever found against it.
    if columns.is_empty() && difference.role == Role::Possible {
        return None;
    }
    let settings = question.settings.get(&name.0);
    let (repair, why) = repair(state, difference, &columns, settings);
    Some(AffectedRecord {
        table: name.0.clone(),
        key: name.1.clone(),
        role,
        state,
        columns,
        hops: difference.hops,
        rules: difference.rules.iter().cloned().collect(),
        written: difference.written.clone(),
        cause: difference.cause.clone(),
        repair,
        why,
        current_row: actual.map(|row| row.as_ref().clone()),
        subject: subject(settings, actual.or(right)),
        external: settings.is_some_and(|settings| settings.external),
    })
}

fn subject(settings: Option<&TableSettings>, row: Option<&Arc<Row>>) -> Option<Value> {
    row?.get(settings?.subject.as_ref()?).filter(|value| !value.is_null()).cloned()
}

fn columns(
    state: RecordState,
    (difference, role, is_doubtful): (&Difference, Role, bool),
    key: &BTreeSet<&ColumnName>,
    differing: &[ColumnName],
    actual: Option<&Arc<Row>>,
    right: Option<&Arc<Row>>,
) -> Vec<AffectedColumn> {
    let value = |row: Option<&Arc<Row>>, column: &ColumnName| row.and_then(|row| row.get(column).cloned());
    // Of a record that may have to be gone, no value is sure.
    let cell = |column: &ColumnName, known: bool| AffectedColumn {
        name: column.clone(),
        current: value(actual, column).unwrap_or(Value::NULL),
        expected: if known && !is_doubtful { value(right, column) } else { difference.likely.get(column).cloned() },
        exact: known && !is_doubtful,
    };
    match state {
        // Where it has to be gone, so have all its values.
        RecordState::Live if is_doubtful => {
            actual.into_iter().flat_map(|row| row.iter()).map(|(column, _)| cell(column, false)).collect()
        }
        RecordState::Live => {
            let is_possible = role == Role::Possible;
            let doubtful = difference.unknown.iter().chain(&difference.suspected);
            let doubtful = doubtful.filter(|column| is_possible || !key.contains(*column));
            let wrong: BTreeSet<&ColumnName> = differing.iter().chain(doubtful).collect();
            let known = |column: &ColumnName| !difference.unknown.contains(column) && differing.contains(column);
            let is_known_wrong = !is_possible && (!differing.is_empty() || !difference.unknown.is_empty());
            wrong
                .into_iter()
                .filter(|column| {
                    !is_known_wrong || !difference.suspected.contains(*column) || differing.contains(*column)
                })
                .map(|column| cell(column, known(column)))
                .collect()
        }
        RecordState::Missing => right
            .into_iter()
            .flat_map(|row| row.iter())
            .map(|(column, _)| cell(column, !difference.unknown.contains(column)))
            .collect(),
        RecordState::Extra => {
            actual.into_iter().flat_map(|row| row.iter()).map(|(column, _)| cell(column, true)).collect()
        }
        RecordState::Healed | RecordState::Gone => difference
            .last_wrong
            .iter()
            .map(|(column, wrong)| AffectedColumn {
                name: column.clone(),
                current: wrong.actual.clone(),
                expected: wrong.right.clone(),
                exact: wrong.right.is_some(),
            })
            .collect(),
    }
}

fn repair(
    state: RecordState,
    difference: &Difference,
    columns: &[AffectedColumn],
    settings: Option<&TableSettings>,
) -> (RepairAction, Option<Arc<str>>) {
    let why = || difference.why.clone();
    if !state.is_wrong_now() {
        return (RepairAction::None, why());
    }
    if settings.is_some_and(|settings| settings.external) {
        return (RepairAction::Manual, Some("it has left the company: the table is external".into()));
    }
    let is_known = columns.iter().all(|column| column.exact);
    match state {
        RecordState::Live if is_known => (RepairAction::Update, None),
        RecordState::Missing if is_known => (RepairAction::Insert, None),
        RecordState::Extra => (RepairAction::Delete, None),
        _ => (RepairAction::Manual, why().or_else(|| Some("its right value is not known".into()))),
    }
}

fn suspect(name: &RecordName, write: &Write, worlds: &Worlds, question: Question<'_>) -> AffectedRecord {
    let actual = worlds.row(World::Actual, name);
    let settings = question.settings.get(&name.0);
    AffectedRecord {
        table: name.0.clone(),
        key: name.1.clone(),
        role: Role::Suspect,
        state: if actual.is_some() { RecordState::Live } else { RecordState::Gone },
        columns: Vec::new(),
        hops: 0,
        rules: Vec::new(),
        written: WrittenBy {
            seq: Some(write.seq),
            ts: write.ts,
            tx: None,
            release: write.attribution.as_ref().map(|attribution| attribution.release.clone()),
        },
        cause: None,
        repair: RepairAction::None,
        why: None,
        current_row: actual.map(|row| row.as_ref().clone()),
        subject: subject(settings, actual),
        external: settings.is_some_and(|settings| settings.external),
    }
}

fn rules(records: &[AffectedRecord]) -> Vec<(Arc<str>, u64)> {
    let mut counts: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    for rule in records.iter().flat_map(|record| &record.rules) {
        *counts.entry(rule.clone()).or_insert(0) += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

fn statements(notes: &Notes) -> Vec<AffectedStatement> {
    let statement = |(statement, notes): (Arc<str>, super::sweep::CarrierNotes)| AffectedStatement {
        statement,
        executions: notes.executions,
        affected: notes.affected,
        exact: !notes.inexact,
    };
    notes.carriers().into_iter().map(statement).collect()
}

/// Sudden: of the release's first tenth of writes to the tables it got wrong, at least half were wrong.
fn onset(records: &[AffectedRecord], released: &[&Write]) -> Option<Onset> {
    let roots: Vec<&AffectedRecord> = records.iter().filter(|record| record.role == Role::Root).collect();
    let first_wrong = roots.iter().map(|root| root.written.ts).min()?;
    let last_wrong = roots.iter().map(|root| root.written.ts).max()?;
    let tables: BTreeSet<&TableName> = roots.iter().map(|root| &root.table).collect();
    let wrong: HashSet<(&TableName, &crate::model::RecordKey)> =
        roots.iter().map(|root| (&root.table, &root.key)).collect();
    let concerned: Vec<&&Write> = released.iter().filter(|write| tables.contains(&write.table)).collect();
    let first_tenth = concerned.len().div_ceil(10);
    let wrong_at_first =
        concerned.iter().take(first_tenth).filter(|write| wrong.contains(&(&write.table, &write.key))).count();
    let shape = if wrong_at_first * 2 >= first_tenth { OnsetShape::Sudden } else { OnsetShape::Slow };
    Some(Onset { first_wrong, last_wrong, shape })
}
