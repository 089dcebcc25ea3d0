//! Statement snapshots: a statement sees what was committed when it began, and its transaction may commit long after.
//!
//! The sweep takes transactions as they committed. What was still wrong when a statement looked, and was healed before its
//! transaction committed, must not be taken as right.

use std::collections::BTreeSet;

use super::touch::Touched;
use super::{Progress, Sweep, carry, record_of, written_by};
use crate::catalog::World;
use crate::model::{Statement, Step, Timestamp, Transaction};
use crate::sql::TableReference;
use crate::trace::blast_radius::WrittenBy;
use crate::trace::reenact::{Compiled, Execution, constant_values};
use crate::trace::worlds::RecordName;

/// How many commits that healed something are remembered: more than ever stand open beside each other.
const REMEMBERED: usize = 256;

/// How exactly a log tells when a statement began, in microseconds.
const LOG_RESOLUTION: i64 = 1_000;

impl Sweep {
    /// Remembers what a transaction healed.
    pub(super) fn remember_healed(&mut self, committed: Timestamp) {
        let healed = self.worlds.take_healed();
        if healed.is_empty() {
            return;
        }
        self.healed.push_back((committed, healed));
        if self.healed.len() > REMEMBERED {
            self.healed.pop_front();
        }
    }

    /// Whether the statement may have seen something wrong that has been healed since: then what it wrote, or what its
    /// transaction writes later, is possible.
    pub(super) async fn saw_what_is_healed(
        &mut self,
        transaction: &Transaction,
        step: &Step,
        statement: &Statement,
        progress: &mut Progress,
    ) -> bool {
        let compiled = self.statements.statement(&statement.sql, &statement.parameters);
        match compiled.as_ref() {
            Compiled::Write(write) => {
                let references: Vec<TableReference> = write.references().cloned().collect();
                let Some(seen) = self.healed_since(statement.started, &references, statement) else { return false };
                let execution =
                    Execution { parameters: &statement.parameters, time: transaction.started, overridden: None };
                let touched = Touched { differs: true, ..Touched::default() };
                // What it wrote tells which state it saw.
                if self.outcomes(step, write, execution, &touched).await.is_ok() {
                    return false;
                }
                self.notes.inexact(&statement.sql, "saw a state from before another transaction's commit");
                self.carry_all(&step.writes, None);
                let origin = self.origin(&seen, Some(statement.sql.clone()));
                for write in &step.writes {
                    let record = record_of(write);
                    let columns = self.not_key(&record.0, carry::changed_columns(write));
                    let written = WrittenBy { tx: transaction.id.clone(), ..written_by(write) };
                    let why = "the statement saw an affected record that was healed before its commit";
                    self.possible(&record, columns, &origin, written, why);
                }
                true
            }
            Compiled::Read(query) => {
                let references = query.references().to_vec();
                // A query leaves nothing that tells what it saw: only what began surely before counts.
                let surely = Timestamp::from_micros(statement.started.as_micros().saturating_add(LOG_RESOLUTION));
                if let Some(seen) = self.healed_since(surely, &references, statement) {
                    let origin = self.origin(&seen, Some(statement.sql.clone()));
                    progress.diverged.get_or_insert(origin);
                }
                false
            }
            Compiled::Refused { .. } | Compiled::Nothing => false,
        }
    }

    /// A record, right by now, that was healed by a commit after this moment, and that one of the references may read.
    fn healed_since(
        &self,
        moment: Timestamp,
        references: &[TableReference],
        statement: &Statement,
    ) -> Option<RecordName> {
        let since = self.healed.iter().rev().take_while(|(committed, _)| *committed > moment);
        let records: BTreeSet<&RecordName> = since.flat_map(|(_, records)| records).collect();
        let is_read = |record: &&RecordName| {
            !self.worlds.is_wrong(record)
                && references.iter().any(|reference| self.may_read(reference, record, statement))
        };
        records.into_iter().find(is_read).cloned()
    }

    fn may_read(&self, reference: &TableReference, record: &RecordName, statement: &Statement) -> bool {
        if reference.table != record.0 {
            return false;
        }
        let (Some(schema), Some(row)) = (self.worlds.schema(&record.0), self.worlds.row(World::Actual, record)) else {
            return true;
        };
        reference.bounds.iter().filter(|bound| schema.key.contains(&bound.column)).all(|bound| {
            let known = schema.column(&bound.column);
            let values = known.and_then(|known| constant_values(bound, &known.column_type, &statement.parameters));
            values.is_none_or(|values| row.get(&bound.column).is_some_and(|held| values.contains(held)))
        })
    }
}
