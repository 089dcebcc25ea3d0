//! Every reference a query makes to a table: which columns it uses, and which rows can matter.
//!
//! Names are resolved scope by scope, as PostgreSQL does: common table expressions shadow tables, the innermost scope
//! wins, a subquery sees the scopes around it. While resolving, each table reference is renamed, and with it what
//! names its columns (`orders o` becomes `<prefix>0`), so that the engine can be handed exactly the rows that one reference
//! needs.

mod expressions;
mod from;
mod names;

use std::collections::BTreeSet;

use sqlparser::ast::{
    Distinct, GroupByExpr, LimitClause, OrderBy, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, VisitMut,
};

use super::bounds::Bound;
use super::{Schemas, SqlError, folded};
use crate::model::{ColumnName, TableName};
use expressions::{ExpressionWalk, names_output, output_name};
use from::alias_columns;

/// Which columns of a table a reference uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnsRead {
    /// All of them (`*`, a whole-row reference).
    All,
    /// These; none at all where only the existence of a row counts.
    Some(BTreeSet<ColumnName>),
}

impl ColumnsRead {
    /// Whether this column is used.
    pub fn contains(&self, column: &str) -> bool {
        match self {
            ColumnsRead::All => true,
            ColumnsRead::Some(columns) => columns.contains(column),
        }
    }
}

/// One reference to a table in a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableReference {
    /// The table.
    pub table: TableName,
    /// The columns used through this reference.
    pub columns: ColumnsRead,
    /// Conditions every row must meet to matter; all of them hold together.
    pub bounds: Vec<Bound>,
}

/// The table references of a query, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// One per occurrence of a table.
    pub references: Vec<TableReference>,
    /// The names of the query's columns as PostgreSQL gives them; `None` where they cannot be told.
    pub output: Option<Vec<String>>,
}

/// The name that stands for the reference of this place in the rewritten query.
pub fn reference_name(prefix: &str, position: usize) -> String {
    format!("{prefix}{position}")
}

impl Reads {
    /// Resolves every name in `query` and renames its table references.
    ///
    /// # Errors
    /// A table or column that the schemas do not have, or a construct that is not understood.
    pub fn resolve(query: &mut Query, schemas: &Schemas, prefix: &str) -> Result<Reads, SqlError> {
        let mut resolver =
            Resolver { schemas, prefix, references: Vec::new(), scopes: Vec::new(), common_tables: Vec::new() };
        let output = resolver.query(query)?;
        Ok(Reads { references: resolver.references, output })
    }
}

/// What a FROM item is.
enum Relation {
    /// The reference of this place.
    Table(usize),
    /// A subquery, common table expression or function; its columns where they can be told.
    Opaque(Option<Vec<String>>),
}

struct NamedRelation {
    alias: String,
    relation: Relation,
}

type OutputColumns = Option<Vec<String>>;

struct Resolver<'a> {
    schemas: &'a Schemas,
    prefix: &'a str,
    references: Vec<TableReference>,
    /// The innermost scope is the last.
    scopes: Vec<Vec<NamedRelation>>,
    common_tables: Vec<(String, OutputColumns)>,
}

