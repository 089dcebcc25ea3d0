//! The form of a table that is made from a query: its rows are inserted.

use sqlparser::ast::{Ident, ObjectName, Query, SetExpr, Statement};

use super::{SqlError, WriteForm, insert};
use crate::sql::{Schemas, parse};

/// # Errors
/// As of the INSERT that fills the table.
pub(super) fn form(
    name: &ObjectName,
    columns: &[&Ident],
    query: &Query,
    schemas: &Schemas,
) -> Result<WriteForm, SqlError> {
    let listed: Vec<String> = columns.iter().map(ToString::to_string).collect();
    let columns = if listed.is_empty() { String::new() } else { format!("({}) ", listed.join(", ")) };
    match parse(&format!("INSERT INTO {name} {columns}{query}"))?.as_slice() {
        [Statement::Insert(insert)] => insert::form(insert, schemas),
        _ => Err(SqlError::Unsupported(format!("the query that makes {name}"))),
    }
}

/// The table of a `SELECT … INTO`, and the query that fills it.
pub(super) fn select_into(query: &Query) -> Option<(ObjectName, Query)> {
    let mut query = query.clone();
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let into = select.into.take()?;
    Some((into.name, query))
}
