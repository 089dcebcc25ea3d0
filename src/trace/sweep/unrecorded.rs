//! Writes that a statement makes, or may make, in the right world alone: it reaches rows there that it did not reach in
//! the actual world. What is wrong with the release's code is wrong with them too, so they are judged as its writes are.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::judge::{Before, Pin, Verdict, evaluating, without_write};
use super::{Judges, Origin, Progress, Sweep, record_of, unwritten_by};
use crate::catalog::World;
use crate::model::{ColumnName, Operation, Row, Statement, Step, Transaction, Value, Write, WriteSeq};
use crate::sql::{Bound, WriteTarget};
use crate::trace::blast_radius::Role;
use crate::trace::error::TraceError;
use crate::trace::reenact::constant_values;
use crate::trace::worlds::{Difference, RecordName};

/// Of a table with more rows than this, those on which the worlds agree are not suspected one by one.
const MOST_SUSPECTED: usize = 1_000;

/// A write of the right world that no recorded write answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnrecordedWrite {
    pub(super) record: RecordName,
    /// Its name before it: an update may change the key.
    pub(super) old: RecordName,
    pub(super) operation: Operation,
    /// The record before it.
    pub(super) before: Before,
    /// What led there.
    pub(super) origin: Origin,
}

impl UnrecordedWrite {
    /// As a write, so that it can be judged as one; it has no place in the history.
    fn as_write(&self, transaction: &Transaction) -> Write {
        Write {
            seq: WriteSeq(0),
            ts: transaction.committed,
            table: self.record.0.clone(),
            operation: self.operation,
            key: self.record.1.clone(),
            before: self.before.row.as_deref().cloned(),
            after: None,
            reads: Vec::new(),
            trace: None,
            attribution: transaction.attribution.clone(),
        }
    }
}

impl Sweep {
    /// A statement that cannot be run again may write, in the right world, records that it did not write in the actual
    /// one: of those named, where they are known, else any. Of records on which the worlds agree that is no more than
    /// suspected; where there are very many of them, they are left out: the statement is a limit already.
    pub(super) fn doubt_what_it_may_write(
        &mut self,
        transaction: &Transaction,
        (step, statement): (&Step, &Statement),
        targets: &[WriteTarget],
        source: Option<RecordName>,
        reached: Option<&[RecordName]>,
    ) {
        let Some(source) = source else { return };
        self.doubt_what_it_may_insert(transaction, (step, statement), targets, &source);
        let origin = self.origin(&source, Some(statement.sql.clone()));
        let updates = |target: &&WriteTarget| target.operations.iter().any(|one| *one != Operation::Insert);
        let written: BTreeSet<RecordName> = step.writes.iter().map(record_of).collect();
        for target in targets.iter().filter(updates) {
            // Where it deletes, or gives another key, whether the record is there is in doubt, too.
            let columns: BTreeSet<ColumnName> = match target.operations.as_slice() {
                [Operation::Update] if !target.assigned.is_empty() => target.assigned.iter().cloned().collect(),
                operations if operations.contains(&Operation::Delete) => self.whole_row(&target.table),
                _ => self.not_key(&target.table, self.whole_row(&target.table)),
            };
            let affected = self.worlds.affected(&target.table);
            let all = self.worlds.tables.table(&target.table).map(|table| table.keys(World::Right)).unwrap_or_default();
            let too_many = reached.is_some() || all.len() > MOST_SUSPECTED;
            let others = all.into_iter().filter(|key| !too_many && !affected.contains(key)).collect::<Vec<_>>();
            let is_affected = affected.iter().map(|key| (key, true)).chain(others.iter().map(|key| (key, false)));
            for (key, is_affected) in is_affected {
                let record = (target.table.clone(), key.clone());
                let Some(right) = self.worlds.row(World::Right, &record).cloned() else { continue };
                let is_reached = reached.is_none_or(|reached| reached.contains(&record));
                if written.contains(&record)
                    || !is_reached
                    || !self.meets(&record, &right, target, &statement.parameters)
                {
                    continue;
                }
                // Of what is proved wrong, and may have been deleted, no more is listed than that.
                let is_proved = self.worlds.is_wrong(&record)
                    && self.worlds.difference(&record).is_some_and(|known| known.role != Role::Possible);
                let only_deletes = !target.operations.contains(&Operation::Update);
                let columns = match is_proved && only_deletes && self.worlds.doubts_existence(&record, &columns) {
                    true => self.key_columns(&record.0),
                    false => columns.clone(),
                };
                let why = "a statement that could not be run again may have written it";
                match is_affected {
                    true => self.possible(&record, columns, &origin, unwritten_by(transaction), why),
                    false => self.suspected(&record, columns, &origin, unwritten_by(transaction), why),
                }
            }
        }
    }

