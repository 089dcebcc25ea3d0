//! One execution of one SQL text.

use std::sync::Arc;

use super::{Timestamp, Value};

/// How sure it is that a statement made the writes it is joined to, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatementLink {
    /// The event itself carries the statement.
    Event,
    /// The log names the transaction id, and table, operation and keys agree.
    TransactionId,
    /// Same session, same place in its order of transactions; tables, operations and keys agree.
    SessionOrder,
    /// The transaction is sure, but another statement of it would fit as well.
    AmbiguousStatement,
    /// Another transaction of the log would fit as well.
    Ambiguous,
}

impl StatementLink {
    /// Whether another statement would fit as well: what this one would have written is not exact.
    pub fn is_ambiguous(self) -> bool {
        matches!(self, StatementLink::AmbiguousStatement | StatementLink::Ambiguous)
    }
}

/// One committed execution of a statement: reads as well as writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The SQL as it was sent, comments included.
    pub sql: Arc<str>,
    /// `$1` and on, values as the log prints them, up to the first whose value is not known.
    pub parameters: Vec<Value>,
    /// When it began.
    pub started: Timestamp,
    /// How it was joined to its writes.
    pub link: StatementLink,
    /// The time zone that its session had set; `None`: it had set none, and so has the database's.
    pub time_zone: Option<Arc<str>>,
}
