//! Names in a rules or faults file, looked up in the catalog; what is not there is noted with the nearest name.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::ast::Visit;

use super::document::{Document, Node};
use super::mistake::Mistakes;
use super::sql_text::{NamePlace, SqlExpression, SqlMistake, SqlQuery, row_columns, tables_read};
use crate::catalog::{nearest_name, nearest_table};
use crate::model::{ColumnName, TableName, TableSchema};

/// Every table there is.
pub type Schemas = BTreeMap<TableName, Arc<TableSchema>>;

/// Looks names up for one file.
pub struct Names<'a> {
    /// The file.
    pub document: &'a Document,
    /// The tables there are.
    pub schemas: &'a Schemas,
}

impl<'a> Names<'a> {
    /// The table that a node names.
    pub fn table(&self, node: &Node, text: &str, mistakes: &mut Mistakes) -> Option<&'a Arc<TableSchema>> {
        let name: TableName = match text.parse() {
            Ok(name) => name,
            Err(error) => {
                mistakes.push(self.document.location(node), error.to_string(), None);
                return None;
            }
        };
        let found = self.schemas.get(&name);
        if found.is_none() {
            mistakes.push(self.document.location(node), format!("there is no table {name}"), self.table_help(&name));
        }
        found
    }

    /// The column of `table` that a node names.
    pub fn column(&self, table: &TableSchema, node: &Node, text: &str, mistakes: &mut Mistakes) -> Option<ColumnName> {
        let found = table.column(text).map(|column| Arc::clone(&column.name));
        if found.is_none() {
            let message = format!("{} has no column '{text}'", table.name);
            mistakes.push(self.document.location(node), message, column_help(table, text));
        }
        found
    }

    /// An expression over a row of `table`. `row_aliases` are further names the row goes by, such as `before`.
    pub fn expression(
        &self,
        table: &TableSchema,
        row_aliases: &[&str],
        node: &Node,
        text: &str,
        mistakes: &mut Mistakes,
    ) -> Option<SqlExpression> {
        let parsed = match SqlExpression::parse(text) {
            Ok(parsed) => parsed,
            Err(mistake) => return self.note(node, mistake, mistakes),
        };
        let before = mistakes.len();
        self.check_tables(&parsed.expression, node, mistakes);
        for column in row_columns(&parsed.expression) {
            let place = self.place(node, &column.place);
            let is_ours = column.qualifier.as_deref().is_none_or(|qualifier| {
                qualifier == table.name.table.as_ref()
                    || qualifier == table.name.to_string()
                    || row_aliases.contains(&qualifier)
            });
            if !is_ours {
                let known = row_aliases.iter().map(|alias| format!(" or {alias}")).collect::<String>();
                let help = format!("name columns of {}{known}, or read another table in a subquery", table.name);
                let qualifier = column.qualifier.unwrap_or_default();
                mistakes.push(place, format!("'{qualifier}' is not the table at hand"), Some(help));
            } else if table.column(&column.name).is_none() {
                let message = format!("{} has no column '{}'", table.name, column.name);
                mistakes.push(place, message, column_help(table, &column.name));
            }
        }
        (mistakes.len() == before).then_some(parsed)
    }

    /// A query.
    pub fn query(&self, node: &Node, text: &str, mistakes: &mut Mistakes) -> Option<SqlQuery> {
        let parsed = match SqlQuery::parse(text) {
            Ok(parsed) => parsed,
            Err(mistake) => return self.note(node, mistake, mistakes),
        };
        let before = mistakes.len();
        self.check_tables(&parsed.query, node, mistakes);
        (mistakes.len() == before).then_some(parsed)
    }

    fn check_tables(&self, sql: &impl Visit, node: &Node, mistakes: &mut Mistakes) {
        for read in tables_read(sql) {
            match read.name {
                Ok(name) if self.schemas.contains_key(&name) => {}
                Ok(name) => {
                    let place = self.place(node, &read.place);
                    mistakes.push(place, format!("there is no table {name}"), self.table_help(&name));
                }
                Err(message) => mistakes.push(self.place(node, &read.place), message, None),
            }
        }
    }

    fn note<T>(&self, node: &Node, mistake: SqlMistake, mistakes: &mut Mistakes) -> Option<T> {
        let place = NamePlace { line: mistake.line, column: mistake.column };
        mistakes.push(self.place(node, &place), mistake.message, None);
        None
    }

    fn place(&self, node: &Node, place: &NamePlace) -> super::mistake::Location {
        self.document.location_within(node, place.line, place.column)
    }

    fn table_help(&self, name: &TableName) -> Option<String> {
        match nearest_table(name, self.schemas.keys()) {
            Some(nearest) => Some(format!("did you mean {nearest}?")),
            None => {
                let known: Vec<String> = self.schemas.keys().map(TableName::to_string).collect();
                Some(format!("the tables are {}", known.join(", ")))
            }
        }
    }
}

fn column_help(table: &TableSchema, text: &str) -> Option<String> {
    match nearest_name(text, table.columns.iter().map(|column| column.name.as_ref())) {
        Some(nearest) => Some(format!("did you mean {nearest}?")),
        None => {
            let known: Vec<&str> = table.columns.iter().map(|column| column.name.as_ref()).collect();
            Some(format!("its columns are {}", known.join(", ")))
        }
    }
}
