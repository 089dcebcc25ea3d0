//! PostgreSQL's division and average of `numeric`.
//!
//! DataFusion divides decimals at four more digits; PostgreSQL at sixteen significant ones or more
//! (`select_div_scale` in src/backend/utils/adt/numeric.c), rounding half away from zero.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal256Builder, Float64Builder};
use arrow::datatypes::{DataType, Decimal256Type, Float64Type, i256};
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::BinaryOperator;

/// Digits after the point that a quotient is carried with.
const QUOTIENT_SCALE: i8 = 30;
const MINIMUM_SIGNIFICANT_DIGITS: i32 = 16;
/// PostgreSQL counts in digits of base 10,000.
const DECIMAL_DIGITS: i32 = 4;

/// Registers `numeric_divide(a, b)`.
pub fn register(context: &SessionContext) {
    context.register_udf(ScalarUDF::from(NumericDivide::new()));
}

/// `a / b` with a decimal on either side and no float on any.
#[derive(Debug)]
pub struct DivisionPlanner;

impl ExprPlanner for DivisionPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if expr.op != BinaryOperator::Divide {
            return Ok(PlannerResult::Original(expr));
        }
        let types = [expr.left.get_type(schema)?, expr.right.get_type(schema)?];
        if types.iter().any(DataType::is_floating) || !types.iter().any(DataType::is_decimal) {
            return Ok(PlannerResult::Original(expr));
        }
        let divide = ScalarUDF::from(NumericDivide::new());
        Ok(PlannerResult::Planned(Expr::ScalarFunction(datafusion::logical_expr::expr::ScalarFunction::new_udf(
            Arc::new(divide),
            vec![expr.left, expr.right],
        ))))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NumericDivide {
    signature: Signature,
}

