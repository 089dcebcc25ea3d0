//! What foreign keys do by themselves: a row deleted takes those that refer to it along, or clears their reference; a key
//! that changes changes theirs. Each world has its own: what is not deleted there takes nothing along.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::unrecorded::UnrecordedWrite;
use super::{Origin, Sweep, record_of, unwritten_by, written_by};
use crate::catalog::World;
use crate::model::{
    ColumnName, ForeignKey, Operation, ReferentialAction, Row, Step, TableName, Transaction, Value, Write,
};
use crate::sql::Schemas;
use crate::trace::blast_radius::{Role, WrittenBy};
use crate::trace::worlds::{Difference, RecordName};

/// The foreign keys that do something by themselves, by the table that they refer to.
#[derive(Debug, Default)]
pub struct Cascades(BTreeMap<TableName, Vec<Reference>>);

/// One of them, and the table that it is of.
#[derive(Clone, Debug)]
struct Reference {
    table: TableName,
    key: Arc<ForeignKey>,
}

impl Cascades {
    /// Those that the tables declare.
    pub fn of(schemas: &Schemas) -> Self {
        let mut references: BTreeMap<TableName, Vec<Reference>> = BTreeMap::new();
        for schema in schemas.values() {
            let acts = |key: &&ForeignKey| {
                [key.on_delete, key.on_update].iter().any(|action| *action != ReferentialAction::Refuse)
            };
            for key in schema.foreign_keys.iter().filter(acts) {
                let reference = Reference { table: schema.name.clone(), key: Arc::new(key.clone()) };
                references.entry(key.table.clone()).or_default().push(reference);
            }
        }
        Cascades(references)
    }

    fn concern(&self, table: &TableName) -> bool {
        self.0.contains_key(table) || self.0.values().flatten().any(|reference| reference.table == *table)
    }
}

/// A record of the right world before a step.
#[derive(Clone, Debug)]
pub(super) struct Earlier {
    row: Option<Arc<Row>>,
    unknown: BTreeSet<ColumnName>,
}

/// The records that a step may cascade from or to, as they were in the right world before it.
pub(super) type BeforeCascade = BTreeMap<RecordName, Earlier>;

/// What a step's cascades have come to so far.
#[derive(Default)]
struct Following {
    /// Rows whose referring rows are still to be looked at.
    waiting: VecDeque<Referred>,
    /// The records set, each with what led there.
    set: BTreeMap<RecordName, Settled>,
}

/// What is known of a record that a cascade reached.
struct Settled {
    unknown: BTreeSet<ColumnName>,
    origin: Origin,
    written: WrittenBy,
}

/// A row that others may refer to, before and after, in the right world.
struct Referred {
    record: RecordName,
    before: Arc<Row>,
    after: Option<Arc<Row>>,
}

impl Sweep {
    /// What has to be remembered of a step before it runs.
    pub(super) fn before_cascade(&self, step: &Step) -> BeforeCascade {
        let mut before = BeforeCascade::new();
        for write in step.writes.iter().filter(|write| self.cascades.concern(&write.table)) {
            let old = self.old_record(write);
            let row = self.worlds.row(World::Right, &old).cloned();
            before.entry(old.clone()).or_insert_with(|| Earlier { row, unknown: self.all_unknown_of(&old) });
        }
        before
    }

