//! The difference of the worlds as guarded SQL, and its undo.
//!
//! In: a [`BlastRadius`](crate::trace::BlastRadius), the tables' schemas, and what the project file says of the tables.
//! Out: a [`RepairPlan`]: written as `repair.sql`, `undo.sql` and `manual.csv`, or rehearsed on the database and rolled
//! back. Every record that is wrong now ends in exactly one of them: changed by the plan, or listed for a person to
//! decide (a record of which only some columns are known: in both).

mod error;
mod files;
mod order;
mod plan;
mod quoting;
mod rehearsal;
mod script;
mod selection;

pub use error::RepairError;
pub use files::{RepairFiles, write_files, write_manual, write_repair, write_undo};
pub use plan::{ChangeGroup, ChangeKind, ManualRecord, PlannedChange, RepairOptions, RepairPlan, plan};
pub use rehearsal::{LeftAlone, Rehearsal, rehearse, verify};
