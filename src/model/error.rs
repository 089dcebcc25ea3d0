//! What can be wrong with a value that comes from outside.

/// A text that is not what its place wants. Messages fit "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// A table name that is neither `table` nor `schema.table`.
    #[error("read table name '{0}': expected 'table' or 'schema.table'")]
    TableName(String),
    /// A text that the column's type cannot hold.
    #[error("read '{text}' as {column_type}")]
    Value {
        /// The text as it came.
        text: String,
        /// The type, as PostgreSQL names it.
        column_type: String,
    },
    /// A point in time in no format we know.
    #[error("read '{0}' as a time: expected RFC 3339, such as 2026-03-02T10:15:30.123456Z")]
    Timestamp(String),
}