    /// After a step, and what was judged of it: lets the right world's foreign keys do what they do there, and takes back
    /// what was carried over of what the actual world's did. `alone`: what the step wrote in the right world alone;
    /// `elsewhere`: where the records are that got a wrong key.
    pub(super) fn follow_cascades(
        &mut self,
        transaction: &Transaction,
        step: &Step,
        before: &BeforeCascade,
        alone: &[UnrecordedWrite],
        elsewhere: &BTreeMap<RecordName, RecordName>,
    ) {
        if before.is_empty() && alone.is_empty() || !self.worlds.any_affected() {
            return;
        }
        let mut following = Following::default();
        let of_step = before.iter().map(|(record, earlier)| (record, earlier.row.clone(), record));
        let of_right_alone = alone.iter().map(|one| (&one.old, one.before.row.clone(), &one.record));
        for (record, row, renamed) in of_step.chain(of_right_alone) {
            let (true, Some(row)) = (self.cascades.0.contains_key(&record.0), row) else { continue };
            let after = match renamed == record {
                true => self.right_after(step, record, elsewhere),
                false => self.worlds.row(World::Right, renamed).cloned(),
            };
            following.waiting.push_back(Referred { record: record.clone(), before: row, after });
        }
        let mut seen: BTreeSet<RecordName> = BTreeSet::new();
        while let Some(referred) = following.waiting.pop_front() {
            if !seen.insert(referred.record.clone()) {
                continue;
            }
            let references = self.cascades.0.get(&referred.record.0).cloned().unwrap_or_default();
            for reference in &references {
                self.take_back(transaction, step, &referred, reference, before, &mut following);
                self.cascade(transaction, step, &referred, reference, &mut following);
            }
        }
        following.set.into_iter().for_each(|(record, settled)| self.settle_cascaded(&record, settled));
    }

    /// Of a record of which nobody knows whether the step left it there: what its foreign keys would take along.
    pub(super) fn doubt_cascades(&mut self, transaction: &Transaction, step: &Step) {
        let may_be_gone = |record: &RecordName| {
            let known = self.worlds.difference(record);
            self.cascades.0.contains_key(&record.0)
                && known.is_some_and(|known| self.worlds.doubts_existence(record, &known.unknown))
        };
        let mut waiting: VecDeque<RecordName> =
            self.doubtful.iter().filter(|record| may_be_gone(record)).cloned().collect();
        let mut seen: BTreeSet<RecordName> = waiting.iter().cloned().collect();
        let sql = step.statement.as_ref().map(|statement| statement.sql.clone());
        while let Some(referred) = waiting.pop_front() {
            let Some(row) = self.worlds.row(World::Right, &referred).cloned() else { continue };
            let origin = self.origin(&referred, sql.clone());
            for reference in self.cascades.0.get(&referred.0).cloned().unwrap_or_default() {
                let columns: BTreeSet<ColumnName> = match reference.key.on_delete {
                    ReferentialAction::Refuse => continue,
                    ReferentialAction::Cascade => self.whole_row(&reference.table),
                    ReferentialAction::SetNull | ReferentialAction::SetDefault => {
                        reference.key.columns.iter().cloned().collect()
                    }
                };
                let values = values_of(&row, &reference.key.referenced);
                let rows = values.map(|values| self.referring_rows(&reference, &values)).unwrap_or_default();
                let Some(schema) = self.worlds.schema(&reference.table) else { continue };
                for record in rows.iter().filter_map(|row| Some((reference.table.clone(), row.key(&schema.key)?))) {
                    let why = "nobody knows whether the row that it refers to was deleted";
                    self.possible(&record, columns.clone(), &origin, unwritten_by(transaction), why);
                    let is_followed = reference.key.on_delete == ReferentialAction::Cascade;
                    if is_followed && self.cascades.0.contains_key(&record.0) && seen.insert(record.clone()) {
                        waiting.push_back(record);
                    }
                }
            }
        }
    }

    /// The record in the right world after the step, under its new key where that has changed.
    fn right_after(
        &self,
        step: &Step,
        record: &RecordName,
        elsewhere: &BTreeMap<RecordName, RecordName>,
    ) -> Option<Arc<Row>> {
        let renamed = || {
            let renames = |write: &&Write| write.operation == Operation::Update && self.old_record(write) == *record;
            let renamed = step.writes.iter().find(renames).map(record_of)?;
            Some(elsewhere.get(&renamed).cloned().unwrap_or(renamed))
        };
        let here = self.worlds.row(World::Right, record).cloned();
        here.or_else(|| self.worlds.row(World::Right, &renamed()?).cloned())
    }

