//! `values: {column: c, in: […]}`: the column holds one of the listed values.
//!
//! **Why.** A status, a currency, a country: code decides by such a value, and a new release that writes an unknown one
//! makes all other code take its `else`.
//!
//! **Example.** `check: { values: { column: status, in: [open, paid, cancelled] } }`
//!
//! **Misses.** NULL passes (say `not_null` too), and so does a listed value that is wrong for this row.

use std::sync::Arc;

use super::literal::exact_literal;
use super::{Check, CheckContext, CheckKind, Target, Violating, is_not_null};
use crate::audit::document::Node;
use crate::audit::fields;
use crate::audit::mistake::Mistakes;
use crate::audit::sql_text::quoted_name;
use crate::model::ColumnName;

pub(super) const KIND: CheckKind = CheckKind { name: "values", read, judges_writes: false };

#[derive(Debug)]
struct Values {
    column: ColumnName,
    /// SQL literals.
    allowed: Vec<String>,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let fields = context.fields(node, "values", &["column", "in"], mistakes)?;
    let column = context.column(&fields, mistakes);
    let list = fields.require("in", mistakes)?;
    let texts = fields::texts(context.names.document, list, "in", mistakes);
    let column = context.table.column(&column?)?;
    let wanted = texts.len();
    let mut allowed = Vec::with_capacity(wanted);
    for (item, text) in texts {
        match exact_literal(&column.column_type, text) {
            Ok(literal) => allowed.push(literal),
            Err(message) => context.note(item, message, None, mistakes),
        }
    }
    let complete = wanted > 0 && allowed.len() == wanted;
    complete.then(|| Arc::new(Values { column: Arc::clone(&column.name), allowed }) as Arc<dyn Check>)
}

impl Check for Values {
    fn violating(&self, _target: &Target<'_>) -> Violating {
        let column = quoted_name(&self.column);
        Violating::Row(format!("{} AND {column} NOT IN ({})", is_not_null(&self.column), self.allowed.join(", ")))
    }

    fn columns(&self) -> Vec<ColumnName> {
        vec![Arc::clone(&self.column)]
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::tests::mistakes_of;

    #[test]
    fn a_value_the_column_cannot_hold_is_a_mistake() {
        let mistakes = mistakes_of("values: {column: total, in: [10, ten, 1.005]}");
        assert!(mistakes.contains("'ten'") && mistakes.contains("'1.005'"), "{mistakes}");
    }
}
