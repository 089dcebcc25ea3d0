//! A point in time, to PostgreSQL's microsecond.

use std::fmt;
use std::str::FromStr;

use super::ModelError;

/// Microseconds since 1970-01-01T00:00:00Z. Prints as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub fn from_micros(micros: i64) -> Self {
        Timestamp(micros)
    }

    /// Microseconds since the Unix epoch.
    pub fn as_micros(self) -> i64 {
        self.0
    }
}

/// RFC 3339 with an offset (`2026-03-02T10:15:30.123456Z`, `2026-03-02 10:15:30+01`), as events and logs write it.
impl FromStr for Timestamp {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed: jiff::Timestamp = text.parse().map_err(|_| ModelError::Timestamp(text.to_owned()))?;
        Ok(Timestamp(parsed.as_microsecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(formatter, "{time}"),
            // Beyond the calendar jiff knows (years -9999 to 9999): the number is still exact.
            Err(_) => write!(formatter, "{}µs", self.0),
        }
    }
}
