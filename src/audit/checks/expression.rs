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

pub(super) const KIND: CheckKind = CheckKind { name: "expression", read };

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
    use crate::audit::checks::fixtures::{mistakes_of, violating_ids};

    #[tokio::test]
    async fn false_violates_and_null_passes() {
        assert_eq!(violating_ids("expression: \"status = 'open'\"").await, ["3"]);
        assert_eq!(violating_ids("expression: \"orders.total > 5 AND paid\"").await, ["2", "4"]);
    }

    #[tokio::test]
    async fn subqueries_look_at_other_tables() {
        let found = violating_ids("expression: \"EXISTS (SELECT 1 FROM prices p WHERE p.sku = orders.sku)\"").await;
        assert_eq!(found, ["3", "4"]);
        let found =
            violating_ids("expression: \"total <= (SELECT max(amount) FROM prices p WHERE p.sku = orders.sku)\"").await;
        assert_eq!(found, ["1"]);
    }

    #[tokio::test]
    async fn null_is_in_no_list_and_passes() {
        assert_eq!(violating_ids("expression: \"status IN (SELECT 'open')\"").await, ["3"]);
    }

    #[test]
    fn unknown_names_are_mistakes_with_their_place() {
        let mistakes = mistakes_of("expression: \"totl > 0 AND lines.qty > 0\"");
        assert!(
            mistakes.contains("did you mean total?") && mistakes.contains("'lines' is not the table"),
            "{mistakes}"
        );
    }
}
