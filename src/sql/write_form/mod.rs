//! A write as a query: the keys of the rows it touches and the values it gives them.
//!
//! `UPDATE t SET a = e FROM u WHERE c` becomes `SELECT t.key, e FROM t, u WHERE c`; `DELETE` the same without values;
//! `INSERT` is the query that yields its rows. A `MERGE` has one such arm for each of its actions, and a statement with
//! data-modifying common table expressions one form for each table that it writes. Whoever runs the queries over a
//! state knows what the statement would do to it: they all see the state before it.

mod given;
mod insert;
mod made;
mod merge;
mod queries;
mod relative;
mod returning;
mod update;
mod with;

use sqlparser::ast::{Ident, Query, Statement};

pub use given::literals;
pub use queries::function_call;

use super::{Schemas, SqlError};
use crate::model::{ColumnName, TableName, TableSchema, UniqueKey};

/// One column that the write gives a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// The column.
    pub column: ColumnName,
    /// Whether the value is one that only the database could give (a sequence, a default, a random value): the query
    /// yields NULL for it, and the value really written stands in both worlds.
    pub given: bool,
    /// The literals and parameters in the value: the application may have computed them from what it read.
    pub from_application: Vec<Constant>,
    /// Whether the value is the column's own, one more or one less: nothing that an application computes.
    pub counts: bool,
    /// Whether the value is a sum or difference of which the column's own is one operand, and the statement, an UPDATE,
    /// reads that nowhere else: which rows it writes, and all else that it writes to them, is the same whatever it is.
    pub relative: bool,
}

/// A value in a statement that came from the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constant {
    /// `$n`, by number from 1.
    Parameter(usize),
    /// A number or a text.
    Literal(String),
    /// NULL, written out.
    Null,
}

/// What kind of write.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteKind {
    /// The query yields the assigned columns of each new row.
    Insert {
        /// What to do with a row whose key exists.
        on_conflict: Option<OnConflict>,
    },
    /// The query yields the key columns of each row, then the assigned columns.
    Update,
    /// The query yields the key columns of each row.
    Delete,
}

/// `ON CONFLICT (columns) …`.
#[derive(Clone, Debug, PartialEq)]
pub struct OnConflict {
    /// The columns whose equality is a conflict: the table's key where none are named.
    pub columns: Vec<ColumnName>,
    /// What else is a conflict where none are named.
    pub others: Vec<UniqueKey>,
    /// What happens then.
    pub action: ConflictAction,
}

/// What happens to a row that conflicts.
#[derive(Clone, Debug, PartialEq)]
pub enum ConflictAction {
    /// Nothing.
    Nothing,
    /// The row that exists is updated: `SELECT` of the new values, over the row that exists (under the table's name or
    /// alias) and the row that was proposed (`excluded`).
    Update {
        /// The columns updated, in the order of the query's.
        assigned: Vec<Assigned>,
        /// One query over `<target> CROSS JOIN excluded`.
        query: Box<Query>,
    },
}

/// What a statement does to one table.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteForm {
    /// The table written.
    pub target: TableName,
    /// What it does there: no two arms write the same row.
    pub arms: Vec<WriteArm>,
}

/// One thing that a statement does to a table.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteArm {
    /// What the query's rows mean.
    pub kind: WriteKind,
    /// The columns given values.
    pub assigned: Vec<Assigned>,
    /// The query.
    pub query: Box<Query>,
}

/// A whole statement's writes as queries.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteForms {
    /// One for each table written.
    pub forms: Vec<WriteForm>,
    /// Whether the statement hands rows back to the application.
    pub returning: bool,
    /// Of common table expressions that write: the query behind them, over the state before the statement.
    pub read: Option<Box<Query>>,
}

impl WriteForms {
    /// The forms of a statement whose tables have keys.
    ///
    /// # Errors
    /// What writes no rows, or uses a construct that has no such form.
    pub fn of(statement: &Statement, schemas: &Schemas) -> Result<WriteForms, SqlError> {
        let (forms, returning) = match statement {
            Statement::Insert(insert) => (vec![insert::form(insert, schemas)?], insert.returning.is_some()),
            Statement::Update(update) => (vec![update::update_form(update, schemas)?], update.returning.is_some()),
            Statement::Delete(delete) => (vec![update::delete_form(delete, schemas)?], delete.returning.is_some()),
            Statement::Merge(merge) => (vec![merge::form(merge, schemas)?], merge.output.is_some()),
            Statement::CreateTable(create) if let Some(query) = &create.query => {
                let columns: Vec<&Ident> = create.columns.iter().map(|column| &column.name).collect();
                (vec![made::form(&create.name, &columns, query, schemas)?], false)
            }
            Statement::Query(query) => match made::select_into(query) {
                Some((name, query)) => (vec![made::form(&name, &[], &query, schemas)?], false),
                None => return with::forms(query, schemas),
            },
            other => {
                let shown = first_words(&other.to_string());
                return Err(SqlError::Unsupported(format!("'{shown}' as a write to run again")));
            }
        };
        Ok(WriteForms { forms, returning, read: None })
    }
}

fn first_words(sql: &str) -> String {
    sql.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn target_schema<'a>(table: Option<TableName>, shown: &str, schemas: &'a Schemas) -> Result<&'a TableSchema, SqlError> {
    let schema = table
        .and_then(|table| schemas.get(&table))
        .ok_or_else(|| SqlError::Unsupported(format!("table {shown}, whose shape is not known")))?;
    if schema.key.is_empty() {
        return Err(SqlError::Unsupported(format!("table {shown}, which has no key")));
    }
    Ok(schema)
}

fn known(schema: &TableSchema, column: &str) -> Result<ColumnName, SqlError> {
    let found = schema.column(column).map(|column| column.name.clone());
    found.ok_or_else(|| SqlError::UnknownColumn(format!("{}.{column}", schema.name)))
}
