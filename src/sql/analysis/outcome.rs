//! What an analysis says of a statement.

use std::fmt;
use std::sync::Arc;

use crate::model::{ColumnName, TableName};
use crate::sql::SqlError;

/// What one statement reads and writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementAnalysis {
    /// The statement as it was written, without the semicolon.
    pub sql: Arc<str>,
    /// What it does.
    pub kind: StatementKind,
    /// The tables it writes or defines, in the order of the text; what its triggers and routines write comes last.
    pub targets: Vec<TableName>,
    /// The tables it reads. A table that is written is listed only where its rows are read by themselves too: by name
    /// in a FROM, or through RETURNING into another write.
    pub sources: Vec<TableName>,
    /// For every column that it writes (for a query: returns), what it comes from. Each column once. A deleted row is
    /// the column `*`.
    pub columns: Vec<ColumnLineage>,
    /// The tables were found by a tolerant scan of a text that does not parse: no columns are known.
    pub scanned: bool,
    /// What could not be understood. What could be is in the other fields all the same.
    pub error: Option<SqlError>,
}

/// What one column comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnLineage {
    /// The column written; for a query that writes nothing, the column returned.
    pub target: QualifiedColumn,
    /// The columns whose values become part of the target's value; none for a constant. Each once.
    pub sources: Vec<QualifiedColumn>,
    /// How they become part of it: of several ways the strongest.
    pub via: Via,
    /// The columns that decide which rows get there, and which of several values a row gets. Columns of one write
    /// share them where they can.
    pub influences: Arc<[Influence]>,
}

/// A column and what it belongs to. Prints as `schema.table.column`, as the plain name for a query's own column, and as
/// `?.column` where it is not known whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QualifiedColumn {
    /// What it belongs to.
    pub owner: ColumnOwner,
    /// Its name; `*` stands for all columns of a table whose shape is not known.
    pub column: ColumnName,
}

/// What a column belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ColumnOwner {
    /// A table.
    Table(TableName),
    /// What a query returns.
    Output,
    /// It is not known: several tables in reach could have the column, or none has.
    Unresolved,
}

impl fmt::Display for QualifiedColumn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            ColumnOwner::Table(table) => write!(formatter, "{table}.{}", self.column),
            ColumnOwner::Output => formatter.write_str(&self.column),
            ColumnOwner::Unresolved => write!(formatter, "?.{}", self.column),
        }
    }
}

/// How the sources of a column become its value. A later one is stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// As it is.
    Copy,
    /// Computed from the values of one row; constants too.
    Transform,
    /// Computed from the values of many rows.
    Aggregate,
}

impl Via {
    /// The contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Via::Copy => "copy",
            Via::Transform => "transform",
            Via::Aggregate => "aggregate",
        }
    }
}

/// A column that decides which rows or which values reach a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Influence {
    /// The column.
    pub column: QualifiedColumn,
    /// By what.
    pub kind: InfluenceKind,
}

/// By what a column influences a target. The words are OpenLineage's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InfluenceKind {
    /// A condition of a WHERE, HAVING, QUALIFY or a subquery's, or one side of an EXCEPT.
    Filter,
    /// The condition of a join, or what a set-returning function in FROM is given.
    Join,
    /// GROUP BY, DISTINCT, and the comparison of rows by UNION.
    GroupBy,
    /// The order before a LIMIT, in an aggregate, or of a DISTINCT ON.
    Sort,
    /// PARTITION BY, ORDER BY and the frame of a window.
    Window,
    /// A condition that chooses between values: CASE, FILTER.
    Conditional,
}

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatementKind {
    /// A query that writes nothing of its own (its common table expressions may).
    Select,
    /// INSERT, REPLACE.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// MERGE.
    Merge,
    /// TRUNCATE.
    Truncate,
    /// COPY and its kin of other dialects.
    Copy,
    /// CREATE TABLE, with or without a query, and SELECT INTO.
    CreateTable,
    /// CREATE VIEW.
    CreateView,
    /// CREATE MATERIALIZED VIEW.
    CreateMaterializedView,
    /// REFRESH MATERIALIZED VIEW.
    Refresh,
    /// ALTER TABLE, ALTER VIEW.
    Alter,
    /// DROP TABLE, DROP VIEW.
    Drop,
    /// CREATE FUNCTION, CREATE PROCEDURE.
    CreateRoutine,
    /// CREATE TRIGGER.
    CreateTrigger,
    /// CALL.
    Call,
    /// DO.
    Do,
    /// PREPARE.
    Prepare,
    /// EXECUTE.
    Execute,
    /// DECLARE of a cursor.
    DeclareCursor,
    /// FETCH.
    Fetch,
    /// What neither reads nor writes tables: settings, transactions, grants.
    Other,
    /// A text that does not parse.
    Unparsed,
}

impl StatementKind {
    /// The word that JSON and text print.
    pub fn as_str(self) -> &'static str {
        match self {
            StatementKind::Select => "select",
            StatementKind::Insert => "insert",
            StatementKind::Update => "update",
            StatementKind::Delete => "delete",
            StatementKind::Merge => "merge",
            StatementKind::Truncate => "truncate",
            StatementKind::Copy => "copy",
            StatementKind::CreateTable => "create_table",
            StatementKind::CreateView => "create_view",
            StatementKind::CreateMaterializedView => "create_materialized_view",
            StatementKind::Refresh => "refresh",
            StatementKind::Alter => "alter",
            StatementKind::Drop => "drop",
            StatementKind::CreateRoutine => "create_routine",
            StatementKind::CreateTrigger => "create_trigger",
            StatementKind::Call => "call",
            StatementKind::Do => "do",
            StatementKind::Prepare => "prepare",
            StatementKind::Execute => "execute",
            StatementKind::DeclareCursor => "declare_cursor",
            StatementKind::Fetch => "fetch",
            StatementKind::Other => "other",
            StatementKind::Unparsed => "unparsed",
        }
    }
}
