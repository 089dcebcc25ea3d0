//! PostgreSQL's types, as far as a value's text has to be understood.

use std::fmt;

use jiff::civil;

use super::{
    ModelError, Timestamp, Value, days_from_text, micros_from_text, text_from_days, text_from_float32,
    text_from_float64, text_from_micros,
};

/// A column's type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `boolean`; prints as `t` or `f`.
    Boolean,
    /// `smallint`.
    SmallInt,
    /// `integer`.
    Integer,
    /// `bigint`.
    BigInt,
    /// `numeric(precision, scale)`; both absent for a plain `numeric`.
    Numeric(Option<(u8, i8)>),
    /// `real`.
    Real,
    /// `double precision`.
    Double,
    /// `text`, `varchar` of any length and enums: text compared as it is (`citext` is not: it is another type).
    Text,
    /// `varchar(n)`: at most n characters.
    Varchar(u32),
    /// `date`.
    Date,
    /// `timestamp without time zone`.
    Timestamp,
    /// `timestamp with time zone`; prints in UTC.
    TimestampTz,
    /// Any other type by its name: carried and compared as text, never computed with.
    Other(String),
}

impl ColumnType {
    /// Whether JSON writes a key of this type as a number.
    pub fn is_integer(&self) -> bool {
        matches!(self, ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt)
    }

    /// Whether sums and differences of this type make sense.
    pub fn is_numeric(&self) -> bool {
        self.is_integer() || matches!(self, ColumnType::Numeric(_) | ColumnType::Real | ColumnType::Double)
    }

    /// The value as PostgreSQL would print it after storing it in a column of this type: `10.5` in a `numeric(12,2)`
    /// is `10.50`, `true` in a `boolean` is `t`, `2026-03-02T10:15:30Z` in a `timestamptz` is `2026-03-02 10:15:30+00`.
    ///
    /// # Errors
    /// [`ModelError::Value`] where the text is no value of the type.
    pub fn canonical(&self, value: &Value) -> Result<Value, ModelError> {
        let Some(text) = value.as_str() else { return Ok(Value::NULL) };
        if self.is_printed_number(text) {
            return Ok(value.clone());
        }
        let canonical = match self {
            ColumnType::Boolean => canonical_boolean(text).map(str::to_owned),
            ColumnType::SmallInt => text.trim().parse::<i16>().ok().map(|number| number.to_string()),
            ColumnType::Integer => text.trim().parse::<i32>().ok().map(|number| number.to_string()),
            ColumnType::BigInt => text.trim().parse::<i64>().ok().map(|number| number.to_string()),
            ColumnType::Numeric(size) => canonical_numeric(text.trim(), size.map(|(_, scale)| scale)),
            ColumnType::Date => canonical_date(text),
            ColumnType::Timestamp => canonical_timestamp(text),
            ColumnType::TimestampTz => canonical_timestamptz(text),
            ColumnType::Real => canonical_float(text, f32::is_finite, text_from_float32),
            ColumnType::Double => canonical_float(text, f64::is_finite, text_from_float64),
            ColumnType::Text | ColumnType::Varchar(_) => return Ok(value.clone()),
            ColumnType::Other(name) => match padded_length(name) {
                Some(length) => Some(padded(text, length)),
                None => return Ok(value.clone()),
            },
        };
        match canonical {
            Some(canonical) if canonical == text => Ok(value.clone()),
            Some(canonical) => Ok(Value::text(canonical)),
            None => Err(ModelError::Value { text: text.to_owned(), column_type: self.to_string() }),
        }
    }

    /// Whether it is a number of this type that stands as PostgreSQL prints it: most recorded numbers do. False says nothing.
    fn is_printed_number(&self, text: &str) -> bool {
        match self {
            ColumnType::SmallInt => is_printed_decimal(text, Some(0)) && text.len() <= 4,
            ColumnType::Integer => is_printed_decimal(text, Some(0)) && text.len() <= 9,
            ColumnType::BigInt => is_printed_decimal(text, Some(0)) && text.len() <= 18,
            ColumnType::Numeric(None) => is_printed_decimal(text, None),
            ColumnType::Numeric(Some((_, scale))) => {
                usize::try_from(*scale).is_ok_and(|scale| is_printed_decimal(text, Some(scale)))
            }
            _ => false,
        }
    }

