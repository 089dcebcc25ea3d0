//! Rules fill in: a cell whose right value nothing can recompute, but that a rule says (`equals`), gets it from the rule,
//! evaluated in the right world once the transaction is done.

use std::collections::{BTreeMap, BTreeSet};

use super::{PlannedRule, Sweep};
use crate::catalog::World;
use crate::model::{ColumnName, Row, Transaction};
use crate::sql::{Operand, TableReference};
use crate::trace::blast_radius::Role;
use crate::trace::error::TraceError;
use crate::trace::worlds::RecordName;

/// A rule that says what one column must hold.
pub struct Filler {
    /// The rule.
    pub rule: PlannedRule,
    /// The column.
    pub column: ColumnName,
}

impl Sweep {
    /// Fills in what the rules say of the records that this transaction left in doubt, until no rule says more.
    pub(super) async fn fill_in(&mut self, transaction: &Transaction) -> Result<(), TraceError> {
        let mut doubtful = std::mem::take(&mut self.doubtful);
        let fillers = std::mem::take(&mut self.fillers);
        let mut outcome = Ok(());
        loop {
            let mut progressed = false;
            for record in &doubtful {
                for filler in fillers.iter().filter(|filler| filler.rule.rule.table == record.0) {
                    match self.fill(record, filler, transaction).await {
                        Ok(filled) => progressed |= filled,
                        Err(error) => outcome = Err(error),
                    }
                }
            }
            if !progressed || outcome.is_err() {
                break;
            }
        }
        doubtful.clear();
        self.doubtful = doubtful;
        self.fillers = fillers;
        outcome
    }

    async fn fill(
        &mut self,
        record: &RecordName,
        filler: &Filler,
        transaction: &Transaction,
    ) -> Result<bool, TraceError> {
        let Some(difference) = self.worlds.difference(record) else { return Ok(false) };
        let column = &filler.column;
        let (unknown, suspected) = (&difference.unknown, &difference.suspected);
        if !unknown.contains(column) && !suspected.contains(column) {
            return Ok(false);
        }
        let Some(row) = self.worlds.row(World::Right, record).cloned() else { return Ok(false) };
        let Some(program) = filler.rule.expected() else { return Ok(false) };
        let mut others = self.not_key(&record.0, unknown.clone());
        others.remove(column);
        let reads_unknown_of_row = program
            .references()
            .first()
            .is_none_or(|reference| others.iter().any(|other| reference.columns.contains(other)));
        if reads_unknown_of_row || self.reads_unknown(program.references().get(1..).unwrap_or_default(), &row) {
            return Ok(false);
        }
        let evaluating =
            |reason: String| TraceError::Evaluate { what: format!("the rule {}", filler.rule.rule.id), reason };
        let rows = Some(vec![row.clone()]);
        let violating =
            filler.rule.violations(&mut self.worlds.tables, World::Right, rows, transaction.committed).await;
        let is_violating = !violating.map_err(|refusal| evaluating(refusal.to_string()))?.is_empty();
        if is_violating {
            let values = program.run(&mut self.worlds.tables, World::Right, &row, None, transaction.committed).await;
            let values = values.map_err(|refusal| evaluating(refusal.to_string()))?;
            let values = self.printed_as_held(record, values);
            let actual = self.worlds.row(World::Actual, record).cloned();
            self.worlds.set(record, actual, Some(std::sync::Arc::new(row.overlaid(&values))));
        }
        self.settled(record, column);
        Ok(true)
    }

    /// The column's right value is known now.
    fn settled(&mut self, record: &RecordName, column: &ColumnName) {
        let Some(difference) = self.worlds.difference(record) else { return };
        let without = |columns: &BTreeSet<ColumnName>| -> BTreeSet<ColumnName> {
            columns.iter().filter(|other| *other != column).cloned().collect()
        };
        let (mut unknown, suspected) = (without(&difference.unknown), without(&difference.suspected));
        let role = difference.role;
        // Where every value is what a rule says, the row is as it should be, or wrong in what is known.
        if self.not_key(&record.0, unknown.clone()).is_empty() {
            unknown.clear();
        }
        self.worlds.set_unknown(record, unknown);
        self.worlds.set_suspected(record, suspected);
        let proved = self.worlds.tables.table(&record.0).is_some_and(|table| table.differs(&record.1));
        if role == Role::Possible && proved {
            self.worlds.prove(record);
        }
        self.worlds.note_wrong(record);
        self.worlds.forget_if_never_wrong(record);
    }

    /// Whether one of the rows that the references lead to from the row at hand has an unknown value that they read.
    pub(super) fn reads_unknown(&mut self, references: &[TableReference], row: &Row) -> bool {
        if self.source_of_unnamed(references.iter()).is_some() {
            return true;
        }
        let mut in_doubt: BTreeMap<&crate::model::TableName, Vec<RecordName>> = BTreeMap::new();
        for reference in references {
            in_doubt.entry(&reference.table).or_insert_with(|| self.worlds.unknown_records(&reference.table).collect());
        }
        references.iter().any(|reference| {
            in_doubt.get(&reference.table).into_iter().flatten().any(|record| {
                let reads = self.worlds.difference(record).is_some_and(|difference| {
                    difference.unknown.iter().any(|column| reference.columns.contains(column))
                });
                reads && self.may_lead_to(reference, row, record)
            })
        })
    }

    /// Whether the reference's bounds let this record through for the row at hand.
    fn may_lead_to(&self, reference: &TableReference, row: &Row, record: &RecordName) -> bool {
        let Some(other) = self.worlds.row(World::Right, record) else { return true };
        let unknown = self.worlds.difference(record).map(|difference| &difference.unknown);
        reference.bounds.iter().all(|bound| {
            if unknown.is_some_and(|unknown| unknown.contains(&bound.column)) {
                return true;
            }
            let Some(value) = other.get(&bound.column) else { return true };
            bound.operands.iter().any(|operand| match operand {
                Operand::Column { reference: 0, column } => row.get(column).is_none_or(|at_hand| at_hand == value),
                Operand::Literal(literal) => literal == value,
                Operand::Column { .. } | Operand::Parameter(_) | Operand::Elements(_) => true,
            })
        })
    }
}
