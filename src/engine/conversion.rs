//! PostgreSQL's conversions where the engine's differ: a cast to an integer rounds, a cast to `numeric` keeps all digits, a
//! sum of `bigint` is a `numeric`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal256Builder, Float64Array};
use arrow::datatypes::{DataType, Decimal256Type, Field, FieldRef, Float64Type, Int64Type, i256};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;

/// Registers `to_numeric(a)`, `to_whole(a)` and `to_sum(a)`, and `round` and `trunc` in place of the engine's own: those
/// compute decimals as floats, or say other scales than they yield.
pub fn register(context: &SessionContext) {
    use Conversion::{Round, ToNumeric, ToSum, ToWhole, Truncate};
    for conversion in [ToNumeric, ToWhole, ToSum, Round, Truncate] {
        context.register_udf(ScalarUDF::from(Convert {
            conversion,
            signature: Signature::user_defined(Volatility::Immutable),
        }));
    }
}

/// Digits before the point: what is as wide as a decimal can be fits beside nothing else.
const WHOLE_DIGITS: u8 = 38;

/// A decimal of this scale.
fn decimal(scale: i8) -> DataType {
    DataType::Decimal256(WHOLE_DIGITS.saturating_add(scale.max(0).unsigned_abs()).min(76), scale)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Conversion {
    /// An integer or decimal as the decimal of its own scale.
    ToNumeric,
    /// What is to become an integer: as [`Conversion::Round`], an integer as it is.
    ToWhole,
    /// What is to be added up: a `bigint` as a decimal, whose sum does not overflow; anything else as it is.
    ToSum,
    /// A decimal rounded half away from zero to some digits (it keeps its scale), a float half to even; an integer
    /// becomes a float, and with digits a decimal.
    Round,
    /// The same, with the digits cut off.
    Truncate,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Convert {
    conversion: Conversion,
    signature: Signature,
}

impl ScalarUDFImpl for Convert {
    fn name(&self) -> &str {
        match self.conversion {
            Conversion::ToNumeric => "to_numeric",
            Conversion::ToWhole => "to_whole",
            Conversion::ToSum => "to_sum",
            Conversion::Round => "round",
            Conversion::Truncate => "trunc",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (data_type, digits) = match (self.conversion, types) {
            (_, [data_type]) => (data_type, None),
            (Conversion::Round | Conversion::Truncate, [data_type, _]) => (data_type, Some(DataType::Int64)),
            _ => return exec_err!("{} does not take {} values", self.name(), types.len()),
        };
        if digits.is_some() && data_type.is_floating() {
            return exec_err!("PostgreSQL rounds no float to digits");
        }
        let converted = match (self.conversion, data_type) {
            (Conversion::ToSum, DataType::Int64) => decimal(0),
            (Conversion::ToSum, other) => other.clone(),
            (_, DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale)) => decimal(*scale),
            (Conversion::ToNumeric, integer) if integer.is_integer() => decimal(0),
            (Conversion::ToNumeric, other) => {
                return exec_err!("a cast of {other} to numeric is not evaluated as PostgreSQL does");
            }
            (_, float) if float.is_floating() => DataType::Float64,
            (Conversion::ToWhole, other) => other.clone(),
            (_, integer) if integer.is_integer() && digits.is_some() => decimal(0),
            (_, integer) if integer.is_integer() => DataType::Float64,
            (_, other) => other.clone(),
        };
        Ok(std::iter::once(converted).chain(digits).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [data_type, ..] => Ok(data_type.clone()),
            [] => exec_err!("{} takes a value", self.name()),
        }
    }

    /// Rounded to a literal number of digits, a decimal has that many; a number of digits that only the run tells, or a
    /// negative one (a literal only once it is folded), leaves the scale.
    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let digits = match (self.conversion, arguments.scalar_arguments) {
            (Conversion::Round | Conversion::Truncate, [_, Some(ScalarValue::Int64(Some(digits)))]) => {
                i8::try_from(*digits).ok()
            }
            _ => None,
        };
        let data_type = match (self.return_type(&types)?, digits) {
            (DataType::Decimal256(_, scale), Some(digits)) if (0..=scale).contains(&digits) => decimal(digits),
            (data_type, _) => data_type,
        };
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [array, digits @ ..] = arrays.as_slice() else { return exec_err!("{} takes a value", self.name()) };
        let converted = match (self.conversion, array.data_type()) {
            (Conversion::ToNumeric | Conversion::ToSum, _) => array.clone(),
            (conversion, DataType::Float64) => {
                let round = if conversion == Conversion::Truncate { f64::trunc } else { f64::round_ties_even };
                let rounded = array.as_primitive::<Float64Type>().iter().map(|value| value.map(round));
                Arc::new(rounded.collect::<Float64Array>()) as ArrayRef
            }
            (conversion, DataType::Decimal256(_, scale)) => {
                let cut = conversion == Conversion::Truncate;
                rounded_decimals(array, *scale, arguments.return_field.data_type(), digits.first(), cut)?
            }
            _ => array.clone(),
        };
        Ok(ColumnarValue::Array(converted))
    }
}

/// The digits rounded away are not in the result's type.
fn rounded_decimals(
    array: &ArrayRef,
    scale: i8,
    data_type: &DataType,
    digits: Option<&ArrayRef>,
    cut: bool,
) -> Result<ArrayRef> {
    let kept = match data_type {
        DataType::Decimal256(_, kept) => *kept,
        _ => scale,
    };
    let digits = digits.map(|digits| digits.as_primitive::<Int64Type>());
    let mut builder = Decimal256Builder::with_capacity(array.len()).with_data_type(data_type.clone());
    let dropped = i256::from_i128(10).checked_pow(u32::from((scale - kept).max(0).unsigned_abs()));
    for (position, value) in array.as_primitive::<Decimal256Type>().iter().enumerate() {
        let wanted = match digits {
            Some(digits) if digits.is_null(position) => None,
            Some(digits) => Some(digits.value(position)),
            None => Some(0),
        };
        let (Some(value), Some(wanted)) = (value, wanted) else {
            builder.append_null();
            continue;
        };
        match rounded(value, i64::from(scale) - wanted, cut)
            .zip(dropped)
            .and_then(|(value, unit)| value.checked_div(unit))
        {
            Some(rounded) => builder.append_value(rounded),
            None => return exec_err!("rounding to {wanted} digits is out of range"),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// The value with its last `dropped` digits rounded away, half away from zero, or cut off.
fn rounded(value: i256, dropped: i64, cut: bool) -> Option<i256> {
    let Ok(exponent) = u32::try_from(dropped) else { return Some(value) };
    // More digits than any value has: nothing is left.
    let Some(unit) = i256::from_i128(10).checked_pow(exponent) else { return Some(i256::ZERO) };
    let rest = value.checked_rem(unit)?;
    let whole = value.checked_sub(rest)?;
    let up = rest.wrapping_abs() >= unit.checked_sub(rest.wrapping_abs())?;
    match (up && !cut && dropped > 0, value < i256::ZERO) {
        (false, _) => Some(whole),
        (true, false) => whole.checked_add(unit),
        (true, true) => whole.checked_sub(unit),
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn casts_to_integers_round() {
        let context = crate::engine::session_context();
        for (sql, printed) in [
            ("CAST(round(2.5) AS INT)", "3"),
            ("CAST(round(-2.5) AS INT)", "-3"),
            ("CAST(round(2.49) AS INT)", "2"),
            ("CAST(round(CAST('2.5' AS DOUBLE)) AS INT)", "2"),
            ("CAST(round(7) AS INT)", "7"),
            ("round(2.345, 2)", "2.35"),
            ("round(-2.345, 2)", "-2.35"),
            ("round(1250, -2)", "1300"),
            ("to_numeric(7) / 2", "3.500000000000000000000000000000"),
            ("round(29.34, 1) + 0.05", "29.35"),
            ("to_numeric(7) + 1.5", "8.5"),
            ("round(99.99, 1) + round(7, 1)", "107.0"),
        ] {
            let batches = context.sql(&format!("SELECT {sql}")).await.expect(sql).collect().await.expect(sql);
            let text = arrow::util::display::array_value_to_string(batches[0].column(0), 0).expect("a value");
            assert_eq!(text, printed, "{sql}");
        }
    }

    #[tokio::test]
    async fn what_is_rounded_can_be_compared() {
        let session = crate::engine::session_context();
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
