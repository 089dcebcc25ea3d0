//! What a write returns, as a query over the state before it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Delete, Distinct, Expr, FromTable, Ident, Insert, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, Statement, TableAlias, TableAliasColumnDef, TableFactor, TableObject,
    TableWithJoins, Update, UpdateTableFromKind, VisitMut, VisitorMut, visit_expressions,
};

use super::queries::{function_call, query_of, select, target};
use super::{Assigned, SqlError, insert, queries, target_schema, update};
use crate::model::{ColumnName, ColumnType, TableSchema};
use crate::sql::{Schemas, folded, table_name};

/// # Errors
/// Values that only the database could give, and forms of RETURNING that cannot be written over the state before.
pub(super) fn query(statement: &Statement, schemas: &Schemas) -> Result<Query, SqlError> {
    match statement {
        Statement::Delete(delete) => deleted(delete, schemas),
        Statement::Update(update) => updated(update, schemas),
        Statement::Insert(insert) => inserted(insert, schemas),
        _ => Err(SqlError::Unsupported("rows returned by MERGE".to_owned())),
    }
}

fn deleted(delete: &Delete, schemas: &Schemas) -> Result<Query, SqlError> {
    let (FromTable::WithFromKeyword(items) | FromTable::WithoutKeyword(items)) = &delete.from;
    let from: Vec<TableWithJoins> = items.iter().chain(delete.using.iter().flatten()).cloned().collect();
    let items = delete.returning.clone().unwrap_or_default();
    let first = from.first().ok_or_else(|| SqlError::Unsupported("a DELETE without a table".to_owned()))?;
    let (table, alias) = target(&first.relation)?;
    let schema = target_schema(table, &alias, schemas)?;
    let once = each_row_once(&from, delete.selection.as_ref(), &items, (&alias, schema), schemas)?;
    Ok(query_of(Select { distinct: once, ..select(items, from, delete.selection.clone()) }))
}

fn updated(update: &Update, schemas: &Schemas) -> Result<Query, SqlError> {
    let (table, alias) = target(&update.table.relation)?;
    let schema = target_schema(table, &alias, schemas)?;
    let (assigned, values) = update::assignments(&update.assignments, schema)?;
    let mut from = vec![update.table.clone()];
    match &update.from {
        Some(UpdateTableFromKind::AfterSet(items) | UpdateTableFromKind::BeforeSet(items)) => {
            from.extend(items.iter().cloned());
        }
        None => {}
    }
    let mut returned = Returned { alias: &alias, schema, new_values: BTreeMap::new(), refused: None };
    for (assigned, value) in assigned.iter().zip(values) {
        returned.new_values.insert(assigned.column.clone(), stored(assigned, value, schema));
    }
    let written = update.returning.as_deref().unwrap_or_default();
    let once = each_row_once(&from, update.selection.as_ref(), written, (&alias, schema), schemas)?;
    let items = returned.items(written, from.len() == 1)?;
    Ok(query_of(Select { distinct: once, ..select(items, from, update.selection.clone()) }))
}

fn inserted(insert: &Insert, schemas: &Schemas) -> Result<Query, SqlError> {
    let (TableObject::TableName(name), None) = (&insert.table, &insert.on) else {
        return Err(SqlError::Unsupported("rows returned by INSERT … ON CONFLICT".to_owned()));
    };
    let schema = target_schema(table_name(name), &name.to_string(), schemas)?;
    let alias = insert.table_alias.as_ref().map_or_else(|| schema.name.table.to_string(), |alias| folded(&alias.alias));
    let (query, assigned) = insert::proposed_rows(insert, schema)?;
    let proposed = |column: &ColumnName| Expr::Identifier(Ident::with_quote('"', column.as_ref()));
    let mut returned = Returned { alias: &alias, schema, new_values: BTreeMap::new(), refused: None };
    for column in &schema.columns {
        let known = assigned.iter().find(|assigned| assigned.column == column.name);
        let value = known.map(|assigned| stored(assigned, proposed(&column.name), schema)).unwrap_or(NewValue::Given);
        returned.new_values.insert(column.name.clone(), value);
    }
    let items = returned.items(insert.returning.as_deref().unwrap_or_default(), true)?;
    let columns = assigned.iter().map(|assigned| TableAliasColumnDef {
        name: Ident::with_quote('"', assigned.column.as_ref()),
        data_type: None,
    });
    let alias = TableAlias {
        explicit: true,
        name: Ident::with_quote('"', alias.as_str()),
        columns: columns.collect(),
        at: None,
    };
    let rows = TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None };
    Ok(query_of(select(items, vec![TableWithJoins { relation: rows, joins: Vec::new() }], None)))
}

