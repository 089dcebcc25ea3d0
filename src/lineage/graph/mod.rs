//! The lineage graph: releases → statements → tables and columns, and who feeds whom.
//!
//! In: [`Executions`], counted over a history, and [`Computation`]s: what a statement, a `[[derive]]`, a dbt model or a job that
//! another tool tells of reads and writes. Out: one node for each release, statement (by template), table and column;
//! how often and when each ran; what is upstream and downstream of what, and the shortest explanation between two columns.

mod build;
mod computation;
mod executions;
mod focus;
mod paths;

pub use build::{LineageSources, build};
pub use executions::Executions;
pub use focus::{Direction, Focus};
pub use paths::Hop;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use petgraph::stable_graph::{EdgeIndex, NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef as _;

use crate::model::{FeedKind, Release, StatedFeed, TableColumn, TableName, Timestamp};

/// Who says what a statement reads and writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// Its own SQL, from a log or an event.
    Sql,
    /// The database, of a view.
    Catalog,
    /// The project file's `[[derive]]`.
    Derive,
    /// Another tool: the name of its format.
    Stated(Arc<str>),
    /// Nobody: rows of a table were written, and no statement is recorded for them.
    Unrecorded,
}

impl Origin {
    /// The word that outputs print: `sql`, `catalog`, `derive`, `dbt`, `openlineage`, `unrecorded`.
    pub fn as_str(&self) -> &str {
        match self {
            Origin::Sql => "sql",
            Origin::Catalog => "catalog",
            Origin::Derive => "derive",
            Origin::Stated(by) => by,
            Origin::Unrecorded => "unrecorded",
        }
    }
}

/// What makes a statement one node: who tells of it, and its template (or the name of its job).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatementName {
    /// Who tells of it.
    pub origin: Origin,
    /// Its template: literals as `?`; for a job of another tool, the job's name.
    pub text: Arc<str>,
}

/// How often something happened, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How often; 0 for what is declared, and was never seen to run.
    pub count: u64,
    /// The first time.
    pub first: Option<Timestamp>,
    /// The last time.
    pub last: Option<Timestamp>,
}

impl Usage {
    /// Once, at this time.
    pub fn once(at: Timestamp) -> Usage {
        Usage { count: 1, first: Some(at), last: Some(at) }
    }

    fn add(&mut self, more: &Usage) {
        self.count += more.count;
        self.first = self.first.into_iter().chain(more.first).min();
        self.last = self.last.into_iter().chain(more.last).max();
    }
}

/// What a statement reads and writes, whenever it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Computation {
    /// What it does: `insert`, `select`, `job` …
    pub kind: &'static str,
    /// The tables it writes.
    pub targets: Vec<TableName>,
    /// The tables it reads.
    pub sources: Vec<TableName>,
    /// Which column feeds, or influences, which.
    pub feeds: Vec<StatedFeed>,
    /// What of it is not understood.
    pub error: Option<String>,
}

/// A node of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A release that ran statements.
    Release(Release),
    /// A statement.
    Statement(StatementNode),
    /// A table.
    Table(TableName),
    /// A column.
    Column(TableColumn),
}

/// A statement: a template with all of its executions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementNode {
    /// What makes it one node.
    pub name: StatementName,
    /// What it does.
    pub kind: &'static str,
    /// Its executions.
    pub usage: Usage,
    /// What of it is not understood.
    pub error: Option<String>,
}

/// An edge of the graph, in the direction of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edge {
    /// A release ran a statement, so often.
    Ran(Usage),
    /// A statement reads a table: as often as it runs.
    Reads,
    /// A statement writes a table: as often as it runs.
    Writes,
    /// A column feeds a column, by a statement: as often as it runs.
    Feeds {
        /// How.
        kind: FeedKind,
        /// The statement's node.
        statement: NodeIndex,
    },
}

/// The graph.
#[derive(Clone, Debug, Default)]
pub struct LineageGraph {
    graph: StableDiGraph<Node, Edge>,
    releases: BTreeMap<Release, NodeIndex>,
    statements: HashMap<StatementName, NodeIndex>,
    tables: BTreeMap<TableName, NodeIndex>,
    columns: HashMap<TableColumn, NodeIndex>,
    /// The feeds of each statement.
    feeds: HashMap<NodeIndex, Vec<EdgeIndex>>,
}

