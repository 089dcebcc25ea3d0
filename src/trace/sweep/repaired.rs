//! Writes of our own repairs and their undoing: what they do to the difference at hand never happens in the right world.
//!
//! A repair makes the actual world what the right one is, an undo takes that back; whatever their own statements read,
//! the difference that is left says how things stand. What a repair does beside it (another release's damage) is as any
//! write: the same in both worlds.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Sweep, carry, record_of};
use crate::catalog::World;
use crate::model::{ColumnName, Operation, Transaction, Write};
use crate::trace::worlds::RecordName;

impl Sweep {
    /// Whether one of our repairs, or its undoing, made the transaction.
    pub(super) fn is_own_repair(transaction: &Transaction) -> bool {
        transaction.attribution.as_ref().is_some_and(|attribution| attribution.release.is_own_repair())
    }

    /// Does its writes.
    pub(super) fn follow_own_repair(&mut self, transaction: &Transaction) {
        for write in transaction.writes() {
            let record = record_of(write);
            match write.operation {
                Operation::Update => self.follow_repaired_columns(&record, write),
                Operation::Insert | Operation::Delete if self.has_differed_in_existence(&record) => {
                    let right = self.worlds.row(World::Right, &record).cloned();
                    self.worlds.apply_actual(write);
                    let actual = self.worlds.row(World::Actual, &record).cloned();
                    self.worlds.set(&record, actual, right);
                    self.worlds.note_wrong(&record);
                }
                _ => self.carry(write, None),
            }
        }
    }

    fn has_differed_in_existence(&self, record: &RecordName) -> bool {
        self.worlds.differing_columns(record).is_none()
            || self.worlds.difference(record).is_some_and(|difference| difference.existence)
    }

    fn follow_repaired_columns(&mut self, record: &RecordName, write: &Write) {
        let changed = carry::changed_columns(write);
        let repaired = self.repaired_columns(record, write);
        if repaired.is_disjoint(&changed) {
            return self.carry(write, None);
        }
        let others: BTreeSet<ColumnName> = changed.difference(&repaired).cloned().collect();
        let right = self.worlds.row(World::Right, record).map(|right| {
            let mut right = right.as_ref().clone();
            for column in &others {
                if let Some(value) = write.value_after(column) {
                    right.set(column.clone(), value.clone());
                }
            }
            Arc::new(right)
        });
        self.worlds.apply_actual(write);
        let actual = self.worlds.row(World::Actual, record).cloned();
        self.worlds.set(record, actual, right);
        self.forget(record, write.operation, &others);
        self.worlds.note_wrong(record);
    }

    /// The columns on which the worlds differ, and those that get back the wrong value that they had: an undo.
    fn repaired_columns(&self, record: &RecordName, write: &Write) -> BTreeSet<ColumnName> {
        let differing = self.worlds.differing_columns(record).into_iter().flatten();
        let last_wrong = self.worlds.difference(record).into_iter().flat_map(|difference| &difference.last_wrong);
        let undone = last_wrong
            .filter(|(column, wrong)| wrong.right.is_some() && write.value_after(column) == Some(&wrong.actual))
            .map(|(column, _)| column.clone());
        differing.chain(undone).collect()
    }
}
