//! Rows that the right world may have and nobody can name: a statement that cannot be run again may have inserted others,
//! and those have keys that only the database, or the statement, could give; and keys computed from unknown values.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Sweep, record_of, unwritten_by};
use crate::catalog::World;
use crate::model::{ColumnName, Operation, RecordKey, Statement, Step, TableName, Transaction, Value};
use crate::sql::{self, Bound, TableReference, WriteTarget};
use crate::trace::reenact::{Refusal, constant_values};
use crate::trace::worlds::RecordName;

/// The tables that may have such rows, each with a record that they may be computed from.
pub(super) type UnnamedRows = BTreeMap<TableName, RecordName>;

impl Sweep {
    /// Says of each such table that not all that it lacks is listed.
    pub(super) fn tell_unnamed(&mut self) {
        for table in self.unnamed.keys() {
            self.notes.limit(format!("{table} may lack rows that nobody can name: their keys are not known"));
        }
    }

    /// The statement may have inserted other rows: under keys that its text tells, or that nobody knows.
    pub(super) fn doubt_what_it_may_insert(
        &mut self,
        transaction: &Transaction,
        (step, statement): (&Step, &Statement),
        targets: &[WriteTarget],
        source: &RecordName,
    ) {
        let lists_its_rows = sql::parse(&statement.sql).is_ok_and(|parsed| parsed.iter().all(sql::lists_its_rows));
        for target in targets.iter().filter(|target| target.operations.contains(&Operation::Insert)) {
            if lists_its_rows && target.on_conflict.is_none() {
                continue;
            }
            match self.key_fixed_by(target, &statement.parameters) {
                Some(key) => self.doubt_absence(transaction, (step, statement), (target.table.clone(), key), source),
                None => _ = self.unnamed.entry(target.table.clone()).or_insert_with(|| source.clone()),
            }
        }
    }

    /// The only key that a row which is inserted can have.
    fn key_fixed_by(&self, target: &WriteTarget, parameters: &[Value]) -> Option<RecordKey> {
        let schema = self.worlds.schema(&target.table).filter(|schema| !schema.key.is_empty())?;
        let cell = |column: &ColumnName| {
            let (_, operands) = target.fixed.iter().find(|(fixed, _)| fixed == column)?;
            let bound = Bound { column: column.clone(), operands: operands.clone() };
            let values = constant_values(&bound, &schema.column(column)?.column_type, parameters)?;
            let mut values = values.into_iter();
            let only = values.next().filter(|_| values.next().is_none())?;
            Some((column.clone(), only))
        };
        Some(RecordKey::new(schema.key.iter().map(cell).collect::<Option<_>>()?))
    }

    /// A record that is in neither world may have to be there.
    fn doubt_absence(
        &mut self,
        transaction: &Transaction,
        (step, statement): (&Step, &Statement),
        record: RecordName,
        source: &RecordName,
    ) {
        let stands = [World::Actual, World::Right].iter().any(|world| self.worlds.row(*world, &record).is_some());
        if stands || step.writes.iter().any(|write| record_of(write) == record) {
            return;
        }
        let Some(table) = self.worlds.tables.table(&record.0) else { return };
        let row = table.whole(None, &record.1.to_row());
        let origin = self.origin(source, Some(statement.sql.clone()));
        self.worlds.set(&record, None, Some(Arc::new(row)));
        let why = "a statement that could not be run again may have written it";
        let columns = self.whole_row(&record.0);
        self.possible(&record, columns, &origin, unwritten_by(transaction), why);
    }

    /// What a reference may read of such rows is computed from this record. By its whole key it reads none of them.
    pub(super) fn source_of_unnamed<'a>(
        &self,
        mut references: impl Iterator<Item = &'a TableReference>,
    ) -> Option<(RecordName, Refusal)> {
        references.find_map(|reference| {
            let source = self.unnamed.get(&reference.table)?;
            // What else could give the key knows no row that nobody can name either.
            let key = self.key_columns(&reference.table);
            let is_bound = key.iter().all(|column| reference.bounds.iter().any(|bound| bound.column == *column));
            let reason =
                format!("reads {}, which may have rows in the right world that nobody can name", reference.table);
            (key.is_empty() || !is_bound).then(|| (source.clone(), Refusal(reason)))
        })
    }
}
