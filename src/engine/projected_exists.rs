//! `EXISTS` in what a query returns, where DataFusion 55 plans it in conditions alone: the rows for which there is one and
//! those for which there is none are computed apart, each by a condition, and put together again.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection, lit};
use datafusion::optimizer::AnalyzerRule;

/// A projection with more of them is left as it is, and refused: each doubles the work.
const MOST: usize = 4;

/// Takes `EXISTS` out of projections.
#[derive(Debug)]
pub(super) struct ProjectedExists;

impl AnalyzerRule for ProjectedExists {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Projection(projection) => taken_out(projection, MOST),
            plan => Ok(Transformed::no(plan)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "projected_exists"
    }
}

fn taken_out(projection: Projection, most: usize) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let found = projection.expr.iter().find_map(first_exists).filter(|_| most > 0);
    let Some(found) = found else { return Ok(Transformed::no(LogicalPlan::Projection(projection))) };
    let half = |exists: bool| -> Result<LogicalPlan, DataFusionError> {
        let condition = Expr::Exists(Exists { subquery: found.subquery.clone(), negated: !exists });
        let input = LogicalPlanBuilder::from(projection.input.as_ref().clone()).filter(condition)?.build()?;
        let expressions = projection.expr.iter().zip(projection.schema.columns()).map(|(expression, column)| {
            let value = answered(expression.clone(), &found, exists)?;
            Ok(value.unalias().alias(column.name()))
        });
        let expressions: Vec<Expr> = expressions.collect::<Result<_, DataFusionError>>()?;
        let half = Projection::try_new(expressions, input.into())?;
        taken_out(half, most - 1).data()
    };
    let both = LogicalPlanBuilder::from(half(true)?).union(half(false)?)?.build()?;
    // By the names that what stands above knows.
    let names = both.schema().columns().into_iter().zip(projection.schema.iter());
    let named: Vec<Expr> = names
        .map(|(column, (qualifier, field))| Expr::Column(column).alias_qualified(qualifier.cloned(), field.name()))
        .collect();
    Ok(Transformed::yes(LogicalPlanBuilder::from(both).project(named)?.build()?))
}

fn first_exists(expression: &Expr) -> Option<Exists> {
    let mut found = None;
    let walked = expression.apply(|inner| match inner {
        Expr::Exists(exists) => {
            found = Some(exists.clone());
            Ok(TreeNodeRecursion::Stop)
        }
        _ => Ok(TreeNodeRecursion::Continue),
    });
    walked.ok().and(found)
}

/// The expression where it is known whether there is such a row.
fn answered(expression: Expr, found: &Exists, exists: bool) -> Result<Expr, DataFusionError> {
    expression
        .transform_up(|inner| match inner {
            Expr::Exists(one) if one.subquery == found.subquery => Ok(Transformed::yes(lit(exists != one.negated))),
            inner => Ok(Transformed::no(inner)),
        })
        .data()
}

#[cfg(test)]
mod tests {
    use crate::engine::session_context;

    #[tokio::test]
    async fn whether_a_row_exists_is_a_value() {
        let session = session_context();
        for sql in [
            "CREATE TABLE orders AS SELECT * FROM (VALUES (1,10),(2,20),(3,NULL)) AS v(id,total)",
            "CREATE TABLE lines AS SELECT * FROM (VALUES (1,5),(1,50),(2,7)) AS v(order_id,price)",
        ] {
            session.sql(sql).await.expect(sql).collect().await.expect(sql);
        }
        let of = "(SELECT 1 FROM lines l WHERE l.order_id = o.id";
        for (value, expected) in [
            (format!("EXISTS {of})"), ["true", "true", "false"]),
            (format!("NOT EXISTS {of} AND l.price > o.total)"), ["false", "true", "true"]),
            (format!("CASE WHEN EXISTS {of}) THEN id * 10 ELSE total END"), ["10", "20", ""]),
            (format!("EXISTS {of} AND l.price > 40) OR NOT EXISTS {of})"), ["true", "false", "true"]),
            ("o.id IN (SELECT order_id FROM lines)".to_owned(), ["true", "true", "false"]),
            ("EXISTS (SELECT 1 FROM lines WHERE price > 1000)".to_owned(), ["false", "false", "false"]),
        ] {
            let sql = format!("SELECT o.id, {value} AS answer FROM orders o WHERE o.id > 0 ORDER BY o.id");
            let batches = session.sql(&sql).await.expect(&sql).collect().await.expect(&sql);
            let cell = |batch: &arrow::array::RecordBatch, row| {
                arrow::util::display::array_value_to_string(batch.column(1), row).expect("a value")
            };
            let answers: Vec<String> =
                batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| cell(batch, row))).collect();
            assert_eq!(answers, expected, "{sql}");
        }
    }
}
