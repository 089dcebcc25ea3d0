//! What a value that is not known may be equal to: the values that rows are joined or grouped by. No distortion far up or
//! far down meets one of them.

use std::collections::BTreeSet;

use super::Sweep;
use super::touch::Touched;
use crate::catalog::World;
use crate::model::{ColumnName, ColumnType, TableName, Value};
use crate::trace::reenact::{Refusal, TableWrite};

/// More values than these are not tried one by one …
const MOST_VALUES: usize = 40;

/// … nor looked for in more rows than these.
const MOST_ROWS: usize = 100_000;

/// A column of a table.
type TableColumn = (TableName, ColumnName);

impl Sweep {
    /// The values with which the unknown ones that a statement reads may be joined or grouped.
    ///
    /// # Errors
    /// Where they are too many to be tried.
    pub(super) fn values_met(
        &mut self,
        sql: &str,
        write: &TableWrite,
        touched: &Touched,
    ) -> Result<BTreeSet<Value>, Refusal> {
        let mut met = BTreeSet::new();
        if !touched.unknown {
            return Ok(met);
        }
        let mut matched = self.statements.joined_or_grouped(sql);
        matched.extend(write.equated_columns());
        let unknown = self.unknown_columns(touched);
        let types: Vec<ColumnType> =
            unknown.iter().filter(|column| matched.contains(*column)).filter_map(|one| self.type_of(one)).collect();
        let can_meet = |one: &&TableColumn| self.type_of(one).is_some_and(|of| types.contains(&of));
        for (table, column) in matched.iter().filter(can_meet) {
            let Some(rolling) = self.worlds.tables.table(table) else { continue };
            for (place, row) in rolling.rows(World::Right).enumerate() {
                met.extend(row.get(column).filter(|value| !value.is_null()).cloned());
                if met.len() > MOST_VALUES || place > MOST_ROWS {
                    let reason = format!("joins or groups by {table}.{column}, which may hold one of very many values");
                    return Err(Refusal(reason));
                }
            }
        }
        Ok(met)
    }

    /// The columns, but for keys, in which a record that is touched holds a value that is not known.
    fn unknown_columns(&self, touched: &Touched) -> BTreeSet<TableColumn> {
        let of_record = |record: &super::RecordName| {
            let unknown = self.unknown_of(record).into_iter();
            unknown.map(|column| (record.0.clone(), column)).collect::<Vec<_>>()
        };
        touched.records.iter().flat_map(of_record).collect()
    }

    fn type_of(&self, (table, column): &TableColumn) -> Option<ColumnType> {
        Some(self.worlds.schema(table)?.column(column)?.column_type.clone())
    }
}
