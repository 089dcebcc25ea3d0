//! PostgreSQL's dates and times as numbers, in all of its range: from 4713 BC to past the year 294000, and infinity.

/// `infinity` and `-infinity` as a number of days, as PostgreSQL itself stores them.
const INFINITE_DAYS: (i32, i32) = (i32::MAX, i32::MIN);
/// `infinity` and `-infinity` as a number of microseconds.
const INFINITE_MICROS: (i64, i64) = (i64::MAX, i64::MIN);

const MICROS_OF_DAY: i64 = 86_400_000_000;

/// Days since 1970-01-01 of a date as PostgreSQL prints it: `2026-03-02`, `0044-03-15 BC`, `infinity`.
pub fn days_from_text(text: &str) -> Option<i32> {
    match text {
        "infinity" => Some(INFINITE_DAYS.0),
        "-infinity" => Some(INFINITE_DAYS.1),
        _ => {
            let (text, is_before_christ) = without_era(text);
            i32::try_from(days_of_date(text, is_before_christ)?).ok()
        }
    }
}

/// What [`days_from_text`] reads.
pub fn text_from_days(days: i32) -> String {
    if days == INFINITE_DAYS.0 {
        return "infinity".to_owned();
    }
    if days == INFINITE_DAYS.1 {
        return "-infinity".to_owned();
    }
    let (date, era) = date_of_days(i64::from(days));
    format!("{date}{era}")
}

/// Microseconds since 1970-01-01 00:00:00 of a time as PostgreSQL prints it, without an offset or with that of UTC:
/// `2026-03-02 10:15:30.5`, `2026-03-02 10:15:30+00`, `0044-03-15 12:00:00 BC`, `-infinity`.
pub fn micros_from_text(text: &str) -> Option<i64> {
    match text {
        "infinity" => return Some(INFINITE_MICROS.0),
        "-infinity" => return Some(INFINITE_MICROS.1),
        _ => {}
    }
    let (text, is_before_christ) = without_era(text);
    let text = text.strip_suffix("+00").unwrap_or(text);
    let (date, time) = text.split_once(' ')?;
    let days = days_of_date(date, is_before_christ)?;
    let mut parts = time.split(':');
    let (hours, minutes, seconds) = (digits(parts.next()?)?, digits(parts.next()?)?, parts.next()?);
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let seconds = digits(seconds)?;
    if parts.next().is_some() || hours > 23 || minutes > 59 || seconds > 59 || fraction.len() > 6 {
        return None;
    }
    let fraction = digits(&format!("{fraction:0<6}"))?;
    let of_day = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction;
    days.checked_mul(MICROS_OF_DAY)?.checked_add(of_day)
}

/// What [`micros_from_text`] reads, with `offset` (`+00`, or nothing) where PostgreSQL prints it.
pub fn text_from_micros(micros: i64, offset: &str) -> String {
    if micros == INFINITE_MICROS.0 {
        return "infinity".to_owned();
    }
    if micros == INFINITE_MICROS.1 {
        return "-infinity".to_owned();
    }
    let (date, era) = date_of_days(micros.div_euclid(MICROS_OF_DAY));
    let of_day = micros.rem_euclid(MICROS_OF_DAY);
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if fraction == 0 {
        return format!("{date} {hours:02}:{minutes:02}:{seconds:02}{offset}{era}");
    }
    let fraction = format!("{fraction:06}");
    let fraction = fraction.trim_end_matches('0');
    format!("{date} {hours:02}:{minutes:02}:{seconds:02}.{fraction}{offset}{era}")
}

fn without_era(text: &str) -> (&str, bool) {
    match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    }
}

fn digits(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Days since 1970-01-01 in the Gregorian calendar, extended to all time.
fn days_of_date(text: &str, is_before_christ: bool) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, digits(parts.next()?)?, digits(parts.next()?)?);
    let year = digits(year).filter(|number| year.len() >= 4 && (1..=5_900_000).contains(number))?;
    let year = if is_before_christ { 1 - year } else { year };
    let longest = match month {
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if parts.next().is_some() || !(1..=longest).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day is a year's last; an era has 400 of them.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// A date, and ` BC` where it is before Christ.
fn date_of_days(days: i64) -> (String, &'static str) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_go_there_and_back_in_all_of_postgresqls_range() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-02-29", 11_016),
            ("2026-03-02", 20_514),
            ("5874897-12-31", 2_145_042_905),
            ("0001-01-01", -719_162),
            ("0001-12-31 BC", -719_163),
            ("4714-11-24 BC", -2_440_588),
            ("infinity", i32::MAX),
            ("-infinity", i32::MIN),
        ] {
            assert_eq!(days_from_text(text), Some(days), "{text}");
            assert_eq!(text_from_days(days), text);
        }
        for text in ["2026-02-29", "2026-13-01", "26-01-01", "2026-01-32", "2026-01", "today", "", "2026-1-1-1"] {
            assert_eq!(days_from_text(text), None, "{text}");
        }
    }

    #[test]
    fn times_go_there_and_back() {
        for (text, micros) in [
            ("1970-01-01 00:00:00", 0),
            ("1969-12-31 23:59:59.999999", -1),
            ("2026-03-02 10:15:30.5", 1_772_446_530_500_000),
            ("0044-03-15 12:00:00 BC", -63_517_780_800_000_000),
            ("infinity", i64::MAX),
            ("-infinity", i64::MIN),
        ] {
            assert_eq!(micros_from_text(text), Some(micros), "{text}");
            assert_eq!(text_from_micros(micros, ""), text);
        }
        assert_eq!(micros_from_text("2026-03-02 10:15:30+00"), micros_from_text("2026-03-02 10:15:30"));
        assert_eq!(text_from_micros(-63_517_780_800_000_000, "+00"), "0044-03-15 12:00:00+00 BC");
        assert_eq!(text_from_micros(0, "+00"), "1970-01-01 00:00:00+00");
        for text in ["2026-03-02", "2026-03-02 24:00:00", "2026-03-02 10:60:00", "2026-03-02 10:00:00.1234567", "soon"]
        {
            assert_eq!(micros_from_text(text), None, "{text}");
        }
    }
}