    /// What the actual world's row took along is as it was before, in the right world.
    fn take_back(
        &mut self,
        transaction: &Transaction,
        step: &Step,
        referred: &Referred,
        reference: &Reference,
        before: &BeforeCascade,
        following: &mut Following,
    ) {
        let of_referred = step.writes.iter().filter(|write| self.old_record(write) == referred.record);
        let taken_along: Vec<&Write> =
            of_referred.flat_map(|from| step.writes.iter().filter(|to| takes_along(from, reference, to))).collect();
        for write in taken_along {
            let old = self.old_record(write);
            let Some(Earlier { row: Some(row), unknown }) = before.get(&old) else { continue };
            let right = match write.operation {
                Operation::Delete => Some(row.clone()),
                _ => self.worlds.row(World::Right, &record_of(write)).map(|now| {
                    let mut now = now.as_ref().clone();
                    for column in &reference.key.columns {
                        now.set(column.clone(), row.get(column).cloned().unwrap_or(Value::NULL));
                    }
                    Arc::new(now)
                }),
            };
            // Where nobody knows whether the row that took it along is there, nobody knows it of this one.
            let known = self.worlds.difference(&referred.record).map(|difference| &difference.unknown);
            let is_in_doubt = known.is_some_and(|unknown| self.worlds.doubts_existence(&referred.record, unknown));
            let unknown = match (is_in_doubt, write.operation) {
                (true, Operation::Delete) => self.whole_row(&write.table),
                (true, _) => unknown.iter().chain(&reference.key.columns).cloned().collect(),
                (false, _) => unknown.clone(),
            };
            let origin = self.cascade_origin(referred, step);
            let written = WrittenBy { tx: transaction.id.clone(), ..written_by(write) };
            let settled = |unknown| Settled { unknown, origin: origin.clone(), written: written.clone() };
            if old != record_of(write) {
                self.set_cascaded(record_of(write), None, settled(BTreeSet::new()), following);
            }
            self.set_cascaded(old.clone(), right.clone(), settled(unknown), following);
            following.waiting.push_back(Referred { record: old, before: row.clone(), after: right });
        }
    }

    /// What the right world's row takes along.
    fn cascade(
        &mut self,
        transaction: &Transaction,
        step: &Step,
        referred: &Referred,
        reference: &Reference,
        following: &mut Following,
    ) {
        let key = &reference.key;
        let Some(old_values) = values_of(&referred.before, &key.referenced) else { return };
        let new_values = referred.after.as_deref().map(|after| values_of(after, &key.referenced));
        let action = match &new_values {
            None => key.on_delete,
            Some(values) if values.as_ref() != Some(&old_values) => key.on_update,
            Some(_) => return,
        };
        let Some(schema) = self.worlds.schema(&reference.table) else { return };
        for row in self.referring_rows(reference, &old_values) {
            let Some(record) = row.key(&schema.key).map(|record| (reference.table.clone(), record)) else { continue };
            let mut right = row.as_ref().clone();
            // What was doubted of it, because the actual world's cascade wrote it, is past.
            let taken_back = following.set.get(&record).map(|settled| settled.unknown.clone());
            let mut unknown = taken_back.unwrap_or_else(|| self.all_unknown_of(&record));
            match (action, new_values.as_ref().and_then(Option::as_ref)) {
                (ReferentialAction::Refuse, _) => continue,
                (ReferentialAction::Cascade, Some(values)) => {
                    let renamed = key.columns.iter().zip(values);
                    renamed.for_each(|(column, value)| right.set(column.clone(), value.clone()));
                }
                (ReferentialAction::Cascade, None) => {}
                (ReferentialAction::SetNull, _) => {
                    key.columns.iter().for_each(|column| right.set(column.clone(), Value::NULL));
                }
                (ReferentialAction::SetDefault, _) => unknown.extend(key.columns.iter().cloned()),
            }
            let is_deleted = action == ReferentialAction::Cascade && new_values.is_none();
            let after = (!is_deleted).then(|| Arc::new(right));
            let origin = self.cascade_origin(referred, step);
            let written = unwritten_by(transaction);
            let settled = |unknown| Settled { unknown, origin: origin.clone(), written: written.clone() };
            let new_key = after.as_ref().and_then(|row| row.key(&schema.key));
            match new_key.map(|key| (reference.table.clone(), key)).filter(|renamed| *renamed != record) {
                Some(renamed) => {
                    self.set_cascaded(record.clone(), None, settled(BTreeSet::new()), following);
                    self.set_cascaded(renamed, after.clone(), settled(unknown), following);
                }
                None => self.set_cascaded(record.clone(), after.clone(), settled(unknown), following),
            }
            following.waiting.push_back(Referred { record, before: row, after });
        }
    }

