//! What a drawing shows: boxes and arrows, the same for every language of drawings.

use std::collections::BTreeMap;

use crate::lineage::graph::LineageGraph;
use crate::model::FeedKind;
use crate::report::text::layout::{number, one_line};

/// So much of a statement is drawn.
const DRAWN: usize = 60;

/// A drawing of a graph.
pub(super) struct Drawing {
    pub(super) boxes: Vec<DrawnBox>,
    pub(super) arrows: Vec<Arrow>,
}

/// One box.
pub(super) struct DrawnBox {
    /// Such as `n7`.
    pub(super) name: String,
    pub(super) label: String,
    pub(super) shape: Shape,
    /// The table that a column is drawn in.
    pub(super) within: Option<String>,
}

/// What a box stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Table,
    Statement,
    Column,
}

/// From one box to another.
pub(super) struct Arrow {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) label: String,
    /// An influence: no value is passed on.
    pub(super) dashed: bool,
}

impl Drawing {
    /// Tables and statements, or where `columns` are asked for, columns within their tables.
    pub(super) fn new(graph: &LineageGraph, columns: bool) -> Drawing {
        if columns { Drawing::of_columns(graph) } else { Drawing::of_tables(graph) }
    }

    fn of_tables(graph: &LineageGraph) -> Drawing {
        let mut drawing = Drawing { boxes: Vec::new(), arrows: Vec::new() };
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for table in graph.tables() {
            let name = drawing.draw(table.to_string(), Shape::Table, None);
            names.insert(table.to_string(), name);
        }
        for view in graph.statements() {
            let node = view.statement;
            let text = one_line(&node.name.text, DRAWN);
            let label = match node.usage.count {
                0 => format!("{}: {text}", node.name.origin.as_str()),
                count => format!("{}: {text} ({}×)", node.name.origin.as_str(), number(count)),
            };
            let statement = drawing.draw(label, Shape::Statement, None);
            for source in view.sources() {
                drawing.arrow(names.get(&source.to_string()).cloned(), Some(statement.clone()), "", false);
            }
            for target in view.targets() {
                drawing.arrow(Some(statement.clone()), names.get(&target.to_string()).cloned(), "", false);
            }
        }
        drawing
    }

    fn of_columns(graph: &LineageGraph) -> Drawing {
        let mut drawing = Drawing { boxes: Vec::new(), arrows: Vec::new() };
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for column in graph.columns() {
            let within = Some(column.table.to_string());
            let name = drawing.draw(column.column.to_string(), Shape::Column, within);
            names.insert(column.to_string(), name);
        }
        let mut drawn = std::collections::BTreeSet::new();
        for view in graph.statements() {
            for (target, sources) in view.feeds() {
                for (source, kind) in sources {
                    let ends = (names.get(&source.to_string()).cloned(), names.get(&target.to_string()).cloned());
                    if drawn.insert((ends.clone(), kind)) {
                        drawing.arrow(ends.0, ends.1, kind.as_str(), kind == FeedKind::Influence);
                    }
                }
            }
        }
        drawing
    }

    fn draw(&mut self, label: String, shape: Shape, within: Option<String>) -> String {
        let name = format!("n{}", self.boxes.len());
        self.boxes.push(DrawnBox { name: name.clone(), label, shape, within });
        name
    }

    fn arrow(&mut self, from: Option<String>, to: Option<String>, label: &str, dashed: bool) {
        if let (Some(from), Some(to)) = (from, to) {
            self.arrows.push(Arrow { from, to, label: label.to_owned(), dashed });
        }
    }

    /// The boxes, by the table that they are drawn in.
    pub(super) fn groups(&self) -> BTreeMap<Option<&str>, Vec<&DrawnBox>> {
        let mut groups: BTreeMap<Option<&str>, Vec<&DrawnBox>> = BTreeMap::new();
        for drawn in &self.boxes {
            groups.entry(drawn.within.as_deref()).or_default().push(drawn);
        }
        groups
    }
}
