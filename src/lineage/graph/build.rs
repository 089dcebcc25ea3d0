//! The graph of everything that is known: the history, the project's `[[derive]]`s, and what other tools state.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use petgraph::stable_graph::NodeIndex;

use super::computation::{computation_of, computation_of_query, computation_of_sql};
use super::executions::{Executed, Executions, Runs};
use super::{Computation, LineageGraph, Origin, StatementName, Usage};
use crate::model::{Declarations, Derive, StatedLineage, TableName, Timestamp};
use crate::sql::{Schema, Schemas, template};

/// Everything a graph is built from.
#[derive(Clone, Copy, Debug)]
pub struct LineageSources<'a> {
    /// What ran.
    pub executions: &'a Executions,
    /// Tables computed by something that logs no SQL.
    pub derives: &'a [Derive],
    /// What other tools state.
    pub stated: &'a [StatedLineage],
    /// The shapes of the tables.
    pub schemas: &'a Schemas,
    /// What the database declares beside them.
    pub declared: &'a Declarations,
}

/// Builds the graph.
pub fn build(sources: LineageSources<'_>) -> LineageGraph {
    let (schema, views) = Schema::from(sources.schemas).with(sources.declared);
    let mut building = Building { graph: LineageGraph::default(), schema };
    building.executions(sources.executions);
    for view in views {
        let name = StatementName { origin: Origin::Catalog, text: template(&view.sql).into() };
        building.graph.statement(&name, || computation_of(&[view]));
    }
    for derive in sources.derives {
        building.derive(derive);
    }
    building.stated(sources.stated);
    building.graph
}

struct Building {
    graph: LineageGraph,
    schema: Schema,
}

impl Building {
    fn executions(&mut self, executions: &Executions) {
        for (template, executed) in by_template(executions) {
            let name = StatementName { origin: Origin::Sql, text: template.into() };
            let touches =
                |computation: &Computation| !computation.targets.is_empty() || !computation.sources.is_empty();
            let computations: Vec<Computation> = executed.iter().map(|executed| self.computation(executed)).collect();
            if !computations.iter().any(touches) {
                continue;
            }
            for (executed, computation) in executed.into_iter().zip(computations) {
                let node = self.graph.statement(&name, || computation.clone());
                self.graph.extend(node, &computation);
                self.ran(node, &executed.runs);
            }
        }
        for (table, runs) in executions.unrecorded() {
            let name = StatementName { origin: Origin::Unrecorded, text: format!("writes of {table}").into() };
            let computation =
                || Computation { kind: "unrecorded", targets: vec![table.clone()], ..Computation::default() };
            let node = self.graph.statement(&name, computation);
            self.ran(node, runs);
        }
    }

    fn computation(&self, executed: &Executed) -> Computation {
        let mut computation = computation_of_sql(&executed.sql, &self.schema);
        // What triggers and cascades wrote beside what the text says.
        let named: BTreeSet<TableName> = computation.targets.iter().cloned().collect();
        computation.targets.extend(executed.written.difference(&named).cloned());
        computation
    }

    fn ran(&mut self, node: NodeIndex, runs: &Runs) {
        for (release, usage) in runs {
            self.graph.ran(node, release.as_ref(), usage);
        }
    }

    fn derive(&mut self, derive: &Derive) {
        let name = StatementName { origin: Origin::Derive, text: template(&derive.sql).into() };
        let schema = &self.schema;
        let node = self.graph.statement(&name, || computation_of_query(&derive.sql, &derive.table, schema));
        self.graph.extend(node, &Computation { targets: vec![derive.table.clone()], ..Computation::default() });
    }

    /// What is said of one job belongs together; of documents without a run, the latest counts.
    fn stated(&mut self, stated: &[StatedLineage]) {
        let mut latest: HashMap<(&str, &str), Timestamp> = HashMap::new();
        for one in stated.iter().filter(|one| one.run.is_none()) {
            let at = latest.entry((&one.stated_by, &one.job)).or_insert(one.ts);
            *at = (*at).max(one.ts);
        }
        let is_latest =
            |one: &&StatedLineage| one.run.is_some() || latest.get(&(&*one.stated_by, &*one.job)) == Some(&one.ts);
        let mut runs: BTreeSet<(&str, &str, &str)> = BTreeSet::new();
        for one in stated.iter().filter(is_latest) {
            let name = StatementName { origin: Origin::Stated(Arc::clone(&one.stated_by)), text: Arc::clone(&one.job) };
            let node = self.graph.statement(&name, || Computation { kind: "job", ..Computation::default() });
            self.graph.extend(node, &computation_of_stated(one, &self.schema));
            if let Some(run) = &one.run
                && runs.insert((&one.stated_by, &one.job, run))
            {
                self.graph.ran(node, None, &Usage::once(one.ts));
            }
        }
    }
}

/// One template is one statement, though its texts may differ in more than values, as the body of a DO does.
fn by_template(executions: &Executions) -> BTreeMap<String, Vec<&Executed>> {
    let mut by_template: BTreeMap<String, Vec<&Executed>> = BTreeMap::new();
    for executed in executions.statements() {
        by_template.entry(template(&executed.sql)).or_default().push(executed);
    }
    by_template
}

