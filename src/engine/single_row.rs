//! `single_row(rows, value)`: the value of a scalar subquery, and PostgreSQL's error where it has more than one row.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// The function.
pub(super) fn single_row() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(SingleRow { signature: Signature::any(2, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleRow {
    signature: Signature,
}

impl ScalarUDFImpl for SingleRow {
    fn name(&self) -> &str {
        "single_row"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        match arguments {
            [DataType::Int64, value] => Ok(value.clone()),
            _ => plan_err!("single_row takes a number of rows and a value"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let rows = arguments.number_rows;
        let [counts, value] = <[ColumnarValue; 2]>::try_from(arguments.args)
            .map_err(|_| DataFusionError::Execution("single_row takes two arguments".to_owned()))?;
        let counts = counts.into_array(rows)?;
        if counts.as_primitive::<Int64Type>().iter().flatten().any(|count| count > 1) {
            return exec_err!("more than one row returned by a subquery used as an expression");
        }
        Ok(value)
    }
}
