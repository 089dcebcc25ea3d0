//! What can go wrong with the tables.

use std::path::PathBuf;

use crate::engine::EngineError;
use crate::model::{ModelError, TableName};

impl From<EngineError> for CatalogError {
    fn from(error: EngineError) -> Self {
        CatalogError::Database(error.to_string())
    }
}

/// A table that cannot be found, read or understood. Messages fit "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A data folder that is not there.
    #[error("open the data folder {path}: {reason}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A data file that cannot be read.
    #[error("read {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A database that does not answer, or refuses.
    #[error("read the database: {0}")]
    Database(String),
    /// A table that is not there.
    #[error("find table {table}{}", suggestion(.nearest))]
    UnknownTable {
        /// The table asked for.
        table: TableName,
        /// The nearest name that exists.
        nearest: Option<TableName>,
    },
    /// A column that the project file names and its table does not have.
    #[error("find column {column} of {table}{}", suggestion(.nearest))]
    UnknownColumn {
        /// The table.
        table: TableName,
        /// The column asked for.
        column: String,
        /// The nearest name that exists.
        nearest: Option<String>,
    },
    /// A cell that its column's type cannot hold.
    #[error("read a value of {table}.{column}: {source}")]
    Value {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// What is wrong.
        source: ModelError,
    },
    /// A column of a table's history of which not every version is known.
    #[error("read history.{table}.{column}: {versions} recorded versions do not tell it")]
    Untold {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// How many versions do not tell it.
        versions: usize,
    },
    /// The engine refused.
    #[error("build rows of {table}: {reason}")]
    Rows {
        /// The table.
        table: TableName,
        /// What the engine says.
        reason: String,
    },
    /// The engine refused a registration or a scan.
    #[error("hand tables to the query engine: {0}")]
    Engine(#[from] datafusion::error::DataFusionError),
}

fn suggestion(nearest: &Option<impl std::fmt::Display>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!(": did you mean {name}?"))
}
