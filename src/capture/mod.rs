//! Outside bytes → model. One file per format, one line in `format.rs` where it is registered.
//!
//! In: an [`Input`] (a file, standard input; plain, `.gz` or `.zst`). Out: [`crate::model::Recording`]s, handed to a
//! sink a batch at a time, so that an input of any size passes through bounded memory. A line that cannot be read
//! becomes a [`crate::model::RejectedLine`] with its number and the reason, and the reading goes on.

mod base64;
mod change_stream;
mod dbt;
mod debezium;
mod debezium_message;
mod debezium_values;
mod error;
mod event_fields;
mod event_writer;
mod events;
mod format;
mod input;
mod json_documents;
mod json_fields;
mod lines;
mod names;
mod openlineage;
mod otlp;
pub mod postgres;
mod postgres_audit;
mod postgres_csvlog;
mod postgres_jsonlog;
mod postgres_message;
mod postgres_plan;
mod postgres_prefix;
mod postgres_session;
mod postgres_stderr;
mod postgres_waiting;
mod read;
mod stamp;
mod wal2json;
mod write_event;

pub use error::CaptureError;
pub use event_writer::EventWriter;
pub use format::{FormatChoice, format_names};
pub use input::Input;
pub use read::{ReadSummary, read};
pub use write_event::{ReadRecord, WriteEvent, WriteOperation};
