//! Whether a statement touches anything on which the worlds differ: for nearly every statement the answer is no, and
//! costs a look at a few keys.

use std::collections::BTreeSet;

use super::{Sweep, record_of};
use crate::catalog::World;
use crate::model::{RecordKey, Statement, Step, TableName, Value, Write};
use crate::sql::TableReference;
use crate::trace::reenact::constant_values;
use crate::trace::worlds::RecordName;

/// The affected records that a statement reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// In the order found.
    pub records: Vec<RecordName>,
    /// Whether the worlds differ on one of them in what the statement reads.
    pub differs: bool,
    /// Whether one of them has a column of unknown right value that the statement reads.
    pub unknown: bool,
    /// Whether one of them has a suspected column that the statement reads.
    pub suspected: bool,
}

impl Sweep {
    /// Whether a statement may touch an affected record, by the keys that its template fixes and those that it wrote.
    /// `false` is sure: what it did is the same in both worlds.
    pub(super) fn may_touch_affected(&mut self, step: &Step, statement: &Statement) -> bool {
        let worlds = &self.worlds;
        let is_affected = |record: &RecordName| worlds.touches(record, |_| true);
        let wrote = |write: &Write| is_affected(&record_of(write)) || is_affected(&self.old_record(write));
        if step.writes.iter().any(wrote) {
            return true;
        }
        let (temporary, unnamed) = (&self.temporary, &self.unnamed);
        let counts = |table: &TableName, key: Option<&RecordKey>| {
            if temporary.is_at_hand(table) {
                return true;
            }
            // Of a table whose rows are not known, any may be another in the right world.
            let Some(schema) = worlds.schema(table) else { return true };
            let is_doubtful = |record: RecordName| {
                let unknown = worlds.difference(&record).map(|difference| &difference.unknown);
                unknown.is_some_and(|unknown| schema.key.iter().any(|column| unknown.contains(column)))
            };
            if key.is_none() && unnamed.contains_key(table) {
                return true;
            }
            worlds.is_affected(table)
                && key.is_none_or(|key| {
                    is_affected(&(table.clone(), key.clone())) || worlds.unknown_records(table).any(is_doubtful)
                })
        };
        self.statements.may_touch(&statement.sql, &statement.parameters, counts)
    }

    /// The affected records that these references can read with these parameters.
    pub(super) fn touched<'a>(
        &mut self,
        references: impl Iterator<Item = &'a TableReference>,
        parameters: &[Value],
    ) -> Touched {
        let mut touched = Touched::default();
        for reference in references {
            if let Some(source) = self.source_of_untold_view(&reference.table) {
                touched.records.push(source);
                touched.unknown = true;
                continue;
            }
            if let Some(temporary) = self.touched_temporary(reference) {
                touched.records.extend(temporary.records);
                touched.differs |= temporary.differs;
                touched.unknown |= temporary.unknown;
                touched.suspected |= temporary.suspected;
                continue;
            }
            if !self.worlds.is_affected(&reference.table) {
                continue;
            }
            for key in self.candidates(reference, parameters) {
                let record = (reference.table.clone(), key);
                let reads = |column: &str| reference.columns.contains(column);
                if !self.worlds.touches(&record, reads) {
                    continue;
                }
                let differing = self.worlds.differing_columns(&record);
                touched.differs |= differing.is_none_or(|columns| columns.iter().any(|column| reads(column)));
                if let Some(difference) = self.worlds.difference(&record) {
                    touched.unknown |= difference.unknown.iter().any(|column| reads(column))
                        || self.worlds.doubts_existence(&record, &difference.unknown);
                    touched.suspected |= difference.suspected.iter().any(|column| reads(column))
                        || self.worlds.doubts_existence(&record, &difference.suspected);
                }
                touched.records.push(record);
            }
        }
        touched
    }

    /// The affected records that a reference's constant bounds let through, in either world.
    fn candidates(&mut self, reference: &TableReference, parameters: &[Value]) -> BTreeSet<RecordKey> {
        let Some(schema) = self.worlds.schema(&reference.table) else { return BTreeSet::new() };
        let tightest = reference
            .bounds
            .iter()
            .filter_map(|bound| {
                let column_type = &schema.column(&bound.column)?.column_type;
                Some((bound.column.clone(), constant_values(bound, column_type, parameters)?))
            })
            .min_by_key(|(column, values)| ([column.clone()] != *schema.key, values.len()));
        let Some((column, values)) = tightest else { return self.worlds.affected(&reference.table) };
        let affected = |key: &RecordKey| self.worlds.touches(&(reference.table.clone(), key.clone()), |_| true);
        // The bound's own column may be the one whose right value is not known: then it lets everything through.
        if self.has_unknown(reference, &column) {
            return self.worlds.affected(&reference.table);
        }
        if [column.clone()] == *schema.key {
            let keys = values.into_iter().map(|value| RecordKey::new(vec![(column.clone(), value)]));
            return keys.filter(affected).collect();
        }
        let mut keys = BTreeSet::new();
        for world in [World::Actual, World::Right] {
            if let Some(table) = self.worlds.tables.table_mut(&reference.table) {
                keys.extend(table.rows_where(world, &column, &values).iter().filter_map(|row| row.key(&schema.key)));
            }
        }
        keys.retain(|key| self.worlds.touches(&(reference.table.clone(), key.clone()), |_| true));
        keys
    }

    fn has_unknown(&self, reference: &TableReference, column: &str) -> bool {
        self.worlds.unknown_records(&reference.table).any(|record| {
            self.worlds
                .difference(&record)
                .is_some_and(|difference| difference.unknown.iter().any(|name| name.as_ref() == column))
        })
    }
}
