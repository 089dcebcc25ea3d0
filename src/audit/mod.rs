//! Rules → few scans → violations → the release that made each.
//!
//! In: rules files, and the [`crate::catalog::Catalog`] of the tables they are about. Out: an [`AuditOutcome`] with every
//! row in breach of a rule, by its key. The machinery that reads YAML and points at mistakes in it ([`Document`],
//! [`Mistakes`], [`Names`]) serves faults files too.

mod checks;
mod document;
mod error;
mod evaluation;
mod fields;
mod import;
mod mistake;
mod names;
mod outcome;
mod planning;
mod rule;
mod rule_reader;
mod rule_set;
mod sql_text;
mod starter;

pub use checks::Violating;
pub use document::{Content, Document, Node};
pub use error::AuditError;
pub use evaluation::run;
pub use fields::Fields;
pub use mistake::{Location, Mistake, Mistakes};
pub use names::{Names, Schemas};
pub use outcome::{AuditOutcome, AuditVerdict, ReleaseOutcome, RuleOutcome, RuleStatus, Violation, WrittenBy};
pub use rule::{Rule, Severity, Tolerance, Tolerances, key_columns};
pub use rule_reader::read_assignments;
pub use rule_set::RuleSet;
pub use sql_text::{SqlExpression, SqlQuery};
pub use starter::{GuessedReferences, starter_rules};
