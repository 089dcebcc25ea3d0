//! Rules that a transaction of the release breaks in the right world.
//!
//! In the actual world a record that breaks a rule already breaks it no further: what the release gets wrong once more
//! there shows in the right world alone, where the record was mended.

use std::collections::{BTreeMap, BTreeSet};

use super::candidates::rows_of;
use super::judge::{Pins, evaluating, last_write};
use super::{Judges, Sweep};
use crate::catalog::World;
use crate::model::{RecordKey, TableName, Transaction};
use crate::trace::error::TraceError;
use crate::trace::worlds::RecordName;

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
        let tables: BTreeSet<&TableName> = transaction.writes().map(|write| &write.table).collect();
        for (place, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.of_write.is_none()) {
            let is_concerned = rule.rule.reads.iter().any(|table| tables.contains(table))
                && rule
                    .rule
                    .reads
                    .iter()
                    .any(|table| self.worlds.is_affected(table) || self.worlds.was_affected(table));
            if !is_concerned {
                continue;
            }
            let mut rows = rule.candidates(transaction).after(rule, &mut self.worlds.tables, World::Right);
            if let (true, Some(rows), Some(schema)) =
                (rule.keys.is_of_row_alone(), &mut rows, self.worlds.schema(&rule.rule.table))
            {
                // Where the worlds agreed on the row before and agree now, the actual world has told.
                rows.retain(|row| {
                    let record = row.key(&schema.key).map(|key| (schema.name.clone(), key));
                    record.is_some_and(|record| self.worlds.was_wrong(&record) || self.worlds.is_wrong(&record))
                });
            }
            if rows.as_ref().is_some_and(Vec::is_empty) {
                continue;
            }
            let keys = rule.keys.run(&mut self.worlds.tables, World::Right, rows, transaction.committed).await;
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
            let already = rule.keys.run(&mut self.worlds.tables, World::Right, rows, transaction.committed).await;
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
