//! Queries: common table expressions, set operations, VALUES.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use sqlparser::ast::{
    Cte, Expr, LimitClause, OrderByExpr, OrderByKind, PipeOperator, Query, SetExpr, SetOperator, SetQuantifier,
    TableAlias, Values, With, visit_relations,
};

use super::dependencies::{Dependencies, Role};
use super::outcome::{InfluenceKind, Via};
use super::scope::{Body, Output, OutputColumn, spelled};
use super::walk::{CommonTable, Walk};
use crate::model::ColumnName;
use crate::sql::SqlError;

/// How often a recursive query may change what it says of itself.
const RECURSIONS: usize = 64;

/// What stands around a SELECT: its ORDER BY counts where only some of the rows are taken.
#[derive(Clone, Copy, Default)]
pub(super) struct Around<'q> {
    pub(super) order: &'q [OrderByExpr],
    pub(super) limited: bool,
}

impl Walk<'_> {
    /// What a query returns.
    pub(super) fn query(&mut self, query: &Query) -> Rc<Output> {
        Rc::new(self.deeper(|walk| walk.whole_query(query)).unwrap_or_default())
    }

    fn whole_query(&mut self, query: &Query) -> Output {
        let outside = self.common_tables.len();
        if let Some(with) = &query.with {
            self.with(with);
        }
        let order = match query.order_by.as_ref().map(|order| &order.kind) {
            Some(OrderByKind::Expressions(order)) => order.as_slice(),
            Some(OrderByKind::All(_)) | None => &[],
        };
        let ordered = std::mem::take(&mut self.ordered);
        let limited = query.fetch.is_some() || query.limit_clause.as_ref().is_some_and(limits);
        let mut output = match query.body.as_ref() {
            SetExpr::Select(select) => self.select(select, Around { order, limited: limited || ordered }),
            body => {
                let mut output = self.set_expression(body);
                if limited || ordered {
                    self.order_of_output(order, &mut output);
                }
                output
            }
        };
        if limited {
            self.limits_read(query, &mut output);
        }
        for operator in &query.pipe_operators {
            self.pipe(operator, &mut output);
        }
        self.common_tables.truncate(outside);
        // Each once: what is named twice in each of many queries would double with each.
        super::dependencies::settle_influences(&mut output.rows);
        output
    }

    /// What the numbers of LIMIT, OFFSET and FETCH are read from.
    fn limits_read(&mut self, query: &Query, output: &mut Output) {
        let numbers = match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                [limit.as_ref(), offset.as_ref().map(|offset| &offset.value)]
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => [Some(offset), Some(limit)],
            None => [None, None],
        };
        let fetched = query.fetch.as_ref().and_then(|fetch| fetch.quantity.as_ref());
        let mut decides = Dependencies::default();
        for number in numbers.into_iter().flatten().chain(fetched).filter(|number| !matches!(number, Expr::Value(_))) {
            self.condition(number, InfluenceKind::Filter, &mut decides);
        }
        output.rows.append(&mut decides.influences);
    }

    pub(super) fn with(&mut self, with: &With) {
        for table in &with.cte_tables {
            // A query that nothing names is not run; a write is.
            let (output, reads) = self.reads_of(|walk| walk.common_table(table, with.recursive));
            let writes = matches!(
                table.query.body.as_ref(),
                SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
            );
            if writes {
                reads.iter().for_each(|table| self.reads(*table));
            }
            let name: ColumnName = spelled(&table.alias.name).into();
            self.common_tables.push(CommonTable { name, output, reads });
        }
    }

    fn common_table(&mut self, table: &Cte, recursive: bool) -> Rc<Output> {
        let name = spelled(&table.alias.name);
        let recursive = (recursive || !self.dialect.says_recursive()) && refers_to(&table.query, &name);
        match table.query.body.as_ref() {
            SetExpr::SetOperation { left, .. } if recursive => self.recursive_table(table, left),
            _ => {
                let output = self.query(&table.query);
                renamed(output, &table.alias)
            }
        }
    }

    /// A query over itself: begun with its first branch, repeated until it says nothing new.
    fn recursive_table(&mut self, table: &Cte, first: &SetExpr) -> Rc<Output> {
        let name: ColumnName = spelled(&table.alias.name).into();
        let outside = self.common_tables.len();
        if let Some(with) = &table.query.with {
            self.with(with);
        }
        let begun = self.deeper(|walk| walk.set_expression(first)).unwrap_or_default();
        self.common_tables.truncate(outside);
        let mut held = renamed(Rc::new(settled(begun)), &table.alias);
        for _ in 0..RECURSIONS {
            self.common_tables.push(CommonTable {
                name: Arc::clone(&name),
                output: Rc::clone(&held),
                reads: Vec::new(),
            });
            let next = self.deeper(|walk| walk.whole_query(&table.query)).unwrap_or_default();
            self.common_tables.truncate(outside);
            let next = renamed(Rc::new(settled(next)), &table.alias);
            if next.columns == held.columns && next.rows == held.rows {
                return next;
            }
            held = next;
        }
        self.note(SqlError::Unsupported(format!("the recursive query {name}: its columns change places too often")));
        held
    }

    pub(super) fn set_expression(&mut self, body: &SetExpr) -> Output {
        match body {
            SetExpr::Select(select) => self.select(select, Around::default()),
            SetExpr::Query(query) => self.deeper(|walk| walk.whole_query(query)).unwrap_or_default(),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                self.set_operation(body, left, *op, *set_quantifier, right)
            }
            SetExpr::Values(values) => self.values(values),
            SetExpr::Insert(statement)
            | SetExpr::Update(statement)
            | SetExpr::Delete(statement)
            | SetExpr::Merge(statement) => self.write(statement),
            SetExpr::Table(table) => {
                let parts = [&table.schema_name, &table.table_name];
                let idents: Vec<_> =
                    parts.into_iter().flatten().map(|part| sqlparser::ast::Ident::new(part.as_str())).collect();
                let name = sqlparser::ast::ObjectName::from(idents);
                let relation = self.relation_named(&name, None);
                Output { columns: self.listed(&relation.body, &[]), rows: relation_rows(&relation.body) }
            }
        }
    }

    fn set_operation(
        &mut self,
        body: &SetExpr,
        left: &SetExpr,
        operator: SetOperator,
        quantifier: SetQuantifier,
        right: &SetExpr,
    ) -> Output {
        if operator == SetOperator::Union {
            return self.union(body);
        }
        let mut output = self.deeper(|walk| walk.set_expression(left)).unwrap_or_default();
        let other = self.deeper(|walk| walk.set_expression(right)).unwrap_or_default();
        let mut decides = Dependencies::default();
        for column in output.columns.iter().chain(&other.columns) {
            self.absorb_column(column, Role::Influence(InfluenceKind::Filter), &mut decides);
        }
        output.rows.extend(other.rows);
        output.rows.append(&mut decides.influences);
        if matches!(quantifier, SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName) {
            self.note(SqlError::Unsupported("a set operation BY NAME".to_owned()));
        }
        output
    }

    /// A chain of UNIONs at once: each branch is looked at as often as it is written.
    fn union(&mut self, body: &SetExpr) -> Output {
        let mut branches = Vec::new();
        let mut left = body;
        let (mut distinct, mut by_name) = (false, false);
        while let SetExpr::SetOperation { left: next, op: SetOperator::Union, set_quantifier, right } = left {
            by_name |= matches!(
                set_quantifier,
                SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName
            );
            distinct |= !matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
            branches.push(right.as_ref());
            left = next;
        }
        let mut output = self.deeper(|walk| walk.set_expression(left)).unwrap_or_default();
        for branch in branches.into_iter().rev() {
            let other = self.deeper(|walk| walk.set_expression(branch)).unwrap_or_default();
            if by_name { self.lay_by_name(&mut output, other) } else { self.lay_on(&mut output, other) }
        }
        output = settled(output);
        if distinct {
            let mut decides = Dependencies::default();
            for column in &output.columns {
                self.absorb_column(column, Role::Influence(InfluenceKind::GroupBy), &mut decides);
            }
            output.rows.append(&mut decides.influences);
        }
        output
    }

    /// Adds a branch to a UNION, column by column.
    pub(super) fn lay_on(&mut self, output: &mut Output, mut other: Output) {
        output.rows.append(&mut other.rows);
        let any_open = |columns: &[OutputColumn]| columns.iter().any(|column| matches!(column, OutputColumn::AllOf(_)));
        if !any_open(&output.columns) && !any_open(&other.columns) {
            for (column, branch) in output.columns.iter_mut().zip(&other.columns) {
                if let (OutputColumn::Named { dependencies, .. }, OutputColumn::Named { dependencies: more, .. }) =
                    (column, branch)
                {
                    dependencies.absorb(more, Role::Value(Via::Copy));
                }
            }
            return;
        }
        if let ([OutputColumn::AllOf(tables)], [OutputColumn::AllOf(more)]) =
            (output.columns.as_mut_slice(), other.columns.as_slice())
        {
            tables.extend(more);
            return;
        }
        self.lay_open(output, &other);
    }

    /// Where a `*` hides how many columns there are: columns of one name are one, and what is left may be anywhere.
    fn lay_open(&mut self, output: &mut Output, other: &Output) {
        let mut open = Dependencies::default();
        for column in other.columns.iter().filter(|column| matches!(column, OutputColumn::AllOf(_))) {
            self.absorb_column(column, Role::Value(Via::Copy), &mut open);
        }
        for (place, column) in output.columns.iter_mut().enumerate() {
            let OutputColumn::Named { name, dependencies } = column else { continue };
            let same_place = other
                .columns
                .get(..=place)
                .is_some_and(|before| before.iter().all(|column| matches!(column, OutputColumn::Named { .. })));
            let branch = other.columns.iter().enumerate().find_map(|(at, branch)| match branch {
                OutputColumn::Named { name: known, dependencies }
                    if (same_place && at == place) || (!same_place && known == name) =>
                {
                    Some(dependencies)
                }
                _ => None,
            });
            dependencies.absorb(branch.unwrap_or(&open), Role::Value(Via::Copy));
        }
        let more = other.columns.iter().filter_map(|column| match column {
            OutputColumn::AllOf(tables) => Some(tables),
            OutputColumn::Named { .. } => None,
        });
        let more: Vec<_> = more.flatten().copied().collect();
        if let Some(OutputColumn::AllOf(tables)) =
            output.columns.iter_mut().find(|column| matches!(column, OutputColumn::AllOf(_)))
        {
            tables.extend(more);
        }
    }

    fn lay_by_name(&mut self, output: &mut Output, other: Output) {
        output.rows.extend(other.rows);
        for branch in other.columns {
            let OutputColumn::Named { name, dependencies } = &branch else {
                output.columns.push(branch);
                continue;
            };
            let known = output.columns.iter_mut().find_map(|column| match column {
                OutputColumn::Named { name: known, dependencies } if known == name => Some(dependencies),
                _ => None,
            });
            match known {
                Some(known) => known.absorb(dependencies, Role::Value(Via::Copy)),
                None => output.columns.push(branch),
            }
        }
    }

    pub(super) fn values(&mut self, values: &Values) -> Output {
        let mut columns: Vec<Dependencies> = Vec::new();
        for row in &values.rows {
            for (place, expression) in row.content.iter().enumerate() {
                if columns.len() <= place {
                    columns.push(Dependencies::default());
                }
                if let Some(column) = columns.get_mut(place) {
                    self.expression(expression, Role::Value(Via::Copy), column);
                }
            }
        }
        let named = columns.into_iter().enumerate().map(|(place, dependencies)| OutputColumn::Named {
            name: format!("column{}", place + 1).into(),
            dependencies,
        });
        Output { columns: named.collect(), rows: Vec::new() }
    }

    /// ORDER BY … LIMIT of a set operation or of VALUES: it names columns of the result.
    fn order_of_output(&mut self, order: &[OrderByExpr], output: &mut Output) {
        let mut rows = Dependencies::default();
        for order in order {
            if !self.names_output(&order.expr, &output.columns, InfluenceKind::Sort, &mut rows) {
                self.within_output(output, |walk| walk.condition(&order.expr, InfluenceKind::Sort, &mut rows));
            }
        }
        output.rows.append(&mut rows.influences);
    }

    /// Runs `within` where the output's columns are the only ones in reach.
    fn within_output(&mut self, output: &Output, within: impl FnOnce(&mut Self)) {
        let body = Body::Output(Rc::new(Output { columns: output.columns.clone(), rows: Vec::new() }));
        self.scopes.push(super::scope::Scope::of(body));
        within(self);
        self.scopes.pop();
    }

    fn pipe(&mut self, operator: &PipeOperator, output: &mut Output) {
        let mut rows = Dependencies::default();
        match operator {
            PipeOperator::Where { expr } => {
                self.within_output(output, |walk| walk.condition(expr, InfluenceKind::Filter, &mut rows));
            }
            PipeOperator::Limit { .. } | PipeOperator::OrderBy { .. } | PipeOperator::As { .. } => {}
            PipeOperator::Select { exprs } => {
                let mut columns = Vec::new();
                self.within_output(output, |walk| walk.projection(exprs, &mut columns));
                output.columns = columns;
            }
            PipeOperator::Extend { exprs } => {
                let mut columns = Vec::new();
                self.within_output(output, |walk| walk.projection(exprs, &mut columns));
                output.columns.append(&mut columns);
            }
            other => self.note(SqlError::Unsupported(format!("the pipe operator {other}"))),
        }
        output.rows.append(&mut rows.influences);
    }
}

