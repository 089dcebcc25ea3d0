//! `unique: [a, b]`: no two rows hold the same values in these columns.
//!
//! **Why.** A retried request that inserts twice, an import that ran again: doubles are the commonest damage that no
//! single row shows. Every row of a group of equals violates it, because the data does not say which one is right.
//!
//! **Example.** `check: { unique: [customer_id, placed_at] }`
//!
//! **Misses.** Rows with a NULL in one of the columns (as SQL's UNIQUE), rows that `where` leaves out (they are no
//! rivals either), and doubles that are spelled differently.

use std::sync::Arc;

use super::{AcrossRows, Check, CheckContext, CheckKind, Target, Violating, is_not_null};
use crate::audit::document::Node;
use crate::audit::mistake::Mistakes;
use crate::audit::sql_text::quoted_name;
use crate::model::ColumnName;

pub(super) const KIND: CheckKind = CheckKind { name: "unique", read, judges_writes: false };

#[derive(Debug)]
struct Unique {
    columns: Vec<ColumnName>,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let columns = context.columns(node, "unique", mistakes)?;
    Some(Arc::new(Unique { columns }))
}

impl Check for Unique {
    fn violating(&self, target: &Target<'_>) -> Violating {
        let present: Vec<String> = self.columns.iter().map(|column| is_not_null(column)).collect();
        let rivals: Vec<String> = present.iter().cloned().chain(target.filter_sql()).collect();
        let columns: Vec<String> = self.columns.iter().map(|column| quoted_name(column)).collect();
        let mut repeated = Vec::with_capacity(columns.len());
        let mut same = Vec::with_capacity(columns.len());
        for (position, column) in self.columns.iter().enumerate() {
            repeated.push(format!("{} AS value_{position}", quoted_name(column)));
            same.push(format!("repeated.value_{position} = {}", target.row_column(column)));
        }
        Violating::Row(format!(
            "{} AND EXISTS (SELECT 1 FROM (SELECT {} FROM {} WHERE {} GROUP BY {} HAVING count(*) > 1) AS repeated WHERE {})",
            present.join(" AND "),
            repeated.join(", "),
            target.table_sql(),
            rivals.join(" AND "),
            columns.join(", "),
            same.join(" AND "),
        ))
    }

    fn across_rows(&self) -> Option<AcrossRows> {
        Some(AcrossRows::Repeated { columns: self.columns.clone() })
    }

    fn columns(&self) -> Vec<ColumnName> {
        self.columns.clone()
    }

    fn group(&self) -> Option<&[ColumnName]> {
        Some(&self.columns)
    }
}
