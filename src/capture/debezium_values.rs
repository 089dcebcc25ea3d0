//! A value of a Kafka Connect record as PostgreSQL prints it.
//!
//! In: JSON and, where the record carries one, the field's schema: its type, and the meaning that Debezium names.
//! Out: PostgreSQL's text. Without a schema a value can only be taken as it stands.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::base64;
use super::json_fields::{self as fields, Object};
use crate::model::{ColumnType, Value, text_from_days, text_from_micros};

/// What stands for an oversized value that did not change.
const UNAVAILABLE: &str = "__debezium_unavailable_value";
/// The same as bytes, in base64.
const UNAVAILABLE_BYTES: &str = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
/// PostgreSQL's infinite times, as Debezium writes them in microseconds.
const INFINITY_MICROS: i128 = 9_223_372_036_825_200_000;
const MINUS_INFINITY_MICROS: i128 = -9_223_372_036_832_400_000;

/// The value, or `None` where the record says that it does not hold it.
///
/// # Errors
/// A value that is none of its schema's.
pub(super) fn cell(value: &Json, schema: Option<&Object>) -> Result<Option<Value>, String> {
    if is_unavailable(value) {
        return Ok(None);
    }
    if value.is_null() {
        return Ok(Some(Value::NULL));
    }
    printed(value, schema).map(|text| Some(Value::text(text)))
}

fn is_unavailable(value: &Json) -> bool {
    match value {
        Json::String(text) => text == UNAVAILABLE || text == UNAVAILABLE_BYTES,
        Json::Array(items) => matches!(items.as_slice(), [only] if is_unavailable(only)),
        Json::Object(members) => members.len() == 1 && members.contains_key(UNAVAILABLE),
        _ => false,
    }
}

fn printed(value: &Json, schema: Option<&Object>) -> Result<String, String> {
    let meaning = schema.and_then(|schema| schema.get("name")).and_then(Json::as_str);
    if let (Some(meaning), Some(schema)) = (meaning, schema)
        && let Some(text) = of_meaning(value, meaning, schema)
    {
        return text.ok_or_else(|| format!("{value} is no {meaning}"));
    }
    let kind = schema.and_then(|schema| schema.get("type")).and_then(Json::as_str);
    match (value, kind) {
        (Json::Bool(true), _) => Ok("t".to_owned()),
        (Json::Bool(false), _) => Ok("f".to_owned()),
        (Json::Number(number), Some(kind @ ("float" | "double" | "float32" | "float64"))) => {
            Ok(float_text(&number.to_string(), matches!(kind, "float" | "float32")))
        }
        (Json::Number(number), _) => Ok(number.to_string()),
        (Json::String(text), Some("bytes")) => {
            base64::decode(text).map(|bytes| bytea_text(&bytes)).ok_or_else(|| format!("'{text}' is no base64"))
        }
        (Json::String(text), _) => Ok(text.clone()),
        (Json::Array(items), _) => array_text(items, schema.and_then(|schema| schema.get("items")?.as_object())),
        (Json::Object(members), Some("map")) => Ok(hstore_text(members)),
        (Json::Object(members), _) => Ok(variable_scale_decimal(members).unwrap_or_else(|| value.to_string())),
        (Json::Null, _) => Ok(String::new()),
    }
}

/// By the name that Debezium or Kafka Connect gives a type's meaning: `None` for one that changes nothing, `Some(None)`
/// for a value that is none of it.
fn of_meaning(value: &Json, meaning: &str, schema: &Object) -> Option<Option<String>> {
    let integer = || value.as_number().and_then(|number| number.to_string().parse::<i128>().ok());
    let micros = |unit: &str| {
        let number = integer()?;
        match unit {
            "millis" => number.checked_mul(1_000),
            "nanos" => Some(number.div_euclid(1_000)),
            _ => Some(number),
        }
    };
    Some(match meaning {
        "org.apache.kafka.connect.data.Decimal" => decimal(value, schema),
        "io.debezium.data.VariableScaleDecimal" => value.as_object().and_then(variable_scale_decimal),
        "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date" => integer().and_then(date_text),
        "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp" => {
            micros("millis").and_then(timestamp_text)
        }
        "io.debezium.time.MicroTimestamp" => micros("micros").and_then(timestamp_text),
        "io.debezium.time.NanoTimestamp" => micros("nanos").and_then(timestamp_text),
        "io.debezium.time.Time" | "org.apache.kafka.connect.data.Time" => micros("millis").and_then(time_text),
        "io.debezium.time.MicroTime" => micros("micros").and_then(time_text),
        "io.debezium.time.NanoTime" => micros("nanos").and_then(time_text),
        "io.debezium.time.ZonedTimestamp" => value.as_str().map(zoned_timestamp_text),
        "io.debezium.time.IsoTimestamp" | "io.debezium.time.IsoTime" | "io.debezium.time.IsoDate" => {
            value.as_str().map(|text| text.trim_end_matches('Z').replacen('T', " ", 1))
        }
        "io.debezium.time.ZonedTime" => value.as_str().map(|text| match text.strip_suffix('Z') {
            Some(time) => format!("{time}+00"),
            None => text.strip_suffix(":00").unwrap_or(text).to_owned(),
        }),
        "io.debezium.time.Interval" => value.as_str().and_then(interval_text),
        "io.debezium.time.MicroDuration" => micros("micros").and_then(duration_text),
        "io.debezium.data.Bits" => bits(value, schema),
        "io.debezium.data.geometry.Point" => value.as_object().and_then(|point| {
            let coordinate = |name| Some(float_text(&point.get(name)?.as_number()?.to_string(), false));
            Some(format!("({},{})", coordinate("x")?, coordinate("y")?))
        }),
        _ => return None,
    })
}

