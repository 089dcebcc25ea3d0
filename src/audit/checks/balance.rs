//! `balance: {sum: "<expression>", by: [a], equals: "<expression>"}`: the rows of each group add up.
//!
//! **Why.** Double entry: what is debited is credited, what the lines say is what the head says, stock that leaves one
//! place arrives at another. A row alone cannot show that its other half is missing.
//!
//! **Example.**
//!
//! ```yaml
//! table: public.journal_lines
//! check: { balance: { sum: "debit - credit", by: [entry_id], equals: "0" } }
//! ```
//!
//! The sum is over the rows of the table with the same values in `by` (the whole table where `by` is left out) that the
//! rule's `where` holds for. `equals` is an expression over the row, in which a subquery may look elsewhere, or aggregates
//! of the same group: `sum(credit)`. Every row of a group that does not add up violates it: the data does not say which one
//! is wrong. A trace blames those that the release wrote.
//!
//! `sum` passes over NULLs; a sum of nothing but NULLs is NULL, which equals NULL only. A row with a NULL in `by` is in no
//! group, and passes.
//!
//! **Misses.** Errors that cancel each other out, and a group that is missing as a whole. Sums of binary floats are as
//! inexact as these.

use std::sync::Arc;

use super::expression::{columns_of_row, tables_of};
use super::{Check, CheckContext, CheckKind, GroupDemand, Target, Violating, is_not_null};
use crate::audit::document::Node;
use crate::audit::mistake::Mistakes;
use crate::audit::sql_text::{SqlExpression, has_aggregate, has_subquery, requalified};
use crate::model::{ColumnName, TableName};

pub(super) const KIND: CheckKind = CheckKind { name: "balance", read, judges_writes: false };

#[derive(Debug)]
struct Balance {
    sum: SqlExpression,
    by: Vec<ColumnName>,
    equals: SqlExpression,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let fields = context.fields(node, "balance", &["sum", "by", "equals"], mistakes)?;
    let mut expression = |key: &'static str| {
        let text = fields.require_text(key, mistakes)?;
        context.names.expression(context.table, &[], fields.get(key)?, text, mistakes)
    };
    let (sum, equals) = (expression("sum"), expression("equals"));
    let by = match fields.get("by") {
        Some(list) => context.columns(list, "by", mistakes)?,
        None => Vec::new(),
    };
    let (sum, equals) = (sum?, equals?);
    if has_subquery(&sum.expression) || has_aggregate(&sum.expression) {
        let help = Some("write an expression over one row: it is summed up for each group".to_owned());
        context.note(fields.get("sum")?, "sum holds a subquery or an aggregate", help, mistakes);
        return None;
    }
    Some(Arc::new(Balance { sum, by, equals }))
}

impl Check for Balance {
    fn violating(&self, target: &Target<'_>) -> Violating {
        let group = target.rivals(&self.by);
        let sum = format!("sum({})", requalified(&self.sum.expression, group.alias));
        let differs = if has_aggregate(&self.equals.expression) && !has_subquery(&self.equals.expression) {
            let equals = requalified(&self.equals.expression, group.alias);
            format!("(SELECT {sum} IS DISTINCT FROM ({equals}) FROM {} WHERE {})", group.from, group.same)
        } else {
            format!("(SELECT {sum} FROM {} WHERE {}) IS DISTINCT FROM ({})", group.from, group.same, self.equals.sql)
        };
        let present = self.by.iter().map(|column| is_not_null(column));
        Violating::Row(present.chain([differs]).collect::<Vec<_>>().join(" AND "))
    }

    fn of_group(&self) -> Option<GroupDemand> {
        let (sum, by) = (format!("sum({})", self.sum.sql), self.by.clone());
        let equals = &self.equals.expression;
        if has_aggregate(equals) {
            let measure = format!("({sum} IS DISTINCT FROM ({}))", self.equals.sql);
            return (!has_subquery(equals)).then_some(GroupDemand { by, measure, equals: None });
        }
        Some(GroupDemand { by, measure: sum, equals: Some(self.equals.sql.clone()) })
    }

    fn columns(&self) -> Vec<ColumnName> {
        columns_of_row(&self.sum)
    }

    fn tables_read(&self) -> Vec<TableName> {
        tables_of(&self.equals)
    }

    fn group(&self) -> Option<&[ColumnName]> {
        Some(&self.by)
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::tests::mistakes_of;

    #[test]
    fn a_sum_is_over_rows() {
        assert!(mistakes_of("balance: {sum: 'sum(total)', by: [sku], equals: '0'}").contains("an aggregate"));
        assert!(mistakes_of("balance: {sum: total, by: [skus], equals: '0'}").contains("did you mean sku?"));
        assert!(mistakes_of("balance: {sum: total}").contains("no 'equals'"));
    }
}
