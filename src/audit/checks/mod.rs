//! The kinds of checks: one file each, and one line in [`KINDS`].
//!
//! In: the YAML of one `check:`, and the schema of the rule's table. Out: a [`Check`], which plans the SQL that finds
//! the rows in breach of it. A kind that is not here is refused when the rule is read.

use std::fmt::Debug;
use std::sync::Arc;

use super::document::Node;
use super::fields::{self, Fields};
use super::mistake::Mistakes;
use super::names::Names;
use super::sql_text::{SqlExpression, quoted_name, quoted_table};
use crate::model::{ColumnName, TableName, TableSchema};

mod equals;
mod expression;
pub(super) mod literal;
mod matches;
mod not_null;
mod range;
mod references;
mod sql;
mod unique;
mod values;

/// Every kind that works.
pub(super) const KINDS: &[CheckKind] = &[
    equals::KIND,
    expression::KIND,
    matches::KIND,
    not_null::KIND,
    range::KIND,
    references::KIND,
    sql::KIND,
    unique::KIND,
    values::KIND,
];

/// Kinds of the contract that do not work yet.
pub(super) const KINDS_TO_COME: &[&str] =
    &["balance", "sequence", "transition", "immutable", "monotonic", "freshness", "volume", "drift"];

/// A kind of check: the key it goes by, and how its YAML is read.
pub(super) struct CheckKind {
    pub(super) name: &'static str,
    /// Reads what stands behind the key; notes what is wrong with it.
    pub(super) read: fn(&CheckContext<'_>, &Node, &mut Mistakes) -> Option<Arc<dyn Check>>,
}

/// What a check may ask while its YAML is read.
pub(super) struct CheckContext<'a> {
    pub(super) names: &'a Names<'a>,
    pub(super) table: &'a TableSchema,
}

impl CheckContext<'_> {
    fn fields<'d>(
        &'d self,
        node: &'d Node,
        what: &'static str,
        known: &'static [&'static str],
        mistakes: &mut Mistakes,
    ) -> Option<Fields<'d>> {
        self.names.document.fields(node, what, known, mistakes)
    }

    /// The columns of the rule's table that a list names; `None` where one of them is not there.
    fn columns(&self, node: &Node, what: &str, mistakes: &mut Mistakes) -> Option<Vec<ColumnName>> {
        columns_of(self.names, self.table, node, what, mistakes)
    }

    /// The column that the key `column` of a check names.
    fn column(&self, fields: &Fields<'_>, mistakes: &mut Mistakes) -> Option<ColumnName> {
        let node = fields.require("column", mistakes)?;
        let text = fields.text("column", mistakes)?;
        self.names.column(self.table, node, text, mistakes)
    }

    fn note(&self, node: &Node, message: impl Into<String>, help: Option<String>, mistakes: &mut Mistakes) {
        mistakes.push(self.names.document.location(node), message, help);
    }
}

/// The columns of `table` that a list names; `None` where one of them is not there.
pub(super) fn columns_of(
    names: &Names<'_>,
    table: &TableSchema,
    node: &Node,
    what: &str,
    mistakes: &mut Mistakes,
) -> Option<Vec<ColumnName>> {
    let texts = fields::texts(names.document, node, what, mistakes);
    let wanted = texts.len();
    let mut columns: Vec<ColumnName> = Vec::with_capacity(wanted);
    for (item, text) in texts {
        columns.extend(names.column(table, item, text, mistakes));
    }
    (wanted > 0 && columns.len() == wanted).then_some(columns)
}

/// The rows in breach of a rule, as SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violating {
    /// A predicate over a row of the table: true exactly for a row in breach, else false (never NULL). Columns are bare
    /// or qualified by the table's bare name; it may hold subqueries over the table itself and others.
    Row(String),
    /// A query that selects the key columns of the rows in breach, named as the table names them.
    Query(String),
}

/// The rows a check is about.
pub(super) struct Target<'a> {
    /// Their table.
    pub(super) table: &'a TableSchema,
    /// Only these rows: the rule's `where`.
    pub(super) filter: Option<&'a SqlExpression>,
}

impl Target<'_> {
    /// `"schema"."table"`.
    fn table_sql(&self) -> String {
        quoted_table(&self.table.name)
    }

    /// A column of the row at hand, qualified, so that a subquery cannot take it for one of its own.
    fn row_column(&self, column: &str) -> String {
        format!("{}.{}", quoted_name(&self.table.name.table), quoted_name(column))
    }

    /// The rule's `where`, true or false.
    fn filter_sql(&self) -> Option<String> {
        self.filter.map(|filter| format!("({}) IS TRUE", filter.sql))
    }
}

/// What a rule demands of the rows of its table.
pub(super) trait Check: Debug + Send + Sync {
    /// The rows in breach. The rule adds its `where` to a [`Violating::Row`]; only a check that looks at other rows of
    /// the table, or plans a [`Violating::Query`], has to heed the target's filter itself.
    fn violating(&self, target: &Target<'_>) -> Violating;

    /// The columns it names: those to blame, unless the rule names others.
    fn columns(&self) -> Vec<ColumnName>;

    /// What a column should hold instead, as SQL over the row, where the check itself says so.
    fn expected(&self) -> Option<(ColumnName, String)> {
        None
    }

    /// The tables it reads beside the rule's own.
    fn tables_read(&self) -> Vec<TableName> {
        Vec::new()
    }
}

fn is_not_null(column: &str) -> String {
    format!("{} IS NOT NULL", quoted_name(column))
}

#[cfg(test)]
mod fixtures;
