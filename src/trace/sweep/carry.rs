//! Writes that are the same in both worlds.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Progress, Sweep, record_of, written_by};
use crate::catalog::World;
use crate::model::{ColumnName, Operation, Row, Statement, Step, TableName, Transaction, Write};
use crate::sql::WriteTarget;

/// The columns that a statement sets to no constant in the row of a write, as far as its text tells.
fn set_by(targets: &[WriteTarget], write: &Write) -> BTreeSet<ColumnName> {
    let mut set = BTreeSet::new();
    let of_table = targets.iter().filter(|target| target.table == write.table);
    for target in of_table.filter(|_| write.operation == Operation::Update) {
        let on_conflict = target.on_conflict.iter().flat_map(|conflict| &conflict.assigned);
        let is_computed = |column: &&ColumnName| !target.set.iter().any(|(constant, _)| constant == *column);
        set.extend(target.assigned.iter().filter(is_computed).chain(on_conflict).cloned());
    }
    set
}

/// The columns that a write is known to have changed; all of an insert's.
pub fn changed_columns(write: &Write) -> BTreeSet<ColumnName> {
    match (&write.before, &write.after) {
        (Some(before), Some(after)) => after
            .iter()
            .filter(|(column, value)| before.get(column) != Some(value))
            .map(|(column, _)| column.clone())
            .collect(),
        (None, Some(row)) | (Some(row), None) => row.iter().map(|(column, _)| column.clone()).collect(),
        (None, None) => BTreeSet::new(),
    }
}

impl Sweep {
    /// The writes do in the right world what they did in the actual one: columns that they set are the same in both
    /// worlds afterwards, columns that they left alone keep their difference. `assigned`: the columns that the
    /// statement sets, where that is known.
    pub(super) fn carry_all(&mut self, writes: &[Write], assigned: Option<&BTreeSet<ColumnName>>) {
        for write in writes {
            self.carry(write, assigned);
        }
    }

    pub(super) fn carry(&mut self, write: &Write, assigned: Option<&BTreeSet<ColumnName>>) {
        if write.operation == Operation::Truncate {
            self.truncate(&write.table);
            return;
        }
        let record = record_of(write);
        let old = self.old_record(write);
        if !self.worlds.is_affected(&write.table) || !self.concerns(&record) && !self.concerns(&old) {
            self.apply_same(write);
            return;
        }
        let set = assigned.cloned().unwrap_or_else(|| changed_columns(write));
        let right_old = self.worlds.row(World::Right, &old).cloned();
        let (actual, right) = match write.operation {
            Operation::Delete => (None, None),
            Operation::Insert => {
                let row = self.whole(write, None, write.after.as_ref());
                (row.clone(), row)
            }
            _ => {
                let actual_old = self.worlds.row(World::Actual, &old).cloned();
                let actual = self.whole(write, actual_old.as_deref(), write.after.as_ref());
                let newer: Option<Row> = write.after.as_ref().map(|after| {
                    after
                        .iter()
                        .filter(|(column, _)| set.contains(*column))
                        .map(|(column, value)| (column.clone(), value.clone()))
                        .collect()
                });
                // A row that the right world does not have is not updated there.
                let right = right_old.as_deref().and_then(|old| self.whole(write, Some(old), newer.as_ref()));
                (actual, right)
            }
        };
        if old != record {
            self.worlds.set(&old, None, None);
            self.worlds.rename(&old, &record);
        }
        self.worlds.set(&record, actual, right);
        self.forget(&record, write.operation, &set);
    }

    /// What the database did by itself (a trigger, a cascade): nobody knows what it computes from what stood there.
    pub(super) fn carry_side_effect(&mut self, transaction: &Transaction, statement: &Statement, write: &Write) {
        let old = self.old_record(write);
        let columns = self.not_key(&write.table, changed_columns(write));
        let was_wrong =
            write.operation == Operation::Update && self.worlds.touches(&old, |name| columns.contains(name));
        self.carry(write, None);
        if was_wrong {
            let origin = self.origin(&old, Some(statement.sql.clone()));
            let written = super::WrittenBy { tx: transaction.id.clone(), ..written_by(write) };
            self.possible(
                &record_of(write),
                columns,
                &origin,
                written,
                "a trigger or cascade wrote it over a wrong value",
            );
        }
    }

