//! A live PostgreSQL, recorded from its write-ahead log with no change to the application.
//!
//! In: a connection. Out: [`crate::model::Recording`]s of what was committed, each transaction with the stamp that says
//! who wrote it. [`install()`] puts a publication, a slot and a statement trigger on each table into the database;
//! [`changes()`] reads the slot, [`confirm`] takes out of it what is stored; [`uninstall()`] removes everything.

mod changes;
mod database;
mod install;
mod pgoutput;
mod status;
mod uninstall;

pub use changes::{Place, SlotChanges, changes, confirm};
pub use database::{CoveredTable, Installation, LogPosition, installation};
pub use install::{InstallOptions, Installed, RecordedIdentity, Stamping, install, script};
pub use status::{CaptureStatus, SlotStatus, log_end, slot, status};
pub use uninstall::uninstall;
