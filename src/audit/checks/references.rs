//! `references: {columns: [a], table: t, key: [id]}`: the row that these columns point to exists.
//!
//! **Why.** Many databases carry references without a foreign key (across partitions, for speed, by accident), and an
//! orphan is lost from every join.
//!
//! **Example.** `check: { references: { columns: [customer_id], table: public.customers, key: [id] } }`
//!
//! `key` may be left out where the table's own key is meant. A row with a NULL in one of the columns passes, as with
//! SQL's foreign keys.
//!
//! **Misses.** A reference to a row that exists and is the wrong one.

use std::sync::Arc;

use super::{AcrossRows, Check, CheckContext, CheckKind, Reference, Target, Violating, columns_of, is_not_null};
use crate::audit::document::Node;
use crate::audit::mistake::Mistakes;
use crate::audit::sql_text::{quoted_name, quoted_table};
use crate::model::{ColumnName, TableName};

pub(super) const KIND: CheckKind = CheckKind { name: "references", read, judges_writes: false };

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let fields = context.fields(node, "references", &["columns", "table", "key"], mistakes)?;
    let columns = fields.require("columns", mistakes).and_then(|list| context.columns(list, "columns", mistakes));
    let table_node = fields.require("table", mistakes)?;
    let table = context.names.table(table_node, fields.text("table", mistakes)?, mistakes)?;
    let key = match fields.get("key") {
        Some(list) => columns_of(context.names, table, list, "key", mistakes)?,
        None if table.key.is_empty() => {
            let message = format!("{} has no key of its own", table.name);
            context.note(node, message, Some("name the columns referred to: key: […]".to_owned()), mistakes);
            return None;
        }
        None => table.key.clone(),
    };
    let columns = columns?;
    if columns.len() != key.len() {
        let message = format!("{} columns refer to a key of {}", columns.len(), key.len());
        context.note(node, message, Some(format!("the key is {}", key.join(", "))), mistakes);
        return None;
    }
    Some(Arc::new(Reference { columns, table: table.name.clone(), key }))
}

impl Check for Reference {
    fn violating(&self, target: &Target<'_>) -> Violating {
        let present: Vec<String> = self.columns.iter().map(|column| is_not_null(column)).collect();
        // Another name than the row's own, or a table that refers to itself would compare each row with itself.
        let alias = if target.table.name.table.as_ref() == "referenced" { "referenced_row" } else { "referenced" };
        let same: Vec<String> = self
            .columns
            .iter()
            .zip(&self.key)
            .map(|(column, key)| format!("{alias}.{} = {}", quoted_name(key), target.row_column(column)))
            .collect();
        Violating::Row(format!(
            "{} AND NOT EXISTS (SELECT 1 FROM {} AS {alias} WHERE {})",
            present.join(" AND "),
            quoted_table(&self.table),
            same.join(" AND "),
        ))
    }

    fn across_rows(&self) -> Option<AcrossRows> {
        Some(AcrossRows::Missing(self.clone()))
    }

    fn columns(&self) -> Vec<ColumnName> {
        self.columns.clone()
    }

    fn tables_read(&self) -> Vec<TableName> {
        vec![self.table.clone()]
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::tests::mistakes_of;

    #[test]
    fn a_key_of_another_length_is_a_mistake() {
        let mistakes = mistakes_of("references: {columns: [sku, status], table: prices, key: [sku]}");
        assert!(mistakes.contains("2 columns refer to a key of 1"), "{mistakes}");
        let mistakes = mistakes_of("references: {columns: [sk], table: price, key: [sku]}");
        assert!(
            mistakes.contains("did you mean sku?") && mistakes.contains("did you mean public.prices?"),
            "{mistakes}"
        );
    }
}