fn parameter(schema: &Object, name: &str) -> Option<i32> {
    schema.get("parameters")?.get(name)?.as_str()?.parse().ok()
}

fn decimal(value: &Json, schema: &Object) -> Option<String> {
    match value {
        Json::String(text) => decimal_text(&base64::decode(text)?, parameter(schema, "scale")?),
        // With json.decimal.format=NUMERIC.
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// `{"scale":2,"value":"AfQ="}`, a number of a column without a scale of its own.
fn variable_scale_decimal(members: &Object) -> Option<String> {
    let scale = members.get("scale")?.as_i64().filter(|_| members.len() == 2)?;
    decimal_text(&base64::decode(members.get("value")?.as_str()?)?, i32::try_from(scale).ok()?)
}

/// A big-endian number in two's complement, its last `scale` decimal digits behind the point; `None` past what a
/// `numeric` holds (131,072 digits before the point, 16,383 behind it).
fn decimal_text(bytes: &[u8], scale: i32) -> Option<String> {
    if bytes.len() > 61_236 || !(-131_072..=16_383).contains(&scale) {
        return None;
    }
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let mut magnitude: Vec<u8> = bytes.iter().map(|byte| if negative { !byte } else { *byte }).collect();
    if negative {
        for byte in magnitude.iter_mut().rev() {
            let (sum, overflow) = byte.overflowing_add(1);
            *byte = sum;
            if !overflow {
                break;
            }
        }
        // -128 in one byte: its magnitude needs another.
        if magnitude.iter().all(|byte| *byte == 0) {
            magnitude.insert(0, 1);
        }
    }
    let mut digits: Vec<u8> = vec![0];
    for byte in magnitude {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += u32::from(*digit) * 256;
            *digit = u8::try_from(carry % 10).unwrap_or_default();
            carry /= 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap_or_default());
            carry /= 10;
        }
    }
    let mut text: String = digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect();
    if let Ok(behind) = usize::try_from(scale) {
        if behind > 0 {
            let padding = (behind + 1).saturating_sub(text.len());
            text.insert_str(0, &"0".repeat(padding));
            text.insert(text.len() - behind, '.');
        }
    } else if text != "0" {
        text.push_str(&"0".repeat(usize::try_from(scale.unsigned_abs()).unwrap_or_default()));
    }
    Some(if negative { format!("-{text}") } else { text })
}

fn date_text(days: i128) -> Option<String> {
    i32::try_from(days).ok().map(text_from_days)
}

fn timestamp_text(micros: i128) -> Option<String> {
    match micros {
        INFINITY_MICROS => return Some("infinity".to_owned()),
        MINUS_INFINITY_MICROS => return Some("-infinity".to_owned()),
        _ => {}
    }
    i64::try_from(micros).ok().map(|micros| text_from_micros(micros, ""))
}

fn zoned_timestamp_text(text: &str) -> String {
    let canonical = ColumnType::TimestampTz.canonical(&Value::text(text));
    canonical.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_else(|| text.to_owned())
}

fn time_text(micros: i128) -> Option<String> {
    (0..=86_400_000_000).contains(&micros).then(|| clock_text(micros))
}

