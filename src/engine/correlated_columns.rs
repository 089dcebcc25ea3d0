//! Columns of a subquery that are compared with the row outside of it, under names of their own.
//!
//! DataFusion 55 makes a join of a correlated subquery, and knows the subquery's columns by their bare names there: of
//! `s.id = t.a AND r.id = t.b` it compares one `id` with both.

use std::collections::BTreeSet;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, JoinType};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::AnalyzerRule;

/// Names them apart wherever a subquery reads from several tables.
#[derive(Debug)]
pub(super) struct CorrelatedColumns;

impl AnalyzerRule for CorrelatedColumns {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        plan.transform_up_with_subqueries(|plan| {
            let parted = match plan {
                LogicalPlan::Join(join) => conditions_above(join)?,
                other => Transformed::no(other),
            };
            let parted = parted.transform_data(|plan| match plan {
                LogicalPlan::Filter(filter) => named_apart(filter),
                other => Ok(Transformed::no(other)),
            })?;
            // Columns that came below are seen above.
            if parted.transformed { Ok(parted) } else { parted.map_data(LogicalPlan::recompute_schema) }
        })
        .data()
    }

    fn name(&self) -> &str {
        "correlated_columns"
    }
}

/// What an inner join demands of the row outside is demanded of its rows as well.
fn conditions_above(mut join: Join) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let is_correlated = join.filter.as_ref().is_some_and(Expr::contains_outer);
    if join.join_type != JoinType::Inner || !is_correlated {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    let conditions = join.filter.take().map(split_conjunction_owned).unwrap_or_default();
    let (outer, own): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(Expr::contains_outer);
    join.filter = conjunction(own);
    let plan = LogicalPlanBuilder::from(LogicalPlan::Join(join));
    Ok(Transformed::yes(match conjunction(outer) {
        Some(condition) => plan.filter(condition)?.build()?,
        None => plan.build()?,
    }))
}

fn named_apart(filter: Filter) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let input = filter.input.schema();
    let tables: BTreeSet<String> = input.iter().filter_map(|(table, _)| table).map(ToString::to_string).collect();
    if tables.len() < 2 || !filter.predicate.contains_outer() {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    }
    let mut apart: BTreeSet<Column> = BTreeSet::new();
    let mut conditions = Vec::new();
    for condition in split_conjunction_owned(filter.predicate.clone()) {
        if !condition.contains_outer() {
            conditions.push(condition);
            continue;
        }
        let renamed = condition.transform(|expression| match expression {
            Expr::Column(column) if column.relation.is_some() => {
                let name = own_name(&column);
                apart.insert(column);
                Ok(Transformed::yes(Expr::Column(Column::new_unqualified(name))))
            }
            other => Ok(Transformed::no(other)),
        });
        conditions.push(renamed.data()?);
    }
    let mut items: Vec<Expr> = input.columns().into_iter().map(Expr::Column).collect();
    for column in apart {
        let name = own_name(&column);
        if !input.has_column_with_unqualified_name(&name) {
            items.push(Expr::Column(column).alias(name));
        }
    }
    let plan = LogicalPlanBuilder::from(filter.input.as_ref().clone()).project(items)?;
    Ok(Transformed::yes(match conjunction(conditions) {
        Some(condition) => plan.filter(condition)?.build()?,
        None => plan.build()?,
    }))
}

fn own_name(column: &Column) -> String {
    format!("{} at hand", column.flat_name())
}

#[cfg(test)]
mod tests {
    use crate::engine::session_context;

    #[tokio::test]
    async fn a_subquery_of_two_rows_of_one_table_finds_both() {
        let session = session_context();
        for sql in [
            "CREATE TABLE trips AS SELECT * FROM (VALUES (1, 10, 20), (2, 20, 30), (3, 30, 40)) AS v(id, a, b)",
            "CREATE TABLE stations AS SELECT * FROM (VALUES (10, 1.5), (20, 2.5), (30, 4.0)) AS v(id, fare)",
        ] {
            session.sql(sql).await.expect(sql).collect().await.expect(sql);
        }
        let conditions = "s.id = trips.a AND t.id = trips.b";
        for (value, found) in [
            (format!("(SELECT s.fare + t.fare FROM stations s, stations t WHERE {conditions})"), ["4.0", "6.5", ""]),
            (format!("(SELECT sum(s.fare + t.fare) FROM stations s, stations t WHERE {conditions})"), ["4.0", "6.5", ""]),
            (
                "(SELECT s.fare + t.fare FROM stations s JOIN stations t ON t.id = trips.b WHERE s.id = trips.a)".to_owned(),
                ["4.0", "6.5", ""],
            ),
            (format!("(SELECT count(*) FROM stations s, stations t WHERE {conditions})"), ["1", "1", "0"]),
            (
                "(SELECT t.fare FROM stations s JOIN stations t ON t.id = s.id + 10 WHERE s.id = trips.a AND t.id = trips.b AND s.fare < t.fare)".to_owned(),
                ["2.5", "4.0", ""],
            ),
        ] {
            let sql = format!("SELECT {value} FROM trips ORDER BY trips.id");
            let batches = session.sql(&sql).await.expect(&sql).collect().await.expect(&sql);
            let text = |row: usize| {
                let mut rows =
                    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
                let (batch, row) = rows.nth(row).expect("three rows");
                arrow::util::display::array_value_to_string(batch.column(0), row).expect("a value")
            };
            assert_eq!([text(0), text(1), text(2)], found, "{sql}");
        }
        for condition in [
            format!("EXISTS (SELECT 1 FROM stations s, stations t WHERE {conditions})"),
            format!("trips.a IN (SELECT s.id FROM stations s, stations t WHERE {conditions})"),
        ] {
            let sql = format!("SELECT id FROM trips WHERE {condition}");
            let batches = session.sql(&sql).await.expect(&sql).collect().await.expect(&sql);
            assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2, "{sql}");
        }
    }
}
