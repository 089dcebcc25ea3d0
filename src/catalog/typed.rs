//! Text-exact rows to typed Arrow batches, and back.
//!
//! | PostgreSQL | Arrow |
//! |---|---|
//! | boolean, smallint, integer, bigint, real, double precision | Boolean, Int16, Int32, Int64, Float32, Float64 |
//! | numeric(p,s) | Decimal128(p,s), Decimal256 past 38 digits |
//! | numeric | Decimal256(76, 20): compared and computed by value; what needs more digits is refused, not rounded |
//! | date, timestamp, timestamptz | Date32, Timestamp(µs), Timestamp(µs, "UTC") |
//! | everything else | Utf8, as PostgreSQL prints it |

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Field, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Schema, TimeUnit, TimestampMicrosecondType, i256,
};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use jiff::civil;

use super::CatalogError;
use crate::model::{
    ColumnType, ModelError, Row, TableSchema, Timestamp, Value, days_from_text, micros_from_text, text_from_days,
    text_from_float32, text_from_float64, text_from_micros, without_trailing_zeros,
};

/// Digits after the point of a plain `numeric` column in the engine.
pub const PLAIN_NUMERIC_SCALE: i8 = 20;

/// The Arrow type that holds a column of this type.
pub fn arrow_type(column_type: &ColumnType) -> DataType {
    match column_type {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::SmallInt => DataType::Int16,
        ColumnType::Integer => DataType::Int32,
        ColumnType::BigInt => DataType::Int64,
        ColumnType::Real => DataType::Float32,
        ColumnType::Double => DataType::Float64,
        ColumnType::Numeric(Some((precision, scale))) if *precision <= 38 => DataType::Decimal128(*precision, *scale),
        ColumnType::Numeric(Some((precision, scale))) => DataType::Decimal256((*precision).min(76), *scale),
        ColumnType::Numeric(None) => DataType::Decimal256(76, PLAIN_NUMERIC_SCALE),
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        ColumnType::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Other(_) => DataType::Utf8,
    }
}

/// The Arrow schema of a table: its columns in order, all nullable.
pub fn arrow_schema(schema: &TableSchema) -> Arc<Schema> {
    let fields: Vec<Field> = schema
        .columns
        .iter()
        .map(|column| Field::new(column.name.as_ref(), arrow_type(&column.column_type), true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// Rows as one batch with every column of the schema in its order; a column that a row does not hold is NULL.
///
/// # Errors
/// A value that its column's type cannot hold.
pub fn batch_from_rows<'a>(
    schema: &TableSchema,
    rows: impl ExactSizeIterator<Item = &'a Row> + Clone,
) -> Result<RecordBatch, CatalogError> {
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.columns.len());
    for (position, column) in schema.columns.iter().enumerate() {
        let values = rows.clone().map(|row| value_at(row, position, &column.name));
        let array = array_from_values(&column.column_type, values).map_err(|source| CatalogError::Value {
            table: schema.name.clone(),
            column: column.name.to_string(),
            source,
        })?;
        columns.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(arrow_schema(schema), columns, &options)
        .map_err(|error| CatalogError::Rows { table: schema.name.clone(), reason: error.to_string() })
}

/// Most rows hold their columns in schema order: try that place first.
fn value_at<'a>(row: &'a Row, position: usize, name: &str) -> Option<&'a str> {
    row.get_at(position, name).and_then(Value::as_str)
}

/// PostgreSQL's type for a column of the engine's or of a file: the same, or the next wider that holds every value.
pub fn column_type_of(data_type: &DataType) -> ColumnType {
    match data_type {
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => ColumnType::SmallInt,
        DataType::UInt16 | DataType::Int32 => ColumnType::Integer,
        DataType::UInt32 | DataType::Int64 => ColumnType::BigInt,
        DataType::UInt64 => ColumnType::Numeric(Some((20, 0))),
        DataType::Float16 | DataType::Float32 => ColumnType::Real,
        DataType::Float64 => ColumnType::Double,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            // A negative scale stands for trailing zeros: the same numbers have scale 0 and that many more digits.
            let zeros = scale.min(&0).unsigned_abs();
            ColumnType::Numeric(Some((precision.saturating_add(zeros), (*scale).max(0))))
        }
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Timestamp(_, None) => ColumnType::Timestamp,
        DataType::Timestamp(_, Some(_)) => ColumnType::TimestampTz,
        DataType::Time32(_) | DataType::Time64(_) => ColumnType::Other("time without time zone".to_owned()),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            ColumnType::Other("bytea".to_owned())
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => ColumnType::Text,
        DataType::Dictionary(_, values) => column_type_of(values),
        // Carried as the text that arrow prints, never computed with.
        nested => ColumnType::Other(nested.to_string()),
    }
}

