//! A live PostgreSQL database.
//!
//! In: a connection string. Out: the tables' schemas, and their rows. Everything is read in one snapshot: opening
//! exports it from a transaction that stays open, and each scan reads in it on a connection of its own, so that two
//! scans of one query never wait for each other.

mod connection;
mod constraints;
mod copy_text;
mod password_file;
mod reader;
mod schema;

pub(super) use connection::ConnectionSettings;
pub use constraints::{CheckConstraint, TableConstraints};
pub use reader::connect_to;
pub(super) use reader::{Snapshot, open};
pub use reader::{declared_constraints, populated_schemas};
