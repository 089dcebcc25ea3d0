//! The static analysis of SQL: what every statement of a text reads and writes, column by column.
//!
//! In: a text of one or many statements, what is defined before it (a [`Schema`]), its [`Dialect`]. Out: a
//! [`StatementAnalysis`] for each statement. Definitions among the statements count for those after them: a name means
//! what it meant when the statement ran. Nothing is guessed: what cannot be resolved is marked, or is an error beside
//! what could be.

mod arena;
mod assignments;
mod definitions;
mod dependencies;
mod dialect;
mod expression;
mod from;
mod known_functions;
mod merge;
mod names;
mod outcome;
mod plpgsql;
mod query;
mod rewrite;
mod routines;
mod scan;
mod schema;
mod scope;
mod select;
mod statement;
mod statements;
mod text;
mod updatable;
mod walk;
mod words;
mod writes;

pub use dialect::Dialect;
pub use known_functions::only_computes;
pub use merge::does_nothing;
pub use outcome::{
    ColumnLineage, ColumnOwner, Influence, InfluenceKind, QualifiedColumn, StatementAnalysis, StatementKind, Via,
};
pub use rewrite::unmistaken;
pub use scan::scanned_tables;
pub use schema::Schema;
pub use statements::{Analyzer, analyze};