    /// Whether two canonical values are the same: `10.5` and `10.50` are in a plain `numeric`, which keeps the digits
    /// that it was given.
    pub fn is_same(&self, one: &Value, other: &Value) -> bool {
        let same = |one: &str, other: &str| without_trailing_zeros(one) == without_trailing_zeros(other);
        one == other
            || *self == ColumnType::Numeric(None)
                && one.as_str().zip(other.as_str()).is_some_and(|(one, other)| same(one, other))
    }

    /// Of a plain `numeric`: the value with at least so many digits after the point, as PostgreSQL prints what it has
    /// computed with them. Any other type's values are printed in one way alone.
    pub fn with_decimals(&self, value: &Value, decimals: usize) -> Value {
        match value.as_str() {
            Some(text) if *self == ColumnType::Numeric(None) && value.decimals() < decimals => {
                let point = if text.contains('.') { "" } else { "." };
                Value::text(format!("{text}{point}{}", "0".repeat(decimals - value.decimals())))
            }
            _ => value.clone(),
        }
    }
}

/// The length of a `character(n)`, which is always filled up with spaces.
fn padded_length(type_name: &str) -> Option<usize> {
    type_name.strip_prefix("character(")?.strip_suffix(')')?.parse().ok()
}

/// Filled up with spaces; spaces beyond the length are cut off, anything else PostgreSQL would have refused.
fn padded(text: &str, length: usize) -> String {
    let spaces = length.saturating_sub(text.chars().count());
    let mut padded = format!("{text}{}", " ".repeat(spaces));
    while padded.chars().count() > length && padded.ends_with(' ') {
        padded.pop();
    }
    padded
}

/// PostgreSQL's own name of the type.
impl fmt::Display for ColumnType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Boolean => formatter.write_str("boolean"),
            ColumnType::SmallInt => formatter.write_str("smallint"),
            ColumnType::Integer => formatter.write_str("integer"),
            ColumnType::BigInt => formatter.write_str("bigint"),
            ColumnType::Numeric(None) => formatter.write_str("numeric"),
            ColumnType::Numeric(Some((precision, scale))) => write!(formatter, "numeric({precision},{scale})"),
            ColumnType::Real => formatter.write_str("real"),
            ColumnType::Double => formatter.write_str("double precision"),
            ColumnType::Text => formatter.write_str("text"),
            ColumnType::Varchar(length) => write!(formatter, "varchar({length})"),
            ColumnType::Date => formatter.write_str("date"),
            ColumnType::Timestamp => formatter.write_str("timestamp without time zone"),
            ColumnType::TimestampTz => formatter.write_str("timestamp with time zone"),
            ColumnType::Other(name) => formatter.write_str(name),
        }
    }
}

/// A decimal number without the zeros after its point that say nothing.
pub fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn canonical_boolean(text: &str) -> Option<&'static str> {
    match text.trim().to_ascii_lowercase().as_str() {
        "t" | "true" | "1" | "yes" | "on" => Some("t"),
        "f" | "false" | "0" | "no" | "off" => Some("f"),
        _ => None,
    }
}

/// Whether a decimal number stands as PostgreSQL prints it, with so many digits after the point where they are given.
fn is_printed_decimal(text: &str, scale: Option<usize>) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = are_digits(whole) && (whole.len() == 1 || !whole.starts_with('0'));
    let is_zero = || unsigned.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    is_whole
        && fraction.is_none_or(are_digits)
        && scale.is_none_or(|scale| fraction.map_or(0, str::len) == scale)
        && (unsigned.len() == text.len() || !is_zero())
}

/// Rounds half away from zero to `scale` digits, as PostgreSQL does when it stores a `numeric(p,s)`.
fn canonical_numeric(text: &str, scale: Option<i8>) -> Option<String> {
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        return Some(text.to_owned());
    }
    let (negative, digits, own_scale) = decimal_digits(text)?;
    let scale = match scale {
        Some(scale) => i32::from(scale).max(0),
        None => own_scale.max(0),
    };
    Some(print_decimal(negative, &rescale(digits, own_scale, scale), usize::try_from(scale).ok()?))
}

