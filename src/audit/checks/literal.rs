//! A value of a YAML file as an SQL literal that compares exactly with a column.

use crate::audit::sql_text::quoted_text;
use crate::model::{ColumnType, Value};

/// A value that the column itself could hold.
pub(super) fn exact_literal(column_type: &ColumnType, text: &str) -> Result<String, String> {
    let sql = literal(column_type, text)?;
    let canonical = |column_type: &ColumnType| {
        column_type.canonical(&Value::text(text)).map_err(|_| format!("'{text}' is no {column_type}"))
    };
    // A plain numeric keeps every digit: what differs from it was rounded.
    let stored = canonical(column_type)?;
    let is_rounded = match (stored.as_str(), canonical(&ColumnType::Numeric(None))) {
        (Some(stored), Ok(exact)) if column_type.is_numeric() => {
            exact.as_str().is_none_or(|exact| without_zeros(exact) != without_zeros(stored))
        }
        _ => false,
    };
    if is_rounded { Err(format!("'{text}' is no {column_type}: it would be rounded")) } else { Ok(sql) }
}

/// A value to compare the column with; a number may have more digits than the column holds.
pub(in crate::audit) fn literal(column_type: &ColumnType, text: &str) -> Result<String, String> {
    let read_as = if column_type.is_numeric() { &ColumnType::Numeric(None) } else { column_type };
    let value = read_as.canonical(&Value::text(text)).map_err(|_| format!("'{text}' is no {column_type}"))?;
    let printed = value.as_str().unwrap_or_default();
    match column_type {
        ColumnType::Boolean => Ok(if printed == "t" { "TRUE" } else { "FALSE" }.to_owned()),
        numeric if numeric.is_numeric() => {
            let is_finite = printed.bytes().any(|byte| byte.is_ascii_digit());
            if is_finite { Ok(printed.to_owned()) } else { Err(format!("'{text}' is no finite number")) }
        }
        // The engine reads a text as the type of the column that it is compared with.
        _ => Ok(quoted_text(printed)),
    }
}

fn without_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        let money = ColumnType::Numeric(Some((12, 2)));
        assert_eq!(literal(&money, "9.999").as_deref(), Ok("9.999"));
        assert_eq!(literal(&money, "1e3").as_deref(), Ok("1000"));
        assert_eq!(exact_literal(&money, "10.5").as_deref(), Ok("10.5"));
        assert!(exact_literal(&money, "9.999").is_err());
        assert!(exact_literal(&ColumnType::Integer, "1.5").is_err());
        assert!(literal(&ColumnType::Double, "NaN").is_err());
    }

    #[test]
    fn texts_are_quoted_and_times_canonical() {
        assert_eq!(literal(&ColumnType::Text, "it's").as_deref(), Ok("'it''s'"));
        let read = literal(&ColumnType::TimestampTz, "2026-03-02T11:00:00+01:00");
        assert_eq!(read.as_deref(), Ok("'2026-03-02 10:00:00+00'"));
        assert_eq!(literal(&ColumnType::Boolean, "false").as_deref(), Ok("FALSE"));
        assert!(literal(&ColumnType::Date, "tomorrow").is_err());
    }
}
