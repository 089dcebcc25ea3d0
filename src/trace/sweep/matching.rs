//! What a value that is not known may be equal to: the values that rows are joined or grouped by. No distortion far up or
//! far down meets one of them. And whether it becomes part of a key: then nobody can name the row.

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

/// What the unknown values that a statement reads may come to.
#[derive(Debug, Default)]
pub(super) struct Matching {
    /// The values with which they may be joined or grouped.
    pub(super) values: BTreeSet<Value>,
    /// Whether they become part of the keys of rows that it inserts.
    pub(super) makes_keys: bool,
}

impl Sweep {
    /// What the unknown values that a statement reads may be equal to, and whether they make keys.
    ///
    /// # Errors
    /// Where they are too many to be tried.
    pub(super) fn matching(&mut self, sql: &str, write: &TableWrite, touched: &Touched) -> Result<Matching, Refusal> {
        let mut matching = Matching::default();
        if !touched.unknown {
            return Ok(matching);
        }
        let mut matched = self.statements.joined_or_grouped(sql);
        matched.extend(write.equated_columns());
        let unknown = self.unknown_columns(touched);
        let key = self.statements.sources_of_key(sql, write.schema());
        matching.makes_keys = write.inserts() && !key.is_disjoint(&unknown);
        let types: Vec<ColumnType> =
            unknown.iter().filter(|column| matched.contains(*column)).filter_map(|one| self.type_of(one)).collect();
        let can_meet = |one: &&TableColumn| self.type_of(one).is_some_and(|of| types.contains(&of));
        for (table, column) in matched.iter().filter(can_meet) {
            let Some(rolling) = self.worlds.tables.table(table) else { continue };
            for (place, row) in rolling.rows(World::Right).enumerate() {
                matching.values.extend(row.get(column).filter(|value| !value.is_null()).cloned());
                if matching.values.len() > MOST_VALUES || place > MOST_ROWS {
                    let reason = format!("joins or groups by {table}.{column}, which may hold one of very many values");
                    return Err(Refusal(reason));
                }
            }
        }
        Ok(matching)
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
