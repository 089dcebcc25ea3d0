//! FROM: the tables, subqueries and functions that it brings in reach, and the conditions that join them.

use std::collections::BTreeSet;

use sqlparser::ast::{
    Ident, JoinConstraint, JoinOperator, ObjectName, TableAlias, TableFactor, TableWithJoins, VisitMut,
};

use super::expressions::ExpressionWalk;
use super::{ColumnsRead, NamedRelation, OutputColumns, Relation, Resolver, TableReference, reference_name};
use crate::sql::{SqlError, folded, table_name};

impl Resolver<'_> {
    pub(super) fn table_with_joins(&mut self, item: &mut TableWithJoins) -> Result<(), SqlError> {
        let start = self.scope_len();
        self.table_factor(&mut item.relation)?;
        for join in &mut item.joins {
            let right = self.scope_len();
            self.table_factor(&mut join.relation)?;
            // What an outer join keeps although its condition fails must not be bounded by that condition.
            let (constraint, boundable) = match &mut join.join_operator {
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::CrossJoin(constraint) => (constraint, Some(start..usize::MAX)),
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
                    (constraint, Some(right..usize::MAX))
                }
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                    (constraint, Some(start..right))
                }
                JoinOperator::FullOuter(constraint) => (constraint, None),
                other => return Err(SqlError::Unsupported(format!("the join {other:?}"))),
            };
            match constraint {
                JoinConstraint::On(condition) => {
                    if let Some(places) = boundable {
                        self.bound_within(condition, places);
                    }
                    self.expression(condition)?;
                }
                JoinConstraint::Using(columns) => {
                    for column in columns.iter().filter_map(|name| name.0.last()?.as_ident()) {
                        self.read_in_every_table(&folded(column));
                    }
                }
                JoinConstraint::Natural => self.read_all_of_scope(),
                JoinConstraint::None => {}
            }
        }
        Ok(())
    }

    fn table_factor(&mut self, factor: &mut TableFactor) -> Result<(), SqlError> {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => self.table(name, alias),
            TableFactor::Derived { subquery, alias, .. } => {
                let output = self.query(subquery)?;
                let columns = alias.as_ref().and_then(alias_columns).or(output);
                self.relation(alias.as_ref().map_or_else(String::new, |alias| folded(&alias.name)), columns);
                Ok(())
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => self.table_with_joins(table_with_joins),
            TableFactor::Table { args: Some(_), alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. } => {
                let alias = alias.as_ref().map_or_else(String::new, |alias| folded(&alias.name));
                let mut walk = ExpressionWalk { resolver: self, depth: 0, failure: None };
                let _ = factor.visit(&mut walk);
                if let Some(failure) = walk.failure {
                    return Err(failure);
                }
                self.relation(alias, None);
                Ok(())
            }
            other => Err(SqlError::Unsupported(format!("the FROM item {other}"))),
        }
    }

    fn table(&mut self, name: &mut ObjectName, alias: &mut Option<TableAlias>) -> Result<(), SqlError> {
        let shown = name.to_string();
        let table = table_name(name).ok_or_else(|| SqlError::Unsupported(format!("the table name {shown}")))?;
        let alias_name = alias.as_ref().map_or_else(|| table.table.to_string(), |alias| folded(&alias.name));
        if name.0.len() == 1
            && let Some((_, columns)) = self.common_tables.iter().rev().find(|(name, _)| *name == *table.table)
        {
            let columns = alias.as_ref().and_then(alias_columns).or_else(|| columns.clone());
            self.relation(alias_name, columns);
            return Ok(());
        }
        if alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
            return Err(SqlError::Unsupported(format!("renamed columns of {shown}")));
        }
        if !self.schemas.contains_key(&table) {
            return Err(SqlError::Unsupported(format!("table {table}, whose shape is not known")));
        }
        let position = self.references.len();
        self.references.push(TableReference { table, columns: ColumnsRead::Some(BTreeSet::new()), bounds: Vec::new() });
        *name = ObjectName::from(vec![Ident::new(reference_name(self.prefix, position))]);
        // Its alias may be the name of a column, too, which the engine would take first.
        *alias = None;
        self.scope_push(NamedRelation { alias: alias_name, relation: Relation::Table(position) });
        Ok(())
    }

    pub(super) fn relation(&mut self, alias: String, columns: OutputColumns) {
        self.scope_push(NamedRelation { alias, relation: Relation::Opaque(columns) });
    }

    pub(super) fn scope_push(&mut self, relation: NamedRelation) {
        match self.scopes.last_mut() {
            Some(scope) => scope.push(relation),
            None => self.scopes.push(vec![relation]),
        }
    }

    pub(super) fn scope_len(&self) -> usize {
        self.scopes.last().map_or(0, Vec::len)
    }
}

pub(super) fn alias_columns(alias: &TableAlias) -> OutputColumns {
    (!alias.columns.is_empty()).then(|| alias.columns.iter().map(|column| folded(&column.name)).collect())
}
