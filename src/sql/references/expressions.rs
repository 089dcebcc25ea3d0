//! Expressions: the columns that they name are read; their subqueries are queries of their own.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Function, Ident, Query, VisitMut, VisitorMut};

use super::{OutputColumns, Resolver, reference_name};
use crate::sql::{SqlError, folded};

impl Resolver<'_> {
    pub(super) fn expressions(&mut self, expressions: &mut [Expr]) -> Result<(), SqlError> {
        expressions.iter_mut().try_for_each(|expression| self.expression(expression))
    }

    pub(super) fn expression(&mut self, expression: &mut Expr) -> Result<(), SqlError> {
        let mut walk = ExpressionWalk { resolver: self, depth: 0, failure: None };
        let _ = expression.visit(&mut walk);
        walk.failure.map_or(Ok(()), Err)
    }
}

/// Visits one expression: its columns are resolved here, its subqueries by the resolver.
pub(super) struct ExpressionWalk<'walk, 'schemas> {
    pub(super) resolver: &'walk mut Resolver<'schemas>,
    pub(super) depth: usize,
    pub(super) failure: Option<SqlError>,
}

impl ExpressionWalk<'_, '_> {
    /// Notes a column as read; hands back the place of its table reference, where it is a table's.
    fn column(&mut self, parts: &[Ident]) -> ControlFlow<(), Option<usize>> {
        match self.resolver.resolve(parts) {
            Ok(Some((position, column))) => {
                self.resolver.read(position, &column);
                ControlFlow::Continue(Some(position))
            }
            Ok(None) => ControlFlow::Continue(None),
            // A bare name that is a table's alias is the whole row.
            Err(error) => match parts {
                [alias] if self.resolver.relation_by_alias(&folded(alias)).is_some() => {
                    self.fail(SqlError::Unsupported(format!("the whole row {alias} as a value")))
                }
                _ => self.fail(error),
            },
        }
    }

    fn fail<C>(&mut self, failure: SqlError) -> ControlFlow<(), C> {
        self.failure.get_or_insert(failure);
        ControlFlow::Break(())
    }
}

impl VisitorMut for ExpressionWalk<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        if self.depth > 1 {
            return ControlFlow::Continue(());
        }
        match self.resolver.query(query) {
            Ok(_) => ControlFlow::Continue(()),
            Err(failure) => self.fail(failure),
        }
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        match expression {
            Expr::Identifier(ident) => {
                let parts = [ident.clone()];
                self.column(&parts).map_continue(|_| ())
            }
            Expr::CompoundIdentifier(parts) => {
                // The engine knows the reference by its own name alone.
                if let Some(position) = self.column(parts)?
                    && let Some(column) = parts.pop()
                {
                    *parts = vec![Ident::new(reference_name(self.resolver.prefix, position)), column];
                }
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Whether an ORDER BY or GROUP BY item names an output column (by name or by number) and so reads nothing more.
pub(super) fn names_output(expression: &Expr, output: &OutputColumns) -> bool {
    match expression {
        Expr::Value(_) => true,
        Expr::Identifier(ident) => output.as_ref().is_some_and(|names| names.contains(&folded(ident))),
        _ => false,
    }
}

/// PostgreSQL's name for an output column without an alias.
pub(super) fn output_name(expression: &Expr) -> String {
    match expression {
        Expr::Identifier(ident) => folded(ident),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded).unwrap_or_default(),
        Expr::Function(Function { name, .. }) => {
            name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default()
        }
        Expr::Cast { expr, .. } | Expr::Nested(expr) => output_name(expr),
        Expr::Case { .. } => "case".to_owned(),
        _ => "?column?".to_owned(),
    }
}
