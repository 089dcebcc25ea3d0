//! Which statement of a transaction made which of its writes, where the log alone leaves it open.
//!
//! The state before the transaction is known, and its statements are: run one after the other over the actual world they
//! do what they did. Where together they do exactly what was recorded, that says which of them did what.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Sweep;
use crate::catalog::World;
use crate::model::{Operation, Statement, StatementLink, Step, Transaction, Value, Write};
use crate::trace::reenact::{Compiled, CompiledWrite, Effect, Execution, TableWrite, Updated};

impl Sweep {
    /// The transaction with each write in the step of the statement that makes it; `None` where nothing was open, nothing
    /// that its statements read matters, or they do not do all that was recorded.
    pub(super) async fn regrouped(&mut self, transaction: &Transaction) -> Option<Transaction> {
        // Where the transaction itself is not sure, its statements may be another's: that they would do the same proves
        // nothing.
        let link = |step: &Step| step.statement.as_ref().map(|statement| statement.link);
        let is_open = |step: &Step| link(step) == Some(StatementLink::AmbiguousStatement);
        let is_unsure = |step: &Step| link(step) == Some(StatementLink::Ambiguous);
        let is_to_tell = transaction.steps.iter().any(is_open) && !transaction.steps.iter().any(is_unsure);
        if !is_to_tell || !self.worlds.any_affected() || !self.reads_affected(transaction) {
            return None;
        }
        self.worlds.begin();
        let steps = self.replayed(transaction).await;
        self.worlds.roll_back();
        Some(Transaction { steps: steps?, ..transaction.clone() })
    }

    fn reads_affected(&mut self, transaction: &Transaction) -> bool {
        transaction.steps.iter().filter_map(|step| step.statement.as_ref()).any(|statement| {
            let compiled =
                self.statements.statement(&statement.sql, &statement.parameters, statement.time_zone.as_ref());
            match compiled.as_ref() {
                Compiled::Write(write) => !self.touched(write.references(), &statement.parameters).records.is_empty(),
                _ => false,
            }
        })
    }

    async fn replayed(&mut self, transaction: &Transaction) -> Option<Vec<Step>> {
        let mut open: BTreeMap<usize, &Write> = transaction.writes().enumerate().collect();
        let mut steps = Vec::with_capacity(transaction.steps.len());
        for step in &transaction.steps {
            let statement = step.statement.as_ref()?;
            let compiled =
                self.statements.statement(&statement.sql, &statement.parameters, statement.time_zone.as_ref());
            let places = match compiled.as_ref() {
                Compiled::Write(write) => self.places_of(transaction, statement, write, &open).await?,
                Compiled::Read(_) | Compiled::Nothing => Vec::new(),
                Compiled::Refused { .. } => return None,
            };
            let writes: Vec<Write> = places.iter().filter_map(|place| open.remove(place)).cloned().collect();
            writes.iter().for_each(|write| self.worlds.apply_actual(write));
            let statement = Statement { link: StatementLink::SessionOrder, ..statement.clone() };
            steps.push(Step { statement: Some(statement), writes });
        }
        open.is_empty().then_some(steps)
    }

    /// The places of the writes that the statement makes in the actual world as it stands; `None` where one of them was
    /// not recorded.
    async fn places_of(
        &mut self,
        transaction: &Transaction,
        statement: &Statement,
        write: &CompiledWrite,
        open: &BTreeMap<usize, &Write>,
    ) -> Option<Vec<usize>> {
        let execution = Execution { parameters: &statement.parameters, time: transaction.started, overridden: None };
        let mut places = Vec::new();
        for table in &write.tables {
            let (effects, without_key) = table.run(&mut self.worlds.tables, World::Actual, execution).await.ok()?;
            if !without_key.is_empty() {
                return None;
            }
            for (key, effect) in &effects {
                let of_record = open
                    .iter()
                    .find(|(_, one)| one.table == table.target && (self.old_record(one).1 == *key || one.key == *key));
                let (place, recorded) = of_record?;
                if !is_effect(recorded, effect, table) {
                    return None;
                }
                places.push(*place);
            }
        }
        places.sort_unstable();
        Some(places)
    }
}

fn is_effect(recorded: &Write, effect: &Effect, table: &TableWrite) -> bool {
    let set = match (effect, recorded.operation) {
        (Effect::Delete, Operation::Delete) => return true,
        (Effect::Insert(row), Operation::Insert) => row,
        (Effect::Update(Updated { values, .. }), Operation::Update) => values,
        _ => return false,
    };
    let is_written = |column: &Arc<str>, value: &Value| {
        let column_type = table.schema().column(column).map(|column| &column.column_type);
        let same = |written: &Value| column_type.map_or(written == value, |known| known.is_same(written, value));
        recorded.value_after(column).is_none_or(same)
    };
    set.iter().all(|(column, value)| is_written(column, value))
}
