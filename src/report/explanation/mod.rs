//! One record explained: its versions, and, where a release was traced, how its error came to it and where it went.
//!
//! In: a [`Story`] and a [`BlastRadius`]. Out: text or JSON.

mod json;
mod text;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

pub use json::write_explanation_json;
pub use text::write_explanation_text;

use super::record::{ReportedRecord, TableContext};
use crate::model::{ColumnName, Operation, RecordKey, TableName, TableSchema, TableSettingsByName, Value, Write};
use crate::trace::{AffectedRecord, BlastRadius, Story};

/// What is printed of one record.
pub struct Explanation<'a> {
    /// Its story.
    pub story: &'a Story,
    /// What was traced, where a release was.
    pub blast_radius: Option<&'a BlastRadius>,
    /// From the record at hand (first) back to the root, as far as is known; empty where it is not affected.
    pub chain: Vec<&'a AffectedRecord>,
    /// What was computed from the record, directly or through others, nearest first.
    pub derived: Vec<&'a AffectedRecord>,
    schemas: &'a BTreeMap<TableName, Arc<TableSchema>>,
    settings: &'a TableSettingsByName,
}

/// One cell that a write changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change<'a> {
    column: &'a ColumnName,
    before: Option<&'a Value>,
    after: Option<&'a Value>,
    personal: bool,
}

impl<'a> Explanation<'a> {
    /// Finds the record's place in the blast radius.
    pub fn new(
        story: &'a Story,
        blast_radius: Option<&'a BlastRadius>,
        schemas: &'a BTreeMap<TableName, Arc<TableSchema>>,
        settings: &'a TableSettingsByName,
    ) -> Self {
        let records = blast_radius.map(|found| found.records.as_slice()).unwrap_or_default();
        let place = (&story.table, &story.key);
        Explanation {
            story,
            blast_radius,
            chain: chain(records, place),
            derived: derived(records, place),
            schemas,
            settings,
        }
    }

    /// Whether a release was traced, and the record is in its blast radius.
    pub fn is_affected(&self) -> bool {
        !self.chain.is_empty()
    }

    fn context(&self, table: &TableName) -> TableContext<'a> {
        TableContext { schema: self.schemas.get(table).map(Arc::as_ref), settings: self.settings.get(table) }
    }

    fn reported(&self, record: &'a AffectedRecord) -> ReportedRecord<'a> {
        ReportedRecord::new(record, |table| self.context(table))
    }

    /// What a write changed, in the order of the table's columns: every column of a row that came or went.
    fn changes(&self, write: &'a Write) -> Vec<Change<'a>> {
        let context = self.context(&write.table);
        let mut columns: Vec<&ColumnName> = Vec::new();
        let images = [write.after.as_ref(), write.before.as_ref()];
        for column in images.into_iter().flatten().flat_map(|image| image.iter().map(|(column, _)| column)) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        let change = |column: &'a ColumnName| {
            let (before, after) = (write.value_before(column), write.value_after(column));
            let changed = match write.operation {
                Operation::Update => after.is_some() && before != after,
                Operation::Insert | Operation::Delete | Operation::Truncate => true,
            };
            changed.then(|| Change { column, before, after, personal: context.is_personal(column) })
        };
        columns.into_iter().filter_map(change).collect()
    }
}

/// From the record back through the causes; a circle (a record computed from itself) ends it.
fn chain<'a>(records: &'a [AffectedRecord], start: (&TableName, &RecordKey)) -> Vec<&'a AffectedRecord> {
    let by_name: HashMap<(&TableName, &RecordKey), &AffectedRecord> =
        records.iter().map(|record| ((&record.table, &record.key), record)).collect();
    let mut chain: Vec<&AffectedRecord> = Vec::new();
    let mut next = by_name.get(&start).copied();
    while let Some(record) = next {
        if chain.iter().any(|known| std::ptr::eq(*known, record)) {
            break;
        }
        chain.push(record);
        next = record.cause.as_ref().and_then(|cause| by_name.get(&(&cause.table, &cause.key)).copied());
    }
    chain
}

fn derived<'a>(records: &'a [AffectedRecord], start: (&'a TableName, &'a RecordKey)) -> Vec<&'a AffectedRecord> {
    let mut by_cause: HashMap<(&TableName, &RecordKey), Vec<&AffectedRecord>> = HashMap::new();
    for record in records {
        if let Some(cause) = &record.cause {
            by_cause.entry((&cause.table, &cause.key)).or_default().push(record);
        }
    }
    let mut seen = BTreeSet::from([start]);
    let mut waiting = VecDeque::from([start]);
    let mut derived = Vec::new();
    while let Some(name) = waiting.pop_front() {
        for record in by_cause.get(&name).into_iter().flatten() {
            if seen.insert((&record.table, &record.key)) {
                derived.push(*record);
                waiting.push_back((&record.table, &record.key));
            }
        }
    }
    derived
}
