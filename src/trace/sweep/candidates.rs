//! The rows whose violation of a rule a transaction can have changed: all that need be looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::PlannedRule;
use crate::catalog::{RollingTables, World};
use crate::model::{ColumnName, RecordKey, Row, TableName, Value};

/// Rows whose violation a transaction can have changed.
pub enum Candidates {
    /// The rule is a whole query.
    Query,
    /// Any row may be concerned.
    EveryRow,
    /// Rows of these keys, and rows with these values.
    Rows {
        /// The keys.
        keys: BTreeSet<RecordKey>,
        /// Values by column.
        values: BTreeMap<ColumnName, BTreeSet<Value>>,
    },
}

impl Candidates {
    /// The rows to look at once the transaction is applied; `None` for a whole query.
    pub(super) fn after(&self, rule: &PlannedRule, tables: &mut RollingTables, world: World) -> Option<Vec<Arc<Row>>> {
        let table = &rule.rule.table;
        match self {
            Candidates::Query => None,
            Candidates::EveryRow => {
                Some(tables.table(table).map(|table| table.rows(world).cloned().collect()).unwrap_or_default())
            }
            Candidates::Rows { keys, values } => {
                let mut keys = keys.clone();
                for (column, values) in values {
                    let Some(table) = tables.table_mut(table) else { continue };
                    let key = table.schema().key.clone();
                    keys.extend(table.rows_where(world, column, values).iter().filter_map(|row| row.key(&key)));
                }
                Some(rows_of(tables, table, &keys.into_iter().collect::<Vec<_>>(), world))
            }
        }
    }
}

/// The rows of these keys as they stand in one world.
pub fn rows_of(tables: &RollingTables, table: &TableName, keys: &[RecordKey], world: World) -> Vec<Arc<Row>> {
    let Some(table) = tables.table(table) else { return Vec::new() };
    keys.iter().filter_map(|key| table.row(world, key).cloned()).collect()
}
