//! `not_null: [a, b]`: no column of the list is NULL.
//!
//! **Why.** Half of all checks people write: what is computed from a NULL is NULL, and a sum leaves it out silently.
//!
//! **Example.** `check: { not_null: [customer_id, ordered_at] }`
//!
//! **Misses.** A value that stands for "nothing": an empty text, `0`, `'n/a'`. Use `values` or `expression` for those.

use std::sync::Arc;

use super::{Check, CheckContext, CheckKind, Target, Violating};
use crate::audit::document::Node;
use crate::audit::mistake::Mistakes;
use crate::audit::sql_text::quoted_name;
use crate::model::ColumnName;

pub(super) const KIND: CheckKind = CheckKind { name: "not_null", read, judges_writes: false };

#[derive(Debug)]
struct NotNull {
    columns: Vec<ColumnName>,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let columns = context.columns(node, "not_null", mistakes)?;
    Some(Arc::new(NotNull { columns }))
}

impl Check for NotNull {
    fn violating(&self, _target: &Target<'_>) -> Violating {
        let nulls: Vec<String> = self.columns.iter().map(|column| format!("{} IS NULL", quoted_name(column))).collect();
        Violating::Row(nulls.join(" OR "))
    }

    fn columns(&self) -> Vec<ColumnName> {
        self.columns.clone()
    }
}
