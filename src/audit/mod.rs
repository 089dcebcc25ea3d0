//! Rules → few scans → violations → the release that made each.
//!
//! In: rules files, the [`crate::catalog::Catalog`] of the tables they are about, and the history of their writes. Out: an [`AuditOutcome`] with every
//! row in breach of a rule, by its key. The machinery that reads YAML and points at mistakes in it ([`Document`],
//! [`Mistakes`], [`Names`]) serves faults files too.

mod accepted;
mod beyond_rows;
mod checks;
mod document;
mod error;
mod evaluation;
mod fields;
mod found_keys;
mod import;
mod inexact;
mod integer_set;
mod key_file;
mod keys;
mod mistake;
mod names;
mod outcome;
mod planning;
mod releases;
mod repeated;
mod row_queries;
mod row_scan;
mod rule;
mod rule_reader;
mod rule_set;
mod server_scan;
mod server_sql;
mod sessions;
mod shared_groups;
mod since;
mod sql_text;
mod starter;
mod trend;

pub use accepted::{Acceptance, Accepted};
pub use checks::{DriftQuestion, Reference, TableQuestion, Violating};
pub use document::{Content, Document, Node};
pub use error::AuditError;
pub use evaluation::run;
pub use fields::Fields;
pub use key_file::KeyFile;
pub use mistake::{Location, Mistake, Mistakes};
pub use names::{Names, Schemas};
pub use outcome::{
    AuditOutcome, AuditVerdict, ReleaseOutcome, RuleOutcome, RuleStatus, UnlistedViolations, Violation, WrittenBy,
};
pub use releases::{compare_releases, suspect};
pub use rule::{Rule, Severity, Tolerance, Tolerances, key_columns};
pub use rule_reader::read_assignments;
pub use rule_set::RuleSet;
pub use since::{ChangedRecords, LastAudit, changed_records, fingerprint, is_about_one_row, keys_in_breach, run_since};
pub use sql_text::{SqlExpression, SqlQuery};
pub use starter::{GuessedReferences, starter_rules};
pub use trend::{RuleTrend, StartingPoint, kept_results, trends};
