//! PostgreSQL's floats as text.

/// PostgreSQL prints the shortest text that reads back as the same float, with an exponent past 15 digits.
pub fn text_from_float64(value: f64) -> String {
    print_float(&format!("{value:e}"), value.is_finite(), value.is_sign_negative(), value.is_nan(), 15)
}

/// What [`text_from_float64`] says of the shorter float, with an exponent past 6 digits.
pub fn text_from_float32(value: f32) -> String {
    print_float(&format!("{value:e}"), value.is_finite(), value.is_sign_negative(), value.is_nan(), 6)
}

fn print_float(scientific: &str, finite: bool, negative: bool, nan: bool, digits: i32) -> String {
    if nan {
        return "NaN".to_owned();
    }
    if !finite {
        return if negative { "-Infinity" } else { "Infinity" }.to_owned();
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..digits).contains(&exponent) {
        return fixed_from_scientific(mantissa, exponent);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

fn fixed_from_scientific(mantissa: &str, exponent: i32) -> String {
    let (sign, unsigned) = mantissa.strip_prefix('-').map_or(("", mantissa), |unsigned| ("-", unsigned));
    let digits: String = unsigned.chars().filter(char::is_ascii_digit).collect();
    let shift = usize::try_from(exponent.abs()).unwrap_or(0);
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat(shift - 1));
    }
    let padded = format!("{digits:0<width$}", width = shift + 1);
    let (whole, fraction) = padded.split_at(shift + 1);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}
