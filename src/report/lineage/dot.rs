//! `lineage --format dot`: a drawing for Graphviz (`dot -Tsvg`).

use std::io::Write;

use super::drawing::{Drawing, DrawnBox, Shape};
use crate::lineage::graph::LineageGraph;
use crate::report::ReportError;

/// Writes the graph in Graphviz's language; `columns`: columns within their tables instead of tables and statements.
///
/// # Errors
/// An output that refuses.
pub fn write_graph_dot(graph: &LineageGraph, columns: bool, out: &mut dyn Write) -> Result<(), ReportError> {
    let drawing = Drawing::new(graph, columns);
    writeln!(out, "digraph lineage {{\n  rankdir=LR;\n  node [fontname=\"sans-serif\", fontsize=11];")?;
    for (place, (within, boxes)) in drawing.groups().into_iter().enumerate() {
        match within {
            None => boxes.into_iter().try_for_each(|drawn| write_box(drawn, "  ", out))?,
            Some(table) => {
                writeln!(out, "  subgraph cluster_{place} {{\n    label={};", quoted(table))?;
                boxes.into_iter().try_for_each(|drawn| write_box(drawn, "    ", out))?;
                writeln!(out, "  }}")?;
            }
        }
    }
    for arrow in &drawing.arrows {
        let mut attributes = Vec::new();
        if !arrow.label.is_empty() {
            attributes.push(format!("label={}", quoted(&arrow.label)));
        }
        if arrow.dashed {
            attributes.push("style=dashed".to_owned());
        }
        let attributes = if attributes.is_empty() { String::new() } else { format!(" [{}]", attributes.join(", ")) };
        writeln!(out, "  {} -> {}{attributes};", arrow.from, arrow.to)?;
    }
    writeln!(out, "}}")?;
    Ok(())
}

fn write_box(drawn: &DrawnBox, indent: &str, out: &mut dyn Write) -> Result<(), ReportError> {
    let shape = match drawn.shape {
        Shape::Table => "box",
        Shape::Statement => "note",
        Shape::Column => "plaintext",
    };
    writeln!(out, "{indent}{} [shape={shape}, label={}];", drawn.name, quoted(&drawn.label))?;
    Ok(())
}

/// A text of Graphviz's language.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
