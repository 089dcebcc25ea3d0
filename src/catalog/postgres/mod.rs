//! A live PostgreSQL database.
//!
//! In: a connection string. Out: the tables' schemas, and their rows. Everything is read in one snapshot: opening
//! exports it from a transaction that stays open, and each scan reads in it on connections of its own, so that two
//! scans of one query never wait for each other. Rows come as binary COPY, of the columns and, as far as PostgreSQL means
//! the same by them, with the filters of the query; a large table in ranges of its pages side by side.

mod constraints;
mod copy_binary;
mod definitions;
mod filter;
mod numeric;
mod reader;
mod scan;
mod schema;
mod wire;

pub use constraints::{CheckConstraint, TableConstraints};
pub use definitions::{DatabaseDefinitions, DatabaseObject, TextOrder};
pub(super) use reader::{Snapshot, open};
pub use reader::{connect_to, definitions_of, scratch_session, standing_definitions};
pub use reader::{declared_constraints, populated_schemas};
