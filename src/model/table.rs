//! Tables: their names and shapes.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{ColumnName, ColumnType, ModelError, Row, TimeZone};

/// A table's full name. Prints as `schema.table`; a bare name is read as `public.<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The schema, `public` where none was named.
    pub schema: Arc<str>,
    /// The table within the schema.
    pub table: Arc<str>,
}

impl TableName {
    /// A name from its two parts.
    pub fn new(schema: impl Into<Arc<str>>, table: impl Into<Arc<str>>) -> Self {
        TableName { schema: schema.into(), table: table.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.schema, self.table)
    }
}

impl FromStr for TableName {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('.').collect();
        match parts.as_slice() {
            [table] if !table.is_empty() => Ok(TableName::new("public", *table)),
            [schema, table] if !schema.is_empty() && !table.is_empty() => Ok(TableName::new(*schema, *table)),
            _ => Err(ModelError::TableName(text.to_owned())),
        }
    }
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: ColumnName,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether the database refuses NULL in it.
    pub not_null: bool,
    /// Computed by the database (`GENERATED ALWAYS AS … STORED`, a materialised view): never written by a repair.
    pub generated: bool,
}

/// A column that the database computes from its row (`GENERATED ALWAYS AS … STORED`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedColumn {
    /// Its table.
    pub table: TableName,
    /// The column.
    pub column: ColumnName,
    /// What computes it, in PostgreSQL's SQL.
    pub expression: Arc<str>,
}

/// A view: a query that goes by a table's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: TableName,
    /// Its query, in PostgreSQL's SQL, with every table's full name.
    pub sql: Arc<str>,
}

/// What a database declares beside the shapes of its tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declarations {
    /// The columns that it computes from their rows.
    pub generated: Vec<GeneratedColumn>,
    /// Its views.
    pub views: Vec<View>,
    /// Its materialized views, functions, procedures and triggers: the statements that define them.
    pub definitions: Vec<Arc<str>>,
    /// Of each partition the partitioned table that it is in the end a part of.
    pub partitions: BTreeMap<TableName, TableName>,
    /// The time zone of a session that sets none.
    pub time_zone: TimeZone,
    /// Roles whose sessions begin with another time zone than that.
    pub roles_elsewhere: Vec<Arc<str>>,
}

/// What the database does to the rows that refer to a row, when that is deleted or its key changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReferentialAction {
    /// Nothing; where such rows are left, it refuses.
    #[default]
    Refuse,
    /// The same: they are deleted, or get the new key.
    Cascade,
    /// The columns that refer become NULL.
    SetNull,
    /// The columns that refer get their defaults.
    SetDefault,
}

/// A foreign key of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The referring columns.
    pub columns: Vec<ColumnName>,
    /// The table referred to.
    pub table: TableName,
    /// The columns referred to, in the same order.
    pub referenced: Vec<ColumnName>,
    /// What a delete of the row referred to does.
    pub on_delete: ReferentialAction,
    /// What a change of its columns does.
    pub on_update: ReferentialAction,
}

/// A table as the database (or the data folder and the project file) declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// The table.
    pub name: TableName,
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// Its primary key, or the key of the project file; empty where there is neither.
    pub key: Vec<ColumnName>,
    /// Its foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// What must not repeat beside its key, where that is known.
    pub unique_keys: Vec<UniqueKey>,
}

/// A unique index or constraint other than the primary key, or an exclusion constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueKey {
    /// Its columns, as far as it is of columns.
    pub columns: Vec<ColumnName>,
    /// Whether two rows conflict exactly where these columns are equal and not NULL: it has no expression and no condition,
    /// and excludes nothing else.
    pub is_plain: bool,
}

impl TableSchema {
    /// The columns of type plain `numeric`, whose values can be the same and yet be printed otherwise.
    pub fn plain_numerics(&self) -> impl Iterator<Item = &ColumnName> {
        let is_plain = |column: &&Column| column.column_type == ColumnType::Numeric(None);
        self.columns.iter().filter(is_plain).map(|column| &column.name)
    }

    /// Whether a row tells every column that is written; what the database computes by itself not everything records.
    pub fn is_whole(&self, row: &Row) -> bool {
        self.columns.iter().filter(|column| !column.generated).all(|column| row.get(&column.name).is_some())
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.as_ref() == name)
    }
}
