//! A column of PostgreSQL's binary format, field by field, as an Arrow array.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder, Float32Builder, Float64Builder,
    Int16Builder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, i256};

use super::numeric::Numeric;
use crate::catalog::arrow_type;
use crate::engine::postgres::quoted_identifier;
use crate::model::{Column, ColumnType};

/// PostgreSQL counts from 2000-01-01, Arrow from 1970-01-01.
const DAYS_TO_2000: i32 = 10_957;
const MICROS_TO_2000: i64 = 946_684_800_000_000;

/// How a text comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextForm {
    /// As it is.
    Plain,
    /// With the number of its form before it.
    Jsonb,
    /// Sixteen bytes.
    Uuid,
    /// Bytes, to be printed in hexadecimal.
    Bytea,
    /// Digits, to be printed as a number.
    Numeric,
}

fn text_form(column_type: &ColumnType) -> Option<TextForm> {
    match column_type {
        ColumnType::Text | ColumnType::Varchar(_) => Some(TextForm::Plain),
        ColumnType::Other(name) => match name.as_str() {
            "json" => Some(TextForm::Plain),
            "jsonb" => Some(TextForm::Jsonb),
            "uuid" => Some(TextForm::Uuid),
            "bytea" => Some(TextForm::Bytea),
            name if name.ends_with(']') => None,
            name if name.starts_with("character(") => Some(TextForm::Plain),
            name if name.starts_with("numeric(") => Some(TextForm::Numeric),
            _ => None,
        },
        _ => None,
    }
}

/// What to ask the server for, so that a [`ColumnBuilder`] of the column understands it: the column itself, or its text
/// as the server prints it.
pub(super) fn selected(column: &Column) -> String {
    let name = quoted_identifier(&column.name);
    match &column.column_type {
        // A composite of NULLs is no NULL, and a cast to text is not what every type prints.
        other @ ColumnType::Other(_) if text_form(other).is_none() => {
            format!("CASE WHEN {name} IS DISTINCT FROM NULL THEN format('%s', {name}) END")
        }
        _ => name,
    }
}

/// As [`selected`], of an answer whose columns need not have exactly these types.
pub(super) fn cast(column: &Column) -> String {
    match &column.column_type {
        other @ ColumnType::Other(_) if text_form(other).is_none() => selected(column),
        column_type => format!("{}::{column_type}", quoted_identifier(&column.name)),
    }
}

/// Gathers one column's fields.
pub(super) enum ColumnBuilder {
    Boolean(BooleanBuilder),
    SmallInt(Int16Builder),
    Integer(Int32Builder),
    BigInt(Int64Builder),
    Real(Float32Builder),
    Double(Float64Builder),
    Decimal128(Decimal128Builder, i8),
    Decimal256(Decimal256Builder, i8),
    Date(Date32Builder),
    Time(TimestampMicrosecondBuilder),
    Text(StringBuilder, TextWriter),
}

/// Writes a field as text.
pub(super) struct TextWriter {
    form: TextForm,
    /// Reused from field to field.
    text: String,
}

impl ColumnBuilder {
    /// For a column of this type, with room for so many rows.
    pub(super) fn new(column_type: &ColumnType, rows: usize) -> Self {
        match arrow_type(column_type) {
            DataType::Boolean => ColumnBuilder::Boolean(BooleanBuilder::with_capacity(rows)),
            DataType::Int16 => ColumnBuilder::SmallInt(Int16Builder::with_capacity(rows)),
            DataType::Int32 => ColumnBuilder::Integer(Int32Builder::with_capacity(rows)),
            DataType::Int64 => ColumnBuilder::BigInt(Int64Builder::with_capacity(rows)),
            DataType::Float32 => ColumnBuilder::Real(Float32Builder::with_capacity(rows)),
            DataType::Float64 => ColumnBuilder::Double(Float64Builder::with_capacity(rows)),
            DataType::Decimal128(precision, scale) => {
                let data_type = DataType::Decimal128(precision, scale);
                ColumnBuilder::Decimal128(Decimal128Builder::with_capacity(rows).with_data_type(data_type), scale)
            }
            DataType::Decimal256(precision, scale) => {
                let data_type = DataType::Decimal256(precision, scale);
                ColumnBuilder::Decimal256(Decimal256Builder::with_capacity(rows).with_data_type(data_type), scale)
            }
            DataType::Date32 => ColumnBuilder::Date(Date32Builder::with_capacity(rows)),
            time @ DataType::Timestamp(..) => {
                ColumnBuilder::Time(TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(time))
            }
            _ => {
                let form = text_form(column_type).unwrap_or(TextForm::Plain);
                let writer = TextWriter { form, text: String::new() };
                ColumnBuilder::Text(StringBuilder::with_capacity(rows, rows * 16), writer)
            }
        }
    }

