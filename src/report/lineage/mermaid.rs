//! `lineage --format mermaid`: a drawing for Mermaid, as Markdown on many sites shows it.

use std::io::Write;

use super::drawing::{Drawing, DrawnBox, Shape};
use crate::lineage::graph::LineageGraph;
use crate::report::ReportError;

/// Writes the graph as a flowchart; `columns`: columns within their tables instead of tables and statements.
///
/// # Errors
/// An output that refuses.
pub fn write_graph_mermaid(graph: &LineageGraph, columns: bool, out: &mut dyn Write) -> Result<(), ReportError> {
    let drawing = Drawing::new(graph, columns);
    writeln!(out, "flowchart LR")?;
    for (place, (within, boxes)) in drawing.groups().into_iter().enumerate() {
        match within {
            None => boxes.into_iter().try_for_each(|drawn| write_box(drawn, "  ", out))?,
            Some(table) => {
                writeln!(out, "  subgraph t{place}[{}]", quoted(table))?;
                boxes.into_iter().try_for_each(|drawn| write_box(drawn, "    ", out))?;
                writeln!(out, "  end")?;
            }
        }
    }
    for arrow in &drawing.arrows {
        let line = if arrow.dashed { "-.->" } else { "-->" };
        let label = if arrow.label.is_empty() { String::new() } else { format!("|{}|", arrow.label) };
        writeln!(out, "  {} {line}{label} {}", arrow.from, arrow.to)?;
    }
    Ok(())
}

fn write_box(drawn: &DrawnBox, indent: &str, out: &mut dyn Write) -> Result<(), ReportError> {
    let label = quoted(&drawn.label);
    let shaped = match drawn.shape {
        Shape::Table => format!("[{label}]"),
        Shape::Statement => format!("([{label}])"),
        Shape::Column => format!("({label})"),
    };
    writeln!(out, "{indent}{}{shaped}", drawn.name)?;
    Ok(())
}

/// A text of Mermaid's: what would end it, or mean something to it, as an entity.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '#' | '&' | '<' | '>' | '`' | ';' => quoted.push_str(&format!("#{};", u32::from(character))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