impl NumericDivide {
    fn new() -> Self {
        NumericDivide { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for NumericDivide {
    fn name(&self) -> &str {
        "numeric_divide"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.len() != 2 {
            return exec_err!("numeric_divide takes two numbers");
        }
        if types.iter().any(DataType::is_floating) {
            return Ok(vec![DataType::Float64; 2]);
        }
        let wide = |data_type: &DataType| match data_type {
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale)
            | DataType::Decimal256(_, scale) => DataType::Decimal256(76, *scale),
            _ => DataType::Decimal256(76, 0),
        };
        Ok(types.iter().map(wide).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match types {
            [DataType::Float64, _] => DataType::Float64,
            _ => DataType::Decimal256(76, QUOTIENT_SCALE),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [left, right] = arrays.as_slice() else { return exec_err!("numeric_divide takes two numbers") };
        let quotients = match (left.data_type(), right.data_type()) {
            (DataType::Float64, _) => divide_floats(left, right)?,
            (DataType::Decimal256(_, left_scale), DataType::Decimal256(_, right_scale)) => {
                divide_decimals(left, *left_scale, right, *right_scale)?
            }
            (left, right) => return exec_err!("numeric_divide cannot divide {left} by {right}"),
        };
        Ok(ColumnarValue::Array(quotients))
    }
}

fn divide_floats(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    let mut builder = Float64Builder::with_capacity(left.len());
    for (left, right) in left.as_primitive::<Float64Type>().iter().zip(right.as_primitive::<Float64Type>()) {
        match (left, right) {
            (Some(_), Some(0.0)) => return exec_err!("division by zero"),
            (Some(left), Some(right)) => builder.append_value(left / right),
            _ => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn divide_decimals(left: &ArrayRef, left_scale: i8, right: &ArrayRef, right_scale: i8) -> Result<ArrayRef> {
    let mut builder =
        Decimal256Builder::with_capacity(left.len()).with_data_type(DataType::Decimal256(76, QUOTIENT_SCALE));
    for (left, right) in left.as_primitive::<Decimal256Type>().iter().zip(right.as_primitive::<Decimal256Type>()) {
        let (Some(left), Some(right)) = (left, right) else {
            builder.append_null();
            continue;
        };
        if right == i256::ZERO {
            return exec_err!("division by zero");
        }
        let (left, left_scale) = without_zeros(left, left_scale);
        let (right, right_scale) = without_zeros(right, right_scale);
        match quotient(left, left_scale, right, right_scale) {
            Some(quotient) => builder.append_value(quotient),
            None => return exec_err!("a quotient needs more than {QUOTIENT_SCALE} digits after the point"),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// A decimal is carried with more digits than PostgreSQL's has: those that it surely has are the ones that are not zero.
fn without_zeros(mut value: i256, mut scale: i8) -> (i256, i8) {
    let ten = i256::from_i128(10);
    while scale > 0 && value.wrapping_rem(ten) == i256::ZERO {
        value = value.wrapping_div(ten);
        scale -= 1;
    }
    (value, scale)
}

/// The quotient as PostgreSQL rounds it, in units of `10^-QUOTIENT_SCALE`.
fn quotient(left: i256, left_scale: i8, right: i256, right_scale: i8) -> Option<i256> {
    let (left_weight, left_digit) = leading(left, left_scale);
    let (right_weight, right_digit) = leading(right, right_scale);
    let weight = left_weight - right_weight - i32::from(left_digit <= right_digit);
    let scale = (MINIMUM_SIGNIFICANT_DIGITS - weight * DECIMAL_DIGITS)
        .max(i32::from(left_scale))
        .max(i32::from(right_scale))
        .max(0);
    if scale > i32::from(QUOTIENT_SCALE) {
        return None;
    }
    let shift = scale + i32::from(right_scale) - i32::from(left_scale);
    let (numerator, denominator) = if shift >= 0 {
        (left.checked_mul(power_of_ten(shift)?)?, right)
    } else {
        (left, right.checked_mul(power_of_ten(-shift)?)?)
    };
    let mut rounded = numerator.checked_div(denominator)?;
    let rest = numerator.checked_rem(denominator)?.wrapping_abs();
    if rest.checked_mul(i256::from_i128(2))? >= denominator.wrapping_abs() {
        let negative = (numerator < i256::ZERO) != (denominator < i256::ZERO);
        let one = i256::ONE;
        rounded = if negative { rounded.checked_sub(one)? } else { rounded.checked_add(one)? };
    }
    rounded.checked_mul(power_of_ten(i32::from(QUOTIENT_SCALE) - scale)?)
}

/// The weight (the power of 10,000) and the value of the first digit of base 10,000 that is not zero; (0, 0) for zero.
fn leading(value: i256, scale: i8) -> (i32, u32) {
    let digits = value.wrapping_abs().to_string();
    if digits == "0" {
        return (0, 0);
    }
    // The place of the first digit: 0 for the ones, -1 for the tenths.
    let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let place = length - 1 - i32::from(scale);
    let weight = place.div_euclid(DECIMAL_DIGITS);
    let in_group = usize::try_from(place.rem_euclid(DECIMAL_DIGITS) + 1).unwrap_or(1);
    let group: String = digits.chars().chain(std::iter::repeat('0')).take(in_group).collect();
    (weight, group.parse().unwrap_or(0))
}

fn power_of_ten(exponent: i32) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::try_from(exponent).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn decimals_divide_as_in_postgresql() {
        let context = session_context();
        // Right-hand sides as printed by PostgreSQL 15.
        for (sql, printed) in [
            ("1.0 / 3", "0.33333333333333333333"),
            ("10000.00 / 3", "3333.3333333333333333"),
            ("2 / 3.0", "0.66666666666666666667"),
            ("100.00 / 8", "12.5000000000000000"),
            ("-1.00 / 6", "-0.16666666666666666667"),
            ("12345.67 / 0.07", "176366.714285714286"),
        ] {
            let batches = context.sql(&format!("SELECT {sql}")).await.expect(sql).collect().await.expect(sql);
            let text = arrow::util::display::array_value_to_string(batches[0].column(0), 0).expect("a value");
            assert_eq!(text.trim_end_matches('0'), printed.trim_end_matches('0'), "{sql}");
        }
        assert!(context.sql("SELECT 1.0 / 0").await.expect("plans").collect().await.is_err());
    }

    fn session_context() -> SessionContext {
        crate::engine::session_context()
    }
}
