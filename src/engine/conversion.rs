//! PostgreSQL's conversions where the engine's differ: a cast to an integer rounds, a cast to `numeric` keeps all digits.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal256Builder, Float64Array};
use arrow::datatypes::{DataType, Decimal256Type, Float64Type, i256};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::prelude::SessionContext;

/// Registers `to_numeric(a)` and `rounded(a)`.
pub fn register(context: &SessionContext) {
    for conversion in [Conversion::ToNumeric, Conversion::Rounded] {
        context.register_udf(ScalarUDF::from(Convert {
            conversion,
            signature: Signature::user_defined(Volatility::Immutable),
        }));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Conversion {
    /// An integer or decimal as the decimal of its own scale.
    ToNumeric,
    /// A decimal rounded half away from zero, a float half to even; anything else as it is.
    Rounded,
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
            Conversion::Rounded => "rounded",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [data_type] = types else { return exec_err!("{} takes one value", self.name()) };
        Ok(vec![match (self.conversion, data_type) {
            (_, DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale)) => DataType::Decimal256(76, *scale),
            (Conversion::ToNumeric, integer) if integer.is_integer() => DataType::Decimal256(76, 0),
            (Conversion::ToNumeric, other) => {
                return exec_err!("a cast of {other} to numeric is not evaluated as PostgreSQL does");
            }
            (Conversion::Rounded, float) if float.is_floating() => DataType::Float64,
            (Conversion::Rounded, other) => other.clone(),
        }])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [data_type] => Ok(data_type.clone()),
            _ => exec_err!("{} takes one value", self.name()),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [array] = arrays.as_slice() else { return exec_err!("{} takes one value", self.name()) };
        let converted = match (self.conversion, array.data_type()) {
            (Conversion::Rounded, DataType::Float64) => {
                let rounded = array.as_primitive::<Float64Type>().iter().map(|value| value.map(f64::round_ties_even));
                Arc::new(rounded.collect::<Float64Array>()) as ArrayRef
            }
            (Conversion::Rounded, DataType::Decimal256(_, scale)) => rounded_decimals(array, *scale)?,
            _ => array.clone(),
        };
        Ok(ColumnarValue::Array(converted))
    }
}

fn rounded_decimals(array: &ArrayRef, scale: i8) -> Result<ArrayRef> {
    let exponent = u32::from(scale.max(0).unsigned_abs());
    let Some(unit) = i256::from_i128(10).checked_pow(exponent) else { return exec_err!("a scale of {scale} digits") };
    let mut builder = Decimal256Builder::with_capacity(array.len()).with_data_type(DataType::Decimal256(76, scale));
    for value in array.as_primitive::<Decimal256Type>() {
        builder.append_option(value.map(|value| {
            let rest = value.wrapping_rem(unit);
            let whole = value.wrapping_sub(rest);
            let up = rest.wrapping_abs().wrapping_mul(i256::from_i128(2)) >= unit;
            match (up, value < i256::ZERO) {
                (false, _) => whole,
                (true, false) => whole.wrapping_add(unit),
                (true, true) => whole.wrapping_sub(unit),
            }
        }));
    }
    Ok(Arc::new(builder.finish()))
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn casts_to_integers_round() {
        let context = crate::engine::session_context();
        for (sql, printed) in [
            ("CAST(rounded(2.5) AS INT)", "3"),
            ("CAST(rounded(-2.5) AS INT)", "-3"),
            ("CAST(rounded(2.49) AS INT)", "2"),
            ("CAST(rounded(CAST('2.5' AS DOUBLE)) AS INT)", "2"),
            ("CAST(rounded(7) AS INT)", "7"),
            ("to_numeric(7) / 2", "3.500000000000000000000000000000"),
        ] {
            let batches = context.sql(&format!("SELECT {sql}")).await.expect(sql).collect().await.expect(sql);
            let text = arrow::util::display::array_value_to_string(batches[0].column(0), 0).expect("a value");
            assert_eq!(text, printed, "{sql}");
        }
    }
}