    /// What both worlds agree on now is neither unknown nor suspected any more.
    pub(super) fn forget(&mut self, record: &super::RecordName, operation: Operation, set: &BTreeSet<ColumnName>) {
        let Some(difference) = self.worlds.difference(record) else { return };
        let keeps = |columns: &BTreeSet<ColumnName>| -> BTreeSet<ColumnName> {
            match operation {
                Operation::Update => columns.difference(set).cloned().collect(),
                _ => BTreeSet::new(),
            }
        };
        let (unknown, suspected) = (keeps(&difference.unknown), keeps(&difference.suspected));
        let changed = (unknown != difference.unknown, suspected != difference.suspected);
        if changed.0 {
            self.worlds.set_unknown(record, unknown);
        }
        if changed.1 {
            self.worlds.set_suspected(record, suspected);
        }
        if self.worlds.is_wrong(record) {
            self.worlds.note_wrong(record);
        }
    }

    fn concerns(&self, record: &super::RecordName) -> bool {
        self.worlds.touches(record, |_| true)
    }

    /// A record on which the worlds agree: the actual write is all there is to do.
    fn apply_same(&mut self, write: &Write) {
        let record = record_of(write);
        let old = self.old_record(write);
        let row = match write.operation {
            Operation::Delete => None,
            Operation::Insert => self.whole(write, None, write.after.as_ref()),
            _ => {
                let known = self.worlds.row(World::Actual, &old).cloned();
                self.whole(write, known.as_deref(), write.after.as_ref())
            }
        };
        if old != record {
            self.worlds.set(&old, None, None);
        }
        self.worlds.set(&record, row.clone(), row);
    }

    pub(super) fn whole(&self, write: &Write, older: Option<&Row>, newer: Option<&Row>) -> Option<Arc<Row>> {
        let table = self.worlds.tables.table(&write.table)?;
        let key = write.key.to_row();
        let newer = newer.map_or_else(|| key.clone(), |newer| key.overlaid(newer));
        Some(Arc::new(table.whole(older, &newer)))
    }

    fn truncate(&mut self, table: &TableName) {
        self.unnamed.remove(table);
        let Some(rolling) = self.worlds.tables.table(table) else { return };
        let keys: BTreeSet<_> = rolling.keys(World::Actual).into_iter().chain(rolling.keys(World::Right)).collect();
        for key in keys {
            let record = (table.clone(), key);
            self.worlds.set(&record, None, None);
            self.forget(&record, Operation::Truncate, &BTreeSet::new());
        }
    }

    /// A statement that is not known: what it set is the same in both worlds, unless its transaction read something
    /// affected (see [`Sweep::mark_diverged`]).
    pub(super) fn unknown_statement(&mut self, step: &Step, progress: &Progress, reason: &str) {
        let concerned = step.writes.iter().any(|write| self.concerns(&record_of(write)));
        if concerned || progress.diverged.is_some() {
            let table = step.writes.first().map_or_else(String::new, |write| write.table.to_string());
            self.notes.limit(format!("a write to {table} was followed by its images alone: {reason}"));
        }
        self.carry_all(&step.writes, None);
    }