fn computation_of_stated(stated: &StatedLineage, schema: &Schema) -> Computation {
    let mut sources: BTreeSet<TableName> = stated.inputs.iter().cloned().collect();
    sources.extend(stated.feeds.iter().map(|feed| feed.source.table.clone()));
    let mut targets: BTreeSet<TableName> = stated.outputs.iter().cloned().collect();
    targets.extend(stated.feeds.iter().map(|feed| feed.table.clone()));
    let mut feeds = stated.feeds.clone();
    // The SQL tells of columns where the tool did not, and may be in another dialect: its tables are the tool's to name.
    if let (true, Some(sql), [target]) = (feeds.is_empty(), &stated.sql, stated.outputs.as_slice()) {
        let computed = computation_of_query(sql, target, schema);
        let is_stated = |table: &TableName| sources.contains(table);
        feeds.extend(computed.feeds.into_iter().filter(|feed| feed.table == *target && is_stated(&feed.source.table)));
    }
    Computation {
        kind: "job",
        targets: targets.into_iter().collect(),
        sources: sources.into_iter().collect(),
        feeds,
        error: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FeedKind, RecordingId, StatedFeed, TableColumn, View};

    fn table(name: &str) -> TableName {
        name.parse().expect("a table name")
    }

    fn stated(job: &str, run: Option<&str>, at: i64, input: &str) -> StatedLineage {
        StatedLineage {
            id: RecordingId([0; 16]),
            ts: Timestamp::from_micros(at),
            stated_by: "openlineage".into(),
            job: job.into(),
            run: run.map(Into::into),
            sql: None,
            inputs: vec![table(input)],
            outputs: vec![table("daily")],
            feeds: Vec::new(),
        }
    }

    fn built(stated: &[StatedLineage], derives: &[Derive]) -> LineageGraph {
        let declared = Declarations::default();
        build(LineageSources {
            executions: &Executions::default(),
            derives,
            stated,
            schemas: &Schemas::new(),
            declared: &declared,
        })
    }

    #[test]
    fn runs_of_a_job_are_counted_and_events_of_one_run_belong_together() {
        let told = [
            stated("a/daily", Some("1"), 10, "orders"),
            stated("a/daily", Some("1"), 11, "rates"),
            stated("a/daily", Some("2"), 20, "orders"),
        ];
        let graph = built(&told, &[]);
        let views = graph.statements();
        assert_eq!((views.len(), views[0].statement.usage.count), (1, 2));
        let sources: Vec<String> = views[0].sources().into_iter().map(ToString::to_string).collect();
        assert_eq!(sources, ["public.orders", "public.rates"]);
    }

    #[test]
    fn views_of_the_database_are_in_it() {
        let declared = Declarations {
            views: vec![View {
                name: table("big"),
                sql: "SELECT o.id FROM public.orders o WHERE o.total > 100".into(),
            }],
            definitions: vec![
                "CREATE MATERIALIZED VIEW public.counted AS SELECT count(b.id) AS n FROM public.big b".into(),
            ],
            ..Declarations::default()
        };
        let graph = build(LineageSources {
            executions: &Executions::default(),
            derives: &[],
            stated: &[],
            schemas: &Schemas::new(),
            declared: &declared,
        });
        let views = graph.statements();
        assert!(
            views.iter().all(|view| view.statement.name.origin == Origin::Catalog && view.statement.error.is_none())
        );
        let column = |name: &str, column: &str| TableColumn::new(table(name), column);
        let hops = graph.explanation(&column("orders", "total"), &column("counted", "n")).expect("known columns");
        assert_eq!(hops.len(), 2, "through one view and the other");
    }

    #[test]
    fn of_documents_the_latest_counts() {
        let told = [stated("model.daily", None, 20, "orders_v2"), stated("model.daily", None, 10, "orders")];
        let graph = built(&told, &[]);
        let sources: Vec<String> = graph.statements()[0].sources().into_iter().map(ToString::to_string).collect();
        assert_eq!(sources, ["public.orders_v2"]);
        assert_eq!(graph.statements()[0].statement.usage.count, 0, "declared, never seen to run");
    }

    #[test]
    fn stated_columns_and_derived_tables_are_in_it() {
        let mut told = stated("a/report", Some("1"), 10, "daily");
        told.outputs = vec![table("report")];
        let source = TableColumn::new(table("daily"), "total");
        told.feeds =
            vec![StatedFeed { table: table("report"), column: Some("total".into()), source, kind: FeedKind::Copy }];
        let derive = Derive {
            table: table("daily"),
            key: vec!["day".into()],
            sql: "SELECT day, sum(total) AS total FROM orders GROUP BY day".to_owned(),
        };
        let graph = built(&[told], &[derive]);
        let names: Vec<&str> = graph.tables().map(|table| table.table.as_ref()).collect();
        assert_eq!(names, ["daily", "orders", "report"]);
        assert!(graph.columns().contains(&TableColumn::new(table("report"), "total")));
    }
}
