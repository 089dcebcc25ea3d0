//! The type of a column of which only texts are known: the narrowest that prints every one of them the same.

use jiff::civil;

use super::PLAIN_NUMERIC_SCALE;
use crate::model::ColumnType;

/// What the texts seen so far have in common.
#[derive(Clone, Debug)]
pub(super) struct ColumnGuess {
    seen: bool,
    boolean_letters: bool,
    boolean_words: bool,
    integer: bool,
    decimal: bool,
    float: bool,
    date: bool,
    timestamp: bool,
    timestamptz: bool,
    /// The most digits before the point, and the fewest and most after it.
    whole_digits: usize,
    fewest_decimals: usize,
    most_decimals: usize,
}

impl Default for ColumnGuess {
    fn default() -> Self {
        ColumnGuess {
            seen: false,
            boolean_letters: true,
            boolean_words: true,
            integer: true,
            decimal: true,
            float: true,
            date: true,
            timestamp: true,
            timestamptz: true,
            whole_digits: 0,
            fewest_decimals: usize::MAX,
            most_decimals: 0,
        }
    }
}

impl ColumnGuess {
    /// Takes one value into account (NULLs say nothing and are left out).
    pub(super) fn see(&mut self, text: &str) {
        self.seen = true;
        self.boolean_letters = self.boolean_letters && matches!(text, "t" | "f");
        self.boolean_words =
            self.boolean_words && (text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"));
        self.date = self.date && is_date(text);
        let time_zone = self.timestamp || self.timestamptz;
        let zoned = if time_zone { timestamp_is_zoned(text) } else { None };
        self.timestamp = self.timestamp && zoned == Some(false);
        self.timestamptz = self.timestamptz && zoned == Some(true);
        self.integer = self.integer && text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
        match decimal_digits(text) {
            Some((whole, decimals)) => {
                self.whole_digits = self.whole_digits.max(whole);
                self.fewest_decimals = self.fewest_decimals.min(decimals);
                self.most_decimals = self.most_decimals.max(decimals);
            }
            None => self.decimal = false,
        }
        self.float = self.float && (decimal_digits(text).is_some() || is_scientific(text));
    }

    /// The type that all of the values seen have.
    pub(super) fn column_type(&self) -> ColumnType {
        match self {
            ColumnGuess { seen: false, .. } => ColumnType::Text,
            ColumnGuess { boolean_letters: true, .. } | ColumnGuess { boolean_words: true, .. } => ColumnType::Boolean,
            ColumnGuess { integer: true, .. } => ColumnType::BigInt,
            ColumnGuess { decimal: true, .. } => self.numeric_type(),
            ColumnGuess { float: true, .. } => ColumnType::Double,
            ColumnGuess { date: true, .. } => ColumnType::Date,
            ColumnGuess { timestamp: true, .. } => ColumnType::Timestamp,
            ColumnGuess { timestamptz: true, .. } => ColumnType::TimestampTz,
            _ => ColumnType::Text,
        }
    }

    /// A `numeric(p,s)` where every value has s decimals, as PostgreSQL writes such a column; else a plain `numeric`.
    fn numeric_type(&self) -> ColumnType {
        const USUAL_PRECISION: usize = 18;
        let precision = (self.whole_digits + self.most_decimals).max(USUAL_PRECISION);
        let sizes = (u8::try_from(precision), i8::try_from(self.most_decimals));
        if let (true, Ok(precision @ ..=38), Ok(scale)) = (self.fewest_decimals == self.most_decimals, sizes.0, sizes.1)
        {
            return ColumnType::Numeric(Some((precision, scale)));
        }
        let scale = usize::from(PLAIN_NUMERIC_SCALE.unsigned_abs());
        let fits = self.most_decimals <= scale && self.whole_digits + scale <= 76;
        if fits { ColumnType::Numeric(None) } else { ColumnType::Text }
    }
}

/// Digits before and after the point of a decimal number without needless zeros before it.
fn decimal_digits(text: &str) -> Option<(usize, usize)> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (unsigned, ""),
    };
    let digits_only = !whole.is_empty() && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    (digits_only && !leading_zero).then_some((whole.len(), fraction.len()))
}

fn is_scientific(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return false };
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    decimal_digits(mantissa).is_some() && !exponent.is_empty() && exponent.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<civil::Date>().is_ok_and(|date| date.to_string() == text)
}

/// Whether a timestamp of at most microseconds names its zone; `None` for what is no such timestamp.
fn timestamp_is_zoned(text: &str) -> Option<bool> {
    let day = text.get(..10).filter(|day| is_date(day))?;
    let clock = text.get(day.len()..)?.strip_prefix(['T', ' '])?;
    let zone_start = clock.find(['Z', 'z', '+', '-']);
    let (clock, zone) = clock.split_at(zone_start.unwrap_or(clock.len()));
    let fraction = clock.split_once('.').map_or("", |(_, fraction)| fraction);
    if fraction.len() > 6 || clock.len() < 8 {
        return None;
    }
    clock.parse::<civil::Time>().ok()?;
    if zone.is_empty() {
        return Some(false);
    }
    text.parse::<crate::model::Timestamp>().ok().map(|_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(values: &[&str]) -> ColumnType {
        let mut guess = ColumnGuess::default();
        values.iter().for_each(|value| guess.see(value));
        guess.column_type()
    }

    #[test]
    fn a_type_is_taken_only_where_every_value_prints_the_same() {
        for (values, expected) in [
            (vec![], ColumnType::Text),
            (vec!["1", "-20"], ColumnType::BigInt),
            (vec!["1", "007"], ColumnType::Text),
            (vec!["1", "+7"], ColumnType::Text),
            (vec!["10.00", "-0.05"], ColumnType::Numeric(Some((18, 2)))),
            (vec!["10", "0.5"], ColumnType::Numeric(None)),
            (vec!["12345678901234567890"], ColumnType::Numeric(Some((20, 0)))),
            (vec!["0.1", "1e-07"], ColumnType::Double),
            (vec!["t", "f"], ColumnType::Boolean),
            (vec!["True", "False"], ColumnType::Boolean),
            (vec!["t", "true"], ColumnType::Text),
            (vec!["2026-03-02"], ColumnType::Date),
            (vec!["2026-02-30"], ColumnType::Text),
            (vec!["2026-03-02 10:15:30.5", "2026-03-02T10:15:30"], ColumnType::Timestamp),
            (vec!["2026-03-02 10:15:30+00", "2026-03-02T10:15:30.123456Z"], ColumnType::TimestampTz),
            (vec!["2026-03-02 10:15:30+00", "2026-03-02 10:15:30"], ColumnType::Text),
            (vec!["2026-03-02 10:15:30.1234567"], ColumnType::Text),
            (vec!["2026-03-02", "2026-03-02 10:15:30"], ColumnType::Text),
            (vec!["open", "1"], ColumnType::Text),
            (vec!["1.", ".5"], ColumnType::Text),
        ] {
            assert_eq!(guess(&values), expected, "{values:?}");
        }
    }
}
