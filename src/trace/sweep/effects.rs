//! What a statement does when it runs again, against the writes that were recorded of it.

use std::collections::BTreeMap;

use super::Sweep;
use crate::catalog::World;
use crate::model::{ColumnName, ColumnType, Operation, RecordKey, Row, TableSchema, Value, Write};
use crate::sql::{Assigned, WriteKind};
use crate::trace::reenact::{Effect, Effects, Refusal, TableWrite, Updated};
use crate::trace::worlds::RecordName;

impl Sweep {
    /// What an update or a delete did, by its recorded writes; `None` where they do not tell all that it set.
    pub(super) fn recorded_effects(&self, own: &[&Write], write: &TableWrite) -> Option<Effects> {
        let kind = write.only_arm()?;
        let effect = |one: &&Write| {
            let (_, key) = self.old_record(one);
            let effect = match (kind, one.operation) {
                (WriteKind::Delete, Operation::Delete) => Effect::Delete,
                (WriteKind::Update, Operation::Update) => {
                    let cell = |column: &ColumnName| Some((column.clone(), one.value_after(column)?.clone()));
                    let (given, set): (Vec<&Assigned>, Vec<&Assigned>) =
                        write.assigned_by(Operation::Update).partition(|assigned| assigned.given);
                    let values = set.into_iter().map(|assigned| cell(&assigned.column)).collect::<Option<Row>>()?;
                    let given = given.into_iter().map(|assigned| assigned.column.clone()).collect();
                    Effect::Update(Updated { values, given })
                }
                _ => return None,
            };
            Some((key, effect))
        };
        own.iter().map(effect).collect()
    }

    /// Whether the effects in the actual world are the writes that were recorded.
    pub(super) fn agrees(&self, own: &[&Write], actual: &Effects, write: &TableWrite) -> Result<(), Refusal> {
        let differs = |what: String| Refusal(format!("did not do what its SQL says ({what})"));
        if own.len() != actual.len() {
            return Err(differs(format!("{} rows were written, {} by the SQL", own.len(), actual.len())));
        }
        for one in own {
            let (_, old_key) = self.old_record(one);
            let effect = actual.get(&old_key).or_else(|| actual.get(&one.key));
            let agrees = match (effect, one.operation) {
                (Some(Effect::Delete), Operation::Delete) => true,
                (Some(Effect::Insert(row)), Operation::Insert)
                | (Some(Effect::Update(Updated { values: row, .. })), Operation::Update) => {
                    let after = one.after.as_ref();
                    row.iter().all(|(column, value)| {
                        after
                            .and_then(|after| after.get(column))
                            .or_else(|| one.key.get(column))
                            .is_none_or(|written| written == value)
                    })
                }
                _ => false,
            };
            if !agrees {
                return Err(differs(format!("{} {} of {}", one.operation.as_str(), one.key, write.target)));
            }
        }
        Ok(())
    }

    /// Prints the plain numerics that were computed as PostgreSQL did, where that is known; else with as many digits as
    /// were recorded, of the same record or of another that the statement wrote.
    pub(super) fn print_as_recorded(&self, own: &[&Write], effects: &mut Effects, write: &TableWrite) {
        let by_key: BTreeMap<RecordKey, &Write> = own.iter().map(|one| (self.old_record(one).1, *one)).collect();
        let columns: Vec<ColumnName> = write
            .schema()
            .plain_numerics()
            .filter(|column| !own.is_empty() && write.assigned().contains(*column))
            .cloned()
            .collect();
        for column in &columns {
            let plain = ColumnType::Numeric(None);
            let written = own.iter().filter_map(|one| one.value_after(column)).map(Value::decimals).max();
            for (key, effect) in effects.iter_mut() {
                let (Effect::Insert(row) | Effect::Update(Updated { values: row, .. })) = effect else { continue };
                let Some(value) = row.get(column) else { continue };
                let recorded = by_key.get(key).and_then(|one| one.value_after(column));
                let printed = match recorded {
                    Some(recorded) if plain.is_same(recorded, value) => recorded.clone(),
                    _ if write.prints(column) => continue,
                    _ => plain.with_decimals(value, recorded.map(Value::decimals).or(written).unwrap_or_default()),
                };
                row.set(column.clone(), printed);
            }
        }
    }

    /// Values that a fault or a rule gives, with as many digits of plain numerics as the record holds: the statement that
    /// should have written them would have printed them so.
    pub(super) fn printed_as_held(&self, record: &RecordName, mut values: Row) -> Row {
        let (Some(schema), Some(held)) = (self.worlds.schema(&record.0), self.worlds.row(World::Actual, record)) else {
            return values;
        };
        for column in schema.plain_numerics() {
            if let Some((value, held)) = values.get(column).zip(held.get(column)) {
                let printed = ColumnType::Numeric(None).with_decimals(value, held.decimals());
                values.set(column.clone(), printed);
            }
        }
        values
    }
}

/// Rows of an insert whose key only the database could give: the n-th row proposed got the n-th key written.
pub(super) fn name_rows(
    own: &[&Write],
    (actual_rows, right_rows): (Vec<Row>, Vec<Row>),
    actual: &mut Effects,
    right: &mut Effects,
    schema: &TableSchema,
) -> Result<(), Refusal> {
    if actual_rows.len() != own.len() || right_rows.len() != own.len() {
        return Err(Refusal(
            "inserts other rows in the right world, under keys that only the database could give".to_owned(),
        ));
    }
    // Not in the order proposed: pair each written row with the proposed row that it holds.
    let mut free: Vec<Option<(Row, Row)>> = actual_rows.into_iter().zip(right_rows).map(Some).collect();
    for one in own {
        let holds = |row: &Row| {
            row.iter().all(|(column, value): (&ColumnName, &Value)| {
                let column_type = schema.column(column).map(|column| &column.column_type);
                one.value_after(column)
                    .is_none_or(|written| column_type.map_or(written == value, |known| known.is_same(written, value)))
            })
        };
        let slot = free.iter_mut().find(|pair| pair.as_ref().is_some_and(|(row, _)| holds(row)));
        let Some((actual_row, right_row)) = slot.and_then(Option::take) else {
            return Err(Refusal("did not insert the rows that its SQL says".to_owned()));
        };
        actual.insert(one.key.clone(), Effect::Insert(actual_row));
        right.insert(one.key.clone(), Effect::Insert(right_row));
    }
    Ok(())
}
