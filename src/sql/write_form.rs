//! A write as a query: the keys of the rows it touches and the values it gives them.
//!
//! `UPDATE t SET a = e FROM u WHERE c` becomes `SELECT t.key, e FROM t, u WHERE c`; `DELETE` the same without values;
//! `INSERT` is the query that yields its rows. Whoever runs the query over a state knows what the write would do to it.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Delete, Expr, FromTable, Function, GroupByExpr, Ident, Insert,
    OnConflictAction, OnInsert, Query, Select, SelectFlavor, SelectItem, SetExpr, Statement, TableFactor, TableObject,
    TableWithJoins, Update, UpdateTableFromKind, Value as SqlValue, Visit, Visitor,
    helpers::attached_token::AttachedToken,
};

use super::targets::inserted_columns;
use super::{Schemas, SqlError, folded, table_name};
use crate::model::{ColumnName, TableName, TableSchema};

/// One column that the write gives a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// The column.
    pub column: ColumnName,
    /// Whether the value is one that only the database could give (a sequence, a default, a random value): the query
    /// yields NULL for it, and the value really written stands in both worlds.
    pub given: bool,
    /// Whether the value holds a literal or a parameter: the application may have computed it from what it read.
    pub from_application: bool,
}

/// What kind of write.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteKind {
    /// The query yields the assigned columns of each new row.
    Insert {
        /// What to do with a row whose key exists.
        on_conflict: Option<OnConflict>,
    },
    /// The query yields the key columns of each row, then the assigned columns.
    Update,
    /// The query yields the key columns of each row.
    Delete,
}

/// `ON CONFLICT (columns) …`.
#[derive(Clone, Debug, PartialEq)]
pub struct OnConflict {
    /// The columns whose equality is a conflict: the table's key where none are named.
    pub columns: Vec<ColumnName>,
    /// What happens then.
    pub action: ConflictAction,
}

/// What happens to a row that conflicts.
#[derive(Clone, Debug, PartialEq)]
pub enum ConflictAction {
    /// Nothing.
    Nothing,
    /// The row that exists is updated: `SELECT` of the new values, over the row that exists (under the table's name or
    /// alias) and the row that was proposed (`excluded`).
    Update {
        /// The columns updated, in the order of the query's.
        assigned: Vec<Assigned>,
        /// One query over `<target> CROSS JOIN excluded`.
        query: Box<Query>,
    },
}

/// A write as a query.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteForm {
    /// The table written.
    pub target: TableName,
    /// What the query's rows mean.
    pub kind: WriteKind,
    /// The columns given values.
    pub assigned: Vec<Assigned>,
    /// The query.
    pub query: Box<Query>,
    /// Whether the statement hands rows back to the application.
    pub returning: bool,
}

impl WriteForm {
    /// The form of an INSERT, UPDATE or DELETE of a table that has a key.
    ///
    /// # Errors
    /// What is no such statement, or uses a construct that has no such form.
    pub fn of(statement: &Statement, schemas: &Schemas) -> Result<WriteForm, SqlError> {
        match statement {
            Statement::Insert(insert) => insert_form(insert, schemas),
            Statement::Update(update) => update_form(update, schemas),
            Statement::Delete(delete) => delete_form(delete, schemas),
            other => {
                Err(SqlError::Unsupported(format!("'{}' as a write to run again", first_words(&other.to_string()))))
            }
        }
    }
}

fn first_words(sql: &str) -> String {
    sql.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn target_schema<'a>(table: Option<TableName>, shown: &str, schemas: &'a Schemas) -> Result<&'a TableSchema, SqlError> {
    let schema = table
        .and_then(|table| schemas.get(&table))
        .ok_or_else(|| SqlError::Unsupported(format!("table {shown}, whose shape is not known")))?;
    if schema.key.is_empty() {
        return Err(SqlError::Unsupported(format!("table {shown}, which has no key")));
    }
    Ok(schema)
}

