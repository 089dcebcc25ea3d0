//! What a repair will do: the changes, by table, and what it leaves to a person.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::order::parents_first;
use super::selection::{Decision, RowChange, decide};
use crate::model::{
    ColumnName, ColumnType, RecordKey, Release, ReleaseName, TableName, TableSchema, TableSettingsByName, Value,
    without_trailing_zeros,
};
use crate::trace::{AffectedColumn, BlastRadius, RecordState};

/// What to repair, and in what portions.
#[derive(Clone, Copy, Debug)]
pub struct RepairOptions<'a> {
    /// Whether possible records that have an expected value are repaired as well.
    pub include_possible: bool,
    /// Whether values of personal columns may be written into the files. Where not, what needs one is left to a person.
    pub include_personal: bool,
    /// The most changes in one transaction; at least 1.
    pub batch_rows: usize,
    /// What the project file says of the tables: which columns are personal.
    pub settings: &'a TableSettingsByName,
}

impl<'a> RepairOptions<'a> {
    /// Root and derived records, no personal values, 10,000 changes in a transaction.
    pub fn new(settings: &'a TableSettingsByName) -> Self {
        RepairOptions { include_possible: false, include_personal: false, batch_rows: 10_000, settings }
    }
}

/// What a change does to its row. The order is the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChangeKind {
    /// A row that should not exist.
    Delete,
    /// A row that should exist.
    Insert,
    /// Columns that hold a wrong value.
    Update,
}

impl ChangeKind {
    /// `delete`, `insert`, `update`.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Delete => "delete",
            ChangeKind::Insert => "insert",
            ChangeKind::Update => "update",
        }
    }
}

/// One row to change; its values stand in the order of its group's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedChange {
    /// Which row.
    pub key: Vec<Value>,
    /// What the row must still hold, or it is left alone.
    pub found: Vec<Value>,
    /// What it is to hold.
    pub right: Vec<Value>,
    /// Digests of what the row's personal columns must still hold: SHA-256 of `<id>:<value>` in hexadecimal, or NULL.
    pub digests: Vec<Value>,
}

/// The changes of one kind to the same columns of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeGroup {
    /// The table.
    pub table: TableName,
    /// What happens to its rows.
    pub kind: ChangeKind,
    /// The columns of [`PlannedChange::key`].
    pub key_columns: Vec<ColumnName>,
    /// The columns of [`PlannedChange::found`].
    pub found_columns: Vec<ColumnName>,
    /// The columns of [`PlannedChange::right`].
    pub right_columns: Vec<ColumnName>,
    /// The columns of [`PlannedChange::digests`].
    pub digest_columns: Vec<ColumnName>,
    /// The rows, in the order of the blast radius.
    pub changes: Vec<PlannedChange>,
}

/// A record, or some columns of one, that a person must decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManualRecord {
    /// Its table.
    pub table: TableName,
    /// Its key.
    pub key: RecordKey,
    /// How it stands.
    pub state: RecordState,
    /// The columns in question, those that are personal without their values.
    pub columns: Vec<ManualColumn>,
    /// What there is to decide.
    pub why: String,
}

/// One column of a record that a person must decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManualColumn {
    /// Its name.
    pub name: ColumnName,
    /// What it holds; `None` where that is personal.
    pub current: Option<Value>,
    /// What it should hold; `None` where that is not known, or personal.
    pub expected: Option<Value>,
}

impl ManualColumn {
    pub(super) fn new(column: &AffectedColumn, personal: bool) -> Self {
        ManualColumn {
            name: column.name.clone(),
            current: (!personal).then(|| column.current.clone()),
            expected: column.expected.clone().filter(|_| !personal),
        }
    }
}

/// The difference of the two worlds as changes to rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairPlan {
    /// The same for the same changes: 12 hexadecimal digits.
    pub id: String,
    /// The release that is repaired.
    pub release: ReleaseName,
    /// The changes, in the order in which they are tried.
    pub groups: Vec<ChangeGroup>,
    /// What a person must decide, in the order of the blast radius.
    pub manual: Vec<ManualRecord>,
    /// The most changes in one transaction; at least 1.
    pub batch_rows: usize,
}

impl RepairPlan {
    /// How many rows the plan changes.
    pub fn changes(&self) -> usize {
        self.groups.iter().map(|group| group.changes.len()).sum()
    }

    /// How many rows it changes in this way.
    pub fn changes_of(&self, kind: ChangeKind) -> usize {
        self.groups.iter().filter(|group| group.kind == kind).map(|group| group.changes.len()).sum()
    }

    /// What the repair's writes carry as `application_name`.
    pub fn application_name(&self) -> String {
        Release::of_own_repair(&self.id).to_string()
    }
}

