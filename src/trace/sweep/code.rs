//! Triggers and functions of the database's own, where there is no scratch server to run them on: what they wrote may be
//! wrong where they read something that is.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Origin, Progress, Sweep, carry, record_of, unwritten_by, written_by};
use crate::model::{ColumnName, Operation, Statement, Step, TableName, Transaction, Write};
use crate::sql::WriteTarget;
use crate::trace::blast_radius::WrittenBy;
use crate::trace::reach::Reached;
use crate::trace::reenact::Compiled;
use crate::trace::worlds::RecordName;

const WHY: &str = "a trigger or function of the database wrote it, which was not run again";

impl Sweep {
    /// What the statement's triggers and functions can come to, where nobody can run them.
    pub(super) fn code_not_run(&mut self, step: &Step) -> Option<Arc<Reached>> {
        let statement = step.statement.as_ref().filter(|_| self.scratch.is_none() && self.runs_code)?;
        let reached = self.reach.from(&statement.sql);
        reached.runs_code.then_some(reached)
    }

    /// Doubts what triggers and functions wrote from something that is wrong, or may be.
    pub(super) fn doubt_code(
        &mut self,
        transaction: &Transaction,
        step: &Step,
        reached: &Reached,
        progress: &mut Progress,
    ) {
        let Some(statement) = &step.statement else { return };
        let read: Vec<TableName> = reached.read_by_code.iter().cloned().collect();
        let source = if read.is_empty() { None } else { self.any_affected_record(&read) };
        self.doubt_changed_before(transaction, step, progress);
        self.doubt_code_of_right_alone(transaction, (step, statement), reached, progress);
        let is_touched = |write: &Write| self.worlds.touches(&record_of(write), |_| true);
        if source.is_none() && !reached.calls_code && !step.writes.iter().any(is_touched) {
            return;
        }
        let compiled = self.statements.statement(&statement.sql, &statement.parameters, statement.time_zone.as_ref());
        if reached.calls_code && compiled.targets().is_empty() {
            let reason = "calls a function of the database's own";
            self.diverge_by_unknown_read(statement, source.clone(), progress, reason);
        }
        let mut written = BTreeSet::new();
        for write in step.writes.iter().filter(|write| write.operation != Operation::Delete) {
            let record = record_of(write);
            let is_again = !written.insert(record.clone());
            let is_affected = self.worlds.touches(&record, |_| true);
            let Some(source) = source.clone().or_else(|| is_affected.then(|| record.clone())) else { continue };
            let columns = self.written_by_code(write, is_again, &compiled, reached);
            if !columns.is_empty() {
                let origin = self.origin(&source, Some(statement.sql.clone()));
                self.doubt_written(transaction, write, &record, columns, &origin);
            }
        }
    }

    /// Doubts what triggers may change before it is written, of rows that are others in the right world, or are written there
    /// alone.
    fn doubt_changed_before(&mut self, transaction: &Transaction, step: &Step, progress: &Progress) {
        let recorded = step.writes.iter().filter(|write| write.operation != Operation::Delete);
        let written_here = |write: &Write| WrittenBy { tx: transaction.id.clone(), ..written_by(write) };
        let recorded = recorded.map(|write| (record_of(write), written_here(write), false));
        let alone = progress.unrecorded.iter().filter(|one| one.operation != Operation::Delete);
        let alone = alone.map(|one| (one.record.clone(), unwritten_by(transaction), true));
        let sql = step.statement.as_ref().map(|statement| statement.sql.clone());
        for (record, written, is_alone) in recorded.chain(alone) {
            let Some(changed) = self.reach.changed_before(&record.0) else { continue };
            // From what is the same in both worlds it computes the same, where it runs in both.
            let reads = |column: &str| is_alone || changed.read.as_ref().is_none_or(|read| read.contains(column));
            if !self.worlds.touches(&record, reads) {
                continue;
            }
            let mut columns = self.not_key(&record.0, self.whole_row(&record.0));
            if let Some(assigned) = &changed.assigned {
                columns.retain(|column| assigned.contains(column.as_ref()));
            }
            if !columns.is_empty() {
                let origin = self.origin(&record, sql.clone());
                self.possible(&record, columns, &origin, written, WHY);
                self.notes.code_not_run();
            }
        }
    }