fn clock_text(micros: i128) -> String {
    let seconds = micros / 1_000_000;
    let fraction = fraction_text(micros % 1_000_000);
    format!("{:02}:{:02}:{:02}{fraction}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

fn fraction_text(micros: i128) -> String {
    if micros == 0 {
        return String::new();
    }
    format!(".{micros:06}").trim_end_matches('0').to_owned()
}

/// A duration that was told in microseconds alone; PostgreSQL keeps days apart from hours, which is lost here.
fn duration_text(micros: i128) -> Option<String> {
    const DAY: i128 = 86_400_000_000;
    let (days, rest) = (micros / DAY, micros % DAY);
    interval_of_parts(0, days, rest)
}

/// `P1Y2M3DT4H5M6.78S` as `1 year 2 mons 3 days 04:05:06.78`.
fn interval_text(iso: &str) -> Option<String> {
    let (mut months, mut days, mut micros) = (0_i128, 0_i128, 0_i128);
    let mut in_time = false;
    let mut number = String::new();
    for letter in iso.strip_prefix('P')?.chars() {
        match letter {
            '0'..='9' | '-' | '+' | '.' => number.push(letter),
            'T' if number.is_empty() => in_time = true,
            _ => {
                let quantity = micros_of(&std::mem::take(&mut number))?;
                let whole = quantity / 1_000_000;
                match (letter, in_time) {
                    ('Y', false) => months += whole * 12,
                    ('M', false) => months += whole,
                    ('W', false) => days += whole * 7,
                    ('D', false) => days += whole,
                    ('H', true) => micros += quantity * 3_600,
                    ('M', true) => micros += quantity * 60,
                    ('S', true) => micros += quantity,
                    _ => return None,
                }
            }
        }
    }
    number.is_empty().then(|| interval_of_parts(months, days, micros))?
}

/// A decimal number in millionths.
fn micros_of(text: &str) -> Option<i128> {
    let negative = text.starts_with('-');
    let (whole, fraction) = text.trim_start_matches(['-', '+']).split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.trim_start_matches(['-', '+']).parse().ok()?;
    let fraction = format!("{fraction:0<6}");
    let fraction: i64 = fraction.get(..6)?.parse().ok()?;
    let magnitude = i128::from(whole) * 1_000_000 + i128::from(fraction);
    Some(if negative { -magnitude } else { magnitude })
}

fn interval_of_parts(months: i128, days: i128, micros: i128) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut earlier_is_negative = false;
    for (count, one, many) in [(months / 12, "year", "years"), (months % 12, "mon", "mons"), (days, "day", "days")] {
        if count != 0 {
            let sign = if earlier_is_negative && count > 0 { "+" } else { "" };
            earlier_is_negative = count < 0;
            parts.push(format!("{sign}{count} {}", if count == 1 { one } else { many }));
        }
    }
    if micros != 0 || parts.is_empty() {
        let sign = match (micros < 0, earlier_is_negative) {
            (true, _) => "-",
            (false, true) => "+",
            (false, false) => "",
        };
        parts.push(format!("{sign}{}", clock_text(micros.checked_abs()?)));
    }
    Some(parts.join(" "))
}

/// `bit(n)` comes as its bytes, the lowest first.
fn bits(value: &Json, schema: &Object) -> Option<String> {
    let bytes = base64::decode(value.as_str()?)?;
    let length = parameter(schema, "length").and_then(|length| usize::try_from(length).ok());
    let length = length.filter(|length| *length <= bytes.len() * 8).unwrap_or(bytes.len() * 8);
    let bit = |place: usize| bytes.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1);
    Some((0..length).rev().map(|place| if bit(place) { '1' } else { '0' }).collect())
}

fn bytea_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A number as Java prints it, as PostgreSQL would: `1.0E7` is `10000000`, `2.0` is `2`, `1.0E20` is `1e+20`.
fn float_text(literal: &str, is_single: bool) -> String {
    let shortest = || {
        let (mantissa, power) = literal.split_once(['e', 'E']).unwrap_or((literal, "0"));
        let power: i32 = power.parse().ok()?;
        let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let written = format!("{whole}{fraction}");
        let significant = written.trim_start_matches('0');
        if significant.is_empty() {
            return Some(format!("{sign}0"));
        }
        let leading = i32::try_from(written.len() - significant.len()).ok()?;
        let exponent = i32::try_from(whole.len()).ok()? - 1 - leading + power;
        let digits = significant.trim_end_matches('0');
        Some(format!("{sign}{}", float_of_digits(digits, exponent, if is_single { 6 } else { 15 })?))
    };
    shortest().unwrap_or_else(|| literal.to_owned())
}

