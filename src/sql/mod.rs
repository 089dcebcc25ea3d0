//! One SQL text → what it reads and writes: tables, columns, keys, template and parameters.
//!
//! In: a statement's text, and the shapes of the tables. Out: its [`Role`] in a transaction; for a query its
//! [`Reads`]: every reference to a table with the columns used and the [`Bound`]s that say which of its rows can
//! matter; for a write its [`WriteForms`]: the queries that yield the keys and the new values of the rows it writes.

mod analysis;
mod array_text;
mod bounds;
mod clock;
mod error;
mod lexical;
mod nesting;
mod references;
mod role;
mod targets;
mod template;
mod templates;
mod temporary;
mod views;
mod words;
mod write_form;

pub use crate::model::comment_tags;
pub use analysis::{
    Analyzer, ColumnLineage, ColumnOwner, Dialect, Influence, InfluenceKind, QualifiedColumn, Schema,
    StatementAnalysis, StatementKind, Via, analyze,
};
pub use array_text::array_elements;
pub use bounds::{Bound, Operand, canonical};
pub use clock::with_given_time;
pub use error::SqlError;
pub use references::{ColumnsRead, Reads, TableReference, reference_name};
pub use role::{Role, may_write_by_call, parse, role_of};
pub use targets::{Conflict, WriteTarget, lists_its_rows, scanned_targets, tables_named, write_targets};
pub use template::template;
pub use templates::{Execution, KeyColumn, KeysOfTable, Literal, Scanner, Template, Templates};
pub use temporary::{
    AtCommit, DroppedTables, RefreshedView, TemporaryEffect, TemporaryTemplates, TemporaryWrite, materialized_view,
    refreshed_view, temporary_table,
};
pub use views::{Views, expand_views, view_query, views};
pub use words::{called, can_name, first_word, inserted_into, words};
pub use write_form::{
    Assigned, ConflictAction, Constant, OnConflict, WriteArm, WriteForm, WriteForms, WriteKind, function_call, literals,
};

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::ast::{Ident, ObjectName};

use crate::model::{TableName, TableSchema};

/// The shapes of the tables that a statement may name.
pub type Schemas = BTreeMap<TableName, Arc<TableSchema>>;

/// An identifier as the catalog spells it: folded to lower case unless quoted.
pub fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// A table's full name; a bare name is taken to be in `public`. `None` for names of more than two parts.
pub fn table_name(name: &ObjectName) -> Option<TableName> {
    let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(folded)).collect();
    match parts?.as_slice() {
        [table] => Some(TableName::new("public", table.as_str())),
        [schema, table] => Some(TableName::new(schema.as_str(), table.as_str())),
        _ => None,
    }
}
