//! `dbt`: a project's `manifest.json`, written by dbt when it parses, compiles or runs a project.
//!
//! In: the whole document, in one line or many. Out: one [`StatedLineage`] for each model, snapshot and seed that is a
//! table or a view: what it depends on, and the SQL that dbt compiled for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::format::{Format, LineOutcome, LineReader};
use super::json_documents::{JsonDocuments, LONGEST_DOCUMENT};
use super::json_fields::json_reason;
use super::read::identity;
use crate::model::{Recording, StatedLineage, TableName, Timestamp};

/// The format `dbt`.
pub(super) struct Dbt;

const NAME: &str = "dbt";
/// Every manifest names the version of its schema so.
const SCHEMA: &str = "schemas.getdbt.com/dbt/manifest/";

impl Format for Dbt {
    fn name(&self) -> &'static str {
        NAME
    }

    fn recognises(&self, line: &str) -> bool {
        line.contains("\"dbt_schema_version\"") && line.contains(SCHEMA)
    }

    fn reader(&self) -> Box<dyn LineReader> {
        Box::new(ManifestReader::default())
    }
}

#[derive(Default)]
struct ManifestReader {
    documents: JsonDocuments,
}

impl LineReader for ManifestReader {
    fn continues(&mut self, line: &[u8]) -> bool {
        self.documents.continues(line)
    }

    fn longest_record(&self) -> usize {
        LONGEST_DOCUMENT
    }

    fn read_line(&mut self, document: &str, recording: &mut Recording) -> Result<LineOutcome, String> {
        let manifest: Manifest = serde_json::from_str(document).map_err(|error| json_reason(&error))?;
        recording.lineage.extend(manifest.stated()?);
        Ok(LineOutcome::Used)
    }

    fn read_last(&mut self, document: &str, recording: &mut Recording) -> Result<LineOutcome, String> {
        let is_cut = self.documents.is_open();
        let reason = |reason| if is_cut { "the input ends in the middle of the manifest".to_owned() } else { reason };
        self.read_line(document, recording).map_err(reason)
    }

    fn finish(&mut self, _recording: &mut Recording) {}
}

#[derive(Deserialize)]
struct Manifest {
    metadata: Metadata,
    nodes: BTreeMap<String, Node>,
    sources: Option<BTreeMap<String, Source>>,
}

#[derive(Deserialize)]
struct Metadata {
    dbt_schema_version: String,
    generated_at: String,
}

#[derive(Deserialize)]
struct Node {
    resource_type: String,
    schema: Option<String>,
    name: String,
    alias: Option<String>,
    config: Option<Config>,
    depends_on: Option<DependsOn>,
    /// Since dbt 1.3.
    compiled_code: Option<String>,
    /// Before dbt 1.3.
    compiled_sql: Option<String>,
    language: Option<String>,
}

#[derive(Deserialize)]
struct Config {
    materialized: Option<String>,
}

#[derive(Deserialize)]
struct DependsOn {
    nodes: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Source {
    schema: String,
    name: String,
    identifier: Option<String>,
}

impl Manifest {
    fn stated(&self) -> Result<Vec<StatedLineage>, String> {
        if !self.metadata.dbt_schema_version.contains(SCHEMA) {
            return Err(format!("`dbt_schema_version` is '{}': no manifest", self.metadata.dbt_schema_version));
        }
        let generated_at: Timestamp =
            self.metadata.generated_at.parse().map_err(|error| format!("`generated_at`: failed to {error}"))?;
        let written = self.nodes.iter().filter_map(|(id, node)| Some((id, node, node.table()?)));
        Ok(written.map(|(id, node, table)| self.stated_of(id, node, table, generated_at)).collect())
    }

