//! `range: {column: c, min: 0, max: 9}`: the column lies between the bounds, which belong to it; either may be left out.
//!
//! **Why.** A negative amount, a discount over 100 %, a delivery in the year 2206: a wrong unit or sign shows here
//! before anything else.
//!
//! **Example.** `check: { range: { column: discount, min: 0, max: 100 } }`
//!
//! **Misses.** NULL passes, and so does a wrong value that happens to lie within.

use std::sync::Arc;

use super::literal::literal;
use super::{Check, CheckContext, CheckKind, Target, Violating, is_not_null};
use crate::audit::document::Node;
use crate::audit::fields::Fields;
use crate::audit::mistake::Mistakes;
use crate::audit::sql_text::quoted_name;
use crate::model::{ColumnName, ColumnType};

pub(super) const KIND: CheckKind = CheckKind { name: "range", read, judges_writes: false };

#[derive(Debug)]
struct Range {
    column: ColumnName,
    /// SQL literals.
    min: Option<String>,
    max: Option<String>,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let fields = context.fields(node, "range", &["column", "min", "max"], mistakes)?;
    let column = context.table.column(&context.column(&fields, mistakes)?)?;
    let is_ordered = column.column_type.is_numeric()
        || matches!(column.column_type, ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampTz);
    if !is_ordered {
        let message = format!("'{}' is {}: a range wants numbers, dates or times", column.name, column.column_type);
        context.note(node, message, None, mistakes);
        return None;
    }
    let before = mistakes.len();
    let min = bound(context, &fields, "min", &column.column_type, mistakes);
    let max = bound(context, &fields, "max", &column.column_type, mistakes);
    if min.is_none() && max.is_none() && mistakes.len() == before {
        context.note(node, "this range has no bound", Some("add min: …, max: …, or both".to_owned()), mistakes);
    }
    (mistakes.len() == before).then(|| Arc::new(Range { column: Arc::clone(&column.name), min, max }) as Arc<dyn Check>)
}

fn bound(
    context: &CheckContext<'_>,
    fields: &Fields<'_>,
    key: &'static str,
    column_type: &ColumnType,
    mistakes: &mut Mistakes,
) -> Option<String> {
    let text = fields.text(key, mistakes)?;
    match literal(column_type, text) {
        Ok(literal) => Some(literal),
        Err(message) => {
            context.note(fields.get(key)?, message, None, mistakes);
            None
        }
    }
}

impl Check for Range {
    fn violating(&self, _target: &Target<'_>) -> Violating {
        let column = quoted_name(&self.column);
        let below = self.min.iter().map(|min| format!("{column} < {min}"));
        let above = self.max.iter().map(|max| format!("{column} > {max}"));
        let outside: Vec<String> = below.chain(above).collect();
        Violating::Row(format!("{} AND ({})", is_not_null(&self.column), outside.join(" OR ")))
    }

    fn columns(&self) -> Vec<ColumnName> {
        vec![Arc::clone(&self.column)]
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::tests::mistakes_of;

    #[test]
    fn a_range_without_sense_is_a_mistake() {
        assert!(mistakes_of("range: {column: total}").contains("no bound"));
        assert!(mistakes_of("range: {column: status, min: 1}").contains("wants numbers"));
        assert!(mistakes_of("range: {column: total, min: low}").contains("'low'"));
    }
}