/// `digits`, the first of them worth ten to the power of `exponent`.
fn float_of_digits(digits: &str, exponent: i32, longest: i32) -> Option<String> {
    if !(-4..longest).contains(&exponent) {
        let (first, rest) = digits.split_at_checked(1)?;
        let point = if rest.is_empty() { "" } else { "." };
        let sign = if exponent < 0 { '-' } else { '+' };
        return Some(format!("{first}{point}{rest}e{sign}{:02}", exponent.unsigned_abs()));
    }
    let Ok(exponent) = usize::try_from(exponent) else {
        let zeros = usize::try_from(exponent.unsigned_abs()).ok()? - 1;
        return Some(format!("0.{}{digits}", "0".repeat(zeros)));
    };
    let padded = format!("{digits:0<width$}", width = exponent + 1);
    let (whole, fraction) = padded.split_at_checked(exponent + 1)?;
    Some(if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") })
}

fn array_text(items: &[Json], schema: Option<&Object>) -> Result<String, String> {
    let mut text = String::from("{");
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        match item {
            Json::Null => text.push_str("NULL"),
            Json::Array(inner) => {
                text.push_str(&array_text(inner, schema.and_then(|schema| schema.get("items")?.as_object()))?)
            }
            _ => push_element(&mut text, &printed(item, schema)?),
        }
    }
    text.push('}');
    Ok(text)
}

fn push_element(text: &mut String, element: &str) {
    let special = |letter: char| {
        matches!(letter, '{' | '}' | ',' | '"' | '\\') || letter.is_ascii_whitespace() || letter == '\u{b}'
    };
    if element.is_empty() || element.eq_ignore_ascii_case("null") || element.contains(special) {
        push_quoted(text, element);
    } else {
        text.push_str(element);
    }
}

fn push_quoted(text: &mut String, element: &str) {
    text.push('"');
    for letter in element.chars() {
        if matches!(letter, '"' | '\\') {
            text.push('\\');
        }
        text.push(letter);
    }
    text.push('"');
}

fn hstore_text(members: &Object) -> String {
    let mut text = String::new();
    for (place, (name, value)) in members.iter().enumerate() {
        if place > 0 {
            text.push_str(", ");
        }
        push_quoted(&mut text, name);
        text.push_str("=>");
        match value {
            Json::Null => text.push_str("NULL"),
            Json::String(value) => push_quoted(&mut text, value),
            other => push_quoted(&mut text, &other.to_string()),
        }
    }
    text
}

