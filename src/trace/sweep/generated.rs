//! Columns that the database computes from their row: in the right world they are what the right row gives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Sweep;
use crate::catalog::World;
use crate::model::{ColumnName, Declarations, GeneratedColumn, Row, TableName, Timestamp, Value};
use crate::trace::reach::Reach;
use crate::trace::reenact::Refusal;
use crate::trace::roots::RowProgram;
use crate::trace::worlds::RecordName;

/// The generated columns of each table.
#[derive(Default)]
pub struct GeneratedColumns(BTreeMap<TableName, Arc<[Generated]>>);

struct Generated {
    column: ColumnName,
    /// Why it cannot be computed, where it cannot.
    program: Result<RowProgram, Refusal>,
}

impl Generated {
    /// Whether it is computed from this column; from any, where it is not understood.
    fn reads(&self, column: &str) -> bool {
        match &self.program {
            Ok(program) => program.references().first().is_none_or(|row| row.columns.contains(column)),
            Err(_) => column != self.column.as_ref(),
        }
    }
}

impl GeneratedColumns {
    /// Those of a table.
    pub fn of_table(&self, table: &TableName) -> impl Iterator<Item = &ColumnName> {
        self.0.get(table).into_iter().flat_map(|all| all.iter()).map(|generated| &generated.column)
    }
}

impl Sweep {
    /// Takes in what the database declares beside the shapes of its tables.
    pub async fn declare(&mut self, declarations: &Declarations) {
        for view in &declarations.views {
            if let Err(reason) = self.statements.declare(view) {
                self.notes.limit(format!("the view {} was not understood: failed to {reason}", view.name));
            }
        }
        self.reach = Reach::of_declarations(declarations, self.statements.schemas());
        self.runs_code = self.reach.has_code();
        self.declare_materialized(declarations.definitions.iter().map(AsRef::as_ref));
        self.generate(&declarations.generated).await;
    }

    /// Plans what computes these columns; one that cannot be computed again is unknown wherever its row is wrong.
    async fn generate(&mut self, columns: &[GeneratedColumn]) {
        let mut by_table: BTreeMap<TableName, Vec<Generated>> = BTreeMap::new();
        for GeneratedColumn { table, column, expression } in columns {
            let Some(schema) = self.worlds.schema(table) else { continue };
            let Some(known) = schema.column(column) else { continue };
            let computed = (expression.to_string(), column.clone(), known.column_type.clone());
            let program = RowProgram::of_postgres(&mut self.statements, &schema, &computed).await;
            by_table.entry(table.clone()).or_default().push(Generated { column: column.clone(), program });
        }
        self.worlds.watch(by_table.keys().cloned());
        self.generated = GeneratedColumns(by_table.into_iter().map(|(table, all)| (table, all.into())).collect());
    }

    /// Computes the generated columns of the right rows that have changed.
    pub(super) async fn regenerate(&mut self, time: Timestamp) {
        for record in self.worlds.take_watched() {
            if !self.worlds.is_wrong(&record) {
                continue;
            }
            let Some(all) = self.generated.0.get(&record.0).cloned() else { continue };
            let Some(mut right) = self.worlds.row(World::Right, &record).map(|row| row.as_ref().clone()) else {
                continue;
            };
            let mut unknown = self.all_unknown_of(&record);
            for generated in all.iter() {
                let column = &generated.column;
                unknown.remove(column);
                match self.generated_value(&record, &right, generated, &unknown, time).await {
                    Some(value) => right.set(column.clone(), value),
                    None => _ = unknown.insert(column.clone()),
                }
            }
            let actual = self.worlds.row(World::Actual, &record).cloned();
            self.worlds.set(&record, actual, Some(Arc::new(right)));
            if self.worlds.difference(&record).is_some() {
                self.worlds.set_unknown(&record, unknown);
                self.worlds.note_wrong(&record);
                self.worlds.forget_if_never_wrong(&record);
            }
        }
        self.worlds.take_watched();
    }

    /// Its value in the right world; `None` where it is not known.
    async fn generated_value(
        &mut self,
        record: &RecordName,
        right: &Row,
        generated: &Generated,
        unknown: &BTreeSet<ColumnName>,
        time: Timestamp,
    ) -> Option<Value> {
        let column = &generated.column;
        if unknown.iter().any(|unknown| generated.reads(unknown)) {
            return None;
        }
        let actual = self.worlds.row(World::Actual, record).cloned();
        let is_same = |(name, value): (&ColumnName, &Value)| {
            !generated.reads(name) || actual.as_ref().is_some_and(|actual| actual.get(name) == Some(value))
        };
        if right.iter().all(is_same) {
            return actual.and_then(|actual| actual.get(column).cloned());
        }
        let computed = match &generated.program {
            Ok(program) => {
                let value = program.run(&mut self.worlds.tables, World::Right, right, None, time).await;
                let own = match actual.as_deref() {
                    Some(actual) => {
                        let own = program.run(&mut self.worlds.tables, World::Actual, actual, None, time).await;
                        own.map(|own| own.get(column) == actual.get(column))
                    }
                    None => Ok(true),
                };
                match (value, own) {
                    (Ok(value), Ok(true)) => Ok(value.get(column).cloned()),
                    (Err(refusal), _) | (_, Err(refusal)) => Err(refusal.to_string()),
                    (Ok(_), Ok(false)) => Err("gives another value than the database".to_owned()),
                }
            }
            Err(refusal) => Err(refusal.to_string()),
        };
        match computed {
            Ok(value) => value,
            Err(reason) => {
                self.notes
                    .limit(format!("the generated column {column} of {} was not computed: it {reason}", record.0));
                None
            }
        }
    }
}
