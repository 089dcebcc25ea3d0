//! One file per command.

pub mod repair;
pub mod trace;
