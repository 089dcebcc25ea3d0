//! The nouns every room shares. Plain values, no I/O.
//!
//! In: nothing. Out: the types that travel between rooms: a [`Write`] and the [`Statement`] that made it, the
//! [`Release`] they belong to, the [`Transaction`]s of a [`History`] in commit order, and the text-exact
//! [`Value`]s, [`Row`]s and [`RecordKey`]s they carry. What an input says before it is put together is a [`Recording`].

mod audited_rule;
mod calendar;
mod column_type;
mod comment_tags;
mod error;
mod float;
mod history;
mod recording;
mod release;
mod row;
mod settings;
mod stated_lineage;
mod statement;
mod table;
mod time_zone;
mod timestamp;
mod value;
mod write;

pub use audited_rule::{AuditStart, AuditedRule};
pub use calendar::{days_from_text, micros_from_text, text_from_days, text_from_micros};
pub use column_type::{ColumnType, without_trailing_zeros};
pub use comment_tags::comment_tags;
pub use error::ModelError;
pub use float::{text_from_float32, text_from_float64};
pub use history::{History, Reading, Snapshots, Step, Transaction};
pub use recording::{LogEvent, LogEventKind, RecordedStamp, RecordedWrite, Recording, RecordingId, RejectedLine};
pub use release::{Attribution, Evidence, Release, ReleaseName, ServiceName};
pub use row::{ColumnName, RecordKey, Row};
pub use settings::{DatabaseSource, Deploy, Derive, ReleaseSettings, TableSettings, TableSettingsByName};
pub use stated_lineage::{FeedKind, StatedFeed, StatedLineage, TableColumn};
pub use statement::{Statement, StatementLink};
pub use table::{
    Column, Declarations, ForeignKey, GeneratedColumn, ReferentialAction, TableName, TableSchema, UniqueKey, View,
};
pub use time_zone::{TimeZone, has_offset, time_of_text, without_offset};
pub use timestamp::Timestamp;
pub use value::Value;
pub use write::{CommitSeq, Operation, RecordRead, SessionId, TraceId, TransactionId, Write, WriteSeq};
