//! What happened, put together: writes joined to their statements, transactions and releases.
//!
//! In: recorded writes, their stamps and log events from the store, the shapes of the tables, what the project says of releases.
//! Out: a [`History`](crate::model::History): every committed transaction in commit order, step by step.

mod alignment;
mod attribution;
mod clocks;
mod coverage;
mod databases;
pub mod graph;
mod history;
mod images;
mod isolation;
mod join;
mod links;
mod prepared;
mod readings;
mod sessions;
mod settled;
mod stamps;
mod steps;
mod time_zones;
mod unwritten;

pub use coverage::{Coverage, TableCoverage};
pub use history::{Sources, assemble, name_by_partitioned_table};
pub use links::LinkCounts;
pub use settled::{Advanced, Settled, advance};
