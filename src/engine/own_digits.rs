//! Whether a decimal's values have as many digits after the point in PostgreSQL as its type has in the engine.
//!
//! Each numeric of PostgreSQL keeps its own digits. Where the engine gives several values one type (the branches of CASE
//! and coalesce, the arms of a union, a VALUES list) or rounds otherwise (quotients), its type does not tell them.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, JoinType, Result, ScalarValue};
use datafusion::logical_expr::expr::AggregateFunctionParams;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator};

/// Whether that is so of the expression over these inputs, whose columns together are the schema.
pub(super) fn has_own_digits(expression: &Expr, schema: &DFSchema, inputs: &[&LogicalPlan]) -> Result<bool> {
    let of = |inner: &Expr| has_own_digits(inner, schema, inputs);
    Ok(match expression {
        // A table's columns have the digits that they are declared with.
        Expr::Column(_) if inputs.is_empty() => true,
        Expr::Column(column) => {
            let place = inputs.iter().find_map(|input| Some((*input, place_of(input, column)?)));
            place.map_or(Ok(false), |(input, place)| of_output(input, place))?
        }
        Expr::Literal(..) => true,
        Expr::Alias(alias) => of(&alias.expr)?,
        Expr::Cast(Cast { expr, field }) => match scale_of(&expr.get_type(schema)?) {
            Some(scale) if Some(scale) == scale_of(field.data_type()) => of(expr)?,
            _ => true,
        },
        Expr::Negative(inner) => of(inner)?,
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus | Operator::Minus | Operator::Multiply, right }) => {
            of(left)? && of(right)?
        }
        Expr::ScalarFunction(call) => match (call.name(), call.args.as_slice()) {
            ("abs" | "to_numeric", [inner]) => of(inner)?,
            ("round" | "trunc", [_, Expr::Literal(ScalarValue::Int64(Some(digits)), _)]) => {
                scale_of(&expression.get_type(schema)?).is_some_and(|scale| i64::from(scale) == *digits)
            }
            _ => false,
        },
        Expr::AggregateFunction(call) => match (call.func.name(), &call.params) {
            ("min" | "max" | "sum", AggregateFunctionParams { args, .. }) => match args.as_slice() {
                [inner] => of(inner)?,
                _ => false,
            },
            _ => false,
        },
        Expr::ScalarSubquery(subquery) => of_output(&subquery.subquery, 0)?,
        _ => false,
    })
}

/// Whether that is so of a plan's column at this place.
fn of_output(plan: &LogicalPlan, place: usize) -> Result<bool> {
    let of_expression = |expression: Option<&Expr>, input: &LogicalPlan| match expression {
        Some(expression) => has_own_digits(expression, input.schema(), &[input]),
        None => Ok(false),
    };
    match plan {
        LogicalPlan::TableScan(_) => Ok(true),
        LogicalPlan::Projection(projection) => of_expression(projection.expr.get(place), &projection.input),
        LogicalPlan::SubqueryAlias(alias) => of_output(&alias.input, place),
        LogicalPlan::Filter(filter) => of_output(&filter.input, place),
        LogicalPlan::Sort(sort) => of_output(&sort.input, place),
        LogicalPlan::Limit(limit) => of_output(&limit.input, place),
        LogicalPlan::Window(window) if place < window.input.schema().fields().len() => of_output(&window.input, place),
        LogicalPlan::Aggregate(aggregate) => {
            let expressions = aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
            of_expression(expressions.into_iter().nth(place), &aggregate.input)
        }
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            match join.join_type {
                JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full if place >= left => {
                    of_output(&join.right, place - left)
                }
                JoinType::RightSemi | JoinType::RightAnti => of_output(&join.right, place),
                _ if place < left => of_output(&join.left, place),
                _ => Ok(false),
            }
        }
        _ => Ok(false),
    }
}

fn place_of(plan: &LogicalPlan, column: &Column) -> Option<usize> {
    plan.schema().maybe_index_of_column(column)
}

fn scale_of(data_type: &DataType) -> Option<i8> {
    match data_type {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => Some(*scale),
        _ => None,
    }
}
