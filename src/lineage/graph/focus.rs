//! A part of the graph: what is upstream and downstream of some tables or columns.

use std::collections::{BTreeSet, VecDeque};

use petgraph::stable_graph::NodeIndex;
use petgraph::visit::EdgeRef as _;

use super::{Edge, LineageGraph, Node};
use crate::model::{TableColumn, TableName};

/// Which way to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Where it comes from.
    Upstream,
    /// What it feeds.
    Downstream,
    /// Either way.
    #[default]
    Both,
}

/// What to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Focus {
    /// These tables, as wholes.
    pub tables: Vec<TableName>,
    /// These columns alone.
    pub columns: Vec<TableColumn>,
    /// Which way from them.
    pub direction: Direction,
}

impl Focus {
    /// Whether it is the whole graph.
    pub fn is_everything(&self) -> bool {
        self.tables.is_empty() && self.columns.is_empty()
    }
}

impl LineageGraph {
    /// The part of the graph that a focus shows: the tables and columns reached, and the statements on the way with the
    /// releases that ran them. A name that the graph does not have is handed back.
    ///
    /// # Errors
    /// The table or column that the graph does not have.
    pub fn focused(&self, focus: &Focus) -> Result<LineageGraph, String> {
        if focus.is_everything() {
            return Ok(self.clone());
        }
        let mut kept: BTreeSet<NodeIndex> = BTreeSet::new();
        let ways: &[petgraph::Direction] = match focus.direction {
            Direction::Upstream => &[petgraph::Incoming],
            Direction::Downstream => &[petgraph::Outgoing],
            Direction::Both => &[petgraph::Incoming, petgraph::Outgoing],
        };
        for table in &focus.tables {
            let start = self.tables.get(table).ok_or_else(|| table.to_string())?;
            ways.iter().for_each(|way| self.reach(*start, *way, &mut kept));
        }
        // Every column of a table that is reached as a whole.
        let tables: BTreeSet<&TableName> = kept.iter().filter_map(|node| self.table_at(*node)).collect();
        let of_tables = self.columns.iter().filter(|(column, _)| tables.contains(&column.table));
        let columns_of_tables: Vec<NodeIndex> = of_tables.map(|(_, node)| *node).collect();
        for column in &focus.columns {
            let start = self.columns.get(column).ok_or_else(|| column.to_string())?;
            for way in ways {
                self.reach_columns(*start, *way, &mut kept);
            }
        }
        kept.extend(columns_of_tables);
        let mut part = self.clone();
        part.graph.retain_nodes(|graph, node| {
            kept.contains(&node)
                // A release is shown with what it ran.
                || matches!(graph.node_weight(node), Some(Node::Release(_)))
                    && graph.neighbors_directed(node, petgraph::Outgoing).any(|ran| kept.contains(&ran))
        });
        part.graph.retain_edges(|graph, edge| match graph.edge_weight(edge) {
            Some(Edge::Feeds { statement, .. }) => kept.contains(statement),
            _ => true,
        });
        Ok(part)
    }

    /// Tables and statements that a table reaches.
    fn reach(&self, start: NodeIndex, way: petgraph::Direction, kept: &mut BTreeSet<NodeIndex>) {
        let mut seen = BTreeSet::from([start]);
        let mut ahead = VecDeque::from([start]);
        while let Some(node) = ahead.pop_front() {
            for edge in self.graph.edges_directed(node, way) {
                let next = if way == petgraph::Outgoing { edge.target() } else { edge.source() };
                if matches!(edge.weight(), Edge::Reads | Edge::Writes) && seen.insert(next) {
                    ahead.push_back(next);
                }
            }
        }
        kept.extend(seen);
    }

    /// Columns that a column reaches, their tables, and the statements on the way.
    fn reach_columns(&self, start: NodeIndex, way: petgraph::Direction, kept: &mut BTreeSet<NodeIndex>) {
        let mut seen = BTreeSet::from([start]);
        let mut ahead = VecDeque::from([start]);
        while let Some(node) = ahead.pop_front() {
            for edge in self.graph.edges_directed(node, way) {
                let Edge::Feeds { statement, .. } = edge.weight() else { continue };
                kept.insert(*statement);
                let next = if way == petgraph::Outgoing { edge.target() } else { edge.source() };
                if seen.insert(next) {
                    ahead.push_back(next);
                }
            }
        }
        let tables = seen.iter().filter_map(|node| self.tables.get(&self.column_at(*node)?.table));
        kept.extend(tables);
        kept.extend(seen);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{column, shop};
    use super::*;

    fn names(focus: &Focus) -> (Vec<String>, Vec<String>, Vec<String>) {
        let graph = shop().focused(focus).expect("known names");
        let statements = graph.statements().iter().map(|view| view.statement.name.text.to_string()).collect();
        (
            graph.tables().map(|table| table.table.to_string()).collect(),
            graph.columns().iter().map(|column| column.to_string()).collect(),
            statements,
        )
    }

    #[test]
    fn a_focus_shows_what_is_reached_and_the_way_there() {
        let daily = || vec![TableName::new("public", "daily")];
        let downstream = Focus { tables: daily(), direction: Direction::Downstream, ..Focus::default() };
        let (tables, _, statements) = names(&downstream);
        assert_eq!((tables, statements), (vec!["daily".into(), "report".into()], vec!["report".to_owned()]));
        let upstream = Focus { tables: daily(), direction: Direction::Upstream, ..Focus::default() };
        assert_eq!(names(&upstream).0, ["daily", "orders"]);
        let both = Focus { tables: daily(), ..Focus::default() };
        assert_eq!(names(&both).0, ["daily", "orders", "report"]);
    }

    #[test]
    fn a_column_reaches_only_what_it_bears_on() {
        let focus = Focus { columns: vec![column("report.total")], direction: Direction::Upstream, ..Focus::default() };
        let (tables, columns, statements) = names(&focus);
        assert_eq!(tables, ["daily", "orders", "report"]);
        assert_eq!(columns, ["public.daily.total", "public.orders.day", "public.orders.total", "public.report.total"]);
        assert_eq!(statements, ["daily", "report"]);
        let unknown = Focus { columns: vec![column("report.nothing")], ..Focus::default() };
        assert_eq!(shop().focused(&unknown).map(|_| ()), Err("public.report.nothing".to_owned()));
    }
}
