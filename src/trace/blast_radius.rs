//! What a trace finds: the blast radius of a release.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{
    ColumnName, RecordKey, Release, ReleaseName, Row, ServiceName, TableName, Timestamp, TransactionId, Value, WriteSeq,
};

/// How a record came to be in the blast radius.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Written by the release, and wrong.
    Root,
    /// Computed from an affected record, proved.
    Derived,
    /// Something read an affected record, then wrote this one; the code between is not known.
    Possible,
    /// Written by the release, nothing known against it. Listed only with `--scope all`.
    Suspect,
}

impl Role {
    /// The contract's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Root => "root",
            Role::Derived => "derived",
            Role::Possible => "possible",
            Role::Suspect => "suspect",
        }
    }
}

/// How a record stands at the end of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordState {
    /// Still wrong now.
    Live,
    /// Overwritten since: both worlds agree on it now.
    Healed,
    /// Deleted since, in both worlds.
    Gone,
    /// Should exist, does not.
    Missing,
    /// Exists, should not.
    Extra,
}

impl RecordState {
    /// The contract's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            RecordState::Live => "live",
            RecordState::Healed => "healed",
            RecordState::Gone => "gone",
            RecordState::Missing => "missing",
            RecordState::Extra => "extra",
        }
    }

    /// Whether the record is wrong now.
    pub fn is_wrong_now(self) -> bool {
        matches!(self, RecordState::Live | RecordState::Missing | RecordState::Extra)
    }
}

/// What a repair should do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RepairAction {
    /// Set the wrong columns to their right values.
    Update,
    /// Insert the missing row.
    Insert,
    /// Delete the extra row.
    Delete,
    /// Nothing to do: healed or gone.
    None,
    /// A person must decide; [`AffectedRecord::why`] says why.
    Manual,
}

impl RepairAction {
    /// The contract's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            RepairAction::Update => "update",
            RepairAction::Insert => "insert",
            RepairAction::Delete => "delete",
            RepairAction::None => "none",
            RepairAction::Manual => "manual",
        }
    }
}

/// One column on which the worlds differ, or may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffectedColumn {
    /// The column.
    pub name: ColumnName,
    /// Its value in the actual world at the end of the history (for a healed record: when it was last wrong).
    pub current: Value,
    /// Its value in the right world; `None` where it is not known.
    pub expected: Option<Value>,
    /// Whether `expected` was recomputed, not guessed.
    pub exact: bool,
}

/// The write that made a record wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenBy {
    /// Its place in the order of writes; `None` for a row that was *not* written (missing).
    pub seq: Option<WriteSeq>,
    /// When.
    pub ts: Timestamp,
    /// By which transaction.
    pub tx: Option<TransactionId>,
    /// By which release.
    pub release: Option<Release>,
}

/// The step before: the affected record that this one was computed from, and the statement that did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The table of the record this one was computed from.
    pub table: TableName,
    /// Its key.
    pub key: RecordKey,
    /// The statement that carried the error, where known.
    pub statement: Option<Arc<str>>,
}

/// One record in the blast radius.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffectedRecord {
    /// The record's table.
    pub table: TableName,
    /// The record's key (its right key, for a missing record).
    pub key: RecordKey,
    /// How it came to be affected.
    pub role: Role,
    /// How it stands now.
    pub state: RecordState,
    /// The columns that are, or were last, wrong. For a missing record: every column of the row that should exist.
    pub columns: Vec<AffectedColumn>,
    /// Steps from a root write: 0 for a root.
    pub hops: u32,
    /// The rules it broke when it was written, by id.
    pub rules: Vec<Arc<str>>,
    /// The write that made it wrong.
    pub written: WrittenBy,
    /// The step before, for derived and possible.
    pub cause: Option<Cause>,
    /// What a repair should do.
    pub repair: RepairAction,
    /// Why it is what it is: for [`RepairAction::Manual`], what a person must decide.
    pub why: Option<Arc<str>>,
    /// The whole row as it stands now in the actual world, where it exists and is known: what a repair's guard expects.
    pub current_row: Option<Row>,
    /// The value of the table's `subject` column: who is hurt.
    pub subject: Option<Value>,
    /// Whether the table is marked `external`: never repaired, always listed.
    pub external: bool,
}

/// How the damage began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnsetShape {
    /// Most of the release's writes were wrong from the start.
    Sudden,
    /// Few at first, or few at any time.
    Slow,
}

/// When the release's wrong writes began and ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Onset {
    /// The first root write.
    pub first_wrong: Timestamp,
    /// The last root write.
    pub last_wrong: Timestamp,
    /// Sudden or slow.
    pub shape: OnsetShape,
}

/// A statement (by template) that carried or healed the damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffectedStatement {
    /// The SQL with its literals as parameters.
    pub statement: Arc<str>,
    /// How often it ran since the first wrong write.
    pub executions: u64,
    /// Records it made wrong.
    pub affected: u64,
    /// Whether every one of its affected executions was recomputed.
    pub exact: bool,
}

/// Everything the trace found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlastRadius {
    /// The release traced.
    pub release: ReleaseName,
    /// Its service, where known.
    pub service: Option<ServiceName>,
    /// The release's writes, by table.
    pub writes: BTreeMap<TableName, u64>,
    /// The release's first and last write.
    pub window: Option<(Timestamp, Timestamp)>,
    /// When the wrong writes began; `None` where none was found.
    pub onset: Option<Onset>,
    /// Root records by the rule they broke, most first.
    pub rules: Vec<(Arc<str>, u64)>,
    /// Statements that carried the damage, most affected first.
    pub statements: Vec<AffectedStatement>,
    /// Writes in the window that no evidence ties to any release.
    pub unattributed: u64,
    /// Records written by the release with nothing known against them.
    pub suspects: u64,
    /// What could not be decided, and why.
    pub limits: Vec<String>,
    /// Every affected record: roots first, then by hops, table and key.
    pub records: Vec<AffectedRecord>,
}
