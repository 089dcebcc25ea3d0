//! What an input says, before anything is put together: write events and log lines, each with its identity.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{
    Operation, RecordRead, ReleaseName, Row, ServiceName, SessionId, StatedLineage, TableName, Timestamp, TraceId,
    TransactionId, Value,
};

/// The identity of one recorded fact: loading it twice stores it once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordingId(pub [u8; 16]);

/// Hexadecimal.
impl fmt::Debug for RecordingId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A write event as its source tells it. Values are text as they came, not yet canonical for their column's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedWrite {
    /// The event's own `id`, hashed; else a hash of its whole content.
    pub id: RecordingId,
    /// The event's `seq`.
    pub seq: Option<u64>,
    /// When it was written, or committed: what the source says.
    pub ts: Timestamp,
    /// The table.
    pub table: TableName,
    /// What happened to the row.
    pub operation: Operation,
    /// The event's `key`; empty where an image has to hold it.
    pub key: Row,
    /// Some or all columns of the row as it was.
    pub before: Option<Row>,
    /// Some or all columns of the row as written.
    pub after: Option<Row>,
    /// The records it was computed from.
    pub reads: Vec<RecordRead>,
    /// PostgreSQL's transaction id.
    pub transaction: Option<TransactionId>,
    /// The session, as the log writes it.
    pub session: Option<SessionId>,
    /// The distributed trace.
    pub trace: Option<TraceId>,
    /// The event's own `release`.
    pub release: Option<ReleaseName>,
    /// The event's own `service`.
    pub service: Option<ServiceName>,
    /// The SQL, where the event tells it.
    pub statement: Option<Arc<str>>,
    /// `$1` and on, where the event tells them.
    pub parameters: Vec<Value>,
}

/// What a log line reports of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogEventKind {
    /// A statement was executed and succeeded (or, where the log tells only its start, began).
    Statement,
    /// The current statement failed: its transaction is aborted, or is rolled back to a savepoint.
    Error,
    /// The session ended: an open transaction is rolled back.
    Disconnection,
}

/// One event of a database session's SQL log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// Session and line number, hashed.
    pub id: RecordingId,
    /// The session that ran it.
    pub session: SessionId,
    /// The place in the session's own order (the log's line number within the session).
    pub line: u64,
    /// When the line was written: for a statement with a duration, its end.
    pub ts: Timestamp,
    /// When the statement began: `ts` less its duration, where the log tells one.
    pub started: Timestamp,
    /// What happened.
    pub kind: LogEventKind,
    /// PostgreSQL's transaction id (32 bits), where the line names one that is not 0.
    pub transaction: Option<TransactionId>,
    /// The virtual transaction, such as `3/175`; `None` outside of one.
    pub virtual_transaction: Option<Arc<str>>,
    /// The session's `application_name` at that time.
    pub application_name: Option<Arc<str>>,
    /// The database that the session is connected to, where the log tells it.
    pub database: Option<Arc<str>>,
    /// The SQL; `None` for a disconnection.
    pub sql: Option<Arc<str>>,
    /// The `PREPARE` statement behind an SQL-level `EXECUTE`, where the log tells it.
    pub prepared: Option<Arc<str>>,
    /// `$1` and on; `None` for one whose value the log does not tell (cut short, or suppressed).
    pub parameters: Vec<Option<Value>>,
    /// The error's message, for [`LogEventKind::Error`].
    pub message: Option<Arc<str>>,
}

/// What a transaction says of itself in the stream of its row changes: a logical message in the write-ahead log, which
/// a statement trigger wrote just before the transaction's first change (or before each statement's first).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedStamp {
    /// A hash of its transaction, its place and its content.
    pub id: RecordingId,
    /// Its place among the writes of the same stream, in the order of their [`RecordedWrite::seq`]; the writes after it,
    /// up to the transaction's next stamp, are of the statement it names.
    pub seq: Option<u64>,
    /// The time that the transaction's writes have: its commit.
    pub ts: Timestamp,
    /// PostgreSQL's transaction id, spelled as the transaction's writes spell it.
    pub transaction: TransactionId,
    /// The session, as the log writes it (backend start and process id).
    pub session: Option<SessionId>,
    /// The session's process id, where no backend start makes a session id of it.
    pub process_id: Option<u32>,
    /// The session's `application_name` at that time.
    pub application_name: Option<Arc<str>>,
    /// The session's user.
    pub user: Option<Arc<str>>,
    /// The release, where the stamp itself names it.
    pub release: Option<ReleaseName>,
    /// The service, where the stamp itself names it.
    pub service: Option<ServiceName>,
    /// The sqlcommenter tags of the statement.
    pub tags: BTreeMap<String, String>,
    /// The statement that was sent when the stamp was written; its parameters are not known.
    pub statement: Option<Arc<str>>,
}

/// A line that could not be read, kept with what is wrong about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedLine {
    /// Where it stands: the input's name and the line within it, hashed with its text.
    pub id: RecordingId,
    /// The input's name.
    pub source: Arc<str>,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
    /// The line itself; what is no UTF-8 in it is replaced.
    pub text: String,
}

/// What an importer read from one input, or from one part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Write events, in the order they came.
    pub writes: Vec<RecordedWrite>,
    /// Log events, in the order they came.
    pub log: Vec<LogEvent>,
    /// Stamps of transactions, in the order they came.
    pub stamps: Vec<RecordedStamp>,
    /// What other tools state of what they read and wrote.
    pub lineage: Vec<StatedLineage>,
    /// Lines that could not be read.
    pub rejected: Vec<RejectedLine>,
}
