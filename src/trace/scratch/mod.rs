//! The second evaluator: a scratch PostgreSQL, in which statements run as they were recorded, with the triggers, functions,
//! types, collations and extensions of the database.
//!
//! Everything is done in one transaction that nothing ever commits, in schemas of the same names as the database's: what
//! stands in the scratch database stays as it is, and nothing is left behind, however the process ends. The tables that a
//! statement can reach hold their rows as of its moment; each run is taken back as soon as its outcome is read. A statement
//! is trusted once it has done, over the rows as they were, exactly what was recorded of it; then it is run over the rows as
//! they should have been.

mod amendment;
mod definitions;
mod journal;
mod learn;
mod replay;
mod rows;
mod run;
mod server;

pub use amendment::Amendment;
pub use replay::{InRightWorld, Recorded, Replay, Replayed, recorded_of};
pub use server::Scratch;
