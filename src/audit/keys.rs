//! The order of keys.

use std::cmp::Ordering;

use crate::model::{RecordKey, TableSchema, Value};

/// By value where the key is a number: 9 before 10.
pub(super) fn compare_keys(table: &TableSchema, one: &RecordKey, other: &RecordKey) -> Ordering {
    for ((column, value), (_, other_value)) in one.iter().zip(other.iter()) {
        let is_integer = table.column(column).is_some_and(|column| column.column_type.is_integer());
        let number = |value: &Value| value.as_str().filter(|_| is_integer).and_then(|text| text.parse::<i64>().ok());
        let order = number(value).cmp(&number(other_value)).then_with(|| value.cmp(other_value));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}