fn update_form(update: &Update, schemas: &Schemas) -> Result<WriteForm, SqlError> {
    if !update.table.joins.is_empty() || update.limit.is_some() || !update.order_by.is_empty() {
        return Err(SqlError::Unsupported("UPDATE with joins, ORDER BY or LIMIT".to_owned()));
    }
    let (table, alias) = target(&update.table.relation)?;
    let schema = target_schema(table, &alias, schemas)?;
    let (assigned, values) = assignments(&update.assignments, schema)?;
    let mut from = vec![update.table.clone()];
    match &update.from {
        Some(UpdateTableFromKind::AfterSet(items) | UpdateTableFromKind::BeforeSet(items)) => {
            from.extend(items.iter().cloned());
        }
        None => {}
    }
    let projection = key_items(schema, &alias).into_iter().chain(value_items(values)).collect();
    Ok(WriteForm {
        target: schema.name.clone(),
        kind: WriteKind::Update,
        assigned,
        query: Box::new(query_of(select(projection, from, update.selection.clone()))),
        returning: update.returning.is_some(),
    })
}

fn delete_form(delete: &Delete, schemas: &Schemas) -> Result<WriteForm, SqlError> {
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
    Ok(WriteForm {
        target: schema.name.clone(),
        kind: WriteKind::Delete,
        assigned: Vec::new(),
        query: Box::new(query_of(select(key_items(schema, &alias), from, delete.selection.clone()))),
        returning: delete.returning.is_some(),
    })
}

fn insert_form(insert: &Insert, schemas: &Schemas) -> Result<WriteForm, SqlError> {
    let TableObject::TableName(name) = &insert.table else {
        return Err(SqlError::Unsupported("INSERT into a function".to_owned()));
    };
    let schema = target_schema(table_name(name), &name.to_string(), schemas)?;
    let columns = inserted_columns(&insert.columns, schema);
    let source = insert.source.as_ref().ok_or_else(|| SqlError::Unsupported("INSERT … DEFAULT VALUES".to_owned()))?;
    let (query, assigned) = match source.body.as_ref() {
        SetExpr::Values(values) => {
            let rows: Vec<Vec<Expr>> = values.rows.iter().map(|row| row.content.clone()).collect();
            values_query(rows, &columns, schema)?
        }
        _ => {
            let from_application = holds_constant(source.as_ref());
            let assigned = columns
                .iter()
                .map(|column| Ok(Assigned { column: known(schema, column)?, given: false, from_application }))
                .collect::<Result<Vec<_>, SqlError>>()?;
            (source.as_ref().clone(), assigned)
        }
    };
    let alias = match &insert.table_alias {
        Some(alias) => folded(&alias.alias),
        None => schema.name.table.to_string(),
    };
    let on_conflict = match &insert.on {
        None => None,
        Some(OnInsert::OnConflict(conflict)) => {
            let columns = match &conflict.conflict_target {
                None => schema.key.clone(),
                Some(ConflictTarget::Columns(columns)) => {
                    columns.iter().map(|column| known(schema, &folded(column))).collect::<Result<_, _>>()?
                }
                Some(ConflictTarget::OnConstraint(_)) => {
                    return Err(SqlError::Unsupported("ON CONFLICT ON CONSTRAINT".to_owned()));
                }
            };
            let action = match &conflict.action {
                OnConflictAction::DoNothing => ConflictAction::Nothing,
                OnConflictAction::DoUpdate(update) => {
                    let (assigned, values) = assignments(&update.assignments, schema)?;
                    let from = vec![
                        named_table(&schema.name, &alias),
                        named_table(&TableName::new("public", "excluded"), "excluded"),
                    ];
                    let query = query_of(select(value_items(values).collect(), from, update.selection.clone()));
                    ConflictAction::Update { assigned, query: Box::new(query) }
                }
            };
            Some(OnConflict { columns, action })
        }
        Some(other) => return Err(SqlError::Unsupported(format!("INSERT … {other}"))),
    };
    Ok(WriteForm {
        target: schema.name.clone(),
        kind: WriteKind::Insert { on_conflict },
        assigned,
        query: Box::new(query),
        returning: insert.returning.is_some(),
    })
}

