//! `expression: "<SQL predicate>"`: the predicate is not false.
//!
//! **Why.** What ties the columns of a row together: `delivered_at >= ordered_at`, `total = subtotal - discount`.
//!
//! **Example.** `check: { expression: "paid_amount <= total" }`
//!
//! It may hold subqueries over other tables. As with SQL's CHECK, an answer of NULL passes.
//!
//! **Misses.** Rows where a NULL makes the answer NULL: add `not_null`, or compare with IS DISTINCT FROM.

use std::sync::Arc;

use super::{Check, CheckContext, CheckKind, Target, Violating};
use crate::audit::document::Node;
use crate::audit::mistake::Mistakes;
use crate::audit::sql_text::{SqlExpression, row_columns, tables_read};
use crate::model::{ColumnName, TableName};

pub(super) const KIND: CheckKind = CheckKind { name: "expression", read, judges_writes: false };

#[derive(Debug)]
struct Expression {
    predicate: SqlExpression,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let Some(text) = node.text() else {
        context.note(node, format!("expression is {}", node.kind()), Some("write SQL in quotes".to_owned()), mistakes);
        return None;
    };
    let predicate = context.names.expression(context.table, &[], node, text, mistakes)?;
    Some(Arc::new(Expression { predicate }))
}

impl Check for Expression {
    fn violating(&self, _target: &Target<'_>) -> Violating {
        Violating::Row(format!("({}) IS FALSE", self.predicate.sql))
    }

    fn columns(&self) -> Vec<ColumnName> {
        columns_of_row(&self.predicate)
    }

    fn tables_read(&self) -> Vec<TableName> {
        tables_of(&self.predicate)
    }
}

/// The columns of the row at hand that an expression names, in the order they stand there.
pub(super) fn columns_of_row(expression: &SqlExpression) -> Vec<ColumnName> {
    let mut columns: Vec<ColumnName> = Vec::new();
    for column in row_columns(&expression.expression) {
        if !columns.iter().any(|known| known.as_ref() == column.name) {
            columns.push(column.name.into());
        }
    }
    columns
}

/// The tables that an expression's subqueries read.
pub(super) fn tables_of(expression: &SqlExpression) -> Vec<TableName> {
    tables_read(&expression.expression).into_iter().filter_map(|read| read.name.ok()).collect()
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::tests::mistakes_of;

    #[test]
    fn unknown_names_are_mistakes_with_their_place() {
        let mistakes = mistakes_of("expression: \"totl > 0 AND lines.qty > 0\"");
        assert!(
            mistakes.contains("did you mean total?") && mistakes.contains("'lines' is not the table"),
            "{mistakes}"
        );
    }
}
