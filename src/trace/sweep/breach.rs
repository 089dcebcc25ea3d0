//! Rules that a transaction of the release breaks in the right world.
//!
//! In the actual world a record that breaks a rule already breaks it no further: what the release gets wrong once more
//! there shows in the right world alone, where the record was mended.

use std::collections::{BTreeMap, BTreeSet};

use super::candidates::rows_of;
use super::judge::{Pins, evaluating, last_write};
use super::{Judges, PlannedRule, Sweep, record_of};
use crate::catalog::World;
use crate::model::{ColumnName, RecordKey, Row, TableName, Transaction, Value, Write};
use crate::trace::error::TraceError;
use crate::trace::worlds::RecordName;

/// With more rows than this, to evaluate the rule costs less than to look at each of them.
const LOOKED_AT: usize = 16;

/// By rule: records of the right world that break it.
pub(super) type Breaches = BTreeMap<usize, BTreeSet<RecordKey>>;

impl Sweep {
    /// The records that break a rule in the right world, now that the transaction is done there, of those whose breach it
    /// can have made; without those that are pinned or were looked at before.
    pub(super) async fn broken_in_right_world(
        &mut self,
        transaction: &Transaction,
        pins: &Pins,
        looked_at: &Breaches,
    ) -> Result<Breaches, TraceError> {
        let mut breaches = Breaches::new();
        let Judges::Rules(rules) = &self.judges else { return Ok(breaches) };
        let rules = rules.clone();
        for (place, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.of_write.is_none()) {
            let is_or_was_affected = |table: &TableName| {
                let reads = |column: &str| rule.keys.reads(table, column);
                self.worlds.is_affected(table) || self.worlds.was_affected_in(table, reads)
            };
            let is_concerned = |write: &&Write| {
                rule.is_concerned(write)
                    || rule.rule.reads.contains(&write.table)
                        && [record_of(write), self.old_record(write)].iter().any(|record| self.matters(rule, record))
            };
            let mut writes = transaction.writes().filter(is_concerned).peekable();
            if writes.peek().is_none() || !rule.rule.reads.iter().any(is_or_was_affected) {
                continue;
            }
            let candidates = rule.candidates(writes);
            let mut rows = candidates.after(rule, &mut self.worlds.tables, World::Right);
            if let Some(rows) = &mut rows
                && (rule.keys.is_of_row_alone() || rows.len() <= LOOKED_AT)
            {
                let all = std::mem::take(rows);
                rows.extend(all.into_iter().filter(|row| self.is_another_matter(rule, row)));
            }
            if rows.as_ref().is_some_and(Vec::is_empty) {
                continue;
            }
            let keys = rule.violations(&mut self.worlds.tables, World::Right, rows, transaction.committed).await;
            let keys = keys.map_err(|refusal| evaluating(&rule.rule.id, &refusal.to_string()))?;
            let is_new = |key: &RecordKey| {
                let record: RecordName = (rule.rule.table.clone(), key.clone());
                let is_pinned = pins.get(&record).is_some_and(|pin| pin.rules.contains_key(&place));
                // Where a right value is not known, the actual one stands for it: that says nothing.
                !is_pinned
                    && looked_at.get(&place).is_none_or(|keys| !keys.contains(key))
                    && self.unknown_of(&record).is_empty()
            };
            let keys: BTreeSet<RecordKey> = keys.into_iter().filter(is_new).collect();
            if !keys.is_empty() {
                breaches.insert(place, keys);
            }
        }
        Ok(breaches)
    }

    /// Whether the rule may say something else of the row in the right world: where the worlds agreed before on all that
    /// it looks at, and agree now, the actual world has told.
    fn is_another_matter(&mut self, rule: &PlannedRule, row: &Row) -> bool {
        let table = &rule.rule.table;
        let Some(key) = self.worlds.schema(table).and_then(|schema| row.key(&schema.key)) else { return true };
        if self.matters(rule, &(table.clone(), key)) {
            return true;
        }
        let others = rule.rule.reads.iter().filter(|_| !rule.keys.is_of_row_alone());
        others.into_iter().any(|other| {
            if self.worlds.was_affected_in(other, |column| rule.keys.reads(other, column)) {
                return true;
            }
            let Some(ties) = rule.keys.ties(other).filter(|_| self.worlds.is_affected(other)) else {
                return self.worlds.is_affected(other);
            };
            ties.iter().any(|(column, at_hand)| match row.get(at_hand) {
                Some(value) => self.leads_to_wrong(rule, other, column, value),
                None => true,
            })
        })
    }

    /// Whether the record is wrong, or was before the transaction, in what the rule looks at.
    fn matters(&self, rule: &PlannedRule, record: &RecordName) -> bool {
        self.worlds.is_or_was_wrong_in(record, |column| rule.keys.reads(&record.0, column))
    }

    fn leads_to_wrong(&mut self, rule: &PlannedRule, table: &TableName, column: &ColumnName, value: &Value) -> bool {
        let values = BTreeSet::from([value.clone()]);
        [World::Actual, World::Right].into_iter().any(|world| {
            let Some(rolling) = self.worlds.tables.table_mut(table) else { return true };
            let key = rolling.schema().key.clone();
            let rows = rolling.rows_where(world, column, &values);
            rows.len() > LOOKED_AT
                || rows.iter().filter_map(|row| row.key(&key)).any(|key| self.matters(rule, &(table.clone(), key)))
        })
    }

    /// Of these breaches, pins those that did not stand before the transaction, to which the worlds have been taken back.
    pub(super) async fn pin_new_breaches(
        &mut self,
        transaction: &Transaction,
        breaches: &Breaches,
        pins: &mut Pins,
    ) -> Result<(), TraceError> {
        let Judges::Rules(rules) = &self.judges else { return Ok(()) };
        let rules = rules.clone();
        for (place, keys) in breaches {
            let Some(rule) = rules.get(*place) else { continue };
            let table = &rule.rule.table;
            let listed: Vec<RecordKey> = keys.iter().cloned().collect();
            let rows = rule.keys.is_tied().then(|| rows_of(&self.worlds.tables, table, &listed, World::Right));
            let already = rule.violations(&mut self.worlds.tables, World::Right, rows, transaction.committed).await;
            let already = already.map_err(|refusal| evaluating(&rule.rule.id, &refusal.to_string()))?;
            let broken = listed.into_iter().filter(|key| !already.contains(key));
            let broken = self.decided(transaction, rule, broken.map(|key| (table.clone(), key)).collect());
            let blamed = match &rule.rule.group {
                Some(group) => self.blamed_of_group(transaction, &broken, group),
                None => {
                    let write = |record: &RecordName| last_write(transaction, record, &self.target);
                    broken.iter().map(|record| (record.clone(), write(record))).collect()
                }
            };
            for (record, write) in blamed {
                pins.entry(record).or_default().rules.entry(*place).or_default().extend(write);
            }
        }
        Ok(())
    }
}