/// Plans the repair of everything in the blast radius that is wrong now.
///
/// Changed are records of role root and derived (and possible, where asked for) whose right values are exact; of a
/// record that is only partly known, the columns that are. Never changed: external tables, generated columns, keys.
pub fn plan(
    blast_radius: &BlastRadius,
    schemas: &BTreeMap<TableName, Arc<TableSchema>>,
    options: RepairOptions<'_>,
) -> RepairPlan {
    let mut manual = Vec::new();
    let mut changes: Vec<RowChange> = Vec::new();
    let mut seen = HashSet::new();
    for record in &blast_radius.records {
        let decision = decide(record, schemas.get(&record.table).map(Arc::as_ref), &options);
        match decision {
            Decision { change: Some(_), .. } if !seen.insert((&record.table, &record.key)) => {
                manual.push(ManualRecord::whole(record, &options, "the trace lists this record twice".to_owned()));
            }
            Decision { change, manual: left } => {
                changes.extend(change);
                manual.extend(left);
            }
        }
    }
    let mut groups = grouped(changes, schemas);
    let id = identity(&blast_radius.release, &groups);
    for group in &mut groups {
        let schema = schemas.get(&group.table);
        let column_type = |name: &ColumnName| schema.and_then(|schema| Some(&schema.column(name)?.column_type));
        let types: Vec<Option<&ColumnType>> = group.digest_columns.iter().map(column_type).collect();
        for change in &mut group.changes {
            for (digest, column_type) in change.digests.iter_mut().zip(&types) {
                *digest = salted_digest(&id, digest, *column_type);
            }
        }
    }
    let batch_rows = options.batch_rows.max(1);
    RepairPlan { id, release: blast_radius.release.clone(), groups, manual, batch_rows }
}

/// Deletes with the children first, then inserts and updates with the parents first.
fn grouped(changes: Vec<RowChange>, schemas: &BTreeMap<TableName, Arc<TableSchema>>) -> Vec<ChangeGroup> {
    let tables: BTreeSet<TableName> = changes.iter().map(|change| change.table.clone()).collect();
    let ranks = parents_first(&tables, schemas);
    let mut groups = BTreeMap::new();
    for change in changes {
        let rank = ranks.get(&change.table).copied().unwrap_or(0);
        let place = if change.kind == ChangeKind::Delete { tables.len() - rank } else { rank };
        let columns = [names(&change.key), names(&change.found), names(&change.right), names(&change.personal)];
        let [key_columns, found_columns, right_columns, digest_columns] = columns.clone();
        let group = groups.entry((change.kind, place, columns)).or_insert_with(|| ChangeGroup {
            table: change.table,
            kind: change.kind,
            key_columns,
            found_columns,
            right_columns,
            digest_columns,
            changes: Vec::new(),
        });
        group.changes.push(PlannedChange {
            key: values(change.key),
            found: values(change.found),
            right: values(change.right),
            digests: values(change.personal),
        });
    }
    groups.into_values().collect()
}

fn names(cells: &[(ColumnName, Value)]) -> Vec<ColumnName> {
    cells.iter().map(|(name, _)| name.clone()).collect()
}

fn values(cells: Vec<(ColumnName, Value)>) -> Vec<Value> {
    cells.into_iter().map(|(_, value)| value).collect()
}

/// A hash of everything that the plan changes, each part with its length so that no two plans read alike.
fn identity(release: &ReleaseName, groups: &[ChangeGroup]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |text: Option<&str>| {
        hasher.update(&text.map_or(u64::MAX, |text| u64::try_from(text.len()).unwrap_or(u64::MAX)).to_le_bytes());
        hasher.update(text.unwrap_or_default().as_bytes());
    };
    part(Some(release.as_str()));
    for group in groups {
        for text in [group.kind.as_str(), &group.table.schema, &group.table.table] {
            part(Some(text));
        }
        for columns in [&group.key_columns, &group.found_columns, &group.right_columns, &group.digest_columns] {
            part(None);
            columns.iter().for_each(|name| part(Some(name)));
        }
        for change in &group.changes {
            let cells = change.key.iter().chain(&change.found).chain(&change.right).chain(&change.digests);
            cells.for_each(|value| part(value.as_str()));
        }
    }
    hasher.finalize().to_hex().as_str()[..12].to_owned()
}

/// As `engine.sql` computes it of the value in the database.
fn salted_digest(id: &str, value: &Value, column_type: Option<&ColumnType>) -> Value {
    let Some(text) = value.as_str() else { return Value::NULL };
    let text = if column_type == Some(&ColumnType::Numeric(None)) { without_trailing_zeros(text) } else { text };
    let digest = Sha256::digest(format!("{id}:{text}"));
    Value::text(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
