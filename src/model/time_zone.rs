//! A session's time zone: what a moment reads as there, and which moment a time there is.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use jiff::tz::{AmbiguousOffset, Offset};

use super::{Timestamp, micros_from_text};

/// Microseconds of a second.
const MICROS: i64 = 1_000_000;
/// Names of UTC itself.
const UTC: [&str; 9] = ["utc", "etc/utc", "gmt", "etc/gmt", "uct", "etc/uct", "z", "zulu", "universal"];

/// A time zone, as PostgreSQL's setting `TimeZone` names it.
#[derive(Clone, Debug)]
pub struct TimeZone {
    name: Arc<str>,
    /// `None`: a zone that is not known here.
    rules: Option<jiff::tz::TimeZone>,
}

impl TimeZone {
    /// UTC.
    pub fn utc() -> Self {
        TimeZone { name: "UTC".into(), rules: Some(jiff::tz::TimeZone::UTC) }
    }

    /// The zone of this name: `Europe/Berlin`, `UTC`, hours east of UTC (`2`, `-3.5`), or POSIX's `<+02>-02`. It may be one
    /// that [is not known](TimeZone::is_known) here.
    pub fn named(name: &str) -> Self {
        if UTC.contains(&name.to_ascii_lowercase().as_str()) {
            return TimeZone { name: name.into(), ..TimeZone::utc() };
        }
        let hours = || name.parse::<f64>().ok().and_then(of_hours);
        let posix = || name.starts_with('<').then(|| jiff::tz::TimeZone::posix(name).ok()).flatten();
        let rules = hours().or_else(posix).or_else(|| jiff::tz::TimeZone::get(name).ok());
        TimeZone { name: name.into(), rules }
    }

    /// As it was written.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether times there can be told.
    pub fn is_known(&self) -> bool {
        self.rules.is_some()
    }

    /// Whether it is UTC.
    pub fn is_utc(&self) -> bool {
        self.rules.as_ref() == Some(&jiff::tz::TimeZone::UTC)
    }

    /// How many microseconds its clocks are ahead of UTC at a moment; `None` where that is not known.
    pub fn ahead_at(&self, moment: i64) -> Option<i64> {
        let moment = jiff::Timestamp::from_microsecond(moment).ok()?;
        Some(ahead(self.rules.as_ref()?.to_offset(moment)))
    }

    /// What its clocks show at a moment: microseconds since 1970-01-01 00:00:00 there. Infinity is infinite.
    pub fn time_at(&self, moment: i64) -> Option<i64> {
        match moment {
            i64::MAX | i64::MIN => Some(moment),
            _ => moment.checked_add(self.ahead_at(moment)?),
        }
    }

    /// The moment at which its clocks show a time. Of a time that they skip, PostgreSQL takes what clocks show that were
    /// not put forward; of one that they show twice, the later.
    pub fn moment_of(&self, time: i64) -> Option<i64> {
        if matches!(time, i64::MAX | i64::MIN) {
            return Some(time);
        }
        let shown = Offset::UTC.to_datetime(jiff::Timestamp::from_microsecond(time).ok()?);
        let offset = match self.rules.as_ref()?.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { before, .. } => before,
            AmbiguousOffset::Fold { after, .. } => after,
        };
        time.checked_sub(ahead(offset))
    }

    /// The moment that a text names: with an offset of its own, or as a time there.
    pub fn moment_of_text(&self, text: &str) -> Option<i64> {
        let text = text.trim();
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Some(moment.as_micros());
        }
        match text {
            "infinity" | "-infinity" => micros_from_text(text),
            _ if has_offset(text) => None,
            _ => self.moment_of(time_of_text(text)?),
        }
    }

    /// What PostgreSQL prints behind a time there: `+01`, `-03:30`.
    pub fn offset_text(&self, moment: i64) -> Option<String> {
        if matches!(moment, i64::MAX | i64::MIN) {
            return Some(String::new());
        }
        let seconds = self.ahead_at(moment)? / MICROS;
        let sign = if seconds < 0 { '-' } else { '+' };
        let seconds = seconds.abs();
        let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        Some(match (minutes, rest) {
            (0, 0) => format!("{sign}{hours:02}"),
            (_, 0) => format!("{sign}{hours:02}:{minutes:02}"),
            _ => format!("{sign}{hours:02}:{minutes:02}:{rest:02}"),
        })
    }
}

/// A zone is its name: what it means does not change while we run.
impl PartialEq for TimeZone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for TimeZone {}

