//! `round(x, 2)` with one type from the plan to the result.
//!
//! DataFusion 55 takes the type from the literal number of places, which it first hides in a cast and later folds: a
//! comparison is then planned for another scale than it gets, and fails. Without the cast there is nothing to fold.

use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::optimizer::AnalyzerRule;

/// Writes a literal number of places in the type that `round` takes. Goes before types are coerced.
#[derive(Debug)]
pub(super) struct RoundingPlaces;

impl AnalyzerRule for RoundingPlaces {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        plan.transform_up_with_subqueries(|plan| {
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expression| {
                let name = names.save(&expression);
                let rewritten = expression.transform_up(|expression| Ok(with_plain_places(expression)))?;
                Ok(rewritten.update_data(|expression| name.restore(expression)))
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "rounding_places"
    }
}

fn with_plain_places(expression: Expr) -> Transformed<Expr> {
    let Expr::ScalarFunction(mut function) = expression else { return Transformed::no(expression) };
    let places = match (function.func.name(), function.args.as_slice()) {
        ("round", [_, places]) => literal(places),
        _ => None,
    };
    match places {
        Some(places) => {
            function.args[1] = lit(places);
            Transformed::yes(Expr::ScalarFunction(function))
        }
        None => Transformed::no(Expr::ScalarFunction(function)),
    }
}

fn literal(expression: &Expr) -> Option<i32> {
    match expression {
        Expr::Literal(ScalarValue::Int64(Some(places)), _) => i32::try_from(*places).ok(),
        Expr::Negative(inner) => literal(inner).and_then(i32::checked_neg),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::session_context;

    #[tokio::test]
    async fn what_is_rounded_can_be_compared() {
        let session = session_context();
        for sql in [
            "CREATE TABLE lines AS SELECT * FROM (VALUES (1, 10.00, 19), (2, 9.99, 7)) AS v(id, price, percent)",
            "CREATE TABLE prices AS SELECT * FROM (VALUES (1, 12.35), (2, 10.00)) AS v(id, price)",
        ] {
            session.sql(sql).await.expect(sql).collect().await.expect(sql);
        }
        for (condition, rows) in [
            ("price IS DISTINCT FROM round(price * (100 - percent) * 0.01, 2)", 2),
            ("round(price * percent * 0.01, 2) = 1.90", 1),
            ("round(price, -1) = 10", 2),
            ("price > round((SELECT p.price FROM prices p WHERE p.id = lines.id) * (100 - percent) * 0.01, 2)", 1),
        ] {
            let sql = format!("SELECT id FROM lines WHERE {condition}");
            let batches = session.sql(&sql).await.expect(&sql).collect().await.expect(&sql);
            assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), rows, "{sql}");
        }
        let printed =
            session.sql("SELECT round(1.239, 2) AS x").await.expect("it plans").collect().await.expect("it runs");
        assert_eq!(arrow::util::display::array_value_to_string(printed[0].column(0), 0).expect("a value"), "1.24");
    }
}
