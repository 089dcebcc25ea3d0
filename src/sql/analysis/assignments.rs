//! What UPDATE, ON CONFLICT and MERGE set: which columns, and what each gets.

use std::rc::Rc;
use std::sync::Arc;

use sqlparser::ast::{Assignment, AssignmentTarget, Expr, ObjectName};

use super::Dialect;
use super::arena::TableId;
use super::dependencies::{Dependencies, Role};
use super::outcome::Via;
use super::scope::{Body, Output, OutputColumn, Scope, spelled};
use super::walk::{Rows, Walk};
use super::writes::{Target, last_name};
use crate::model::ColumnName;

impl Walk<'_> {
    /// `SET a = …`, `SET (a, b) = …`.
    pub(super) fn assignment(&mut self, assignment: &Assignment, target: &Target, rows: &Rows) {
        match &assignment.target {
            AssignmentTarget::ColumnName(name) => {
                let Some(column) = self.set_column(name, target) else { return };
                let mut dependencies = Dependencies::default();
                self.expression(&assignment.value, Role::Value(Via::Copy), &mut dependencies);
                if name.0.len() > 1 && self.dialect == Dialect::Postgres {
                    // Of a value in parts, what is not set stays.
                    let whole = self.arena.column(Some(target.id), &column);
                    dependencies.add(whole, Role::Value(Via::Transform));
                    dependencies.sources.iter_mut().for_each(|(_, via)| *via = (*via).max(Via::Transform));
                }
                let table = self.assigned_table(name, target);
                self.assign(Some(table), &column, dependencies, rows);
            }
            AssignmentTarget::Tuple(names) => {
                let names: Vec<ColumnName> = names.iter().filter_map(|name| self.set_column(name, target)).collect();
                let values = self.tuple_values(&assignment.value, names.len());
                for (name, dependencies) in names.iter().zip(values) {
                    self.assign(Some(target.id), name, dependencies, rows);
                }
            }
        }
    }

    /// The column that a write names: in PostgreSQL what follows it is a field of its value, or an element.
    pub(super) fn set_column(&self, name: &ObjectName, target: &Target) -> Option<ColumnName> {
        let first = name.0.first().and_then(|part| part.as_ident()).map(|ident| ColumnName::from(spelled(ident)));
        let is_table = |first: &ColumnName| *first == target.alias || *first == target.name.table;
        let has = |first: &ColumnName| target.shape.as_ref().is_some_and(|shape| shape.has(first));
        match first {
            Some(first)
                if self.dialect == Dialect::Postgres && name.0.len() > 1 && (has(&first) || !is_table(&first)) =>
            {
                Some(first)
            }
            _ => last_name(name),
        }
    }

    /// MySQL's UPDATE of a join sets columns of any of its tables.
    fn assigned_table(&mut self, name: &ObjectName, target: &Target) -> TableId {
        if self.dialect == Dialect::Postgres {
            return target.id;
        }
        let parts = super::expression::idents(name);
        let Some(qualifier) =
            parts.len().checked_sub(1).and_then(|count| parts.get(..count)).filter(|path| !path.is_empty())
        else {
            return target.id;
        };
        let found =
            self.relation_called(qualifier).and_then(|(scope, place)| self.scopes.get(scope)?.relations.get(place));
        match found.map(|relation| &relation.body) {
            Some(Body::Table { id, .. }) if *id != target.id => {
                let id = *id;
                self.writes(id);
                id
            }
            _ => target.id,
        }
    }

    fn tuple_values(&mut self, value: &Expr, count: usize) -> Vec<Dependencies> {
        match value {
            Expr::Nested(inner) => self.tuple_values(inner, count),
            Expr::Tuple(elements) => {
                let mut values = Vec::new();
                for element in elements {
                    let mut dependencies = Dependencies::default();
                    self.expression(element, Role::Value(Via::Copy), &mut dependencies);
                    values.push(dependencies);
                }
                values
            }
            Expr::Subquery(query) => {
                let output = self.query(query);
                let mut values = Vec::new();
                for column in &output.columns {
                    let mut dependencies = Dependencies::default();
                    self.absorb_column(column, Role::Value(Via::Copy), &mut dependencies);
                    dependencies.influences.extend_from_slice(&output.rows);
                    match column {
                        OutputColumn::Named { .. } => values.push(dependencies),
                        OutputColumn::AllOf(_) => values.extend(std::iter::repeat_n(dependencies, count)),
                    }
                }
                values
            }
            // ROW(a, b), or one value for all.
            Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("row") => {
                let sqlparser::ast::FunctionArguments::List(list) = &function.args else { return Vec::new() };
                let mut values = Vec::new();
                for argument in &list.args {
                    let mut dependencies = Dependencies::default();
                    self.argument(argument, Role::Value(Via::Copy), &mut dependencies);
                    values.push(dependencies);
                }
                values
            }
            other => {
                let mut dependencies = Dependencies::default();
                self.expression(other, Role::Value(Via::Transform), &mut dependencies);
                std::iter::repeat_n(dependencies, count).collect()
            }
        }
    }

    /// The columns that the database computes anew because a column they depend on is set.
    pub(super) fn generated_of_assignments(&mut self, assignments: &[Assignment], target: &Target, rows: &Rows) {
        let Some(shape) = target.shape.clone().filter(|shape| !shape.generated.is_empty()) else { return };
        let mut set: Vec<(ColumnName, Dependencies)> = Vec::new();
        for assignment in assignments {
            match &assignment.target {
                AssignmentTarget::ColumnName(name) => {
                    let mut dependencies = Dependencies::default();
                    self.expression(&assignment.value, Role::Value(Via::Copy), &mut dependencies);
                    set.extend(self.set_column(name, target).map(|column| (column, dependencies)));
                }
                AssignmentTarget::Tuple(names) => {
                    let values = self.tuple_values(&assignment.value, names.len());
                    set.extend(names.iter().filter_map(|name| self.set_column(name, target)).zip(values));
                }
            }
        }
        let body = target.body();
        let columns = self.listed(&body, &[]).into_iter().map(|column| match column {
            OutputColumn::Named { name, dependencies } => {
                let new = set.iter().find(|(column, _)| *column == name).map(|(_, new)| new.clone());
                OutputColumn::Named { name, dependencies: new.unwrap_or(dependencies) }
            }
            open @ OutputColumn::AllOf(_) => open,
        });
        let output = Output { columns: columns.collect(), rows: Vec::new() };
        for (name, expression) in &shape.generated {
            let names: Vec<ColumnName> = set.iter().map(|(name, _)| Arc::clone(name)).collect();
            if !super::definitions::mentions(expression, &names) {
                continue;
            }
            let mut dependencies = Dependencies::default();
            self.scopes
                .push(Scope::of(Body::Output(Rc::new(Output { columns: output.columns.clone(), rows: Vec::new() }))));
            self.expression(expression, Role::Value(Via::Transform), &mut dependencies);
            self.scopes.pop();
            self.assign(Some(target.id), name, dependencies, rows);
        }
    }

    /// The columns that assignments set.
    pub(super) fn columns_set(&self, assignments: &[Assignment], target: &Target) -> Vec<ColumnName> {
        let names = assignments.iter().flat_map(|assignment| match &assignment.target {
            AssignmentTarget::ColumnName(name) => std::slice::from_ref(name),
            AssignmentTarget::Tuple(names) => names.as_slice(),
        });
        names.filter_map(|name| self.set_column(name, target)).collect()
    }
}
