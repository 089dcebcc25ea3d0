//! What an audit found, for people, scripts and CI.
//!
//! In: an [`AuditOutcome`](crate::audit::AuditOutcome) and the schemas of its tables. Out: text, JSON or JUnit. Cells are
//! never printed, only keys.

mod json;
mod junit;
mod records;
#[cfg(test)]
mod sample;
mod text;

pub use json::write_audit_json;
pub use junit::write_audit_junit;
pub use records::write_violations;
pub use text::write_audit_text;
