//! One cell, exactly as PostgreSQL prints it.

use std::fmt;
use std::sync::Arc;

/// A cell's text, exactly as PostgreSQL's output function prints it (`10.00`, `t`, `2026-03-02 10:15:30+00`), or NULL.
///
/// Text keeps every digit of a `numeric`; what the text means is the column's [`super::ColumnType`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Value(Option<Arc<str>>);

impl Value {
    /// SQL's NULL.
    pub const NULL: Value = Value(None);

    /// A value that is not NULL.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Value(Some(text.into()))
    }

    /// The text, or `None` for NULL.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Of a decimal number: its digits after the point.
    pub fn decimals(&self) -> usize {
        self.as_str().and_then(|text| text.split_once('.')).map_or(0, |(_, fraction)| fraction.len())
    }

    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        self.0.is_none()
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Value(text.map(Arc::from))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::text(text)
    }
}

/// NULL prints as `NULL`, for people; machines ask [`Value::as_str`].
impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str().unwrap_or("NULL"))
    }
}
