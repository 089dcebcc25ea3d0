//! One row written by one statement of one transaction.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::comment_tags::comment_tags;
use super::{Attribution, RecordKey, Row, TableName, Timestamp, Value};

/// A write's place in the order of all writes: the event's `seq`, or the position the store gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriteSeq(pub u64);

/// A transaction's place in the order of commits: 1 for the first of the history. 0 is the state before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitSeq(pub u64);

macro_rules! identity_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Arc<str>);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}
identity_type!(
    /// A transaction's identity as the source gives it: PostgreSQL's xid, in decimal.
    TransactionId
);
identity_type!(
    /// A session's identity as PostgreSQL's log writes it: backend start and pid in hex, `69a5b1c2.1a2b`.
    SessionId
);
identity_type!(
    /// A distributed trace that crosses sessions and services (W3C trace id).
    TraceId
);

impl TraceId {
    /// The trace that a statement's comment names: the `traceparent` of sqlcommenter, version-trace-parent-flags
    /// (<https://www.w3.org/TR/trace-context/>).
    pub fn of_comment(sql: &str) -> Option<TraceId> {
        if !sql.contains("traceparent") {
            return None;
        }
        TraceId::of_tags(&comment_tags(sql))
    }

    /// The trace that a comment's tags name.
    pub fn of_tags(tags: &BTreeMap<String, String>) -> Option<TraceId> {
        let trace = tags.get("traceparent")?.split('-').nth(1)?;
        (trace.len() == 32).then(|| TraceId(Arc::from(trace)))
    }
}

/// What a write did to its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The row is new.
    Insert,
    /// The row changed.
    Update,
    /// The row is gone.
    Delete,
    /// Every row of the table is gone.
    Truncate,
}

impl Operation {
    /// The contract's spelling: `insert`, `update`, `delete`, `truncate`.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Insert => "insert",
            Operation::Update => "update",
            Operation::Delete => "delete",
            Operation::Truncate => "truncate",
        }
    }

    /// Reads the contract's spelling.
    pub fn from_contract(text: &str) -> Option<Self> {
        match text {
            "insert" => Some(Operation::Insert),
            "update" => Some(Operation::Update),
            "delete" => Some(Operation::Delete),
            "truncate" => Some(Operation::Truncate),
            _ => None,
        }
    }
}

/// A record that a write was computed from, as the event's `reads` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRead {
    /// The table read.
    pub table: TableName,
    /// The record read.
    pub key: RecordKey,
    /// The columns read; empty where the event does not say: then any of them.
    pub columns: Vec<Arc<str>>,
}

/// One committed row write, its values canonical for their columns' types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The place in the order of all writes.
    pub seq: WriteSeq,
    /// When it was written (or committed: what the source says).
    pub ts: Timestamp,
    /// The table.
    pub table: TableName,
    /// What happened to the row.
    pub operation: Operation,
    /// The record's key after the write (before it, for a delete); empty for a truncate.
    pub key: RecordKey,
    /// The whole row as it was, where the source says or an earlier write does. `None` for an insert, or unknown.
    pub before: Option<Row>,
    /// The whole row as written, where known. `None` for a delete.
    pub after: Option<Row>,
    /// The records that this write was computed from, where the event names them.
    pub reads: Vec<RecordRead>,
    /// The distributed trace it belongs to.
    pub trace: Option<TraceId>,
    /// Who wrote it, as far as any evidence says.
    pub attribution: Option<Attribution>,
}

impl Write {
    /// The value of `column` after the write, where it is known.
    pub fn value_after(&self, column: &str) -> Option<&Value> {
        self.after.as_ref().and_then(|row| row.get(column))
    }

    /// The value of `column` before the write, where it is known.
    pub fn value_before(&self, column: &str) -> Option<&Value> {
        self.before.as_ref().and_then(|row| row.get(column))
    }
}
