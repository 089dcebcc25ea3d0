//! Casts that PostgreSQL prints or reads otherwise than the engine: timestamps as text, decimals as floats, and numbers
//! whose printed digits nobody knows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Builder, StringArray, StringBuilder};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use super::own_digits::has_own_digits;

/// A decimal of so many digits after the point is a plain `numeric` (see `catalog/typed.rs`) or computed from one: which
/// digits PostgreSQL holds of it, the engine does not know.
const UNKNOWN_DIGITS: i8 = 20;

/// Whose casts they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Digits {
    /// A rule's: a plain `numeric` prints without the zeros at its end.
    Trimmed,
    /// A statement's that is run again: PostgreSQL would print the digits that it holds, and those are not known here.
    Refused,
}

/// Rewrites the casts, once the types are settled.
#[derive(Debug)]
pub(super) struct PostgresCasts {
    pub(super) digits: Digits,
}

impl AnalyzerRule for PostgresCasts {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        plan.transform_up_with_subqueries(|plan| self.rewrite(plan)).data()
    }

    fn name(&self) -> &str {
        "postgres_casts"
    }
}

impl PostgresCasts {
    fn rewrite(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let schema = match &plan {
            LogicalPlan::TableScan(scan) => {
                DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?
            }
            plan => merge_schema(&plan.inputs()),
        };
        let names = NamePreserver::new(&plan);
        let inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
        let inputs: Vec<&LogicalPlan> = inputs.iter().collect();
        plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let rewritten = expression.transform_up(|expression| self.rewrite_cast(expression, &schema, &inputs))?;
            Ok(rewritten.update_data(|expression| name.restore(expression)))
        })
    }

    fn rewrite_cast(&self, expression: Expr, schema: &DFSchema, inputs: &[&LogicalPlan]) -> Result<Transformed<Expr>> {
        if let Expr::ScalarFunction(mut call) = expression {
            return match call.name() {
                "concat" | "concat_ws" => {
                    let mut changed = false;
                    for argument in &mut call.args {
                        if let Expr::Cast(Cast { expr, .. }) = argument
                            && expr.get_type(schema)? == DataType::Boolean
                        {
                            *argument = printed(Print::Boolean).call(vec![expr.as_ref().clone()]);
                            changed = true;
                        }
                    }
                    let call = Expr::ScalarFunction(call);
                    Ok(if changed { Transformed::yes(call) } else { Transformed::no(call) })
                }
                _ => Ok(Transformed::no(Expr::ScalarFunction(call))),
            };
        }
        let Expr::Cast(Cast { expr, field }) = expression else { return Ok(Transformed::no(expression)) };
        let from = expr.get_type(schema)?;
        let to = field.data_type();
        let is_text = matches!(to, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let conversion = match (&from, to) {
            (DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _), _) if is_text => Print::Timestamp,
            (DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale), _) if is_text => {
                let is_known = *scale < UNKNOWN_DIGITS
                    && (self.digits == Digits::Trimmed || has_own_digits(&expr, schema, inputs)?);
                if is_known {
                    return Ok(Transformed::no(Expr::Cast(Cast { expr, field })));
                }
                Print::Decimal(self.digits)
            }
            (DataType::Float32 | DataType::Float64, _) if is_text && self.digits == Digits::Refused => Print::Float,
            (DataType::Decimal128(..) | DataType::Decimal256(..), DataType::Float64) => Print::AsFloat,
            _ => return Ok(Transformed::no(Expr::Cast(Cast { expr, field }))),
        };
        let function =
            ScalarUDF::from(Printed { print: conversion, signature: Signature::any(1, Volatility::Immutable) });
        let call = Arc::new(function).call(vec![*expr]);
        // The same type as the cast: a text of another kind is one cast away.
        Ok(Transformed::yes(match to {
            DataType::LargeUtf8 | DataType::Utf8View => Expr::Cast(Cast { expr: Box::new(call), field }),
            _ => call,
        }))
    }
}

fn printed(print: Print) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Printed { print, signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Print {
    /// As `concat` does, which a cast does not.
    Boolean,
    Float,
    Timestamp,
    Decimal(Digits),
    AsFloat,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Printed {
    print: Print,
    signature: Signature,
}

impl ScalarUDFImpl for Printed {
    fn name(&self) -> &str {
        match self.print {
            Print::Boolean => "boolean_text",
            Print::Float => "float_text",
            Print::Timestamp => "timestamp_text",
            Print::Decimal(Digits::Trimmed) => "trimmed_numeric_text",
            Print::Decimal(Digits::Refused) => "numeric_text",
            Print::AsFloat => "numeric_float",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(if self.print == Print::AsFloat { DataType::Float64 } else { DataType::Utf8 })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [array] = arrays.as_slice() else { return exec_err!("{} takes a value", self.name()) };
        Ok(ColumnarValue::Array(match self.print {
            Print::Boolean => {
                let texts = array.as_boolean().iter().map(|value| value.map(|value| if value { "t" } else { "f" }));
                Arc::new(texts.collect::<StringArray>())
            }
            Print::Float if array.null_count() < array.len() => {
                return exec_err!("prints a float, of which the engine writes other digits than PostgreSQL");
            }
            Print::Float => arrow::compute::cast(array, &DataType::Utf8)?,
            Print::Timestamp => timestamps(array)?,
            Print::Decimal(Digits::Trimmed) => trimmed(array)?,
            Print::Decimal(Digits::Refused) if array.null_count() == array.len() => trimmed(array)?,
            Print::Decimal(Digits::Refused) => {
                return exec_err!("prints a plain numeric, of which the digits that PostgreSQL holds are not known");
            }
            Print::AsFloat => floats(array)?,
        }))
    }
}

fn timestamps(array: &ArrayRef) -> Result<ArrayRef> {
    let zone = match array.data_type() {
        DataType::Timestamp(_, Some(_)) => "+00",
        _ => "",
    };
    let micros = arrow::compute::cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let mut builder = StringBuilder::new();
    for micros in micros.as_primitive::<TimestampMicrosecondType>() {
        builder.append_option(micros.map(|micros| crate::model::text_from_micros(micros, zone)));
    }
    Ok(Arc::new(builder.finish()))
}

fn trimmed(array: &ArrayRef) -> Result<ArrayRef> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options)?;
    let mut builder = StringBuilder::new();
    for position in 0..array.len() {
        let text = (!array.is_null(position)).then(|| formatter.value(position).to_string());
        builder.append_option(text.as_deref().map(|text| match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.'),
            false => text,
        }));
    }
    Ok(Arc::new(builder.finish()))
}

/// The nearest float: by way of its digits, since a division of two floats may round twice.
fn floats(array: &ArrayRef) -> Result<ArrayRef> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options)?;
    let mut builder = Float64Builder::with_capacity(array.len());
    for position in 0..array.len() {
        if array.is_null(position) {
            builder.append_null();
            continue;
        }
        match formatter.value(position).to_string().parse::<f64>() {
            Ok(float) => builder.append_value(float),
            Err(error) => return exec_err!("{error}"),
        }
    }
    Ok(Arc::new(builder.finish()))
}