/// The schemas of a struct's fields, by name.
pub(super) fn field_schema<'json>(schema: Option<&'json Object>, name: &str) -> Option<&'json Object> {
    let members = schema.and_then(|schema| fields::list(schema, "fields").ok())?;
    let members = members.iter().filter_map(Json::as_object);
    members.into_iter().find(|field| field.get("field").and_then(Json::as_str) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str, schema: &str) -> Option<String> {
        let value: Json = serde_json::from_str(value).expect("JSON");
        let schema: Json = serde_json::from_str(schema).expect("JSON");
        let value = cell(&value, schema.as_object()).expect("a value")?;
        value.as_str().map(str::to_owned)
    }

    fn named(name: &str, value: &str) -> Option<String> {
        text(value, &format!(r#"{{"type":"x","name":"{name}"}}"#))
    }

    #[test]
    fn decimals_keep_every_digit() {
        let decimal = |value: &str, scale: i32| {
            let schema = format!(
                r#"{{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{{"scale":"{scale}"}}}}"#
            );
            text(&format!("\"{value}\""), &schema)
        };
        for (value, scale, printed) in [
            ("AfQ=", 2, "5.00"),
            ("AA==", 2, "0.00"),
            ("BQ==", 3, "0.005"),
            ("/w==", 2, "-0.01"),
            ("gA==", 0, "-128"),
            ("/gw=", 2, "-5.00"),
            ("BQ==", -3, "5000"),
            ("/2Qs9cObprwi6W9fxew=", 4, "-1234567890123456789012345678.9012"),
        ] {
            assert_eq!(decimal(value, scale).as_deref(), Some(printed), "{value}");
        }
        assert_eq!(
            named("io.debezium.data.VariableScaleDecimal", r#"{"scale":1,"value":"AfQ="}"#).as_deref(),
            Some("50.0")
        );
        assert_eq!(text(r#"{"scale":1,"value":"AfQ="}"#, "null").as_deref(), Some("50.0"));
    }

    #[test]
    fn times_are_postgresql_s() {
        for (name, value, printed) in [
            ("io.debezium.time.Date", "18262", "2020-01-01"),
            ("io.debezium.time.Date", "-1", "1969-12-31"),
            ("io.debezium.time.Date", "2932897", "10000-01-01"),
            ("io.debezium.time.Timestamp", "1577836800123", "2020-01-01 00:00:00.123"),
            ("io.debezium.time.MicroTimestamp", "1577836800000001", "2020-01-01 00:00:00.000001"),
            ("io.debezium.time.MicroTimestamp", "-1", "1969-12-31 23:59:59.999999"),
            ("io.debezium.time.MicroTimestamp", "9223372036825200000", "infinity"),
            ("io.debezium.time.NanoTimestamp", "1577836800000001000", "2020-01-01 00:00:00.000001"),
            ("io.debezium.time.MicroTime", "3661000500", "01:01:01.0005"),
            ("io.debezium.time.MicroTime", "86400000000", "24:00:00"),
            ("io.debezium.time.ZonedTimestamp", r#""2020-01-01T01:00:00.120000Z""#, "2020-01-01 01:00:00.12+00"),
            ("io.debezium.time.ZonedTime", r#""10:00:00Z""#, "10:00:00+00"),
            ("io.debezium.time.Interval", r#""P1Y2M3DT4H5M6.78S""#, "1 year 2 mons 3 days 04:05:06.78"),
            ("io.debezium.time.Interval", r#""P0Y0M0DT0H0M0S""#, "00:00:00"),
            ("io.debezium.time.Interval", r#""P0Y-1M1DT-1H0M0S""#, "-1 mons +1 day -01:00:00"),
            ("io.debezium.time.MicroDuration", "3661000000", "01:01:01"),
        ] {
            assert_eq!(named(name, value).as_deref(), Some(printed), "{name} {value}");
        }
    }

    #[test]
    fn other_types_are_postgresql_s_text() {
        assert_eq!(text("true", "null").as_deref(), Some("t"));
        assert_eq!(text("12345678901234567890.10", "null").as_deref(), Some("12345678901234567890.10"));
        assert_eq!(text(r#""AP8=""#, r#"{"type":"bytes"}"#).as_deref(), Some("\\x00ff"));
        assert_eq!(text(r#""AP8=""#, r#"{"type":"string"}"#).as_deref(), Some("AP8="));
        let bits = r#"{"type":"bytes","name":"io.debezium.data.Bits","parameters":{"length":"3"}}"#;
        assert_eq!(text(r#""BQ==""#, bits).as_deref(), Some("101"));
        let texts = r#"["a b","",null,"null","x\"y","z"]"#;
        assert_eq!(text(texts, "null").as_deref(), Some(r#"{"a b","",NULL,"null","x\"y",z}"#));
        assert_eq!(text("[[1,2],[3,4]]", "null").as_deref(), Some("{{1,2},{3,4}}"));
        assert_eq!(text(r#"{"a":"1","b":null}"#, r#"{"type":"map"}"#).as_deref(), Some(r#""a"=>"1", "b"=>NULL"#));
        for (literal, printed) in [
            ("1.0", "1"),
            ("1.0E7", "10000000"),
            ("1.0E20", "1e+20"),
            ("1.5E-5", "1.5e-05"),
            ("-0.25", "-0.25"),
            ("0.0", "0"),
        ] {
            assert_eq!(text(literal, r#"{"type":"double"}"#).as_deref(), Some(printed), "{literal}");
        }
        assert_eq!(text("1234567.0", r#"{"type":"float"}"#).as_deref(), Some("1.234567e+06"));
    }

    #[test]
    fn what_the_record_does_not_hold_is_no_value() {
        for value in [r#""__debezium_unavailable_value""#, r#"["__debezium_unavailable_value"]"#] {
            assert_eq!(cell(&serde_json::from_str(value).expect("JSON"), None), Ok(None), "{value}");
        }
        assert_eq!(cell(&Json::Null, None), Ok(Some(Value::NULL)));
        let days: Json = serde_json::from_str(r#"{"type":"int32","name":"io.debezium.time.Date"}"#).expect("JSON");
        assert!(cell(&Json::String("soon".into()), days.as_object()).is_err());
        for days_since_1970 in [i64::MAX, i64::MIN, i64::MAX / 24 - 1, 1 << 40] {
            assert!(cell(&Json::from(days_since_1970), days.as_object()).is_err(), "{days_since_1970}");
        }
        let decimal = r#"{"name":"io.debezium.data.VariableScaleDecimal"}"#;
        let decimal: Json = serde_json::from_str(decimal).expect("JSON");
        for scale in [i32::MAX, i32::MIN] {
            let value = serde_json::json!({"scale": scale, "value": "AfQ="});
            assert!(cell(&value, decimal.as_object()).is_err(), "{scale}");
        }
    }
}
