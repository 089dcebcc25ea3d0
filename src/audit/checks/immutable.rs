//! `immutable: [a, b]`: no write changes these columns once the row is there.
//!
//! **Why.** Who placed an order, when, in which currency, an invoice's number: what others have copied, printed or sent
//! must not change behind their backs.
//!
//! **Example.** `check: { immutable: [customer_id, placed_at, currency] }`
//!
//! It needs the history: an update in breach is one whose new value IS DISTINCT FROM the old one, so filling in a NULL
//! later is a change as well.
//!
//! **Misses.** Changes before the history begins, updates whose old values were not recorded, and a row that is deleted
//! and inserted anew.

use std::sync::Arc;

use super::{Check, CheckContext, CheckKind, Target, Violating, before_column};
use crate::audit::document::Node;
use crate::audit::mistake::Mistakes;
use crate::audit::sql_text::quoted_name;
use crate::model::ColumnName;

pub(super) const KIND: CheckKind = CheckKind { name: "immutable", read, judges_writes: true };

#[derive(Debug)]
struct Immutable {
    columns: Vec<ColumnName>,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let columns = context.columns(node, "immutable", mistakes)?;
    Some(Arc::new(Immutable { columns }))
}

impl Check for Immutable {
    fn violating(&self, _target: &Target<'_>) -> Violating {
        let changed: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("({} IS DISTINCT FROM {})", quoted_name(column), before_column(column)))
            .collect();
        Violating::Write { insert: "FALSE".to_owned(), update: format!("({})", changed.join(" OR ")) }
    }

    fn columns(&self) -> Vec<ColumnName> {
        self.columns.clone()
    }
}