    fn stated_of(&self, id: &str, node: &Node, table: TableName, ts: Timestamp) -> StatedLineage {
        let mut inputs = BTreeSet::new();
        self.collect_inputs(node, &mut inputs, &mut BTreeSet::new());
        let is_sql = node.language.as_deref().is_none_or(|language| language == "sql");
        let sql = node.compiled_code.as_deref().or(node.compiled_sql.as_deref()).filter(|_| is_sql);
        let mut hasher = blake3::Hasher::new();
        let names = inputs.iter().map(TableName::to_string).collect::<Vec<_>>().join("\n");
        for part in [NAME, id, &table.to_string(), sql.unwrap_or_default(), &names] {
            hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        StatedLineage {
            id: identity(&hasher),
            ts,
            stated_by: NAME.into(),
            job: id.into(),
            run: None,
            sql: sql.map(Arc::from),
            inputs: inputs.into_iter().collect(),
            outputs: vec![table],
            feeds: Vec::new(),
        }
    }

    /// The tables that a node reads: an ephemeral model is none, and what it reads is read through it.
    fn collect_inputs<'manifest>(
        &'manifest self,
        node: &'manifest Node,
        inputs: &mut BTreeSet<TableName>,
        seen: &mut BTreeSet<&'manifest str>,
    ) {
        for id in node.depends_on.iter().filter_map(|depends_on| depends_on.nodes.as_ref()).flatten() {
            if !seen.insert(id) {
                continue;
            }
            if let Some(source) = self.sources.as_ref().and_then(|sources| sources.get(id)) {
                let name = source.identifier.as_ref().unwrap_or(&source.name);
                inputs.insert(TableName::new(source.schema.as_str(), name.as_str()));
            } else if let Some(other) = self.nodes.get(id) {
                match other.table() {
                    Some(table) => _ = inputs.insert(table),
                    None => self.collect_inputs(other, inputs, seen),
                }
            }
        }
    }
}

impl Node {
    /// The table or view that it becomes, if it becomes one.
    fn table(&self) -> Option<TableName> {
        let materialized = self.config.as_ref().and_then(|config| config.materialized.as_deref());
        let becomes = matches!(self.resource_type.as_str(), "model" | "snapshot" | "seed");
        if !becomes || materialized == Some("ephemeral") {
            return None;
        }
        let name = self.alias.as_ref().unwrap_or(&self.name);
        Some(TableName::new(self.schema.as_deref()?, name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{FormatChoice, Input};

    const MANIFEST: &str = r#"{
 "metadata": {"dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json", "generated_at": "2026-03-02T10:00:00Z"},
 "nodes": {
  "model.shop.daily": {"resource_type": "model", "schema": "marts", "name": "daily", "alias": "daily_sales", "language": "sql",
   "config": {"materialized": "table"}, "depends_on": {"macros": [], "nodes": ["model.shop.paid", "seed.shop.rates"]},
   "compiled_code": "SELECT 1"},
  "model.shop.paid": {"resource_type": "model", "schema": "marts", "name": "paid", "config": {"materialized": "ephemeral"},
   "depends_on": {"nodes": ["source.shop.app.orders", "model.shop.paid"]}},
  "seed.shop.rates": {"resource_type": "seed", "schema": "seeds", "name": "rates", "config": {"materialized": "seed"},
   "depends_on": {"macros": []}},
  "model.shop.score": {"resource_type": "model", "schema": "marts", "name": "score", "language": "python", "compiled_code": "def model(): pass",
   "depends_on": {"nodes": ["model.shop.daily"]}},
  "test.shop.not_null": {"resource_type": "test", "schema": "audit", "name": "not_null", "depends_on": {"nodes": ["model.shop.daily"]}}
 },
 "sources": {"source.shop.app.orders": {"schema": "public", "name": "orders", "identifier": "orders_v2"}}
}"#;

    fn read(text: &str) -> (Recording, Vec<String>) {
        let mut recording = Recording::default();
        let input = Input::from_reader("test", std::io::Cursor::new(text.to_owned()));
        let format = FormatChoice::named(NAME).expect("a format");
        crate::capture::read(input, &format, &mut |part| {
            recording.lineage.extend(part.lineage);
            recording.rejected.extend(part.rejected);
            std::ops::ControlFlow::Continue(())
        })
        .expect("read");
        let refused = recording.rejected.iter().map(|line| line.reason.clone()).collect();
        (recording, refused)
    }

    #[test]
    fn models_read_what_they_depend_on_through_ephemeral_ones_too() {
        let (recording, refused) = read(MANIFEST);
        assert_eq!(refused, Vec::<String>::new());
        let told: Vec<_> = recording
            .lineage
            .iter()
            .map(|one| {
                (
                    one.outputs[0].to_string(),
                    one.inputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                    one.sql.as_deref(),
                )
            })
            .collect();
        let expected = [
            ("marts.daily_sales", "public.orders_v2 seeds.rates", Some("SELECT 1")),
            ("marts.score", "marts.daily_sales", None),
            ("seeds.rates", "", None),
        ];
        assert_eq!(told, expected.map(|(output, inputs, sql)| (output.to_owned(), inputs.to_owned(), sql)));
        let (again, _) = read(&MANIFEST.replace('\n', " "));
        assert_eq!(again.lineage, recording.lineage, "in one line it says the same");
        assert!(MANIFEST.lines().any(|line| Dbt.recognises(line)));
    }

    #[test]
    fn what_is_cut_off_or_no_manifest_is_told() {
        let (cut, refused) = read(&MANIFEST[..400]);
        assert!(refused[0].contains("in the middle of the manifest"), "{refused:?}");
        assert_eq!((cut.rejected[0].line, cut.rejected[0].text.as_str()), (1, &MANIFEST[..400]));
        let other = MANIFEST.replace("manifest/v12", "catalog/v1").replace('\n', " ");
        assert!(read(&other).1[0].contains("no manifest"));
        assert!(read(r#"{"metadata": 1}"#).1[0].contains("no valid JSON"));
    }
}