/// A join may meet a row several times, and it is written and returned once: what keeps the query at that.
///
/// # Errors
/// Where the row does not say by itself which of its joined rows is returned with it: PostgreSQL takes any.
fn each_row_once(
    from: &[TableWithJoins],
    selection: Option<&Expr>,
    items: &[SelectItem],
    (alias, schema): (&str, &TableSchema),
    schemas: &Schemas,
) -> Result<Option<Distinct>, SqlError> {
    let joined: Vec<&TableFactor> = from
        .iter()
        .flat_map(|item| std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)))
        .skip(1)
        .collect();
    let joined_by_key = |factor: &&TableFactor| is_joined_by_key(factor, selection, (alias, schema), schemas);
    if joined.iter().all(joined_by_key) {
        return Ok(None);
    }
    let own = |expression: &Expr| match expression {
        Expr::Identifier(name) => schema.column(&folded(name)).map(|column| column.name.clone()),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., qualifier, name] if folded(qualifier) == alias => {
                schema.column(&folded(name)).map(|column| column.name.clone())
            }
            _ => None,
        },
        _ => None,
    };
    let mut returned = BTreeSet::new();
    for item in items {
        match item {
            SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } => {
                let mut foreign = false;
                let _ = visit_expressions(value, |part| {
                    let is_name = matches!(part, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Subquery(_));
                    foreign |= is_name && own(part).is_none();
                    ControlFlow::<()>::Continue(())
                });
                if foreign {
                    return Err(SqlError::Unsupported(format!(
                        "RETURNING {item}, of a join that may meet a row twice"
                    )));
                }
                returned.extend(own(value));
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _)
                if name.0.last().and_then(|part| part.as_ident()).is_some_and(|name| folded(name) == alias) =>
            {
                returned.extend(schema.columns.iter().map(|column| column.name.clone()));
            }
            other => {
                return Err(SqlError::Unsupported(format!("RETURNING {other}, of a join that may meet a row twice")));
            }
        }
    }
    match !schema.key.is_empty() && schema.key.iter().all(|column| returned.contains(column)) {
        true => Ok(Some(Distinct::Distinct)),
        false => {
            Err(SqlError::Unsupported("RETURNING without the key, of a join that may meet a row twice".to_owned()))
        }
    }
}

/// Whether each row of the target meets at most one row of a joined table: the whole key is equal to what the target or
/// the statement gives.
fn is_joined_by_key(
    factor: &TableFactor,
    selection: Option<&Expr>,
    (target, target_schema): (&str, &TableSchema),
    schemas: &Schemas,
) -> bool {
    let Ok((table, alias)) = queries::target(factor) else { return false };
    let Some(schema) = table.and_then(|table| schemas.get(&table)) else { return false };
    let column_of = |expression: &Expr, alias: &str, schema: &TableSchema| match expression {
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., qualifier, name] if folded(qualifier) == alias => {
                schema.column(&folded(name)).map(|column| column.name.clone())
            }
            _ => None,
        },
        _ => None,
    };
    let is_given = |expression: &Expr| {
        matches!(expression, Expr::Value(_)) || column_of(expression, target, target_schema).is_some()
    };
    let mut fixed = BTreeSet::new();
    let mut open: Vec<&Expr> = selection.into_iter().collect();
    while let Some(condition) = open.pop() {
        match condition {
            Expr::Nested(inner) => open.push(inner),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => open.extend([left.as_ref(), right.as_ref()]),
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                for (column, other) in [(left, right), (right, left)] {
                    fixed.extend(column_of(column, &alias, schema).filter(|_| is_given(other)));
                }
            }
            _ => {}
        }
    }
    !schema.key.is_empty() && schema.key.iter().all(|column| fixed.contains(column))
}

