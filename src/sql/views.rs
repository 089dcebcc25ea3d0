//! Views: in a statement's text, a view's name stands for its query.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{Ident, Query, Statement, TableAlias, TableFactor, Visit, VisitMut, Visitor, VisitorMut};

use super::{SqlError, folded, parse, table_name};
use crate::model::TableName;

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

/// Puts the query of each view in place of its name, wherever the statement reads it. What a statement writes through a
/// view is left as it is.
pub fn expand_views(statement: &mut Statement, views: &Views) {
    if views.is_empty() {
        return;
    }
    let mut common_tables = CommonTables::default();
    let _ = Visit::visit(statement, &mut common_tables);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(sql: &str) -> String {
        let view = |name: &str, sql: &str| (TableName::new("public", name), Arc::new(view_query(sql).expect(sql)));
        let views = Views::from([
            view("paid", "SELECT o.id, o.total FROM public.orders o WHERE o.paid"),
            view("dear", "SELECT paid.id FROM public.paid WHERE paid.total > 9"),
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
            ("UPDATE paid SET total = 1", "UPDATE paid SET total = 1".to_owned()),
            ("SELECT * FROM other.paid", "SELECT * FROM other.paid".to_owned()),
        ] {
            assert_eq!(expanded(sql), expected, "{sql}");
        }
    }
}
