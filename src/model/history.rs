//! What happened, in commit order.

use std::sync::Arc;

use super::{Attribution, CommitSeq, Release, SessionId, Statement, Timestamp, TransactionId, Write};

/// One step of a transaction: a statement with the rows it wrote (none for a read), or rows whose statement is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The statement, where the log or the event tells it.
    pub statement: Option<Statement>,
    /// The rows written, in the order they were; includes what the database did by itself (cascades, triggers).
    pub writes: Vec<Write>,
}

/// Which snapshot a transaction's statements see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Snapshots {
    /// READ COMMITTED: each statement what was committed when it began.
    #[default]
    OfStatements,
    /// REPEATABLE READ and SERIALIZABLE: all of them what was committed when the first of them began.
    OfTransaction,
}

/// One committed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its place in the order of commits.
    pub commit: CommitSeq,
    /// Its identity, where the source says.
    pub id: Option<TransactionId>,
    /// The session that ran it, where known.
    pub session: Option<SessionId>,
    /// What `now()` was: the start of its first statement, or the first write's time.
    pub started: Timestamp,
    /// When it was committed, as closely as the source tells.
    pub committed: Timestamp,
    /// Which snapshot its statements see, as its session declared.
    pub snapshots: Snapshots,
    /// The release its writes belong to: its first attributed write's, or its session's.
    pub attribution: Option<Attribution>,
    /// The steps in the order they ran.
    pub steps: Vec<Step>,
}

impl Transaction {
    /// Its writes in order.
    pub fn writes(&self) -> impl Iterator<Item = &Write> {
        self.steps.iter().flat_map(|step| &step.writes)
    }
}

/// A query of transactions that wrote nothing, by its template: who ran it, how often and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// One of its texts.
    pub sql: Arc<str>,
    /// The release that ran it, where that is known.
    pub release: Option<Release>,
    /// How often.
    pub executions: u64,
    /// When it first began.
    pub first: Timestamp,
    /// When it last began.
    pub last: Timestamp,
}

/// Every committed transaction that is known, in commit order.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// In commit order; `transactions[i].commit` is `i + 1`.
    pub transactions: Vec<Transaction>,
    /// What other transactions read: as they wrote nothing, they have no place in the order.
    pub readings: Vec<Reading>,
    /// What the history cannot tell, one line each, for the report's `limits`.
    pub limits: Vec<String>,
    /// How exact the times of its SQL log are, in microseconds: they are cut to that.
    pub log_precision: i64,
}
