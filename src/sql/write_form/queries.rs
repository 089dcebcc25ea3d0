//! Queries put together from a write's parts.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident,
    ObjectName, Query, Select, SelectFlavor, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins,
    Value as SqlValue, helpers::attached_token::AttachedToken,
};

use super::SqlError;
use crate::model::{ColumnName, TableName, TableSchema};
use crate::sql::{folded, table_name};

/// The table written and the name that it goes by in the statement.
pub(super) fn target(factor: &TableFactor) -> Result<(Option<TableName>, String), SqlError> {
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

pub(super) fn named_table(table: &TableName, alias: &str) -> TableWithJoins {
    let name = vec![Ident::with_quote('"', table.schema.as_ref()), Ident::with_quote('"', table.table.as_ref())];
    TableWithJoins {
        relation: TableFactor::Table {
            name: name.into(),
            alias: Some(TableAlias {
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

pub(super) fn key_items(schema: &TableSchema, alias: &str) -> Vec<SelectItem> {
    let column = |column: &ColumnName| {
        Expr::CompoundIdentifier(vec![Ident::with_quote('"', alias), Ident::with_quote('"', column.as_ref())])
    };
    let named = |(place, name)| SelectItem::ExprWithAlias {
        expr: column(name),
        alias: Ident::with_quote('"', format!("key_{place}")),
    };
    schema.key.iter().enumerate().map(named).collect()
}

pub(super) fn value_items(values: Vec<Expr>) -> impl Iterator<Item = SelectItem> {
    values.into_iter().enumerate().map(|(place, expr)| SelectItem::ExprWithAlias {
        expr,
        alias: Ident::with_quote('"', format!("value_{place}")),
    })
}

pub(super) fn null() -> Expr {
    Expr::value(SqlValue::Null)
}

pub(super) fn select(projection: Vec<SelectItem>, from: Vec<TableWithJoins>, selection: Option<Expr>) -> Select {
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

pub(super) fn query_of(select: Select) -> Query {
    query_of_body(SetExpr::Select(Box::new(select)))
}

pub(super) fn query_of_body(body: SetExpr) -> Query {
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

/// A call of a function.
pub fn function_call(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
