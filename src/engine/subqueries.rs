//! Subqueries with PostgreSQL's meaning, where DataFusion 55 refuses them or means something else.
//!
//! * A correlated scalar subquery that is not an aggregate, such as a look-up by key, is refused. It becomes one: the
//!   value of its only row, and an error where there are more.
//! * `IN (SELECT …)` within another expression (under NOT, IS FALSE, CASE) is false where it should be NULL. It is
//!   spelled out: true where a row is equal, else NULL where one side is NULL, else false.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue, Spans};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::expr_fn::{count, max};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit, not, when};
use datafusion::optimizer::AnalyzerRule;

use super::single_row::single_row;

/// Rewrites what DataFusion would refuse or get wrong.
#[derive(Debug)]
pub(super) struct PostgresSubqueries;

impl AnalyzerRule for PostgresSubqueries {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        plan.transform_up_with_subqueries(rewrite_plan).data()
    }

    fn name(&self) -> &str {
        "postgres_subqueries"
    }
}

fn rewrite_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let filters = matches!(plan, LogicalPlan::Filter(_));
    // The columns that the node's expressions see are those of its only input.
    let input = match plan.inputs().as_slice() {
        [input] => Arc::clone(input.schema()),
        _ => return Ok(Transformed::no(plan)),
    };
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expression| {
        let name = names.save(&expression);
        let rewritten = expression.transform_up(single_row_of_lookup)?;
        let rewritten = rewritten.transform_data(|expression| spell_out_in(expression, &input, filters))?;
        Ok(rewritten.update_data(|expression| name.restore(expression)))
    })?;
    rewritten.map_data(LogicalPlan::recompute_schema)
}

/// A correlated subquery without aggregate becomes `single_row((SELECT count(*) …), (SELECT max(value) …))`.
fn single_row_of_lookup(expression: Expr) -> Result<Transformed<Expr>, DataFusionError> {
    let Expr::ScalarSubquery(subquery) = expression else { return Ok(Transformed::no(expression)) };
    if subquery.outer_ref_columns.is_empty() || has_at_most_one_row(&subquery.subquery) {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    }
    let value = first_column(&subquery.subquery)?;
    let rows = aggregated(&subquery, count(lit(1_i64)))?;
    let value = aggregated(&subquery, max(value))?;
    Ok(Transformed::yes(single_row().call(vec![rows, value])))
}

fn has_at_most_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_at_most_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_at_most_one_row(&alias.input),
        LogicalPlan::Filter(filter) => has_at_most_one_row(&filter.input),
        LogicalPlan::Aggregate(_) => true,
        plan => plan.max_rows().is_some_and(|rows| rows <= 1),
    }
}

fn first_column(plan: &LogicalPlan) -> Result<Expr, DataFusionError> {
    match plan.schema().columns().into_iter().next() {
        Some(column) => Ok(Expr::Column(column)),
        None => Err(DataFusionError::Plan("a subquery used as an expression has no column".to_owned())),
    }
}

fn aggregated(subquery: &Subquery, aggregate: Expr) -> Result<Expr, DataFusionError> {
    let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone())
        .aggregate(Vec::<Expr>::new(), vec![aggregate])?
        .build()?;
    Ok(Expr::ScalarSubquery(Subquery {
        subquery: Arc::new(plan),
        outer_ref_columns: subquery.outer_ref_columns.clone(),
        spans: subquery.spans.clone(),
    }))
}

/// Spells out each `IN (SELECT …)` whose NULL could be told from false. At the top of a filter, alone or under AND and
/// OR, it cannot, for a row is kept only where the whole is true: there DataFusion makes a join of it.
fn spell_out_in(expression: Expr, input: &DFSchema, filters: bool) -> Result<Transformed<Expr>, DataFusionError> {
    expression.transform_down(|expression| match expression {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) if filters => {
            let left = spell_out_in(*left, input, filters)?;
            let right = spell_out_in(*right, input, filters)?;
            let changed = left.transformed || right.transformed;
            let both = Expr::BinaryExpr(BinaryExpr::new(Box::new(left.data), op, Box::new(right.data)));
            Ok(Transformed::new(both, changed, TreeNodeRecursion::Jump))
        }
        Expr::InSubquery(found) if filters && !found.negated => {
            Ok(Transformed::new(Expr::InSubquery(found), false, TreeNodeRecursion::Jump))
        }
        Expr::InSubquery(found) => Ok(Transformed::new(spelled_out(found, input)?, true, TreeNodeRecursion::Jump)),
        // Under anything else NULL and false part ways.
        other => {
            let inner = other.map_children(|child| spell_out_in(child, input, false))?;
            Ok(Transformed::new(inner.data, inner.transformed, TreeNodeRecursion::Jump))
        }
    })
}

