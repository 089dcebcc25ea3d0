//! The sweep through time that keeps the two worlds apart.
//!
//! In: a [`crate::model::History`], the catalog, the rules or faults that say what the release got wrong.
//! Out: a [`BlastRadius`]: every record on which the worlds differ, with its right value where it can be computed.

mod blast_radius;
mod changes;
mod error;
pub mod faults;
mod generated;
mod onset;
mod outcome;
mod reach;
mod reenact;
mod roots;
mod rules;
mod run;
mod scratch;
mod story;
mod sweep;
mod worlds;

pub use blast_radius::{
    AffectedColumn, AffectedRecord, AffectedStatement, BlastRadius, Cause, Onset, OnsetShape, RecordState,
    RepairAction, Role, WrittenBy,
};
pub use error::TraceError;
pub use generated::fill_generated_columns;
pub use onset::{Onsets, ViolationName, onsets};
pub use reenact::{Evaluator, Refusal};
pub use rules::suspecting_rules;
pub use run::{Question, known_releases, trace, trace_on};
pub use scratch::Scratch;
pub use story::{Reader, Source, SourceRows, Story, Version, story};
pub use sweep::{SuspectingFault, SuspectingRule, Suspicion, Target, Violating};
