//! What the wrong values of a column add up to.

use arrow::datatypes::i256;

use crate::catalog::{decimal256_from_text, text_from_decimal256};
use crate::model::{ColumnName, TableName};

/// A sum of decimal texts, exact to the last digit; values it cannot hold (`NaN`, an exponent, more than 76 digits) are
/// counted instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecimalSum {
    digits: i256,
    scale: i8,
    left_out: u64,
}

impl Default for DecimalSum {
    fn default() -> Self {
        DecimalSum { digits: i256::ZERO, scale: 0, left_out: 0 }
    }
}

impl DecimalSum {
    /// Adds one value.
    pub fn add(&mut self, text: &str) {
        self.change(text, i256::checked_add);
    }

    /// Takes one value away.
    pub fn subtract(&mut self, text: &str) {
        self.change(text, i256::checked_sub);
    }

    /// How many values could not be summed.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Whether the values cancel out (or there were none).
    pub fn is_zero(&self) -> bool {
        self.digits == i256::ZERO
    }

    fn change(&mut self, text: &str, operation: fn(i256, i256) -> Option<i256>) {
        match self.changed(text, operation) {
            Some((digits, scale)) => (self.digits, self.scale) = (digits, scale),
            None => self.left_out += 1,
        }
    }

    fn changed(&self, text: &str, operation: fn(i256, i256) -> Option<i256>) -> Option<(i256, i8)> {
        let own_scale = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let scale = self.scale.max(i8::try_from(own_scale).ok()?);
        let value = decimal256_from_text(text, scale)?;
        let mut sum = self.digits;
        for _ in self.scale..scale {
            sum = sum.checked_mul(i256::from_i128(10))?;
        }
        Some((operation(sum, value)?, scale))
    }
}

/// With its sign, all digits after the point and thousands separators: `+12,345.00`.
impl std::fmt::Display for DecimalSum {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = text_from_decimal256(self.digits, self.scale);
        let (sign, unsigned) = match text.strip_prefix('-') {
            Some(unsigned) => ("-", unsigned),
            None if self.is_zero() => ("", text.as_str()),
            None => ("+", text.as_str()),
        };
        let (whole, fraction) = unsigned.split_once('.').map_or((unsigned, None), |(whole, rest)| (whole, Some(rest)));
        write!(formatter, "{sign}{}", with_separators(whole))?;
        fraction.map_or(Ok(()), |fraction| write!(formatter, ".{fraction}"))
    }
}

/// Digits in groups of three: `12,345`.
pub(super) fn with_separators(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How far a column's sum is off now: what it adds up to, less what it should add up to, NULL counting as nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDifference {
    /// The table.
    pub table: TableName,
    /// The numeric column; keys and references are none.
    pub column: ColumnName,
    /// Rows on which the column is wrong now and its right value is known.
    pub rows: u64,
    /// The sum over these rows.
    pub difference: DecimalSum,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_and_grow_their_scale() {
        let mut sum = DecimalSum::default();
        sum.add("12345");
        sum.subtract("0.001");
        sum.add("-0.10");
        assert_eq!(sum.to_string(), "+12,344.899");
        sum.subtract("12344.899");
        assert!(sum.is_zero());
        assert_eq!(sum.to_string(), "0.000");
        sum.add("NaN");
        sum.add("1e+20");
        assert_eq!((sum.left_out(), sum.is_zero()), (2, true));
        sum.subtract("1234567890123456789012345678901234567890.5");
        assert_eq!(sum.to_string(), "-1,234,567,890,123,456,789,012,345,678,901,234,567,890.500");
    }
}
