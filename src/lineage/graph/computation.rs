//! What one SQL text computes, for the graph.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{ObjectName, Query, Statement, Visit, Visitor};

use super::Computation;
use crate::model::TableName;
use crate::sql::{self, Schemas, folded, table_name, write_targets};

/// What the statements of a text read and write.
pub(super) fn computation_of_sql(text: &str, schemas: &Schemas) -> Computation {
    let statements = match sql::parse(text) {
        Ok(statements) => statements,
        Err(error) => {
            return Computation {
                kind: "unparsed",
                error: Some(format!("failed to {error}")),
                ..Computation::default()
            };
        }
    };
    let mut targets: BTreeSet<TableName> = BTreeSet::new();
    let mut sources: BTreeSet<TableName> = BTreeSet::new();
    for statement in &statements {
        let written: BTreeSet<TableName> = write_targets(statement, schemas)
            .into_iter()
            .map(|target| target.table)
            .chain(defined(statement))
            .collect();
        sources.extend(tables_read(statement).into_iter().filter(|table| !written.contains(table)));
        targets.extend(written);
    }
    Computation {
        kind: statements.first().map_or("other", kind),
        targets: targets.into_iter().collect(),
        sources: sources.into_iter().collect(),
        feeds: Vec::new(),
        error: None,
    }
}

/// What a query that gives the rows of a table reads and writes; a text that is another statement, as it stands.
pub(super) fn computation_of_query(text: &str, table: &TableName, schemas: &Schemas) -> Computation {
    let mut computation = computation_of_sql(text, schemas);
    if computation.targets.is_empty() {
        computation.targets.push(table.clone());
    }
    computation
}

fn kind(statement: &Statement) -> &'static str {
    match statement {
        Statement::Query(_) => "select",
        Statement::Insert(_) => "insert",
        Statement::Update(_) => "update",
        Statement::Delete(_) => "delete",
        Statement::Merge(_) => "merge",
        Statement::Truncate(_) => "truncate",
        Statement::Copy { .. } => "copy",
        Statement::CreateTable(_) => "create_table",
        Statement::CreateView(_) => "create_view",
        _ => "other",
    }
}

fn defined(statement: &Statement) -> Option<TableName> {
    match statement {
        Statement::CreateTable(create) if create.query.is_some() => table_name(&create.name),
        Statement::CreateView(create) => table_name(&create.name),
        _ => None,
    }
}

/// The tables named anywhere, without the common table expressions.
fn tables_read(statement: &Statement) -> BTreeSet<TableName> {
    #[derive(Default)]
    struct Collect {
        named: BTreeSet<TableName>,
        common: BTreeSet<TableName>,
    }
    impl Visitor for Collect {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let common = query.with.iter().flat_map(|with| &with.cte_tables);
            self.common.extend(common.map(|table| TableName::new("public", folded(&table.alias.name))));
            ControlFlow::Continue(())
        }

        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            self.named.extend(table_name(relation));
            ControlFlow::Continue(())
        }
    }
    let mut collect = Collect::default();
    let _ = statement.visit(&mut collect);
    collect.named.difference(&collect.common).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_told_apart_from_names_within_the_statement() {
        let schemas = Schemas::new();
        let told = |text: &str| {
            let computation = computation_of_sql(text, &schemas);
            let names = |tables: &[TableName]| tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            (computation.kind, names(&computation.targets), names(&computation.sources))
        };
        let with = "INSERT INTO daily WITH paid AS (SELECT * FROM orders) SELECT day FROM paid";
        assert_eq!(told(with), ("insert", "public.daily".into(), "public.orders".into()));
        let view = "CREATE VIEW v AS SELECT 1 FROM billing.invoices";
        assert_eq!(told(view), ("create_view", "public.v".into(), "billing.invoices".into()));
        assert!(computation_of_sql("SELEC 1", &schemas).error.is_some());
        let query = computation_of_query("SELECT 1 FROM orders", &TableName::new("public", "daily"), &schemas);
        assert_eq!(query.targets, [TableName::new("public", "daily")]);
    }
}