impl LineageGraph {
    /// The statement's node; made, with all that it reads and writes, where it is new.
    pub fn statement(&mut self, name: &StatementName, computation: impl FnOnce() -> Computation) -> NodeIndex {
        if let Some(node) = self.statements.get(name) {
            return *node;
        }
        let computation = computation();
        let node = self.graph.add_node(Node::Statement(StatementNode {
            name: name.clone(),
            kind: computation.kind,
            usage: Usage::default(),
            error: computation.error.clone(),
        }));
        self.statements.insert(name.clone(), node);
        self.extend(node, &computation);
        node
    }

    /// Adds to what a statement reads and writes.
    pub fn extend(&mut self, statement: NodeIndex, computation: &Computation) {
        if let (Some(Node::Statement(node)), Some(error)) = (self.graph.node_weight_mut(statement), &computation.error)
        {
            node.error.get_or_insert_with(|| error.clone());
        }
        for source in &computation.sources {
            let table = self.table(source);
            self.connect(table, statement, Edge::Reads);
        }
        for target in &computation.targets {
            let table = self.table(target);
            self.connect(statement, table, Edge::Writes);
        }
        let (of_columns, of_tables): (Vec<&StatedFeed>, Vec<&StatedFeed>) =
            computation.feeds.iter().partition(|feed| feed.column.is_some());
        for feed in of_columns {
            let Some(column) = &feed.column else { continue };
            self.feed(statement, TableColumn { table: feed.table.clone(), column: column.clone() }, feed);
        }
        // What bears on a whole table bears on each column of it that the statement writes.
        for feed in of_tables {
            let written = computation.feeds.iter().filter(|other| other.table == feed.table);
            let columns: BTreeSet<_> = written.filter_map(|other| other.column.clone()).collect();
            for column in columns {
                self.feed(statement, TableColumn { table: feed.table.clone(), column }, feed);
            }
        }
    }

    fn feed(&mut self, statement: NodeIndex, target: TableColumn, feed: &StatedFeed) {
        let source = self.column(&feed.source);
        let target = self.column(&target);
        if let Some(edge) = self.connect(source, target, Edge::Feeds { kind: feed.kind, statement }) {
            self.feeds.entry(statement).or_default().push(edge);
        }
    }

    /// The new edge, where it is new.
    fn connect(&mut self, from: NodeIndex, to: NodeIndex, edge: Edge) -> Option<EdgeIndex> {
        let known = self.graph.edges_connecting(from, to).any(|known| *known.weight() == edge);
        (!known).then(|| self.graph.add_edge(from, to, edge))
    }

    /// The statement ran so often more, for a release where that is known.
    pub fn ran(&mut self, statement: NodeIndex, release: Option<&Release>, more: &Usage) {
        if let Some(Node::Statement(node)) = self.graph.node_weight_mut(statement) {
            node.usage.add(more);
        }
        let Some(release) = release else { return };
        let release = match self.releases.get(release) {
            Some(node) => *node,
            None => {
                let node = self.graph.add_node(Node::Release(release.clone()));
                self.releases.insert(release.clone(), node);
                node
            }
        };
        let edge = self.graph.find_edge(release, statement);
        let edge = edge.unwrap_or_else(|| self.graph.add_edge(release, statement, Edge::Ran(Usage::default())));
        if let Some(Edge::Ran(usage)) = self.graph.edge_weight_mut(edge) {
            usage.add(more);
        }
    }

    fn table(&mut self, table: &TableName) -> NodeIndex {
        if let Some(node) = self.tables.get(table) {
            return *node;
        }
        let node = self.graph.add_node(Node::Table(table.clone()));
        self.tables.insert(table.clone(), node);
        node
    }

    fn column(&mut self, column: &TableColumn) -> NodeIndex {
        if let Some(node) = self.columns.get(column) {
            return *node;
        }
        self.table(&column.table);
        let node = self.graph.add_node(Node::Column(column.clone()));
        self.columns.insert(column.clone(), node);
        node
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.graph.node_count() == 0
    }

    /// Every table, by name.
    pub fn tables(&self) -> impl Iterator<Item = &TableName> {
        self.tables.iter().filter(|(_, node)| self.graph.contains_node(**node)).map(|(table, _)| table)
    }