    /// Whether the row holds the constants that the statement demands of the rows it updates or deletes.
    fn meets(&self, record: &RecordName, row: &Row, target: &WriteTarget, parameters: &[Value]) -> bool {
        let Some(schema) = self.worlds.schema(&target.table) else { return true };
        let unknown = self.unknown_of(record);
        target.fixed_by(Operation::Update).all(|(column, operands)| {
            let bound = Bound { column: column.clone(), operands: operands.clone() };
            let values =
                schema.column(column).and_then(|known| constant_values(&bound, &known.column_type, parameters));
            match (values, row.get(column)) {
                (Some(values), Some(held)) => values.contains(held) || unknown.contains(column),
                _ => true,
            }
        })
    }

    /// Whether the release ran the transaction, even where it wrote nothing in the actual world.
    pub(super) fn is_of_release(&self, transaction: &Transaction) -> bool {
        let in_window = self.target.from.is_none_or(|from| from <= transaction.committed)
            && self.target.until.is_none_or(|until| transaction.committed < until);
        let ran = transaction.attribution.as_ref().is_some_and(|attribution| self.target.is(&attribution.release));
        (in_window && ran) || transaction.writes().any(|write| self.target.wrote(write))
    }

    /// Judges what a step wrote in the right world alone, by the faults; rules are judged when the transaction commits.
    pub(super) async fn judge_unrecorded(
        &mut self,
        transaction: &Transaction,
        step: &Step,
        progress: &mut Progress,
    ) -> Result<(), TraceError> {
        if step.writes.iter().any(|write| !self.target.wrote(write)) {
            progress.unrecorded.clear();
            return Ok(());
        }
        for unrecorded in std::mem::take(&mut progress.unrecorded) {
            let write = unrecorded.as_write(transaction);
            let verdict = match &self.judges {
                Judges::All => Some(without_write(&write, unrecorded.before.clone())),
                Judges::Faults(_) => self.judged_by_faults(transaction, &write, unrecorded.before.clone()).await?,
                Judges::Rules(_) => {
                    progress.unrecorded_at_commit.push(unrecorded);
                    continue;
                }
            };
            if let Some(verdict) = verdict {
                self.put_right(transaction, &unrecorded, verdict);
            }
        }
        Ok(())
    }

    /// Judges what the transaction wrote in the right world alone, by the rules that it breaks there.
    pub(super) async fn judge_unrecorded_at_commit(
        &mut self,
        transaction: &Transaction,
        progress: &mut Progress,
    ) -> Result<(), TraceError> {
        let Judges::Rules(rules) = &self.judges else { return Ok(()) };
        let rules = rules.clone();
        for unrecorded in std::mem::take(&mut progress.unrecorded_at_commit) {
            let Some(row) = self.worlds.row(World::Right, &unrecorded.record).cloned() else { continue };
            let mut broken = Vec::new();
            let of_table = rules.iter().enumerate().filter(|(_, rule)| rule.rule.table == unrecorded.record.0);
            for (place, rule) in of_table.filter(|(_, rule)| rule.keys.is_tied()) {
                let rows = Some(vec![Arc::clone(&row)]);
                let keys = rule.violations(&mut self.worlds.tables, World::Right, rows, transaction.committed).await;
                let keys = keys.map_err(|refusal| evaluating(&rule.rule.id, &refusal.to_string()))?;
                if keys.contains(&unrecorded.record.1) {
                    broken.push(place);
                }
            }
            if broken.is_empty() {
                continue;
            }
            let write = unrecorded.as_write(transaction);
            // No write of the history is there to mend.
            let pin = (&Pin::default(), broken.as_slice());
            let verdict = self.judged_by_rules(transaction, &write, pin, unrecorded.before.clone()).await?;
            self.put_right(transaction, &unrecorded, verdict);
        }
        Ok(())
    }

    /// The right world as it should stand; the release did not write the record, so it is derived, never a root.
    fn put_right(&mut self, transaction: &Transaction, unrecorded: &UnrecordedWrite, mut verdict: Verdict) {
        let record = &unrecorded.record;
        self.keep_doubt(record, &mut verdict);
        let actual = self.worlds.row(World::Actual, record).cloned();
        let agrees = verdict.row == actual && verdict.unknown.is_empty();
        self.worlds.set(record, actual, verdict.row);
        if agrees && self.worlds.difference(record).is_none() {
            return;
        }
        let Origin { cause, hops } = unrecorded.origin.clone();
        let role = if verdict.unknown.is_empty() { Role::Derived } else { Role::Possible };
        let written = unwritten_by(transaction);
        self.worlds.difference_or(record, || Difference::new(role, hops, written, Some(cause)));
        self.worlds.set_unknown(record, verdict.unknown);
        self.worlds.note_wrong(record);
    }
}