    /// A statement that names an affected table and cannot be run again: everything that it set may be wrong, what it
    /// deleted may still be there, and what it inserted may not.
    pub(super) fn affected_by_unknown(
        &mut self,
        transaction: &Transaction,
        step: &Step,
        targets: &[WriteTarget],
        source: Option<&super::RecordName>,
        reason: &str,
    ) {
        let sql = step.statement.as_ref().map(|statement| statement.sql.clone());
        if let Some(sql) = &sql {
            self.notes.inexact(sql, reason);
        }
        let right_before = |write: &Write| self.worlds.row(World::Right, &self.old_record(write)).cloned();
        let before: Vec<Option<Arc<Row>>> = step.writes.iter().map(right_before).collect();
        self.carry_all(&step.writes, None);
        let Some(source) = source else { return };
        let origin = self.origin(source, sql.clone());
        for (write, before) in step.writes.iter().zip(before) {
            let (record, old) = (record_of(write), self.old_record(write));
            let is_written = match write.operation {
                Operation::Insert => self.is_surely_there(write, targets),
                _ => old == record && write.operation == Operation::Update,
            };
            // It may have set a column to what stood there already.
            let columns = changed_columns(write).union(&set_by(targets, write)).cloned().collect();
            let mut written = written_by(write);
            written.tx.clone_from(&transaction.id);
            let why = "the statement that wrote it could not be run again";
            if is_written {
                self.possible(&record, self.not_key(&record.0, columns), &origin, written, why);
            } else {
                if let Some(before) = before.filter(|_| write.operation != Operation::Insert) {
                    let actual = self.worlds.row(World::Actual, &old).cloned();
                    self.worlds.set(&old, actual, Some(before));
                    self.possible(&old, self.whole_row(&old.0), &origin, written.clone(), why);
                }
                if self.worlds.row(World::Right, &record).is_some() {
                    self.possible(&record, self.whole_row(&record.0), &origin, written, why);
                }
            }
            if let Some(sql) = &sql {
                self.notes.affected(sql);
            }
        }
    }

    /// Whether the row that an insert wrote is there whatever the statement reads: its key stands in the text.
    fn is_surely_there(&self, write: &Write, targets: &[WriteTarget]) -> bool {
        let Some(schema) = self.worlds.schema(&write.table) else { return true };
        let mut of_table = targets.iter().filter(|target| target.table == write.table);
        of_table.any(|target| schema.key.iter().all(|column| target.fixed.iter().any(|(fixed, _)| fixed == column)))
    }

    /// The columns by which its records are told apart: where one of them is not known, whether the record is there is not.
    pub(super) fn key_columns(&self, table: &TableName) -> BTreeSet<ColumnName> {
        self.worlds.schema(table).iter().flat_map(|schema| &schema.key).cloned().collect()
    }

    pub(super) fn whole_row(&self, table: &TableName) -> BTreeSet<ColumnName> {
        let schema = self.worlds.schema(table);
        schema.iter().flat_map(|schema| &schema.columns).map(|column| column.name.clone()).collect()
    }

    pub(super) fn not_key(&self, table: &TableName, columns: BTreeSet<ColumnName>) -> BTreeSet<ColumnName> {
        let key = self.worlds.schema(table).map(|schema| schema.key.clone()).unwrap_or_default();
        columns.into_iter().filter(|column| !key.contains(column)).collect()
    }

    /// An affected record of these tables, or one that a temporary table among them was computed from; of any table, where
    /// none is named.
    pub(super) fn any_affected_record(&self, tables: &[TableName]) -> Option<super::RecordName> {
        let all: Vec<TableName> = self.worlds.tables.iter().map(|(table, _)| table.clone()).collect();
        let named = if tables.is_empty() { all.as_slice() } else { tables };
        let recorded =
            named.iter().find_map(|table| Some((table.clone(), self.worlds.affected(table).into_iter().next()?)));
        recorded.or_else(|| self.source_of_temporary(tables))
    }

    /// A query that names an affected table and cannot be run again: it may have returned something else.
    pub(super) fn diverge_by_unknown_read(
        &mut self,
        statement: &Statement,
        source: Option<super::RecordName>,
        progress: &mut Progress,
        reason: &str,
    ) {
        if let Some(source) = source {
            self.notes.inexact(&statement.sql, reason);
            let origin = self.origin(&source, Some(statement.sql.clone()));
            progress.diverged.get_or_insert(origin);
        }
    }
}