fn spelled_out(found: InSubquery, input: &DFSchema) -> Result<Expr, DataFusionError> {
    let InSubquery { expr: value, subquery, negated } = found;
    let candidate = first_column(&subquery.subquery)?;
    let mut outer = subquery.outer_ref_columns.clone();
    let outer_value = value
        .as_ref()
        .clone()
        .transform(|expression| match expression {
            Expr::Column(column) => {
                let reference = outer_reference(&column, input)?;
                outer.push(reference.clone());
                Ok(Transformed::yes(reference))
            }
            other => Ok(Transformed::no(other)),
        })
        .data()?;
    let exists = |condition: Option<Expr>, outer_ref_columns: Vec<Expr>| -> Result<Expr, DataFusionError> {
        let mut plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone());
        if let Some(condition) = condition {
            plan = plan.filter(condition)?;
        }
        let subquery = Subquery { subquery: Arc::new(plan.build()?), outer_ref_columns, spans: Spans::new() };
        Ok(Expr::Exists(Exists { subquery, negated: false }))
    };
    let inner_outer = subquery.outer_ref_columns.clone();
    let equal = exists(Some(candidate.clone().eq(outer_value)), outer)?;
    let any_null = exists(Some(candidate.is_null()), inner_outer.clone())?;
    let null_among_some = value.is_null().and(exists(None, inner_outer)?);
    let unknown = any_null.or(null_among_some);
    let answer = when(equal, lit(true)).when(unknown, lit(ScalarValue::Boolean(None))).otherwise(lit(false))?;
    Ok(if negated { not(answer) } else { answer })
}

fn outer_reference(column: &Column, input: &DFSchema) -> Result<Expr, DataFusionError> {
    let (_, field) = input.qualified_field_from_column(column)?;
    Ok(Expr::OuterReferenceColumn(Arc::clone(field), column.clone()))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use crate::engine::session_context;

    async fn shop() -> SessionContext {
        let session = session_context();
        for sql in [
            "CREATE TABLE orders AS SELECT * FROM (VALUES (1,'open',10.00,'A'),(2,NULL,20.00,'B'),(3,'bad',NULL,'C'),\
             (4,'open',5.00,NULL)) AS v(id,status,total,sku)",
            "CREATE TABLE prices AS SELECT * FROM (VALUES ('A',9.00),('B',20.00)) AS v(sku,price)",
            "CREATE TABLE doubled AS SELECT * FROM (VALUES ('A',9.00),('Z',1.00),('Z',2.00)) AS v(sku,price)",
            "CREATE TABLE codes AS SELECT * FROM (VALUES ('open'),(NULL)) AS v(code)",
        ] {
            session.sql(sql).await.expect(sql).collect().await.expect(sql);
        }
        session
    }

    /// The first column of every row, in order; the engine's message where it fails.
    async fn column(session: &SessionContext, sql: &str) -> Result<Vec<String>, String> {
        let message = |error: datafusion::error::DataFusionError| error.strip_backtrace();
        let batches = session.sql(sql).await.map_err(message)?.collect().await.map_err(message)?;
        let mut values = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                values.push(arrow::util::display::array_value_to_string(batch.column(0), row).expect("a value"));
            }
        }
        values.sort();
        Ok(values)
    }

    #[tokio::test]
    async fn a_look_up_by_key_needs_no_aggregate() {
        let session = shop().await;
        let wrong =
            "SELECT id FROM orders WHERE total IS DISTINCT FROM (SELECT price FROM prices p WHERE p.sku = orders.sku)";
        assert_eq!(column(&session, wrong).await.as_deref(), Ok(["1".to_owned(), "4".to_owned()].as_slice()));
        let projected =
            "SELECT coalesce((SELECT price + 1 FROM prices p WHERE p.sku = orders.sku), 0) AS x FROM orders";
        assert_eq!(column(&session, projected).await.expect(projected), ["0.00", "0.00", "10.00", "21.00"]);
    }

    #[tokio::test]
    async fn more_than_one_row_is_an_error_only_where_it_is_asked_for() {
        let session = shop().await;
        let unasked = "SELECT (SELECT price FROM doubled d WHERE d.sku = orders.sku) AS x FROM orders";
        assert_eq!(column(&session, unasked).await.expect(unasked), ["", "", "", "9.00"]);
        let asked = "SELECT (SELECT price FROM doubled d WHERE d.sku = v.sku) FROM (SELECT 'Z' AS sku) AS v";
        let message = column(&session, asked).await.expect_err(asked);
        assert!(message.contains("more than one row"), "{message}");
    }

    #[tokio::test]
    async fn null_is_neither_in_nor_out() {
        let session = shop().await;
        for (condition, ids) in [
            ("(status IN (SELECT code FROM codes WHERE code IS NOT NULL)) IS FALSE", vec!["3"]),
            ("(status IN (SELECT code FROM codes)) IS FALSE", vec![]),
            ("(status IN (SELECT code FROM codes)) IS NULL", vec!["2", "3"]),
            ("(status IN (SELECT code FROM codes WHERE false)) IS FALSE", vec!["1", "2", "3", "4"]),
            ("NOT (status NOT IN (SELECT code FROM codes))", vec!["1", "4"]),
            ("status NOT IN (SELECT code FROM codes WHERE code IS NOT NULL)", vec!["3"]),
            ("status IN (SELECT code FROM codes) OR id = 2", vec!["1", "2", "4"]),
            ("(sku IN (SELECT sku FROM prices p WHERE p.price > 5 AND p.sku = orders.sku)) IS FALSE", vec!["3", "4"]),
        ] {
            let sql = format!("SELECT id FROM orders WHERE {condition}");
            assert_eq!(column(&session, &sql).await.expect(&sql), ids, "{sql}");
        }
    }
}