    /// Adds a field; `None` is NULL.
    ///
    /// # Errors
    /// The field as text, where it is no value that the array can hold.
    pub(super) fn push(&mut self, field: Option<&[u8]>) -> Result<(), String> {
        let Some(bytes) = field else {
            self.push_null();
            return Ok(());
        };
        match self {
            ColumnBuilder::Boolean(builder) => builder.append_value(fixed::<1>(bytes)? != [0]),
            ColumnBuilder::SmallInt(builder) => builder.append_value(i16::from_be_bytes(fixed(bytes)?)),
            ColumnBuilder::Integer(builder) => builder.append_value(i32::from_be_bytes(fixed(bytes)?)),
            ColumnBuilder::BigInt(builder) => builder.append_value(i64::from_be_bytes(fixed(bytes)?)),
            ColumnBuilder::Real(builder) => builder.append_value(f32::from_be_bytes(fixed(bytes)?)),
            ColumnBuilder::Double(builder) => builder.append_value(f64::from_be_bytes(fixed(bytes)?)),
            ColumnBuilder::Decimal128(builder, scale) => {
                let number = Numeric::read(bytes)?;
                let value = number.to_i128(*scale).ok_or_else(|| number.to_string())?;
                builder.append_value(value);
            }
            ColumnBuilder::Decimal256(builder, scale) => {
                let number = Numeric::read(bytes)?;
                let value: i256 = number.to_i256(*scale).ok_or_else(|| number.to_string())?;
                builder.append_value(value);
            }
            ColumnBuilder::Date(builder) => builder.append_value(match i32::from_be_bytes(fixed(bytes)?) {
                infinite @ (i32::MIN | i32::MAX) => infinite,
                days => days.checked_add(DAYS_TO_2000).ok_or("a date past all calendars")?,
            }),
            ColumnBuilder::Time(builder) => builder.append_value(match i64::from_be_bytes(fixed(bytes)?) {
                infinite @ (i64::MIN | i64::MAX) => infinite,
                micros => micros.checked_add(MICROS_TO_2000).ok_or("a time past the year 294246")?,
            }),
            ColumnBuilder::Text(builder, writer) => builder.append_value(writer.write(bytes)?),
        }
        Ok(())
    }

    fn push_null(&mut self) {
        match self {
            ColumnBuilder::Boolean(builder) => builder.append_null(),
            ColumnBuilder::SmallInt(builder) => builder.append_null(),
            ColumnBuilder::Integer(builder) => builder.append_null(),
            ColumnBuilder::BigInt(builder) => builder.append_null(),
            ColumnBuilder::Real(builder) => builder.append_null(),
            ColumnBuilder::Double(builder) => builder.append_null(),
            ColumnBuilder::Decimal128(builder, _) => builder.append_null(),
            ColumnBuilder::Decimal256(builder, _) => builder.append_null(),
            ColumnBuilder::Date(builder) => builder.append_null(),
            ColumnBuilder::Time(builder) => builder.append_null(),
            ColumnBuilder::Text(builder, _) => builder.append_null(),
        }
    }

    /// What was gathered; the builder begins anew.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            ColumnBuilder::Boolean(builder) => Arc::new(builder.finish()),
            ColumnBuilder::SmallInt(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Integer(builder) => Arc::new(builder.finish()),
            ColumnBuilder::BigInt(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Real(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Double(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Decimal128(builder, _) => Arc::new(builder.finish()),
            ColumnBuilder::Decimal256(builder, _) => Arc::new(builder.finish()),
            ColumnBuilder::Date(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Time(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Text(builder, _) => Arc::new(builder.finish()),
        }
    }
}

fn fixed<const LENGTH: usize>(bytes: &[u8]) -> Result<[u8; LENGTH], String> {
    bytes.try_into().map_err(|_| format!("{} bytes where {LENGTH} are the type's", bytes.len()))
}

impl TextWriter {
    fn write<'text>(&'text mut self, bytes: &'text [u8]) -> Result<&'text str, String> {
        use std::fmt::Write as _;
        let text = |bytes: &'text [u8]| std::str::from_utf8(bytes).map_err(|_| "a text that is no UTF-8".to_owned());
        self.text.clear();
        match self.form {
            TextForm::Plain => return text(bytes),
            TextForm::Jsonb => return text(bytes.strip_prefix(&[1]).ok_or("a jsonb of a form that is not known")?),
            TextForm::Uuid => {
                let bytes: [u8; 16] = fixed(bytes)?;
                for (place, byte) in bytes.iter().enumerate() {
                    let dash = if matches!(place, 4 | 6 | 8 | 10) { "-" } else { "" };
                    let _ = write!(self.text, "{dash}{byte:02x}");
                }
            }
            TextForm::Bytea => {
                self.text.push_str("\\x");
                bytes.iter().for_each(|byte| {
                    let _ = write!(self.text, "{byte:02x}");
                });
            }
            TextForm::Numeric => {
                let _ = write!(self.text, "{}", Numeric::read(bytes)?);
            }
        }
        Ok(&self.text)
    }
}
