//! Values that only the database could give, and those that came from the application.

use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, Function, Value as SqlValue, Visit, Visitor};

use super::Constant;
use crate::sql::{folded, parse};

/// Functions whose value nobody can compute again.
const VOLATILE: [&str; 14] = [
    "nextval",
    "currval",
    "lastval",
    "setval",
    "random",
    "gen_random_uuid",
    "uuid_generate_v1",
    "uuid_generate_v4",
    "clock_timestamp",
    "timeofday",
    "txid_current",
    "pg_current_xact_id",
    "pg_backend_pid",
    "gen_random_bytes",
];

/// Whether a function of this name gives another value at every call.
pub fn is_volatile_function(name: &str) -> bool {
    VOLATILE.contains(&name)
}

pub(super) fn is_given(value: &Expr) -> bool {
    struct FindVolatile;
    impl Visitor for FindVolatile {
        type Break = ();

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            let volatile = matches!(expression, Expr::Function(Function { name, .. })
                if name.0.last().and_then(|part| part.as_ident()).is_some_and(|name| is_volatile_function(&folded(name))));
            if volatile { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    matches!(value, Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
        || value.visit(&mut FindVolatile).is_break()
}

/// Every number and text that stands in the SQL; none, where it is not understood.
pub fn literals(sql: &str) -> Vec<String> {
    let literal = |constant| match constant {
        Constant::Literal(text) => Some(text),
        Constant::Parameter(_) | Constant::Null => None,
    };
    parse(sql).map(|statements| constants(&statements).into_iter().filter_map(literal).collect()).unwrap_or_default()
}

/// The literals and parameters anywhere in it.
pub(super) fn constants<T: Visit>(node: &T) -> Vec<Constant> {
    struct FindConstants(Vec<Constant>);
    impl Visitor for FindConstants {
        type Break = ();

        fn pre_visit_value(&mut self, value: &sqlparser::ast::ValueWithSpan) -> ControlFlow<()> {
            let constant = match &value.value {
                SqlValue::Null => Constant::Null,
                SqlValue::Placeholder(name) => {
                    let number = name.strip_prefix('$').and_then(|digits| digits.parse().ok());
                    number.map_or_else(|| Constant::Literal(name.clone()), Constant::Parameter)
                }
                SqlValue::Number(text, _) | SqlValue::SingleQuotedString(text) => Constant::Literal(text.clone()),
                other => Constant::Literal(other.to_string()),
            };
            self.0.push(constant);
            ControlFlow::Continue(())
        }
    }
    let mut find = FindConstants(Vec::new());
    let _ = node.visit(&mut find);
    find.0
}

/// Whether the value is `column + 1` or `column - 1`.
pub(super) fn counts(column: &str, value: &Expr) -> bool {
    match value {
        Expr::Nested(inner) => counts(column, inner),
        Expr::BinaryOp { left, op: BinaryOperator::Plus | BinaryOperator::Minus, right } => {
            let is_column = match left.as_ref() {
                Expr::Identifier(name) => folded(name) == column,
                Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|name| folded(name) == column),
                _ => false,
            };
            let is_one = |value: &Expr| matches!(value, Expr::Value(one) if matches!(&one.value, SqlValue::Number(text, _) if text == "1"));
            is_column && is_one(right)
        }
        _ => false,
    }
}
