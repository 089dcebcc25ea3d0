//! `interval * integer`, which the engine does not have: so many times its months, its days and its time.

use std::sync::Arc;

use arrow::array::{Array, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The interval, so many times.
pub(super) fn times(interval: Expr, count: Expr) -> Expr {
    let function = ScalarUDF::from(IntervalTimes(Signature::user_defined(Volatility::Immutable)));
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![interval, count]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalTimes(Signature);

impl ScalarUDFImpl for IntervalTimes {
    fn name(&self) -> &str {
        "interval_times"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, _: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![DataType::Interval(IntervalUnit::MonthDayNano), DataType::Int64])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [intervals, counts] = arrays.as_slice() else {
            return exec_err!("interval_times takes an interval and a number");
        };
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
        let pairs = intervals.iter().zip(counts.as_primitive::<Int64Type>());
        let products =
            pairs.map(|(interval, count)| interval.zip(count).map(|(one, count)| product(one, count)).transpose());
        let products: IntervalMonthDayNanoArray = products.collect::<Result<Vec<_>>>()?.into_iter().collect();
        Ok(ColumnarValue::Array(Arc::new(products) as Arc<dyn Array>))
    }
}

fn product(interval: IntervalMonthDayNano, count: i64) -> Result<IntervalMonthDayNano> {
    let whole = |part: i32| i64::from(part).checked_mul(count).and_then(|product| i32::try_from(product).ok());
    let time = interval.nanoseconds.checked_mul(count);
    match (whole(interval.months), whole(interval.days), time) {
        (Some(months), Some(days), Some(nanoseconds)) => Ok(IntervalMonthDayNano { months, days, nanoseconds }),
        _ => exec_err!("interval out of range"),
    }
}
