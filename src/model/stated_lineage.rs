//! Lineage that another tool states: what a job of it read, and what it wrote.

use std::fmt;
use std::sync::Arc;

use super::{ColumnName, RecordingId, TableName, Timestamp};

/// A column of a table. Prints as `schema.table.column`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableColumn {
    /// The table.
    pub table: TableName,
    /// Its column.
    pub column: ColumnName,
}

impl TableColumn {
    /// A column of a table.
    pub fn new(table: TableName, column: impl Into<ColumnName>) -> Self {
        TableColumn { table, column: column.into() }
    }
}

impl fmt::Display for TableColumn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.table, self.column)
    }
}

/// How one column bears on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FeedKind {
    /// Its value is taken over as it is.
    Copy,
    /// Its value goes into an expression.
    Transform,
    /// The values of many rows go into one.
    Aggregate,
    /// It decides which rows get there, and gives no value.
    Influence,
}

impl FeedKind {
    /// `copy`, `transform`, `aggregate`, `influence`.
    pub fn as_str(self) -> &'static str {
        match self {
            FeedKind::Copy => "copy",
            FeedKind::Transform => "transform",
            FeedKind::Aggregate => "aggregate",
            FeedKind::Influence => "influence",
        }
    }

    /// Reads what [`FeedKind::as_str`] writes.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [FeedKind::Copy, FeedKind::Transform, FeedKind::Aggregate, FeedKind::Influence];
        all.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// One column that feeds another, or decides which rows of a table there are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatedFeed {
    /// The table written.
    pub table: TableName,
    /// Its column; `None`: all of them.
    pub column: Option<ColumnName>,
    /// What it is fed by.
    pub source: TableColumn,
    /// How.
    pub kind: FeedKind,
}

/// What one event or document of another tool says of one computation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatedLineage {
    /// What it says, hashed.
    pub id: RecordingId,
    /// When it was said.
    pub ts: Timestamp,
    /// Who says it: the input's format.
    pub stated_by: Arc<str>,
    /// The job: `namespace/name`, or a dbt node's unique id.
    pub job: Arc<str>,
    /// The run of the job: what is said of one run belongs together. `None` where no run is meant.
    pub run: Option<Arc<str>>,
    /// The SQL that the job runs, where it is told. A query alone gives the rows of the one table written.
    pub sql: Option<Arc<str>>,
    /// The tables read.
    pub inputs: Vec<TableName>,
    /// The tables written.
    pub outputs: Vec<TableName>,
    /// Which column feeds which, where it is told.
    pub feeds: Vec<StatedFeed>,
}
