//! Lineage, printed. One file a format.
//!
//! In: a [`LineageGraph`](crate::lineage::graph::LineageGraph), or the [`StatementAnalysis`](crate::sql::StatementAnalysis)
//! of each statement of a text. Out: text for people, JSON for scripts; of the graph also DOT and Mermaid for drawings,
//! and OpenLineage's events for other tools.

mod dot;
mod drawing;
mod graph_json;
mod graph_text;
mod mermaid;
mod openlineage;
mod statements_json;
mod statements_text;

pub use dot::write_graph_dot;
pub use graph_json::write_graph_json;
pub use graph_text::{write_explanation_text, write_graph_text};
pub use mermaid::write_graph_mermaid;
pub use openlineage::{OpenLineageNames, write_graph_openlineage};
pub use statements_json::write_statements_json;
pub use statements_text::write_statements_text;
