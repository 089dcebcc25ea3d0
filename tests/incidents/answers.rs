//! What a query answers, as text, whatever type it has: applications print what they read.

use std::error::Error as StdError;
use std::fmt::Write as _;

use tokio_postgres::types::{FromSql, Type};

/// A row of an answer; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// One value of an answer, as PostgreSQL prints it.
pub struct Answer(pub Option<String>);

impl<'a> FromSql<'a> for Answer {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        let text = match *kind {
            Type::INT2 => i16::from_sql(kind, raw)?.to_string(),
            Type::INT4 => i32::from_sql(kind, raw)?.to_string(),
            Type::INT8 => i64::from_sql(kind, raw)?.to_string(),
            Type::BOOL => if bool::from_sql(kind, raw)? { "t" } else { "f" }.to_owned(),
            Type::NUMERIC => decimal(raw).ok_or("a numeric value is cut short")?,
            _ => <&str as FromSql>::from_sql(kind, raw)?.to_owned(),
        };
        Ok(Answer(Some(text)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Answer(None))
    }

    fn accepts(kind: &Type) -> bool {
        let printed = [Type::INT2, Type::INT4, Type::INT8, Type::BOOL, Type::NUMERIC];
        printed.contains(kind) || <&str as FromSql>::accepts(kind)
    }
}

/// PostgreSQL's binary numeric: how many digits of base 10,000, the weight of the first, sign, digits after the point.
fn decimal(raw: &[u8]) -> Option<String> {
    let mut numbers = raw.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]]));
    let (count, weight, sign, scale) = (numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?);
    let digits: Vec<i16> = numbers.take(usize::try_from(count).ok()?).collect();
    let digit = |place: i16| {
        let from_first = usize::try_from(weight - place).ok();
        from_first.and_then(|from_first| digits.get(from_first)).copied().unwrap_or(0)
    };
    let mut whole = String::new();
    for place in (0..=weight.max(0)).rev() {
        write!(whole, "{:04}", digit(place)).ok()?;
    }
    let whole = whole.trim_start_matches('0');
    let mut text = String::from(if sign == 0 { "" } else { "-" });
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        let mut fraction = String::new();
        for place in 1..=(scale + 3) / 4 {
            write!(fraction, "{:04}", digit(-place)).ok()?;
        }
        fraction.truncate(usize::try_from(scale).ok()?);
        text.push('.');
        text.push_str(&fraction);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numeric_is_printed_to_its_last_digit() {
        let printed = |numbers: &[i16]| {
            let raw: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
            decimal(&raw)
        };
        assert_eq!(printed(&[2, 0, 0, 2, 12, 3400]).as_deref(), Some("12.34"));
        assert_eq!(printed(&[2, 1, 0x4000, 0, 3, 7]).as_deref(), Some("-30007"));
        assert_eq!(printed(&[1, -1, 0, 2, 500]).as_deref(), Some("0.05"));
        assert_eq!(printed(&[1, -2, 0, 6, 500]).as_deref(), Some("0.000005"));
        assert_eq!(printed(&[0, 0, 0, 2]).as_deref(), Some("0.00"));
        assert_eq!(printed(&[2, 0]), None);
    }
}
