//! The form of INSERT.

use sqlparser::ast::{
    Expr, Ident, Insert, OnConflict as OnConflictClause, OnConflictAction, OnInsert, Query, SelectItem, SetExpr,
    SetOperator, SetQuantifier, TableObject,
};

use super::given::{constants, is_given};
use super::queries::{named_table, null, query_of, query_of_body, select, value_items};
use super::update::assignments;
use super::{Assigned, ConflictAction, OnConflict, SqlError, WriteArm, WriteForm, WriteKind, known, target_schema};
use crate::model::{TableName, TableSchema};
use crate::sql::targets::{conflict_columns, inserted_columns};
use crate::sql::{Schemas, folded, table_name};

/// # Errors
/// A table whose shape or key is not known, a conflict on a constraint whose columns are not known.
pub(super) fn form(insert: &Insert, schemas: &Schemas) -> Result<WriteForm, SqlError> {
    let TableObject::TableName(name) = &insert.table else {
        return Err(SqlError::Unsupported("INSERT into a function".to_owned()));
    };
    let schema = target_schema(table_name(name), &name.to_string(), schemas)?;
    let (query, assigned) = proposed_rows(insert, schema)?;
    let alias = match &insert.table_alias {
        Some(alias) => folded(&alias.alias),
        None => schema.name.table.to_string(),
    };
    let on_conflict = match &insert.on {
        None => None,
        Some(OnInsert::OnConflict(clause)) => Some(on_conflict(clause, schema, &alias)?),
        Some(other) => return Err(SqlError::Unsupported(format!("INSERT … {other}"))),
    };
    let arm = WriteArm { kind: WriteKind::Insert { on_conflict }, assigned, query: Box::new(query) };
    Ok(WriteForm { target: schema.name.clone(), arms: vec![arm] })
}

/// The query of the rows proposed, and the columns that it gives.
pub(super) fn proposed_rows(insert: &Insert, schema: &TableSchema) -> Result<(Query, Vec<Assigned>), SqlError> {
    let mut columns = inserted_columns(&insert.columns, schema);
    let Some(source) = &insert.source else {
        let defaults = columns.iter().map(|_| Expr::Identifier(Ident::new("DEFAULT"))).collect();
        return values_query(vec![defaults], &columns, schema);
    };
    let mut query = source.as_ref().clone();
    let from_application = constants(&query);
    match query.body.as_mut() {
        SetExpr::Values(values) => {
            let rows: Vec<Vec<Expr>> = values.rows.iter().map(|row| row.content.clone()).collect();
            let (proposed, assigned) = values_query(rows, &columns, schema)?;
            Ok((Query { with: query.with, ..proposed }, assigned))
        }
        SetExpr::Select(select) => {
            let items = &mut select.projection;
            let is_listed = items.iter().all(|item| item_value(item).is_some());
            // Without names, the values are those of the first columns.
            if is_listed {
                columns.truncate(items.len());
            }
            let mut assigned = Vec::with_capacity(columns.len());
            for (place, column) in columns.iter().enumerate() {
                let value = items.get_mut(place).filter(|_| is_listed).and_then(item_value_mut);
                let given = value.as_ref().is_some_and(|value| is_given(value));
                if let Some(value) = value.filter(|_| given) {
                    *value = null();
                }
                assigned.push(Assigned {
                    column: known(schema, column)?,
                    given,
                    from_application: from_application.clone(),
                    counts: false,
                    relative: false,
                });
            }
            Ok((query, assigned))
        }
        _ => {
            let assigned = |column: &String| {
                Ok(Assigned {
                    column: known(schema, column)?,
                    given: false,
                    from_application: from_application.clone(),
                    counts: false,
                    relative: false,
                })
            };
            let assigned = columns.iter().map(assigned).collect::<Result<Vec<_>, SqlError>>()?;
            Ok((query, assigned))
        }
    }
}

fn item_value(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } => Some(value),
        _ => None,
    }
}

fn item_value_mut(item: &mut SelectItem) -> Option<&mut Expr> {
    match item {
        SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } => Some(value),
        _ => None,
    }
}

fn on_conflict(clause: &OnConflictClause, schema: &TableSchema, alias: &str) -> Result<OnConflict, SqlError> {
    let columns = conflict_columns(clause.conflict_target.as_ref(), schema)?;
    let action = match &clause.action {
        OnConflictAction::DoNothing => ConflictAction::Nothing,
        OnConflictAction::DoUpdate(update) => {
            let (assigned, values) = assignments(&update.assignments, schema)?;
            let excluded = named_table(&TableName::new("public", "excluded"), "excluded");
            let from = vec![named_table(&schema.name, alias), excluded];
            let query = query_of(select(value_items(values).collect(), from, update.selection.clone()));
            ConflictAction::Update { assigned, query: Box::new(query) }
        }
    };
    let others = if clause.conflict_target.is_none() { schema.unique_keys.clone() } else { Vec::new() };
    Ok(OnConflict { columns, others, action })
}

/// `VALUES` as selects, so that every row is planned with its parameters' own types.
pub(super) fn values_query(
    rows: Vec<Vec<Expr>>,
    columns: &[String],
    schema: &TableSchema,
) -> Result<(Query, Vec<Assigned>), SqlError> {
    let mut assigned: Vec<Assigned> = Vec::with_capacity(columns.len());
    // Without names, the values are those of the first columns.
    let width = rows.iter().map(Vec::len).max().unwrap_or_default();
    for (place, column) in columns.iter().enumerate().take(width) {
        let values = || rows.iter().filter_map(|row| row.get(place));
        let given = values().any(is_given);
        if given && !values().all(is_given) {
            return Err(SqlError::Unsupported(format!("a default for column {column} in only some of the rows")));
        }
        let from_application = values().flat_map(constants).collect();
        assigned.push(Assigned {
            column: known(schema, column)?,
            given,
            from_application,
            counts: false,
            relative: false,
        });
    }
    let mut selects = Vec::with_capacity(rows.len());
    for row in rows {
        if row.len() > columns.len() {
            return Err(SqlError::Unsupported("more values than columns".to_owned()));
        }
        let values = row.into_iter().map(|value| if is_given(&value) { null() } else { value });
        selects.push(SetExpr::Select(Box::new(select(value_items(values.collect()).collect(), Vec::new(), None))));
    }
    let body = union_all(selects).ok_or_else(|| SqlError::Unsupported("VALUES without rows".to_owned()))?;
    Ok((query_of_body(body), assigned))
}

/// A tree no deeper than it must be: thousands of rows in one INSERT are nothing unusual.
fn union_all(mut bodies: Vec<SetExpr>) -> Option<SetExpr> {
    while bodies.len() > 1 {
        let mut pairs = Vec::with_capacity(bodies.len().div_ceil(2));
        let mut rest = bodies.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                None => left,
                Some(right) => SetExpr::SetOperation {
                    left: Box::new(left),
                    op: SetOperator::Union,
                    set_quantifier: SetQuantifier::All,
                    right: Box::new(right),
                },
            });
        }
        bodies = pairs;
    }
    bodies.pop()
}