    /// The right world's rows that refer to these values.
    fn referring_rows(&mut self, reference: &Reference, values: &[Value]) -> Vec<Arc<Row>> {
        let (Some(column), Some(value)) = (reference.key.columns.first(), values.first()) else { return Vec::new() };
        let Some(table) = self.worlds.tables.table_mut(&reference.table) else { return Vec::new() };
        let rows = table.rows_where(World::Right, column, &BTreeSet::from([value.clone()]));
        let refers = |row: &Arc<Row>| values_of(row, &reference.key.columns).is_some_and(|held| held == values);
        rows.into_iter().filter(refers).collect()
    }

    fn cascade_origin(&self, referred: &Referred, step: &Step) -> Origin {
        self.origin(&referred.record, step.statement.as_ref().map(|statement| statement.sql.clone()))
    }

    /// Puts the record as it is in the right world; what that makes of it is said once all is done.
    fn set_cascaded(
        &mut self,
        record: RecordName,
        right: Option<Arc<Row>>,
        settled: Settled,
        following: &mut Following,
    ) {
        let actual = self.worlds.row(World::Actual, &record).cloned();
        self.worlds.set(&record, actual, right);
        following.set.insert(record, settled);
    }

    /// The record is known in the right world, but for these columns.
    fn settle_cascaded(&mut self, record: &RecordName, Settled { unknown, origin, written }: Settled) {
        let differs = self.worlds.tables.table(&record.0).is_some_and(|table| table.differs(&record.1));
        if !differs && unknown.is_empty() && self.worlds.difference(record).is_none() {
            return;
        }
        let role = if unknown.is_empty() { Role::Derived } else { Role::Possible };
        let fresh = || Difference::new(role, origin.hops, written, Some(origin.cause));
        let role = self.worlds.difference_or(record, fresh).role;
        let is_proved = differs && unknown.is_empty() && role == Role::Possible;
        self.worlds.set_unknown(record, unknown);
        if is_proved {
            self.worlds.prove(record);
        }
        self.worlds.note_wrong(record);
        self.worlds.forget_if_never_wrong(record);
    }
}

/// Whether one write of a step is what the foreign key made of another.
fn takes_along(from: &Write, reference: &Reference, to: &Write) -> bool {
    let key = &reference.key;
    let (Some(old), Some(held)) = (&from.before, &to.before) else { return false };
    let refers = to.table == reference.table
        && values_of(old, &key.referenced).is_some_and(|old| values_of(held, &key.columns) == Some(old));
    let now = to.after.as_ref().map(|after| values_of(after, &key.columns));
    let is_null =
        now.as_ref().is_some_and(|values| values.as_ref().is_some_and(|values| values.iter().all(Value::is_null)));
    let action = match from.operation {
        Operation::Delete => key.on_delete,
        Operation::Update => key.on_update,
        Operation::Insert | Operation::Truncate => return false,
    };
    refers
        && match (action, from.operation) {
            (ReferentialAction::Refuse, _) => false,
            (ReferentialAction::Cascade, Operation::Delete) => to.operation == Operation::Delete,
            (ReferentialAction::Cascade, _) => {
                now.is_some() && now == from.after.as_ref().map(|after| values_of(after, &key.referenced))
            }
            (ReferentialAction::SetNull, _) => is_null,
            (ReferentialAction::SetDefault, _) => to.operation == Operation::Update,
        }
}

/// The row's values of these columns; `None` where one is not known.
fn values_of(row: &Row, columns: &[ColumnName]) -> Option<Vec<Value>> {
    columns.iter().map(|column| row.get(column).cloned()).collect()
}
