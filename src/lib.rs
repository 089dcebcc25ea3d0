//! After a bad deploy: which records are wrong, what was computed from them, who is hurt, and the SQL that repairs
//! exactly that.
//!
//! The way of the data:
//!
//! ```text
//! capture → model → store → catalog ─┬→ audit ──┐
//!                           └→ sql → lineage ───┴→ trace → repair → report
//! ```
//!
//! A room imports only the rooms left of it on the way, and [`model`].

pub mod audit;
pub mod capture;
pub mod catalog;
pub mod cli;
pub mod engine;
pub mod lineage;
pub mod model;
pub mod project;
pub mod repair;
pub mod report;
pub mod sql;
pub mod store;
pub mod trace;
