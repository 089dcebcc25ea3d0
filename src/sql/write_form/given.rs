//! Values that only the database could give, and those that came from the application.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Function, Value as SqlValue, Visit, Visitor};

use crate::sql::folded;

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

/// Whether a literal or a parameter stands anywhere in it.
pub(super) fn holds_constant<T: Visit>(node: &T) -> bool {
    struct FindConstant;
    impl Visitor for FindConstant {
        type Break = ();

        fn pre_visit_value(&mut self, value: &sqlparser::ast::ValueWithSpan) -> ControlFlow<()> {
            if matches!(value.value, SqlValue::Null) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }
    }
    node.visit(&mut FindConstant).is_break()
}
