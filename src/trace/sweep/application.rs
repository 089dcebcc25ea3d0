//! Applications in between: what a transaction writes after it read something that the right world would not have shown.
//!
//! Nobody knows the code, but its values tell: one that the transaction had used before it read anything affected is not
//! computed from that.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::{Progress, Sweep, carry, record_of, written_by};
use crate::model::{ColumnName, Operation, Statement, Step, TraceId, Transaction, Value, Write};
use crate::sql::{self, Assigned, Constant};
use crate::trace::reenact::Compiled;

/// The columns of one write whose values the statement got from the application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FromApplication {
    /// Their values may be computed from what was read.
    fresh: BTreeSet<ColumnName>,
    /// Their values were there before: only whether they would have been written may depend on what was read.
    known: BTreeSet<ColumnName>,
}

impl FromApplication {
    /// All of them.
    fn all(&self) -> BTreeSet<ColumnName> {
        self.fresh.union(&self.known).cloned().collect()
    }
}

impl Sweep {
    /// After a transaction read something affected, what the application then writes may be computed from it.
    pub(super) fn mark_diverged(&mut self, transaction: &Transaction, step: &Step, progress: &mut Progress) {
        let known_values = match (&progress.diverged, progress.known_until) {
            (Some(_), Some(until)) if !step.writes.is_empty() => {
                let known = progress.known_values.get_or_insert_with(|| Arc::new(values_used(transaction, until)));
                Arc::clone(known)
            }
            _ => Arc::default(),
        };
        if let (Some(origin), Some(statement)) = (&progress.diverged, &step.statement)
            && let Some(trace) = TraceId::of_comment(&statement.sql)
        {
            self.diverged_traces.entry(trace).or_insert_with(|| origin.clone());
        }
        let columns = self.application_columns(step, &known_values);
        for (write, columns) in step.writes.iter().zip(columns) {
            let record = record_of(write);
            let written = written_by(write);
            let all = columns.all();
            if let Some(origin) = &progress.diverged {
                if let Some(trace) = &write.trace {
                    self.diverged_traces.entry(trace.clone()).or_insert_with(|| origin.clone());
                }
                if !progress.roots.contains(&record) && !all.is_empty() {
                    let why = "the transaction read an affected record before";
                    let FromApplication { mut fresh, mut known } = columns;
                    // Whether a row is there at all is as doubtful as its values.
                    if write.operation == Operation::Insert {
                        let key = write.key.iter().map(|(column, _)| column.clone());
                        if fresh.is_empty() { known.extend(key) } else { fresh.extend(key) }
                    }
                    if !known.is_empty() {
                        self.suspected(&record, known, origin, written.clone(), why);
                    }
                    if !fresh.is_empty() {
                        self.possible(&record, fresh.clone(), origin, written.clone(), why);
                        let likely = self.likely(transaction, step, write, &fresh, progress);
                        self.worlds.set_likely(&record, &fresh, likely);
                    }
                }
            }
            progress.from_application.push((record, all, written));
        }
    }

    /// What these columns, whose values the statement got from the application, would likely hold.
    fn likely(
        &self,
        transaction: &Transaction,
        step: &Step,
        write: &Write,
        columns: &BTreeSet<ColumnName>,
        progress: &Progress,
    ) -> Vec<(ColumnName, Value)> {
        let (Some(statement), Some(schema)) = (&step.statement, self.worlds.schema(&write.table)) else {
            return Vec::new();
        };
        let likely = |column: &ColumnName| {
            let known = schema.column(column).filter(|_| !schema.key.contains(column))?;
            let value = progress.flow.likely(write.value_after(column)?, transaction, statement)?;
            Some((column.clone(), known.column_type.canonical(&value).ok()?))
        };
        columns.iter().filter_map(likely).collect()
    }

    /// For each write of a step: the columns (not of the key) whose values the statement got from the application; for
    /// an unknown statement every column that it changed.
    fn application_columns(&mut self, step: &Step, known_values: &HashSet<String>) -> Vec<FromApplication> {
        let compiled = match &step.statement {
            Some(statement) => {
                Some(self.statements.statement(&statement.sql, &statement.parameters, statement.time_zone.as_ref()))
            }
            None => None,
        };
        let of_write = |write: &Write| -> FromApplication {
            let schema = self.worlds.schema(&write.table);
            let not_key = |column: &ColumnName| schema.as_ref().is_none_or(|schema| !schema.key.contains(column));
            let mut columns = FromApplication::default();
            match (compiled.as_deref(), &step.statement) {
                (Some(Compiled::Write(form)), Some(statement)) => {
                    let assigned = form.of_table(&write.table).into_iter();
                    let assigned = assigned.flat_map(|table| table.assigned_by(write.operation));
                    let given = assigned.filter(|assigned| !assigned.from_application.is_empty());
                    for assigned in given.filter(|assigned| not_key(&assigned.column)) {
                        let known = is_known(assigned, statement, known_values);
                        let columns = if known { &mut columns.known } else { &mut columns.fresh };
                        columns.insert(assigned.column.clone());
                    }
                }
                _ => columns.fresh.extend(carry::changed_columns(write).into_iter().filter(not_key)),
            }
            columns
        };
        step.writes.iter().map(of_write).collect()
    }
}

/// Whether everything that the application gave for the column was there before. Of a NULL, that says nothing.
fn is_known(assigned: &Assigned, statement: &Statement, known_values: &HashSet<String>) -> bool {
    let is_known = |constant: &Constant| match constant {
        Constant::Parameter(number) => {
            let value = number.checked_sub(1).and_then(|place| statement.parameters.get(place));
            value.and_then(Value::as_str).is_some_and(|value| known_values.contains(value))
        }
        Constant::Literal(text) => known_values.contains(text),
        Constant::Null => false,
    };
    assigned.counts || assigned.from_application.iter().all(is_known)
}

/// Every parameter and literal of the transaction's statements up to this step.
fn values_used(transaction: &Transaction, until: usize) -> HashSet<String> {
    let statements = transaction.steps.iter().take(until).filter_map(|step| step.statement.as_ref());
    let mut used = HashSet::new();
    for statement in statements {
        used.extend(statement.parameters.iter().filter_map(Value::as_str).map(str::to_owned));
        used.extend(sql::literals(&statement.sql));
    }
    used
}
