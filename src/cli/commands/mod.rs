//! One file per command.

pub mod audit;
pub mod capture;
pub mod explain;
pub mod ingest;
pub mod init;
pub mod lineage;
pub mod lineage_graph;
pub mod repair;
pub mod status;
pub mod trace;
