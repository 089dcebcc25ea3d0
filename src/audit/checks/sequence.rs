//! `sequence: {column: n, by: [a], gaps: false}`: the numbers of each group neither repeat nor skip.
//!
//! **Why.** Invoice numbers, line numbers, versions: an authority, or a reader that counts, relies on 1, 2, 3. A retry
//! repeats a number, a lost write skips one.
//!
//! **Example.** `check: { sequence: { column: line_no, by: [order_id] } }`
//!
//! A group is made of the rows with the same values in `by` (the whole table where it is left out) that the rule's `where`
//! holds for. Every row of a repeated number violates it, and so does the row after a gap. `gaps: true` allows gaps. A
//! group may begin with any number; a NULL, in `n` or in `by`, passes.
//!
//! **Misses.** What is missing at the beginning and at the end of a group.

use std::sync::Arc;

use super::{Check, CheckContext, CheckKind, Target, Violating, is_not_null};
use crate::audit::document::Node;
use crate::audit::mistake::Mistakes;
use crate::audit::sql_text::quoted_name;
use crate::model::{ColumnName, ColumnType};

pub(super) const KIND: CheckKind = CheckKind { name: "sequence", read, judges_writes: false };

#[derive(Debug)]
struct Sequence {
    column: ColumnName,
    column_type: ColumnType,
    by: Vec<ColumnName>,
    gaps: bool,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let fields = context.fields(node, "sequence", &["column", "by", "gaps"], mistakes)?;
    let column = context.column(&fields, mistakes);
    let by = match fields.get("by") {
        Some(list) => context.columns(list, "by", mistakes)?,
        None => Vec::new(),
    };
    let gaps = fields.boolean("gaps", mistakes).unwrap_or(false);
    let column = context.table.column(&column?)?;
    if !column.column_type.is_integer() {
        let message = format!("{} is {}: a sequence wants whole numbers", column.name, column.column_type);
        context.note(fields.get("column")?, message, None, mistakes);
        return None;
    }
    let column_type = column.column_type.clone();
    Some(Arc::new(Sequence { column: Arc::clone(&column.name), column_type, by, gaps }))
}

impl Check for Sequence {
    fn violating(&self, target: &Target<'_>) -> Violating {
        let number = target.row_column(&self.column);
        let group = target.rivals(&self.by);
        let other = format!("{}.{}", group.alias, quoted_name(&self.column));
        let (from, same) = (&group.from, &group.same);
        // Of the column's own type: the engine ties a subquery to the row by plain columns only.
        let one = format!("CAST(1 AS {})", self.column_type);
        let repeats = format!("(SELECT count(*) FROM {from} WHERE {same} AND {other} = {number}) > 1");
        let broken = if self.gaps {
            repeats
        } else {
            format!(
                "({repeats} OR ({number} > (SELECT min({other}) FROM {from} WHERE {same}) \
                 AND (SELECT count(*) FROM {from} WHERE {same} AND {other} = {number} - {one}) = 0))"
            )
        };
        let present = self.by.iter().chain([&self.column]).map(|column| is_not_null(column));
        Violating::Row(present.chain([broken]).collect::<Vec<_>>().join(" AND "))
    }

    fn columns(&self) -> Vec<ColumnName> {
        vec![Arc::clone(&self.column)]
    }

    fn group(&self) -> Option<&[ColumnName]> {
        Some(&self.by)
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::tests::mistakes_of;

    #[test]
    fn a_sequence_is_of_whole_numbers() {
        assert!(mistakes_of("sequence: {column: total}").contains("wants whole numbers"));
        assert!(mistakes_of("sequence: {column: id, gaps: maybe}").contains("neither true nor false"));
    }
}
