//! One file per command.

pub mod ingest;
pub mod repair;
pub mod trace;
