//! `(a, b) IN (SELECT …)`, which the engine does not have, as `EXISTS`.

use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, Query, SetExpr, VisitMut, VisitorMut};

use crate::sql;

/// Rewrites it wherever a condition demands it outright: there a comparison with NULL keeps a row out as a false one does.
pub fn exist_rows(query: &mut Query) {
    let _ = query.visit(&mut RowSubqueries);
}

struct RowSubqueries;

impl VisitorMut for RowSubqueries {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        in_body(&mut query.body);
        ControlFlow::Continue(())
    }
}

fn in_body(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => select.selection.iter_mut().for_each(in_condition),
        SetExpr::SetOperation { left, right, .. } => {
            in_body(left);
            in_body(right);
        }
        _ => {}
    }
}

fn in_condition(condition: &mut Expr) {
    match condition {
        Expr::Nested(inner) => in_condition(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            in_condition(left);
            in_condition(right);
        }
        Expr::InSubquery { expr, subquery, negated: false } => {
            if let Expr::Tuple(values) = expr.as_ref()
                && let Some(exists) = exists(values, subquery)
            {
                *condition = exists;
            }
        }
        _ => {}
    }
}

/// `EXISTS (SELECT 1 FROM (…) AS "row" ("0", "1") WHERE a = "row"."0" AND b = "row"."1")`.
fn exists(values: &[Expr], subquery: &Query) -> Option<Expr> {
    let names: Vec<String> = (0..values.len()).map(|place| format!("\"{place}\"")).collect();
    let equal: Vec<String> =
        values.iter().zip(&names).map(|(value, name)| format!("{value} = \"row\".{name}")).collect();
    let columns = names.join(", ");
    let text = format!("SELECT 1 FROM ({subquery}) AS \"row\" ({columns}) WHERE {}", equal.join(" AND "));
    let subquery = Box::new(sql::view_query(&text).ok()?);
    Some(Expr::Exists { subquery, negated: false })
}