impl Hash for TimeZone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        TimeZone::utc()
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

fn ahead(offset: Offset) -> i64 {
    i64::from(offset.seconds()) * MICROS
}

/// PostgreSQL takes hours up to a week; what lies beyond a day no clock shows.
fn of_hours(hours: f64) -> Option<jiff::tz::TimeZone> {
    const DAY: f64 = 24.0;
    let seconds = hours * 3_600.0;
    if !(hours.abs() < DAY && seconds.fract() == 0.0) {
        return None;
    }
    // A whole number of few digits is its own text.
    let seconds: i32 = format!("{seconds:.0}").parse().ok()?;
    Some(jiff::tz::TimeZone::fixed(Offset::from_seconds(seconds).ok()?))
}

/// Whether a time's text ends with an offset from UTC: `Z`, `+01`, `-03:30`.
pub fn has_offset(text: &str) -> bool {
    without_offset(text) != text.trim()
}

/// A time's text without its offset from UTC.
pub fn without_offset(text: &str) -> &str {
    const DATE: usize = "2026-03-02".len();
    let text = text.trim();
    let behind_date = text.get(DATE..).unwrap_or_default();
    match behind_date.find(['+', '-', 'Z', 'z']).and_then(|place| text.get(..DATE + place)) {
        // Before Christ stands behind the offset.
        Some(time) if !text.ends_with("BC") => time.trim_end(),
        _ => text,
    }
}

/// Microseconds since 1970-01-01 00:00:00 of a date, or a date and a time, without an offset.
pub fn time_of_text(text: &str) -> Option<i64> {
    let text = text.trim();
    let whole = || micros_from_text(text);
    let date = || micros_from_text(&format!("{text} 00:00:00"));
    let other_forms = || {
        let time: jiff::civil::DateTime = text.parse().ok().filter(|_| !has_offset(text))?;
        // PostgreSQL rounds what is finer than a microsecond.
        if time.subsec_nanosecond() % 1_000 != 0 {
            return None;
        }
        Offset::UTC.to_timestamp(time).ok().map(jiff::Timestamp::as_microsecond)
    };
    whole().or_else(date).or_else(other_forms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::text_from_micros;

    fn shown(zone: &str, text: &str) -> Option<String> {
        let zone = TimeZone::named(zone);
        let moment = zone.moment_of_text(text)?;
        let offset = zone.offset_text(moment)?;
        Some(format!("{} = {}", text_from_micros(moment, "Z"), text_from_micros(zone.time_at(moment)?, &offset)))
    }

    #[test]
    fn a_time_is_a_moment_by_its_zone() {
        for (zone, text, expected) in [
            ("Europe/Berlin", "2026-03-02 00:30:00", Some("2026-03-01 23:30:00Z = 2026-03-02 00:30:00+01")),
            ("europe/berlin", "2026-07-02", Some("2026-07-01 22:00:00Z = 2026-07-02 00:00:00+02")),
            // Skipped, and shown twice: what PostgreSQL 15 says.
            ("Europe/Berlin", "2026-03-29 02:30:00", Some("2026-03-29 01:30:00Z = 2026-03-29 03:30:00+02")),
            ("Europe/Berlin", "2026-10-25 02:30:00", Some("2026-10-25 01:30:00Z = 2026-10-25 02:30:00+01")),
            ("America/New_York", "2026-03-08 02:30", Some("2026-03-08 07:30:00Z = 2026-03-08 03:30:00-04")),
            ("Asia/Kolkata", "2026-03-02T10:00:00.5", Some("2026-03-02 04:30:00.5Z = 2026-03-02 10:00:00.5+05:30")),
            ("Asia/Kolkata", "2026-03-02 10:00:00+01", Some("2026-03-02 09:00:00Z = 2026-03-02 14:30:00+05:30")),
            ("-3.5", "2026-03-02 10:00:00", Some("2026-03-02 13:30:00Z = 2026-03-02 10:00:00-03:30")),
            ("<+02>-02", "2026-03-02 10:00:00", Some("2026-03-02 08:00:00Z = 2026-03-02 10:00:00+02")),
            ("Etc/UTC", "infinity", Some("infinity = infinity")),
            ("Europe/Berlin", "tomorrow", None),
            ("Mars/Olympus", "2026-03-02 10:00:00", None),
        ] {
            assert_eq!(shown(zone, text).as_deref(), expected, "{text} in {zone}");
        }
        assert!(TimeZone::named("GMT").is_utc() && !TimeZone::named("Europe/London").is_utc());
    }
}
