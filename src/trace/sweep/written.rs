//! Rules about writes: `transition`, `immutable`, `monotonic`. No row that stands breaks them, but a write of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::judge::{Pins, evaluating};
use super::{Judges, Sweep, record_of};
use crate::catalog::World;
use crate::model::{ColumnType, Operation, Row, TableSchema, Timestamp, Transaction, Value, Write, WriteSeq};
use crate::trace::error::TraceError;
use crate::trace::reenact::{Refusal, Statements};
use crate::trace::roots::{RowProgram, rows_meeting, with_before};

const INSERT: &str = " insert in breach";
const UPDATE: &str = " update in breach";

/// Whether a write is in breach, planned.
pub(super) struct WritePredicates {
    insert: String,
    update: String,
    program: RowProgram,
}

impl WritePredicates {
    /// Plans predicates over the row as written, and `before.<column>`.
    ///
    /// # Errors
    /// What the engine cannot run as PostgreSQL does.
    pub(super) async fn compile(
        statements: &mut Statements,
        table: &TableSchema,
        insert: &str,
        update: &str,
    ) -> Result<WritePredicates, Refusal> {
        let expressions = [
            (insert.to_owned(), INSERT.into(), ColumnType::Boolean),
            (update.to_owned(), UPDATE.into(), ColumnType::Boolean),
        ];
        let program = RowProgram::compile(statements, table, &expressions).await?;
        Ok(WritePredicates { insert: insert.to_owned(), update: update.to_owned(), program })
    }

    /// Whether nothing but the write is looked at.
    fn is_of_write_alone(&self) -> bool {
        self.program.references().len() == 1
    }
}

impl Sweep {
    /// Judges the release's writes by the rules that look at nothing but the write, all at once.
    pub(super) async fn foresee_writes(&mut self, transactions: &[Transaction]) -> Result<(), TraceError> {
        let Judges::Rules(rules) = &self.judges else { return Ok(()) };
        for (place, rule) in rules.iter().enumerate() {
            let Some(predicates) = rule.of_write.as_ref().filter(|predicates| predicates.is_of_write_alone()) else {
                continue;
            };
            let Some(table) = self.worlds.tables.table(&rule.rule.table) else { continue };
            let schema = Arc::clone(table.schema());
            let writes: Vec<&Write> = transactions
                .iter()
                .flat_map(Transaction::writes)
                .filter(|write| write.table == schema.name && self.target.wrote(write))
                .collect();
            let mut by_row: HashMap<Arc<Row>, Vec<&Write>> = HashMap::new();
            for write in writes {
                if let Some(row) = row_to_judge(write, &schema) {
                    by_row.entry(Arc::new(row)).or_default().push(write);
                }
            }
            let rows: Vec<Arc<Row>> = by_row.keys().cloned().collect();
            let texts = [predicates.insert.as_str(), predicates.update.as_str()];
            let met = rows_meeting(&mut self.statements, &schema, &texts, &rows).await;
            let met = met.map_err(|refusal| evaluating(&rule.rule.id, &refusal.to_string()))?;
            let mut broken: HashSet<WriteSeq> = HashSet::new();
            for (row, met) in rows.iter().zip(&met) {
                let in_breach = by_row.get(row).into_iter().flatten().filter(|write| {
                    let place = usize::from(write.operation == Operation::Update);
                    met.get(place).copied().unwrap_or_default()
                });
                broken.extend(in_breach.map(|write| write.seq));
            }
            self.foreseen.writes.insert(place, broken);
        }
        Ok(())
    }

    /// The release's writes of this transaction that break a rule about writes.
    pub(super) async fn broken_by_writes(&mut self, transaction: &Transaction) -> Result<Pins, TraceError> {
        let mut pins = Pins::new();
        let Judges::Rules(rules) = &self.judges else { return Ok(pins) };
        for (place, rule) in rules.iter().enumerate() {
            let Some(predicates) = &rule.of_write else { continue };
            for (step_place, step) in transaction.steps.iter().enumerate() {
                for (number, write) in step.writes.iter().enumerate() {
                    if write.table != rule.rule.table || !self.target.wrote(write) {
                        continue;
                    }
                    let in_breach = match self.foreseen.writes.get(&place) {
                        Some(broken) => broken.contains(&write.seq),
                        None => {
                            let schema = self.worlds.tables.table(&write.table).map(|table| Arc::clone(table.schema()));
                            let Some(schema) = schema else { continue };
                            let tables = &mut self.worlds.tables;
                            let answer = judged(predicates, tables, &schema, write, transaction.committed).await;
                            answer.map_err(|refusal| evaluating(&rule.rule.id, &refusal.to_string()))?
                        }
                    };
                    if in_breach {
                        let pin = pins.entry(record_of(write)).or_default();
                        pin.rules.entry(place).or_default().insert((step_place, number));
                    }
                }
            }
        }
        Ok(pins)
    }
}

/// The row as written with the row before it; `None` for a write that such rules are not about, or whose images are not
/// known.
fn row_to_judge(write: &Write, schema: &TableSchema) -> Option<Row> {
    let is_whole = |row: &&Row| row.iter().len() >= schema.columns.len();
    let after = write.after.as_ref().filter(is_whole)?;
    match write.operation {
        Operation::Insert => Some(with_before(after, None)),
        Operation::Update => Some(with_before(after, Some(write.before.as_ref().filter(is_whole)?))),
        Operation::Delete | Operation::Truncate => None,
    }
}

async fn judged(
    predicates: &WritePredicates,
    tables: &mut crate::catalog::RollingTables,
    schema: &TableSchema,
    write: &Write,
    time: Timestamp,
) -> Result<bool, Refusal> {
    if row_to_judge(write, schema).is_none() {
        return Ok(false);
    }
    let Some(after) = &write.after else { return Ok(false) };
    let values = predicates.program.run(tables, World::Actual, after, write.before.as_ref(), time).await?;
    let asked = if write.operation == Operation::Update { UPDATE } else { INSERT };
    Ok(values.get(asked).and_then(Value::as_str) == Some("t"))
}
