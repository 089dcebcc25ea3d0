//! A `numeric` in PostgreSQL's binary format: digits to the base of ten thousand.

use std::fmt;

use arrow::datatypes::i256;

/// One number; its digits stay where they came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numeric<'bytes> {
    kind: Kind,
    /// The first digit counts ten thousand to the power of this.
    weight: i32,
    /// How many decimal digits it prints after the point.
    scale: usize,
    /// Two bytes each.
    digits: &'bytes [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Positive,
    Negative,
    NotANumber,
    Infinity,
    NegativeInfinity,
}

impl<'bytes> Numeric<'bytes> {
    /// Reads a field.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(bytes: &'bytes [u8]) -> Result<Self, String> {
        let damaged = || "a numeric of a form that is not known".to_owned();
        let (header, digits) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
        let [count_high, count_low, weight_high, weight_low, sign_high, sign_low, scale_high, scale_low] = *header;
        let count = usize::from(u16::from_be_bytes([count_high, count_low]));
        let kind = match u16::from_be_bytes([sign_high, sign_low]) {
            0x0000 => Kind::Positive,
            0x4000 => Kind::Negative,
            0xC000 => Kind::NotANumber,
            0xD000 => Kind::Infinity,
            0xF000 => Kind::NegativeInfinity,
            _ => return Err(damaged()),
        };
        if digits.len() != count * 2 {
            return Err(damaged());
        }
        Ok(Numeric {
            kind,
            weight: i32::from(i16::from_be_bytes([weight_high, weight_low])),
            scale: usize::from(u16::from_be_bytes([scale_high, scale_low])),
            digits,
        })
    }

    fn digits(self) -> impl ExactSizeIterator<Item = u16> + use<'bytes> {
        self.digits.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair))
    }

    /// The number in units of `10^-scale`; `None` where it has digits below those, is no number, or is too large.
    pub(super) fn to_i128(self, scale: i8) -> Option<i128> {
        let mut sum: i128 = 0;
        for (power, digit) in self.powers(scale) {
            sum =
                sum.checked_add(scaled(i128::from(digit), power, |value, factor| value.checked_mul(factor.into()))?)?;
        }
        self.signed(sum, |value| value.checked_neg())
    }

    /// As [`Numeric::to_i128`], for numbers of more digits.
    pub(super) fn to_i256(self, scale: i8) -> Option<i256> {
        if let Some(small) = self.to_i128(scale) {
            return Some(i256::from_i128(small));
        }
        let mut sum = i256::ZERO;
        for (power, digit) in self.powers(scale) {
            let digit = i256::from_i128(i128::from(digit));
            let times = |value: i256, factor: u16| value.checked_mul(i256::from_i128(i128::from(factor)));
            sum = sum.checked_add(scaled(digit, power, times)?)?;
        }
        self.signed(sum, i256::checked_neg)
    }

    /// Each digit that is not zero, with the power of ten that it counts in units of `10^-scale`. One that counts less than
    /// a unit in part is cut to what is left of it, with a negative power where something would be lost.
    fn powers(self, scale: i8) -> impl Iterator<Item = (i32, u16)> {
        let weight = self.weight;
        let places = (0_i32..).zip(self.digits());
        places.filter(|(_, digit)| *digit != 0).map(move |(place, digit)| {
            let power = (weight - place) * 4 + i32::from(scale);
            match power {
                -3..=-1 => {
                    let divisor = 10_u16.pow(power.unsigned_abs());
                    if digit % divisor == 0 { (0, digit / divisor) } else { (power, digit) }
                }
                _ => (power, digit),
            }
        })
    }

    fn signed<Value>(self, value: Value, negated: impl Fn(Value) -> Option<Value>) -> Option<Value> {
        match self.kind {
            Kind::Positive => Some(value),
            Kind::Negative => negated(value),
            Kind::NotANumber | Kind::Infinity | Kind::NegativeInfinity => None,
        }
    }
}

/// `value * 10^power`; `None` for a negative power, or where it is too large.
fn scaled<Value>(mut value: Value, power: i32, times: impl Fn(Value, u16) -> Option<Value>) -> Option<Value> {
    let mut left = u32::try_from(power).ok()?;
    while left >= 4 {
        value = times(value, 10_000)?;
        left -= 4;
    }
    times(value, 10_u16.pow(left))
}

/// As PostgreSQL prints it.
impl fmt::Display for Numeric<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::NotANumber => return formatter.write_str("NaN"),
            Kind::Infinity => return formatter.write_str("Infinity"),
            Kind::NegativeInfinity => return formatter.write_str("-Infinity"),
            Kind::Negative => formatter.write_str("-")?,
            Kind::Positive => {}
        }
        let digit_at = |power: i32| {
            let place = usize::try_from(self.weight - power).ok();
            place.and_then(|place| self.digits().nth(place)).unwrap_or(0)
        };
        for power in (0..=self.weight.max(0)).rev() {
            let digit = digit_at(power);
            if power == self.weight.max(0) { write!(formatter, "{digit}")? } else { write!(formatter, "{digit:04}")? }
        }
        if self.scale == 0 {
            return Ok(());
        }
        let groups = i32::try_from(self.scale.div_ceil(4)).unwrap_or(i32::MAX);
        let fraction: String = (1..=groups).map(|place| format!("{:04}", digit_at(-place))).collect();
        write!(formatter, ".{}", fraction.get(..self.scale).unwrap_or(&fraction))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Vec<u8> {
        let count = u16::try_from(digits.len()).expect("few digits");
        let header = [count.to_be_bytes(), weight.to_be_bytes(), sign.to_be_bytes(), scale.to_be_bytes()];
        header.into_iter().chain(digits.iter().map(|digit| digit.to_be_bytes())).flatten().collect()
    }

    #[test]
    fn numbers_are_exact_or_refused() {
        for (weight, sign, scale, digits, text, at_two, at_twenty) in [
            (0, 0, 0, vec![], "0", Some(0), true),
            (0, 0, 2, vec![10, 5000], "10.50", Some(1050), true),
            (1, 0x4000, 2, vec![1, 2345, 6700], "-12345.67", Some(-1_234_567), true),
            (-1, 0, 4, vec![1], "0.0001", None, true),
            (-2, 0, 6, vec![1234], "0.000012", None, true),
            (2, 0, 0, vec![1], "100000000", Some(10_000_000_000), true),
            (0, 0xC000, 0, vec![], "NaN", None, false),
            (0, 0xD000, 0, vec![], "Infinity", None, false),
            (0, 0xF000, 0, vec![], "-Infinity", None, false),
        ] {
            let bytes = bytes(weight, sign, scale, &digits);
            let number = Numeric::read(&bytes).expect(text);
            assert_eq!(number.to_string(), text);
            assert_eq!(number.to_i128(2), at_two, "{text}");
            assert_eq!(number.to_i256(20).is_some(), at_twenty, "{text}");
        }
        let large = bytes(15, 0, 0, &[1]);
        let large = Numeric::read(&large).expect("a large number");
        assert_eq!(large.to_string(), format!("1{}", "0".repeat(60)));
        assert_eq!(large.to_i256(20), None);
        for damaged in [&[][..], &[0, 1, 0, 0, 0, 0, 0, 0], &[0, 0, 0, 0, 0x12, 0, 0, 0]] {
            assert!(Numeric::read(damaged).is_err(), "{damaged:?}");
        }
    }
}