fn limits(clause: &LimitClause) -> bool {
    match clause {
        LimitClause::LimitOffset { limit, offset, limit_by } => {
            limit.is_some() || offset.is_some() || !limit_by.is_empty()
        }
        LimitClause::OffsetCommaLimit { .. } => true,
    }
}

fn refers_to(query: &Query, name: &str) -> bool {
    visit_relations(query, |relation| {
        let refers = relation.0.len() == 1
            && relation.0.first().and_then(|part| part.as_ident()).is_some_and(|ident| spelled(ident) == name);
        if refers { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .is_break()
}

fn settled(mut output: Output) -> Output {
    for column in &mut output.columns {
        match column {
            OutputColumn::Named { dependencies, .. } => dependencies.settle(),
            OutputColumn::AllOf(tables) => {
                tables.sort_unstable();
                tables.dedup();
            }
        }
    }
    super::dependencies::settle_influences(&mut output.rows);
    output
}

pub(super) fn relation_rows(body: &Body) -> Vec<(super::arena::ColumnId, InfluenceKind)> {
    match body {
        Body::Output(output) => output.rows.clone(),
        Body::Table { .. } | Body::Function { .. } => Vec::new(),
    }
}

/// The output under the column names of an alias.
pub(super) fn renamed(output: Rc<Output>, alias: &TableAlias) -> Rc<Output> {
    if alias.columns.is_empty() {
        return output;
    }
    let names: Vec<ColumnName> = alias.columns.iter().map(|column| spelled(&column.name).into()).collect();
    Rc::new(with_names(&output, &names))
}

/// The output with its first columns named anew. What a `*` hides comes from anywhere in it.
pub(super) fn with_names(output: &Output, names: &[ColumnName]) -> Output {
    let mut columns = Vec::with_capacity(output.columns.len());
    let mut names = names.iter();
    for column in &output.columns {
        match column {
            OutputColumn::Named { dependencies, .. } => match names.next() {
                Some(name) => {
                    columns.push(OutputColumn::Named { name: Arc::clone(name), dependencies: dependencies.clone() })
                }
                None => columns.push(column.clone()),
            },
            OutputColumn::AllOf(_) => columns.push(column.clone()),
        }
    }
    Output { columns, rows: output.rows.clone() }
}