impl Resolver<'_> {
    fn query(&mut self, query: &mut Query) -> Result<OutputColumns, SqlError> {
        if !query.pipe_operators.is_empty() {
            return Err(SqlError::Unsupported("pipe operators".to_owned()));
        }
        let visible = self.common_tables.len();
        if let Some(with) = &mut query.with {
            for common_table in &mut with.cte_tables {
                let name = folded(&common_table.alias.name);
                let declared = alias_columns(&common_table.alias);
                if with.recursive {
                    self.common_tables.push((name.clone(), declared.clone()));
                }
                let output = self.query(&mut common_table.query)?;
                self.common_tables.push((name, declared.or(output)));
            }
        }
        let output = match query.body.as_mut() {
            SetExpr::Select(select) => {
                self.scopes.push(Vec::new());
                let output = self.select(select)?;
                self.order_by(&mut query.order_by, &output)?;
                self.scopes.pop();
                output
            }
            body => {
                let output = self.set_expression(body)?;
                self.order_by(&mut query.order_by, &output)?;
                output
            }
        };
        self.limit(&mut query.limit_clause)?;
        self.common_tables.truncate(visible);
        Ok(output)
    }

    fn set_expression(&mut self, body: &mut SetExpr) -> Result<OutputColumns, SqlError> {
        match body {
            SetExpr::Select(select) => {
                self.scopes.push(Vec::new());
                let output = self.select(select)?;
                self.scopes.pop();
                Ok(output)
            }
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                let output = self.set_expression(left)?;
                self.set_expression(right)?;
                Ok(output)
            }
            SetExpr::Values(values) => {
                for expression in values.rows.iter_mut().flat_map(|row| row.content.iter_mut()) {
                    self.expression(expression)?;
                }
                let width = values.rows.first().map_or(0, |row| row.content.len());
                Ok(Some((1..=width).map(|position| format!("column{position}")).collect()))
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(SqlError::Unsupported("a write inside a query".to_owned()))
            }
            SetExpr::Table(_) => Err(SqlError::Unsupported("TABLE as a query".to_owned())),
        }
    }

    fn select(&mut self, select: &mut Select) -> Result<OutputColumns, SqlError> {
        if select.into.is_some() || !select.lateral_views.is_empty() || !select.connect_by.is_empty() {
            return Err(SqlError::Unsupported("SELECT INTO, LATERAL VIEW or CONNECT BY".to_owned()));
        }
        for item in &mut select.from {
            self.table_with_joins(item)?;
        }
        if let Some(condition) = &mut select.selection {
            self.bound_by(condition, 0);
            self.expression(condition)?;
        }
        let output = self.projection(&mut select.projection)?;
        if let Some(Distinct::On(expressions)) = &mut select.distinct {
            self.expressions(expressions)?;
        }
        if let GroupByExpr::Expressions(expressions, _) = &mut select.group_by {
            for expression in expressions.iter_mut().filter(|expression| !names_output(expression, &output)) {
                self.expression(expression)?;
            }
        }
        if let Some(condition) = &mut select.having {
            self.expression(condition)?;
        }
        if let Some(condition) = &mut select.qualify {
            self.expression(condition)?;
        }
        for window in &mut select.named_window {
            let mut walk = ExpressionWalk { resolver: self, depth: 0, failure: None };
            let _ = window.visit(&mut walk);
            if let Some(failure) = walk.failure {
                return Err(failure);
            }
        }
        Ok(output)
    }

    fn projection(&mut self, items: &mut [SelectItem]) -> Result<OutputColumns, SqlError> {
        let mut output: OutputColumns = Some(Vec::new());
        for item in items {
            let name = match item {
                SelectItem::UnnamedExpr(expression) => {
                    let name = output_name(expression);
                    self.expression(expression)?;
                    Some(name)
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    self.expression(expr)?;
                    Some(folded(alias))
                }
                SelectItem::Wildcard(_) => {
                    self.read_all_of_scope();
                    None
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    self.read_whole(name)?;
                    None
                }
                SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. } => {
                    return Err(SqlError::Unsupported(format!("the output column {item}")));
                }
            };
            output = match (output, name) {
                (Some(mut names), Some(name)) => {
                    names.push(name);
                    Some(names)
                }
                _ => None,
            };
        }
        Ok(output)
    }

    fn order_by(&mut self, order_by: &mut Option<OrderBy>, output: &OutputColumns) -> Result<(), SqlError> {
        let Some(OrderBy { kind: OrderByKind::Expressions(orderings), .. }) = order_by else { return Ok(()) };
        for ordering in orderings.iter_mut().filter(|ordering| !names_output(&ordering.expr, output)) {
            if self.scopes.last().is_some() {
                self.expression(&mut ordering.expr)?;
            }
        }
        Ok(())
    }

    fn limit(&mut self, limit: &mut Option<LimitClause>) -> Result<(), SqlError> {
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = limit {
            if let Some(expression) = limit {
                self.expression(expression)?;
            }
            if let Some(offset) = offset {
                self.expression(&mut offset.value)?;
            }
        }
        Ok(())
    }
}
