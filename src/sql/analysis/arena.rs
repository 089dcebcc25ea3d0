//! The tables and columns that one statement names, each once, as small numbers.

use std::collections::HashMap;
use std::sync::Arc;

use super::outcome::{ColumnOwner, QualifiedColumn};
use crate::model::{ColumnName, TableName};

/// A table of the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TableId(u32);

/// A column of the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ColumnId(u32);

/// Numbers in the order of their first use.
#[derive(Debug, Default)]
pub(super) struct Arena {
    tables: Vec<TableName>,
    table_ids: HashMap<TableName, TableId>,
    columns: Vec<(Option<TableId>, ColumnName)>,
    column_ids: HashMap<ColumnName, Vec<ColumnId>>,
}

impl Arena {
    pub(super) fn table(&mut self, name: &TableName) -> TableId {
        if let Some(id) = self.table_ids.get(name) {
            return *id;
        }
        let id = TableId(u32::try_from(self.tables.len()).unwrap_or(u32::MAX));
        self.tables.push(name.clone());
        self.table_ids.insert(name.clone(), id);
        id
    }

    /// The column of a table, or of an unknown one.
    pub(super) fn column(&mut self, table: Option<TableId>, name: &str) -> ColumnId {
        if let Some(ids) = self.column_ids.get(name) {
            let known = ids.iter().find(|id| self.owner(**id) == table);
            if let Some(id) = known {
                return *id;
            }
        }
        let id = ColumnId(u32::try_from(self.columns.len()).unwrap_or(u32::MAX));
        let name: ColumnName = name.into();
        self.columns.push((table, Arc::clone(&name)));
        self.column_ids.entry(name).or_default().push(id);
        id
    }

    pub(super) fn owner(&self, column: ColumnId) -> Option<TableId> {
        self.entry(column).and_then(|(table, _)| *table)
    }

    fn entry(&self, column: ColumnId) -> Option<&(Option<TableId>, ColumnName)> {
        self.columns.get(usize::try_from(column.0).ok()?)
    }

    pub(super) fn table_name(&self, table: TableId) -> Option<&TableName> {
        self.tables.get(usize::try_from(table.0).ok()?)
    }

    pub(super) fn qualified(&self, column: ColumnId) -> QualifiedColumn {
        let (table, name) = match self.entry(column) {
            Some((table, name)) => (*table, Arc::clone(name)),
            None => (None, "?".into()),
        };
        let owner = match table.and_then(|table| self.table_name(table)) {
            Some(table) => ColumnOwner::Table(table.clone()),
            None => ColumnOwner::Unresolved,
        };
        QualifiedColumn { owner, column: name }
    }
}
