//! What can go wrong with the store.

use deltalake::DeltaTableError;
use deltalake::kernel::transaction::TransactionError;

/// A store that cannot be opened, read or written. Messages fit "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A place where no store can be.
    #[error("open the store at {location}: {reason}")]
    Open {
        /// The folder or URL.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A table of the store that cannot be read or written.
    #[error("{action} the store's table {table}: {source}")]
    Table {
        /// What was tried, such as `read`.
        action: &'static str,
        /// The table's folder within the store.
        table: String,
        /// What Delta Lake says.
        source: Box<DeltaTableError>,
    },
    /// A disk that does not take what was written.
    #[error("force the store at {location} to the disk: {reason}")]
    Sync {
        /// The folder.
        location: String,
        /// What the system says.
        reason: String,
    },
    /// Somebody else wrote to the store at the same time; nothing of this ingest is stored.
    #[error(
        "write to the store's table {table}: another ingest into this store is running; run it again once that is done"
    )]
    Busy {
        /// The table's folder within the store.
        table: String,
    },
    /// A query over a table of the store that failed.
    #[error("query the store's table {table}: {source}")]
    Query {
        /// The table's folder within the store.
        table: String,
        /// What the engine says.
        source: Box<datafusion::error::DataFusionError>,
    },
    /// A table of the store that does not hold what this program writes.
    #[error("understand the store's table {table}: {reason}")]
    Content {
        /// The table's folder within the store.
        table: String,
        /// What is wrong.
        reason: String,
    },
    /// A record that the store cannot hold.
    #[error("store a record of {table}: {reason}")]
    Record {
        /// The table's folder within the store.
        table: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl StoreError {
    /// Wraps an error of Delta Lake; a lost race is its own error.
    pub(super) fn delta(action: &'static str, table: &str, source: DeltaTableError) -> Self {
        let is_race = matches!(
            source,
            DeltaTableError::VersionAlreadyExists(_)
                | DeltaTableError::Transaction {
                    source: TransactionError::CommitConflict(_) | TransactionError::MaxCommitAttempts(_)
                }
        );
        let table = table.to_owned();
        if is_race { StoreError::Busy { table } } else { StoreError::Table { action, table, source: Box::new(source) } }
    }

    pub(crate) fn content(table: &str, reason: impl ToString) -> Self {
        StoreError::Content { table: table.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn record(table: &str, reason: impl ToString) -> Self {
        StoreError::Record { table: table.to_owned(), reason: reason.to_string() }
    }
}
