//! Tables as the engine sees them: now, and as of any commit.
//!
//! In: a database (live, or a folder of files), and what the project file says of its tables. Out: their
//! [`TableSchema`](crate::model::TableSchema)s, and their rows as typed Arrow batches.

mod address;
mod column_guess;
mod csv_file;
mod error;
mod folder;
mod history;
mod key_guess;
mod lazy_table;
mod now;
mod parquet_file;
mod picked_rows;
mod postgres;
mod rolling;
mod typed;

pub use address::DatabaseAddress;
pub use error::CatalogError;
pub use history::register_history;
pub use key_guess::{guessed_keys, guessed_references};
pub use now::{Catalog, nearest_name, nearest_table, register_table};
pub use postgres::{
    CheckConstraint, DatabaseDefinitions, DatabaseObject, TableConstraints, TextOrder, connect_to,
    declared_constraints, definitions_of, populated_schemas, scratch_session, standing_definitions,
};
pub use rolling::{RollingTable, RollingTables, TemporaryRows, World};
pub use typed::{
    PLAIN_NUMERIC_SCALE, array_from_values, arrow_schema, arrow_type, batch_from_rows, column_type_of,
    decimal256_from_text, rows_from_batch, text_from_decimal256, value_from_array,
};