/// The digits of a decimal number without its point, and how many of them stand after it (negative: zeros follow).
fn decimal_digits(text: &str) -> Option<(bool, Vec<u8>, i32)> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|power| power.abs() < 10_000)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: Option<Vec<u8>> =
        whole.bytes().chain(fraction.bytes()).map(|byte| byte.is_ascii_digit().then(|| byte - b'0')).collect();
    Some((negative, digits?, i32::try_from(fraction.len()).ok()? - exponent))
}

fn rescale(mut digits: Vec<u8>, own_scale: i32, scale: i32) -> Vec<u8> {
    let added = usize::try_from(scale - own_scale).unwrap_or(0);
    digits.resize(digits.len() + added, 0);
    let dropped = usize::try_from((own_scale - scale).max(0)).unwrap_or(0);
    if dropped > digits.len() {
        return vec![0];
    }
    let kept = digits.len() - dropped;
    let round_up = dropped > 0 && digits[kept] >= 5;
    digits.truncate(kept);
    if round_up {
        let mut position = digits.len();
        loop {
            if position == 0 {
                digits.insert(0, 1);
                break;
            }
            position -= 1;
            if digits[position] < 9 {
                digits[position] += 1;
                break;
            }
            digits[position] = 0;
        }
    }
    digits
}

