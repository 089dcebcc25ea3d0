//! SQL-level prepared statements and prepared transactions: what `EXECUTE` ran, and what `COMMIT PREPARED` committed.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use regex::Regex;
use sqlparser::ast::{self, Expr, UnaryOperator, Value as SqlValue};

use crate::model::{LogEvent, Value};

/// The statements that a session has prepared, by name.
#[derive(Debug, Default)]
pub struct PreparedStatements(HashMap<String, Arc<str>>);

/// What an `EXECUTE` ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expansion {
    /// The prepared statement, with the comment that the `EXECUTE` ended in.
    pub sql: Arc<str>,
    /// Its arguments; `None` for one that is no constant.
    pub parameters: Vec<Option<Value>>,
}

static PREPARE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pattern = r#"(?is)^\s*PREPARE\s+("[^"]+"|\w+)\s*(?:\((?:[^()]|\([^()]*\))*\))?\s*\bAS\s+(.*)$"#;
    Regex::new(pattern).ok()
});

/// The name and the statement of a `PREPARE`.
fn parts_of_prepare(sql: &str) -> Option<(String, &str)> {
    let found = PREPARE.as_ref()?.captures(sql)?;
    let (name, statement) = (found.get(1)?.as_str(), found.get(2)?.as_str());
    let name = match name.strip_prefix('"') {
        Some(quoted) => quoted.trim_end_matches('"').to_owned(),
        None => name.to_lowercase(),
    };
    Some((name, statement))
}

impl PreparedStatements {
    /// Remembers a `PREPARE`; any other statement changes nothing.
    pub fn note(&mut self, sql: &str) {
        if let Some((name, statement)) = parts_of_prepare(sql) {
            self.0.insert(name, statement.into());
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What an `EXECUTE` ran, where the event or an earlier `PREPARE` of the session tells it.
    pub fn expand(&self, event: &LogEvent, statement: Option<&ast::Statement>) -> Option<Expansion> {
        let of_event = event.prepared.as_deref().and_then(parts_of_prepare).map(|(_, statement)| Arc::from(statement));
        let (name, arguments) = match statement {
            Some(ast::Statement::Execute { name: Some(name), parameters, immediate: false, .. }) => {
                let name = name.0.last().and_then(|part| part.as_ident()).map(crate::sql::folded);
                (name, parameters.iter().map(constant).collect())
            }
            _ if event.prepared.is_some() => (None, Vec::new()),
            _ => return None,
        };
        let prepared: Arc<str> = of_event.or_else(|| self.0.get(&name?).cloned())?;
        let sql = match event.sql.as_deref().and_then(trailing_comment) {
            Some(comment) => format!("{} {comment}", prepared.trim_end().trim_end_matches(';')).into(),
            None => prepared,
        };
        let parameters = if event.parameters.is_empty() { arguments } else { event.parameters.clone() };
        Some(Expansion { sql, parameters })
    }
}

fn trailing_comment(sql: &str) -> Option<&str> {
    let trimmed = sql.trim_end().trim_end_matches(';').trim_end();
    trimmed.ends_with("*/").then(|| trimmed.rfind("/*").and_then(|start| trimmed.get(start..))).flatten()
}

/// A constant as PostgreSQL would print it; `None` for what would have to be computed.
fn constant(expression: &Expr) -> Option<Value> {
    match expression {
        Expr::Nested(inner) => constant(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(value) => match &value.value {
                SqlValue::Number(digits, _) => Some(Value::text(format!("-{digits}"))),
                _ => None,
            },
            _ => None,
        },
        Expr::Value(value) => match &value.value {
            SqlValue::Number(digits, _) => Some(Value::text(digits.as_str())),
            SqlValue::SingleQuotedString(text) | SqlValue::EscapedStringLiteral(text) => {
                Some(Value::text(text.as_str()))
            }
            SqlValue::Boolean(true) => Some(Value::text("t")),
            SqlValue::Boolean(false) => Some(Value::text("f")),
            SqlValue::Null => Some(Value::NULL),
            _ => None,
        },
        _ => None,
    }
}

/// A command of a two-phase commit, with the transaction's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TwoPhase {
    /// `PREPARE TRANSACTION 'name'`: the session's transaction waits.
    Prepare(String),
    /// `COMMIT PREPARED 'name'`, in whatever session.
    Commit(String),
    /// `ROLLBACK PREPARED 'name'`, in whatever session.
    Rollback(String),
}

static TWO_PHASE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?is)^\s*(PREPARE\s+TRANSACTION|COMMIT\s+PREPARED|ROLLBACK\s+PREPARED)\s+'((?:[^']|'')*)'").ok()
});

impl TwoPhase {
    /// Reads a command; `None` for any other statement.
    pub fn of(sql: &str) -> Option<Self> {
        let found = TWO_PHASE.as_ref()?.captures(sql)?;
        let name = found.get(2)?.as_str().replace("''", "'");
        Some(match found.get(1)?.as_str().as_bytes().first()?.to_ascii_uppercase() {
            b'P' => TwoPhase::Prepare(name),
            b'C' => TwoPhase::Commit(name),
            _ => TwoPhase::Rollback(name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_prepare_are_told_apart() {
        let expected = Some(("p".to_owned(), "INSERT INTO t VALUES ($1, $2)"));
        assert_eq!(parts_of_prepare("PREPARE P(int, numeric(10,2)) AS INSERT INTO t VALUES ($1, $2)"), expected);
        assert_eq!(parts_of_prepare("prepare \"p\" as INSERT INTO t VALUES ($1, $2)"), expected);
        assert_eq!(parts_of_prepare("PREPARE TRANSACTION 'x'"), None);
    }

    #[test]
    fn two_phase_commands_are_read() {
        assert_eq!(TwoPhase::of("prepare transaction 'a''b'"), Some(TwoPhase::Prepare("a'b".to_owned())));
        assert_eq!(TwoPhase::of("COMMIT PREPARED 'x';"), Some(TwoPhase::Commit("x".to_owned())));
        assert_eq!(TwoPhase::of("ROLLBACK PREPARED 'x'"), Some(TwoPhase::Rollback("x".to_owned())));
        assert_eq!(TwoPhase::of("COMMIT"), None);
    }
}