    /// Of what is written in the right world alone, triggers may write anything to the tables that they reach.
    fn doubt_code_of_right_alone(
        &mut self,
        transaction: &Transaction,
        (step, statement): (&Step, &Statement),
        reached: &Reached,
        progress: &Progress,
    ) {
        let Some(source) = progress.unrecorded.first().map(|one| one.record.clone()) else { return };
        let compiled = self.statements.statement(&statement.sql, &statement.parameters, statement.time_zone.as_ref());
        let own: BTreeSet<&TableName> = compiled.targets().iter().map(|target| &target.table).collect();
        let target = |table: &TableName| WriteTarget {
            table: table.clone(),
            operations: vec![Operation::Insert, Operation::Update, Operation::Delete],
            assigned: Vec::new(),
            set: Vec::new(),
            fixed: Vec::new(),
            on_conflict: None,
        };
        let written = reached.written_by_code.iter().filter(|table| !own.contains(table));
        let targets: Vec<WriteTarget> = written.map(target).collect();
        if !targets.is_empty() {
            self.doubt_what_it_may_write(transaction, (step, statement), &targets, Some(source), None);
            self.notes.code_not_run();
        }
    }

    /// Doubts what triggers made of what the release should not have written.
    pub(super) fn doubt_code_of_roots(
        &mut self,
        transaction: &Transaction,
        step: &Step,
        reached: &Reached,
        roots: &[RecordName],
        mended: &BTreeSet<(RecordName, ColumnName)>,
    ) {
        let (Some(statement), Some(root)) = (&step.statement, roots.first()) else { return };
        let origin = self.origin(root, Some(statement.sql.clone()));
        let compiled = self.statements.statement(&statement.sql, &statement.parameters, statement.time_zone.as_ref());
        let mut written = BTreeSet::new();
        for write in step.writes.iter().filter(|write| write.operation != Operation::Delete) {
            let record = record_of(write);
            let is_again = !written.insert(record.clone());
            let mut columns = self.written_by_code(write, is_again, &compiled, reached);
            columns.retain(|column| !mended.contains(&(record.clone(), column.clone())));
            match roots.contains(&record) {
                _ if columns.is_empty() => {}
                // It is a root all the same.
                true => {
                    let unknown = self.all_unknown_of(&record).union(&columns).cloned().collect();
                    self.worlds.set_unknown(&record, unknown);
                    self.worlds.note_wrong(&record);
                    self.doubtful.insert(record);
                    self.notes.code_not_run();
                }
                false => self.doubt_written(transaction, write, &record, columns, &origin),
            }
        }
    }

    fn doubt_written(
        &mut self,
        transaction: &Transaction,
        write: &Write,
        record: &RecordName,
        columns: BTreeSet<ColumnName>,
        origin: &Origin,
    ) {
        let written = WrittenBy { tx: transaction.id.clone(), ..written_by(write) };
        self.possible(record, columns, origin, written, WHY);
        self.notes.code_not_run();
    }

    /// The columns of a write that triggers and functions may have given their values. `is_again`: the statement wrote
    /// the record before, so that this write is a trigger's.
    fn written_by_code(
        &self,
        write: &Write,
        is_again: bool,
        compiled: &Compiled,
        reached: &Reached,
    ) -> BTreeSet<ColumnName> {
        let columns = self.not_key(&write.table, carry::changed_columns(write));
        let is_target = compiled.targets().iter().any(|target| target.table == write.table);
        if reached.calls_code || is_again || !is_target {
            return columns;
        }
        // A trigger that runs after it writes once more; what the statement leaves out has its default.
        if write.operation == Operation::Insert && !self.reach.is_changed_before(&write.table) {
            return BTreeSet::new();
        }
        let Compiled::Write(form) = compiled else { return columns };
        let assigned = form.of_table(&write.table).into_iter().flat_map(|table| table.assigned_by(write.operation));
        let mut told: BTreeSet<&ColumnName> = assigned.map(|assigned| &assigned.column).collect();
        told.extend(self.generated.of_table(&write.table));
        columns.iter().filter(|column| !told.contains(column)).cloned().collect()
    }
}
