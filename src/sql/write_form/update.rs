//! The forms of UPDATE and DELETE.

use sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, Query, SetExpr, Update, UpdateTableFromKind,
};

use super::given::{constants, counts, is_given};
use super::queries::{key_items, null, query_of, select, target, value_items};
use super::{Assigned, SqlError, WriteArm, WriteForm, WriteKind, known, relative, target_schema};
use crate::model::TableSchema;
use crate::sql::{Schemas, folded};

pub(super) fn update_form(update: &Update, schemas: &Schemas) -> Result<WriteForm, SqlError> {
    if !update.table.joins.is_empty() || update.limit.is_some() || !update.order_by.is_empty() {
        return Err(SqlError::Unsupported("UPDATE with joins, ORDER BY or LIMIT".to_owned()));
    }
    let (table, alias) = target(&update.table.relation)?;
    let schema = target_schema(table, &alias, schemas)?;
    let (mut assigned, values) = assignments(&update.assignments, schema)?;
    relative::mark(update, (&alias, schema), &mut assigned, &values);
    let mut from = vec![update.table.clone()];
    match &update.from {
        Some(UpdateTableFromKind::AfterSet(items) | UpdateTableFromKind::BeforeSet(items)) => {
            from.extend(items.iter().cloned());
        }
        None => {}
    }
    let projection = key_items(schema, &alias).into_iter().chain(value_items(values)).collect();
    let query = Box::new(query_of(select(projection, from, update.selection.clone())));
    let arm = WriteArm { kind: WriteKind::Update, assigned, query };
    Ok(WriteForm { target: schema.name.clone(), arms: vec![arm] })
}

pub(super) fn delete_form(delete: &Delete, schemas: &Schemas) -> Result<WriteForm, SqlError> {
    let (FromTable::WithFromKeyword(items) | FromTable::WithoutKeyword(items)) = &delete.from;
    let [item] = items.as_slice() else {
        return Err(SqlError::Unsupported("DELETE from several tables".to_owned()));
    };
    if !item.joins.is_empty() || delete.limit.is_some() || !delete.order_by.is_empty() {
        return Err(SqlError::Unsupported("DELETE with joins, ORDER BY or LIMIT".to_owned()));
    }
    let (table, alias) = target(&item.relation)?;
    let schema = target_schema(table, &alias, schemas)?;
    let from = std::iter::once(item.clone()).chain(delete.using.iter().flatten().cloned()).collect();
    let query = Box::new(query_of(select(key_items(schema, &alias), from, delete.selection.clone())));
    let arm = WriteArm { kind: WriteKind::Delete, assigned: Vec::new(), query };
    Ok(WriteForm { target: schema.name.clone(), arms: vec![arm] })
}

/// The columns assigned, and their values.
pub(super) fn assignments(
    assignments: &[Assignment],
    schema: &TableSchema,
) -> Result<(Vec<Assigned>, Vec<Expr>), SqlError> {
    let mut assigned = Vec::new();
    let mut values = Vec::new();
    let mut assign = |column: &str, value: Expr| -> Result<(), SqlError> {
        let given = is_given(&value);
        let from_application = constants(&value);
        let counts = counts(column, &value);
        assigned.push(Assigned { column: known(schema, column)?, given, from_application, counts, relative: false });
        values.push(if given { null() } else { value });
        Ok(())
    };
    let column_of = |name: &sqlparser::ast::ObjectName| {
        name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default()
    };
    for assignment in assignments {
        match (&assignment.target, &assignment.value) {
            (AssignmentTarget::ColumnName(name), value) => assign(&column_of(name), value.clone())?,
            (AssignmentTarget::Tuple(names), Expr::Tuple(values)) if names.len() == values.len() => {
                for (name, value) in names.iter().zip(values) {
                    assign(&column_of(name), value.clone())?;
                }
            }
            (AssignmentTarget::Tuple(names), Expr::Subquery(query)) => {
                for (place, name) in names.iter().enumerate() {
                    assign(&column_of(name), Expr::Subquery(Box::new(one_column(query, place, names.len())?)))?;
                }
            }
            (AssignmentTarget::Tuple(_), value) => {
                return Err(SqlError::Unsupported(format!("assignment of {value} to several columns")));
            }
        }
    }
    Ok((assigned, values))
}

/// The subquery with only the output column of this place.
fn one_column(query: &Query, place: usize, width: usize) -> Result<Query, SqlError> {
    let mut query = query.clone();
    match query.body.as_mut() {
        SetExpr::Select(select) if select.projection.len() == width && select.distinct.is_none() => {
            let item = select.projection.swap_remove(place);
            select.projection = vec![item];
            Ok(query)
        }
        _ => Err(SqlError::Unsupported("assignment of this subquery to several columns".to_owned())),
    }
}
