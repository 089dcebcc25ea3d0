//! Integers that overflow and floats divided by zero are errors in PostgreSQL; the engine's wrap, and are infinite.
//! A date plus an interval is a timestamp there.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Float64Type, TimeUnit};
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::{intervals, literals};

/// Plans `+`, `-` and `*` of integers, `/` of floats, and dates with intervals.
#[derive(Debug)]
pub(super) struct ArithmeticPlanner;

/// Takes whole numbers for integers, before the planners after it look at their types.
#[derive(Debug)]
pub(super) struct LiteralPlanner;

impl ExprPlanner for LiteralPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, _schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (left, right) = (literals::narrowed(expr.left)?.data, literals::narrowed(expr.right)?.data);
        Ok(PlannerResult::Original(RawBinaryExpr { left, right, ..expr }))
    }
}

impl ExprPlanner for ArithmeticPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let types = [expr.left.get_type(schema)?, expr.right.get_type(schema)?];
        let integers = types.iter().all(DataType::is_signed_integer);
        let floats = types.iter().any(DataType::is_floating) && types.iter().all(DataType::is_numeric);
        let checked = match expr.op {
            BinaryOperator::Plus if integers => Checked::Add,
            BinaryOperator::Minus if integers => Checked::Subtract,
            BinaryOperator::Multiply if integers => Checked::Multiply,
            BinaryOperator::Divide if floats => Checked::DivideFloats,
            BinaryOperator::Multiply if matches!(types[0], DataType::Interval(_)) && types[1].is_signed_integer() => {
                return Ok(PlannerResult::Planned(intervals::times(expr.left, expr.right)));
            }
            BinaryOperator::Multiply if matches!(types[1], DataType::Interval(_)) && types[0].is_signed_integer() => {
                return Ok(PlannerResult::Planned(intervals::times(expr.right, expr.left)));
            }
            BinaryOperator::Plus | BinaryOperator::Minus => return Ok(dates_as_timestamps(expr, &types)),
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let function = ScalarUDF::from(CheckedArithmetic::new(checked));
        let call = ScalarFunction::new_udf(Arc::new(function), vec![expr.left, expr.right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

fn dates_as_timestamps(mut expr: RawBinaryExpr, types: &[DataType; 2]) -> PlannerResult<RawBinaryExpr> {
    let timestamp = || DataType::Timestamp(TimeUnit::Microsecond, None);
    match types {
        [DataType::Date32, DataType::Interval(_)] => {
            expr.left = Expr::Cast(Cast::new(Box::new(expr.left), timestamp()));
        }
        [DataType::Interval(_), DataType::Date32] => {
            expr.right = Expr::Cast(Cast::new(Box::new(expr.right), timestamp()));
        }
        _ => {}
    }
    PlannerResult::Original(expr)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Checked {
    Add,
    Subtract,
    Multiply,
    DivideFloats,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedArithmetic {
    checked: Checked,
    signature: Signature,
}

impl CheckedArithmetic {
    fn new(checked: Checked) -> Self {
        CheckedArithmetic { checked, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for CheckedArithmetic {
    fn name(&self) -> &str {
        match self.checked {
            Checked::Add => "integer_add",
            Checked::Subtract => "integer_subtract",
            Checked::Multiply => "integer_multiply",
            Checked::DivideFloats => "float_divide",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let widest = match (self.checked, types) {
            (Checked::DivideFloats, [_, _]) => DataType::Float64,
            (_, [one, other]) => {
                let either = |data_type: &DataType| one == data_type || other == data_type;
                match () {
                    () if either(&DataType::Int64) => DataType::Int64,
                    () if either(&DataType::Int32) => DataType::Int32,
                    () => DataType::Int16,
                }
            }
            _ => return exec_err!("{} takes two numbers", self.name()),
        };
        Ok(vec![widest; 2])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [data_type, _] => Ok(data_type.clone()),
            _ => exec_err!("{} takes two numbers", self.name()),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [left, right] = arrays.as_slice() else { return exec_err!("{} takes two numbers", self.name()) };
        Ok(ColumnarValue::Array(match self.checked {
            Checked::Add => numeric::add(left, right)?,
            Checked::Subtract => numeric::sub(left, right)?,
            Checked::Multiply => numeric::mul(left, right)?,
            Checked::DivideFloats => {
                let pairs = left.as_primitive::<Float64Type>().iter().zip(right.as_primitive::<Float64Type>());
                if pairs.into_iter().any(|(left, right)| left.is_some() && right == Some(0.0)) {
                    return exec_err!("division by zero");
                }
                numeric::div(left, right)?
            }
        }))
    }
}
