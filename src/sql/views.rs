//! Views: in a statement's text, a view's name stands for its query.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{
    BinaryOperator, Delete, Expr, FromTable, GroupByExpr, Ident, Insert, ObjectName, Query, Select, SelectItem,
    SetExpr, Statement, TableAlias, TableAliasWithoutColumns, TableFactor, TableObject, TableWithJoins, Update, Visit,
    VisitMut, Visitor, VisitorMut, visit_expressions_mut,
};

use super::{SqlError, folded, parse, table_name};
use crate::model::{TableName, View};

/// The queries of views, by name.
pub type Views = BTreeMap<TableName, Arc<Query>>;

/// How deep views may stand on views.
const DEEPEST: usize = 32;

/// The query of a view, from its text.
///
/// # Errors
/// SQL that is not understood, or no query.
pub fn view_query(sql: &str) -> Result<Query, SqlError> {
    match parse(sql)?.pop() {
        Some(Statement::Query(query)) => Ok(*query),
        _ => Err(SqlError::Unsupported("a view without a query".to_owned())),
    }
}

/// The queries of those of these views that are understood.
pub fn views(declared: &[View]) -> Views {
    declared.iter().filter_map(|view| Some((view.name.clone(), Arc::new(view_query(&view.sql).ok()?)))).collect()
}

/// Puts the query of each view in place of its name, wherever the statement reads it. What it writes through a view of
/// one table's own columns is written to that table; through any other, it is left as it is.
pub fn expand_views(statement: &mut Statement, views: &Views) {
    if views.is_empty() {
        return;
    }
    let mut common_tables = CommonTables::default();
    let _ = Visit::visit(statement, &mut common_tables);
    let _ = VisitMut::visit(statement, &mut WriteThrough(views));
    let mut expansion = Expansion { views, common_tables: common_tables.0, depth: 0 };
    match statement {
        // The table updated or deleted from is no reading.
        Statement::Update(update) => {
            let written = update.table.relation.clone();
            let _ = VisitMut::visit(update, &mut expansion);
            update.table.relation = written;
        }
        Statement::Delete(delete) => {
            let written = delete.from.clone();
            let _ = VisitMut::visit(delete, &mut expansion);
            delete.from = written;
        }
        other => _ = VisitMut::visit(other, &mut expansion),
    }
}

#[derive(Default)]
struct CommonTables(BTreeSet<String>);

impl Visitor for CommonTables {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.0.extend(tables.map(|table| folded(&table.alias.name)));
        ControlFlow::Continue(())
    }
}

struct Expansion<'a> {
    views: &'a Views,
    /// Names that mean something else in this statement.
    common_tables: BTreeSet<String>,
    depth: usize,
}

impl VisitorMut for Expansion<'_> {
    type Break = ();

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { return ControlFlow::Continue(()) };
        let Some(table) = table_name(name) else { return ControlFlow::Continue(()) };
        let is_common = name.0.len() == 1 && self.common_tables.contains(table.table.as_ref());
        let Some(query) = self.views.get(&table).filter(|_| !is_common && self.depth < DEEPEST) else {
            return ControlFlow::Continue(());
        };
        let named = || TableAlias {
            explicit: true,
            name: Ident::with_quote('"', table.table.as_ref()),
            columns: Vec::new(),
            at: None,
        };
        let alias = alias.take().unwrap_or_else(named);
        let mut subquery = Box::new(query.as_ref().clone());
        // Its own names are full: none of the statement's is meant.
        let mut inner = Expansion { views: self.views, common_tables: BTreeSet::new(), depth: self.depth + 1 };
        let _ = VisitMut::visit(subquery.as_mut(), &mut inner);
        *factor = TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None };
        ControlFlow::Continue(())
    }
}

/// Lets the statements write to the table behind a view.
struct WriteThrough<'a>(&'a Views);

impl VisitorMut for WriteThrough<'_> {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<()> {
        // A view may be one of a view.
        for _ in 0..DEEPEST {
            let is_written = match statement {
                Statement::Update(update) => self.update(update),
                Statement::Delete(delete) => self.delete(delete),
                Statement::Insert(insert) => self.insert(insert),
                _ => None,
            };
            if is_written.is_none() {
                break;
            }
        }
        ControlFlow::Continue(())
    }
}

impl WriteThrough<'_> {
    fn update(&self, update: &mut Update) -> Option<()> {
        let condition = self.behind(&mut update.table)?;
        demand(&mut update.selection, condition);
        Some(())
    }

    fn delete(&self, delete: &mut Delete) -> Option<()> {
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &mut delete.from;
        let [table] = from.as_mut_slice() else { return None };
        let condition = self.behind(table)?;
        demand(&mut delete.selection, condition);
        Some(())
    }

    fn insert(&self, insert: &mut Insert) -> Option<()> {
        let TableObject::TableName(name) = &mut insert.table else { return None };
        let plain = PlainView::of(self.0.get(&table_name(name)?)?)?;
        if insert.columns.is_empty() {
            insert.columns = plain.columns.iter().map(|column| ObjectName::from(vec![column.clone()])).collect();
        }
        let called = name.0.last()?.as_ident()?.clone();
        insert.table_alias.get_or_insert(TableAliasWithoutColumns { explicit: true, alias: called });
        *name = plain.table.clone();
        Some(())
    }

    /// Puts the table behind a view in its place, under its name; the view's condition.
    fn behind(&self, table: &mut TableWithJoins) -> Option<Option<Expr>> {
        let TableFactor::Table { name, alias, .. } = &mut table.relation else { return None };
        let plain = PlainView::of(self.0.get(&table_name(name)?)?)?;
        let called = alias.as_ref().map(|alias| alias.name.clone()).or_else(|| name.0.last()?.as_ident().cloned())?;
        let mut condition = plain.select.selection.clone();
        if let Some(condition) = &mut condition {
            let _: ControlFlow<()> = visit_expressions_mut(condition, |expression| {
                match expression {
                    Expr::CompoundIdentifier(parts) => {
                        *parts = [called.clone()].into_iter().chain(parts.pop()).collect();
                    }
                    Expr::Identifier(column) => {
                        *expression = Expr::CompoundIdentifier(vec![called.clone(), column.clone()]);
                    }
                    _ => {}
                }
                ControlFlow::Continue(())
            });
        }
        *name = plain.table.clone();
        let named = TableAlias { explicit: true, name: called, columns: Vec::new(), at: None };
        alias.get_or_insert(named);
        Some(condition)
    }
}

