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
    /// Joined, but another statement would fit as well.
    Ambiguous,
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
}