/// An array of this column type from PostgreSQL's texts.
///
/// # Errors
/// A text that is no value of the type.
pub fn array_from_values<'a>(
    column_type: &ColumnType,
    values: impl ExactSizeIterator<Item = Option<&'a str>>,
) -> Result<ArrayRef, ModelError> {
    let refuse = |text: &str| ModelError::Value { text: text.to_owned(), column_type: column_type.to_string() };
    macro_rules! build {
        ($builder:expr, $parse:expr) => {{
            let mut builder = $builder;
            for value in values {
                match value {
                    None => builder.append_null(),
                    Some(text) => builder.append_value($parse(text).ok_or_else(|| refuse(text))?),
                }
            }
            Arc::new(builder.finish()) as ArrayRef
        }};
    }
    let rows = values.len();
    Ok(match arrow_type(column_type) {
        DataType::Boolean => build!(BooleanBuilder::with_capacity(rows), parse_boolean),
        DataType::Int16 => build!(Int16Builder::with_capacity(rows), |text: &str| text.parse().ok()),
        DataType::Int32 => build!(Int32Builder::with_capacity(rows), |text: &str| text.parse().ok()),
        DataType::Int64 => build!(Int64Builder::with_capacity(rows), |text: &str| text.parse().ok()),
        DataType::Float32 => build!(Float32Builder::with_capacity(rows), |text: &str| text.parse().ok()),
        DataType::Float64 => build!(Float64Builder::with_capacity(rows), |text: &str| text.parse().ok()),
        DataType::Decimal128(precision, scale) => build!(
            Decimal128Builder::with_capacity(rows).with_data_type(DataType::Decimal128(precision, scale)),
            |text: &str| decimal256_from_text(text, scale).and_then(i256::to_i128)
        ),
        DataType::Decimal256(precision, scale) => build!(
            Decimal256Builder::with_capacity(rows).with_data_type(DataType::Decimal256(precision, scale)),
            |text: &str| decimal256_from_text(text, scale)
        ),
        DataType::Date32 => build!(Date32Builder::with_capacity(rows), days_from_text),
        DataType::Timestamp(_, None) => build!(TimestampMicrosecondBuilder::with_capacity(rows), parse_timestamp),
        DataType::Timestamp(_, Some(_)) => build!(
            TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(arrow_type(column_type)),
            |text: &str| micros_from_text(text).or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_micros))
        ),
        _ => build!(StringBuilder::with_capacity(rows, rows * 8), Some),
    })
}

/// The rows of a batch as PostgreSQL would print them in columns of these types (columns are matched by name).
///
/// # Errors
/// A batch whose column cannot be printed as the schema's type.
pub fn rows_from_batch(schema: &TableSchema, batch: &RecordBatch) -> Result<Vec<Row>, CatalogError> {
    let mut rows = vec![Row::new(); batch.num_rows()];
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let Some(column) = schema.column(field.name()) else { continue };
        for (position, row) in rows.iter_mut().enumerate() {
            let value = value_from_array(array, position, &column.column_type).map_err(|source| {
                CatalogError::Value { table: schema.name.clone(), column: column.name.to_string(), source }
            })?;
            row.push(column.name.clone(), value);
        }
    }
    Ok(rows)
}

