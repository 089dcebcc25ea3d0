//! One report value, many renderers.
//!
//! In: a [`BlastRadius`](crate::trace::BlastRadius), the tables' schemas, what the project file says of the tables.
//! Out: a [`Report`], computed once; [`write_text`] for the engineer on call, [`write_html`] for those who were not,
//! [`write_json`] for scripts, and every affected record as [`records`] files. Cells of personal columns leave this room in none of them.

pub mod audit;
mod difference;
mod error;
pub mod explanation;
mod html;
mod json;
pub mod lineage;
mod page;
mod record;
pub mod records;
mod repair;
#[cfg(test)]
mod sample;
pub mod status;
mod summary;
mod text;
mod wording;

pub use difference::{ColumnDifference, DecimalSum};
pub use error::ReportError;
pub use html::write_html;
pub use json::{LISTED_RECORDS, write_json};
pub use record::{ReportedCause, ReportedColumn, ReportedKey, ReportedRecord, ReportedWrite};
pub use repair::{write_repair_json, write_repair_text};
pub use summary::{Report, SubjectSummary, Summary, TableSummary};
pub use text::{TextOptions, write_text};