fn demand(selection: &mut Option<Expr>, condition: Option<Expr>) {
    let Some(condition) = condition else { return };
    let condition = Expr::Nested(Box::new(condition));
    *selection = Some(match selection.take() {
        Some(own) => Expr::BinaryOp {
            left: Box::new(condition),
            op: BinaryOperator::And,
            right: Box::new(Expr::Nested(Box::new(own))),
        },
        None => condition,
    });
}

/// A view of one table's own columns, under their own names, that can be written through.
struct PlainView<'a> {
    select: &'a Select,
    table: &'a ObjectName,
    columns: Vec<Ident>,
}

impl<'a> PlainView<'a> {
    fn of(query: &'a Query) -> Option<Self> {
        let SetExpr::Select(select) = query.body.as_ref() else { return None };
        let [TableWithJoins { relation: TableFactor::Table { name: table, args: None, .. }, joins }] =
            select.from.as_slice()
        else {
            return None;
        };
        let mut probe = CountQueries::default();
        let _ = Visit::visit(query, &mut probe);
        let is_grouped =
            select.having.is_some() || !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
        let is_plain = joins.is_empty()
            && probe.0 == 1
            && select.distinct.is_none()
            && !is_grouped
            && query.with.is_none()
            && query.limit_clause.is_none();
        let columns = select.projection.iter().map(own_column).collect::<Option<Vec<Ident>>>()?;
        is_plain.then_some(PlainView { select, table, columns })
    }
}

/// A column under its own name.
fn own_column(item: &SelectItem) -> Option<Ident> {
    let (expression, alias) = match item {
        SelectItem::UnnamedExpr(expression) => (expression, None),
        SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias)),
        _ => return None,
    };
    let column = match expression {
        Expr::Identifier(column) => column,
        Expr::CompoundIdentifier(parts) => parts.last()?,
        _ => return None,
    };
    alias.is_none_or(|alias| folded(alias) == folded(column)).then(|| column.clone())
}

#[derive(Default)]
struct CountQueries(usize);

impl Visitor for CountQueries {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.0 += 1;
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(sql: &str) -> String {
        let view = |name: &str, sql: &str| (TableName::new("public", name), Arc::new(view_query(sql).expect(sql)));
        let views = Views::from([
            view("paid", "SELECT o.id, o.total FROM public.orders o WHERE o.paid"),
            view("dear", "SELECT paid.id FROM public.paid WHERE paid.total > 9"),
            view("sums", "SELECT o.id, sum(o.total) AS total FROM public.orders o GROUP BY o.id"),
        ]);
        let mut statement = parse(sql).expect(sql).remove(0);
        expand_views(&mut statement, &views);
        statement.to_string()
    }

    #[test]
    fn a_view_is_its_query() {
        const PAID: &str = "(SELECT o.id, o.total FROM public.orders o WHERE o.paid)";
        for (sql, expected) in [
            ("SELECT * FROM paid", format!("SELECT * FROM {PAID} AS \"paid\"")),
            ("INSERT INTO t SELECT p.id FROM public.paid AS p", format!("INSERT INTO t SELECT p.id FROM {PAID} AS p")),
            (
                "DELETE FROM t USING dear WHERE t.id = dear.id",
                format!(
                    "DELETE FROM t USING (SELECT paid.id FROM {PAID} AS \"paid\" WHERE paid.total > 9) AS \"dear\" WHERE t.id = dear.id"
                ),
            ),
            ("WITH paid AS (SELECT 1) SELECT * FROM paid", "WITH paid AS (SELECT 1) SELECT * FROM paid".to_owned()),
            (
                "UPDATE paid AS p SET total = 1 WHERE p.id = 7",
                "UPDATE public.orders AS p SET total = 1 WHERE (p.paid) AND (p.id = 7)".to_owned(),
            ),
            (
                "WITH gone AS (DELETE FROM dear RETURNING id) SELECT count(*) FROM gone",
                "WITH gone AS (DELETE FROM public.orders AS dear WHERE (dear.paid) AND ((dear.total > 9)) RETURNING id) \
                 SELECT count(*) FROM gone"
                    .to_owned(),
            ),
            ("INSERT INTO dear VALUES (1)", "INSERT INTO public.orders AS dear (id) VALUES (1)".to_owned()),
            ("UPDATE sums SET total = 1", "UPDATE sums SET total = 1".to_owned()),
            ("SELECT * FROM other.paid", "SELECT * FROM other.paid".to_owned()),
        ] {
            assert_eq!(expanded(sql), expected, "{sql}");
        }
    }
}