    /// Every column, by name.
    pub fn columns(&self) -> BTreeSet<&TableColumn> {
        self.columns.iter().filter(|(_, node)| self.graph.contains_node(**node)).map(|(column, _)| column).collect()
    }

    /// Every statement that reads or writes tables, the most executed first.
    pub fn statements(&self) -> Vec<StatementView<'_>> {
        let view = |node: NodeIndex| match self.graph.node_weight(node) {
            Some(Node::Statement(statement)) => Some(StatementView { graph: self, node, statement }),
            _ => None,
        };
        let mut views: Vec<StatementView<'_>> = self.graph.node_indices().filter_map(view).collect();
        views.sort_by_key(|view| (std::cmp::Reverse(view.statement.usage.count), view.statement.name.clone()));
        views
    }

    /// Groups of tables that feed each other in a circle, each in the order of the names.
    pub fn cycles(&self) -> Vec<Vec<TableName>> {
        let mut cycles: Vec<Vec<TableName>> = petgraph::algo::tarjan_scc(&self.graph)
            .into_iter()
            .map(|component| {
                let table = |node: &NodeIndex| match self.graph.node_weight(*node) {
                    Some(Node::Table(table)) => Some(table.clone()),
                    _ => None,
                };
                let mut tables: Vec<TableName> = component.iter().filter_map(table).collect();
                tables.sort();
                tables
            })
            .filter(|tables| tables.len() > 1)
            .collect();
        cycles.sort();
        cycles
    }
}

/// A statement in its graph.
#[derive(Clone, Copy)]
pub struct StatementView<'graph> {
    graph: &'graph LineageGraph,
    node: NodeIndex,
    /// The statement itself.
    pub statement: &'graph StatementNode,
}

impl<'graph> StatementView<'graph> {
    /// The tables it reads, by name.
    pub fn sources(&self) -> BTreeSet<&'graph TableName> {
        let edges = self.graph.graph.edges_directed(self.node, petgraph::Incoming);
        edges.filter_map(|edge| self.graph.table_at(edge.source())).collect()
    }

    /// The tables it writes, by name.
    pub fn targets(&self) -> BTreeSet<&'graph TableName> {
        let edges = self.graph.graph.edges_directed(self.node, petgraph::Outgoing);
        edges.filter_map(|edge| self.graph.table_at(edge.target())).collect()
    }

    /// The releases that ran it, and how often each did.
    pub fn releases(&self) -> BTreeMap<&'graph Release, Usage> {
        let edges = self.graph.graph.edges_directed(self.node, petgraph::Incoming);
        let ran = |edge: petgraph::stable_graph::EdgeReference<'graph, Edge>| match (
            self.graph.graph.node_weight(edge.source()),
            edge.weight(),
        ) {
            (Some(Node::Release(release)), Edge::Ran(usage)) => Some((release, *usage)),
            _ => None,
        };
        edges.filter_map(ran).collect()
    }

    /// What each column that it writes is fed by, and how.
    pub fn feeds(&self) -> BTreeMap<&'graph TableColumn, BTreeSet<(&'graph TableColumn, FeedKind)>> {
        let mut feeds: BTreeMap<&TableColumn, BTreeSet<(&TableColumn, FeedKind)>> = BTreeMap::new();
        for edge in self.graph.feeds_of(self.node) {
            if let (Some(source), Some(target)) = (self.graph.column_at(edge.0), self.graph.column_at(edge.1)) {
                feeds.entry(target).or_default().insert((source, edge.2));
            }
        }
        feeds
    }
}

impl LineageGraph {
    fn table_at(&self, node: NodeIndex) -> Option<&TableName> {
        match self.graph.node_weight(node) {
            Some(Node::Table(table)) => Some(table),
            _ => None,
        }
    }

    fn column_at(&self, node: NodeIndex) -> Option<&TableColumn> {
        match self.graph.node_weight(node) {
            Some(Node::Column(column)) => Some(column),
            _ => None,
        }
    }

    /// Source, target and kind of every feed by a statement.
    fn feeds_of(&self, statement: NodeIndex) -> impl Iterator<Item = (NodeIndex, NodeIndex, FeedKind)> {
        let edges = self.feeds.get(&statement).into_iter().flatten();
        edges.filter_map(|edge| {
            let (source, target) = self.graph.edge_endpoints(*edge)?;
            match self.graph.edge_weight(*edge)? {
                Edge::Feeds { kind, .. } => Some((source, target, *kind)),
                _ => None,
            }
        })
    }
}