fn print_decimal(negative: bool, digits: &[u8], scale: usize) -> String {
    let mut text: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
    while text.len() <= scale {
        text.insert(0, '0');
    }
    let point = text.len() - scale;
    let whole = text[..point].trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = &text[point..];
    let is_zero = text.bytes().all(|digit| digit == b'0');
    let sign = if negative && !is_zero { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A float has many texts (`0.10`, `1e-1`), of which PostgreSQL prints one. What is too large for it is none.
fn canonical_float<F: std::str::FromStr + Copy>(
    text: &str,
    is_finite: fn(F) -> bool,
    print: fn(F) -> String,
) -> Option<String> {
    let text = text.trim();
    let number: F = text.parse().ok()?;
    let is_number = text.bytes().any(|byte| byte.is_ascii_digit());
    (is_finite(number) || !is_number).then(|| print(number))
}

/// The calendar library ends with the year 9999; PostgreSQL does not.
fn canonical_date(text: &str) -> Option<String> {
    let text = text.trim();
    let day = text.get(..10).filter(|_| !text.ends_with(" BC")).and_then(|day| day.parse::<civil::Date>().ok());
    let beyond = || days_from_text(text).map(text_from_days);
    day.map(|date| date.to_string()).or_else(beyond)
}

fn canonical_timestamp(text: &str) -> Option<String> {
    let text = text.trim();
    let time = text.trim_end_matches('Z').parse().ok();
    let beyond = || micros_from_text(text).map(|micros| text_from_micros(micros, ""));
    time.map(print_datetime).or_else(beyond)
}

fn canonical_timestamptz(text: &str) -> Option<String> {
    let text = text.trim();
    let time = text.parse::<Timestamp>().ok().map(Timestamp::as_micros);
    // Without an offset a time says no moment, save infinity.
    let beyond = || micros_from_text(text).filter(|_| text.contains("+00") || text.ends_with("infinity"));
    time.or_else(beyond).map(|micros| text_from_micros(micros, "+00"))
}

fn print_datetime(time: civil::DateTime) -> String {
    let seconds = time.strftime("%Y-%m-%d %H:%M:%S");
    let micros = time.subsec_nanosecond() / 1_000;
    if micros == 0 {
        return seconds.to_string();
    }
    let fraction = format!("{micros:06}");
    format!("{seconds}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(column_type: ColumnType, text: &str) -> Option<String> {
        let value = column_type.canonical(&Value::text(text)).ok()?;
        value.as_str().map(str::to_owned)
    }

    #[test]
    fn a_number_that_stands_as_it_is_printed_is_what_reading_it_gives() {
        let types = [
            ColumnType::SmallInt,
            ColumnType::Integer,
            ColumnType::BigInt,
            ColumnType::Numeric(None),
            ColumnType::Numeric(Some((12, 2))),
            ColumnType::Numeric(Some((12, 0))),
            ColumnType::Numeric(Some((12, -2))),
        ];
        let texts = "0 -0 7 -7 07 10 9999 99999 999999999 2147483648 -999999999999999999 9223372036854775808 +1 1. .5 0.5 -0.5 \
                     -0.00 0.00 00.10 1.2 1.23 1.234 1e2 -1.00 12a 1.2.3 - . NaN 1.20";
        let mut printed = 0;
        for (column_type, text) in types.iter().flat_map(|one| texts.split(' ').map(move |text| (one, text))) {
            if column_type.is_printed_number(text) {
                printed += 1;
                let read = match column_type {
                    ColumnType::Numeric(size) => canonical_numeric(text, size.map(|(_, scale)| scale)),
                    ColumnType::SmallInt => text.parse::<i16>().ok().map(|number| number.to_string()),
                    ColumnType::Integer => text.parse::<i32>().ok().map(|number| number.to_string()),
                    _ => text.parse::<i64>().ok().map(|number| number.to_string()),
                };
                assert_eq!(read.as_deref(), Some(text), "{column_type}");
            }
        }
        assert_eq!(printed, 52);
    }

    #[test]
    fn numerics_take_the_scale_of_their_column() {
        let money = ColumnType::Numeric(Some((12, 2)));
        for (text, printed) in [
            ("10.5", "10.50"),
            ("10", "10.00"),
            ("-0.005", "-0.01"),
            ("0.004", "0.00"),
            ("-0.004", "0.00"),
            ("99.995", "100.00"),
            ("1e3", "1000.00"),
            ("1.5E-1", "0.15"),
            ("007.1", "7.10"),
        ] {
            assert_eq!(canonical(money.clone(), text).as_deref(), Some(printed), "{text}");
        }
        assert_eq!(canonical(money, "ten"), None);
        assert_eq!(canonical(ColumnType::Numeric(None), "10.500").as_deref(), Some("10.500"));
        let (short, long) = (Value::text("10.5"), Value::text("10.500"));
        assert!(ColumnType::Numeric(None).is_same(&short, &long));
        assert!(!ColumnType::Text.is_same(&short, &long));
        assert!(!ColumnType::Numeric(None).is_same(&Value::text("10"), &Value::text("100")));
        assert_eq!(ColumnType::Numeric(None).with_decimals(&short, 3), long);
        assert_eq!(ColumnType::Numeric(None).with_decimals(&Value::text("7"), 2), Value::text("7.00"));
        assert_eq!(ColumnType::Numeric(None).with_decimals(&long, 1), long);
    }

    #[test]
    fn a_float_has_one_text() {
        for (text, real, double) in [
            ("0.10", Some("0.1"), Some("0.1")),
            ("1e-1", Some("0.1"), Some("0.1")),
            ("-0", Some("-0"), Some("-0")),
            ("16777217", Some("1.6777216e+07"), Some("16777217")),
            ("1E20", Some("1e+20"), Some("1e+20")),
            ("1e39", None, Some("1e+39")),
            ("nan", Some("NaN"), Some("NaN")),
            ("-Infinity", Some("-Infinity"), Some("-Infinity")),
            ("ten", None, None),
            ("", None, None),
        ] {
            assert_eq!(canonical(ColumnType::Real, text).as_deref(), real, "{text}");
            assert_eq!(canonical(ColumnType::Double, text).as_deref(), double, "{text}");
        }
    }

    #[test]
    fn characters_are_filled_up_with_spaces() {
        let type_name = |name: &str| ColumnType::Other(name.to_owned());
        assert_eq!(canonical(type_name("character(4)"), "ab").as_deref(), Some("ab  "));
        assert_eq!(canonical(type_name("character(4)"), "ab    ").as_deref(), Some("ab  "));
        assert_eq!(canonical(type_name("character varying(4)"), "ab").as_deref(), Some("ab"));
    }

    #[test]
    fn times_and_booleans_print_as_postgresql_does() {
        assert_eq!(canonical(ColumnType::Boolean, "true").as_deref(), Some("t"));
        assert_eq!(
            canonical(ColumnType::TimestampTz, "2026-03-02T11:15:30.120Z").as_deref(),
            Some("2026-03-02 11:15:30.12+00")
        );
        assert_eq!(
            canonical(ColumnType::TimestampTz, "2026-03-02 11:15:30+01").as_deref(),
            Some("2026-03-02 10:15:30+00")
        );
        assert_eq!(canonical(ColumnType::Timestamp, "2026-03-02T11:15:30").as_deref(), Some("2026-03-02 11:15:30"));
        assert_eq!(canonical(ColumnType::Date, "2026-03-02").as_deref(), Some("2026-03-02"));
    }
}
