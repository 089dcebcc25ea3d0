//! `IS DISTINCT FROM` with PostgreSQL's precedence.
//!
//! sqlparser 0.62 reads everything behind it as its right side: `a IS DISTINCT FROM b AND c` becomes
//! `a IS DISTINCT FROM (b AND c)`. PostgreSQL binds it tighter than NOT, AND and OR.

use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value, VisitMut, VisitorMut};

/// Gives every `IS [NOT] DISTINCT FROM` in it the right side that PostgreSQL gives it, in parentheses.
pub fn bind_distinct_from(node: &mut impl VisitMut) {
    // The visitor never breaks.
    let _: ControlFlow<()> = node.visit(&mut Rebinding);
}

struct Rebinding;

impl VisitorMut for Rebinding {
    type Break = ();

    // From the top down: what AND and OR join has to be seen as a whole.
    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if swallows(expression) {
            let whole = std::mem::replace(expression, null());
            let mut chain = Chain::default();
            chain.extend(whole);
            *expression = chain.joined();
        }
        ControlFlow::Continue(())
    }
}

/// Whether an `IS DISTINCT FROM` outside of parentheses has taken an AND or OR for its right side.
fn swallows(expression: &Expr) -> bool {
    let mut waiting = vec![expression];
    while let Some(expression) = waiting.pop() {
        match expression {
            Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                waiting.extend([left.as_ref(), right.as_ref()]);
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => waiting.push(expr),
            Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => match right.as_ref() {
                Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. } => return true,
                right => waiting.push(right),
            },
            _ => {}
        }
    }
    false
}

/// What stands between ANDs and ORs, in the order written.
#[derive(Default)]
struct Chain {
    operands: Vec<Expr>,
    operators: Vec<BinaryOperator>,
}

impl Chain {
    fn extend(&mut self, expression: Expr) {
        match expression {
            Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
                self.extend(*left);
                self.operators.push(op);
                self.extend(*right);
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                self.extend_by(*expr, |first| Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(first) });
            }
            Expr::IsDistinctFrom(left, right) => {
                self.extend_by(*right, |first| nested(Expr::IsDistinctFrom(left, Box::new(first))));
            }
            Expr::IsNotDistinctFrom(left, right) => {
                self.extend_by(*right, |first| nested(Expr::IsNotDistinctFrom(left, Box::new(first))));
            }
            other => self.operands.push(other),
        }
    }

    /// What stands in front belongs to the first operand alone.
    fn extend_by(&mut self, expression: Expr, front: impl FnOnce(Expr) -> Expr) {
        let first = self.operands.len();
        self.extend(expression);
        let mut added = self.operands.split_off(first).into_iter();
        self.operands.extend(added.next().map(front));
        self.operands.extend(added);
    }

    /// Joined anew: AND before OR, each from the left.
    fn joined(self) -> Expr {
        let mut operands = self.operands.into_iter();
        let mut alternatives: Vec<Expr> = operands.next().into_iter().collect();
        for (operator, operand) in self.operators.into_iter().zip(operands) {
            match (operator, alternatives.pop()) {
                (BinaryOperator::And, Some(last)) => alternatives.push(binary(last, BinaryOperator::And, operand)),
                (_, last) => {
                    alternatives.extend(last);
                    alternatives.push(operand);
                }
            }
        }
        let mut alternatives = alternatives.into_iter();
        let first = alternatives.next().unwrap_or_else(null);
        alternatives.fold(first, |left, right| binary(left, BinaryOperator::Or, right))
    }
}

fn null() -> Expr {
    Expr::value(Value::Null)
}

fn nested(expression: Expr) -> Expr {
    Expr::Nested(Box::new(expression))
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    use super::*;

    fn bound(text: &str) -> String {
        let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text);
        let mut expression = parser.and_then(|mut parser| parser.parse_expr()).expect("it is an expression");
        bind_distinct_from(&mut expression);
        expression.to_string()
    }

    #[test]
    fn it_binds_tighter_than_and_or_and_not() {
        for (written, meant) in [
            ("a IS DISTINCT FROM b AND c", "(a IS DISTINCT FROM b) AND c"),
            ("a IS NOT DISTINCT FROM b OR c AND d", "(a IS NOT DISTINCT FROM b) OR c AND d"),
            ("x AND a IS DISTINCT FROM b + 1 OR c", "x AND (a IS DISTINCT FROM b + 1) OR c"),
            ("NOT a IS DISTINCT FROM b AND c", "NOT (a IS DISTINCT FROM b) AND c"),
            (
                "a IS DISTINCT FROM b OR c IS DISTINCT FROM d OR e",
                "(a IS DISTINCT FROM b) OR (c IS DISTINCT FROM d) OR e",
            ),
            ("a IS DISTINCT FROM (b AND c)", "a IS DISTINCT FROM (b AND c)"),
            ("(a IS DISTINCT FROM b AND c) OR d", "((a IS DISTINCT FROM b) AND c) OR d"),
        ] {
            assert_eq!(bound(written), meant, "{written}");
        }
    }

    #[test]
    fn and_joins_before_or() {
        let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql("x AND a IS DISTINCT FROM b OR c");
        let mut expression = parser.and_then(|mut parser| parser.parse_expr()).expect("it is an expression");
        bind_distinct_from(&mut expression);
        assert!(matches!(expression, Expr::BinaryOp { op: BinaryOperator::Or, .. }), "{expression:?}");
    }
}
