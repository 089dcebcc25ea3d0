//! What a name means where it stands, and what a condition demands of the tables in reach.

use sqlparser::ast::{Expr, Ident, ObjectName};

use super::{ColumnsRead, Relation, Resolver, TableReference, reference_name};
use crate::model::TableSchema;
use crate::sql::bounds::{self, Bound, Operand};
use crate::sql::{SqlError, folded};

impl Resolver<'_> {
    pub(super) fn schema(&self, position: usize) -> Option<&TableSchema> {
        self.schemas.get(&self.references.get(position)?.table).map(AsRef::as_ref)
    }

    pub(super) fn read(&mut self, position: usize, column: &str) {
        if let Some(TableReference { columns: ColumnsRead::Some(columns), .. }) = self.references.get_mut(position) {
            columns.insert(column.into());
        }
    }

    fn read_all_columns(&mut self, position: usize) {
        if let Some(reference) = self.references.get_mut(position) {
            reference.columns = ColumnsRead::All;
        }
    }

    pub(super) fn read_all_of_scope(&mut self) {
        for position in self.tables_in_scope() {
            self.read_all_columns(position);
        }
    }

    fn tables_in_scope(&self) -> Vec<usize> {
        let relations = self.scopes.last().into_iter().flatten();
        relations
            .filter_map(|named| if let Relation::Table(position) = named.relation { Some(position) } else { None })
            .collect()
    }

    pub(super) fn read_in_every_table(&mut self, column: &str) {
        for position in self.tables_in_scope() {
            if self.schema(position).is_some_and(|schema| schema.column(column).is_some()) {
                self.read(position, column);
            }
        }
    }

    pub(super) fn read_whole(&mut self, name: &mut ObjectName) -> Result<(), SqlError> {
        let alias = name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
        match self.relation_by_alias(&alias) {
            Some(Relation::Table(position)) => {
                let position = *position;
                self.read_all_columns(position);
                *name = ObjectName::from(vec![Ident::new(reference_name(self.prefix, position))]);
                Ok(())
            }
            Some(Relation::Opaque(_)) => Ok(()),
            None => Err(SqlError::UnknownColumn(format!("{name}.*"))),
        }
    }

    pub(super) fn relation_by_alias(&self, alias: &str) -> Option<&Relation> {
        self.scopes
            .iter()
            .rev()
            .find_map(|scope| scope.iter().find(|named| named.alias == alias))
            .map(|named| &named.relation)
    }

    /// The table reference and column that a name means; `Ok(None)` where it is a column of a subquery.
    pub(super) fn resolve(&self, parts: &[Ident]) -> Result<Option<(usize, String)>, SqlError> {
        let unknown = || SqlError::UnknownColumn(parts.iter().map(Ident::to_string).collect::<Vec<_>>().join("."));
        match parts {
            [column] => self.resolve_bare(&folded(column)).ok_or_else(unknown),
            [.., alias, column] => {
                let column = folded(column);
                match self.relation_by_alias(&folded(alias)) {
                    Some(Relation::Table(position)) => {
                        let known = self.schema(*position).is_some_and(|schema| schema.column(&column).is_some());
                        if known { Ok(Some((*position, column))) } else { Err(unknown()) }
                    }
                    Some(Relation::Opaque(_)) => Ok(None),
                    None => Err(unknown()),
                }
            }
            [] => Err(unknown()),
        }
    }

    fn resolve_bare(&self, column: &str) -> Option<Option<(usize, String)>> {
        let mut may_be_opaque = false;
        for scope in self.scopes.iter().rev() {
            for named in scope {
                match &named.relation {
                    Relation::Table(position)
                        if self.schema(*position).is_some_and(|schema| schema.column(column).is_some()) =>
                    {
                        return Some(Some((*position, column.to_owned())));
                    }
                    Relation::Opaque(Some(columns)) if columns.iter().any(|known| known == column) => {
                        return Some(None);
                    }
                    Relation::Opaque(None) => may_be_opaque = true,
                    _ => {}
                }
            }
        }
        may_be_opaque.then_some(None)
    }

    pub(super) fn bound_by(&mut self, condition: &Expr, first: usize) {
        self.bound_within(condition, first..usize::MAX);
    }

    /// Notes what the condition demands of the innermost scope's tables at these places.
    pub(super) fn bound_within(&mut self, condition: &Expr, places: std::ops::Range<usize>) {
        let own: Vec<usize> = self
            .scopes
            .last()
            .into_iter()
            .flatten()
            .enumerate()
            .filter_map(|(place, named)| match named.relation {
                Relation::Table(position) if places.contains(&place) => Some(position),
                _ => None,
            })
            .collect();
        for (parts, operands) in bounds::equalities(condition) {
            let Ok(Some((position, column))) = self.resolve(parts) else { continue };
            if !own.contains(&position) {
                continue;
            }
            let operands: Option<Vec<Operand>> =
                operands.iter().map(|operand| self.operand(position, &column, operand)).collect();
            if let (Some(operands), Some(reference)) = (operands, self.references.get_mut(position)) {
                reference.bounds.push(Bound { column: column.as_str().into(), operands });
            }
        }
    }

    fn operand(&self, position: usize, column: &str, operand: &Expr) -> Option<Operand> {
        let column_type = &self.schema(position)?.column(column)?.column_type;
        match bounds::column_parts(operand) {
            Some(parts) => {
                let (other, other_column) = self.resolve(&parts).ok()??;
                let other_type = &self.schema(other)?.column(&other_column)?.column_type;
                (other != position && bounds::same_text(column_type, other_type))
                    .then(|| Operand::Column { reference: other, column: other_column.as_str().into() })
            }
            None => bounds::constant(operand, column_type),
        }
    }
}
