//! The isolation level that a session declares, for one transaction or for those to come.

use sqlparser::ast::{Expr, Set, Statement, TransactionIsolationLevel, TransactionMode};

use crate::model::Snapshots;

/// What a statement says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// Of the transaction that it begins, or that it stands in.
    OfTransaction(Snapshots),
    /// Of the session's transactions from now on.
    OfSession(Snapshots),
}

/// The isolation level in a statement, where it names one.
pub fn declared(statement: &Statement) -> Option<Declared> {
    match statement {
        Statement::StartTransaction { modes, .. } => of_modes(modes).map(Declared::OfTransaction),
        Statement::Set(Set::SetTransaction { modes, session, .. }) => {
            let declare = if *session { Declared::OfSession } else { Declared::OfTransaction };
            of_modes(modes).map(declare)
        }
        Statement::Set(Set::SingleAssignment { variable, values, .. }) => {
            let [value] = values.as_slice() else { return None };
            let level = match value {
                Expr::Value(value) => value.clone().into_string()?,
                other => other.to_string(),
            };
            let snapshots = match level.to_ascii_lowercase().as_str() {
                "serializable" | "repeatable read" => Snapshots::OfTransaction,
                "read committed" | "read uncommitted" | "default" => Snapshots::OfStatements,
                _ => return None,
            };
            match variable.to_string().to_ascii_lowercase().as_str() {
                "transaction_isolation" => Some(Declared::OfTransaction(snapshots)),
                "default_transaction_isolation" => Some(Declared::OfSession(snapshots)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn of_modes(modes: &[TransactionMode]) -> Option<Snapshots> {
    modes.iter().rev().find_map(|mode| match mode {
        TransactionMode::IsolationLevel(level) => Some(match level {
            TransactionIsolationLevel::RepeatableRead
            | TransactionIsolationLevel::Serializable
            | TransactionIsolationLevel::Snapshot => Snapshots::OfTransaction,
            TransactionIsolationLevel::ReadUncommitted | TransactionIsolationLevel::ReadCommitted => {
                Snapshots::OfStatements
            }
        }),
        TransactionMode::AccessMode(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_read_wherever_a_session_may_say_it() {
        let whole = Snapshots::OfTransaction;
        let each = Snapshots::OfStatements;
        let cases = [
            ("BEGIN ISOLATION LEVEL SERIALIZABLE", Some(Declared::OfTransaction(whole))),
            ("begin transaction isolation level repeatable read, read write", Some(Declared::OfTransaction(whole))),
            ("START TRANSACTION ISOLATION LEVEL READ COMMITTED", Some(Declared::OfTransaction(each))),
            ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", Some(Declared::OfTransaction(whole))),
            (
                "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
                Some(Declared::OfSession(whole)),
            ),
            ("SET default_transaction_isolation = 'serializable'", Some(Declared::OfSession(whole))),
            ("SET default_transaction_isolation TO 'read committed'", Some(Declared::OfSession(each))),
            ("BEGIN", None),
            ("BEGIN READ ONLY", None),
            ("SET statement_timeout = 5", None),
        ];
        for (sql, expected) in cases {
            let parsed = crate::sql::parse(sql).expect("PostgreSQL's SQL");
            assert_eq!(parsed.first().and_then(declared), expected, "{sql}");
        }
    }
}