#[cfg(test)]
pub(super) mod fixtures {
    use super::*;

    pub(crate) fn column(text: &str) -> TableColumn {
        let (table, column) = text.rsplit_once('.').expect("table.column");
        TableColumn::new(table.parse().expect("a table name"), column)
    }

    pub(crate) fn statement(graph: &mut LineageGraph, text: &str, feeds: &[(&str, &str, FeedKind)]) -> NodeIndex {
        let name = StatementName { origin: Origin::Sql, text: text.into() };
        graph.statement(&name, || {
            let feeds: Vec<StatedFeed> = feeds
                .iter()
                .map(|(source, target, kind)| {
                    let target = column(target);
                    StatedFeed { table: target.table, column: Some(target.column), source: column(source), kind: *kind }
                })
                .collect();
            let tables = |table: fn(&StatedFeed) -> &TableName| -> Vec<TableName> {
                feeds.iter().map(table).cloned().collect::<BTreeSet<_>>().into_iter().collect()
            };
            Computation {
                kind: "insert",
                targets: tables(|feed| &feed.table),
                sources: tables(|feed| &feed.source.table),
                feeds,
                error: None,
            }
        })
    }

    /// orders.total → daily.total → report.total, orders.day → daily.day; stock and reserve feed each other.
    pub(crate) fn shop() -> LineageGraph {
        let mut graph = LineageGraph::default();
        statement(
            &mut graph,
            "daily",
            &[
                ("orders.total", "daily.total", FeedKind::Aggregate),
                ("orders.day", "daily.day", FeedKind::Copy),
                ("orders.day", "daily.total", FeedKind::Influence),
            ],
        );
        statement(&mut graph, "report", &[("daily.total", "report.total", FeedKind::Copy)]);
        statement(&mut graph, "reserve", &[("stock.left", "reserve.count", FeedKind::Transform)]);
        statement(&mut graph, "release", &[("reserve.count", "stock.left", FeedKind::Transform)]);
        graph
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{shop, statement};
    use super::*;
    use crate::model::ReleaseName;

    #[test]
    fn executions_are_counted_by_statement_and_by_release() {
        let mut graph = shop();
        let node = statement(&mut graph, "report", &[]);
        let release = |name: &str| Release { service: None, name: ReleaseName::new(name) };
        let at = Timestamp::from_micros;
        graph.ran(node, Some(&release("v1")), &Usage::once(at(30)));
        graph.ran(node, Some(&release("v2")), &Usage::once(at(10)));
        graph.ran(node, Some(&release("v1")), &Usage::once(at(20)));
        graph.ran(node, None, &Usage::default());
        let views = graph.statements();
        assert_eq!(views[0].statement.usage, Usage { count: 3, first: Some(at(10)), last: Some(at(30)) });
        let releases = views[0].releases();
        assert_eq!(releases[&release("v1")], Usage { count: 2, first: Some(at(20)), last: Some(at(30)) });
        assert_eq!(views.len(), 4, "the statement is one node however often it runs");
        assert_eq!(views[0].sources().len() + views[0].targets().len(), 2);
    }

    #[test]
    fn tables_that_feed_each_other_are_told() {
        let names = shop()
            .cycles()
            .iter()
            .map(|cycle| cycle.iter().map(ToString::to_string).collect())
            .collect::<Vec<Vec<_>>>();
        assert_eq!(names, [["public.reserve", "public.stock"]]);
    }

    #[test]
    fn what_bears_on_a_whole_table_bears_on_each_column_written() {
        let mut graph = LineageGraph::default();
        let node = statement(&mut graph, "daily", &[("orders.total", "daily.total", FeedKind::Aggregate)]);
        let whole = StatedFeed {
            table: TableName::new("public", "daily"),
            column: None,
            source: fixtures::column("orders.day"),
            kind: FeedKind::Influence,
        };
        let total = StatedFeed { column: Some("total".into()), kind: FeedKind::Aggregate, ..whole.clone() };
        graph.extend(node, &Computation { feeds: vec![whole, total], ..Computation::default() });
        let views = graph.statements();
        let feeds = views[0].feeds();
        assert!(
            feeds[&fixtures::column("daily.total")].contains(&(&fixtures::column("orders.day"), FeedKind::Influence))
        );
    }
}