/// One cell of an array as PostgreSQL would print it after storing it in a column of `column_type`.
///
/// # Errors
/// An array type that holds no SQL scalar, or a value out of the type's range.
pub fn value_from_array(array: &ArrayRef, position: usize, column_type: &ColumnType) -> Result<Value, ModelError> {
    if array.is_null(position) {
        return Ok(Value::NULL);
    }
    let text = match array.data_type() {
        DataType::Boolean => if array.as_boolean().value(position) { "t" } else { "f" }.to_owned(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(position).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(position).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(position).to_string(),
        DataType::Float32 if column_type.is_integer() => {
            rounded_to_even(array.as_primitive::<Float32Type>().value(position).into())
        }
        DataType::Float64 if column_type.is_integer() => {
            rounded_to_even(array.as_primitive::<Float64Type>().value(position))
        }
        DataType::Float32 => text_from_float32(array.as_primitive::<Float32Type>().value(position)),
        DataType::Float64 => text_from_float64(array.as_primitive::<Float64Type>().value(position)),
        DataType::Decimal128(_, scale) => {
            let value = i256::from_i128(array.as_primitive::<Decimal128Type>().value(position));
            text_from_decimal256(value, *scale)
        }
        DataType::Decimal256(_, scale) => {
            let text = text_from_decimal256(array.as_primitive::<Decimal256Type>().value(position), *scale);
            if *column_type == ColumnType::Numeric(None) { without_trailing_zeros(&text).to_owned() } else { text }
        }
        DataType::Date32 => text_from_days(array.as_primitive::<Date32Type>().value(position)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(position);
            match column_type {
                ColumnType::Timestamp => return Ok(Value::text(text_from_micros(micros, ""))),
                ColumnType::TimestampTz => return Ok(Value::text(text_from_micros(micros, "+00"))),
                _ => return column_type.canonical(&Value::text(Timestamp::from_micros(micros).to_string())),
            }
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            arrow::util::display::array_value_to_string(array, position).map_err(|_| beyond(column_type))?
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let text = arrow::util::display::array_value_to_string(array, position).map_err(|_| beyond(column_type))?;
            without_trailing_zeros(&text).to_owned()
        }
        // The engine writes spans of time otherwise than PostgreSQL.
        DataType::Duration(_) | DataType::Interval(_) => return Err(beyond(column_type)),
        _ => {
            let cast = arrow::compute::cast(&array.slice(position, 1), &arrow_type(column_type))
                .map_err(|error| ModelError::Value { text: error.to_string(), column_type: column_type.to_string() })?;
            if cast.data_type() == array.data_type() {
                return Err(beyond(column_type));
            }
            return value_from_array(&cast, 0, column_type);
        }
    };
    if column_type.is_integer() && text.contains('.') {
        return rounded_to_integer(&text, column_type);
    }
    column_type.canonical(&Value::text(text))
}

/// Assigning a decimal to an integer column rounds half away from zero.
fn rounded_to_integer(text: &str, column_type: &ColumnType) -> Result<Value, ModelError> {
    let whole = ColumnType::Numeric(Some((38, 0))).canonical(&Value::text(text))?;
    column_type.canonical(&whole)
}

/// Assigning a float to an integer column rounds half to even, and what is no number fits none.
fn rounded_to_even(value: f64) -> String {
    format!("{:.0}", value.round_ties_even())
}

fn beyond(column_type: &ColumnType) -> ModelError {
    ModelError::Value { text: "a value out of range".to_owned(), column_type: column_type.to_string() }
}

fn parse_boolean(text: &str) -> Option<bool> {
    match text {
        "t" | "true" => Some(true),
        "f" | "false" => Some(false),
        _ => None,
    }
}

fn parse_timestamp(text: &str) -> Option<i64> {
    let other_forms = || {
        let time: civil::DateTime = text.parse().ok()?;
        time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_microsecond())
    };
    micros_from_text(text).or_else(other_forms)
}

/// Digits of a decimal text as an integer of `10^-scale`; `None` where it has more digits than that, or is no number.
pub fn decimal256_from_text(text: &str, scale: i8) -> Option<i256> {
    let scale = usize::try_from(scale).ok()?;
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let (fraction, rest) = fraction.split_at_checked(scale).unwrap_or((fraction, ""));
    if whole.is_empty() && fraction.is_empty() || rest.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let padding = scale - fraction.len();
    let digits: String = whole.chars().chain(fraction.chars()).chain(std::iter::repeat_n('0', padding)).collect();
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let value = i256::from_string(&digits)?;
    if negative { value.checked_neg() } else { Some(value) }
}