/// `VALUES` as selects, so that every row is planned with its parameters' own types.
fn values_query(
    rows: Vec<Vec<Expr>>,
    columns: &[String],
    schema: &TableSchema,
) -> Result<(Query, Vec<Assigned>), SqlError> {
    let mut assigned: Vec<Assigned> = Vec::with_capacity(columns.len());
    for (place, column) in columns.iter().enumerate() {
        let values = || rows.iter().filter_map(|row| row.get(place));
        let given = values().any(is_given);
        if given && !values().all(is_given) {
            return Err(SqlError::Unsupported(format!("a default for column {column} in only some of the rows")));
        }
        let from_application = values().any(holds_constant);
        assigned.push(Assigned { column: known(schema, column)?, given, from_application });
    }
    let mut body: Option<SetExpr> = None;
    for row in rows {
        if row.len() > columns.len() {
            return Err(SqlError::Unsupported("more values than columns".to_owned()));
        }
        let values = row.into_iter().map(|value| if is_given(&value) { null() } else { value });
        let select = SetExpr::Select(Box::new(select(value_items(values.collect()).collect(), Vec::new(), None)));
        body = Some(match body {
            None => select,
            Some(left) => SetExpr::SetOperation {
                left: Box::new(left),
                op: sqlparser::ast::SetOperator::Union,
                set_quantifier: sqlparser::ast::SetQuantifier::All,
                right: Box::new(select),
            },
        });
    }
    let body = body.ok_or_else(|| SqlError::Unsupported("VALUES without rows".to_owned()))?;
    assigned.truncate(columns.len());
    Ok((query_of_body(body), assigned))
}

fn assignments(assignments: &[Assignment], schema: &TableSchema) -> Result<(Vec<Assigned>, Vec<Expr>), SqlError> {
    let mut assigned = Vec::new();
    let mut values = Vec::new();
    let mut assign = |column: &str, value: Expr| -> Result<(), SqlError> {
        let given = is_given(&value);
        assigned.push(Assigned { column: known(schema, column)?, given, from_application: holds_constant(&value) });
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

fn is_given(value: &Expr) -> bool {
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
fn holds_constant<T: Visit>(node: &T) -> bool {
    struct FindConstant;
    impl Visitor for FindConstant {
        type Break = ();

        fn pre_visit_value(&mut self, value: &sqlparser::ast::ValueWithSpan) -> ControlFlow<()> {
            if matches!(value.value, SqlValue::Null) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }
    }
    node.visit(&mut FindConstant).is_break()
}

fn known(schema: &TableSchema, column: &str) -> Result<ColumnName, SqlError> {
    let found = schema.column(column).map(|column| column.name.clone());
    found.ok_or_else(|| SqlError::UnknownColumn(format!("{}.{column}", schema.name)))
}

fn target(factor: &TableFactor) -> Result<(Option<TableName>, String), SqlError> {
    let TableFactor::Table { name, alias, .. } = factor else {
        return Err(SqlError::Unsupported(format!("a write to {factor}")));
    };
    let table = table_name(name);
    let alias = match alias {
        Some(alias) => folded(&alias.name),
        None => table.as_ref().map_or_else(String::new, |table| table.table.to_string()),
    };
    Ok((table, alias))
}

fn named_table(table: &TableName, alias: &str) -> TableWithJoins {
    let name = vec![Ident::with_quote('"', table.schema.as_ref()), Ident::with_quote('"', table.table.as_ref())];
    TableWithJoins {
        relation: TableFactor::Table {
            name: name.into(),
            alias: Some(sqlparser::ast::TableAlias {
                explicit: true,
                name: Ident::with_quote('"', alias),
                columns: Vec::new(),
                at: None,
            }),
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        },
        joins: Vec::new(),
    }
}

fn key_items(schema: &TableSchema, alias: &str) -> Vec<SelectItem> {
    let column = |column: &ColumnName| {
        Expr::CompoundIdentifier(vec![Ident::with_quote('"', alias), Ident::with_quote('"', column.as_ref())])
    };
    let named = |(place, name)| SelectItem::ExprWithAlias {
        expr: column(name),
        alias: Ident::with_quote('"', format!("key_{place}")),
    };
    schema.key.iter().enumerate().map(named).collect()
}

fn value_items(values: Vec<Expr>) -> impl Iterator<Item = SelectItem> {
    values.into_iter().enumerate().map(|(place, expr)| SelectItem::ExprWithAlias {
        expr,
        alias: Ident::with_quote('"', format!("value_{place}")),
    })
}

fn null() -> Expr {
    Expr::value(SqlValue::Null)
}

fn select(projection: Vec<SelectItem>, from: Vec<TableWithJoins>, selection: Option<Expr>) -> Select {
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection,
        exclude: None,
        into: None,
        from,
        lateral_views: Vec::new(),
        prewhere: None,
        selection,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

fn query_of(select: Select) -> Query {
    query_of_body(SetExpr::Select(Box::new(select)))
}

fn query_of_body(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}
