//! Every reference a query makes to a table: which columns it uses, and which rows can matter.
//!
//! Names are resolved scope by scope, as PostgreSQL does: common table expressions shadow tables, the innermost scope
//! wins, a subquery sees the scopes around it. While resolving, each table reference is renamed (`orders o` becomes
//! `<prefix>0 AS o`), so that the engine can be handed exactly the rows that one reference needs.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Distinct, Expr, Function, GroupByExpr, Ident, JoinConstraint, JoinOperator, LimitClause, ObjectName, OrderBy,
    OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor,
    TableWithJoins, VisitMut, VisitorMut,
};

use super::bounds::{self, Bound, Operand};
use super::{Schemas, SqlError, folded, table_name};
use crate::model::{ColumnName, TableName, TableSchema};

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
        resolver.query(query)?;
        Ok(Reads { references: resolver.references })
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

    fn table_with_joins(&mut self, item: &mut TableWithJoins) -> Result<(), SqlError> {
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
        if alias.is_none() {
            *alias = Some(TableAlias {
                explicit: true,
                name: Ident::with_quote('"', alias_name.clone()),
                columns: Vec::new(),
                at: None,
            });
        }
        self.scope_push(NamedRelation { alias: alias_name, relation: Relation::Table(position) });
        Ok(())
    }

    fn relation(&mut self, alias: String, columns: OutputColumns) {
        self.scope_push(NamedRelation { alias, relation: Relation::Opaque(columns) });
    }

    fn scope_push(&mut self, relation: NamedRelation) {
        match self.scopes.last_mut() {
            Some(scope) => scope.push(relation),
            None => self.scopes.push(vec![relation]),
        }
    }

    fn scope_len(&self) -> usize {
        self.scopes.last().map_or(0, Vec::len)
    }

    fn expressions(&mut self, expressions: &mut [Expr]) -> Result<(), SqlError> {
        expressions.iter_mut().try_for_each(|expression| self.expression(expression))
    }

    fn expression(&mut self, expression: &mut Expr) -> Result<(), SqlError> {
        let mut walk = ExpressionWalk { resolver: self, depth: 0, failure: None };
        let _ = expression.visit(&mut walk);
        walk.failure.map_or(Ok(()), Err)
    }

    fn schema(&self, position: usize) -> Option<&TableSchema> {
        self.schemas.get(&self.references.get(position)?.table).map(AsRef::as_ref)
    }

    fn read(&mut self, position: usize, column: &str) {
        if let Some(TableReference { columns: ColumnsRead::Some(columns), .. }) = self.references.get_mut(position) {
            columns.insert(column.into());
        }
    }

    fn read_all_columns(&mut self, position: usize) {
        if let Some(reference) = self.references.get_mut(position) {
            reference.columns = ColumnsRead::All;
        }
    }

    fn read_all_of_scope(&mut self) {
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

    fn read_in_every_table(&mut self, column: &str) {
        for position in self.tables_in_scope() {
            if self.schema(position).is_some_and(|schema| schema.column(column).is_some()) {
                self.read(position, column);
            }
        }
    }

    fn read_whole(&mut self, name: &ObjectName) -> Result<(), SqlError> {
        let alias = name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
        match self.relation_by_alias(&alias) {
            Some(Relation::Table(position)) => {
                let position = *position;
                self.read_all_columns(position);
                Ok(())
            }
            Some(Relation::Opaque(_)) => Ok(()),
            None => Err(SqlError::UnknownColumn(format!("{name}.*"))),
        }
    }

    fn relation_by_alias(&self, alias: &str) -> Option<&Relation> {
        self.scopes
            .iter()
            .rev()
            .find_map(|scope| scope.iter().find(|named| named.alias == alias))
            .map(|named| &named.relation)
    }

    /// The table reference and column that a name means; `Ok(None)` where it is a column of a subquery.
    fn resolve(&self, parts: &[Ident]) -> Result<Option<(usize, String)>, SqlError> {
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

    fn bound_by(&mut self, condition: &Expr, first: usize) {
        self.bound_within(condition, first..usize::MAX);
    }

    /// Notes what the condition demands of the innermost scope's tables at these places.
    fn bound_within(&mut self, condition: &Expr, places: std::ops::Range<usize>) {
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

/// Visits one expression: its columns are resolved here, its subqueries by the resolver.
struct ExpressionWalk<'walk, 'schemas> {
    resolver: &'walk mut Resolver<'schemas>,
    depth: usize,
    failure: Option<SqlError>,
}

impl ExpressionWalk<'_, '_> {
    fn column(&mut self, parts: &[Ident]) -> ControlFlow<()> {
        match self.resolver.resolve(parts) {
            Ok(Some((position, column))) => {
                self.resolver.read(position, &column);
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Continue(()),
            // A bare name that is a table's alias is the whole row.
            Err(error) => match parts {
                [alias] if self.resolver.relation_by_alias(&folded(alias)).is_some() => {
                    self.fail(SqlError::Unsupported(format!("the whole row {alias} as a value")))
                }
                _ => self.fail(error),
            },
        }
    }

    fn fail(&mut self, failure: SqlError) -> ControlFlow<()> {
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
                self.column(&parts)
            }
            Expr::CompoundIdentifier(parts) => {
                let resolved = self.column(parts);
                // schema.table.column: the engine knows the reference by its alias alone.
                if parts.len() > 2 {
                    *parts = parts.split_off(parts.len() - 2);
                }
                resolved
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

fn alias_columns(alias: &TableAlias) -> OutputColumns {
    (!alias.columns.is_empty()).then(|| alias.columns.iter().map(|column| folded(&column.name)).collect())
}

/// Whether an ORDER BY or GROUP BY item names an output column (by name or by number) and so reads nothing more.
fn names_output(expression: &Expr, output: &OutputColumns) -> bool {
    match expression {
        Expr::Value(_) => true,
        Expr::Identifier(ident) => output.as_ref().is_some_and(|names| names.contains(&folded(ident))),
        _ => false,
    }
}

/// PostgreSQL's name for an output column without an alias.
fn output_name(expression: &Expr) -> String {
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