/// The decimal text of an integer of `10^-scale`, with all digits of the scale.
pub fn text_from_decimal256(value: i256, scale: i8) -> String {
    let text = value.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let Ok(scale) = usize::try_from(scale) else {
        return format!("{sign}{digits}{}", "0".repeat(usize::from(scale.unsigned_abs())));
    };
    if scale == 0 {
        return text;
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, TableName};

    fn table(types: &[ColumnType]) -> TableSchema {
        let columns = types.iter().enumerate().map(|(position, column_type)| Column {
            name: format!("c{position}").into(),
            column_type: column_type.clone(),
            not_null: false,
            generated: false,
        });
        TableSchema {
            name: TableName::new("public", "t"),
            columns: columns.collect(),
            key: vec![],
            foreign_keys: vec![],
            unique_keys: vec![],
        }
    }

    #[test]
    fn every_type_comes_back_as_it_went() {
        let cells = [
            (ColumnType::Boolean, "t"),
            (ColumnType::SmallInt, "-7"),
            (ColumnType::BigInt, "9223372036854775807"),
            (ColumnType::Numeric(Some((12, 2))), "-0.05"),
            (ColumnType::Numeric(Some((50, 4))), "1234567890123456789012345678901234567890.1234"),
            (ColumnType::Numeric(None), "10.5"),
            (ColumnType::Real, "1.5"),
            (ColumnType::Double, "0.1"),
            (ColumnType::Double, "1e+20"),
            (ColumnType::Double, "1e-07"),
            (ColumnType::Double, "123456.789"),
            (ColumnType::Text, "it's"),
            (ColumnType::Date, "1969-12-31"),
            (ColumnType::Timestamp, "2026-03-02 11:15:30.5"),
            (ColumnType::TimestampTz, "2026-03-02 11:15:30.000001+00"),
            (ColumnType::TimestampTz, "infinity"),
            (ColumnType::TimestampTz, "20260-03-02 11:15:30+00"),
            (ColumnType::Timestamp, "0044-03-15 12:00:00 BC"),
            (ColumnType::Date, "-infinity"),
            (ColumnType::Date, "0044-03-15 BC"),
            (ColumnType::Other("jsonb".to_owned()), "{\"a\": 1}"),
        ];
        let types: Vec<ColumnType> = cells.iter().map(|(column_type, _)| column_type.clone()).collect();
        let schema = table(&types);
        let row: Row = cells
            .iter()
            .enumerate()
            .map(|(position, (_, text))| (format!("c{position}").into(), Value::text(*text)))
            .collect();
        let rows = [row, schema.columns.iter().map(|column| (column.name.clone(), Value::NULL)).collect()];
        let batch = batch_from_rows(&schema, rows.iter()).expect("the values fit their types");
        assert_eq!(rows_from_batch(&schema, &batch).expect("the batch prints"), rows);
    }

    #[test]
    fn a_float_in_an_integer_column_rounds_half_to_even_and_a_decimal_away_from_zero() {
        use arrow::array::{Decimal128Array, Float32Array, Float64Array};
        let halves = [0.5, 1.5, 2.5, -2.5, -0.4, 4e9];
        let texts = |array: ArrayRef, column_type: &ColumnType| -> Vec<Option<String>> {
            let text = |place| value_from_array(&array, place, column_type).ok()?.as_str().map(str::to_owned);
            (0..array.len()).map(text).collect()
        };
        let expected = |texts: &[&str]| texts.iter().map(|text| Some((*text).to_owned())).collect::<Vec<_>>();
        let doubles: ArrayRef = Arc::new(Float64Array::from(halves.to_vec()));
        let singles: ArrayRef = Arc::new(Float32Array::from(halves.map(|half| half as f32).to_vec()));
        for floats in [doubles, singles] {
            assert_eq!(
                texts(Arc::clone(&floats), &ColumnType::BigInt),
                expected(&["0", "2", "2", "-2", "0", "4000000000"])
            );
            assert_eq!(texts(floats, &ColumnType::Integer)[5], None, "out of range");
        }
        let decimals = Decimal128Array::from(vec![5, 15, 25, -25]).with_precision_and_scale(10, 1).expect("a scale");
        assert_eq!(texts(Arc::new(decimals), &ColumnType::Integer), expected(&["1", "2", "3", "-3"]));
        let none: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, f64::INFINITY]));
        assert_eq!(texts(none, &ColumnType::Integer), [None, None]);
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused() {
        let schema = table(&[ColumnType::Integer]);
        let rows = [Row::from_iter([("c0".into(), Value::text("ten"))])];
        let error = batch_from_rows(&schema, rows.iter()).expect_err("ten is no integer").to_string();
        assert!(error.contains("public.t.c0") && error.contains("'ten'"), "{error}");
    }
}
