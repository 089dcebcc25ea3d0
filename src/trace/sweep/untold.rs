//! Cells that no image tells: an insert's image may leave out columns, which then stand as NULL.
//!
//! What a rule would say of such a cell is not known: it is not judged.

use std::collections::{BTreeMap, BTreeSet};

use super::suspicion::PlannedRule;
use super::{Sweep, record_of};
use crate::model::{ColumnName, Operation, Transaction};
use crate::trace::worlds::RecordName;

/// Of records that stand: the columns whose value no image since their insert has told.
pub(super) type Untold = BTreeMap<RecordName, BTreeSet<ColumnName>>;

impl Sweep {
    /// Follows what the transaction's images tell and leave out.
    pub(super) fn follow_untold(&mut self, transaction: &Transaction) {
        for write in transaction.writes() {
            let record = record_of(write);
            let told = |column: &ColumnName| write.value_after(column).is_some() || write.key.get(column).is_some();
            match write.operation {
                Operation::Insert => {
                    let Some(schema) = self.worlds.schema(&write.table) else { continue };
                    let columns = schema.columns.iter().map(|column| column.name.clone());
                    let untold: BTreeSet<ColumnName> = columns.filter(|column| !told(column)).collect();
                    if untold.is_empty() {
                        self.untold.remove(&record);
                    } else {
                        self.untold.insert(record, untold);
                    }
                }
                Operation::Update => {
                    let Some(mut untold) = self.untold.remove(&self.old_record(write)) else { continue };
                    untold.retain(|column| !told(column));
                    if !untold.is_empty() {
                        self.untold.insert(record, untold);
                    }
                }
                Operation::Delete => {
                    self.untold.remove(&record);
                }
                Operation::Truncate => self.untold.retain(|(table, _), _| *table != write.table),
            }
        }
    }

    /// The record's columns of which nobody knows what the right world holds: of no known right value, or told by no image.
    pub(super) fn undetermined(&self, record: &RecordName) -> BTreeSet<ColumnName> {
        let mut columns = self.unknown_of(record);
        columns.extend(self.untold.get(record).into_iter().flatten().cloned());
        columns
    }

    /// Of the records that seem to break a rule, those of which it reads nothing that no image tells.
    pub(super) fn decided(
        &mut self,
        transaction: &Transaction,
        rule: &PlannedRule,
        mut broken: Vec<RecordName>,
    ) -> Vec<RecordName> {
        if self.untold.is_empty() {
            return broken;
        }
        let reads_untold = |record: &RecordName| {
            let untold = self.untold.get(record);
            untold.is_some_and(|columns| columns.iter().any(|column| rule.keys.reads(&record.0, column)))
        };
        let others = transaction.writes().filter(|write| write.table != rule.rule.table).map(record_of);
        let by_others = others.into_iter().any(|record| reads_untold(&record));
        let all = broken.len();
        broken.retain(|record| !by_others && !reads_untold(record));
        if broken.len() < all {
            let id = &rule.rule.id;
            self.notes.limit(format!("the rule {id} was not judged where no image tells a column that it reads"));
        }
        broken
    }
}
