//! `sql: "<SELECT the key columns of the violating rows>"`: the query returns no row.
//!
//! **Why.** Whatever the other kinds cannot say.
//!
//! **Example.**
//!
//! ```yaml
//! check:
//!   sql: |
//!     SELECT o.id FROM public.orders o
//!     WHERE (SELECT count(*) FROM public.payments p WHERE p.order_id = o.id) > 1
//! ```
//!
//! The query returns the key columns of the rule's table by their names; further columns are not looked at.
//!
//! `history.<schema>.<table>` holds every recorded version of a row, with `_seq`, `_ts`, `_tx`, `_service`, `_release`,
//! `_op`, and the row before as `_before`:
//!
//! ```yaml
//! check:
//!   sql: SELECT id FROM history.public.orders h WHERE h._op = 'update' AND h.total > 10 * h._before.total
//! ```
//!
//! A rule's `where` then keeps those of its rows that it holds for.
//!
//! **Misses.** It names rows, not cells: say `columns` to blame some, and `expect` to have them repaired. One that
//! reads a history names records in an audit; a trace does not follow it.

use std::sync::Arc;

use super::{Check, CheckContext, CheckKind, Target, Violating};
use crate::audit::document::Node;
use crate::audit::mistake::Mistakes;
use crate::audit::sql_text::{SqlQuery, histories_read, quoted_name, tables_read};
use crate::model::{ColumnName, TableName};

pub(super) const KIND: CheckKind = CheckKind { name: "sql", read, judges_writes: false };

#[derive(Debug)]
struct Sql {
    query: SqlQuery,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let Some(text) = node.text() else {
        context.note(node, format!("sql is {}", node.kind()), Some("write a SELECT in quotes".to_owned()), mistakes);
        return None;
    };
    let query = context.names.query(node, text, mistakes)?;
    Some(Arc::new(Sql { query }))
}

impl Check for Sql {
    fn violating(&self, target: &Target<'_>) -> Violating {
        let key = crate::audit::key_columns(target.table);
        let columns: Vec<String> = key.iter().map(|column| quoted_name(column)).collect();
        let columns = columns.join(", ");
        let Some(filter) = target.filter_sql() else {
            return Violating::Query(format!("SELECT {columns} FROM ({}) AS violating", self.query.sql));
        };
        let same: Vec<String> = key
            .iter()
            .map(|column| {
                format!("violating.{} IS NOT DISTINCT FROM {}", quoted_name(column), target.row_column(column))
            })
            .collect();
        Violating::Query(format!(
            "SELECT {columns} FROM {} WHERE {filter} AND EXISTS (SELECT 1 FROM ({}) AS violating WHERE {})",
            target.table_sql(),
            self.query.sql,
            same.join(" AND "),
        ))
    }

    fn columns(&self) -> Vec<ColumnName> {
        Vec::new()
    }

    fn tables_read(&self) -> Vec<TableName> {
        tables_read(&self.query.query).into_iter().filter_map(|read| read.name.ok()).collect()
    }

    fn histories_read(&self) -> Vec<TableName> {
        histories_read(&self.query.query)
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::tests::mistakes_of;

    #[test]
    fn a_statement_that_writes_is_a_mistake() {
        assert!(mistakes_of("sql: \"DELETE FROM orders\"").contains("only reads"));
        assert!(mistakes_of("sql: \"SELECT id FROM orders WHERE\"").contains("does not parse"));
        assert!(mistakes_of("sql: \"SELECT id FROM ordrs\"").contains("did you mean public.orders?"));
    }
}
