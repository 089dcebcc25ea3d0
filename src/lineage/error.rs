//! What can go wrong when a history is put together.

use crate::model::{ModelError, TableName};

/// A recording that does not fit the tables. Messages fit "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineageError {
    /// A recorded cell that its column's type cannot hold.
    #[error("read a recorded write of {table} (column {column}): {source}")]
    Value {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// What is wrong.
        source: ModelError,
    },
}
