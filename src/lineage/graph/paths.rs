//! The shortest explanation: how one column comes to bear on another.

use std::collections::{BTreeMap, HashMap};

use petgraph::stable_graph::{EdgeIndex, NodeIndex};
use petgraph::visit::EdgeRef as _;

use super::{Edge, LineageGraph, Node, StatementNode};
use crate::model::{FeedKind, TableColumn};

/// One step of an explanation.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'graph> {
    /// The column that gives.
    pub from: &'graph TableColumn,
    /// The column that takes.
    pub to: &'graph TableColumn,
    /// How.
    pub kind: FeedKind,
    /// By which statement.
    pub statement: &'graph StatementNode,
}

impl LineageGraph {
    /// The fewest steps by which `from` comes to bear on `to`; of equally short ones the one whose values are passed on
    /// rather than used to choose. Empty where there is no way. `None` where the graph does not know one of them.
    pub fn explanation(&self, from: &TableColumn, to: &TableColumn) -> Option<Vec<Hop<'_>>> {
        let (start, end) = (*self.columns.get(from)?, *self.columns.get(to)?);
        // For each column reached: the last step there, of ways by as few steps that on which the fewest steps only choose,
        // then the fewest compute.
        let mut came_by: HashMap<NodeIndex, EdgeIndex> = HashMap::new();
        let mut layer = BTreeMap::from([(start, (0, 0))]);
        while !layer.is_empty() && !came_by.contains_key(&end) {
            let mut next_layer: BTreeMap<NodeIndex, (usize, usize)> = BTreeMap::new();
            for (node, (chosen, computed)) in layer {
                for edge in self.graph.edges_directed(node, petgraph::Outgoing) {
                    let Edge::Feeds { kind, .. } = edge.weight() else { continue };
                    let next = edge.target();
                    let is_known = came_by.contains_key(&next) || (next == start && next != end);
                    let cost = (
                        chosen + usize::from(*kind == FeedKind::Influence),
                        computed + usize::from(*kind != FeedKind::Copy),
                    );
                    let is_better = next_layer.get(&next).is_some_and(|known| cost < *known);
                    if is_better || !is_known {
                        next_layer.insert(next, cost);
                        came_by.insert(next, edge.id());
                    }
                }
            }
            layer = next_layer;
        }
        let mut hops = Vec::new();
        let mut node = end;
        while let Some(edge) = came_by.get(&node) {
            let (source, _) = self.graph.edge_endpoints(*edge)?;
            hops.push(self.hop(*edge)?);
            node = source;
            if node == start {
                break;
            }
        }
        hops.reverse();
        Some(hops)
    }

    fn hop(&self, edge: EdgeIndex) -> Option<Hop<'_>> {
        let (source, target) = self.graph.edge_endpoints(edge)?;
        let Edge::Feeds { kind, statement } = self.graph.edge_weight(edge)? else { return None };
        let Some(Node::Statement(statement)) = self.graph.node_weight(*statement) else { return None };
        Some(Hop { from: self.column_at(source)?, to: self.column_at(target)?, kind: *kind, statement })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{column, shop, statement};
    use super::*;

    fn explained(from: &str, to: &str) -> Option<Vec<String>> {
        let mut graph = shop();
        statement(&mut graph, "detour", &[("daily.total", "copy.total", FeedKind::Copy)]);
        statement(&mut graph, "back", &[("copy.total", "report.total", FeedKind::Copy)]);
        let hops = graph.explanation(&column(from), &column(to))?;
        let hop =
            |hop: &Hop<'_>| format!("{} -{}-> {} by {}", hop.from, hop.kind.as_str(), hop.to, hop.statement.name.text);
        Some(hops.iter().map(hop).collect())
    }

    #[test]
    fn the_shortest_way_is_told_with_its_statements() {
        let expected = [
            "public.orders.total -aggregate-> public.daily.total by daily",
            "public.daily.total -copy-> public.report.total by report",
        ];
        assert_eq!(explained("orders.total", "report.total").as_deref(), Some(expected.map(str::to_owned).as_slice()));
        assert_eq!(explained("report.total", "orders.total"), Some(vec![]), "not against the data's direction");
        assert_eq!(explained("orders.nothing", "report.total"), None);
        assert_eq!(explained("stock.left", "stock.left").map(|hops| hops.len()), Some(2), "a circle");
    }

    #[test]
    fn of_equally_short_ways_the_one_that_passes_values_on_is_told() {
        let mut graph = LineageGraph::default();
        statement(&mut graph, "fork", &[("a.x", "b.x", FeedKind::Copy), ("a.x", "c.x", FeedKind::Transform)]);
        statement(&mut graph, "chosen", &[("b.x", "d.x", FeedKind::Influence)]);
        statement(&mut graph, "passed", &[("c.x", "d.x", FeedKind::Copy)]);
        let hops = graph.explanation(&column("a.x"), &column("d.x")).expect("known");
        assert_eq!(hops.iter().map(|hop| hop.statement.name.text.as_ref()).collect::<Vec<_>>(), ["fork", "passed"]);
    }
}
