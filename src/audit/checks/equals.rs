//! `equals: {column: c, sql: "<SQL expression or scalar subquery>"}`: the column holds what the SQL gives.
//!
//! **Why.** A stored value that is computed from others (a total, a balance, a counter) must be that computation. It is
//! the strongest rule there is: it also says what the right value is, so that a repair can write it.
//!
//! **Example.**
//!
//! ```yaml
//! check:
//!   equals:
//!     column: total
//!     sql: SELECT coalesce(sum(qty * unit_price), 0) FROM public.order_lines l WHERE l.order_id = orders.id
//! ```
//!
//! NULL equals NULL and nothing else. Numbers are compared by value, not by how they print; round where the column
//! does: `round(total * 0.19, 2)`.
//!
//! **Misses.** A value that is wrong because what it is computed from is wrong.

use std::sync::Arc;

use super::expression::{columns_of_row, tables_of};
use super::{Check, CheckContext, CheckKind, Target, Violating};
use crate::audit::document::Node;
use crate::audit::mistake::Mistakes;
use crate::audit::sql_text::{SqlExpression, quoted_name};
use crate::model::{ColumnName, TableName};

pub(super) const KIND: CheckKind = CheckKind { name: "equals", read, judges_writes: false };

#[derive(Debug)]
struct Equals {
    column: ColumnName,
    value: SqlExpression,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let fields = context.fields(node, "equals", &["column", "sql"], mistakes)?;
    let column = context.column(&fields, mistakes);
    let text = fields.require_text("sql", mistakes)?;
    let value = context.names.expression(context.table, &[], fields.get("sql")?, text, mistakes)?;
    let column = column?;
    if columns_of_row(&value).contains(&column) {
        let message = format!("'{column}' is said to equal something computed from itself");
        context.note(node, message, Some("use expression for a condition on one column".to_owned()), mistakes);
        return None;
    }
    Some(Arc::new(Equals { column, value }))
}

impl Check for Equals {
    fn violating(&self, _target: &Target<'_>) -> Violating {
        Violating::Row(format!("{} IS DISTINCT FROM ({})", quoted_name(&self.column), self.value.sql))
    }

    fn columns(&self) -> Vec<ColumnName> {
        vec![Arc::clone(&self.column)]
    }

    fn expected(&self) -> Option<(ColumnName, String)> {
        Some((Arc::clone(&self.column), self.value.sql.clone()))
    }

    fn tables_read(&self) -> Vec<TableName> {
        tables_of(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::tests::mistakes_of;

    #[test]
    fn a_column_is_not_computed_from_itself() {
        assert!(mistakes_of("equals: {column: total, sql: 'total + 0'}").contains("computed from itself"));
    }
}
