//! A whole number in PostgreSQL's SQL is an `integer` where it fits, and the engine's is a `bigint`: what is computed with it
//! would be of another type, and divide or add up otherwise.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

/// Makes them integers, before the types are settled.
#[derive(Debug)]
pub(super) struct IntegerLiterals;

impl AnalyzerRule for IntegerLiterals {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        narrow_from_below(plan).data()
    }

    fn name(&self) -> &str {
        "integer_literals"
    }
}

/// Functions that compute with their arguments' types; to the others a number is a count of digits or letters.
const OF_VALUES: [&str; 10] = [
    "abs",
    "coalesce",
    "greatest",
    "integer_add",
    "integer_multiply",
    "integer_subtract",
    "least",
    "nullif",
    "numeric_divide",
    "to_sum",
];

fn widen(argument: &mut Expr) {
    if let Expr::Literal(value @ ScalarValue::Int32(_), _) = argument
        && let ScalarValue::Int32(Some(number)) = value
    {
        *value = ScalarValue::Int64(Some(i64::from(*number)));
    }
}

/// What is below first: a plan's types are those of its inputs.
fn narrow_from_below(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    // What goes round in it was planned with the types that its first rows had then.
    if matches!(plan, LogicalPlan::RecursiveQuery(_)) {
        return Ok(Transformed::no(plan));
    }
    plan.map_children(narrow_from_below)?
        .transform_data(|plan| plan.map_subqueries(narrow_from_below))?
        .transform_data(narrow)
}

fn narrow(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    // How many rows are meant is no value, and a list of rows has its types already.
    if matches!(plan, LogicalPlan::Limit(_) | LogicalPlan::Values(_)) {
        return Ok(Transformed::no(plan));
    }
    let names = NamePreserver::new(&plan);
    let narrowed = plan.map_expressions(|expression| {
        let name = names.save(&expression);
        Ok(narrowed(expression)?.update_data(|expression| name.restore(expression)))
    })?;
    narrowed.map_data(LogicalPlan::recompute_schema)
}

/// The expression with its whole numbers as integers: planners look at types before any rule does.
pub(super) fn narrowed(expression: Expr) -> Result<Transformed<Expr>> {
    expression.transform_up(|expression| match expression {
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => match i32::try_from(value) {
            Ok(value) => Ok(Transformed::yes(Expr::Literal(ScalarValue::Int32(Some(value)), metadata))),
            Err(_) => Ok(Transformed::no(Expr::Literal(ScalarValue::Int64(Some(value)), metadata))),
        },
        Expr::ScalarFunction(mut call) if !OF_VALUES.contains(&call.name()) => {
            call.args.iter_mut().for_each(widen);
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        other => Ok(Transformed::no(other)),
    })
}