/// A column of a written row.
enum NewValue {
    Computed(Box<Expr>),
    /// Only the database could give it.
    Given,
}

/// The value as the column keeps it: a `numeric(p,s)` rounds.
fn stored(assigned: &Assigned, value: Expr, schema: &TableSchema) -> NewValue {
    if assigned.given {
        return NewValue::Given;
    }
    let scale = match schema.column(&assigned.column).map(|column| &column.column_type) {
        Some(ColumnType::Numeric(Some((_, scale)))) => Some(*scale),
        _ => None,
    };
    NewValue::Computed(Box::new(match scale {
        Some(scale) => {
            let digits = Expr::value(sqlparser::ast::Value::Number(scale.to_string(), false));
            function_call("round", vec![value, digits])
        }
        None => Expr::Nested(Box::new(value)),
    }))
}

/// The items of a RETURNING, with the values that the write gives in place of its columns.
struct Returned<'a> {
    alias: &'a str,
    schema: &'a TableSchema,
    new_values: BTreeMap<ColumnName, NewValue>,
    refused: Option<SqlError>,
}

impl Returned<'_> {
    fn items(mut self, items: &[SelectItem], is_alone: bool) -> Result<Vec<SelectItem>, SqlError> {
        let mut returned = Vec::new();
        for item in items {
            match item {
                SelectItem::Wildcard(_) if is_alone => returned.extend(self.all_columns()),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _)
                    if name
                        .0
                        .last()
                        .and_then(|part| part.as_ident())
                        .is_some_and(|name| folded(name) == self.alias) =>
                {
                    returned.extend(self.all_columns());
                }
                SelectItem::UnnamedExpr(value) => {
                    let name = match value {
                        Expr::Identifier(name) => Some(name.clone()),
                        Expr::CompoundIdentifier(parts) => parts.last().cloned(),
                        _ => None,
                    };
                    let value = self.over_new_values(value);
                    returned.push(match name {
                        Some(alias) => SelectItem::ExprWithAlias { expr: value, alias },
                        None => SelectItem::UnnamedExpr(value),
                    });
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    returned.push(SelectItem::ExprWithAlias { expr: self.over_new_values(expr), alias: alias.clone() });
                }
                other => return Err(SqlError::Unsupported(format!("RETURNING {other}"))),
            }
        }
        match self.refused {
            Some(refused) => Err(refused),
            None => Ok(returned),
        }
    }

    fn all_columns(&mut self) -> Vec<SelectItem> {
        let columns: Vec<ColumnName> = self.schema.columns.iter().map(|column| column.name.clone()).collect();
        let item = |column: ColumnName| {
            let named = Ident::with_quote('"', column.as_ref());
            let parts = vec![Ident::with_quote('"', self.alias), named.clone()];
            SelectItem::ExprWithAlias { expr: self.over_new_values(&Expr::CompoundIdentifier(parts)), alias: named }
        };
        columns.into_iter().map(item).collect()
    }

    fn over_new_values(&mut self, value: &Expr) -> Expr {
        let mut value = value.clone();
        let _ = value.visit(self);
        value
    }

    fn column(&self, expression: &Expr) -> Option<ColumnName> {
        let name = match expression {
            Expr::Identifier(name) => folded(name),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., qualifier, name] if folded(qualifier) == self.alias => folded(name),
                _ => return None,
            },
            _ => return None,
        };
        self.schema.column(&name).map(|column| column.name.clone())
    }
}

impl VisitorMut for Returned<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let Some(column) = self.column(expression) else { return ControlFlow::Continue(()) };
        match self.new_values.get(&column) {
            Some(NewValue::Computed(value)) => *expression = value.as_ref().clone(),
            Some(NewValue::Given) => {
                let reason = format!("RETURNING {column}, which only the database could give");
                self.refused.get_or_insert(SqlError::Unsupported(reason));
            }
            None => {}
        }
        ControlFlow::Continue(())
    }
}
