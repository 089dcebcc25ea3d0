//! The lineage graph, printed. One file a format.
//!
//! In: a [`LineageGraph`](crate::lineage::graph::LineageGraph). Out: text for people, JSON for scripts, DOT and Mermaid
//! for drawings, OpenLineage's events for other tools.

mod dot;
mod drawing;
mod graph_json;
mod graph_text;
mod mermaid;
mod openlineage;

pub use dot::write_graph_dot;
pub use graph_json::write_graph_json;
pub use graph_text::{write_explanation_text, write_graph_text};
pub use mermaid::write_graph_mermaid;
pub use openlineage::{OpenLineageNames, write_graph_openlineage};
